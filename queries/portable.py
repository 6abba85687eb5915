"""The views and queries of a table for engines that have none of our functions: Athena, Spark, DuckDB's own CLI.

One source, in a DuckDB dialect that sqlglot turns rightly (explicit columns, NOT EXISTS, CASE, row_number; no
`* EXCLUDE`, no SEMI JOIN), with placeholders for what each engine says in its own words (`queries.words`).

Where they answer otherwise than `connect()`:

- `orders` is the same: the tail was settled when it was published.
- `orders_as_of`: of an item whose last instant holds one change, or is of a table of native Streams, the same. Where
  changes share that instant, a change that is not from the stream loses, as it must; then the last is one at whose image
  more changes arrive than leave, images being the same only as texts. Where they make no open chain of texts (a closed
  loop, which needs the state before it; copies under other event ids; images only spelled otherwise) it is that of the
  greatest (`created_at_us`, `event_id`), and may be another change of that instant than `latest()` gives. `_rescued` is
  not in it: `_item` is whole.
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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import parse_one

from lake import layout
from lake.columns import ITEM_KEY, LIVES, Column
from lake.config import TableConfig
from lake.log import IMAGES, key_columns
from lake.sql import identifier, literal
from lake.state import own_columns
from queries import words
from queries.since import Past
from queries.views import change_columns
from queries.words import Dialect

IS_LIVE = "_is_live"  # of the tail: whether the item of a row is there
_SLACK = "INTERVAL '1' SECOND"


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
    """A view of some items of a table: its name, the condition in DuckDB's SQL, and its columns."""

    name: str
    condition: str
    columns: Sequence[str]


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
        text = parse_one(source, read="duckdb").sql(dialect=self.dialect)
        places = {"state": self.sources.state, "tail": self.sources.tail, "log": self.sources.log}

        def say(match: re.Match[str]) -> str:
            return places[match[1]] if match[1] else self.said[int(match[2])]

        return re.sub(r'["`]the (?:(state|tail|log)|word ([0-9]+))["`]', say, text)

    def typed(self, column: Column, image: str) -> str:
        value = self.word(words.typed_value(column, image, self.dialect))
        return f"{value} AS {identifier(column.name)}"


def portable_views(
    table: TableConfig, columns: Sequence[Column], state_columns: Sequence[Column], sources: Sources, dialect: Dialect,
    entities: Sequence[Entity] = (), state_names: Collection[str] | None = None, log_names: Sequence[str] | None = None,
) -> dict[str, str]:  # fmt: skip
    """The SELECT of each view of a table, by its name.

    `columns` are those of the fresh view and the tail, `state_columns` those of the state's version; `state_names` and
    `log_names` are all columns that the versions of state and log have, where these are not those of today.
    """
    script = _Script(sources, dialect)
    fresh = _fresh(script, table, columns, state_columns, state_names)
    found = {table.name: fresh, layout.log_table(table.name): _changes(script, table, columns, log_names)}
    for entity in entities:
        names = ", ".join(map(identifier, entity.columns))
        found[entity.name] = f"SELECT {names} FROM ({fresh}) AS {identifier(table.name)} WHERE {entity.condition}"
    return {name: script.turned(source) for name, source in found.items()}
