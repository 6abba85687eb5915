"""One job of a kind at a time on a table, where a scheduler asks for it: a lock that expires, as an object of the lake.

It is a courtesy, and nothing rests on it: two jobs at once cost time only. So whatever is doubtful counts as free. A
holder that was killed is followed when its lock has expired; one that stood still for that long finds its lock taken,
and goes on without; what says nothing, or was written by a clock that is far off, holds nobody up. Only where the lock
cannot be had at all, as by want of a right, does the job not begin: who asked for it shall not pay for a pile of them.

Between machines clocks differ: a lock is honoured for a margin longer than its holder's clock says.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec

from lake import layout
from lake.errors import LakeError
from lake.lake import Lake
from lake.store import put, put_new, update

Clock = Callable[[], int]
"""The present in UTC microseconds."""
_NOBODY = ""
_FAULTS = (LakeError, OSError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. Three renewals must fail before a lock expires, as an outage of S3 of a minute or two is no death; a
    killed job is followed after five minutes at most, which the next start of a schedule of ten or fifteen finds free.
    """

    held: float = 240.0
    renewed: float = 60.0
    margin: float = 60.0

    def until_us(self, now_us: int) -> int:
        return now_us + round(self.held * 1e6)


TERMS = Terms()


class Held(msgspec.Struct, frozen=True):
    """What a lock says: who holds it, since when and until when, in UTC microseconds; nobody once it was let go."""

    holder: str
    since_us: int
    until_us: int


@contextmanager
def alone(lake: Lake, kind: str, table: str, clock: Clock, terms: Terms = TERMS) -> Iterator[Held | None]:
    """Gives None where the lock is ours, until the end; else what the lock says of another job that is at work.

    Raises LakeError where the lake cannot be written to.
    """
    lock = _Lock(lake.place(layout.lock(kind, table)), clock, terms)
    other = lock.take()
    if other is not None:
        yield other
        return
    ended = threading.Event()
    renewals = threading.Thread(target=lock.renew_until, args=(ended,), daemon=True)
    renewals.start()
    try:
        yield None
    finally:
        ended.set()
        lock.let_go()


class _Lock:
    def __init__(self, place: str, clock: Clock, terms: Terms) -> None:
        self._place, self._clock, self._terms = place, clock, terms
        self._name, self._since_us = uuid.uuid4().hex, clock()

    def take(self) -> Held | None:
        """The other one that holds it, None where it is ours by now."""
        other: Held | None = None

        def taken(text: str) -> str:
            nonlocal other
            found = _read(text)
            other = found if self._is_at_work(found) else None
            return self._written() if other is None else text

        try:
            if not put_new(self._place, self._written().encode()):
                try:
                    update(self._place, taken)
                except UnicodeDecodeError:  # it says nothing, as what `_read` cannot read
                    put(self._place, self._written().encode())
        except OSError as fault:
            raise LakeError("take the lock", self._place, got=str(fault), remedy="See to its permissions; without "
                            "--alone jobs may overlap, which is safe") from fault  # fmt: skip
        return other

    def _is_at_work(self, found: Held | None) -> bool:
        """Whether another one holds it. One whose time is further ahead than locks are taken for has a clock that is
        off, or ours is: it might hold us up for ever.
        """
        if found is None or found.holder in (_NOBODY, self._name):
            return False
        left_us = found.until_us - self._clock()
        margin_us = round(self._terms.margin * 1e6)
        return -margin_us < left_us <= self._terms.until_us(0) + margin_us

    def _written(self) -> str:
        return _text(Held(self._name, self._since_us, self._terms.until_us(self._clock())))

    def renew_until(self, ended: threading.Event) -> None:
        """Renews it by turns, until then or until it is another's."""
        while not ended.wait(self._terms.renewed):
            with suppress(*_FAULTS):  # tried again at the next turn
                if not self._replace(self._written):
                    return

    def let_go(self) -> None:
        """Where that fails it expires."""
        with suppress(*_FAULTS):
            self._replace(lambda: _text(Held(_NOBODY, self._since_us, self._clock())))

    def _replace(self, written: Callable[[], str]) -> bool:
        """Writes over our own lock only, whether or not this is called while another one takes it."""
        is_ours = False

        def replaced(text: str) -> str:
            nonlocal is_ours
            found = _read(text)
            is_ours = found is not None and found.holder == self._name
            return written() if is_ours else text

        update(self._place, replaced)
        return is_ours


def _read(text: str) -> Held | None:
    """None where it says nothing."""
    try:
        held = msgspec.json.decode(text, type=Held)
    except msgspec.DecodeError:
        return None
    return held if 0 <= held.since_us <= held.until_us else None


def _text(held: Held) -> str:
    return msgspec.json.encode(held).decode()
