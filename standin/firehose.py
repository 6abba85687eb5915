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

from standin.faults import Faults, Report
from standin.history import uuid_text
from standin.kds import KinesisRecord

_UUID_LENGTH = 36


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
    if "!{" in prefix:
        raise ValueError(f"prefix {prefix!r}: expressions are not supported, only text")
    if buffer_bytes < 1 or buffer_seconds < 0:
        raise ValueError(f"a buffer takes bytes and time; got {buffer_bytes} bytes, {buffer_seconds} s")
    faults = faults or Faults.none()
    report = report if report is not None else Report()
    suffix = ".gz" if gzip else ""
    buffers = [
        _Buffer(held, _key(seed, stream, prefix, held[0], suffix), closed_at_us)
        for held, closed_at_us in _buffered(records, buffer_bytes, buffer_seconds)
    ]
    random = Random(f"{seed}/firehose")
    closed = [(buffer.closed_at_us + random.randint(200_000, 2_000_000), buffer) for buffer in buffers]
    deliveries = _misdelivered(closed, seed, faults, report)
    deliveries.sort(key=lambda delivery: (delivery[0], delivery[1].key))
    report.objects += len(deliveries)
    report.records_delivered += sum(len(buffer.records) for _, buffer in deliveries)
    return [
        FirehoseObject(buffer.key, _body(buffer.records, gzip, delimiter), delivered_at_us)
        for delivered_at_us, buffer in deliveries
    ]


def _buffered(
    records: Iterable[KinesisRecord], buffer_bytes: int, buffer_seconds: float
) -> Iterable[tuple[list[KinesisRecord], int]]:
    """Records in the order of their arrival, object by object, each with the time its buffer was closed."""
    held: list[KinesisRecord] = []
    held_bytes = 0
    due_at_us = 0
    for record in sorted(records, key=attrgetter("arrived_at_us", "sequence_number")):
        if held and record.arrived_at_us > due_at_us:
            yield held, due_at_us
            held, held_bytes = [], 0
        if not held:
            due_at_us = record.arrived_at_us + int(buffer_seconds * 1_000_000)
        held.append(record)
        held_bytes += len(record.data)
        if held_bytes >= buffer_bytes:
            yield held, record.arrived_at_us
            held, held_bytes = [], 0
    if held:
        yield held, due_at_us


def _key(seed: int, stream: str, prefix: str, oldest: KinesisRecord, suffix: str) -> str:
    """The object's name; prefix and name tell the arrival of its oldest record, in UTC, not of any change.

    https://docs.aws.amazon.com/firehose/latest/dev/s3-object-name.html
    """
    arrived_at = datetime.fromtimestamp(oldest.arrived_at_us // 1_000_000, UTC)
    name_id = uuid_text(f"{seed}/{stream}/{oldest.sequence_number}")
    name = f"{stream}-1-{arrived_at:%Y-%m-%d-%H-%M-%S}-{name_id}"
    return f"{prefix}{arrived_at:%Y/%m/%d/%H/}{name}{suffix}"


def _misdelivered(
    closed: list[tuple[int, _Buffer]], seed: int, faults: Faults, report: Report
) -> list[tuple[int, _Buffer]]:
    """The deliveries with some late and some objects delivered twice."""
    random = Random(f"{seed}/objects")
    count = min(faults.late_objects + faults.rewritten_objects, len(closed))
    picked = random.sample(range(len(closed)), count)
    late, rewritten = picked[: faults.late_objects], picked[faults.late_objects :]
    deliveries = list(closed)
    for index in sorted(late):
        delivered_at_us, buffer = closed[index]
        deliveries[index] = (delivered_at_us + int(faults.late_after_seconds * 1_000_000), buffer)
        report.late.append(buffer.key)
    for number, index in enumerate(sorted(rewritten)):
        delivered_at_us, buffer = closed[index]
        again_at_us = delivered_at_us + int(faults.rewritten_after_seconds * 1_000_000)
        first, *again = _grown(buffer) if number % 2 == 0 or len(buffer.records) == 1 else _split(buffer)
        deliveries[index] = (delivered_at_us, first)
        deliveries += [(again_at_us, second) for second in again]
        report.rewritten.append(buffer.key)
    return deliveries


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
