"""`dynalake watch`: compact and refresh on a schedule, in one process."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.status import Status

from dynalake.console import (
    AsJson,
    Memory,
    Tables,
    clock,
    in_words,
    live_line,
    now_us,
    print_json_line,
    seconds_of,
    show_error,
    stop_signal,
)

if TYPE_CHECKING:
    from compaction.watch import Happened

NAME = "watch"
EXAMPLE = "dynalake watch --every 5m --refresh-every 1d"
COUNTS = ("objects", "changes", "duplicates", "late", "dead_letters", "touched", "removed", "buckets", "conflicts")


def run(
    context: typer.Context,
    tables: Tables = None,
    every: Annotated[str, typer.Option(help="From one compaction to the next: 90s, 5m, 1h.")] = "5m",
    refresh_every: Annotated[str, typer.Option(help="A state older than this is refreshed: 6h, 1d.")] = "1d",
    refresh_share: Annotated[
        float, typer.Option(help="So is one whose tail has come to this percentage of its rows.", min=0.0)
    ] = 5.0,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Compact by turns, and refresh when it is due, until Ctrl-C or SIGTERM: then the job at work is finished.

    A second signal stops at once, which is safe too. A table that fails is tried again at the next turn; after
    five failures in a row this ends with exit code 1, so that whoever started it notices.
    """
    from compaction.settings import Settings
    from compaction.watch import Pace, watch

    pace = Pace(seconds_of(every, "--every"), seconds_of(refresh_every, "--refresh-every"), refresh_share / 100)
    with stop_signal("stopping when this job is done") as stop, live_line("opening the lake") as live:
        events = watch(
            context.obj.uri, tables or [], pace, lambda: Settings(now_us(), memory_mb), lambda s: not stop.wait(s)
        )
        for happened in events:
            _tell(happened, live, as_json)


def _tell(happened: Happened, live: Status | None, as_json: bool) -> None:
    """A line for what was done and what failed; nothing where there was nothing to do."""
    if happened.kind == "waits":
        if live is not None:
            until = datetime.fromtimestamp(now_us() / 1e6 + happened.seconds, UTC)
            live.update(f"waiting until {until:%H:%M:%S} UTC")
        return
    if happened.fault is not None:
        show_error(happened.fault)
        return
    assert happened.report is not None
    report = asdict(happened.report)
    did_something = any(report[name] for name in ("objects", "buckets") if name in report)
    if as_json and did_something:
        print_json_line({"at": clock(), "job": happened.kind, **report})
    elif did_something:
        print(f"{clock()} {happened.table} {happened.kind}: {in_words(report, COUNTS)}", flush=True)
    if live is not None:
        live.update(f"{happened.table}: {happened.kind}, its tail is {happened.tail_share:.1%} of its state")
