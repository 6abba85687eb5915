"""Amazon Data Firehose with a Kinesis source: records buffered into S3 objects.

https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html
"""

import gzip as gzip_codec
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from random import Random

from standin.faults import Faults, FaultsLeft, Report
from standin.history import uuid_text
from standin.kds import KinesisRecord

_UUID_LENGTH = 36
# How often a counted fault strikes while more objects may come; what is left of it strikes at the end.
_OBJECTS_PER_FAULT = 3


@dataclass(frozen=True, slots=True)
class FirehoseObject:
    """One delivery of an object to the bucket. A later one of the same key takes its place."""

    key: str
    body: bytes
    delivered_at_us: int

    @property
    def etag(self) -> str:
        """The ETag S3 gives an object put in one piece: the MD5 of its body, in hex."""
        return hashlib.md5(self.body, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class _Buffer:
    """The records of one object, and when its buffer was full or its time was up."""

    records: Sequence[KinesisRecord]
    key: str
    closed_at_us: int


def firehose_objects(
    records: Iterable[KinesisRecord],
    *,
    seed: int,
    stream: str = "changes",
    prefix: str = "",
    buffer_bytes: int = 5 * 1024 * 1024,
    buffer_seconds: float = 300,
    gzip: bool = True,
    delimiter: bool = True,
    faults: Faults | None = None,
    report: Report | None = None,
) -> list[FirehoseObject]:
    """The deliveries, in the order of their time, for records in any order of arrival.

    An object is closed when its records reach ``buffer_bytes`` (before compression; AWS allows 1 to 128 MiB,
    tests may like less) or ``buffer_seconds`` after its first one. Without ``delimiter`` the records follow
    each other with nothing between, as they do until AppendDelimiterToRecord is set. ``prefix`` is taken as
    it is, ``YYYY/MM/dd/HH/`` after it; the expressions of custom prefixes (``!{…}``) raise ValueError.
    """
    buffers = FirehoseBuffers(
        seed=seed,
        stream=stream,
        prefix=prefix,
        buffer_bytes=buffer_bytes,
        buffer_seconds=buffer_seconds,
        gzip=gzip,
        delimiter=delimiter,
        faults=faults,
        report=report,
    )
    for record in sorted(records, key=attrgetter("arrived_at_us", "sequence_number")):
        buffers.add(record)
    buffers.close()
    return buffers.deliveries()


class FirehoseBuffers:
    """One delivery stream at work, record by record; the arguments are those of ``firehose_objects``.

    ``prefix``, ``buffer_bytes``, ``buffer_seconds``, ``gzip`` and ``delimiter`` may change while it works.
    ``left`` is shared by the delivery streams of a server, whose counted faults are for all of them together.
    """

    def __init__(
        self,
        *,
        seed: int | str,
        stream: str,
        prefix: str,
        buffer_bytes: int,
        buffer_seconds: float,
        gzip: bool,
        delimiter: bool,
        faults: Faults | None = None,
        report: Report | None = None,
        left: FaultsLeft | None = None,
    ) -> None:
        if "!{" in prefix:
            raise ValueError(f"prefix {prefix!r}: expressions are not supported, only text")
        if buffer_bytes < 1 or buffer_seconds < 0:
            raise ValueError(f"a buffer takes bytes and time; got {buffer_bytes} bytes, {buffer_seconds} s")
        self._seed = seed
        self._stream = stream
        self.prefix = prefix
        self.buffer_bytes = buffer_bytes
        self.buffer_seconds = buffer_seconds
        self.gzip = gzip
        self.delimiter = delimiter
        self._faults = faults or Faults.none()
        self._report = report if report is not None else Report()
        self._left = left or FaultsLeft(self._faults)
        self._delays = Random(f"{seed}/firehose")
        self._picks = Random(f"{seed}/objects")
        self._rewritten = 0
        self._held: list[KinesisRecord] = []
        self._held_bytes = 0
        self._closed: list[_Buffer] = []
        self.due_at_us: int | None = None
        """When the open buffer's time is up; None if it is empty."""

    def add(self, record: KinesisRecord) -> None:
        """Take a record in, in the order of arrival; closes the buffer before it or after it where due."""
        if self.due_at_us is not None and record.arrived_at_us > self.due_at_us:
            self.close()
        if self.due_at_us is None:
            self.due_at_us = record.arrived_at_us + int(self.buffer_seconds * 1_000_000)
        self._held.append(record)
        self._held_bytes += len(record.data)
        if self._held_bytes >= self.buffer_bytes:
            self._close(record.arrived_at_us)

    def close(self) -> None:
        """Close the open buffer, if there is one, at the time it is due."""
        if self.due_at_us is not None:
            self._close(self.due_at_us)

    def _close(self, closed_at_us: int) -> None:
        key = _key(self._seed, self._stream, self.prefix, self._held[0], ".gz" if self.gzip else "")
        self._closed.append(_Buffer(self._held, key, closed_at_us))
        self._held, self._held_bytes, self.due_at_us = [], 0, None

    @property
    def has_closed(self) -> bool:
        """Whether ``deliveries`` has something to give."""
        return bool(self._closed)

    def deliveries(self, *, final: bool = True) -> list[FirehoseObject]:
        """What the buffers closed since the last call bring, in the order of the deliveries, each in its time.

        ``final``: no more may follow, so all counted faults strike that have not yet.
        """
        delays = self._delays
        closed = [(buffer.closed_at_us + delays.randint(200_000, 2_000_000), buffer) for buffer in self._closed]
        self._closed = []
        deliveries = self._misdelivered(closed, final)
        deliveries.sort(key=lambda delivery: (delivery[0], delivery[1].key))
        self._report.objects += len(deliveries)
        self._report.records_delivered += sum(len(buffer.records) for _, buffer in deliveries)
        return [
            FirehoseObject(buffer.key, _body(buffer.records, self.gzip, self.delimiter), delivered_at_us)
            for delivered_at_us, buffer in deliveries
        ]

    def _misdelivered(self, closed: list[tuple[int, _Buffer]], final: bool) -> list[tuple[int, _Buffer]]:
        """The deliveries with some late and some objects delivered twice."""
        left = self._left
        late_objects = left.due("late_objects", len(closed), every=_OBJECTS_PER_FAULT, final=final)
        rewritten_objects = left.due("rewritten_objects", len(closed), every=_OBJECTS_PER_FAULT, final=final)
        picked = self._picks.sample(range(len(closed)), min(late_objects + rewritten_objects, len(closed)))
        late, rewritten = picked[:late_objects], picked[late_objects:]
        left.struck("late_objects", len(late))
        left.struck("rewritten_objects", len(rewritten))
        deliveries = list(closed)
        for index in sorted(late):
            delivered_at_us, buffer = closed[index]
            deliveries[index] = (delivered_at_us + int(self._faults.late_after_seconds * 1_000_000), buffer)
            self._report.late.append(buffer.key)
        for index in sorted(rewritten):
            delivered_at_us, buffer = closed[index]
            again_at_us = delivered_at_us + int(self._faults.rewritten_after_seconds * 1_000_000)
            grow = self._rewritten % 2 == 0 or len(buffer.records) == 1
            first, *again = _grown(buffer) if grow else _split(buffer)
            deliveries[index] = (delivered_at_us, first)
            deliveries += [(again_at_us, second) for second in again]
            self._report.rewritten.append(buffer.key)
            self._rewritten += 1
        return deliveries


def _key(seed: int | str, stream: str, prefix: str, oldest: KinesisRecord, suffix: str) -> str:
    """The object's name; prefix and name tell the arrival of its oldest record, in UTC, not of any change.

    https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
    """
    arrived_at = datetime.fromtimestamp(oldest.arrived_at_us // 1_000_000, UTC)
    name_id = uuid_text(f"{seed}/{stream}/{oldest.sequence_number}")
    name = f"{stream}-1-{arrived_at:%Y-%m-%d-%H-%M-%S}-{name_id}"
    return f"{prefix}{arrived_at:%Y/%m/%d/%H/}{name}{suffix}"


def _grown(buffer: _Buffer) -> tuple[_Buffer, _Buffer]:
    """First a part of the records, then all; a single one comes again, twice."""
    records = buffer.records
    if len(records) == 1:
        return buffer, replace(buffer, records=[*records, *records])
    return replace(buffer, records=records[: len(records) // 2]), buffer


def _split(buffer: _Buffer) -> tuple[_Buffer, _Buffer, _Buffer]:
    """First all records, then half of them under the same key, the other half under a new one."""
    middle = len(buffer.records) // 2
    stem = buffer.key.removesuffix(".gz")
    suffix = buffer.key[len(stem) :]
    other_key = f"{stem[:-_UUID_LENGTH]}{uuid_text(stem)}{suffix}"
    return (
        buffer,
        replace(buffer, records=buffer.records[:middle]),
        replace(buffer, records=buffer.records[middle:], key=other_key),
    )


def _body(records: Sequence[KinesisRecord], gzip: bool, delimiter: bool) -> bytes:
    end = b"\n" if delimiter else b""
    body = b"".join(record.data + end for record in records)
    return gzip_codec.compress(body, compresslevel=1, mtime=0) if gzip else body
