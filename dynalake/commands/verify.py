"""`dynalake verify`: the lake against the table itself."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import (
    AsJson,
    Memory,
    RcuMax,
    now_us,
    print_json,
    print_rows,
    progress_bar,
    seconds_of,
    show_error,
)
from dynalake.jobs import Alone, AsMetrics, Counts, Job, age_seconds, counted

if TYPE_CHECKING:
    from lake.config import TableConfig
    from lake.errors import LakeError
    from lake.lake import Lake
    from lake.proofs import Proof
    from proof.report import Report

NAME = "verify"
EXAMPLE = "dynalake verify orders"
WORKERS_MAX = 64
_REMEDIES = {
    "missing in the lake": "What the lake never saw: dynalake backfill {table}, or verify --repair",
    "state damaged": "The state disagrees with its log, which is right: dynalake refresh {table} --full",
    "log damaged": "The log has lost what the state was made of: dynalake verify {table} --repair",
    "column damaged": "Columns disagree with _item: dynalake refresh {table} --full",
    "differs": "What has not arrived: see whether compact runs, and dead letters; else verify --repair",
    "extra in the lake": "What was not seen to go: see whether compact runs, and dead letters; else verify --repair",
    "unproven": "What still changes: run verify again, or with a longer --wait",
}


def run(
    context: typer.Context,
    table: Annotated[str, typer.Argument(help="The table, by its name in the lake or in DynamoDB.")],
    wait: Annotated[str, typer.Option(help="How long changes may take to arrive: 90s, 15m, 1h; 0 judges now.")] = "15m",
    sample: Annotated[str | None, typer.Option(help="Look at a share of the items only, such as 1%.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs, and prove it again.")] = False,
    limit: Annotated[int, typer.Option(help="Differing items that are shown.", min=0)] = 20,
    workers: Annotated[int, typer.Option(help="Segments scanned at once.", min=1, max=WORKERS_MAX)] = 4,
    rcu_max: RcuMax = None,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
    is_alone: Alone = False,
    as_metrics: AsMetrics = False,
) -> None:
    """Hold the lake against the table, item by item, by a consistent Scan. Exit 1 where it is not equal.

    --sample reads that share of the table's segments, and of the lake's items by their keys: what is lost is found by
    chance only, at that share of the cost. --repair reads again what the log lacks or has wrong, and lands it (READ
    changes, and tombstones for what is gone); takes it in; makes a state that disagrees with a right log anew
    (refresh --full); and proves these items again. What was found is kept in the lake, for status.
    """
    from dynalake.repair import Findings, mend
    from lake.dynamodb import DynamoDB
    from lake.proofs import ITEMS_KEPT_MAX
    from proof.verify import Settings, verify

    wait_seconds, share = seconds_of(wait, "--wait"), _share(sample)
    job = Job(NAME, as_json, is_alone, as_metrics)
    lake, (config,) = job.opened(context.obj.uri, [table])
    dynamodb = DynamoDB(rcu_max=rcu_max)
    with job.on(lake, config) as counts:
        if counts is None:
            return
        with Findings() as findings, progress_bar(f"verify {config.name}", dynamodb.pace.standing) as progress:
            settings = Settings(
                wait_seconds, max(limit, ITEMS_KEPT_MAX), workers, memory_mb, sample=share,
                on_finding=findings.add, progress=progress, on_wait=_tell_waiting,
            )  # fmt: skip
            report = verify(lake, config, dynamodb, settings)
            mended = None
            if repair and not report.is_proven:
                mended = mend(lake, config, dynamodb, settings, findings, now_us())
        _tell_of_another_table(lake, config, report)
        if mended is not None:
            if not (as_json or as_metrics):
                _print(report, limit)
            print(mended.told, file=sys.stderr)
            report = mended.proof_of(report)
        keep(lake, config, report)
        if as_metrics:
            counts.update(_measured(lake, config, report))
    if not as_metrics:  # else the line is all there is on stdout
        tell(config, report, as_json, limit)
    elif not report.is_proven:
        raise _fault(config, report)


def _measured(lake: Lake, table: TableConfig, report: Report) -> Counts:
    """That something differs is what verify is for: the run has succeeded all the same."""
    proof = _last_proof(lake, table)
    through_us = proof.verified_through_us if proof is not None else None
    return counted(report, "differing", "unproven", "items_in_table") | age_seconds("VerifiedThroughAge", through_us)


def _share(text: str | None) -> float | None:
    """`1%` or `0.5 %` as a share."""
    if text is None:
        return None
    try:
        share = float(text.strip().removesuffix("%")) / 100 if text.strip().endswith("%") else 0.0
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise typer.BadParameter(f"expected a share such as 1% or 0.1%, found {text!r}", param_hint="--sample")
    return share


def _tell_waiting(pending: int, seconds_left: int) -> None:
    if sys.stderr.isatty():
        print(f"waiting for {pending:,} items that may be on their way, {seconds_left:,} s at most", file=sys.stderr)


def tell(table: TableConfig, report: Report, as_json: bool = False, limit: int = 20) -> None:
    """Prints what was found. Raises LakeError where the lake is not proved equal to the table."""
    if as_json:
        print_json(asdict(replace(report, differences=report.differences[:limit])))
    else:
        _print(report, limit)
    if not report.is_proven:
        raise _fault(table, report)
    if as_json:
        return
    if report.sample is not None:
        print(f"all {report.compared:,} items of a sample of {report.sample:.4g} are equal to the table's")
    else:
        count, through = report.items_in_table, report.verified_through
        print(f"verified: all {count:,} items are equal to the table's, through {through}")


def _print(report: Report, limit: int) -> None:
    names = ["table", "items_in_table", "items_in_lake", "items_in_tail", "compared", "equal", "proven", "differing",
             "unproven", "waited_seconds", "verified_through"]  # fmt: skip
    print_rows(names, [[getattr(report, name) for name in names]])
    rows = [
        (difference.item_key, difference.kind, attribute.name, attribute.table, attribute.lake)
        for difference in report.differences[:limit]
        for attribute in difference.attributes
    ]
    if rows:
        print_rows(["item", "kind", "attribute", "in the table", "in the lake"], rows)
    left = report.differing + report.unproven - min(limit, len(report.differences))
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


def _tell_of_another_table(lake: Lake, table: TableConfig, report: Report) -> None:
    """A table deleted and made anew under its name: most of what is found follows from it."""
    before = _last_proof(lake, table)
    if before is not None and before.table_id and report.table_id and before.table_id != report.table_id:
        print(f"dynalake: {table.dynamodb_name} is another table than verify saw last, made anew under its name: "
              "what the old one held and this one does not is extra in the lake", file=sys.stderr)  # fmt: skip


def _last_proof(lake: Lake, table: TableConfig) -> Proof | None:
    """None also where it cannot be read: what is found now stands without it, and `keep` tells of it."""
    from lake.errors import LakeError
    from lake.proofs import last_proof

    try:
        return last_proof(lake, table.name)
    except LakeError:
        return None


def keep(lake: Lake, table: TableConfig, report: Report) -> None:
    """Keeps what was found in the lake; where that cannot be written to, the result stands all the same."""
    from lake.errors import LakeError
    from lake.proofs import Proof, keep_proof, last_proof

    try:
        before = last_proof(lake, table.name)
        through_us = [before.verified_through_us] if before is not None else []
        if report.verified_through is not None:
            through = datetime.fromisoformat(report.verified_through)
            through_us.append((through - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1))
        keep_proof(
            lake, table.name,
            Proof(
                at_us=now_us(), verified_through_us=max((us for us in through_us if us is not None), default=None),
                items_in_table=report.items_in_table, differing=report.differing, unproven=report.unproven,
                counts={str(kind): count for kind, count in report.counts.items()}, sample=report.sample,
                table_id=report.table_id, items={one.item_key: one.kind for one in report.differences},
            ),
        )  # fmt: skip
    except LakeError as fault:
        show_error(fault)
