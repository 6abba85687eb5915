"""`explain`: the whole story of one item, gathered from the log, its raw objects, the dead letters and the table.

However many changes an item has, they go through in the order of time and are spooled: what is held of each is its
event id and where it came from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.changes import Change
from lake.config import TableConfig
from lake.dynamodb import Source
from lake.engine import engine_faults
from lake.errors import LakeError
from lake.keys import ItemKey
from lake.lake import Lake
from lake.log import lineage
from lake.masked import masked_source
from lake.masks import TableMasks, masked_keys
from lake.ordering import settle_instants, state_after
from lake.secret import open_mask_key
from lake.sql import empty_rows, identifier, literal, parquet_sql
from lake.state import is_made_from
from lake.tables import batch_of, data_files, scan_sql
from proof.copies import Copy, Progress, search
from proof.letters import Letters, letters_naming
from proof.story import (
    Holding,
    StateRow,
    TableItem,
    Tie,
    ToldChange,
    Verdict,
    changed_attributes,
    fits,
    holding,
    judge_item,
    left_by,
    placed,
    strays,
    utc,
)
from proof.view import open_view

_ROWS = 64  # fetched at once: an image may have 400 KB
_QUEUED = 10_000
_COLUMNS = ("op", "created_at_us", "event_id", "new_image", "old_image", "is_ttl", "source", "sequence_number",
            "shard_id", "batch", "raw_object", "is_late", "is_tied")  # fmt: skip
_QUEUE = '"objects to search"'  # no table of a lake has a name with a space


@dataclass(frozen=True, slots=True)
class Settings:
    """`search_raw` looks through every object of the ledger; `images` keeps whole images for the telling.

    `plain_key` are the item's key values before masks, as DynamoDB has them: only so is an item with a masked key found
    in the table.
    """

    search_raw: bool = False
    images: bool = False
    plain_key: tuple[str, ...] | None = None
    memory_mb: int = 4096
    threads: int | None = None
    progress: Progress = lambda *_: None


@dataclass(frozen=True, slots=True)
class Story:
    """All that there is to tell of an item. `changes` may be gone through again and again while the story is open.

    `strays` are records of the item in raw objects that are no copies of what the log has; `faults` the objects that
    could not be read to their end; `searched` how many were looked through; `ledger_objects` how many there are.
    """

    table: str
    item_key: str
    change_count: int
    late: int
    copies_dropped: int
    ties: tuple[Tie, ...]
    strays: tuple[Copy, ...]
    faults: dict[str, str]
    searched: int
    ledger_objects: int
    dead_letters: Letters
    log: Holding | None
    state: StateRow
    queries: Holding | None
    in_table: TableItem
    verdict: Verdict
    changes: Callable[[], Iterator[ToldChange]]


@contextmanager
def explain(
    lake: Lake, table: TableConfig, item_key: str, source: Callable[[], Source] | None, settings: Settings
) -> Iterator[Story]:
    """The story of one item; its spool goes when the context ends. `source` makes what reads the table, None leaves it.

    Raises LakeError where the lake cannot be read; a table that cannot is told of.
    """
    with tempfile.TemporaryDirectory(prefix="dynalake-story-") as scratch:
        with engine_faults("explain"):
            story = _gather(lake, table, item_key, source, settings, _Told(Path(scratch) / "changes"))
        yield story


def _gather(
    lake: Lake, table: TableConfig, item_key: str, source: Callable[[], Source] | None, settings: Settings, told: _Told
) -> Story:  # fmt: skip
    letters, dead = letters_naming(lake, table, item_key)
    view = open_view(lake, table, settings.memory_mb, settings.threads)
    con, state, log = view.con, view.state, view.log
    try:
        _read_log(con, table, item_key, told, settings.images)
        row = _state_row(con, table, item_key, state, log, told)
        queries = _row(con, identifier(table.name), item_key)
        total, ledger_objects = _queue(con, lake, table, item_key, log, settings.search_raw)
        searched = search(_queued(con), total, table, item_key, dead.holds, settings.progress)
    finally:
        con.close()
    in_table = _in_table(lake, table, item_key, source, settings.plain_key)
    must_be = holding(state_after(told.last, table.ttl), told.last)
    return Story(
        table=table.name,
        item_key=item_key,
        change_count=told.count,
        late=told.late,
        copies_dropped=sum(len(placed(change, searched).copies) for change in told.changes()),
        ties=tuple(told.ties),
        strays=tuple(strays(searched, told.event_ids)),
        faults=searched.faults,
        searched=searched.objects,
        ledger_objects=ledger_objects,
        dead_letters=letters,
        log=must_be,
        state=row,
        queries=queries,
        in_table=in_table,
        verdict=judge_item(table.name, told.last, must_be, queries, row, in_table, letters),
        changes=lambda: (placed(change, searched) for change in told.changes()),
    )


@dataclass(slots=True)
class _Told:
    """The item's changes in order, spooled."""

    spool: Path
    count: int = 0
    late: int = 0
    last: Change | None = None
    event_ids: set[str] = field(default_factory=set)
    ties: list[Tie] = field(default_factory=list)

    def changes(self) -> Iterator[ToldChange]:
        if not self.count:
            return
        with self.spool.open("rb") as lines:
            for line in lines:
                yield msgspec.json.decode(line, type=ToldChange)


def _item_rows(con: DuckDBPyConnection, table: TableConfig, item_key: str, batch: int | None = None) -> Iterator[Any]:
    """The item's rows of the log by time, each event id once; the filter on the key goes down to Parquet."""
    rows = f"{identifier(table.name + '_changes')} WHERE item_key = {literal(item_key)}"
    if batch is not None:
        rows += f" AND batch <= {batch}"
    counted = con.execute(f"SELECT count(*), count(DISTINCT event_id) FROM {rows}").fetchone()
    assert counted is not None
    once = ""
    if counted[0] != counted[1]:  # of a log that was tampered with
        once = """QUALIFY row_number() OVER
          (PARTITION BY event_id ORDER BY created_at_us % 1000 = 0, created_at_us DESC) = 1"""
    found = con.execute(f"SELECT {', '.join(_COLUMNS)} FROM {rows} {once} ORDER BY created_at_us")
    while some := found.fetchmany(_ROWS):
        yield from some


def _read_log(con: DuckDBPyConnection, table: TableConfig, item_key: str, told: _Told, images: bool) -> None:
    """Spools the item's changes in the order of the specification, with what each changed."""
    provenance: dict[str, tuple[Any, ...]] = {}
    changes = _changes(_item_rows(con, table, item_key), item_key, provenance)
    with told.spool.open("wb") as out:
        for instant in settle_instants(changes, table.surface):
            if instant.ways:
                ids = tuple(change.event_id for change in instant.changes)
                told.ties.append(Tie(utc(instant.changes[0].created_at_us) or "", ids, instant.ways))
            for change in instant.changes:
                one = _tell(change, told.last, provenance.pop(change.event_id), images)
                out.write(msgspec.json.encode(one) + b"\n")
                told.count += 1
                told.late += one.is_late
                told.event_ids.add(change.event_id)
                told.last = change


def _changes(rows: Iterator[Any], item_key: str, provenance: dict[str, tuple[Any, ...]]) -> Iterator[Change]:
    """Rows of the log as changes; what an order has no use for goes to `provenance`, by event id."""
    key = ItemKey((item_key,))
    for op, created_at_us, event_id, new, old, is_ttl, source, number, shard_id, *rest in rows:
        provenance[event_id] = tuple(rest)
        yield Change(key, op, created_at_us, event_id, new, old, bool(is_ttl), source, number, shard_id)


def _tell(change: Change, before: Change | None, provenance: tuple[Any, ...], images: bool) -> ToldChange:
    batch, raw_object, is_late, is_tied = provenance
    before_image = change.old_image if before is None else left_by(before)
    return ToldChange(
        event_time=utc(change.created_at_us) or "",
        created_at_us=change.created_at_us,
        op=change.op,
        source=change.source,
        event_id=change.event_id,
        batch=batch,
        raw_object=raw_object,
        is_late=bool(is_late),
        is_tied=bool(is_tied),
        is_ttl=change.is_ttl,
        changed=changed_attributes(before_image, left_by(change)),
        old_image_fits=fits(change, before),
        sequence_number=change.sequence_number,
        shard_id=change.shard_id,
        new_image=change.new_image if images else None,
        old_image=change.old_image if images else None,
    )


def _state_row(
    con: DuckDBPyConnection, table: TableConfig, item_key: str, state: Table, log: Table, told: _Told
) -> StateRow:
    counts, covered = is_made_from(state, log, table), batch_of(state)
    tail = f"{identifier(table.name + '_changes')} WHERE item_key = {literal(item_key)} AND batch > {covered}"
    counted = con.execute(f"SELECT count(*), count(*) FILTER (NOT is_late) FROM {tail}").fetchone()
    assert counted is not None
    last = told.last
    if counts and counted[0]:
        last = None
        for instant in settle_instants(
            _changes(_item_rows(con, table, item_key, covered), item_key, {}), table.surface
        ):
            last = instant.changes[-1]
    row = None
    if {"_item_key", "_item", "_expired_at"} <= {field.name for field in state.schema().fields}:
        row = _row(con, scan_sql(state), item_key)
    return StateRow(row, covered, counts, counted[0], counted[1] > 0, holding(state_after(last, table.ttl), last))


def _row(con: DuckDBPyConnection, relation: str, item_key: str) -> Holding | None:
    """The item's row in a form of current state."""
    row = con.execute(
        f"""SELECT _item, _op, _created_at_us, epoch_us(_expired_at) FROM {relation}
        WHERE _item_key = {literal(item_key)}"""
    ).fetchone()
    return None if row is None else Holding(row[0], utc(row[3]), row[1], utc(row[2]))


def _queue(
    con: DuckDBPyConnection, lake: Lake, table: TableConfig, item_key: str, log: Table, search_raw: bool
) -> tuple[int, int]:
    """Fills the queue with the objects to look through; gives their number, and that of all in the ledger."""
    ledger = load_table(open_catalog(lake), layout.ledger_table(table.name))
    files = [] if ledger is None else [file.path for file in data_files(ledger, "uri")]
    types = {"uri": "VARCHAR", "lineage": "VARCHAR", "batch": "BIGINT", "duplicates": "BIGINT"}
    entries = parquet_sql(files) if files else f"({empty_rows(types)})"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_QUEUE} AS
        WITH ledger AS (
          SELECT uri, min(batch) AS batch, bool_or(duplicates > 0) AS is_wanted FROM {entries}
          WHERE lineage = {literal(lineage(log))} GROUP BY uri),
        named AS (
          SELECT DISTINCT raw_object AS uri FROM {identifier(table.name + "_changes")}
          WHERE item_key = {literal(item_key)})
        SELECT row_number() OVER (ORDER BY uri) AS n, uri, batch
        FROM ledger FULL JOIN named USING (uri)
        WHERE uri IS NOT NULL AND (named.uri IS NOT NULL OR is_wanted OR {search_raw})"""
    )
    row = con.execute(
        f"""SELECT (SELECT count(*) FROM {_QUEUE}), (SELECT count(DISTINCT uri) FROM {entries}
        WHERE lineage = {literal(lineage(log))})"""
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _queued(con: DuckDBPyConnection) -> Iterator[tuple[str, int | None]]:
    n = 0
    while rows := con.execute(
        f"SELECT uri, batch FROM {_QUEUE} WHERE n > ? AND n <= ? ORDER BY n", [n, n + _QUEUED]
    ).fetchall():
        n += len(rows)
        yield from rows


def _in_table(
    lake: Lake, table: TableConfig, item_key: str, source: Callable[[], Source] | None,
    plain_key: tuple[str, ...] | None,
) -> TableItem:  # fmt: skip
    """What a consistent read gives of the item, behind the table's masks. An item with a masked key is read by its
    plain one: else all of the table would have to be scanned for it."""
    if source is None:
        return TableItem(asked=False)
    is_masked = bool(masked_keys(table.masks, table.keys))
    if is_masked and plain_key is None:
        return TableItem(asked=False, error="its key is masked; the plain one, with --plain, finds it in the table")
    try:
        table_itself = source()
        table_itself.describe(table.dynamodb_name).require_keys("explain", table)
        if is_masked and plain_key is not None:
            masks = TableMasks(table.masks, table.keys, open_mask_key(lake))
            wanted = table.keys.values_of(str(table.keys.item_key(*plain_key)))
            items = [masks.item(item, table.name) for item in _get(table_itself, table, wanted)]
        else:
            items = _get(masked_source(table_itself, lake, table), table, table.keys.values_of(item_key))
    except LakeError as fault:
        return TableItem(asked=True, error=str(fault))
    return TableItem(True, items[0].decode() if items else None)


def _get(source: Source, table: TableConfig, key: dict[str, dict[str, str]]) -> list[bytes]:
    pages = source.get_items(table.dynamodb_name, [msgspec.json.encode(key).decode()])
    return [item for page in pages for item in page.items]
