"""The stand-in's DynamoDB, Kinesis and Firehose, request by request: as AWS answers, where moto does not."""

import gzip
import json
import threading
from collections import Counter
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from standin.clock import Clock
from standin.server import ACCOUNT, AwsStandIn
from tests.standin.landed import START_US, created_at_us, held, lines, objects, read

HOUR_SECONDS = 3_600
STREAM = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/orders"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


def refused(call: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(**request)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"]["Message"]


def make_table(dynamodb: Any, name: str = "orders", **more: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def firehose(aws: AwsStandIn, name: str = "orders", **destination: Any) -> None:
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": STREAM, "RoleARN": ROLE},
        ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::raw", **destination},
    )


def put(aws: AwsStandIn, pk: str, **attributes: Any) -> None:
    aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": pk}, **attributes})


def records(aws: AwsStandIn) -> list[dict]:
    kinesis, found = aws.client("kinesis"), []
    for shard in kinesis.list_shards(StreamName="orders")["Shards"]:
        place = {"StreamName": "orders", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(**place)["ShardIterator"]
        found += kinesis.get_records(ShardIterator=iterator)["Records"]
    return sorted(found, key=lambda record: record["SequenceNumber"])


def test_responses_are_dated_by_the_clock_in_whole_seconds_rounded_down(aws: AwsStandIn) -> None:
    clock = aws.clock
    clock.set((clock.now_us() // 1_000_000 + 5) * 1_000_000 + 999_999)
    for service, call in (("dynamodb", "list_tables"), ("s3", "list_buckets"), ("sqs", "list_queues")):
        answer = getattr(aws.client(service), call)()
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        assert date.timestamp() == clock.now_us() // 1_000_000
    make_table(aws.client("dynamodb"))
    made = aws.client("dynamodb").describe_table(TableName="orders")["Table"]["CreationDateTime"]
    assert abs(made.timestamp() - clock.now_us() / 1e6) < 1


def test_a_streaming_destination_goes_through_its_states() -> None:
    with AwsStandIn(settling_seconds=10, start_us=START_US) as aws:
        dynamodb = aws.client("dynamodb")
        make_table(dynamodb)
        aws.client("kinesis").create_stream(StreamName="orders", ShardCount=1)
        names = {"TableName": "orders", "StreamArn": STREAM}

        def described() -> dict:
            [one] = dynamodb.describe_kinesis_streaming_destination(TableName="orders")["KinesisDataStreamDestinations"]
            return one

        answer = dynamodb.enable_kinesis_streaming_destination(**names)
        assert {**names, "DestinationStatus": "ENABLING"}.items() <= answer.items()
        assert described() == {"StreamArn": STREAM, "DestinationStatus": "ENABLING"}
        code, message = refused(dynamodb.enable_kinesis_streaming_destination, **names)
        assert code == "ValidationException" and "must be DISABLED or ENABLE_FAILED to perform ENABLE" in message
        put(aws, "before")
        aws.clock.advance(10)
        assert described()["DestinationStatus"] == "ACTIVE"
        put(aws, "milliseconds")
        switch = {"UpdateKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "MICROSECOND"}}
        assert dynamodb.update_kinesis_streaming_destination(**names, **switch)["DestinationStatus"] == "UPDATING"
        assert "must be ACTIVE" in refused(dynamodb.disable_kinesis_streaming_destination, **names)[1]
        assert "in ACTIVE state" in refused(dynamodb.update_kinesis_streaming_destination, **names, **switch)[1]
        aws.clock.advance(10)
        assert described()["ApproximateCreationDateTimePrecision"] == "MICROSECOND"
        assert "already set" in refused(dynamodb.update_kinesis_streaming_destination, **names, **switch)[1]
        put(aws, "microseconds")
        assert dynamodb.disable_kinesis_streaming_destination(**names)["DestinationStatus"] == "DISABLING"
        aws.clock.advance(10)
        assert described()["DestinationStatus"] == "DISABLED"
        put(aws, "after")
        aws.deliver()
        images = [json.loads(record["Data"])["dynamodb"] for record in records(aws)]
        assert [image["Keys"]["pk"]["S"] for image in images] == ["milliseconds", "microseconds"]
        assert "ApproximateCreationDateTimePrecision" not in images[0]
        assert images[0]["ApproximateCreationDateTime"] == (START_US + 10_000_001) // 1_000
        assert images[1]["ApproximateCreationDateTimePrecision"] == "MICROSECOND"


def test_a_streaming_destination_s_errors(aws: AwsStandIn) -> None:
    dynamodb = aws.client("dynamodb")
    names = {"TableName": "orders", "StreamArn": STREAM}
    message = "Requested resource not found: Table: orders not found"
    for call in ("enable", "disable", "update"):
        operation = getattr(dynamodb, f"{call}_kinesis_streaming_destination")
        assert refused(operation, **names) == ("ResourceNotFoundException", message)
    describe = dynamodb.describe_kinesis_streaming_destination
    assert refused(describe, TableName="orders") == ("ResourceNotFoundException", message)
    make_table(dynamodb)
    assert dynamodb.enable_kinesis_streaming_destination(**names)["DestinationStatus"] == "ENABLING"
    [failed] = describe(TableName="orders")["KinesisDataStreamDestinations"]
    assert failed["DestinationStatus"] == "ENABLE_FAILED"  # the stream does not exist
    assert refused(dynamodb.disable_kinesis_streaming_destination, **names)[0] == "ValidationException"


def test_records_arrive_in_kinesis_with_the_clock(aws: AwsStandIn) -> None:
    aws.replicate("orders", bucket="raw")
    put(aws, "a", b={"B": b"\x00\xff"})
    assert records(aws) == []
    aws.clock.advance(1)
    [record] = records(aws)
    assert json.loads(record["Data"])["dynamodb"]["NewImage"]["b"] == {"B": "QVA4PQ=="}  # base64 twice
    assert len(record["SequenceNumber"]) == 56
    arrived_us = record["ApproximateArrivalTimestamp"].timestamp() * 1e6
    assert 100_000 < arrived_us - created_at_us(json.loads(record["Data"])) < 400_000


def test_firehose_starts_at_latest_and_takes_what_producers_put(aws: AwsStandIn) -> None:
    aws.replicate("orders", bucket="first")
    put(aws, "before")
    aws.clock.advance(1)
    aws.client("s3").create_bucket(Bucket="raw")
    firehose(aws, "second", BufferingHints={"IntervalInSeconds": 0, "SizeInMBs": 1})
    put(aws, "after")
    aws.clock.advance(1)
    aws.client("kinesis").put_record(StreamName="orders", Data=b"by hand", PartitionKey="p")
    aws.deliver()
    assert [b"before" in one or b"after" in one or one == b"by hand" for one in lines(objects(aws, "first"))] == [
        True
    ] * 3
    late = b"".join(objects(aws, "raw").values())
    assert b"after" in late and b"by hand" in late and b"before" not in late
    assert len(objects(aws, "raw")) == 2  # with a buffer of no time, each record is an object


@pytest.mark.parametrize("prefix", ["p/", "p/!{timestamp:yyyy/MM/dd/HH}/"])
def test_buffers_prefixes_and_forms(aws: AwsStandIn, prefix: str) -> None:
    aws.clock.set(int(datetime(2030, 7, 15, 23, 59, 30, tzinfo=UTC).timestamp() * 1e6))
    make_table(aws.client("dynamodb"))
    aws.client("kinesis").create_stream(StreamName="orders", ShardCount=2)
    aws.client("s3").create_bucket(Bucket="raw")
    firehose(aws, "plain", Prefix=prefix, BufferingHints={"IntervalInSeconds": 60, "SizeInMBs": 1})
    newline = {"ParameterName": "Delimiter", "ParameterValue": "\\n"}
    processors = [{"Type": "AppendDelimiterToRecord", "Parameters": [newline]}]
    firehose(
        aws,
        "lines",
        CompressionFormat="GZIP",
        BufferingHints={"IntervalInSeconds": 900, "SizeInMBs": 1},
        ProcessingConfiguration={"Enabled": True, "Processors": processors},
    )
    aws.client("dynamodb").enable_kinesis_streaming_destination(TableName="orders", StreamArn=STREAM)
    for number in range(6):
        put(aws, f"o{number}", pad={"S": "x" * 300_000})
        aws.clock.advance(20)
    aws.deliver()
    found = objects(aws)
    plain = {key: body for key, body in found.items() if key.startswith("p/")}
    assert [key[:16] for key in sorted(plain)] == ["p/2030/07/15/23/", "p/2030/07/16/00/"]
    assert b"}{" in plain[min(plain)]
    delimited = [gzip.decompress(body) for key, body in found.items() if key.endswith(".gz")]
    assert sorted(body.count(b"\n") for body in delimited) == [2, 4]  # 1 MB, then the rest


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ({"Prefix": "raw/!{timestamp:yyyy}/"}, "expressions are not supported"),
        ({"CompressionFormat": "Snappy"}, "GZIP or UNCOMPRESSED"),
        ({"BufferingHints": {"IntervalInSeconds": 901, "SizeInMBs": 1}}, "0 to 900 seconds"),
        ({"ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "Lambda"}]}}, "AppendDelimiterToRecord"),
        ({}, "was not found"),
    ],
)
def test_delivery_streams_that_are_not_made(aws: AwsStandIn, destination: dict, message: str) -> None:
    if destination:
        aws.client("kinesis").create_stream(StreamName="orders", ShardCount=1)
    with pytest.raises(ClientError, match=message):
        firehose(aws, **destination)
    assert aws.client("firehose").list_delivery_streams()["DeliveryStreamNames"] == []


def fill(aws: AwsStandIn, names: list[str]) -> None:
    dynamodb = aws.client("dynamodb")
    for start in range(0, len(names), 25):
        puts = [
            {"PutRequest": {"Item": {"pk": {"S": name}, "pad": {"S": "x" * 700}}}} for name in names[start : start + 25]
        ]
        dynamodb.batch_write_item(RequestItems={"orders": puts})


@pytest.mark.parametrize("segments", [1, 3])
def test_scan_gives_what_stays_exactly_once_whatever_comes_and_goes(segments: int) -> None:
    with AwsStandIn(seed=5, empty_pages=0.2) as aws:
        make_table(aws.client("dynamodb"))
        fill(aws, [f"{kind}{number}" for number in range(400) for kind in ("stay", "leave")])
        seen: Counter = Counter()
        empty = []

        def scan(segment: int) -> None:
            dynamodb = aws.client("dynamodb")
            options = {"Segment": segment, "TotalSegments": segments} if segments > 1 else {}
            pages = dynamodb.get_paginator("scan").paginate(
                TableName="orders", ConsistentRead=True, PaginationConfig={"PageSize": 30}, **options
            )
            for page in pages:
                seen.update(item["pk"]["S"] for item in page["Items"])
                empty.append(not page["Items"] and "LastEvaluatedKey" in page)

        def disturb() -> None:
            for number in range(0, 400, 25):
                fill(aws, [f"new{number + index}" for index in range(25)])
                deletes = [{"DeleteRequest": {"Key": {"pk": {"S": f"leave{number + index}"}}}} for index in range(25)]
                aws.client("dynamodb").batch_write_item(RequestItems={"orders": deletes})

        threads = [threading.Thread(target=scan, args=(segment,)) for segment in range(segments)]
        threads.append(threading.Thread(target=disturb))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {name: seen[name] for name in seen if name.startswith("stay")} == {f"stay{n}": 1 for n in range(400)}
        assert max(seen.values()) == 1
        assert any(empty)


def test_scan_pages_and_what_they_cost(aws: AwsStandIn) -> None:
    dynamodb = aws.client("dynamodb")
    make_table(dynamodb)
    fill(aws, [f"o{number:04}" for number in range(2_000)])  # 710 bytes each
    first = dynamodb.scan(TableName="orders", ReturnConsumedCapacity="TOTAL")
    assert 1_048_576 - 710 < first["Count"] * 710 <= 1_048_576
    assert first["ConsumedCapacity"] == {"TableName": "orders", "CapacityUnits": 128.0}
    assert first["LastEvaluatedKey"] == {"pk": first["Items"][-1]["pk"]}
    consistent = dynamodb.scan(TableName="orders", ReturnConsumedCapacity="TOTAL", ConsistentRead=True)
    assert consistent["ConsumedCapacity"]["CapacityUnits"] == 256.0
    dynamodb.delete_item(TableName="orders", Key=first["LastEvaluatedKey"])
    rest = dynamodb.scan(TableName="orders", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert first["Count"] + rest["Count"] == 2_000
    assert "LastEvaluatedKey" not in rest
    assert dynamodb.scan(TableName="orders", Limit=rest["Count"])["LastEvaluatedKey"]
    got = dynamodb.get_item(TableName="orders", Key={"pk": {"S": "o0001"}}, ReturnConsumedCapacity="TOTAL")
    assert got["ConsumedCapacity"]["CapacityUnits"] == 0.5
    assert len(held(dynamodb)) == 1_999


def test_range_keys_are_in_order_and_binary_keys_work(aws: AwsStandIn) -> None:
    dynamodb = aws.client("dynamodb")
    aws.replicate("orders", bucket="raw", hash_key=("h", "B"), range_key=("r", "N"))
    for number in (10, 9, -1, 2.5):
        dynamodb.put_item(TableName="orders", Item={"h": {"B": b"\x00"}, "r": {"N": str(number)}})
    items = dynamodb.scan(TableName="orders")["Items"]
    assert [item["r"]["N"] for item in items] == ["-1", "2.5", "9", "10"]
    assert items[0]["h"] == {"B": b"\x00"}
    dynamodb.delete_item(TableName="orders", Key={"h": {"B": b"\x00"}, "r": {"N": "10.0"}})
    after = {"h": {"B": b"\x00"}, "r": {"N": "2.6"}}
    assert [item["r"]["N"] for item in dynamodb.scan(TableName="orders", ExclusiveStartKey=after)["Items"]] == ["9"]


def test_items_expire_as_the_clock_moves(aws: AwsStandIn) -> None:
    dynamodb = aws.client("dynamodb")
    aws.replicate("orders", bucket="raw")
    now = aws.clock.now_us() // 1_000_000
    put(aws, "early", ttl={"N": str(now + 600)})
    dynamodb.update_time_to_live(TableName="orders", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    put(aws, "changed", ttl={"N": str(now + 600)})
    put(aws, "changed", ttl={"N": str(now + 900_000)})
    put(aws, "never", ttl={"S": "soon"})
    put(aws, "a mistake", ttl={"N": "17"})
    assert len(held(dynamodb)) == 4
    aws.clock.advance(6 * HOUR_SECONDS)
    assert held(dynamodb).keys() == {"changed", "never", "a mistake"}
    put(aws, "early", n={"N": "2"})
    aws.deliver()
    changes, _ = read(objects(aws))
    [expired] = [change for change in changes.values() if change["userIdentity"]]
    assert expired["eventName"] == "REMOVE"
    assert expired["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    late_s = created_at_us(expired) // 1_000_000 - (now + 600)
    assert 0 <= late_s <= 5 * HOUR_SECONDS and created_at_us(expired) % (HOUR_SECONDS * 1_000_000) == 0


def test_a_table_made_anew_has_event_ids_of_its_own(aws: AwsStandIn) -> None:
    dynamodb = aws.client("dynamodb")
    seen = set()
    for _ in range(2):
        make_table(dynamodb)
        put(aws, "a")
        seen.add(aws.history("orders").changes[0].event_id)
        dynamodb.delete_table(TableName="orders")
    assert len(seen) == 2
    with pytest.raises(KeyError):
        aws.history("orders")


def test_what_moto_does_not_know_is_no_error_to_try_again(aws: AwsStandIn) -> None:
    with pytest.raises(ClientError) as raised:
        aws.client("dynamodb").describe_global_table_settings(GlobalTableName="none")
    assert (
        raised.value.response["ResponseMetadata"] | {"HTTPStatusCode": 501, "RetryAttempts": 0}
        == (raised.value.response["ResponseMetadata"])
    )


def test_the_clock_never_goes_back_and_writes_tick() -> None:
    clock = Clock(1_000)
    assert [clock.tick(), clock.tick(), clock.now_us()] == [1_000, 1_001, 1_001]
    clock.set(2_000)
    clock.set(2_000)
    assert [clock.tick(), clock.tick()] == [2_000, 2_001]
    clock.tick_us = 0
    assert [clock.tick(), clock.tick()] == [2_001, 2_001]
    with pytest.raises(ValueError, match="never goes backwards"):
        clock.set(1_999)
    with pytest.raises(ValueError, match="never goes backwards"):
        clock.advance(-1)
    fast = Clock(0, rate=1e9)
    assert 0 <= fast.now_us() < fast.now_us()
