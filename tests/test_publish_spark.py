"""`publish spark`: the written views, run on Sail, which speaks Spark's SQL without a JVM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake.lake import Lake
from lake.store import read
from queries.publish import publish_tail
from queries.scripts import publish_spark
from tests.lakes import compacted, land_records, new_lake, only_table, refreshed
from tests.publishing import fresh_rows
from tests.records import START_US, change, s
from tests.test_publish import ENTITIES, odd, with_entities

spark_sql = pytest.importorskip("pyspark.sql", reason="pyspark-client is not installed")
sail = pytest.importorskip("pysail.spark", reason="pysail is not installed")
CATALOG = "sail"  # what Sail calls its own


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    server = sail.SparkConnectServer(ip="127.0.0.1", port=0)
    server.start()
    _, port = server.listening_address
    session = spark_sql.SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    yield session
    session.stop()
    server.stop()


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
