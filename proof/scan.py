"""The table as it is: a consistent Scan in parallel segments, kept as Parquet in scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from lake.dynamodb import MARGIN_SECONDS, DescribedTable, Page, Source, key_of_text
from lake.engine import connect_engine
from lake.errors import LakeError
from lake.keys import KeySchema
from lake.sql import empty_rows, literal, parquet_sql

ROWS_HELD_MAX = 20_000  # of one segment, before they are written
BYTES_HELD_MAX = 8_000_000
SECOND_US = 1_000_000
MARGIN_US = MARGIN_SECONDS * SECOND_US
SCHEMA = pa.schema(
    [("item_key", pa.string()), ("image", pa.string()), ("version_us", pa.int64()), ("until_us", pa.int64())]
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scanned:
    """The items of a scan, and the stretch of DynamoDB's time in which every one of them was read.

    All that was written up to `version_us` was seen, nothing that was written after `until_us`. `sql` is SQL for
    one row an item, with the columns of `SCHEMA`. Where it was of chosen items alone, those that are not there have a
    row without an image; `items` are those that are there.
    """

    sql: str
    items: int
    version_us: int
    until_us: int
    is_of_some: bool = False


@contextmanager
def needs_scratch(folder: Path) -> Iterator[None]:
    """Turns a full disk into this project's error."""
    try:
        yield
    except OSError as fault:
        raise LakeError("write scratch files", folder, got=str(fault),
                        remedy="Set TMPDIR to a disk with room for the table's items as JSON") from fault  # fmt: skip


def scan_table(
    source: Source,
    table: DescribedTable,
    keys: KeySchema,
    segments: int,
    memory_mb: int,
    folder: Path,
    progress: Progress,
) -> Scanned:
    """Reads every item of the table into Parquet files in `folder`. Raises LakeError."""
    version_us = source.server_us() - MARGIN_US
    counter = _Counter(progress, table.items)
    jobs = [source.scan(table.name, segment, segments) for segment in range(segments)]
    files = _read_all(jobs, source, table.name, keys, folder, counter, segments)
    return Scanned(*_distinct(files, counter.count, memory_mb), version_us, answered_by(source))


def read_chosen(
    source: Source,
    table: DescribedTable,
    keys: KeySchema,
    segments: Sequence[tuple[int, int]],
    item_keys: Sequence[str],
    workers: int,
    memory_mb: int,
    folder: Path,
    progress: Progress,
) -> Scanned:
    """Reads some segments of the table, each a number and of how many, and the items with these keys. Raises LakeError.

    Keys are the log's texts. Of those that are not there that is noted.
    """
    version_us = source.server_us() - MARGIN_US
    wanted = [msgspec.json.encode(keys.values_of(item_key)).decode() for item_key in item_keys]
    counter = _Counter(progress, len(item_keys) + table.items * len(segments) // max(1, *(of for _, of in segments), 1))
    jobs = [source.scan(table.name, segment, of) for segment, of in segments]
    share = -(-len(wanted) // workers) or 1
    jobs += [source.get_items(table.name, wanted[n : n + share]) for n in range(0, len(wanted), share)]
    files = _read_all(jobs, source, table.name, keys, folder, counter, workers)
    until_us = answered_by(source)
    asked = pa.table({"item_key": pa.array(item_keys, pa.string())})
    with needs_scratch(folder):
        pq.write_table(asked, folder / "asked.parquet")
    types = {"item_key": "VARCHAR", "image": "VARCHAR", "version_us": "BIGINT", "until_us": "BIGINT"}
    found = parquet_sql(files) if files else f"({empty_rows(types)})"
    once = f"(FROM {found} QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY version_us DESC) = 1)"
    sql = f"""(SELECT item_key, image, coalesce(version_us, {version_us})::BIGINT AS version_us,
        coalesce(until_us, {until_us})::BIGINT AS until_us
      FROM {once} s FULL JOIN (SELECT DISTINCT item_key FROM {parquet_sql([str(folder / "asked.parquet")])}) a
      USING (item_key))"""
    chosen = folder / "chosen.parquet"
    con = connect_engine(memory_mb, extensions=())
    try:
        con.execute(f"COPY {sql} TO {literal(chosen)} (FORMAT parquet)")
        row = con.execute(f"SELECT count(image) FROM {parquet_sql([str(chosen)])}").fetchone()
    finally:
        con.close()
    assert row is not None
    return Scanned(parquet_sql([str(chosen)]), int(row[0]), version_us, until_us, is_of_some=True)


def _read_all(
    jobs: Sequence[Iterator[Page]], source: Source, name: str, keys: KeySchema, folder: Path, counter: _Counter,
    workers: int,
) -> list[str]:  # fmt: skip
    """Reads the pages of each job into a Parquet file of its own, several jobs at once."""
    stop = Event()

    def run(number: int) -> str:
        path = folder / f"segment-{number}.parquet"
        try:
            with needs_scratch(folder), pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=1) as file:
                for rows in _tables(jobs[number], source, name, keys):
                    file.write_table(rows)
                    counter.add(len(rows))
                    if stop.is_set():
                        break
        except BaseException:
            stop.set()  # the others need not go on
            raise
        return str(path)

    with ThreadPoolExecutor(workers, "scan") as pool:
        try:
            return list(pool.map(run, range(len(jobs))))
        except BaseException:
            stop.set()
            raise


def _distinct(files: list[str], rows: int, memory_mb: int) -> tuple[str, int]:
    """SQL for the items, and their number. Of an item that a scan gave twice the later read stands."""
    scan = parquet_sql(files)
    con = connect_engine(memory_mb, extensions=())
    try:
        row = con.execute(f"SELECT count(DISTINCT item_key) FROM {scan}").fetchone()
    finally:
        con.close()
    assert row is not None
    if row[0] < rows:
        scan = f"(FROM {scan} QUALIFY row_number() OVER (PARTITION BY item_key ORDER BY version_us DESC) = 1)"
    return scan, int(row[0])


def answered_by(source: Source) -> int:
    """A time by which the reads up to now were answered: changes with a greater one came later."""
    return source.server_us() + SECOND_US + MARGIN_US  # DynamoDB tells whole seconds, rounded down


class _Counter:
    def __init__(self, progress: Progress, total: int) -> None:
        self.count, self._total, self._progress, self._lock = 0, total, progress, Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.count += count
            self._progress(self.count, max(self.count, self._total))


def _tables(pages: Iterator[Page], source: Source, name: str, keys: KeySchema) -> Iterator[pa.Table]:
    """The items of pages, some thousands or some megabytes at a time."""
    key_of = key_of_text(keys, name)
    columns: list[list[Any]] = [[], [], [], []]
    held = 0
    for page in pages:
        count = len(page.items)
        columns[0].extend(map(key_of, page.items))
        columns[1].extend(page.items)
        columns[2].extend([page.read_us - MARGIN_US] * count)
        columns[3].extend([answered_by(source)] * count)
        held += sum(map(len, page.items))
        if len(columns[0]) >= ROWS_HELD_MAX or held >= BYTES_HELD_MAX:
            yield _arrow(columns)
            columns, held = [[], [], [], []], 0
    yield _arrow(columns)


def _arrow(columns: list[list[Any]]) -> pa.Table:
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
