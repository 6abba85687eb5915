"""`dynalake backfill`: what is in a table already."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dynalake.console import AsJson, Tables, progress_bar, run_each

NAME = "backfill"
EXAMPLE = "dynalake backfill orders"


def run(
    context: typer.Context,
    tables: Tables = None,
    again: Annotated[bool, typer.Option("--again", help="Scan anew a table that was scanned to its end.")] = False,
    workers: Annotated[
        int, typer.Option(help="Scans at once; each takes a segment after the other.", min=1, max=64)
    ] = 4,
    margin_seconds: Annotated[
        float, typer.Option(help="How far items are dated back: more than clocks in DynamoDB are apart.", min=1.0)
    ] = 5.0,
    as_json: AsJson = False,
) -> None:
    """Scan tables into raw objects, consistently and in parallel; what was stopped is gone on with.

    Streaming to Kinesis (or a native stream) must be active first. compact takes the objects in.
    """
    from ingest.backfill import BackfillReport, backfill
    from lake.config import TableConfig
    from lake.dynamodb import DynamoDB
    from lake.lake import open_lake

    lake = open_lake(context.obj.uri)
    chosen = [lake.config.table(name) for name in tables or sorted(lake.config.tables)]

    def job(table: TableConfig) -> BackfillReport:
        with progress_bar(f"backfill {table.name}") as progress:
            report = backfill(lake, table, DynamoDB(), workers, margin_seconds, again, progress)
        if report.finished_before:
            print(f"table {table.name} was scanned to its end before; --again scans it anew", file=sys.stderr)
        return report

    run_each(chosen, job, as_json)
