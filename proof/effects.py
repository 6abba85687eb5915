"""What changes that have not been taken in yet would do to their items: judged from the items' whole histories.

Nothing is written. The changes are held in DuckDB, which spills them, and so are the histories of their items: the
log is read once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.changes import Change, Surface, Ttl
from lake.config import TableConfig
from lake.engine import connect_engine, engine_faults, use_s3
from lake.keys import ItemKey
from lake.lake import Lake
from lake.ordering import ItemState, in_order, state_after
from lake.tables import scan_sql
from proof.values import same_text

Effect = Literal["adds the item", "changes the item", "removes the item", "history only", "known"]
EFFECTS: tuple[Effect, ...] = ("adds the item", "changes the item", "removes the item", "history only", "known")
READ_AT_ONCE = 200  # two images of 400 KB may be in each
HELD_BYTES = 8 << 20
HELD_MAX = 20_000
_KEY = ItemKey(("",))  # an item's changes are told apart by their group
_COLUMNS = ("item_key", "op", "created_at_us", "event_id", "new_image", "old_image", "is_ttl", "source",
            "sequence_number")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ItemEffect:
    """One change, and what it would do; `created_at_us` is its time."""

    table: str
    item_key: str
    op: str
    created_at_us: int
    event_id: str
    effect: Effect


def effects_on(
    history: Sequence[Change], candidates: Sequence[Change], surface: Surface = "kds", ttl: Ttl = "delete"
) -> list[Effect]:
    """What each of the candidates does to their one item, all of them taken in together. Pure.

    One does something to the current item where it is the last change then; where older ones settle a tie anew, that
    is said of the last of them.
    """
    known = {change.event_id for change in history}
    before = in_order(history, surface)
    after = in_order([*history, *candidates], surface)
    effect = _effect(_state(before, ttl), _state(after, ttl))
    told: set[str] = set()
    fresh = [change.event_id for change in after if change.event_id not in known]
    found: list[Effect] = []
    for one in candidates:
        if one.event_id in known or one.event_id in told:
            found.append("known")
            continue
        told.add(one.event_id)
        found.append(effect if one.event_id == fresh[-1] else "history only")
    return found


def _state(ordered: Sequence[Change], ttl: Ttl) -> ItemState | None:
    return state_after(ordered[-1] if ordered else None, ttl)


def _effect(before: ItemState | None, after: ItemState | None) -> Effect:
    if before is None or after is None:
        return "history only" if before is after else "adds the item" if before is None else "removes the item"
    is_same = before.expired_at_us == after.expired_at_us and same_text(before.image, after.image)
    return "history only" if is_same else "changes the item"


class Effects:
    """Collects changes by table, and judges them all against the lake's logs as of now. Raises LakeError."""

    def __init__(self, lake: Lake, memory_mb: int) -> None:
        self._con = connect_engine(memory_mb)
        self._held: list[tuple[Any, ...]] = []
        self._size = 0
        use_s3(self._con, lake.uri)
        self._logs: dict[str, str] = {}
        if lake.is_on_s3 or lake.config.catalog or (lake.root / layout.CATALOG).exists():  # to open one is to make it
            catalog = open_catalog(lake)
            logs = {name: load_table(catalog, layout.log_table(name)) for name in lake.config.tables}
            self._logs = {name: scan_sql(log) for name, log in logs.items() if log is not None}
        self._con.execute(
            """CREATE TEMP TABLE candidates ("table" VARCHAR, item_key VARCHAR, op VARCHAR, created_at_us BIGINT,
            event_id VARCHAR, new_image VARCHAR, old_image VARCHAR, is_ttl BOOLEAN, source VARCHAR,
            sequence_number VARCHAR)"""
        )

    def close(self) -> None:
        self._con.close()

    def add(self, table: TableConfig, change: Change) -> None:
        """A change that is not in the log, or may be."""
        values = [getattr(change, name) for name in _COLUMNS[1:]]
        self._held.append((table.name, str(change.item_key), *values))
        self._size += len(change.new_image or "") + len(change.old_image or "")
        if self._size >= HELD_BYTES or len(self._held) == HELD_MAX:
            self._write()

    @engine_faults("hold changes to judge in")
    def _write(self) -> None:
        if self._held:
            columns = dict(zip(("table", *_COLUMNS), map(list, zip(*self._held, strict=True)), strict=True))
            schema = self._con.execute("SELECT * FROM candidates LIMIT 0").to_arrow_table().schema
            self._con.register("added", pa.table(columns, schema=schema))
            self._con.execute("INSERT INTO candidates FROM added")
            self._con.unregister("added")
            self._held.clear()
            self._size = 0

    def judged(self, tables: Iterable[TableConfig]) -> Iterator[ItemEffect]:
        """Every change that was added and what it would do, by table, item and time."""
        self._write()
        for table in tables:
            yield from self._judged(table)

    def _judged(self, table: TableConfig) -> Iterator[ItemEffect]:
        names = ", ".join(_COLUMNS)
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE ours AS SELECT {names} FROM candidates WHERE "table" = ?""", [table.name]
        )
        histories = "ours WHERE false"
        if table.name in self._logs:
            histories = f"{self._logs[table.name]} SEMI JOIN ours USING (item_key)"
        result = self._con.execute(
            f"""SELECT true AS is_known, {names} FROM {histories} UNION ALL SELECT false, {names} FROM ours
            ORDER BY item_key, created_at_us, event_id"""
        )
        rows = iter(lambda: result.fetchmany(READ_AT_ONCE), [])
        for key, group in groupby((row for part in rows for row in part), key=lambda row: row[1]):
            sides: dict[bool, list[Change]] = {True: [], False: []}
            for is_known, _, op, created, event_id, new, old, is_ttl, source, number in group:
                change = Change(_KEY, op, created, event_id, new, old, is_ttl, source, number)
                sides[is_known].append(change)
            found = effects_on(sides[True], sides[False], table.surface, table.ttl)
            for change, effect in zip(sides[False], found, strict=True):
                yield ItemEffect(table.name, key, change.op, change.created_at_us, change.event_id, effect)


@engine_faults("judge changes by")
def counted(
    effects: Iterable[ItemEffect], limit: int, show: Callable[[ItemEffect], None]
) -> Counter[tuple[str, Effect]]:
    """How many there are of each effect, by table; the first ones are shown."""
    counts: Counter[tuple[str, Effect]] = Counter()
    for n, one in enumerate(effects):
        counts[one.table, one.effect] += 1
        if n < limit:
            show(one)
    return counts
