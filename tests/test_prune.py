"""`backfill --prune` on the stand-in's server: what the lake has and the table no longer does, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

import ingest.backfill
from compaction.compact import compact
from dynalake.prune import prune
from ingest.backfill import BackfillReport, backfill
from ingest.reread import RereadReport
from lake.config import TableConfig
from lake.dynamodb import DynamoDB, Page
from lake.errors import ConfigError
from lake.lake import Lake, add_table, create_lake
from lake.masks import parse_masks
from lake.store import list_objects
from standin.server import AwsStandIn
from tests.accounts import RAW, Interleaved, Writer, create, enable
from tests.commands import dynalake
from tests.consuming import Transport
from tests.lakes import SCHEMA, SETTINGS, compacted, expected_items, fresh_items, new_lake, only_table, refreshed, rows

START_US = 1_700_006_399_990_000
QUIET_SECONDS = 20.0  # more than reads are dated back


class Stopped(Exception):
    """What stands for a kill."""


class Busy(Interleaved):
    """Others are at work between reads by key too."""

    def get_items(self, name: str, keys: Sequence[str]) -> Iterator[Page]:
        for n in range(0, len(keys), self.page_items):
            self.at_work()
            yield from super().get_items(name, keys[n : n + self.page_items])
            self.at_work()


def pruned(lake: Lake, report: BackfillReport, dynamodb: DynamoDB | None = None) -> RereadReport:
    return prune(lake, only_table(lake), dynamodb or DynamoDB(), report, 1024, lambda done, total: None)


def disable(aws: AwsStandIn, stream_arn: str) -> None:
    aws.client("dynamodb").disable_kinesis_streaming_destination(TableName="orders", StreamArn=stream_arn)


def put(aws: AwsStandIn, *names: str, **attributes: Any) -> None:
    for name in names:
        aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": name}, "sk": {"S": "o"}, **attributes})


def delete(aws: AwsStandIn, *names: str) -> None:
    for name in names:
        aws.client("dynamodb").delete_item(TableName="orders", Key={"pk": {"S": name}, "sk": {"S": "o"}})


def take_in(aws: AwsStandIn, lake: Lake) -> None:
    """All that is on its way, into the log."""
    aws.deliver()
    compact(lake, only_table(lake), SETTINGS, RAW)
    compacted(lake)


def lose(aws: AwsStandIn, stream_arn: str, change: Any) -> None:
    """Something is done while nothing streams."""
    disable(aws, stream_arn)
    aws.clock.advance(seconds=QUIET_SECONDS)
    change()
    aws.clock.advance(seconds=QUIET_SECONDS)
    enable(aws, stream_arn)
    aws.clock.advance(seconds=QUIET_SECONDS)


@pytest.mark.parametrize("seed", range(2))
def test_random_writers_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    check_random_writers(tmp_path, monkeypatch, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_200))
def test_many_random_writers_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    check_random_writers(tmp_path, monkeypatch, seed)


def check_random_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Deletes are lost, then a Scan and a prune amid writes, throttles, stops and a compact that lags: all is equal."""
    rng = random.Random(seed)
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", rng.choice([1, 1_000, 100_000]))
    with AwsStandIn(seed=seed, start_us=START_US) as aws, Transport() as transport:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        stream_arn = enable(aws, create(aws))
        writer = Writer(aws, rng, rng.choice([5, 40]), rng.choice([2, 400_000]))
        lake = new_lake(tmp_path / "lake")
        table = only_table(lake)
        writer.write(60)
        take_in(aws, lake) if rng.random() < 0.8 else None
        lose(aws, stream_arn, lambda: writer.write(rng.choice([5, 60])))

        def at_work() -> None:
            writer.write(rng.randrange(3))
            if rng.random() < 0.03:
                raise Stopped
            if rng.random() < 0.03:
                compact(lake, table, SETTINGS, RAW)
            if rng.random() < 0.1:
                wanted = rng.choice(["DynamoDB_20120810.Scan", "DynamoDB_20120810.BatchGetItem"])
                transport.refuse(wanted, "ThrottlingException") if tired[0] > 0 else None
                tired[0] -= 1

        tired = [3]
        while True:
            try:
                source = Busy(aws, rng.choice([1, 3]), at_work, writer)
                # A second Scan only where the one that follows the loss has not ended.
                report = backfill(lake, table, source, workers=1)
                found = pruned(lake, report, source)
                break
            except Stopped:
                compacted(lake) if rng.random() < 0.3 else None
        writer.write(rng.choice([0, 20]))
        take_in(aws, lake)
        if rng.random() < 0.5:
            refreshed(lake)
        expected = expected_items(table.keys, aws.history("orders").items.values())
        assert fresh_items(lake) == expected
        refreshed(lake)
        assert fresh_items(lake) == expected
        again = pruned(lake, backfill(lake, table, DynamoDB(aws.client("dynamodb"))), DynamoDB(aws.client("dynamodb")))
        assert (again.items, again.objects) == (0, 0), found


@pytest.fixture
def stream(aws: AwsStandIn) -> str:
    return enable(aws, create(aws))


def test_the_command_line(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    put(aws, "a", "b", "c", "d")
    take_in(aws, lake)
    lose(aws, stream, lambda: delete(aws, "a", "b"))
    done = dynalake(lake.root, "backfill", "--prune", "--json")
    (report,) = json.loads(done.out)
    assert (report["items"], report["reread"], report["tombstones"]) == (2, 2, 2)
    assert "next: dynalake compact orders" in done.errors
    compacted(lake)
    assert fresh_items(lake).keys() == {"c|o", "d|o"}
    ops = rows(lake, "SELECT op, count(*) FROM orders_changes WHERE source = 'repair' GROUP BY 1")
    assert ops == [("REMOVE", 2)]
    landed = len(list(list_objects(lake.raw)))
    again = dynalake(lake.root, "backfill", "--prune", "--json")
    (report,) = json.loads(again.out)
    assert (report["finished_before"], report["reread"], report["tombstones"]) == (True, 0, 0)
    assert "compact" not in again.errors and len(list(list_objects(lake.raw))) == landed


def test_an_empty_table_and_an_empty_lake(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    assert pruned(lake, backfill(lake, only_table(lake), DynamoDB())).items == 0
    put(aws, "a")
    take_in(aws, lake)
    lose(aws, stream, lambda: delete(aws, "a"))
    assert pruned(lake, backfill(lake, only_table(lake), DynamoDB(), again=True)).tombstones == 1


def test_a_lake_on_s3(aws: AwsStandIn, stream: str) -> None:
    aws.client("s3").create_bucket(Bucket="lakes")
    lake = new_lake("s3://lakes/shop")
    put(aws, "a", "b")
    take_in(aws, lake)
    lose(aws, stream, lambda: delete(aws, "a"))
    assert pruned(lake, backfill(lake, only_table(lake), DynamoDB())).tombstones == 1
    compacted(lake)
    assert fresh_items(lake).keys() == {"b|o"}


def test_a_deletion_that_is_on_its_way_and_an_item_made_again(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    put(aws, "a", "b", "c")
    take_in(aws, lake)
    aws.clock.advance(seconds=QUIET_SECONDS)
    delete(aws, "a", "b")
    report = backfill(lake, only_table(lake), DynamoDB())
    put(aws, "b", v={"N": "2"})
    assert [pruned(lake, report).tombstones, pruned(lake, report).reads] == [1, 1], "nothing was compacted yet"
    take_in(aws, lake)
    assert fresh_items(lake).keys() == {"b|o", "c|o"} and fresh_items(lake)["b|o"]["v"] == {"N": "2"}


@pytest.mark.parametrize("masks", [{"pk": "hash"}, {"v": "redact"}])
def test_masks(aws: AwsStandIn, stream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: Any) -> None:
    """A masked item is found again by another Scan; where its key is masked nothing plain is landed."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "a secret of thirty two characters")
    bare = create_lake(tmp_path / "lake")
    lake = add_table(bare, TableConfig("", "orders", SCHEMA, masks=parse_masks(masks, SCHEMA, "test")))
    put(aws, "alice", "bob", v={"S": "1"})
    backfill(lake, only_table(lake), DynamoDB())
    compacted(lake)
    lose(aws, stream, lambda: delete(aws, "alice"))
    report = pruned(lake, backfill(lake, only_table(lake), DynamoDB(), again=True))
    assert (report.reads, report.tombstones) == (0, 1)
    compacted(lake)
    assert len(fresh_items(lake)) == 1


def test_what_expired_is_not_pruned_where_it_is_kept(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    """Neither what the lake keeps already, nor what has expired and whose expiry has not arrived."""
    lake = new_lake(tmp_path / "lake", ttl="keep")
    aws.client("dynamodb").update_time_to_live(
        TableName="orders", TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    now = aws.clock.now_us() // 1_000_000
    put(aws, "kept", until={"N": str(now + 10)})
    put(aws, "coming", until={"N": str(now + 40_000)})
    put(aws, "lost", "there", until={"N": str(now + 4_000_000)})
    aws.clock.advance(seconds=9 * 3_600)
    take_in(aws, lake)
    lose(aws, stream, lambda: delete(aws, "lost"))
    aws.clock.advance(seconds=9 * 3_600)
    report = backfill(lake, only_table(lake), DynamoDB())
    assert report.items == 1
    done = pruned(lake, report)
    assert (done.reads, done.tombstones) == (0, 1)
    take_in(aws, lake)
    assert fresh_items(lake).keys() == {"kept|o", "coming|o", "there|o"}


def test_what_it_refuses(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    put(aws, "a", "b")
    report = backfill(lake, only_table(lake), DynamoDB())
    backfill(lake, only_table(lake), DynamoDB(), again=True)
    with pytest.raises(ConfigError, match="another one was begun"):
        pruned(lake, report)
    for one in list_objects(lake.raw):
        Path(one.uri).unlink()
    refused = dynalake(lake.root, "backfill", "--prune")
    assert refused.code == 1 and "--again --prune" in refused.errors
