"""`backfill`: what is in a table already, by a consistent Scan, as READ records among the raw objects.

Each item is versioned at the start of the read that gave it, by DynamoDB's clock and less a margin: every
change since then is in the stream and wins, every earlier one is in the item. So streaming must be on before
the first read, and still be on after the last.

A raw object is the checkpoint: written whole or not at all and never over another, its last record says where
its segment goes on. Whatever is killed, the next run begins behind the last object of each segment; of two at
once the one that comes second to an object throws its own away and goes on behind the other's.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec
import zstandard

from ingest.reads import ReadRecords, require_same_masks
from ingest.runs import FoundRun, Run, begin_run, finish_run, give_up_run, latest_run, new_run
from ingest.workers import work_off
from lake import layout
from lake.config import TableConfig
from lake.dynamodb import MARGIN_SECONDS, DescribedTable, DynamoDB, Page, StreamingOff
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.masked import masked_source
from lake.secret import open_mask_key
from lake.store import list_objects, put_new, read

OBJECT_BYTES = 8 << 20  # of records before compression: some eight pages
WORKERS = 4
SEGMENTS_A_WORKER = 2  # at least
SEGMENT_BYTES = 1 << 30  # about, so that none is left alone for long with the last one
SEGMENTS_MAX = 4_096
_OBJECT = re.compile(r"(\d{6})-(\d{6})\.ndjson\.zst")

Progress = Callable[[int, int], None]
"""Told the items read and DynamoDB's estimate of all."""


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a run did. `items`, `objects` and `capacity_units` are this invocation's; `items_of_run` are all.

    `reread` items of the lake were not found by the run, and read again for `prune`; of these `tombstones` are gone.
    """

    table: str
    run: str = ""
    segments: int = 0
    items: int = 0
    objects: int = 0
    bytes: int = 0
    capacity_units: float = 0.0
    items_of_run: int = 0
    resumed: bool = False
    finished_before: bool = False
    reread: int = 0
    tombstones: int = 0


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a segment stands: `number` of its next object, `next_key` None at its beginning."""

    number: int = 0
    next_key: str | None = None
    items: int = 0
    ended: bool = False


class _ObjectGone(LakeError):
    """What was in it may be in the log, or not: the run cannot be called complete."""


@dataclass(slots=True)
class _Records:
    """Records of an object to be, without their ends."""

    lines: list[bytes] = field(default_factory=list)
    size: int = 0


def backfill(
    lake: Lake,
    table: TableConfig,
    dynamodb: DynamoDB,
    workers: int = WORKERS,
    margin_seconds: float = MARGIN_SECONDS,
    again: bool = False,
    progress: Progress | None = None,
) -> BackfillReport:
    """Scans a table into the lake's raw objects, going on with a run that did not end.

    A table that was scanned to its end is not scanned `again` unless told so. Raises LakeError; what has landed
    stays, and the next call goes on from there.
    """
    described = dynamodb.describe(table.dynamodb_name)
    described.require_keys("backfill", table)
    found, is_new = _find_run(lake, table, dynamodb, described, workers, again)
    run = found.manifest
    if found.is_finished:
        return BackfillReport(table.name, run.run, run.segments, finished_before=True)
    job = _Backfill(lake, table, dynamodb, run, round(margin_seconds * 1e6), progress or (lambda done, total: None))
    try:
        report = job.scan(described, workers, resumed=not is_new)
    except _ObjectGone as fault:
        give_up_run(lake, table, found, str(fault), dynamodb.server_us())
        raise
    _require_no_gap(lake, table, dynamodb, found)
    finish_run(lake, table, found, report.items_of_run, dynamodb.server_us())
    return report


def _find_run(
    lake: Lake, table: TableConfig, dynamodb: DynamoDB, described: DescribedTable, workers: int, again: bool
) -> tuple[FoundRun, bool]:
    """The run to work on, and whether it is a new one; of another table under this name there is none to go on with.

    A run that has not ended is gone on with also where it is to be scanned `again`: else one that is stopped now
    and then, and started by the same command, would never end.
    """
    number, latest = latest_run(lake, table)
    is_ours = latest is not None and not latest.is_void and latest.manifest.table_id == described.table_id
    open_run = latest if latest is not None and is_ours and not latest.is_finished else None
    stream = _streaming(lake, table, dynamodb, described, open_run)
    if open_run is not None:
        if open_run.manifest.masks != table.fingerprint:
            give_up_run(lake, table, open_run, "the table has other masks now", dynamodb.server_us())
        elif open_run.manifest.stream in ("", stream):
            return open_run, False
        else:
            give_up_run(lake, table, open_run, f"changes go to {stream} now", dynamodb.server_us())
    elif latest is not None and is_ours and not again:
        return latest, False
    segments = segments_of(described, workers)
    manifest = new_run(described.table_id, segments, stream, dynamodb.server_us(), table.fingerprint)
    begun = begin_run(lake, table, number + 1, manifest)
    return begun, begun.manifest == manifest


def segments_of(described: DescribedTable, workers: int) -> int:
    """In how many parts a table is read: a pair for each worker, and of a large one more, all of about a size."""
    return max(workers * SEGMENTS_A_WORKER, min(described.size_bytes // SEGMENT_BYTES, SEGMENTS_MAX))


def _require_no_gap(lake: Lake, table: TableConfig, dynamodb: DynamoDB, found: FoundRun) -> None:
    """At the end: it is still the table it was, and its changes still go where they went."""
    described = dynamodb.describe(table.dynamodb_name)
    if described.table_id != found.manifest.table_id:
        raise ConfigError(
            "backfill", table.name, expected="the table with which the run began",
            got="another one, made under its name meanwhile", remedy="Run it again: it scans the new one",
        )  # fmt: skip
    stream = _streaming(lake, table, dynamodb, described, found)
    if found.manifest.stream not in ("", stream):
        give_up_run(lake, table, found, f"changes go to {stream} now", dynamodb.server_us())
        raise ConfigError(
            "backfill", table.name, expected=f"its changes in {found.manifest.stream} until the end of the Scan",
            got=f"them in {stream}", remedy="Between the two some may be lost. Run it again: it scans anew",
        )  # fmt: skip


def _streaming(
    lake: Lake, table: TableConfig, dynamodb: DynamoDB, described: DescribedTable, open_run: FoundRun | None
) -> str:
    """Where the table's changes go. If nowhere, what a run has read may be out of date: it is given up."""
    try:
        return dynamodb.require_streaming(described, table.surface)
    except StreamingOff as fault:
        if open_run is None:
            raise
        give_up_run(lake, table, open_run, str(fault), dynamodb.server_us())
        raise ConfigError(
            "backfill", table.name, expected="streaming on until the end of the Scan", got=fault.got,
            remedy=f"{fault.remedy}. Changes of what was read may be lost: run it again then, and it scans anew",
        ) from fault  # fmt: skip


class _Backfill:
    """One run, being worked on."""

    def __init__(
        self, lake: Lake, table: TableConfig, dynamodb: DynamoDB, run: Run, margin_us: int, progress: Progress
    ) -> None:
        self._lake, self._table, self._run = lake, table, run
        self._margin_us, self._progress = margin_us, progress
        self._records = ReadRecords(table, run.run, "scan")
        self._key = open_mask_key(lake) if table.masks else None
        self._source = masked_source(dynamodb, lake, table)
        self._stop, self._lock = threading.Event(), threading.Lock()
        dynamodb.pace.stop = self._stop
        self._report = BackfillReport(table.name, run.run, run.segments)
        self._before, self._total = 0, 0

    def scan(self, described: DescribedTable, workers: int, resumed: bool) -> BackfillReport:
        """Every segment to its end, several at once; the first fault stops them all."""
        positions = self._positions()
        self._report = replace(self._report, resumed=resumed)
        self._before, self._total = sum(position.items for position in positions.values()), described.items

        def to_its_end(segment: int) -> None:
            position = positions.get(segment, _Position())
            while not position.ended and not self._stop.is_set():
                position = self._object(segment, position)
            self._count(items_of_run=position.items)

        work_off(range(self._run.segments), to_its_end, workers, self._stop)
        return self._report

    def _object(self, segment: int, position: _Position) -> _Position:
        """Reads pages until they make an object, and lands it; gives where the segment stands then.

        What was read before a fault lands too: a table that is throttled now and then is done some time.
        """
        held, reached, fault = _Records(), position, None
        pages = self._source.scan(self._table.dynamodb_name, segment, self._run.segments, position.next_key)
        while not (reached.ended or held.size >= OBJECT_BYTES or self._stop.is_set()):
            try:
                page = next(pages)
            except LakeError as found:
                fault = found
                break
            self._add(page, held)
            self._count(items=len(page.items), capacity_units=page.capacity_units)
            items = position.items + len(held.lines)
            reached = _Position(position.number, page.next_key, items, ended=page.next_key is None)
        reached = self._land(segment, held, reached)
        if fault is not None:
            raise fault
        return reached

    def _add(self, page: Page, held: _Records) -> None:
        """The page's items as READ records."""
        version_us = page.read_us - self._margin_us
        for item in page.items:
            held.lines.append(self._records.read(item, version_us))
            held.size += len(held.lines[-1])

    def _land(self, segment: int, held: _Records, reached: _Position) -> _Position:
        if not held.lines:
            return reached  # nothing to land, and nothing lost: the next run asks again
        require_same_masks("backfill", self._lake, self._table)
        packed = self._records.packed(held.lines, {"items": reached.items, "next": self._told(reached.next_key)})
        if not put_new(self._place(segment, reached.number), packed):
            return self._position(segment, reached.number)  # another process was here first: on behind it
        self._count(objects=1, bytes=len(packed))
        return replace(reached, number=reached.number + 1)

    def _told(self, next_key: str | None) -> msgspec.Raw:
        """Where a segment goes on, as it may land: a key is sealed where there are masks, which may be for keys."""
        if next_key is None or self._key is None:
            return msgspec.Raw((next_key or "null").encode())
        return msgspec.Raw(msgspec.json.encode(base64.b64encode(self._key.seal(next_key.encode())).decode()))

    def _untold(self, told: str) -> str:
        return self._key.unseal(base64.b64decode(told)).decode() if self._key and told.startswith('"') else told

    def _place(self, segment: int, number: int) -> str:
        folder = layout.backfill_objects(self._table.name, self._run.run)
        return self._lake.place(f"{folder}{segment:06}-{number:06}.ndjson.zst")

    def _positions(self) -> dict[int, _Position]:
        """Where each segment stands that has landed something. Raises _ObjectGone."""
        landed: dict[int, set[int]] = {}
        place = self._lake.place(layout.backfill_objects(self._table.name, self._run.run))
        for one in list_objects(place, may_be_missing=True):
            if name := _OBJECT.fullmatch(one.uri.rpartition("/")[2]):
                landed.setdefault(int(name[1]), set()).add(int(name[2]))
        for segment, numbers in landed.items():
            if gone := set(range(max(numbers))) - numbers:
                raise _ObjectGone(
                    "go on with backfill", self._place(segment, min(gone)),
                    expected="every object that the run has landed", got="none", remedy="Run it again: it scans anew",
                )  # fmt: skip
        return {segment: self._position(segment, max(numbers)) for segment, numbers in landed.items()}

    def _position(self, segment: int, number: int) -> _Position:
        """Behind an object that has landed, as its last record says."""
        place = self._place(segment, number)
        try:
            data = zstandard.ZstdDecompressor().decompressobj().decompress(read(place) or b"")
            end = msgspec.json.decode(data[data.rfind(b"\n", 0, -1) + 1 :], type=_LastRecord)._lake
            following = self._untold(bytes(end.next).decode())
        except (zstandard.ZstdError, ValueError) as fault:
            raise LakeError(
                "go on with backfill", place, expected="an object whose last record says where to go on",
                got=str(fault), remedy="Move it away, and run it again",
            ) from fault  # fmt: skip
        return _Position(number + 1, None if following == "null" else following, end.items, following == "null")

    def _count(self, **counts: float) -> None:
        with self._lock:
            grown = {name: getattr(self._report, name) + count for name, count in counts.items()}
            self._report = replace(self._report, **grown)
            done = self._before + self._report.items
            self._progress(done, max(self._total, done))


class _End(msgspec.Struct):
    items: int
    next: msgspec.Raw


class _LastRecord(msgspec.Struct):
    _lake: _End
