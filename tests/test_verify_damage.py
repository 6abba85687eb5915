"""Damage that verify must find, each as what it is, and what is no damage at all."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import standin
from lake.lake import Lake
from proof.report import Report
from tests.lakes import compacted, land_records, new_lake, refreshed, schema_of, table
from tests.records import change, s
from tests.tables import START_US, FakeDynamoDB, Pipeline, check, item, kinds

VALUES: dict[str, Any] = {
    "v": {"N": "1"}, "t": "text", "flag": {"BOOL": True}, "set": {"SS": ["b", "a"]},
    "map": {"M": {"a": {"N": "1.10"}}},
}  # fmt: skip


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """A table of a dozen items and its lake: the first eight are in the state, the others in the tail."""
    items = standin.Table("orders", ("pk", "S"), ("sk", "S"))
    made = Pipeline(new_lake(tmp_path / "lake", buckets=1), items)
    for n in range(12):
        items.put(item(f"i{n:02}", **VALUES, n={"N": str(n)}), START_US + n)
        if n == 7:
            made.deliver()
            refreshed(made.lake)
    made.deliver()
    return made


def found(pipeline: Pipeline, **options: Any) -> Report:
    return check(pipeline.lake, FakeDynamoDB(pipeline.table, START_US + 60_000_000), 30, **options)


def rewrite(lake: Lake, name: str, damage: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrites the rows of a table's Parquet files where they lie, as no job of ours ever would."""
    files = [Path(task.file.file_path.removeprefix("file://")) for task in table(lake, name).scan().plan_files()]
    for path in files:
        whole = pq.ParquetFile(path).read()
        rows = whole.to_pylist()
        damage(rows)
        pq.write_table(pa.Table.from_pylist(rows, whole.schema), path)


def the(rows: list[dict[str, Any]], name: str, column: str = "_item_key") -> dict[str, Any]:
    return next((row for row in rows if row[column].startswith(name)), {})


def set_state(pipeline: Pipeline, name: str, **cells: Any) -> None:
    def damage(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["_item_key"].startswith(name):
                row.update(cells)

    rewrite(pipeline.lake, "orders", damage)


def test_a_lake_without_damage(pipeline: Pipeline) -> None:
    report = found(pipeline)
    assert report.is_proven, report
    assert (report.items_in_table, report.items_in_lake, report.compared, report.equal) == (12, 12, 12, 12)
    assert report.verified_through == "2023-11-15T00:00:54Z"
    rewrite(pipeline.lake, "orders", lambda rows: None)
    assert found(pipeline).is_proven, "files written anew with the same rows"


COLUMNS: list[tuple[str, Any]] = [
    ("v", 2), ("v", None), ("t", "Text"), ("t", ""), ("flag", False), ("set", ["a"]), ("set", ["b", "a"]),
    ("_rescued", '{"v":{"S":"1"}}'), ("_op", "REMOVE"), ("_created_at_us", None), ("map", '{"a":1.2}'),
]  # fmt: skip


def test_damaged_columns(pipeline: Pipeline) -> None:
    """Each of an item of its own, as many as there are in the state."""
    for start in range(0, len(COLUMNS), 8):
        damages = {f"i{n:02}|1": damage for n, damage in enumerate(COLUMNS[start : start + 8])}
        for key, (column, cell) in damages.items():
            set_state(pipeline, key, **{column: cell})
        report = found(pipeline)
        assert kinds(report) == dict.fromkeys(damages, "column damaged")
        told = {one.item_key: [attribute.name for attribute in one.attributes] for one in report.differences}
        assert told == {key: [column] for key, (column, _) in damages.items()}
        assert (report.equal, report.differing, report.waited_seconds) == (12 - len(damages), len(damages), 0)
        assert report.verified_through is None
        refreshed(pipeline.lake, full=True)


def test_a_damaged_image(pipeline: Pipeline) -> None:
    image = json.dumps(item("i03", **VALUES, n={"N": "4"}))
    set_state(pipeline, "i03", _item=image)
    report = found(pipeline)
    assert kinds(report) == {"i03|1": "state damaged"}
    (attribute,) = report.differences[0].attributes
    assert (attribute.name, attribute.table, attribute.lake) == ("n", '{"N":"3"}', '{"N":"4"}')
    set_state(pipeline, "i03", _item=image[:-5])
    assert kinds(found(pipeline)) == {"i03|1": "state damaged"}, "no JSON"
    refreshed(pipeline.lake, full=True)
    assert found(pipeline).is_proven, "the remedy"


def test_a_row_under_another_key(pipeline: Pipeline) -> None:
    set_state(pipeline, "i03", _item_key="i98|1")
    assert kinds(found(pipeline)) == {"i03|1": "state damaged", "i98|1": "state damaged"}
    set_state(pipeline, "i98", _item_key=None)
    assert len(found(pipeline).differences) == 2


def test_rows_lost_added_and_repeated(pipeline: Pipeline) -> None:
    def damage(rows: list[dict[str, Any]]) -> None:
        rows.remove(the(rows, "i02"))
        rows.append(the(rows, "i03") | {"_item_key": "i99|1", "pk": "i99", "_item": json.dumps(item("i99"))})
        rows.append(dict(the(rows, "i04")))

    rewrite(pipeline.lake, "orders", damage)
    report = found(pipeline)
    assert kinds(report) == dict.fromkeys(["i02|1", "i04|1", "i99|1"], "state damaged")
    assert (report.equal, report.differing, report.compared) == (10, 3, 13)


def test_changes_that_never_landed(pipeline: Pipeline) -> None:
    """An insert, an update and a delete, each its item's last change."""
    items, lost = pipeline.table, pipeline.lost
    for made in (
        items.put(item("new"), START_US + 100), items.put(item("i01", v={"N": "2"}), START_US + 100),
        items.delete(item("i02"), START_US + 100),
    ):  # fmt: skip
        assert made is not None
        lost.add(made.event_id)
    pipeline.deliver()
    expected = {"i01|1": "differs", "i02|1": "extra in the lake", "new|1": "missing in the lake"}
    for wait in (0, 30):
        report = check(pipeline.lake, FakeDynamoDB(items, START_US + 60_000_000), wait)
        assert kinds(report) == expected
        assert (report.waited_seconds, report.differing, report.unproven) == (wait, 3, 0)
    differing = report.differences[0]
    assert [(one.name, one.table, one.lake) for one in differing.attributes] == [
        ("flag", None, '{"BOOL":true}'), ("map", None, '{"M":{"a":{"N":"1.10"}}}'),
        ("n", None, '{"N":"1"}'), ("set", None, '{"SS":["b","a"]}'),
        ("t", None, '{"S":"text"}'), ("v", '{"N":"2"}', '{"N":"1"}'),
    ]  # fmt: skip


def drop_tombstones(rows: list[dict[str, Any]]) -> None:
    rows[:] = [row for row in rows if row["op"] != "REMOVE"]


def test_a_deleted_item_that_came_back(pipeline: Pipeline) -> None:
    """A tombstone taken from the log, and the state made anew from what is left."""
    pipeline.table.delete(item("i05"), START_US + 100)
    pipeline.deliver()
    assert found(pipeline).is_proven
    rewrite(pipeline.lake, "orders_changes", drop_tombstones)
    refreshed(pipeline.lake, full=True)
    assert kinds(found(pipeline)) == {"i05|1": "extra in the lake"}


def test_rows_lost_from_the_log(pipeline: Pipeline) -> None:
    """In the tail the present is wrong at once; what the state has, the log has lost."""

    def damage(rows: list[dict[str, Any]]) -> None:
        rows[:] = [row for row in rows if row["pk"] not in ("i01", "i09")]

    rewrite(pipeline.lake, "orders_changes", damage)
    assert kinds(found(pipeline)) == {"i01|1": "log damaged", "i09|1": "missing in the lake"}
    refreshed(pipeline.lake, full=True)
    assert kinds(found(pipeline)) == {"i01|1": "missing in the lake", "i09|1": "missing in the lake"}


EQUAL: list[tuple[Any, Any]] = [
    ({"N": "1"}, {"N": "1.0"}), ({"N": "-0"}, {"N": "0"}), ({"N": "1E3"}, {"N": "1000"}),
    ({"NS": ["1", "2.50"]}, {"NS": ["2.5", "1.0"]}), ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
    ({"BS": ["AA==", "AQ=="]}, {"BS": ["AQ==", "AA=="]}),
    ({"M": {"a": s("1"), "b": s("2")}}, {"M": {"b": s("2"), "a": s("1")}}),
    ({"L": [{"NS": ["1", "2"]}, {"M": {"n": {"N": "10"}}}]}, {"L": [{"NS": ["2", "1"]}, {"M": {"n": {"N": "1e1"}}}]}),
]  # fmt: skip
UNEQUAL: list[tuple[Any, Any]] = [
    ({"N": "1"}, {"N": "1.00000000000000000000000000000000000001"}), ({"N": "1E-130"}, {"N": "0"}),
    ({"N": "12345678901234567890123456789012345678"}, {"N": "12345678901234567890123456789012345679"}),
    ({"N": "1"}, s("1")), (s(""), {"NULL": True}), ({"BOOL": True}, s("true")), ({"B": "AA=="}, {"B": "AAA="}),
    ({"B": "AA=="}, s("AA==")), ({"SS": ["a"]}, {"L": [s("a")]}), ({"NS": ["1"]}, {"SS": ["1"]}),
    ({"L": [s("a"), s("b")]}, {"L": [s("b"), s("a")]}), ({"M": {}}, {"L": []}),
    ({"M": {}}, {"M": {"a": {"NULL": True}}}),
    ({"M": {"a": {"L": [{"N": "1"}]}}}, {"M": {"a": {"L": [{"N": "2"}]}}}), (s("e\u0301"), s("\u00e9")),
    (s("a"), s("a ")), (s("nul\0"), s("nul")),
]  # fmt: skip


@pytest.mark.parametrize("hash_kind", ["S", "N", "B"])
def test_equal_and_unequal_values(tmp_path: Path, hash_kind: Any) -> None:
    """The lake got the one, the table holds the other."""
    lake = new_lake(tmp_path / "lake", keys=schema_of(hash_kind, None), buckets=2)
    items = standin.Table("orders", ("pk", hash_kind), None)
    names = {"S": "k|{}", "N": "{}.50", "B": "AA{:02}"}
    events = []
    for n, (in_lake, in_table) in enumerate(EQUAL + UNEQUAL):
        key = {"pk": {hash_kind: names[hash_kind].format(n)}}
        spelled = {"pk": {"N": f"{n}.5"}} if hash_kind == "N" else key
        items.items[items.key_of(key)] = {**key, "v": in_table, "same": s("x")}
        record = change("", f"e{n}", "INSERT", START_US + n, new=in_lake)
        keys = {"pk": twice(spelled["pk"])}
        record["dynamodb"] |= {"Keys": keys, "NewImage": {"same": s("x"), "v": twice(in_lake), **keys}}
        events.append(record)
    land_records(lake, "object.json", events)
    compacted(lake)
    for _ in range(2):
        report = check(lake, FakeDynamoDB(items), 0, limit=100)
        assert report.equal == len(EQUAL), report
        assert report.counts == {"differs": len(UNEQUAL)}
        assert {one.name for difference in report.differences for one in difference.attributes} == {"v"}
        refreshed(lake)


def twice(value: Any) -> Any:
    """A value as the stream has it: binary encoded twice."""
    ((kind, content),) = value.items()
    if kind == "B":
        return {"B": base64.b64encode(content.encode()).decode()}
    if kind == "BS":
        return {"BS": [base64.b64encode(one.encode()).decode() for one in content]}
    return value
