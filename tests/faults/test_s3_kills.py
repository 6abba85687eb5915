"""SIGKILL and races on a lake on S3: the same tables, whatever was uploaded and never committed."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from tests.faults.jobs import Job, Point
from tests.faults.scenario import Scenario, scenario

pytestmark = pytest.mark.faults

PLACE = "s3://lakes/shop"
_COMMIT = "lake.catalog:_Glue._update_glue_table"
COMPACT_POINTS = [
    Point("lake.s3:upload", "after"),
    Point("lake.file_io:_Upload.close", "after"),
    Point(_COMMIT),
    Point(_COMMIT, "after"),
]
REFRESH_POINTS = [Point("lake.s3:upload", "after", 2), Point(_COMMIT, "after")]


@pytest.mark.parametrize("point", COMPACT_POINTS, ids=str)
def test_compact_killed_at_a_call(s3: Any, point: Point) -> None:
    case = scenario(PLACE, seed=len(str(point)))
    assert Job(PLACE, "compact", point=point).wait() == -signal.SIGKILL
    case.check()


@pytest.mark.parametrize("point", REFRESH_POINTS, ids=str)
def test_refresh_killed_at_a_call(s3: Any, point: Point) -> None:
    case = scenario(PLACE, seed=len(str(point)), compact_all=True)
    assert Job(PLACE, "refresh", point=point).wait() == -signal.SIGKILL
    case.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_killed_at_random(s3: Any, seed: int) -> None:
    check_random_kills(scenario(PLACE, seed))


def check_random_kills(case: Scenario) -> None:
    rng = random.Random(case.seed)
    start = time.monotonic()
    assert Job(PLACE, "compact", "--reread").wait() == 0
    seconds = time.monotonic() - start
    for _ in range(5):
        job = Job(PLACE, *rng.choice([["compact"], ["compact", "--reread"], ["refresh"], ["refresh", "--full"]]))
        time.sleep(rng.random() * seconds)
        job.send(signal.SIGKILL)
        assert job.wait() in (0, -signal.SIGKILL), job.output()
    case.check()
