"""`compact`: raw objects into the change log, batch by batch.

Each batch is planned, written and committed on one pinned version of the log, so that two at once, a zombie
or a kill anywhere leave the same log: a lost race throws its files away and plans anew.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from compaction.landed import FOREIGN, ODD, create_landed, read_landed
from compaction.objects import StagedObject, stage
from compaction.plan import Marks, plan_batch
from compaction.salvage import Salvage, salvage
from compaction.settings import ATTEMPTS_MAX, DICTIONARY_MAX, ROW_GROUP_ROWS, Settings
from lake import layout
from lake.catalog import catalog_faults, load_table, open_catalog
from lake.config import TableConfig
from lake.dead_letters import DeadLetter, sealed
from lake.engine import connect_engine, engine_faults, use_s3
from lake.errors import CommitConflict, CommitStateUnknown, TransientError
from lake.lake import Lake
from lake.log import ensure_ledger, ensure_log, field_ids, key_columns, lineage, masks_column, require_same_masked_keys
from lake.masks import MaskKey
from lake.records import require_little_poison
from lake.secret import open_mask_key
from lake.sql import identifier, literal, parquet_sql
from lake.store import RawObject, list_objects, put_copy
from lake.tables import Output, append_files, batch_of, data_files, days_since_epoch

OBJECTS_MAX = 2_000  # in a batch
LISTED_ROWS = 10_000

Progress = Callable[[int, int], None]
"""Told the bytes of raw objects done and in all."""
OnBatch = Callable[["CompactReport"], None]
"""Told what the run has taken in so far, when a batch is in."""


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a run took in. `records` are this table's, duplicates and dead letters included."""

    table: str
    objects: int = 0
    batches: int = 0
    records: int = 0
    changes: int = 0
    duplicates: int = 0
    late: int = 0
    tied: int = 0
    tombstones: int = 0
    dead_letters: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class _Landed:
    """A batch in DuckDB's `landed`, independent of any version of the log."""

    staged: Sequence[StagedObject]
    salvages: list[Salvage] = field(default_factory=list)


@engine_faults("compact")
def compact(
    lake: Lake,
    table: TableConfig,
    settings: Settings,
    raw_uri: str | None = None,
    reread: bool = False,
    progress: Progress | None = None,
    on_batch: OnBatch | None = None,
) -> CompactReport:
    """Takes every raw object that the ledger does not know into the table's change log.

    `raw_uri` is another place than the lake's `raw/`; `reread` ignores the ledger. Raises LakeError; what
    was committed before stays, `on_batch` has been told of it, and a second run goes on from there.
    """
    con = connect_engine(settings.memory_mb, settings.threads, extensions=())
    con.execute(f"SET partitioned_write_flush_threshold = {ROW_GROUP_ROWS}")
    try:
        job = _Job(lake, table, settings, open_catalog(lake), con)
        return job.run(
            _absolute(raw_uri or lake.raw), reread, progress or (lambda done, total: None), on_batch or (lambda _: None)
        )
    finally:
        con.close()


class _Job:
    """One run of `compact` over one table."""

    def __init__(
        self,
        lake: Lake,
        table: TableConfig,
        settings: Settings,
        catalog: Catalog,
        con: duckdb.DuckDBPyConnection,
    ) -> None:
        self.lake, self.table, self.settings = lake, table, settings
        self.catalog, self.con = catalog, con
        self.others = [t.dynamodb_name for t in lake.config.tables.values() if t.name != table.name]
        self.report = CompactReport(table.name)
        self.poison, self.seen, self.example = 0, 0, ""
        self._mask_key: MaskKey | None = None

    def run(self, raw_uri: str, reread: bool, progress: Progress, on_batch: OnBatch) -> CompactReport:
        use_s3(self.con, self.lake.uri)
        self._list(raw_uri, reread)
        total = self._row("SELECT coalesce(sum(size), 0) FROM pending")[0]
        done = 0
        for inputs in self._batches():
            with tempfile.TemporaryDirectory(prefix="dynalake-raw-") as scratch:
                landed = self._land(inputs, Path(scratch))
                self._write_letters(landed)
            batch, marks = self._commit()
            self._write_ledger(landed, batch)
            self._count(landed, marks)
            on_batch(self.report)
            done += sum(raw.size for raw in inputs)
            progress(done, total)
        return self.report

    # What there is to do

    def _list(self, raw_uri: str, reread: bool) -> None:
        """Fills `pending` with the objects that the ledger does not have, in bounded memory."""
        self.con.execute("CREATE OR REPLACE TEMP TABLE pending (uri VARCHAR, etag VARCHAR, size BIGINT)")
        for page in _pages(list_objects(raw_uri), LISTED_ROWS):
            rows = pa.table({n: [getattr(raw, n) for raw in page] for n in ("uri", "etag", "size")})
            self.con.register("listed", rows)
            self.con.execute("INSERT INTO pending FROM listed")
            self.con.unregister("listed")
        ledger, log = (
            load_table(self.catalog, name(self.table.name)) for name in (layout.ledger_table, layout.log_table)
        )
        if log is not None:
            require_same_masked_keys(log, self.table)
        if reread or ledger is None or log is None:
            return
        files = [file.path for file in data_files(ledger, "uri")]
        if files:
            self.con.execute(
                f"""DELETE FROM pending USING {parquet_sql(files)} done
                WHERE done.uri = pending.uri AND done.etag = pending.etag
                  AND done.lineage = {literal(lineage(log))}"""
            )

    def _batches(self) -> Iterator[list[RawObject]]:
        """The pending objects by name, in batches bounded by bytes and number. One object may exceed a bound."""
        self.con.execute(
            "CREATE OR REPLACE TEMP TABLE queue AS SELECT row_number() OVER (ORDER BY uri) AS n, * FROM pending"
        )
        batch: list[RawObject] = []
        size, n = 0, 0
        while rows := self.con.execute(
            "SELECT uri, etag, size FROM queue WHERE n > ? AND n <= ? ORDER BY n", [n, n + OBJECTS_MAX]
        ).fetchall():
            n += len(rows)
            for raw in (RawObject(*row) for row in rows):
                if batch and (size + raw.size > self.settings.batch_bytes or len(batch) == OBJECTS_MAX):
                    yield batch
                    batch, size = [], 0
                batch.append(raw)
                size += raw.size
        if batch:
            yield batch

    # Landing: raw objects into DuckDB

    def _land(self, inputs: Sequence[RawObject], scratch: Path) -> _Landed:
        with ThreadPoolExecutor(self.settings.threads or 2) as pool:
            staged = list(pool.map(lambda pair: stage(pair[0], pair[1], scratch), enumerate(inputs)))
        create_landed(self.con, self.table)
        uris = pa.table({"object": pa.array(range(len(inputs)), pa.int32()), "uri": [raw.uri for raw in inputs]})
        self.con.register("listed", uris)
        self.con.execute("CREATE OR REPLACE TEMP TABLE inputs AS FROM listed")
        self.con.unregister("listed")
        unusual = [s for s in staged if s.damage is not None]
        for form, binary in product(("newline_delimited", "unstructured"), (False, True)):
            alike = [s for s in staged if (s.layout, s.has_binary, s.damage) == (form, binary, None)]
            unusual += self._read(alike, form, binary)
        odd = {n for (n,) in self.con.execute(f"SELECT DISTINCT object FROM landed WHERE verdict = {ODD}").fetchall()}
        if odd:
            self.con.execute(f"DELETE FROM landed WHERE object IN ({', '.join(map(str, odd))})")
            unusual += [s for s in staged if s.number in odd]
        landed = _Landed(staged)
        for one in unusual:
            landed.salvages.append(salvage(self.con, one, self.table, self.others, self.settings.now_us, self._seal))
        self._watch_poison(landed)
        return landed

    def _seal(self, letter: DeadLetter) -> DeadLetter:
        """Where the lake has masks, seals what they may concern; only then is their secret needed here."""
        if not self.lake.config.has_masks:
            return letter
        self._mask_key = self._mask_key or open_mask_key(self.lake)
        return sealed(letter, self._mask_key)

    def _read(self, staged: Sequence[StagedObject], form: str, binary: bool) -> list[StagedObject]:
        """Reads objects by SQL; gives back those that it cannot read."""
        if not staged:
            return []
        files = [str(s.path) for s in staged]
        try:
            read_landed(self.con, self.table, self.others, files, form, binary, self.settings.now_us)
        except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfMemoryException):
            if len(staged) == 1:
                return list(staged)
            half = len(staged) // 2
            return self._read(staged[:half], form, binary) + self._read(staged[half:], form, binary)
        return []

    def _watch_poison(self, landed: _Landed) -> None:
        """Stops the run, before anything of the batch is kept, where too much of it is poison."""
        poison = sum(one.poison for one in landed.salvages)
        self.poison += poison
        self.seen += self._row(f"SELECT count(*) FROM landed WHERE verdict <> {FOREIGN}")[0] + poison
        self.example = next((one.example for one in landed.salvages if one.poison), self.example)
        require_little_poison("compact", self.table.name, self.poison, self.seen, self.example, "batch was taken in")

    def _write_letters(self, landed: _Landed) -> None:
        for one in landed.salvages:
            for name, spool in ((self.table.name, one.ours), (None, one.others)):
                if spool.exists():
                    place = layout.dead_letter_path(name, one.staged.raw.uri, one.staged.raw.etag)
                    put_copy(self.lake.place(place), spool)

    # Committing: on one pinned version of the log

    def _commit(self) -> tuple[int, Marks]:
        """Plans, writes and commits the batch until it is in the log; gives its number and counts."""
        for _ in range(ATTEMPTS_MAX):
            log = ensure_log(self.catalog, self.table)
            use_s3(self.con, self.lake.uri)
            marks = plan_batch(self.con, self.table.surface, data_files(log, "event_time"))
            if marks.changes == 0:  # all known already: nothing to commit
                return batch_of(log), marks
            batch = batch_of(log) + 1
            with Output(log) as output:
                entries = output.entries(log.metadata, self._write(log, batch, output.folder))
                try:
                    append_files(log, entries, batch)
                    return batch, marks
                except CommitConflict:
                    output.discard()
                    self.report = replace(self.report, conflicts=self.report.conflicts + 1)
                except CommitStateUnknown:
                    pass  # should it have taken, or yet take, the next plan sees it: its files must stay
        raise TransientError(
            "compact", self.table.name, expected=f"a commit within {ATTEMPTS_MAX} attempts",
            got="other jobs committing all the while", remedy="Run fewer compactions at once",
        )  # fmt: skip

    def _write(self, log: Table, batch: int, folder: str) -> list[tuple[str, int, int]]:
        """Writes `fresh` as Parquet files by day: path, bytes and the day's number of each."""
        columns = [f"landed.{n}" for n in ("item_key",)]
        for n, (column, attribute) in enumerate(
            zip(key_columns(self.table.keys), self.table.keys.attributes, strict=True)
        ):
            value = f"from_base64(key_{n})" if attribute.kind == "B" else f"key_{n}"
            columns.append(f"{value} AS {identifier(column)}")
        rows = self.con.execute(
            f"""COPY (
              SELECT {", ".join(columns)}, op, make_timestamp(created_at_us) AS event_time, created_at_us,
                event_id, is_ttl, is_late, is_tied, source, new_image, old_image, {batch}::BIGINT AS batch,
                sequence_number, shard_id, inputs.uri AS raw_object,
                masks AS {identifier(masks_column(self.table.keys))},
                make_timestamp(created_at_us)::DATE AS event_day
              FROM landed JOIN fresh ON landed.rowid = fresh.row_id JOIN inputs ON inputs.object = landed.object
            ) TO {literal(folder)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1,
              ROW_GROUP_SIZE {ROW_GROUP_ROWS}, DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX},
              PARTITION_BY (event_day), WRITE_PARTITION_COLUMNS false,
              FILENAME_PATTERN 'batch-{batch:08d}-{{uuid}}', FIELD_IDS {field_ids(log.schema())},
              RETURN_STATS true, OVERWRITE_OR_IGNORE true)"""
        ).fetchall()
        return [
            (path, size, days_since_epoch(datetime.date.fromisoformat(keys["event_day"])))
            for path, _, size, _, _, keys in rows
        ]

    # Afterwards

    def _write_ledger(self, landed: _Landed, batch: int) -> None:
        log, ledger = ensure_log(self.catalog, self.table), ensure_ledger(self.catalog, self.table)
        taken_at = datetime.datetime.fromtimestamp(self.settings.now_us / 1e6, datetime.UTC).replace(tzinfo=None)
        letters = {one.staged.number: one.letters for one in landed.salvages}
        counts = {
            number: (records, changes)
            for number, records, changes in self.con.execute(
                """SELECT object, count(*) FILTER (verdict = 0), count(row_id)
                FROM landed LEFT JOIN fresh ON landed.rowid = row_id GROUP BY object"""
            ).fetchall()
        }
        rows = []
        for one in landed.staged:
            records, changes = counts.get(one.number, (0, 0))
            dead = letters.get(one.number, 0)
            rows.append(
                {
                    "uri": one.raw.uri,
                    "etag": one.raw.etag,
                    "size": one.raw.size,
                    "lineage": lineage(log),
                    "batch": batch,
                    "records": records + dead,
                    "changes": changes,
                    "duplicates": records - changes,
                    "dead_letters": dead,
                    "taken_at": taken_at,
                }
            )
        entries = pa.Table.from_pylist(rows, schema=ledger.schema().as_arrow())
        for _ in range(ATTEMPTS_MAX):
            try:
                with catalog_faults("write ledger of", self.table.name):
                    ledger.append(entries)
                return
            except CommitConflict:
                ledger = ensure_ledger(self.catalog, self.table)
            except CommitStateUnknown:
                return
        # The ledger saves work and nothing else: without these entries the objects are read again.

    def _count(self, landed: _Landed, marks: Marks) -> None:
        records = self._row(f"SELECT count(*) FROM landed WHERE verdict <> {FOREIGN}")[0]
        letters = sum(one.letters for one in landed.salvages)
        self.report = replace(
            self.report,
            objects=self.report.objects + len(landed.staged),
            batches=self.report.batches + (1 if marks.changes else 0),
            records=self.report.records + records + letters,
            changes=self.report.changes + marks.changes,
            duplicates=self.report.duplicates + records - marks.changes,
            late=self.report.late + marks.late,
            tied=self.report.tied + marks.tied,
            tombstones=self.report.tombstones + marks.tombstones,
            dead_letters=self.report.dead_letters + letters,
        )

    def _row(self, sql: str) -> tuple[Any, ...]:
        row = self.con.execute(sql).fetchone()
        assert row is not None
        return row


def _absolute(uri: str) -> str:
    """One name for one place, wherever a job is started."""
    return uri if "://" in uri else str(Path(uri).expanduser().resolve())


def _pages(objects: Iterator[RawObject], size: int) -> Iterator[list[RawObject]]:
    page: list[RawObject] = []
    for raw in objects:
        page.append(raw)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
