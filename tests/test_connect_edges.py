"""A connection at its edges: names of attributes, instants that are refused, what outlives it, what fails midway."""

from __future__ import annotations

import gc
import json
import math
import threading
from pathlib import Path

import duckdb
import pytest

import queries.connect
from compaction.compact import compact
from compaction.refresh import refresh
from lake.config import TableConfig
from lake.errors import LakeError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, add_table, create_lake
from lake.layout import backfill_objects, export_end, export_note
from lake.sql import identifier, literal
from lake.store import put
from queries.connect import connect
from queries.since import find_past
from tests.lakes import SCHEMA, SETTINGS, compacted, items_of, land_records, new_lake, only_table, refreshed, table
from tests.records import START_US, TIME, change, record, s

SECOND_US = 1_000_000
REFUSED = "orders as of .* is not known then"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Ten items in the state, and a tail that changes one, removes one and brings one."""
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1.ndjson", [change(f"i{n}", f"e{n}", "INSERT", START_US + n, new=s("a")) for n in range(10)])
    compacted(lake)
    refreshed(lake)
    more(lake, SECOND_US)
    return lake


def more(lake: Lake, after_us: int) -> None:
    at_us = START_US + after_us
    tail = [
        change("i1", f"f1-{after_us}", "MODIFY", at_us, old=s("a"), new=s("b")),
        change("i2", f"f2-{after_us}", "REMOVE", at_us, old=s("a")),
        change(f"i{after_us}", f"f3-{after_us}", "INSERT", at_us, new=s("c")),
    ]
    land_records(lake, f"{after_us}.ndjson", tail)
    compacted(lake)


# Names

HOSTILE = [
    "filename", "file_row_number", "_row", "_v", "_v1", "_n", "_w", "_odd", "_new", "_old", "_place", "before", "after",
    "difference", "changed_attributes", "refused", "the new", "key_0", "lasted", "op", "_item_key", "_hash_key", 'a"b',
    "pk'", "select", "x\ny", "~0", "a/b~1", "new_image", "$1", "é", "É",
]  # fmt: skip


@pytest.mark.parametrize("key", ["pk", "filename", "file_row_number", "_row", "before", "_item_key", "_v0", "lasted"])
def test_attributes_named_as_the_sql_around_them_is(tmp_path: Path, key: str) -> None:
    keys = KeySchema(KeyAttribute(key, "S"))
    lake = new_lake(tmp_path / "lake", keys=keys)
    kept = [name for name in HOSTILE if name != key]

    def write(item: str, event: str, op: str, at_us: int, old: str = "", new: str = "") -> dict:
        images = {
            name: {key: s(item)} | {attribute: s(f"{value} {attribute}") for attribute in kept} if value else ...
            for name, value in (("OldImage", old), ("NewImage", new))
        }
        return record(event, eventName=op, body={TIME: at_us, "Keys": {key: s(item)}, **images})

    inserts = [write(f"i{n}", f"e{n}", "INSERT", START_US + n, new="one") for n in range(5)]
    land_records(lake, "1.ndjson", inserts)
    compacted(lake)
    refreshed(lake)
    at_us = START_US + SECOND_US
    changes = [write("i0", "f0", "MODIFY", at_us, "one", "two"), write("i2", "f2", "REMOVE", at_us, "one")]
    land_records(lake, "2.ndjson", changes)
    compacted(lake)
    expected = {f"i{n}": "two" if n == 0 else "one" for n in (0, 1, 3, 4)}
    with connect(lake, 1024, 2) as con:
        con.make()
        columns = {column.attribute: column.name for column in con.prepared("orders").columns}
        for relation in ("orders", "orders_as_of(now())"):
            for attribute in kept:
                found = con.execute(f"SELECT _item_key, {identifier(columns[attribute])} FROM {relation}").fetchall()
                assert dict(found) == {item: f"{value} {attribute}" for item, value in expected.items()}
            assert con.execute(f"SELECT count(*) FROM {relation}").fetchall() == [(4,)]
        then = literal("2023-11-14 22:13:20.5")
        rows = con.execute(f'SELECT _item_key, difference, "after" FROM orders_diff({then}, now())').fetchall()
        assert {(item, what, image and json.loads(image)["$1"]["S"]) for item, what, image in rows} == {
            ("i0", "changed", "two $1"), ("i2", "removed", None)
        }  # fmt: skip
        for attribute in kept:
            rows = con.execute(
                f"SELECT to_value FROM orders_transitions({literal(attribute)}) WHERE _item_key = 'i0' ORDER BY 1"
            ).fetchall()
            assert rows == [(f"one {attribute}",), (f"two {attribute}",)]
        assert len(con.execute("FROM orders_history('i0')").fetchall()) == 2
        assert len(con.execute("SELECT * FROM orders_changes").fetchall()) == 7


# Instants


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM orders_as_of('2001-01-01') WHERE pk = 'i1'",
        "SELECT pk FROM orders_as_of('2001-01-01') WHERE v = 'b'",
        "SELECT pk FROM orders_as_of('2001-01-01') LIMIT 1",
        "SELECT v FROM orders_as_of('2001-01-01') WHERE _created_at_us > 0 AND _item_key = 'i1|1'",
        "SELECT count(*) FROM orders_diff('2001-01-01', now()) WHERE pk = 'i1'",
        "SELECT count(*) FROM orders_diff(now(), '2001-01-01') WHERE difference = 'removed'",
        "FROM orders_diff('2001-01-01', now()) LIMIT 1",
    ],
)
def test_a_filter_does_not_hide_that_an_instant_is_refused(lake: Lake, query: str) -> None:
    with connect(lake, 1024, 2) as con, pytest.raises(duckdb.InvalidInputException, match=REFUSED):
        con.execute(query).fetchall()


def test_nor_that_no_item_had_an_attribute(lake: Lake) -> None:
    with connect(lake, 1024, 2) as con, pytest.raises(duckdb.InvalidInputException, match="no item ever had"):
        con.execute("FROM orders_transitions('colour') WHERE to_value = 'red' AND changed_at > '2020-01-01'").fetchall()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_an_instant_is_the_same_in_any_zone(lake: Lake, zone: str) -> None:
    before, after = "22:13:20.5", "22:13:21"
    with connect(lake, 1024, 2) as con:
        con.execute(f"SET TimeZone = '{zone}'")
        for time, expected in ((before, "a"), (after, "b")):
            for given in (
                f"'2023-11-14 {time}'", f"TIMESTAMP '2023-11-14 {time}'", f"'2023-11-14T{time}Z'",
                f"'2023-11-14 {time}+00'", f"TIMESTAMPTZ '2023-11-14 {time}+00'", f"'2023-11-14 {time} UTC'",
                f"'2023-11-15 07:{time[3:]}+09'", f"'2023-11-14 17:{time[3:]} America/New_York'",
            ):  # fmt: skip
                query = f"SELECT v FROM orders_as_of({given}) WHERE pk = 'i1'"
                assert con.execute(query).fetchall() == [(expected,)], given
        assert con.execute("SELECT count(*) FROM orders_as_of(now())").fetchall() == [(10,)]


def read(item: str, event: str, at_us: int) -> dict:
    keys = {"pk": s(item), "sk": s("1")}
    body = {TIME: at_us, "Keys": keys, "NewImage": {**keys, "v": s("read")}}
    return record(event, eventName="READ", body=body, _lake={"source": "scan"})


def test_a_past_begins_when_what_was_read_is_in_the_log(lake: Lake) -> None:
    """A backfill that has ended, of which compact has taken in nothing yet; and that of one that was pinned before."""
    at_us = START_US + 2 * SECOND_US
    place = backfill_objects("orders", "r").removeprefix("raw/")
    folder = lake.root / "backfills" / "orders"
    folder.mkdir(parents=True)
    (folder / "000001.json").write_text(json.dumps({"run": "r"}))
    (folder / "000001.done.json").write_text(json.dumps({"run": "r", "finished_us": at_us}))
    land_records(lake, f"{place}0-0.ndjson", [read("old", "r1", at_us)])
    query = "SELECT count(*) FROM orders_as_of('2030-01-01')"
    with connect(lake, 1024, 2) as before:
        compacted(lake)
        with pytest.raises(duckdb.InvalidInputException, match="not in its log yet: run dynalake compact"):
            before.execute(query).fetchall()
        past = find_past(lake, only_table(lake), before.pinned["orders"].log, table(lake, "orders_ledger"))
        assert past.since_us == math.inf, "the ledger is newer than the log"
        before.refresh()
        assert before.execute(query).fetchall() == [(11,)]


def test_a_backfill_left_for_another_has_ended_with_that(lake: Lake) -> None:
    """At the end what it read is in `orders`, and so in the instants from then on."""
    at_us = START_US + 2 * SECOND_US
    folder = lake.root / "backfills" / "orders"
    folder.mkdir(parents=True)
    for n, run in enumerate(("left", "other"), start=1):
        (folder / f"00000{n}.json").write_text(json.dumps({"run": run}))
        place = backfill_objects("orders", run).removeprefix("raw/")
        land_records(lake, f"{place}0-0.ndjson", [read(run, run, at_us)])
    (folder / "000002.done.json").write_text(json.dumps({"run": "other", "finished_us": at_us}))
    compacted(lake)
    with connect(lake, 1024, 2) as con:
        assert items_of(con, "orders_as_of('2030-01-01')") == items_of(con, "orders")
        with pytest.raises(duckdb.InvalidInputException, match=REFUSED):
            con.execute("FROM orders_as_of('2023-11-14 22:13:22.5')").fetchall()


def test_an_export_that_has_not_all_landed_is_no_past(lake: Lake) -> None:
    put(lake.place(export_note("orders", "x")), b'{"export":"x","from_us":null,"until_us":%d}' % START_US)
    query = "SELECT count(*) FROM orders_as_of('2030-01-01')"
    with connect(lake, 1024, 2) as con, pytest.raises(duckdb.InvalidInputException, match="that has not ended"):
        con.execute(query).fetchall()
    put(lake.place(export_end("orders", "x")), b"{}")
    with connect(lake, 1024, 2) as con:
        assert con.execute(query).fetchall() == [(10,)]


# What is asked for


def test_a_result_is_fetched_behind_its_query(lake: Lake) -> None:
    with connect(lake, 1024, 2) as con:
        con.execute("SELECT pk AS item FROM orders WHERE v = 'b'")
        assert [column[0] for column in con.description] == ["item"]
        assert con.fetchall() == [("i1",)]
        assert con.execute("SELECT v FROM orders WHERE pk = 'i1'") is con.con
        assert con.df().v.to_list() == ["b"]


def test_a_statement_runs_once_though_another_fails(lake: Lake) -> None:
    with connect(lake, 1024, 2) as con:
        con.execute("CREATE TABLE mine (x INTEGER)")
        for run in (con.execute, con.sql):
            with pytest.raises(duckdb.CatalogException, match="nowhere"):
                run("INSERT INTO mine VALUES (1); FROM nowhere")
        assert con.execute("SELECT 0; SELECT count(x) FROM mine").fetchall() == [(2,)]
        con.execute("CREATE TABLE kinds AS SELECT 1; PIVOT orders ON v USING count(pk)")
        found = con.execute("SELECT 1; SELECT count(pk) FROM orders WHERE v = $1", ["b"]).fetchall()
        assert found == [(1,)]


def test_what_is_rolled_back_is_made_again(lake: Lake) -> None:
    with connect(lake, 1024, 2) as con:
        con.execute("BEGIN")
        assert con.execute("SELECT count(v) FROM orders").fetchall() == [(10,)]
        with pytest.raises(LakeError, match="expected no transaction"):
            con.refresh()
        con.execute("ROLLBACK")
        assert con.execute("SELECT count(v) FROM orders").fetchall() == [(10,)]


@pytest.mark.parametrize(
    "query",
    [
        "SET log_query_path = '{place}'",
        "SET profiling_output = '{place}'",
        "CALL enable_logging('QueryLog', storage = 'file', storage_path = '{place}')",
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{place}')",
        "CREATE PERSISTENT SECRET mine (TYPE http)",
    ],
)
def test_it_leaves_no_files_of_duckdbs_own(lake: Lake, tmp_path: Path, query: str) -> None:
    with connect(lake, 1024, 2) as con, pytest.raises(LakeError, match="expected one that only reads"):
        con.execute(query.format(place=tmp_path / "written"))
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize(
    "query",
    ["EXPLAIN SELECT v AS load FROM orders", "PREPARE p AS SELECT pk AS copy FROM orders", "EXPLAIN FROM orders"],
)
def test_a_column_may_be_named_as_what_writes(lake: Lake, query: str) -> None:
    with connect(lake, 1024, 2) as con:
        con.execute(query)
        for hidden in ("EXPLAIN /* select */ ANALYZE COPY", 'PREPARE "select" AS COPY', "EXPLAIN -- select\nCOPY"):
            with pytest.raises(LakeError, match="expected one that only reads"):
                con.execute(f"{hidden} (SELECT 1) TO '{lake.root}/written'")


# What outlives it, and what fails midway


def test_a_cursor_holds_what_it_reads(lake: Lake) -> None:
    def cursor() -> duckdb.DuckDBPyConnection:
        return connect(lake, 1024, 2).cursor()

    con = cursor()
    gc.collect()
    assert len(items_of(con, "orders")) == 10
    assert con.execute("SELECT plain_json('{\"L\":[]}')").fetchall() == [("[]",)]
    of_a_cursor = con.cursor()
    del con
    gc.collect()
    assert of_a_cursor.execute("SELECT plain_json('{\"L\":[]}')").fetchall() == [("[]",)]


@pytest.mark.parametrize(("seconds", "left"), [(0, 2), (3600, 5)])
def test_its_scratch_goes_with_it(lake: Lake, monkeypatch: pytest.MonkeyPatch, seconds: int, left: int) -> None:
    monkeypatch.setattr(queries.connect, "QUERY_SECONDS_MAX", seconds)
    con = connect(lake, 1024, 2)
    con.execute("FROM orders")
    scratch = Path(con._scratch)
    for n in range(2, 6):
        more(lake, n * SECOND_US)
        con.refresh()
    assert len(list(scratch.iterdir())) == left, "the last two versions, and what is not old yet"
    del con
    gc.collect()
    assert not scratch.exists()


def test_a_refresh_that_fails_midway_moves_no_table(tmp_path: Path) -> None:
    """The first table is of the new version already when the second turns out to be damaged."""
    lake = create_lake(tmp_path / "lake")
    for name in ("orders", "other"):
        lake = add_table(lake, TableConfig("", name, SCHEMA))

    def moved(n: int) -> None:
        for name in ("orders", "other"):
            of = change("i1", f"{name}{n}", "MODIFY" if n else "INSERT", START_US + n, new=s(f"v{n}"))
            land_records(lake, f"{name}{n}.ndjson", [of | {"tableName": name}])
        for one in lake.config.tables.values():
            compact(lake, one, SETTINGS)
            if n == 0:
                refresh(lake, one, SETTINGS)

    moved(0)
    with connect(lake, 1024, 2) as con:
        query = "SELECT orders.v, other.v FROM orders JOIN other USING (pk)"
        assert con.execute(query).fetchall() == [("v0", "v0")]
        moved(1)
        snapshot = table(lake, "other_changes").current_snapshot()
        assert snapshot is not None
        place = Path(snapshot.manifests(table(lake, "other_changes").io)[0].manifest_path.removeprefix("file://"))
        whole = place.read_bytes()
        place.write_bytes(whole[:10])
        with pytest.raises((LakeError, OSError, ValueError), match=r"."):
            con.refresh()
        assert con.execute(query).fetchall() == [("v0", "v0")]
        assert con.execute("SELECT count(*) FROM orders").fetchall() == [(1,)]
        place.write_bytes(whole)
        con.refresh()
        assert con.execute(query).fetchall() == [("v1", "v1")]


def test_threads_may_name_a_view_first_at_once(lake: Lake) -> None:
    with connect(lake, 1024, 2) as con:
        failed: list[BaseException] = []

        def name() -> None:
            try:
                con.make()
            except BaseException as fault:
                failed.append(fault)

        threads = [threading.Thread(target=name) for _ in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not failed
        assert len(items_of(con, only_table(lake).name)) == 10
