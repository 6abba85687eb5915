"""`dynalake sql`: DuckDB over the lake."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from dynalake.console import Memory, csv_value, plain_value, print_json, print_rows

NAME = "sql"
EXAMPLE = 'dynalake sql "SELECT count(*) FROM orders"'
MESSAGE_MAX = 600
ROWS_MAX = 1_000  # a terminal's patience; csv and json give all


def run(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="SQL over TABLE, TABLE_changes, TABLE_as_of(ts), TABLE_history(key…).")],
    form: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    memory_mb: Memory = 4096,
) -> None:
    """Run a query. `orders` is the current state with the log's tail; tables of this lake: see status."""
    import duckdb

    from lake.errors import LakeError
    from lake.lake import open_lake
    from lake.layout import unique_name
    from queries.connect import connect

    if form not in ("table", "csv", "json"):
        raise typer.BadParameter(f"expected table, csv or json, found {form!r}", param_hint="--format")
    con = connect(open_lake(context.obj.uri), memory_mb)
    try:
        result = con.execute(query)
        if result is None:  # whatever the types say
            raise LakeError("run query", repr(query), expected="a statement", got="none")
        names = [column[0] for column in result.description or ()]
        if form == "json":
            taken: set[str] = set()
            for n, name in enumerate(names):  # of two columns of one name both are shown
                names[n] = unique_name(name, taken)
                taken.add(names[n])
            print_json([dict(zip(names, map(plain_value, row), strict=True)) for row in result.fetchall()])
        elif form == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(names)
            while rows := result.fetchmany(10_000):
                writer.writerows(map(csv_value, row) for row in rows)
        else:
            rows = result.fetchmany(ROWS_MAX + 1)
            print_rows(names, rows[:ROWS_MAX])
            if len(rows) > ROWS_MAX:
                print(f"first {ROWS_MAX:,} rows; --format csv gives all", file=sys.stderr)
    except duckdb.Error as fault:
        is_about_names = isinstance(fault, duckdb.CatalogException | duckdb.BinderException)
        remedy = "See the tables: dynalake status" if is_about_names else ""
        raise LakeError("run query", query, got=str(fault)[:MESSAGE_MAX], remedy=remedy) from fault
    finally:
        con.close()
