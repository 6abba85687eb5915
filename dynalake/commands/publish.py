"""`dynalake publish`: a lake's tables for engines that have none of our functions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, live_line, run_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from lake.config import TableConfig
    from lake.lake import Lake
    from queries.publish import Version
    from queries.scripts import Made

NAME = "publish"
EXAMPLE = "dynalake publish duckdb orders"


class Target(StrEnum):
    """Who reads what is published."""

    ATHENA = "athena"
    DUCKDB = "duckdb"
    SPARK = "spark"


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What a run did. `batch` is the batch of the log as of which the views are."""

    table: str
    batch: int
    touched: int
    tail_written: bool
    views: tuple[str, ...]
    queries: tuple[str, ...]
    left_out: tuple[str, ...]
    place: str
    conflicts: int


def run(
    context: typer.Context,
    target: Annotated[Target, typer.Argument(help="Who reads: athena, duckdb (its own command line) or spark.")],
    tables: Tables = None,
    database: Annotated[
        str | None, typer.Option(help="Athena: the Glue database of the views. [default: the lake's, and _views]")
    ] = None,
    workgroup: Annotated[str, typer.Option(help="Athena: the workgroup, also of the prepared statements.")] = "primary",
    output: Annotated[
        str | None, typer.Option(help="Athena: s3://BUCKET/PREFIX for results, where the workgroup has none.")
    ] = None,
    catalog: Annotated[str, typer.Option(help="Spark: the name of the lake's catalog in its session.")] = "dynalake",
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Make the tables, as of now, readable for Athena, DuckDB's command line or Spark. Run it behind compact."""
    from lake.lake import open_lake
    from queries.publish import publish_tail, publishable

    lake = open_lake(context.obj.uri)
    place, make = _target(lake, target, database, workgroup, output, catalog)
    chosen = [lake.config.table(name) for name in tables] if tables else publishable(lake)

    def job(table: TableConfig) -> PublishReport:
        with live_line(f"publish {table.name}"):
            version = publish_tail(lake, table, memory_mb)
            views, queries, left_out = make(version)
        return PublishReport(
            table.name, version.batch, version.touched, version.is_new, tuple(views), tuple(queries), tuple(left_out),
            place, version.conflicts,
        )  # fmt: skip

    run_each(chosen, job, as_json)


def _target(
    lake: Lake, target: Target, database: str | None, workgroup: str, output: str | None, catalog: str
) -> tuple[str, Callable[[Version], Made]]:
    """Where it is published, and how: refused before anything is written. Raises ConfigError."""
    from lake import layout

    if target is Target.ATHENA:
        from queries.athena import Place, publish_athena, ready, views_database

        place = Place(views_database(lake, database), workgroup, output)
        ready(place)
        return place.database, lambda version: publish_athena(lake, version, place)
    from queries.scripts import publish_duckdb, publish_spark

    if target is Target.DUCKDB:
        return lake.place(layout.VIEWS[target]), lambda version: publish_duckdb(lake, version)
    return lake.place(layout.VIEWS[target]), lambda version: publish_spark(lake, version, catalog)
