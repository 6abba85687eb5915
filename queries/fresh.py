"""The fresh current state of a table in a connection: the state of a pinned version, with the log's tail over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake.columns import LIVES, Column, changed_types, foreign_kinds, plan_columns
from lake.config import TableConfig
from lake.current import find_tail_winners, find_winners, tail_sql, winner_columns
from lake.deletes import scan_without
from lake.log import changes_sql
from lake.projection import projected, seen_attributes
from lake.sql import empty_rows, identifier
from lake.state import columns_of, is_made_from, own_columns
from lake.tables import batch_of, data_files, files_sql, scan_sql

INNER = "dynalake"  # the schema of what is not for users


@dataclass(frozen=True, slots=True)
class Pinned:
    """One version of a table: of its state, and of a log that covers at least what the state does."""

    table: TableConfig
    log: Table
    state: Table
    ledger: Table

    @property
    def changes(self) -> str:
        """SQL for the rows of the log, with all columns of today."""
        return changes_sql(self.log, self.table)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The parts of the fresh state: `base` without what the tail `touched`, and the `fresh` rows of what lives of that.

    `touched` is a table of the last change of each such item, live or not; `fresh` one with all columns of the view.
    `rows` are those of the view.
    """

    pinned: Pinned
    columns: list[Column]
    touched: str
    fresh: str
    base: str
    rows: int

    @property
    def batch(self) -> int:
        """The last batch of the log that is in it."""
        return batch_of(self.pinned.log)

    @property
    def select(self) -> str:
        """SQL for the rows of the view `orders`."""
        table = self.pinned.table
        types = view_columns(table, self.columns)
        order = ", ".join(map(identifier, types))
        # What is first is read by a query that needs no column, such as count(*): it shall cost nothing.
        parts = (f"({empty_rows(types)})", self.base, self.fresh)
        rows = " UNION ALL BY NAME ".join(f'SELECT 1::TINYINT AS "a row", * FROM {part}' for part in parts)
        return f"SELECT {order} FROM ({rows})"


def view_columns(table: TableConfig, columns: Sequence[Column]) -> dict[str, str]:
    """The columns of `orders` in their order, with their types."""
    return {column.name: column.sql_type for column in columns} | own_columns(table)


def prepare(con: DuckDBPyConnection, pinned: Pinned, scratch: str) -> Prepared:
    """Settles the tail's items by rule 5: (state without the tail's items) ∪ (the tail's winners that live)."""
    table, state, log = pinned.table, pinned.state, pinned.log
    touched, fresh = (f"{INNER}.{identifier(f'{table.name} {part}')}" for part in ("touched", "fresh"))
    files = data_files(log, "batch")
    everything = files_sql(log, [file.path for file in files])
    state_counts = is_made_from(state, log, table)
    if state_counts:
        tail = tail_sql(log, files, batch_of(state))
        find_tail_winners(con, tail, everything, table.surface, touched, winner_columns(table))
    else:  # it says nothing of this log under this policy, until the next refresh
        find_winners(con, everything, table.surface, touched, winner_columns(table))
    live = f"(FROM {touched} WHERE {LIVES})"
    present, seen = columns_of(state), seen_attributes(con, live)
    columns = plan_columns(present, seen)
    con.execute(f"CREATE OR REPLACE TABLE {fresh} AS FROM ({projected(live, columns, foreign_kinds(columns, seen))})")
    base, rows = _base(con, pinned, touched, scratch) if state_counts else ("", 0)
    if not state_counts:
        base = f"({empty_rows(own_columns(table))})"
    elif changed_types(present, columns):  # as a refresh would: taken anew from the images
        ours = ", ".join(identifier(name) for name in own_columns(table) if name != "_rescued")
        # The state may be of before we had all of these columns.
        whole = f"({empty_rows(own_columns(table))} UNION ALL BY NAME SELECT * FROM {base})"
        base = f"({projected(f'(SELECT {ours} FROM {whole})', columns, {c.attribute for c in columns})})"
    row = con.execute(f"SELECT count(*) FROM {fresh}").fetchone()
    assert row is not None
    return Prepared(pinned, columns, touched, fresh, base, rows + int(row[0]))


def _base(con: DuckDBPyConnection, pinned: Pinned, touched: str, scratch: str) -> tuple[str, int]:
    """SQL for the state's rows without those of the items touched, and how many there are."""
    state = pinned.state
    files = data_files(state, "_created_at_us")
    rows = sum(file.rows for file in files)
    sql = scan_sql(state)  # looks at whether its manifests are whole
    found = con.execute(f"SELECT count(*) FROM {touched}").fetchone()
    if not files or not found or not found[0]:
        return sql, rows
    without, count = scan_without(con, state, files, touched, "_item_key", scratch)
    return (without, rows - count) if count else (sql, rows)
