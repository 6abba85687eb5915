"""Records made of an export's lines, one at a time: READs and tombstones, behind the masks.

This is the strict reading, as `lake.records` is of change records: `ingest.exports` makes the same of whole files in
SQL where all is plainly right, and hands each file that holds anything else to this module.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.manifests import SECOND_US, Export
from lake.config import TableConfig
from lake.masks import TableMasks

WRITTEN_US_MIN = 100_000_000_000_000  # 1973: below, it would be taken for milliseconds
WRITTEN_US_MAX = 99_999_999_999_999_999
_DIGITS = re.compile(r"[0-9]{1,20}")


_NONE = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    Item: msgspec.Raw = _NONE
    Metadata: Any = None
    Keys: msgspec.Raw = _NONE
    NewImage: msgspec.Raw = _NONE
    OldImage: msgspec.Raw = _NONE


@dataclass(frozen=True, slots=True)
class Versions:
    """What an export's lines are versioned by, in UTC microseconds.

    A full export knows one time for all: that of its state, which AWS tells to the second, less a margin. An
    incremental one tells of each item when it was written. Where the table's stream tells seconds only, a write in the
    window's last, broken second is dated at its beginning: what came behind the window in that second must win.
    """

    full_us: int | None
    latest_us: int

    @classmethod
    def of(cls, export: Export, table: TableConfig, margin_us: int) -> Versions:
        second_us = export.until_us // SECOND_US * SECOND_US
        if not export.is_incremental:
            return cls(second_us - margin_us, WRITTEN_US_MAX)
        return cls(None, second_us if table.surface == "streams" else WRITTEN_US_MAX)


@dataclass(frozen=True, slots=True)
class Opening:
    """What SQL and Python write alike: all of a record but what differs between items."""

    run: str  # with item and version it makes an event id
    table_name: str
    end: str

    @classmethod
    def of(cls, export: Export, table: TableConfig) -> Opening:
        lake = {"source": "export"} | ({"masks": table.fingerprint} if table.masks else {})
        return cls(export.arn, _json(table.dynamodb_name), f'}},"_lake":{_json(lake)}}}\n')


class ExportRecords:
    """Makes the records of one export. Its errors name no values: they may be what masks are for."""

    def __init__(self, table: TableConfig, export: Export, versions: Versions, masks: TableMasks | None) -> None:
        self._keys, self._masks, self._versions = table.keys, masks, versions
        self._line = msgspec.json.Decoder(_Line)
        self._opening = Opening.of(export, table)

    def record(self, line: bytes) -> tuple[bytes, bool]:
        """The record of a line, and whether it is a tombstone. Raises ValueError where the line cannot be one."""
        try:
            found = self._line.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise ValueError(f"no JSON of an export: {fault}") from None
        if self._versions.full_us is not None:
            item = _image(found.Item, "Item")
            keys, images = item, [item]
            version_us, new, old = self._versions.full_us, _present(found.Item), None
        else:
            keys = _image(found.Keys, "Keys")
            new, old = _present(found.NewImage), _present(found.OldImage)
            images = [_image(raw, name) for raw, name in ((new, "NewImage"), (old, "OldImage")) if raw]
            version_us = min(_written_us(found.Metadata), self._versions.latest_us)
        named = self._key(keys, images)
        if self._versions.full_us is None and len(keys) > len(named):
            raise ValueError(f"Keys has more than {self._told()}")
        if new is not None:
            image, op = b',"NewImage":%b' % self._text(new, images[0]), "READ"
        else:
            image, op = b',"OldImage":%b' % self._text(old, images[0]) if old is not None else b"", "REMOVE"
        if self._masks is not None:
            named = self._masks.image(named)
        return self._record(op, named, version_us, image), op == "REMOVE"

    def _key(self, keys: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
        """The key attributes, which are of the right types and the same in every image."""
        try:
            self._keys.item_key_of(keys)
        except ValueError:
            raise ValueError(f"no key {self._told()}") from None
        named = {attribute.name: keys[attribute.name] for attribute in self._keys.attributes}
        if any(len(value) > 1 for value in named.values()):
            raise ValueError(f"more than one value in the key {self._told()}")
        if any(image.get(name) != value for image in images for name, value in named.items()):
            raise ValueError("Keys and image disagree")
        return named

    def _told(self) -> str:
        return " ".join(map(str, self._keys.attributes))

    def _text(self, raw: msgspec.Raw, image: dict[str, Any]) -> bytes:
        """An image as it may land: as it came, where nothing of it is masked."""
        return bytes(raw) if self._masks is None else msgspec.json.encode(self._masks.image(image))

    def _record(self, op: str, named: dict[str, Any], version_us: int, image: bytes) -> bytes:
        opening = self._opening
        identity = f"{opening.run}\n{self._keys.item_key_of(named)}\n{version_us}"
        event_id = hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest()
        start = f'{{"eventID":"{event_id}","eventName":"{op}","tableName":{opening.table_name},"dynamodb":'
        body = f'{{"ApproximateCreationDateTime":{version_us},"Keys":{_json(named)}'
        return (start + body).encode() + image + opening.end.encode()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _present(raw: msgspec.Raw) -> msgspec.Raw | None:
    return None if bytes(raw) == b"null" else raw


def _image(raw: msgspec.Raw, name: str) -> dict[str, Any]:
    image = msgspec.json.decode(raw)
    if not isinstance(image, dict):
        raise ValueError(f"no object as {name}")
    return image


def _written_us(metadata: Any) -> int:
    """`WriteTimestampMicros`: DynamoDB writes a number as it does in items; its guide shows a plain text."""
    value = metadata.get("WriteTimestampMicros") if isinstance(metadata, dict) else None
    if isinstance(value, dict):
        value = value.get("N")
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not WRITTEN_US_MIN <= value <= WRITTEN_US_MAX:
        raise ValueError("no WriteTimestampMicros in Metadata")
    return value
