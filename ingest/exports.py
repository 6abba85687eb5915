"""`backfill --from-export`: what DynamoDB exported to S3, as READ records and tombstones among the raw objects.

Each data file becomes one raw object, whole or not at all, under a name that follows from the export: what is there
already is passed over, so that a run that was killed is simply run again. The table itself is not asked anything.

Of the whole of `ingest` this module alone uses DuckDB: SQL makes records of whole files where all in them is plainly
right, and `ingest.exported`, line by line, of the rest. An export is AWS's own file, checked by its sums; a line that
cannot be a record tells of a wrong file, so it stops the run, and nothing of its file lands.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa
import zstandard
from isal import igzip, isal_zlib

from ingest.exported import WRITTEN_US_MAX, WRITTEN_US_MIN, ExportRecords, Opening, Versions
from ingest.manifests import DataFile, Export, read_export
from ingest.reads import require_same_masks
from ingest.windows import note_end, note_window
from ingest.workers import work_off
from lake import layout
from lake.config import TableConfig
from lake.dynamodb import MARGIN_SECONDS
from lake.engine import OUR_FAULTS, connect_engine, engine_faults
from lake.errors import LakeError
from lake.lake import Lake
from lake.masks import TableMasks
from lake.secret import open_mask_key
from lake.sql import item_key_sql, key_part_sql, literal, paths, pointer
from lake.store import fetch, list_objects, put_new_copy

WORKERS = 2  # data files at once: while one is unpacked, DuckDB is at another
MEMORY_MB = 1024
LINE_BYTES_MAX = 64 << 20
_LINE_BYTES_OF_SQL = 2 << 20  # files with longer lines are read line by line: DuckDB's buffers are twice this
_CHUNK_BYTES = 1 << 20
_ROWS = 2_048  # at once out of DuckDB: one of its vectors
_LEVEL = 1  # of zstd: the objects are read once
_DAMAGE: Any = (EOFError, igzip.BadGzipFile, isal_zlib.error, zlib.error)
_READ = "read export"
_COPY = "Copy it again from where DynamoDB wrote it, or export the table again"

Progress = Callable[[int, int], None]
"""Told the items that have landed and how many the export has."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was done with an export. `items` and `tombstones` are in the `objects` that this invocation landed, of
    `bytes` in all; `skipped` are the data files whose objects were there already. `overlaps` are other exports, one of
    which may hide a deletion of what another shows (see `ingest.windows`).
    """

    table: str
    export: str
    files: int = 0
    items: int = 0
    tombstones: int = 0
    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    overlaps: tuple[str, ...] = ()


@dataclass(slots=True)
class _Counts:
    """Of one data file."""

    items: int = 0
    tombstones: int = 0


class _NotPlain(Exception):
    """A file that SQL leaves to the strict reading."""


@engine_faults("backfill from an export")
def backfill_from_export(
    lake: Lake,
    table: TableConfig,
    uri: str,
    margin_seconds: float = MARGIN_SECONDS,
    workers: int = WORKERS,
    memory_mb: int = MEMORY_MB,
    progress: Progress = lambda done, total: None,
) -> ExportReport:
    """Lands what an export holds, for compact to take in. Raises LakeError; what has landed stays, and is right."""
    export = read_export(uri, table)
    with tempfile.TemporaryDirectory(prefix="dynalake-export-", ignore_cleanup_errors=True) as scratch:
        job = _Job(lake, table, export, round(margin_seconds * 1e6), memory_mb, Path(scratch), progress)
        try:
            return job.run(workers)
        finally:
            job.close()


class _Job:
    """One export on its way into a lake."""

    def __init__(
        self, lake: Lake, table: TableConfig, export: Export, margin_us: int, memory_mb: int, scratch: Path,
        progress: Progress,
    ) -> None:  # fmt: skip
        self._lake, self._table, self._export = lake, table, export
        self._scratch, self._progress = scratch, progress
        masks = TableMasks(table.masks, table.keys, open_mask_key(lake)) if table.masks else None
        versions = Versions.of(export, table, margin_us)
        self._records = ExportRecords(table, export, versions, masks)
        self._con = None if masks else connect_engine(memory_mb, extensions=())
        self._sql = SelectRecords(table, export, versions)
        self._lock, self._done = threading.Lock(), 0
        overlaps = note_window(lake, table, export)
        self._report = ExportReport(table.name, export.id, len(export.files), overlaps=overlaps)

    def run(self, workers: int) -> ExportReport:
        folder = layout.export_objects(self._table.name, self._export.id)
        listed = {one.uri.rpartition("/")[2] for one in list_objects(self._lake.place(folder), may_be_missing=True)}

        def land(number: int) -> None:
            file = self._export.files[number]
            name = layout.export_object_name(file.name, self._table.fingerprint)
            if name in listed:
                self._count(file, skipped=1)
            else:
                self._land(file, self._lake.place(folder + name), self._scratch / str(number))

        work_off(range(len(self._export.files)), land, workers, threading.Event())
        note_end(self._lake, self._table, self._export)
        return self._report

    def close(self) -> None:
        if self._con is not None:
            self._con.close()

    def _land(self, file: DataFile, place: str, scratch: Path) -> None:
        """A data file as a raw object; one without items needs none."""
        scratch.mkdir()
        text, packed = scratch / "text.ndjson", scratch / "packed"
        _unpack(file, scratch, text)
        counts = self._pack(file, text, packed)
        if counts.items != file.items:
            raise LakeError(_READ, file.uri, expected=f"{file.items} items, as the manifest says",
                            got=str(counts.items), remedy=_COPY)  # fmt: skip
        if counts.items:
            require_same_masks("backfill from an export", self._lake, self._table)
            size = packed.stat().st_size
            if put_new_copy(place, packed):
                self._count(file, items=counts.items - counts.tombstones, tombstones=counts.tombstones, objects=1,
                            bytes=size)  # fmt: skip
            else:  # another process was here first
                self._count(file, skipped=1)
        shutil.rmtree(scratch)

    def _pack(self, file: DataFile, text: Path, packed: Path) -> _Counts:
        """Writes the records of a file's text, compressed; gives how many there are."""
        if self._con is not None:
            try:
                with self._con.cursor() as con, _packing(packed) as out:
                    return self._pack_by_sql(con, text, out)
            except OUR_FAULTS:
                raise
            except (_NotPlain, duckdb.Error, pa.ArrowException, OSError):
                pass  # what is the matter, if anything, the strict reading tells
        with _packing(packed) as out:
            return self._pack_by_line(file, text, out)

    def _pack_by_sql(self, con: duckdb.DuckDBPyConnection, text: Path, out: IO[bytes]) -> _Counts:
        counts = _Counts()
        con.execute("SET arrow_large_buffer_size = true")  # of a connection: 2,048 lines may be more than 2 GB
        for batch in con.execute(self._sql.of(text)).to_arrow_reader(_ROWS):
            lines = batch.column(0)
            if lines.null_count:
                raise _NotPlain
            if len(lines):
                out.write(_text_of(lines))
            counts.items += len(lines)
            counts.tombstones += batch.column(1).true_count
        return counts

    def _pack_by_line(self, file: DataFile, text: Path, out: IO[bytes]) -> _Counts:
        counts, number = _Counts(), 0
        with text.open("rb") as lines:
            while line := lines.readline(LINE_BYTES_MAX):
                number += 1
                if line.isspace():
                    continue
                try:
                    record, is_tombstone = self._records.record(line)
                except (ValueError, RecursionError) as fault:
                    raise LakeError(
                        _READ, f"{file.uri}, line {number}", expected="an item of an export",
                        got=str(fault), remedy="Nothing of this file has landed: see whether it is what DynamoDB wrote",
                    ) from None  # fmt: skip
                out.write(record)
                counts.items += 1
                counts.tombstones += is_tombstone
        return counts

    def _count(self, file: DataFile, **counts: int) -> None:
        with self._lock:
            grown = {name: getattr(self._report, name) + count for name, count in counts.items()}
            self._report = replace(self._report, **grown)
            self._done += file.items
            self._progress(self._done, self._export.items)


def _text_of(lines: Any) -> memoryview:
    """All texts of an array of large strings: they stand one behind the other in its buffer."""
    _, offsets, texts = (memoryview(buffer or b"") for buffer in lines.buffers())
    ends = offsets.cast("B").cast("q")
    return texts[ends[lines.offset] : ends[lines.offset + len(lines)]]


@contextmanager
def _packing(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as out:
        yield out


def _opened(source: Path, file: DataFile) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as fault:
        raise LakeError(_READ, file.uri, expected="a file that may be read", got=str(fault.strerror),
                        remedy="See to its permissions") from fault  # fmt: skip


class _Summed(io.RawIOBase):
    """A file that is read once and summed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.md5 = file, hashlib.md5(usedforsecurity=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.md5.update(data)
        return len(data)


def _unpack(file: DataFile, scratch: Path, text: Path) -> None:
    """A data file's text, whole and checked: DuckDB reads a gzip cut short without a word."""
    source = fetch(file.uri, scratch)
    if source is None:
        raise LakeError(_READ, file.uri, expected="a data file that the manifest names", got="none", remedy=_COPY)
    with _opened(source, file) as packed, text.open("wb") as out:
        summed = _Summed(packed)
        damage = ""
        try:
            if os.fstat(packed.fileno()).st_size:  # of an empty partition the file may be empty too
                with igzip.IGzipFile(fileobj=summed, mode="rb") as stream:
                    shutil.copyfileobj(stream, out, _CHUNK_BYTES)
        except _DAMAGE as fault:
            damage = f"{type(fault).__name__}: {fault}"
        while summed.read(_CHUNK_BYTES):
            pass
    found = base64.b64encode(summed.md5.digest()).decode()
    if found != file.md5 or damage:
        raise LakeError(_READ, file.uri, expected=f"a gzip file of MD5 {file.md5}", got=damage or f"MD5 {found}",
                        remedy=_COPY)  # fmt: skip
    if source.parent == scratch:
        source.unlink()


class SelectRecords:
    """SQL for the records of an export's files: the vectorised twin of `ExportRecords.record`, without masks.

    A row a line: its record, NULL where it is not plainly right; and whether it is a tombstone.
    """

    def __init__(self, table: TableConfig, export: Export, versions: Versions) -> None:
        self._keys, self._versions, self._opening = table.keys, versions, Opening.of(export, table)

    def of(self, text: Path) -> str:
        """SQL for one file's. An image's own key is held to be that of `Keys`, as text."""
        attributes = self._keys.attributes
        parts = [f"key_{n}" for n, _ in enumerate(attributes)]
        names = [literal(_json_text(a.name) + ":") for a in attributes]
        pairs = [f"{name} || whole[{n + 1}]" for n, name in enumerate(names)]
        whole = paths([pointer(a.name) for a in attributes])
        typed = paths([pointer(a.name, a.kind) for a in attributes])
        canonical = ", ".join(f"{key_part_sql(a, f'typed[{n + 1}]')} AS key_{n}" for n, a in enumerate(attributes))
        tests = [f"{part} IS NOT NULL" for part in parts]
        for n, attribute in enumerate(attributes):
            tests.append(f"""whole[{n + 1}] = '{{"{attribute.kind}":' || to_json(typed[{n + 1}])::VARCHAR || '}}'""")
        named = " || ',' || ".join(pairs)
        run, end = self._opening.run, self._opening.end
        return f"""
        WITH lines AS ({self._lines(text)}),
        texts AS (
          SELECT *, json_extract_string("keys", {whole}) AS whole, json_extract_string("keys", {typed}) AS typed,
            {self._is_same_key(whole)} AS is_same_key
          FROM lines),
        keyed AS (SELECT *, {canonical}, {named} AS named FROM texts)
        SELECT CASE WHEN {" AND ".join([*tests, *self._is_plain()])} THEN
          '{{"eventID":"' || md5({literal(run + chr(10))} || {item_key_sql(self._keys, parts)}
            || {literal(chr(10))} || version_us) || '","eventName":"'
          || CASE WHEN new_image IS NULL THEN 'REMOVE' ELSE 'READ' END
          || {literal(f'","tableName":{self._opening.table_name},"dynamodb":{{"ApproximateCreationDateTime":')}
          || version_us || ',"Keys":{{' || named || '}}'
          || CASE WHEN new_image IS NOT NULL THEN ',"NewImage":' || new_image
               WHEN old_image IS NOT NULL THEN ',"OldImage":' || old_image ELSE '' END
          || {literal(end)} END AS line,
          new_image IS NULL AS is_tombstone
        FROM keyed"""

    def _lines(self, text: Path) -> str:
        """SQL for what the file's lines hold, and for `version_us`; "keys" is where the key is."""
        options = f"""{literal(text)}, format = 'newline_delimited', compression = 'uncompressed',
          maximum_object_size = {_LINE_BYTES_OF_SQL}"""
        if self._versions.full_us is not None:
            return f"""SELECT Item::VARCHAR AS new_image, NULL::VARCHAR AS old_image, new_image AS "keys",
              {self._versions.full_us}::BIGINT AS version_us
            FROM read_json({options}, columns = {{Item: 'JSON'}})"""
        return f"""SELECT NewImage::VARCHAR AS new_image, OldImage::VARCHAR AS old_image, "Keys"::VARCHAR AS "keys",
              coalesce(json_extract_string(Metadata, '/WriteTimestampMicros/N'),
                json_extract_string(Metadata, '/WriteTimestampMicros')) AS written,
              CASE WHEN regexp_full_match(written, '[0-9]+') THEN TRY_CAST(written AS BIGINT) END AS written_us,
              CASE WHEN written_us BETWEEN {WRITTEN_US_MIN} AND {WRITTEN_US_MAX}
                THEN least(written_us, {self._versions.latest_us}) END AS version_us
            FROM read_json({options},
              columns = {{Metadata: 'JSON', "Keys": 'JSON', NewImage: 'JSON', OldImage: 'JSON'}})"""

    def _is_same_key(self, whole: str) -> str:
        if self._versions.full_us is not None:
            return "true"
        return " AND ".join(
            f"({image} IS NULL OR json_extract_string({image}, {whole}) = whole)"
            for image in ("new_image", "old_image")
        )

    def _is_plain(self) -> list[str]:
        """SQL for what an image, and the rest of a line, must be; the key apart."""
        if self._versions.full_us is not None:
            return ["starts_with(new_image, '{')"]
        pairs = [f"{literal(_json_text(a.name) + ':')} || whole[{n + 1}]" for n, a in enumerate(self._keys.attributes)]
        orders = [" || ',' || ".join(order) for order in (pairs, pairs[::-1])]
        return [
            "version_us IS NOT NULL",
            "(new_image IS NULL OR starts_with(new_image, '{'))",
            "(old_image IS NULL OR starts_with(old_image, '{'))",
            "is_same_key",
            f""""keys" IN ({", ".join(f"'{{' || {order} || '}}'" for order in orders)})""",
        ]


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
