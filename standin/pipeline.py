"""What happens by itself as the clock moves: items expire, changes replicate, records arrive, objects land."""

import hashlib
import heapq
import itertools
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from moto.kinesis.models import Record, Shard, kinesis_backends
from moto.s3.models import s3_backends
from moto.utilities.utils import md5_hash

from standin.clock import Clock
from standin.encoder import Precision
from standin.faults import Faults, FaultsLeft, Report
from standin.firehose import FirehoseBuffers, FirehoseObject
from standin.history import Change, Item
from standin.kds import KdsReplication, KinesisRecord
from standin.moto_state import naive_utc
from standin.moto_tables import LiveTable

_HOUR_US = 3_600_000_000
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html: older times are taken for a mistake.
_TTL_AGE_MAX_US = 5 * 365 * 24 * _HOUR_US


@dataclass(slots=True)
class DeliveryStream:
    """A Firehose that reads a Kinesis stream, and the bucket it writes to."""

    name: str
    stream_arn: str
    bucket: str
    account: str
    buffers: FirehoseBuffers


@dataclass(slots=True)
class _Source:
    """One Kinesis stream with the changes that are to go into it."""

    stream_arn: str
    replication: KdsReplication
    pending: list[tuple[Change, Precision]] = field(default_factory=list)
    released_us: int = 0
    """The arrival of the last record put into the stream: nothing arrives before it any more."""


class Pipeline:
    """From written changes to objects in S3. Not for several threads at once: its owner holds a lock."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int,
        faults: Faults,
        report: Report,
        replication_delay_us: int,
        ttl_delay_us: int,
    ) -> None:
        self.clock = clock
        self.seed = seed
        self.faults = faults
        self.report = report
        self.delay_us = replication_delay_us
        self.ttl_delay_us = ttl_delay_us
        self.left = FaultsLeft(faults)
        self.delivery_streams: dict[str, DeliveryStream] = {}
        self.commit: Callable[[LiveTable, int], None]
        """Has a table's TTL delete taken up, made at an instant; set by the owner."""
        self._sources: dict[str, _Source] = {}
        self._arrivals: list[tuple[int, str, str, KinesisRecord]] = []
        self._deliveries: list[tuple[int, int, DeliveryStream, FirehoseObject]] = []
        self._expiries: list[tuple[int, int, LiveTable, Item, str]] = []
        self._number = itertools.count()
        self._final = False

    def write(self, live: LiveTable, change: Change) -> None:
        """Take up a change just made: to the stream its table replicates into, if any."""
        destination = live.destinations.at_work(change.at_us)
        if destination is not None:
            source = self._source(destination.stream_arn)
            source.pending.append((change, destination.precision or "MILLISECOND"))
        if change.new is not None:
            self.watch_expiry(live, change.new, change.at_us)

    def watch_expiry(self, live: LiveTable, image: Item, at_us: int) -> None:
        """Plan the deletion of an item whose table has TTL and which has a time to expire at."""
        ttl = live.ttl
        expiry = image.get(ttl.attribute, {}).get("N") if ttl else None
        if expiry is None:
            return
        expires_us = int(Decimal(expiry) * 1_000_000)
        if expires_us < at_us - _TTL_AGE_MAX_US:
            return
        keys = {name: image[name] for name in live.key_names}
        digest = hashlib.md5(f"{self.seed}/ttl/{live.moto.name}/{keys}".encode(), usedforsecurity=False).digest()
        late_us = int.from_bytes(digest[:8], "big") * self.ttl_delay_us >> 64
        # Swept on the hour, so that many expire at once, as they do.
        due_us = -(-(max(expires_us, at_us) + late_us) // _HOUR_US) * _HOUR_US
        heapq.heappush(self._expiries, (due_us, next(self._number), live, keys, expiry))

    def put(self, record: KinesisRecord, stream_arn: str) -> None:
        """Take up a record that a producer put into a stream itself: it is there already, for Firehose too."""
        for delivery_stream in self.delivery_streams.values():
            if delivery_stream.stream_arn == stream_arn:
                delivery_stream.buffers.add(record)

    def run(self) -> None:
        """Do all that is due by now."""
        now_us = self.clock.now_us()
        self._expire(now_us)
        self._replicate(now_us)
        self._arrive(now_us)
        self._deliver(now_us)

    def next_due_us(self) -> int | None:
        """When something is next to happen, but for what expires; None if nothing is under way."""
        dues = [queue[0][0] for queue in (self._arrivals, self._deliveries) if queue]
        dues += [0 for one in self.delivery_streams.values() if one.buffers.has_closed]
        dues += [one.buffers.due_at_us for one in self.delivery_streams.values() if one.buffers.due_at_us is not None]
        dues += [source.pending[0][0].at_us + self.delay_us // 2 for source in self._sources.values() if source.pending]
        return min(dues, default=None)

    def due(self) -> bool:
        """Whether there is anything to do by now."""
        now_us = self.clock.now_us()
        next_us = self.next_due_us()
        return (next_us is not None and next_us <= now_us) or bool(self._expiries and self._expiries[0][0] <= now_us)

    def finish(self) -> None:
        """Move the clock on until nothing is under way, all counted faults made that could be."""
        self._final = True
        try:
            for source in self._sources.values():
                self._send(source)
            while (due_us := self.next_due_us()) is not None:
                if due_us > self.clock.now_us():
                    self.clock.set(due_us)
                self.run()
        finally:
            self._final = False

    def _expire(self, now_us: int) -> None:
        while self._expiries and self._expiries[0][0] <= now_us:
            due_us, _, live, keys, expiry = heapq.heappop(self._expiries)
            ttl = live.ttl
            image = live.history.get(keys)
            if ttl and image is not None and image.get(ttl.attribute) == {"N": expiry}:
                live.delete(keys)
                self.commit(live, due_us)

    def _replicate(self, now_us: int) -> None:
        for source in self._sources.values():
            # A portion is what half the delay brings together: faults need records to play with, and nothing
            # arrives earlier than that.
            if source.pending and source.pending[0][0].at_us + self.delay_us // 2 <= now_us:
                self._send(source)

    def _send(self, source: _Source) -> None:
        pending = sorted(source.pending, key=lambda written: written[0].at_us)
        source.pending.clear()
        records = source.replication.send(pending, final=self._final, not_before_us=source.released_us + 1)
        for record in records:
            entry = (record.arrived_at_us, record.sequence_number, source.stream_arn, record)
            heapq.heappush(self._arrivals, entry)

    def _arrive(self, now_us: int) -> None:
        while self._arrivals and self._arrivals[0][0] <= now_us:
            arrived_at_us, _, stream_arn, record = heapq.heappop(self._arrivals)
            _put_into(stream_arn, record)
            self._sources[stream_arn].released_us = arrived_at_us
            self.put(record, stream_arn)

    def _deliver(self, now_us: int) -> None:
        for delivery_stream in self.delivery_streams.values():
            buffers = delivery_stream.buffers
            if buffers.due_at_us is not None and buffers.due_at_us <= now_us:
                buffers.close()
            for delivery in buffers.deliveries(final=self._final):
                entry = (delivery.delivered_at_us, next(self._number), delivery_stream, delivery)
                heapq.heappush(self._deliveries, entry)
        while self._deliveries and self._deliveries[0][0] <= now_us:
            _, _, delivery_stream, delivery = heapq.heappop(self._deliveries)
            _land(delivery_stream, delivery)

    def _source(self, stream_arn: str) -> _Source:
        source = self._sources.get(stream_arn)
        if source is None:
            stream = moto_stream(stream_arn)
            replication = KdsReplication(
                seed=f"{self.seed}/{stream_arn}",
                faults=self.faults,
                report=self.report,
                region=stream_arn.split(":")[3],
                shards=len(list(_open_shards(stream))),
                replication_delay_us=self.delay_us,
                left=self.left,
            )
            source = self._sources[stream_arn] = _Source(stream_arn, replication)
        return source


def moto_stream(stream_arn: str) -> Any:
    """moto's Kinesis stream; KeyError if there is none."""
    _, _, _, region, account, name = stream_arn.split(":", 5)
    return kinesis_backends[account][region].streams[name.removeprefix("stream/")]


def _open_shards(stream: Any) -> Iterator[Shard]:
    return (shard for shard in stream.shards.values() if shard.is_open)


def _put_into(stream_arn: str, record: KinesisRecord) -> None:
    try:
        stream = moto_stream(stream_arn)
    except KeyError:
        raise RuntimeError(
            f"{stream_arn} was deleted while a table replicates into it; disable its streaming destination first"
        ) from None
    hash_key = int(md5_hash(record.partition_key.encode()).hexdigest(), 16)
    shard = next(one for one in _open_shards(stream) if one.starting_hash <= hash_key <= one.ending_hash)
    sequence_number = int(record.sequence_number)
    held = Record(record.partition_key, b64encode(record.data).decode(), sequence_number, "")
    held.created_at_datetime = naive_utc(record.arrived_at_us)
    held.created_at = record.arrived_at_us / 1_000_000
    shard.records[sequence_number] = held


def _land(delivery_stream: DeliveryStream, delivery: FirehoseObject) -> None:
    backend = s3_backends[delivery_stream.account]["aws"]
    if delivery_stream.bucket not in backend.buckets:
        raise RuntimeError(
            f"Firehose {delivery_stream.name} has an object for bucket {delivery_stream.bucket}, which does not "
            "exist; create the bucket first"
        )
    landed = backend.put_object(delivery_stream.bucket, delivery.key, delivery.body)
    landed.last_modified = naive_utc(delivery.delivered_at_us)
