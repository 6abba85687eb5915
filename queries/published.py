"""The SQL of what is published: views and queries with parameters for one version of a table, for one engine.

Written once, in DuckDB's SQL within what sqlglot turns rightly into the others': explicit columns, NOT EXISTS, casts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlglot import parse_one

from lake import layout
from lake.columns import IS_LIVE, ITEM_KEY, Column
from lake.keys import KeyAttribute
from lake.log import key_columns
from lake.sql import identifier
from lake.state import columns_of, own_columns
from queries.fresh import view_columns
from queries.publish import Version, names_of

Dialect = Literal["athena", "duckdb", "spark"]
# These stand for the sources until the text is turned: no column has a space in its name.
_STATE, _TAIL, _LOG = '"the state"', '"the tail"', '"the log"'


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


def views_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, str]:
    """The SELECT of each view of a table, by its name."""
    table = version.table
    texts = {table.name: _fresh(version), layout.log_table(table.name): f"SELECT {_log_columns(version)} FROM {_LOG}"}
    return {name: _turned(text, sources, dialect) for name, text in texts.items()}


def queries_of(version: Version, sources: Sources, dialect: Dialect) -> dict[str, Query]:
    """The queries of a table that take parameters, by their names."""
    keys = version.table.keys.attributes
    names = tuple(f"key_{n}" for n, _ in enumerate(keys))
    conditions = [
        f"{identifier(column)} = {_key_value(attribute, _parameter(name, dialect))}"
        for column, attribute, name in zip(key_columns(version.table.keys), keys, names, strict=True)
    ]
    order = "created_at_us, event_id" if version.table.surface == "kds" else "created_at_us, sequence_number, event_id"
    text = f"SELECT {_log_columns(version)} FROM {_LOG} WHERE {' AND '.join(conditions)} ORDER BY {order}"
    return {f"{version.table.name}_history": Query(names, _turned(text, sources, dialect))}


def _fresh(version: Version) -> str:
    """(State without the items that the tail touched) ∪ (those of them that live)."""
    table = version.table
    present = {column.name: column for column in columns_of(version.state)}
    there = set(names_of(version.state))
    state = [_from_state(column, present.get(column.name)) for column in version.columns]
    state += [
        f"s.{identifier(name)}" if name in there else f"CAST(NULL AS {kind}) AS {identifier(name)}"
        for name, kind in own_columns(table).items()
    ]
    tail = ", ".join(map(identifier, view_columns(table, version.columns)))
    return f"""SELECT {", ".join(state)} FROM {_STATE} AS s
      WHERE NOT EXISTS (SELECT 1 FROM {_TAIL} AS t WHERE t.{ITEM_KEY} = s.{ITEM_KEY})
      UNION ALL SELECT {tail} FROM {_TAIL} WHERE {IS_LIVE}"""


def _from_state(column: Column, before: Column | None) -> str:
    """A column of the state, with the type that it has now that the tail is known too."""
    name = identifier(column.name)
    if before is None:
        return f"CAST(NULL AS {column.sql_type}) AS {name}"
    return f"s.{name}" if before.sql_type == column.sql_type else f"CAST(s.{name} AS {column.sql_type}) AS {name}"


def _log_columns(version: Version) -> str:
    return ", ".join(map(identifier, names_of(version.log)))


def _parameter(name: str, dialect: Dialect) -> str:
    return {"duckdb": name, "spark": f":{name}", "athena": "?"}[dialect]


def _key_value(attribute: KeyAttribute, value: str) -> str:
    """SQL for a key value as the log has it: N as its canonical text, B given in base64."""
    text = f"CAST({value} AS VARCHAR)"
    return f"FROM_BASE64({text})" if attribute.kind == "B" else text


def _turned(text: str, sources: Sources, dialect: Dialect) -> str:
    """The text in an engine's dialect, on one line, over its sources."""
    turned = parse_one(text, read="duckdb").sql(dialect=dialect)
    quote = "`" if dialect == "spark" else '"'
    for name, source in ((_STATE, sources.state), (_TAIL, sources.tail), (_LOG, sources.log)):
        turned = turned.replace(name.replace('"', quote), source)
    return turned
