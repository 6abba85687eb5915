"""One table of items of every type and of every odd name, end to end: lossless, typed, and the same every way."""

from __future__ import annotations

import base64
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.expressions import EqualTo

import standin
from compaction.compact import compact
from compaction.refresh import refresh
from lake import columns
from lake.attributes import canonical_image, canonical_number
from lake.catalog import load_table, open_catalog
from lake.columns import Column
from lake.config import TableConfig
from lake.errors import ConfigError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, add_table, create_lake
from lake.layout import NAMESPACE, log_table, state_table
from lake.state import columns_of
from queries.connect import connect
from tests.lakes import (
    SETTINGS,
    compacted,
    expected_items,
    items_of,
    land,
    land_records,
    new_lake,
    only_table,
    refreshed,
    rows,
    timestamp,
)

T = 1_700_000_000_000_000
PK = KeySchema(KeyAttribute("pk", "S"))
Image = dict[str, Any]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def nested(depth: int) -> Image:
    value: Image = {"B": b64(b"deep")}
    for n in range(depth):
        value = {"L": [value]} if n % 2 else {"M": {"S": value, "B": {"S": '"B":"x"'}}}
    return value


STRINGS = [
    "", " ", "it's", 'say "hi"', "back\\slash", "line\nbreak\r\t", "nul\x00l", "😀 é 中", '{"S":"a"}', '"B":"YQ=="',
    '","BS":["', "null", "NaN",
    "1.50", "true", "\u2028", "\x7f", "a" * 3_000,
]  # fmt: skip
NAMES = [
    "a.b", "a b", "a:b", "a/b", "~", "/", "Id", "id", "ID", "_item", "_op", "op", "_item_key", "_bucket", "event_day",
    "key_bucket", "_rescued",
    "_hash_key", "_v", "_v1", "_w", "_odd", "pk.x", "PK", "it's", 'q"q', "né", "😀", "S", "N", "M", "L", "B", "NULL",
    "$", "$.pk", "*", "[0]", "%",
    "select", "\\", "n\nn", "x" * 300, "_", "1st", "e", "_created_at_us", "names", "batch", "-", "a_b",
]  # fmt: skip
SETS: list[Image] = [
    {"SS": ["b", "", "a", 'q"', "\n", "😀", "null"]}, {"NS": ["10", "9", "-0.5", "1E-30"]},
    {"BS": [b64(b"\x00"), b64(b""), b64(b"\xff")]},
]  # fmt: skip
MAPS: list[Image] = [
    {"M": {}}, {"L": []}, nested(30),
    {"M": {"S": {"S": "S"}, "N": {"N": "1.0"}, "B": {"B": ""}, "NULL": {"NULL": True}, "M": {"M": {}}}},
    {"L": [{"N": "1E2"}, {"S": "1E2"}, {"BOOL": False}, {"NULL": True}, {"NS": ["1", "2.50"]}, {"L": [{"L": []}]}]},
    {"M": {"": {"S": "empty name"}}},
]  # fmt: skip
# Widening as it comes: bigint, then a decimal, then scales, and at last what only a double holds.
ROUNDS: list[list[str]] = [
    ["1", "-0", "1.0", "007", "999999999999999999"],
    ["1000000000000000000", "-5", "+6"],
    ["0.5", "1.25", "-0.10"],
    ["0.000000000000001", "12345678901234567.1"],
    ["1E-130", "9.99E+125", "-1", "1e2", "9" * 38],
]
WIDENED = ["BIGINT", "DECIMAL(38,0)", "DECIMAL(38,2)", "DECIMAL(38,15)", "DOUBLE"]


def round_of_writes(table: standin.Table, n: int, at_us: int) -> None:
    """Every round adds items and rewrites some; the first ones stay as they were written."""

    def put(name: str, **attributes: Image) -> None:
        nonlocal at_us
        at_us += 7
        table.put({"pk": {"S": name}, **attributes}, at_us)

    for i, text in enumerate(ROUNDS[n]):
        put(f"number {n} {i}", n={"N": text}, ns={"NS": [text, "77"]}, steady={"N": str(i)})
    put("changes", kind=[{"S": "one"}, {"N": "1"}, {"M": {}}, {"NULL": True}, {"SS": ["x"]}][n], keeps={"N": str(n)})
    put(f"kind {n}", kind=[{"S": "s"}, {"BOOL": False}, {"L": [{"N": "1"}]}, {"B": b64(b"b")}, {"S": "{}"}][n])
    put(f"later {n}", late=[{"NULL": True}, {"NULL": True}, {"BOOL": n == 3}, {"BOOL": False}, {"N": "1"}][n])
    if n == 0:
        for i, text in enumerate(STRINGS):
            put(f"string {i}", text={"S": text}, listed={"L": [{"S": text}]}, mapped={"M": {text: {"S": text}}})
        put("key '\"\\|\x00😀", wide={"N": "9" * 38}, narrow={"N": "0." + "0" * 37 + "1"}, tiny={"N": "-1E-130"})
        put("binary", b={"B": b64(bytes(range(256)))}, empty={"B": ""}, bs=SETS[2])
    if n == 1:
        for i, name in enumerate(NAMES):
            put(f"name {i}", **{name: {"S": name}})
            if i % 8 == 0:
                put(f"number under name {i}", **{name: {"N": "1"}, "n": {"N": "2"}})
    if n == 2:
        for i, value in enumerate(SETS):
            put(f"set {i}", sets=value, **{f"set{i}": value})
        for i, value in enumerate(MAPS):
            put(f"map {i}", maps=value, **{f"map{i}": value})
        put("all names", **{name: {"S": str(i)} for i, name in enumerate(NAMES)})
        table.delete({"pk": {"S": "string 0"}}, at_us + 1)


# What a typed column must hold, told without SQL


def plain(value: Image) -> Any:
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: plain(inner) for name, inner in content.items()}
    if kind == "L":
        return [plain(inner) for inner in content]
    if kind in ("N", "NS"):
        return Decimal(content) if kind == "N" else [Decimal(number) for number in content]
    return None if kind == "NULL" else content


def number_value(column: Column, text: str) -> Any:
    return float(text) if column.scalar_type == "DOUBLE" else Decimal(canonical_number(text))


def typed(column: Column, value: Image) -> Any:
    ((kind, content),) = value.items()
    if kind == "N":
        return number_value(column, content)
    if kind == "B":
        return base64.b64decode(content)
    if kind == "NS":
        return sorted(number_value(column, number) for number in content)
    if kind == "BS":
        return sorted(base64.b64decode(member) for member in content)
    return sorted(content, key=str.encode) if kind == "SS" else plain(value) if kind in "ML" else content


def found_value(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.kind in ("M", "L"):
        return json.loads(value, parse_float=Decimal, parse_int=Decimal)
    return Decimal(value) if isinstance(value, int) and column.kind == "N" else value


def state_columns(lake: Lake, table: TableConfig | None = None) -> list[Column]:
    state = load_table(open_catalog(lake), state_table((table or only_table(lake)).name))
    assert state is not None
    return columns_of(state)


def check_rows(con: duckdb.DuckDBPyConnection, relation: str, items: list[Image], columns: list[Column]) -> None:
    """Each item is there with its image, its values in their columns, and what fits none of them rescued."""
    assert items_of(con, relation) == expected_items(PK, items)
    images = {image["pk"]["S"]: image for image in items}
    result = con.execute(f"SELECT * FROM {relation}")
    names = [entry[0] for entry in result.description or ()]
    assert len({name.lower() for name in names}) == len(names)
    for row in (dict(zip(names, values, strict=True)) for values in result.fetchall()):
        image, rescued = images[row["pk"]], {}
        for column in columns:
            value = image.get(column.attribute, {"NULL": True})
            found = found_value(column, row[column.name])
            if column.kind in value:
                assert found == typed(column, value), (column, value)
            else:
                assert found is None, (column, value)
                if "NULL" not in value:
                    rescued[column.attribute] = value
        found_rescued = json.loads(row["_rescued"] or "{}")
        assert canonical_image(found_rescued) == canonical_image(rescued)
    assert {name for image in images.values() for name in image if "NULL" not in image[name]} <= {
        c.attribute for c in columns
    }


@pytest.fixture(scope="module")
def history() -> tuple[standin.Table, list[int]]:
    table = standin.Table("orders", ("pk", "S"), None, seed=5)
    ends = []
    for n in range(len(ROUNDS)):
        round_of_writes(table, n, T + n * 3_600_000_000)
        ends.append(len(table.changes))
    return table, ends


def test_every_type_and_name_through_widening_rounds(history: tuple[standin.Table, list[int]], tmp_path: Path) -> None:
    """Fresh, refreshed, in full and as of the end of each round, typed and whole."""
    table, ends = history
    lake = new_lake(tmp_path / "lake", keys=PK)
    start, types, known = 0, [], []
    for n, end in enumerate(ends):
        land(
            lake,
            standin.firehose_objects(standin.kds_records(table.changes[start:end], seed=n), seed=n, prefix=f"{n}/"),
        )
        assert compacted(lake).dead_letters == 0
        con = connect(lake, 1024, 2)
        fresh = everything(con)
        con.close()
        report = refreshed(lake)
        con = connect(lake, 1024, 2)
        assert everything(con) == fresh
        columns = state_columns(lake)
        assert [column.attribute for column in columns[: len(known)]] == known, "a column never moves"
        known = [column.attribute for column in columns]
        types.append(next(column.sql_type for column in columns if column.attribute == "n"))
        check_rows(con, "orders", list(table.items_as_of(table.changes[end - 1].at_us).values()), columns)
        if n == 3:
            then_us = table.changes[ends[n - 2] - 1].at_us
            check_rows(con, f"orders_as_of({timestamp(then_us)})", list(table.items_as_of(then_us).values()), columns)
        rescued = con.execute("SELECT count(_rescued) FROM orders").fetchall()[0][0]
        assert (rescued > 0) == (n > 0) and (report.rescued > 0) == (n > 0)
        con.close()
        start = end
    assert types == WIDENED
    refreshed(lake, full=True)
    con = connect(lake, 1024, 2)
    assert everything(con) == fresh
    con.close()


def everything(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple], list[tuple]]:
    """The columns and rows of `orders`."""
    result = con.execute("SELECT * FROM orders ORDER BY _item_key")
    return [entry[:2] for entry in result.description or ()], result.fetchall()


def insert_record(item: Image, keys: KeySchema = PK, n: int = 0, table: str = "orders") -> dict[str, Any]:
    key = {attribute.name: item[attribute.name] for attribute in keys.attributes}
    body = {"ApproximateCreationDateTime": T + n, "Keys": key, "NewImage": item}
    return {"eventID": f"{table}-{n}", "eventName": "INSERT", "tableName": table, "dynamodb": body}


def check_items(lake: Lake, items: list[Image], keys: KeySchema) -> None:
    """Fresh, refreshed and in full the items are these."""
    compacted(lake)
    expected = expected_items(keys, items)
    for full in (None, False, True):
        if full is not None:
            refreshed(lake, full)
        con = connect(lake, 1024, 2)
        assert items_of(con, only_table(lake).name) == expected
        con.close()


@pytest.mark.parametrize("most", [100, pytest.param(columns.COLUMNS_MAX, marks=pytest.mark.slow)])
def test_attributes_beyond_the_last_column_are_in_the_item(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(columns, "COLUMNS_MAX", most)
    made = new_lake(tmp_path / "lake", keys=PK)
    item = {"pk": {"S": "a"}} | {f"a{n:04}": {"N": str(n)} for n in range(most + 100)}
    land_records(made, "o", [insert_record(item)])
    check_items(made, [item], PK)
    found = state_columns(made)
    assert len(found) == most
    assert rows(made, f"SELECT a0000, {found[-1].name}, a0097 FROM orders") == [(0, most - 2, 97)]


def test_items_at_the_size_limit(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", keys=PK)
    items = [{"pk": {"S": str(n)}, "big": {"S": chr(97 + n) * 390_000}, "n": {"N": str(n)}} for n in range(4)]
    land_records(lake, "o", [insert_record(item, n=n) for n, item in enumerate(items)])
    check_items(lake, items, PK)
    assert rows(lake, "SELECT sum(length(big)), sum(n) FROM orders") == [(4 * 390_000, 6)]


@pytest.mark.parametrize(
    "name", ["op", "batch", "event_day", "key_bucket", "key_0", "_item", "_bucket", "S", "/~'\"", "\x7f", "filename"]
)
def test_key_attributes_named_like_our_own_columns(tmp_path: Path, name: str) -> None:
    keys = KeySchema(KeyAttribute(name, "S"), KeyAttribute("created_at_us", "N"))
    lake = new_lake(tmp_path / "lake", keys=keys)
    items = [{name: {"S": "h"}, "created_at_us": {"N": str(n)}} for n in range(3)]
    land_records(lake, "o", [insert_record(item, keys, n) for n, item in enumerate(items)])
    check_items(lake, items, keys)
    assert rows(lake, "SELECT op, event_id FROM orders_history('h', 2)") == [("INSERT", "orders-2")]


@pytest.mark.parametrize("kinds", ["SS", "NB", "BN"])
def test_items_stay_in_the_bucket_of_their_hash_key(tmp_path: Path, kinds: str) -> None:
    """Also where the range key's name comes first: what is written again lies where it lay before."""
    keys = KeySchema(KeyAttribute("pk", kinds[0]), KeyAttribute("id", kinds[1]))  # type: ignore[arg-type]
    lake = new_lake(tmp_path / "lake", keys=keys, buckets=8)
    table = standin.Table("orders", ("pk", kinds[0]), ("id", kinds[1]))
    for part in range(3):
        for n in range(20):
            values = {"S": str(n), "N": str(n), "B": b64(bytes([n]))}
            key = {"pk": {kinds[0]: values[kinds[0]]}, "id": {kinds[1]: values[kinds[1]]}}
            table.put({**key, "v": {"N": str(part)}}, T + part * 1_000 + n)
        fresh = standin.kds_records(table.changes[part * 20 :], seed=part)
        land(lake, standin.firehose_objects(fresh, seed=part, prefix=f"{part}/"))
        check_items(lake, list(table.items.values()), keys)


def test_numeric_keys_are_one_however_they_are_written(tmp_path: Path) -> None:
    keys = KeySchema(KeyAttribute("n", "N"), KeyAttribute("r", "N"))
    lake = new_lake(tmp_path / "lake", keys=keys)
    spellings = ["1", "1.0", "1E0", "+1", "01", "10e-1"]
    items = [{"n": {"N": text}, "r": {"N": "-0"}, "v": {"S": text}} for text in spellings]
    others = [{"n": {"N": text}, "r": {"N": "0"}} for text in ("1.5", "9" * 38, "1E-130", "-1", "1E40")]
    land_records(lake, "o", [insert_record(item, keys, n) for n, item in enumerate(items + others)])
    check_items(lake, [items[-1], *others], keys)
    for asked in ("1", "1.0", "'1E0'", "1::DOUBLE", "1::DECIMAL(38,5)"):
        assert len(rows(lake, f"FROM orders_history({asked}, 0)")) == len(spellings)
    assert rows(lake, "FROM orders_history('no number', 0)") == []
    assert rows(lake, "SELECT count(*) FROM orders WHERE _hash_key = '1'") == [(1,)]


HASH_VALUES = {
    "S": ["a", "|", "é\\", "x" * 500],
    "N": ["1", "1.50", "-7E3", "9" * 38],
    "B": [b64(b"\x00\xff"), b64(b"a|b"), "YQ=="],
}


@pytest.mark.parametrize("kind", ["S", "N", "B"])
def test_keys_of_every_kind_end_to_end(tmp_path: Path, kind: str) -> None:
    """Key-only items; history by key; and Iceberg finds each row by the bucket it must lie in."""
    keys = KeySchema(KeyAttribute("h", kind))  # type: ignore[arg-type]
    lake = new_lake(tmp_path / "lake", keys=keys, buckets=16)
    table = standin.Table("orders", ("h", kind), None)
    for n, value in enumerate(HASH_VALUES[kind]):
        table.put({"h": {kind: value}}, T + n)
    land(lake, standin.firehose_objects(standin.kds_records(table, seed=1), seed=1))
    check_items(lake, list(table.items.values()), keys)
    column = {"S": "h", "N": "_hash_key", "B": "_hash_key"}[kind]
    state = load_table(open_catalog(lake), state_table("orders"))
    assert state is not None
    for value in HASH_VALUES[kind]:
        (key,) = keys.item_key(value).parts
        asked = key if kind == "N" else "'" + key + "'"
        assert [row[0] for row in rows(lake, f"SELECT item_key FROM orders_history({asked})")] == [key]
        plan = state.scan(row_filter=EqualTo(column, key))
        assert len({task.file.partition[0] for task in plan.plan_files()}) == 1
        assert [row[column] for row in plan.to_arrow().to_pylist()] == [key]


def test_tables_with_capitals_dots_and_one_stream(tmp_path: Path) -> None:
    """Several tables in one stream, some whose names in the lake would be one, one named like a table of ours."""
    names = ["My.Table-1", "my_table_1", "orders", "orders_changes", "ORDERS", "touched", "_orders_tail", "order"]
    lake = create_lake(tmp_path / "lake")
    for name in names:
        lake = add_table(lake, TableConfig("", name, PK, buckets=1))
    items = {name: {"pk": {"S": "a"}, "of": {"S": name}} for name in names}
    land_records(lake, "o", [insert_record(items[name], PK, n, name) for n, name in enumerate(names)])
    for table in lake.config.tables.values():
        assert compact(lake, table, SETTINGS).changes == 1
    assert list(Path(lake.dead_letters).rglob("*.gz")) == []
    tables = {table.dynamodb_name: table for table in lake.config.tables.values()}
    for name in names[:4]:
        refresh(lake, tables[name], SETTINGS)
    con = connect(lake, 1024, 2)
    for name, table in tables.items():
        for relation in (f'"{table.name}"', f'"{table.name}_as_of"({timestamp(T + 100)})'):
            assert con.execute(f'SELECT "of" FROM {relation}').fetchall() == [(name,)]
        assert con.execute(f"SELECT count(*) FROM \"{table.name}_history\"('a')").fetchall() == [(1,)]
    con.close()
    assert lake.config.table("My.Table-1") is tables["My.Table-1"]
    with pytest.raises(ConfigError, match=r"my_table_1 \(DynamoDB's My.Table-1\) and my_table_1_2"):
        lake.config.table("my_table_1")


POISON: list[Any] = [
    5,
    "x",
    None,
    [],
    {},
    {"M": {"a": 5}},
    {"M": 5},
    {"L": 5},
    {"N": "abc"},
    {"NS": 5},
    {"B": 5},
    {"X": "y"},
    {"BOOL": "x"},
]


def test_values_that_dynamodb_has_not_do_not_stop_a_lake(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", keys=PK)
    deep = '{"L":[' * 3_000 + "]}" * 3_000
    poison = [{"pk": {"S": f"poison {n}"}, "v": value} for n, value in enumerate(POISON)]
    raws = [json.dumps(insert_record(item, n=n)).encode() for n, item in enumerate(poison)]
    raws.append(
        json.dumps(insert_record({"pk": {"S": "deep"}, "v": "DEEP"}, n=98)).encode().replace(b'"DEEP"', deep.encode())
    )
    raws.append(json.dumps(insert_record({"pk": {"S": "nan"}, "v": {"N": math.nan}}, n=99)).encode())
    for n, raw in enumerate(raws):
        land_records(lake, f"poison{n:02}", [raw])
    good = {"pk": {"S": "good"}, "v": {"M": {"a": {"N": "1"}}}}
    land_records(lake, "good", [insert_record(good, n=100)])
    compacted(lake)
    for full in (False, True):
        assert rows(lake, "SELECT v FROM orders WHERE pk = 'good'") == [('{"a":1}',)]
        refreshed(lake, full)
    assert rows(lake, "SELECT v FROM orders WHERE pk = 'good'") == [('{"a":1}',)]


def test_an_attribute_named_like_a_parameter_is_itself(tmp_path: Path) -> None:
    keys = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("ts", "N"))
    lake = new_lake(tmp_path / "lake", keys=keys)
    items = [{"pk": {"S": "a"}, "ts": {"N": str(n)}, "TS": {"S": f"own {n}"}} for n in range(3)]
    land_records(lake, "o", [insert_record(item, keys, n) for n, item in enumerate(items)])
    compacted(lake)
    query = "SELECT ts, ts_2 FROM {} ORDER BY ts"
    assert rows(lake, query.format("orders")) == [(n, f"own {n}") for n in range(3)]
    assert rows(lake, query.format(f"orders_as_of({timestamp(T + 10)})")) == [(n, f"own {n}") for n in range(3)]


@pytest.mark.parametrize("odd", [5, None, {"N": "abc"}, {"M": 5}, {"NS": ["1", "x"]}, {"BOOL": "x"}, {"B": "!"}])
def test_what_is_rescued_follows_from_the_value_not_from_its_neighbours(tmp_path: Path, odd: Any) -> None:
    kind = next(iter(odd)) if isinstance(odd, dict) else "N"
    good = {"N": {"N": "1"}, "M": {"M": {}}, "NS": {"NS": ["1"]}, "BOOL": {"BOOL": True}, "B": {"B": "YQ=="}}[kind]
    lake = new_lake(tmp_path / "lake", keys=PK, surface="streams")
    for n, value in enumerate([good, odd, {"S": "another kind"}]):
        record = insert_record({"pk": {"S": str(n)}, "v": value}, n=n)
        record["dynamodb"]["SequenceNumber"] = str(n)
        land_records(lake, f"o{n}", [record])
        compacted(lake)
        refreshed(lake)
    query = "SELECT pk, v, _rescued FROM {} ORDER BY pk"
    found = rows(lake, query.format("orders"))
    assert rows(lake, query.format("orders_as_of('2030-01-01')")) == found
    refreshed(lake, full=True)
    assert rows(lake, query.format("orders")) == found
    assert found[0][2] is None and found[2][2] == '{"v":{"S":"another kind"}}'


def test_an_event_id_given_twice_makes_no_item_twice(tmp_path: Path) -> None:
    """No stream does so; a producer of its own ids may."""
    lake = new_lake(tmp_path / "lake", keys=PK)
    for n in (0, 5_000_000):
        land_records(lake, f"o{n}", [insert_record({"pk": {"S": "a"}, "v": {"N": str(n)}}, n=n) | {"eventID": "X"}])
        compacted(lake)
    for full in (None, False, True):
        if full is not None:
            refreshed(lake, full)
        assert rows(lake, "SELECT v FROM orders") == [(5_000_000,)]


def test_a_log_made_anew_is_read_afresh_before_the_next_refresh_too(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", keys=PK)
    for n in range(3):
        land_records(lake, f"o{n}", [insert_record({"pk": {"S": str(n)}, "v": {"S": "old"}}, n=n)])
        compacted(lake)
    refreshed(lake)
    open_catalog(lake).drop_table((NAMESPACE, log_table("orders")))
    (Path(lake.raw) / "o2").unlink()
    land_records(lake, "o0", [insert_record({"pk": {"S": "0"}, "v": {"S": "new"}}, n=0)])
    compacted(lake)
    for _ in range(2):
        assert rows(lake, "SELECT pk, v FROM orders ORDER BY pk") == [("0", "new"), ("1", "old")]
        refreshed(lake)
