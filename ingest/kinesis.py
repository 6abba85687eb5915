"""A Kinesis stream as the consumer reads it: its shards with their parents, and their records past boto3's parser.

AWS: "GetRecords", "ListShards" and "Quotas and limits" in the Kinesis Data Streams API reference and guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from ingest.capture import StreamRecord
from ingest.leases import TRIM_HORIZON, Shard
from lake.aws import answer_of, aws_client, aws_faults, error_code, take_as_text
from lake.errors import LakeError, TransientError

RECORDS_MAX = 10_000  # of one answer, as AWS has it; or 10 MB
READS_A_SECOND = 5.0  # of a shard, by all who read it
BYTES_A_SECOND = 2_000_000
_ATTEMPTS = 1  # who reads waits by itself, and knows how long


class IteratorExpired(TransientError):
    """An iterator lives five minutes: a new one goes on from where it was."""


class PositionUnknown(LakeError):
    """The shard knows nothing of a checkpoint: what was behind it may have left the stream's retention."""


class ShardGone(LakeError):
    """The stream has no such shard any more."""


@dataclass(frozen=True, slots=True)
class Described:
    """A stream. `created` tells it from one deleted and made anew under its name."""

    name: str
    arn: str
    created: int
    retention_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a read gave. `next_iterator` is None at the end of a closed shard; `behind_ms` of the newest record."""

    records: Sequence[StreamRecord]
    next_iterator: str | None
    behind_ms: int
    size: int


class _Record(msgspec.Struct, gc=False):
    SequenceNumber: str
    Data: bytes
    ApproximateArrivalTimestamp: float = 0.0


class _Records(msgspec.Struct):
    Records: list[_Record] = []
    NextShardIterator: str | None = None
    MillisBehindLatest: int | None = None


_RECORDS = msgspec.json.Decoder(_Records)


class Kinesis:
    """One stream; may be shared by threads. Raises ConfigError where it is not there, TransientError for a while.

    Who reads records waits by himself between attempts; what is asked once is tried as often as everywhere.
    """

    def __init__(self, stream: str, client: Any = None) -> None:
        self.stream = stream
        self._described: Described | None = None
        self._describing = client or aws_client("kinesis")
        self._client = client or aws_client("kinesis", attempts=_ATTEMPTS)
        take_as_text(self._client, "kinesis", "GetRecords")

    def describe(self) -> Described:
        """The stream as it was when it was first asked for."""
        if self._described is None:
            self._described = self._describe()
        return self._described

    def _describe(self) -> Described:
        with aws_faults("describe stream", self.stream):
            found = self._describing.describe_stream_summary(**self._name())["StreamDescriptionSummary"]
        created, hours = int(found["StreamCreationTimestamp"].timestamp()), found["RetentionPeriodHours"]
        return Described(found["StreamName"], found["StreamARN"], created, hours * 3_600_000)

    def shards(self) -> list[Shard]:
        """Every shard within the stream's retention, open or closed."""
        found: list[Shard] = []
        request: dict[str, Any] = self._name()
        with aws_faults("list shards of", self.stream):
            while True:
                answer = self._describing.list_shards(**request)
                for one in answer["Shards"]:
                    parents = (one.get("ParentShardId"), one.get("AdjacentParentShardId"))
                    found.append(Shard(one["ShardId"], tuple(parent for parent in parents if parent)))
                if not answer.get("NextToken"):
                    return found
                request = {"NextToken": answer["NextToken"]}

    def iterator(self, shard_id: str, position: str, is_inclusive: bool = False) -> str:
        """Where reading goes on behind a sequence number (or at it), or at the oldest record for TRIM_HORIZON."""
        place = {"ShardIteratorType": "TRIM_HORIZON"}
        if position != TRIM_HORIZON:
            kind = "AT_SEQUENCE_NUMBER" if is_inclusive else "AFTER_SEQUENCE_NUMBER"
            place = {"ShardIteratorType": kind, "StartingSequenceNumber": position}
        with self._faults(shard_id):
            return str(self._client.get_shard_iterator(**self._name(), ShardId=shard_id, **place)["ShardIterator"])

    def read(self, shard_id: str, iterator: str, limit: int) -> Answer:
        """The next records, at most `limit` of them. Raises IteratorExpired."""
        with self._faults(shard_id):
            raw = self._client.get_records(ShardIterator=iterator, Limit=limit)
        answer = answer_of(raw, _RECORDS, "Kinesis")
        records = [
            StreamRecord(one.Data, one.SequenceNumber, round(one.ApproximateArrivalTimestamp * 1e6))
            for one in answer.Records
        ]
        size = sum(len(one.data) for one in records)
        return Answer(records, answer.NextShardIterator, answer.MillisBehindLatest or 0, size)

    @contextmanager
    def _faults(self, shard_id: str) -> Iterator[None]:
        from botocore.exceptions import ClientError

        place = f"{self.stream} {shard_id}"
        try:
            with aws_faults("read shard", place):
                yield
        except LakeError as fault:
            cause = fault.__cause__
            code = error_code(cause) if isinstance(cause, ClientError) else ""
            if code == "ExpiredIteratorException":
                raise IteratorExpired("read shard", place, got=fault.got) from cause
            if code == "InvalidArgumentException":
                raise PositionUnknown(
                    "read shard", place, expected="a checkpoint that it knows", got=fault.got
                ) from cause
            if code == "ResourceNotFoundException":
                raise ShardGone("read shard", place, expected="it to be there until all of it is read", got=fault.got,
                                remedy="Changes may be missing: run verify") from cause  # fmt: skip
            raise

    def _name(self) -> dict[str, Any]:
        if not self.stream.startswith("arn:"):
            return {"StreamName": self.stream}
        return {"StreamARN": self.stream, "StreamName": self.stream.rpartition("/")[2]}  # AWS takes either, or both
