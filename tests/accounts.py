"""A table on the stand-in's server, the usual path from it to S3, and somebody who writes to it at random."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lake.dynamodb import DynamoDB, Page
from lake.pace import Pace
from standin.server import AwsStandIn

RAW = "s3://raw/firehose/"
KEYS = (("pk", "S", "HASH"), ("sk", "S", "RANGE"))
_ROLE = "arn:aws:iam::123456789012:role/test"


def create(aws: AwsStandIn, name: str = "orders", keys: Sequence[tuple[str, str, str]] = KEYS) -> str:
    """Table, stream, bucket and Firehose; nothing streams yet. Gives the stream's ARN."""
    aws.client("dynamodb").create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, _, role in keys],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind, _ in keys],
    )  # fmt: skip
    aws.client("kinesis").create_stream(StreamName=name, ShardCount=2)
    aws.client("s3").create_bucket(Bucket="raw")
    stream_arn = f"arn:aws:kinesis:us-east-1:123456789012:stream/{name}"
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=name, DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream_arn, "RoleARN": _ROLE},
        ExtendedS3DestinationConfiguration={
            "RoleARN": _ROLE, "BucketARN": "arn:aws:s3:::raw", "Prefix": "firehose/",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60}, "CompressionFormat": "GZIP",
        },
    )  # fmt: skip
    return stream_arn


def enable(aws: AwsStandIn, stream_arn: str, name: str = "orders", precision: str = "MICROSECOND") -> str:
    """Streaming on; gives the stream's ARN back."""
    aws.client("dynamodb").enable_kinesis_streaming_destination(
        TableName=name, StreamArn=stream_arn,
        EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": precision},
    )  # fmt: skip
    return stream_arn


class Writer:
    """Puts and deletes of few items with few values, on the stand-in's clock, which moves on meanwhile."""

    def __init__(self, aws: AwsStandIn, rng: random.Random, items: int, pace_us: int) -> None:
        self.aws, self.rng, self.items, self.pace_us = aws, rng, items, pace_us
        self.client, self.lock = aws.client("dynamodb"), threading.Lock()

    def write(self, count: int = 1) -> None:
        with self.lock:
            for _ in range(count):
                rng = self.rng
                self.aws.clock.set(self.aws.clock.now_us() + rng.randrange(self.pace_us))
                key = {"pk": {"S": f"c{rng.randrange(self.items) % 5}"}, "sk": {"S": f"o{rng.randrange(self.items)}"}}
                if rng.random() < 0.3:
                    self.client.delete_item(TableName="orders", Key=key)
                else:
                    self.client.put_item(TableName="orders", Item={**key, "v": {"N": str(rng.randrange(3))}})


class Interleaved(DynamoDB):
    """DynamoDB with small pages, and others at work before and after each.

    No page is read in the very millisecond of a write, as no request of the real one is so short: what a stream in
    milliseconds tells of an item that changes and changes back in one, and is read in between, nobody can order.
    """

    def __init__(
        self, aws: AwsStandIn, page_items: int, at_work: Callable[[], None] = lambda: None,
        writer: Writer | None = None, pace: Pace | None = None,
    ) -> None:  # fmt: skip
        super().__init__(aws.client("dynamodb"), pace=pace)
        self.page_items, self.at_work, self.aws, self.scanned = page_items, at_work, aws, [0]
        self.aws_at_rest = writer.lock if writer else threading.Lock()

    def scan(self, name: str, segment: int, segments: int, start_key: str | None = None) -> Iterator[Page]:
        self.at_work()
        for page in super().scan(name, segment, segments, start_key):
            self.scanned[0] += len(page.items)
            self.at_work()
            yield page

    def _call(self, operation: str, name: str, method: str, **request: Any) -> Any:
        if method != "scan":
            return super()._call(operation, name, method, **request)
        with self.aws_at_rest:
            self.aws.clock.advance(seconds=0.002)
            limit = min(self.page_items, request.get("Limit", self.page_items))
            answer = super()._call(operation, name, method, **request | {"Limit": limit})
            self.aws.clock.advance(seconds=0.002)
        return answer
