"""What Lambda makes of a stream's records: the events that it invokes with, and what it says of those it gives up.

Also what a role without a right is answered.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session

from tests.test_handlers import Json, event


def number_of(record: Json) -> str:
    """The sequence number of a record as GetRecords gives it, of either kind of stream."""
    return str(record["SequenceNumber"] if "SequenceNumber" in record else record["dynamodb"]["SequenceNumber"])


def event_of(arn: str, shard_id: str, records: Sequence[Json]) -> Json:
    """A mapping's batch. AWS Lambda Developer Guide: "Using AWS Lambda with Amazon Kinesis", "… DynamoDB Streams"."""
    if ":dynamodb:" in arn:
        return {"Records": [_native(one, arn) for one in records]}
    whole = event("kinesis_event_source_mapping")
    given = whole["Records"][0]
    whole["Records"] = [
        {**given, "eventID": f"{shard_id}:{number_of(one)}", "eventSourceARN": arn, "kinesis": {
            **given["kinesis"], "sequenceNumber": number_of(one), "partitionKey": one["PartitionKey"],
            "data": base64.b64encode(one["Data"]).decode(),
            "approximateArrivalTimestamp": one["ApproximateArrivalTimestamp"].timestamp(),
        }} for one in records
    ]  # fmt: skip
    return whole


def failure_of(arn: str, shard_id: str, records: Sequence[Json]) -> Json:
    """What goes to an on-failure destination for a batch that is given up."""
    is_native = ":dynamodb:" in arn
    whole = event("lambda_dynamodb_failure" if is_native else "lambda_kinesis_failure")
    whole["DDBStreamBatchInfo" if is_native else "KinesisBatchInfo"] |= {
        "streamArn": arn, "shardId": shard_id, "batchSize": len(records),
        "startSequenceNumber": number_of(records[0]), "endSequenceNumber": number_of(records[-1]),
    }  # fmt: skip
    return whole


@contextmanager
def denied(services: Sequence[str]) -> Iterator[None]:
    """Every request to these services is answered as to a role without the right."""
    send = URLLib3Session.send

    def refuse(self: URLLib3Session, request: Any) -> Any:
        signed = str(request.headers.get("Authorization", b""))
        if not any(f"/{service}/aws4_request" in signed for service in services):
            return send(self, request)
        body = (
            b'{"__type":"AccessDeniedException","Message":"is not authorized to perform this"}'
            if "/glue/" in signed
            else b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        )
        answer = AWSResponse(request.url, 400 if "/glue/" in signed else 403, {}, None)
        answer._content = body
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(URLLib3Session, "send", refuse)
        yield


def _native(record: Json, arn: str) -> Json:
    """A record of GetRecords as Lambda gives it: its time as a number, in whole seconds."""
    body = dict(record["dynamodb"])
    body["ApproximateCreationDateTime"] = float(int(body["ApproximateCreationDateTime"].timestamp()))
    return {**record, "dynamodb": json.loads(json.dumps(body)), "eventSourceARN": arn}
