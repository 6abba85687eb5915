"""`dynalake backfill`: what is in a table already."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, Memory, RcuMax, Tables, progress_bar
from dynalake.jobs import Alone, AsMetrics, Counts, Job, counted

if TYPE_CHECKING:
    from ingest.backfill import BackfillReport
    from lake.config import TableConfig
    from lake.dynamodb import DynamoDB
    from lake.lake import Lake

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
    rcu_max: RcuMax = None,
    with_prune: Annotated[
        bool, typer.Option("--prune", help="Tombstones for items that the lake has and the table no longer does.")
    ] = False,
    memory_mb: Memory = 4096,
    export: Annotated[
        str | None, typer.Option("--from-export", help="Instead of a Scan: the folder of an export to S3.")
    ] = None,
    as_json: AsJson = False,
    is_alone: Alone = False,
    as_metrics: AsMetrics = False,
) -> None:
    """Scan tables into raw objects, consistently and in parallel; what was stopped is gone on with.

    Streaming to Kinesis (or a native stream) must be active first. compact takes the objects in. With --from-export
    the items of one table come from an export to S3, full or incremental, and DynamoDB is not asked.
    """
    job = Job(NAME, as_json, is_alone, as_metrics)
    if export is not None:
        if with_prune:
            raise typer.BadParameter(
                "an export cannot show what is gone since: prune after a Scan", param_hint="--prune"
            )
        _from_export(context, tables or [], export, again, margin_seconds, job)
        return
    from ingest.backfill import backfill
    from lake.dynamodb import DynamoDB

    lake, chosen = job.opened(context.obj.uri, tables)

    def work(table: TableConfig, counts: Counts) -> BackfillReport:
        dynamodb = DynamoDB(rcu_max=rcu_max)
        with progress_bar(f"backfill {table.name}", dynamodb.pace.standing) as progress:
            report = backfill(lake, table, dynamodb, workers, margin_seconds, again, progress)
        if report.finished_before:
            print(f"table {table.name} was scanned to its end before; --again scans it anew", file=sys.stderr)
        if with_prune:
            report = _pruned(lake, table, dynamodb, report, memory_mb)
        counts.update(counted(report, "items", "objects", "items_of_run", "reread", "tombstones"))
        return report

    job.run_each(lake, chosen, work)


def _pruned(
    lake: Lake, table: TableConfig, dynamodb: DynamoDB, report: BackfillReport, memory_mb: int
) -> BackfillReport:
    from dynalake.prune import prune

    with progress_bar(f"prune {table.name}", dynamodb.pace.standing) as progress:
        done = prune(lake, table, dynamodb, report, memory_mb, progress)
    next_one = f"; next: dynalake compact {table.name}" if done.objects else ""
    print(
        f"table {table.name}: {done.items:,} items of the lake that the Scan did not find were read again, "
        f"{done.tombstones:,} of them are gone{next_one}", file=sys.stderr,
    )  # fmt: skip
    return replace(report, reread=done.items, tombstones=done.tombstones)


def _from_export(
    context: typer.Context, tables: list[str], uri: str, again: bool, margin_seconds: float, job: Job
) -> None:
    from ingest.exports import ExportReport, backfill_from_export

    if len(tables) != 1:
        raise typer.BadParameter("an export is of one table: name it", param_hint="--from-export")
    if again:
        raise typer.BadParameter("an export that has landed is never read again", param_hint="--again")
    lake, chosen = job.opened(context.obj.uri, tables)

    def work(table: TableConfig, counts: Counts) -> ExportReport:
        with progress_bar(f"backfill {table.name} from its export") as progress:
            report = backfill_from_export(lake, table, uri, margin_seconds, progress=progress)
        for other in report.overlaps:
            print(
                f"exports {report.export} and {other} overlap: an item that was made and deleted meanwhile may show as "
                "live, unless the stream brought its deletion; verify tells",
                file=sys.stderr,
            )
        counts.update(counted(report, "items", "tombstones", "objects", "skipped"))
        return report

    job.run_each(lake, chosen, work)
