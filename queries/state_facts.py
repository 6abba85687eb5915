"""What a report tells of a current state: its columns and files from metadata, its items as of the log."""

from __future__ import annotations

from collections.abc import Sequence

from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake.columns import COLUMNS_MAX, Column
from lake.config import TableConfig
from lake.current import IS_KEPT, find_tail_winners, find_winners, tail_sql
from lake.sql import identifier
from lake.state import columns_of, is_made_from
from lake.tables import batch_of, data_files, files_sql, null_counts, scan_sql
from queries.facts import ColumnFacts, StateFacts
from queries.log_facts import partitions

COUNTED_AT_ONCE = 100  # columns in a pass over the state
_TOUCHED = '"report touched"'


def state_facts(con: DuckDBPyConnection, log: Table, state: Table | None, table: TableConfig) -> StateFacts:
    """`state` may be of before the log as it is pinned, or of another log: then it covers nothing of this one."""
    is_of_log = state is not None and is_made_from(state, log, table)
    covered = batch_of(state) if is_of_log else 0
    files = data_files(state, "_created_at_us") if state is not None else []
    rows = sum(file.rows for file in files)
    tail_changes, items, expired = _items(con, log, state if is_of_log else None, table, covered)
    columns, rescued_rows = ((), 0) if state is None else _columns(con, state, rows)
    return StateFacts(
        covered=covered,
        tail_changes=tail_changes,
        rows=rows,
        items=items,
        expired=expired,
        columns=columns,
        columns_full=len(columns) >= COLUMNS_MAX,
        rescued_rows=rescued_rows,
        buckets=partitions(files, str),
    )


def _items(
    con: DuckDBPyConnection, log: Table, state: Table | None, table: TableConfig, covered: int
) -> tuple[int, int, int]:
    """Changes in the tail; items that are there by rule 5, and those that have expired and are kept."""
    files = data_files(log, "batch")
    tail, everything = tail_sql(log, files, covered), files_sql(log, [file.path for file in files])
    changes = con.execute(f"SELECT count(*) FROM {tail}").fetchone()
    is_kept = IS_KEPT if table.ttl == "keep" else "false"
    columns = f"l.item_key AS _item_key, l.op <> 'REMOVE' AS is_there, {is_kept} AS is_kept"
    if state is not None:
        find_tail_winners(con, tail, everything, table.surface, _TOUCHED, columns)
    else:
        find_winners(con, everything, table.surface, _TOUCHED, columns)
    row = con.execute(f"SELECT count(*) FILTER (is_there), count(*) FILTER (is_kept) FROM {_TOUCHED}").fetchone()
    assert changes is not None and row is not None
    items, expired = row
    if state is not None:
        has_expiry = "_expired_at" in state.schema().column_names  # a state may be of before there was one
        is_expired = "_expired_at IS NOT NULL" if has_expiry else "false"
        row = con.execute(
            f"""SELECT count(*) FILTER (NOT ({is_expired})), count(*) FILTER ({is_expired})
            FROM {scan_sql(state)} s ANTI JOIN {_TOUCHED} t ON s._item_key = t._item_key"""
        ).fetchone()
        assert row is not None
        items, expired = items + row[0], expired + row[1]
    con.execute(f"DROP TABLE {_TOUCHED}")
    return int(changes[0]), int(items), int(expired)


def _columns(con: DuckDBPyConnection, state: Table, rows: int) -> tuple[tuple[ColumnFacts, ...], int]:
    columns = columns_of(state)
    ids = {field.name: field.field_id for field in state.schema().fields}
    # Of a list the manifests count what is in it.
    plain = {column.name: ids[column.name] for column in columns if not column.element_kind and column.name in ids}
    nulls = null_counts(state, plain.values())
    filled = {name: rows - count for name, id in plain.items() if (count := nulls[id]) is not None}
    left = [column for column in columns if column.name not in filled and column.name in ids]
    if rows:
        filled |= _counted(con, state, left)
    rescued = dict(
        con.execute(
            f"""SELECT attribute, count(*) FROM (SELECT unnest(json_keys(_rescued)) AS attribute
            FROM {scan_sql(state)} WHERE _rescued IS NOT NULL) GROUP BY attribute"""
        ).fetchall()
        if rows
        else []
    )
    rescued_rows = con.execute(f"SELECT count(_rescued) FROM {scan_sql(state)}").fetchone()
    assert rescued_rows is not None
    told = tuple(
        ColumnFacts(c.name, c.attribute, c.kind, c.sql_type, filled.get(c.name), rescued.get(c.attribute, 0))
        for c in columns
    )
    return told, int(rescued_rows[0])


def _counted(con: DuckDBPyConnection, state: Table, columns: Sequence[Column]) -> dict[str, int]:
    """How many rows have a value in each of these columns, by reading them."""
    found: dict[str, int] = {}
    for n in range(0, len(columns), COUNTED_AT_ONCE):
        some = columns[n : n + COUNTED_AT_ONCE]
        counts = ", ".join(f"count({identifier(column.name)})" for column in some)
        row = con.execute(f"SELECT {counts} FROM {scan_sql(state)}").fetchone()
        assert row is not None
        found |= {column.name: count for column, count in zip(some, row, strict=True)}
    return found
