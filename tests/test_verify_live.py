"""verify while others write, and while the lake catches up: no false alarm and no false calm, in any interleaving."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

import standin
from lake.changes import Surface
from proof.report import Report
from tests.lakes import compacted, new_lake, only_table, refreshed
from tests.tables import SECOND_US, START_US, FakeDynamoDB, Pipeline, check, item, kinds

HEAVY_MAX = 6  # compactions and refreshes while verify is at work: they cost most of a test's time
POLLS_AT_WORK = 3


class World:
    """A table, its lake and everybody else: what they do, and when, follows from the seed."""

    def __init__(self, root: Path, rng: random.Random, surface: Surface = "kds") -> None:
        self.rng = rng
        self.lake = new_lake(root / "lake", surface=surface, buckets=2, ttl=rng.choice(["delete", "keep"]))
        self.items = rng.choice([1, 3, 12])
        table = standin.Table("orders", ("pk", "S"), ("sk", "S"), seed=rng.randrange(1 << 30))
        faults = standin.Faults(
            duplicates=rng.choice([0.0, 0.3]), duplicate_other_precision=rng.choice([0.0, 0.5]),
            disorder=rng.choice([0.0, 1.0]),
        )  # fmt: skip
        self.pipeline = Pipeline(self.lake, table, rng.choice(["MICROSECOND", "MILLISECOND"]), faults)
        self.source = FakeDynamoDB(
            table, START_US + rng.randrange(SECOND_US), page_items=rng.choice([1, 4]),
            skew_us=rng.choice([0, rng.randrange(-2 * SECOND_US, 2 * SECOND_US)]), at_work=self.work,
        )  # fmt: skip
        self.pace_us = rng.choice([1, 800, 300_000, 4 * SECOND_US])
        self.busy = rng.choice([0.1, 0.5])
        self.is_writing, self.heavy, self.polls = True, 0, 0
        self.frozen: set[str] = set()

    def write(self) -> standin.Change | None:
        """Few values, so that images come back; deletes and re-inserts."""
        rng, table = self.rng, self.pipeline.table
        if rng.random() < 0.7:
            self.source.now_us += rng.randrange(1, self.pace_us + 1)
        name = f"i{rng.randrange(self.items)}"
        if name in self.frozen:
            return None
        key = {"pk": {"S": name}, "sk": {"S": "1"}}
        if rng.random() < 0.3:
            return table.delete(key, self.source.now_us, ttl=rng.random() < 0.5)
        return table.put({**key, "v": {"N": str(rng.randrange(3))}}, self.source.now_us)

    def send(self) -> None:
        """Some of what is on its way, the latest perhaps before the first."""
        waiting = self.pipeline.on_the_way()
        self.pipeline.send(self.rng.sample(waiting, self.rng.randrange(len(waiting) + 1)))

    def work(self) -> None:
        rng = self.rng
        while rng.random() < self.busy:
            what = rng.randrange(10)
            if what < 7 and self.is_writing:
                self.write()
            elif what == 7:
                self.send()
            elif self.heavy < HEAVY_MAX:
                self.heavy += 1
                if rng.random() < 0.7:
                    compacted(self.lake)
                else:
                    refreshed(self.lake, full=rng.random() < 0.2)

    def wait(self, _: float) -> None:
        self.polls += 1
        if self.polls > POLLS_AT_WORK:  # the writers go home, and all arrives
            self.is_writing = False
            if self.pipeline.on_the_way():
                self.pipeline.deliver()
        self.work()

    def before(self) -> None:
        """A history of which some is in the lake."""
        for _ in range(self.rng.choice([0, 10, 60])):
            self.write()
            if self.rng.random() < 0.1:
                self.send()
        if self.rng.random() < 0.8:
            compacted(self.lake)
        if self.rng.random() < 0.5:
            refreshed(self.lake)

    def lose_last_of_one(self) -> standin.Change | None:
        """The last change of an item never arrives, and none of it follows; None where all have."""
        last = {change.key: change for change in self.pipeline.table.changes}
        waiting = {change.event_id for change in self.pipeline.on_the_way()}
        found = [change for change in last.values() if change.event_id in waiting]
        if not found:
            return None
        lost = self.rng.choice(found)
        self.frozen.add(lost.keys["pk"]["S"])
        self.pipeline.lost.add(lost.event_id)
        return lost

    def verify(self, **options: int) -> Report:
        return check(self.lake, self.source, 150, sleep=self.wait, segments=1, **options)


def in_world(seed: int, surface: Surface, test: object) -> None:
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        world = World(root, random.Random(seed), surface)
        note(f"{world.items} items, {world.pipeline.precision}, {world.pace_us} us, {world.pipeline.faults}")
        world.before()
        test(world)  # type: ignore[operator]
    finally:
        shutil.rmtree(root)


def check_no_alarm(world: World) -> None:
    report = world.verify()
    assert report.is_proven, report
    assert report.compared == report.equal + report.proven


def check_no_calm(world: World) -> None:
    """A loss before the scan is found, where what it follows has landed."""
    while (lost := world.lose_last_of_one()) is None:
        world.write()
    world.pipeline.send([change for change in world.pipeline.on_the_way() if change.key == lost.key])
    compacted(world.lake)
    report = world.verify()
    assert not report.is_proven, (lost, report)
    assert report.counts.keys() <= {"differs", "missing in the lake", "extra in the lake"}
    assert list(kinds(report)) == [f"{lost.keys['pk']['S']}|1"], (lost, report)


def check_loss_at_any_time(world: World) -> None:
    """Also one while verify is at work: it is found, or it came after what is claimed; and the next run finds it."""
    lost: list[standin.Change] = []
    write, at = world.write, world.rng.randrange(12)

    def write_and_lose() -> standin.Change | None:
        nonlocal at
        change, at = write(), at - 1
        if at <= 0 and not lost:
            lost.extend(filter(None, [world.lose_last_of_one()]))
        return change

    world.write = write_and_lose  # type: ignore[method-assign]
    landed = {change.event_id for change in world.pipeline.table.changes} - {
        change.event_id for change in world.pipeline.on_the_way()
    }
    report = world.verify()
    if not lost:
        assert report.is_proven, report
        return
    if report.is_proven and all(c.event_id in landed for c in world.pipeline.table.changes if c.key == lost[0].key
                                and c is not lost[0]):  # fmt: skip
        through = report.verified_through
        assert through is not None
        assert through_us(through) - world.source.skew_us < lost[0].at_us, (lost, report)
    world.source.at_work = lambda: None
    world.pipeline.deliver()  # with what it follows on its way still, nobody can tell where it brought back an image
    again = world.verify()
    assert list(kinds(again)) == [f"{lost[0].keys['pk']['S']}|1"], (lost, again)


def through_us(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * SECOND_US)


SEEDS = st.integers(0, 1 << 40)
CHECKS = {"no alarm": check_no_alarm, "no calm": check_no_calm, "a loss at any time": check_loss_at_any_time}


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=2, deadline=None)
@given(seed=SEEDS)
@example(seed=0)
def test_any_interleaving(name: str, seed: int) -> None:
    in_world(seed, "kds", CHECKS[name])


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=1, deadline=None)
@given(seed=SEEDS)
def test_any_interleaving_of_native_streams(name: str, seed: int) -> None:
    in_world(seed, "streams", CHECKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("surface", ["kds", "streams"])
@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=250, deadline=None)
@given(seed=SEEDS)
def test_many_interleavings(name: str, surface: Surface, seed: int) -> None:
    in_world(seed, surface, CHECKS[name])


def test_waiting_ends_early() -> None:
    """Nothing is waited for that has arrived."""
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        world = World(root, random.Random(7))
        world.source.at_work = lambda: None
        world.pipeline.table.put(item("i1", v="new"), world.source.now_us)
        world.polls = POLLS_AT_WORK
        assert only_table(world.lake).name == "orders"
        report = world.verify()
        assert report.is_proven
        assert (world.polls, report.waited_seconds) == (POLLS_AT_WORK + 1, 5)
    finally:
        shutil.rmtree(root)
