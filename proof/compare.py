"""Three accounts of every item held against each other: the table's, the current state's and the log's.

Each is made narrow first (a row an item: its key, a digest of its image and little else) and parted by a hash of the
key, so that what is joined is bounded, whatever the size of the table. Nearly all items are the same in all three.
Where the images' texts differ between table and state they may yet be spelled alike but for the order of their
attributes, and white space: that is looked at for those alone. The rest become suspects, to be judged by their history.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import msgspec
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

from lake.columns import LIVES
from lake.config import TableConfig
from lake.sql import empty_rows, identifier, literal, parquet_sql
from proof.columns import AttributeDifference
from proof.evidence import Evidence, finding
from proof.rows import check_rows
from proof.scan import Progress, Scanned
from proof.values import same_text
from proof.view import View

PART_ROWS_A_MB = 500  # of memory, of each account in one part, about: some 100 bytes each
PARTS_MAX = 1_024
ROWS_AT_ONCE = 256
_ACCOUNTS = ("in_table", "in_state", "op", "created_at_us", "is_kept", "in_log", "last_op", "last_us")
_DIGEST = "unhex(md5({}))"
_UNDAMAGED = "item_key NOT IN (SELECT item_key FROM evidence.findings WHERE item_key IS NOT NULL)"
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Compared:
    """How many items the lake has, and its tail of them; how many there are in either, and were equal at once."""

    items_in_lake: int
    items_in_tail: int
    compared: int
    equal: int


def compare(
    view: View,
    table: TableConfig,
    scanned: Scanned,
    evidence: Evidence,
    folder: Path,
    memory_mb: int,
    progress: Progress,
) -> Compared:
    """Holds all items of the scan, all rows of the view and all items of the log against each other.

    Where the scan was of chosen items, only these. Writes `reads` and `findings`.
    """
    comparison = _Comparison(view, table, scanned, evidence, folder, memory_mb)
    keyless = check_rows(view, table, comparison.chosen("_item_key"), scanned.items, evidence, progress)
    compared = comparison.run()
    return replace(compared, compared=compared.compared + keyless)


class _Comparison:
    def __init__(
        self, view: View, table: TableConfig, scanned: Scanned, evidence: Evidence, folder: Path, memory_mb: int
    ) -> None:
        self._con, self._table, self._scanned, self._evidence = view.con, table, scanned, evidence
        self._view, self._log = identifier(table.name), identifier(f"{table.name}_changes")
        self._tail = view.touched
        self._folder, self._memory_mb, self._parts = folder, memory_mb, 1
        self._con.create_function("spelling", _spelling, [VARCHAR], VARCHAR, type=PythonUDFType.ARROW)

    def chosen(self, key: str, word: str = "WHERE") -> str:
        """SQL behind a relation for the items that the scan was to look at."""
        return f"{word} {key} IN (SELECT item_key FROM {self._scanned.sql})" if self._scanned.is_of_some else ""

    def run(self) -> Compared:
        rows = self._count(f"SELECT count(*) FROM {self._view} {self.chosen('_item_key')}")
        self._parts = max(1, min(PARTS_MAX, int(max(rows, self._scanned.items) / (self._memory_mb * PART_ROWS_A_MB))))
        accounts = [
            self._parted("table", f"SELECT item_key, {_DIGEST.format('image')} AS digest FROM {self._scanned.sql}"),
            self._parted(
                "state",
                f"""SELECT _item_key AS item_key, {_DIGEST.format("_item")} AS digest, _op AS op,
                _created_at_us AS created_at_us, _expired_at IS NOT NULL AS is_kept
                FROM {self._view} {self.chosen("_item_key")}""",
            ),
            self._parted("log", self._changes_of_log()),
        ]
        compared = equal = in_lake = 0
        for n in range(self._parts):
            in_table, in_state, in_log = (account(n) for account in accounts)
            counts = self._compare_part(in_table, in_state, self._last_of_log(in_log))
            compared, equal, in_lake = compared + counts[0], equal + counts[1], in_lake + counts[2]
        equal += self._compare_unlike()
        self._read_suspects()
        in_tail = self._count(f"SELECT count(*) FROM {self._tail} WHERE {LIVES} {self.chosen('_item_key', 'AND')}")
        return Compared(in_lake, in_tail, compared, equal)

    def _changes_of_log(self) -> str:
        """SQL for every change in the log, with what it leaves of its item: `digest` is NULL where that is nothing."""
        kept = "old_image" if self._table.ttl == "keep" else "NULL"  # else half of the log need not be read
        left = f"CASE WHEN op <> 'REMOVE' THEN new_image WHEN is_ttl THEN {kept} END"
        number = "sequence_number, event_id, " if self._table.surface == "streams" else ""
        return f"""SELECT item_key, created_at_us, {number}op, {_DIGEST.format(left)} AS digest
          FROM {self._log} {self.chosen("item_key")}"""

    def _last_of_log(self, changes: str) -> str:
        """SQL for the last change of each item; of several at one time any, to be looked at closely."""
        order = "created_at_us"
        if self._table.surface == "streams":
            order = "(created_at_us, coalesce(sequence_number, ''), event_id)"
        return f"""(SELECT item_key, max(created_at_us) AS last_us, arg_max(op, {order}) AS op,
          arg_max_null(digest, {order}) AS digest FROM {changes} GROUP BY item_key)"""

    def _parted(self, name: str, rows: str) -> Callable[[int], str]:
        """Writes an account to scratch, in parts by a hash of the key; gives SQL for one of them."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        schema = self._con.execute(f"DESCRIBE {rows}").fetchall()
        if self._parts == 1:
            path = folder / "part.parquet"
            self._con.execute(f"COPY ({rows}) TO {literal(path)} (FORMAT parquet)")
            return lambda n: parquet_sql([str(path)])
        self._con.execute(
            f"""COPY (SELECT *, (hash(item_key) % {self._parts})::INTEGER AS part FROM ({rows}))
            TO {literal(folder)} (FORMAT parquet, PARTITION_BY (part), WRITE_PARTITION_COLUMNS false)"""
        )
        types = {column: kind for column, kind, *_ in schema}

        def part(n: int) -> str:
            files = sorted(str(path) for path in folder.glob(f"part={n}/*.parquet"))
            return parquet_sql(files) if files else f"({empty_rows(types)})"

        return part

    def _compare_part(self, table: str, state: str, log: str) -> tuple[int, int, int]:
        """Of one part: how many items there are in either, how many are equal, how many rows' items the state has."""
        self._find_repeated(state)
        self._con.execute(
            f"""CREATE OR REPLACE TEMP TABLE compared AS
            WITH together AS (
              SELECT item_key, digest AS in_table FROM {table}
              UNION ALL BY NAME SELECT item_key, digest AS in_state, op, created_at_us, is_kept FROM {state}
              UNION ALL BY NAME SELECT item_key, digest AS in_log, op AS last_op, last_us FROM {log}),
            items AS (
              SELECT item_key, {", ".join(f"any_value({column}) AS {column}" for column in _ACCOUNTS)}
              FROM together WHERE item_key IS NOT NULL GROUP BY item_key
              HAVING in_table IS NOT NULL OR in_state IS NOT NULL OR in_log IS NOT NULL)
            SELECT item_key, in_state IS NOT NULL AS has_row,
              CASE WHEN in_state IS NULL THEN in_log IS NULL
                ELSE coalesce(last_us = created_at_us AND last_op = op AND in_log = in_state, false) END AS follows_log,
              in_table IS NOT NULL AS is_there, has_row AND NOT is_kept AS is_live,
              follows_log AND is_there AND coalesce(is_live, false) AS is_plain,
              is_plain AND in_table = in_state AS is_same, is_plain AND in_table <> in_state AS is_unlike,
              NOT follows_log OR is_there <> coalesce(is_live, false) AS is_suspect
            FROM items"""
        )
        self._con.execute("INSERT INTO evidence.suspects SELECT item_key FROM compared WHERE is_suspect")
        self._con.execute("INSERT INTO evidence.unlike SELECT item_key FROM compared WHERE is_unlike")
        row = self._con.execute(
            f"""SELECT count(*), count(*) FILTER (is_same AND {_UNDAMAGED}), count(*) FILTER (has_row)
            FROM compared"""
        ).fetchone()
        assert row is not None
        return row

    def _find_repeated(self, state: str) -> None:
        """Items of which the current state has more than one row."""
        rows = self._con.execute(
            f"""SELECT item_key, count(*) FROM {state} WHERE item_key IS NOT NULL
            GROUP BY item_key HAVING count(*) > 1"""
        )
        with self._evidence.writer("findings") as findings:
            while some := rows.fetchmany(ROWS_AT_ONCE):
                for key, count in some:
                    times = [AttributeDifference("(item)", "once", f"{count} times")]
                    findings.add(*finding(key, "state damaged", times))

    def _compare_unlike(self) -> int:
        """Of the items whose images' texts differ: how many are equal; the others become suspects."""
        if not self._count("SELECT count(*) FROM evidence.unlike"):
            return 0
        spelled = {
            "table": f"""SELECT item_key, spelling(image) AS digest
              FROM {self._scanned.sql} SEMI JOIN evidence.unlike USING (item_key)""",
            "state": f"""SELECT item_key, spelling(_item) AS digest
              FROM (SELECT _item_key AS item_key, _item FROM {self._view})
              SEMI JOIN evidence.unlike USING (item_key)""",
        }
        table, state = (self._parted(f"spelled-{name}", rows) for name, rows in spelled.items())
        equal = 0
        for n in range(self._parts):
            self._con.execute(
                f"""CREATE OR REPLACE TEMP TABLE compared AS SELECT item_key, s.digest = v.digest AS is_same
                FROM {table(n)} s JOIN (SELECT DISTINCT ON (item_key) * FROM {state(n)}) v USING (item_key)"""
            )
            equal += self._count(f"SELECT count(*) FROM compared WHERE is_same AND {_UNDAMAGED}")
            self._con.execute(
                "DELETE FROM evidence.unlike WHERE item_key IN (SELECT item_key FROM compared WHERE is_same)"
            )
        return equal + self._compare_one_by_one()

    def _compare_one_by_one(self) -> int:
        """What is unlike still: equal are numbers however spelled and sets in any order. The rest become suspects."""
        # Sorted, not joined: a join, and what is distinct by a key, would hold the images in memory.
        images = self._con.execute(
            f"""SELECT item_key, 0 AS side, image, {_UNDAMAGED} FROM {self._scanned.sql}
              SEMI JOIN evidence.unlike USING (item_key)
            UNION ALL SELECT item_key, 1, _item, NULL FROM (SELECT _item_key AS item_key, _item FROM {self._view})
              SEMI JOIN evidence.unlike USING (item_key)
            ORDER BY item_key, side"""
        )
        rows = (row for some in iter(lambda: images.fetchmany(ROWS_AT_ONCE), []) for row in some)
        equal = 0
        with self._evidence.writer("suspects") as suspects:
            for key, group in groupby(rows, key=itemgetter(0)):
                (_, _, image, is_undamaged), (_, _, row_image, _) = islice(group, 2)  # a row may be there twice
                if same_text(image, row_image):
                    equal += is_undamaged
                else:
                    suspects.add(key)
        return equal

    def _read_suspects(self) -> None:
        """What the scan gave of the suspects, if anything, into `reads`."""
        scan = self._scanned
        self._con.execute(
            f"""INSERT INTO evidence.reads SELECT item_key, 0, image, coalesce(version_us, {scan.version_us}),
              coalesce(until_us, {scan.until_us})
            FROM evidence.suspects LEFT JOIN
              (FROM {scan.sql} SEMI JOIN evidence.suspects USING (item_key)) USING (item_key)"""
        )

    def _count(self, sql: str) -> int:
        row = self._con.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


def _spelling(texts: pa.ChunkedArray) -> pa.Array:
    """A digest of each item that the order of its attributes plays no part in; of what is no item, of its text."""
    return pa.array([_spelled(text) for text in texts.to_pylist()], pa.string())


def _spelled(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        plain = _encode(_decode(text))
    except (msgspec.DecodeError, RecursionError):
        plain = b"?" + text.encode(errors="surrogatepass")
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
