"""What SQL makes of a raw record is what `decode_record` makes of it, wherever SQL takes it in.

Records are grown from a grammar: good ones, odd ones, and ones that are broken in one or two places.
"""

from __future__ import annotations

import base64
import copy
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compaction.landed import TAKEN, create_landed, read_landed
from compaction.objects import stage
from compaction.salvage import _columns
from lake.attributes import canonical_image
from lake.changes import Surface
from lake.config import TableConfig
from lake.engine import connect_engine
from lake.errors import PoisonError
from lake.keys import KeyAttribute, KeySchema
from lake.records import decode_record, parse_record, table_of
from lake.store import RawObject

NOW_US = 1_800_000_000_000_000
Json = dict[str, Any]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect_engine(1024, 2)
    yield connection
    connection.close()


def taken_by_sql(con: duckdb.DuckDBPyConnection, table: TableConfig, raws: list[bytes]) -> dict[int, tuple[Any, ...]]:
    """The rows that SQL takes in, by the place of their record: each stands in an object of its own."""
    create_landed(con, table)
    with tempfile.TemporaryDirectory() as folder:
        staged = []
        for number, raw in enumerate(raws):
            (source := Path(folder, "raw")).write_bytes(raw + b"\n")
            staged.append(stage(number, RawObject(str(source), "", len(raw)), Path(folder)))
        for form, binary in {(one.layout, one.has_binary) for one in staged}:
            read(con, table, [str(s.path) for s in staged if (s.layout, s.has_binary) == (form, binary)], form, binary)
    rows = con.execute(f"SELECT object, * EXCLUDE (verdict, object) FROM landed WHERE verdict = {TAKEN}").fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def read(con: duckdb.DuckDBPyConnection, table: TableConfig, files: list[str], form: str, binary: bool) -> None:
    """As compact does: what cannot be read is left to salvage."""
    try:
        read_landed(con, table, ["other"], files, form, binary, NOW_US)
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        for file in files if len(files) > 1 else ():
            read(con, table, [file], form, binary)


def taken_by_python(table: TableConfig, raw: bytes) -> tuple[Any, ...] | None:
    try:
        record = parse_record(raw)
        if table_of(record) != table.dynamodb_name:
            return None
        return _columns(decode_record(record, table.rules, NOW_US))
    except PoisonError:
        return None


def comparable(table: TableConfig, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with its images canonical."""
    first = 1 + len(table.keys.attributes) + 3
    images = [None if text is None else canonical_image(json.loads(text)) for text in row[first : first + 2]]
    return (*row[:first], *images, *row[first + 2 :])


def check(con: duckdb.DuckDBPyConnection, table: TableConfig, raws: list[bytes]) -> dict[int, tuple[Any, ...]]:
    taken = taken_by_sql(con, table, raws)
    for number, row in taken.items():
        expected = taken_by_python(table, raws[number])
        assert expected is not None, f"SQL took in what Python refuses: {raws[number]!r}"
        assert comparable(table, row) == comparable(table, expected), raws[number]
    return taken


# The grammar

NAMES = [
    "pk",
    "S",
    "B",
    "a/b",
    "~",
    "a~1b",
    'x"y',
    "it's",
    "né",
    "a.b",
    "sp ace",
    "\\",
    "$",
    "*",
    "[0]",
    "a:b",
    "{",
    "😀",
    "op",
    "%s",
]
text = st.one_of(
    st.text(max_size=8), st.sampled_from(["", '"B":"', '{"S":"a"}', "\\", '\\"', "\x00", "null", "NaN", "😀", "\n"])
)
key_text = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["|", "\\|", "'", '"', '"}', "\x00", "😀"]))
number = st.sampled_from(
    ["0", "-0", "1", "1.0", "1E0", "+1", "007", ".5", "5.", "1e-130", "9" * 38, "-9.99E+125", "0.10"]
)
binary = st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode())
names = st.one_of(st.sampled_from(NAMES), st.text(min_size=1, max_size=5))


def values() -> st.SearchStrategy[Json]:
    scalars = st.one_of(
        text.map(lambda v: {"S": v}),
        number.map(lambda v: {"N": v}),
        binary.map(lambda v: {"B": v}),
        st.booleans().map(lambda v: {"BOOL": v}),
        st.just({"NULL": True}),
        st.lists(text, min_size=1, max_size=3, unique=True).map(lambda v: {"SS": v}),
        st.lists(number, min_size=1, max_size=3, unique=True).map(lambda v: {"NS": v}),
        st.lists(binary, min_size=1, max_size=3, unique=True).map(lambda v: {"BS": v}),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda v: {"L": v}),
            st.dictionaries(names, inner, max_size=3).map(lambda v: {"M": v}),
        ),
        max_leaves=6,
    )


KEY_VALUES = {
    "S": key_text,
    "N": number,
    "B": st.binary(min_size=1, max_size=6).map(lambda data: base64.b64encode(data).decode()),
}


def twice(value: Any) -> Any:
    """A value as KDS writes it: binary encoded a second time."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "B":
        return {"B": base64.b64encode(content.encode()).decode()}
    if kind == "BS":
        return {"BS": [base64.b64encode(member.encode()).decode() for member in content]}
    if kind == "L":
        return {"L": [twice(member) for member in content]}
    if kind == "M":
        return {"M": {name: twice(member) for name, member in content.items()}}
    return value


@st.composite
def tables(draw: st.DrawFn) -> TableConfig:
    kinds = draw(st.lists(st.sampled_from("SNB"), min_size=1, max_size=2))
    key_names = draw(st.lists(names, min_size=len(kinds), max_size=len(kinds), unique=True))
    keys = KeySchema(*(KeyAttribute(name, kind) for name, kind in zip(key_names, kinds, strict=True)))
    surface: Surface = draw(st.sampled_from(["kds", "streams"]))
    return TableConfig("t", draw(st.sampled_from(["orders", "My.Table-1"])), keys, surface)


@st.composite
def good_records(draw: st.DrawFn, table: TableConfig) -> tuple[Json, Json | None, Json | None]:
    """A record as it lands, and its images with binary encoded once."""
    source = draw(st.sampled_from(["stream"] * 4 + ["scan", "export", "repair"]))
    op = draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"] if source == "stream" else ["READ", "REMOVE"]))
    key = {a.name: {a.kind: draw(KEY_VALUES[a.kind])} for a in table.keys.attributes}

    def image() -> Json:
        whole = draw(st.dictionaries(names, values(), max_size=4)) | key
        return dict(draw(st.permutations(list(whole.items()))))

    new = None if op == "REMOVE" else image()
    old = image() if op == "MODIFY" or (op == "REMOVE" and draw(st.booleans())) else None
    is_kds = source == "stream" and table.surface == "kds"

    def written(whole: Json) -> Json:
        return {name: twice(value) if is_kds else value for name, value in whole.items()}

    times = [1_700_000_000, 1_700_000_000_123, 1_700_000_000_123_456, 100_000_000, NOW_US + 86_400_000_000]
    body: Json = {"ApproximateCreationDateTime": draw(st.sampled_from(times)), "Keys": written(key)}
    body |= {name: written(whole) for name, whole in (("NewImage", new), ("OldImage", old)) if whole is not None}
    record: Json = {"eventID": draw(st.sampled_from(["e1", "5f0c-uuid", "é'%"])), "eventName": op, "dynamodb": body}
    record["userIdentity"] = draw(st.sampled_from([None, {"type": "Service", "principalId": "dynamodb.amazonaws.com"}]))
    if source == "stream" and table.surface == "streams":
        body["SequenceNumber"] = str(draw(st.integers(0, 10**40 - 1)))
        record["eventSourceARN"] = (
            f"arn:aws:dynamodb:us-east-1:1:table/{table.dynamodb_name}/stream/2024-01-01T00:00:00.000"
        )
    else:
        record["tableName"] = table.dynamodb_name
    if source != "stream" or draw(st.booleans()):
        record["_lake"] = {"source": source, "shard_id": "shardId-1", "sequence_number": "49"}
    return record, new, old


ODD: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, 1_700_000_000.0, 10**18, 10**30, "", "x", "orders", "other", '"',
    "e\u0000\n\\é", [], {}, [1], {"S": "a"},
    {"a": 5}, {"M": {"a": {"B": "!"}}}, {"B": "YQ=="}, "INSERT", "REMOVE", "READ", "1" * 41, "1", {"source": "scan"},
    {"source": ""}, {"source": 5},
    {"shard_id": 5, "sequence_number": 6}, {"shard_id": None}, {"type": "Service"}, NOW_US + 86_400_000_001,
    99_999_999, {"source": None, "x": 1},
    "arn:aws:dynamodb:us-east-1:1:table/orders/stream/x", "arn:aws:dynamodb:us-east-1:1:table/orders/index/x", "AA=A",
    {"S": "a", "N": "1"},
]  # fmt: skip


def places(record: Json) -> list[tuple[Any, str]]:
    """Where a record can be broken: every field of the envelope and of the body, the keys and what bears them."""
    body = record["dynamodb"]
    found = [(record, n) for n in (*record, "tableName", "eventSourceARN", "_lake", "eventid")]
    found += [(body, n) for n in (*body, "NewImage", "OldImage", "SequenceNumber", "keys")]
    for part in ("Keys", "NewImage", "OldImage"):
        found += [(body[part], n) for n in body.get(part) or ()]
        found += [(body[part][n], k) for n in body.get(part) or () for k in body[part][n] if n in body["Keys"]]
    found += [(record["_lake"], n) for n in record.get("_lake") or ()]
    return found


@st.composite
def broken_records(draw: st.DrawFn, table: TableConfig) -> Json:
    record = copy.deepcopy(draw(good_records(table))[0])
    for holder, name in draw(st.lists(st.sampled_from(places(record)), max_size=2)):
        value = draw(st.sampled_from([*ODD, ODD]))
        if value is ODD:
            holder.pop(name, None)
        else:
            holder[name] = copy.deepcopy(value)
    return record


def spell(record: Json, style: int) -> bytes:
    """One record in one of the ways in which JSON can be written."""
    loose = json.dumps(record, ensure_ascii=style % 2 == 0)
    tight = json.dumps(record, ensure_ascii=style % 2 == 0, separators=(",", ":"))
    return (loose, tight, json.dumps(record, indent=1))[style % 3].encode("utf-8", "surrogatepass")


@settings(max_examples=20)
@given(data=st.data())
def test_good_records_are_taken_in_as_they_were(con: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    table = data.draw(tables())
    good = data.draw(st.lists(good_records(table), min_size=1, max_size=6))
    raws = [spell(record, data.draw(st.integers(0, 4))) for record, _, _ in good]
    taken = check(con, table, raws)
    for number, (_, new, old) in enumerate(good):
        if any(ord(char) < 32 for attribute in table.keys.attributes for char in attribute.name):
            continue  # DuckDB and Python escape these differently: left to salvage
        assert number in taken, raws[number]
        first = 1 + len(table.keys.attributes) + 3
        images = comparable(table, taken[number])[first : first + 2]
        assert images == tuple(None if whole is None else canonical_image(whole) for whole in (new, old))


def check_broken(con: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    table = data.draw(tables())
    records = data.draw(st.lists(broken_records(table), min_size=1, max_size=6))
    check(con, table, [spell(record, data.draw(st.integers(0, 5))) for record in records])


@settings(max_examples=60)
@given(data=st.data())
def test_broken_records_are_never_taken_in_otherwise(con: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    check_broken(con, data)


@pytest.mark.slow
@settings(max_examples=3_000)
@given(data=st.data())
def test_many_broken_records_are_never_taken_in_otherwise(con: duckdb.DuckDBPyConnection, data: st.DataObject) -> None:
    check_broken(con, data)


# By hand

ORDERS = TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "S")))
A: Json = {"pk": {"S": "a"}}


def record(body: Json, **fields: Any) -> Json:
    body = {"ApproximateCreationDateTime": 1_700_000_000_123_456, "Keys": A, "NewImage": A} | body
    return {"eventID": "e1", "eventName": "INSERT", "tableName": "orders", "dynamodb": body} | fields


HAND: dict[str, bytes] = {
    "nested and right": spell(record({"NewImage": {"m": {"M": A}, **A}}), 1),
    "provenance that is no text": spell(record({}, _lake={"shard_id": 7, "sequence_number": 49}), 1),
    "a string that says NaN": spell(record({"NewImage": {**A, "x": {"S": ":NaN,Infinity"}}}), 1),
    "binary encoded once only": spell(record({"NewImage": {**A, "x": {"B": "YQ=="}}}), 1),
    "a field twice": spell(record({}), 1).replace(b'"eventID":"e1"', b'"eventID":"e1","eventID":"e2"'),
    "an array": b"[" + spell(record({}), 1) + b"]",
    "fields in other letters": spell(record({}), 1).replace(b"eventID", b"EVENTID").replace(b"NewImage", b"newimage"),
    "a lone surrogate": spell(record({}), 1).replace(b'"S":"a"', b'"S":"\\ud83d"'),
    "no UTF-8": spell(record({}), 1).replace(b'"S":"a"', b'"S":"\xff"'),
}


@pytest.mark.parametrize("case", HAND)
def test_records_by_hand(con: duckdb.DuckDBPyConnection, case: str) -> None:
    check(con, ORDERS, [HAND[case]])


@pytest.mark.parametrize("text", ["A", "é", 'q"', "\\", "\n", "\x01", "\x7f", "\x00", "😀"])
def test_escapes_in_an_event_id(con: duckdb.DuckDBPyConnection, text: str) -> None:
    raws = [spell(record({}, eventID=f"e{text}e"), style) for style in range(4)]
    check(con, ORDERS, raws)
    assert all(taken_by_python(ORDERS, raw) is not None for raw in raws)
