"""SQL of the views."""

from __future__ import annotations

from collections.abc import Sequence

from lake.columns import LIVES, Column
from lake.config import TableConfig
from lake.current import IS_WINNER, latest_sql, winner_columns
from lake.engine import CHANGE_STRUCT
from lake.keys import KeyAttribute
from lake.projection import projected
from lake.sql import identifier, item_key_sql
from lake.state import own_columns


def as_of(table: TableConfig, columns: Sequence[Column], past: str) -> str:
    winners = f"""(FROM (SELECT {winner_columns(table)} FROM {past} l
      SEMI JOIN ({latest_sql(past, table.surface)}) n ON {IS_WINNER}) WHERE {LIVES})"""
    order = [column.name for column in columns] + list(own_columns(table))
    return f"""SELECT {", ".join(map(identifier, order))}
      FROM ({projected(winners, columns, {c.attribute for c in columns})})"""


def history(table: TableConfig, changes: str) -> tuple[list[str], str]:
    names = [f"key_{n}" for n, _ in enumerate(table.keys.attributes)]
    parts = [_key_argument(a, name) for a, name in zip(table.keys.attributes, names, strict=True)]
    item = f"(SELECT * FROM {changes} WHERE item_key = {item_key_sql(table.keys, parts)})"
    return (
        names,
        f"""SELECT * FROM {item} ORDER BY list_position(
        (SELECT in_order_{table.surface}(list({CHANGE_STRUCT})) FROM {item}), event_id)""",
    )


def _key_argument(attribute: KeyAttribute, name: str) -> str:
    """SQL for the canonical text of a key given in a query: B in base64, N as a number or text."""
    return f"number(CAST({name} AS VARCHAR))" if attribute.kind == "N" else f"CAST({name} AS VARCHAR)"
