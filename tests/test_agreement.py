"""The SQL forms agree with the plain Python they stand for: numbers, keys, winners under random marks.

What SQL makes of raw records is in `test_agreement_records`.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compaction.landed import TAKEN, create_landed
from compaction.plan import plan_batch
from lake.attributes import canonical_number
from lake.changes import Change, Op, Source, Surface, Ttl
from lake.columns import LIVES
from lake.config import TableConfig
from lake.current import find_tail_winners, find_winners, latest_sql, winner_columns
from lake.engine import connect_engine
from lake.keys import ItemKey, KeyAttribute, KeySchema
from lake.ordering import ItemState, latest, state_after
from lake.sql import item_key_sql, key_part_sql, literal, parquet_sql
from lake.tables import LogFile

T = 1_700_000_000_000_000
MS = 1_000


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect_engine(1024, 2)
    yield connection
    connection.close()


# Numbers

digits = st.text("0123456789", max_size=45)
zeros = st.integers(0, 45).map(lambda n: "0" * n)
spelled = st.builds(
    lambda sign, lead, whole, point, fraction, trail, exponent: (
        sign + lead + whole + point + fraction + trail + exponent
    ),
    st.sampled_from(["", "", "-", "+"]),
    zeros,
    digits,
    st.sampled_from(["", "."]),
    st.one_of(st.just(""), digits),
    zeros,
    st.one_of(
        st.just(""),
        st.builds(
            lambda e, s, n: f"{e}{s}{n}",
            st.sampled_from("eE"),
            st.sampled_from(["", "+", "-", "-00"]),
            st.integers(0, 160),
        ),
    ),
)
rubbish = st.one_of(st.text("0123456789.+-eE \n_x", max_size=12), st.text(max_size=6))


def canonical_or_none(text: str) -> str | None:
    try:
        return canonical_number(text)
    except ValueError:
        return None


@given(st.lists(st.one_of(spelled, rubbish), min_size=1, max_size=60))
def test_number_is_canonical_number(con: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    found = con.execute("SELECT t, number(t) FROM (SELECT unnest(?::VARCHAR[]) AS t)", [texts]).fetchall()
    assert dict(found) == {text: canonical_or_none(text) for text in texts}


def test_number_on_the_edges(con: duckdb.DuckDBPyConnection) -> None:
    texts = [
        "", ".", "-", "+.", "e1", ".e1", "1.", ".5", "-.5e1", "1e", "1e+", "1E1000000", "1E999999", "1e-999999",
        "0e999999",
        "-0", "-0.000", "00", "+0e-7", "0" * 50 + "1", "9" * 38, "9" * 39, "1" + "0" * 37, "1" + "0" * 38,
        "0." + "0" * 37 + "1",
        "0." + "0" * 38 + "1", "1E-130", "9.99E+125", "-9.9999999999999999999999999999999999999E+125", "1 ", " 1",
        "1\n", "\u0661", "0x1",
        "NaN", "Infinity", "1_0", "1,5", "1\x000", "9" * 40 + "." + "9" * 40, "1e0005", "1e-0005",
    ]  # fmt: skip
    found = con.execute("SELECT t, number(t) FROM (SELECT unnest(?::VARCHAR[]) AS t)", [texts]).fetchall()
    assert dict(found) == {text: canonical_or_none(text) for text in texts}
    assert con.execute("SELECT number(NULL)").fetchall() == [(None,)]


# Keys

key_text = st.one_of(
    st.text("a|\\\"' é", max_size=6), st.text(max_size=6), st.sampled_from(["", "|", "\\", "\\|", "\x00", "😀"])
)
base64_text = st.one_of(
    st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode()),
    st.text("AQ=+/ \n-_", max_size=8),
    st.text(max_size=3),
)
VALUES = {"S": key_text, "N": st.one_of(spelled, rubbish, st.integers(-99, 99).map(str)), "B": base64_text}


@st.composite
def keys_and_values(draw: st.DrawFn) -> tuple[KeySchema, list[tuple[str, ...]]]:
    kinds = draw(st.sampled_from([*itertools.product("SNB"), *itertools.product("SNB", repeat=2)]))
    attributes = [KeyAttribute(f"k{n}", kind) for n, kind in enumerate(kinds)]
    return KeySchema(*attributes), draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), min_size=1, max_size=40))


def key_or_none(schema: KeySchema, values: tuple[str, ...]) -> str | None:
    try:
        return str(schema.item_key(*values))
    except ValueError:
        return None


@given(keys_and_values())
def test_item_key_in_sql_is_item_key(
    con: duckdb.DuckDBPyConnection, given_keys: tuple[KeySchema, list[tuple[str, ...]]]
) -> None:
    schema, rows = given_keys
    parts = [key_part_sql(attribute, f"v[{n + 1}]") for n, attribute in enumerate(schema.attributes)]
    sql = f"SELECT v, {item_key_sql(schema, parts)} FROM (SELECT unnest(?::VARCHAR[][]) AS v)"
    found = con.execute(sql, [[list(row) for row in rows]]).fetchall()
    assert {tuple(values): key for values, key in found} == {row: key_or_none(schema, row) for row in rows}


@given(st.lists(st.tuples(key_text, key_text), min_size=2, max_size=40, unique=True))
def test_different_keys_have_different_texts(pairs: list[tuple[str, str]]) -> None:
    texts = [str(ItemKey(pair)) for pair in pairs]
    assert len(set(texts)) == len(texts)


# Winners

IMAGES = ['{"v":{"S":"A"}}', '{"v":{"S":"B"}}', '{"v":{"S":"C"}}']
ITEMS = ("a", "b", "c")
TTLS: list[Ttl] = ["delete", "keep"]


@st.composite
def change_sets(draw: st.DrawFn, surface: Surface) -> list[Change]:
    """Any changes of a few items, many in one instant, and copies of some in the other precision."""
    is_ms = draw(st.booleans())
    times = st.sampled_from(
        [0, MS, MS, 2 * MS, 86_400_000_000] if is_ms else [0, 1, 1, 999, MS, MS + 1, 86_400_000_000]
    )
    changes = []
    for n in range(draw(st.integers(1, 16))):
        source: Source = draw(st.sampled_from(["stream"] * 5 + ["scan"]))
        op: Op = draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE"])) if source == "stream" else "READ"
        new = None if op == "REMOVE" else draw(st.sampled_from(IMAGES))
        old = None if op in ("INSERT", "READ") else draw(st.sampled_from([*IMAGES, None]))
        number = None
        if surface == "streams" and source == "stream":
            number = str(draw(st.sampled_from([1, 2, 9, 10, 10**39]))).zfill(40)
        event_id = f"{draw(st.integers(0, 9))}-{n}"
        key = ItemKey((draw(st.sampled_from(ITEMS)),))
        is_ttl = op == "REMOVE" and draw(st.booleans())
        changes.append(Change(key, op, T + draw(times), event_id, new, old, is_ttl, source, number))
    return changes


def insert(con: duckdb.DuckDBPyConnection, table: TableConfig, changes: list[Change]) -> None:
    create_landed(con, table)
    for c in changes:
        con.execute(
            "INSERT INTO landed VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
            [
                *(TAKEN, str(c.item_key), str(c.item_key), c.op, c.created_at_us, c.event_id),
                *(c.new_image, c.old_image, c.is_ttl, c.source, c.sequence_number),
            ],
        )


def winners_by_specification(changes: list[Change], surface: Surface) -> dict[str, str]:
    keys = {str(c.item_key) for c in changes}
    found = {key: latest([c for c in changes if str(c.item_key) == key], surface) for key in keys}
    return {key: change.event_id for key, change in found.items() if change is not None}


States = dict[str, tuple[str, ItemState]]


def states_by_specification(changes: list[Change], surface: Surface, ttl: Ttl) -> States:
    """The items that live, each with the event that made it so."""
    found: States = {}
    for key in {str(c.item_key) for c in changes}:
        last = latest([c for c in changes if str(c.item_key) == key], surface)
        state = state_after(last, ttl)
        if last is not None and state is not None:
            found[key] = (last.event_id, state)
    return found


def states_of(con: duckdb.DuckDBPyConnection, winners: str) -> States:
    rows = con.execute(
        f"SELECT _item_key, event_id, _item, epoch_us(_expired_at) FROM {winners} WHERE {LIVES}"
    ).fetchall()
    assert len({key for key, *_ in rows}) == len(rows)
    return {key: (event_id, ItemState(image, expired_us)) for key, event_id, image, expired_us in rows}


def of_surface(surface: Surface, ttl: Ttl = "delete") -> TableConfig:
    return TableConfig("t", "t", KeySchema(KeyAttribute("pk", "S")), surface, ttl=ttl)


@pytest.mark.parametrize("surface", ["kds", "streams"])
@settings(max_examples=40)
@given(data=st.data())
def test_latest_in_sql_is_latest(con: duckdb.DuckDBPyConnection, surface: Surface, data: st.DataObject) -> None:
    changes = data.draw(change_sets(surface))
    insert(con, of_surface(surface), changes)
    expected = winners_by_specification(changes, surface)
    winners = con.execute(f"SELECT item_key, event_id FROM ({latest_sql('landed', surface)})").fetchall()
    assert dict(winners) == expected
    for ttl in TTLS:
        find_winners(con, "landed", surface, "w", f"l.event_id, {winner_columns(of_surface(surface, ttl))}")
        assert dict(con.execute("SELECT _item_key, event_id FROM w").fetchall()) == expected
        assert states_of(con, "w") == states_by_specification(changes, surface, ttl)


class Log:
    """A log in plain Parquet files, a batch each, marked by `plan_batch`."""

    def __init__(self, con: duckdb.DuckDBPyConnection, table: TableConfig, folder: Path) -> None:
        self.con, self.table, self.folder = con, table, folder
        self.files: list[LogFile] = []
        self.kept: list[Change] = []

    def add(self, changes: list[Change]) -> None:
        insert(self.con, self.table, changes)
        plan_batch(self.con, self.table.surface, self.files)
        path, batch = self.folder / f"{len(self.files)}.parquet", len(self.files) + 1
        sql = f"""SELECT landed.*, is_late, is_tied, {batch} AS batch
          FROM landed JOIN fresh ON landed.rowid = row_id"""
        bounds = self.con.execute(f"SELECT count(*), min(created_at_us), max(created_at_us) FROM ({sql})").fetchone()
        assert bounds is not None
        self.con.execute(f"COPY ({sql}) TO {literal(path)} (FORMAT parquet)")
        low, high = (bounds[1], bounds[2]) if bounds[0] else (0, 0)
        self.files.append(LogFile(str(path), bounds[0], 1, None, low, high))
        taken = {(c.event_id, c.created_at_us): c for c in changes}
        added = self.con.execute(f"SELECT event_id, created_at_us FROM ({sql})").fetchall()
        self.kept += [taken[identity] for identity in added]

    @property
    def sql(self) -> str:
        return parquet_sql([file.path for file in self.files])


def check_tail(con: duckdb.DuckDBPyConnection, surface: Surface, changes: list[Change], rng: random.Random) -> Log:
    """Batches and refreshes at random: after each refresh, and in each tail, the state is the specification's."""
    with tempfile.TemporaryDirectory() as folder:
        ttl = rng.choice(TTLS)
        log = Log(con, of_surface(surface, ttl), Path(folder))
        columns = f"l.event_id, {winner_columns(log.table)}"
        state: States = {}
        covered, rest = 0, list(changes)
        while rest:
            size = rng.choice([1, 2, 5, len(rest)])
            log.add(rest[:size])
            del rest[:size]
            find_tail_winners(con, f"(FROM {log.sql} WHERE batch > {covered})", log.sql, surface, "w", columns)
            touched = {key for (key,) in con.execute("SELECT _item_key FROM w").fetchall()}
            fresh = {key: one for key, one in state.items() if key not in touched} | states_of(con, "w")
            assert fresh == states_by_specification(log.kept, surface, ttl)
            if rng.random() < 0.4:
                state, covered = fresh, len(log.files)
        return log


@pytest.mark.parametrize("surface", ["kds", "streams"])
@settings(max_examples=25)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_marks_let_the_tail_stand_for_the_log(
    con: duckdb.DuckDBPyConnection, surface: Surface, data: st.DataObject, rng: random.Random
) -> None:
    changes = data.draw(change_sets(surface))
    arrived = changes + rng.sample(changes, rng.randrange(len(changes) + 1))
    rng.shuffle(arrived)
    log = check_tail(con, surface, arrived, rng)
    assert sorted(c.event_id for c in log.kept) == sorted(c.event_id for c in changes)


@pytest.mark.slow
@pytest.mark.parametrize("surface", ["kds", "streams"])
@settings(max_examples=1_500)
@given(data=st.data(), rng=st.randoms(use_true_random=False))
def test_marks_let_the_tail_stand_for_the_log_in_many_cases(
    con: duckdb.DuckDBPyConnection, surface: Surface, data: st.DataObject, rng: random.Random
) -> None:
    arrived = data.draw(change_sets(surface))
    rng.shuffle(arrived)
    check_tail(con, surface, arrived, rng)


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_copies_in_the_other_precision_move_nothing(con: duckdb.DuckDBPyConnection, rng: random.Random) -> None:
    """A true history, in batches, with copies in ms: each item ends as in truth."""
    truth: list[Change] = []
    state: dict[str, str | None] = dict.fromkeys(ITEMS)
    at_us = T
    for n in range(14):
        at_us += rng.choice([0, 1, 400, MS])
        key, after = rng.choice(ITEMS), rng.choice([*IMAGES, None])
        if after != state[key]:
            op: Op = "REMOVE" if after is None else "INSERT" if state[key] is None else "MODIFY"
            truth.append(Change(ItemKey((key,)), op, at_us, f"{rng.randrange(10)}-{n}", after, state[key]))
            state[key] = after
    copies = [Change(c.item_key, c.op, c.created_at_us // MS * MS, c.event_id, c.new_image, c.old_image) for c in truth]
    arrived = truth + rng.sample(copies, rng.randrange(len(copies) + 1))
    rng.shuffle(arrived)
    log = check_tail(con, "kds", arrived, rng)
    images = {c.event_id: c.new_image for c in truth}
    ends = {key: images[event_id] for key, event_id in winners_by_specification(log.kept, "kds").items()}
    assert ends == {key: image for key, image in state.items() if key in ends}


def test_sql_patterns_hold_no_quote() -> None:
    """They are pasted into literals."""
    from lake import sql

    patterns = [
        value for name, value in vars(sql).items() if re.fullmatch("_[A-Z0-9]+", name) and isinstance(value, str)
    ]
    assert patterns and not [pattern for pattern in patterns if "'" in pattern]
    assert json.dumps(sql.pointer("a/b", "~", "S")) == '"/a~1b/~0/S"'
