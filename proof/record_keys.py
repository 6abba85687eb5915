"""Whether a raw record is of an item: its key looked at anew, whatever the record is otherwise worth. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from lake.config import TableConfig
from lake.keys import KeyAttribute

MICROSECONDS_MAX = 10**17  # beyond, nothing has a calendar for it
_PLAIN_RUN = re.compile(r"[A-Za-z0-9]+")  # what no JSON writer escapes
_STREAM_ARN = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)/stream/.*")


class _Origin(msgspec.Struct):
    source: Any = None
    sequence_number: Any = None
    shard_id: Any = None


class _Body(msgspec.Struct):
    Keys: Any = None
    NewImage: msgspec.Raw = msgspec.Raw(b"null")
    OldImage: msgspec.Raw = msgspec.Raw(b"null")
    ApproximateCreationDateTime: Any = None


class _Record(msgspec.Struct):
    dynamodb: _Body
    eventID: Any = None
    eventName: Any = None
    tableName: Any = None
    eventSourceARN: Any = None
    lake: _Origin | None = msgspec.field(default=None, name="_lake")


_decoder = msgspec.json.Decoder(_Record)


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """What a record says of itself: `item_key` is None where it shows no key, `created_at_us` where no time."""

    event_id: str | None
    item_key: str | None
    created_at_us: int | None


def look_at(raw: bytes, table: TableConfig) -> SeenRecord | None:
    """What a record of the table says; None for one of another table, and for what is no record at all."""
    try:
        record = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _table_of(record) != table.dynamodb_name:
        return None
    event_id = record.eventID if isinstance(record.eventID, str) else None
    created = microseconds(record.dynamodb.ApproximateCreationDateTime)
    return SeenRecord(event_id, _item_key(record, table), created)


def names_a_table(raw: bytes) -> bool:
    """Whether it is a record that says of which table it is."""
    try:
        return _table_of(_decoder.decode(raw)) is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _table_of(record: _Record) -> str | None:
    if isinstance(record.tableName, str) and record.tableName:
        return record.tableName
    match = _STREAM_ARN.fullmatch(str(record.eventSourceARN or ""))
    return match[1] if match else None


def _item_key(record: _Record, table: TableConfig) -> str | None:
    """The key in `Keys`, or where there is none in an image."""
    source = record.lake.source if record.lake is not None and record.lake.source else "stream"
    is_twice = table.surface == "kds" and source == "stream"
    body = record.dynamodb
    for keys in (body.Keys, *map(_image, (body.NewImage, body.OldImage))):
        try:
            values = [_key_text(keys[a.name][a.kind], a, is_twice) for a in table.keys.attributes]
            return str(table.keys.item_key(*values))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return None


def _image(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _key_text(value: Any, attribute: KeyAttribute, is_twice: bool) -> str:
    """DynamoDB's text of a key value. Raises ValueError, TypeError."""
    if not isinstance(value, str):
        raise TypeError("no text")
    if attribute.kind == "B" and is_twice:
        return base64.b64decode(value, validate=True).decode("ascii")
    return value


def microseconds(value: Any) -> int | None:
    """A record's time in UTC microseconds, from seconds, milliseconds or microseconds by magnitude."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    whole = int(value)
    if abs(whole) > MICROSECONDS_MAX:
        return None
    if whole < 100_000_000_000:
        return whole * 1_000_000
    return whole * 1_000 if whole < 100_000_000_000_000 else whole


def needles_of(table: TableConfig, item_key: str) -> list[bytes]:
    """Texts of which every record of the item has one, however JSON escapes it; none where nothing is so sure.

    Numbers may be spelled in many ways.
    """
    found: list[list[bytes]] = []
    for attribute, value in zip(table.keys.attributes, table.keys.values_of(item_key).values(), strict=True):
        text = value[attribute.kind]
        if attribute.kind == "N":
            continue
        spellings = [text]
        if attribute.kind == "B":
            spellings.append(base64.b64encode(text.encode()).decode())
        runs = [max(_PLAIN_RUN.findall(spelling), key=len, default="") for spelling in spellings]
        if all(runs):
            found.append([run.encode() for run in runs])
    return max(found, key=lambda runs: min(map(len, runs)), default=[])
