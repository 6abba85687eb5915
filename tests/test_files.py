"""What stands in the files that DuckDB wrote, read by pyiceberg itself."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.table import Table

from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake
from lake.layout import log_table, state_table
from lake.state import buckets_of
from tests.lakes import compacted, land_records, new_lake, refreshed, table
from tests.records import HOUR_US, NOON_US, change, s


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def test_pyiceberg_reads_the_log_that_duckdb_wrote(tmp_path: Path) -> None:
    schema = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
    lake = new_lake(tmp_path / "lake", keys=schema)
    days = [NOON_US, NOON_US + 1, NOON_US + 24 * HOUR_US, NOON_US - 12 * HOUR_US, NOON_US - 12 * HOUR_US - 1]
    land_records(lake, "1", [change(f"i{n}", f"e{n}", "INSERT", at, new=s("x")) for n, at in enumerate(days)])
    compacted(lake)
    log = table(lake, log_table("orders"))
    assert log.metadata.format_version == 2
    found = log.scan().to_arrow().sort_by("event_id").to_pylist()
    assert [row["created_at_us"] for row in found] == days
    utc = datetime.datetime(1970, 1, 1)  # noqa: DTZ001
    assert [row["event_time"] for row in found] == [utc + datetime.timedelta(microseconds=at) for at in days]
    assert {row["batch"] for row in found} == {1} and found[0]["item_key"] == "i0|1"
    tasks = list(log.scan().plan_files())
    assert sorted(task.file.partition[0] for task in tasks) == sorted({at // (24 * HOUR_US) for at in days})
    for task in tasks:
        check_statistics(log, task.file, found, lambda row: row["created_at_us"] // (24 * HOUR_US), "event_id")
    one_day = log.scan(row_filter="event_time >= '2023-11-16T00:00:00'")
    assert len(list(one_day.plan_files())) == 1 and one_day.to_arrow().num_rows == 1


def check_statistics(
    of: Table, file: Any, all_rows: list[dict[str, Any]], place: Callable[..., Any], text: str
) -> None:
    """Counts, sizes and bounds of a file are those of the rows of its partition."""
    mine = [row for row in all_rows if place(row) == file.partition[0]]
    path = Path(file.file_path.removeprefix("file://"))
    assert (file.record_count, file.file_size_in_bytes) == (len(mine), path.stat().st_size)
    for field in of.schema().fields:
        if field.field_id not in (file.value_counts or {}):
            continue
        values = [row[field.name] for row in mine]
        assert file.value_counts[field.field_id] == len(values)
        assert file.null_value_counts[field.field_id] == values.count(None)
    for name, low, high in ((text, min, max), ("item_key" if text == "event_id" else text, min, max)):
        field = of.schema().find_field(name)
        values = [row[name] for row in mine]
        assert from_bytes(field.field_type, file.lower_bounds[field.field_id]) == low(values)
        assert from_bytes(field.field_type, file.upper_bounds[field.field_id]) == high(values)
    for name in ("new_image", "old_image", "_item"):
        if name in of.schema().column_names:
            assert of.schema().find_field(name).field_id not in (file.lower_bounds or {}), "images have no bounds"


def test_pyiceberg_reads_the_state_also_after_a_column_was_retyped(lake: Lake) -> None:
    """A bigint that needs a fraction is another column, with another field id, filled again from the images."""
    land_records(lake, "1", [change(f"i{n}", f"e{n}", "INSERT", NOON_US, new={"N": f"{n}"}) for n in range(9)])
    compacted(lake)
    refreshed(lake)
    state = table(lake, state_table("orders"))
    before = state.schema().find_field("v")
    check_state(state, [str(n) for n in range(9)])
    assert str(before.field_type) == "long"
    land_records(lake, "2", [change("i0", "f0", "MODIFY", NOON_US + 1, old={"N": "0"}, new={"N": "0.25"})])
    compacted(lake)
    refreshed(lake)
    state = table(lake, state_table("orders"))
    after = state.schema().find_field("v")
    assert str(after.field_type).startswith("decimal(38") and after.field_id != before.field_id
    check_state(state, ["0.25", *(f"{n}.00" for n in range(1, 9))])
    land_records(lake, "3", [change("new", "g0", "INSERT", NOON_US + 2, new={"N": "7"})])
    compacted(lake)
    refreshed(lake)
    check_state(table(lake, state_table("orders")), ["0.25", *(f"{n}.00" for n in range(1, 9)), "7.00"])


def check_state(state: Table, values: list[str]) -> None:
    found = state.scan().to_arrow().to_pylist()
    assert sorted(str(row["v"]) for row in found) == sorted(values)
    tasks = list(state.scan().plan_files())
    transform = state.spec().fields[0].transform
    bucket = transform.transform(state.schema().find_field("pk").field_type)
    for task in tasks:
        assert 0 <= task.file.partition[0] < buckets_of(state)
        check_statistics(state, task.file, found, lambda row: bucket(row["pk"]), "_item_key")
    assert len({task.file.partition[0] for task in tasks}) == len(tasks), "a file a bucket"
    (item,) = [row for row in found if row["pk"] == "i1"]
    assert state.scan(row_filter="pk == 'i1'").to_arrow().to_pylist() == [item]
