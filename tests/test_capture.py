"""Capture: what it says of a record is what `decode_record` says, and what lands is what came.

Records are grown as in `test_agreement_records`, and then their text is broken, too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

import standin
from ingest.capture import Captured, CaptureRules, Landing, Line, Origin, StreamRecord, plan_landing
from ingest.landing import land
from lake.changes import Change
from lake.config import LakeConfig, TableConfig
from lake.dead_letters import read_dead_letters
from lake.errors import PoisonError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake
from lake.records import FUTURE_US_MAX, RECORD_BYTES_MAX, decode_record, parse_record, table_of
from tests.lakes import compacted, fresh_items, land_records, new_lake, rows
from tests.records import START_US, TIME, record, s, text
from tests.test_agreement_records import NOW_US, broken_records, good_records, spell, tables

OTHER = TableConfig("other", "other", KeySchema(KeyAttribute("pk", "S")))
ORIGIN = Origin("changes", "shardId-000000000001")
Verdict = tuple[str, Change] | PoisonError


def rules_of(*tables: TableConfig) -> CaptureRules:
    return CaptureRules(LakeConfig({table.name: table for table in tables}))


def arrived(raws: list[bytes], first: int = 0) -> list[StreamRecord]:
    """Records with numbers of their own, a millisecond apart."""
    return [StreamRecord(raw, str(first + n), START_US + n * 1_000) for n, raw in enumerate(raws)]


def verdict(raw: bytes, tables: list[TableConfig]) -> Verdict:
    """The table and the change of a record, or what is the matter with it: by the strict reading alone."""
    try:
        parsed = parse_record(raw)
        name = table_of(parsed)
        table = next((table for table in tables if table.dynamodb_name == name), None)
        if table is None:
            return PoisonError("unregistered table", name)
        parsed.pop("_lake", None)
        return name, decode_record(parsed, table.rules, NOW_US)
    except PoisonError as fault:
        return fault


def check_line(line: Line, came: StreamRecord, change: Change, table: TableConfig) -> None:
    assert (line.table, line.created_at_us, line.event_id) == (
        table.dynamodb_name, change.created_at_us, change.event_id
    )  # fmt: skip
    assert line.text.endswith(b"}\n") and line.text.count(b"\n") == 1
    landed, original = parse_record(line.text), parse_record(came.data)
    original.pop("_lake", None)
    assert landed.pop("_lake") == {
        "source": "stream", "stream": ORIGIN.stream, "shard_id": ORIGIN.shard_id,
        "sequence_number": came.sequence_number, "arrived_us": came.arrived_us,
    }  # fmt: skip
    assert landed == original
    names = [name for name, _ in json.loads(line.text, object_pairs_hook=list)]
    assert names.count("_lake") == 1, "SQL may read the first, and Python the last"
    number = came.sequence_number if table.surface == "kds" else change.sequence_number
    assert decode_record(parse_record(line.text), table.rules, NOW_US) == replace(
        change, shard_id=ORIGIN.shard_id, sequence_number=number
    )


def check(raws: list[bytes], tables: list[TableConfig]) -> Captured:
    records = arrived(raws)
    captured = rules_of(*tables).capture(records, ORIGIN, NOW_US)
    assert (captured.records, captured.size) == (len(raws), sum(map(len, raws)))
    assert captured.last_sequence_number == records[-1].sequence_number
    lines, letters = iter(captured.lines), iter(captured.letters)
    for came in records:
        expected = verdict(came.data, tables)
        if isinstance(expected, PoisonError):
            letter = next(letters, None)
            assert letter is not None, came.data
            assert (letter.reason, letter.raw, letter.sequence_number) == (
                expected.reason, came.data, came.sequence_number
            )  # fmt: skip
            assert (letter.stream, letter.shard_id, letter.is_sealed) == (ORIGIN.stream, ORIGIN.shard_id, False)
        else:
            name, change = expected
            line = next(lines, None)
            assert line is not None, came.data
            check_line(line, came, change, next(table for table in tables if table.dynamodb_name == name))
    assert (next(lines, None), next(letters, None)) == (None, None)
    return captured


# Whatever bytes come in

WOUNDS = [
    b"\n", b" ", b"\r\n", b"\t", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\\", b"\\ud83d", b"\\ud83d\\ude00",
    b'"', b"{", b"}", b"[", b",", b":", b"null", b"1e5", b"9" * 30, b"NaN", b"{}",
    b'"_lake":{"source":"scan"},', b'"dynamodb":{},', b'"eventID":"second",', b'"tableName":"other",',
    b'"NewImage":null,', b'"SequenceNumber":null,', b'"z":{"B":"YQ=="},', b'"z":{"S":"\xc3\xa9"},', b"[" * 100_000,
]  # fmt: skip
ESCAPED = [b'"B"', b'"BS"', b'"eventID"', b'"_lake"', b'"dynamodb"', b'"SequenceNumber"', b'"S"', b'"N"', b'"INSERT"']


@st.composite
def wounded(draw: st.DrawFn, raw: bytes) -> bytes:
    """The text of a record, with a piece put in or taken out, or the same name written otherwise."""
    how = draw(st.sampled_from(["whole", "whole", "in", "in", "field", "field", "cut", "out", "escape", "escape"]))
    if how == "in":
        at = draw(st.integers(0, len(raw)))
        return raw[:at] + draw(st.sampled_from(WOUNDS)) + raw[at:]
    if how == "field":
        places = [n + 1 for n, byte in enumerate(raw) if byte == ord("{")]
        at = draw(st.sampled_from(places or [0]))
        return raw[:at] + draw(st.sampled_from(WOUNDS)) + raw[at:]
    if how == "cut":
        return raw[: draw(st.integers(0, len(raw)))]
    if how == "out":
        at = draw(st.integers(0, len(raw)))
        return raw[:at] + raw[at + draw(st.integers(1, 3)) :]
    if how == "escape":
        name = draw(st.sampled_from([name for name in ESCAPED if name in raw] or [b'"']))
        return raw.replace(name, b'"\\u%04x' % name[1] + name[2:]) if len(name) > 1 else raw
    return raw


def check_whatever_comes(data: st.DataObject) -> None:
    table = data.draw(tables())
    raws = []
    for _ in range(data.draw(st.integers(1, 5))):
        one = data.draw(st.sampled_from([table, table, table, OTHER]))
        grown = data.draw(broken_records(one)) if data.draw(st.booleans()) else data.draw(good_records(one))[0]
        raws.append(data.draw(wounded(spell(grown, data.draw(st.sampled_from([1, 1, 1, 0, 2, 4]))))))
    check(raws, [table, OTHER])


@settings(max_examples=200)
@given(data=st.data())
def test_whatever_comes_is_captured_as_it_is_decoded(data: st.DataObject) -> None:
    check_whatever_comes(data)


@pytest.mark.slow
@settings(max_examples=3_000)
@given(data=st.data())
def test_much_of_whatever_comes_is_captured_as_it_is_decoded(data: st.DataObject) -> None:
    check_whatever_comes(data)


@settings(max_examples=100)
@given(raw=st.binary(max_size=40))
@example(raw=b"")
@example(raw=b"}")
@example(raw=b"\xff}")
def test_any_bytes_are_a_letter(raw: bytes) -> None:
    assert len(check([raw], [OTHER]).letters) == 1


ORDERS = TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S")))
NUMBERED = TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "N")))
BINARY = TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "B")))
STREAMED = replace(ORDERS, surface="streams")


def with_value(value: str) -> bytes:
    """A good record of `orders`, but for one value in its image."""
    return text("e1").replace(b'{"N":"1"}', value.encode())


HAND: dict[str, bytes] = {
    "binary whose kind is written with an escape": with_value('{"\\u0042":"YQ=="}'),
    "sets of binary whose kind is written with an escape": with_value('{"\\u0042S":["YQ=="]}'),
    "binary encoded twice and written with an escape": with_value('{"\\u0042":"WVE9PQ=="}'),
    "a number of thirty digits": with_value("9" * 30),
    "deeper than any parser goes": with_value('{"L":[' * 100_000),
    "a hundred levels": with_value('{"L":[' * 100 + ']}' * 100),
    "its own _lake": text("e1", _lake={"source": "scan", "sequence_number": "7", "masks": "x"}),
    "its own _lake, escaped": text("e1").replace(b'"eventID"', b'"\\u005flake":{"source":"scan"},"eventID"'),
    "its own _lake, null": text("e1", _lake=None),
    "two of its own": text("e1").replace(b'"eventID"', b'"_lake":1,"_lake":{"source":"repair"},"eventID"'),
    "a READ that claims to be from a scan": text("e1", eventName="READ", _lake={"source": "scan"}),
    "a carriage return between its parts": text("e1").replace(b'"eventName"', b'\r"eventName"'),
    "other line ends in a text": with_value('{"S":"\u2028\u2029\u0085"}'),
    "a space behind it": text("e1") + b" ",
    "two records at once": text("e1") + text("e2"),
    "an empty key": text("e1", body={"Keys": {"pk": s(""), "sk": s("1")}, "NewImage": {"pk": s(""), "sk": s("1")}}),
    "a sequence number that is null": text("e1", body={"SequenceNumber": None}),
    "a sequence number": text("e1", body={"SequenceNumber": "1"}),
    "a later image that takes the first's place": text("e1").replace(b'"SizeBytes":40', b'"NewImage":null'),
    "an image of another item first": text("e1").replace(b'"SizeBytes"', b'"NewImage":{"pk":{"S":"z"}},"SizeBytes"'),
    "bytes that are no UTF-8": with_value('{"S":"x"}').replace(b'"x"', b'"\xff"'),
    "a surrogate as bytes": with_value('{"S":"x"}').replace(b'"x"', b'"\xed\xa0\xbd"'),
    "an image with another kind beside its key's": text("e1").replace(b'"S":"e1"', b'"S":"e1","N":"1"', 1),
    "keys with another kind beside theirs": text("e1").replace(b'"S":"e1"', b'"S":"e1","N":"1"'),
    "no event id": text("e1", eventID=""),
    "other capitals": text("e1").replace(b"eventID", b"EventID"),
    "an empty name of a table": text("e1", tableName=""),
    "a REMOVE with a new image": text("e1", eventName="REMOVE"),
    "an INSERT with an old image": text("e1", body={"OldImage": {"pk": s("e1"), "sk": s("1")}}),
    "an old image of another item": text("e1", eventName="MODIFY", body={"OldImage": {"pk": s("z"), "sk": s("1")}}),
}  # fmt: skip
for _n, _time in enumerate([
    1_700_000_000, 1_700_000_000.0, 1_700_000_000.5, 1_700_000_000_123, 1_700_000_000_123_456, NOW_US + FUTURE_US_MAX,
    NOW_US + FUTURE_US_MAX + 1, NOW_US // 1_000 + FUTURE_US_MAX // 1_000 + 1, 99_999_999, 100_000_000, 10**17,
    10**17 - 1, 10**40, -1, True, None, "1700000000", 10**14, 10**14 - 1, 10**11, 10**11 - 1,
]):  # fmt: skip
    HAND[f"the time {_time!r}"] = text("e1", body={TIME: _time})


@pytest.mark.parametrize("case", HAND)
def test_records_by_hand(case: str) -> None:
    check([HAND[case]], [ORDERS])
    check([text("e0"), HAND[case], text("e2")], [OTHER, ORDERS])
    check([HAND[case]], [STREAMED])


@pytest.mark.parametrize(
    "number", ["0", "-0", "1", "-1", "007", "1.0", "1e2", "9" * 38, "9" * 39, "+1", " 1", "", "x", "1\u0660", "\u0661"]
)
def test_keys_of_numbers(number: str) -> None:
    key = {"pk": {"N": number}}
    check([text("e1", body={"Keys": key, "NewImage": key})], [NUMBERED])
    check([text("e1", body={"Keys": key, "NewImage": {"pk": {"N": "1"}}})], [NUMBERED])


@pytest.mark.parametrize("name", ['a"b', "\\", "a\nb", "é", "key_0", "value", "class", "a-b", "😀", "_lake"])
def test_names_of_keys(name: str) -> None:
    """DynamoDB takes any text as an attribute's name, also in a key."""
    key = {name: s("k")}
    table = replace(ORDERS, keys=KeySchema(KeyAttribute(name, "S")))
    assert len(check([text("e1", body={"Keys": key, "NewImage": {**key, "v": s("x")}})], [table]).lines) == 1


@pytest.mark.parametrize("value", ["WVE9PQ==", "YQ==", "", "!", "WVE9PQ"])
def test_keys_of_binary(value: str) -> None:
    key = {"pk": {"B": value}}
    check([text("e1", body={"Keys": key, "NewImage": key})], [BINARY])


def test_a_record_larger_than_any_is_a_letter() -> None:
    """16 MiB is the limit of what is parsed; the narrow way has to keep it, too."""
    check([with_value('{"S":"%s"}' % ("x" * RECORD_BYTES_MAX))], [ORDERS])


def test_plain_records_land_as_they_came() -> None:
    raws = [text(f"e{n}", tableName="orders" if n % 3 else "other") for n in range(20)]
    both = rules_of(ORDERS, OTHER).capture(arrived(raws), ORIGIN, NOW_US)
    assert [line.text.split(b',"_lake"')[0] + b"}" for line in both.lines] == raws
    spaced = [json.dumps(record("e1"), separators=(" , ", " : ")).encode()]
    (line,) = rules_of(ORDERS).capture(arrived(spaced), ORIGIN, NOW_US).lines
    assert line.text.startswith(spaced[0][:-1])


@pytest.mark.parametrize("name", ['a"b', "é", "\\", "a\nb", ""])
def test_names_of_streams_and_shards_are_written_as_json(name: str) -> None:
    (line,) = rules_of(ORDERS).capture(arrived([text("e1")]), Origin(name, name), NOW_US).lines
    lake = json.loads(line.text)["_lake"]
    assert (lake["stream"], lake.get("shard_id", "")) == (name, name) and line.text.count(b"\n") == 1


def test_a_lake_without_tables_takes_nothing_in() -> None:
    captured = rules_of().capture(arrived([text("e1"), b"rubbish"]), ORIGIN, NOW_US)
    assert [letter.reason for letter in captured.letters] == ["unregistered table", "undecodable"]
    assert captured.letters[0].table == "orders" and captured.letters[1].table is None


# Landings


def parts(records: list[StreamRecord], cuts: list[int]) -> list[Captured]:
    """The records, captured in pieces."""
    rules, bounds = rules_of(ORDERS, OTHER), sorted({0, len(records), *cuts})
    return [rules.capture(records[start:end], ORIGIN, NOW_US) for start, end in pairwise(bounds)]


def planned(records: list[StreamRecord], cuts: list[int]) -> Landing:
    return plan_landing(parts(records, cuts), ORIGIN, {"orders", "other"})


TIMES = [START_US, START_US + 1_000, START_US + 1_234, START_US + 1_235, START_US // 1_000, START_US // 1_000 + 1]
windows = st.lists(
    st.one_of(
        st.builds(
            lambda n, at, table: text(f"e{n}", tableName=table, body={TIME: at}),
            st.integers(0, 5), st.sampled_from(TIMES), st.sampled_from(["orders", "orders", "other"]),
        ),
        st.sampled_from([b"rubbish", text("u", tableName="unknown"), text("p", eventName="READ"), b"{}"]),
    ),
    min_size=1, max_size=20,
)  # fmt: skip


@settings(max_examples=150)
@given(raws=windows, data=st.data())
def test_a_landing_is_a_function_of_its_records(raws: list[bytes], data: st.DataObject) -> None:
    records = arrived(raws)
    cuts = st.lists(st.integers(1, len(records)), max_size=4)
    landing, again = planned(records, data.draw(cuts)), planned(records, data.draw(cuts))
    assert again == landing
    assert landing.checkpoint == records[-1].sequence_number
    assert landing.records == len(records) == landing.changes + landing.duplicates + landing.dead_letters
    assert (landing.path is None) == (landing.data == b"") == (landing.changes == 0)
    for table, letters in landing.letters.items():
        assert letters and {one.table if one.table in ("orders", "other") else None for one in letters} == {table}
    numbers = [int(one.sequence_number) for letters in landing.letters.values() for one in letters]
    assert len(numbers) == len(set(numbers)) == landing.dead_letters


@settings(max_examples=150)
@given(raws=windows, data=st.data())
def test_each_change_lands_once_and_in_order_of_time(raws: list[bytes], data: st.DataObject) -> None:
    """And of copies the finer time stands, in whatever order they come."""
    records = data.draw(st.permutations(arrived(raws)))
    found = [one for one in (verdict(raw, [ORDERS, OTHER]) for raw in raws) if not isinstance(one, PoisonError)]
    preferred: dict[tuple[str, str], tuple[bool, int]] = {}
    for name, change in found:
        fineness = (change.created_at_us % 1_000 != 0, change.created_at_us)
        identity = (name, change.event_id)
        preferred[identity] = max(fineness, preferred.get(identity, fineness))
    landing = planned(records, [len(records) // 2])
    lines = [msgspec.json.decode(line) for line in landing.data.splitlines()]
    landed = [verdict(line, [ORDERS, OTHER]) for line in landing.data.splitlines()]
    times = {(name, change.event_id): change.created_at_us for name, change in landed}  # type: ignore[misc]
    assert len(lines) == len(times) == landing.changes
    assert times == {identity: fineness[1] for identity, fineness in preferred.items()}
    assert list(times.values()) == sorted(times.values())


def test_other_records_land_in_another_object() -> None:
    records = arrived([text(f"e{n}", body={TIME: START_US + n}) for n in range(6)])
    whole = planned(records, [])
    others = [
        planned(records[:5], []),
        planned(records[1:], []),
        planned([*records[:5], replace_data(records[5], text("e5", body={TIME: START_US + 6}))], []),
        planned([*records[:5], StreamRecord(records[5].data, "99", records[5].arrived_us)], []),
        plan_landing(parts(records, []), Origin("changes", "shardId-000000000002"), {"orders"}),
        plan_landing(parts(records, []), Origin("others", ORIGIN.shard_id), {"orders"}),
    ]
    assert len({whole.path, *(other.path for other in others)}) == 7
    assert whole.path is not None and whole.path.startswith("raw/stream=changes/2023/11/14/22/shardId-000000000001-")


def replace_data(one: StreamRecord, data: bytes) -> StreamRecord:
    return StreamRecord(data, one.sequence_number, one.arrived_us)


# All the way


def fails(fault: Exception) -> None:
    raise fault


def land_windows(lake: Lake, records: list[StreamRecord], windows: Iterator[tuple[int, int]]) -> None:
    rules = CaptureRules(lake.config)
    for start, end in windows:
        captured = rules.capture(records[start:end], ORIGIN, NOW_US)
        land(plan_landing([captured], ORIGIN, {"orders"}), lake, {"orders": "orders"}, fails)


def files(place: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(place).rglob("*") if path.is_file()}


def change_log(lake: Lake) -> list[tuple[Any, ...]]:
    """But for where it comes from, and for the spelling of times that are only copies of others."""
    return rows(lake, """SELECT * EXCLUDE (batch, sequence_number, shard_id, raw_object, is_late)
                         FROM orders_changes ORDER BY event_id""")  # fmt: skip


def history(seed: int) -> list[bytes]:
    rng, table = random.Random(seed), standin.Table("orders", seed=seed)
    at_us = START_US
    for n in range(120):
        at_us += rng.choice([0, 1, 900, 70_000_000])
        key = {"pk": {"S": f"c{rng.randrange(3)}"}, "sk": {"S": f"é {rng.randrange(3)}"}}
        if rng.random() < 0.3:
            table.delete(key, at_us, ttl=rng.random() < 0.5)
        else:
            table.put({**key, "n": {"N": f"{n}.50"}, "b": {"BS": ["AAE=", "/w=="]}, "t": {"S": 'a\n"\\\x7f'}}, at_us)
    faults = standin.Faults(
        duplicates=0.2, duplicate_other_precision=0.5, disorder=0.2, precision_switch_at=0.5, poison=6, unregistered=2
    )
    return [one.data for one in standin.kds_records(table, seed=seed, faults=faults)]


@pytest.mark.parametrize("seed", range(2))
def test_what_is_landed_is_what_came(tmp_path: Path, seed: int) -> None:
    raws = history(seed)
    raws += [HAND["a carriage return between its parts"], HAND["other line ends in a text"].replace(b"e1", b"e2")]
    raws += [json.dumps(record("e3"), indent=1).encode(), text("e4") + b"\n", text("e5", _lake={"source": "scan"})]
    records = arrived(raws)
    lake, plain = new_lake(tmp_path / "lake"), new_lake(tmp_path / "plain")
    width = 20
    land_windows(lake, records, ((n, n + width + 3) for n in range(0, len(records), width)))  # each overlaps the next
    land_records(plain, "one.ndjson", [json.dumps(one).encode() for one in parsed(raws)])
    report, _ = compacted(lake), compacted(plain)
    assert report.changes > 100 and report.duplicates > 10 and report.dead_letters == 0
    assert change_log(lake) == change_log(plain)
    assert fresh_items(lake) == fresh_items(plain)
    told = rows(lake, "SELECT DISTINCT shard_id FROM orders_changes")
    assert told == [(ORIGIN.shard_id,)]
    numbers = dict(rows(lake, "SELECT event_id, sequence_number FROM orders_changes"))
    assert all(numbers[event_id] in came for event_id, came in arrivals(records).items())
    letters = [letter.raw for letter in read_dead_letters(lake.dead_letters)]
    assert sorted(letters) == sorted(poison(raws))

    before = files(lake.uri + "/raw"), files(lake.dead_letters)
    land_windows(lake, records, ((n, n + width + 3) for n in range(0, len(records), width)))
    assert (files(lake.uri + "/raw"), files(lake.dead_letters)) == before
    assert compacted(lake).objects == 0


def parsed(raws: list[bytes]) -> Iterator[dict[str, Any]]:
    """The good ones, without what their producers said in our place."""
    for raw in raws:
        if not isinstance(verdict(raw, [ORDERS]), PoisonError):
            one = json.loads(raw)
            one.pop("_lake", None)
            yield one


def poison(raws: list[bytes]) -> set[bytes]:
    return {raw for raw in raws if isinstance(verdict(raw, [ORDERS]), PoisonError)}


def arrivals(records: list[StreamRecord]) -> dict[str, set[str]]:
    """By change, the numbers of the records that brought it."""
    found: dict[str, set[str]] = {}
    for came in records:
        told = verdict(came.data, [ORDERS])
        if not isinstance(told, PoisonError):
            found.setdefault(told[1].event_id, set()).add(came.sequence_number)
    return found


def test_a_landed_object_is_lines_of_json(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land_windows(lake, arrived([text("e1"), text("e2"), b"rubbish"]), iter([(0, 3)]))
    (landed,) = Path(lake.raw).rglob("*.ndjson.zst")
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(landed.read_bytes()).splitlines()
    assert [json.loads(line)["eventID"] for line in lines] == ["e1", "e2"]
    assert [letter.reason for letter in read_dead_letters(lake.dead_letters)] == ["undecodable"]
    assert "_unknown" in str(*files(lake.dead_letters))
