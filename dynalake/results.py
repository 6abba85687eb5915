"""Results of queries as text and as files, a few rows at a time: no result needs to fit into memory."""

from __future__ import annotations

import json
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from dynalake.console import cell_text, csv_text, plain_value, print_rows, written_out
from lake.errors import ConfigError
from lake.layout import unique_name
from lake.store import is_s3

FORMATS = ("table", "csv", "json", "ndjson", "parquet")
ENDINGS = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
FETCHED_ROWS = 500  # at once; items may be of 400 KB
_ENDS_LINE = re.compile(r"[\t\n\u2028\u2029]")
_ENCODERS = {n: json.JSONEncoder(indent=n, default=str, ensure_ascii=False) for n in (None, 2)}
ROWS_MAX = 1_000  # a terminal's patience; the other formats give all


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gives: its columns, and the connection that has its rows. `check` is called now and then."""

    names: Sequence[str]
    types: Sequence[Any]
    source: Any
    check: Callable[[], None] = lambda: None

    def rows(self) -> Iterator[tuple[Any, ...]]:
        while rows := self.source.fetchmany(FETCHED_ROWS):
            self.check()
            yield from rows

    @property
    def unique_names(self) -> list[str]:
        """Of two columns of one name both are there, the second as `name_2`."""
        names: list[str] = []
        for name in self.names:
            names.append(unique_name(name, set(names)))
        return names


def write_csv(result: Result, out: IO[str]) -> int:
    """NULL is nothing, a text of no length is `""`."""
    out.write(csv_line(result.names))
    return _write_each(out, map(csv_line, result.rows()))


def csv_line(values: Iterable[Any]) -> str:
    return ",".join(map(csv_text, values)) + "\n"


def write_ndjson(result: Result, out: IO[str]) -> int:
    names = result.unique_names
    return _write_each(out, (json_text(names, row) + "\n" for row in result.rows()))


def write_json(result: Result, out: IO[str]) -> int:
    """One array, as `json.dumps(…, indent=2)` writes it."""
    names, before, count = result.unique_names, "[\n", 0
    for row in result.rows():
        text = json_text(names, row, indent=2).replace("\n", "\n  ")  # a line's end within a text is written `\\n`
        out.write(f"{before}  {text}")
        before, count = ",\n", count + 1
    out.write("\n]\n" if count else "[]\n")
    return count


def json_text(names: Sequence[str], row: Sequence[Any], indent: int | None = None) -> str:
    return _ENCODERS[indent].encode(dict(zip(names, map(plain_value, row), strict=True)))


def _write_each(out: IO[str], lines: Iterable[str]) -> int:
    count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007
        out.write(line)
    return count


def write_table(result: Result, out: IO[str]) -> tuple[int, bool]:
    """The first rows, and whether there are more."""
    if is_plan(result):
        return _write_plan(result, out), False
    rows, is_cut = first_rows(result, ROWS_MAX)
    print_rows(list(result.names), rows, file=out)
    return len(rows), is_cut


def first_rows(result: Result, rows_max: int) -> tuple[list[tuple[Any, ...]], bool]:
    rows = list(islice(result.rows(), rows_max + 1))
    return rows[:rows_max], len(rows) > rows_max


def is_plan(result: Result) -> bool:
    """Whether it is what EXPLAIN gives: a drawing, to be left as it is."""
    return list(result.names) == ["explain_key", "explain_value"]


def _write_plan(result: Result, out: IO[str]) -> int:
    return _write_each(out, (f"{row[1].rstrip()}\n" for row in result.rows()))


WRITERS: dict[str, Callable[[Result, IO[str]], int]] = {"csv": write_csv, "json": write_json, "ndjson": write_ndjson}


def printable(value: Any) -> str:
    """A cell in a line of a terminal: what would end the line, or move the cursor, is written out."""
    return _ENDS_LINE.sub(written_out, cell_text(value))


@contextmanager
def new_file(path: Path, lake_uri: str) -> Iterator[Path]:
    """Where to write what is then at `path`, whole or not at all. Raises ConfigError for a place that cannot be."""
    target = Path(os.path.realpath(path))
    if str(path).startswith("s3:/"):  # a Path has taken the second slash
        raise ConfigError("write", path, expected="a file", got="a place on S3", remedy="Copy it there afterwards")
    if not is_s3(lake_uri) and target.is_relative_to(os.path.realpath(lake_uri)):
        raise ConfigError("write", path, expected="a file outside of the lake", got=f"one in {lake_uri}")
    if target.is_dir() or not target.parent.is_dir():
        expected, got = ("a file", "a folder") if target.is_dir() else ("a folder to write into", "none")
        raise ConfigError("write", path, expected=expected, got=got)
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        yield target  # a pipe or a device: not to be replaced
        return
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as fault:
        if fault.errno is None:
            raise  # the engine's, by way of Arrow
        raise ConfigError(
            "write", path, expected="a place that may be written to", got=fault.strerror or str(fault),
            remedy="See to disk space and permissions",
        ) from fault  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)
