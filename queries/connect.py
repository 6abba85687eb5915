"""A DuckDB connection in which a lake's tables can be queried.

For a table `orders`: `orders` (fresh: the current state and the log's tail), `orders_changes`,
`orders_as_of(ts)` and `orders_history(key…)`. All of one connection reads one version of log and state.
"""

from __future__ import annotations

from collections.abc import Sequence

from duckdb import DuckDBPyConnection
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake.catalog import open_catalog
from lake.columns import LIVES, Column, changed_types, foreign_kinds, plan_columns
from lake.config import TableConfig
from lake.current import IS_WINNER, find_tail_winners, find_winners, latest_sql, tail_sql, winner_columns
from lake.engine import CHANGE_STRUCT, connect_engine, engine_faults, use_s3
from lake.keys import KeyAttribute
from lake.lake import Lake
from lake.log import changes_sql, open_log
from lake.projection import projected, seen_attributes
from lake.sql import empty_rows, identifier, item_key_sql
from lake.state import columns_of, ensure_state, is_made_from, own_columns
from lake.tables import batch_of, data_files, files_sql, scan_sql

_MOMENT = '"the moment"'  # a macro's parameter hides the columns of its name: none holds a space


@engine_faults("connect to")
def connect(lake: Lake, memory_mb: int = 4096, threads: int | None = None) -> DuckDBPyConnection:
    """Views and macros for every table of the lake, as of now. Raises LakeError."""
    con = connect_engine(memory_mb, threads)
    try:
        use_s3(con, lake.uri)
        catalog = open_catalog(lake)
        for table in lake.config.tables.values():
            _register(con, catalog, table)
    except BaseException:
        con.close()
        raise
    return con


def _register(con: DuckDBPyConnection, catalog: Catalog, table: TableConfig) -> None:
    # The state first: a log read later covers at least what the state does.
    state, log = ensure_state(catalog, table), open_log(catalog, table)
    changes = changes_sql(log, table)
    con.execute(f"CREATE TEMP VIEW {identifier(table.name + '_changes')} AS FROM {changes}")
    columns = _fresh(con, table, state, log)
    con.execute(_as_of(table, changes, columns))
    con.execute(_history(table, changes))


def _fresh(con: DuckDBPyConnection, table: TableConfig, state: Table, log: Table) -> list[Column]:
    """The view `orders`: (state without the tail's items) ∪ (the tail's winners that live), by rule 5."""
    tail = identifier(f"{table.name} tail")  # no table's name holds a space
    files, covered = data_files(log, "batch"), batch_of(state)
    everything = files_sql(log, [file.path for file in files])
    state_counts = is_made_from(state, log, table)
    if state_counts:
        changes = tail_sql(log, files, covered)
        find_tail_winners(con, changes, everything, table.surface, tail, winner_columns(table))
    else:  # it says nothing of this log under this policy, until the next refresh
        find_winners(con, everything, table.surface, tail, winner_columns(table))
    live = f"(FROM {tail} WHERE {LIVES})"
    present = columns_of(state)
    seen = seen_attributes(con, live)
    columns = plan_columns(present, seen)
    rows = projected(live, columns, foreign_kinds(columns, seen))
    con.execute(f"CREATE TEMP TABLE {identifier(f'{table.name} fresh')} AS FROM ({rows})")
    types = own_columns(table) | {column.name: column.sql_type for column in columns}
    base = f"(SELECT * FROM {scan_sql(state)} s ANTI JOIN {tail} t ON s._item_key = t._item_key)"
    if not state_counts:
        base = f"({empty_rows(types)})"
    elif changed_types(present, columns):  # as a refresh would: taken anew from the images
        ours = ", ".join(identifier(name) for name in own_columns(table) if name != "_rescued")
        whole = (
            f"({empty_rows(own_columns(table))} UNION ALL BY NAME SELECT * FROM {base})"  # of before we had them all
        )
        base = f"({projected(f'(SELECT {ours} FROM {whole})', columns, {c.attribute for c in columns})})"
    order = [column.name for column in columns] + list(own_columns(table))
    con.execute(
        f"""CREATE TEMP VIEW {identifier(table.name)} AS SELECT {", ".join(map(identifier, order))} FROM (
        {empty_rows(types)} UNION ALL BY NAME SELECT * FROM {base}
        UNION ALL BY NAME SELECT * FROM {identifier(f"{table.name} fresh")})"""
    )
    return columns


def _as_of(table: TableConfig, changes: str, columns: Sequence[Column]) -> str:
    moment = f"CAST(CAST({_MOMENT} AS TIMESTAMPTZ) AS TIMESTAMP)"  # a text without an offset is in UTC
    past = f"(SELECT * FROM {changes} WHERE event_time <= {moment} AND created_at_us <= epoch_us({moment}))"
    winners = f"""(FROM (SELECT {winner_columns(table)} FROM {past} l
      SEMI JOIN ({latest_sql(past, table.surface)}) n ON {IS_WINNER}) WHERE {LIVES})"""
    order = [column.name for column in columns] + list(own_columns(table))
    return f"""CREATE TEMP MACRO {identifier(table.name + "_as_of")}({_MOMENT}) AS TABLE
      SELECT {", ".join(map(identifier, order))} FROM ({projected(winners, columns, {c.attribute for c in columns})})"""


def _history(table: TableConfig, changes: str) -> str:
    names = [f"key_{n}" for n, _ in enumerate(table.keys.attributes)]
    parts = [_key_argument(a, name) for a, name in zip(table.keys.attributes, names, strict=True)]
    item = f"(SELECT * FROM {changes} WHERE item_key = {item_key_sql(table.keys, parts)})"
    return f"""CREATE TEMP MACRO {identifier(table.name + "_history")}({", ".join(names)}) AS TABLE
      SELECT * FROM {item} ORDER BY list_position(
        (SELECT in_order_{table.surface}(list({CHANGE_STRUCT})) FROM {item}), event_id)"""


def _key_argument(attribute: KeyAttribute, name: str) -> str:
    """SQL for the canonical text of a key given in a query: B in base64, N as a number or text."""
    return f"number(CAST({name} AS VARCHAR))" if attribute.kind == "N" else f"CAST({name} AS VARCHAR)"
