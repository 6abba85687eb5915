"""`dynalake explain` through the door: what it prints, what it refuses, on S3, and of items large in number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import standin
from dynalake.cli import app
from lake import store
from lake.lake import Lake
from standin.fixtures import aws  # noqa: F401
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.lakes import compacted, land_records, new_lake, refreshed, schema_of
from tests.records import START_US, change, s, text
from tests.tables import Pipeline, item
from tests.test_explain import _masked, masked_key  # noqa: F401


@pytest.fixture(name="lake")
def _lake(tmp_path: Path) -> Lake:
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "a.json", [text("x"), change("i0", "e1", "INSERT", START_US + 1, new=s("[red]"))])
    compacted(lake)
    land_records(lake, "b.json", [change("i0", f"e{n}", "MODIFY", START_US + n, s("[red]"), s("b")) for n in (1, 2)])
    compacted(lake)
    return lake


def run(lake: Lake, *arguments: str) -> Any:
    return dynalake(lake.uri, "explain", "orders", *arguments)


def test_what_it_prints(lake: Lake) -> None:
    ended = run(lake, "i0", "1", "--no-table", "--images")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.out.endswith("Log and state agree; the table was not asked.\n")
    for part in ("orders: i0|1", "raw/a.json", '{"S":"[red]"} → {"S":"b"}', "the log had it already", "#2 NewImage {"):
        assert part in ended.out
    assert lake.uri not in ended.out
    ended = run(lake, "i0", "1", "--no-table", "--limit", "1")
    assert "1 earlier changes are not shown" in ended.out and "e1" not in ended.out
    document = json.loads(run(lake, "i0", "1", "--no-table", "--json", "--search-raw").out)
    assert [(one["event_id"], one["record"], len(one["copies"])) for one in document["changes"]] == [
        ("e1", 2, 1), ("e2", 2, 0),
    ]  # fmt: skip
    assert document["verdict"]["finding"] == "the table was not asked" and document["searched"] == 2
    nobody = json.loads(run(lake, "nobody", "1", "--no-table", "--json").out)
    assert (nobody["changes"], nobody["log"]) == ([], None)
    assert "does not know the item" in run(lake, "nobody", "1", "--no-table").out


def test_keys_that_cannot_be(tmp_path: Path) -> None:
    for kind, wrong in (("N", "x"), ("B", "?"), ("S", "")):
        lake = new_lake(tmp_path / kind, keys=schema_of(kind, None))  # type: ignore[arg-type]
        for key in ([wrong], ["1", "2"]):
            ended = run(lake, *key)
            assert ended.code == 2 and f"orders has the key pk:{kind}" in ended.errors, ended
    lake = new_lake(tmp_path / "negative", keys=schema_of("N", None))
    assert run(lake, "--no-table", "--", "-15e-1").out.startswith("orders: -1.5\n")
    assert "expected a registered table" in dynalake(lake.uri, "explain", "others", "1").fault


def test_against_dynamodb(aws: AwsStandIn, tmp_path: Path) -> None:  # noqa: F811
    aws.replicate("orders", bucket="raw", prefix="orders/", range_key=("sk", "S"))
    client = aws.client("dynamodb")
    lake = new_lake(tmp_path / "lake")
    client.put_item(TableName="orders", Item={"pk": s("i0"), "sk": s("1"), "b": {"B": b"\x00\xff"}})
    aws.deliver()
    compacted(lake, raw_uri="s3://raw/orders/")
    refreshed(lake)
    ended = run(lake, "i0", "1")
    assert ended.out.endswith("Log, state and table agree: the item is what its last change made it.\n"), ended
    assert "s3://raw/orders/" in ended.out
    document = json.loads(run(lake, "i0", "1", "--json").out)
    assert document["changes"][0]["record"] == 1
    client.put_item(TableName="orders", Item={"pk": s("i1"), "sk": s("1")})
    assert "The lake lacks what the table has" in run(lake, "i1", "1").out
    client.delete_table(TableName="orders")
    document = json.loads(run(lake, "i0", "1", "--json").out)
    assert "describe table orders" in document["in_table"]["error"]
    boto3_client = aws.client("s3")
    for one in boto3_client.list_objects_v2(Bucket="raw")["Contents"]:
        boto3_client.delete_object(Bucket="raw", Key=one["Key"])
    document = json.loads(run(lake, "i0", "1", "--no-table", "--json").out)
    assert document["changes"][0]["place"] == "gone"


def test_a_lake_on_s3(s3: Any) -> None:
    lake = new_lake("s3://lakes/shop")
    records = [change("i0", "e1", "INSERT", START_US + 1, new=s("a")), b"rubbish"]
    for name in ("a", "a2"):  # the one is the start of the other's name
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in [text(name), *records]]
        store.put(f"{lake.raw}{name}", b"\n".join(lines))
        compacted(lake)
    document = json.loads(run(lake, "i0", "1", "--no-table", "--json").out)
    (one,) = document["changes"]
    assert (one["raw_object"], one["record"]) == ("s3://lakes/shop/raw/a", 2)
    assert [(copy["raw_object"], copy["record"]) for copy in one["copies"]] == [("s3://lakes/shop/raw/a2", 2)]


def test_masked_keys(masked: Lake) -> None:
    by_mask = run(masked, *masked_key().split("|"), "--no-table")
    assert by_mask.out == run(masked, "alice", "1", "--plain", "--no-table").out
    assert "alice" not in by_mask.out and "e2" in by_mask.out
    assert "does not know" in run(masked, "alice", "1", "--no-table").out


def test_an_item_with_many_changes(tmp_path: Path) -> None:
    pipeline = Pipeline(new_lake(tmp_path / "lake"), standin.Table("orders", ("pk", "S"), ("sk", "S")))
    for n in range(600):
        pipeline.table.put(item("hot", v={"N": str(n)}), START_US + n)
    pipeline.deliver()
    ended = run(pipeline.lake, "hot", "1", "--no-table")
    assert "550 earlier changes are not shown" in ended.out
    document = json.loads(run(pipeline.lake, "hot", "1", "--no-table", "--json").out)
    assert [one["record"] for one in document["changes"]] == list(range(1, 601))


def test_it_is_registered() -> None:
    assert "explain" in {command.name for command in app.registered_commands}
