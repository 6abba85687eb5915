"""`dynalake status`: how far a lake's tables are, and how far a stream is read."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.commands.consume import LEASE_TABLE
from dynalake.console import AsJson, now_us, print_json, print_rows

if TYPE_CHECKING:
    from ingest.progress import ShardProgress
    from lake.lake import Lake

NAME = "status"
EXAMPLE = "dynalake status --json"


def run(
    context: typer.Context,
    stream: Annotated[str | None, typer.Option(help="Also how far consume has read this stream.")] = None,
    lease_table: Annotated[str, typer.Option(help="The DynamoDB table of its leases.")] = LEASE_TABLE,
    as_json: AsJson = False,
) -> None:
    """Show for each table its batches, changes, newest change, rows, tail, dead letters; for a stream its shards."""
    from lake.lake import open_lake
    from queries.status import table_status

    lake = open_lake(context.obj.uri)
    statuses = table_status(lake)
    shards = _shards(lake, stream, lease_table) if stream is not None else []
    if as_json:
        print_json(statuses if stream is None else {"tables": statuses, "shards": [asdict(one) for one in shards]})
        return
    if statuses:
        names = list(statuses[0])
        print_rows(["", *(str(status["table"]) for status in statuses)],
                   [(name.replace("_", " "), *(_text(s[name]) for s in statuses)) for name in names[1:]])  # fmt: skip
    else:
        print("no tables registered; next: dynalake add-table NAME --hash-key NAME:TYPE")
    if shards:
        rows = [asdict(one) | {"checkpoint": one.checkpoint[-8:]} for one in shards]
        print_rows([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows], title=stream)


def _shards(lake: Lake, stream: str, lease_table: str) -> list[ShardProgress]:
    from ingest.consume import consumer_of
    from ingest.kinesis import Kinesis
    from ingest.lease_table import LeaseTable
    from ingest.progress import shard_progress

    kinesis = Kinesis(stream)
    return shard_progress(kinesis, LeaseTable(lease_table, consumer_of(lake.uri, kinesis), now_us), now_us())


def _text(value: object) -> str:
    return f"{value:,}" if type(value) is int else "" if value is None else str(value)
