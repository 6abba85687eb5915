"""`dynalake refresh`: the change log into the current state."""

from __future__ import annotations

from typing import Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, progress_bar, run_each

NAME = "refresh"
EXAMPLE = "dynalake refresh orders"


def run(
    context: typer.Context,
    tables: Tables = None,
    full: Annotated[bool, typer.Option(help="Compute the state anew from the whole log.")] = False,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Bring the current state up to the change log. Queries see the log's tail without it, only slower."""
    from compaction.refresh import RefreshReport, refresh
    from compaction.settings import Settings
    from lake.config import TableConfig
    from lake.lake import open_lake

    lake = open_lake(context.obj.uri)
    chosen = [lake.config.table(name) for name in tables or sorted(lake.config.tables)]

    def job(table: TableConfig) -> RefreshReport:
        with progress_bar(f"refresh {table.name}") as progress:
            return refresh(lake, table, Settings(now_us(), memory_mb), full, progress)

    run_each(chosen, job, as_json)
