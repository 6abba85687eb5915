"""`consume`: a stream into raw objects, by one of any number of processes that share its shards by leases.

A thread reads a shard; this one keeps the leases: it gives signs of life, takes what nobody reads, and lets go
when told to. Whatever is killed, stalled or cut off, another process reads on from the last checkpoint, behind
which all has landed; what lands twice is known by its event ids.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, Queue
from threading import Event, Lock, Thread

from ingest.capture import Captured, Landing, Origin, plan_landing
from ingest.kinesis import Kinesis, ShardGone
from ingest.landing import LiveLake, land
from ingest.lease_table import LeaseTable
from ingest.leases import Lease, Shard, Sightings, is_readable, missing_leases, plan_takes, trimmed
from ingest.shard_reader import Bounds, Outcome, Services, ShardReader
from lake.errors import LakeError, TransientError
from lake.records import SOUND, require_little_poison

BEATS_A_LEASE = 4  # signs of life in the time after which a lease expires
LIST_SECONDS = 30.0  # between two looks at the stream's shards, but for when one has ended
END_SECONDS_MAX = 120.0  # for what is held to land, when there is to be an end


@dataclass(frozen=True, slots=True)
class Settings:
    """`lease_seconds` without a sign of life, and others take over. `once` ends when all there is has landed."""

    bounds: Bounds = field(default_factory=Bounds)
    lease_seconds: float = 30.0
    shards_max: int = 64
    once: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Since the start: what has landed, and how far behind the newest record the slowest shard is."""

    shards: int = 0
    records: int = 0
    landed: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    objects: int = 0
    behind_ms: int = 0


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to tell of a shard: what landed, a fault that is tried again, or that its lease came or went."""

    shard_id: str
    what: Landing | LakeError | str
    progress: Progress


class Consumer:
    """One process of a consumer. `now_us` is the present, `seconds` a clock that only grows."""

    def __init__(
        self, lake: LiveLake, kinesis: Kinesis, leases: LeaseTable, settings: Settings,
        now_us: Callable[[], int], seconds: Callable[[], float], tell: Callable[[Happened], None],
    ) -> None:  # fmt: skip
        self.name = uuid.uuid4().hex
        self._lake, self._kinesis, self._leases, self._settings = lake, kinesis, leases, settings
        self._seconds, self._tell_of = seconds, tell
        described = kinesis.describe()
        self._stream = described.name
        self._held: dict[str, ShardReader] = {}
        # No SimpleQueue: up to Python 3.12 its get(timeout) waits for ever where a signal comes as the time is up.
        self._outcomes: Queue[tuple[str, Outcome | Exception]] = Queue()
        self._sightings, self._done = Sightings(), set[str]()
        self._shards: list[Shard] = []
        self._unlisted = set[str]()
        self._listed_at, self._end_at = -math.inf, math.inf
        self._lock, self._progress = Lock(), Progress()
        self._seen, self._poison, self._example = 0, 0, ""
        self._services = Services(
            kinesis, leases, lambda records, origin: lake.capture(records, origin, now_us()),
            self._plan, self._land, self._tell, seconds, described.retention_ms,
        )  # fmt: skip

    def run(self, stop: Event) -> Progress:
        """Reads until `stop` is set, or once; then what is held lands and the leases go. Raises LakeError."""
        try:
            while not stop.is_set():
                try:
                    if self._turn() and self._settings.once:
                        break
                except TransientError as fault:
                    self._tell("", fault)
                self._wait(stop)
        finally:
            self._end()
        return self._progress

    def _turn(self) -> bool:
        """Gives signs of life and takes leases; whether there is nothing left for this process to read once."""
        self._beat()
        now = self._seconds()
        leases = {shard_id: known.lease for shard_id, known in self._leases.all().items()}
        is_listing = now - self._listed_at >= LIST_SECONDS
        if is_listing:  # behind the leases: what is leased and not listed is gone
            self._shards = self._kinesis.shards()
            self._listed_at = now
            self._sightings.see(leases, now)
            self._remove_trimmed(leases, now)
            for lease in missing_leases(self._shards, leases):
                self._leases.create(lease)
                leases[lease.shard_id] = lease
        self._sightings.see(leases, now)
        for shard_id, reader in self._held.items():
            if shard_id in leases and leases[shard_id].fence != reader.lease.fence:
                reader.lost.set()
        others = {shard_id: lease for shard_id, lease in leases.items() if shard_id not in self._done}
        listed = {shard.shard_id for shard in self._shards}
        expired = self._sightings.expired(now, self._settings.lease_seconds)
        for lease in plan_takes(others, listed, expired, self._held, self.name, self._settings.shards_max):
            self._take(lease)
        left = [lease for lease in others.values() if is_readable(lease, leases, listed)]
        if is_listing:
            self._tell_of_unread([lease for lease in left if not lease.owner and lease.shard_id not in self._held])
        alive_seconds = self._settings.lease_seconds / 2
        return not self._held and all(self._sightings.is_alive(lease, now, alive_seconds) for lease in left)

    def _remove_trimmed(self, leases: dict[str, Lease], now: float) -> None:
        """Forgets shards that two listings in a row do not have, and says where something of them was not read."""
        expired = self._sightings.expired(now, self._settings.lease_seconds)
        before, gone = self._unlisted, trimmed(leases, {shard.shard_id for shard in self._shards})
        self._unlisted = {lease.shard_id for lease in gone}
        if self._unlisted - before:
            self._listed_at = -math.inf  # to be sure, at the next turn
        for lease in gone:
            if lease.shard_id not in before or (not lease.is_ended and lease.owner and lease.shard_id not in expired):
                continue
            if not lease.is_ended:
                self._tell(lease.shard_id, ShardGone(
                    "read shard", f"{self._stream} {lease.shard_id}", expected="it to be there until all of it is read",
                    got="that the stream's retention has passed", remedy="Changes may be missing: run verify",
                ))  # fmt: skip
            self._leases.delete(lease)
            del leases[lease.shard_id]

    def _tell_of_unread(self, free: list[Lease]) -> None:
        if free and len(self._held) >= self._settings.shards_max:
            self._tell("", TransientError(
                "read stream", self._stream, expected="a process for every shard", got=f"{len(free)} that nobody reads",
                remedy="Run another process, or raise --shards-max",
            ))  # fmt: skip

    def _take(self, lease: Lease) -> None:
        taken = self._leases.take(lease, self.name)
        if taken is None or taken.is_ended:
            return
        origin = Origin(self._stream, lease.shard_id)
        reader = ShardReader(taken, origin, self._services, self._settings.bounds, self._settings.once)
        self._held[lease.shard_id] = reader
        self._count(shards=1)
        self._tell(lease.shard_id, "taken from another" if lease.owner else "taken")
        Thread(target=self._read, args=(reader,), name=lease.shard_id, daemon=True).start()

    def _read(self, reader: ShardReader) -> None:
        try:
            self._outcomes.put((reader.lease.shard_id, reader.run()))
        except Exception as fault:
            self._outcomes.put((reader.lease.shard_id, fault))

    def _beat(self) -> None:
        for reader in self._held.values():
            if not reader.lost.is_set() and not self._leases.beat(reader.lease):
                reader.lost.set()

    def _wait(self, stop: Event) -> None:
        """Until the next sign of life is due, or a reader has come to an end, or there is to be one."""
        until = self._seconds() + self._settings.lease_seconds / BEATS_A_LEASE
        while not stop.is_set() and (left := until - self._seconds()) > 0:
            try:
                shard_id, outcome = self._outcomes.get(timeout=min(left, 0.2))
            except Empty:
                continue
            self._conclude(shard_id, outcome)
            while not self._outcomes.empty():
                self._conclude(*self._outcomes.get())
            return

    def _conclude(self, shard_id: str, outcome: Outcome | Exception) -> None:
        """Takes note of a reader's end; raises what it could not go on with."""
        lease = self._held.pop(shard_id).lease
        self._count(shards=-1)
        if isinstance(outcome, Exception):
            self._release(lease)
            if not isinstance(outcome, ShardGone):
                raise outcome
            self._tell(shard_id, outcome)
            self._listed_at = -math.inf  # whether it is the shard alone
            return
        if outcome == "ended":
            self._listed_at = -math.inf  # its children may be read now
        elif outcome == "stopped":
            self._done.add(shard_id)
            self._release(lease)
        self._tell(shard_id, {"ended": "read to its end", "lost": "lost to another", "stopped": "let go"}[outcome])

    def _release(self, lease: Lease) -> None:
        if self._seconds() > self._end_at:
            return
        try:
            self._leases.release(lease)
        except LakeError as fault:
            self._tell(lease.shard_id, fault)  # then it expires
            if self._end_at < math.inf:
                self._end_at = -math.inf  # as do the others: nobody should have to wait for them

    def _end(self) -> None:
        """Has every reader land what it holds, and lets the leases go; signs of life are given meanwhile."""
        for reader in self._held.values():
            reader.stop.set()
        self._end_at = until = self._seconds() + END_SECONDS_MAX
        first: Exception | None = None
        while self._held and self._seconds() < until:
            try:
                self._wait(Event())
                self._beat()
            except TransientError:
                pass  # a sign of life that failed: at worst another takes over, and reads again what is landing
            except Exception as fault:
                first = first or fault
        for shard_id in self._held:
            self._tell(shard_id, TransientError(
                "land", f"{self._stream} {shard_id}", expected=f"an end within {END_SECONDS_MAX:.0f} seconds",
                got="none", remedy="Nothing is lost: it is read again from the last checkpoint",
            ))  # fmt: skip
        if first is not None:
            raise first

    # For the readers' threads

    def _plan(self, captured: list[Captured], origin: Origin) -> Landing:
        landing = plan_landing(captured, origin, set(self._lake.names))
        poison = [letter for part in captured for letter in part.letters if letter.reason not in SOUND]
        with self._lock:
            self._seen, self._poison = self._seen + landing.records, self._poison + len(poison)
            if poison and not self._example:
                self._example = f"{poison[0].reason}: {poison[0].detail}"
            place = f"{origin.stream} {origin.shard_id}"
            require_little_poison("consume", place, self._poison, self._seen, self._example, "window has landed")
        return landing

    def _land(self, landing: Landing) -> None:
        land(landing, self._lake.lake, self._lake.names, partial(self._tell, landing.origin.shard_id))

    def _tell(self, shard_id: str, what: Landing | LakeError | str) -> None:
        if isinstance(what, Landing):
            self._count(
                records=what.records, landed=what.changes, duplicates=what.duplicates,
                dead_letters=what.dead_letters, objects=int(what.path is not None),
            )  # fmt: skip
        behind = max((reader.behind_ms for reader in list(self._held.values())), default=0)
        self._tell_of(Happened(shard_id, what, replace(self._progress, behind_ms=behind)))

    def _count(self, **counts: int) -> None:
        with self._lock:
            grown = {name: getattr(self._progress, name) + count for name, count in counts.items()}
            self._progress = replace(self._progress, **grown)


def consumer_of(lake_uri: str, kinesis: Kinesis) -> str:
    """Which leases are a lake's: one lake reads a stream once, whatever the number of processes."""
    described = kinesis.describe()
    return f"{lake_uri} {described.arn} {described.created}"
