"""The words of the language, one by one: values, keys, names, settings, columns, dead letters."""

from __future__ import annotations

import gzip
import json
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.attributes import canonical_number, canonical_value, decode_base64, encode_binary_once, image_text, plain_json
from lake.changes import Ttl
from lake.columns import (
    COLUMNS_MAX,
    Column,
    Seen,
    changed_types,
    dump_columns,
    foreign_kinds,
    key_state_columns,
    parse_columns,
    plan_columns,
)
from lake.config import TableConfig, new_config_text, parse_config, table_section
from lake.dead_letters import DeadLetter, read_dead_letters, spooled_dead_letters
from lake.errors import ConfigError, PoisonError
from lake.keys import ItemKey, KeyAttribute, KeySchema
from lake.layout import TABLE_NAME_MAX, lake_name, ledger_table, log_table, sql_name, state_table, unique_name
from lake.log import key_columns
from lake.records import created_at_us
from lake.store import put_copy

# Attributes


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1.50", "1.5"), ("15e-1", "1.5"), ("-0", "0"), ("0E5", "0"), ("1E2", "100"), (".5", "0.5"), ("5.", "5"),
        ("+7", "7"), ("007", "7"),
        ("1E-130", "1E-130"), ("9.99E+125", "9.99E+125"), ("-12E-40", "-1.2E-39"), ("1E37", "1" + "0" * 37),
        ("1E38", "1E+38"),
        ("9" * 38, "9" * 38), ("12345678901234567890123456789012345678.90", "12345678901234567890123456789012345678.9"),
    ],
)  # fmt: skip
def test_canonical_number(text: str, canonical: str) -> None:
    assert canonical_number(text) == canonical
    assert Decimal(canonical) == Decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None), st.integers(0, 9))
def test_canonical_number_is_one_text_of_one_value(value: Decimal, zeros: int) -> None:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    padded = f"{'-' if sign else ''}{''.join(map(str, digits))}{'0' * zeros}E{exponent - zeros}"
    assert canonical_number(padded) == canonical_number(str(value))
    assert canonical_number(canonical_number(str(value))) == canonical_number(str(value))
    assert (
        Decimal(canonical_number(str(value))).compare_total(value) == 0
        or Decimal(canonical_number(str(value))) == value
    )


@pytest.mark.parametrize(
    "text", ["", ".", "-", "e5", "1e", "NaN", "Infinity", "1_0", " 1", "1 ", "1\n", "٣", "0x1", "1e9999999"]
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        canonical_number(text)


@pytest.mark.parametrize("text", ["YQ", "YQ=", "Y Q==", "YQ==\n", "YQ-_", "AA=A", "é"])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(ValueError, match="no base64"):
        decode_base64(text)


def test_binary_is_decoded_once_wherever_it_stands() -> None:
    text = '"s":{"S":"\\"B\\":\\"WVE9PQ==\\""}'  # of a string, which is not binary
    image = '{{"b":{{"B":"{0}"}},"e":{{"B":""}},"m":{{"M":{{"B":{{"L":[{{"B":"{0}"}},{{"BS":["{0}",""]}}]}}}}}},{1}}}'
    once, twice = image.format("YQ==", text), image.format("WVE9PQ==", text)
    assert encode_binary_once(twice) == once
    with pytest.raises(ValueError, match="no base64"):
        encode_binary_once(once)


def test_equal_values_and_only_those_are_canonically_equal() -> None:
    assert canonical_value({"SS": ["b", "a"]}) == canonical_value({"SS": ["a", "b"]})
    assert canonical_value({"NS": ["1.0", "2"]}) == canonical_value({"NS": ["2.00", "1"]})
    assert canonical_value({"L": [{"N": "1"}, {"N": "2"}]}) != canonical_value({"L": [{"N": "2"}, {"N": "1"}]})
    assert canonical_value({"S": "1.0"}) != canonical_value({"S": "1"})
    assert image_text({"b": {"N": "1.0"}, "a": {"M": {"y": {"S": ""}, "x": {"NULL": True}}}}) == (
        '{"a":{"M":{"x":{"NULL":true},"y":{"S":""}}},"b":{"N":"1"}}'
    )
    assert image_text(None) is None


def test_plain_json_keeps_digits() -> None:
    text = (
        '{"M":{"n":{"N":"12345678901234567890.10"},"odd":{"N":"+.5"},"s":{"NS":["1","2.50"]},'
        '"l":{"L":[{"NULL":true},{"BOOL":false}]},"S":{"S":"N"}}}'
    )
    assert plain_json(text) == '{"n":12345678901234567890.10,"odd":0.5,"s":[1,2.50],"l":[null,false],"S":"N"}'


# Keys


def test_item_keys() -> None:
    schema = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("n", "N"))
    assert str(schema.item_key("a|b\\", "1.0")) == "a\\|b\\\\|1"
    assert schema.item_key_of({"pk": {"S": "a"}, "n": {"N": "1E1"}, "x": {}}) == ItemKey(("a", "10"))
    assert str(KeySchema(KeyAttribute("pk", "S")).item_key("a|b\\")) == "a|b\\"
    for keys in ({}, {"pk": {"N": "1"}}, {"pk": {"S": ""}}, {"pk": {"S": 5}}, {"pk": "a"}):
        with pytest.raises(ValueError, match="key"):
            KeySchema(KeyAttribute("pk", "S")).item_key_of(keys)
    with pytest.raises(ValueError, match="2 key values"):
        schema.item_key("a")


@pytest.mark.parametrize("text", ["pk", "pk:", ":S", "", "pk:X", "pk:s", "pk:BOOL"])
def test_what_is_no_key_attribute(text: str) -> None:
    with pytest.raises(ConfigError, match="NAME:TYPE"):
        KeyAttribute.parse(text)


@given(st.text(min_size=1), st.sampled_from("SNB"))
def test_key_attributes_are_read_as_written(name: str, kind: str) -> None:
    assert str(KeyAttribute.parse(f"{name}:{kind}")) == f"{name}:{kind}"
    assert KeyAttribute.parse(f"{name}:{kind}").name == name


@pytest.mark.parametrize(
    ("value", "us"),
    [
        (1_700_000_000, 1_700_000_000_000_000),
        (1_700_000_000_123, 1_700_000_000_123_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456),
    ],
)
def test_times_in_seconds_milliseconds_and_microseconds(value: int, us: int) -> None:
    assert created_at_us(value) == us
    for other in (0, -1, 99_999_999, 10**17):
        with pytest.raises(ValueError, match="no time"):
            created_at_us(other)


# Names


def test_names_of_tables_never_meet() -> None:
    taken: set[str] = set()
    for name in [
        "orders",
        "orders_changes",
        "Orders",
        "orders.changes",
        "orders-as-of",
        "orders_history",
        "orders_2",
        "ORDERS_LEDGER",
        "My.Table-1",
    ]:
        taken.add(lake_name(name, taken))
    assert len(taken) == 9
    everything = [f(name) for name in taken for f in (state_table, log_table, ledger_table)]
    assert len(set(everything)) == len(everything)
    assert lake_name("orders", {"orders_changes"}) == "orders_2"
    assert lake_name("My.Table-1", set()) == "my_table_1"
    assert len(lake_name("x" * 255, {"x" * TABLE_NAME_MAX})) < 255 - len("_changes_ledger")


@given(st.text(), st.text())
def test_names_in_sql_need_no_quotes_but_for_words(name: str, other: str) -> None:
    text = sql_name(name)
    assert text and text == sql_name(text)
    assert not set(text) & set(" .\"'\\/-\n\x00")
    assert unique_name(sql_name(other), {text}) != text
    assert lake_name(name, set()).isascii()


# Settings


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(1, 4096),
    st.sampled_from(["delete", "keep"]),
)
def test_lake_toml_gives_back_what_was_written(table: str, attribute: str, buckets: int, ttl: Ttl) -> None:
    keys = KeySchema(KeyAttribute(attribute, "N"), KeyAttribute("range", "B"))
    config = TableConfig(lake_name(table, set()), table, keys, "streams", buckets, ttl=ttl)
    read = parse_config(new_config_text({}) + table_section(config), "lake.toml")
    assert read.tables == {config.name: config}
    assert read.table(table) == config == read.table(config.name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("format = ", "TOML"), ("", "format = 1"), ("format = 2", "format = 2"), ("format = 1\nother = 2", "other"),
        ("format = 1\ntables = 3", "sections"),
        ("format = 1\n[tables]\norders = 3", "a section"), ("format = 1\n[tables.orders]", "hash_key"),
        ('format = 1\n[tables.Orders]\nhash_key = "pk:S"', "lower-case"),
        ('format = 1\n[tables.orders]\nhash_key = "pk"', "NAME:TYPE"),
        ('format = 1\n[tables.orders]\nhash_key = "pk:S"\nrange_key = 5', "NAME:TYPE"),
        ('format = 1\n[tables.orders]\nhash_key = "pk:S"\nsurface = "x"', "surface"),
        ('format = 1\n[tables.orders]\nhash_key = "pk:S"\nbuckets = 0', "buckets"),
        ('format = 1\n[tables.orders]\nhash_key = "pk:S"\nttl = "Keep"', 'ttl = "delete" or "keep"'),
        ('format = 1\n[tables.orders]\nhash_key = "pk:S"\nbukets = 5', "bukets"),
    ],
)  # fmt: skip
def test_lake_toml_says_what_is_wrong_in_it(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse_config(text, "lake.toml")
    assert expected in str(fault.value) and "\n" not in str(fault.value)


def test_an_unknown_table_is_told_which_there_are() -> None:
    config = parse_config(new_config_text({}) + '[tables.orders]\nhash_key = "pk:S"\n', "lake.toml")
    with pytest.raises(ConfigError, match=r"orders.*add-table"):
        config.table("oders")


# Columns


def test_columns_are_planned_by_name_kind_and_digits() -> None:
    columns = plan_columns(
        [],
        [
            Seen("Id", "N", 1, 3, 0),
            Seen("id", "S", 1),
            Seen("x", "N", 2),
            Seen("x", "S", 3),
            Seen("n", "NULL", 9),
            Seen("y", "??", 9),
        ],
    )
    assert [(c.attribute, c.name, c.kind) for c in columns] == [("Id", "id", "N"), ("id", "id_2", "S"), ("x", "x", "S")]
    later = plan_columns(
        columns, [Seen("Id", "N", 1, 2, 4), Seen("Id", "S", 9), Seen("ID", "S", 1), Seen("x", "N", 99, 5, 5)]
    )
    assert later[:3] == [Column("Id", "id", "N", 3, 4), *columns[1:]]
    assert later[3] == Column("ID", "id_3", "S")
    assert changed_types(columns, later) == [later[0]]
    assert foreign_kinds(later, [Seen("x", "N", 1), Seen("Id", "NULL", 1), Seen("ID", "S", 1), Seen("z", "S", 1)]) == {
        "x"
    }
    assert parse_columns(dump_columns(later)) == later


@pytest.mark.parametrize(
    ("kind", "whole", "scale", "sql_type"),
    [
        ("N", 0, 0, "BIGINT"), ("N", 18, 0, "BIGINT"), ("N", 19, 0, "DECIMAL(38,0)"), ("N", 38, 0, "DECIMAL(38,0)"),
        ("N", 39, 0, "DOUBLE"),
        ("N", 1, 2, "DECIMAL(38,2)"), ("N", 0, 38, "DECIMAL(38,38)"), ("N", 36, 3, "DOUBLE"),
        ("N", 1_000, 0, "DOUBLE"), ("NS", 1, 1, "DECIMAL(38,1)[]"),
        ("S", 0, 0, "VARCHAR"), ("SS", 0, 0, "VARCHAR[]"), ("B", 0, 0, "BLOB"), ("BS", 0, 0, "BLOB[]"),
        ("BOOL", 0, 0, "BOOLEAN"), ("M", 0, 0, "VARCHAR"), ("L", 0, 0, "VARCHAR"),
    ],
)  # fmt: skip
def test_types_of_columns(kind: str, whole: int, scale: int, sql_type: str) -> None:
    assert Column("a", "a", kind, whole, scale).sql_type == sql_type


def test_columns_have_a_limit_and_keep_out_of_our_names() -> None:
    assert len(plan_columns([], [Seen(f"a{n}", "S", 1) for n in range(COLUMNS_MAX + 5)])) == COLUMNS_MAX
    ours = [
        "_item",
        "_item_key",
        "_hash_key",
        "_op",
        "_created_at_us",
        "_rescued",
        "_expired_at",
        "_bucket",
        "key_bucket",
    ]
    for name in ours:
        keys = KeySchema(KeyAttribute(name, "S"), KeyAttribute(name.upper(), "N"))
        assert [c.name for c in key_state_columns(keys)] == [f"{name}_2", f"{name}_3"]
    for name in ["op", "batch", "item_key", "event_day", "key_0", "key_1"]:
        assert key_columns(KeySchema(KeyAttribute(name, "S"), KeyAttribute(name.upper(), "N"))) == [
            f"{name}_2",
            f"{name}_3",
        ]


# Dead letters


def letter(raw: bytes, record: int = 1, etag: str = "e") -> DeadLetter:
    return DeadLetter("undecodable", 'it\'s "odd"\n', raw, "s3://b/é", etag, record, table="orders", found_at_us=5)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6))
def test_dead_letters_are_read_as_written_and_once_each(raws: list[bytes]) -> None:
    letters = [letter(raw, n) for n, raw in enumerate(raws, start=1)]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a/1.ndjson.gz", "b/2.ndjson.gz"):
            with spooled_dead_letters(Path(folder, "spool")) as add:
                for one in letters:
                    add(one)
            put_copy(Path(folder, name), Path(folder, "spool"))
        found = list(read_dead_letters(Path(folder)))
        lines = gzip.decompress(Path(folder, "a/1.ndjson.gz").read_bytes()).decode().splitlines()
    unique = {one.id: one for one in reversed(letters)}
    assert {one.id: one for one in found} == unique
    assert len(found) == len(unique)
    assert [json.loads(line)["id"] for line in lines] == [one.id for one in letters]


def test_a_dead_letter_is_known_by_its_bytes_or_where_it_has_none_by_its_place() -> None:
    assert letter(b"x", 1, "e").id == letter(b"x", 2, "f").id != letter(b"y").id
    assert len({letter(b"", 1).id, letter(b"", 2).id, letter(b"", 1, "f").id}) == 3


def test_errors_are_one_line() -> None:
    fault = ConfigError("open lake", Path("/x"), expected="a\nfolder", got="none", remedy="Make it")
    assert str(fault) == "open lake /x; expected a folder; found none. Make it"
    assert str(PoisonError("future", "x")) == "decode record; found future: x"
