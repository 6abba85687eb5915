"""SIGKILL anywhere in `compact` and `refresh`, then a second run: the same tables."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.jobs import Job, Point
from tests.faults.scenario import scenario

pytestmark = pytest.mark.faults

_COMMIT = "pyiceberg.catalog.sql:SqlCatalog.commit_table"
_METADATA = "pyiceberg.catalog.sql:SqlCatalog._write_metadata"
COMPACT_POINTS = [
    Point("lake.catalog:create_table"),
    Point("lake.catalog:create_table", "after"),
    Point("lake.store:list_objects"),
    Point("compaction.objects:stage", "after", 2),
    Point("os:replace"),
    Point("lake.store:put_copy", "after"),
    Point("compaction.compact:_Job._write_letters", "after", 2),
    Point("compaction.plan:plan_batch", "after", 2),
    Point("compaction.compact:_Job._write", "after"),
    Point("lake.tables:append_files", "before", 2),
    Point("lake.tables:append_files", "after"),
    Point(_METADATA, "after"),
    Point(_COMMIT),
    Point(_COMMIT, "after"),
    Point("compaction.compact:_Job._write_ledger", "before", 2),
    Point("compaction.compact:_Job._write_ledger", "after"),
    Point(_COMMIT, "before", 2),  # the ledger's
    Point(_COMMIT, "after", 2),
]
REFRESH_POINTS = [
    Point("compaction.refresh:_Refresh._find", "after"),
    Point("compaction.refresh:_Refresh._copy", "after"),
    Point("lake.tables:replace_files"),
    Point("lake.tables:_commit"),
    Point("lake.tables:replace_files", "after"),
    Point(_METADATA, "after"),
    Point(_COMMIT),
    Point(_COMMIT, "after"),
]


@pytest.mark.parametrize("point", COMPACT_POINTS, ids=str)
def test_compact_killed_at_a_call(tmp_path: Path, point: Point) -> None:
    is_first_run = point.function == "lake.catalog:create_table"
    case = scenario(tmp_path / "lake", seed=len(str(point)), rounds=1 if is_first_run else 2)
    assert Job(case.lake.root, "compact", point=point).wait() == -signal.SIGKILL
    case.check()


@pytest.mark.parametrize("point", REFRESH_POINTS, ids=str)
def test_refresh_killed_at_a_call(tmp_path: Path, point: Point) -> None:
    case = scenario(tmp_path / "lake", seed=len(str(point)), compact_all=True)
    assert Job(case.lake.root, "refresh", point=point).wait() == -signal.SIGKILL
    case.check()


@pytest.mark.slow
@pytest.mark.parametrize("point", REFRESH_POINTS, ids=str)
def test_full_refresh_killed_at_a_call(tmp_path: Path, point: Point) -> None:
    case = scenario(tmp_path / "lake", seed=len(str(point)), compact_all=True)
    assert Job(case.lake.root, "refresh", "--full", point=point).wait() == -signal.SIGKILL
    case.check()


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random(tmp_path: Path, seed: int) -> None:
    check_random_kills(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_killed_at_random_many_times(tmp_path: Path, seed: int) -> None:
    check_random_kills(tmp_path, seed)


def check_random_kills(tmp_path: Path, seed: int) -> None:
    """A run for its length, then five more of either command, each killed at some instant of such a length."""
    rng = random.Random(seed)
    case = scenario(tmp_path / "lake", seed, rounds=rng.choice([1, 2]))
    seconds = duration(scenario(tmp_path / "other", seed).lake.root)
    for _ in range(5):
        job = Job(
            case.lake.root, *rng.choice([["compact"], ["compact", "--reread"], ["refresh"], ["refresh", "--full"]])
        )
        time.sleep(rng.random() * seconds)
        job.send(signal.SIGKILL)
        assert job.wait() in (0, -signal.SIGKILL), job.output()
    case.check()


def duration(lake: Path) -> float:
    start = time.monotonic()
    assert Job(lake, "compact").wait() == 0
    return time.monotonic() - start
