"""Published views as somebody has them who has nothing of ours but the files."""

from __future__ import annotations

from typing import Any

import duckdb

from lake.engine import _extension, use_s3
from lake.lake import Lake
from lake.store import read
from queries.connect import connect
from queries.publish import Version, publish_tail
from queries.scripts import publish_duckdb
from tests.lakes import only_table

Rows = list[tuple[Any, ...]]


def published(lake: Lake) -> Version:
    """Publishes the lake's one table for DuckDB."""
    version = publish_tail(lake, only_table(lake), 1024)
    publish_duckdb(lake, version)
    return version


def plain_duckdb(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A plain connection that has run views.sql; extensions are loaded from where they are instead of the network."""
    con = duckdb.connect()
    for name in ("avro", "iceberg"):
        con.execute(f"LOAD '{_extension(name)}'")
    use_s3(con, lake.uri)
    text = (read(lake.place("views.sql")) or b"").decode()
    installed = ("INSTALL", "LOAD", "CREATE OR REPLACE SECRET")
    con.execute("\n".join(line for line in text.splitlines() if not line.startswith(installed)))
    return con


def rows_of(con: Any, relation: str, order: str = "_item_key") -> Rows:
    """The names and types of a relation's columns, and all its rows."""
    described = con.execute(f"SELECT column_name, column_type FROM (DESCRIBE {relation})").fetchall()
    return [*described, *con.execute(f"SELECT * FROM {relation} ORDER BY {order}").fetchall()]


def fresh_rows(lake: Lake, relation: str = "orders", order: str = "_item_key") -> Rows:
    con = connect(lake, 1024, 2)
    try:
        return rows_of(con, relation, order)
    finally:
        con.close()


def check_published(lake: Lake) -> duckdb.DuckDBPyConnection:
    """Publishes and holds it against our own connection; what was read then."""
    published(lake)
    con = plain_duckdb(lake)
    assert rows_of(con, "orders") == fresh_rows(lake)
    return con
