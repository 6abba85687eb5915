"""The SQL of what is published: views and queries with parameters for one version of a table, for one engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lake import layout
from lake.columns import IS_LIVE
from lake.sql import identifier
from lake.state import own_columns
from queries.publish import Version

Dialect = Literal["athena", "duckdb", "spark"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What each of the three tables is called in a FROM clause."""

    state: str
    tail: str
    log: str


def views_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, str]:
    if dialect == "spark":
        return {name: sql.replace('"', "`") for name, sql in views_of(version, sources, "duckdb").items()}
    names = [c.name for c in version.columns] + list(own_columns(version.table))
    present = set(version.state.schema().column_names)
    state = ", ".join(f"s.{identifier(n)}" if n in present else f"NULL AS {identifier(n)}" for n in names)
    tail = ", ".join(identifier(n) for n in names)
    return {
        version.table.name: f"SELECT {state} FROM {sources.state} AS s WHERE NOT EXISTS "
        f"(SELECT 1 FROM {sources.tail} AS t WHERE t._item_key = s._item_key) "
        f"UNION ALL SELECT {tail} FROM {sources.tail} WHERE {IS_LIVE}",
        layout.log_table(version.table.name): f"SELECT * FROM {sources.log}",
    }


def queries_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, str]:
    """With `?` for each parameter, in their order."""
    return {f"{version.table.name}_history": f"SELECT * FROM {sources.log} WHERE item_key = ?"}
