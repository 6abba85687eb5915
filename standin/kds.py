"""Kinesis Data Streams for DynamoDB: a table's changes as the records of a Kinesis stream.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html
"""

import base64
import hashlib
import json
import json.encoder
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from random import Random
from typing import Literal, TypeAlias

from standin.faults import Faults, Poison, PoisonKind, Report
from standin.history import AttributeValue, CanonicalKey, Change, Item, Table, uuid_text
from standin.size import attribute_size

Precision: TypeAlias = Literal["MICROSECOND", "MILLISECOND"]

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring

_CENTURY_US = 36_525 * 86_400 * 1_000_000
_MICROSECOND_FIELD = ',"ApproximateCreationDateTimePrecision":"MICROSECOND"'
_TTL_IDENTITY = '{"type":"Service","principalId":"dynamodb.amazonaws.com"}'


@dataclass(frozen=True, slots=True)
class KinesisRecord:
    """A record of a Kinesis stream; ``arrived_at_us`` is its approximate arrival, in microseconds."""

    data: bytes
    partition_key: str
    sequence_number: str
    shard_id: str
    arrived_at_us: int


@dataclass(slots=True)
class _Sent:
    """A record on its way."""

    arrives_at_us: int
    change: Change
    precision: Precision
    data: bytes | None = None


def kds_records(
    history: Table | Iterable[Change],
    *,
    seed: int,
    precision: Precision = "MICROSECOND",
    faults: Faults | None = None,
    report: Report | None = None,
    region: str = "us-east-1",
    shards: int = 4,
    replication_delay_us: int = 250_000,
) -> list[KinesisRecord]:
    """The stream's records, in the order of their arrival, for a table's changes or those of several tables.

    Without faults each change arrives once, in order, half to one and a half times ``replication_delay_us``
    after its write. What went wrong is added to ``report``. Poison and unregistered records come beside a
    good one. Same arguments, same bytes.
    """
    if shards < 1:
        raise ValueError(f"a stream has at least one shard; got shards={shards}")
    faults = faults or Faults.none()
    report = report if report is not None else Report()
    changes = history.changes if isinstance(history, Table) else list(history)
    changes = sorted(changes, key=attrgetter("at_us"))
    report.changes += len(changes)
    skipped = _skip(changes, seed, faults)
    report.skipped += [changes[index].event_id for index in sorted(skipped)]

    sent = _replicate(changes, skipped, seed, precision, faults, replication_delay_us)
    report.milliseconds += sum(record.precision == "MILLISECOND" for record in sent)
    report.held_back += _hold_back(sent, seed, faults)
    encoder = _Encoder(region)
    for record in sent:
        record.data = encoder.encode(record.change, record.precision)
    extra = _duplicate(sent, seed, faults, report, encoder)
    extra += _poison(sent, seed, faults, report, encoder)
    extra += _unregistered(sent, seed, faults, report, encoder)
    sent = sorted(sent + extra, key=attrgetter("arrives_at_us"))
    report.records += len(sent)
    return _put(sent, shards)


def kds_partition_key(change: Change) -> str:
    """32 upper-case hex characters of the item's full primary key: an item stays on its shard."""
    return _md5(repr(change.key)).hexdigest().upper()


def shard_of(partition_key: str, shards: int) -> str:
    """The shard whose range holds the key's MD5, the ranges being of one size.

    https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html
    """
    index = int.from_bytes(_md5(partition_key).digest(), "big") * shards >> 128
    return f"shardId-{index:012d}"


@dataclass(slots=True)
class _ItemText:
    """The text and size of an item's attributes and last image, most of which its next change repeats."""

    attributes: dict[str, tuple[AttributeValue, str, int]] = field(default_factory=dict)
    image: Item | None = None
    image_text: tuple[str, int] = ("", 0)

    def encode_image(self, image: Item) -> tuple[str, int]:
        if image is not self.image:
            self.image, self.image_text = image, self.encode(image)
        return self.image_text

    def encode(self, attributes: Item) -> tuple[str, int]:
        texts = []
        size = 0
        for name, value in attributes.items():
            known = self.attributes.get(name)
            if known is None or known[0] is not value:
                known = (value, f"{_quoted(name)}:{_value_text(value)}", attribute_size(name, value))
                self.attributes[name] = known
            texts.append(known[1])
            size += known[2]
        return f"{{{','.join(texts)}}}", size


class _Encoder:
    """Encodes changes, keeping the text of every item's last image."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._items: defaultdict[tuple[str, CanonicalKey], _ItemText] = defaultdict(_ItemText)

    def encode(self, change: Change, precision: Precision) -> bytes:
        """A change as the stream's JSON: no sequence number, and the precision named only if microseconds."""
        created_at, precision_field = change.at_us // 1000, ""
        if precision == "MICROSECOND":
            created_at, precision_field = change.at_us, _MICROSECOND_FIELD
        item = self._items[change.table, change.key]
        images = ""
        size = 0
        if change.old is not None:
            text, old_size = item.encode_image(change.old)
            images = f',"OldImage":{text}'
            size += old_size
        if change.new is not None:
            text, new_size = item.encode_image(change.new)
            images = f',"NewImage":{text}{images}'
            size += new_size
        keys, keys_size = item.encode(change.keys)
        return (
            f'{{"awsRegion":"{self.region}","eventID":"{change.event_id}","eventName":"{change.op}",'
            f'"userIdentity":{_TTL_IDENTITY if change.ttl else "null"},"recordFormat":"application/json",'
            f'"tableName":{_quoted(change.table)},'
            f'"dynamodb":{{"ApproximateCreationDateTime":{created_at},"Keys":{keys}{images},'
            f'"SizeBytes":{size + keys_size}{precision_field}}},"eventSource":"aws:dynamodb"}}'
        ).encode()


def _value_text(value: AttributeValue) -> str:
    """A value's JSON as KDS writes it: binary, base64 text already, is encoded a second time."""
    [(kind, content)] = value.items()
    if kind in ("S", "N"):
        return f'{{"{kind}":{_quoted(content)}}}'
    text = _encode_json(value)
    if '"B":' in text or '"BS":' in text:
        return _encode_json(_binary_twice(value))
    return text


def _binary_twice(value: AttributeValue) -> AttributeValue:
    [(kind, content)] = value.items()
    match kind:
        case "B":
            return {"B": _base64(content)}
        case "BS":
            return {"BS": [_base64(member) for member in content]}
        case "L":
            return {"L": [_binary_twice(member) for member in content]}
        case "M":
            return {"M": {name: _binary_twice(member) for name, member in content.items()}}
    return value


def _skip(changes: Sequence[Change], seed: int, faults: Faults) -> set[int]:
    """Indexes of the changes that never arrive."""
    if not faults.skipped and not faults.skipped_last:
        return set()
    last = {(change.table, change.key): index for index, change in enumerate(changes)}
    lasts = set(last.values())
    overtaken = [index for index in range(len(changes)) if index not in lasts]
    random = Random(f"{seed}/skipped")
    return {
        *random.sample(overtaken, min(faults.skipped, len(overtaken))),
        *random.sample(sorted(lasts), min(faults.skipped_last, len(lasts))),
    }


def _replicate(
    changes: Sequence[Change],
    skipped: set[int],
    seed: int,
    precision: Precision,
    faults: Faults,
    delay_us: int,
) -> list[_Sent]:
    """The changes that arrive, in order, with the precision of their part of the history."""
    random = Random(f"{seed}/replicated")
    switch_at = len(changes)
    if faults.precision_switch_at is not None:
        switch_at = int(len(changes) * faults.precision_switch_at)
    sent = []
    arrives_at_us = 0
    for index, change in enumerate(changes):
        if index not in skipped:
            delayed_us = change.at_us + int(delay_us * (0.5 + random.random()))
            # Two apart, so that a record held back finds an instant of its own between two others.
            arrives_at_us = max(arrives_at_us + 2, delayed_us)
            of_part = precision if index < switch_at else other_precision(precision)
            sent.append(_Sent(arrives_at_us, change, of_part))
    return sent


def other_precision(precision: Precision) -> Precision:
    """Milliseconds for microseconds, and the other way round."""
    return "MILLISECOND" if precision == "MICROSECOND" else "MICROSECOND"


def _hold_back(sent: list[_Sent], seed: int, faults: Faults) -> int:
    """Make some records arrive after later ones; returns how many."""
    if not faults.disorder:
        return 0
    random = Random(f"{seed}/disorder")
    in_order_us = [record.arrives_at_us for record in sent]
    held_back = 0
    for index, record in enumerate(sent):
        if random.random() >= faults.disorder:
            continue
        overtaken_by = min(index + random.randint(1, max(1, faults.disorder_records)), len(sent) - 1)
        delay_us = int(faults.disorder_seconds * 1e6 * random.random())
        record.arrives_at_us = in_order_us[overtaken_by] + delay_us + 1
        held_back += overtaken_by > index
    return held_back


def _duplicate(sent: list[_Sent], seed: int, faults: Faults, report: Report, encoder: _Encoder) -> list[_Sent]:
    random = Random(f"{seed}/duplicates")
    duplicates = []
    for record in sent if faults.duplicates else ():
        if random.random() >= faults.duplicates:
            continue
        arrives_at_us = record.arrives_at_us + int(faults.duplicate_after_seconds * 1e6 * random.random())
        duplicate = replace(record, arrives_at_us=arrives_at_us)
        if random.random() < faults.duplicate_other_precision:
            duplicate.precision = other_precision(record.precision)
            duplicate.data = encoder.encode(record.change, duplicate.precision)
            report.duplicates_other_precision.append(record.change.event_id)
        report.duplicates.append(record.change.event_id)
        duplicates.append(duplicate)
    return duplicates


def _poison(sent: list[_Sent], seed: int, faults: Faults, report: Report, encoder: _Encoder) -> list[_Sent]:
    random = Random(f"{seed}/poison")
    extra = []
    for number in range(faults.poison if sent else 0):
        kind = faults.poison_kinds[number % len(faults.poison_kinds)]
        beside = random.choice(sent)
        event_id = uuid_text(f"{seed}/poison/{number}")
        payload = _poison_payload(kind, replace(beside.change, event_id=event_id), beside.precision, encoder)
        report.poison.append(Poison(kind, payload))
        extra.append(replace(beside, data=payload))
    return extra


def _poison_payload(kind: PoisonKind, change: Change, precision: Precision, encoder: _Encoder) -> bytes:
    match kind:
        case "rubbish":
            return b"\x00\xfe\xff rubbish " + change.event_id.encode()
        case "no_record":
            return _encode_json({"message": "no record of a change", "id": change.event_id}).encode()
        case "missing_key":
            return encoder.encode(replace(change, keys=dict(list(change.keys.items())[1:])), precision)
        case "contradictory":
            image = change.new or change.old
            return encoder.encode(replace(change, op="INSERT", old=image, new=image, ttl=False), precision)
        case "future":
            return encoder.encode(replace(change, at_us=change.at_us + _CENTURY_US), precision)
        case "truncated":
            data = encoder.encode(change, precision)
            return data[: len(data) // 2]


def _unregistered(sent: list[_Sent], seed: int, faults: Faults, report: Report, encoder: _Encoder) -> list[_Sent]:
    random = Random(f"{seed}/unregistered")
    extra = []
    for number in range(faults.unregistered if sent else 0):
        beside = random.choice(sent)
        event_id = uuid_text(f"{seed}/unregistered/{number}")
        change = replace(beside.change, table=faults.unregistered_table, event_id=event_id)
        data = encoder.encode(change, beside.precision)
        report.unregistered.append(data)
        extra.append(replace(beside, change=change, data=data))
    return extra


def _put(sent: Sequence[_Sent], shards: int) -> list[KinesisRecord]:
    """Give the records their shards and their sequence numbers: 56 digits, rising with the arrival."""
    records = []
    places: dict[CanonicalKey, tuple[str, str]] = {}
    for ordinal, record in enumerate(sent):
        assert record.data is not None, "every record is encoded before it is put"
        place = places.get(record.change.key)
        if place is None:
            partition_key = kds_partition_key(record.change)
            place = partition_key, shard_of(partition_key, shards)
            places[record.change.key] = place
        partition_key, shard_id = place
        arrived_at_us = record.arrives_at_us
        sequence_number = f"49{arrived_at_us:020d}{ordinal:028d}{shard_id[-6:]}"
        records.append(KinesisRecord(record.data, partition_key, sequence_number, shard_id, arrived_at_us))
    return records


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _md5(text: str) -> "hashlib._Hash":
    return hashlib.md5(text.encode(), usedforsecurity=False)
