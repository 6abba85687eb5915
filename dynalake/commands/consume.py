"""`dynalake consume`: a stream of changes into raw objects."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status

from dynalake.console import (
    AsJson,
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
    from ingest.consume import Happened, Progress

NAME = "consume"
EXAMPLE = "dynalake consume --stream orders"
LEASE_TABLE = "dynalake-leases"
COUNTS = ("landed", "duplicates", "dead_letters")


def run(
    context: typer.Context,
    stream: Annotated[str, typer.Option(help="The Kinesis stream, by its name or ARN.")],
    once: Annotated[bool, typer.Option("--once", help="End when all there is has landed.")] = False,
    every: Annotated[str, typer.Option(help="The oldest record that is held lands after this time at most.")] = "30s",
    object_mb: Annotated[int, typer.Option(help="Records held for one object, at most, in MB.", min=1, max=64)] = 8,
    poll: Annotated[str, typer.Option(help="Between two reads of a shard that has nothing new.")] = "1s",
    shards_max: Annotated[int, typer.Option(help="Shards read at once by this process.", min=1, max=1000)] = 64,
    lease: Annotated[str, typer.Option(help="After this time without a sign of life others take over.")] = "30s",
    lease_table: Annotated[
        str, typer.Option(help="The DynamoDB table of leases; made where there is none.")
    ] = LEASE_TABLE,
    as_json: AsJson = False,
) -> None:
    """Read a stream into raw objects, until Ctrl-C or SIGTERM: then what is held lands and the leases go.

    Run as many processes as you like: they share the shards, and take over from one that dies. compact takes the
    objects in. What goes wrong for a while is told on stderr and tried again.
    """
    from ingest.consume import Consumer, Settings, consumer_of
    from ingest.kinesis import Kinesis
    from ingest.landing import LiveLake
    from ingest.lease_table import LeaseTable
    from ingest.shard_reader import Bounds

    poll_seconds, lease_seconds = seconds_of(poll, "--poll"), seconds_of(lease, "--lease")
    if poll_seconds < 0.2 or lease_seconds < 2:
        raise typer.BadParameter(
            "expected --poll of 0.2s or more (AWS allows five reads a second), --lease of 2s or more"
        )
    bounds = Bounds(object_mb << 20, window_seconds=seconds_of(every, "--every"), poll_seconds=poll_seconds)
    lake, kinesis = LiveLake(context.obj.uri, time.monotonic), Kinesis(stream)
    table = LeaseTable(lease_table, consumer_of(lake.lake.uri, kinesis), now_us)
    table.ensure()
    with stop_signal("landing what is held") as stop, live_line(f"reading {stream}") as live:
        teller = _Teller(live, as_json)
        settings = Settings(bounds, lease_seconds, shards_max, once)
        done = Consumer(lake, kinesis, table, settings, now_us, time.monotonic, teller.tell).run(stop)
    if not as_json:
        print(f"{clock()} {stream}: {_summary(done)}")


class _Teller:
    """Lines for what happens, from several threads, and one on the terminal for how things stand."""

    def __init__(self, live: Status | None, as_json: bool) -> None:
        self._live, self._as_json, self._lock = live, as_json, threading.Lock()

    def tell(self, happened: Happened) -> None:
        with self._lock:
            what = happened.what
            if isinstance(what, Exception):
                show_error(what)
            elif self._as_json:
                print_json_line({"at": clock(), "shard": happened.shard_id, **_fields(what)})
            else:
                text = what if isinstance(what, str) else _counts(_fields(what))
                print(f"{clock()} {happened.shard_id}: {text}", flush=True)
            if self._live is not None:
                self._live.update(f"{happened.progress.shards} shards, {_summary(happened.progress)}")


def _fields(what: Any) -> dict[str, Any]:
    """A landing as the counts of it; of a lease, what became of it."""
    if isinstance(what, str):
        return {"lease": what}
    return {"landed": what.changes, "duplicates": what.duplicates, "dead_letters": what.dead_letters,
            "object": what.path}  # fmt: skip


def _counts(fields: dict[str, Any]) -> str:
    return in_words(fields, COUNTS) or "nothing new"


def _summary(progress: Progress) -> str:
    counts = {name: getattr(progress, name) for name in COUNTS}
    return f"{in_words(counts, COUNTS) or 'nothing landed'}, {progress.behind_ms / 1e3:,.1f} s behind"
