"""Lakes for tests: made from a stand-in's history, read back, and held against it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
from pyiceberg.table import Table

import standin
from compaction.compact import CompactReport, compact
from compaction.refresh import RefreshReport, refresh
from compaction.settings import Settings
from lake.attributes import canonical_image
from lake.catalog import load_table, open_catalog
from lake.changes import Surface, Ttl
from lake.config import TableConfig
from lake.keys import KeyAttribute, KeyKind, KeySchema
from lake.lake import Lake, add_table, create_lake
from lake.store import put
from queries.connect import connect
from tests.records import text

NOW_US = 1_800_000_000_000_000
SETTINGS = Settings(NOW_US, memory_mb=1024, threads=2)
SCHEMA = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
Items = dict[str, dict]


def new_lake(
    root: Path | str, name: str = "orders", keys: KeySchema = SCHEMA, surface: Surface = "kds", buckets: int = 4,
    ttl: Ttl = "delete",
) -> Lake:  # fmt: skip
    """A lake with one table."""
    return add_table(create_lake(root), TableConfig("", name, keys, surface, buckets, ttl=ttl))


def ten_items(root: Path) -> Lake:
    """A lake with two batches of five items each, of which the state covers one."""
    lake = new_lake(root)
    for n in (1, 2):
        Path(lake.raw, f"{n}").write_bytes(b"\n".join(text(f"{n}/{i}") for i in range(5)))
        compacted(lake)
        if n == 1:
            refreshed(lake)
    return lake


def with_ttl(lake: Lake, ttl: Ttl) -> Lake:
    """The lake as it is opened once its one table has another policy."""
    changed = replace(only_table(lake), ttl=ttl)
    return replace(lake, config=replace(lake.config, tables={changed.name: changed}))


def only_table(lake: Lake) -> TableConfig:
    (table,) = lake.config.tables.values()
    return table


def table(lake: Lake, name: str) -> Table:
    """An Iceberg table of the lake, as it is now."""
    found = load_table(open_catalog(lake), name)
    assert found is not None
    return found


def compacted(lake: Lake, **options: object) -> CompactReport:
    return compact(lake, only_table(lake), SETTINGS, **options)  # type: ignore[arg-type]


def refreshed(lake: Lake, full: bool = False) -> RefreshReport:
    return refresh(lake, only_table(lake), SETTINGS, full)


def land(lake: Lake, objects: Iterable[standin.FirehoseObject]) -> None:
    """Writes Firehose objects under `raw/`, a later one of the same key over the earlier."""
    for one in objects:
        put(f"{lake.raw.rstrip('/')}/{one.key}", one.body)


def land_records(lake: Lake, name: str, records: Iterable[bytes | dict]) -> Path:
    """Writes records as one plain object."""
    path = Path(lake.raw) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def expected_items(keys: KeySchema, items: Iterable[dict]) -> Items:
    """Canonical images by item key, as a table has them."""
    return {str(keys.item_key_of(item)): canonical_image(item) for item in items}


def expired_items(keys: KeySchema, table: standin.Table, at_us: int | None = None) -> tuple[Items, set[str]]:
    """What a table kept of the items that had expired by an instant; and those of which nobody can tell.

    Of two deletes of an item in one instant either may have been the last, for what there is after each is the same.
    """
    histories: dict[str, list[standin.Change]] = {}
    for change in table.changes:
        if at_us is None or change.at_us <= at_us:
            histories.setdefault(str(keys.item_key_of(change.keys)), []).append(change)
    kept: Items = {}
    unsure = set()
    for key, changes in histories.items():
        last = changes[-1]
        removes = [one for one in changes if one.op == "REMOVE" and one.at_us // 1000 == last.at_us // 1000]
        if last.op == "REMOVE" and len(removes) > 1:
            unsure.add(key)
        elif last.op == "REMOVE" and last.ttl and last.old is not None:
            kept[key] = canonical_image(last.old)
    return kept, unsure


def items_of(con: duckdb.DuckDBPyConnection, relation: str) -> Items:
    """Canonical images by item key, as the lake has them; an item that comes twice fails."""
    found: Items = {}
    for key, image in con.execute(f"SELECT _item_key, _item FROM {relation}").fetchall():
        assert key not in found, f"{key} is there twice in {relation}"
        found[key] = canonical_image(json.loads(image))
    return found


def fresh_items(lake: Lake) -> Items:
    con = connect(lake, 1024, 2)
    try:
        return items_of(con, only_table(lake).name)
    finally:
        con.close()


def rows(lake: Lake, query: str) -> list[tuple]:
    con = connect(lake, 1024, 2)
    try:
        return con.execute(query).fetchall()
    finally:
        con.close()


def timestamp(us: int) -> str:
    """SQL for an instant."""
    text = (
        datetime.datetime.fromtimestamp(0, datetime.UTC).replace(tzinfo=None) + datetime.timedelta(microseconds=us)
    ).isoformat(" ")
    return f"TIMESTAMP '{text}'"


def schema_of(hash_kind: KeyKind, range_kind: KeyKind | None) -> KeySchema:
    return KeySchema(KeyAttribute("pk", hash_kind), KeyAttribute("sk", range_kind) if range_kind else None)
