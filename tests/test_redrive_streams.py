"""Failed batches read again from their streams, and queues of messages about them, on the stand-in's server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.failure_queue import redrive_queue
from ingest.failures import parse_failure
from ingest.redrive import RedriveReport
from lake.dead_letters import read_dead_letters
from lake.lake import Lake
from standin.server import AwsStandIn
from tests.accounts import create, enable
from tests.commands import dynalake
from tests.consuming import Transport
from tests.lakes import compacted, new_lake, rows
from tests.redriving import Told, redrive_of
from tests.test_handlers import event
from tests.test_redrive import landed

GET_ITERATOR, GET_RECORDS = "Kinesis_20131202.GetShardIterator", "Kinesis_20131202.GetRecords"
STREAMS = "DynamoDBStreams_20120810"
Records = list[dict[str, Any]]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def item(n: int) -> dict[str, Any]:
    return {"pk": {"S": f"i{n}"}, "sk": {"S": "1"}, "v": {"N": str(n)}, "b": {"B": b"\x00\x01"}}


def fill(aws: AwsStandIn, count: int = 40) -> tuple[str, str, Records]:
    """A table whose stream holds some changes; gives its ARN, and the shard that has most with its records."""
    arn = enable(aws, create(aws))
    for n in range(count):
        aws.client("dynamodb").put_item(TableName="orders", Item=item(n))
        aws.clock.advance(seconds=1)
    aws.deliver()
    client, found = aws.client("kinesis"), dict[str, Records]()
    for shard in client.list_shards(StreamName="orders")["Shards"]:
        place = client.get_shard_iterator(
            StreamName="orders", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        found[shard["ShardId"]] = client.get_records(ShardIterator=place["ShardIterator"])["Records"]
    shard_id = max(found, key=lambda one: len(found[one]))
    return arn, shard_id, found[shard_id]


def message(
    arn: str, shard_id: str, first: str, last: str, size: int, name: str = "KinesisBatchInfo"
) -> dict[str, Any]:
    kinds = {"KinesisBatchInfo": "lambda_kinesis_failure", "DDBStreamBatchInfo": "lambda_dynamodb_failure"}
    whole = event(kinds[name])
    whole[name] |= {"streamArn": arn, "shardId": shard_id, "startSequenceNumber": first, "endSequenceNumber": last,
                    "batchSize": size}  # fmt: skip
    return whole


def of_records(arn: str, shard_id: str, records: Records) -> dict[str, Any]:
    return message(arn, shard_id, records[0]["SequenceNumber"], records[-1]["SequenceNumber"], len(records))


def queue(aws: AwsStandIn, *messages: Any) -> str:
    client = aws.client("sqs")
    url = client.create_queue(QueueName="failures", Attributes={"VisibilityTimeout": "2"})["QueueUrl"]
    for one in messages:
        client.send_message(QueueUrl=url, MessageBody=one if isinstance(one, str) else json.dumps(one))
    return str(url)


def waiting(aws: AwsStandIn, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def ids(records: Records) -> list[str]:
    return [json.loads(one["Data"])["eventID"] for one in records]


def taken(lake: Lake, document: dict[str, Any]) -> tuple[RedriveReport, Told]:
    told = Told()
    run, report = redrive_of(lake, told)
    run.document(document, "here")
    run._sink.flush()
    return report, told


# Kinesis


def test_just_the_range_is_read_again(aws: AwsStandIn, lake: Lake) -> None:
    arn, shard_id, records = fill(aws)
    part = records[2:-2]
    report, told = taken(lake, of_records(arn, shard_id, part))
    assert (report.failures, report.landed, report.left, told) == (1, len(part), 0, [])
    lines = landed(lake)
    assert sorted(line["eventID"] for line in lines) == sorted(ids(part))
    assert {(line["_lake"]["stream"], line["_lake"]["shard_id"]) for line in lines} == {("orders", shard_id)}
    assert {line["_lake"]["sequence_number"] for line in lines} == {one["SequenceNumber"] for one in part}
    assert compacted(lake).changes == len(part)
    report, _ = taken(lake, of_records(arn, shard_id, part))
    assert (report.already, report.landed) == (1, 0)


def test_an_iterator_that_expires_and_empty_answers(aws: AwsStandIn, lake: Lake) -> None:
    arn, shard_id, records = fill(aws)
    with Transport() as transport:
        transport.refuse(GET_RECORDS, "ExpiredIteratorException")
        report, told = taken(lake, of_records(arn, shard_id, records))
    assert (report.landed, told) == (len(records), [])


@pytest.mark.parametrize("gone", [0, 3])
def test_what_has_left_retention_is_named(aws: AwsStandIn, lake: Lake, gone: int) -> None:
    """Its start is not known any more, or what comes is later than asked; what there is of the range is taken."""
    arn, shard_id, records = fill(aws)
    batch = of_records(arn, shard_id, records)
    batch["KinesisBatchInfo"]["batchSize"] += 3
    if gone:  # AWS may also begin at the oldest record that it has
        batch["KinesisBatchInfo"]["startSequenceNumber"] = str(int(records[0]["SequenceNumber"]) - gone)
    with Transport() as transport:
        if not gone:
            transport.refuse(GET_ITERATOR, "InvalidArgumentException")
        report, (told,) = taken(lake, batch)
    assert (report.failures, report.left, report.landed) == (0, 1, len(records))
    for part in (arn, shard_id, batch["KinesisBatchInfo"]["startSequenceNumber"], records[-1]["SequenceNumber"],
                 f"expected {len(records) + 3} records, which arrived from 2023-11-14T22:13:20.987Z to",
                 f"found {len(records)}, so that 3 are missing", "verify names the items"):  # fmt: skip
        assert part in told
    assert not (lake.root / "redrives").exists()


@pytest.mark.parametrize("what", ["shard", "stream"])
def test_a_shard_that_is_gone(aws: AwsStandIn, lake: Lake, what: str) -> None:
    arn, shard_id, records = fill(aws, 5)
    batch = of_records(arn, shard_id, records)
    batch["KinesisBatchInfo"] |= {"shardId": "shardId-000000000099"} if what == "shard" else {"streamArn": arn + "-2"}
    report, (told,) = taken(lake, batch)
    assert (report.left, report.landed) == (1, 0)
    assert f"found 0, so that {len(records)} are missing (ResourceNotFoundException" in told


# Native DynamoDB Streams


def native(aws: AwsStandIn) -> tuple[str, str, Records]:
    client = aws.client("dynamodb")
    client.create_table(
        TableName="orders", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )  # fmt: skip
    for n in range(6):
        client.put_item(TableName="orders", Item=item(n % 3))
    client.delete_item(TableName="orders", Key={"pk": {"S": "i0"}, "sk": {"S": "1"}})
    streams = aws.client("dynamodbstreams")
    arn = client.describe_table(TableName="orders")["Table"]["LatestStreamArn"]
    shard_id = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    place = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
    return arn, shard_id, streams.get_records(ShardIterator=place["ShardIterator"])["Records"]


def of_native(arn: str, shard_id: str, records: Records) -> dict[str, Any]:
    numbers = [one["dynamodb"]["SequenceNumber"] for one in records]
    return message(arn, shard_id, numbers[0], numbers[-1], len(numbers), "DDBStreamBatchInfo")


def test_a_range_of_a_native_stream(aws: AwsStandIn, tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", surface="streams")
    arn, shard_id, records = native(aws)
    report, told = taken(lake, of_native(arn, shard_id, records[1:]))
    assert (report.failures, report.landed, told) == (1, len(records) - 1, [])
    assert {line["eventSourceARN"] for line in landed(lake)} == {arn}
    assert compacted(lake).changes == len(records) - 1 and list(read_dead_letters(lake.dead_letters)) == []
    found = rows(lake, "SELECT op, sequence_number, new_image FROM orders_changes ORDER BY sequence_number")
    assert [row[:2] for row in found] == [
        (one["eventName"], one["dynamodb"]["SequenceNumber"].zfill(40)) for one in records[1:]
    ]
    assert json.loads(found[0][2])["b"] == {"B": "AAE="}


def test_a_native_stream_whose_records_are_trimmed(aws: AwsStandIn, tmp_path: Path) -> None:
    """It is read from its oldest record then. An identity comes as Lambda has it."""
    lake = new_lake(tmp_path / "lake", surface="streams")
    arn, shard_id, records = native(aws)
    first = records[2]["dynamodb"]["SequenceNumber"]
    with Transport() as transport:
        transport.refuse(f"{STREAMS}.GetShardIterator", "TrimmedDataAccessException")
        report, told = taken(lake, of_native(arn, shard_id, records[2:]))
        assert (report.landed, told) == (len(records) - 2, [])
        transport.refuse(f"{STREAMS}.GetShardIterator", "ResourceNotFoundException")
        report, (gone,) = taken(lake, of_native(arn, shard_id, records[1:]))
        assert report.left == 1 and "ResourceNotFoundException" in gone
        body = {"ApproximateCreationDateTime": 1.7e9, "Keys": item(1), "SequenceNumber": first, "OldImage": item(1)}
        del body["Keys"]["v"], body["Keys"]["b"], body["OldImage"]["b"]
        one = {"eventID": "ttl", "eventName": "REMOVE", "dynamodb": body,
               "userIdentity": {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}}  # fmt: skip
        transport.answer(f"{STREAMS}.GetRecords", json.dumps({"Records": [one]}).encode())
        report, told = taken(lake, of_native(arn, shard_id, records[2:3]))
        assert (report.landed, told) == (1, [])
    compacted(lake)
    assert rows(lake, "SELECT event_id FROM orders_changes WHERE is_ttl") == [("ttl",)]


# Queues


def drain(lake: Lake, url: str, told: Told | None = None) -> RedriveReport:
    run, report = redrive_of(lake, told)
    redrive_queue(url, run, run._sink)
    return report


def test_messages_go_once_all_is_safe(aws: AwsStandIn, lake: Lake) -> None:
    arn, shard_id, records = fill(aws)
    half = len(records) // 2
    wrapped = {"Type": "Notification", "Message": json.dumps(of_records(arn, shard_id, records[half:]))}
    gone = of_records(arn, shard_id + "9", records)
    url = queue(aws, of_records(arn, shard_id, records[:half]), wrapped, gone, "rubbish", '{"Message": "hello"}')
    told = Told()
    report = drain(lake, url, told)
    assert (report.failures, report.landed, report.left) == (2, len(records), 3)
    assert waiting(aws, url) == 3 and sum(f"{url} message" in one for one in told) == 2
    assert compacted(lake).changes == len(records)


def test_a_kill_before_a_message_goes(aws: AwsStandIn, lake: Lake) -> None:
    """It comes again, is known, and goes; twice the same message is taken once."""
    arn, shard_id, records = fill(aws, 10)
    batch = of_records(arn, shard_id, records)
    taken(lake, batch)
    url = queue(aws, batch, batch)
    report = drain(lake, url)
    assert (report.already, report.landed, report.left, waiting(aws, url)) == (2, 0, 0, 0)


def test_a_message_stays_where_its_records_do_not_land(aws: AwsStandIn, tmp_path: Path) -> None:
    aws.client("s3").create_bucket(Bucket="lakes")
    lake = new_lake("s3://lakes/shop")
    arn, shard_id, records = fill(aws)
    url = queue(aws, of_records(arn, shard_id, records))
    with Transport() as transport:
        transport.refuse("PUT lakes/shop/raw", "AccessDenied", 403, times=100)
        assert "AccessDenied" in dynalake(lake.uri, "redrive", "--queue", url).fault
    assert waiting(aws, url) == 1
    aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    time.sleep(2.1)  # until it can be seen again
    outcome = dynalake(lake.uri, "redrive", "--queue", url, "--dry-run", "--json")
    assert {one["effect"] for one in json.loads(outcome.out)["effects"]} == {"adds the item"}
    assert waiting(aws, url) == 1
    told = json.loads(dynalake(lake.uri, "redrive", "--queue", url, "--json").out)
    assert (told["failures"], told["landed"]) == (1, len(records)) and waiting(aws, url) == 0


def test_a_queue_that_is_not_there(aws: AwsStandIn, lake: Lake) -> None:
    assert "receive messages of" in dynalake(lake.root, "redrive", "--queue", f"{aws.endpoint_url}/123/none").fault
    assert parse_failure(event("sns_notification")) == parse_failure(event("lambda_kinesis_failure"))
