"""The SQL of the views and macros of a table, but for the fresh one: pure text over SQL for the rows of its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lake.columns import LIVES, Column
from lake.config import TableConfig
from lake.current import IS_WINNER, latest_sql, winner_columns
from lake.engine import CHANGE_STRUCT
from lake.keys import KeyAttribute
from lake.layout import unique_name
from lake.log import key_columns
from lake.projection import projected, text_pointer, typed
from lake.sql import identifier, item_key_sql, literal, paths
from lake.state import own_columns

# Beside the item's key. Names within a query that no column of a table may have hold a space: none of theirs does.
_DIFFERENCE = {
    "difference": "VARCHAR", "changed_attributes": "VARCHAR[]", "before": "VARCHAR", "after": "VARCHAR",
}  # fmt: skip
_TRANSITION = {
    "from_value": "VARCHAR", "to_value": "VARCHAR", "changed_at": "TIMESTAMP", "lasted": "INTERVAL", "op": "VARCHAR",
    "event_id": "VARCHAR",
}  # fmt: skip


def changes(columns: Sequence[Column], log: str, log_columns: Sequence[str]) -> str:
    """The log, and beside its own columns what each attribute was before and after the change, typed as in the state.

    Each value is taken from its image by itself: a query pays for those that it names.
    """
    texts, values = [], []
    for n, (prefix, column, name) in enumerate(change_columns(columns, log_columns)):
        place = literal(text_pointer(column))
        text = identifier(f"value {n}")
        texts.append(f"json_extract_string({prefix}_image, {place}) AS {text}")
        values.append(f"{typed(column, text)} AS {identifier(name)}")
    ours = ", ".join(map(identifier, log_columns))
    return f"SELECT {', '.join([ours, *values])} FROM (SELECT {', '.join([ours, *texts])} FROM {log})"


def change_columns(columns: Sequence[Column], log_columns: Sequence[str]) -> Iterator[tuple[str, Column, str]]:
    """For each typed column of `orders_changes`: `new` or `old`, the column of the state, and its name."""
    taken = set(log_columns)
    for prefix in ("new", "old"):
        for column in columns:
            name = unique_name(f"{prefix}_{column.name}", taken)
            taken.add(name)
            yield prefix, column, name


def as_of(table: TableConfig, columns: Sequence[Column], past: str) -> str:
    """The items that are there after the changes of `past` (SQL for rows of a log), with the columns of `orders`."""
    order = [column.name for column in columns] + list(own_columns(table))
    return f"""SELECT {", ".join(map(identifier, order))}
      FROM ({projected(_living(table, past), columns, {c.attribute for c in columns})})"""


def _living(table: TableConfig, past: str) -> str:
    return f"""(FROM (SELECT {winner_columns(table)} FROM {past} l
      SEMI JOIN ({latest_sql(past, table.surface)}) n ON {IS_WINNER}) WHERE {LIVES})"""


def diff(table: TableConfig, columns: Sequence[Column], first: str, second: str) -> str:
    """What is another after the changes of `second` than after those of `first`.

    `columns` are those of the key. Images that are the same but for their spelling are no difference.
    """
    keys = ", ".join(
        f"{identifier(column.name)} AS {identifier(name)}"
        for column, name in zip(columns, _beside(_DIFFERENCE, [column.name for column in columns]), strict=True)
    )
    rows = f"""(
      SELECT *, coalesce("the after", "the before") AS _item,
        CASE WHEN "the before" IS NULL THEN 'added' WHEN "the after" IS NULL THEN 'removed' ELSE 'changed'
          END AS "the difference",
        CASE WHEN "the before" IS NULL THEN list_sort(json_keys("the after"))
          WHEN "the after" IS NULL THEN list_sort(json_keys("the before"))
          WHEN "the before" <> "the after" THEN changed_attributes("the before", "the after")
          ELSE [] END AS "the attributes"
      FROM (SELECT _item_key, _item AS "the before" FROM {_living(table, first)})
      FULL JOIN (SELECT _item_key, _item AS "the after" FROM {_living(table, second)}) USING (_item_key))"""
    return f"""SELECT _item_key, {keys}, "the difference" AS difference, "the attributes" AS changed_attributes,
        "the before" AS "before", "the after" AS "after"
      FROM ({projected(rows, columns, ())}) WHERE len("the attributes") > 0"""


def _beside(ours: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    """Names for the columns of the key beside columns of ours, which keep theirs."""
    names: list[str] = []
    for key in keys:
        names.append(unique_name(key, {"_item_key", *ours, *names}))
    return names


def history(table: TableConfig, log: str) -> tuple[list[str], str]:
    """The parameters of a macro for all changes of one item in their order, and its SQL."""
    names = [f"key_{n}" for n, _ in enumerate(table.keys.attributes)]
    parts = [_key_argument(a, name) for a, name in zip(table.keys.attributes, names, strict=True)]
    item = f"(SELECT * FROM {log} WHERE item_key = {item_key_sql(table.keys, parts)})"
    return (
        names,
        f"""SELECT * FROM {item} ORDER BY list_position(
        (SELECT in_order_{table.surface}(list({CHANGE_STRUCT})) FROM {item}), event_id)""",
    )


def _key_argument(attribute: KeyAttribute, name: str) -> str:
    """SQL for the canonical text of a key given in a query: B in base64, N as a number or text."""
    return f"number(CAST({name} AS VARCHAR))" if attribute.kind == "N" else f"CAST({name} AS VARCHAR)"


def transitions(table: TableConfig, known: Sequence[str], log: str, attribute: str) -> str:
    """When an attribute of an item came to have another value; `attribute` is SQL for its name.

    Of an item that was first seen by a read nobody knows since when it had its value. An attribute that is not among
    those `known` and that no image of the log has is refused.
    """
    place = f"'/' || replace(replace({attribute}, '~', '~0'), '/', '~1')"
    keys = ", ".join(map(identifier, key_columns(table.keys)))
    rows = f"""(SELECT item_key, {keys}, op, event_time, created_at_us, event_id,
        CASE WHEN op <> 'REMOVE' THEN json_extract(new_image, {place})::VARCHAR END AS "the new",
        json_extract(old_image, {place})::VARCHAR AS "the old"{_streams_column(table)} FROM {log})"""
    order = "created_at_us, coalesce(sequence_number, ''), event_id"
    if table.surface == "kds":
        rows = f"{rows} LEFT JOIN ({_places(table, log)}) USING (item_key, event_id)"
        order = 'coalesce("the place", 0), created_at_us, event_id'
    refusal = f"""CASE WHEN {attribute} IS NULL OR NOT list_contains({paths(list(known))}, {attribute})
        AND NOT EXISTS (FROM {log} WHERE NOT list_contains({paths(list(known))}, {attribute})
          AND (json_exists(new_image, {place}) OR json_exists(old_image, {place})))
      THEN error({literal(f"transitions of {table.name}: no item ever had an attribute ")}
        || coalesce({attribute}, 'NULL')) END"""
    kinds = ["BLOB" if key.kind == "B" else "VARCHAR" for key in table.keys.attributes]
    names = _beside(_TRANSITION, key_columns(table.keys))
    types = {"_item_key": "VARCHAR", **dict(zip(names, kinds, strict=True)), **_TRANSITION}
    shown = ", ".join(
        f"{identifier(key)} AS {identifier(name)}" for key, name in zip(key_columns(table.keys), names, strict=True)
    )
    found = f"""SELECT item_key AS _item_key, {shown},
        shown_value("the from") AS from_value, shown_value("the new") AS to_value,
        event_time AS changed_at, event_time - lag(event_time) OVER (PARTITION BY item_key ORDER BY "the n") AS lasted,
        op, event_id
      FROM (SELECT *, CASE WHEN "the n" = 1 THEN "the old" ELSE "the before" END AS "the from"
        FROM (SELECT *, lag("the new") OVER steps AS "the before", row_number() OVER steps AS "the n" FROM {rows}
          WINDOW steps AS (PARTITION BY item_key ORDER BY {order})))
      WHERE NOT ("the n" = 1 AND op = 'READ') AND "the from" IS DISTINCT FROM "the new"
        AND canonical_value("the from") IS DISTINCT FROM canonical_value("the new")"""
    return refusing(found, types, refusal)


def diff_types(columns: Sequence[Column]) -> dict[str, str]:
    """The columns of a difference and their types; `columns` are those of the key."""
    names = _beside(_DIFFERENCE, [column.name for column in columns])
    keys = {name: column.sql_type for name, column in zip(names, columns, strict=True)}
    return {"_item_key": "VARCHAR", **keys, **_DIFFERENCE}


def _streams_column(table: TableConfig) -> str:
    return ", sequence_number" if table.surface == "streams" else ""


def _places(table: TableConfig, log: str) -> str:
    """SQL for the places of changes among those of their item, for items of which two may share an instant."""
    shared = f"SELECT item_key FROM {log} GROUP BY item_key, created_at_us // 1000 HAVING count(*) > 1"
    # The order is an inner query's: beside unnest it would be settled anew for each of the item's changes.
    return f"""SELECT item_key, unnest(_ids) AS event_id, unnest(range(len(_ids))) AS "the place"
      FROM (SELECT item_key, in_order_{table.surface}(_changes) AS _ids
        FROM (SELECT item_key, list({CHANGE_STRUCT}) AS _changes
          FROM {log} SEMI JOIN ({shared}) USING (item_key) GROUP BY item_key))"""


def entity(columns: Sequence[str], condition: str, relation: str) -> str:
    """The rows of a relation that are of an entity, with the columns that it has."""
    return f"SELECT {', '.join(map(identifier, columns))} FROM {relation} WHERE {condition}"


def refusing(rows: str, columns: Mapping[str, str], refusal: str) -> str:
    """SQL for `rows`, that fails where `refusal` (SQL that is NULL or an error) does, whatever is asked of the rows.

    Every column of what refuses is the error itself: a filter by any has to look at it.
    """
    values = ", ".join(f'"refused"::{kind} AS {identifier(name)}' for name, kind in columns.items())
    return f"""(SELECT {values} FROM (SELECT ({refusal})::VARCHAR AS "refused") WHERE "refused" IS NOT NULL)
      UNION ALL BY NAME ({rows})"""
