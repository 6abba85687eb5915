"""Every row of the lake's view held against its own `_item`: typed columns, key, ours. No other side is needed.

Most rows are plainly right, which is seen a batch of rows at a time: the values of a column are taken from the items
and set against its cells as arrays. What is not plainly right goes to the rules themselves (`proof.columns`), row by
row, which alone say that something is damaged.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.config import TableConfig
from lake.keys import KeySchema, can_be_read
from lake.sql import identifier
from lake.state import own_columns
from proof.columns import AttributeDifference, RowRules, TypedColumn, rule_of
from proof.evidence import Evidence, Writer, finding
from proof.scan import Progress
from proof.values import Item, number, parse_item, shown
from proof.view import View

ROWS_AT_ONCE = 2_048  # of Arrow; items may be large
_OURS = ("_item_key", "_item", "_op", "_created_at_us", "_rescued", "_expired_at", "_hash_key")
_PLAIN = ("S", "N", "B", "BOOL")
Cells = Any  # an array of Arrow: it has no types


def check_rows(view: View, table: TableConfig, chosen: str, total: int, evidence: Evidence, progress: Progress) -> int:
    """Writes what is damaged to `findings`; gives how many rows have no key.

    `chosen` is SQL behind the view's name that says which of its rows to look at; `total` how many there may be.
    """
    hash_key = "_hash_key" if "_hash_key" in own_columns(table) else "NULL::VARCHAR"
    ours = ["_item_key", "_item", "_op", "_created_at_us", "_rescued", "epoch_us(_expired_at)", hash_key]
    columns = ", ".join([*ours, *(identifier(column.name) for column in view.columns)])
    reader = view.con.execute(f"SELECT {columns} FROM {identifier(table.name)} {chosen}").to_arrow_reader(ROWS_AT_ONCE)
    plain, rules = _PlainRows(table, view.columns), _Rules(table, view.columns)
    done = 0
    with evidence.writer("findings") as findings:
        for batch in reader:
            doubtful = np.flatnonzero(~plain.are_right(batch.columns))
            if len(doubtful):
                rows = batch.take(pa.array(doubtful))
                for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                    rules.check(row, findings)
            done += batch.num_rows
            progress(done, max(done, total))
    return rules.keyless


class _PlainRows:
    """Sees which rows of a batch are plainly right; of one that is not it says nothing."""

    def __init__(self, table: TableConfig, columns: Sequence[TypedColumn]) -> None:
        self._keys, self._columns = table.keys, columns
        self._are_texts = all(attribute.kind == "S" for attribute in table.keys.attributes)
        self._has_hash_key = table.keys.hash_key.kind != "S"
        attributes = [column.attribute for column in columns] + [one.name for one in table.keys.attributes]
        self._decode = _row_decoder(table.keys, columns) if can_be_read(attributes) else None

    def are_right(self, columns: Sequence[Cells]) -> np.ndarray:
        count = len(columns[0])
        if self._decode is None:
            return np.zeros(count, bool)
        right = np.array(_plain_ours(columns))
        items = []
        empty, decode = self._decode(b"{}"), self._decode
        for n, text in enumerate(columns[1].to_pylist()):
            try:
                items.append(decode(text))
            except (msgspec.DecodeError, TypeError, RecursionError):  # no item, or a value of another kind
                items.append(empty)
                right[n] = False
        right &= self._have_keys(items, columns[0].to_pylist(), columns[6].to_pylist())
        for n, (column, cells) in enumerate(zip(self._columns, columns[len(_OURS) :], strict=True)):
            name = f"c{n}"
            right &= _agree(column, [getattr(item, name) for item in items], cells)
        return right

    def _have_keys(self, items: Sequence[Any], item_keys: Sequence[Any], hash_keys: Sequence[Any]) -> np.ndarray:
        """Whether the items are plainly those that the rows are said to be of."""
        names = [f"k{n}" for n, _ in enumerate(self._keys.attributes)]
        found = []
        for item, item_key, hash_key in zip(items, item_keys, hash_keys, strict=True):
            try:
                parts = [getattr(item, name).value for name in names]
                if self._are_texts and all(parts) and "\\" not in parts[0] and "|" not in parts[0]:
                    found.append("|".join(parts) == item_key)
                    continue
                key = self._keys.item_key(*parts)
                found.append(str(key) == item_key and (not self._has_hash_key or key.parts[0] == hash_key))
            except (AttributeError, ValueError, TypeError):
                found.append(False)
        return np.array(found, bool)


def _plain_ours(columns: Sequence[Cells]) -> Any:
    """Whether ours are as they are in nearly every row: nothing rescued, nothing kept behind its end."""
    _, _, op, created_at_us, rescued, expired_at_us, _ = columns[: len(_OURS)]
    is_op = pc.is_in(op, value_set=pa.array(["INSERT", "MODIFY", "READ"]))
    is_dated = pc.fill_null(pc.greater(created_at_us, 0), False)
    is_plain = pc.and_(pc.is_null(rescued), pc.is_null(expired_at_us))
    return pc.and_(pc.and_(is_op, is_dated), is_plain).to_numpy(zero_copy_only=False)


def _row_decoder(keys: KeySchema, columns: Sequence[TypedColumn]) -> Callable[[bytes | str], Any]:
    """Of an item what its columns are of; a value of another kind than its column's is refused."""
    fields: list[tuple[str, Any, Any]] = []
    for n, column in enumerate(columns):
        content: Any = {"BOOL": bool}.get(column.kind, str) if column.kind in _PLAIN else Any
        value = msgspec.defstruct(
            "Value",
            [("value", content | None if content is not Any else Any, msgspec.field(name=column.kind, default=None)),
             ("null", bool, msgspec.field(name="NULL", default=False))],
            forbid_unknown_fields=True, gc=False,
        )  # fmt: skip
        fields.append((f"c{n}", value | None, msgspec.field(name=column.attribute, default=None)))
    shared = {column.attribute: n for n, column in enumerate(columns)}
    for n, attribute in enumerate(keys.attributes):
        if attribute.name in shared:
            continue
        value = msgspec.defstruct("Key", [("value", str, msgspec.field(name=attribute.kind))], gc=False)
        fields.append((f"k{n}", value | None, msgspec.field(name=attribute.name, default=None)))
    namespace = {
        f"k{n}": property(attrgetter(f"c{shared[one.name]}"))
        for n, one in enumerate(keys.attributes)
        if one.name in shared
    }
    return msgspec.json.Decoder(msgspec.defstruct("Row", fields, namespace=namespace, gc=False)).decode


def _agree(column: TypedColumn, values: list[Any], cells: Cells) -> np.ndarray:
    """Where the cells of a column are plainly the values."""
    contents = [None if value is None else value.value for value in values]
    expected = None
    try:
        if column.kind in _PLAIN:
            expected = _array(column, contents, cells.type)
    except (pa.ArrowException, ValueError, TypeError):
        pass  # one of them is no such value, or too large: which is seen one by one
    if expected is not None:
        same = pc.fill_null(pc.equal(expected, cells), False)
        both_null = pc.and_(pc.is_null(expected), pc.is_null(cells))
        return np.array(pc.or_(same, both_null).to_numpy(zero_copy_only=False))
    holds = rule_of(column)
    return np.array(
        [
            cell is None if content is None else _holds(holds, content, cell)
            for content, cell in zip(contents, cells.to_pylist(), strict=True)
        ],
        bool,
    )


def _holds(holds: Callable[[Any, Any], bool], content: Any, cell: Any) -> bool:
    try:
        return holds(content, cell)
    except (KeyError, TypeError, ValueError):  # none that the column can hold
        return False


def _array(column: TypedColumn, contents: list[Any], kind: pa.DataType) -> pa.Array:
    if column.kind == "N":
        texts = pa.array(contents, pa.string())
        if pa.types.is_floating(kind):
            return pa.array([None if text is None else float(number(text)) for text in contents], pa.float64())
        return pc.cast(texts, kind)  # it refuses what does not fit
    if column.kind == "B":
        plain = [None if text is None else base64.b64decode(text, validate=True) for text in contents]
        return pa.array(plain, kind)
    return pa.array(contents, kind)


class _Rules:
    """One row: what is the matter with it, if anything is."""

    def __init__(self, table: TableConfig, columns: Sequence[TypedColumn]) -> None:
        self._table, self._rules, self.keyless = table, RowRules(columns), 0

    def check(self, row: Sequence[Any], findings: Writer) -> None:
        row_key, image, op, created_at_us, rescued, expired_at_us, hash_key, *cells = row
        item = _item_of_row(self._table.keys, row_key, image)
        if item is None:
            self.keyless += row_key is None
            name = row_key if row_key is not None else f"(row {self.keyless} without a key)"
            findings.add(*finding(name, "state damaged", [AttributeDifference("_item", None, shown(image))]))
            return
        damages = self._rules.damages(item, cells, rescued)
        damages += _damages_of_ours(self._table, item, op, created_at_us, expired_at_us, hash_key)
        if damages:
            findings.add(*finding(row_key, "column damaged", damages))


def _item_of_row(keys: KeySchema, row_key: str | None, image: str | None) -> Item | None:
    """The item of a row; None where it is none, or another than the row is said to be of."""
    try:
        item = parse_item(image or "")
        return item if str(keys.item_key_of(item)) == row_key else None
    except (ValueError, AttributeError):
        return None


def _damages_of_ours(
    table: TableConfig, item: Item, op: Any, created_at_us: Any, expired_at_us: int | None, hash_key: Any
) -> Sequence[AttributeDifference]:
    damages = []
    is_kept = op == "REMOVE" and table.ttl == "keep"
    if op not in ("INSERT", "MODIFY", "READ") and not is_kept:
        damages.append(AttributeDifference("_op", None, shown(op)))
    if not isinstance(created_at_us, int) or created_at_us <= 0:
        damages.append(AttributeDifference("_created_at_us", None, shown(created_at_us)))
    elif expired_at_us != (created_at_us if is_kept else None):
        expected = shown(created_at_us if is_kept else None)
        damages.append(AttributeDifference("_expired_at", expected, shown(expired_at_us)))
    keys = table.keys
    if keys.hash_key.kind != "S":
        expected = KeySchema(keys.hash_key).item_key_of(item).parts[0]
        if hash_key != expected:
            damages.append(AttributeDifference("_hash_key", expected, shown(hash_key)))
    return damages
