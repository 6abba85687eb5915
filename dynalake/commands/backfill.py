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
    export: Annotated[
        str | None, typer.Option("--from-export", help="Instead of a Scan: the folder of an export to S3.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Scan tables into raw objects, consistently and in parallel; what was stopped is gone on with.

    Streaming to Kinesis (or a native stream) must be active first. compact takes the objects in. With --from-export
    the items of one table come from an export to S3, full or incremental, and DynamoDB is not asked.
    """
    if export is not None:
        _from_export(context, tables or [], export, again, margin_seconds, as_json)
        return
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


def _from_export(
    context: typer.Context, tables: list[str], uri: str, again: bool, margin_seconds: float, as_json: bool
) -> None:
    from ingest.exports import ExportReport, backfill_from_export
    from lake.config import TableConfig
    from lake.lake import open_lake

    if len(tables) != 1:
        raise typer.BadParameter("an export is of one table: name it", param_hint="--from-export")
    if again:
        raise typer.BadParameter("an export that has landed is never read again", param_hint="--again")
    lake = open_lake(context.obj.uri)

    def job(table: TableConfig) -> ExportReport:
        with progress_bar(f"backfill {table.name} from its export") as progress:
            report = backfill_from_export(lake, table, uri, margin_seconds, progress=progress)
        for other in report.overlaps:
            print(
                f"exports {report.export} and {other} overlap: an item that was made and deleted meanwhile may show as "
                "live, unless the stream brought its deletion; verify tells",
                file=sys.stderr,
            )
        return report

    run_each([lake.config.table(tables[0])], job, as_json)
