"""`publish athena` and `dynalake.athena()`: what is sent, to whom, and what comes of answers. moto runs no query."""

from __future__ import annotations

import datetime
import json
import sys
import urllib.request
from decimal import Decimal
from typing import Any

import boto3
import pytest
from moto.athena.responses import AthenaResponse
from moto.backends import get_backend
from moto.core.exceptions import JsonRESTError
from moto.glue.responses import GlueResponse
from sqlglot import parse_one
from sqlglot.expressions import Table

import dynalake as door
import queries.athena
from lake import store
from lake.errors import ConfigError, LakeError
from lake.lake import Lake, create_lake
from tests.commands import dynalake
from tests.lakes import compacted, new_lake, refreshed, table
from tests.publishing import fresh_rows, plain_duckdb, published, rows_of
from tests.records import START_US, change, text

SHOP = "s3://lakes/shop"
OUTPUT = "s3://lakes/results"


def backend() -> Any:
    return get_backend("athena")["123456789012"]["us-east-1"]


@pytest.fixture
def athena(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What moto lacks of prepared statements."""

    def found(request: Any) -> Any:
        try:
            return backend().prepared_statements[request._get_param("StatementName")]
        except KeyError:
            raise JsonRESTError("ResourceNotFoundException", "PreparedStatement was not found") from None

    def get(request: Any) -> str:
        one = found(request)
        fields = {"StatementName": one.statement_name, "QueryStatement": one.query_statement}
        return json.dumps({"PreparedStatement": fields | {"Description": one.description}})

    def update(request: Any) -> str:
        found(request).query_statement = request._get_param("QueryStatement")
        return "{}"

    def delete(request: Any) -> str:
        del backend().prepared_statements[found(request).statement_name]
        return "{}"

    for name, method in (("get", get), ("update", update), ("delete", delete)):
        monkeypatch.setattr(AthenaResponse, f"{name}_prepared_statement", method, raising=False)
    return boto3.client("athena")


def land(lake: Lake, name: str, *records: bytes) -> None:
    store.put(f"{lake.raw}{name}", b"\n".join(records))
    compacted(lake)


@pytest.fixture
def shop(athena: Any) -> Lake:
    lake = new_lake(SHOP)
    land(lake, "1", text("1"), text("2"))
    refreshed(lake)
    return lake


def remove_one(lake: Lake) -> None:
    land(lake, "2", json.dumps(change("1", "x", "REMOVE", START_US + 5_000)).encode())


def sent() -> list[Any]:
    return list(backend().executions.values())


def publish(*options: str) -> dict[str, Any]:
    outcome = dynalake(SHOP, "publish", "athena", "--output", OUTPUT, "--json", *options)
    assert outcome.code == 0, outcome
    (report,) = json.loads(outcome.out)
    return report


def snapshot(lake: Lake, name: str) -> str:
    found = table(lake, name).current_snapshot()
    assert found is not None
    return f'"lakes_shop"."{name}" FOR VERSION AS OF {found.snapshot_id}'


def test_views_are_made_in_a_database_of_their_own(shop: Lake) -> None:
    remove_one(shop)
    report = publish()
    assert (report["place"], report["batch"], report["touched"], report["left_out"]) == ("lakes_shop_views", 2, 1, [])
    queries = {one.query.partition(" AS ")[0]: one for one in sent()}
    assert list(queries) == [f'CREATE OR REPLACE VIEW "lakes_shop_views"."{name}"' for name in report["views"]]
    fresh = queries['CREATE OR REPLACE VIEW "lakes_shop_views"."orders"']
    assert fresh.context == {"Database": "lakes_shop_views"}
    assert fresh.config["OutputLocation"].startswith(OUTPUT)
    assert all(snapshot(shop, name) in fresh.query for name in ("orders", "orders_tail"))
    read_by = [place.sql("athena") for place in parse_one(fresh.query, read="athena").find_all(Table)]
    assert [place for place in read_by if "VERSION AS OF" not in place.upper()] == ['"lakes_shop_views"."orders"']
    changes = queries['CREATE OR REPLACE VIEW "lakes_shop_views"."orders_changes"']
    assert snapshot(shop, "orders_changes") in changes.query
    names = [one["Name"] for one in boto3.client("glue").get_databases()["DatabaseList"]]
    assert sorted(names) == ["lakes_shop", "lakes_shop_views"]


def test_queries_with_parameters_are_prepared_statements(shop: Lake, athena: Any) -> None:
    report = publish()
    assert report["queries"]
    for name in report["queries"]:
        found = athena.get_prepared_statement(StatementName=name, WorkGroup="primary")["PreparedStatement"]
        assert "?" in found["QueryStatement"]
        assert snapshot(shop, "orders_changes") in found["QueryStatement"]


def test_again_and_after_more_changes(shop: Lake, athena: Any) -> None:
    first, before = publish(), [one.query for one in sent()]
    again = publish()
    assert (first["tail_written"], again["tail_written"]) == (True, False)
    assert [one.query for one in sent()] == before * 2
    remove_one(shop)
    assert publish()["batch"] == 2
    assert snapshot(shop, "orders_tail") in sent()[-len(first["views"])].query
    name = first["queries"][0]
    statement = athena.get_prepared_statement(StatementName=name, WorkGroup="primary")["PreparedStatement"]
    assert snapshot(shop, "orders_changes") in statement["QueryStatement"]


def test_a_database_and_workgroup_of_ones_own(shop: Lake, athena: Any) -> None:
    athena.create_work_group(Name="analysts", Configuration={"ResultConfiguration": {"OutputLocation": OUTPUT}})
    options = ("--database", "shop_for_all", "--workgroup", "analysts")
    assert dynalake(SHOP, "publish", "athena", *options).code == 0
    assert {(one.context["Database"], one.workgroup.name) for one in sent()} == {("shop_for_all", "analysts")}
    assert {one.workgroup for one in backend().prepared_statements.values()} == {"analysts"}


def test_what_is_refused_before_anything_is_written(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--output" in dynalake(SHOP, "publish", "athena").fault
    fault = dynalake(SHOP, "publish", "athena", "--output", OUTPUT, "--database", "lakes_shop").fault
    assert "Choose another --database" in fault
    monkeypatch.setitem(sys.modules, "awswrangler", None)
    assert "pip install 'dynalake[athena]'" in dynalake(SHOP, "publish", "athena", "--output", OUTPUT).fault
    assert sent() == []
    assert "orders_tail" not in json.dumps(boto3.client("glue").get_tables(DatabaseName="lakes_shop"), default=str)


def test_a_lake_with_another_catalog(shop: Lake) -> None:
    def other(found: str) -> str:
        return found.replace('type = "glue"', 'type = "rest"')

    store.update(shop.place("lake.toml"), other)
    assert "whose catalog is Glue; found the catalog rest" in dynalake(SHOP, "publish", "athena").fault


def test_a_statement_of_another_lake_is_left_alone(shop: Lake, athena: Any) -> None:
    publish()
    name = next(iter(backend().prepared_statements))
    backend().prepared_statements[name].description = "dynalake s3://lakes/other"
    backend().prepared_statements[name].query_statement = "SELECT 1"
    fault = dynalake(SHOP, "publish", "athena", "--output", OUTPUT).fault
    assert "dynalake s3://lakes/other" in fault and "--workgroup" in fault
    assert backend().prepared_statements[name].query_statement == "SELECT 1"


def test_what_is_too_long_for_athena(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, and what stood there of an earlier version goes; but no lake without the view of its items."""
    made = publish()
    glue = boto3.client("glue")
    glue.create_table(DatabaseName="lakes_shop_views", TableInput={"Name": "orders_changes"})
    size = len(next(one.query for one in sent() if '."orders" AS' in one.query))
    original = queries.athena._is_short

    def short(name: str, sql: str, bytes_max: int, is_needed: bool = False) -> bool:
        return original(name, sql if name == "orders" else sql + " " * bytes_max, bytes_max, is_needed)

    with monkeypatch.context() as patch:
        patch.setattr(queries.athena, "_is_short", short)
        report = publish()
    assert (report["views"], report["queries"]) == (["orders"], [])
    assert report["left_out"] == ["orders_changes: typed values", "orders_changes", *made["queries"]]
    assert glue.get_tables(DatabaseName="lakes_shop_views")["TableList"] == []
    assert backend().prepared_statements == {}
    monkeypatch.setattr(queries.athena, "VIEW_BYTES_MAX", size - 1)
    assert "too many columns" in dynalake(SHOP, "publish", "athena", "--output", OUTPUT).fault


def test_without_its_typed_values_a_view_of_changes_is_never_too_long(shop: Lake, monkeypatch: Any) -> None:
    original = queries.athena._is_short

    def short(name: str, sql: str, *arguments: Any, **named: Any) -> bool:
        return "new_v" not in sql and original(name, sql, *arguments, **named)

    monkeypatch.setattr(queries.athena, "_is_short", short)
    report = publish()
    assert (report["views"], report["left_out"]) == (["orders", "orders_changes"], ["orders_changes: typed values"])
    assert [one.query.count('"new_image"') for one in sent()] == [0, 1]


def test_views_of_entities_come_and_go(shop: Lake) -> None:
    glue = boto3.client("glue")

    def entities(text: str) -> None:
        store.update(
            shop.place("lake.toml"),
            lambda found: found.partition("\n[tables.orders.entities")[0].rstrip() + "\n" + text,
        )

    entities("""
[tables.orders.entities.one]
where = "pk begins_with '1'"

[tables.orders.entities.unsaid]
where = "absent = 5"
""")
    report = publish()
    assert report["views"] == ["orders", "orders_changes", "orders_one"]
    assert report["left_out"] == ["orders_unsaid"]
    text = next(one.query for one in sent() if '."orders_one" AS' in one.query)
    assert text.endswith("""WHERE starts_with("pk", '1')""")
    for name in ("orders_one", "somebodys"):
        glue.create_table(DatabaseName="lakes_shop_views", TableInput={"Name": name})
    entities("")
    assert publish()["views"] == ["orders", "orders_changes"]
    tables = glue.get_tables(DatabaseName="lakes_shop_views")["TableList"]
    assert [one["Name"] for one in tables] == ["somebodys"]


def test_what_somebody_else_made_is_left_alone(shop: Lake) -> None:
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": "theirs"})
    glue.create_table(DatabaseName="theirs", TableInput={"Name": "orders_changes"})
    options = ("--output", OUTPUT, "--database", "theirs")
    fault = dynalake(SHOP, "publish", "athena", *options).fault
    assert "theirs.orders_changes" in fault and "somebody else" in fault
    assert sent() == []
    glue.delete_table(DatabaseName="theirs", Name="orders_changes")
    publish("--database", "theirs")
    glue.create_table(DatabaseName="theirs", TableInput={"Name": "orders_changes"})  # as Athena does
    publish("--database", "theirs")


@pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidRequestException"])
def test_what_athena_and_glue_refuse(shop: Lake, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise JsonRESTError(code, "no, says AWS")

    for responses, method in (
        (AthenaResponse, "start_query_execution"), (AthenaResponse, "get_work_group"),
        (AthenaResponse, "create_prepared_statement"), (GlueResponse, "create_database"), (GlueResponse, "get_table"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(responses, method, refused)
            options = () if method == "get_work_group" else ("--output", OUTPUT)
            if method == "create_database":
                options += ("--database", "not_there_yet")
            outcome = dynalake(SHOP, "publish", "athena", *options)
            assert outcome.code == 1, method
            assert "says AWS" in outcome.fault, method
    assert publish()["left_out"] == []


@pytest.mark.parametrize("options", [("--output", "results"), ("--output", OUTPUT, "--workgroup", "none")])
def test_places_that_are_none(shop: Lake, options: tuple[str, ...]) -> None:
    outcome = dynalake(SHOP, "publish", "athena", *options)
    assert (outcome.code, outcome.fault.startswith("dynalake: ")) == (1, True)


def test_a_query_that_fails(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made before it stands; the next run makes everything."""
    original = AthenaResponse.get_query_execution

    def failed(request: Any) -> str:
        answer = json.loads(original(request))
        if '"orders_changes" AS' in answer["QueryExecution"]["Query"]:
            answer["QueryExecution"]["Status"] |= {"State": "FAILED", "StateChangeReason": "SYNTAX_ERROR: line 1:8"}
        return json.dumps(answer)

    with monkeypatch.context() as patch:
        patch.setattr(AthenaResponse, "get_query_execution", failed)
        fault = dynalake(SHOP, "publish", "athena", "--output", OUTPUT).fault
    assert "orders_changes" in fault and "SYNTAX_ERROR" in fault
    assert publish()["tail_written"] is False


def test_on_s3_a_plain_duckdb_reads_the_same(shop: Lake) -> None:
    remove_one(shop)
    published(shop)
    con = plain_duckdb(shop)
    assert rows_of(con, "orders") == fresh_rows(shop)
    assert con.execute("SELECT count(*) FROM iceberg_scan('s3://lakes/shop/warehouse/lake/orders')").fetchall() == [
        (2,)
    ]
    script = (store.read(shop.place("views.sql")) or b"").decode()
    assert "CREATE OR REPLACE SECRET" in script


# Queries


def answers(server: str, types: list[str], *rows: list[str]) -> None:
    """Has moto answer the next query so."""
    names = [f"c{n}" for n, _ in enumerate(types)]
    columns = [
        {"Name": name, "Label": name, "Type": kind, "Precision": 38, "Scale": 2, "Nullable": "UNKNOWN",
         "CaseSensitive": True, "CatalogName": "hive", "SchemaName": "", "TableName": ""}
        for name, kind in zip(names, types, strict=True)
    ]  # fmt: skip
    data = [{"Data": [{"VarCharValue": value} for value in row]} for row in (names, *rows)]
    body = json.dumps({"results": [{"rows": data, "column_info": columns}]}).encode()
    place = f"{server}/moto-api/static/athena/query-results"
    request = urllib.request.Request(place, body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201


def test_a_query_comes_as_pandas(athena: Any, s3_server: str) -> None:
    create_lake(SHOP)
    answers(s3_server, ["bigint", "varchar", "decimal"], ["1", "a", "1.25"], ["2", "b", "0.10"])
    found = door.athena("SELECT * FROM orders", lake=SHOP, output=OUTPUT)
    assert found.values.tolist() == [[1, "a", Decimal("1.25")], [2, "b", Decimal("0.10")]]
    (one,) = sent()
    assert (one.query, one.context) == ("SELECT * FROM orders", {"Database": "lakes_shop_views"})


def test_parameters_lose_nothing(athena: Any, s3_server: str) -> None:
    answers(s3_server, ["bigint"], ["1"])
    at = datetime.datetime(2026, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    params = {"at": at, "name": "O'Neil", "small": 1e-9, "n": Decimal("0.1")}
    door.athena("EXECUTE orders_x USING :at, :name, :small, :n", database="shop", output=OUTPUT, params=params)
    assert sent()[0].query == (
        "EXECUTE orders_x USING TIMESTAMP '2026-01-01 00:00:00.000', 'O''Neil', DECIMAL '0.000000001', DECIMAL '0.1'"
    )
    assert sent()[0].context == {"Database": "shop"}


def test_queries_that_cannot_be_asked(athena: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="a lake or a database"):
        door.athena("SELECT 1")
    with pytest.raises(ConfigError, match="--output"):
        door.athena("SELECT 1", database="shop")
    with pytest.raises(ConfigError, match="Unsupported type"):
        door.athena("SELECT :x", database="shop", output=OUTPUT, params={"x": object()})
    create_lake(tmp_path / "lake")
    with pytest.raises(ConfigError, match="a lake in a folder"):
        door.athena("SELECT 1", lake=tmp_path / "lake", output=OUTPUT)
    monkeypatch.setitem(sys.modules, "awswrangler", None)
    with pytest.raises(LakeError, match="dynalake\\[athena\\]"):
        door.athena("SELECT 1", database="shop", output=OUTPUT)
