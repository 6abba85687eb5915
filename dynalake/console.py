"""What the commands share: the lake they were given, tables and progress on a terminal, JSON for machines."""

from __future__ import annotations

import base64
import json
import math
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from dynalake.progress import progress_bar as progress_bar  # noqa: PLC0414  (commands take it from here)

if TYPE_CHECKING:
    from lake.config import TableConfig

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]
Memory = Annotated[int, typer.Option(help="Memory that the job may take, in MB.", min=512)]
RcuMax = Annotated[
    float | None, typer.Option(help="Read capacity units a second that are taken at most.", min=1.0, show_default=False)
]
_ONE_LINE = json.JSONEncoder(default=str, ensure_ascii=False)
NO_TABLES = "no tables registered; next: dynalake add-table NAME --hash-key NAME:TYPE"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
Tables = Annotated[list[str] | None, typer.Argument(help="Tables, by their name in the lake or in DynamoDB.")]


@dataclass(frozen=True, slots=True)
class Lake:
    """The lake named on the command line, opened when a command needs it."""

    uri: str


def now_us() -> int:
    """The present in UTC microseconds: the one place where a command reads the clock."""
    return time.time_ns() // 1_000


def show_error(fault: Exception) -> None:
    """One line on stderr."""
    print(f"dynalake: {fault}", file=sys.stderr)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One line, at once: for logs."""
    print(json.dumps(value, default=str, ensure_ascii=False), flush=True)


def seconds_of(text: str, option: str) -> float:
    """The seconds of a duration such as `90s`, `10m`, `2h`, `1d`, or `0`; anything else is wrong usage."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or (not match[2] and float(match[1])):
        raise typer.BadParameter(f"expected a duration such as 90s, 10m, 2h or 1d, found {text!r}", param_hint=option)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]]


class _Stop(threading.Event):
    """An event without a lock: the thread that a signal interrupts may hold it, and would wait for itself."""

    is_told = False

    def set(self) -> None:
        self.is_told = True

    def is_set(self) -> bool:
        return self.is_told

    def wait(self, timeout: float | None = None) -> bool:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_told and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        return self.is_told


@contextmanager
def stop_signal(what: str) -> Iterator[threading.Event]:
    """An event that is set by the first SIGINT or SIGTERM; the second does what it always does."""
    stop = _Stop()

    def first(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, usual[number])
        print(f"dynalake: {what}; once more stops at once", file=sys.stderr)

    usual: dict[int, Any] = {n: signal.signal(n, first) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


@contextmanager
def live_line(text: str) -> Iterator[Status | None]:
    """A line on the terminal that says what goes on now; none where nobody looks."""
    console = Console(stderr=True)
    with console.status(text) if console.is_terminal else nullcontext() as status:
        yield status


def clock() -> str:
    """The present, for people."""
    return time_text(now_us())


def time_text(us: int) -> str:
    """A time in UTC microseconds, for people."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%SZ}"


def print_rows(
    names: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None, file: IO[str] | None = None
) -> None:
    """A table on the terminal: numbers to the right, nothing cut off in a pipe."""
    table = Table(header_style="bold")
    rows = [list(row) for row in rows]
    for n, name in enumerate(names):
        numeric = bool(rows) and all(_is_number(row[n]) or row[n] is None for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(value)) for value in row))  # not as markup: it is data
    file = file or sys.stdout
    console = Console(file=file) if file.isatty() else Console(file=file, width=max(200, 24 * len(names)))
    if title:
        console.print(Text(title), style="bold")
    console.print(table)


def run_each(tables: Sequence[TableConfig], job: Callable[[TableConfig], Any], as_json: bool) -> None:
    """Runs a job over tables and prints what was done, also where it stops at a fault of one; None is
    nothing to print.
    """
    reports: list[Any] = []
    is_through = False
    try:
        for table in tables:
            if (report := job(table)) is not None:
                reports.append(report)
        is_through = True
    finally:
        if reports or not tables or (as_json and is_through):
            print_reports(reports, as_json)


def print_reports(reports: Sequence[Any], as_json: bool) -> None:
    """What a job did, a row a table."""
    rows = [asdict(report) for report in reports]
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(list(rows[0]), [list(row.values()) for row in rows])
    else:
        print(NO_TABLES)


def in_words(counts: Mapping[str, Any], names: Sequence[str]) -> str:
    """`3 objects, 1,203 changes`: those of the named counts that are not zero."""
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in names if counts.get(name))


def cell_text(value: Any) -> str:
    """A value in a table for people."""
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    plain = plain_value(value)
    text = _ONE_LINE.encode(plain) if isinstance(plain, list | dict) else str(plain)
    return _CONTROL.sub(written_out, text)


def written_out(match: re.Match[str]) -> str:
    """A character as it is written, not as a terminal takes it."""
    return match[0].encode("unicode_escape").decode()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def plain_value(value: Any) -> Any:
    """A value of a query as text formats can have it: binary in base64, decimals with all their digits as text."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, timedelta):
        return interval_text(0, 0, value // timedelta(microseconds=1))
    if isinstance(value, dict):
        return {str(plain_value(name)): plain_value(inner) for name, inner in value.items()}
    return [plain_value(element) for element in value] if isinstance(value, list | tuple) else value


def interval_text(months: int, days: int, us: int) -> str:
    """A span of time as DuckDB reads it; what is more than a day of `us` is told in days, too."""
    sign, us = ("-" if us < 0 else ""), abs(us)
    days += (-1 if sign else 1) * (us // 86_400_000_000)
    seconds, fraction = divmod(us % 86_400_000_000, 1_000_000)
    told = [f"{n} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in ((months, "month"), (days, "day")) if n]
    if us % 86_400_000_000 or not told:
        clock = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        told.append(clock + (f".{fraction:06}" if fraction else ""))
    return " ".join(told)


def csv_text(value: Any) -> str:
    """A value of a query in a CSV file: lists and structs as JSON, booleans as words, NULL as nothing."""
    if value is None:
        return ""
    plain = plain_value(value)
    text = _ONE_LINE.encode(plain) if isinstance(plain, bool | list | dict) else str(plain)
    is_plain = text and text == text.strip() and "," not in text and '"' not in text
    if is_plain and "\n" not in text and "\r" not in text:
        return text
    return '"' + text.replace('"', '""') + '"'
