"""The portable views say what `connect()` says; where their docstring lets them differ, only there.

`GOLDEN=write pytest tests/test_portable.py -k golden` writes the golden files anew.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import standin
from lake.changes import Change, Surface, Ttl
from lake.columns import Column
from lake.conditions import parse_condition
from lake.config import TableConfig
from lake.keys import ItemKey, KeyAttribute, KeySchema
from lake.ordering import in_order, instants, latest, state_after
from queries.conditions import condition_words
from queries.connect import LakeConnection, connect
from queries.portable import Entity, Sources, portable_queries, portable_views
from queries.since import Past, Reading
from queries.words import Dialect, typed_value
from tests.lakes import SCHEMA, compacted, land, land_records, new_lake, refreshed, timestamp
from tests.portable import Plain, Rows, Spark, engine, export
from tests.records import START_US, change, s
from tests.test_histories import faults, history
from tests.test_types import NAMES, ROUNDS, found_value, round_of_writes

GOLDEN = Path(__file__).parent / "golden"
PK = KeySchema(KeyAttribute("pk", "S"))
DIALECTS: tuple[Dialect, ...] = ("duckdb", "athena", "spark")


# Texts

COLUMNS = [
    Column("pk", "pk", "S"), Column("a b", "a_b", "N", 3, 0), Column("a.b", "a_b_2", "N", 3, 2),
    Column("it's", "it_s", "N", 40, 2), Column('q"q', "q_q", "BOOL"), Column("back\\slash", "back_slash", "B"),
    Column("[0]", "_0_", "M"), Column("né", "né", "L"), Column("*", "_", "SS"), Column("ns", "ns", "NS", 2, 1),
    Column("bs", "bs", "BS"), Column("grew", "grew", "N", 3, 1), Column("burst", "burst", "N", 50, 0),
]  # fmt: skip
BEFORE = [*COLUMNS[:-3], Column("grew", "grew", "N", 3, 0), Column("burst", "burst", "N", 3, 0)]
LOG = ["item_key", "pk", "op", "event_time", "created_at_us", "event_id", "is_ttl", "new_image", "old_image"]
BIG = parse_condition(
    """pk begins_with 'x' or "a b" begins_with 'b\\ig''s' or pk in ('a', 'b') and "a b" <> 7
    and "q""q" = true and "it's" not exists""",
    "here",
)
PAST = Past(1_700_000_000_000_000, "it's so", (Reading("/raw/backfill/table=orders/r/", 1_800_000_000_000_000, True),))
TABLES = {
    "kds": TableConfig("orders", "orders", SCHEMA),
    "kds-keep": TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "N")), ttl="keep"),
    "streams": TableConfig("orders", "orders", KeySchema(KeyAttribute("pk", "B")), "streams"),
}


def texts_of(dialect: Dialect, table: TableConfig) -> dict[str, str]:
    where = {
        "duckdb": ("iceberg_scan('s.json')", "iceberg_scan('t.json')", "iceberg_scan('l.json')"),
        "athena": tuple(f'"db"."orders{part}" FOR VERSION AS OF 7' for part in ("", "_tail", "_changes")),
        "spark": tuple(f"c.db.orders{part} VERSION AS OF 7" for part in ("", "_tail", "_changes")),
    }[dialect]
    own = [*COLUMNS[:2], Column("x y", "x_y", "S")]
    entity = Entity("orders_big", condition_words(BIG, COLUMNS, dialect) or "", own)
    views = portable_views(table, COLUMNS, BEFORE, LOG, Sources(*where), dialect, [entity])
    queries = portable_queries(table, COLUMNS, LOG, Sources(*where), dialect, PAST)
    return views | {f"{name}({', '.join(query.parameters)})": query.sql for name, query in queries.items()}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_texts_are_the_golden_ones(dialect: Dialect, kind: str) -> None:
    found = "".join(
        f"-- {name}\n" + re.sub(r" (FROM|UNION ALL|WHERE|CASE) ", r"\n\1 ", text) + "\n\n"
        for name, text in texts_of(dialect, TABLES[kind]).items()
    )
    path = GOLDEN / dialect / f"{kind}.sql"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


TRINO = {
    "ALL_MATCH", "ARRAY", "ARRAY_SORT", "CAST", "COALESCE", "CONCAT", "COUNT", "DECIMAL", "ELEMENT_AT", "EXISTS",
    "FAIL", "FROM_BASE64", "JSON_EXTRACT", "JSON_EXTRACT_SCALAR", "JSON_FORMAT", "JSON_PARSE", "LAG", "MAP", "MAX",
    "REGEXP_LIKE", "ROUND", "ROW_NUMBER", "STARTS_WITH", "STRPOS", "SUM", "TIMESTAMP", "TO_BASE64", "TO_UNIXTIME",
    "TRANSFORM", "TRY_CAST",
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLES)
def test_athenas_texts_are_trinos(kind: str) -> None:
    for name, text in texts_of("athena", TABLES[kind]).items():
        sqlglot.parse_one(text, read="athena")
        without = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", "''", text)
        calls = {word.upper() for word in re.findall(r"\b(\w+)\(", without)}
        assert calls <= TRINO, name
        assert without.count("?") == len(re.findall(r"\w+", name.partition("(")[2].replace(" ", "_")))


def test_a_table_of_as_many_columns_as_there_may_be_is_turned() -> None:
    columns = [COLUMNS[0], *(Column(f"a{n}", f"a{n}", "S") for n in range(999))]
    views = portable_views(TABLES["kds"], columns, columns, LOG, Sources("s", "t", "l"), "athena")
    assert len(views["orders"]) < 262_144


# Values


def values_on(run: Any, columns: Sequence[Column], images: Sequence[dict], dialect: Dialect) -> list[list[Any]]:
    """The typed values of images."""
    names = [f"{typed_value(column, '_item', dialect)} AS c{n}" for n, column in enumerate(columns)]
    rows = pa.table({"n": range(len(images)), "_item": [json.dumps(i, separators=(",", ":")) for i in images]})
    return [list(row.values())[1:] for row in run(rows, f"SELECT n, {', '.join(names)} FROM images ORDER BY n")]


def on_duckdb(rows: pa.Table, query: str) -> Rows:
    con = duckdb.connect()
    con.register("images", rows)
    result = con.execute(query)
    names = [entry[0] for entry in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def on_spark(session: Any, folder: Path) -> Any:
    def run(rows: pa.Table, query: str) -> Rows:
        parquet.write_table(rows, folder / "images.parquet")
        found = session.sql(query.replace("FROM images", f"FROM parquet.`{folder}/images.parquet`")).collect()
        return [row.asDict() for row in found]

    return run


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_what_does_not_fit_is_nothing(dialect: Dialect, spark: Any, tmp_path: Path) -> None:
    run = on_duckdb if dialect == "duckdb" else on_spark(spark, tmp_path)
    columns = [Column("n", "n", "N", 3, 0), Column("n", "n", "N", 3, 2), Column("n", "n", "N", 40, 0)]
    texts = ["1.5", "1.50", "1.555", "1", "1.0", "-0", "9" * 18, "9" * 19, "9" * 39, "1E2", "1d", "nan", "x", "", "007"]
    found = values_on(run, columns, [{"n": {"N": text}} for text in texts], dialect)
    bigints = [None, None, None, 1, 1, 0, 10**18 - 1, None, None, None, None, None, None, None, 7]
    assert [row[0] for row in found] == bigints
    decimals = ["1.5", "1.5", None, "1", "1", "0", "9" * 18, "9" * 19, None, None, None, None, None, None, "7"]
    assert [row[1] for row in found] == [None if text is None else Decimal(text) for text in decimals]
    assert [row[2] for row in found] == [
        1.5, 1.5, 1.555, 1, 1, 0, 1e18, 1e19, 1e39, 100, None, None, None, None, 7,
    ]  # fmt: skip
    kinds = [Column("v", "v", kind) for kind in ("S", "B", "BOOL", "M", "L", "SS", "NS", "BS")]
    images = [{"v": value} for value in (
        {"S": "x"}, {"B": "AAE="}, {"B": "A"}, {"BOOL": False}, {"M": {"a": {"S": "M"}}}, {"L": []}, {"SS": ["b", "a"]},
        {"NS": ["10", "9"]}, {"NS": ["1", "x"]}, {"BS": ["/w==", ""]}, {"NULL": True},
    )]  # fmt: skip
    found = values_on(run, kinds, [*images, {}], dialect)
    values = [[value for value in row if value is not None] for row in found]
    assert values == [
        ["x"], [b"\0\1"], [], [False], ['{"M":{"a":{"S":"M"}}}'], ['{"L":[]}'], [["a", "b"]], [[9, 10]], [],
        [[b"", b"\xff"]], [], [],
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_every_name_is_found(dialect: Dialect, spark: Any, tmp_path: Path) -> None:
    run = on_duckdb if dialect == "duckdb" else on_spark(spark, tmp_path)
    names = [*NAMES, "nul\0l", "?", "'", "a['b']", "tab\t"]
    columns = [Column(name, "c", kind) for name in names for kind in ("S", "M")]
    image = {name: {"S": f"of {name}"} for name in names}
    (found,) = values_on(run, columns, [image], dialect)
    assert found == [value for name in names for value in (f"of {name}", None)]


@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_every_type_and_name(dialect: Dialect, spark: Any, tmp_path: Path) -> None:
    """`orders` is the same to the last bit, with digits that grew since the state; `orders_as_of` but for what it says.

    M and L are DynamoDB's JSON there, and what a decimal holds is no number in scientific notation.
    """
    table = standin.Table("orders", ("pk", "S"), None, seed=5)
    lake = new_lake(tmp_path / "lake", keys=PK)
    for n in range(len(ROUNDS)):
        start = len(table.changes)
        round_of_writes(table, n, START_US + n * 3_600_000_000)
        records = standin.kds_records(table.changes[start:], seed=n)
        land(lake, standin.firehose_objects(records, seed=n, prefix=f"{n}/"))
        compacted(lake)
        if n == 1:
            refreshed(lake)
        if n not in (2, 4):
            continue
        with connect(lake, 1024, 2) as con:
            export(con, "orders", tmp_path)
            there = engine(con, "orders", tmp_path, spark if dialect == "spark" else None)
            assert by_key(there.rows("orders")) == by_key(exact(con, "FROM orders"))
            columns = con.prepared("orders").columns
            at = timestamp(table.changes[-1].at_us)[len("TIMESTAMP '") : -1]
            check_typed(columns, by_key(there.rows("orders_as_of", at)), by_key(exact(con, "FROM orders")))


def check_typed(columns: Sequence[Column], found: dict[str, dict], expected: dict[str, dict]) -> None:
    assert found.keys() == expected.keys()
    for key, row in found.items():
        image = json.loads(row["_item"])
        for column in columns:
            value, wanted = row[column.name], expected[key][column.name]
            if column.kind in ("M", "L"):
                assert (value and json.loads(value)) == (image[column.attribute] if wanted is not None else None)
            elif column.kind == "N" and value is None and wanted is not None:
                assert re.search("[eE+]", image[column.attribute]["N"]), image[column.attribute]
            elif value is not None or column.kind != "NS":
                assert found_value(column, value) == found_value(column, wanted), (key, column)


def exact(con: LakeConnection, query: str) -> Rows:
    result = con.execute(query)
    names = [entry[0] for entry in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def by_key(rows: Rows) -> dict[str, dict[str, Any]]:
    found = {row["_item_key"]: row for row in rows}
    assert len(found) == len(rows), "an item is there twice"
    return found


# The last change of an item


def random_changes(rng: random.Random, surface: Surface) -> list[Change]:
    """Changes of some items, most of which chain, many of one instant."""
    found = []
    for item in range(12):
        state: str | None = None
        at_us, step_us = START_US + rng.randrange(3), rng.choice([0, 1, 300, 1_000])
        for n in range(rng.randrange(1, 7)):
            at_us += rng.choice([0, step_us])
            new = None if state and rng.random() < 0.3 else rng.choice(["A", "B", "C"])
            read = rng.random() < 0.15
            op = "READ" if read and new else "REMOVE" if new is None else "MODIFY" if state else "INSERT"
            old = None if read or (rng.random() < 0.05 and surface == "streams") else state
            one = Change(
                ItemKey((f"i{item}",)), op, at_us, f"{rng.randrange(1 << 30)}-{item}-{n}", image_of(item, new),
                image_of(item, old), op == "REMOVE" and rng.random() < 0.5, "scan" if read else "stream",
                f"{n:040}" if surface == "streams" and not read else None,
            )  # fmt: skip
            found.append(one)
            state = state if read else new
    rng.shuffle(found)
    return found


def image_of(item: int, state: str | None) -> str | None:
    return None if state is None else json.dumps({"pk": {"S": f"i{item}"}, "v": {"S": state}}, separators=(",", ":"))


def write_log(changes: Sequence[Change], path: Path) -> None:
    fields = ("op", "created_at_us", "event_id", "is_ttl", "source", "new_image", "old_image", "sequence_number")
    columns: dict[str, Any] = {name: pa.array([getattr(one, name) for one in changes]) for name in fields}
    for name in ("sequence_number", "new_image", "old_image"):
        columns[name] = columns[name].cast(pa.string())
    keys = [str(one.item_key) for one in changes]
    times = pa.array([one.created_at_us for one in changes], pa.timestamp("us"))
    columns |= {"item_key": keys, "pk": keys, "event_time": times, "raw_object": ["raw"] * len(keys)}
    parquet.write_table(pa.table(columns), path)


def check_last_changes(seed: int, folder: Path, session: Any = None) -> None:
    rng = random.Random(seed)
    surface: Surface = rng.choice(["kds", "streams"])
    ttl: Ttl = rng.choice(["delete", "keep"])
    changes = random_changes(rng, surface)
    write_log(changes, folder / "log.parquet")
    table = TableConfig("orders", "orders", PK, surface, ttl=ttl)
    columns = [Column("pk", "pk", "S"), Column("v", "v", "S")]
    dialect: Dialect = "duckdb" if session is None else "spark"
    log = f"read_parquet('{folder}/log.parquet')" if session is None else f"parquet.`{folder}/log.parquet`"
    queries = portable_queries(table, columns, ["item_key"], Sources("", "", log), dialect, Past(0, ""))
    there: Plain | Spark = Plain({}, queries) if session is None else Spark(session, {}, queries)
    at_us = rng.choice(changes).created_at_us + rng.choice([0, 0, 1, 999])
    found = by_key(there.rows("orders_as_of", timestamp(at_us)[len("TIMESTAMP '") : -1]))
    for item in {str(one.item_key) for one in changes}:
        then = [one for one in changes if str(one.item_key) == item and one.created_at_us <= at_us]
        last = latest(then, surface)
        row = found.get(item)
        told = (
            None if row is None else (row["_item"], row["_created_at_us"], row["_op"], row["_expired_at"] is not None)
        )
        expected = told_of(last, ttl)
        if told != expected:
            # Only where the images of the last instant tell too little, and then it is another change of that instant.
            together = list(instants(sorted(then, key=lambda one: one.created_at_us)))[-1]
            streamed = [one for one in together if one.source == "stream"]
            assert surface == "kds" and len(streamed) > 1, (item, in_order(then, surface))
            assert told in [told_of(one, ttl) for one in streamed]
            ends = ends_of(streamed)
            if len(ends) == 1 and ttl == "delete":
                assert (told and told[0]) == (expected and expected[0]), "a chain of images has one end"


def told_of(last: Change | None, ttl: Ttl) -> tuple[str | None, int, str, bool] | None:
    state = state_after(last, ttl)
    if last is None or state is None:
        return None
    return state.image, last.created_at_us, last.op, state.expired_at_us is not None


def ends_of(changes: Sequence[Change]) -> set[str | None]:
    """The images at which more changes arrive than leave, where each change has its old image."""
    if any(one.op == "MODIFY" and one.old_image is None for one in changes):
        return set()
    arrive, leave = [one.new_image for one in changes], [one.old_image for one in changes]
    uneven = {image: arrive.count(image) - leave.count(image) for image in {*arrive, *leave}}
    return (
        {image for image, n in uneven.items() if n > 0} if sorted(filter(None, uneven.values())) == [-1, 1] else set()
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_the_last_change_is_that_of_the_specification(seed: int) -> None:
    folder = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        check_last_changes(seed, folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("seed", range(8))
def test_the_last_change_on_spark(seed: int, spark: Any, tmp_path: Path) -> None:
    check_last_changes(seed, tmp_path, spark)


# Whole lakes


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dialect", ["duckdb", "spark"])
def test_random_histories(dialect: str, seed: int, spark: Any, tmp_path: Path) -> None:
    rng = random.Random(seed)
    table = history(rng, rng.choice([4, 30]), 120, rng.choice([1, 3_000, 90_000_000]))
    knobs = faults(rng)
    records = standin.kds_records(table, seed=seed, faults=knobs)
    objects = standin.firehose_objects(records, seed=seed, prefix="kds/", buffer_bytes=4_000, faults=knobs)
    lake = new_lake(tmp_path / "lake", ttl=rng.choice(["delete", "keep"]))
    half = len(objects) // 2
    for part in (objects[:half], objects[half:]):
        land(lake, part)
        compacted(lake)
        if part is not objects[half:] and rng.random() < 0.8:
            refreshed(lake)
    with connect(lake, 1024, 2) as con:
        export(con, "orders", tmp_path)
        there = engine(con, "orders", tmp_path, spark if dialect == "spark" else None)
        assert by_key(there.rows("orders")) == by_key(exact(con, "FROM orders"))
        check_changes(there, con)
        check_instants(there, con, rng)
        check_transitions(there, con)


def check_changes(there: Plain | Spark, con: LakeConnection) -> None:
    found, expected = there.rows("orders_changes"), exact(con, "FROM orders_changes")
    assert list(found[0]) == list(expected[0])
    assert {row["event_id"]: row for row in found} == {row["event_id"]: row for row in expected}
    hash_key, range_key = found[0]["pk"], found[0]["sk"]
    told = there.rows("orders_history", hash_key, range_key)
    wanted = exact(con, f"FROM orders_history('{hash_key}', '{range_key}')")
    assert sorted(row["event_id"] for row in told) == sorted(row["event_id"] for row in wanted)
    assert [row["created_at_us"] for row in told] == sorted(row["created_at_us"] for row in wanted)


def shared_items(con: LakeConnection, at_us: int) -> set[str]:
    """The items whose last instant until then holds more than one change."""
    logged = con.execute(
        f"""SELECT item_key, created_at_us FROM orders_changes WHERE created_at_us <= {at_us} ORDER BY 2"""
    ).fetchall()
    times: dict[str, list[Change]] = {}
    for key, us in logged:
        times.setdefault(key, []).append(Change(ItemKey((key,)), "INSERT", us, ""))
    return {key for key, some in times.items() if len(list(instants(some))[-1]) > 1}


def check_instants(there: Plain | Spark, con: LakeConnection, rng: random.Random) -> None:
    times = [us for (us,) in con.execute("SELECT created_at_us FROM orders_changes ORDER BY 1").fetchall()]
    picked = sorted(rng.sample(times, 2))
    given = [timestamp(us)[len("TIMESTAMP '") : -1] for us in picked]
    shared = [shared_items(con, us) for us in picked]
    found = by_key(there.rows("orders_as_of", given[0]))
    expected = by_key(exact(con, f"SELECT * EXCLUDE (_rescued) FROM orders_as_of('{given[0]}')"))
    differing = {key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
    assert differing <= shared[0]
    changed = by_key(there.rows("orders_diff", *given))
    wanted = by_key(exact(con, f"FROM orders_diff('{given[0]}', '{given[1]}')"))
    either = shared[0] | shared[1]
    for key in (changed.keys() | wanted.keys()) - either:
        assert {**changed[key], "changed_attributes": None} == {**wanted[key], "changed_attributes": None}
    for instant in ("2001-01-01 00:00:00", "2001-01-01 00:00:00.5"):
        with pytest.raises(Exception, match="its log begins at"):
            there.rows("orders_as_of", instant)
    with pytest.raises(Exception, match="its log begins at"):
        there.rows("orders_diff", "2001-01-01", given[1])


def check_transitions(there: Plain | Spark, con: LakeConnection) -> None:
    ties = {
        key
        for (key,) in con.execute(
            "SELECT item_key FROM orders_changes GROUP BY item_key, created_at_us // 1000 HAVING count(*) > 1"
        ).fetchall()
    }
    names = ("_item_key", "from_value", "to_value", "changed_at", "op", "event_id")
    for attribute in ("v", "pk"):
        both = (there.rows("orders_transitions", attribute), exact(con, f"FROM orders_transitions('{attribute}')"))
        found, wanted = (
            sorted((tuple(row[name] for name in names) for row in rows if row["_item_key"] not in ties), key=str)
            for rows in both
        )
        assert found == wanted


def test_reads_of_a_later_backfill_say_nothing_of_before(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1", [change("a", "e1", "INSERT", START_US, new=s("x"))])
    compacted(lake)
    with connect(lake, 1024, 2) as con:
        export(con, "orders", tmp_path)
        columns = con.prepared("orders").columns
        log = Sources("", "", f"(SELECT * REPLACE ('READ' AS op) FROM read_parquet('{tmp_path}/log.parquet'))")
        for ended_us, rows in ((START_US + 2_000_000, 0), (START_US, 1), (None, 0)):
            past = Past(0, "", (Reading("/raw/1", ended_us, True),))
            queries = portable_queries(con.prepared("orders").pinned.table, columns, ["pk"], log, "duckdb", past)
            at = timestamp(START_US + 1_000_000)[len("TIMESTAMP '") : -1]
            assert len(Plain({}, queries).rows("orders_as_of", at)) == rows
