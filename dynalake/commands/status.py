"""`dynalake status`: how far a lake's tables are."""

from __future__ import annotations

import typer

from dynalake.console import AsJson, print_json, print_rows

NAME = "status"
EXAMPLE = "dynalake status --json"


def run(context: typer.Context, as_json: AsJson = False) -> None:
    """Show for each table its batches, changes, newest change, rows, tail, dead letters."""
    from lake.lake import open_lake
    from queries.status import table_status

    statuses = table_status(open_lake(context.obj.uri))
    if as_json:
        print_json(statuses)
    elif statuses:
        names = list(statuses[0])
        print_rows(["", *(str(status["table"]) for status in statuses)],
                   [(name.replace("_", " "), *(_text(s[name]) for s in statuses)) for name in names[1:]])  # fmt: skip
    else:
        print("no tables registered; next: dynalake add-table NAME --hash-key NAME:TYPE")


def _text(value: object) -> str:
    return f"{value:,}" if type(value) is int else "" if value is None else str(value)
