"""Threads that work off a list, and that nobody has to wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from threading import Event, Thread

PATIENCE_SECONDS = 5.0  # for what the others have in hand when one fails


def work_off(jobs: Iterable[int], work: Callable[[int], None], workers: int, stop: Event) -> None:
    """Calls `work` for every job, several at once. The first fault, or Ctrl-C, sets `stop` and is raised.

    The others have a moment to end what they are at. A thread that then still waits, for an endpoint that hangs,
    is left behind and ends with the process: what it may yet land is written whole, as all else.
    """
    left, outcomes = iter(list(jobs)), SimpleQueue[Exception | None]()

    def one_after_another() -> None:
        try:
            while not stop.is_set() and (job := next(left, None)) is not None:  # atomic, as a list's iterator is
                work(job)
            outcomes.put(None)
        except Exception as fault:
            outcomes.put(fault)

    for _ in range(workers):
        Thread(target=one_after_another, daemon=True).start()
    ended = 0
    try:
        while ended < workers:
            fault = outcomes.get()
            ended += 1
            if fault is not None:
                raise fault
    except BaseException:
        stop.set()
        _wait(outcomes, workers - ended)
        raise


def _wait(outcomes: SimpleQueue[Exception | None], running: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    try:
        for _ in range(running):
            outcomes.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        pass  # the rest are left behind, as `work_off` says
