"""`dynalake verify`: the lake against the table itself."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, Memory, print_json, print_rows, progress_bar, seconds_of

if TYPE_CHECKING:
    from lake.config import TableConfig
    from lake.errors import LakeError
    from proof.report import Report

NAME = "verify"
EXAMPLE = "dynalake verify orders"
WORKERS_MAX = 64
_REMEDIES = {
    "missing in the lake": "What the lake never saw: dynalake backfill {table}",
    "state damaged": "The state disagrees with its log: dynalake refresh {table} --full",
    "column damaged": "Columns disagree with _item: dynalake refresh {table} --full",
    "differs": "What has not arrived: see whether compact runs, and dead letters",
    "extra in the lake": "Deletes that have not arrived: see whether compact runs, and dead letters",
    "unproven": "What still changes: run verify again, or with a longer --wait",
}


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, by its name in the lake or in DynamoDB.")],
    wait: Annotated[str, typer.Option(help="How long changes may take to arrive: 90s, 15m, 1h; 0 judges now.")] = "15m",
    limit: Annotated[int, typer.Option(help="Differing items that are shown.", min=0)] = 20,
    workers: Annotated[int, typer.Option(help="Segments scanned at once.", min=1, max=WORKERS_MAX)] = 4,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Hold the lake against the table, item by item, by a consistent Scan. Exit 1 where it is not equal."""
    wait_seconds = seconds_of(wait, "--wait")
    from lake.dynamodb import DynamoDB
    from lake.lake import open_lake
    from proof.verify import Settings, verify

    lake = open_lake(context.obj.uri)
    config = lake.config.table(table)
    with progress_bar(f"verify {config.name}") as progress:
        settings = Settings(wait_seconds, limit, workers, memory_mb, progress=progress, on_wait=_tell_waiting)
        report = verify(lake, config, DynamoDB(), settings)
    tell(config, report, as_json)


def _tell_waiting(pending: int, seconds_left: int) -> None:
    if sys.stderr.isatty():
        print(f"waiting for {pending:,} items that may be on their way, {seconds_left:,} s at most", file=sys.stderr)


def tell(table: TableConfig, report: Report, as_json: bool = False) -> None:
    """Prints what was found. Raises LakeError where the lake is not proved equal to the table."""
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)
    if not report.is_proven:
        raise _fault(table, report)
    if not as_json:
        print(
            f"verified: all {report.items_in_table:,} items are equal to the table's, through {report.verified_through}"
        )


def _print(report: Report) -> None:
    names = ["table", "items_in_table", "items_in_lake", "compared", "equal", "proven", "differing", "unproven",
             "waited_seconds", "verified_through"]  # fmt: skip
    print_rows(names, [[getattr(report, name) for name in names]])
    rows = [
        (difference.item_key, difference.kind, attribute.name, attribute.table, attribute.lake)
        for difference in report.differences
        for attribute in difference.attributes
    ]
    if rows:
        print_rows(["item", "kind", "attribute", "in the table", "in the lake"], rows)
    left = report.differing + report.unproven - len(report.differences)
    if left > 0:
        print(f"and {left:,} more items; --limit shows them")


def _fault(table: TableConfig, report: Report) -> LakeError:
    from lake.errors import LakeError
    from proof.verify import summary

    foremost = max(report.counts, key=lambda kind: report.counts[kind])
    return LakeError(
        "verify", table.name, expected=f"{report.items_in_table:,} items as in the table",
        got=summary(report.counts), remedy=_REMEDIES[foremost].format(table=table.dynamodb_name),
    )  # fmt: skip
