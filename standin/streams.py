"""Native DynamoDB Streams: a table's changes as the records of a Lambda event.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from collections.abc import Iterable
from operator import attrgetter
from random import Random
from typing import Any

from standin.faults import Faults, Report
from standin.history import Change, Table
from standin.size import image_size

_SEQUENCE_DIGITS_MIN = 21
_SEQUENCE_DIGITS_MAX = 40
_STREAM_LABEL = "2013-01-01T00:00:00.000"
_TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def stream_records(
    history: Table | Iterable[Change],
    *,
    seed: int,
    faults: Faults | None = None,
    report: Report | None = None,
    region: str = "us-east-1",
    account: str = "123456789012",
) -> list[dict[str, Any]]:
    """The records as a Lambda function is given them, in the order it is given them.

    The stream itself holds each change once, in order, so of the faults only ``duplicates`` is at work: some
    records are given again, a little later. Binary values are encoded once, and the time is in whole seconds.
    """
    faults = faults or Faults.none()
    report = report if report is not None else Report()
    changes = history.changes if isinstance(history, Table) else list(history)
    random = Random(f"{seed}/streams")
    report.changes += len(changes)
    given: list[tuple[int, dict[str, Any]]] = []
    for position, change in enumerate(sorted(changes, key=attrgetter("at_us"))):
        record = _record(change, region, account)
        given.append((position, record))
        if random.random() < faults.duplicates:
            given.append((position + random.randint(1, max(1, faults.disorder_records)), record))
            report.duplicates.append(change.event_id)
    given.sort(key=lambda entry: entry[0])
    report.records += len(given)
    return [record for _, record in given]


def _record(change: Change, region: str, account: str) -> dict[str, Any]:
    dynamodb: dict[str, Any] = {
        "ApproximateCreationDateTime": change.at_us // 1_000_000,
        "Keys": change.keys,
    }
    if change.new is not None:
        dynamodb["NewImage"] = change.new
    if change.old is not None:
        dynamodb["OldImage"] = change.old
    dynamodb["SequenceNumber"] = _sequence_number(change)
    dynamodb["SizeBytes"] = sum(image_size(image) for image in (change.keys, change.new, change.old) if image)
    dynamodb["StreamViewType"] = "NEW_AND_OLD_IMAGES"
    record: dict[str, Any] = {
        "eventID": change.event_id,
        "eventName": change.op,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": dynamodb,
        "eventSourceARN": f"arn:aws:dynamodb:{region}:{account}:table/{change.table}/stream/{_STREAM_LABEL}",
    }
    if change.ttl:
        record["userIdentity"] = _TTL_IDENTITY
    return record


def _sequence_number(change: Change) -> str:
    """A number rising with the table's changes, 21 to 40 digits long: as text it would sort wrongly.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
    """
    digits = min(_SEQUENCE_DIGITS_MIN + change.ordinal.bit_length(), _SEQUENCE_DIGITS_MAX)
    return str(10 ** (digits - 1) + change.ordinal * 10**13 + int(change.event_id[:8], 16))
