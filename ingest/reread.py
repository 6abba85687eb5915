"""Items read again by their keys, landed as READ records and tombstones: how a lake is mended, and pruned.

Both are dated before the read that gave them. A READ loses against every change since and holds every change before;
a tombstone comes only of a consistent read that did not find the item. So nothing that is landed here can be wrong,
whatever is written to the table meanwhile and whatever the lake already has.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from ingest.reads import ReadRecords, require_same_masks
from lake import layout
from lake.config import TableConfig
from lake.dynamodb import MARGIN_SECONDS, Source, key_of_text
from lake.lake import Lake
from lake.masks import masked_keys
from lake.store import put_new

OBJECT_BYTES = 8 << 20  # of records before compression
KEYS_AT_ONCE = 1_000
MASKED_KEYS_AT_ONCE = 100_000  # each lot costs a Scan: an item cannot be found by a key that is masked
MARGIN_US = MARGIN_SECONDS * 1_000_000

Progress = Callable[[int, int], None]
"""Told the items read again and how many there are, as far as known."""


@dataclass(frozen=True, slots=True)
class RereadReport:
    """How many items were read again: those that are there, and those that are not."""

    table: str
    reads: int = 0
    tombstones: int = 0
    objects: int = 0

    @property
    def items(self) -> int:
        return self.reads + self.tombstones


def reread(
    lake: Lake, table: TableConfig, source: Source, item_keys: Iterable[str], progress: Progress = lambda *_: None,
    total: int = 0,
) -> RereadReport:  # fmt: skip
    """Reads items consistently and lands what was found, object by object, for compact to take in.

    `source` is the table behind its masks (`lake.masked`), after an answer told its time; `item_keys` are the log's
    texts. Raises LakeError; what has landed stays, and is right.
    """
    records = ReadRecords(table, uuid.uuid4().hex, "repair")
    at_once = MASKED_KEYS_AT_ONCE if masked_keys(table.masks, table.keys) else KEYS_AT_ONCE
    key_of = key_of_text(table.keys, table.dynamodb_name)
    report = RereadReport(table.name)
    held: list[bytes] = []
    size, left = 0, iter(item_keys)
    while part := list(dict.fromkeys(islice(left, at_once))):
        version_us = source.server_us() - MARGIN_US
        absent = set(part)
        wanted = [msgspec.json.encode(table.keys.values_of(item_key)).decode() for item_key in part]
        for page in source.get_items(table.dynamodb_name, wanted):
            for item in page.items:
                held.append(records.read(item, page.read_us - MARGIN_US))
                absent.discard(key_of(item))
                size += len(held[-1])
                if size >= OBJECT_BYTES:
                    report, size = _land(lake, table, records, held, report), 0
        held += [records.tombstone(item_key, version_us) for item_key in part if item_key in absent]
        size += 200 * len(absent)
        found = len(part) - len(absent)
        report = replace(report, reads=report.reads + found, tombstones=report.tombstones + len(absent))
        progress(report.items, max(total, report.items))
    return _land(lake, table, records, held, report)


def _land(
    lake: Lake, table: TableConfig, records: ReadRecords, held: list[bytes], report: RereadReport
) -> RereadReport:
    if not held:
        return report
    require_same_masks("read items again of", lake, table)
    data = records.packed(held)
    held.clear()
    digest = hashlib.sha256(data).hexdigest()[:32]
    put_new(lake.place(layout.repair_object(table.name, digest)), data)
    return replace(report, objects=report.objects + 1)
