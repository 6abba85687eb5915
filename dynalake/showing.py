"""How results are shown: on the terminal or in a file, and in which form."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from dynalake.fitted import print_expanded, print_fitted
from dynalake.results import (
    ENDINGS,
    ROWS_MAX,
    WRITERS,
    Result,
    first_rows,
    is_plan,
    new_file,
    write_table,
)
from dynalake.session import Planned, Session
from lake.errors import ConfigError, LakeError

_FITTED_ROWS_MAX = 200  # somebody looks at them


@dataclass(slots=True)
class Showing:
    """The settings of a shell, or those of one command. `to` is the file for the next result."""

    form: str = "table"
    is_fitted: bool = False
    is_expanded: bool = False
    is_timed: bool = False
    to: Path | None = None

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """What the shell itself has to tell."""
        console = Console()
        if self.is_expanded:
            print_expanded(console, names, rows)
        else:
            print_fitted(console, names, rows, [False] * len(names))


def run_statements(
    session: Session, planned: Sequence[Planned], showing: Showing, parameters: Mapping[str, str] | None = None
) -> None:
    """Runs statements in turn and shows what each gives; stops at the first fault. Raises LakeError."""
    if not planned:
        raise LakeError("run query", "''", expected="a statement", got="none")
    if showing.to is None and showing.form != "parquet":
        _run_each(session, planned, showing, parameters, sys.stdout)
        return
    path, form = showing.to, showing.form
    if path is None:
        raise ConfigError(
            "write Parquet", "", expected="a file", got="none", remedy="Name it: --output FILE, or \\o FILE"
        )
    showing.to = None  # whatever comes of it
    form = ENDINGS.get(path.suffix.lower(), form) if showing.is_fitted else form
    with new_file(path, session.lake.uri) as place:
        if form == "parquet":
            _write_parquet(session, planned, showing, parameters, place)
        else:
            with place.open("w", encoding="utf-8", newline="") as out:
                _run_each(session, planned, showing, parameters, out, form)
    if showing.is_fitted:
        print(f"written to {path}")


def _run_each(
    session: Session, planned: Sequence[Planned], showing: Showing, parameters: Mapping[str, str] | None,
    out: IO[str], form: str | None = None,
) -> None:  # fmt: skip
    shown = 0
    for one in planned:
        is_next = bool(one.gives_rows and shown)

        def show(result: Result, one: Planned = one, is_next: bool = is_next) -> int | None:
            if is_next and (form or showing.form) == "csv":
                out.write("\n")
            return _show(result, one, showing, form or showing.form, out)

        _timed(showing, lambda one=one, show=show: session.run(one, parameters or {}, show))  # type: ignore[misc]
        shown += one.gives_rows
        out.flush()


def _write_parquet(
    session: Session, planned: Sequence[Planned], showing: Showing, parameters: Mapping[str, str] | None, path: Path
) -> None:
    from dynalake.parquet import write_parquet

    giving = sum(one.gives_rows for one in planned)
    if giving != 1:
        raise ConfigError("write Parquet", "", expected="one statement that gives rows", got=f"{giving}")
    for one in planned:

        def show(result: Result, one: Planned = one) -> int | None:
            return write_parquet(result, path) if one.gives_rows else None

        _timed(showing, lambda one=one, show=show: session.run(one, parameters or {}, show))  # type: ignore[misc]


def counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _timed(showing: Showing, work: Callable[[], int | None]) -> None:
    started = time.monotonic()
    rows = work()
    if showing.is_timed:
        told = "" if rows is None else f"{counted(rows)}, "
        print(f"{told}{time.monotonic() - started:.3f} s", file=sys.stderr)


def _show(result: Result, planned: Planned, showing: Showing, form: str, out: IO[str]) -> int | None:
    """Shows a result and gives the number of rows; of what gives none, None."""
    if planned.is_nothing(result.names):
        return None
    if planned.is_count(result.names):
        rows = list(result.rows())  # none of a table that was made empty
        if rows and form == "table" and out is sys.stdout:
            print(counted(rows[0][0]))
        return None
    if form != "table":
        return WRITERS[form](result, out)
    if showing.is_fitted and out is sys.stdout and not is_plan(result):
        return _show_fitted(result, showing)
    count, is_cut = write_table(result, out)
    if is_cut:
        print(f"first {ROWS_MAX:,} rows; --format csv gives all", file=sys.stderr)
    return count


def _show_fitted(result: Result, showing: Showing) -> int:
    rows, is_cut = first_rows(result, _FITTED_ROWS_MAX)
    console = Console()
    left_out = 0
    if showing.is_expanded:
        print_expanded(console, result.names, rows)
    else:
        numeric = [all(_is_number(row[n]) for row in rows) for n in range(len(result.names))]
        left_out = print_fitted(console, result.names, rows, numeric)
    notes = [f"first {counted(len(rows))}; \\o FILE before the query writes all" if is_cut else counted(len(rows))]
    if left_out:
        notes.append(f"{left_out:,} of {len(result.names):,} columns left out; \\x shows all")
    print(f"({'; '.join(notes)})")
    return len(rows)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool))
