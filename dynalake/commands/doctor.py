"""`dynalake doctor`: whether an account is set up as the pipeline needs it, and what to do where it is not."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.commands.consume import LEASE_TABLE
from dynalake.console import AsJson, Tables, live_line, now_us, print_json, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynalake.doctor.finding import Finding

NAME = "doctor"
EXAMPLE = "dynalake doctor orders"


def run(
    context: typer.Context,
    tables: Tables = None,
    role: Annotated[
        str | None, typer.Option(help="The ARN of the role whose rights are looked at; else your own.")
    ] = None,
    lease_table: Annotated[str, typer.Option(help="The DynamoDB table of the leases of consume.")] = LEASE_TABLE,
    as_json: AsJson = False,
) -> None:
    """Check what is set up around the lake, and say what to do. Exit 1 where something is wrong.

    Tables, streams, Firehoses, Lambda functions, queues, the bucket, alarms, rights. It only reads; what it may not
    read is unknown.
    """
    from dynalake.doctor.examination import examine
    from dynalake.doctor.finding import worst_first
    from dynalake.doctor.permissions import role_of
    from lake.errors import LakeError
    from lake.lake import open_lake

    if role is not None and role_of(role) is None:
        raise typer.BadParameter(f"expected the ARN of a role or user, found {role!r}", param_hint="--role")
    lake = open_lake(context.obj.uri)
    chosen = lake.config.chosen(tables)
    with live_line("looking at the account"):
        findings = worst_first(examine(lake, chosen, now_us(), lease_table, role))
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        _print(findings)
    wrong = [one for one in findings if one.status == "wrong"]
    if wrong:
        raise LakeError(
            "doctor", lake.uri, expected="everything as the pipeline needs it",
            got=f"{len(wrong)} of {len(findings)} checks wrong, first: {wrong[0].check} {wrong[0].table}".rstrip(),
            remedy="Do what is said beside each, and run it again",
        )  # fmt: skip


def _print(findings: Sequence[Finding]) -> None:
    """What is not ok as a table, or on a terminal, where columns would cut commands up, line by line; of the rest, what
    was checked.
    """
    rows = [(one.status, one.table, one.check, one.found, one.do) for one in findings if one.status != "ok"]
    if sys.stdout.isatty():
        for status, table, check, found, do in rows:
            print(f"{status:<8} {' '.join(filter(None, (table, check)))}: {found}\n         {do}\n")
    elif rows:
        print_rows(["", "table", "check", "found", "do"], rows)
    checked = Counter(one.check for one in findings if one.status == "ok")
    if checked:
        print("ok: " + ", ".join(check if n == 1 else f"{check} ({n})" for check, n in checked.items()))
