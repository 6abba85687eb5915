"""`dynalake init`: creates a lake."""

from __future__ import annotations

from typing import Annotated

import typer

NAME = "init"
EXAMPLE = "dynalake --lake ./lake init"


def run(
    context: typer.Context,
    database: Annotated[
        str | None, typer.Option(help="On S3: the Glue database for its tables; named after the place unless given.")
    ] = None,
) -> None:
    """Create the lake in a new or empty folder, or under an S3 prefix; one that is there already is left as it is."""
    from lake.lake import create_lake

    lake = create_lake(context.obj.uri, database)
    print(f"lake at {lake.uri}; next: dynalake --lake {lake.uri} add-table NAME --hash-key NAME:TYPE")
