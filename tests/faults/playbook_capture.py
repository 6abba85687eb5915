"""Faults of docs/playbook.md between the table and raw objects."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from standin.faults import Faults
from tests.faults.account import (
    BUCKET,
    DAY_SECONDS,
    FIREHOSE,
    FIREHOSE_LOGS,
    QUEUE,
    STREAM,
    STREAM_ARN,
    Account,
)
from tests.faults.playbook import fault
from tests.test_handlers import EVENTS

CONSUMER = ("consumer",)


@fault("Streaming is off")
def streaming_is_off(account: Account) -> Iterator[None]:
    account.disable()
    account.write()
    yield
    account.write()  # it goes on


@fault("Streaming goes to another stream")
def streaming_goes_elsewhere(account: Account) -> Iterator[None]:
    account.client("kinesis").create_stream(StreamName="elsewhere", ShardCount=1)
    account.disable()
    account.enable(STREAM_ARN.replace(STREAM, "elsewhere"))
    account.write()
    yield
    account.write()


@fault("A change was too large for the stream", begins=False, standin={"faults": Faults(skipped=1, skipped_last=1)})
def too_large(account: Account) -> Iterator[None]:
    account.write(24)
    account.settle()
    account.alarm("failed-to-replicate", "FailedToReplicateRecordCount")
    yield


@fault("The stream is throttled")
def stream_is_throttled(account: Account) -> Iterator[None]:
    account.write()
    account.alarm("unreplicated-age", "AgeOfOldestUnreplicatedRecord")
    yield
    account.write()


@fault("Times come in milliseconds")
def milliseconds(account: Account) -> Iterator[None]:
    account.client("dynamodb").update_kinesis_streaming_destination(
        TableName="orders", StreamArn=STREAM_ARN,
        UpdateKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MILLISECOND"},
    )  # fmt: skip
    account.write()
    client = account.client("dynamodb")
    for n in range(5):  # within a millisecond or two
        client.put_item(TableName="orders", Item={"pk": {"S": "fast"}, "sk": {"S": "1"}, "n": {"N": str(n)}})
    account.write()
    yield
    account.write()


@fault("The table was made anew")
def table_made_anew(account: Account) -> Iterator[None]:
    account.check_proven()  # it notes which table that was
    account.client("dynamodb").delete_table(TableName="orders")
    account.create_table("orders")
    account.write(6)
    yield
    account.write()


@fault("Firehose is younger than streaming", begins=False, paths=())
def firehose_is_younger(account: Account) -> Iterator[None]:
    account.put("never again", note={"S": "y"})
    account.write()
    account.aws.deliver()
    account.create_firehose()
    account.write()
    account.check_stuck()
    yield


@fault("The consumer is too slow", paths=CONSUMER)
def consumer_is_slow(account: Account) -> Iterator[None]:
    account.write()
    account.metric("AWS/Lambda", "IteratorAge", 7_200_000, FunctionName="shop-orders-consumer")
    account.patch.setattr(account, "invoke", lambda: None)
    yield


@fault("The mapping is switched off", paths=CONSUMER)
def mapping_is_off(account: Account) -> Iterator[None]:
    account.client("lambda").update_event_source_mapping(UUID=account.mapping, Enabled=False)
    account.write()
    account.check_stuck()
    yield


@fault("The consumer fails", paths=CONSUMER)
def consumer_fails(account: Account) -> Iterator[None]:
    account.revoke("shop-orders-consumer")
    account.write()
    account.check_stuck()
    yield


@fault("Firehose delivers nothing")
def firehose_delivers_nothing(account: Account) -> Iterator[None]:
    account.revoke("shop-orders-firehose")
    account.write()
    account.check_stuck()
    logs = account.client("logs")
    logs.create_log_group(logGroupName=FIREHOSE_LOGS)
    logs.create_log_stream(logGroupName=FIREHOSE_LOGS, logStreamName="1")
    account.log(FIREHOSE_LOGS, json.dumps({"errorCode": "S3.AccessDenied", "errorMessage": "Access Denied"}))
    account.metric("AWS/Firehose", "DeliveryToS3.DataFreshness", 7_200, DeliveryStreamName=FIREHOSE)
    yield


@fault("Retention passed before it was read", paths=CONSUMER)
def retention_passed(account: Account) -> Iterator[None]:
    account.client("lambda").update_event_source_mapping(UUID=account.mapping, Enabled=False)
    account.write()
    account.pass_time()
    account.lose_the_stream()
    account.client("lambda").update_event_source_mapping(UUID=account.mapping, Enabled=True)
    yield
    account.write()


def batches_given_up(account: Account) -> None:
    """The consumer's rights come back after its last attempt: two shards have a message each by then."""
    account.revoke("shop-orders-consumer")
    account.retries_left = 0
    account.write()
    account.pass_time()
    account.grant()
    account.check_stuck()


@fault("Batches were given up", paths=CONSUMER)
def given_up(account: Account) -> Iterator[None]:
    batches_given_up(account)
    yield


@fault("Batches were given up and have left the stream", paths=CONSUMER)
def given_up_and_gone(account: Account) -> Iterator[None]:
    batches_given_up(account)
    account.lose_the_stream()
    yield
    found = account.client("sqs").receive_message(QueueUrl=account.queue_url)
    assert "Messages" not in found


@fault("Messages come near their end", paths=CONSUMER)
def messages_near_their_end(account: Account) -> Iterator[None]:
    batches_given_up(account)
    account.aws.clock.advance(seconds=3.5 * DAY_SECONDS)
    account.metric("AWS/SQS", "ApproximateAgeOfOldestMessage", 3.5 * DAY_SECONDS, QueueName=QUEUE)
    yield


@fault("Batches were given up to a bucket", paths=CONSUMER, surface="streams")
def given_up_to_a_bucket(account: Account) -> Iterator[None]:
    batches_given_up(account)
    yield


@fault("Error objects of Firehose", paths=CONSUMER)
def error_objects(account: Account) -> Iterator[None]:
    """Records that are nowhere but there: this account's mapping does not get them."""
    account.write()
    account.aws.deliver()
    given = json.loads((EVENTS / "firehose_processing_failed.json").read_text().splitlines()[0])
    lines = []
    for shard_id, records in account.records():
        account.read[shard_id] = records[-1]["SequenceNumber"]
        lines += [json.dumps({**given, "rawData": base64.b64encode(one["Data"]).decode()}) for one in records]
    key = "firehose-errors/orders/processing-failed/2026/01/01/00/shop-orders-raw-1-2026-01-01-00-00-00-0c1f"
    account.client("s3").put_object(Bucket=BUCKET, Key=key, Body="\n".join(lines))
    account.check_stuck()
    yield
