"""READ records and tombstones as they land: made of items that were read, dated before the read.

AWS gives them no shape, so they have that of its change records, with `_lake` telling where they come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import zstandard

from lake.changes import Source
from lake.config import TableConfig
from lake.dynamodb import key_reader
from lake.errors import ConfigError
from lake.lake import Lake, open_lake


class ReadRecords:
    """Makes the records of one run, whose name no other run has: an `eventID` follows from run, item and version."""

    def __init__(self, table: TableConfig, run: str, source: Source) -> None:
        self._keys, self._run = table.keys, run
        self._decode = key_reader(table.keys).decode
        self._name = msgspec.json.encode(table.dynamodb_name)
        self._lake = {"source": source} | ({"masks": table.fingerprint} if table.masks else {})

    def read(self, item: bytes, version_us: int) -> bytes:
        """A READ of an item, as DynamoDB's JSON behind the masks: its text goes in as it came, only the key is parsed.

        It saw every change up to `version_us`.
        """
        key = self._decode(item)
        values = [getattr(key, f"key_{n}") for n, _ in enumerate(self._keys.attributes)]
        named = {a.name: value for a, value in zip(self._keys.attributes, values, strict=True)}
        return self._record(b"READ", self._keys.item_key_of(named), named, version_us, b',"NewImage":%b' % item)

    def tombstone(self, item_key: str, version_us: int) -> bytes:
        """A REMOVE of an item that a consistent read did not find, by its key's one text."""
        return self._record(b"REMOVE", item_key, self._keys.values_of(item_key), version_us, b"")

    def packed(self, records: Sequence[bytes], last: Mapping[str, Any] | None = None) -> bytes:
        """An object of these records, one at least; `last` is told with the last of them."""
        plain = b',"_lake":%b}\n' % msgspec.json.encode(self._lake)
        end = b',"_lake":%b}\n' % msgspec.json.encode(self._lake | dict(last or {}))
        return zstandard.ZstdCompressor().compress(plain.join(records) + end)

    def _record(self, op: bytes, item_key: object, named: Any, version_us: int, image: bytes) -> bytes:
        """A record without its end, which `packed` gives it."""
        identity = f"{self._run}\n{item_key}\n{version_us}"
        return b'{"eventID":"%s","eventName":"%s","tableName":%s,"dynamodb":{%s,"Keys":%s%s}' % (
            hashlib.blake2b(identity.encode(), digest_size=16).hexdigest().encode(), op, self._name,
            b'"ApproximateCreationDateTime":%d' % version_us, msgspec.json.encode(named), image,
        )  # fmt: skip


def require_same_masks(operation: str, lake: Lake, table: TableConfig) -> None:
    """What lands must be masked as lake.toml says now, however long ago the job was begun. Raises ConfigError."""
    if open_lake(lake.uri).config.table(table.name).fingerprint != table.fingerprint:
        raise ConfigError(
            operation, table.name, expected="the masks with which it began", got="others in lake.toml",
            remedy="Run it again: it reads anew, with those",
        )  # fmt: skip
