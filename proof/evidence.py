"""What is known of the items that were not the same at once: a scratch database beside each opened view.

Tables of `evidence`: `unlike` and `suspects` (items that `compare` cannot call equal), `reads` (what DynamoDB gave,
reads in order), `pending` (items to be judged), `rows` and
`history` (theirs in the lake, of one version of it), `judged`, `findings`. Nothing is held in Python but an item
at a time: in a lake that is empty yet, all items are pending.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection

from lake.changes import Change
from lake.config import TableConfig
from lake.dynamodb import Source
from lake.keys import ItemKey
from lake.ordering import ItemState
from lake.sql import identifier, literal
from proof.columns import AttributeDifference
from proof.history import Judgement, Read, Verdict, judge
from proof.report import KINDS, Difference, Kind
from proof.scan import MARGIN_US, Scanned
from proof.values import canonical_item, differing_attributes, parse_item, same_text, shown
from proof.view import View

WRITTEN_AT_ONCE = 1_000
READ_AT_ONCE = 256
ATTRIBUTES_SHOWN_MAX = 20
_DAMAGED = KINDS.index("state damaged")
_KEY = ItemKey(("",))  # the log's text says which item it is
_NO_STATE = ItemState(None)
_TABLES = {
    "unlike": "item_key VARCHAR",
    "suspects": "item_key VARCHAR",
    "reads": "item_key VARCHAR, n INTEGER, image VARCHAR, version_us BIGINT, until_us BIGINT",
    "pending": "item_key VARCHAR",
    "rows": "item_key VARCHAR, image VARCHAR, expired_at_us BIGINT",
    "history": "item_key VARCHAR, op VARCHAR, created_at_us BIGINT, event_id VARCHAR, source VARCHAR, "
    "new_image VARCHAR, old_image VARCHAR, is_ttl BOOLEAN, sequence_number VARCHAR",
    "judged": "item_key VARCHAR, verdict VARCHAR",
    "findings": "item_key VARCHAR, kind INTEGER, attributes VARCHAR",
}
_EVERYTHING = """
    SELECT item_key, 0 AS part, n, image, version_us, until_us, NULL AS event_id, NULL AS op, NULL AS source,
      NULL AS old_image, NULL AS is_ttl, NULL AS sequence_number, NULL AS expired_at_us
    FROM evidence.reads SEMI JOIN evidence.pending USING (item_key)
    UNION ALL
    SELECT item_key, 1, 0, image, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, expired_at_us
    FROM evidence.rows SEMI JOIN evidence.pending USING (item_key)
    UNION ALL
    SELECT item_key, 2, 0, new_image, created_at_us, NULL, event_id, op, source, old_image, is_ttl,
      sequence_number, NULL
    FROM evidence.history SEMI JOIN evidence.pending USING (item_key)
    ORDER BY item_key, part, n"""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An item with all that is known of it; `row` is what the current state has of it, if it is there."""

    item_key: str
    reads: list[Read]
    until_us: int
    row: ItemState | None
    changes: list[Change]

    @property
    def live_image(self) -> str | None:
        """What the table should hold by the state's account: nothing of an item that expired."""
        return self.row.image if self.row is not None and self.row.expired_at_us is None else None


class Evidence:
    """The scratch database, attached to one view after the other."""

    def __init__(self, folder: Path, table: TableConfig) -> None:
        self._path, self._table = folder / "evidence.duckdb", table
        self._con: DuckDBPyConnection | None = None
        self._touched = ""

    def attach(self, view: View) -> None:
        """Goes on with this view; the one before must be closed."""
        view.con.execute(f"ATTACH {literal(self._path)} AS evidence")
        for name, columns in _TABLES.items():
            view.con.execute(f"CREATE TABLE IF NOT EXISTS evidence.{name} ({columns})")
        self._con, self._touched = view.con, view.touched

    @property
    def con(self) -> DuckDBPyConnection:
        assert self._con is not None
        return self._con

    def writer(self, name: str) -> Writer:
        return Writer(self.con, name)

    def collect(self) -> None:
        """Takes the pending items' rows and changes from the view."""
        table = self._table.name
        for name, source, key in (("rows", table, "_item_key"), ("history", f"{table}_changes", "item_key")):
            columns = "_item_key, _item, epoch_us(_expired_at)" if name == "rows" else ", ".join(_names(name))
            self.con.execute(f"DELETE FROM evidence.{name}")
            self.con.execute(
                f"""INSERT INTO evidence.{name} SELECT {columns} FROM {identifier(source)} l
                SEMI JOIN evidence.pending p ON l.{key} = p.item_key"""
            )

    def await_judgement(self) -> None:
        """Makes every item that was read pending."""
        self.con.execute("INSERT INTO evidence.pending SELECT DISTINCT item_key FROM evidence.reads")

    def suspect_overtaken(self, scanned: Scanned, batch: int) -> Counter[str]:
        """Makes pending what was the same at once, but only because the lake was behind the scan.

        With A→B→A, both on their way, the lake's A was the table's; where only A→B has come since, it is so no
        longer. `batch` is the last one looked at. Counts them as `absent` in the table, `equal` or else `other`.
        """
        of_chosen = f" AND item_key IN (SELECT item_key FROM {scanned.sql})" if scanned.is_of_some else ""
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE overtaken AS SELECT DISTINCT item_key
            FROM {identifier(self._table.name + "_changes")} c
            WHERE batch > {batch} AND created_at_us <= {scanned.until_us}
            AND NOT EXISTS (FROM evidence.reads r WHERE r.item_key = c.item_key){of_chosen}"""
        )
        self.con.execute(
            f"""CREATE OR REPLACE TEMP TABLE "overtaken reads" AS
            SELECT o.item_key, 0 AS n, image, coalesce(version_us, {scanned.version_us}) AS version_us,
              coalesce(until_us, {scanned.until_us}) AS until_us
            FROM overtaken o LEFT JOIN (SELECT * FROM {scanned.sql} SEMI JOIN overtaken USING (item_key)) s
              ON s.item_key = o.item_key
            WHERE o.item_key NOT IN (SELECT item_key FROM evidence.findings WHERE kind = {_DAMAGED})"""
        )
        rows = self.con.execute(
            """SELECT CASE WHEN image IS NULL THEN 'absent' WHEN f.item_key IS NULL THEN 'equal' ELSE 'other' END,
              count(*) FROM "overtaken reads" o LEFT JOIN evidence.findings f ON o.item_key = f.item_key GROUP BY ALL"""
        ).fetchall()
        self.con.execute('INSERT INTO evidence.reads FROM "overtaken reads"')
        self.con.execute('INSERT INTO evidence.pending SELECT item_key FROM "overtaken reads"')
        return Counter(dict(rows))

    def judge_pending(self) -> int:
        """Judges the pending items; gives how many still are. Damage is written down at once."""
        with self.writer("judged") as judged, self.writer("findings") as findings:
            for suspect in self._suspects():
                result = judge(
                    suspect.reads, suspect.until_us, suspect.row, suspect.changes, self._table.surface, self._table.ttl
                )
                judged.add(suspect.item_key, result.verdict)
                if result.verdict in ("state damaged", "log damaged"):
                    findings.add(*finding(suspect.item_key, result.verdict, _damaged_attributes(suspect, result)))
        still: Verdict = "pending"
        self.con.execute("DELETE FROM evidence.pending")
        self.con.execute(f"INSERT INTO evidence.pending SELECT item_key FROM evidence.judged WHERE verdict = '{still}'")
        self.con.execute("DELETE FROM evidence.judged")
        return self.count("pending")

    def read_again(self, source: Source, name: str, items_max: int) -> None:
        """Adds a consistent re-read of pending items, of those first that were read least often."""
        items = self.con.execute(
            f"""SELECT item_key, count(*) FROM evidence.pending JOIN evidence.reads USING (item_key)
            GROUP BY ALL ORDER BY 2, 1 LIMIT {items_max}"""
        ).fetchall()
        keys = self._table.keys
        with self.writer("reads") as reads:
            for start in range(0, len(items), WRITTEN_AT_ONCE):
                part = items[start : start + WRITTEN_AT_ONCE]
                version_us = source.server_us() - MARGIN_US
                wanted = [json.dumps(keys.values_of(key), ensure_ascii=False) for key, *_ in part]
                found = {}
                for page in source.get_items(name, wanted):
                    for image in page.items:
                        found[str(keys.item_key_of(parse_item(image)))] = image.decode()
                for key, n in part:
                    reads.add(key, n, found.get(key), version_us, None)

    def conclude(self) -> None:
        """Writes down what is pending still, when there is no more waiting."""
        with self.writer("findings") as findings:
            for suspect in self._suspects():
                latest = suspect.reads[-1].image
                findings.add(*finding(suspect.item_key, _kind(suspect), _attributes(latest, suspect.live_image)))

    def count(self, table: str) -> int:
        row = self.con.execute(f"SELECT count(*) FROM evidence.{table}").fetchone()
        assert row is not None
        return int(row[0])

    def counts(self) -> dict[Kind, int]:
        """How many items there are of each kind of difference; of an item the first kind counts."""
        rows = self.con.execute(
            "SELECT kind, count(*) FROM (SELECT min(kind) AS kind FROM evidence.findings GROUP BY item_key) "
            "GROUP BY kind ORDER BY kind"
        ).fetchall()
        return {KINDS[kind]: count for kind, count in rows}

    def differences(self, limit: int) -> tuple[Difference, ...]:
        """The first ones by item key."""
        rows = self.con.execute(
            f"""WITH first AS MATERIALIZED (
              SELECT item_key, min(kind) AS kind FROM evidence.findings GROUP BY 1 ORDER BY 1 LIMIT {limit})
            SELECT item_key, kind, min(attributes), item_key IN (SELECT _item_key FROM {self._touched})
            FROM evidence.findings SEMI JOIN first USING (item_key, kind) GROUP BY item_key, kind ORDER BY item_key"""
        ).fetchall()
        return tuple(
            Difference(
                key, KINDS[kind], tuple(AttributeDifference(**fields) for fields in json.loads(attributes)), in_tail
            )
            for key, kind, attributes, in_tail in rows
        )

    def keys(self, kind: Kind) -> Iterator[str]:
        """The items of this kind of difference, by key."""
        found = self.con.execute(
            f"""SELECT item_key FROM evidence.findings GROUP BY item_key
            HAVING min(kind) = {KINDS.index(kind)} ORDER BY item_key"""
        )
        while rows := found.fetchmany(WRITTEN_AT_ONCE):
            yield from (key for (key,) in rows)

    def _suspects(self) -> Iterator[Suspect]:
        result = self.con.execute(_EVERYTHING)
        rows = iter(lambda: result.fetchmany(READ_AT_ONCE), [])
        for key, group in groupby((row for part in rows for row in part), key=lambda row: row[0]):
            reads: list[Read] = []
            changes: list[Change] = []
            row, answered_us = None, 0
            for (
                _,
                part,
                n,
                image,
                time_us,
                until_us,
                event_id,
                op,
                source,
                old_image,
                is_ttl,
                number,
                expired_us,
            ) in group:
                if part == 0:
                    reads.append(Read(image, time_us))
                    answered_us = until_us if n == 0 else answered_us
                elif part == 1:
                    row = ItemState(image, expired_us)
                else:
                    changes.append(Change(_KEY, op, time_us, event_id, image, old_image, is_ttl, source, number))
            yield Suspect(key, reads, answered_us, row, changes)


class Writer:
    """Appends rows to a table of `evidence`, some at a time, while its connection is being read from."""

    def __init__(self, con: DuckDBPyConnection, name: str) -> None:
        self._con, self._name, self._rows = con.cursor(), name, list[tuple[Any, ...]]()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._con.close()

    def add(self, *values: Any) -> None:
        self._rows.append(values)
        if len(self._rows) == WRITTEN_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = [pa.array(values) for values in zip(*self._rows, strict=True)]
        self._con.register("added", pa.table(columns, names=_names(self._name)))
        self._con.execute(f"INSERT INTO evidence.{self._name} FROM added")
        self._con.unregister("added")
        self._rows.clear()


def _names(table: str) -> list[str]:
    return [column.split()[0] for column in _TABLES[table].split(", ")]


def _kind(suspect: Suspect) -> Kind:
    """What to call an item that nothing has proven: it differs only where the table's side has come to rest."""
    first, latest = suspect.reads[0].image, suspect.reads[-1].image
    is_at_rest = all(same_text(first, read.image) for read in suspect.reads)
    # Seen once only, it may have changed since; but then the lake would know something of it.
    if not is_at_rest or (len(suspect.reads) == 1 and suspect.changes):
        return "unproven"
    if suspect.live_image is None:
        return "missing in the lake"
    return "extra in the lake" if latest is None else "differs"


def finding(item_key: str, kind: Kind, attributes: Sequence[AttributeDifference]) -> tuple[str, int, str]:
    """A row of `findings`."""
    return item_key, KINDS.index(kind), json.dumps([asdict(one) for one in attributes[:ATTRIBUTES_SHOWN_MAX]])


def _attributes(table: str | None, lake: str | None) -> list[AttributeDifference]:
    if table is None or lake is None:
        return [AttributeDifference("(item)", _shown_text(table), _shown_text(lake))]
    try:
        one, other = parse_item(table), parse_item(lake)
        canonical_item(other)
    except ValueError:
        return [AttributeDifference("(item)", _shown_text(table), _shown_text(lake))]
    names = differing_attributes(one, other)[:ATTRIBUTES_SHOWN_MAX]
    return [AttributeDifference(name, shown(one.get(name)), shown(other.get(name))) for name in names]


def _damaged_attributes(suspect: Suspect, result: Judgement) -> list[AttributeDifference]:
    """The row against the table; where these agree, against what the log says that it must be."""
    attributes = _attributes(suspect.reads[-1].image, suspect.live_image)
    if attributes and not same_text(suspect.reads[-1].image, suspect.live_image):
        return attributes
    expected, row = (one or _NO_STATE for one in (result.expected, suspect.row))
    told = _attributes(expected.image, row.image)
    if expected.expired_at_us != row.expired_at_us:
        told.append(AttributeDifference("_expired_at", shown(expected.expired_at_us), shown(row.expired_at_us)))
    return [AttributeDifference(f"{one.name} in the log", one.table, one.lake) for one in told]


def _shown_text(image: str | None) -> str | None:
    if image is None:
        return None
    try:
        return shown(parse_item(image))
    except ValueError:
        return shown(image)
