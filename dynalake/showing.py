"""How results are shown: on the terminal or in a file, and in which form."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
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
    path, form = showing.to, showing.form
    if path is not None and showing.is_fitted:
        form = ENDINGS.get(path.suffix.lower(), form)
    if form == "parquet":
        _require_one_result(planned, path)
    if path is None:
        _run_each(
            session, planned, showing, parameters or {}, partial(_show, showing=showing, form=form, out=sys.stdout)
        )
        return
    showing.to = None  # whatever comes of it
    with new_file(path, session.lake.uri) as place:
        if form == "parquet":
            _run_each(session, planned, showing, parameters or {}, partial(_write, path=place))
        else:
            with place.open("w", encoding="utf-8", newline="") as out:
                _run_each(
                    session, planned, showing, parameters or {}, partial(_show, showing=showing, form=form, out=out)
                )
    if showing.is_fitted:
        print(f"written to {path}")


def _require_one_result(planned: Sequence[Planned], path: Path | None) -> None:
    if path is None:
        raise ConfigError("write Parquet", "", expected="a file", got="none", remedy="Name one: --output, or \\o FILE")
    giving = sum(one.gives_rows for one in planned)
    if giving != 1:
        raise ConfigError("write Parquet", path, expected="one statement that gives rows", got=f"{giving}")


def _run_each(
    session: Session, planned: Sequence[Planned], showing: Showing, parameters: Mapping[str, str],
    show: Callable[..., int | None],
) -> None:  # fmt: skip
    """Runs each with `show(result, planned=…, is_first=…)` for what it gives."""
    is_first = True
    for one in planned:
        started = time.monotonic()
        rows = session.run(one, parameters, partial(show, planned=one, is_first=is_first))
        is_first = is_first and not one.gives_rows
        if showing.is_timed:
            told = "" if rows is None else f"{counted(rows)}, "
            print(f"{told}{time.monotonic() - started:.3f} s", file=sys.stderr)


def counted(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def _write(result: Result, planned: Planned, is_first: bool, path: Path) -> int | None:
    from dynalake.parquet import write_parquet

    return write_parquet(result, path) if planned.gives_rows else None


def _show(result: Result, planned: Planned, is_first: bool, showing: Showing, form: str, out: IO[str]) -> int | None:
    """Shows a result and gives the number of rows; of what gives none, None."""
    if planned.is_nothing(result.names):
        return None
    if planned.is_count(result.names):
        rows = list(result.rows())  # none of a table that was made empty
        if rows and form == "table" and out is sys.stdout:
            print(counted(rows[0][0]))
        return None
    if form == "csv" and not is_first:
        out.write("\n")
    count = _show_rows(result, showing, form, out)
    out.flush()
    return count


def _show_rows(result: Result, showing: Showing, form: str, out: IO[str]) -> int:
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
