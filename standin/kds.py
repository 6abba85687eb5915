"""Kinesis Data Streams for DynamoDB: a table's changes as the records of a Kinesis stream.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from random import Random
from typing import TypeAlias

from standin.encoder import Encoder, Precision, encode_json
from standin.faults import Faults, FaultsLeft, Poison, PoisonKind, Report
from standin.history import CanonicalKey, Change, Table, uuid_text

__all__ = ["KdsReplication", "KinesisRecord", "Precision", "kds_partition_key", "kds_records", "shard_of"]

_CENTURY_US = 36_525 * 86_400 * 1_000_000
_RECENT_RECORDS = 50
# How often a counted fault strikes while more changes may come; what is left of it strikes at the end.
_CHANGES_PER_SKIP = 25
_RECORDS_PER_POISON = 10


@dataclass(frozen=True, slots=True)
class KinesisRecord:
    """A record of a Kinesis stream; ``arrived_at_us`` is its approximate arrival, in microseconds."""

    data: bytes
    partition_key: str
    sequence_number: str
    shard_id: str
    arrived_at_us: int


_Written: TypeAlias = tuple[Change, Precision]
"""A change and the precision its stream had when it was made."""

_ItemName: TypeAlias = tuple[str, CanonicalKey]


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
    faults = faults or Faults.none()
    changes = history.changes if isinstance(history, Table) else list(history)
    changes = sorted(changes, key=attrgetter("at_us"))
    switch_at = len(changes)
    if faults.precision_switch_at is not None:
        switch_at = int(len(changes) * faults.precision_switch_at)
    replication = KdsReplication(
        seed=seed,
        faults=faults,
        report=report,
        region=region,
        shards=shards,
        replication_delay_us=replication_delay_us,
    )
    other = other_precision(precision)
    return replication.send(
        [(change, precision if index < switch_at else other) for index, change in enumerate(changes)]
    )


def kds_partition_key(change: Change) -> str:
    """32 upper-case hex characters of the item's full primary key: an item stays on its shard."""
    return _md5(repr(change.key)).hexdigest().upper()


def shard_of(partition_key: str, shards: int) -> str:
    """The shard whose range holds the key's MD5, the ranges being of one size.

    https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html
    """
    index = int.from_bytes(_md5(partition_key).digest(), "big") * shards >> 128
    return f"shardId-{index:012d}"


def other_precision(precision: Precision) -> Precision:
    """Milliseconds for microseconds, and the other way round."""
    return "MILLISECOND" if precision == "MICROSECOND" else "MICROSECOND"


class KdsReplication:
    """The replication into one stream, portion by portion; one portion of all changes is ``kds_records``.

    ``left`` is shared by the replications of a server, whose counted faults are for all of them together.
    """

    def __init__(
        self,
        *,
        seed: int | str,
        faults: Faults | None = None,
        report: Report | None = None,
        region: str = "us-east-1",
        shards: int = 4,
        replication_delay_us: int = 250_000,
        left: FaultsLeft | None = None,
    ) -> None:
        if shards < 1:
            raise ValueError(f"a stream has at least one shard; got shards={shards}")
        self._seed = seed
        self._faults = faults or Faults.none()
        self._report = report if report is not None else Report()
        self._left = left or FaultsLeft(self._faults)
        self._shards = shards
        self._delay_us = replication_delay_us
        self._encoder = Encoder(region)
        stages = ("skipped", "replicated", "disorder", "duplicates", "poison", "unregistered")
        self._random = {stage: Random(f"{seed}/{stage}") for stage in stages}
        self._arrives_at_us = 0
        self._recent: list[_Sent] = []
        self._withheld: dict[_ItemName, _Written] = {}
        self._lost: dict[_ItemName, _Written] = {}
        self._places: dict[CanonicalKey, tuple[str, str]] = {}
        self._waiting_us: list[int] = []
        self._ordinal = 0
        self._poisons = 0
        self._strangers = 0

    def send(self, changes: Sequence[_Written], *, final: bool = True, not_before_us: int = 0) -> list[KinesisRecord]:
        """The records that the next changes bring, in the order of their arrival, none before ``not_before_us``.

        Changes come in the order of their instants. ``final``: none may follow, so all that faults kept back
        comes now, and all counted faults strike that have not yet.
        """
        report = self._report
        report.changes += len(changes)
        sent = self._replicate(self._arriving(changes, final), not_before_us)
        report.milliseconds += sum(record.precision == "MILLISECOND" for record in sent)
        report.held_back += self._hold_back(sent)
        for record in sent:
            record.data = self._encoder.encode(record.change, record.precision)
        extra = self._duplicate(sent)
        self._recent = [*self._recent, *sent][-_RECENT_RECORDS:]
        beside = sent or (
            [replace(one, arrives_at_us=max(one.arrives_at_us, not_before_us)) for one in self._recent] if final else []
        )
        extra += self._poison(beside, len(sent), final)
        extra += self._unregistered(beside, len(sent), final)
        sent = sorted(sent + extra, key=attrgetter("arrives_at_us"))
        report.records += len(sent)
        return self._put(sent)

    def _arriving(self, changes: Sequence[_Written], final: bool) -> Sequence[_Written]:
        """The changes that are sent now: without those that never arrive, with those kept back until now.

        While more may come nobody knows whether a change is an item's last. So a change to be skipped is
        withheld until a later one of its item comes, and of an item whose last change is lost, the last but
        one comes when another is.
        """
        if not (self._faults.skipped or self._faults.skipped_last):
            return changes
        last = {_name_of(written): index for index, written in enumerate(changes)}
        for name in [name for name in self._withheld if name in last]:
            self._report.skipped.append(self._withheld.pop(name)[0].event_id)
        lost_again = {last[name] for name in self._lost if name in last}
        released = [self._lost.pop(_name_of(changes[index])) for index in sorted(lost_again)]
        for change, _ in released:
            self._report.skipped.remove(change.event_id)
        if final:
            self._left.struck("skipped", -len(self._withheld))
            released += self._withheld.values()
            self._withheld.clear()
        missing, withheld = self._pick_skipped(changes, last, lost_again, final)
        self._report.skipped += [changes[index][0].event_id for index in sorted(missing)]
        arriving = [one for index, one in enumerate(changes) if index not in missing and index not in withheld]
        return sorted(released + arriving, key=lambda written: written[0].at_us) if released else arriving

    def _pick_skipped(
        self, changes: Sequence[_Written], last: dict[_ItemName, int], lost_again: set[int], final: bool
    ) -> tuple[set[int], set[int]]:
        """The indexes of the changes that never arrive, and of one that will not if another of its item comes."""
        random, left = self._random["skipped"], self._left
        lasts = set(last.values())
        overtaken = [index for index in range(len(changes)) if index not in lasts]
        lasts -= lost_again
        due = left.due("skipped", len(changes), every=_CHANGES_PER_SKIP, final=final)
        skipped = random.sample(overtaken, min(due, len(overtaken)))
        left.struck("skipped", len(skipped))
        withheld = set()
        if due > len(skipped) and lasts and not final:
            withheld = {random.choice(sorted(lasts))}
            lasts -= withheld
            left.struck("skipped", 1)
        due = left.due("skipped_last", len(last), every=_CHANGES_PER_SKIP, final=final)
        lost = random.sample(sorted(lasts), min(due, len(lasts)))
        left.struck("skipped_last", len(lost))
        self._withheld.update((_name_of(changes[index]), changes[index]) for index in withheld)
        self._lost.update((_name_of(changes[index]), changes[index]) for index in (*lost, *lost_again))
        return {*skipped, *lost, *lost_again}, withheld

    def _replicate(self, changes: Sequence[_Written], not_before_us: int) -> list[_Sent]:
        """The changes on their way, in order."""
        random = self._random["replicated"]
        sent = []
        for change, precision in changes:
            delayed_us = change.at_us + int(self._delay_us * (0.5 + random.random()))
            # Two apart, so that a record held back finds an instant of its own between two others.
            self._arrives_at_us = max(self._arrives_at_us + 2, delayed_us, not_before_us)
            sent.append(_Sent(self._arrives_at_us, change, precision))
        return sent

    def _hold_back(self, sent: list[_Sent]) -> int:
        """Make some records arrive after later ones; returns how many."""
        faults = self._faults
        if not faults.disorder:
            return 0
        random = self._random["disorder"]
        in_order_us = [record.arrives_at_us for record in sent]
        # Of an earlier portion, with none of its own after them: overtaken only now.
        waiting_us = [] if not sent else [at_us for at_us in self._waiting_us if at_us > in_order_us[0]]
        held_back = len(waiting_us)
        if sent:
            self._waiting_us = []
        for index, record in enumerate(sent):
            if random.random() >= faults.disorder:
                continue
            overtaken_by = min(index + random.randint(1, max(1, faults.disorder_records)), len(sent) - 1)
            delay_us = int(faults.disorder_seconds * 1e6 * random.random())
            record.arrives_at_us = in_order_us[overtaken_by] + delay_us + 1
            held_back += overtaken_by > index
            if overtaken_by == index:
                self._waiting_us.append(record.arrives_at_us)
        return held_back

    def _duplicate(self, sent: list[_Sent]) -> list[_Sent]:
        faults, report, random = self._faults, self._report, self._random["duplicates"]
        duplicates = []
        for record in sent if faults.duplicates else ():
            if random.random() >= faults.duplicates:
                continue
            arrives_at_us = record.arrives_at_us + int(faults.duplicate_after_seconds * 1e6 * random.random())
            duplicate = replace(record, arrives_at_us=arrives_at_us)
            if random.random() < faults.duplicate_other_precision:
                duplicate.precision = other_precision(record.precision)
                duplicate.data = self._encoder.encode(record.change, duplicate.precision)
                report.duplicates_other_precision.append(record.change.event_id)
            report.duplicates.append(record.change.event_id)
            duplicates.append(duplicate)
        return duplicates

    def _poison(self, sent: Sequence[_Sent], records: int, final: bool) -> list[_Sent]:
        due = self._left.due("poison", records, every=_RECORDS_PER_POISON, final=final) if sent else 0
        extra = []
        for number in range(self._poisons, self._poisons + due):
            kind = self._faults.poison_kinds[number % len(self._faults.poison_kinds)]
            beside = self._random["poison"].choice(sent)
            change = replace(beside.change, event_id=uuid_text(f"{self._seed}/poison/{number}"))
            payload = _poison_payload(kind, change, beside.precision, self._encoder)
            self._report.poison.append(Poison(kind, payload))
            extra.append(replace(beside, data=payload))
        self._poisons += due
        self._left.struck("poison", due)
        return extra

    def _unregistered(self, sent: Sequence[_Sent], records: int, final: bool) -> list[_Sent]:
        due = self._left.due("unregistered", records, every=_RECORDS_PER_POISON, final=final) if sent else 0
        extra = []
        for number in range(self._strangers, self._strangers + due):
            beside = self._random["unregistered"].choice(sent)
            event_id = uuid_text(f"{self._seed}/unregistered/{number}")
            change = replace(beside.change, table=self._faults.unregistered_table, event_id=event_id)
            data = self._encoder.encode(change, beside.precision)
            self._report.unregistered.append(data)
            extra.append(replace(beside, change=change, data=data))
        self._strangers += due
        self._left.struck("unregistered", due)
        return extra

    def _put(self, sent: Sequence[_Sent]) -> list[KinesisRecord]:
        """Give the records their shards and their sequence numbers: 56 digits, rising with the arrival."""
        records = []
        for record in sent:
            assert record.data is not None, "every record is encoded before it is put"
            place = self._places.get(record.change.key)
            if place is None:
                partition_key = kds_partition_key(record.change)
                place = partition_key, shard_of(partition_key, self._shards)
                self._places[record.change.key] = place
            partition_key, shard_id = place
            arrived_at_us = record.arrives_at_us
            sequence_number = f"49{arrived_at_us:020d}{self._ordinal:028d}{shard_id[-6:]}"
            records.append(KinesisRecord(record.data, partition_key, sequence_number, shard_id, arrived_at_us))
            self._ordinal += 1
        return records


def _name_of(written: _Written) -> _ItemName:
    return written[0].table, written[0].key


def _poison_payload(kind: PoisonKind, change: Change, precision: Precision, encoder: Encoder) -> bytes:
    match kind:
        case "rubbish":
            return b"\x00\xfe\xff rubbish " + change.event_id.encode()
        case "no_record":
            return encode_json({"message": "no record of a change", "id": change.event_id}).encode()
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


def _md5(text: str) -> "hashlib._Hash":
    return hashlib.md5(text.encode(), usedforsecurity=False)
