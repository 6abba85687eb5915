"""`backfill`: what is in a table already, by a consistent Scan, as READ records among the raw objects.

Each item is versioned at the start of the read that gave it, by DynamoDB's clock and less a margin: every
change since then is in the stream and wins, every earlier one is in the item. So streaming must be on before
the first read, and still be on after the last.

A raw object is the checkpoint: written whole or not at all and never over another, its last record says where
its segment goes on. Whatever is killed, the next run begins behind the last object of each segment; of two at
once the one that comes second to an object throws its own away and goes on behind the other's.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace

import msgspec
import zstandard

from lake import layout
from lake.config import TableConfig
from lake.dynamodb import MARGIN_SECONDS, DescribedTable, DynamoDB, Page, key_reader
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.store import list_objects, put_new, read

OBJECT_BYTES = 8 << 20  # of records before compression: some eight pages
WORKERS = 4
SEGMENTS_A_WORKER = 2  # so that none is left alone with a large one for long
_OBJECT = re.compile(r"(\d{6})-(\d{6})\.ndjson\.zst")

Progress = Callable[[int, int], None]
"""Told the items read and DynamoDB's estimate of all."""


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What a run did. `items`, `objects` and `capacity_units` are this invocation's; `items_of_run` are all."""

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


class _Run(msgspec.Struct, frozen=True):
    """The manifest of a run: what a process that takes it up must know."""

    run: str
    table_id: str
    segments: int
    started_us: int


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a segment stands: `number` of its next object, `next_key` None at its beginning."""

    number: int = 0
    next_key: str | None = None
    items: int = 0
    ended: bool = False


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
    _require_same_keys(table, described)
    dynamodb.require_streaming(described, table.surface)
    number, run, is_finished = _find_run(lake, table, described, workers, dynamodb.server_us(), again)
    if is_finished:
        return BackfillReport(table.name, run.run, run.segments, finished_before=True)
    job = _Backfill(lake, table, dynamodb, run, round(margin_seconds * 1e6), progress or (lambda done, total: None))
    report = job.scan(described, workers)
    dynamodb.require_streaming(dynamodb.describe(table.dynamodb_name), table.surface)
    done = {"run": run.run, "items": report.items_of_run, "finished_us": dynamodb.server_us()}
    put_new(lake.place(layout.backfill_end(table.name, number)), msgspec.json.encode(done))
    return report


def _require_same_keys(table: TableConfig, described: DescribedTable) -> None:
    if described.keys != table.keys:
        raise ConfigError(
            "backfill", table.name, expected=f"a table with the key {' '.join(map(str, table.keys.attributes))}",
            got=" ".join(map(str, described.keys.attributes)),
            remedy="A table made anew with other keys needs a lake of its own",
        )  # fmt: skip


def _find_run(
    lake: Lake, table: TableConfig, described: DescribedTable, workers: int, now_us: int, again: bool
) -> tuple[int, _Run, bool]:
    """The run to work on, and whether it has ended; a new one where there is none to go on with.

    Runs are numbered, and a number is whose manifest came first: two that begin at once share a run.
    """
    names = {
        one.uri.rpartition("/")[2]
        for one in list_objects(lake.place(layout.backfill_folder(table.name)), may_be_missing=True)
    }
    numbers = [int(name[:6]) for name in names if re.fullmatch(r"\d{6}\.json", name)]
    number = max(numbers, default=0)
    if number:
        run = _manifest(lake, table, number)
        is_finished = layout.backfill_end(table.name, number).rpartition("/")[2] in names
        if run.table_id == described.table_id and not again:
            return number, run, is_finished
    segments = workers * SEGMENTS_A_WORKER
    new = _Run(uuid.uuid4().hex, described.table_id, segments, now_us)
    place = lake.place(layout.backfill_manifest(table.name, number + 1))
    if put_new(place, msgspec.json.encode(new)):
        return number + 1, new, False
    return number + 1, _manifest(lake, table, number + 1), False


def _manifest(lake: Lake, table: TableConfig, number: int) -> _Run:
    place = lake.place(layout.backfill_manifest(table.name, number))
    try:
        return msgspec.json.decode(read(place) or b"", type=_Run)
    except msgspec.DecodeError as fault:
        raise LakeError(
            "read backfill", place, expected="the manifest of a run", got=str(fault),
            remedy="Delete it, and run backfill --again",
        ) from fault  # fmt: skip


class _Backfill:
    """One run, being worked on."""

    def __init__(
        self, lake: Lake, table: TableConfig, dynamodb: DynamoDB, run: _Run, margin_us: int, progress: Progress
    ) -> None:
        self._lake, self._table, self._dynamodb, self._run = lake, table, dynamodb, run
        self._margin_us, self._progress = margin_us, progress
        self._keys = key_reader(table.keys)
        self._name = msgspec.json.encode(table.dynamodb_name)
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._report = BackfillReport(table.name, run.run, run.segments)
        self._total = 0

    def scan(self, described: DescribedTable, workers: int) -> BackfillReport:
        """Every segment to its end, several at once; the first fault stops them all."""
        self._total = described.items
        positions = self._positions()
        self._report = replace(self._report, resumed=bool(positions), items_of_run=0)
        with ThreadPoolExecutor(workers) as pool:
            work = [
                pool.submit(self._segment, segment, positions.get(segment, _Position()))
                for segment in range(self._run.segments)
            ]
            try:
                for segment in as_completed(work):
                    segment.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return self._report

    def _segment(self, segment: int, position: _Position) -> None:
        while not position.ended and not self._stop.is_set():
            position = self._object(segment, position)
        self._count(items_of_run=position.items)

    def _object(self, segment: int, position: _Position) -> _Position:
        """Reads pages until they make an object, and lands it; gives where the segment stands then."""
        held = _Records()
        pages = self._dynamodb.scan(self._table.dynamodb_name, segment, self._run.segments, position.next_key)
        for page in pages:
            self._add(page, held)
            self._count(items=len(page.items), capacity_units=page.capacity_units)
            ended = page.next_key is None
            if held.size >= OBJECT_BYTES or ended or self._stop.is_set():
                reached = _Position(position.number, page.next_key, position.items + len(held.lines), ended)
                return self._land(segment, held, reached)
        raise AssertionError("a scan ends with a page that says so")

    def _add(self, page: Page, held: _Records) -> None:
        """The page's items as READ records: their text goes in as it came, but for the key nothing is parsed."""
        version_us = page.read_us - self._margin_us
        for item in page.items:
            key = self._keys.decode(item)
            values = [getattr(key, f"key_{n}") for n, _ in enumerate(self._table.keys.attributes)]
            named = {a.name: value for a, value in zip(self._table.keys.attributes, values, strict=True)}
            identity = f"{self._run.run}\n{self._table.keys.item_key_of(named)}\n{version_us}"
            line = b'{"eventID":"%s","eventName":"READ","tableName":%s,"dynamodb":{%s,"Keys":%s,"NewImage":%s}' % (
                hashlib.blake2b(identity.encode(), digest_size=16).hexdigest().encode(), self._name,
                b'"ApproximateCreationDateTime":%d' % version_us, msgspec.json.encode(named), item,
            )  # fmt: skip
            held.lines.append(line)
            held.size += len(line)

    def _land(self, segment: int, held: _Records, reached: _Position) -> _Position:
        if not held.lines:
            return reached  # nothing to land, and nothing lost: the next run asks again
        plain = b',"_lake":{"source":"scan"}}\n'
        end = {"source": "scan", "items": reached.items, "next": msgspec.Raw((reached.next_key or "null").encode())}
        data = plain.join(held.lines) + b',"_lake":' + msgspec.json.encode(end) + b"}\n"
        packed = zstandard.ZstdCompressor().compress(data)
        if not put_new(self._place(segment, reached.number), packed):
            return self._position(segment, reached.number)  # another process was here first: on behind it
        self._count(objects=1, bytes=len(packed))
        return replace(reached, number=reached.number + 1)

    def _place(self, segment: int, number: int) -> str:
        folder = layout.backfill_objects(self._table.name, self._run.run)
        return self._lake.place(f"{folder}{segment:06}-{number:06}.ndjson.zst")

    def _positions(self) -> dict[int, _Position]:
        """Where each segment stands that has landed something."""
        last: dict[int, int] = {}
        place = self._lake.place(layout.backfill_objects(self._table.name, self._run.run))
        for one in list_objects(place, may_be_missing=True):
            if name := _OBJECT.fullmatch(one.uri.rpartition("/")[2]):
                segment, number = int(name[1]), int(name[2])
                last[segment] = max(last.get(segment, 0), number)
        return {segment: self._position(segment, number) for segment, number in last.items()}

    def _position(self, segment: int, number: int) -> _Position:
        """Behind an object that has landed, as its last record says."""
        place = self._place(segment, number)
        try:
            data = zstandard.ZstdDecompressor().decompressobj().decompress(read(place) or b"")
            end = msgspec.json.decode(data[data.rfind(b"\n", 0, -1) + 1 :], type=_LastRecord)._lake
        except (zstandard.ZstdError, msgspec.DecodeError) as fault:
            raise LakeError(
                "go on with backfill", place, expected="an object whose last record says where to go on",
                got=str(fault), remedy="Move it away, and run backfill --again",
            ) from fault  # fmt: skip
        following = bytes(end.next).decode()
        return _Position(number + 1, None if following == "null" else following, end.items, following == "null")

    def _count(self, **counts: float) -> None:
        with self._lock:
            grown = {name: getattr(self._report, name) + count for name, count in counts.items()}
            self._report = replace(self._report, **grown)
            self._progress(self._report.items, max(self._total, self._report.items))


class _End(msgspec.Struct):
    items: int
    next: msgspec.Raw


class _LastRecord(msgspec.Struct):
    _lake: _End
