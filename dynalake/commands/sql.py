"""`dynalake sql`: DuckDB over the lake, for one query, for scripts, or as a shell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import Memory

if TYPE_CHECKING:
    from dynalake.session import Session
    from dynalake.statements import Statement

NAME = "sql"
EXAMPLE = 'dynalake sql "SELECT count(*) FROM orders"'


def run(
    context: typer.Context,
    query: Annotated[
        str | None,
        typer.Argument(help="SQL over TABLE, TABLE_changes, TABLE_as_of(ts), TABLE_history(key…); a shell without."),
    ] = None,
    file: Annotated[list[str] | None, typer.Option(help="Run the statements of a file, of stdin for -.")] = None,
    packed: Annotated[str | None, typer.Option("--query", help="A query of the pack; a wrong name lists them.")] = None,
    table: Annotated[str | None, typer.Option(help="The table that --query is about.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: a text for $NAME in the query.")] = None,
    as_of: Annotated[str | None, typer.Option(help="All tables as they were at a time, in ISO 8601.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="table, csv, json, ndjson or parquet.", show_default="table")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write to a file, whole or not at all.")] = None,
    timing: Annotated[bool, typer.Option("--timing", help="Tell how long each statement took.")] = False,
    memory_mb: Memory = 4096,
) -> None:
    """Run queries. `orders` is the current state with the log's tail; without a query, a shell: its help is \\?."""
    from dynalake.results import ENDINGS
    from dynalake.session import Session, instant_of, require_parameters
    from dynalake.showing import Showing, run_statements
    from lake.errors import ConfigError
    from lake.lake import open_lake

    if sum(given is not None and given != [] for given in (query, file, packed)) > 1:
        raise typer.BadParameter("expected one of a query, --file and --query, found several")
    form = form or (ENDINGS.get(output.suffix.lower()) if output else None) or "table"
    _require_format(form, output)
    parameters = dict(_parameter(one) for one in param or ())
    try:
        moment = None if as_of is None else instant_of(as_of)
    except ConfigError as fault:
        raise typer.BadParameter(f"expected {fault.expected}, found {fault.identity}", param_hint="--as-of") from fault
    session = Session(open_lake(context.obj.uri), memory_mb, moment)
    try:
        showing = Showing(form, is_timed=timing, to=output)
        if query is None and not file and packed is None and sys.stdin.isatty() and sys.stdout.isatty():
            from dynalake.shell import run_shell

            showing.is_fitted = True
            run_shell(session, showing)
            return
        planned = session.plan(_statements(session, query, file or [], packed, table))
        require_parameters(planned, parameters)
        run_statements(session, planned, showing, parameters)
    finally:
        if session.is_stuck:
            os._exit(130)  # it waits for a reader of its output, and Python would wait for it
        session.close()


def _require_format(form: str, output: Path | None) -> None:
    from dynalake.results import FORMATS

    if form not in FORMATS:
        raise typer.BadParameter(f"expected {', '.join(FORMATS)}, found {form!r}", param_hint="--format")
    if form == "parquet" and output is None:
        raise typer.BadParameter("expected --output FILE for parquet", param_hint="--format")


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"\w+", name):
        raise typer.BadParameter(f"expected NAME=VALUE, found {text!r}", param_hint="--param")
    return name, value


def _statements(
    session: Session, query: str | None, files: Sequence[str], packed: str | None, table: str | None
) -> list[Statement]:
    """Those of the one source that was named; of stdin, where none was."""
    from dynalake.scripts import read_packed, read_script
    from dynalake.statements import split_statements

    if query is not None:
        return split_statements(query)
    if packed is not None:
        return split_statements(read_packed(session.lake, packed, table), packed)
    texts = [(read_script(name), "stdin" if name == "-" else name) for name in files or ["-"]]
    return [one for text, source in texts for one in split_statements(text, source)]
