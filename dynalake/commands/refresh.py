"""`dynalake refresh`: the change log into the current state."""

from __future__ import annotations

from typing import Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, print_reports, progress_bar

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
    from compaction.refresh import refresh
    from compaction.settings import Settings
    from lake.lake import open_lake

    lake = open_lake(context.obj.uri)
    chosen = [lake.config.table(name) for name in tables or sorted(lake.config.tables)]
    reports = []
    for table in chosen:
        with progress_bar(f"refresh {table.name}") as progress:
            reports.append(refresh(lake, table, Settings(now_us(), memory_mb), full, progress))
    print_reports(reports, as_json)
