"""The scan against the lake's view, row by row: most items are the same at once, the rest become suspects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lake.config import TableConfig
from lake.keys import KeySchema
from lake.sql import identifier
from lake.state import own_columns
from proof.columns import AttributeDifference, RowRules
from proof.evidence import Evidence, Writer, finding
from proof.scan import Progress, Scanned
from proof.values import Item, parse_item, same_item, shown
from proof.view import View

ROWS_AT_ONCE = 256  # as Python objects; items may be large


@dataclass(frozen=True, slots=True)
class Compared:
    """How many items the lake has, how many there are in either, and how many were equal at once, columns and all."""

    items_in_lake: int
    compared: int
    equal: int


def compare(view: View, table: TableConfig, scanned: Scanned, evidence: Evidence, progress: Progress) -> Compared:
    """Holds all items of the scan and all rows of the view against each other. Writes `reads` and `findings`."""
    twice = _find_repeated_rows(view, table, evidence)
    pairs = _pairs(view, table, scanned.sql)
    checker = _RowChecker(table, view, scanned)
    with evidence.writer("reads") as reads, evidence.writer("findings") as findings:
        for done, pair in enumerate(pairs, start=1):
            checker.check(pair, reads, findings)
            if done % 10_000 == 0:
                progress(done, max(done, scanned.items))
    row = view.con.execute(f"SELECT count(DISTINCT _item_key) FROM {identifier(table.name)}").fetchone()
    assert row is not None
    return Compared(row[0], checker.compared + twice, checker.equal)


def _find_repeated_rows(view: View, table: TableConfig, evidence: Evidence) -> int:
    """Items of which the current state has more than one row; they are compared no further."""
    rows = view.con.execute(
        f"""SELECT _item_key, count(*) FROM {identifier(table.name)} WHERE _item_key IS NOT NULL
        GROUP BY _item_key HAVING count(*) > 1"""
    )
    repeated = 0
    with evidence.writer("findings") as findings:
        while part := rows.fetchmany(ROWS_AT_ONCE):
            repeated += len(part)
            for key, count in part:
                findings.add(*finding(key, "state damaged", [AttributeDifference("(item)", "once", f"{count} times")]))
    return repeated


def _pairs(view: View, table: TableConfig, scan: str) -> Iterator[tuple[Any, ...]]:
    """Rows of both sides, joined: the scan's four columns, ours, then the typed ones."""
    ours = ["_item_key", "_item", "_op", "_created_at_us", "_rescued"]
    expired_at = "epoch_us(v._expired_at)"
    hash_key = "_hash_key" if "_hash_key" in own_columns(table) else "NULL"
    chosen = [*(f"v.{name}" for name in ours), expired_at, hash_key, *(f"v.{identifier(c.name)}" for c in view.columns)]
    reader = view.con.execute(
        f"""SELECT s.item_key, s.image, s.version_us, s.until_us, v.is_row, {", ".join(chosen)}
        FROM {scan} s FULL JOIN (SELECT *, true AS is_row FROM {identifier(table.name)}) v ON s.item_key = v._item_key
        WHERE coalesce(s.item_key, v._item_key, '') NOT IN (SELECT item_key FROM evidence.findings)"""
    ).to_arrow_reader()
    for batch in reader:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            part = batch.slice(start, ROWS_AT_ONCE)
            yield from zip(*(column.to_pylist() for column in part.columns), strict=True)


class _RowChecker:
    def __init__(self, table: TableConfig, view: View, scanned: Scanned) -> None:
        self.compared = self.equal = 0
        self._table, self._scanned, self._rules = table, scanned, RowRules(view.columns)

    def check(self, pair: tuple[Any, ...], reads: Writer, findings: Writer) -> None:
        item_key, image, version_us, until_us, is_row, *row = pair
        self.compared += 1
        if not is_row:
            reads.add(item_key, 0, image, version_us, until_us)
            return
        row_key, row_image, op, created_at_us, rescued, expired_at_us, hash_key, *cells = row
        item = _item_of_row(self._table.keys, row_key, row_image)
        if item is None:
            shown_row = AttributeDifference("_item", None, shown(row_image))
            name = row_key if row_key is not None else f"(row {self.compared} without a key)"
            findings.add(*finding(name, "state damaged", [shown_row]))
            return
        damages = self._rules.damages(item, cells, rescued)
        damages += _damages_of_ours(self._table, item, op, created_at_us, expired_at_us, hash_key)
        if damages:
            findings.add(*finding(row_key, "column damaged", damages))
        if item_key is None:
            reads.add(row_key, 0, None, self._scanned.version_us, self._scanned.until_us)
        elif expired_at_us is None and (image == row_image or same_item(parse_item(image), item)):
            self.equal += not damages
        else:
            reads.add(item_key, 0, image, version_us, until_us)


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
