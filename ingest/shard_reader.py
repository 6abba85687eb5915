"""One shard, read by the owner of its lease: windows of records land, then the checkpoint moves behind them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Literal, Protocol

from ingest.capture import Captured, Landing, Origin, StreamRecord
from ingest.kinesis import BYTES_A_SECOND, READS_A_SECOND, RECORDS_MAX, Answer, IteratorExpired, PositionUnknown
from ingest.lease_table import Counts
from ingest.leases import SHARD_END, TRIM_HORIZON, Lease
from lake.errors import LakeError, TransientError

PAUSE_SECONDS_FIRST = 0.5  # after a fault that may pass
PAUSE_SECONDS_MAX = 30.0
WHOLE_ANSWER_BYTES_MAX = 1_000_000  # what a shard takes in a second: a larger one may be only a part
RETENTION_SLACK_MS = 5 * 60_000
LAST_ATTEMPTS = 3  # at landing what is held when there is to be an end

Outcome = Literal["ended", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A window lands when it has come to any of these; its bytes may exceed theirs by one answer, at most 10 MB.

    `poll_seconds` go by between reads that find nothing.
    """

    window_bytes: int = 8 << 20
    window_records: int = 50_000
    window_seconds: float = 30.0
    poll_seconds: float = 1.0


class Shards(Protocol):
    """What is needed of `ingest.kinesis.Kinesis`."""

    def iterator(self, shard_id: str, position: str) -> str: ...
    def read(self, shard_id: str, iterator: str, limit: int) -> Answer: ...


class Checkpoints(Protocol):
    """What is needed of `ingest.lease_table.LeaseTable`."""

    def move(self, lease: Lease, checkpoint: str, counts: Counts) -> bool: ...


@dataclass(frozen=True, slots=True)
class Services:
    """What a reader works with. `tell` gets landings and faults that may pass; `seconds` is a clock that only grows."""

    shards: Shards
    checkpoints: Checkpoints
    capture: Callable[[list[StreamRecord], Origin], Captured]
    plan: Callable[[list[Captured], Origin], Landing]
    land: Callable[[Landing], None]
    tell: Callable[[str, Landing | LakeError], None]
    seconds: Callable[[], float]
    retention_ms: int = 24 * 3_600_000


class ShardReader:
    """Reads a shard until it ends, is lost to another owner, or `stop` is set. Raises LakeError for what stays.

    `once` ends where the shard holds nothing newer. A lost lease leaves what was held: its new owner reads it again.
    """

    def __init__(self, lease: Lease, origin: Origin, services: Services, bounds: Bounds, once: bool = False) -> None:
        self.lease, self.origin = lease, origin
        self.lost, self.stop = Event(), Event()
        self.behind_ms = 0
        self._services, self._bounds, self._once = services, bounds, once
        self._position = lease.checkpoint
        self._held: list[Captured] = []
        self._held_since = 0.0
        self._failures = self._expired = 0
        self._random = random.Random(f"{lease.owner} {lease.shard_id}")

    def run(self) -> Outcome:
        iterator: str | None = None
        while not (self.lost.is_set() or self.stop.is_set()):
            try:
                iterator = iterator or self._services.shards.iterator(self.lease.shard_id, self._position)
                room = self._room()
                answer = self._services.shards.read(self.lease.shard_id, iterator, room)
                self._take(answer)
            except IteratorExpired as fault:
                iterator = None
                self._expire(fault)
                continue
            except PositionUnknown as fault:
                self._begin_at_oldest(fault)
                continue
            except (TransientError, OSError) as fault:
                self._wait_out(fault)
                continue
            self._failures = self._expired = 0
            iterator = answer.next_iterator
            if self._is_out_of_retention(answer):
                self._begin_at_oldest(None)
                iterator = None
                continue
            is_over = iterator is None or (self._once and self._is_newest(answer, room))
            if (is_over or self._is_due()) and not self._land():
                break
            if iterator is None:
                if self._checkpoint(SHARD_END, Counts()):
                    return "ended"
                break
            if is_over:
                return "stopped"
            self._pace(answer)
        self._land(LAST_ATTEMPTS)
        return "lost" if self.lost.is_set() else "stopped"

    def _expire(self, fault: IteratorExpired) -> None:
        """A new iterator is nothing to tell of; that it expires at once is, as any fault."""
        self._expired += 1
        if self._expired > 1:
            self._wait_out(fault)
        else:
            self._pause(1 / READS_A_SECOND)

    def _wait_out(self, fault: Exception) -> None:
        """What cannot be read on for now can still be landed."""
        self._fail(fault)
        if self._is_due():
            self._land()

    def _is_newest(self, answer: Answer, room: int) -> bool:
        """Whether there was nothing more: neither by what it tells, nor cut off by what one answer holds."""
        return self.behind_ms == 0 and len(answer.records) < room and answer.size < WHOLE_ANSWER_BYTES_MAX

    def _is_out_of_retention(self, answer: Answer) -> bool:
        """Whether it reads behind a checkpoint that the stream has left behind: AWS may give nothing then, for long."""
        is_behind = answer.behind_ms >= self._services.retention_ms - RETENTION_SLACK_MS
        return is_behind and not answer.records and self._position != TRIM_HORIZON and answer.next_iterator is not None

    def _begin_at_oldest(self, cause: PositionUnknown | None) -> None:
        """Goes on at the oldest record there is; what is read again is known by its event ids."""
        self._services.tell(self.lease.shard_id, LakeError(
            "read shard", f"{self.origin.stream} {self.lease.shard_id}", expected="all since the checkpoint",
            got=cause.got if cause else "that the stream's retention has passed",
            remedy="It is read from its oldest record on. Changes may be missing: run verify",
        ))  # fmt: skip
        self._position = TRIM_HORIZON
        self._pause(1 / READS_A_SECOND)

    def _take(self, answer: Answer) -> None:
        self.behind_ms = answer.behind_ms
        if not answer.records:
            return
        captured = self._services.capture(list(answer.records), self.origin)
        if not self._held:
            self._held_since = self._services.seconds()
        self._held.append(captured)
        self._position = captured.last_sequence_number

    def _room(self) -> int:
        """How many records the next answer may have."""
        left = self._bounds.window_records - sum(part.records for part in self._held)
        return max(1, min(left, RECORDS_MAX))

    def _is_due(self) -> bool:
        bounds, held = self._bounds, self._held
        return bool(held) and (
            sum(part.size for part in held) >= bounds.window_bytes
            or sum(part.records for part in held) >= bounds.window_records
            or self._services.seconds() - self._held_since >= bounds.window_seconds
        )

    def _land(self, attempts: int | None = None) -> bool:
        """Lands what is held and moves the checkpoint behind it, however often that takes; False where it was lost."""
        if not self._held:
            return True
        landing = self._services.plan(self._held, self.origin)
        while not self.lost.is_set():
            try:
                self._services.land(landing)
                break
            except (TransientError, OSError) as fault:
                attempts = self._again(fault, attempts)
                if attempts == 0:
                    return False
        counts = Counts(landing.changes, landing.duplicates, landing.dead_letters)
        if not self._checkpoint(landing.checkpoint, counts, attempts):
            return False
        self._held = []
        self._services.tell(self.lease.shard_id, landing)
        return True

    def _checkpoint(self, checkpoint: str, counts: Counts, attempts: int | None = None) -> bool:
        while not self.lost.is_set():
            try:
                if not self._services.checkpoints.move(self.lease, checkpoint, counts):
                    self.lost.set()
                    break
                return True
            except TransientError as fault:
                attempts = self._again(fault, attempts)
                if attempts == 0:
                    break
        return False

    def _again(self, fault: Exception, attempts: int | None) -> int | None:
        """Waits before another attempt and says how many are left: none to stop at, and few once there is an end."""
        if attempts is None and self.stop.is_set():
            attempts = LAST_ATTEMPTS
        if attempts is not None:
            attempts -= 1
        if attempts != 0:
            self._fail(fault)
        return attempts

    def _fail(self, fault: Exception) -> None:
        """Tells of a fault that may pass, and waits, longer each time; what is held stays held."""
        self._failures += 1
        if not isinstance(fault, LakeError):
            fault = TransientError("write to", self.origin.stream, got=str(fault), remedy="It is tried again")
        self._services.tell(self.lease.shard_id, fault)
        pause = min(PAUSE_SECONDS_FIRST * 2 ** min(self._failures - 1, 10), PAUSE_SECONDS_MAX)
        self._pause(pause * self._random.uniform(0.5, 1.0))

    def _pace(self, answer: Answer) -> None:
        """Keeps within what a shard allows, and leaves something for who reads it beside us."""
        if not answer.records and answer.behind_ms == 0:
            self._pause(
                min(self._bounds.poll_seconds, self._bounds.window_seconds) if self._held else self._bounds.poll_seconds
            )
        else:
            self._pause(max(1 / READS_A_SECOND, answer.size / BYTES_A_SECOND))

    def _pause(self, seconds: float) -> None:
        """Waits, but for no longer than it takes to be told to stop."""
        (self.lost if self.stop.is_set() else self.stop).wait(seconds)
