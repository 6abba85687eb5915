"""`dynalake init`: creates a lake."""

from __future__ import annotations

import typer

NAME = "init"
EXAMPLE = "dynalake --lake ./lake init"


def run(context: typer.Context) -> None:
    """Create the lake in a new or empty folder; one that is there already is left as it is."""
    from lake.lake import create_lake

    lake = create_lake(context.obj.uri)
    print(f"lake at {lake.root}; next: dynalake --lake {lake.root} add-table NAME --hash-key NAME:TYPE")
