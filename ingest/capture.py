"""Capture: from records of a stream to what lands, as pure functions that every driver shares.

`capture` decides record by record: a line to land, or a dead letter. `plan_landing` makes of what was captured in a
window one object, each change once and in order of time, under a name that follows from its bytes. What neither
does is fail: once a landing is written, the checkpoint may stand at its `checkpoint`.

Most records are plainly right, and their bytes land as they came, with `_lake` added. That is seen by a narrow
decoder that looks at the key and little else; what it does not take goes to `lake.records.decode_record`, which
decides. The narrow way must say yes only where the other does; tests hold it to that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from lake import layout
from lake.changes import Source
from lake.config import LakeConfig, TableConfig
from lake.dead_letters import DeadLetter, sealed
from lake.errors import PoisonError
from lake.keys import KeyAttribute, can_be_read
from lake.masks import MaskKey, TableMasks
from lake.ordering import copy_preference
from lake.records import (
    FUTURE_US_MAX,
    RECORD_BYTES_MAX,
    UNREGISTERED,
    created_at_us,
    decode_record,
    parse_record,
    table_of,
)

_MAYBE_BINARY = re.compile(rb'BS?"').search  # a quick look before the close one: quotes are many
_PROVENANCE = ("source", "stream", "shard_id", "sequence_number", "arrived_us")  # in `_lake`
_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,37}")


class StreamRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as its stream gave it: the bytes, its number in the shard, its arrival in UTC microseconds."""

    data: bytes
    sequence_number: str
    arrived_us: int


class Line(msgspec.Struct, frozen=True, gc=False):
    """A change to be landed: its text ends with a newline."""

    created_at_us: int
    table: str
    event_id: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where records come from; `shard_id` is empty where the driver is not told."""

    stream: str
    shard_id: str = ""


@dataclass(frozen=True, slots=True)
class Captured:
    """What came of some records of a shard, in their order. `size` is the bytes of the records as they came."""

    records: int
    size: int
    first_arrived_us: int
    last_sequence_number: str
    lines: list[Line]
    letters: list[DeadLetter]


@dataclass(frozen=True, slots=True)
class Landing:
    """One window, ready to be written. `path` and `data` (NDJSON) of its object; None where nothing is to land.

    `letters` are by DynamoDB's name of a registered table, or None. Once all is written durably, the checkpoint may
    move to the sequence number `checkpoint`.
    """

    origin: Origin
    path: str | None
    data: bytes
    letters: dict[str | None, list[DeadLetter]]
    checkpoint: str
    records: int
    changes: int
    duplicates: int

    @property
    def dead_letters(self) -> int:
        return sum(map(len, self.letters.values()))


class CaptureRules:
    """The tables of a lake, ready for records. `key` is needed where the lake has masks."""

    def __init__(self, config: LakeConfig, key: MaskKey | None = None) -> None:
        assert key is not None or not config.has_masks
        self._key = key if config.has_masks else None
        self._tables = {table.dynamodb_name: _Table(table, key) for table in config.tables.values()}
        self._usual = next(iter(self._tables.values()), None)

    def capture(self, records: Sequence[StreamRecord], origin: Origin, now_us: int) -> Captured:
        """Decides on records, one at least, of one shard in their order. `now_us` is the present, UTC microseconds."""
        lines: list[Line] = []
        letters: list[DeadLetter] = []
        size = 0
        head, tail = _around(origin)
        latest_us = now_us + FUTURE_US_MAX
        for record in records:
            data = record.data
            size += len(data)
            found = self._plain(data, latest_us)
            sequence_number, arrived_us = record.sequence_number.encode(), record.arrived_us
            if found is not None:
                text = b'%b,"_lake":{%b"%b","arrived_us":%d%b}}\n' % (
                    data[:-1], head, sequence_number, arrived_us, tail,
                )  # fmt: skip
                lines.append(Line(found[0], found[1], found[2], text))
                continue
            provenance = b'%b"%b","arrived_us":%d%b' % (head, sequence_number, arrived_us, tail)
            decided = self._decided(data, provenance, now_us)
            if isinstance(decided, Line):
                lines.append(decided)
            else:
                letters.append(self._letter(decided, record, origin, now_us))
        return Captured(len(records), size, records[0].arrived_us, records[-1].sequence_number, lines, letters)

    def _plain(self, data: bytes, latest_us: int) -> tuple[int, str, str] | None:
        """Time, table and event id of a record that lands as it came; None for one that must be looked at closely."""
        table = self._usual
        if table is None or _is_unusual(data):
            return None
        try:
            found = table.decode(data)
            if found.tableName != table.name:
                other = self._tables.get(found.tableName)
                if other is None:
                    return None
                self._usual = table = other
                found = table.decode(data)
            if not table.is_plain:
                return None
            if not data.isascii():
                data.decode()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        body = found.dynamodb
        new, old = body.NewImage, body.OldImage
        if found.eventName == "REMOVE":
            is_right = new is None and (old is None or old == body.Keys)
        elif found.eventName == "INSERT":
            is_right = old is None and new == body.Keys
        else:
            is_right = new == body.Keys and (old is None or old == body.Keys)
        if not (is_right and found.eventID and table.is_key(body.Keys)):
            return None
        value = body.ApproximateCreationDateTime
        if 1_000_000_000_000_000 <= value <= latest_us:
            return value, table.name, found.eventID
        try:
            created = created_at_us(value)
        except ValueError:
            return None
        return None if created > latest_us else (created, table.name, found.eventID)

    def _decided(self, data: bytes, provenance: bytes, now_us: int) -> Line | tuple[PoisonError, str | None]:
        """The strict way: a line, or what is the matter and with which table."""
        name: str | None = None
        try:
            record = parse_record(data)
            name = table_of(record)
            table = self._tables.get(name)
            if table is None:
                raise PoisonError(UNREGISTERED, f"{name!r} is not in lake.toml")
            record.pop("_lake", None)  # ours to say
            change = decode_record(record, table.rules, now_us)
            text = msgspec.json.encode(table.masked(record))
            if table.masks is not None:
                provenance += b',"masks":"%b"' % table.masks.fingerprint.encode()
            return Line(change.created_at_us, name, change.event_id, b'%b,"_lake":{%b}}\n' % (text[:-1], provenance))
        except PoisonError as fault:
            return fault, name

    def decide_landed(self, record: StreamRecord, origin: Origin, now_us: int) -> Line | DeadLetter:
        """Decides on a record as a raw object has it: what `_lake` says of it stands, also that it is masked.

        One that bears no sign of masks goes through those of its table. A letter has the origin as its place.
        """
        name: str | None = None
        try:
            fields = parse_record(record.data)
            name = table_of(fields)
            table = self._tables.get(name)
            if table is None:
                raise PoisonError(UNREGISTERED, f"{name!r} is not in lake.toml")
            change = decode_record(fields, table.rules, now_us)
            said = fields.get("_lake") or {}
            text = record.data.strip()
            if table.masks is not None and not (isinstance(said.get("masks"), str) and said["masks"]):
                said = {name: said[name] for name in _PROVENANCE if isinstance(said.get(name), str | int)}
                fields = table.masked(fields, change.source) | {"_lake": said | {"masks": table.masks.fingerprint}}
                text = msgspec.json.encode(fields)
            elif b"\n" in text:
                text = msgspec.json.encode(fields)
            return Line(change.created_at_us, name, change.event_id, text + b"\n")
        except PoisonError as fault:
            return self._letter((fault, name), record, origin, now_us)

    def _letter(
        self, found: tuple[PoisonError, str | None], record: StreamRecord, origin: Origin, now_us: int
    ) -> DeadLetter:
        fault, name = found
        letter = DeadLetter(
            fault.reason, fault.detail, record.data, stream=origin.stream, shard_id=origin.shard_id,
            sequence_number=record.sequence_number, table=name, found_at_us=now_us,
        )  # fmt: skip
        table = self._tables.get(name or "")
        if self._key is not None and (table is None or table.masks is not None):
            return sealed(letter, self._key)
        return letter


def take_once(once: dict[tuple[str, str], Line], line: Line) -> bool:
    """Adds a line, by table and event id; False where that is a copy of one: then the finer time stands."""
    identity = (line.table, line.event_id)
    other = once.setdefault(identity, line)
    if other is line:
        return True
    if copy_preference(line.created_at_us) > copy_preference(other.created_at_us):
        once[identity] = line
    return False


def plan_landing(captured: Sequence[Captured], origin: Origin, known: frozenset[str] | set[str]) -> Landing:
    """One object of what was captured, in the order of capture; each change once, in order of time.

    Of copies whose times differ in precision the finer one stands, as in `lake.ordering`. `known` are the DynamoDB
    names of the lake's tables.
    """
    once: dict[tuple[str, str], Line] = {}
    lines = 0
    for part in captured:
        lines += len(part.lines)
        for line in part.lines:
            take_once(once, line)
    by_table: dict[str | None, list[DeadLetter]] = {}
    for part in captured:
        for letter in part.letters:
            by_table.setdefault(letter.table if letter.table in known else None, []).append(letter)
    data = b"".join([line.text for line in sorted(once.values(), key=_time)])
    first_us = min(part.first_arrived_us for part in captured)
    digest = hashlib.sha256(data).hexdigest()[:32]
    return Landing(
        origin=origin,
        path=layout.captured_object(origin.stream, origin.shard_id or "shard", first_us, digest) if data else None,
        data=data,
        letters=by_table,
        checkpoint=captured[-1].last_sequence_number,
        records=sum(part.records for part in captured),
        changes=len(once),
        duplicates=lines - len(once),
    )


def _is_unusual(data: bytes) -> bool:
    """Whether a record's bytes may hold what the narrow way does not see: binary, under its own name or escaped."""
    if b"\n" in data or data[-1:] != b"}" or len(data) > RECORD_BYTES_MAX or b"\\u00" in data:
        return True
    return _MAYBE_BINARY(data) is not None and (b'"B"' in data or b'"BS"' in data)


def _time(line: Line) -> int:
    return line.created_at_us


def _around(origin: Origin) -> tuple[bytes, bytes]:
    """The parts of `_lake` around a record's own, as JSON."""
    head = b'"source":"stream","stream":%b,"sequence_number":' % msgspec.json.encode(origin.stream)
    return head, b',"shard_id":%b' % msgspec.json.encode(origin.shard_id) if origin.shard_id else b""


class _Table:
    """One registered table: its rules, its masks, and the decoder that looks at the key and little else."""

    def __init__(self, table: TableConfig, key: MaskKey | None) -> None:
        self.name = table.dynamodb_name
        self.rules = replace(table.rules, must_be_masked=False)
        self.masks = TableMasks(table.masks, table.keys, key) if table.masks and key is not None else None
        kinds = {attribute.kind for attribute in table.keys.attributes}
        names = [attribute.name for attribute in table.keys.attributes]
        self.is_plain = self.masks is None and table.surface == "kds" and "B" not in kinds and can_be_read(names)
        self._numbers = [n for n, one in enumerate(table.keys.attributes) if one.kind == "N"]
        self._width = len(table.keys.attributes)
        attributes = table.keys.attributes if self.is_plain else ()
        self.decode = msgspec.json.Decoder(_record_type(attributes)).decode

    def is_key(self, key: Any) -> bool:
        """Whether the values of a decoded key are plainly such: not empty, numbers in digits."""
        if not key.key_0.value or (self._width == 2 and not key.key_1.value):
            return False
        return all(_PLAIN_NUMBER.fullmatch(getattr(key, f"key_{n}").value) for n in self._numbers)

    def masked(self, record: dict[str, Any], source: Source = "stream") -> dict[str, Any]:
        """What may land of a record; binary is encoded twice in those of KDS. Raises PoisonError."""
        if self.masks is None:
            return record
        try:
            return self.masks.record(record, is_binary_twice=source == "stream" and self.rules.surface == "kds")
        except ValueError as fault:
            raise PoisonError("contradictory", str(fault)) from fault


def _record_type(attributes: Sequence[KeyAttribute]) -> Any:
    """The type of a KDS record of a table with this key: no surprises in it, what is none of its concern passed by."""
    fields = []
    for n, attribute in enumerate(attributes):
        value = msgspec.defstruct(
            "Value", [("value", str, msgspec.field(name=attribute.kind))], forbid_unknown_fields=True, gc=False
        )
        fields.append((f"key_{n}", value, msgspec.field(name=attribute.name)))
    key = msgspec.defstruct("Key", fields, gc=False)
    none = msgspec.UnsetType
    body = msgspec.defstruct(
        "Body",
        [("ApproximateCreationDateTime", int), ("Keys", key), ("NewImage", key | None, None),
         ("OldImage", key | None, None), ("SequenceNumber", none, msgspec.UNSET)],
        gc=False,
    )  # fmt: skip
    op = Literal["INSERT", "MODIFY", "REMOVE"]
    return msgspec.defstruct(
        "Record",
        [("eventID", str), ("eventName", op), ("tableName", str), ("dynamodb", body), ("_lake", none, msgspec.UNSET)],
        gc=False,
    )  # fmt: skip
