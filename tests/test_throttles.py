"""A table that is throttled, or of which little may be taken, is read slowly, and all of it; nothing waits really."""

from __future__ import annotations

import json
import random
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dynalake.progress import Gauge, line_of, told_of
from ingest.backfill import SEGMENTS_MAX, backfill, segments_of
from lake.dynamodb import DescribedTable, DynamoDB
from lake.errors import ConfigError
from lake.keys import KeyAttribute, KeySchema
from lake.pace import Pace, Standing
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.consuming import Transport
from tests.lakes import compacted, fresh_items, new_lake, only_table

SCAN, GET = "DynamoDB_20120810.Scan", "DynamoDB_20120810.BatchGetItem"


class Time:
    """A clock that is moved on by waiting."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def wait(self, stop: Event, seconds: float) -> bool:
        self.now += seconds
        return stop.is_set()

    def pace(self, rcu_max: float | None = None) -> Pace:
        return Pace(rcu_max, lambda: self.now, self.wait)


@pytest.fixture
def table(aws: AwsStandIn) -> int:
    """A table that streams, and the number of its items."""
    enable(aws, create(aws))
    for n in range(60):
        item = {"pk": {"S": f"c{n}"}, "sk": {"S": "o"}, "text": {"S": "x" * 9_000}}
        aws.client("dynamodb").put_item(TableName="orders", Item=item)
    return 60


@pytest.mark.parametrize(
    "code", ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
)
def test_an_hour_of_throttles_makes_it_slow(aws: AwsStandIn, table: int, tmp_path: Path, code: str) -> None:
    lake, time = new_lake(tmp_path / "lake"), Time()
    with Transport() as transport:
        transport.refuse(SCAN, f"com.amazonaws.dynamodb.v20120810#{code}", times=600)
        report = backfill(lake, only_table(lake), DynamoDB(pace=time.pace()), workers=1)
        assert transport.sent[SCAN] >= 600 + report.segments
    assert report.items == table and time.now > 1_000 + 200
    compacted(lake)
    assert len(fresh_items(lake)) == table


def test_what_is_no_throttle_stops_it(aws: AwsStandIn, table: int, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    with Transport() as transport:
        transport.refuse(SCAN, "AccessDeniedException", times=1_000)
        with pytest.raises(ConfigError, match="permission"):
            backfill(lake, only_table(lake), DynamoDB(pace=Time().pace()), workers=1)
        assert transport.sent[SCAN] == 1


@pytest.mark.parametrize("seed", range(6))
def test_throttles_at_random_lose_and_double_nothing(aws: AwsStandIn, table: int, tmp_path: Path, seed: int) -> None:
    rng, lake, time = random.Random(seed), new_lake(tmp_path / "lake"), Time()
    source = DynamoDB(pace=time.pace(rng.choice([None, 1, 40])))
    with Transport() as transport:
        transport.refuse(SCAN, "ThrottlingException", times=rng.randrange(9))
        first = next(source.scan("orders", 0, 1)) if source.describe("orders") else None
        assert first is not None and first.items
        transport.refuse(SCAN, "ThrottlingException", times=rng.randrange(9))
        report = backfill(lake, only_table(lake), source, workers=rng.choice([1, 4]))
    assert report.items == table
    assert compacted(lake).changes == table


def test_keys_left_over_are_asked_for_again(aws: AwsStandIn, table: int) -> None:
    source = DynamoDB(pace=Time().pace())
    source.describe("orders")
    keys: list[Any] = [{"pk": {"S": f"c{n}"}, "sk": {"S": "o"}} for n in range(70)]
    none = json.dumps({"Responses": {"orders": []}, "UnprocessedKeys": {"orders": {"Keys": keys}}}).encode()
    some = json.dumps({
        "Responses": {"orders": [{"pk": {"S": "c0"}, "sk": {"S": "o"}, "first": {"BOOL": True}}]},
        "UnprocessedKeys": {"orders": {"Keys": keys[1:]}}, "ConsumedCapacity": [{"CapacityUnits": 3.0}],
    }).encode()  # fmt: skip
    with Transport() as transport:
        transport.answer(GET, none)
        transport.refuse(GET, "ProvisionedThroughputExceededException", times=40)
        pages = list(source.get_items("orders", [json.dumps(key) for key in keys]))
        found = [json.loads(item)["pk"]["S"] for page in pages for item in page.items]
        assert sorted(found) == sorted(f"c{n}" for n in range(60)), "each once, whatever is not there left out"
        source.pace = Time().pace()
        transport.answer(GET, some)
        found = [item for page in source.get_items("orders", [json.dumps(key) for key in keys]) for item in page.items]
        assert len(found) == 60


@pytest.mark.parametrize("rcu_max", [3, 30, 500])
def test_no_more_units_than_told(aws: AwsStandIn, table: int, tmp_path: Path, rcu_max: int) -> None:
    """60 items of three units each."""
    lake, time = new_lake(tmp_path / "lake"), Time()
    source = DynamoDB(pace=time.pace(rcu_max))
    report = backfill(lake, only_table(lake), source, workers=1)
    assert report.items == table and report.capacity_units >= 2.2 * table
    assert report.capacity_units <= rcu_max * (time.now - 1_000) + 0.5 * rcu_max + 130
    begun = time.now
    list(source.get_items("orders", [json.dumps({"pk": {"S": f"c{n}"}, "sk": {"S": "o"}}) for n in range(60)]))
    assert time.now - begun >= 60 / rcu_max * 0.5 - 1


def test_segments() -> None:
    def of(size_bytes: int) -> DescribedTable:
        return DescribedTable("t", "", KeySchema(KeyAttribute("pk", "S")), 0, None, size_bytes=size_bytes)

    assert [segments_of(of(0), 4), segments_of(of(100 << 30), 4), segments_of(of(100 << 30), 64)] == [8, 100, 128]
    assert segments_of(of(1 << 50), 4) == SEGMENTS_MAX


def test_rate_and_time_left_are_of_the_last_minute() -> None:
    now = [0.0]
    gauge = Gauge(lambda: now[0])
    assert gauge.read().seconds_left is None
    for _ in range(200):
        gauge.tell(1_000_000 + round(now[0]) * 100, 2_000_000)  # a run gone on with
        now[0] += 1
    reading = gauge.read()
    assert reading.per_second == pytest.approx(100, rel=0.05)
    assert reading.seconds_left == pytest.approx(9_800, rel=0.05)
    now[0] += 540
    assert gauge.read().per_second < 12, "nothing came of late"


def test_what_is_told() -> None:
    now = [0.0]
    gauge = Gauge(lambda: now[0])
    gauge.tell(10, 100)
    now[0] = 1
    gauge.tell(30, 100)
    free, throttled = Standing(640.4, False), Standing(3.0, True)
    assert told_of(gauge.read(), free) == "30 of about 100 items · 20 items/s, 640 RCU/s · about 0:00:04 left"
    assert "throttled by DynamoDB" in told_of(gauge.read(), throttled)
    line = json.loads(line_of("backfill orders", gauge.read(), throttled))
    assert (line["items"], line["throttled"], line["seconds_left"]) == (30, True, 4)
    gauge.tell(120, 120)
    assert "more than DynamoDB last counted" in told_of(gauge.read(), free)
