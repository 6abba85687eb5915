"""`publish duckdb`: what a plain DuckDB reads is the fresh view, and stays what it was when it was published."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.table import StaticTable
from sqlglot import parse_one

import queries.publish
import queries.scripts
import standin
from lake.catalog import open_catalog
from lake.conditions import parse_condition
from lake.config import TableConfig
from lake.entities import Entity
from lake.errors import CommitConflict, CommitStateUnknown, ConfigError, TransientError
from lake.keys import KeyKind
from lake.lake import Lake, add_table
from lake.layout import VIEWS
from lake.state import ensure_state
from lake.store import put, read
from lake.tables import scan_sql
from queries.portable import Sources
from queries.publish import publish_tail
from queries.published import views_of
from queries.scripts import publish_duckdb, publish_spark
from tests.commands import dynalake
from tests.lakes import (
    SCHEMA,
    compacted,
    land,
    land_records,
    new_lake,
    only_table,
    refreshed,
    schema_of,
    table,
    with_ttl,
)
from tests.publishing import check_published, fresh_rows, plain_duckdb, published, rows_of
from tests.records import START_US, change, record, s
from tests.test_histories import faults, history
from tests.test_ttl import expiry


def n(value: str) -> dict[str, str]:
    return {"N": value}


def take_in(lake: Lake, name: str, *records: dict[str, Any]) -> None:
    land_records(lake, name, records)
    compacted(lake)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Items `0` to `4` in the state, and a tail that changes, removes and adds some."""
    made = new_lake(tmp_path / "lake")
    take_in(made, "1", *(change(str(i), f"a{i}", "INSERT", START_US + 1, new=n("1")) for i in range(5)))
    refreshed(made)
    take_in(
        made, "2",
        change("0", "b0", "REMOVE", START_US + 5_000, old=n("1")),
        change("1", "b1", "MODIFY", START_US + 5_000, old=n("1"), new=n("2")),
        change("9", "b9", "INSERT", START_US + 5_000, new=n("9")),
    )  # fmt: skip
    return made


def values(con: Any) -> dict[str, Any]:
    return dict(con.execute("SELECT pk, v FROM orders").fetchall())


def test_a_plain_duckdb_reads_what_connect_reads(lake: Lake) -> None:
    con = check_published(lake)
    assert values(con) == {"1": 2, "2": 1, "3": 1, "4": 1, "9": 9}


def test_a_macro_for_the_history_of_an_item(lake: Lake) -> None:
    published(lake)
    found = plain_duckdb(lake).execute("SELECT event_id, op FROM orders_history('0', '1')").fetchall()
    assert found == [("a0", "INSERT"), ("b0", "REMOVE")]


def test_macros_for_the_past(lake: Lake) -> None:
    published(lake)
    con = plain_duckdb(lake)
    then = "TIMESTAMP '2023-11-14 22:13:20.001'"  # START_US and a millisecond
    assert con.execute(f"SELECT pk, v FROM orders_as_of({then}) ORDER BY 1").fetchall() == [
        (str(i), 1) for i in range(5)
    ]
    with pytest.raises(duckdb.Error, match="its log begins at"):
        con.execute("FROM orders_as_of(TIMESTAMP '2020-01-01')").fetchall()
    assert con.execute("SELECT old_v, new_v FROM orders_changes WHERE event_id = 'b1'").fetchall() == [(1, 2)]
    assert len(con.execute(f"FROM orders_diff({then}, TIMESTAMP '2024-01-01')").fetchall()) == 3


def test_the_tail_says_of_each_item_touched_whether_it_is_there(lake: Lake) -> None:
    published(lake)
    tail = plain_duckdb(lake).execute(
        f"SELECT _item_key, v, _is_live, _op FROM iceberg_scan('{lake.warehouse}/lake/orders_tail') ORDER BY 1"
    )
    assert tail.fetchall() == [
        ("0|1", None, False, "REMOVE"), ("1|1", 2, True, "MODIFY"), ("9|1", 9, True, "INSERT"),
    ]  # fmt: skip


def test_any_reader_of_iceberg_finds_the_tables_by_their_folders(lake: Lake) -> None:
    published(lake)
    con = plain_duckdb(lake)
    for name, count in (("orders", 5), ("orders_changes", 8), ("orders_ledger", 2), ("orders_tail", 3)):
        (found,) = con.execute(f"SELECT count(*) FROM iceberg_scan('{lake.warehouse}/lake/{name}')").fetchall()
        assert found == (count,), name
        static = StaticTable.from_metadata(f"{lake.warehouse}/lake/{name}")
        assert static.scan().count() == count, name


def test_views_stay_what_they_were_while_jobs_go_on(lake: Lake) -> None:
    con = check_published(lake)
    before = rows_of(con, "orders"), rows_of(con, "orders_changes", "event_id")
    take_in(lake, "3", change("2", "c2", "REMOVE", START_US + 9_000, old=n("1")), record("new", body={}))
    refreshed(lake)
    take_in(lake, "4", change("2", "d2", "INSERT", START_US + 10_000, new=n("3")))
    for one in (con, plain_duckdb(lake)):
        assert (rows_of(one, "orders"), rows_of(one, "orders_changes", "event_id")) == before
    check_published(lake)


def test_views_outlive_the_metadata_files_of_their_version(lake: Lake) -> None:
    """Iceberg removes these while tables are committed to."""
    con = check_published(lake)
    before = rows_of(con, "orders"), rows_of(con, "orders_changes", "event_id")
    for name in ("orders", "orders_changes", "orders_tail"):
        files = set(Path(lake.warehouse, "lake", name, "metadata").glob("0*.metadata.json"))
        for n in range(3):
            with table(lake, name).transaction() as transaction:
                transaction.set_properties({"write.metadata.previous-versions-max": "1", "n": str(n)})
        assert not any(path.exists() for path in files)
    for one in (con, plain_duckdb(lake)):
        assert (rows_of(one, "orders"), rows_of(one, "orders_changes", "event_id")) == before
    static = StaticTable.from_metadata(f"{lake.warehouse}/lake/orders")
    assert static.scan().count() == 5


def test_after_a_refresh_the_tail_is_empty(lake: Lake) -> None:
    published(lake)
    refreshed(lake)
    assert published(lake).touched == 0
    check_published(lake)


def test_nothing_is_written_where_nothing_is_new(lake: Lake) -> None:
    first = published(lake)
    again = published(lake)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.tail.metadata_location == first.tail.metadata_location
    assert again.columns == first.columns


def test_columns_come_and_change(lake: Lake) -> None:
    """New attributes, numbers that need more digits, kinds that do not fit, maps; and none of that any more."""
    published(lake)
    image = {"pk": s("m"), "sk": s("1"), "m": {"M": {"a": n("1")}}, "l": {"NS": ["2", "1"]}}
    take_in(
        lake, "3",
        change("3", "c3", "MODIFY", START_US + 9_000, old=n("1"), new=n("1.25")),
        change("4", "c4", "MODIFY", START_US + 9_000, old=n("1"), new=s("text")),
        record("m", body={"NewImage": image}),
    )  # fmt: skip
    con = check_published(lake)
    assert con.execute("SELECT m, l FROM orders WHERE pk = 'm'").fetchall() == [('{"a":1}', [1, 2])]
    take_in(lake, "4", change("2", "d2", "MODIFY", START_US + 9_500, old=n("1"), new=n("1e40")))
    check_published(lake)
    refreshed(lake)
    check_published(lake)


def test_the_text_for_athena_says_the_same(lake: Lake) -> None:
    """As far as sqlglot reads Athena's SQL as Athena does."""
    take_in(lake, "3", change("3", "c3", "MODIFY", START_US + 9_000, old=n("1"), new=n("1.25")))
    version = published(lake)
    views = views_of(version, Sources('"s"', '"t"', '"l"'), "athena")
    con = plain_duckdb(lake)
    for name, source in (("s", version.state), ("t", version.tail), ("l", version.log)):
        con.execute(f"CREATE VIEW {name} AS FROM {scan_sql(source)}")
    for name, text in views.items():
        con.execute(f"CREATE VIEW athena_{name} AS {parse_one(text, read='athena').sql(dialect='duckdb')}")
    assert rows_of(con, "athena_orders") == fresh_rows(lake)
    assert rows_of(con, "athena_orders_changes", "event_id") == rows_of(con, "orders_changes", "event_id")


def test_an_attribute_with_the_name_of_our_flag(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    image = {"pk": s("a"), "sk": s("1"), "_is_live": s("yes")}
    take_in(lake, "1", record("a", body={"NewImage": image}))
    refreshed(lake)
    take_in(lake, "2", record("b", body={"NewImage": {**image, "pk": s("a")}, "Keys": {"pk": s("a"), "sk": s("1")}}))
    con = check_published(lake)
    assert con.execute("SELECT _is_live_2 FROM orders").fetchall() == [("yes",)]


def test_a_state_of_before_the_flag_was_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = new_lake(tmp_path / "lake")
    with monkeypatch.context() as patch:
        for module in ("lake.columns", "lake.state"):
            patch.setattr(f"{module}.IS_LIVE", "_none")
        take_in(lake, "1", record("a", body={"NewImage": {"pk": s("a"), "sk": s("1"), "_is_live": s("yes")}}))
        refreshed(lake)
    with pytest.raises(ConfigError, match="dynalake refresh orders"):
        published(lake)
    refreshed(lake)
    take_in(lake, "2", record("b"))
    con = check_published(lake)
    assert con.execute("SELECT _is_live_2 FROM orders ORDER BY pk").fetchall() == [("yes",), (None,)]


@pytest.mark.parametrize("kinds", [("N", None), ("B", "N"), ("S", "B"), ("B", None)])
def test_keys_of_any_kind(tmp_path: Path, kinds: tuple[KeyKind, KeyKind | None]) -> None:
    lake = new_lake(tmp_path / "lake", keys=schema_of(*kinds))
    given = {"S": ["a|b", "c"], "N": ["1.50", "-2"], "B": ["WVE9PQ==", "Lys4PQ=="]}  # KDS encodes twice

    def one(name: str, i: int, **parts: Any) -> dict[str, Any]:
        key = {k: {kind: given[kind][i]} for k, kind in zip(("pk", "sk"), kinds, strict=True) if kind}
        return record(name, body={"Keys": key, "NewImage": {**key, "v": n("1")}, **parts.pop("body", {})}, **parts)

    take_in(lake, "1", one("a", 0), one("b", 1))
    refreshed(lake)
    later = {"ApproximateCreationDateTime": START_US + 5_000}
    take_in(lake, "2", one("c", 0, body={**later, "NewImage": ...}, eventName="REMOVE"))
    con = check_published(lake)
    assert len(con.execute("FROM orders").fetchall()) == 1
    key = ", ".join({"S": "'a|b'", "N": "1.5", "B": "'YQ=='"}[kind] for kind in kinds if kind)
    assert con.execute(f"SELECT event_id FROM orders_history({key})").fetchall() == [("a",), ("c",)]


def test_items_that_are_kept_though_they_expired(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", ttl="keep")
    take_in(lake, "1", *(change(name, name, "INSERT", START_US, new=s(name)) for name in "abc"))
    refreshed(lake)
    take_in(
        lake,
        "2",
        expiry("a", "a1", START_US + 5_000, s("a")),
        change("b", "b1", "REMOVE", START_US + 5_000, old=s("b")),
    )
    con = check_published(lake)
    assert con.execute("SELECT pk, _expired_at IS NOT NULL FROM orders ORDER BY 1").fetchall() == [
        ("a", True),
        ("c", False),
    ]
    with pytest.raises(ConfigError, match="refresh orders"):
        published(with_ttl(lake, "delete"))


def check_history(seed: int) -> None:
    """Published at random moments of a random history, the view is the fresh one, and never moves."""
    rng = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        lake = new_lake(root / "lake", ttl=rng.choice(["delete", "keep"]))
        changes = history(rng, rng.choice([1, 4, 30]), rng.choice([10, 80]), rng.choice([1, 40, 3_000, 90_000_000]))
        precision = rng.choice(["MICROSECOND", "MILLISECOND"])
        knobs = faults(rng)
        objects = standin.firehose_objects(
            standin.kds_records(changes, seed=seed, precision=precision, faults=knobs), seed=seed, prefix="kds/",
            buffer_bytes=2_000, faults=knobs,
        )  # fmt: skip
        rng.shuffle(objects)
        rounds, landed, was = 3, 0, []
        for i in range(rounds):
            land(lake, objects[i * len(objects) // rounds : (i + 1) * len(objects) // rounds])
            landed += compacted(lake).changes
            if landed and (not was or rng.random() < 0.3):
                refreshed(lake)
            if landed:
                con = check_published(lake)
                was.append((con, rows_of(con, "orders")))
        for con, found in was:
            assert rows_of(con, "orders") == found
    finally:
        shutil.rmtree(root)


@settings(max_examples=2)
@given(seed=st.integers(0, 1 << 40))
def test_random_histories(seed: int) -> None:
    check_history(seed)


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=st.integers(0, 1 << 40))
def test_many_random_histories(seed: int) -> None:
    check_history(seed)


# Entities

ENTITIES = {
    "first": "pk begins_with '1'",
    "two": "v = 2 or v in (9, 1)",
    "none_of_it": 'v not exists or "o\'dd\\ n""ame" exists',
    "flagged": "flag = true or \"o'dd\\ n\"\"ame\" = 'a\\''b'",
    "unsaid": "missing = 5",
}


def with_entities(lake: Lake, wheres: dict[str, str], attributes: tuple[str, ...] | None = None) -> Lake:
    entities = tuple(Entity(name, parse_condition(where, name), attributes) for name, where in wheres.items())
    changed = replace(only_table(lake), entities=entities)
    return replace(lake, config=replace(lake.config, tables={changed.name: changed}))


def odd(lake: Lake) -> None:
    for n, value in enumerate(
        ({"flag": {"BOOL": True}}, {"o'dd\\ n\"ame": s("a\\'b")}, {"v": s("2")}, {"x": {"NULL": True}})
    ):
        image = {"pk": s(f"1{n}"), "sk": s("1"), **value}
        take_in(lake, f"odd{n}", record(f"odd{n}", body={"Keys": {"pk": image["pk"], "sk": s("1")}, "NewImage": image}))


def test_views_of_entities(lake: Lake) -> None:
    odd(lake)
    lake = with_entities(lake, ENTITIES)
    version = publish_tail(lake, only_table(lake), 1024)
    views, _, left_out = publish_duckdb(lake, version)
    assert (views[2:], left_out) == ([f"orders_{name}" for name in ENTITIES if name != "unsaid"], ["orders_unsaid"])
    con, counts = plain_duckdb(lake), []
    for name in views[2:]:
        assert rows_of(con, name) == fresh_rows(lake, name), name
        counts.append(len(con.execute(f"FROM {name}").fetchall()))
    assert counts == [5, 5, 3, 2]
    assert not published(lake).is_new
    less = with_entities(lake, {"first": "pk begins_with '9'"}, ("x", "pk", "gone"))
    assert published(less).is_new  # the entities are others
    con = plain_duckdb(less)
    assert rows_of(con, "orders_first") == fresh_rows(less, "orders_first")
    assert "orders_two" not in (read(less.place("views.sql")) or b"").decode()


def test_a_name_with_line_ends_breaks_no_script(lake: Lake) -> None:
    image = {"pk": s("n"), "sk": s("1"), "a\n-- end of orders\n;b": s("x\n")}
    take_in(lake, "n", record("n", body={"Keys": {"pk": s("n"), "sk": s("1")}, "NewImage": image}))
    check_published(lake)
    con = check_published(lake)
    assert con.execute("SELECT new_a____end_of_orders__b FROM orders_changes WHERE event_id = 'n'").fetchall() == [
        ("x\n",)
    ]
    publish_spark(lake, publish_tail(lake, only_table(lake), 1024), "c")
    ((_, text),) = sections(lake, "spark")
    assert all(line.startswith(("--", "CREATE OR REPLACE TEMPORARY VIEW ")) for line in text.splitlines())


# Kills and races


def test_a_kill_between_the_tail_and_the_views(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published stays readable and the same; the next run ends as if there had been none before."""
    con = check_published(lake)
    before = rows_of(con, "orders")
    take_in(lake, "3", change("2", "c2", "REMOVE", START_US + 9_000, old=n("1")))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queries.scripts, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            published(lake)
    assert rows_of(con, "orders") == rows_of(plain_duckdb(lake), "orders") == before
    assert not published(lake).is_new
    assert rows_of(plain_duckdb(lake), "orders") == fresh_rows(lake) != before


def test_a_kill_before_the_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queries.publish, "replace_files", killed)
        with pytest.raises(KeyboardInterrupt):
            published(lake)
    check_published(lake)


def test_a_commit_that_took_though_its_answer_was_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    original = queries.publish.replace_files

    def unknown(*arguments: Any) -> None:
        monkeypatch.setattr(queries.publish, "replace_files", original)
        original(*arguments)
        raise CommitStateUnknown("commit", "orders_tail")

    monkeypatch.setattr(queries.publish, "replace_files", unknown)
    version = published(lake)
    assert (version.is_new, version.conflicts) == (False, 1)
    assert rows_of(plain_duckdb(lake), "orders") == fresh_rows(lake)


def test_who_loses_a_race_plans_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one computes, changes come and another publishes them: the first must not put the older tail over it."""
    original = queries.publish._write

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(queries.publish, "_write", original)
        take_in(lake, "3", change("2", "c2", "REMOVE", START_US + 9_000, old=n("1")))
        assert published(lake).batch == 3
        return original(*arguments)

    monkeypatch.setattr(queries.publish, "_write", late)
    version = published(lake)
    assert (version.batch, version.is_new, version.conflicts) == (3, False, 1)
    (snapshots,) = [len(list(table(lake, "orders_tail").snapshots()))]
    assert snapshots == 1
    assert rows_of(plain_duckdb(lake), "orders") == fresh_rows(lake)


def test_two_at_once(lake: Lake) -> None:
    faults: list[BaseException] = []

    def job() -> None:
        try:
            published(lake)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=job) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert rows_of(plain_duckdb(lake), "orders") == fresh_rows(lake)


def test_others_committing_all_the_while(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def conflict(*_: Any) -> None:
        raise CommitConflict("commit", "orders_tail")

    monkeypatch.setattr(queries.publish, "replace_files", conflict)
    monkeypatch.setattr(queries.publish, "ATTEMPTS_MAX", 2)
    with pytest.raises(TransientError, match="2 attempts"):
        published(lake)
    assert not list(Path(lake.warehouse).glob("lake/orders_tail/data/*.parquet"))


# Files of several tables


def test_a_file_has_a_section_for_each_table_of_the_lake(lake: Lake) -> None:
    two = add_table(lake, TableConfig("", "users", SCHEMA))
    assert dynalake(lake.uri, "publish", "duckdb").code == 0  # users has no changes: nothing to publish
    orders = dict(sections(two))["orders"]
    land_records(two, "3", [record("u", tableName="users")])
    for command in ("compact", "refresh"):
        assert dynalake(lake.uri, command, "users").code == 0
    (report,) = json.loads(dynalake(lake.uri, "publish", "duckdb", "users", "--json").out)
    assert (report["table"], report["batch"], report["views"][0]) == ("users", 1, "users")
    assert dict(sections(two))["orders"] == orders
    con = plain_duckdb(two)
    assert con.execute("SELECT pk FROM users").fetchall() == [("u",)]
    assert len(con.execute("FROM orders").fetchall()) == 5
    # One that the lake has no more goes.
    version = publish_tail(lake, only_table(lake))
    publish_duckdb(lake, version)
    assert [name for name, _ in sections(lake)] == ["orders"]


def sections(lake: Lake, engine: str = "duckdb") -> list[tuple[str, str]]:
    return queries.scripts._SECTION.findall((read(lake.place(VIEWS[engine])) or b"").decode())


def test_for_spark(lake: Lake) -> None:
    out = json.loads(dynalake(lake.uri, "publish", "spark", "--catalog", "glue", "--json").out)
    assert out[0]["place"].endswith("views.spark.sql")
    ((name, text),) = sections(lake, "spark")
    state = table(lake, "orders").current_snapshot()
    assert state is not None
    assert (name, f"`glue`.`lake`.`orders` VERSION AS OF {state.snapshot_id}" in text) == ("orders", True)


# Faults


def test_a_table_of_the_tails_name_is_never_written_over(lake: Lake) -> None:
    """One that was added before there were tails; today it gets another name."""
    taken = add_table(lake, TableConfig("", "orders-tail", SCHEMA))
    assert sorted(taken.config.tables) == ["orders", "orders_tail_2"]
    other = replace(only_table(lake), name="orders_tail", dynamodb_name="orders_tail")
    both = replace(lake, config=replace(lake.config, tables={"orders": only_table(lake), "orders_tail": other}))
    with pytest.raises(ConfigError, match="no table orders_tail"):
        publish_tail(both, only_table(lake), 1024)
    ensure_state(open_catalog(both), other)
    with pytest.raises(ConfigError, match="found another table"):
        publish_tail(lake, only_table(lake), 1024)


def test_what_cannot_be_published(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    assert dynalake(lake.uri, "publish", "nowhere").code == 2
    assert "find table" in dynalake(lake.uri, "publish", "duckdb", "none").fault
    assert "compact" in dynalake(lake.uri, "publish", "duckdb").fault
    assert "compact orders" in dynalake(lake.uri, "publish", "duckdb", "orders").fault
    take_in(lake, "1", record("1"))
    assert "dynalake refresh orders" in dynalake(lake.uri, "publish", "duckdb").fault
    fault = dynalake(lake.uri, "publish", "athena").fault
    assert "a lake in a folder" in fault
    assert "publish duckdb" in fault
    assert table_names(lake) == ["orders_changes", "orders_ledger"]
    assert (
        "no tables registered"
        in dynalake(tmp_path / "empty", "init").out + dynalake(tmp_path / "empty", "publish", "duckdb").out
    )


def table_names(lake: Lake) -> list[str]:
    return sorted(name for _, name in open_catalog(lake).list_tables("lake"))


def test_a_file_that_somebody_has_spoilt_is_made_anew(lake: Lake) -> None:
    put(lake.place("views.sql"), b"-- table orders\nrubbish")
    check_published(lake)


def test_spark_and_duckdb_share_one_tail(lake: Lake) -> None:
    version = published(lake)
    again = publish_tail(lake, only_table(lake))
    publish_spark(lake, again, "dynalake")
    assert again.tail.metadata_location == version.tail.metadata_location
