"""The lake as its users see it, pinned, with what is needed to judge its columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.config import TableConfig
from lake.lake import Lake
from lake.sql import identifier
from lake.tables import batch_of
from proof.columns import TypedColumn
from queries.connect import connect

LakeVersion = tuple[str | None, str | None]  # of the log, of the state


@dataclass(frozen=True, slots=True)
class View:
    """A connection in which `orders` and `orders_changes` are of one version of the lake: that of `log` and `state`.

    `touched` is a table of the last changes of the items that the log's tail touched.
    """

    con: DuckDBPyConnection
    columns: list[TypedColumn]
    log: Table
    state: Table
    touched: str

    @property
    def version(self) -> LakeVersion:
        return str(self.log.metadata_location), str(self.state.metadata_location)

    @property
    def batch(self) -> int:
        """The last batch of the log."""
        return batch_of(self.log)


def current_version(lake: Lake, table: TableConfig) -> LakeVersion:
    """Which version of the table's log and state there is now. Raises LakeError."""
    catalog = open_catalog(lake)
    found = (load_table(catalog, name) for name in (layout.log_table(table.name), layout.state_table(table.name)))
    log, state = (None if one is None else str(one.metadata_location) for one in found)
    return log, state


def open_view(lake: Lake, table: TableConfig, memory_mb: int, threads: int | None) -> View:
    """The lake's fresh view of one table, whatever state the others are in. Raises LakeError."""
    opened = connect(replace(lake, config=replace(lake.config, tables={table.name: table})), memory_mb, threads)
    try:
        opened.make(table.name, f"{table.name}_changes")
        prepared = opened.prepared(table.name)
        described = opened.con.execute(f"DESCRIBE {identifier(table.name)}").fetchall()
        types = {name: kind for name, kind, *_ in described}
        columns = [TypedColumn(c.attribute, c.name, c.kind, types[c.name]) for c in prepared.columns]
        return View(opened.con, columns, prepared.pinned.log, prepared.pinned.state, prepared.touched)
    except BaseException:
        opened.close()
        raise
