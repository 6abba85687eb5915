"""The lake as its users see it, pinned, with what is needed to judge its columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.columns import LIVES, Column, plan_columns
from lake.config import TableConfig
from lake.errors import TransientError
from lake.lake import Lake
from lake.projection import seen_attributes
from lake.sql import identifier
from lake.state import columns_of, own_columns
from lake.tables import batch_of
from proof.columns import TypedColumn
from queries.connect import connect

OPENINGS_MAX = 10
LakeVersion = tuple[str | None, str | None]  # of the log, of the state


@dataclass(frozen=True, slots=True)
class View:
    """A connection in which `orders` and `orders_changes` are of one version of the lake.

    `version`, and `batch` of the log, are no later than that.
    """

    con: DuckDBPyConnection
    columns: list[TypedColumn]
    version: LakeVersion
    batch: int


def current_version(lake: Lake, table: TableConfig) -> LakeVersion:
    """Which version of the table's log and state there is now. Raises LakeError."""
    log, state = _tables(lake, table)
    return _location(log), _location(state)


def open_view(lake: Lake, table: TableConfig, memory_mb: int, threads: int | None) -> View:
    """The lake's fresh view of one table, whatever state the others are in. Raises LakeError."""
    alone = replace(lake, config=replace(lake.config, tables={table.name: table}))
    for _ in range(OPENINGS_MAX):
        log, before = _tables(lake, table)
        con = connect(alone, memory_mb, threads)
        try:
            _, after = _tables(lake, table)
            columns = None
            if after is not None and _location(before) in (None, _location(after)):
                columns = _typed_columns(con, table, columns_of(after))
            if columns is not None:
                return View(con, columns, (_location(log), _location(before)), batch_of(log))
        except BaseException:
            con.close()
            raise
        con.close()  # a refresh came in between
    raise TransientError("open view of", table.name, expected="a moment without a refresh",
                         got=f"one at each of {OPENINGS_MAX} attempts", remedy="Run verify again")  # fmt: skip


def _tables(lake: Lake, table: TableConfig) -> tuple[Table | None, Table | None]:
    catalog = open_catalog(lake)
    log = load_table(catalog, layout.log_table(table.name))
    return log, load_table(catalog, layout.state_table(table.name))


def _location(table: Table | None) -> str | None:
    return None if table is None else str(table.metadata_location)


def _typed_columns(con: DuckDBPyConnection, table: TableConfig, stored: list[Column]) -> list[TypedColumn] | None:
    """The view's typed columns; None where the stored ones are not those that the view was made with."""
    described = con.execute(f"DESCRIBE {identifier(table.name)}").fetchall()
    types = {name: kind for name, kind, *_ in described if name not in own_columns(table)}
    columns = stored
    if types.keys() != {column.name for column in stored}:  # the tail has brought new ones: the view names them so
        columns = plan_columns(stored, seen_attributes(con, _tail(table)))
    if types.keys() != {column.name for column in columns}:
        return None
    return [TypedColumn(column.attribute, column.name, column.kind, types[column.name]) for column in columns]


def _tail(table: TableConfig) -> str:
    return f"(FROM {identifier(f'{table.name} tail')} WHERE {LIVES})"
