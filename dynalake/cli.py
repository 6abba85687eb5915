"""The command line: `dynalake [--lake URI] COMMAND`."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from dynalake.commands import (
    add_table,
    backfill,
    compact,
    consume,
    dead_letters,
    demo,
    doctor,
    explain,
    gaps,
    infer_entities,
    init,
    publish,
    redrive,
    refresh,
    report,
    size,
    sql,
    status,
    verify,
    watch,
)
from dynalake.console import Lake, show_error
from lake.errors import LakeError

app = typer.Typer(
    name="dynalake",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MODULES = (
    init, add_table, consume, backfill, compact, refresh, publish, watch, sql, verify, gaps, explain, status, report,
    dead_letters, redrive, doctor, infer_entities, size, demo,
)  # fmt: skip
for module in MODULES:
    app.command(name=module.NAME, epilog=f"Example: {module.EXAMPLE}")(module.run)


@app.callback()
def _lake(
    context: typer.Context,
    lake: Annotated[str, typer.Option(envvar="DYNALAKE_LAKE", help="A folder, or s3://BUCKET/PREFIX.")] = "lake",
) -> None:
    """The analytics backbone for Amazon DynamoDB: an exact change log and current state, in Iceberg."""
    context.obj = Lake(lake)


def main() -> None:
    """Runs a command: exit 0, 1 for a fault (one line on stderr), 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding does not have is written out
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a reader that has gone is told of; not when Python ends
    except LakeError as fault:
        show_error(fault)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has gone: what is left of it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as fault:
        show_error(
            LakeError("run", " ".join(sys.argv[1:3]), got=str(fault), remedy="See to disk space and permissions")
        )
        sys.exit(1)
    except RuntimeError as fault:
        if "interrupted" not in str(fault).lower():
            raise
        sys.exit(130)  # Ctrl-C within DuckDB


if __name__ == "__main__":
    main()
