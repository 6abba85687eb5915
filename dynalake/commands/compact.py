"""`dynalake compact`: raw objects into the change log."""

from __future__ import annotations

from typing import Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, progress_bar
from dynalake.jobs import Alone, AsMetrics, Counts, Job, age_seconds, counted

NAME = "compact"
EXAMPLE = "dynalake compact orders"
COUNTED = ("objects", "records", "changes", "duplicates", "late", "dead_letters", "conflicts")


def run(
    context: typer.Context,
    tables: Tables = None,
    raw: Annotated[str | None, typer.Option(help="Another place of raw objects: a folder or s3://…")] = None,
    reread: Annotated[bool, typer.Option(help="Ignore the ledger and read every object again.")] = False,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
    is_alone: Alone = False,
    as_metrics: AsMetrics = False,
) -> None:
    """Take new raw objects into the change log. Run it as often as you like, also twice at once."""
    from compaction.compact import CompactReport, compact
    from compaction.settings import Settings
    from lake.config import TableConfig
    from queries.status import newest_change_us

    job = Job(NAME, as_json, is_alone, as_metrics)
    lake, chosen = job.opened(context.obj.uri, tables)

    def work(table: TableConfig, counts: Counts) -> CompactReport:
        def count(report: CompactReport) -> None:
            counts.update(counted(report, *COUNTED))

        with progress_bar(f"compact {table.name}") as progress:
            report = compact(lake, table, Settings(now_us(), memory_mb), raw, reread, progress, count)
        count(report)
        if as_metrics:
            counts.update(age_seconds("NewestChangeAge", newest_change_us(lake, table)))
        return report

    job.run_each(lake, chosen, work)
