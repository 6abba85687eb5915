"""`dynalake report`: a page to look at instead of reading tables of numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, Memory, Tables, now_us, print_json, progress_bar

if TYPE_CHECKING:
    from lake.config import TableConfig

NAME = "report"
EXAMPLE = "dynalake report orders --output orders.html --no-keys"
OUTPUT = "report.html"


def run(
    context: typer.Context,
    tables: Tables = None,
    output: Annotated[
        str | None,
        typer.Option(help="The page, a file or s3://…; report.html unless --json is given.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option(help="Days before a log's newest change that are counted.", min=1)] = 30,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Leave the values of hot keys out.")] = False,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page on the lake's tables: freshness, throughput, lateness, hot keys, columns, files, proof.

    It needs nothing but itself: no network, no script to be read. Of items it holds the keys that have most changes,
    which --no-keys leaves out; think of it before you send it to others.
    """
    from dynalake.report.advice import advice_for
    from dynalake.report.page import render
    from lake.errors import LakeError
    from lake.lake import open_lake
    from lake.store import put
    from queries.report import gather

    lake = open_lake(context.obj.uri)
    chosen: dict[str, TableConfig] = {table.name: table for table in lake.config.chosen(tables)}
    with progress_bar("report") as told:
        facts = gather(
            lake, list(chosen.values()), now_us(), days=days, keys=not no_keys, memory_mb=memory_mb, told=told
        )  # fmt: skip
    place = output or (None if as_json else OUTPUT)
    if place is not None:
        try:
            put(place, render(facts).encode())
        except OSError as fault:
            raise LakeError(
                "write report", place, expected="a place that may be written to", got=fault.strerror or str(fault),
                remedy="Give another --output",
            ) from fault  # fmt: skip
    if as_json:
        told_of = [{**asdict(one), "advice": [asdict(a) for a in advice_for(facts, one)]} for one in facts.tables]
        print_json({**asdict(facts), "tables": told_of})
    else:
        print(f"wrote {place}: open it in a browser")
