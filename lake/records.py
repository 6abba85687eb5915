"""Decoding of change records: KDS, native Streams and READs, one record at a time.

This is the strict reading. `compaction` reads whole objects in SQL and hands every object that holds
anything unusual to this module, so the two must agree on what they both accept; a test holds them to it.

AWS: "Using Kinesis Data Streams for DynamoDB" and "DynamoDB Streams record" in the developer guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from lake.attributes import encode_binary_once
from lake.changes import OPS, SOURCES, Change, Surface
from lake.errors import LakeError, PoisonError
from lake.keys import KeySchema

RECORD_BYTES_MAX = 16 * 1024 * 1024  # Kinesis' own limit is 10 MiB, by setting
FUTURE_US_MAX = 24 * 3600 * 1_000_000  # a later time would freeze its item: nothing could come after it
POISON_RATIO_MAX = 0.10
POISON_RECORDS_MIN = 1_000  # below, a ratio says little
UNREGISTERED = "unregistered table"
UNMASKED = "unmasked"
SOUND = {UNREGISTERED, UNMASKED}  # reasons that say nothing of a record's soundness
TTL_PRINCIPAL = "dynamodb.amazonaws.com"
_STREAM_ARN = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)/stream/.*")


def require_little_poison(operation: str, identity: str, poison: int, records: int, example: str, part: str) -> None:
    """Raises LakeError where so much is poison that it looks like a wrong stream or table definition.

    `SOUND` records are no poison. `part` is what is at work, of which nothing is kept.
    """
    if records >= POISON_RECORDS_MIN and poison > POISON_RATIO_MAX * records:
        raise LakeError(
            operation, identity, expected=f"at most {POISON_RATIO_MAX:.0%} of records to be poison",
            got=f"{poison} of {records}, such as {example}",
            remedy=f"This looks like a wrong stream or table definition; nothing of this {part}",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableRules:
    """What decoding needs to know of a registered table."""

    dynamodb_name: str
    keys: KeySchema
    surface: Surface
    must_be_masked: bool = False  # raw records of a table with masks bear a sign that they went through them


def created_at_us(value: int) -> int:
    """`ApproximateCreationDateTime` in microseconds: seconds, milliseconds or microseconds by magnitude.

    Each record is normalised on its own, since the precision can be switched on a live stream. Raises
    ValueError outside the years 1973 to 5138.
    """
    if 100_000_000 <= value < 100_000_000_000:
        return value * 1_000_000
    if 100_000_000_000 <= value < 100_000_000_000_000:
        return value * 1_000
    if 100_000_000_000_000 <= value < 100_000_000_000_000_000:
        return value
    raise ValueError(f"{value} is no time in seconds, milliseconds or microseconds")


def parse_record(raw: bytes) -> dict[str, Any]:
    """The JSON object in a raw record. Raises PoisonError."""
    if len(raw) > RECORD_BYTES_MAX:
        raise PoisonError("oversized", f"{len(raw)} bytes, more than {RECORD_BYTES_MAX}")
    try:
        record = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise PoisonError("undecodable", str(fault)) from fault
    if not isinstance(record, dict) or not isinstance(record.get("dynamodb"), dict):
        raise PoisonError("no change record", "JSON, but no object with a `dynamodb` object in it")
    return record


def table_of(record: dict[str, Any]) -> str:
    """The DynamoDB table a record belongs to, from `tableName` or the stream's ARN. Raises PoisonError."""
    name = record.get("tableName")
    if isinstance(name, str) and name:
        return name
    match = _STREAM_ARN.fullmatch(str(record.get("eventSourceARN") or ""))
    if match is None:
        raise PoisonError("no change record", "neither `tableName` nor a stream's `eventSourceARN`")
    return match[1]


def decode_record(record: dict[str, Any], table: TableRules, now_us: int) -> Change:
    """One change of `table` from a parsed record. Raises PoisonError with the reason.

    `now_us` is the present in UTC microseconds: a change from beyond tomorrow is poison.
    """
    body = record["dynamodb"]
    op, event_id = record.get("eventName"), record.get("eventID")
    if op not in OPS:
        raise PoisonError("no change record", f"eventName {op!r} is none of {', '.join(OPS)}")
    if not isinstance(event_id, str) or not event_id:
        raise PoisonError("no change record", "no eventID")
    lake = record.get("_lake") or {}
    if not isinstance(lake, dict):
        raise PoisonError("no change record", "`_lake` is no object")
    source = lake.get("source") or "stream"
    if source not in SOURCES or ((op == "READ") != (source != "stream") and op != "REMOVE"):
        raise PoisonError("contradictory", f"a {op} of source {source!r}")
    if table.must_be_masked and not _text_or_none(lake.get("masks")):
        raise PoisonError(UNMASKED, "it landed without the masks of its table in lake.toml")
    created = _time(body.get("ApproximateCreationDateTime"), now_us)
    sequence = _sequence_number(body, lake, source, table)
    new, old = _images(op, body)
    _check_keys(body.get("Keys"), [image for image in (new, old) if image is not None], table.keys)
    item_key = table.keys.item_key_of(_binary_once(body["Keys"], source, table))
    return Change(
        item_key=item_key,
        op=op,
        created_at_us=created,
        event_id=event_id,
        new_image=None if new is None else _json(_binary_once(new, source, table)),
        old_image=None if old is None else _json(_binary_once(old, source, table)),
        is_ttl=op == "REMOVE" and _is_ttl(record.get("userIdentity")),
        source=source,
        sequence_number=sequence,
        shard_id=_text_or_none(lake.get("shard_id")),
        masks=_text_or_none(lake.get("masks")) or None,
    )


def _time(value: Any, now_us: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # some Streams clients give 1.7e9
    if not isinstance(value, int) or isinstance(value, bool):
        raise PoisonError("no change record", f"ApproximateCreationDateTime is {value!r}, no whole number")
    try:
        created = created_at_us(value)
    except ValueError as fault:
        raise PoisonError("no change record", f"ApproximateCreationDateTime: {fault}") from fault
    if created > now_us + FUTURE_US_MAX:
        raise PoisonError("future", f"created at {created} µs, more than a day after now, {now_us} µs")
    return created


def _sequence_number(body: dict[str, Any], lake: dict[str, Any], source: str, table: TableRules) -> str | None:
    number = body.get("SequenceNumber")
    if source != "stream":
        return None
    if table.surface == "streams":
        if not isinstance(number, str) or not number.isdecimal() or not number.isascii() or len(number) > 40:
            raise PoisonError("wrong surface", "no SequenceNumber, in a table registered for native Streams")
        return number.zfill(40)
    if number is not None:
        raise PoisonError("wrong surface", "a native Streams record, in a table registered for KDS")
    return _text_or_none(lake.get("sequence_number"))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _images(op: str, body: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    new, old = body.get("NewImage"), body.get("OldImage")
    for name, image in (("NewImage", new), ("OldImage", old)):
        if image is not None and not isinstance(image, dict):
            raise PoisonError("contradictory", f"{name} is no object")
    if op == "REMOVE" and new is not None:
        raise PoisonError("contradictory", "a REMOVE with a NewImage")
    if op != "REMOVE" and new is None:
        raise PoisonError("contradictory", f"a {op} without a NewImage")
    if op in ("INSERT", "READ") and old is not None:
        raise PoisonError("contradictory", f"a {op} with an OldImage")
    return new, old


def _check_keys(keys: Any, images: list[dict[str, Any]], schema: KeySchema) -> None:
    if not isinstance(keys, dict):
        raise PoisonError("keyless", "no Keys")
    try:
        schema.item_key_of(keys)
    except ValueError as fault:
        raise PoisonError("keyless", str(fault)) from fault
    for image in images:
        for attribute in schema.attributes:
            if image.get(attribute.name) != keys[attribute.name]:
                raise PoisonError("contradictory", f"Keys and image disagree on {attribute.name!r}")


def _binary_once(image: dict[str, Any], source: str, table: TableRules) -> dict[str, Any]:
    if source != "stream" or table.surface != "kds":
        return image
    text = _json(image)
    if '"B":"' not in text and '"BS":[' not in text:
        return image
    try:
        decoded: dict[str, Any] = msgspec.json.decode(encode_binary_once(text))
    except (ValueError, TypeError, msgspec.DecodeError) as fault:
        raise PoisonError("undecodable", f"binary that is not encoded twice, as KDS does: {fault}") from fault
    return decoded


def _json(image: dict[str, Any]) -> str:
    return msgspec.json.encode(image).decode()


def _is_ttl(identity: Any) -> bool:
    return (
        isinstance(identity, dict)
        and identity.get("type") == "Service"
        and identity.get("principalId") == TTL_PRINCIPAL
    )
