"""`--alone` among real processes: one that stands still or is killed is followed, and what it held up is done."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from lake import store
from tests.faults.jobs import Job, Point
from tests.faults.scenario import scenario

pytestmark = pytest.mark.faults

PLANNING = Point("compaction.plan:plan_batch")


def expire(lock: str) -> None:
    """As if five minutes had passed."""
    store.update(lock, lambda text: json.dumps({**json.loads(text), "until_us": 0}))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGCONT], ids=["killed", "stood still"])
def test_a_holder_that_stops(tmp_path: Path, sent: int) -> None:
    case = scenario(tmp_path / "lake", seed=5, rounds=1)
    root, lock = case.lake.root, case.lake.place("locks/compact-orders.json")
    first = Job(root, "compact", "--alone", point=PLANNING, sent=signal.SIGSTOP)
    try:
        assert first.wait_until_stopped(), first.output()
        if sent == signal.SIGKILL:
            first.send(sent)
        second = Job(root, "compact", "--alone")
        assert second.wait() == 0 and "another one is at work since" in second.output()
        expire(lock)
        third = Job(root, "compact", "--alone")
        assert third.wait() == 0 and "another one" not in third.output()
    finally:
        first.send(sent)
    assert first.wait() == (-sent if sent == signal.SIGKILL else 0), "overlap is safe: it goes on, and finds it done"
    assert json.loads(store.read(lock) or b"")["holder"] == ""
    case.check()


def test_many_at_once(tmp_path: Path) -> None:
    case = scenario(tmp_path / "lake", seed=6, rounds=1)
    jobs = [Job(case.lake.root, "compact", "--alone") for _ in range(4)]
    assert [job.wait() for job in jobs] == [0] * 4
    case.check()
