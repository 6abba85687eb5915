"""SIGKILL anywhere in a backfill from an export, several at once, then one more run: nothing missing, nothing twice."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

import standin
from lake.lake import Lake
from tests.commands import dynalake
from tests.exports import history, lay_out, raw_texts
from tests.faults.jobs import Job, Point, every_other
from tests.lakes import NOW_US, SCHEMA, compacted, expected_items, fresh_items, new_lake, rows

pytestmark = pytest.mark.faults

TABLE = history(random.Random(1), writes=600, items=200)
POINTS = [
    *(Point("lake.store:put_new_copy", when, call) for call in (1, 2, 3) for when in ("before", "after")),
    Point("os:link", "before", 2),
    Point("os:link", "after", 2),
    Point("lake.store:fetch", "after", 2),
    Point("ingest.reads:require_same_masks", "before", 1),
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return lay_out(standin.full_export(TABLE, NOW_US, files=12), tmp_path)


@pytest.mark.parametrize("point", every_other(POINTS), ids=str)
def test_killed_at_a_call(lake: Lake, uri: str, point: Point) -> None:
    job = Job(lake.root, "backfill", "orders", "--from-export", uri, point=point)
    assert job.wait() == -signal.SIGKILL, job.output()
    check(lake, uri)


def test_ctrl_c(lake: Lake, uri: str) -> None:
    point = Point("lake.store:put_new_copy", "before", 2)
    job = Job(lake.root, "backfill", "orders", "--from-export", uri, point=point, sent=signal.SIGINT)
    assert job.wait() == 130, job.output()
    check(lake, uri)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random(lake: Lake, uri: str, seed: int) -> None:
    check_random_kills(lake, uri, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_killed_at_random_many_times(lake: Lake, uri: str, seed: int) -> None:
    check_random_kills(lake, uri, seed)


def check_random_kills(lake: Lake, uri: str, seed: int) -> None:
    """One to three at once, killed again and again."""
    rng = random.Random(seed)
    for _ in range(3):
        jobs = [Job(lake.root, "backfill", "orders", "--from-export", uri) for _ in range(rng.randrange(1, 4))]
        time.sleep(rng.random() * 1.5)
        for job in rng.sample(jobs, rng.randrange(len(jobs) + 1)):
            job.send(signal.SIGKILL)
        for job in jobs:
            assert job.wait() in (0, -signal.SIGKILL), job.output()
        if rng.random() < 0.5:
            compacted(lake)
    check(lake, uri)


def check(lake: Lake, uri: str) -> None:
    done = dynalake(lake.root, "backfill", "orders", "--from-export", uri)
    assert done.code == 0, done
    assert sum(text.count(b"\n") for text in raw_texts(lake).values()) == len(TABLE.items)
    report = compacted(lake)
    assert report.dead_letters == report.duplicates == 0
    assert rows(lake, "SELECT count(*), count(DISTINCT item_key) FROM orders_changes") == [(len(TABLE.items),) * 2]
    assert fresh_items(lake) == expected_items(SCHEMA, TABLE.items.values())
