"""How far a long job is: a bar on a terminal, and for one that reads a table a line a minute elsewhere."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from lake.pace import Standing

WINDOW_SECONDS = 60.0  # of which a rate is told
LINE_SECONDS = 60.0

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is done of a total, how much of it a second of late, and how long the rest takes at that, if known."""

    done: int
    total: int
    per_second: float
    seconds_left: float | None


class Gauge:
    """The rate of a job from its last minute alone: what an earlier run did says nothing of it.

    `seconds` is the clock.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._seen = deque[tuple[float, int]]()
        self._done, self._total = 0, 0

    def tell(self, done: int, total: int) -> None:
        with self._lock:
            now, self._done, self._total = self._seconds(), done, total
            if not self._seen or now - self._seen[-1][0] >= 1:
                self._seen.append((now, done))
            while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW_SECONDS:
                self._seen.popleft()

    def read(self) -> Reading:
        with self._lock:
            since, before = self._seen[0] if self._seen else (self._seconds(), self._done)
            passed = self._seconds() - since
            rate = (self._done - before) / passed if passed > 0 else 0.0
            left = self._total - self._done
            return Reading(self._done, self._total, rate, left / rate if rate > 0 and left > 0 else None)


def told_of(reading: Reading, standing: Standing) -> str:
    """A reading of a table, for people: DynamoDB counts its items every six hours, so it is only about so many."""
    many = f"of about {reading.total:,}" if reading.done < reading.total else "(more than DynamoDB last counted)"
    parts = [f"{reading.done:,} {many if reading.total else ''} items".replace("  ", " ")]
    parts.append(f"{reading.per_second:,.0f} items/s, {standing.units_per_second:,.0f} RCU/s")
    if standing.is_throttled:
        parts.append("throttled by DynamoDB, going slower")
    if reading.seconds_left is not None:
        parts.append(f"about {timedelta(seconds=round(reading.seconds_left))} left")
    return " · ".join(parts)


def line_of(label: str, reading: Reading, standing: Standing) -> str:
    """The same for machines."""
    left = reading.seconds_left
    fields: dict[str, Any] = {
        "event": "progressed", "job": label, "items": reading.done, "items_estimated": reading.total,
        "items_per_second": round(reading.per_second), "rcu_per_second": round(standing.units_per_second),
        "throttled": standing.is_throttled, "seconds_left": None if left is None else round(left),
    }  # fmt: skip
    return json.dumps(fields)


@contextmanager
def progress_bar(label: str, standing: Callable[[], Standing] | None = None) -> Iterator[Told]:
    """Gives a function of what is done and the total, and shows it on a terminal.

    Of a table that is read, whose `standing` is given, rate and time left are shown too, and without a terminal a line
    of JSON on stderr says so every minute.
    """
    console, gauge = Console(stderr=True), Gauge()
    if not console.is_terminal:
        if standing is None:
            yield lambda done, total: None
            return
        with _lines(lambda: line_of(label, gauge.read(), standing())):
            yield gauge.tell
        return
    ends = (TimeElapsedColumn(), TimeRemainingColumn()) if standing is None else (_Column(gauge, standing),)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), *ends, console=console, transient=True
    ) as progress:  # fmt: skip
        task = progress.add_task(label, total=None)

        def tell(done: int, total: int) -> None:
            gauge.tell(done, total)
            progress.update(task, completed=done, total=total)

        yield tell


class _Column(ProgressColumn):
    def __init__(self, gauge: Gauge, standing: Callable[[], Standing]) -> None:
        super().__init__()
        self._gauge, self._standing = gauge, standing

    def render(self, task: Task) -> Text:
        return Text(told_of(self._gauge.read(), self._standing()))


@contextmanager
def _lines(line: Callable[[], str]) -> Iterator[None]:
    """Every minute, also while nothing comes: a table may be throttled for long."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(LINE_SECONDS):
            print(line(), file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
