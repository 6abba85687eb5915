"""How far a stream is read, told by the stream itself: not by a consumer, which may be dead."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ingest.kinesis import READS_A_SECOND, Kinesis, PositionUnknown
from ingest.lease_table import Known, LeaseTable
from ingest.leases import TRIM_HORIZON, Lease, Leases, Shard, is_readable

READS_MAX = 10  # of one shard, where they come back empty


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """How far a shard is read. `oldest_unread_seconds` is None where there is nothing left of it.

    `owner_silent_seconds` went by since who has its lease gave a sign of life; None where nobody has it. The counts
    are of all who had it since it was made.
    """

    shard: str
    state: str
    checkpoint: str
    oldest_unread_seconds: float | None
    owner_silent_seconds: float | None
    landed: int
    duplicates: int
    dead_letters: int


def shard_progress(kinesis: Kinesis, leases: LeaseTable, now_us: int) -> list[ShardProgress]:
    """Every shard of the stream; each that is unread costs one of its five reads a second. Raises LakeError."""
    shards, known = kinesis.shards(), leases.all()
    listed = {shard.shard_id for shard in shards}
    found = {shard_id: one.lease for shard_id, one in known.items()}
    return [_progress(kinesis, shard, known.get(shard.shard_id), found, listed, now_us) for shard in shards]


def _progress(
    kinesis: Kinesis, shard: Shard, known: Known | None, leases: Leases, listed: set[str], now_us: int
) -> ShardProgress:
    lease = known.lease if known else Lease(shard.shard_id, shard.parents)
    state = "leased" if lease.owner else "free"
    if lease.is_ended:
        state = "read to its end"
    elif not is_readable(lease, leases, listed):
        state = "waits for its parents"
    age = None if lease.is_ended else _oldest_unread_seconds(kinesis, lease, now_us)
    silent = max(now_us - known.beat_us, 0) / 1e6 if known and lease.owner and not lease.is_ended else None
    counts = (known.counts.landed, known.counts.duplicates, known.counts.dead_letters) if known else (0, 0, 0)
    return ShardProgress(shard.shard_id, state, lease.checkpoint, age, silent, *counts)


def _oldest_unread_seconds(kinesis: Kinesis, lease: Lease, now_us: int) -> float:
    """The age of the record behind the checkpoint, or of where reading has come to; 0 where there is none."""
    try:
        iterator: str | None = kinesis.iterator(lease.shard_id, lease.checkpoint)
    except PositionUnknown:  # its record is older than what the stream holds
        iterator = kinesis.iterator(lease.shard_id, TRIM_HORIZON)
    behind_ms = 0
    for n in range(READS_MAX):
        if iterator is None:
            return 0.0
        if n:
            time.sleep(1 / READS_A_SECOND)  # all who read a shard share what it allows
        answer = kinesis.read(lease.shard_id, iterator, limit=1)
        if answer.records:
            return max(now_us - answer.records[0].arrived_us, 0) / 1e6
        if (behind_ms := answer.behind_ms) == 0:
            return 0.0
        iterator = answer.next_iterator
    return behind_ms / 1e3
