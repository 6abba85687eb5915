"""dynalake: the analytics backbone for Amazon DynamoDB. `connect()` opens a lake for queries."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from queries.connect import LakeConnection

__all__ = ["connect"]


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
