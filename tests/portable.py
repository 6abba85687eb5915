"""The portable views and queries, run on engines that have nothing of ours: a plain DuckDB, and Sail as Spark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from lake.columns import IS_LIVE, LIVES
from lake.sql import identifier, literal
from lake.state import columns_of
from lake.tables import scan_sql
from queries.connect import LakeConnection
from queries.portable import Query, Sources, portable_queries, portable_views
from queries.words import Dialect

Rows = list[dict[str, Any]]


def export(con: LakeConnection, name: str, folder: Path) -> None:
    """Writes state, tail and log of a connection as Parquet."""
    made = con.prepared(name)
    tail = f"""SELECT *, true AS {IS_LIVE} FROM {made.fresh}
      UNION ALL BY NAME SELECT *, false AS {IS_LIVE} FROM {made.touched} WHERE NOT {LIVES}"""
    state = f"FROM {scan_sql(made.pinned.state)}"
    for part, rows in (("state", state), ("tail", tail), ("log", f"FROM {made.pinned.changes}")):
        con.con.execute(f"COPY ({rows}) TO {literal(folder / f'{part}.parquet')} (FORMAT parquet)")


def sources(folder: Path, dialect: Dialect) -> Sources:
    form = {"duckdb": "read_parquet('{}')", "spark": "parquet.`{}`"}[dialect]
    return Sources(*(form.format(folder / f"{part}.parquet") for part in ("state", "tail", "log")))


class Plain:
    """A plain DuckDB with the views and macros of a table."""

    def __init__(self, views: Mapping[str, str], queries: Mapping[str, Query]) -> None:
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone = 'UTC'")
        for name, text in views.items():
            self.con.execute(f"CREATE VIEW {identifier(name)} AS {text}")
        for name, query in queries.items():
            self.con.execute(f"CREATE MACRO {identifier(name)}({', '.join(query.parameters)}) AS TABLE {query.sql}")

    def rows(self, name: str, *given: str) -> Rows:
        call = f"{identifier(name)}({', '.join(map(literal, given))})" if given else identifier(name)
        return rows_of(self.con.execute(f"SELECT * FROM {call}"))


class Spark:
    """A session of Spark with the views and queries of a table."""

    def __init__(self, session: Any, views: Mapping[str, str], queries: Mapping[str, Query]) -> None:
        self.session, self.views, self.queries = session, views, queries

    def rows(self, name: str, *given: str) -> Rows:
        if not given:
            found = self.session.sql(self.views[name])
        else:
            query = self.queries[name]
            found = self.session.sql(query.sql, args=dict(zip(query.parameters, given, strict=True)))
        return [{name: plain(value) for name, value in row.asDict().items()} for row in found.collect()]


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(one) for one in value]
    return bytes(value) if isinstance(value, bytearray) else value


def rows_of(result: Any) -> Rows:
    names = [entry[0] for entry in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def engine(con: LakeConnection, name: str, folder: Path, session: Any = None) -> Plain | Spark:
    """An engine over what `export` wrote, with `session` Spark's."""
    dialect: Dialect = "duckdb" if session is None else "spark"
    made, where = con.prepared(name), sources(folder, dialect)
    found = con.con.execute(f"DESCRIBE FROM {made.pinned.changes}").fetchall()
    log = [row[0] for row in found]

    state = made.pinned.state
    table = made.pinned.table
    views = portable_views(
        table, made.columns, columns_of(state), log, where, dialect, state_names=state.schema().column_names
    )
    queries = portable_queries(table, made.columns, log, where, dialect, con.past(name))
    return Plain(views, queries) if session is None else Spark(session, views, queries)
