"""Items that the lake has, and that a backfill did not find in the table: what `backfill --prune` reads again.

They are candidates and no more: an item may be there again, or its deletion be on its way to the lake. What is done
about one follows from a consistent read of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
from duckdb import DuckDBPyConnection

from lake import layout
from lake.config import TableConfig
from lake.engine import engine_faults
from lake.errors import ConfigError
from lake.lake import Lake
from lake.sql import identifier, item_key_sql, key_part_sql, literal, paths, pointer
from lake.store import list_objects
from proof.scan import SECOND_US, needs_scratch
from queries.connect import connect

KEYS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run of backfill that has ended: it landed `items` items, all read after `started_us`."""

    run: str
    started_us: int
    items: int


@contextmanager
def unread_items(
    lake: Lake, table: TableConfig, run: FinishedRun, memory_mb: int, now_us: int, ttl_attribute: str | None = None
) -> Iterator[tuple[int, Iterator[str]]]:
    """How many live items there are that the run did not read and that nothing has changed since, and their keys.

    What the lake keeps as expired is not meant, nor, where it keeps such items, one whose `ttl_attribute` has passed
    by `now_us`: the table has it no more, and its expiry may be on its way. Raises LakeError.
    """
    alone = replace(lake, config=replace(lake.config, tables={table.name: table}))
    with tempfile.TemporaryDirectory(prefix="dynalake-prune-") as scratch, needs_scratch(Path(scratch)):
        found = Path(scratch) / "unread.parquet"
        opened = connect(alone, memory_mb)
        con = opened.con
        try:
            opened.make(table.name)
            with engine_faults("find items to prune in"):
                _collect_read(con, lake, table, run)
                count = _collect_unread(con, table, run, found, now_us, ttl_attribute)
        finally:
            con.close()
        yield count, _keys(found)


def _collect_read(con: DuckDBPyConnection, lake: Lake, table: TableConfig, run: FinishedRun) -> None:
    """`read_keys`: the items that the run read, from its raw objects. Raises ConfigError where some are gone."""
    place = lake.place(layout.backfill_objects(table.name, run.run))
    con.execute("CREATE TEMP TABLE read_keys (item_key VARCHAR)")
    if next(list_objects(place, may_be_missing=True), None) is not None:
        texts = [f"texts[{n}]" for n, _ in enumerate(table.keys.attributes, 1)]
        parts = [key_part_sql(a, text) for a, text in zip(table.keys.attributes, texts, strict=True)]
        con.execute(
            f"""INSERT INTO read_keys SELECT {item_key_sql(table.keys, parts)} FROM (
            SELECT json_extract_string(dynamodb."Keys",
              {paths([pointer(a.name, a.kind) for a in table.keys.attributes])}) AS texts
            FROM read_json({literal(f"{place}*.ndjson.zst")}, format = 'newline_delimited', compression = 'zstd',
              hive_partitioning = false, columns = {{dynamodb: 'STRUCT("Keys" JSON)'}}))"""
        )
    row = con.execute("SELECT count(item_key) FROM read_keys").fetchone()
    assert row is not None
    if row[0] < run.items:
        raise ConfigError(
            "prune", table.name, expected=f"the {run.items:,} records of backfill {run.run}", got=f"{row[0]:,}",
            remedy="Its raw objects are gone, or damaged. Run backfill --again --prune: it scans anew",
        )  # fmt: skip


def _collect_unread(
    con: DuckDBPyConnection, table: TableConfig, run: FinishedRun, target: Path, now_us: int, ttl_attribute: str | None
) -> int:
    has_passed = "false"
    if ttl_attribute is not None:
        text = f"json_extract_string(_item, {literal(pointer(ttl_attribute, 'N'))})"
        has_passed = f"coalesce(TRY_CAST({text} AS DOUBLE) <= {now_us / SECOND_US}, false)"
    row = con.execute(
        f"""COPY (SELECT _item_key AS item_key FROM {identifier(table.name)} ANTI JOIN read_keys ON item_key = _item_key
          WHERE _created_at_us < {run.started_us} AND _expired_at IS NULL AND NOT {has_passed})
        TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"""
    ).fetchone()
    assert row is not None
    return int(row[0])


def _keys(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(KEYS_AT_ONCE):
            yield from rows.column(0).to_pylist()
