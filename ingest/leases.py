"""Who reads which shard: leases, and what a process that wants to read should do about them. Pure.

A lease says how far a shard has been read and by whom it is read now. Its `fence` grows with every owner: what one
that was stalled writes later, with the number it knows, is refused. Its `beat` grows as long as the owner lives;
whether it does is told by one's own clock alone, from how long the beat has stood still.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

TRIM_HORIZON = "TRIM_HORIZON"  # a checkpoint: nothing was read yet
SHARD_END = "SHARD_END"  # a checkpoint: there is nothing left


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as Kinesis lists it. After a split it has one parent, after a merge two."""

    shard_id: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a shard. `checkpoint` is the sequence number through which all is durably landed."""

    shard_id: str
    parents: tuple[str, ...] = ()
    checkpoint: str = TRIM_HORIZON
    owner: str = ""
    fence: int = 0
    beat: int = 0

    @property
    def is_ended(self) -> bool:
        return self.checkpoint == SHARD_END


Leases = Mapping[str, Lease]


class Sightings:
    """When the beat of each lease was last seen to change, in seconds of a clock that only grows."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[tuple[str, int, int], float]] = {}
        self._alive = set[str]()

    def see(self, leases: Leases, now: float) -> None:
        for shard_id, lease in leases.items():
            sign = (lease.owner, lease.fence, lease.beat)
            if shard_id not in self._seen or self._seen[shard_id][0] != sign:
                self._alive |= {shard_id} & self._seen.keys()
                self._seen[shard_id] = (sign, now)
        for shard_id in set(self._seen) - set(leases):
            del self._seen[shard_id]
            self._alive.discard(shard_id)

    def is_alive(self, lease: Lease, now: float, seconds: float) -> bool:
        """Whether a lease was seen to change under its owner within this time: who only owns it may be dead."""
        if not lease.owner or lease.shard_id not in self._alive:
            return False
        return now - self._seen[lease.shard_id][1] < seconds

    def expired(self, now: float, lease_seconds: float) -> set[str]:
        """The shards whose owner has given no sign of life for so long."""
        return {shard_id for shard_id, (_, at) in self._seen.items() if now - at >= lease_seconds}


def missing_leases(shards: Iterable[Shard], leases: Leases) -> list[Lease]:
    """Leases that are to be made, parents before their children."""
    missing = {shard.shard_id: shard for shard in shards if shard.shard_id not in leases}
    parents = {shard_id: [one for one in shard.parents if one in missing] for shard_id, shard in missing.items()}
    return [Lease(shard_id, missing[shard_id].parents) for shard_id in TopologicalSorter(parents).static_order()]


def is_readable(lease: Lease, leases: Leases, listed: Collection[str]) -> bool:
    """Whether a shard has something left and its parents, both after a merge, have been read to their ends.

    A parent that is neither listed nor leased has left the stream's retention: there is nothing of it to read.
    """
    if lease.is_ended:
        return False
    return all(leases[p].is_ended if p in leases else p not in listed for p in lease.parents)


def trimmed(leases: Leases, listed: Collection[str]) -> list[Lease]:
    """Leases of shards that have left the stream's retention, read to their ends or not."""
    return [lease for lease in leases.values() if lease.shard_id not in listed]


def plan_takes(
    leases: Leases, listed: Collection[str], expired: Collection[str], held: Collection[str], me: str, most: int
) -> list[Lease]:
    """The leases that `me` should try to take now, one after the other.

    `held` are the shards it is reading, `most` how many it may read at once. Shards that nobody reads come first,
    up to a fair share; then some of the process that has most, where it has two more at least: so shares come to be
    even, and rest.
    """
    readable = [lease for lease in leases.values() if is_readable(lease, leases, listed)]
    free = [one for one in readable if _is_free(one, expired, held, me)]
    owners = Counter(one.owner for one in readable if one not in free)
    mine = owners[me]
    workers = len(set(owners) | {me})
    share = min(-(-len(readable) // workers), most)
    takes = sorted(free, key=lambda one: one.shard_id)[: max(share - mine, 0)]
    if takes or mine >= share:
        return takes
    others = {owner: count for owner, count in owners.items() if owner != me}
    richest = max(others, key=lambda owner: (others[owner], owner), default="")
    surplus = (others.get(richest, 0) - mine) // 2
    theirs = sorted((one for one in readable if one.owner == richest), key=lambda one: one.shard_id)
    return theirs[: max(min(share - mine, surplus), 0)]


def _is_free(lease: Lease, expired: Collection[str], held: Collection[str], me: str) -> bool:
    if lease.shard_id in held:
        return False  # whoever has it now: our reader has to come to its end first
    return lease.owner in ("", me) or lease.shard_id in expired
