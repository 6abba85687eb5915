"""The pace at which a table is read: no more than allowed, down on throttles and up again; nothing waits really."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event

import pytest

from lake.pace import BURST_SECONDS, GIVEN_UP_SECONDS, PAGE_SECONDS, PAGE_UNITS_MAX, Pace, Stopped, Turn


class Waiting(Exception):
    """Instead of a wait: the simulation does other things meanwhile."""


@dataclass
class Table:
    """Workers that scan a table of a capacity, on simulated time: what they were given, and were refused.

    `capacity` tells the units a second that the table has at an instant, of which it saves up to a few seconds'.
    """

    rng: random.Random
    rcu_max: float | None
    item_units: Callable[[int], list[float]]
    capacity: Callable[[float], float]
    workers: int = 4
    saved_seconds: float = 1.0
    now: float = 1_000.0
    given: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = Pace(self.rcu_max, lambda: self.now, self._wait)
        self._saved, self._saved_at = 0.0, self.now

    def _wait(self, stop: Event, seconds: float) -> bool:
        self._delay = seconds
        raise Waiting

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        queue: list[tuple[float, int, Turn | None]] = [(self.now, n, None) for n in range(self.workers)]
        while queue and queue[0][0] < until:
            self.now, worker, turn = heapq.heappop(queue)
            if turn is not None:
                self._answer(turn)
            try:
                begun = self.pace.turn("scan")
                heapq.heappush(queue, (self.now + self.rng.uniform(0.005, 0.1), worker, begun))
            except Waiting:
                heapq.heappush(queue, (self.now + self._delay + 1e-6, worker, None))

    def _answer(self, turn: Turn) -> None:
        capacity = self.capacity(self.now)
        self._saved = min(self._saved + capacity * (self.now - self._saved_at), capacity * self.saved_seconds)
        self._saved_at = self.now
        units, items = 0.0, 0
        for one in self.item_units(turn.items_max or 10_000):
            if units >= PAGE_UNITS_MAX:
                break
            units, items = units + one, items + 1
        if self._saved <= 0:  # as DynamoDB: what is left may be overdrawn once
            self.refused.append(self.now)
            assert self.pace.throttled(turn)
            return
        self._saved -= units
        self.given.append((self.now, units))
        self.pace.spent(turn, units, items)

    def units(self, since: float, until: float) -> float:
        return sum(units for at, units in self.given if since <= at < until)


def cheap(n: int) -> list[float]:
    return [0.25] * n


def endless(_: float) -> float:
    return 1e12


@pytest.mark.parametrize("seed", range(40))
def test_no_more_than_allowed(seed: int) -> None:
    """Over any stretch, whatever the items' sizes and however many read; and not much less than allowed."""
    rng = random.Random(seed)
    rcu_max, workers = rng.choice([1, 5, 25, 100, 400, 2_000, 10_000]), rng.choice([1, 4, 16])
    size = rng.choice([cheap, lambda n: [5.0] * n, lambda n: rng.choices([0.1, 0.1, 0.1, 5.0], k=n)])
    table = Table(rng, rcu_max, size, endless, workers)
    table.run(100)
    begun = table.given[0][0]
    page = max(PAGE_UNITS_MAX if rcu_max * PAGE_SECONDS >= PAGE_UNITS_MAX else rcu_max * PAGE_SECONDS, 5.0)
    for _ in range(300):
        since = begun + rng.random() * 90
        seconds = rng.choice([1, 3, 10, 60])
        # Besides, there is what was under way, and what may be caught up with.
        most = rcu_max * (seconds + BURST_SECONDS + 0.1) + 6 * page
        assert table.units(since, since + seconds) <= most, (since, seconds)
    fastest = workers * PAGE_UNITS_MAX / 0.1
    assert table.units(begun + 20, begun + 90) >= 0.8 * min(rcu_max, 0.5 * fastest) * 70


@pytest.mark.parametrize("seed", range(20))
def test_it_takes_what_the_table_has(seed: int) -> None:
    """A table of less than is asked for: most of it is used, few requests are refused, and it comes back up."""
    rng = random.Random(seed)
    capacity, less = rng.choice([50.0, 500.0, 5_000.0]), rng.choice([0.02, 0.3])
    rcu_max = rng.choice([None, 20_000.0])

    def has(now: float) -> float:
        return capacity * (less if 1_300 <= now < 1_600 else 1.0)  # an application needs the rest for five minutes

    table = Table(rng, rcu_max, cheap, has)
    table.run(900)
    for since, until, much in ((1_100, 1_300, capacity), (1_400, 1_600, capacity * less), (1_750, 1_900, capacity)):
        used = table.units(since, until) / (until - since)
        assert used >= 0.5 * much, (since, used, much)
    answered, refused = len(table.given), len(table.refused)
    assert refused < 0.5 * answered + 400, (answered, refused)


def test_a_table_that_refuses_all_for_an_hour_is_asked_now_and_then() -> None:
    table = Table(random.Random(1), None, cheap, lambda now: 0.0 if now < 4_600 else 2_000.0)
    table._saved = -1.0
    table.run(3_600)
    assert not table.given and len(table.refused) < 4 * 3_600
    assert table.pace.standing().is_throttled
    table.run(400)
    assert table.units(table.now - 100, table.now) >= 100 * 1_000 and not table.pace.standing().units_per_second < 1_000


def test_it_ends_some_time() -> None:
    now = [0.0]
    pace = Pace(None, lambda: now[0], lambda stop, seconds: False)
    turn = pace.turn("scan")
    now[0] = GIVEN_UP_SECONDS - 1
    assert pace.throttled(turn)
    now[0] = GIVEN_UP_SECONDS + 1
    assert not pace.throttled(turn)


def test_requests_that_were_under_way_together_lower_it_once() -> None:
    now = [100.0]
    pace = Pace(None, lambda: now[0], lambda stop, seconds: False)
    for _ in range(100):
        pace.spent(pace.turn("get", 1), 25.0, 1)
        now[0] += 0.025
    turns = [pace.turn("get", 1) for _ in range(4)]
    for turn in turns:
        now[0] += 0.001
        assert pace.throttled(turn)
    assert pace._rate == pytest.approx(500, rel=0.1)


def test_a_wait_ends_when_the_job_is_stopped() -> None:
    pace = Pace(1)
    pace.spent(pace.turn("scan"), 10_000.0, 10)  # an hour and more of debt
    pace.stop.set()
    with pytest.raises(Stopped, match="stopped"):
        pace.turn("scan")


def test_the_first_page_is_small_where_little_is_allowed() -> None:
    assert Pace(10).turn("scan").items_max == 1 and Pace(400).turn("scan").items_max == 2
    assert Pace(4_000).turn("scan").items_max is None and Pace().turn("scan").items_max is None
    assert Pace(10).turn("get", 100).items_max == 1 and Pace().turn("get", 100).items_max == 100
