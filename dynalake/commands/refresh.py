"""`dynalake refresh`: the change log into the current state."""

from __future__ import annotations

from typing import Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, progress_bar
from dynalake.jobs import Alone, AsMetrics, Counts, Job, counted

NAME = "refresh"
EXAMPLE = "dynalake refresh orders"


def run(
    context: typer.Context,
    tables: Tables = None,
    full: Annotated[bool, typer.Option(help="Compute the state anew from the whole log.")] = False,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
    is_alone: Alone = False,
    as_metrics: AsMetrics = False,
) -> None:
    """Bring the current state up to the change log. Queries see the log's tail without it, only slower."""
    from compaction.refresh import RefreshReport, refresh
    from compaction.settings import Settings
    from lake.config import TableConfig

    job = Job(NAME, as_json, is_alone, as_metrics)
    lake, chosen = job.opened(context.obj.uri, tables)

    def work(table: TableConfig, counts: Counts) -> RefreshReport:
        with progress_bar(f"refresh {table.name}") as progress:
            report = refresh(lake, table, Settings(now_us(), memory_mb), full, progress)
        counts.update(counted(report, "touched", "removed", "rescued", "buckets", "conflicts"))
        return report

    job.run_each(lake, chosen, work)
