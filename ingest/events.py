"""Records in the events that AWS gives to Lambda functions, and keeps of them where the functions fail. Pure.

AWS: "Using AWS Lambda with Amazon Kinesis" and "… with DynamoDB Streams", "Data transformation" in the Firehose guide.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import msgspec

from ingest.capture import Origin, StreamRecord
from lake.errors import ConfigError


def records_of(given: list[dict[str, Any]], now_us: int) -> tuple[Origin, list[StreamRecord]]:
    """The records of an event source mapping's batch, all of one shard, and where they come from.

    `now_us` dates what does not say when it was made. Raises ConfigError.
    """
    first = given[0]
    if first.get("eventSource") not in ("aws:kinesis", "aws:dynamodb"):
        raise ConfigError("capture", "an event", expected="records of a Kinesis or DynamoDB stream",
                          got=str(first.get("eventSource") or first.get("EventSource")),
                          remedy="See what invokes the function")  # fmt: skip
    stream = name_of(first["eventSourceARN"])
    if "kinesis" not in first:  # native DynamoDB Streams: each is the change itself, and the shard is not told
        return Origin(stream), [
            StreamRecord(msgspec.json.encode(one), one["dynamodb"]["SequenceNumber"], created_us(one, now_us))
            for one in given
        ]
    records = [
        StreamRecord(
            base64.b64decode(one["kinesis"]["data"]), one["kinesis"]["sequenceNumber"],
            round(one["kinesis"]["approximateArrivalTimestamp"] * 1e6),
        )
        for one in given
    ]  # fmt: skip
    return Origin(stream, first["eventID"].rpartition(":")[0]), records


def created_us(record: dict[str, Any], now_us: int) -> int:
    created = record["dynamodb"].get("ApproximateCreationDateTime")
    return round(created * 1e6) if isinstance(created, int | float) else now_us


def firehose_record(given: dict[str, Any]) -> tuple[str, StreamRecord]:
    """Shard and record; a producer that puts into Firehose itself gives neither shard nor number."""
    metadata = given.get("kinesisRecordMetadata") or {}
    arrived = metadata.get("approximateArrivalTimestamp") or given.get("approximateArrivalTimestamp") or 0
    if isinstance(arrived, str):  # some samples of AWS have it so
        arrived = datetime.fromisoformat(arrived).timestamp() * 1_000
    data = base64.b64decode(given["data"])
    number = metadata.get("sequenceNumber") or ""
    return metadata.get("shardId") or "", StreamRecord(data, number, round(arrived * 1_000))


def name_of(arn: str) -> str:
    """The name in an ARN: of a Kinesis or delivery stream, or of the table that a DynamoDB stream is of."""
    return arn.split(":", 5)[-1].split("/")[1]
