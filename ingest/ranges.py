"""A range of a shard, read again: of a Kinesis stream, or of a native DynamoDB stream.

Both ends are in the range. What has left the stream's retention is told once all else has been given.

AWS: GetShardIterator and GetRecords in the API references of Kinesis Data Streams and of DynamoDB Streams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from ingest.capture import StreamRecord
from ingest.events import created_us
from ingest.failures import FailedBatch
from ingest.kinesis import RECORDS_MAX, Answer, IteratorExpired, Kinesis, PositionUnknown, ShardGone
from ingest.leases import TRIM_HORIZON
from lake.aws import answer_of, aws_client, aws_faults, error_code, take_as_text
from lake.errors import ConfigError, LakeError, TransientError

EMPTY_ANSWERS_MAX = 10  # in a row: an answer may be empty though there is more
ARN_COLONS = 5
EMPTY_SECONDS = 0.25  # before the next: five reads of a shard a second are allowed
STREAMS_RECORDS_MAX = 1_000  # of one answer, as AWS has it


class RecordsMissing(LakeError):
    """Records of the range are no more in the stream, or it cannot be read; those that were read were given."""


class _Stream(Protocol):
    def iterator(self, shard_id: str, position: str, is_inclusive: bool = False) -> str: ...

    def read(self, shard_id: str, iterator: str, limit: int) -> Answer: ...


def read_range(batch: FailedBatch, sleep: Callable[[float], None] = time.sleep) -> Iterator[list[StreamRecord]]:
    """The records of a batch in their order, an answer at a time.

    Raises RecordsMissing at the end, also where AWS does not let this stream be read; TransientError.
    """
    first, last, found = int(batch.first), int(batch.last), 0
    newest: int | None = None
    oldest: int | None = None
    why = ""
    try:
        stream = _stream(batch)
        for records in _answers(stream, batch, sleep):
            after = first - 1 if newest is None else newest  # reading may begin anew in between
            ours = [one for one in records if after < int(one.sequence_number) <= last]
            if ours:
                oldest = oldest or int(ours[0].sequence_number)
                newest = int(ours[-1].sequence_number)
                found += len(ours)
                yield ours
            if records and int(records[-1].sequence_number) >= last:
                break
    except (ShardGone, PositionUnknown) as fault:
        why = f" ({fault.got})"
    except TransientError:
        raise
    except LakeError as fault:
        raise RecordsMissing("read again", batch.place, expected=fault.expected or "a stream that may be read",
                             got=fault.got, remedy=fault.remedy) from fault  # fmt: skip
    if oldest == first and newest == last and found >= batch.records:
        return
    missing = max(batch.records - found, 1)
    raise RecordsMissing(
        "read again", batch.place,
        expected=f"{batch.records} records, which arrived from {batch.first_arrived} to {batch.last_arrived}",
        got=f"{found}, so that {missing} are missing{why}",
        remedy="They have left the stream's retention, or it was made anew: verify names the items",
    )  # fmt: skip


def _stream(batch: FailedBatch) -> _Stream:
    """Raises ConfigError where it is of another Region than clients are: there it would look as if it were gone."""
    arn, is_native = batch.stream_arn, batch.surface == "streams"
    client = aws_client("dynamodbstreams" if is_native else "kinesis")  # whose attempts are as many as everywhere
    region = arn.split(":")[3] if arn.count(":") >= ARN_COLONS else client.meta.region_name
    if region != client.meta.region_name:
        raise ConfigError("read again", arn, expected=f"clients of {region}", got=f"of {client.meta.region_name}",
                          remedy=f"Run it again with AWS_DEFAULT_REGION={region}")  # fmt: skip
    return NativeStream(arn, client) if is_native else Kinesis(arn, client)


def _answers(stream: _Stream, batch: FailedBatch, sleep: Callable[[float], None]) -> Iterator[list[StreamRecord]]:
    """Answers from the start of the range, or from the oldest record where that is trimmed, for as long as any come."""
    shard_id, position, is_inclusive = batch.shard_id, batch.first, True
    iterator: str | None = None
    empty = 0
    while empty < EMPTY_ANSWERS_MAX:
        try:
            iterator = iterator or stream.iterator(shard_id, position, is_inclusive)
            answer = stream.read(shard_id, iterator, RECORDS_MAX)
        except IteratorExpired:
            iterator = None
            continue
        except PositionUnknown:
            if position == TRIM_HORIZON:
                raise
            position, iterator = TRIM_HORIZON, None
            continue
        if answer.records:
            yield list(answer.records)
            position, is_inclusive, empty = answer.records[-1].sequence_number, False, 0
        else:
            empty += answer.behind_ms == 0  # else there is more, behind a stretch of the shard that holds nothing
            sleep(EMPTY_SECONDS)
        iterator = answer.next_iterator
        if iterator is None:
            return


class _Records(msgspec.Struct):
    Records: list[dict[str, Any]] = []
    NextShardIterator: str | None = None


_RECORDS = msgspec.json.Decoder(_Records)


class NativeStream:
    """A native DynamoDB stream by its ARN; records come as a Lambda function is given them."""

    def __init__(self, arn: str, client: Any) -> None:
        self._arn, self._client = arn, client
        take_as_text(self._client, "dynamodb-streams", "GetRecords")

    def iterator(self, shard_id: str, position: str, is_inclusive: bool = False) -> str:
        """Where reading goes on behind a sequence number (or at it), or at the oldest record for TRIM_HORIZON."""
        place = {"ShardIteratorType": TRIM_HORIZON}
        if position != TRIM_HORIZON:
            kind = "AT_SEQUENCE_NUMBER" if is_inclusive else "AFTER_SEQUENCE_NUMBER"
            place = {"ShardIteratorType": kind, "SequenceNumber": position}
        return str(self._ask("get_shard_iterator", StreamArn=self._arn, ShardId=shard_id, **place)["ShardIterator"])

    def read(self, shard_id: str, iterator: str, limit: int) -> Answer:
        """The next records. Raises IteratorExpired, PositionUnknown where they are trimmed, ShardGone."""
        raw = self._ask("get_records", ShardIterator=iterator, Limit=min(limit, STREAMS_RECORDS_MAX))
        answer = answer_of(raw, _RECORDS, "DynamoDB Streams")
        records = [self._record(one) for one in answer.Records]
        return Answer(records, answer.NextShardIterator, 0, sum(len(one.data) for one in records))

    def _record(self, found: dict[str, Any]) -> StreamRecord:
        """As in an event of Lambda: with the stream's ARN, an identity's names in small, times in whole seconds."""
        record = {**found, "eventSourceARN": self._arn}
        if isinstance(identity := found.get("userIdentity"), dict):
            record["userIdentity"] = {name[:1].lower() + name[1:]: value for name, value in identity.items()}
        body = found["dynamodb"]
        if isinstance(created := body.get("ApproximateCreationDateTime"), float):
            record["dynamodb"] = body | {"ApproximateCreationDateTime": int(created)}
        return StreamRecord(msgspec.json.encode(record), str(body.get("SequenceNumber", "")), created_us(record, 0))

    def _ask(self, operation: str, **request: Any) -> Any:
        from botocore.exceptions import ClientError

        try:
            with aws_faults("read shard", f"{self._arn} {request.get('ShardId', '')}"):
                return getattr(self._client, operation)(**request)
        except LakeError as fault:
            cause = fault.__cause__
            code = error_code(cause) if isinstance(cause, ClientError) else ""
            kinds = {"ExpiredIteratorException": IteratorExpired, "TrimmedDataAccessException": PositionUnknown,
                     "ResourceNotFoundException": ShardGone}  # fmt: skip
            if code in kinds:
                raise kinds[code]("read shard", self._arn, got=fault.got) from cause
            raise
