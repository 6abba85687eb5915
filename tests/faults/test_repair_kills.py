"""SIGKILL anywhere in `verify --repair`, then a second run: it finds what is left, and ends equal to the table."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from lake.lake import Lake
from lake.proofs import last_proof
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.faults.jobs import Job, Point, every_other
from tests.lakes import compacted, new_lake, refreshed, rows
from tests.test_verify_damage import rewrite

pytestmark = pytest.mark.faults

VERIFY = ("verify", "orders", "--wait", "0", "--memory-mb", "1024", "--repair")
POINTS = [
    Point("lake.store:put_new", "before"),
    Point("lake.store:put_new", "after"),
    Point("compaction.compact:_Job._write_ledger", "before"),
    Point("lake.tables:replace_files", "before"),
    Point("lake.tables:replace_files", "after"),
    Point("proof.scan:read_chosen", "before"),
    Point("lake.proofs:keep_proof", "before"),
    Point("lake.proofs:keep_proof", "after"),
]


@pytest.fixture
def lake(aws: AwsStandIn, tmp_path: Path) -> Lake:
    """Three items that the log does not have right, and one that the state does not."""
    enable(aws, create(aws))
    client = aws.client("dynamodb")
    for n in range(30):
        client.put_item(TableName="orders", Item={"pk": {"S": f"c{n}"}, "sk": {"S": "o"}, "v": {"N": "1"}})
    lake = new_lake(tmp_path / "lake", buckets=2)
    aws.clock.advance(seconds=20)
    assert dynalake(lake.root, "backfill").code == 0
    compacted(lake)
    refreshed(lake)

    def damage(found: list[dict[str, Any]]) -> None:
        found[:] = [row for row in found if row["pk"] != "c7"]

    rewrite(lake, "orders", damage)
    client.delete_item(TableName="orders", Key={"pk": {"S": "c1"}, "sk": {"S": "o"}})
    client.put_item(TableName="orders", Item={"pk": {"S": "c2"}, "sk": {"S": "o"}, "v": {"N": "2"}})
    client.put_item(TableName="orders", Item={"pk": {"S": "new"}, "sk": {"S": "o"}})
    aws.clock.advance(seconds=20)
    return lake


def check(lake: Lake, items_read: int) -> None:
    ended = dynalake(lake.root, *VERIFY)
    assert ended.code == 0, ended.errors
    assert dynalake(lake.root, *VERIFY).errors == "", "nothing left to do"
    proof = last_proof(lake, "orders")
    assert proof is not None and proof.verified_through_us is not None
    ((items, wrong),) = rows(lake, "SELECT count(*), count(*) FILTER (v = 1 AND pk IN ('c1', 'c2')) FROM orders")
    assert (items, wrong) == (30, 0)
    assert len(rows(lake, "SELECT * FROM orders_changes WHERE source = 'repair'")) == items_read


@pytest.mark.parametrize("point", every_other(POINTS), ids=str)
def test_killed_at_a_call(lake: Lake, point: Point) -> None:
    job = Job(lake.root, *VERIFY, point=point, small_batches=False)
    assert job.wait() == -signal.SIGKILL, job.output()
    has_landed = str(point) == "after call 1 of lake.store:put_new"
    check(lake, 6 if has_landed else 3)  # what landed and was not taken in yet is read once more, to no harm


def test_two_at_once(lake: Lake) -> None:
    jobs = [Job(lake.root, *VERIFY, small_batches=False) for _ in range(2)]
    for job in jobs:
        assert job.wait() in (0, 1), job.output()
    assert dynalake(lake.root, *VERIFY).code == 0
