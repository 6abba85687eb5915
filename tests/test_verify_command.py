"""`dynalake verify` through the door, against DynamoDB as boto3 meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from lake.dynamodb import DynamoDB
from lake.lake import Lake
from proof.verify import Settings, verify
from standin.fixtures import aws  # noqa: F401
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.lakes import compacted, new_lake, only_table, refreshed

RAW = "s3://raw/orders/"


@pytest.fixture(name="table")
def _table(aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """Forty items, delivered; the client writes to them."""
    aws.replicate("orders", bucket="raw", prefix="orders/", range_key=("sk", "S"))
    client = aws.client("dynamodb")
    for n in range(40):
        put(client, f"i{n:02}", n={"N": f"{n}.50"}, blob={"B": bytes([n, 255])}, tags={"SS": ["b", "a"]})
    aws.deliver()
    return client


@pytest.fixture(name="lake")
def _lake(tmp_path: Path, table: Any) -> Lake:
    lake = new_lake(tmp_path / "lake")
    compacted(lake, raw_uri=RAW)
    return lake


def put(client: Any, name: str, **attributes: Any) -> None:
    client.put_item(TableName="orders", Item={"pk": {"S": name}, "sk": {"S": "1"}, **attributes})


def run(lake: Lake, *arguments: str) -> Any:
    return dynalake(Path(lake.uri), "verify", "orders", *arguments)


def test_an_equal_lake(lake: Lake) -> None:
    for _ in range(2):
        ended = run(lake)
        assert (ended.code, ended.errors) == (0, "")
        assert "verified_through" in ended.out
        refreshed(lake)
    report = json.loads(run(lake, "--json").out)
    expected = {"items_in_table": 40, "items_in_lake": 40, "compared": 40, "equal": 40, "differing": 0, "unproven": 0}
    assert {name: report[name] for name in expected} == expected
    assert report["verified_through"].endswith("Z")


def test_a_lake_that_is_not_equal(lake: Lake, table: Any) -> None:
    put(table, "i03", n={"N": "7"}, blob={"B": b"\x03\xff"}, tags={"SS": ["a", "b"]})
    put(table, "new")
    table.delete_item(TableName="orders", Key={"pk": {"S": "i04"}, "sk": {"S": "1"}})
    ended = run(lake, "--wait", "0", "--workers", "3")
    assert ended.fault == (
        "dynalake: verify orders; expected 40 items as in the table; found 1 missing in the lake, 1 extra in the "
        "lake, 1 differs. What the lake never saw: dynalake backfill orders, or verify --repair\n"
    )
    rows = [line.split("│")[1:-1] for line in ended.out.splitlines() if "i03|1" in line]
    assert [cell.strip() for cell in rows[0]] == ["i03|1", "differs", "n", '{"N":"7"}', '{"N":"3.50"}']
    ended = run(lake, "--wait", "0", "--limit", "1", "--json")
    report = json.loads(ended.out)
    assert report["counts"] == {"missing in the lake": 1, "extra in the lake": 1, "differs": 1}
    assert [one["item_key"] for one in report["differences"]] == ["i03|1"]
    assert "and 2 more items; --limit shows them" in run(lake, "--wait", "0", "--limit", "1").out
    assert run(lake, "--wait", "0", "--limit", "0").code == 1


def test_it_waits_for_what_is_in_flight(aws: AwsStandIn, lake: Lake, table: Any) -> None:  # noqa: F811
    """Writes go on while it waits; what is delivered meanwhile proves what was read before."""
    put(table, "i03", n={"N": "1"})
    table.delete_item(TableName="orders", Key={"pk": {"S": "i04"}, "sk": {"S": "1"}})
    polls = []

    def sleep(seconds: float) -> None:
        polls.append(seconds)
        aws.clock.advance(seconds=seconds)
        put(table, "i05", n={"N": str(len(polls))})
        if len(polls) == 3:
            aws.deliver()
            compacted(lake, raw_uri=RAW)

    settings = Settings(wait_seconds=600, memory_mb=1024, sleep=sleep, seconds=lambda: sum(polls))
    report = verify(lake, only_table(lake), DynamoDB(aws.client("dynamodb")), settings)
    assert report.is_proven, report
    assert (report.equal, report.proven, len(polls)) == (37, 3, 3), (
        "the first write to i05 was about the time of the scan"
    )


def test_usage(lake: Lake) -> None:
    for wait in ("soon", "-1", "5 m", "15", ""):
        ended = run(lake, "--wait", wait)
        assert ended.code == 2
        assert "--wait" in ended.errors
    assert run(lake, "--workers", "0").code == 2
    ended = dynalake(Path(lake.uri), "verify", "--help")
    assert "Example: dynalake verify orders" in ended.out


def test_faults_are_one_line(aws: AwsStandIn, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    assert "find table 'others'" in dynalake(Path(lake.uri), "verify", "others").fault
    aws.client("dynamodb").delete_table(TableName="orders")
    assert "describe table orders" in run(lake).fault
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "Check the network and AWS_ENDPOINT_URL" in run(lake).fault
