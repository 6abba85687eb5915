"""`dynalake gaps` as a caller meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lake.lake import Lake
from standin.server import AwsStandIn
from tests.accounts import create
from tests.commands import dynalake
from tests.lakes import compacted, new_lake, rows
from tests.test_gaps import landed, lossy, steps


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with a hole in the history of `a`, and none in that of `b`."""
    made = new_lake(tmp_path / "lake")
    return landed(made, *lossy("1", "2", "3", "4", without=2), *steps("1", "2", name="b"))


def test_a_hole_is_told_in_one_line_and_in_full(lake: Lake) -> None:
    outcome = dynalake(lake.root, "gaps", "orders", "--lateness", "0")
    assert "1 in 1 items: 1 lost record" in outcome.fault and "--repair" in outcome.fault
    assert "a|1: lost record" in outcome.out and "a1" in outcome.out and '{"S":"3"}' in outcome.out
    outcome = dynalake(lake.root, "gaps", "orders", "--lateness", "0", "--limit", "0")
    assert outcome.fault and "and 1 more holes" in outcome.out and "lost record" not in outcome.out
    outcome = dynalake(lake.root, "gaps", "orders", "--lateness", "0s", "--json")
    told = json.loads(outcome.out)
    assert (outcome.code, told["holes"], told["causes"], told["gaps"][0]["later"]["event_id"]) == (
        1, 1, {"lost record": 1}, "a3",
    )  # fmt: skip


def test_what_may_be_late_is_no_fault(lake: Lake) -> None:
    outcome = dynalake(lake.root, "gaps", "orders")
    assert (outcome.code, outcome.errors) == (0, "")
    assert "nothing to judge" in outcome.out


def test_wrong_usage(lake: Lake) -> None:
    assert dynalake(lake.root, "gaps", "orders", "--lateness", "soon").code == 2
    assert "orders" in dynalake(lake.root, "gaps", "other").fault


def test_repair(aws: AwsStandIn, lake: Lake) -> None:
    arguments = ("gaps", "orders", "--lateness", "0")
    fault = dynalake(lake.root, *arguments, "--repair").fault
    assert "orders" in fault and "Traceback" not in fault, "there is no such table"
    create(aws)
    aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": "a"}, "sk": {"S": "1"}, "v": {"S": "5"}})
    outcome = dynalake(lake.root, *arguments, "--repair", "--json")
    assert (outcome.code, json.loads(outcome.out)["reread"]["reads"]) == (0, 1)
    assert dynalake(lake.root, *arguments).code == 1, "not taken in yet"
    compacted(lake)
    assert rows(lake, "SELECT v FROM orders WHERE pk = 'a'") == [("5",)]
    outcome = dynalake(lake.root, *arguments, "--all")
    assert (outcome.code, "a|1: lost record (repaired)" in outcome.out) == (0, True)
    outcome = dynalake(lake.root, *arguments, "--repair", "--json")
    assert (outcome.code, json.loads(outcome.out)["reread"]) == (0, None)


def test_a_damaged_log(lake: Lake) -> None:
    for path in (Path(lake.warehouse) / "lake" / "orders_changes" / "data").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-20])
    assert "find gaps in" in dynalake(lake.root, "gaps", "orders", "--lateness", "0").fault
