"""Two processes of `consume` that are killed, stalled and begun anew: nothing lost, nothing twice in the log."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from lake.lake import Lake
from standin.faults import Faults
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.consuming import check_exact, write
from tests.faults.jobs import Job, Point
from tests.lakes import new_lake

pytestmark = [
    pytest.mark.faults,
    pytest.mark.parametrize(
        "aws", [{"seed": 9, "faults": Faults(duplicates=0.1, disorder=0.3, poison=3, unregistered=1)}], indirect=True
    ),
]
QUICK = ("--stream", "orders", "--lease", "2s", "--poll", "0.2s", "--every", "0.3s")
POINTS = [
    *(Point("lake.store:put_new", when, 2) for when in ("before", "after")),
    *(Point("ingest.lease_table:LeaseTable.move", when) for when in ("before", "after")),
    Point("ingest.lease_table:LeaseTable.take", "after"),
    Point("os:link", "before", 2),
]
MORE_POINTS = [
    *(Point("lake.store:put_new", when, call) for call in (1, 3) for when in ("before", "after")),
    *(Point("ingest.lease_table:LeaseTable.move", when, 2) for when in ("before", "after")),
    Point("ingest.lease_table:LeaseTable.take", "before"),
    Point("ingest.lease_table:LeaseTable.create", "after"),
    Point("ingest.kinesis:Kinesis.read", "after", 2),
]


@pytest.fixture
def lake(aws: AwsStandIn, tmp_path: Path) -> Lake:
    enable(aws, create(aws))
    return new_lake(tmp_path / "lake")


def consuming(lake: Lake, *more: str, point: Point | None = None, sent: int = signal.SIGKILL) -> Job:
    return Job(lake.root, "consume", *QUICK, *more, point=point, sent=sent, small_batches=False)


def finish(aws: AwsStandIn, lake: Lake) -> None:
    """A run that waits until the dead ones' leases expire, and reads all there is."""
    last = dynalake(lake.root, "consume", *QUICK, "--once")
    assert last.code == 0, last
    check_exact(aws, lake)


@pytest.mark.parametrize(
    "point", [*POINTS, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_POINTS)], ids=str
)
def test_killed_at_a_call(aws: AwsStandIn, lake: Lake, point: Point) -> None:
    write(aws, 1, 150)
    aws.deliver()
    job = consuming(lake, "--once", point=point)
    assert job.wait() == -signal.SIGKILL, job.output()
    finish(aws, lake)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(aws: AwsStandIn, lake: Lake, number: int) -> None:
    """What is held lands, the leases go at once."""
    write(aws, 1, 150)
    aws.deliver()
    job = Job(lake.root, "consume", "--stream", "orders", "--every", "1h", "--poll", "0.2s", small_batches=False)
    until = time.monotonic() + 30
    while "taken" not in job.output() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1)
    assert "landed" not in job.output()
    job.send(number)
    assert job.wait() == 0, job.output()
    assert job.output().count("landed") == 3 and "landing what is held" in job.output()
    began = time.monotonic()
    finish(aws, lake)
    assert time.monotonic() - began < 30, "nothing had to expire"


def test_stopped_past_its_lease(aws: AwsStandIn, lake: Lake) -> None:
    """A process that stands still while another takes over lands what it held, and its checkpoint is refused."""
    write(aws, 2, 150)
    aws.deliver()
    stalled = consuming(lake, point=Point("ingest.lease_table:LeaseTable.move", "before"), sent=signal.SIGSTOP)
    assert stalled.wait_until_stopped()
    second = dynalake(lake.root, "consume", *QUICK, "--once")
    assert second.code == 0 and "taken from another" in second.out
    stalled.send(signal.SIGCONT)
    until = time.monotonic() + 30
    while "lost to another" not in stalled.output() and time.monotonic() < until:
        time.sleep(0.05)
    stalled.send(signal.SIGTERM)
    assert stalled.wait() == 0, stalled.output()
    assert "lost to another" in stalled.output()
    finish(aws, lake)


@pytest.mark.parametrize("seed", range(1))
def test_killed_at_random(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    check_random_kills(aws, lake, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_killed_at_random_many_times(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    check_random_kills(aws, lake, seed)


def check_random_kills(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    """Two at once, killed again and again while the table is written to."""
    rng = random.Random(seed)
    jobs = [consuming(lake), consuming(lake)]
    for round_ in range(5):
        write(aws, seed * 100 + round_, 60)
        aws.clock.advance(2)
        time.sleep(rng.random() * 2.5)
        n = rng.randrange(2)
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        jobs[n].send(number)
        assert jobs[n].wait() in (-number, 0), jobs[n].output()
        jobs[n] = consuming(lake)
    for job in jobs:
        job.send(signal.SIGKILL)
        job.wait()
    aws.deliver()
    finish(aws, lake)
