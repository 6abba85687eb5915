"""`refresh`: the change log's tail into the current state, bucket by bucket, in one commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from duckdb import DuckDBPyConnection
from pyiceberg.catalog import Catalog
from pyiceberg.manifest import DataFile
from pyiceberg.table import Transaction

from compaction.settings import ATTEMPTS_MAX, ROW_GROUP_ROWS, Settings
from lake import layout
from lake.catalog import load_table, open_catalog
from lake.columns import LIVES, Column, changed_types, foreign_kinds, plan_columns
from lake.config import TableConfig
from lake.current import find_tail_winners, find_winners, tail_sql, winner_bucket, winner_columns
from lake.engine import connect_engine, engine_faults, use_s3
from lake.errors import CommitConflict, CommitStateUnknown, TransientError
from lake.lake import Lake
from lake.log import field_ids, lineage
from lake.projection import projected, seen_attributes
from lake.sql import empty_rows, identifier, literal, parquet_sql
from lake.state import (
    bucket_column,
    buckets_of,
    columns_of,
    covered_batch,
    ensure_state,
    evolve,
    is_made_from,
    own_columns,
)
from lake.tables import LogFile, Output, batch_of, data_files, files_sql, manifest_entries, replace_files

BYTES_PER_MB = 1 << 20
Progress = Callable[[int, int], None]
"""Told the buckets done and in all."""


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What a run did. `batch` is the batch of the log that the state now covers."""

    table: str
    batch: int = 0
    touched: int = 0
    removed: int = 0
    rescued: int = 0
    buckets: int = 0
    columns_added: int = 0
    columns_retyped: int = 0
    conflicts: int = 0


@engine_faults("refresh")
def refresh(
    lake: Lake, table: TableConfig, settings: Settings, full: bool = False, progress: Progress | None = None
) -> RefreshReport:
    """Brings the current state of a table up to the last batch of its log. Raises LakeError.

    `full` ignores the marks and the state and computes it from the whole log; the columns keep their kinds,
    digits and names.
    """
    con = connect_engine(settings.memory_mb, settings.threads, extensions=())
    con.execute(f"SET partitioned_write_flush_threshold = {ROW_GROUP_ROWS}")
    try:
        catalog = open_catalog(lake)
        for conflicts in range(ATTEMPTS_MAX):
            try:
                return _Refresh(con, catalog, table, settings, conflicts).run(full, progress or (lambda *_: None))
            except (CommitConflict, CommitStateUnknown):
                continue  # planned anew on what is there now; where our commit took, there is nothing left to do
    finally:
        con.close()
    raise TransientError(
        "refresh", table.name, expected=f"a commit within {ATTEMPTS_MAX} attempts",
        got="other jobs committing all the while", remedy="Run fewer refreshes at once",
    )  # fmt: skip


class _Refresh:
    """One attempt, on pinned versions of log and state."""

    def __init__(
        self,
        con: DuckDBPyConnection,
        catalog: Catalog,
        table: TableConfig,
        settings: Settings,
        conflicts: int,
    ) -> None:
        self.con, self.table, self.settings, self.conflicts = con, table, settings, conflicts
        self.log = load_table(catalog, layout.log_table(table.name))
        self.state = ensure_state(catalog, table)

    def run(self, full: bool, progress: Progress) -> RefreshReport:
        last = batch_of(self.log)
        if self.log is None or last == 0:
            return RefreshReport(self.table.name, conflicts=self.conflicts)
        full = full or not is_made_from(self.state, self.log, self.table)
        covered = covered_batch(self.state, self.log, self.table)
        if covered == last and not full:
            return RefreshReport(self.table.name, last, conflicts=self.conflicts)
        self._find(full, covered)
        present = columns_of(self.state)
        seen = seen_attributes(self.con, f"(FROM winners WHERE {LIVES})")
        columns = plan_columns(present, seen)
        retyped = changed_types(present, columns)
        touched, removed = self._row(f"SELECT count(*), count(*) FILTER (NOT {LIVES}) FROM winners")
        transaction = self.state.transaction()
        evolve(transaction, self.table, present, columns, lineage(self.log))
        with Output(self.state) as output:
            buckets, added, gone = self._write(
                transaction, columns, foreign_kinds(columns, seen), full, bool(retyped), output, progress
            )
            try:
                replace_files(self.state, transaction, manifest_entries(self.state, gone), added, last)
            except CommitConflict:
                output.discard()
                raise
        return RefreshReport(
            self.table.name, last, touched, removed, self.rescued, buckets,
            len(columns) - len(present), len(retyped), self.conflicts,
        )  # fmt: skip

    def _find(self, full: bool, covered: int) -> None:
        """Fills `winners`: the items to write, tombstones included."""
        assert self.log is not None
        files = data_files(self.log, "batch")
        use_s3(self.con, self.log.location())
        log = files_sql(self.log, [file.path for file in files])
        columns = f"{winner_columns(self.table)}, {winner_bucket(self.table, buckets_of(self.state))}"
        if full:
            find_winners(self.con, log, self.table.surface, "winners", columns)
        else:
            tail = tail_sql(self.log, files, covered)
            find_tail_winners(self.con, tail, log, self.table.surface, "winners", columns)

    def _write(
        self, transaction: Transaction, columns: Sequence[Column], rescue: set[str], full: bool, retype: bool,
        output: Output, progress: Progress,
    ) -> tuple[int, list[DataFile], set[str]]:  # fmt: skip
        """Writes the buckets that change: how many, their new files, and the old ones that these stand for."""
        present: dict[int, list[LogFile]] = defaultdict(list)
        for file in data_files(self.state, "_created_at_us"):
            present[file.partition].append(file)
        touched = {n for (n,) in self.con.execute("SELECT DISTINCT _bucket FROM winners").fetchall()}
        buckets = sorted(touched | set(present) if full or retype else touched)
        self.rescued = 0
        metadata = transaction.table_metadata
        added: list[DataFile] = []
        for done, group in self._groups(buckets, present):
            old = [] if full else [file.path for bucket in group for file in present[bucket]]
            sql = self._rows(columns, rescue, group, old, retype)
            use_s3(self.con, output.place)
            added += output.entries(metadata, self._copy(sql, field_ids(metadata.schema()), output.folder))
            progress(done, len(buckets))
        return len(buckets), added, {file.path for bucket in buckets for file in present[bucket]}

    def _groups(self, buckets: Sequence[int], present: dict[int, list[LogFile]]) -> Iterator[tuple[int, list[int]]]:
        """Buckets in groups that are written together: as many as a share of memory holds, at least one."""
        sizes = dict(self.con.execute("SELECT _bucket, sum(length(_item)) FROM winners GROUP BY 1").fetchall())
        group: list[int] = []
        held, done = 0, 0
        for bucket in buckets:
            size = (sizes.get(bucket) or 0) + 4 * sum(file.size for file in present.get(bucket, ()))
            if group and held + size > self.settings.memory_mb * BYTES_PER_MB // 8:
                done += len(group)
                yield done, group
                group, held = [], 0
            group.append(bucket)
            held += size
        if group:
            yield done + len(group), group

    def _rows(
        self,
        columns: Sequence[Column],
        rescue: set[str],
        group: Sequence[int],
        old: Sequence[str],
        retype: bool,
    ) -> str:
        """SQL for the new rows of some buckets: (old state without the touched items) ∪ (winners that live)."""
        places = ", ".join(map(str, group))
        ours = [name for name in own_columns(self.table) if name != "_rescued"]
        mine = ", ".join(map(identifier, ours))
        live = projected(f"(SELECT {mine} FROM winners WHERE _bucket IN ({places}) AND {LIVES})", columns, rescue)
        types = own_columns(self.table) | {column.name: column.sql_type for column in columns}
        if not old:
            return live
        kept = f"""(SELECT * FROM {parquet_sql(old, ", union_by_name = true")} o
          ANTI JOIN winners w ON o._item_key = w._item_key)"""
        if retype:
            everything = {column.attribute for column in columns}
            # Files of before we had all of these columns may be the only ones.
            whole = f"({empty_rows(own_columns(self.table))} UNION ALL BY NAME SELECT * FROM {kept})"
            kept_sql = projected(f"(SELECT {mine} FROM {whole})", columns, everything)
        else:
            kept_sql = f"{empty_rows(types)} UNION ALL BY NAME SELECT * FROM {kept}"
        return f"({kept_sql}) UNION ALL BY NAME ({live})"

    def _copy(self, rows: str, ids: str, folder: str) -> list[tuple[str, int, int]]:
        bucket = f"key_bucket({buckets_of(self.state)}, {identifier(bucket_column(self.table))})"
        result = self.con.execute(
            f"""COPY (SELECT *, {bucket} AS _bucket FROM ({rows}))
            TO {literal(folder)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1,
              ROW_GROUP_SIZE {ROW_GROUP_ROWS}, PARTITION_BY (_bucket), WRITE_PARTITION_COLUMNS false,
              FILENAME_PATTERN 'state-{{uuid}}', FIELD_IDS {ids}, RETURN_STATS true, OVERWRITE_OR_IGNORE true)"""
        ).fetchall()
        result = [row for row in result if row[1]]  # of no rows at all DuckDB reports a file without a partition
        for row in result:
            statistics = row[4].get('"_rescued"', {})
            self.rescued += int(row[1]) - int(statistics.get("null_count", row[1]))
        return [(row[0], row[2], int(row[5]["_bucket"])) for row in result]

    def _row(self, sql: str) -> tuple[Any, ...]:
        row = self.con.execute(sql).fetchone()
        assert row is not None
        return row
