"""Since when a table's past is whole in the lake: before, `orders_as_of` would answer with rows missing or wrong.

A READ is dated before it was read, so that changes win over it: a backfill says what an item was at the *end* of its
run, not at the times that its READs bear. So the past begins where the first backfill ended, or with the log where
there was none; and the READs of a later run say nothing of an instant before that run's end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table

from lake import layout
from lake.config import TableConfig
from lake.errors import LakeError
from lake.lake import Lake
from lake.log import lineage
from lake.sql import literal, refusing
from lake.store import list_objects, read
from lake.tables import batch_of, data_files

SECOND_US = 1_000_000
T = TypeVar("T")
_WITHOUT_ZONE = r"\s*[0-9]+-[0-9]+-[0-9]+([ T]+[0-9:.]*)?\s*"
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)


class _Begun(msgspec.Struct):
    run: str


class _Ended(msgspec.Struct):
    run: str
    finished_us: int


class _GivenUp(msgspec.Struct):
    given_up_us: int


class _Export(msgspec.Struct):
    export: str
    from_us: int | None
    until_us: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A backfill: where its raw objects lie, when it ended (None where it has not), and whether it is all there is.

    That it is where it read everything, and all of that is in the log.
    """

    place: str
    ended_us: int | None
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Past:
    """From `since_us` on an instant can be asked for; `reason` says why not of one before."""

    since_us: float
    reason: str
    readings: tuple[Reading, ...] = ()

    def changes_sql(self, changes: str, moment: str) -> str:
        """SQL for the rows of a log that tell of the items at an instant (SQL for a timestamp in UTC).

        There are none at an instant that cannot be asked for, which `guarded` refuses.
        """
        conditions = [until_sql(moment), f"epoch_us({moment}) >= {self._since}"]
        for one in self.readings:
            is_of_it = f"op = 'READ' AND contains(raw_object, {literal(one.place)})"
            ends_later = "" if one.ended_us is None else f" AND epoch_us({moment}) < {one.ended_us}"
            conditions.append(f"NOT ({is_of_it}{ends_later})")
        return f"(SELECT * FROM {changes} WHERE {' AND '.join(conditions)})"

    def guarded(self, rows: str, columns: Mapping[str, str], moment: str, table: str) -> str:
        """SQL for the same rows, of these columns and types, that fails where the instant cannot be asked for."""
        refusal = literal(f"{table} as of ")
        reason = literal(f": the past of {table} is not known then, for {self.reason}")
        refusal = f"""CASE WHEN coalesce(epoch_us({moment}) < {self._since}, true)
          THEN error({refusal} || coalesce(CAST({moment} AS VARCHAR), 'NULL') || {reason}) END"""
        return refusing(rows, refusal, columns)

    @property
    def _since(self) -> str:
        return f"{self.since_us}::BIGINT" if self.since_us < math.inf else "NULL::BIGINT"


def moment_sql(given: str) -> str:
    """SQL for an instant as a timestamp in UTC, given SQL for a text or a time: a text without an offset is in UTC.

    So it is whatever the zone of the connection.
    """
    text = f"CAST({given} AS VARCHAR)"
    return f"""CASE WHEN regexp_full_match({text}, {literal(_WITHOUT_ZONE)}) THEN CAST({text} AS TIMESTAMP)
      ELSE timezone('UTC', CAST({text} AS TIMESTAMPTZ)) END"""


def until_sql(moment: str) -> str:
    """SQL over a row of the log: whether it had happened at an instant. Only the days until then are read for it."""
    return f"event_time <= {moment} AND created_at_us <= epoch_us({moment})"


def find_past(lake: Lake, table: TableConfig, log: Table, ledger: Table | None) -> Past:
    """The past of a table by the pinned log and what of the ledger is of its batches. Raises LakeError."""
    found = [*_backfills(lake, table), *_exports(lake, table)]
    taken_in = _taken_in(log, ledger) if any(one.is_whole for one in found) else pa.chunked_array([], pa.string())
    readings = [replace(one, is_whole=one.is_whole and _is_in(lake, one, taken_in)) for one in found]
    log_begins_us = min((file.low for file in data_files(log, "created_at_us")), default=None)
    ends = [one.ended_us for one in readings if one.ended_us is not None and one.is_whole]
    if ends:
        first = min(ends)
        reason = f"what was in the table before was read by a backfill that was complete at {_told(first)}"
        return Past(first, reason, tuple(readings))
    if any(one.is_whole for one in found):
        return Past(math.inf, f"what a backfill read is not in its log yet: run dynalake compact {table.name}")
    if readings:
        return Past(math.inf, "a backfill was begun that has not ended: run it again")
    if log_begins_us is None:
        return Past(math.inf, "its log is empty")
    return Past(log_begins_us, f"its log begins at {_told(log_begins_us)}, and no backfill brought what was before")


def _taken_in(log: Table, ledger: Table | None) -> pa.ChunkedArray:
    """The raw objects that a log has taken in."""
    if ledger is None:
        return pa.chunked_array([], pa.string())
    ours = f"lineage == '{lineage(log)}' AND batch <= {batch_of(log)}"  # the ledger may be newer
    return ledger.scan(row_filter=ours, selected_fields=("uri",)).to_arrow()["uri"]


def _is_in(lake: Lake, reading: Reading, taken_in: pa.ChunkedArray) -> bool:
    """Whether all raw objects of a backfill that are there were taken in, from here or from a copy elsewhere."""
    names = {one.uri.rpartition("/")[2] for one in list_objects(lake.place(reading.place[1:]), may_be_missing=True)}
    ours = taken_in.filter(pc.match_substring(taken_in, reading.place))
    return names <= {uri.rpartition("/")[2] for uri in ours.to_pylist()}


def _backfills(lake: Lake, table: TableConfig) -> list[Reading]:
    folder = lake.place(layout.backfill_folder(table.name))
    names = sorted(one.uri.rpartition("/")[2] for one in list_objects(folder, may_be_missing=True))
    found = []
    for name in names:
        if match := re.fullmatch(r"(\d{6})\.json", name):
            number = int(match[1])
            done, void = layout.backfill_end(table.name, number), layout.backfill_void(table.name, number)
            is_done, is_void = (place.rpartition("/")[2] in names for place in (done, void))
            ended = None
            if is_void:  # it read some items, and is never complete
                ended = _decoded(lake.place(void), _GivenUp).given_up_us
            elif is_done:
                ended = _decoded(lake.place(done), _Ended).finished_us
            run = _decoded(folder + name, _Begun).run
            place = "/" + layout.backfill_objects(table.name, run)
            # DynamoDB tells its clock in whole seconds.
            found.append(Reading(place, None if ended is None else ended + SECOND_US, is_done and not is_void))
    return [one if one.ended_us is not None else _left(one, found[n:]) for n, one in enumerate(found)]


def _left(reading: Reading, later: Sequence[Reading]) -> Reading:
    """A run that was left for another: nobody reads for it any more once that one has ended."""
    return replace(reading, ended_us=min((one.ended_us for one in later if one.ended_us is not None), default=None))


def _exports(lake: Lake, table: TableConfig) -> list[Reading]:
    """Full exports: what is in an incremental one bears the time at which it was written."""
    folder = lake.place(layout.export_notes(table.name))
    names = {one.uri.rpartition("/")[2] for one in list_objects(folder, may_be_missing=True)}
    found = []
    for name in sorted(names):
        if not layout.is_export_note(name):
            continue
        note = _decoded(folder + name, _Export)
        if note.from_us is None:
            is_done = layout.export_end(table.name, note.export).rpartition("/")[2] in names
            place = "/" + layout.export_objects(table.name, note.export)
            found.append(Reading(place, note.until_us + SECOND_US, is_done))
    return found


def _decoded(place: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(read(place) or b"", type=kind)
    except (OSError, msgspec.DecodeError) as fault:
        raise LakeError(
            "read backfills of", place, expected="what backfill has written", got=str(fault),
            remedy="Delete it, and run backfill again",
        ) from fault  # fmt: skip


def _told(us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=us)} UTC"
