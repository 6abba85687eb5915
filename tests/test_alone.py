"""One job of a kind at a time, where it is asked for: locks in a folder and on S3, held, renewed, expired, let go."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import lake.alone
from lake import store
from lake.alone import TERMS, Terms, alone
from lake.errors import LakeError, TransientError
from lake.lake import Lake
from tests.commands import dynalake
from tests.lakes import land_records, new_lake
from tests.records import record

QUICK = Terms(held=240.0, renewed=0.005, margin=60.0)
NEVER = Terms(renewed=3_600.0)
S = 1_000_000


@pytest.fixture
def in_folder(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


@pytest.fixture(params=["folder", "s3"])
def a_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "folder":
        return new_lake(tmp_path / "lake")
    request.getfixturevalue("s3")
    return new_lake("s3://lakes/shop")


class Clock:
    """The time of one machine, in us."""

    def __init__(self, now_us: int = 1_800_000_000 * S) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


def place(a_lake: Lake) -> str:
    return a_lake.place("locks/compact-orders.json")


def told(a_lake: Lake) -> dict[str, Any]:
    return json.loads(store.read(place(a_lake)) or b"")


def is_free(a_lake: Lake, clock: Callable[[], int]) -> bool:
    with alone(a_lake, "compact", "orders", clock, NEVER) as other:
        return other is None


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_after_the_other(a_lake: Lake) -> None:
    clock = Clock()
    with alone(a_lake, "compact", "orders", clock) as other:
        assert other is None
        held = told(a_lake)
        clock.now_us += S
        with alone(a_lake, "compact", "orders", clock) as second:
            assert second is not None and second.since_us == clock.now_us - S
        assert told(a_lake) == held, "who finds it held leaves it as it is"
        with alone(a_lake, "refresh", "orders", clock) as third, alone(a_lake, "compact", "shop", clock) as fourth:
            assert third is None and fourth is None, "other kinds and other tables are not meant"
    assert is_free(a_lake, clock)
    with pytest.raises(ZeroDivisionError), alone(a_lake, "compact", "orders", clock):
        raise ZeroDivisionError
    assert is_free(a_lake, clock), "let go of by one that failed, too"


def test_of_many_at_once_one_gets_it(a_lake: Lake) -> None:
    """Both where there never was a lock and where there is one that was let go."""
    clock = Clock()
    for _ in range(2):
        barrier = threading.Barrier(6)

        def race(_: int, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(60)
            with alone(a_lake, "compact", "orders", clock, NEVER) as other:
                barrier.wait(60)
                return other is None

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(race, range(6))) == [False] * 5 + [True]


def test_a_killed_holder_is_followed(in_folder: Lake) -> None:
    clock = Clock()
    with alone(in_folder, "compact", "orders", clock, NEVER):  # neither renewed nor let go of meanwhile
        clock.now_us += 299 * S
        assert not is_free(in_folder, clock), "its clock may be a minute ahead of ours"
        clock.now_us += S
        assert is_free(in_folder, clock)


def test_work_that_takes_long_keeps_its_lock(in_folder: Lake) -> None:
    clock = Clock()
    with alone(in_folder, "compact", "orders", clock, QUICK):
        for _ in range(3):
            clock.now_us += 200 * S
            wait_for(lambda: told(in_folder)["until_us"] == clock.now_us + 240 * S)
            assert not is_free(in_folder, clock)
        clock.now_us += 200 * S
    assert is_free(in_folder, clock)
    renewed = told(in_folder)
    time.sleep(0.05)
    assert told(in_folder) == renewed, "it is not renewed behind the end"


def test_one_that_stood_still_leaves_the_lock_to_who_took_it(in_folder: Lake) -> None:
    clock, second = Clock(), ExitStack()
    with alone(in_folder, "compact", "orders", clock, NEVER):
        clock.now_us += 301 * S
        assert second.enter_context(alone(in_folder, "compact", "orders", clock, NEVER)) is None
        theirs = told(in_folder)
    assert told(in_folder) == theirs, "its end is not the second one's"
    assert not is_free(in_folder, clock)
    second.close()
    assert is_free(in_folder, clock)


def test_a_renewal_does_not_take_back_what_was_lost(in_folder: Lake) -> None:
    clock = Clock()
    theirs = {"holder": "another", "since_us": clock.now_us, "until_us": clock.now_us + 240 * S}
    with alone(in_folder, "compact", "orders", clock, QUICK):
        store.update(place(in_folder), lambda _: json.dumps(theirs))
        clock.now_us += S
        time.sleep(0.05)
        assert told(in_folder) == theirs
    assert told(in_folder) == theirs


@pytest.mark.parametrize(
    ("ahead_seconds", "is_held"), [(-60.5, False), (-59, True), (0, True), (59, True), (60.5, False), (1e8, False)]
)
def test_clocks_that_differ(tmp_path: Path, ahead_seconds: float, is_held: bool) -> None:
    """A minute of difference is borne; a clock that is further off holds nobody up for ever."""
    a_lake, clock = new_lake(tmp_path / "lake"), Clock()
    other = Clock(clock.now_us + int(ahead_seconds * S))
    with alone(a_lake, "compact", "orders", other, NEVER):
        clock.now_us += 240 * S if ahead_seconds < 0 else 0
        assert is_free(a_lake, clock) != is_held


def test_a_lock_that_says_nothing_is_free(a_lake: Lake) -> None:
    until_us = Clock()() + 60 * S
    since_no_time = json.dumps({"holder": "x", "since_us": 10**18, "until_us": until_us}).encode()
    for rubbish in (b"", b"\0\0\0", b"\xff", b"[]", b'{"holder": 1}', since_no_time):
        store.put(place(a_lake), rubbish)
        assert is_free(a_lake, Clock()), rubbish


def test_a_lock_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_lake = new_lake(tmp_path / "lake")
    there = Path(place(a_lake))
    there.mkdir(parents=True)
    with pytest.raises(LakeError, match=r"take the lock .*compact-orders.json"):
        is_free(a_lake, Clock())
    there.rmdir()

    def lost(*_: object) -> None:
        raise TransientError("write", "it", got="no answer")

    with alone(a_lake, "compact", "orders", Clock(), QUICK) as other:
        assert other is None
        monkeypatch.setattr(lake.alone, "update", lost)
        time.sleep(0.05)
    # neither a renewal nor the end that could not be written is the job's fault
    assert told(a_lake)["holder"]


def test_how_long_a_lock_lasts() -> None:
    """Renewals may fail for minutes; who follows a killed one does so within the ten minutes of a schedule."""
    assert TERMS.held >= 3 * TERMS.renewed + TERMS.margin
    assert TERMS.held + TERMS.margin < 600


def test_jobs_on_the_command_line(in_folder: Lake) -> None:
    land_records(in_folder, "1", [record("1")])
    now_us = time.time_ns() // 1_000
    uri = in_folder.uri
    with alone(in_folder, "compact", "orders", Clock(now_us)):
        done = dynalake(uri, "compact", "orders", "--alone")
        assert (done.code, done.out) == (0, "")
        assert (
            done.errors.startswith("compact orders: another one is at work since 20") and done.errors.count("\n") == 1
        )
        assert dynalake(uri, "compact", "--alone", "--json").out == "[]\n"
        assert dynalake(uri, "compact", "--alone", "--metrics").out == "", "what was not done has not succeeded"
        assert json.loads(dynalake(uri, "refresh", "--alone", "--json").out)[0]["touched"] == 0
        assert json.loads(dynalake(uri, "compact", "--json").out)[0]["objects"] == 1
    assert json.loads(dynalake(uri, "compact", "--alone", "--json").out)[0]["objects"] == 0
    assert told(in_folder)["holder"] == ""
