"""`gaps`: holes in the histories of items, found by their image chains over the whole change log.

Three passes, each over what the one before it could not clear. The first looks at every change, in DuckDB: the texts
of images as numbers, a window by item over rows of a few bytes. Where the texts differ, the second compares the items
that they spell. What is left then are the items that have a hole, and those whose tied changes the first pass put in
an order that does not chain: their histories are judged by the rules (`chains`), one after the other.

Both passes may call a chain broken that is not, never the other way round: what chains without a hole in the order
that they look at has none by the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection
from duckdb.func import FunctionNullHandling, PythonUDFType
from duckdb.sqltypes import BIGINT, VARCHAR
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.config import TableConfig
from lake.engine import connect_engine, engine_faults, use_s3
from lake.lake import Lake
from lake.log import changes_sql, masks_column, masks_since
from lake.sql import identifier, paths
from proof.chains import CAUSES, Cause, Hole, Link, find_holes
from proof.images import image_hash, kds_bytes
from proof.values import differing_attributes, parse_item, shown

ROWS_AT_ONCE = 2_000
IMAGES_AT_ONCE = 50  # of holes that are shown: whole ones
ATTRIBUTES_SHOWN_MAX = 20
_EPOCH = datetime.fromtimestamp(0, UTC)
_OURS = """item_key, op, created_at_us, event_id, source, new_image, old_image, batch, sequence_number,
  raw_object"""  # not the keys': they may have any name
# DuckDB's hash takes eight bytes at a time, and what differs in the last of them reaches eight bits of the hash only:
# texts that differ in two such places collide once in 256. Moved by four bytes they do not.
_TEXT_HASH = "CREATE TEMP MACRO text_hash(t) AS hash(hash(t), hash('four' || t))"
_BROKEN, _SEAM, _UNTOLD = 0, 1, 2  # what a pair of changes may be, if it is not plainly right
_HOLES = """item_key VARCHAR, earlier_id VARCHAR, earlier_op VARCHAR, earlier_us BIGINT, later_id VARCHAR,
  later_op VARCHAR, later_us BIGINT, cause INTEGER, is_repaired BOOLEAN"""
_HOLE_NAMES = [column.split()[0] for column in _HOLES.split(",")]

Repair = Callable[[Iterator[str], int], None]
"""Given the keys of the items that have an unrepaired hole, and how many they are."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing is judged that is younger than `lateness_seconds`, counted back from the newest change or from now.

    `limit` holes are told, of those that are repaired only where `tell_repaired`.
    """

    now_us: int
    lateness_seconds: float = 3_600.0
    limit: int = 20
    tell_repaired: bool = False
    memory_mb: int = 4096
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A change beside a hole: `time` in UTC, and the raw object that brought it."""

    time: str
    op: str
    event_id: str
    raw_object: str | None


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """What the earlier change `left` of an attribute and what the later one `found`; None where there was none."""

    name: str
    left: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Two changes of an item between which one at least is missing, or whose times are not in their order."""

    item_key: str
    cause: Cause
    is_repaired: bool
    earlier: Told
    later: Told
    attributes: tuple[ImageDifference, ...]


@dataclass(frozen=True, slots=True)
class GapsReport:
    """What the chains tell. `holes` = `repaired` + `unrepaired`, these in `items` items and by their `causes`.

    `changes` are those of the stream that were made by `judged_through`. `seams` are pairs of them that landed under
    different masks, `untold` those without the image before: these are not judged.
    """

    table: str
    changes: int = 0
    judged_through: str | None = None
    holes: int = 0
    repaired: int = 0
    unrepaired: int = 0
    items: int = 0
    seams: int = 0
    untold: int = 0
    causes: dict[Cause, int] | None = None
    gaps: tuple[Gap, ...] = ()


@engine_faults("find gaps in")
def find_gaps(lake: Lake, table: TableConfig, settings: Settings, repair: Repair | None = None) -> GapsReport:
    """The holes in a table's history, as its log is now. Raises LakeError."""
    log = load_table(open_catalog(lake), layout.log_table(table.name))
    if log is None or log.current_snapshot() is None:
        return GapsReport(table.name, causes={})
    con = connect_engine(settings.memory_mb, settings.threads)
    try:
        use_s3(con, lake.uri)
        _register(con)
        search = _Search(con, log, table, settings)
        report = search.run()
        if repair is not None and report.items:
            repair(search.items(), report.items)
        return report
    finally:
        con.close()


class _Search:
    """One run over one version of the log. What it finds is in the engine's tables, which may spill."""

    def __init__(self, con: DuckDBPyConnection, log: Table, table: TableConfig, settings: Settings) -> None:
        self._con, self._table, self._settings = con, table, settings
        masks = identifier(masks_column(table.keys))
        con.execute(f"CREATE TEMP VIEW log AS SELECT {_OURS}, {masks} AS masks FROM {changes_sql(log, table)}")
        self._since, self._masks, self._until_us = masks_since(log), "''", 0

    def run(self) -> GapsReport:
        newest_us, masked = self._row("SELECT max(created_at_us) FILTER (source = 'stream'), count(masks) FROM log")
        if newest_us is None:
            return GapsReport(self._table.name, causes={})
        if masked or self._table.masks:  # NULL where nobody knows
            self._masks = f"CASE WHEN batch >= {self._since} THEN coalesce(masks, '') END"
        lateness_us = int(self._settings.lateness_seconds * 1e6)
        self._until_us = max(0, min(self._settings.now_us, newest_us) - lateness_us)
        self._con.execute(f"CREATE TABLE holes ({_HOLES})")
        if self._compare_texts() and self._compare_items():
            self._judge()
        return self._report()

    def items(self) -> Iterator[str]:
        """The keys of the items that have an unrepaired hole."""
        rows = self._con.execute("SELECT DISTINCT item_key FROM holes WHERE NOT is_repaired ORDER BY item_key")
        while part := rows.fetchmany(ROWS_AT_ONCE):
            yield from (key for (key,) in part)

    def _compare_texts(self) -> bool:
        """Fills `pairs` with the changes of which it is not plain that they go on where the one before them ended.

        False where none is broken.
        """
        number = "sequence_number" if self._table.surface == "streams" else "0"
        self._con.execute(
            f"""CREATE TEMP TABLE pairs AS SELECT item, earlier, later, verdict FROM (
              SELECT item, id AS later, lag(id) OVER chain AS earlier, CASE
                WHEN before IS NULL THEN {_UNTOLD}
                WHEN masks IS NULL OR masks IS DISTINCT FROM lag(masks) OVER chain THEN {_SEAM}
                WHEN before <> lag(after) OVER chain THEN {_BROKEN} END AS verdict
              FROM (
                SELECT text_hash(item_key) AS item, created_at_us, {number} AS number, text_hash(event_id) AS id,
                  {self._masks} AS masks, {_before("text_hash")} AS before, {_after("text_hash")} AS after
                FROM log WHERE source = 'stream' AND created_at_us <= {self._until_us})
              WINDOW chain AS (PARTITION BY item ORDER BY created_at_us, number, id))
            WHERE verdict IS NOT NULL AND earlier IS NOT NULL"""
        )
        return bool(self._row(f"SELECT count(*) FILTER (verdict = {_BROKEN}) FROM pairs")[0])

    def _compare_items(self) -> bool:
        """Fills `suspects` with the items of which a pair is broken however its images are spelled; False for none."""
        for name, id_column, image in (("left", "earlier", _after), ("found", "later", _before)):
            self._con.execute(
                f"""CREATE TEMP TABLE "{name}" AS SELECT text_hash(event_id) AS id, {image("image_hash")} AS image
                FROM log WHERE source = 'stream'
                AND text_hash(event_id) IN (SELECT {id_column} FROM pairs WHERE verdict = {_BROKEN})"""
            )
        self._con.execute(
            f"""CREATE TEMP TABLE suspects AS SELECT DISTINCT item FROM pairs
            JOIN "left" l ON l.id = earlier JOIN "found" f ON f.id = later
            WHERE verdict = {_BROKEN} AND l.image <> f.image"""
        )
        return bool(self._row("SELECT count(*) FROM suspects")[0])

    def _judge(self) -> None:
        """Fills `holes` with those of the suspects."""
        held: list[tuple[Any, ...]] = []
        with self._con.cursor() as cursor:
            for (item_key, read_us), rows in groupby(self._histories(), key=lambda row: row[:2]):
                history = (Link(*row[2:]) for row in rows)
                for hole in find_holes(history, self._table.surface, self._until_us):
                    held.append(_row_of(item_key, hole, read_us))
                    if len(held) == ROWS_AT_ONCE:
                        _insert(cursor, held)
            _insert(cursor, held)

    def _histories(self) -> Iterator[tuple[Any, ...]]:
        """All changes of the suspects, item by item in order: narrow rows, numbers in the place of images."""
        ours = "FROM log SEMI JOIN suspects ON text_hash(item_key) = item"
        reader = self._con.execute(
            f"""WITH reads AS (SELECT item_key, max(created_at_us) AS read_us {ours}
              WHERE source <> 'stream' GROUP BY item_key)
            SELECT item_key, coalesce(read_us, -1), created_at_us, event_id, op, source, {self._masks} AS masks,
              {_before("image_hash")} AS before, {_after("image_hash")} AS after,
              {_bytes("old_image")} AS before_bytes, {_bytes("new_image")} AS after_bytes
            FROM (SELECT * {ours}) LEFT JOIN reads USING (item_key)
            ORDER BY item_key, created_at_us, coalesce(sequence_number, ''), event_id"""
        ).to_arrow_reader(ROWS_AT_ONCE)
        for batch in reader:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _report(self) -> GapsReport:
        (changes,) = self._row(
            f"SELECT count(*) FROM log WHERE source = 'stream' AND created_at_us <= {self._until_us}"
        )
        seams, untold = self._row(
            f"SELECT count(*) FILTER (verdict = {_SEAM}), count(*) FILTER (verdict = {_UNTOLD}) FROM pairs"
        )
        holes, repaired, items = self._row(
            """SELECT count(*), count(*) FILTER (is_repaired), count(DISTINCT item_key) FILTER (NOT is_repaired)
            FROM holes"""
        )
        causes = self._con.execute(
            "SELECT cause, count(*) FROM holes WHERE NOT is_repaired GROUP BY cause ORDER BY cause"
        ).fetchall()
        return GapsReport(
            self._table.name, changes, _time(self._until_us), holes, repaired, holes - repaired, items, seams, untold,
            {CAUSES[cause]: count for cause, count in causes}, tuple(self._told()),
        )  # fmt: skip

    def _told(self) -> Iterator[Gap]:
        """The first holes by item and time, with what their images say."""
        chosen = "" if self._settings.tell_repaired else "WHERE NOT is_repaired"
        found = self._con.execute(
            f"SELECT * FROM holes {chosen} ORDER BY item_key, later_us, later_id LIMIT {self._settings.limit}"
        ).fetchall()
        for start in range(0, len(found), IMAGES_AT_ONCE):
            part = found[start : start + IMAGES_AT_ONCE]
            left = self._images("new_image", [row[1] for row in part])
            later = self._images("old_image", [row[4] for row in part])
            for key, earlier_id, earlier_op, earlier_us, later_id, later_op, later_us, cause, is_repaired in part:
                (before, earlier_object), (after, later_object) = left[earlier_id], later[later_id]
                yield Gap(
                    key, CAUSES[cause], is_repaired,
                    Told(_time(earlier_us), earlier_op, earlier_id, earlier_object),
                    Told(_time(later_us), later_op, later_id, later_object), _differences(before, after),
                )  # fmt: skip

    def _images(self, image: str, event_ids: list[str]) -> dict[str, tuple[str | None, str | None]]:
        """An image of some changes, and the raw objects that brought them."""
        rows = self._con.execute(
            f"SELECT event_id, {image}, raw_object FROM log WHERE event_id IN (SELECT unnest({paths(event_ids)}))"
        ).fetchall()
        return {event_id: (text, raw_object) for event_id, text, raw_object in rows}

    def _row(self, sql: str) -> tuple[Any, ...]:
        row = self._con.execute(sql).fetchone()
        assert row is not None
        return row


def _before(function: str) -> str:
    """SQL for the state before a change as a number: 0 where the item was absent, NULL where the record is silent."""
    return f"CASE WHEN old_image IS NOT NULL THEN {function}(old_image) WHEN op = 'INSERT' THEN 0 END"


def _after(function: str) -> str:
    return f"CASE WHEN op = 'REMOVE' OR new_image IS NULL THEN 0 ELSE {function}(new_image) END"


def _bytes(image: str) -> str:
    """SQL for the bytes of an image as KDS writes it."""
    return f"""CASE WHEN {image} IS NULL THEN 0
      WHEN contains({image}, '"B":"') OR contains({image}, '"BS":[') THEN kds_bytes({image}) ELSE strlen({image}) END"""


def _register(con: DuckDBPyConnection) -> None:
    con.execute(_TEXT_HASH)
    for name, function in (("image_hash", image_hash), ("kds_bytes", kds_bytes)):
        con.create_function(
            name, _each(function), [VARCHAR], BIGINT, type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )  # fmt: skip


def _each(function: Callable[[str], int]) -> Any:
    """A vectorised form; of the images that it is given only one at a time is a Python object."""

    def apply(texts: pa.ChunkedArray) -> pa.Array:
        return pa.array((None if text is None else function(text) for text in _texts(texts)), pa.int64())

    return apply


def _texts(texts: pa.ChunkedArray) -> Iterator[str | None]:
    return (text.as_py() for text in texts)


def _row_of(item_key: str, hole: Hole, read_us: int) -> tuple[Any, ...]:
    """A hole is repaired once the lake has read the item at or after its end: the present is right again."""
    earlier, later = hole.earlier, hole.later
    return (
        item_key, earlier.event_id, earlier.op, earlier.created_at_us, later.event_id, later.op, later.created_at_us,
        CAUSES.index(hole.cause), read_us >= later.created_at_us,
    )  # fmt: skip


def _insert(cursor: DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    columns = [pa.array(values) for values in zip(*rows, strict=True)]
    cursor.register("added", pa.table(columns, names=_HOLE_NAMES))
    cursor.execute("INSERT INTO holes FROM added")
    cursor.unregister("added")
    rows.clear()


def _differences(left: str | None, found: str | None) -> tuple[ImageDifference, ...]:
    try:
        one, other = (None if text is None else parse_item(text) for text in (left, found))
    except ValueError:
        return (ImageDifference("(item)", shown(left), shown(found)),)
    if one is None or other is None:
        return (ImageDifference("(item)", shown(one), shown(other)),)
    names: Sequence[str] = differing_attributes(one, other)[:ATTRIBUTES_SHOWN_MAX]
    return tuple(ImageDifference(name, shown(one.get(name)), shown(other.get(name))) for name in names)


def _time(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
