"""What a batch adds to the log, decided in SQL over narrow columns: duplicates out, late and tied marked.

Expects `landed` (see `compaction.landed`) and the files of one pinned version of the log. Leaves the table
`fresh`: for each change that the log does not hold yet the row of `landed` and its marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compaction.landed import TAKEN
from lake.changes import Surface
from lake.sql import parquet_sql
from lake.tables import LogFile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Copies of a change have one time, but for a switch of precision in between: less than a millisecond.
COPY_SLACK_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Marks:
    """Counts over `fresh`."""

    changes: int
    late: int
    tied: int
    tombstones: int


def plan_batch(con: DuckDBPyConnection, surface: Surface, log_files: Sequence[LogFile]) -> Marks:
    """Fills `fresh`."""
    _unique(con, log_files)
    _mark(con, surface, log_files)
    row = con.execute(
        """SELECT count(*), count(*) FILTER (is_late), count(*) FILTER (is_tied), count(*) FILTER (op = 'REMOVE')
        FROM fresh JOIN landed ON landed.rowid = row_id"""
    ).fetchone()
    assert row is not None
    return Marks(*row)


def _unique(con: DuckDBPyConnection, log_files: Sequence[LogFile]) -> None:
    """One row an event id, of copies the one with the finer time, and none that the log has."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE unseen AS
        SELECT event_id, arg_max(rowid, created_at_us
          + CASE WHEN created_at_us % 1000 <> 0 THEN 1000000000000000000 ELSE 0 END) AS row_id
        FROM landed WHERE verdict = {TAKEN} GROUP BY event_id"""
    )
    files = files_about(log_files, _spans(con))
    if files:
        con.execute(
            f"""DELETE FROM unseen WHERE event_id IN
            (SELECT event_id FROM {parquet_sql(files)} SEMI JOIN unseen USING (event_id))"""
        )


def _spans(con: DuckDBPyConnection) -> list[tuple[int, int]]:
    """The batch's first and last time on each day it touches."""
    return con.execute(
        f"""SELECT min(created_at_us), max(created_at_us) FROM landed WHERE verdict = {TAKEN}
        GROUP BY created_at_us // 86400000000"""
    ).fetchall()


def files_about(files: Sequence[LogFile], spans: Sequence[tuple[int, int]]) -> list[str]:
    """The files in which copies of changes in these spans can be."""
    return [
        file.path
        for file in files
        if any(file.low <= last + COPY_SLACK_US and file.high >= first - COPY_SLACK_US for first, last in spans)
    ]


def _mark(con: DuckDBPyConnection, surface: Surface, log_files: Sequence[LogFile]) -> None:
    """Rule 5: late where the log holds a greater change of the item, tied where its greatest instant is shared."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE arrived AS
        SELECT row_id, item_key, created_at_us, coalesce(sequence_number, '') AS sequence_number,
          landed.event_id
        FROM unseen JOIN landed ON landed.rowid = row_id"""
    )
    earliest = con.execute("SELECT min(created_at_us) // 1000 * 1000 FROM arrived").fetchone()
    later = [f.path for f in log_files if earliest and earliest[0] is not None and f.high >= earliest[0]]
    known = f"""SELECT l.item_key, l.created_at_us, coalesce(l.sequence_number, '') AS sequence_number,
          l.event_id
        FROM {parquet_sql(later) if later else "(FROM landed LIMIT 0)"} l
        JOIN (SELECT item_key, min(created_at_us) // 1000 * 1000 AS since FROM arrived GROUP BY item_key) i
          ON l.item_key = i.item_key AND l.created_at_us >= i.since"""
    con.execute(f"CREATE OR REPLACE TEMP TABLE known AS {known}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE fresh AS {_STREAMS_MARKS if surface == 'streams' else _KDS_MARKS}")


# A native Streams table has a total order: nothing is tied.
_STREAMS_MARKS = """
    SELECT a.row_id, coalesce((a.created_at_us, a.sequence_number, a.event_id) < k.greatest, false) AS is_late,
      false AS is_tied
    FROM arrived a LEFT JOIN (
      SELECT item_key, max((created_at_us, sequence_number, event_id)) AS greatest
      FROM known GROUP BY item_key
    ) k USING (item_key)"""

# The greatest instant of an item: its last microsecond, or the whole millisecond where any change in it
# has a time that is one (`lake.ordering`).
_KDS_MARKS = """
    WITH together AS (
      SELECT item_key, created_at_us, false AS is_known FROM arrived
      UNION ALL SELECT item_key, created_at_us, true FROM known),
    last AS (
      SELECT item_key, max(created_at_us) AS last_us,
        max(created_at_us) FILTER (is_known) AS known_us FROM together GROUP BY item_key),
    instant AS (
      SELECT item_key, any_value(known_us) AS known_us,
        count_if(created_at_us = last_us) > 1
          OR (count(*) > 1 AND bool_or(created_at_us % 1000 = 0)) AS is_tied
      FROM together JOIN last USING (item_key)
      WHERE created_at_us // 1000 = last_us // 1000 GROUP BY item_key)
    SELECT a.row_id, coalesce(NOT is_tied AND a.created_at_us < known_us, false) AS is_late, is_tied
    FROM arrived a JOIN instant USING (item_key)"""
