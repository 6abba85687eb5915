"""A lake opened for queries from the command line: its connection, moved through time, and what it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

import duckdb
import typer

from dynalake.query_faults import placed, query_fault
from dynalake.relations import Relation, quoted, relations_of
from dynalake.results import Result
from dynalake.statements import Statement
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.sql import literal
from lake.tables import batch_of, data_files
from queries.connect import LakeConnection, connect

T = TypeVar("T")
_ROWS = duckdb.ExpectedResultType.QUERY_RESULT
_NOTHING = duckdb.ExpectedResultType.NOTHING
_COUNTS = duckdb.ExpectedResultType.CHANGED_ROWS
_SETTINGS = (duckdb.StatementType.PRAGMA, duckdb.StatementType.SET, duckdb.StatementType.VARIABLE_SET)
_PATIENCE_SECONDS = 2  # with work that is told to end: it may wait for a reader of what it writes
_EXAMPLE = "2026-01-31, 2026-01-31T12:00:00 (in UTC) or 2026-01-31T13:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Planned:
    """A statement that DuckDB has parsed: whether it gives rows, and the parameters that it names."""

    statement: Statement
    gives: Any
    parameters: frozenset[str]
    is_setting: bool

    @property
    def gives_rows(self) -> bool:
        return bool(self.gives == _ROWS)

    def is_count(self, names: Sequence[str]) -> bool:
        """Whether what came, in columns of these names, is but the number of rows that were changed."""
        return bool(self.gives == _COUNTS) and list(names) == ["Count"]

    def is_nothing(self, names: Sequence[str]) -> bool:
        return not names or (self.is_setting and list(names) == ["Success"])


def instant_of(text: str) -> datetime:
    """A time in ISO 8601, in UTC where it names no zone. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as fault:
        raise ConfigError("read time", repr(text), expected=f"ISO 8601, such as {_EXAMPLE}") from fault


def interruptibly(work: Callable[[], T], interrupt: Callable[[], object], done: Future[T]) -> T:
    """Does work in a thread of its own, so that Ctrl-C is heard at once: KeyboardInterrupt, when it has ended."""

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as fault:
            done.set_exception(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        return done.result()
    except KeyboardInterrupt:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not done.done() and time.monotonic() < until:  # it may have been between two queries
            interrupt()
            thread.join(0.02)
        raise


class Session:
    """A connection to a lake, one query at a time. All of its queries see one version, until it is told to move on."""

    def __init__(self, lake: Lake, memory_mb: int, as_of: datetime | None = None) -> None:
        self.lake = lake
        self.as_of = as_of
        self._memory_mb = memory_mb
        self._lock = threading.RLock()  # of the connection: completion asks it from a thread of its own
        self._stop = threading.Event()
        self._running: Future[Any] | None = None
        self.con = self._connect(as_of)
        self._columns: dict[str, list[tuple[str, str]]] = {}

    def _connect(self, as_of: datetime | None) -> LakeConnection:
        con = connect(self.lake, self._memory_mb, as_of=as_of)
        con.con.execute("SET python_enable_replacements = false")  # else our own variables were tables
        return con

    @property
    def is_stuck(self) -> bool:
        """Whether what was interrupted has not ended."""
        return self._running is not None and not self._running.done()

    def close(self) -> None:
        self.con.close()

    def plan(self, statements: Sequence[Statement]) -> list[Planned]:
        """Parses all, so that nothing is run of a script with a fault in its syntax. Raises LakeError."""
        planned = []
        for statement in statements:
            try:
                parts = self.con.con.extract_statements(statement.text)
            except duckdb.Error as fault:
                raise self._fault(fault, statement) from fault
            gives = parts[-1].expected_result_type[0] if parts else None
            names = frozenset(name for part in parts for name in part.named_parameters)
            planned.append(Planned(statement, gives, names, bool(parts) and parts[-1].type in _SETTINGS))
        return planned

    def run(self, planned: Planned, parameters: Mapping[str, str], show: Callable[[Result], T]) -> T:
        """Runs a statement and shows what it gives, both until Ctrl-C: KeyboardInterrupt. Raises LakeError."""
        given = {name: parameters[name] for name in planned.parameters if name in parameters}

        def work() -> T:
            with self._lock:
                return self._run(planned, given, show)

        return self.interruptibly(work)

    def interruptibly(self, work: Callable[[], T]) -> T:
        self._stop.clear()
        done: Future[T] = Future()
        self._running = done
        return interruptibly(work, self._interrupt, done)

    def _run(self, planned: Planned, given: Mapping[str, str], show: Callable[[Result], T]) -> T:
        try:
            done = self.con.execute(planned.statement.text, given or None)
            columns = [] if planned.gives == _NOTHING else done.description or []
            return show(Result([c[0] for c in columns], [c[1] for c in columns], done, self._check))
        except LakeError as fault:
            raise placed(fault, planned.statement, self.lake.uri) from fault
        except duckdb.Error as fault:
            raise self._fault(fault, planned.statement) from fault
        except OSError as fault:
            if fault.errno is not None:
                raise
            raise self._fault(fault, planned.statement) from fault  # the engine's, by way of Arrow

    def _interrupt(self) -> None:
        self._stop.set()
        self.con.con.interrupt()

    def _check(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _fault(self, fault: Exception, statement: Statement) -> LakeError:
        try:
            relations = self.relations
        except duckdb.Error:  # within a transaction that has failed nothing more is told
            relations = []
        return query_fault(fault, statement, relations, self.columns, self.lake.uri)

    @property
    def relations(self) -> list[Relation]:
        """The lake's views and macros, and what was made in this session."""
        made = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'"
        made += " UNION SELECT table_name FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'"
        names = {row[0] for row in self.con.con.execute(made).fetchall()}
        return relations_of(names.union(self.con.views), self.lake.config.tables)

    def try_relations(self) -> list[Relation]:
        """The same for completion, which must not wait for a query that runs, nor fail."""
        if not self._lock.acquire(blocking=False):
            return []
        try:
            return self.relations
        except (duckdb.Error, LakeError):
            return []
        finally:
            self._lock.release()

    def columns(self, relation: Relation) -> list[tuple[str, str]]:
        """The names and types of its columns; none where that cannot be told. Never while a query runs."""
        if relation.name not in self._columns:
            name = quoted(relation.name, self.reserved) + self._any_arguments(relation)
            try:
                with self._lock:
                    found = self.con.execute(f"DESCRIBE SELECT * FROM {name}").fetchall()
            except (duckdb.Error, LakeError, OSError):
                return []
            self._columns[relation.name] = [(row[0], row[1]) for row in found]
        return self._columns[relation.name]

    def _any_arguments(self, relation: Relation) -> str:
        """Such as its columns can be told by."""
        if not relation.arguments:
            return ""
        key = self.lake.config.tables[relation.table].keys.hash_key.name
        any_of = {"_as_of": "now()", "_diff": "now()", "_transitions": literal(key)}.get(relation.suffix, "''")
        return f"({', '.join([any_of] * len(relation.arguments))})"

    @cached_property
    def keywords(self) -> list[str]:
        rows = self._ask("SELECT keyword_name FROM duckdb_keywords() ORDER BY 1")
        return sorted({row[0] for row in rows})

    @cached_property
    def reserved(self) -> frozenset[str]:
        """The keywords that are no names unless they are quoted."""
        rows = self._ask("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'")
        return frozenset(row[0] for row in rows)

    @cached_property
    def functions(self) -> list[str]:
        rows = self._ask("SELECT DISTINCT function_name FROM duckdb_functions() WHERE internal ORDER BY 1")
        return [row[0] for row in rows if row[0].isidentifier() and not row[0].startswith("_")]

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with self._lock:
            return list(self.con.con.execute(query).fetchall())

    def move(self, as_of: datetime | None) -> None:
        """To an instant, or to now. Raises LakeError, and then stays where it is."""
        moved = self._connect(as_of)
        with self._lock:
            self.con.close()
            self.con, self.as_of = moved, as_of
            self._columns.clear()

    def refresh(self) -> None:
        """To the newest version of the lake. Raises LakeError."""
        with self._lock:
            self.con.refresh()
            self._columns.clear()

    def position(self) -> list[str]:
        """For each table how far its log is: the batch, and the time of its newest change."""
        told = []
        for name, pinned in self.con.pinned.items():
            newest = max((file.high for file in data_files(pinned.log, "created_at_us")), default=None)
            until = f", changes up to {_clock(newest)}" if newest is not None else ", no changes"
            told.append(f"{name}: batch {batch_of(pinned.log)}{until}")
        return told


def _clock(us: int) -> str:
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def require_parameters(planned: Sequence[Planned], given: Mapping[str, str]) -> None:
    """Every parameter that is given must be one of a statement. Raises typer.BadParameter."""
    named = {name for one in planned for name in one.parameters}
    if unknown := sorted(set(given) - named):
        known = f"those of the query ({', '.join(sorted(named))})" if named else "none, as the query names no $NAME"
        raise typer.BadParameter(f"expected {known}, found {', '.join(unknown)}", param_hint="--param")
