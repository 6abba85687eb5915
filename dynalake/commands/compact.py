"""`dynalake compact`: raw objects into the change log."""

from __future__ import annotations

from typing import Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, progress_bar, run_each

NAME = "compact"
EXAMPLE = "dynalake compact orders"


def run(
    context: typer.Context,
    tables: Tables = None,
    raw: Annotated[str | None, typer.Option(help="Another place of raw objects: a folder or s3://…")] = None,
    reread: Annotated[bool, typer.Option(help="Ignore the ledger and read every object again.")] = False,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Take new raw objects into the change log. Run it as often as you like, also twice at once."""
    from compaction.compact import CompactReport, compact
    from compaction.settings import Settings
    from lake.config import TableConfig
    from lake.lake import open_lake

    lake = open_lake(context.obj.uri)
    chosen = [lake.config.table(name) for name in tables or sorted(lake.config.tables)]

    def job(table: TableConfig) -> CompactReport:
        with progress_bar(f"compact {table.name}") as progress:
            return compact(lake, table, Settings(now_us(), memory_mb), raw, reread, progress)

    run_each(chosen, job, as_json)
