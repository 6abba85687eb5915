"""SIGKILL anywhere in `redrive`, and two at once: each change in the log once, each letter open or redriven."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from lake.config import TableConfig
from lake.lake import Lake, add_table, create_lake
from tests.commands import dynalake
from tests.faults.jobs import Job, Point, every_other
from tests.lakes import SCHEMA, compacted, rows
from tests.records import s, text
from tests.redriving import capture

pytestmark = pytest.mark.faults

LETTERS = 900  # of 20 kB: three objects
# Its writes in their order: for each part an object, then the record of it.
POINTS = [
    *(Point("lake.store:put_new", when, call) for call in (1, 2, 3, 4) for when in ("before", "after")),
    Point("os:link", "before", 2),
    Point("os:link", "after", 2),
    Point("lake.store:_make_folder", "after", 1),
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose table was added behind the capture."""
    lake = create_lake(tmp_path / "lake")
    for n in range(3):
        records = []
        for m in range(LETTERS // 3):
            name = f"e{n}-{m}"
            image = {"pk": s(name), "sk": s("1"), "v": s("x" * 20_000)}
            records.append(text(name, body={"NewImage": image}))
        capture(lake, records, first=1_000 * n)
    return add_table(lake, TableConfig("", "orders", SCHEMA, buckets=4))


@pytest.mark.parametrize("point", every_other(POINTS), ids=str)
def test_killed_at_a_call(lake: Lake, point: Point) -> None:
    job = Job(lake.root, "redrive", point=point, small_batches=False)
    assert job.wait() == -signal.SIGKILL, job.output()
    check(lake)


def test_two_at_once(lake: Lake) -> None:
    jobs = [Job(lake.root, "redrive", small_batches=False) for _ in range(2)]
    assert [job.wait() for job in jobs] == [0, 0]
    check(lake)


def check(lake: Lake) -> None:
    """A second run ends it, a third finds nothing to do."""
    assert json.loads(dynalake(lake.root, "redrive", "--json").out)["still_poison"] == 0
    names = sorted(path.name for folder in ("raw", "redrives") for path in (lake.root / folder).rglob("[!.]*"))
    told = json.loads(dynalake(lake.root, "redrive", "--json").out)
    assert (told["letters"], told["landed"], told["objects"]) == (0, 0, 0)
    assert names == sorted(path.name for folder in ("raw", "redrives") for path in (lake.root / folder).rglob("[!.]*"))
    assert compacted(lake).changes == LETTERS
    assert rows(lake, "SELECT count(*), count(DISTINCT event_id) FROM orders_changes") == [(LETTERS, LETTERS)]
    (status,) = json.loads(dynalake(lake.root, "status", "--json").out)
    assert (status["dead_letters"], status["dead_letters_of_no_table"]) == (0, 0)
