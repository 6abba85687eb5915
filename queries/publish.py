"""`publish`: a table's tail as a table of its own, and one consistent version for the views to be pinned to.

New state = (state without the items that the tail touched) ∪ (those of them that live). Who the latter are takes our
functions; once they are written down, any engine can say the rest. Views name snapshots, so that one that is read
while jobs go on stays the version that it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.columns import IS_LIVE, ITEM_KEY, LIVES, Column
from lake.config import TableConfig
from lake.engine import engine_faults
from lake.errors import CommitConflict, CommitStateUnknown, ConfigError, TransientError
from lake.lake import Lake
from lake.log import field_ids
from lake.sql import identifier, literal
from lake.state import columns_of, is_made_from
from lake.tables import Output, batch_of, data_files, manifest_entries, replace_files
from lake.tail import ensure_tail, evolve_tail, is_computed_from, source_of
from queries.connect import LakeConnection, connect
from queries.entities import entity_columns
from queries.since import Past, find_past

ATTEMPTS_MAX = 10
ROW_GROUP_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Version:
    """A table at one batch of its log: the three Iceberg tables, each at the snapshot that belongs to it.

    `columns` are those of the fresh view, `past` says since when its past is known; `is_new` whether this run wrote the
    tail.
    """

    table: TableConfig
    columns: Sequence[Column]
    state: Table
    tail: Table
    log: Table
    past: Past
    is_new: bool
    conflicts: int

    @property
    def batch(self) -> int:
        return batch_of(self.log)

    @property
    def touched(self) -> int:
        return sum(file.rows for file in data_files(self.tail, "_created_at_us"))


def snapshot_of(table: Table) -> int:
    """The snapshot that a table is pinned at."""
    snapshot = table.current_snapshot()
    assert snapshot is not None, table.name()
    return snapshot.snapshot_id


def names_of(table: Table) -> list[str]:
    """The columns of a table at the snapshot that it is pinned at: one that came since is not in it."""
    snapshot = table.current_snapshot()
    schema_id = None if snapshot is None else snapshot.schema_id
    schema = table.schema() if schema_id is None else table.schemas()[schema_id]
    return [field.name for field in schema.fields]


def publishable(lake: Lake) -> list[TableConfig]:
    """The tables that have changes. Raises ConfigError where there are tables, and none has any."""
    catalog, tables = open_catalog(lake), sorted(lake.config.tables.values(), key=lambda table: table.name)
    found = [table for table in tables if batch_of(load_table(catalog, layout.log_table(table.name)))]
    if tables and not found:
        raise ConfigError(
            "publish", lake.uri, expected="a table with changes", got="none", remedy="dynalake compact, then refresh"
        )
    return found


@engine_faults("publish")
def publish_tail(lake: Lake, table: TableConfig, memory_mb: int = 4096) -> Version:
    """Writes the tail of a table as it is now; nothing where that is published already. Raises LakeError."""
    catalog = open_catalog(lake)
    for conflicts in range(ATTEMPTS_MAX):
        # The tail first: whoever publishes something newer meanwhile makes our commit a conflict.
        tail = load_table(catalog, layout.tail_table(table.name))
        _require_tail(lake, table, tail)
        # Then the state: a log read later covers at least what the state does.
        state = load_table(catalog, layout.state_table(table.name))
        state, log = _ready(table, state, load_table(catalog, layout.log_table(table.name)))
        if tail is not None and is_computed_from(tail, source_of(state, log, table)):
            return Version(table, columns_of(tail), state, tail, log, _past(lake, table, log), False, conflicts)
        try:
            version = _write(lake, catalog, table, tail or ensure_tail(catalog, table), memory_mb, conflicts)
        except (CommitConflict, CommitStateUnknown):
            continue  # planned anew on what is there now; where our commit took, there is nothing left to do
        if version is not None:
            return version
    raise TransientError(
        "publish", table.name, expected=f"a commit within {ATTEMPTS_MAX} attempts",
        got="other jobs committing all the while", remedy="Run fewer of them at once",
    )  # fmt: skip


def _require_tail(lake: Lake, table: TableConfig, tail: Table | None) -> None:
    """Raises ConfigError where the tail's place is taken, as by a table of that name added before there were tails."""
    name = layout.tail_table(table.name)
    if name in lake.config.tables or (tail is not None and IS_LIVE not in tail.schema().column_names):
        raise ConfigError(
            "publish", table.name, expected=f"no table {name}, or a tail there", got="another table",
            remedy="Of a table of this name no tail can be kept: begin another lake for one of the two",
        )  # fmt: skip


def _past(lake: Lake, table: TableConfig, log: Table) -> Past:
    return find_past(lake, table, log, load_table(log.catalog, layout.ledger_table(table.name)))


def _ready(table: TableConfig, state: Table | None, log: Table | None) -> tuple[Table, Table]:
    """State and log, where the one is made from the other. Raises ConfigError."""
    if log is None or batch_of(log) == 0:
        raise ConfigError(
            "publish", table.name, expected="changes in its log", got="none",
            remedy=f"dynalake compact {table.name}, then dynalake refresh {table.name}",
        )  # fmt: skip
    if state is None or state.current_snapshot() is None or not is_made_from(state, log, table):
        raise ConfigError(
            "publish", table.name, expected="a current state made from its log under its policy of today",
            got="none" if state is None or state.current_snapshot() is None else "one of another log or policy",
            remedy=f"dynalake refresh {table.name}",
        )  # fmt: skip
    return state, log


def _write(
    lake: Lake, catalog: Catalog, table: TableConfig, tail: Table, memory_mb: int, conflicts: int
) -> Version | None:
    """Computes the tail and commits it on the pinned one; None where another stands over it already."""
    with connect(lake, memory_mb) as con:
        state, log = _ready(table, con.pinned[table.name].state, con.pinned[table.name].log)
        made = con.prepared(table.name)
        source = source_of(state, log, table)
        transaction = tail.transaction()
        evolve_tail(transaction, table, made.columns, source, _entities(con, table, made.columns))
        metadata = transaction.table_metadata
        gone = {file.path for file in data_files(tail, "_created_at_us")}
        with Output(tail) as output:
            rows = f"""SELECT *, true AS {IS_LIVE} FROM {made.fresh}
              UNION ALL BY NAME SELECT *, false AS {IS_LIVE} FROM {made.touched} WHERE NOT {LIVES}"""
            added = output.entries(metadata, _copy(con.con, rows, field_ids(metadata.schema()), output.folder))
            try:
                replace_files(tail, transaction, manifest_entries(tail, gone), added, batch_of(log))
            except CommitConflict:
                output.discard()
                raise
    written = load_table(catalog, layout.tail_table(table.name))
    if written is None or not is_computed_from(written, source):
        return None
    return Version(table, made.columns, state, written, log, _past(lake, table, log), True, conflicts)


def _entities(con: LakeConnection, table: TableConfig, columns: Sequence[Column]) -> dict[str, list[Column]]:
    """The columns of the views of entities: a pass over the items for each that declares none."""
    relation = identifier(table.name)
    if table.entities:
        con.make(table.name)
    return {one.name: entity_columns(con.con, relation, one, table.keys, columns) for one in table.entities}


def _copy(con: DuckDBPyConnection, rows: str, ids: str, folder: str) -> list[tuple[str, int, int | None]]:
    """Writes the rows, by item: their one file, none where there are no rows."""
    path = f"{folder}/tail-{uuid.uuid4().hex}.parquet"
    result = con.execute(
        f"""COPY (SELECT * FROM ({rows}) ORDER BY {identifier(ITEM_KEY)})
        TO {literal(path)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1,
          ROW_GROUP_SIZE {ROW_GROUP_ROWS}, FIELD_IDS {ids}, RETURN_STATS true)"""
    ).fetchall()
    return [(row[0], row[2], None) for row in result if row[1]]
