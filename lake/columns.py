"""The typed columns of a current state: which there are, of what type, and how they grow. Pure.

A column keeps the kind it was born with and its name; the digits seen of its numbers only grow. What fits
neither goes to `_rescued`, and every item is whole in `_item`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from lake.attributes import KINDS
from lake.keys import KeySchema
from lake.layout import sql_name, unique_name

COLUMNS_MAX = 1_000
BIGINT_DIGITS = 18
DECIMAL_DIGITS = 38
UNBOUNDED = 1_000  # the digits of a number in scientific notation: only a double holds it

ITEM_KEY, HASH_KEY, ITEM = "_item_key", "_hash_key", "_item"
OURS = {
    ITEM_KEY: "VARCHAR", HASH_KEY: "VARCHAR", ITEM: "VARCHAR", "_created_at_us": "BIGINT", "_op": "VARCHAR",
    "_rescued": "VARCHAR", "_expired_at": "TIMESTAMP",
}  # fmt: skip
IS_LIVE = "_is_live"  # ours in the published tail, beside the columns of the state
# SQL over our columns of an item's last change: whether the state holds the item. What a table's TTL policy keeps has
# a time of expiry (`lake.current`); else a REMOVE leaves nothing.
LIVES = "(_op <> 'REMOVE' OR _expired_at IS NOT NULL)"
# Names that the SQL and the partitioning of a state use for themselves.
_RESERVED = {"_bucket", "_w", "_odd", "key_bucket"}
_SCALARS = {"S": "VARCHAR", "BOOL": "BOOLEAN", "B": "BLOB", "M": "VARCHAR", "L": "VARCHAR"}
_ELEMENTS = {"SS": "S", "NS": "N", "BS": "B"}


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column: `whole` and `scale` are the most digits seen before and after the point."""

    attribute: str
    name: str
    kind: str
    whole: int = 0
    scale: int = 0

    @property
    def element_kind(self) -> str | None:
        """For a set the kind of its elements."""
        return _ELEMENTS.get(self.kind)

    @property
    def scalar_type(self) -> str:
        """DuckDB's type of a value, or of an element of a set."""
        kind = self.element_kind or self.kind
        if kind != "N":
            return _SCALARS[kind]
        if self.scale == 0 and self.whole <= BIGINT_DIGITS:
            return "BIGINT"
        if self.whole + self.scale <= DECIMAL_DIGITS:
            return f"DECIMAL({DECIMAL_DIGITS},{self.scale})"
        return "DOUBLE"

    @property
    def sql_type(self) -> str:
        return self.scalar_type + ("[]" if self.element_kind else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """What some items hold under an attribute: values of one kind, and the digits of its numbers."""

    attribute: str
    kind: str
    count: int
    whole: int = 0
    scale: int = 0


def key_state_columns(keys: KeySchema) -> list[Column]:
    """The columns a state begins with. The hash key of type S is its own bucket column."""
    columns: list[Column] = []
    for attribute in keys.attributes:
        columns = plan_columns(columns, [Seen(attribute.name, attribute.kind, 1)])
    return columns


def plan_columns(present: Sequence[Column], seen: Iterable[Seen]) -> list[Column]:
    """The columns after items like these: the present ones, wider where needed, then the new ones by name.

    Where there are too many, the most frequent attributes get a column.
    """
    by_attribute: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if one.kind in KINDS and one.kind != "NULL":
            by_attribute[one.attribute].append(one)
    columns = [_widened(column, by_attribute.pop(column.attribute, [])) for column in present]
    taken = {*OURS, IS_LIVE, *_RESERVED, *(column.name for column in columns)}
    counts = {attribute: sum(one.count for one in by_attribute[attribute]) for attribute in by_attribute}
    frequent = sorted(counts, key=lambda attribute: (-counts[attribute], attribute))
    for attribute in sorted(frequent[: COLUMNS_MAX - len(columns)]):
        born = max(by_attribute[attribute], key=lambda one: (one.count, -KINDS.index(one.kind)))
        name = unique_name(sql_name(attribute), taken)
        taken.add(name)
        columns.append(_widened(Column(attribute, name, born.kind), [born]))
    return columns


def _widened(column: Column, seen: Sequence[Seen]) -> Column:
    same = [one for one in seen if one.kind == column.kind]
    return replace(
        column,
        whole=max([column.whole, *(one.whole for one in same)]),
        scale=max([column.scale, *(one.scale for one in same)]),
    )


def changed_types(before: Sequence[Column], after: Sequence[Column]) -> list[Column]:
    """The columns whose type is another: their values must be taken anew from `_item`."""
    types = {column.name: column.sql_type for column in before}
    return [column for column in after if types.get(column.name, column.sql_type) != column.sql_type]


def foreign_kinds(columns: Sequence[Column], seen: Iterable[Seen]) -> set[str]:
    """The attributes of columns under which values of another kind were seen: `_rescued` has work to do."""
    kinds: Mapping[str, str] = {column.attribute: column.kind for column in columns}
    return {one.attribute for one in seen if one.kind != "NULL" and kinds.get(one.attribute, one.kind) != one.kind}


def dump_columns(columns: Sequence[Column]) -> str:
    return json.dumps([asdict(column) for column in columns])


def parse_columns(text: str) -> list[Column]:
    return [Column(**fields) for fields in json.loads(text)]
