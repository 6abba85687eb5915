"""dynalake: the analytics backbone for Amazon DynamoDB. `connect()` opens a lake for queries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["connect"]


def connect(lake: str | os.PathLike[str], *, memory_mb: int = 4096) -> DuckDBPyConnection:
    """A DuckDB connection with the lake's tables, as of now.

    For a table `orders` there are `orders` (current state, fresh), `orders_changes` (every change),
    `orders_as_of(ts)` and `orders_history(key…)`.

        >>> con = dynalake.connect("lake")
        >>> con.sql("SELECT count(*) FROM orders").fetchall()

    Raises lake.errors.LakeError where there is no lake, or one that cannot be read.
    """
    from lake.lake import open_lake
    from queries.connect import connect as connect_lake

    return connect_lake(open_lake(lake), memory_mb)
