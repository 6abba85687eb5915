"""A connection to a lake: what it may do, which version it sees, and what it costs."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pytest

import dynalake
import standin
from lake.config import TableConfig
from lake.errors import ConfigError, LakeError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, add_table
from queries.connect import connect
from tests.lakes import SCHEMA, compacted, expected_items, items_of, land_records, new_lake, refreshed, rows
from tests.records import START_US, change, s

SECOND_US = 1_000_000


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Ten items in the state, and a tail that changes one, removes one and brings one."""
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1.ndjson", [change(f"i{n}", f"e{n}", "INSERT", START_US + n, new=s("a")) for n in range(10)])
    compacted(lake)
    refreshed(lake)
    at_us = START_US + SECOND_US
    tail = [
        change("i1", "f1", "MODIFY", at_us, old=s("a"), new=s("b")),
        change("i2", "f2", "REMOVE", at_us, old=s("a")),
        change("i99", "f99", "INSERT", at_us, new=s("c")),
    ]
    land_records(lake, "2.ndjson", tail)
    compacted(lake)
    return lake


def more(lake: Lake, name: str, item: str) -> None:
    land_records(lake, f"{name}.ndjson", [change(item, name, "INSERT", START_US + 9 * SECOND_US, new=s("z"))])
    compacted(lake)


# What it may do


@pytest.mark.parametrize(
    "query",
    [
        "COPY (FROM orders) TO '{place}'",
        "COPY (SELECT 1) TO '{place}' (FORMAT parquet)",
        "SELECT 1; COPY orders TO '{place}'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{place}'",
        "PREPARE p AS COPY (SELECT 1) TO '{place}'",
        "EXPORT DATABASE '{place}'",
        "ATTACH '{place}'",
        "INSTALL spatial",
        "LOAD '{place}'",
    ],
)
def test_it_only_reads(lake: Lake, query: str) -> None:
    place = Path(lake.uri) / "warehouse" / "written"
    with connect(lake) as con:
        for run in (con.execute, con.sql):
            with pytest.raises(LakeError, match="expected one that only reads"):
                run(query.format(place=place))
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(10,)]
    assert not place.exists()


def test_what_it_makes_is_its_own(lake: Lake) -> None:
    with connect(lake) as con:
        con.execute("CREATE TABLE mine AS SELECT * FROM orders; INSERT INTO mine SELECT * FROM mine")
        assert con.execute("SELECT count(*) FROM mine").fetchall() == [(20,)]
        with pytest.raises(duckdb.Error):
            con.execute("INSERT INTO orders SELECT * FROM mine")
    with connect(lake) as con, pytest.raises(duckdb.CatalogException):
        con.execute("FROM mine")


def test_frames_come_out_and_go_in(lake: Lake) -> None:
    with dynalake.connect(lake.uri) as con:
        query = "SELECT pk, v FROM orders ORDER BY pk"
        expected = con.execute(query).fetchall()
        as_pandas, as_polars, as_arrow = con.sql(query).df(), con.sql(query).pl(), con.sql(query).to_arrow_table()
        assert isinstance(as_pandas, pandas.DataFrame) and isinstance(as_polars, polars.DataFrame)
        assert isinstance(as_arrow, pyarrow.Table)
        assert list(as_pandas.itertuples(index=False, name=None)) == as_polars.rows() == expected
        assert [tuple(row.values()) for row in as_arrow.to_pylist()] == expected
        wanted = pandas.DataFrame({"item": ["i1", "i99"]})
        assert len(wanted) == 2
        found = con.sql("SELECT pk, v FROM orders JOIN wanted ON pk = item ORDER BY pk").fetchall()
        assert found == [("i1", "b"), ("i99", "c")]


def test_a_count_is_that_of_the_rows(lake: Lake) -> None:
    with connect(lake) as con:
        for query in ("SELECT count(*) FROM orders", 'select COUNT(*) as n from "orders" ;'):
            assert con.execute(query).fetchall() == con.execute("SELECT count(v) FROM orders").fetchall() == [(10,)]
        assert con.sql("SELECT count(*) FROM orders").columns == ["count_star()"]
        assert con.sql("SELECT count(*) AS n FROM orders").columns == ["n"]
        assert con.execute("SELECT count(*) FROM orders WHERE v = 'a'").fetchall() == [(8,)]
        con.execute("CREATE TEMP TABLE orders AS SELECT 1 AS one")
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(1,)], "of the user's own"


# Which version it sees


def test_it_stays_at_its_version_until_it_moves_on(lake: Lake) -> None:
    with connect(lake) as con:
        before = items_of(con, "orders")
        more(lake, "g", "i50")
        assert items_of(con, "orders") == before
        refreshed(lake)
        assert items_of(con, "orders") == before
        assert con.execute("SELECT max(batch) FROM orders_changes").fetchall() == [(2,)], "first named behind the write"
        con.refresh()
        assert items_of(con, "orders").keys() - before.keys() == {"i50|1"}
        assert con.execute("SELECT max(batch) FROM orders_changes").fetchall() == [(3,)]
        more(lake, "h", "i51")
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(11,)]
        con.refresh()
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(12,)]


def test_a_refresh_that_fails_leaves_it_where_it_was(lake: Lake) -> None:
    with connect(lake) as con:
        found = items_of(con, "orders")
        catalog = lake.root / "catalog.db"
        whole = catalog.read_bytes()
        catalog.write_bytes(b"rubbish" * 1000)
        with pytest.raises(LakeError, match="catalog"):
            con.refresh()
        assert items_of(con, "orders") == found
        catalog.write_bytes(whole)
        more(lake, "g", "i50")
        con.refresh()
        assert len(items_of(con, "orders")) == len(found) + 1


def test_views_of_a_users_own_go_on(lake: Lake) -> None:
    with connect(lake) as con:
        con.execute("CREATE VIEW of_b AS SELECT pk FROM orders WHERE v = 'b'")
        con.refresh()
        assert con.execute("FROM of_b").fetchall() == [("i1",)]
        cursor = con.cursor()
        assert cursor.execute("SELECT pk FROM orders WHERE v = 'c'").fetchall() == [("i99",)]


def test_only_what_is_named_is_made(lake: Lake) -> None:
    lake = add_table(lake, TableConfig("", "other", SCHEMA))
    with connect(lake) as con:
        assert con.con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == []
        con.execute("SELECT 1 FROM Orders_Changes LIMIT 1")
        found = con.con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
        assert found == [("orders_changes",)]
        shown = {name for (name,) in con.execute("SHOW TABLES").fetchall()}
        assert {"orders", "other", "orders_changes", "other_ledger"} <= shown
        assert not any(" " in name for name in shown), "what is not for users is not shown"


def test_a_table_named_by_a_text(lake: Lake) -> None:
    with connect(lake) as con:
        assert con.execute("SELECT count(pk) FROM query_table('ord' || 'ers')").fetchall() == [(10,)]


# Instants


def test_a_connection_as_of_an_instant(lake: Lake) -> None:
    before = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(microseconds=500_000)
    for moment in (before, before.isoformat(), before.replace(tzinfo=None).isoformat(" ")):
        with connect(lake, as_of=moment) as con:
            assert con.execute("SELECT count(*), max(v) FROM orders").fetchall() == [(10, "a")]
            assert con.execute("SELECT count(*) FROM orders_changes").fetchall() == [(10,)]
            assert con.execute("SELECT count(*) FROM orders").fetchall() == [(10,)]
            assert con.execute("SELECT v FROM orders_as_of('2030-01-01') WHERE pk = 'i1'").fetchall() == [("b",)]


@pytest.mark.parametrize("moment", ["'2001-01-01'", "NULL", "TIMESTAMP '2001-01-01'"])
def test_an_instant_before_the_log_is_refused(lake: Lake, moment: str) -> None:
    with connect(lake) as con, pytest.raises(duckdb.InvalidInputException, match="its log begins at 2023-11-14"):
        con.execute(f"SELECT count(*) FROM orders_as_of({moment})").fetchall()
    with pytest.raises(duckdb.Error, match="never"), connect(lake, as_of="never") as con:
        con.execute("FROM orders")


def test_an_empty_log_has_no_past(tmp_path: Path) -> None:
    with connect(new_lake(tmp_path / "lake")) as con:
        assert con.execute("FROM orders").fetchall() == []
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(0,)]
        with pytest.raises(duckdb.InvalidInputException, match="its log is empty"):
            con.execute("FROM orders_as_of(now())").fetchall()


def test_a_backfill_that_has_not_ended_leaves_no_past(lake: Lake) -> None:
    folder = Path(lake.uri) / "backfills" / "orders"
    folder.mkdir(parents=True)
    begun = {"run": "r", "table_id": "t", "segments": 1, "started_us": START_US}
    (folder / "000001.json").write_text(json.dumps(begun))
    query = "SELECT count(*) FROM orders_as_of('2030-01-01')"
    with (
        connect(lake) as con,
        pytest.raises(duckdb.InvalidInputException, match="backfill was begun that has not ended"),
    ):
        con.execute(query).fetchall()
    (folder / "000001.done.json").write_text(json.dumps({"run": "r", "items": 1, "finished_us": START_US}))
    assert rows(lake, query) == [(10,)]
    (folder / "000001.done.json").write_text("{")
    with connect(lake) as con, pytest.raises(LakeError, match=r"read backfills of .*done\.json"):
        con.execute(query)


# The state without what the tail touched


@pytest.mark.parametrize("kind", ["S", "N", "B"])
def test_any_share_of_the_state_may_be_touched(tmp_path: Path, kind: str) -> None:
    """Buckets of several files, items touched in none, some and all of them, gone and there again."""
    rng = random.Random(7)
    keys = KeySchema(KeyAttribute("pk", kind))  # type: ignore[arg-type]
    lake = new_lake(tmp_path / "lake", keys=keys, buckets=3)
    table = standin.Table("orders", hash_key=("pk", kind), range_key=None)
    at_us = START_US
    for share in (1.0, 0.0, 0.02, 0.5, 1.0):
        start = len(table.changes)
        for n in range(300):
            if rng.random() < share:
                at_us += rng.randrange(1, 5_000_000)
                key = (
                    {"S": f"i{n}"}
                    if kind == "S"
                    else {"N": str(n)}
                    if kind == "N"
                    else {"B": f"AAA{n % 10}AA{n // 10 + 10:02}"}
                )
                if rng.random() < 0.3 and table.get({"pk": key}):
                    table.delete({"pk": key}, at_us)
                else:
                    table.put({"pk": key, "v": {"N": str(rng.randrange(50))}}, at_us)
        for one in standin.firehose_objects(
            standin.kds_records(table.changes[start:], seed=1), seed=1, prefix=f"{share}"
        ):
            path = Path(lake.raw) / f"{start}" / one.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.body)
        compacted(lake)
        with connect(lake, 1024, 2) as con:
            expected = expected_items(keys, table.items.values())
            assert items_of(con, "orders") == expected
            assert con.execute("SELECT count(*) FROM orders").fetchall() == [(len(expected),)]
        if share != 0.5:
            refreshed(lake)


def test_a_look_up_reads_one_bucket(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", buckets=8)
    land_records(lake, "1.ndjson", [change(f"i{n}", f"e{n}", "INSERT", START_US + n, new=s("a")) for n in range(200)])
    compacted(lake)
    refreshed(lake)
    more(lake, "g", "i7")
    with connect(lake) as con:
        plan = con.execute("EXPLAIN ANALYZE SELECT v FROM orders WHERE pk = 'i7' AND sk = '1'").fetchall()[0][1]
        assert "Total Files Read: 1" in plan
        assert "Total Files Read: 8" in con.execute("EXPLAIN ANALYZE SELECT max(v) FROM orders").fetchall()[0][1]


def test_an_instant_reads_the_days_until_then(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    day_us = 86_400 * SECOND_US
    records = [change(f"i{n}", f"e{n}", "INSERT", START_US + n * day_us, new=s("a")) for n in range(20)]
    land_records(lake, "1.ndjson", records)
    compacted(lake)
    with connect(lake) as con:
        day = datetime.fromtimestamp(START_US / 1e6, UTC) + timedelta(days=3)
        plan = con.execute(f"EXPLAIN ANALYZE SELECT count(v) FROM orders_as_of('{day.isoformat()}')").fetchall()[0][1]
        assert "Total Files Read: 4" in plan and "Total Files Read: 20" not in plan


def test_names_that_are_none(lake: Lake) -> None:
    with connect(lake) as con:
        with pytest.raises(duckdb.CatalogException, match="order_s"):
            con.execute("FROM order_s")
        with pytest.raises(duckdb.BinderException, match="colour"):
            con.execute("SELECT colour FROM orders")
        with pytest.raises(ConfigError, match="expected a registered table"):
            con.prepared("order_s")
        with pytest.raises(LakeError, match="expected a statement"):
            con.execute(" ")
