"""What a scheduler asks of a job: that it be alone on a table (`--alone`), and be measured (`--metrics`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import NO_TABLES, now_us, run_each, time_text

if TYPE_CHECKING:
    from lake.alone import Held
    from lake.config import TableConfig
    from lake.lake import Lake

Alone = Annotated[
    bool, typer.Option("--alone", help="Where another one is at work on the table, do nothing and say so.")
]
AsMetrics = Annotated[
    bool, typer.Option("--metrics", help="Print what was done as a line for CloudWatch, also where it failed.")
]
Counts = dict[str, float]
_DIMENSIONS = ("Lake", "Job", "Table")
_UNITS = dict.fromkeys(("Seconds", "NewestChangeAge", "VerifiedThroughAge"), "Seconds")


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of jobs, and how one was asked for on the command line."""

    kind: str
    as_json: bool = False
    is_alone: bool = False
    as_metrics: bool = False

    def __post_init__(self) -> None:
        if self.as_json and self.as_metrics:
            raise typer.BadParameter("not together with --json: both say what was done", param_hint="--metrics")

    def opened(self, uri: str, names: Sequence[str] | None) -> tuple[Lake, list[TableConfig]]:
        """The lake, and the tables that are named, or all. Where there is none, the tables named have failed."""
        from lake.lake import open_lake

        started_us = now_us()
        try:
            lake = open_lake(uri)
            return lake, lake.config.chosen(names)
        except Exception:
            for name in names or ():
                self._measure(uri, name, started_us, False, {})
            raise

    @contextmanager
    def on(self, lake: Lake, table: TableConfig) -> Iterator[Counts | None]:
        """A run on a table: what it puts into the counts is told, and how it ended. None where it is not to run."""
        started_us, counts = now_us(), Counts()
        try:
            with self._lock(lake, table) as other:
                if other is not None:
                    since = time_text(other.since_us)
                    print(f"{self.kind} {table.name}: another one is at work since {since}", file=sys.stderr)
                yield counts if other is None else None
        except Exception:
            self._measure(lake.uri, table.dynamodb_name, started_us, False, counts)
            raise
        if other is None:
            self._measure(lake.uri, table.dynamodb_name, started_us, True, counts)

    def run_each(self, lake: Lake, tables: Sequence[TableConfig], work: Callable[[TableConfig, Counts], Any]) -> None:
        """Runs it over tables and prints what was done: a line of metrics each, or the reports that `work` gives.

        `work` puts into the counts what it has done, as soon as it is done: also of a run that fails later.
        """

        def run(table: TableConfig) -> Any:
            with self.on(lake, table) as counts:
                report = None if counts is None else work(table, counts)
            return None if self.as_metrics else report

        if self.as_metrics and not tables:
            print(NO_TABLES, file=sys.stderr)
        else:
            run_each(tables, run, self.as_json)

    def _lock(self, lake: Lake, table: TableConfig) -> AbstractContextManager[Held | None]:
        if not self.is_alone:
            return nullcontext()
        from lake.alone import alone

        return alone(lake, self.kind, table.name, now_us)

    def _measure(self, lake: str, table: str, started_us: int, succeeded: bool, counts: Counts) -> None:
        if not self.as_metrics:
            return
        from lake.metrics import metrics_line

        ended_us = now_us()
        ends = {"Succeeded": int(succeeded), "Failed": int(not succeeded)}
        values = {**ends, "Seconds": max(ended_us - started_us, 0) / 1e6, **counts}
        dimensions = dict(zip(_DIMENSIONS, (lake, self.kind, table), strict=True))
        print(metrics_line(dimensions, [_DIMENSIONS], values, _UNITS, ended_us), flush=True)


def counted(report: Any, *names: str) -> Counts:
    """Fields of a report as metrics: `dead_letters` is `DeadLetters`."""
    return {name.title().replace("_", ""): getattr(report, name) for name in names}


def age_seconds(name: str, then_us: int | None) -> Counts:
    """How long ago something was; nothing where it never was."""
    return {} if then_us is None else {name: max(now_us() - then_us, 0) / 1e6}
