"""A DuckDB connection in which a lake's tables can be queried.

For a table `orders`: `orders` (fresh: the current state and the log's tail), `orders_changes`, `orders_as_of(ts)`,
`orders_history(key…)`, `orders_transitions(attribute)`, `orders_diff(t1, t2)`, `orders_ledger`. All
of a connection reads one version of the lake, until `refresh()`. A view is made when a query first names it, so that
opening a lake costs what opening its catalog does.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import duckdb
from duckdb import DuckDBPyConnection, DuckDBPyRelation, StatementType

from lake.catalog import open_catalog
from lake.engine import connect_engine, engine_faults, use_s3
from lake.entities import Entity
from lake.errors import LakeError
from lake.lake import Lake, open_lake
from lake.log import ensure_ledger, open_log
from lake.sql import identifier, literal
from lake.state import ensure_state
from lake.tables import scan_sql
from queries import views
from queries.entities import entity_columns, entity_sql
from queries.fresh import INNER, Pinned, Prepared, prepare, view_columns
from queries.since import Past, find_past, moment_sql, until_sql

QUERY_SECONDS_MAX = 6 * 3600  # by then a query of another cursor is done with the version that it began at
_OURS = "current state, by dynalake"
_MOMENT = '"the moment"'  # a macro's parameter hides the columns of its name: none holds a space
_ATTRIBUTE = '"the attribute"'
# What writes elsewhere than into the connection's own memory.
_WRITING = {
    StatementType.COPY, StatementType.COPY_DATABASE, StatementType.EXPORT, StatementType.ATTACH, StatementType.DETACH,
    StatementType.LOAD, StatementType.EXTENSION,
}  # fmt: skip
_HIDING = {StatementType.PREPARE, StatementType.EXPLAIN}  # these hold another statement
_WRITES = re.compile(r"^((?!\b(select|from|with)\b).)*\b(copy|export|attach|install|load)\b", re.IGNORECASE | re.DOTALL)
_UNREAD = re.compile(r'/\*.*?\*/|--[^\n]*|"[^"]*"', re.DOTALL)  # comments and quoted names
# What makes DuckDB write files of its own (profiles, logs, secrets).
_WRITES_ASIDE = re.compile(r"\b(profil\w*_output|log_query_path|persistent\s+secret)\b", re.IGNORECASE)
_LOGS = re.compile(r"\benable_(logging|profiling)\s*\(", re.IGNORECASE)
_NAMING = {"table", "view", "table_function", "get_table_names"}  # these take the name of a view, or run SQL
_LISTS = re.compile(r"\b(show|pragma\w*|information_schema|pg_catalog|sqlite_master|duckdb_\w+)\b", re.IGNORECASE)
_COUNT = re.compile(r'\s*SELECT\s+count\(\*\)\s+(?:AS\s+(\w+)\s+)?FROM\s+"?(\w+)"?\s*;?\s*', re.IGNORECASE)


@engine_faults("connect to")
def connect(
    lake: Lake, memory_mb: int = 4096, threads: int | None = None, as_of: datetime | str | None = None
) -> LakeConnection:
    """The lake as of now; with `as_of` its items are those of an instant, which is in UTC where it names no zone.

    Raises LakeError.
    """
    return LakeConnection(lake, memory_mb, threads, as_of)


class LakeConnection:
    """A DuckDB connection pinned to one version of a lake. `execute()` and `sql()` take any query that only reads.

    What else DuckDB's connection has it has too; `con` is that connection itself.
    """

    def __init__(self, lake: Lake, memory_mb: int, threads: int | None, as_of: datetime | str | None) -> None:
        self.lake, self.as_of = lake, as_of
        self.con = connect_engine(memory_mb, threads)
        self._scratch = tempfile.mkdtemp(prefix="dynalake-view-")
        self._version = 0  # counts refreshes: files of each version are in a folder of its own
        self._lock = threading.RLock()  # a view is made once, whichever thread names it first
        weakref.finalize(self.con, shutil.rmtree, self._scratch, ignore_errors=True)
        self._makers: dict[str, Callable[[], str]] = {}
        self._made: dict[str, None] = {}  # names of what is there, in the order in which it was made
        try:
            self.con.execute(f"CREATE SCHEMA {INNER}")
            self.con.execute("SET python_scan_all_frames = true")  # a query may name a DataFrame of its caller's
            self._pin()
        except BaseException:
            self.con.close()
            raise

    def _pin(self) -> None:
        use_s3(self.con, self.lake.uri)
        catalog = open_catalog(self.lake)
        pinned = {}
        for table in self.lake.config.tables.values():
            # The ledger first, then the state: a log read later covers at least what these do.
            ledger, state = ensure_ledger(catalog, table), ensure_state(catalog, table)
            pinned[table.name] = Pinned(table, open_log(catalog, table), state, ledger)
        self.pinned: Mapping[str, Pinned] = pinned
        self._prepared: dict[str, Prepared] = {}
        self._pasts: dict[str, Past] = {}
        self._makers = {}
        for one in pinned.values():
            self._makers |= self._makers_of(one)

    def refresh(self) -> None:
        """Moves on to the newest version of the lake, tables and entities added since included.

        Raises LakeError, and then stays where it was.
        """
        with self._lock:
            before = vars(self).copy()
            try:
                with engine_faults("connect to"):
                    self._version += 1
                    self.lake = open_lake(self.lake.uri)
                    self._pin()
                    self._make_again([name for name in self._made if name in self._makers])
            except BaseException:
                vars(self).update(before)
                shutil.rmtree(self._folder(self._version + 1), ignore_errors=True)
                raise
            self._sweep()

    def _sweep(self) -> None:
        """Deletes files of versions that no query can be at any more."""
        kept = {self._folder(self._version), self._folder(self._version - 1)}
        for folder in Path(self._scratch).iterdir():
            if str(folder) not in kept and time.time() - folder.stat().st_mtime > QUERY_SECONDS_MAX:
                shutil.rmtree(folder, ignore_errors=True)

    def _make_again(self, names: Sequence[str]) -> None:
        """All views at once, or none: they share tables, which a new version replaces."""
        try:
            self.con.begin()
        except duckdb.TransactionException:
            raise LakeError(
                "refresh", "connection", expected="no transaction", got="one that is open",
                remedy="COMMIT or ROLLBACK first",
            ) from None  # fmt: skip
        try:
            for name in names:
                self._make(name, again=True)
        except BaseException:
            self.con.rollback()
            raise
        self.con.commit()

    def _folder(self, version: int) -> str:
        return str(Path(self._scratch) / str(version))

    def execute(self, query: str, parameters: object = None) -> DuckDBPyConnection:
        """Runs a query (several, the last one's result counts) and gives DuckDB's connection with the result.

        Raises LakeError for what would write, and what DuckDB raises.
        """
        self._run(self.con.execute, query, parameters)
        return self.con

    def sql(self, query: str, *, params: object = None) -> DuckDBPyRelation:
        """A query as a relation of DuckDB's: `.df()`, `.pl()`, `.to_arrow_table()`, `.show()`, `.write_parquet(…)`."""
        relation: DuckDBPyRelation = self._run(lambda text, values: self.con.sql(text, params=values), query, params)
        return relation

    query = from_query = sql

    def executemany(self, query: str, parameters: object = None) -> DuckDBPyConnection:
        """Runs a query once for each of many sets of parameters. Raises as `execute` does."""
        self._run(self.con.executemany, query, parameters)
        return self.con

    def cursor(self) -> DuckDBPyConnection:
        """A connection of DuckDB's to the same views, for another thread. It holds what they read."""
        self.make()
        cursor = self.con.cursor()
        weakref.finalize(cursor, _release, self.con)
        return cursor

    duplicate = cursor

    def prepared(self, name: str) -> Prepared:
        """The parts of a table's fresh state. Raises ConfigError where there is no such table."""
        name = name if name in self.pinned else self.lake.config.table(name).name
        with self._lock, engine_faults("query"):
            if name not in self._prepared:
                self._prepared[name] = prepare(self.con, self.pinned[name], self._folder(self._version))
            return self._prepared[name]

    def past(self, name: str) -> Past:
        """Since when a table's past is whole in the lake. Raises LakeError."""
        if name not in self._pasts:
            pinned = self.pinned[name]
            self._pasts[name] = find_past(self.lake, pinned.table, pinned.log, pinned.ledger)
        return self._pasts[name]

    @property
    def views(self) -> list[str]:
        """The names of all views and macros."""
        return list(self._makers)

    def make(self, *names: str) -> None:
        """Makes views that no query has named yet: all of them, where no name is given."""
        for name in names or self._makers:
            self._make(name)

    def close(self) -> None:
        self.con.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "con":
            raise AttributeError(name)
        if name in _NAMING:  # not for what fetches a result: to make views would throw it away
            self.make()
        return getattr(self.con, name)

    def _run(self, run: Callable[[str, object], Any], query: str, parameters: object) -> Any:
        statements = self.con.extract_statements(query)
        if not statements:
            raise LakeError("run query", repr(query), expected="a statement", got="none")
        for statement in statements:
            _require_reading(statement)
            if statement.type == StatementType.TRANSACTION:  # a rollback takes back what was made since
                self._made.clear()
                self._prepared.clear()
        words = {word.lower() for word in re.findall(r"\w+", query)}
        for name in self._makers:
            if name in words:
                self._make(name)
        if _LISTS.search(query):
            self.make()
        if len(statements) == 1:
            return self._run_one(run, self._counted(query), parameters)
        if not all(statement.query for statement in statements):  # what DuckDB has made of a PIVOT
            self.make()
            return run(query, parameters)
        for statement in statements[:-1]:  # each for itself: none is to run twice
            self._run_one(lambda one, _: self.con.execute(one), statement, None)
        return self._run_one(run, statements[-1], parameters)

    def _run_one(self, run: Callable[[Any, object], Any], query: str | duckdb.Statement, parameters: object) -> Any:
        try:
            return run(query, parameters)
        except duckdb.CatalogException:  # a view of the user's own may name others of ours
            if len(self._made) == len(self._makers):
                raise
            self.make()
            return run(query, parameters)

    def _counted(self, query: str) -> str:
        """The query; where it asks for nothing but the number of a table's rows, that, which is known."""
        found = _COUNT.fullmatch(query)
        if found is None or found[2].lower() not in self.pinned or self.as_of is not None:
            return query
        name, alias = found[2].lower(), found[1] or '"count_star()"'
        meant = self.con.execute(
            """SELECT comment FROM duckdb_views() WHERE view_name = $1 UNION ALL
            SELECT comment FROM duckdb_tables() WHERE table_name = $1""", [name]
        ).fetchall()  # fmt: skip
        is_ours = meant == [(_OURS,)]  # and not a table of the user's under this name
        return f"SELECT {self.prepared(name).rows}::BIGINT AS {alias}" if is_ours else query

    def _make(self, name: str, again: bool = False) -> None:
        with self._lock:
            if again or name not in self._made:
                with engine_faults("query"):
                    self.con.execute(f"CREATE OR REPLACE {self._makers[name]()}")
                    if name in self.pinned:
                        self.con.execute(f"COMMENT ON VIEW main.{identifier(name)} IS {literal(_OURS)}")
                self._made[name] = None

    def _makers_of(self, pinned: Pinned) -> dict[str, Callable[[], str]]:
        """For each view and macro of a table what follows its `CREATE`."""
        table, name = pinned.table, pinned.table.name
        first, second = '"the first moment"', '"the second moment"'
        entities: dict[str, Callable[[], str]] = {
            f"{name}_{one.name}": lambda one=one: self._entity(pinned, one)  # type: ignore[misc]
            for one in table.entities
        }
        return entities | {
            name: lambda: _view(name, self._current(pinned)),
            f"{name}_changes": lambda: _view(f"{name}_changes", self._changes(pinned)),
            f"{name}_ledger": lambda: _view(f"{name}_ledger", f"FROM {scan_sql(pinned.ledger)}"),
            f"{name}_as_of": lambda: _macro(f"{name}_as_of", [_MOMENT], self._as_of(pinned, _MOMENT)),
            f"{name}_history": lambda: _macro(f"{name}_history", *views.history(table, self._log(pinned))),
            f"{name}_transitions": lambda: _macro(
                f"{name}_transitions", [_ATTRIBUTE],
                views.transitions(table, self._attributes(pinned), self._log(pinned), _ATTRIBUTE),
            ),
            f"{name}_diff": lambda: _macro(f"{name}_diff", [first, second], self._diff(pinned, first, second)),
        }  # fmt: skip

    def _current(self, pinned: Pinned) -> str:
        if self.as_of is None:
            return self.prepared(pinned.table.name).select
        return self._as_of(pinned, literal(self.as_of))

    def _log(self, pinned: Pinned) -> str:
        """SQL for the rows of the log that the connection sees."""
        if self.as_of is None:
            return pinned.changes
        return f"(SELECT * FROM {pinned.changes} WHERE {until_sql(moment_sql(literal(self.as_of)))})"

    def _changes(self, pinned: Pinned) -> str:
        columns = self.prepared(pinned.table.name).columns
        log = self._log(pinned)
        names = [name for name, *_ in self.con.execute(f"DESCRIBE FROM {log}").fetchall()]
        return views.changes(columns, log, names)

    def _entity(self, pinned: Pinned, entity: Entity) -> str:
        table, columns = pinned.table, self.prepared(pinned.table.name).columns
        self._make(table.name)
        relation = identifier(table.name)
        own = entity_columns(self.con, relation, entity, table.keys, columns)
        return _view(f"{table.name}_{entity.name}", entity_sql(entity, columns, own, relation))

    def _attributes(self, pinned: Pinned) -> list[str]:
        return [column.attribute for column in self.prepared(pinned.table.name).columns]

    def _as_of(self, pinned: Pinned, given: str) -> str:
        table, moment = pinned.table, moment_sql(given)
        past, columns = self.past(table.name), self.prepared(table.name).columns
        rows = views.as_of(table, columns, past.changes_sql(pinned.changes, moment))
        return past.guarded(rows, view_columns(table, columns), moment, table.name)

    def _diff(self, pinned: Pinned, first: str, second: str) -> str:
        table, past = pinned.table, self.past(pinned.table.name)
        moments = [moment_sql(first), moment_sql(second)]
        keys = self.prepared(table.name).columns[: len(table.keys.attributes)]
        rows = views.diff(table, keys, *(past.changes_sql(pinned.changes, moment) for moment in moments))
        for moment in moments:
            rows = past.guarded(rows, views.difference_types(keys), moment, table.name)
        return rows


def _view(name: str, rows: str) -> str:
    return f"VIEW main.{identifier(name)} AS {rows}"


def _macro(name: str, parameters: Sequence[str], rows: str) -> str:
    return f"MACRO main.{identifier(name)}({', '.join(parameters)}) AS TABLE {rows}"


def _release(con: DuckDBPyConnection) -> None:
    """Called when what needs the connection is gone: until then it is held as an argument."""


def _require_reading(statement: duckdb.Statement) -> None:
    """Raises LakeError for a statement that writes elsewhere than into the connection's own memory."""
    text = statement.query
    is_hidden = statement.type in _HIDING and _WRITES.search(_UNREAD.sub(" ", text))
    is_aside = statement.type != StatementType.SELECT and _WRITES_ASIDE.search(text)
    if statement.type in _WRITING or is_hidden or is_aside or _LOGS.search(text):
        raise LakeError(
            "run query", statement.query.strip()[:200], expected="one that only reads",
            got=statement.type.name.replace("_", " "),
            remedy="Write results by con.sql(query).write_parquet(file), or dynalake sql --output FILE",
        )  # fmt: skip
