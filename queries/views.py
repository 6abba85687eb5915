"""The SQL of the views and macros of a table, but for the fresh one: pure text over SQL for the rows of its log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lake.columns import LIVES, Column
from lake.config import TableConfig
from lake.current import IS_WINNER, latest_sql, winner_columns
from lake.engine import CHANGE_STRUCT
from lake.keys import KeyAttribute
from lake.layout import unique_name
from lake.log import key_columns
from lake.projection import projected, text_pointer, typed
from lake.sql import CANONICAL_NUMBER, identifier, item_key_sql, literal, paths, refusing
from lake.state import own_columns

TOGETHER_MIN = 16  # values that are taken from an image at once: about as dear as one
PARTS_MAX = 16  # of an image: each keeps a parsed copy of some thousand of them
# What queries name within themselves holds a space: a key may be named in any other way.
_OLD, _NEW, _FROM, _STEP, _PLACE = '"the old"', '"the new"', '"the from"', '"the step"', '"the place"'
_BEFORE, _AFTER, _CHANGED = '"image before"', '"image after"', '"what changed"'
_TRANSITION = {
    "_item_key": "VARCHAR", "from_value": "VARCHAR", "to_value": "VARCHAR", "changed_at": "TIMESTAMP",
    "lasted": "INTERVAL", "op": "VARCHAR", "event_id": "VARCHAR",
}  # fmt: skip
_DIFFERENCE = {
    "_item_key": "VARCHAR", "difference": "VARCHAR", "changed_attributes": "VARCHAR[]", "before": "VARCHAR",
    "after": "VARCHAR",
}  # fmt: skip


def changes(columns: Sequence[Column], log: str, log_columns: Sequence[str]) -> str:
    """The log, and beside its own columns what each attribute was before and after the change, typed as in the state.

    Values are taken from an image some at a time: a query pays for those that it names and a few beside them. Each by
    itself would be a parsed copy of the image for each; all at once, all of them for one.
    """
    together = max(TOGETHER_MIN, len(columns) // PARTS_MAX)
    parts, texts, values = [], [], []
    for start, prefix, some in _parts(columns, log_columns, together):
        part = identifier(f"{prefix} part {start}")
        places = paths([text_pointer(column) for column, _ in some])
        parts.append(f"json_extract_string({prefix}_image, {places}) AS {part}")
        for n, (column, name) in enumerate(some, start=1):
            text = identifier(f"{prefix} text {start + n}")
            texts.append(f"{part}[{n}] AS {text}")
            values.append(f"{typed(column, text)} AS {identifier(name)}")
    ours = ", ".join(map(identifier, log_columns))
    for level in (parts, texts, values):
        log = f"(SELECT {', '.join([ours, *level])} FROM {log})"
    return f"FROM {log}"


def _parts(
    columns: Sequence[Column], log_columns: Sequence[str], together: int
) -> Iterator[tuple[int, str, list[tuple[Column, str]]]]:
    """The typed columns of `orders_changes` in parts of one image: where a part begins, `new` or `old`, its columns."""
    named = list(change_columns(columns, log_columns))
    for prefix in ("new", "old"):
        of_image = [(column, name) for one, column, name in named if one == prefix]
        for start in range(0, len(of_image), together):
            yield start, prefix, of_image[start : start + together]


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
    names = [column.name for column in columns]
    both = f"""(SELECT *, coalesce({_AFTER}, {_BEFORE}) AS _item
      FROM (SELECT _item_key, _item AS {_BEFORE} FROM {_living(table, first)})
      FULL JOIN (SELECT _item_key, _item AS {_AFTER} FROM {_living(table, second)}) USING (_item_key))"""
    return f"""SELECT _item_key, {_aliased(names, _DIFFERENCE)},
        CASE WHEN {_BEFORE} IS NULL THEN 'added' WHEN {_AFTER} IS NULL THEN 'removed' ELSE 'changed' END AS difference,
        {_CHANGED} AS changed_attributes, {_BEFORE} AS "before", {_AFTER} AS "after"
      FROM (SELECT *, CASE WHEN {_BEFORE} IS NULL THEN list_sort(json_keys({_AFTER}))
          WHEN {_AFTER} IS NULL THEN list_sort(json_keys({_BEFORE}))
          WHEN {_BEFORE} <> {_AFTER} THEN changed_attributes({_BEFORE}, {_AFTER}) ELSE [] END AS {_CHANGED}
        FROM ({projected(both, columns, ())}))
      WHERE len({_CHANGED}) > 0"""


def difference_types(columns: Sequence[Column]) -> dict[str, str]:
    """The columns of a difference and their types; `columns` are those of the key."""
    names = _beside([column.name for column in columns], _DIFFERENCE)
    return _DIFFERENCE | {name: column.sql_type for name, column in zip(names, columns, strict=True)}


def _beside(keys: Sequence[str], others: Iterable[str]) -> list[str]:
    """Names for the columns of a key that are none of the `others` of a view."""
    taken, names = set(others), []
    for key in keys:
        names.append(unique_name(key, taken))
        taken.add(names[-1])
    return names


def _aliased(keys: Sequence[str], others: Iterable[str]) -> str:
    names = zip(keys, _beside(keys, others), strict=True)
    return ", ".join(f"{identifier(key)} AS {identifier(name)}" for key, name in names)


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
    """SQL for the canonical text of a key given in a query: B as binary or in base64, N as a number or text."""
    if attribute.kind == "B":
        return f"CASE WHEN typeof({name}) = 'BLOB' THEN to_base64({name}::BLOB) ELSE {name}::VARCHAR END"
    return f"number({name}::VARCHAR)" if attribute.kind == "N" else f"{name}::VARCHAR"


def transitions(table: TableConfig, known: Sequence[str], log: str, attribute: str) -> str:
    """When an attribute of an item came to have another value; `attribute` is SQL for its name.

    Of an item that was first seen by a read nobody knows since when it had its value. An attribute that is not among
    those `known` and that no image of the log has is refused.
    """
    place = f"'/' || replace(replace({attribute}, '~', '~0'), '/', '~1')"
    keys = key_columns(table.keys)
    number = ", sequence_number" if table.surface == "streams" else ""
    rows = f"""(SELECT item_key, {", ".join(map(identifier, keys))}, op, event_time, created_at_us, event_id,
        CASE WHEN op <> 'REMOVE' THEN json_extract(new_image, {place})::VARCHAR END AS {_NEW},
        json_extract(old_image, {place})::VARCHAR AS {_OLD}{number} FROM {log})"""
    order = "created_at_us, coalesce(sequence_number, ''), event_id"
    if table.surface == "kds":
        rows = f"{rows} LEFT JOIN ({_places(table, log)}) USING (item_key, event_id)"
        order = f"coalesce({_PLACE}, 0), created_at_us, event_id"
    refusal = f"""CASE WHEN {attribute} IS NULL OR NOT list_contains({paths(list(known))}, {attribute})
        AND NOT EXISTS (FROM {log} WHERE NOT list_contains({paths(list(known))}, {attribute})
          AND (json_exists(new_image, {place}) OR json_exists(old_image, {place})))
      THEN error({literal(f"transitions of {table.name}: no item ever had an attribute ")}
        || coalesce({attribute}, 'NULL')) END"""
    found = f"""SELECT item_key AS _item_key, {_aliased(keys, _TRANSITION)},
        {_shown(_FROM)} AS from_value, {_shown(_NEW)} AS to_value,
        event_time AS changed_at, event_time - lag(event_time) OVER (PARTITION BY item_key ORDER BY {_STEP}) AS lasted,
        op, event_id
      FROM (SELECT * REPLACE (CASE WHEN {_STEP} = 1 THEN {_OLD} ELSE {_FROM} END AS {_FROM})
        FROM (SELECT *, lag({_NEW}) OVER steps AS {_FROM}, row_number() OVER steps AS {_STEP} FROM {rows}
          WINDOW steps AS (PARTITION BY item_key ORDER BY {order})))
      WHERE NOT ({_STEP} = 1 AND op = 'READ') AND {_FROM} IS DISTINCT FROM {_NEW}
        AND {_differ(_FROM, _NEW)}"""
    types = ["BLOB" if one.kind == "B" else "VARCHAR" for one in table.keys.attributes]
    return refusing(found, refusal, _TRANSITION | dict(zip(_beside(keys, _TRANSITION), types, strict=True)))


def _places(table: TableConfig, log: str) -> str:
    """SQL for the places of changes among those of their item, for items of which two may share an instant."""
    shared = f"SELECT item_key FROM {log} GROUP BY item_key, created_at_us // 1000 HAVING count(*) > 1"
    # The order is an inner query's: beside unnest it would be settled anew for each of the item's changes.
    return f"""SELECT item_key, unnest(_ids) AS event_id, unnest(range(len(_ids))) AS {_PLACE}
      FROM (SELECT item_key, in_order_{table.surface}(_changes) AS _ids
        FROM (SELECT item_key, list({CHANGE_STRUCT}) AS _changes
          FROM {log} SEMI JOIN ({shared}) USING (item_key) GROUP BY item_key))"""


def _is_text(value: str) -> str:
    """SQL for whether a value taken out of an image is of kind S: equal ones are then the same text."""
    return f"starts_with({value}, '{{\"S\":')"


def _is_number(value: str) -> str:
    """SQL for whether a value is a number written as DynamoDB does."""
    return f"""regexp_full_match({value}, '\\{{"N":"({CANONICAL_NUMBER})"\\}}')"""


def _differ(one: str, other: str) -> str:
    """SQL for whether values whose texts differ are others. Most can be told apart without a call into Python."""
    return f"""CASE WHEN {_is_text(one)} OR {_is_text(other)} OR ({_is_number(one)} AND {_is_number(other)}) THEN true
      ELSE canonical_value({one}) IS DISTINCT FROM canonical_value({other}) END"""


def _shown(value: str) -> str:
    """SQL for a value as people read it."""
    return f"""CASE WHEN {_is_text(value)} THEN json_extract_string({value}, '/S')
      WHEN {_is_number(value)} THEN json_extract_string({value}, '/N') ELSE shown_value({value}) END"""
