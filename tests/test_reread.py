"""Items read again by their keys: what lands of them mends a lake, and never makes one wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import standin
from ingest.reread import reread
from tests.lakes import compacted, fresh_items, new_lake, only_table, rows
from tests.tables import START_US, FakeDynamoDB, Pipeline, item

LATER_US = START_US + 60_000_000


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(new_lake(tmp_path / "lake"), standin.Table("orders", ("pk", "S"), ("sk", "S")))


def source_of(pipeline: Pipeline) -> FakeDynamoDB:
    source = FakeDynamoDB(pipeline.table, LATER_US)
    source.describe("orders")
    return source


def test_what_was_lost_is_mended(pipeline: Pipeline) -> None:
    items = pipeline.table
    for n in range(4):
        items.put(item(f"i{n}", v={"N": "1"}), START_US + n)
    pipeline.deliver()
    lost = [
        items.put(item("i0", v={"N": "2"}), START_US + 10), items.delete(item("i1"), START_US + 11),
        items.put(item("i9"), START_US + 12),
    ]  # fmt: skip
    pipeline.lost |= {change.event_id for change in lost if change}
    keys = ["i0|1", "i1|1", "i9|1", "never|1", "i0|1", "i2|1"]
    report = reread(pipeline.lake, only_table(pipeline.lake), source_of(pipeline), keys)
    assert (report.items, report.reads, report.tombstones, report.objects) == (5, 3, 2, 1)
    compacted(pipeline.lake)
    assert fresh_items(pipeline.lake).keys() == {"i0|1", "i2|1", "i3|1", "i9|1"}
    assert fresh_items(pipeline.lake)["i0|1"]["v"] == {"N": "2"}
    found = rows(pipeline.lake, "SELECT item_key, op FROM orders_changes WHERE source = 'repair' ORDER BY ALL")
    assert found == [("i0|1", "READ"), ("i1|1", "REMOVE"), ("i2|1", "READ"), ("i9|1", "READ"), ("never|1", "REMOVE")]


def test_what_came_since_stands(pipeline: Pipeline) -> None:
    """A read loses against every change made since, whichever lands first."""
    items = pipeline.table
    items.put(item("i0", v={"N": "1"}), START_US)
    items.put(item("i1", v={"N": "1"}), START_US)
    source = source_of(pipeline)
    reread(pipeline.lake, only_table(pipeline.lake), source, ["i0|1", "i1|1", "i2|1"])
    items.delete(item("i0"), LATER_US)
    items.put(item("i1", v={"N": "2"}), LATER_US)
    items.put(item("i2"), LATER_US)
    pipeline.deliver()
    reread(pipeline.lake, only_table(pipeline.lake), source, [])
    assert {key: image.get("v") for key, image in fresh_items(pipeline.lake).items()} == {
        "i1|1": {"N": "2"},
        "i2|1": None,
    }
