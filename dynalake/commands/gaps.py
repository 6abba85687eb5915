"""`dynalake gaps`: holes in the history, by the image chains of the change log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, Memory, in_words, now_us, print_json, print_rows, progress_bar, seconds_of

if TYPE_CHECKING:
    from ingest.reread import RereadReport
    from lake.config import TableConfig
    from lake.errors import LakeError
    from lake.lake import Lake
    from proof.gaps import GapsReport, Repair

NAME = "gaps"
EXAMPLE = "dynalake gaps orders --repair"


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, by its name in the lake or in DynamoDB.")],
    lateness: Annotated[
        str, typer.Option(help="How late changes may arrive: younger ones are not judged. 30m, 1h, 1d; 0 judges all.")
    ] = "1h",
    repair: Annotated[
        bool, typer.Option("--repair", help="Read items with an unrepaired hole again; compact takes it in.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show repaired holes too.")] = False,
    limit: Annotated[int, typer.Option(help="Holes that are shown.", min=0)] = 20,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Find changes that never reached the lake, by what each change found and the one before it left of its item.

    Exit 1 where a hole is not repaired. A lost change that is the last of its item shows only in verify.
    """
    lateness_seconds = seconds_of(lateness, "--lateness")
    from lake.lake import open_lake
    from proof.gaps import Settings, find_gaps

    lake = open_lake(context.obj.uri)
    config = lake.config.table(table)
    reread: list[RereadReport] = []
    settings = Settings(now_us(), lateness_seconds, limit, show_all, memory_mb)
    report = find_gaps(lake, config, settings, _repair(lake, config, reread) if repair else None)
    if as_json:
        print_json(asdict(report) | ({"reread": asdict(reread[0]) if reread else None} if repair else {}))
    else:
        _print(report, reread)
    if report.unrepaired and not reread:
        raise _fault(config, report)


def _repair(lake: Lake, table: TableConfig, done: list[RereadReport]) -> Repair:
    """Reads items again by their keys, behind the table's masks."""

    def repair(item_keys: Iterator[str], total: int) -> None:
        from ingest.reread import reread
        from lake.dynamodb import DynamoDB
        from lake.masked import masked_source

        source = masked_source(DynamoDB(), lake, table)
        source.describe(table.dynamodb_name).require_keys("repair", table)
        with progress_bar(f"repair {table.name}") as progress:
            done.append(reread(lake, table, source, item_keys, progress, total))

    return repair


def _print(report: GapsReport, reread: list[RereadReport]) -> None:
    names = ["table", "changes", "judged_through", "holes", "repaired", "unrepaired", "items", "seams", "untold"]
    print_rows(names, [[getattr(report, name) for name in names]])
    for gap in report.gaps:
        state = " (repaired)" if gap.is_repaired else ""
        print(f"\n{gap.item_key}: {gap.cause}{state}")
        for name, change in (("after", gap.earlier), ("before", gap.later)):
            print(f"  {name:6} {change.time} {change.op} {change.event_id} {change.raw_object}")
        if gap.attributes:
            print_rows(["attribute", "left", "found"], [(one.name, one.left, one.found) for one in gap.attributes])
    shown = sum(not gap.is_repaired for gap in report.gaps)
    if report.unrepaired > shown:
        print(f"and {report.unrepaired - shown:,} more holes; --limit shows them")
    for one in reread:
        print(f"repaired: {in_words(asdict(one), ('reads', 'tombstones'))} landed; next: dynalake compact")
    if not report.unrepaired:
        print(
            f"no hole that is not repaired, through {report.judged_through}" if report.changes else "nothing to judge"
        )


def _fault(table: TableConfig, report: GapsReport) -> LakeError:
    from lake.errors import LakeError

    causes = ", ".join(f"{count:,} {cause}" for cause, count in (report.causes or {}).items())
    return LakeError(
        "find gaps in", table.name, expected="image chains without a hole that is not repaired",
        got=f"{report.unrepaired:,} in {report.items:,} items: {causes}",
        remedy=f"dynalake gaps {table.dynamodb_name} --repair, then compact",
    )  # fmt: skip
