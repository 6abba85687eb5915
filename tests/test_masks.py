"""Masks: what they do to values, that nothing of a masked value lands anywhere, and that a lake keeps to its secret."""

from __future__ import annotations

import base64
import copy
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureRules, Origin, StreamRecord
from lake.attributes import canonical_value, encode_binary_once
from lake.config import MASK_SECRET, LakeConfig, TableConfig, parse_config, table_section
from lake.errors import ConfigError
from lake.keys import KeyAttribute, KeySchema
from lake.masks import ACTIONS, REDACTED, MaskKey, TableMasks, fingerprint, parse_masks
from lake.records import decode_record, parse_record
from tests.lakes import NOW_US
from tests.records import s, text
from tests.test_agreement_records import twice, values

KEY, OTHER_KEY = MaskKey(b"k" * 32), MaskKey(b"o" * 32)
ONE = KeySchema(KeyAttribute("pk", "S"))
ORIGIN = Origin("changes", "shardId-1")
Json = dict[str, Any]


def of(paths: dict[str, str], keys: KeySchema = ONE, key: MaskKey = KEY) -> TableMasks:
    return TableMasks(parse_masks(paths, keys, "lake.toml"), keys, key)


def hashed(value: Any, is_binary_twice: bool = False, key: MaskKey = KEY) -> Any:
    return of({"v": "hash"}, key=key).image({"v": value}, is_binary_twice)["v"]


# Masks as they are written


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"email": "remove"}, "mask 'email'; expected one of drop, redact, hash; found 'remove'"),
        ({"email": "Hash"}, "found 'Hash'"), ({"email": None}, "found None"),
        ({"email": ["drop"]}, r"found \['drop'\]"),
        ({"address": {"city": "drop"}}, "A name with a dot in it is written in quotes, with a backslash"),
        ({"": "drop"}, "mask ''; expected names joined by dots; found an empty one"),
        ({"a..b": "drop"}, "mask 'a..b'.*found an empty one"), ({".a": "drop"}, "found an empty one"),
        ({"a.": "drop"}, "found an empty one"), ({".": "drop"}, "found an empty one"),
        ({"a\\": "drop"}, "found a backslash at the end"), ({"a.\\": "drop"}, "found a backslash at the end"),
        ({"pk": "drop"}, "expected hash, on a key; found drop on 'pk'. Items without their key"),
        ({"pk": "redact"}, "found redact on 'pk'"), ({"\\pk": "drop"}, "expected hash, on a key"),
        ({"pk.a": "hash"}, "expected hash, on a key"), ({"pk.*": "drop"}, "expected hash, on a key"),
        ("email", "expected masks such as email"), ([], "expected masks such as email"),
    ],
)  # fmt: skip
def test_masks_that_make_no_sense_are_refused(section: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        parse_masks(section, ONE, "lake.toml [tables.orders]")
    assert "lake.toml [tables.orders]" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)), ("a.b.c", ("a", "b", "c")), ("a\\.b", ("a.b",)), ("a\\\\.b", ("a\\", "b")), ("*", (None,)),
        ("\\*", ("*",)), ("a.*.b", ("a", None, "b")), ("a*", ("a*",)), ("**", ("**",)), ("\\a", ("a",)),
        (" a ", (" a ",)), ("é.😀", ("é", "😀")), ("a\\..b", ("a.", "b")), ("a\\*.*", ("a*", None)),
    ],
)  # fmt: skip
def test_paths(text: str, path: tuple[str | None, ...]) -> None:
    (mask,) = parse_masks({text: "drop"}, ONE, "lake.toml")
    assert (mask.path, mask.text, mask.action) == (path, text, "drop")


def test_the_order_of_masks_says_nothing() -> None:
    paths = {"b": "hash", "a": "hash", "c": "drop", "d.e": "redact", "d": "hash", "*": "redact"}
    ways = {parse_masks(dict(order), ONE, "") for order in (paths.items(), reversed(paths.items()))}
    (parsed,) = ways
    assert [mask.action for mask in parsed] == sorted((mask.action for mask in parsed), key=ACTIONS.index)
    assert fingerprint(parsed) != fingerprint(parsed[1:])
    whole = {"a": s("x"), "d": {"M": {"e": s("x"), "f": s("y")}}, "c": s("z"), "pk": s("k")}
    assert of({"d": "hash", "d.f": "drop"}).image(whole) == of({"d.f": "drop", "d": "hash"}).image(whole)


path_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=200)
@given(names=st.dictionaries(path_texts, st.sampled_from(ACTIONS), max_size=5))
def test_masks_come_back_from_lake_toml(names: dict[str, str]) -> None:
    """Each name as a path of its own: the backslash is for what means something in one."""
    paths = {"".join("\\" + c if c in ".*\\" else c for c in name): action for name, action in names.items()}
    keys = KeySchema(KeyAttribute("\u0000key", "S"))
    parsed = parse_masks(paths, keys, "lake.toml") if "\u0000key" not in names else ()
    assert {mask.path for mask in parsed} == {(name,) for name in names} or not parsed
    table = TableConfig("orders", "orders", keys, masks=parsed)
    found = parse_config(f"format = 1\n{table_section(table)}", "lake.toml")
    assert found.tables == {"orders": table} and found.has_masks == bool(parsed)
    assert table.rules.must_be_masked == bool(parsed) and found.mask_secret == MASK_SECRET


def test_masks_written_by_hand() -> None:
    config = parse_config(
        'format = 1\n[masks]\nsecret = "arn:aws:x"\n[tables.orders]\nhash_key = "pk:S"\n[tables.orders.masks]\n'
        'email = "hash"\n"address.city" = "redact"\n\'a\\.b\' = "drop"\n', "lake.toml",
    )  # fmt: skip
    assert [(mask.action, mask.path) for mask in config.table("orders").masks] == [
        ("drop", ("a.b",)), ("redact", ("address", "city")), ("hash", ("email",)),
    ]  # fmt: skip
    assert config.mask_secret == "arn:aws:x"
    with pytest.raises(ConfigError, match=r"\[tables.orders\], mask 'address'.*written in quotes"):
        parse_config('format = 1\n[tables.orders]\nhash_key = "pk:S"\nmasks.address.city = "drop"\n', "lake.toml")
    with pytest.raises(ConfigError, match=r"lake.toml \[masks\]"):
        parse_config("format = 1\n[masks]\nsecret = 5\n", "lake.toml")


# What they do to values

ITEM: Json = {
    "pk": s("p"), "plain": s("stays"), "a.b": s("dotted"), "*": s("star"),
    "a": {"M": {"b": s("inner"), "c": s("stays")}},
    "list": {"L": [{"M": {"x": s("1"), "y": s("2")}}, s("loose"), {"L": [{"M": {"x": {"N": "3"}}}]}, {"NULL": True}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("a.b", {"a": {"M": {"c": s("stays")}}}),
        ("a\\.b", {"a.b": ...}),
        ("a", {"a": ...}),
        ("a.*", {"a": {"M": {}}}),
        ("\\*", {"*": ...}),
        ("list.x", {"list": {"L": [{"M": {"y": s("2")}}, s("loose"), {"L": [{"M": {}}]}, {"NULL": True}]}}),
        ("*.b", {"a": {"M": {"c": s("stays")}}}),
        ("*", {name: ... for name in ITEM if name != "pk"}),
        ("plain.x", {}),
        ("absent", {}),
        ("a.b.c", {}),
        ("A", {}),
    ],
)
def test_where_a_path_leads(path: str, changed: Json) -> None:
    whole = copy.deepcopy(ITEM)
    expected = {name: value for name, value in (ITEM | changed).items() if value is not ...}
    assert of({path: "drop"}).image(whole) == expected
    assert whole == ITEM, "the item itself stays as it is"


def test_redacted_values_say_that_there_was_one() -> None:
    whole = {"pk": s("p"), "v": s("x"), "n": {"N": "1"}, "m": {"M": {"v": s("x")}}, "e": s(""), "l": {"L": []}}
    assert of({"*": "redact"}).image(whole) == {
        "pk": s("p"), "v": s(REDACTED), "e": s(REDACTED), **{name: {"NULL": True} for name in "nml"}
    }  # fmt: skip


B1, B2 = "AAE=", "/w=="
EQUAL: list[tuple[Json, Json]] = [
    ({"N": "1.50"}, {"N": "1.5"}), ({"N": "-0"}, {"N": "0"}), ({"N": "15e-1"}, {"N": "1.5"}),
    ({"N": "1E2"}, {"N": "100"}),
    ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}), ({"NS": ["1.0", "2"]}, {"NS": ["2.0", "1"]}),
    ({"BS": [B1, B2]}, {"BS": [B2, B1]}),
    ({"M": {"a": {"N": "1.0"}, "b": {"SS": ["x", "y"]}}}, {"M": {"b": {"SS": ["y", "x"]}, "a": {"N": "1"}}}),
    ({"L": [{"NS": ["1", "2"]}]}, {"L": [{"NS": ["2.0", "1.0"]}]}),
]  # fmt: skip
DIFFERENT: list[Json] = [
    s("1"), s("1.0"), s(""), s("true"), s(B1), {"N": "1"}, {"N": "1.1"}, {"BOOL": True}, {"BOOL": False}, {"B": ""},
    {"B": B1}, {"B": B2}, {"BS": [B1]}, {"SS": ["1"]}, {"NS": ["1"]}, {"SS": ["1", "2"]}, {"L": [{"SS": ["1", "2"]}]},
    {"L": []}, {"M": {}}, {"L": [s("1")]}, {"L": [{"N": "1"}]}, {"M": {"1": s("1")}}, {"L": [s("1"), s("2")]},
    {"L": [s("2"), s("1")]}, {"NULL": True},
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_have_equal_hashes(one: Json, other: Json) -> None:
    assert hashed(one) == hashed(other)
    assert hashed(twice(one), True) == hashed(twice(other), True)


def test_different_values_have_different_hashes() -> None:
    found = [json.dumps(hashed(value), sort_keys=True) for value in DIFFERENT]
    assert len(set(found)) == len(found)
    assert len({KEY.digest(kind, "1") for kind in "SNB"}) == 3
    others = [json.dumps(hashed(value, key=OTHER_KEY)) for value in DIFFERENT if value != {"NULL": True}]
    assert not set(found) & set(others), "another secret, other hashes"


def once(value: Json) -> Json:
    return json.loads(encode_binary_once(json.dumps(value, separators=(",", ":"), ensure_ascii=False)))


@settings(max_examples=100)
@given(value=values())
def test_a_hash_is_the_same_from_the_stream_and_from_a_scan(value: Json) -> None:
    assert once(hashed(twice(value), True)) == hashed(value)


@pytest.mark.parametrize(
    "value", [s("a"), {"N": "1"}, {"B": B1}, {"SS": [*"abcdefgh"]}, {"NS": [*"12345"]}, {"BS": [B1, B2]}]
)
def test_a_hash_keeps_the_kind(value: Json) -> None:
    ((kind, content),) = hashed(value).items()
    assert [kind] == list(value)
    if kind == "N":
        assert content.isdecimal() and len(content) <= 38
    if kind == "B":
        assert len(base64.b64decode(content, validate=True)) == 16
    assert isinstance(content, str) or (content == sorted(content) and len(content) == len(value[kind]))


@pytest.mark.parametrize("kind", ["S", "N", "B"])
def test_hashed_keys_are_keys(kind: Any) -> None:
    keys = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", kind))
    table = TableConfig("orders", "orders", keys, masks=parse_masks({"sk": "hash", "pk": "hash"}, keys, ""))
    key = {"pk": s("p"), "sk": {kind: {"S": "k", "N": "1.50", "B": B1}[kind]}}
    spelled = {"pk": s("p"), "sk": {kind: {"S": "k", "N": "15e-1", "B": B1}[kind]}}
    found = set()
    for one in (key, spelled):
        whole = {name: twice(value) for name, value in one.items()}
        line = captured(table, text("e1", body={"Keys": whole, "NewImage": whole}))
        change = decode_record(parse_record(line), table.rules, NOW_US)
        found.add(str(change.item_key))
        assert of({"sk": "hash", "pk": "hash"}, keys).image(one) == json.loads(change.new_image or "")
    assert len(found) == 1 and found != {str(keys.item_key_of(key))}


def captured(table: TableConfig, raw: bytes) -> bytes:
    """The one line that a record becomes."""
    rules = CaptureRules(LakeConfig({table.name: table}), KEY)
    found = rules.capture([StreamRecord(raw, "49", 1)], ORIGIN, NOW_US)
    assert [letter.reason for letter in found.letters] == []
    (line,) = found.lines
    return line.text


# No trace

SECRET = "x9Secret"  # no text that Hypothesis makes of itself
NUMBER = "8316942705"


def traces() -> set[bytes]:
    found: set[bytes] = set()
    for word in (SECRET, NUMBER):
        one = base64.b64encode(word.encode())
        found |= {word.encode(), one, base64.b64encode(one), word.encode().hex().encode(), one[:-2], one.rstrip(b"=")}
    return found


SECRET_BINARY = base64.b64encode(SECRET.encode()).decode()
planted = st.sampled_from([
    s(SECRET), {"N": NUMBER}, {"B": SECRET_BINARY}, {"SS": [SECRET, "b"]}, {"NS": [NUMBER]}, {"BS": [SECRET_BINARY]},
    {"M": {SECRET: s("x")}}, {"L": [s(SECRET), {"M": {"a": s(SECRET)}}]},
])  # fmt: skip
attribute_names = st.one_of(st.sampled_from(["a", "B", "a.b", "*", "\\", 'q"', "é", "S", "_lake"]), path_texts)


def written(steps: list[str]) -> str:
    return ".".join("".join("\\" + c if c in ".*\\" else c for c in step) for step in steps)


@st.composite
def items_with_secrets(draw: st.DrawFn) -> tuple[Json, dict[str, str]]:
    """An item, and masks for the places of its secrets."""
    whole: Json = {"pk": s("p")} | draw(st.dictionaries(attribute_names, values(), max_size=3))
    paths: dict[str, str] = {}
    for n in range(draw(st.integers(1, 3))):
        steps = [f"{name}{n}" for name in draw(st.lists(attribute_names, min_size=1, max_size=4))]
        value = draw(planted)
        for step in reversed(steps[1:]):
            value = {"M": {step: value, "beside": s("stays")}}
            if draw(st.booleans()):
                value = {"L": [value, s("stays")]}
        whole[steps[0]] = value
        star = draw(st.integers(1, 9))
        path = written(steps) if star >= len(steps) else ".".join([written(steps[:star]), *["*"] * (len(steps) - star)])
        paths[path] = draw(st.sampled_from(ACTIONS))
    return whole, paths


@settings(max_examples=250)
@given(given_items=items_with_secrets(), data=st.data())
def test_no_trace_of_what_is_masked(given_items: tuple[Json, dict[str, str]], data: st.DataObject) -> None:
    whole, paths = given_items
    surface = data.draw(st.sampled_from(["kds", "streams"]))
    table = TableConfig("orders", "orders", ONE, surface, masks=parse_masks(paths, ONE, ""))
    image = {name: twice(value) for name, value in whole.items()} if surface == "kds" else whole
    body: Json = {"Keys": {"pk": s("p")}, "NewImage": image, "Secret": SECRET}
    if surface == "streams":
        body["SequenceNumber"] = "1"
    raw = text("e1", body=body, eventName=data.draw(st.sampled_from(["INSERT", "MODIFY"])), note=SECRET)
    line = captured(table, raw)
    assert [trace for trace in traces() if trace in line] == []
    assert captured(table, raw) == line
    landed = parse_record(line)
    assert landed["_lake"]["masks"] == fingerprint(table.masks)
    new = json.loads(decode_record(landed, table.rules, NOW_US).new_image or "")
    tops = {mask.path[0] for mask in table.masks}
    assert {n: v for n, v in new.items() if n not in tops} == {n: v for n, v in whole.items() if n not in tops}
    assert of(paths).image(whole) == new, "from the stream and from a Scan, the same"


@settings(max_examples=60)
@given(states=st.lists(st.one_of(st.none(), values()), min_size=2, max_size=6), action=st.sampled_from(ACTIONS))
def test_chains_of_images_stay_chains(states: list[Json | None], action: str) -> None:
    table = TableConfig("orders", "orders", ONE, masks=parse_masks({"v": action, "*.a": "hash"}, ONE, ""))
    news, olds = [], []
    for before, after in pairwise(states):
        images = {
            name: {"pk": s("p"), **({} if value is None else {"v": respelled(twice(value), name)})}
            for name, value in (("OldImage", before), ("NewImage", after))
        }
        line = captured(table, text("e1", eventName="MODIFY", body={"Keys": {"pk": s("p")}, **images}))
        change = decode_record(parse_record(line), table.rules, NOW_US)
        news.append(canonical_value({"M": json.loads(change.new_image or "")}))
        olds.append(canonical_value({"M": json.loads(change.old_image or "")}))
    assert news[:-1] == olds[1:]


def respelled(value: Any, name: str) -> Any:
    """The same value, its sets in another order and its numbers with another zero where it is an old image."""
    ((kind, content),) = value.items()
    if name == "NewImage":
        return value
    if kind == "M":
        return {"M": {inner: respelled(content[inner], name) for inner in reversed(content)}}
    if kind == "L":
        return {"L": [respelled(inner, name) for inner in content]}
    return {kind: content[::-1]} if kind in ("SS", "NS", "BS") else value


@pytest.mark.parametrize("depth", [32, 200, 300, 400, 100_000])
@pytest.mark.parametrize("path", ["v", "v.a", "v.*", "*"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("around", ['{"M":{"a":%s}}', '{"L":[%s]}'])
def test_masks_never_fail_on_what_is_deep(depth: int, path: str, action: str, around: str) -> None:
    """A record that nobody can mask is a dead letter, and not the end of its shard."""
    table = TableConfig("orders", "orders", ONE, masks=parse_masks({path: action}, ONE, ""))
    head, tail = around.split("%s")
    raw = text("e1").replace(b'"v":{"N":"1"}', f'"v":{head * depth}{{"S":"x"}}{tail * depth}'.encode())
    found = CaptureRules(LakeConfig({"orders": table}), KEY).capture([StreamRecord(raw, "1", 1)], ORIGIN, NOW_US)
    assert len(found.lines) + len(found.letters) == 1
    assert len(found.lines) == 1 or depth > 32


ODD_VALUES = [
    "5", "null", "[]", "{}", '{"Q":"x"}', '{"S":"a","N":"1"}', '{"S":null}', '{"N":5}', '{"N":"x"}', '{"NULL":5}',
    '{"N":"1E99999999"}', '{"SS":5}', '{"SS":[1]}', '{"SS":null}', '{"NS":["1",null]}', '{"M":5}', '{"M":[]}',
    '{"M":{"a":5}}', '{"M":{"a":{"B":"!"}}}', '{"L":5}', '{"L":{}}', '{"L":[5]}', '{"B":null}', '{"B":5}',
    '{"BS":null}', '{"B":"YQ=="}', '{"BS":"WVE9PQ=="}', '{"BS":[["WVE9PQ=="]]}', '{"N":123456789012345678901234567890}',
    '{"M":{"a":{"N":123456789012345678901234567890}}}',
]  # fmt: skip


@pytest.mark.parametrize("value", ODD_VALUES)
def test_masks_never_fail_on_what_is_no_dynamodb_json(value: str) -> None:
    for path in ("v", "v.a", "v.*", "*", "*.a.b"):
        for action in ACTIONS:
            table = TableConfig("orders", "orders", ONE, masks=parse_masks({path: action}, ONE, ""))
            raw = text("e1").replace(b'{"N":"1"}', value.encode())
            rules = CaptureRules(LakeConfig({"orders": table}), KEY)
            found = rules.capture([StreamRecord(raw, "1", 1)], ORIGIN, NOW_US)
            assert len(found.lines) + len(found.letters) == 1
            assert all(letter.is_sealed for letter in found.letters)
