"""How fast a table is read: at most so many read capacity units a second, and fewer where DynamoDB refuses.

What a request costs is known from its answer only. So what it will probably cost is taken out of a bucket before it
is sent, and set right afterwards; the bucket may go into debt, and then all wait. Where a page would cost too much of
a second, it is asked for with fewer items. A throttle halves the pace, time without one lets it grow again: an
application that needs the capacity gets it, and a table that is throttled for an hour makes a job slow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock
from typing import Literal

from lake.errors import LakeError

PAGE_UNITS_MAX = 256.0  # a page of 1 MB, read consistently
ITEM_UNITS_MAX = 100.0  # an item of 400 KB
PAGE_SECONDS = 0.5  # of the pace, that one request may cost
BURST_SECONDS = 0.25  # of the pace, that may be caught up with
RATE_MIN = 1.0
GROWTH = 1.03  # a second, and one unit besides: the pace is where it was after some twenty seconds
PAUSE_SECONDS = 0.5  # after a throttle
GIVEN_UP_SECONDS = 6 * 3_600.0  # without one answer
WINDOW_SECONDS = 10.0
_FREE_RATE = 1e6  # beyond what any table gives: there is no pace any more
_LOOK_SECONDS = 1.0  # between two looks at what has changed for those who wait
_LEAST_SECONDS = 0.001  # what is left of a wait may be too little for a clock to tell

Kind = Literal["scan", "get"]


class Stopped(LakeError):
    """The job was stopped while it waited for its turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Leave for one request of so many items (None: as many as it gives), at what it will probably cost."""

    kind: Kind
    items_max: int | None
    units: float
    at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How fast a table is read now, in read capacity units a second, and whether DynamoDB refuses more."""

    units_per_second: float
    is_throttled: bool


class Pace:
    """The pace of all threads that read a table; `seconds` and `wait` are for tests, which do not wait.

    `stop` ends every wait when it is set: a job puts its own there.
    """

    def __init__(
        self, rcu_max: float | None = None, seconds: Callable[[], float] = time.monotonic,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:  # fmt: skip
        self.stop = Event()
        self._rcu_max, self._seconds, self._wait, self._lock = rcu_max, seconds, wait, Lock()
        self._rate, self._level = rcu_max, 0.0  # no rate: as fast as it goes
        self._begun = self._at = self._answered_at = seconds()
        self._lowered_at = self._paused_until = self._throttled_at = float("-inf")
        self._per_item: dict[Kind, float] = {"scan": ITEM_UNITS_MAX, "get": ITEM_UNITS_MAX}  # until more is known
        self._spent = deque[tuple[float, float]]()

    def turn(self, kind: Kind, items: int | None = None) -> Turn:
        """Waits until a request may be sent, for `items` at most where so many are wanted. Raises Stopped."""
        while True:
            with self._lock:
                now = self._refill()
                debt_seconds = -self._level / self._rate if self._rate is not None else 0.0
                delay = max(debt_seconds, self._paused_until - now)
                if delay <= 0:
                    return self._take(kind, items, now)
            if self._wait(self.stop, min(max(delay, _LEAST_SECONDS), _LOOK_SECONDS)):
                raise Stopped("read", "DynamoDB", expected="a turn", got="that the job was stopped")

    def spent(self, turn: Turn, units: float, items: int) -> None:
        """What an answer says it cost, and how many items it was for."""
        with self._lock:
            now = self._refill()
            self._answered_at = now
            self._give(turn.units - units)
            self._spent.append((now, units))
            if items:
                told = units / items  # costly items are believed at once, cheap ones by and by
                self._per_item[turn.kind] = max(told, (self._per_item[turn.kind] + told) / 2)

    def throttled(self, turn: Turn) -> bool:
        """Lowers the pace; False where no answer has come for so long that it is no use any more.

        Of requests that were under way together, the first to be refused lowers it for all of them.
        """
        with self._lock:
            now = self._refill()
            self._give(turn.units)
            self._throttled_at = now
            self._paused_until = now + PAUSE_SECONDS
            if turn.at >= self._lowered_at:
                had = self._units_per_second(now)
                self._rate = max(RATE_MIN, (had if self._rate is None else min(self._rate, had)) / 2)
                self._level, self._lowered_at = min(self._level, 0.0), now
            return now - self._answered_at < GIVEN_UP_SECONDS

    def standing(self) -> Standing:
        with self._lock:
            now = self._refill()
            return Standing(self._units_per_second(now), now - self._throttled_at < WINDOW_SECONDS)

    def _take(self, kind: Kind, items: int | None, now: float) -> Turn:
        if self._rate is None:
            return Turn(kind, items, 0.0, now)
        affordable = self._rate * PAGE_SECONDS
        items_max, units = items, PAGE_UNITS_MAX
        if items is not None or affordable < PAGE_UNITS_MAX:
            most = max(1, int(affordable / max(self._per_item[kind], 1e-3)))
            items_max = most if items is None else min(most, items)
            units = items_max * self._per_item[kind]
        self._level -= units
        return Turn(kind, items_max, units, now)

    def _give(self, units: float) -> None:
        if self._rate is not None:
            self._level = min(self._level + units, self._rate * BURST_SECONDS)

    def _refill(self) -> float:
        """The present; with the time that has passed the bucket fills, and the pace grows to what it may be."""
        now = self._seconds()
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        if self._rate is None:
            return now
        self._give(self._rate * passed)
        if self._rate != self._rcu_max:
            grown = self._rate * GROWTH ** min(passed, 60.0) + min(passed, 60.0)
            self._rate = grown if self._rcu_max is None else min(grown, self._rcu_max)
            if self._rcu_max is None and grown > _FREE_RATE:
                self._rate, self._level = None, 0.0
        return now

    def _units_per_second(self, now: float) -> float:
        while self._spent and self._spent[0][0] < now - WINDOW_SECONDS:
            self._spent.popleft()
        return sum(units for _, units in self._spent) / min(WINDOW_SECONDS, max(1.0, now - self._begun))
