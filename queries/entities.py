"""Views of entities: the rows of a current state that match, with the columns that their items have."""

from __future__ import annotations

from collections.abc import Sequence

from duckdb import DuckDBPyConnection

from lake.columns import ITEM, ITEM_KEY, Column
from lake.entities import Entity, condition_sql
from lake.keys import KeySchema
from lake.layout import sql_name, unique_name
from lake.sql import identifier, literal, pointer

OWN = (ITEM_KEY, ITEM, "_created_at_us", "_op", "_rescued", "_expired_at")  # dynalake's columns in such a view


def entity_columns(
    con: DuckDBPyConnection, relation: str, entity: Entity, keys: KeySchema, columns: Sequence[Column]
) -> list[Column]:
    """The columns of an entity's view but for dynalake's own: those of the key, then its attributes'.

    These are the declared ones in their order; else those that any matching row of `relation` (SQL, with `columns`)
    has a value of, be it in `_rescued`: one pass over it.
    """
    by_attribute = {column.attribute: column for column in columns}
    own = [by_attribute[key.name] for key in keys.attributes]
    if entity.attributes is None:
        held = _held(con, relation, entity, columns)
        return own + [column for column in columns if column.attribute in held and column not in own]
    taken = {*OWN, *(column.name for column in columns)}
    for attribute in entity.attributes:
        column = by_attribute.get(attribute)
        if column is None:  # no item has it yet, or there are too many columns: its text, then
            column = Column(attribute, unique_name(sql_name(attribute), taken), "S")
            taken.add(column.name)
        if column not in own:
            own.append(column)
    return own


def _held(con: DuckDBPyConnection, relation: str, entity: Entity, columns: Sequence[Column]) -> set[str]:
    """The attributes with a column that matching rows have."""
    where = condition_sql(entity.where, columns)
    counts = ", ".join(f"count({identifier(column.name)})" for column in columns)
    row = con.execute(f"SELECT {counts}, count(_rescued) FROM {relation} WHERE {where}").fetchone()
    assert row is not None
    held = {column.attribute for column, count in zip(columns, row[:-1], strict=True) if count}
    if row[-1]:
        names = f"SELECT DISTINCT unnest(json_keys(_rescued)) FROM {relation} WHERE _rescued IS NOT NULL AND {where}"
        held |= {name for (name,) in con.execute(names).fetchall()}
    return held


def entity_sql(entity: Entity, columns: Sequence[Column], own: Sequence[Column], relation: str) -> str:
    """SQL for the rows of `relation` (SQL, with `columns`) that match: `own`, then dynalake's own columns."""
    present = {column.name for column in columns}
    selected = [
        identifier(one.name) if one.name in present else f"{_text(one)} AS {identifier(one.name)}" for one in own
    ]
    selected += map(identifier, OWN)
    return f"SELECT {', '.join(selected)} FROM {relation} WHERE {condition_sql(entity.where, columns)}"


def _text(column: Column) -> str:
    """SQL for the text of an attribute without a column: of a string, or a number."""
    kinds = (f"json_extract_string({ITEM}, {literal(pointer(column.attribute, kind))})" for kind in ("S", "N"))
    return f"coalesce({', '.join(kinds)})"
