"""`publish spark`: the written views, run on Sail, which speaks Spark's SQL without a JVM."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import standin
from lake.lake import Lake
from lake.store import read
from queries.publish import publish_tail
from queries.scripts import publish_duckdb, publish_spark
from tests.lakes import compacted, land, land_records, new_lake, only_table, refreshed, schema_of
from tests.portable import plain
from tests.publishing import fresh_rows, plain_duckdb
from tests.publishing import rows_of as plain_rows
from tests.records import START_US, change, s
from tests.test_publish import ENTITIES, odd, with_entities
from tests.test_types import NAMES, ROUNDS, round_of_writes

CATALOG = "sail"  # what Sail calls its own


def run_script(spark: Any, lake: Lake) -> None:
    """As `spark-sql -i` does. Sail has its catalog in memory: it is told of the tables, and of no time zone."""
    spark.sql("CREATE SCHEMA IF NOT EXISTS lake")
    for name in ("orders", "orders_tail", "orders_changes"):
        spark.sql(f"DROP TABLE IF EXISTS lake.{name}")
        spark.sql(f"CREATE TABLE lake.{name} USING iceberg LOCATION '{lake.warehouse}/lake/{name}'")
    text = (read(lake.place("views.spark.sql")) or b"").decode()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith(("--", "SET TIME ZONE")))
    for statement in filter(str.strip, lines.split(";\n")):
        spark.sql(statement.strip().rstrip(";"))


def rows_of(spark: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, spark.sql("SELECT pk, v, _op, _created_at_us, _item FROM orders").collect()))


def test_the_views_are_the_fresh_ones_and_stay_so(spark: Any, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1", [change(str(i), f"a{i}", "INSERT", START_US + 1, new={"N": "1"}) for i in range(5)])
    compacted(lake)
    refreshed(lake)
    land_records(
        lake, "2",
        [
            change("0", "b0", "REMOVE", START_US + 5_000, old={"N": "1"}),
            change("1", "b1", "MODIFY", START_US + 5_000, old={"N": "1"}, new={"N": "2.5"}),
            change("9", "b9", "INSERT", START_US + 5_000, new=s("other")),
        ],
    )  # fmt: skip
    compacted(lake)
    publish_spark(lake, publish_tail(lake, only_table(lake), 1024), CATALOG)
    expected = fresh_rows(lake, "(SELECT pk, v, _op, _created_at_us, _item FROM orders)", "1")[5:]
    run_script(spark, lake)
    assert rows_of(spark) == expected
    land_records(lake, "3", [change("2", "c2", "REMOVE", START_US + 9_000, old={"N": "1"})])
    compacted(lake)
    refreshed(lake)
    run_script(spark, lake)  # the tables have moved on, what was published has not
    assert rows_of(spark) == expected
    assert spark.sql("SELECT count(*) FROM orders_changes").collect()[0][0] == 8
    text = (read(lake.place("views.spark.sql")) or b"").decode()
    (query,) = (line.partition(": ")[2] for line in text.splitlines() if line.startswith("-- orders_history: "))
    found = spark.sql(query, args={"key_0": "0", "key_1": "1"}).collect()
    assert [row.event_id for row in found] == ["a0", "b0"]


def test_views_of_entities(spark: Any, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1", [change(str(i), f"a{i}", "INSERT", START_US + 1, new={"N": str(i)}) for i in range(5)])
    compacted(lake)
    refreshed(lake)
    odd(lake)
    for attributes in (None, ("flag", "gone", "pk")):
        with_views = with_entities(lake, ENTITIES, attributes)
        version = publish_tail(with_views, only_table(with_views), 1024)
        views, _, left_out = publish_spark(with_views, version, CATALOG)
        assert left_out == ["orders_unsaid"]
        run_script(spark, with_views)
        for name in views[2:]:
            found = spark.sql(f"SELECT * FROM {name}")
            described, *rows = partition(fresh_rows(with_views, name))
            assert found.columns == [column for column, _ in described], name
            assert sorted(map(tuple, found.collect()), key=str) == sorted(rows, key=str), name


def partition(rows: list[tuple[Any, ...]]) -> list[Any]:
    """The described columns as one, then the rows: these have more than two fields."""
    return [[row for row in rows if len(row) == 2], *(row for row in rows if len(row) != 2)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_any_name_and_kind_under_random_conditions(spark: Any, tmp_path: Path, seed: int) -> None:
    """Each view is on Sail what it is on a plain DuckDB, and there what `connect()` says."""
    rng = random.Random(seed)
    writes = standin.Table("orders", ("pk", "S"), None)
    wheres = {f"e{n}": " or ".join(random_condition(rng) for _ in range(rng.choice([1, 2]))) for n in range(5)}
    attributes = rng.choice([None, tuple(rng.sample(NAMES, 5))])
    lake = with_entities(new_lake(tmp_path / "lake", keys=schema_of("S", None)), wheres, attributes)
    rounds = rng.sample(range(len(ROUNDS)), len(ROUNDS))
    done = 0
    for n, which in enumerate(rounds):
        round_of_writes(writes, which, START_US + n * 1_000_000_000)
        records = standin.kds_records(writes.changes[done:], seed=seed)
        land(lake, standin.firehose_objects(records, seed=seed, prefix=f"{n}/", buffer_bytes=20_000))
        done = len(writes.changes)
        compacted(lake)
        if n == 0 or rng.random() < 0.4:
            refreshed(lake, full=rng.random() < 0.3)
    version = publish_tail(lake, only_table(lake), 1024)
    views, _, left_out = publish_duckdb(lake, version)
    assert (views, left_out) == (publish_spark(lake, version, CATALOG)[0], publish_spark(lake, version, CATALOG)[2])
    con = plain_duckdb(lake)
    run_script(spark, lake)
    for name in views:
        order = "event_id" if name == "orders_changes" else "_item_key"
        if order == "_item_key":
            assert plain_rows(con, name) == fresh_rows(lake, name), wheres
        names = ", ".join(f"`{one}`" for one in spark.sql(f"SELECT * FROM {name}").columns if not is_time(one))
        found = spark.sql(f"SELECT {names} FROM {name} ORDER BY {order}").collect()
        wanted = con.execute(f"SELECT {names.replace('`', chr(34))} FROM {name} ORDER BY {order}").fetchall()
        assert repr([tuple(map(plain, row)) for row in found]) == repr(wanted), (name, wheres)


def is_time(name: str) -> bool:
    return name in ("event_time", "_expired_at")


def random_condition(rng: random.Random) -> str:
    chosen = rng.choice([*NAMES, "n", "kind", "keeps", "late", "text", "wide", "b"])
    name = '"' + chosen.replace('"', '""') + '"'
    values = ["1", "1.5", "77", "1e3", "true", "false", "'one'", "'\\'", "'" + chosen.replace("'", "''") + "'"]
    value = rng.choice(values)
    tests = [f"= {value}", f"<> {value}", "exists", "not exists", f"in ({value}, 2, 'q')", "begins_with 'n'"]
    return f"{name} {rng.choice(tests)}"
