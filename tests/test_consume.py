"""`consume` on the stand-in's server: all that reaches the stream lands, whatever goes wrong on the way."""

from __future__ import annotations

import gzip
import json
import threading
import time
from pathlib import Path

import boto3
import pytest

import ingest.consume
from ingest.shard_reader import Bounds
from lake.dead_letters import read_dead_letters
from lake.errors import LakeError
from lake.lake import Lake
from lake.store import list_objects
from standin.faults import Faults
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.consuming import LEASES, Running, Transport, check_exact, consume_once, wait_for, write
from tests.lakes import new_lake
from tests.records import text

BAD_DAY = {"seed": 5, "faults": Faults(duplicates=0.1, disorder=0.3, disorder_seconds=20, poison=4, unregistered=2)}
bad_day = pytest.mark.parametrize("aws", [BAD_DAY], indirect=True)
GET, UPDATE = "Kinesis_20131202.GetRecords", "DynamoDB_20120810.UpdateItem"


@pytest.fixture
def stream(aws: AwsStandIn) -> str:
    return enable(aws, create(aws))


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, aws: AwsStandIn, stream: str, tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake" if request.param == "folder" else "s3://raw/lake")


@pytest.fixture
def folder(aws: AwsStandIn, stream: str, tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def put(aws: AwsStandIn, *records: bytes) -> None:
    entries = [{"PartitionKey": str(n), "Data": record} for n, record in enumerate(records)]
    for n in range(0, len(entries), 500):
        aws.client("kinesis").put_records(StreamName="orders", Records=entries[n : n + 500])


@bad_day
def test_once(aws: AwsStandIn, lake: Lake) -> None:
    write(aws, 1)
    aws.deliver()
    first = consume_once(lake)
    assert first.landed + first.duplicates == aws.report.records - 6 and first.behind_ms == 0
    assert first.dead_letters == 6 and first.objects > 4
    check_exact(aws, lake)
    write(aws, 2, 50)
    aws.deliver()
    assert consume_once(lake).records == aws.report.records - first.records
    check_exact(aws, lake)
    assert consume_once(lake).records == 0


@bad_day
def test_several_share_the_shards_while_the_table_is_written_to(aws: AwsStandIn, folder: Lake) -> None:
    workers = [Running(folder) for _ in range(3)]
    for seed in range(6):
        write(aws, seed, 60)
        time.sleep(0.1)
    aws.deliver()
    landed = lambda: sum(one.consumer._progress.records for one in workers)  # noqa: E731
    wait_for(lambda: landed() >= aws.report.records, "read to the end")
    assert [one.end().shards for one in workers] == [0, 0, 0]
    assert not any(one.faults for one in workers)
    check_exact(aws, folder)


def test_what_is_held_lands_when_told_to_stop(aws: AwsStandIn, folder: Lake) -> None:
    running = Running(folder, bounds=Bounds(poll_seconds=0.2))
    write(aws, 1, 50)
    aws.deliver()
    time.sleep(1.5)
    assert running.consumer._progress.landed == 0, "a window of 30 seconds is still open"
    assert running.end().landed == len(aws.history("orders").changes)
    assert running.told.count("let go") == 2
    check_exact(aws, folder)
    status = json.loads(dynalake(folder.root, "status", "--stream", "orders", "--lease-table", LEASES, "--json").out)
    assert [one["state"] for one in status["shards"]] == ["free", "free"]
    assert sum(one["landed"] for one in status["shards"]) == len(aws.history("orders").changes)


# Faults


@bad_day
def test_faults_that_pass(aws: AwsStandIn, lake: Lake) -> None:
    write(aws, 3)
    aws.deliver()
    raw = "PUT raw/lake/raw" if lake.is_on_s3 else "PUT nowhere"
    with Transport() as transport:
        rules = [
            transport.refuse(GET, "ProvisionedThroughputExceededException", times=2),
            transport.refuse(GET, "InternalFailure", 500),
            transport.refuse("Kinesis_20131202.GetShardIterator", "LimitExceededException"),
            transport.lose(GET),
            transport.refuse(UPDATE, "ProvisionedThroughputExceededException", times=2),
            transport.lose(UPDATE, times=3),
            transport.refuse(raw, "SlowDown", 503, times=2),
            transport.lose(raw, times=2),
        ]
        running = Running(lake, once=True)
        running.end(tell=False)
    assert [left[0] for left in rules] == [0] * 6 + ([0, 0] if lake.is_on_s3 else [2, 2])
    assert running.faults
    check_exact(aws, lake)


@bad_day
def test_an_expired_iterator_is_renewed_where_it_was(aws: AwsStandIn, folder: Lake) -> None:
    write(aws, 3)
    aws.deliver()
    with Transport() as transport:
        left = transport.refuse(GET, "ExpiredIteratorException")
        running = Running(folder, once=True)
        running.end(tell=False)
        assert left == [0] and not running.faults, "nothing that people should look at"
    check_exact(aws, folder)


def test_throttled_for_long_nothing_spins(aws: AwsStandIn, folder: Lake) -> None:
    with Transport() as transport:
        transport.refuse(GET, "ProvisionedThroughputExceededException", times=10_000)
        running = Running(folder)
        time.sleep(4)
        running.end()
        assert 2 <= transport.sent[GET] <= 16, "half a second, one, two, … for each of two shards"
        assert len(running.faults) == transport.sent[GET]
        assert "nothing is lost" in running.faults[0]


def test_idle_reads_keep_to_their_pace(aws: AwsStandIn, folder: Lake) -> None:
    with Transport() as transport:
        running = Running(folder, bounds=Bounds(poll_seconds=1))
        time.sleep(3)
        running.end()
        assert transport.sent[GET] <= 2 * 4


@bad_day
def test_a_lease_table_that_refuses_for_longer_than_a_lease(aws: AwsStandIn, folder: Lake) -> None:
    """Objects land, but the checkpoint waits: nothing is read on without it."""
    write(aws, 4, 300)
    aws.deliver()
    with Transport() as transport:
        running = Running(folder)
        wait_for(lambda: running.consumer._progress.landed > 0, "landed")
        left = transport.refuse("DynamoDB_20120810.", "InternalServerError", 500, times=10_000)
        time.sleep(4)
        assert transport.sent["DynamoDB_20120810.Query"] < 40
        left[0] = 0
        wait_for(lambda: running.consumer._progress.records >= aws.report.records, "read on")
        running.end()
    check_exact(aws, folder)


@bad_day
def test_a_reader_that_stalls_past_its_lease_cannot_move_the_checkpoint(
    aws: AwsStandIn, folder: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lands what it held, late; who took over has read the same from the checkpoint on, and reads further."""
    stalled, go_on, owner = threading.Event(), threading.Event(), list[str]()
    land, beat = ingest.consume.land, ingest.consume.Consumer._beat

    def slow_land(landing, *rest) -> None:
        if (
            owner
            and threading.current_thread().name == landing.origin.shard_id
            and not go_on.is_set()
            and first(landing)
        ):
            stalled.set()
            go_on.wait(30)
        land(landing, *rest)

    seen = list[str]()

    def first(landing) -> bool:
        seen.append(landing.origin.shard_id)
        return seen == [landing.origin.shard_id]

    def silent_beat(consumer) -> None:
        if consumer.name in owner and stalled.is_set() and not go_on.is_set():
            go_on.wait(30)  # the whole process stands still
        beat(consumer)

    monkeypatch.setattr(ingest.consume, "land", slow_land)
    monkeypatch.setattr(ingest.consume.Consumer, "_beat", silent_beat)
    write(aws, 6)
    aws.deliver()
    first_worker = Running(folder)
    owner.append(first_worker.consumer.name)
    wait_for(stalled.is_set, "stalled")
    second = Running(folder)
    wait_for(lambda: "taken from another" in second.told, "taken over")
    wait_for(lambda: second.consumer._progress.landed > 50, "landed by the second")
    go_on.set()
    wait_for(lambda: "lost to another" in first_worker.told, "lost")
    wait_for(lambda: not any(lease.checkpoint == "TRIM_HORIZON" for lease in leases(second)), "moved on")
    first_worker.end()
    second.end()
    consume_once(folder)
    check_exact(aws, folder)


def leases(running: Running) -> list:
    return [known.lease for known in running.consumer._leases.all().values()]


def test_two_from_one_checkpoint_land_the_same_objects(aws: AwsStandIn, folder: Lake) -> None:
    write(aws, 7, 100)
    aws.deliver()
    consume_once(folder)
    landed = {one.uri: one.etag for one in list_objects(folder.raw)}
    client = aws.client("dynamodb")
    client.delete_table(TableName=LEASES)
    consume_once(folder)
    assert {one.uri: one.etag for one in list_objects(folder.raw)} == landed
    check_exact(aws, folder)


# Poison


def test_one_percent_of_poison(aws: AwsStandIn, folder: Lake) -> None:
    poison = [
        b"{", b"\xff\xfe", text("p1", eventName="REMOVE"), text("p2", body={"Keys": {"pk": {"S": "other"}}}),
        text("p3", body={"OldImage": {"pk": {"S": "p3"}, "sk": {"S": "1"}}}), text("p4", body={"Keys": ...}),
    ]  # fmt: skip
    good = [text(f"g{n}") for n in range(600)]
    put(aws, *good[:300], *poison, *good[300:], *poison)
    done = consume_once(folder)
    assert (done.landed, done.dead_letters) == (600, 12)
    letters = list(read_dead_letters(folder.dead_letters))
    assert sorted(letter.raw for letter in letters) == sorted(poison), "each once"
    assert all(letter.shard_id.startswith("shardId-") and letter.sequence_number for letter in letters)
    assert "shardId-" in dynalake(folder.root, "dead-letters").out


def test_too_much_poison_stops_before_anything_of_it_lands(aws: AwsStandIn, folder: Lake) -> None:
    put(aws, *[text(f"g{n}") for n in range(500)], *[b"rubbish"] * 600)
    with pytest.raises(LakeError, match="at most 10% of records") as fault:
        Running(folder, once=True, bounds=Bounds(poll_seconds=0.2)).end(tell=False)
    assert "undecodable" in str(fault.value)


def test_a_message_tells_of_dead_letters(aws: AwsStandIn, folder: Lake) -> None:
    queue = aws.client("sqs").create_queue(QueueName="poison")["QueueUrl"]
    config = folder.root / "lake.toml"
    config.write_text(config.read_text() + f'\n[poison]\nqueue_url = "{queue}"\n')
    put(aws, b"secret rubbish", text("g"))
    consume_once(folder)
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    told = json.loads(message["Body"])
    assert told["reasons"] == {"undecodable": 1} and told["stream"] == "orders"
    assert "secret" not in message["Body"]
    (letter,) = gzip.decompress(Path(told["object"]).read_bytes()).splitlines()
    assert json.loads(letter)["id"] in told["ids"]


def test_a_queue_that_is_gone_holds_nothing_up(aws: AwsStandIn, folder: Lake) -> None:
    config = folder.root / "lake.toml"
    config.write_text(config.read_text() + f'\n[poison]\nqueue_url = "{aws.endpoint_url}/123456789012/gone"\n')
    put(aws, b"rubbish", text("g"))
    running = Running(folder, once=True)
    assert running.end(tell=False).landed == 1
    assert any("message about dead letters" in fault for fault in running.faults)


def test_a_table_registered_meanwhile(aws: AwsStandIn, folder: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.landing.RULES_SECONDS_MIN", 0.0)
    running = Running(folder)
    wait_for(lambda: len(running.told) == 2, "taken")
    assert dynalake(folder.root, "add-table", "shop", "--hash-key", "pk:S", "--range-key", "sk:S").code == 0
    put(aws, text("a", tableName="shop"))
    wait_for(lambda: running.consumer._progress.landed == 1, "landed")
    running.end()
    assert list(read_dead_letters(folder.dead_letters)) == []


# What cannot be


def test_no_such_stream(aws: AwsStandIn, folder: Lake) -> None:
    fault = dynalake(folder.root, "consume", "--stream", "nothing", "--once").fault
    assert "nothing" in fault and "Check the name" in fault


def test_another_table_of_the_lease_table_s_name(aws: AwsStandIn, folder: Lake) -> None:
    fault = dynalake(folder.root, "consume", "--stream", "orders", "--lease-table", "orders", "--once").fault
    assert "--lease-table" in fault


def test_wrong_usage(folder: Lake) -> None:
    assert dynalake(folder.root, "consume", "--stream", "orders", "--poll", "0s").code == 2
    assert dynalake(folder.root, "consume", "--stream", "orders", "--lease", "1s").code == 2


def test_the_stream_made_anew_is_read_from_its_beginning(aws: AwsStandIn, folder: Lake) -> None:
    put(aws, text("a"))
    consume_once(folder)
    kinesis = boto3.client("kinesis")
    kinesis.delete_stream(StreamName="orders")
    aws.clock.advance(5)
    kinesis.create_stream(StreamName="orders", ShardCount=2)
    put(aws, text("b"))
    assert consume_once(folder).landed == 1
