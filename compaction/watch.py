"""`watch`: compaction and refresh by turns in one process, for those with no scheduler.

What a turn does depends on the lake and the clock alone, and every job is safe to be killed and run again: so
is the loop. A table that fails does not hold up the others; one that fails again and again ends the loop, for
a process that goes on without doing its work would look healthy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compaction.compact import CompactReport, compact
from compaction.refresh import RefreshReport, refresh
from compaction.settings import Settings
from lake import layout
from lake.catalog import load_table, open_catalog
from lake.config import TableConfig
from lake.errors import LakeError
from lake.lake import Lake, open_lake
from lake.state import covered_batch
from lake.tables import data_files

FAILURES_MAX = 5  # of one table, one after the other


@dataclass(frozen=True, slots=True)
class Pace:
    """How often: seconds from the start of one turn to the next; and when a state is due to be refreshed."""

    every_seconds: float = 300
    refresh_seconds: float = 86_400
    tail_share: float = 0.05


@dataclass(frozen=True, slots=True)
class Happened:
    """What a job did, or what was the matter; or `waits`, until the next turn."""

    table: str
    kind: Literal["compacted", "refreshed", "failed", "waits"]
    report: CompactReport | RefreshReport | None = None
    fault: LakeError | None = None
    tail_share: float = 0.0
    seconds: float = 0.0


def is_refresh_due(tail_rows: int, state_rows: int, seconds_since: float, pace: Pace) -> bool:
    """Whether to bring a state up to its log: the tail has grown to a share of it, or it is old."""
    if tail_rows == 0:
        return False
    return tail_rows >= pace.tail_share * state_rows or seconds_since >= pace.refresh_seconds


def watch(
    uri: str,
    tables: Sequence[str],
    pace: Pace,
    settings: Callable[[], Settings],
    rest: Callable[[float], bool],
) -> Iterator[Happened]:
    """Compacts and refreshes by turns, and tells what happened, until `rest` says to stop.

    `tables` are names, none for all that are registered at each turn. `settings` gives those of a job that
    begins now. `rest(seconds)` waits, for 0 seconds between jobs, and gives False where there is to be an end.
    Raises LakeError where the lake cannot be opened at the start, and after `FAILURES_MAX` turns in a row in
    which a table failed.
    """
    failures: dict[str, int] = {}
    lake = open_lake(uri)
    lake.config.chosen(tables)  # a name that is not registered ends it here
    while True:
        start_us = settings().now_us
        try:
            lake = open_lake(uri)
            chosen = lake.config.chosen(tables)
        except LakeError as fault:
            chosen = []
            yield _failure("", fault, failures)
        else:
            failures.pop("", None)
        for table in chosen:
            try:
                yield from _turn(lake, table, pace, settings)
                failures.pop(table.name, None)
            except LakeError as fault:
                yield _failure(table.name, fault, failures)
            if not rest(0):
                return
        left = pace.every_seconds - (settings().now_us - start_us) / 1e6
        yield Happened("", "waits", seconds=max(left, 0))
        if not rest(max(left, 0)):
            return


def _failure(table: str, fault: LakeError, failures: dict[str, int]) -> Happened:
    failures[table] = failures.get(table, 0) + 1
    if failures[table] >= FAILURES_MAX:
        raise fault
    return Happened(table, "failed", fault=fault)


def _turn(lake: Lake, table: TableConfig, pace: Pace, settings: Callable[[], Settings]) -> Iterator[Happened]:
    report = compact(lake, table, settings())
    tail, rows, refreshed_us = _sizes(lake, table)
    yield Happened(table.name, "compacted", report, tail_share=tail / rows if rows else float(tail > 0))
    if is_refresh_due(tail, rows, (settings().now_us - refreshed_us) / 1e6, pace):
        yield Happened(table.name, "refreshed", refresh(lake, table, settings()))


def _sizes(lake: Lake, table: TableConfig) -> tuple[int, int, int]:
    """From metadata alone: changes in the log that the state does not cover, rows of the state, when it was made."""
    catalog = open_catalog(lake)
    log, state = (load_table(catalog, name(table.name)) for name in (layout.log_table, layout.state_table))
    covered = covered_batch(state, log, table)
    tail = [file.rows for file in data_files(log, "batch") if file.high > covered] if log is not None else []
    if state is None or (snapshot := state.current_snapshot()) is None:
        return sum(tail), 0, 0
    return sum(tail), sum(file.rows for file in data_files(state, "_created_at_us")), snapshot.timestamp_ms * 1_000
