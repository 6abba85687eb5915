"""Backfill on the stand-in's server: amid writes, stopped and gone on with, two at once, refused with a reason."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
import zstandard
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

import ingest.backfill
import standin
from compaction.compact import compact
from ingest.backfill import BackfillReport, backfill
from lake.aws import aws_client
from lake.dynamodb import DynamoDB
from lake.errors import ConfigError, LakeError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, create_lake
from lake.store import list_objects
from queries.connect import connect
from standin.faults import Faults
from standin.server import AwsStandIn
from tests.accounts import RAW, Interleaved, Writer, create, enable
from tests.commands import dynalake
from tests.lakes import (
    SCHEMA,
    SETTINGS,
    compacted,
    expected_items,
    fresh_items,
    items_of,
    new_lake,
    only_table,
    refreshed,
    rows,
    timestamp,
)

START_US = 1_700_006_399_990_000


def run(lake: Lake, dynamodb: DynamoDB | None = None, **options: Any) -> BackfillReport:
    return backfill(lake, only_table(lake), dynamodb or DynamoDB(), **options)


def reads(lake: Lake) -> Counter[str]:
    return Counter(row[0] for row in rows(lake, "SELECT item_key FROM orders_changes WHERE op = 'READ'"))


def put(aws: AwsStandIn, *items: dict, name: str = "orders") -> None:
    for item in items:
        aws.client("dynamodb").put_item(TableName=name, Item=item)


def orders(count: int, **more: Any) -> list[dict]:
    return [{"pk": {"S": f"c{n % 7}"}, "sk": {"S": f"o{n:04}"}, "v": {"N": str(n)}, **more} for n in range(count)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


@pytest.fixture
def stream(aws: AwsStandIn) -> str:
    """A table that streams."""
    return enable(aws, create(aws))


# Others at work meanwhile


@pytest.mark.parametrize("seed", range(4))
def test_random_writers_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    check_random_writers(tmp_path, monkeypatch, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_300))
def test_many_random_writers_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    check_random_writers(tmp_path, monkeypatch, seed)


class Stopped(Exception):
    """What stands for a kill."""


def check_random_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Items from before streaming, writes between any two pages, runs that break off, a stream on a bad day."""
    rng = random.Random(seed)
    faults = Faults(duplicates=0.2, disorder=0.3, disorder_seconds=30, late_objects=1, rewritten_objects=1, poison=2)
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", rng.choice([1, 1_000, 100_000]))
    with AwsStandIn(seed=seed, faults=faults, start_us=START_US, empty_pages=rng.choice([0, 0.3])) as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        stream_arn = create(aws)
        writer = Writer(aws, rng, rng.choice([3, 40]), rng.choice([2, 400_000, 3_000_000]))
        writer.write(rng.choice([0, 60]))
        enable(aws, stream_arn, precision=rng.choice(["MICROSECOND", "MILLISECOND"]))
        lake = new_lake(tmp_path / "lake")
        table, busy, fragile = only_table(lake), rng.random() * 3, rng.choice([0.0, 0.1])

        def at_work() -> None:
            writer.write(rng.randrange(1 + int(busy * 2)))
            if rng.random() < fragile:
                raise Stopped
            if rng.random() < 0.03:
                compact(lake, table, SETTINGS, RAW)

        scanned = 0
        while True:
            source = Interleaved(aws, rng.choice([1, 3]), at_work, writer)
            try:
                report = run(lake, source, workers=rng.choice([1, 3]))
                scanned += report.items
                break
            except Stopped:
                compacted(lake) if rng.random() < 0.5 else None
        first_end_us = aws.clock.now_us()
        writer.write(rng.choice([0, 20]))
        if rng.random() < 0.5:  # once more, of which an instant in its midst must know nothing
            run(lake, Interleaved(aws, 3, lambda: writer.write(rng.randrange(2)), writer), again=True)
            writer.write(rng.choice([0, 20]))
        aws.deliver()
        if rng.random() < 0.5:
            compacted(lake)
            refreshed(lake)
        compact(lake, table, SETTINGS, RAW)
        compacted(lake)
        history = aws.history("orders")
        expected = expected_items(table.keys, history.items.values())
        check_past(lake, history, first_end_us, aws.clock.now_us(), rng)
    with pytest.MonkeyPatch.context():
        assert fresh_items(lake) == expected
        refreshed(lake)
        assert fresh_items(lake) == expected
        assert report.items_of_run <= sum(reads(lake).values())


def check_past(lake: Lake, history: standin.Table, first_end_us: int, now_us: int, rng: random.Random) -> None:
    """Behind the end of the first backfill any instant has the items of then; before, none is answered."""
    con = connect(lake, 1024, 2)
    try:
        for _ in range(4):
            at_us = rng.randrange(first_end_us // 1000 + 2_000, now_us // 1000 + 3_000) * 1000 + 999  # DynamoDB's s, ms
            found = items_of(con, f"orders_as_of({timestamp(at_us)})")
            assert found == expected_items(SCHEMA, history.items_as_of(at_us).values())
        with pytest.raises(duckdb.InvalidInputException, match="by a backfill that was complete at"):
            con.execute(f"FROM orders_as_of({timestamp(first_end_us - 3_000_000)})").fetchall()
    finally:
        con.close()


def test_a_change_within_the_margin_wins(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    """Written in the very second in which the Scan begins, before it and behind it."""
    old, new = orders(1), orders(1, note={"S": "new"})
    put(aws, *old)
    source = Interleaved(aws, 10)
    report = run(lake, source)
    put(aws, *new)
    aws.deliver()
    compact(lake, only_table(lake), SETTINGS, RAW)
    compacted(lake)
    assert report.items == 1 and fresh_items(lake) == expected_items(only_table(lake).keys, new)


# Keys and values


@pytest.mark.parametrize(
    ("keys", "item"),
    [
        ([("n", "N", "HASH"), ("b", "B", "RANGE")], {"n": {"N": "1.50"}, "b": {"B": b"\x00\xff"}, "x": {"BS": [b"a"]}}),
        ([("a b.c:d", "S", "HASH")], {"a b.c:d": {"S": 'q"|\\'}, "é": {"M": {"l": {"L": [{"NULL": True}]}}}}),
        ([("b", "B", "HASH")], {"b": {"B": b'"B":"'}, "t": {"S": '"B":"QQ=="'}, "e": {"S": ""}}),
        (
            [("z", "N", "HASH"), ("a", "N", "RANGE")],
            {"z": {"N": "-0"}, "a": {"N": "1E+40"}, "u": {"S": "\U0001f600\n"}},
        ),
    ],
)
def test_keys_and_values_of_all_kinds(aws: AwsStandIn, tmp_path: Path, keys: list, item: dict) -> None:
    enable(aws, create(aws, keys=keys))
    put(aws, item)
    attributes = [KeyAttribute(name, kind) for name, kind, _ in keys]
    lake = new_lake(tmp_path / "lake", keys=KeySchema(*attributes))
    assert run(lake).items == 1
    assert compacted(lake).changes == 1
    by_stream = fresh_items(lake)
    aws.deliver()
    compact(lake, only_table(lake), SETTINGS, RAW)
    assert fresh_items(lake) == by_stream, "as the stream has it"
    assert [row[0] for row in rows(lake, "SELECT op FROM orders_changes ORDER BY 1")] == ["INSERT", "READ"]


def test_an_empty_table(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    report = run(lake)
    assert (report.items, report.objects, report.finished_before) == (0, 0, False)
    assert run(lake).finished_before


def test_versions_are_of_dynamodbs_clock(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    put(aws, *orders(3))
    aws.clock.set(1_800_000_000_123_456)
    run(lake, margin_seconds=7)
    compacted(lake)
    assert rows(lake, "SELECT DISTINCT created_at_us, source FROM orders_changes") == [(1_799_999_993_000_000, "scan")]


# Runs


def test_a_run_that_ended_is_not_done_again(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    put(aws, *orders(30))
    first = run(lake)
    assert (first.items, first.resumed, first.finished_before) == (30, False, False)
    source = Interleaved(aws, 10)
    assert run(lake, source).finished_before and source.scanned == [0]
    aws.clock.advance(seconds=100)
    again = run(lake, again=True)
    assert again.items == 30 and again.run != first.run
    compacted(lake)
    assert set(reads(lake).values()) == {2} and len(fresh_items(lake)) == 30


def test_segments_that_ended_are_not_begun_anew(
    aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", 1)
    put(aws, *orders(40))
    left = [15]

    def at_work() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped

    with pytest.raises(Stopped):
        run(lake, Interleaved(aws, 2, at_work), workers=1)
    landed = {one.uri: one.etag for one in list_objects(lake.raw)}
    source = Interleaved(aws, 2)
    report = run(lake, source)
    items_landed = sum(zstandard.decompress(Path(uri).read_bytes(), 1 << 20).count(b"\n") for uri in landed)
    assert items_landed > 4 and report.resumed
    assert (report.items, source.scanned, report.items_of_run) == (40 - items_landed, [40 - items_landed], 40)
    assert landed.items() <= {one.uri: one.etag for one in list_objects(lake.raw)}.items()
    compacted(lake)
    assert len(reads(lake)) == 40 and set(reads(lake).values()) == {1}


def test_two_at_once(aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", 300)
    put(aws, *orders(60))
    reports: list[BackfillReport] = []
    threads = [threading.Thread(target=lambda: reports.append(run(lake, Interleaved(aws, 2)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({report.run for report in reports}) == 1 and len(reports) == 3
    compacted(lake)
    assert len(reads(lake)) == 60 and set(reads(lake).values()) == {1}


def test_a_table_made_anew_under_its_name_is_scanned_anew(
    aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(aws, *orders(3))
    run(lake)
    described = DynamoDB().describe("orders")
    other = replace(described, table_id="another")
    monkeypatch.setattr(DynamoDB, "describe", lambda self, name: (DynamoDB._call(
        self, "describe", name, "describe_table", TableName=name), other)[1])  # fmt: skip
    report = run(lake)
    assert (report.items, report.finished_before) == (3, False)


def test_a_damaged_object_or_manifest_is_named(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    put(aws, *orders(3))
    run(lake)
    (end,) = lake.root.glob("backfills/orders/*.done.json")
    end.unlink()
    landed = sorted(Path(lake.raw).rglob("*.zst"))[0]
    landed.write_bytes(landed.read_bytes()[:-5])
    with pytest.raises(LakeError, match=landed.name):
        run(lake)
    (manifest,) = lake.root.glob("backfills/orders/*.json")
    manifest.write_bytes(b"rubbish")
    with pytest.raises(LakeError, match="manifest"):
        run(lake)


def test_a_lake_on_s3(aws: AwsStandIn, stream: str) -> None:
    aws.client("s3").create_bucket(Bucket="lakes")
    lake = new_lake("s3://lakes/shop")
    put(aws, *orders(20))
    assert run(lake).items == 20 and run(lake).finished_before
    aws.deliver()
    compact(lake, only_table(lake), SETTINGS, RAW)
    compacted(lake)
    refreshed(lake)
    assert len(fresh_items(lake)) == 20


# The command line, and what it refuses


def test_the_command_line(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    place = tmp_path / "lake"
    create_lake(place)
    put(aws, *orders(20))
    assert dynalake(place, "add-table", "--from-dynamodb", "orders").code == 0
    assert 'hash_key = "pk:S"\nrange_key = "sk:S"' in (place / "lake.toml").read_text()
    (report,) = json.loads(dynalake(place, "backfill", "orders", "--json").out)
    assert (report["items"], report["resumed"]) == (20, False)
    again = dynalake(place, "backfill")
    assert again.code == 0 and "--again" in again.errors
    assert json.loads(dynalake(place, "compact", "--json").out)[0]["changes"] == 20


def test_wrong_usage(aws: AwsStandIn, tmp_path: Path) -> None:
    place = tmp_path / "lake"
    create_lake(place)
    for arguments in (["orders"], ["orders", "--from-dynamodb", "--hash-key", "pk:S"],
                      ["orders", "--from-dynamodb", "--range-key", "sk:S"]):  # fmt: skip
        assert dynalake(place, "add-table", *arguments).code == 2
    assert "orders" in dynalake(place, "add-table", "orders", "--from-dynamodb").fault
    assert "add-table" in dynalake(place, "backfill", "orders").fault


def test_streaming_must_be_active(aws: AwsStandIn, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    stream_arn = create(aws)
    put(aws, *orders(3))
    assert "enable-kinesis-streaming-destination" in dynalake(lake.root, "backfill", "orders").fault
    assert list(list_objects(lake.raw)) == []
    enable(aws, stream_arn)

    def at_work() -> None:
        for one in aws.client("dynamodb").describe_kinesis_streaming_destination(TableName="orders")[
            "KinesisDataStreamDestinations"
        ]:
            if one["DestinationStatus"] == "ACTIVE":
                aws.client("dynamodb").disable_kinesis_streaming_destination(TableName="orders", StreamArn=stream_arn)

    with pytest.raises(ConfigError, match="until the end"):
        run(lake, Interleaved(aws, 2, at_work), workers=1)
    assert not list(lake.root.glob("backfills/orders/*.done.json"))


def test_a_native_stream_must_have_images(aws: AwsStandIn, tmp_path: Path) -> None:
    create(aws)
    put(aws, *orders(3))
    lake = new_lake(tmp_path / "lake", surface="streams")
    assert "NEW_AND_OLD_IMAGES" in dynalake(lake.root, "backfill").fault
    aws.client("dynamodb").update_table(
        TableName="orders", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    assert run(lake).items == 3


def test_other_keys_than_registered(aws: AwsStandIn, stream: str, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", keys=KeySchema(KeyAttribute("pk", "S")))
    assert "pk:S sk:S" in dynalake(lake.root, "backfill").fault


def refuse(monkeypatch: pytest.MonkeyPatch, code: str, status: int, times: int) -> list[str]:
    """Answers the first Scans so, before they come to the server; gives the list of them."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}).encode()
    send, refused = URLLib3Session.send, []

    def answer(self: URLLib3Session, request: Any) -> Any:
        target = request.headers.get("X-Amz-Target", b"")
        if len(refused) < times and target in ("DynamoDB_20120810.Scan", b"DynamoDB_20120810.Scan"):
            refused.append(code)
            found = AWSResponse(request.url, status, {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}, None)
            found._content = body
            return found
        return send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", answer)
    return refused


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [("ExpiredTokenException", 400, "Renew"),
     ("AccessDeniedException", 400, "permission"), ("InternalServerError", 500, "Run it again"),
     ("UnrecognizedClientException", 400, "credentials")],
)  # fmt: skip
def test_what_dynamodb_refuses(
    aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch, code: str, status: int, said: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    put(aws, *orders(3))
    with monkeypatch.context() as patch:
        refuse(patch, code, status, times=1_000)
        fault = dynalake(lake.root, "backfill").fault
    assert said in fault and code in fault and "orders" in fault
    assert dynalake(lake.root, "backfill").code == 0, "it goes on where it was"


def test_an_endpoint_that_hangs(aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lake.aws.READ_SECONDS_MAX", 0.2)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "within the time allowed" in dynalake(lake.root, "backfill").fault


def test_no_credentials(aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "AWS_PROFILE" in dynalake(lake.root, "backfill").fault


def test_an_answer_without_a_time(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    aws_client("dynamodb").meta.events.register(
        "before-parse.dynamodb.*", lambda response_dict, **_: response_dict["headers"].pop("date", None)
    )
    assert "Date" in dynalake(lake.root, "backfill").fault
