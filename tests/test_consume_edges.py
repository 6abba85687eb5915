"""`consume` at its edges: names, retention, conflicts, connections, and what must not end or hold up a process."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import ingest.landing
from ingest.capture import Origin
from ingest.consume import consumer_of
from ingest.kinesis import Kinesis
from ingest.lease_table import LeaseTable
from ingest.leases import Lease
from ingest.progress import shard_progress
from ingest.shard_reader import Services, ShardReader
from lake.errors import TransientError
from lake.lake import Lake
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.consuming import BOUNDS, LEASES, Running, Transport, consume_once, now_us, wait_for
from tests.lakes import compacted, new_lake, rows
from tests.records import record, text
from tests.test_consume import put

GET = "Kinesis_20131202.GetRecords"
BEHIND = b'{"Records":[],"NextShardIterator":"none","MillisBehindLatest":86400000}'


@pytest.fixture
def lake(aws: AwsStandIn, tmp_path: Path) -> Lake:
    enable(aws, create(aws))
    return new_lake(tmp_path / "lake")


def good(first: int, count: int = 40) -> list[bytes]:
    return [text(f"g{n}") for n in range(first, first + count)]


def test_a_write_that_another_is_in_the_way_of_is_done_again(aws: AwsStandIn, lake: Lake) -> None:
    """S3's 409 says that a write is under way, not that an object is there: the other one may fail yet."""
    del lake
    on_s3 = new_lake("s3://raw/lake")
    put(aws, *good(0), b"rubbish")
    with Transport() as transport:
        rules = [transport.refuse(f"PUT raw/lake/{place}", "ConditionalRequestConflict", 409, times=2)
                 for place in ("raw", "dead_letters")]  # fmt: skip
        done = consume_once(on_s3)
        assert rules == [[0], [0]]
    assert (done.landed, done.dead_letters) == (40, 1)
    assert compacted(on_s3).changes == 40
    assert "undecodable" in dynalake(on_s3.uri, "dead-letters").out
    with Transport() as transport:
        left = transport.refuse("PUT raw/lake/raw", "ConditionalRequestConflict", 409, times=100)
        put(aws, *good(40, 4))
        running = Running(on_s3, once=True)
        wait_for(lambda: any("under way all the while" in fault for fault in running.faults), "told")
        left[0] = 0
        assert running.end(tell=False).landed == 4


@pytest.mark.parametrize("name", ["_orders", ".orders"])
def test_names_that_listings_pass_over(aws: AwsStandIn, tmp_path: Path, name: str) -> None:
    aws.replicate(name, bucket="raw", range_key=("sk", "S"))
    lake = new_lake(tmp_path / "lake", name)
    for n in range(10):
        aws.client("dynamodb").put_item(TableName=name, Item={"pk": {"S": f"p{n}"}, "sk": {"S": "1"}})
    assert dynalake(lake.root, "backfill").code == 0
    assert compacted(lake).changes == 10
    aws.deliver()
    assert Running(lake, once=True, stream=name).end(tell=False).landed == 10
    assert compacted(lake).changes == 10


@pytest.mark.parametrize("wanted", [GET, "Kinesis_20131202.GetShardIterator", "DynamoDB_20120810.Query"])
def test_connections_that_do_not_come_about_pass(aws: AwsStandIn, lake: Lake, wanted: str) -> None:
    put(aws, *good(0))
    with Transport() as transport:
        left = transport.cut(wanted, times=4)
        running = Running(lake, once=True)
        assert running.end(tell=False).landed == 40 and left == [0]
        assert "Connect timeout" in running.faults[0]


def test_any_number_of_failures_is_waited_for(aws: AwsStandIn, lake: Lake) -> None:
    told: list[object] = []
    nothing = Services(None, None, None, None, None, lambda shard, what: told.append(what), lambda: 0.0)  # type: ignore[arg-type]
    reader = ShardReader(Lease("s"), Origin("orders", "s"), nothing, BOUNDS)
    reader.stop.set()
    reader.lost.set()
    reader._failures = 5_000
    reader._fail(TransientError("read", "s"))
    assert len(told) == 1


# Retention


@pytest.mark.parametrize("how", ["nothing comes", "it is refused"])
def test_a_checkpoint_that_the_stream_has_left_behind(aws: AwsStandIn, lake: Lake, how: str) -> None:
    """It is read from its oldest record on, and said that changes may be missing."""
    put(aws, *good(0))
    consume_once(lake)
    put(aws, *good(40))
    with Transport() as transport:
        if how == "nothing comes":
            transport.answer(GET, BEHIND, times=2)
        else:
            transport.refuse("Kinesis_20131202.GetShardIterator", "InvalidArgumentException", times=2)
        running = Running(lake, once=True)
        running.end(tell=False)
    assert sum("Changes may be missing: run verify" in fault for fault in running.faults) == 2
    assert compacted(lake).changes == 80


def test_a_shard_that_is_gone_ends_no_other(aws: AwsStandIn, lake: Lake) -> None:
    put(aws, *good(0))
    with Transport() as transport:
        transport.refuse(GET, "ResourceNotFoundException")
        running = Running(lake)
        wait_for(lambda: running.consumer._progress.landed == 40, "landed")
        assert any("run verify" in fault for fault in running.faults)
        running.end()


def test_the_age_of_the_oldest_record_is_not_told_as_none_where_it_is_not_known(aws: AwsStandIn, lake: Lake) -> None:
    put(aws, *good(0))
    kinesis = Kinesis("orders")
    leases = LeaseTable(LEASES, consumer_of(lake.uri, kinesis), now_us)
    leases.ensure()
    with Transport() as transport:
        transport.answer(GET, BEHIND, times=1_000)
        ages = [one.oldest_unread_seconds for one in shard_progress(kinesis, leases, now_us())]
    assert ages == [86_400.0, 86_400.0]


# What nobody would hear of


def test_shards_that_nobody_reads_are_told_of(aws: AwsStandIn, lake: Lake) -> None:
    put(aws, *good(0))
    running = Running(lake, shards_max=1)
    wait_for(lambda: bool(running.faults), "told")
    running.end()
    assert "1 that nobody reads" in running.faults[0] and "--shards-max" in running.faults[0]


def test_iterators_that_expire_at_once_are_told_of(aws: AwsStandIn, lake: Lake) -> None:
    with Transport() as transport:
        transport.refuse(GET, "ExpiredIteratorException", times=10_000)
        running = Running(lake)
        wait_for(lambda: len(running.faults) >= 2, "told")
        running.end()
        assert transport.sent[GET] < 15


def test_once_ends_on_a_stream_that_is_written_to(aws: AwsStandIn, lake: Lake) -> None:
    stop, number = threading.Event(), [0]

    def write() -> None:
        while not stop.wait(0.05):
            put(aws, *good(number[0], 2))
            number[0] += 2

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert consume_once(lake).shards == 0
    finally:
        stop.set()
        writer.join()
    consume_once(lake)
    compacted(lake)
    assert rows(lake, "SELECT count(*) FROM orders_changes") == [(number[0],)]


def test_an_answer_that_was_cut_off_is_not_the_end(aws: AwsStandIn, lake: Lake) -> None:
    """The stand-in says that nothing is behind it, as all came at one moment; but an answer holds 10 MB at most."""
    big = [json.dumps(record(f"b{n}", padding="x" * 900_000)).encode() for n in range(24)]
    for n in range(0, len(big), 3):
        put(aws, *big[n : n + 3])
    assert consume_once(lake).landed == 24


def test_a_lake_toml_that_is_half_saved_is_waited_for(
    aws: AwsStandIn, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.landing, "RULES_SECONDS_MAX", 0.0)
    running = Running(lake)
    wait_for(lambda: len(running.told) == 2, "taken")
    config = lake.root / "lake.toml"
    whole = config.read_text()
    config.write_text(whole[: len(whole) // 2])
    put(aws, *good(0))
    wait_for(lambda: any("lake.toml" in fault for fault in running.faults), "told")
    config.write_text(whole)
    wait_for(lambda: running.consumer._progress.landed == 40, "landed")
    running.end()


def test_a_stream_by_its_arn(aws: AwsStandIn, lake: Lake) -> None:
    put(aws, *good(0))
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
    done = dynalake(lake.root, "consume", "--stream", arn, "--once", "--json")
    assert sum(json.loads(line).get("landed", 0) for line in done.out.splitlines()) == 40
    assert dynalake(lake.root, "consume", "--stream", "orders", "--once").out.count("landed") == 1, "the same leases"


def test_a_queue_that_does_not_answer_comes_last(aws: AwsStandIn, lake: Lake) -> None:
    config = lake.root / "lake.toml"
    config.write_text(config.read_text() + f'\n[poison]\nqueue_url = "{aws.endpoint_url}/123456789012/q"\n')
    put(aws, b"rubbish", *good(0))
    with Transport() as transport:
        left = transport.cut("AmazonSQS.SendMessage", times=50)
        running = Running(lake, once=True)
        assert running.end(tell=False).landed == 40
        assert left == [49], "one attempt: what it would tell is in the lake"


def test_a_record_that_fits_no_window_lands_alone(aws: AwsStandIn, lake: Lake) -> None:
    big = record("big")
    big["dynamodb"]["NewImage"]["text"] = {"S": "x" * 100_000}
    put(aws, json.dumps(big).encode(), *good(0, 5))
    running = Running(lake, once=True, bounds=replace(BOUNDS, window_bytes=1_000))
    assert running.end(tell=False).landed == 6
