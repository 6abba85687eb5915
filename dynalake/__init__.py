"""dynalake: the analytics backbone for Amazon DynamoDB.

`connect()` opens a lake for queries in DuckDB, `athena()` asks Athena.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from pandas import DataFrame

    from queries.connect import LakeConnection

__all__ = ["athena", "connect"]


def connect(
    lake: str | os.PathLike[str],
    *,
    as_of: datetime | str | None = None,
    memory_mb: int = 4096,
    threads: int | None = None,
) -> LakeConnection:
    """A DuckDB connection with the lake's tables, read-only and pinned to the version of now.

    For a table `orders` there are `orders` (current state, fresh), `orders_changes` (every change), `orders_as_of(ts)`,
    `orders_history(key…)`, `orders_transitions(attribute)`, `orders_diff(t1, t2)`, and a view for each entity.
    `refresh()` moves on to the newest version. With `as_of`, an instant (in UTC where it names no zone), `orders` has
    the items of then, and `orders_changes` what had happened. `memory_mb` bounds the whole process; the rest spills.

        >>> con = dynalake.connect("lake")
        >>> con.sql("SELECT count(*) FROM orders").fetchall()
        >>> con.sql("FROM orders").df()  # pandas; .pl() is Polars, .to_arrow_table() Arrow

    Raises lake.errors.LakeError where there is no lake, or one that cannot be read.
    """
    from lake.lake import open_lake
    from queries.connect import connect as connect_lake

    return connect_lake(open_lake(lake), memory_mb, threads, as_of)


def athena(
    query: str,
    *,
    lake: str | os.PathLike[str] | None = None,
    database: str | None = None,
    params: Mapping[str, Any] | None = None,
    workgroup: str = "primary",
    output: str | None = None,
) -> DataFrame:
    """The rows of a query that Athena runs over published views, as a pandas DataFrame.

    The views are those of `dynalake publish athena`, as of its last run: in the `database` given, or in that of the
    `lake`. `params` go into the query for `:name`. `output` is where results go, `s3://bucket/prefix`, where the
    workgroup has no place for them.

        >>> dynalake.athena("SELECT count(*) FROM orders", lake="s3://bucket/lake")
        >>> dynalake.athena("EXECUTE orders_as_of USING :at", lake="s3://bucket/lake",
        ...                 params={"at": datetime(2026, 1, 1)})

    Needs `pip install 'dynalake[athena]'`. Raises lake.errors.LakeError.
    """
    from lake.errors import ConfigError
    from lake.lake import open_lake
    from queries.athena import Place, read, views_database

    if lake is not None:
        database = views_database(open_lake(lake), database)
    if database is None:
        raise ConfigError("query Athena", "", expected="a lake or a database", got="neither")
    return read(query, Place(database, workgroup, output), params)
