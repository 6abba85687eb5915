"""Current state in SQL: the winners of a change log, held to `lake.ordering.latest` by property tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyiceberg.table import Table

from lake.changes import Surface
from lake.config import TableConfig
from lake.engine import CHANGE_STRUCT
from lake.log import key_columns
from lake.sql import identifier
from lake.tables import LogFile, files_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Tables of a connection in which those of a lake have names too: none of theirs holds a space.
_TOUCHED, _SETTLED, _NEWEST = '"items touched"', '"items settled"', '"items newest"'
_STREAMS_ORDER = "(created_at_us, coalesce(sequence_number, ''), event_id)"
# An event id is one change's; where a producer gave it twice, no item may come of it twice.
IS_WINNER = "l.item_key = n.item_key AND l.event_id = n.event_id AND l.created_at_us = n.created_at_us"


def latest_sql(changes: str, surface: Surface) -> str:
    """SQL for the winner of every item in `changes` (SQL for rows of a log), to be joined by `IS_WINNER`.

    Looks at no marks. Items whose greatest instant is tied are settled from all of their rows in `changes`
    by the specification itself.
    """
    if surface == "streams":
        return f"""SELECT item_key, arg_max(event_id, {_STREAMS_ORDER}) AS event_id,
          max(created_at_us) AS created_at_us FROM {changes} GROUP BY item_key"""
    return f"""
    WITH newest AS (
      SELECT item_key, max(created_at_us) AS last_us, arg_max(event_id, created_at_us) AS event_id,
        count(*) AS changes FROM {changes} GROUP BY item_key),
    shared AS (
      SELECT c.item_key FROM {changes} c JOIN newest n ON c.item_key = n.item_key
      WHERE n.changes > 1 AND c.created_at_us >= n.last_us // 1000 * 1000
      GROUP BY c.item_key
      HAVING count_if(c.created_at_us = n.last_us) > 1 OR (count(*) > 1 AND bool_or(c.created_at_us % 1000 = 0))),
    settled AS ({settled_sql(changes, "shared", surface)})
    SELECT item_key, coalesce(s.event_id, n.event_id) AS event_id,
      coalesce(s.created_at_us, n.last_us) AS created_at_us
    FROM newest n LEFT JOIN settled s USING (item_key)"""


def settled_sql(history: str, items: str, surface: Surface) -> str:
    """SQL for the winners of `items`, each from all of its rows in `history`, by the specification."""
    # The order is an inner query's: named beside the lambda, it would be settled anew for each of the item's changes.
    return f"""SELECT item_key, event_id,
        list_max(list_transform(list_filter(changes, lambda c: c.event_id = event_id), lambda c: c.created_at_us))
          AS created_at_us
      FROM (SELECT item_key, changes, in_order_{surface}(changes)[-1] AS event_id
        FROM (SELECT item_key, list({CHANGE_STRUCT}) AS changes
          FROM {history} SEMI JOIN {items} USING (item_key) GROUP BY item_key))"""


def find_tail_winners(con: DuckDBPyConnection, tail: str, log: str, surface: Surface, name: str, columns: str) -> None:
    """Rule 5: fills the table `name` with the winners of the tail's items, live or not.

    `tail` and `log` are SQL for the rows of the tail and of the whole log; `columns` is SQL over a row of the
    log. Late changes are not looked at; items that are tied are settled from the whole log.
    """
    order = _STREAMS_ORDER if surface == "streams" else "created_at_us"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {_TOUCHED} AS
        SELECT item_key, arg_max(event_id, {order}) AS event_id, max(created_at_us) AS created_at_us,
          bool_or(is_tied) AS is_tied
        FROM {tail} WHERE NOT is_late GROUP BY item_key"""
    )
    con.execute(
        f"""CREATE OR REPLACE TABLE {name} AS SELECT {columns}
        FROM {tail} l SEMI JOIN (FROM {_TOUCHED} WHERE NOT is_tied) n ON {IS_WINNER}"""
    )
    tied = con.execute(f"SELECT count(*) FILTER (is_tied) FROM {_TOUCHED}").fetchone()
    if tied and tied[0]:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE {_SETTLED} AS
            {settled_sql(log, f"(FROM {_TOUCHED} WHERE is_tied)", surface)}"""
        )
        con.execute(
            f"""INSERT INTO {name} SELECT {columns} FROM {log} l
            SEMI JOIN {_SETTLED} n ON {IS_WINNER}"""
        )
        con.execute(f"DROP TABLE {_SETTLED}")
    con.execute(f"DROP TABLE {_TOUCHED}")


def find_winners(con: DuckDBPyConnection, log: str, surface: Surface, name: str, columns: str) -> None:
    """Fills the table `name` with the winners of every item of the log, live or not, looking at no marks."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE {_NEWEST} AS {latest_sql(log, surface)}")
    con.execute(
        f"""CREATE OR REPLACE TABLE {name} AS SELECT {columns}
        FROM {log} l SEMI JOIN {_NEWEST} n ON {IS_WINNER}"""
    )
    con.execute(f"DROP TABLE {_NEWEST}")


# SQL over an item's last change: whether a state that keeps what expires keeps the item, as `state_after` says.
IS_KEPT = "l.op = 'REMOVE' AND l.is_ttl AND l.old_image IS NOT NULL"


def winner_columns(table: TableConfig) -> str:
    """SQL over a row of the log, an item's last change, for our columns of the state: `state_after` in SQL.

    Which of the rows the state then holds is said by `LIVES`.
    """
    hash_key = "" if table.keys.hash_key.kind == "S" else f"{_hash_key_text(table)} AS _hash_key, "
    image, expired_at = "l.new_image", "NULL::TIMESTAMP"
    if table.ttl == "keep":  # else old images, half of the log, need not be read
        image = f"CASE WHEN {IS_KEPT} THEN l.old_image ELSE l.new_image END"
        expired_at = f"CASE WHEN {IS_KEPT} THEN make_timestamp(l.created_at_us) END"
    return f"""l.item_key AS _item_key, {hash_key}{image} AS _item, l.created_at_us AS _created_at_us,
      l.op AS _op, {expired_at} AS _expired_at"""


def winner_bucket(table: TableConfig, buckets: int) -> str:
    """SQL over a row of the log for the bucket of its item."""
    return f"key_bucket({buckets}, {_hash_key_text(table)}) AS _bucket"


def _hash_key_text(table: TableConfig) -> str:
    key = identifier(key_columns(table.keys)[0])
    return f"to_base64(l.{key})" if table.keys.hash_key.kind == "B" else f"l.{key}"


def tail_sql(log: Table, files: Sequence[LogFile], covered: int) -> str:
    """SQL for the rows of the log beyond a batch."""
    tail = files_sql(log, [file.path for file in files if file.high > covered])
    return f"(FROM {tail} WHERE batch > {covered})"
