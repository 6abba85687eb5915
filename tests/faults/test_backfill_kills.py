"""SIGKILL anywhere in `backfill`, then a second run: nothing missing, nothing twice, nothing begun anew."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

from lake.lake import Lake
from lake.store import list_objects
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.faults.jobs import Job, Point, every_other
from tests.lakes import compacted, fresh_items, new_lake, rows

pytestmark = pytest.mark.faults

ITEMS = 400
# One worker's writes in their order: the manifest, an object for each segment, the end.
POINTS = [
    *(Point("lake.store:put_new", when, call) for call in (1, 2, 3, 4) for when in ("before", "after")),
    Point("os:link", "before", 2),
    Point("os:link", "after", 2),
    Point("lake.dynamodb:DynamoDB.scan", "before", 2),
    Point("lake.dynamodb:DynamoDB.require_streaming", "before", 2),
]


@pytest.fixture
def lake(aws: AwsStandIn, tmp_path: Path) -> Lake:
    """A lake, and a table that streams."""
    enable(aws, create(aws))
    client = aws.client("dynamodb")
    for n in range(ITEMS):
        item = {"pk": {"S": f"c{n}"}, "sk": {"S": "o"}, "text": {"S": "x" * 20_000}}
        client.put_item(TableName="orders", Item=item)
    return new_lake(tmp_path / "lake")


@pytest.mark.parametrize("point", every_other(POINTS), ids=str)
def test_killed_at_a_call(lake: Lake, point: Point) -> None:
    job = Job(lake.root, "backfill", "--workers", "1", point=point, small_batches=False)
    assert job.wait() == -signal.SIGKILL, job.output()
    check(lake)


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c(lake: Lake, call: int) -> None:
    """What was read so far lands, and the next run goes on."""
    point = Point("lake.dynamodb:DynamoDB.scan", "before", call)
    job = Job(lake.root, "backfill", "--workers", "1", point=point, sent=signal.SIGINT, small_batches=False)
    assert job.wait() == 130, job.output()
    check(lake)


def test_ctrl_c_while_it_waits_for_its_turn(lake: Lake) -> None:
    """An item a few seconds: it ends at once, and what was read lands."""
    point = Point("lake.pace:Pace.spent", "after", 4)
    job = Job(lake.root, "backfill", "--rcu-max", "1", point=point, sent=signal.SIGINT, small_batches=False)
    assert job.wait() == 130, job.output()
    assert list(list_objects(lake.raw))
    check(lake)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_prunes(lake: Lake, aws: AwsStandIn, when: str) -> None:
    """Before and after it lands what it has found: the next one finds the same, or nothing."""
    assert dynalake(lake.root, "backfill").code == 0
    compacted(lake)
    client = aws.client("dynamodb")
    (there,) = client.describe_kinesis_streaming_destination(TableName="orders")["KinesisDataStreamDestinations"]
    client.disable_kinesis_streaming_destination(TableName="orders", StreamArn=there["StreamArn"])
    aws.clock.advance(seconds=20)
    for n in range(5):
        client.delete_item(TableName="orders", Key={"pk": {"S": f"c{n}"}, "sk": {"S": "o"}})
    enable(aws, there["StreamArn"])
    aws.clock.advance(seconds=20)
    assert dynalake(lake.root, "backfill", "--again").code == 0
    job = Job(lake.root, "backfill", "--prune", point=Point("lake.store:put_new", when), small_batches=False)
    assert job.wait() == -signal.SIGKILL, job.output()
    (report,) = json.loads(dynalake(lake.root, "backfill", "--prune", "--json").out)
    assert report["tombstones"] == 5
    compacted(lake)
    assert len(fresh_items(lake)) == ITEMS - 5
    (report,) = json.loads(dynalake(lake.root, "backfill", "--prune", "--json").out)
    assert report["reread"] == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_when_a_run_is_given_up(lake: Lake, aws: AwsStandIn, when: str) -> None:
    """Whether that was noted or not: a run that was begun is not called complete over an outage."""
    begun = Job(lake.root, "backfill", "--workers", "1", point=Point("lake.store:put_new", "after", 2))
    assert begun.wait() == -signal.SIGKILL, begun.output()
    client = aws.client("dynamodb")
    (there,) = client.describe_kinesis_streaming_destination(TableName="orders")["KinesisDataStreamDestinations"]
    client.disable_kinesis_streaming_destination(TableName="orders", StreamArn=there["StreamArn"])
    killed = Job(lake.root, "backfill", point=Point("lake.store:put_new", when))
    assert killed.wait() == -signal.SIGKILL, killed.output()
    refused = Job(lake.root, "backfill")
    assert refused.wait() == 1 and "enable-kinesis" in refused.output(), refused.output()
    enable(aws, there["StreamArn"])
    (report,) = json.loads(dynalake(lake.root, "backfill", "--json").out)
    assert (report["items"], report["resumed"]) == (ITEMS, False)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random(lake: Lake, seed: int) -> None:
    check_random_kills(lake, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 150))
def test_killed_at_random_many_times(lake: Lake, seed: int) -> None:
    check_random_kills(lake, seed)


def check_random_kills(lake: Lake, seed: int) -> None:
    """One to three at once, killed again and again."""
    rng = random.Random(seed)
    for _ in range(4):
        jobs = [Job(lake.root, "backfill", small_batches=False) for _ in range(rng.choice([1, 1, 3]))]
        time.sleep(rng.random() * 1.5)
        for job in jobs:
            job.send(signal.SIGKILL)
        assert {job.wait() for job in jobs} <= {0, -signal.SIGKILL}
    check(lake)


def check(lake: Lake) -> None:
    landed = {one.uri: one.etag for one in list_objects(lake.raw)}
    (report,) = json.loads(dynalake(lake.root, "backfill", "--json").out)
    assert report["items_of_run"] in (ITEMS, 0), report
    assert report["objects"] + len(landed) == len(list(list_objects(lake.raw)))
    assert landed.items() <= {one.uri: one.etag for one in list_objects(lake.raw)}.items(), "nothing is written over"
    again = dynalake(lake.root, "backfill")
    assert again.code == 0 and "--again" in again.errors
    assert compacted(lake).changes == ITEMS
    counts = rows(lake, "SELECT count(*), count(DISTINCT item_key) FROM orders_changes WHERE op = 'READ'")
    assert counts == [(ITEMS, ITEMS)]
