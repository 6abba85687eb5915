"""The views and queries of a table for engines that have none of our functions: Athena, Spark, DuckDB's own CLI.

One source, in a DuckDB dialect that sqlglot turns rightly (explicit columns, NOT EXISTS, CASE, row_number; no
`* EXCLUDE`, no SEMI JOIN), with placeholders for what each engine says in its own words (`queries.words`).

Where they answer otherwise than `connect()`:

- `orders` is the same: the tail was settled when it was published.
- `orders_as_of`: the same of an item whose last instant holds one change, and of a table of native Streams. Where
  changes share that instant, one that is not from the stream loses, as it must; then the last is one at whose image
  more changes arrive than leave, images being the same only as texts. Where there is no such one (a closed loop, which
  needs the state before it; copies under other event ids; images only spelled otherwise) it is that of the greatest
  (`created_at_us`, `event_id`). So it may be another change of that instant than `latest()` gives, with another image
  only where the images make no one chain. `_rescued` is not in it: `_item` is whole.
- Values typed from an image (`orders_changes`, `orders_as_of`, `orders_diff`): M and L are DynamoDB's JSON with its
  tags (`{"M":{"a":{"S":"x"}}}`); a number in scientific notation is NULL in a column that is no double. (DynamoDB
  writes one so only where 38 digits do not do.)
- `orders_transitions`, `orders_diff`: values and images are the same only where their texts are. Transitions are in
  the order of (`created_at_us`, `event_id`), changes of one instant as they come; an attribute that no item ever had
  gives no rows. A key of N in `orders_history` is given in DynamoDB's own text of it.
- Instants are given in UTC, as a timestamp or its text; Spark's session has to be in UTC. Athena cuts `event_time` to
  milliseconds: instants are compared by `created_at_us`, and `event_time` only tells which days need no reading, a
  second of them too much.
- A query of Athena's may have 262,144 bytes: the typed values of some three hundred attributes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import parse_one

from lake import layout
from lake.columns import IS_LIVE, ITEM, ITEM_KEY, LIVES, Column
from lake.config import TableConfig
from lake.log import IMAGES, key_columns
from lake.sql import identifier, literal
from lake.state import own_columns
from queries import words
from queries.entities import OWN
from queries.since import Past
from queries.views import change_columns
from queries.words import Dialect


@dataclass(frozen=True, slots=True)
class Sources:
    """What each of the three tables is called in a FROM clause of the engine."""

    state: str
    tail: str
    log: str


@dataclass(frozen=True, slots=True)
class Query:
    """A query with parameters: by their names in DuckDB, as `:name` in Spark, as `?` in their order in Athena."""

    parameters: tuple[str, ...]
    sql: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A view of some items of a table: its name, the condition in the engine's words, and its columns.

    A column that the table has not is the text of a string or a number.
    """

    name: str
    condition: str
    columns: Sequence[Column]


@dataclass(slots=True)
class _Script:
    """A source, with its placeholders and what stands for them in an engine."""

    sources: Sources
    dialect: Dialect
    said: list[str] = field(default_factory=list)

    def word(self, text: str) -> str:
        """A placeholder for what the engine says in its own words."""
        if text not in self.said:
            self.said.append(text)
        return f'"the word {self.said.index(text)}"'

    def turned(self, source: str) -> str:
        text: str = parse_one(source, read="duckdb").sql(dialect=self.dialect)
        places = {"state": self.sources.state, "tail": self.sources.tail, "log": self.sources.log}

        def say(match: re.Match[str]) -> str:
            return places[match[1]] if match[1] else self.said[int(match[2])]

        return re.sub(r'["`]the (?:(state|tail|log)|word ([0-9]+))["`]', say, text)

    def typed(self, column: Column, image: str) -> str:
        value = self.word(words.typed_value(column, image, self.dialect))
        return f"{value} AS {identifier(column.name)}"


def portable_views(
    table: TableConfig, columns: Sequence[Column], state_columns: Sequence[Column], log_names: Sequence[str],
    sources: Sources, dialect: Dialect, entities: Sequence[Entity] = (), state_names: Collection[str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """The SELECT of each view of a table, by its name.

    `columns` are those of the fresh view and the tail, `state_columns` those of the state's version, and `log_names`
    all that the log's version has; so are `state_names` of the state, where it was made before we had all of ours.
    """
    script = _Script(sources, dialect)
    fresh = _fresh(script, table, columns, state_columns, state_names)
    found = {table.name: fresh, layout.log_table(table.name): _changes(script, columns, log_names)}
    for entity in entities:
        found[entity.name] = _entity(script, entity, columns, fresh)
    return {name: script.turned(source) for name, source in found.items()}


def portable_queries(
    table: TableConfig, columns: Sequence[Column], log_names: Sequence[str], sources: Sources, dialect: Dialect,
    past: Past,
) -> dict[str, Query]:  # fmt: skip
    """The queries of a table that take parameters, by their names."""
    script = _Script(sources, dialect)
    found = {
        "as_of": _as_of(script, table, columns, past),
        "history": _history(script, table, log_names),
        "transitions": _transitions(script, table),
        "diff": _diff(script, table, columns, past),
    }
    return {
        f"{table.name}_{name}": Query(parameters, script.turned(source)) for name, (parameters, source) in found.items()
    }


def _fresh(
    script: _Script, table: TableConfig, columns: Sequence[Column], state_columns: Sequence[Column],
    state_names: Collection[str] | None,
) -> str:  # fmt: skip
    """(State without the items that the tail touched) ∪ (those of them that live)."""
    before = {column.name: column for column in state_columns}
    rows = [_from_state(script, column, before.get(column.name)) for column in columns]
    for name, kind in own_columns(table).items():
        is_there = state_names is None or name in state_names
        rows.append(identifier(name) if is_there else _nothing(name, kind))
    names = ", ".join(map(identifier, [column.name for column in columns] + list(own_columns(table))))
    # A short alias may be a column's name too, and then Sail takes its columns for fields of that.
    return f"""SELECT {", ".join(rows)} FROM "the state" AS "of state" WHERE NOT EXISTS (
        SELECT 1 FROM "the tail" AS "of tail" WHERE "of tail".{ITEM_KEY} = "of state".{ITEM_KEY})
      UNION ALL SELECT {names} FROM "the tail" AS "of tail" WHERE {IS_LIVE}"""


def _entity(script: _Script, entity: Entity, columns: Sequence[Column], fresh: str) -> str:
    """The rows of `orders` that match, with the entity's columns and ours."""
    present = {column.name for column in columns}
    values = []
    for one in entity.columns:
        name = identifier(one.name)
        if one.name not in present:
            texts = (words.text_value(ITEM, one.attribute, kind, script.dialect) for kind in ("S", "N"))
            name = f"{script.word('coalesce(' + ', '.join(texts) + ')')} AS {name}"
        values.append(name)
    names = ", ".join([*values, *map(identifier, OWN)])
    return f"""SELECT {names} FROM ({fresh}) AS "of items" WHERE {script.word(entity.condition)}"""


def _from_state(script: _Script, column: Column, before: Column | None) -> str:
    """A column of the state, with the type that it has now that the tail is known too.

    More digits are a cast that loses none; a double is taken anew, so that it is the one nearest to the number.
    """
    name = identifier(column.name)
    if before is None:
        return _nothing(column.name, column.sql_type)
    if before.sql_type == column.sql_type:
        return name
    value = f"CAST({name} AS {column.sql_type})"
    if column.scalar_type == "DOUBLE":
        value = f"coalesce({script.word(words.typed_value(column, '_item', script.dialect))}, {value})"
    return f"{value} AS {name}"


def _nothing(name: str, kind: str) -> str:
    return f"CAST(NULL AS {kind}) AS {identifier(name)}"


def _changes(script: _Script, columns: Sequence[Column], names: Sequence[str]) -> str:
    """The log, and beside its own columns what each attribute was before and after the change."""
    values = [
        f"{script.word(words.typed_value(column, f'{prefix}_image', script.dialect))} AS {identifier(name)}"
        for prefix, column, name in change_columns(columns, names)
    ]
    return f'SELECT {", ".join([*map(identifier, names), *values])} FROM "the log" AS l'


# Queries with parameters

_OF_A_CHANGE = ["item_key", "op", "event_time", "created_at_us", "event_id", "is_ttl", "source", *IMAGES]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter: its name, and what it is cast to, in the engine's words.

    Each `?` of Athena's takes a value of its own: there a CTE binds it once.
    """

    script: _Script
    name: str
    cast: Callable[[str, Dialect], str] = words.text

    @property
    def named(self) -> str:
        # A macro's parameter hides the columns of its name: none of theirs holds a space, nor is `key_0`.
        if self.script.dialect == "duckdb" and not self.name.startswith("key_"):
            return identifier(f"the {self.name.replace('_', ' ')}")
        return self.name

    @property
    def cte(self) -> str:
        return f"{identifier(f'given {self.name}')} AS (SELECT {self.script.word(self._said)} AS given)"

    def sql(self, said: Callable[[str, Dialect], str] = lambda value, _: value) -> str:
        """SQL of a source for the value, or for something that the engine makes of it."""
        dialect = self.script.dialect
        if dialect == "athena":
            return f"(SELECT {self.script.word(said('given', dialect))} FROM {identifier(f'given {self.name}')})"
        return self.script.word(said(self._said, dialect))

    @property
    def _said(self) -> str:
        dialect = self.script.dialect
        given = {"athena": "?", "spark": f":{self.named}", "duckdb": self.named}[dialect]
        return self.cast(given, dialect)


def _query(parameters: Sequence[_Parameter], rows: str) -> tuple[tuple[str, ...], str]:
    if parameters[0].script.dialect == "athena":
        rows = f"WITH {', '.join(one.cte for one in parameters)} {rows}"
    return tuple(one.named for one in parameters), rows


def _as_of(script: _Script, table: TableConfig, columns: Sequence[Column], past: Past) -> tuple[tuple[str, ...], str]:
    """The items of an instant, typed from their images: the columns of `orders` but for `_rescued`."""
    moment = _Parameter(script, "moment", words.timestamp)
    ours = {name: kind for name, kind in own_columns(table).items() if name != "_rescued"}
    types = {column.name: column.sql_type for column in columns} | ours
    values = [script.typed(column, "_item") for column in columns]
    rows = f"""SELECT {", ".join([*values, *map(identifier, ours)])} FROM ({_living(table, past, moment)}) AS i
      UNION ALL {_refused(table, past, moment, types)}"""
    return _query([moment], rows)


def _refused(table: TableConfig, past: Past, moment: _Parameter, types: Mapping[str, str]) -> str:
    """No rows; but for an instant at which the past is not known it fails, and says why."""
    why = f"{table.name} as of then: the past of {table.name} is not known at that instant, for {past.reason}"
    us = moment.sql(words.microseconds)
    known = f"{us} >= {int(past.since_us)}" if past.since_us < math.inf else "1 = 0"
    failing = moment.script.word(words.refusal(why, moment.script.dialect))
    nothing = ", ".join(_nothing(name, kind) for name, kind in types.items())
    return f"""SELECT {nothing} FROM (SELECT CASE WHEN coalesce({known}, 1 = 0) THEN NULL ELSE {failing} END AS _why)
      AS r WHERE _why IS NOT NULL"""


def _living(table: TableConfig, past: Past, moment: _Parameter) -> str:
    """The items that are there at an instant: our columns of them, from the last change of each."""
    us = moment.sql(words.microseconds)
    conditions = [f"event_time <= {moment.sql()} + INTERVAL '1' SECOND", f"created_at_us <= {us}"]
    for one in past.readings:
        of_it = f"op = 'READ' AND strpos(raw_object, {literal(one.place)}) > 0"
        conditions.append(f"NOT ({of_it}{'' if one.ended_us is None else f' AND {us} < {one.ended_us}'})")
    then = " AND ".join(conditions)
    key = identifier(key_columns(table.keys)[0])
    hash_key = {"S": "", "N": f"{key} AS _hash_key", "B": f"to_base64({key}) AS _hash_key"}[table.keys.hash_key.kind]
    image, expired_at = "new_image", "CAST(NULL AS TIMESTAMP)"
    if table.ttl == "keep":
        kept = "op = 'REMOVE' AND is_ttl AND old_image IS NOT NULL"
        image = f"CASE WHEN {kept} THEN old_image ELSE new_image END"
        expired_at = f"CASE WHEN {kept} THEN event_time END"
    names = [*_OF_A_CHANGE, hash_key] if hash_key else _OF_A_CHANGE
    last = _last_stream if table.surface == "streams" else _last_kds
    return f"""SELECT * FROM (SELECT item_key AS _item_key, {"_hash_key, " if hash_key else ""}{image} AS _item,
        created_at_us AS _created_at_us, op AS _op, {expired_at} AS _expired_at
      FROM ({last(then, ", ".join(names))}) AS w WHERE _rank = 1) AS l WHERE {LIVES}"""


def _near(then: str, columns: str, since: str) -> str:
    """The changes of each item from `since` on (SQL over its greatest time, `_last`), among those that count."""
    return f"""SELECT {columns}, _last FROM "the log" AS c JOIN
      (SELECT item_key AS _key, max(created_at_us) AS _last FROM "the log" AS c WHERE {then} GROUP BY item_key) AS n
      ON item_key = _key WHERE {then} AND created_at_us >= {since}"""


def _last_stream(then: str, columns: str) -> str:
    return f"""SELECT *, row_number() OVER (PARTITION BY item_key
        ORDER BY coalesce(sequence_number, '') DESC, event_id DESC) AS _rank
      FROM ({_near(then, f"{columns}, sequence_number", "_last")}) AS t"""


def _last_kds(then: str, columns: str) -> str:
    """Of the changes of an item's last instant the last: one at whose image more of them arrive than leave.

    A time in whole milliseconds covers all of its millisecond. Each change is there twice, at the image that it came
    to and at the one that it came from; where the item was not there that is an empty text, which no image is.
    """
    together = f"""SELECT *, count(CASE WHEN created_at_us % 1000 = 0 THEN 1 END) OVER (PARTITION BY item_key) AS _whole
      FROM ({_near(then, columns, "_last - _last % 1000")}) AS t"""
    ends = """CASE WHEN source <> 'stream' THEN NULL
      WHEN _way = 1 THEN CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN '' ELSE new_image END
      WHEN old_image IS NOT NULL THEN old_image WHEN op = 'INSERT' THEN '' ELSE 'before ' || event_id END"""
    both = f"""SELECT *, {ends} AS _vertex FROM ({together}) AS t
      CROSS JOIN (SELECT 1 AS _way UNION ALL SELECT -1) AS w WHERE _whole > 0 OR created_at_us = _last"""
    return f"""SELECT *, row_number() OVER (PARTITION BY item_key
        ORDER BY CASE WHEN source = 'stream' THEN 1 ELSE 0 END DESC, CASE WHEN _more > 0 THEN 1 ELSE 0 END DESC,
          created_at_us DESC, event_id DESC) AS _rank
      FROM (SELECT *, sum(_way) OVER (PARTITION BY item_key, _vertex) AS _more FROM ({both}) AS b) AS b
      WHERE _way = 1"""


def _diff(script: _Script, table: TableConfig, columns: Sequence[Column], past: Past) -> tuple[tuple[str, ...], str]:
    """What is another after the second instant than after the first."""
    first, second = (_Parameter(script, name, words.timestamp) for name in ("first_moment", "second_moment"))
    keys = columns[: len(table.keys.attributes)]
    values = [script.typed(column, "_item") for column in keys]
    types = {ITEM_KEY: "VARCHAR"} | {column.name: column.sql_type for column in keys}
    types |= dict.fromkeys(("difference", "before", "after"), "VARCHAR")
    rows = f"""SELECT _item_key, {", ".join(values)}, difference, "before", "after" FROM (
        SELECT coalesce(b._item_key, a._item_key) AS _item_key, coalesce(a._item, b._item) AS _item,
          CASE WHEN b._item IS NULL THEN 'added' WHEN a._item IS NULL THEN 'removed' ELSE 'changed' END AS difference,
          b._item AS "before", a._item AS "after"
        FROM ({_living(table, past, first)}) AS b FULL JOIN ({_living(table, past, second)}) AS a
          ON a._item_key = b._item_key
        WHERE b._item IS NULL OR a._item IS NULL OR a._item <> b._item) AS d
      UNION ALL {_refused(table, past, first, types)} UNION ALL {_refused(table, past, second, types)}"""
    return _query([first, second], rows)


def _history(script: _Script, table: TableConfig, log_names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """All changes of one item, in their order."""
    given = [_Parameter(script, f"key_{n}") for n, _ in enumerate(table.keys.attributes)]
    columns = key_columns(table.keys)
    tests = [
        f"{identifier(column)} = {one.sql(words.from_base64) if attribute.kind == 'B' else one.sql()}"
        for column, one, attribute in zip(columns, given, table.keys.attributes, strict=True)
    ]
    rows = f"""SELECT {", ".join(map(identifier, log_names))} FROM "the log" AS l WHERE {" AND ".join(tests)}
      ORDER BY {_order(table)}"""
    return _query(given, rows)


def _order(table: TableConfig) -> str:
    if table.surface == "streams":
        return "created_at_us, coalesce(sequence_number, ''), event_id"
    return "created_at_us, event_id"


def _transitions(script: _Script, table: TableConfig) -> tuple[tuple[str, ...], str]:
    """When an attribute of an item came to have another value."""
    attribute, dialect = _Parameter(script, "attribute"), script.dialect
    keys = ", ".join(map(identifier, key_columns(table.keys)))
    values = [f"{script.word(words.any_value(image, '__attribute', dialect))} AS {name}" for image, name in
              (("new_image", "__came"), ("old_image", "__was"))]  # fmt: skip
    shown = [script.word(words.shown_value(name, dialect)) for name in ("__from", "__new")]
    number = "sequence_number, " if table.surface == "streams" else ""
    steps = f"OVER (PARTITION BY item_key ORDER BY {_order(table)})"
    rows = f"""SELECT item_key AS _item_key, {keys}, {shown[0]} AS from_value, {shown[1]} AS to_value,
        event_time AS changed_at, created_at_us - lag(created_at_us) OVER (PARTITION BY item_key ORDER BY __n)
          AS lasted_us, op, event_id
      FROM (SELECT *, CASE WHEN __n = 1 THEN __was ELSE __before END AS __from FROM (
          SELECT *, lag(__new) {steps} AS __before, row_number() {steps} AS __n FROM (
            SELECT item_key, {keys}, op, event_time, created_at_us, event_id, {number}__was,
              CASE WHEN op <> 'REMOVE' THEN __came END AS __new FROM (
              SELECT *, {", ".join(values)} FROM (SELECT *, {attribute.sql()} AS __attribute FROM "the log" AS c) AS c
              ) AS c) AS c) AS c) AS c
      WHERE NOT (__n = 1 AND op = 'READ') AND __from IS DISTINCT FROM __new"""
    return _query([attribute], rows)
