"""An account as doctor reads it: answers of AWS as they are, each asked for once; what cannot be read is no fault."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dynalake.doctor.finding import Answer, Description, Unread
from lake.aws import aws_client, aws_faults, error_code
from lake.errors import LakeError, TransientError

if TYPE_CHECKING:
    from ingest.kinesis import Kinesis

T = TypeVar("T")
ATTEMPTS_MAX = 3  # of a request
PAGES_MAX = 20
FIREHOSES_MAX = 100  # described, for a table
FIREHOSES_AT_ONCE = 5  # and as many a second. AWS: "DescribeDeliveryStream", Amazon Data Firehose quotas
SHARDS_MAX = 16  # of which the oldest record is looked for
RECORDS_MAX = 100  # of a shard, looked at for one of the table
READS_MAX = 3  # of a shard, where they come empty
_ENABLE, _DISABLE = "EnableKinesisStreamingDestination", "DisableKinesisStreamingDestination"
_DENIED = ("AccessDenied", "Unauthorized", "NotAuthorized", "403")
# Rights that are not called as the operation is.
_RIGHTS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "sts:GetCallerIdentity": "sts:GetCallerIdentity",
}


@dataclass(frozen=True, slots=True)
class Oldest:
    """The arrival of the oldest record of a table that its stream still has, UTC microseconds; None where none was
    found. `is_all` where no shard was left out, and each was read until one was found or there was nothing more.
    """

    at_us: int | None
    is_all: bool


class Account:
    """What there is under the credentials at hand. A service that does not answer is asked once only."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], Any] = {}
        self._silent: dict[str, Unread] = {}
        self._described: set[str] = set()  # Firehoses

    def ask(self, service: str, method: str, absent: Collection[str] = (), **request: Any) -> Answer:
        """An operation's answer; None where AWS refuses with a code of `absent`."""
        key = (service, method, repr(sorted(request.items())))
        if key not in self._answers:
            operation = "".join(word.title() for word in method.split("_"))

            def read() -> Any:
                return getattr(aws_client(service, ATTEMPTS_MAX), method)(**request)

            self._answers[key] = self.attempt(service, f"{service}:{operation}", read, absent)
        answer: Answer = self._answers[key]
        return answer

    def attempt(
        self, service: str, right: str, read: Callable[[], T], absent: Collection[str] = ()
    ) -> T | Unread | None:
        """What `read` gives. `right` is what IAM calls the permission for it."""
        from botocore.exceptions import ClientError

        if service in self._silent:
            return self._silent[service]
        try:
            with aws_faults(right, ""):
                return read()
        except LakeError as fault:
            cause = fault.__cause__
            code = error_code(cause) if isinstance(cause, ClientError) else ""
            if code in absent:
                return None
            unread = _unread(fault, code, _RIGHTS.get(right, right))
            if isinstance(fault, TransientError) and not code:
                self._silent[service] = unread
            return unread
        except OSError as fault:  # of a lake in a folder
            return Unread(str(fault), "See to the permissions of the lake's folder")

    def client(self, service: str, make: Callable[[Any], T]) -> T | Unread:
        """Something that reads by a client of boto3."""
        found = self.attempt(service, f"reach {service}", lambda: make(aws_client(service, ATTEMPTS_MAX)))
        return Unread("no client", "Check the AWS settings") if found is None else found

    def region(self) -> str:
        """The Region that is asked; empty where none is set."""
        found = self.client("s3", lambda client: str(client.meta.region_name or ""))
        return "" if isinstance(found, Unread) else found

    def pages(
        self, service: str, method: str, items: str, token: tuple[str, str], pages_max: int = PAGES_MAX, **request: Any
    ) -> list[Any] | Unread:
        """The items of a listing; `token` names the field of an answer with the next page's, and of a request."""
        found: list[Any] = []
        for _ in range(pages_max):
            answer = self.ask(service, method, **request)
            if answer is None or isinstance(answer, Unread):
                return answer or []
            found += answer.get(items, ())
            if not answer.get(token[0]):
                return found
            request[token[1]] = answer[token[0]]
        return Unread(f"more than {pages_max} pages of {items}", "Look for yourself")

    def firehoses(self, stream_arn: str) -> list[Description] | Unread:
        """Those that read the stream, as DescribeDeliveryStream has them."""
        names = self._firehose_names()
        if isinstance(names, Unread):
            return names
        stream = stream_arn.rpartition("/")[2]
        names = sorted(names, key=lambda name: (stream not in name, name))  # the likely ones, where there are too many
        found = []
        for name in names[:FIREHOSES_MAX]:
            if name not in self._described and len(self._described) >= FIREHOSES_AT_ONCE:
                time.sleep(1 / FIREHOSES_AT_ONCE)
            self._described.add(name)
            answer = self.ask("firehose", "describe_delivery_stream", ("ResourceNotFoundException",),
                              DeliveryStreamName=name)  # fmt: skip
            if isinstance(answer, Unread):
                return answer
            described = (answer or {}).get("DeliveryStreamDescription", {})
            source = described.get("Source", {}).get("KinesisStreamSourceDescription", {})
            if source.get("KinesisStreamARN") == stream_arn:
                found.append(described)
        if not found and len(names) > FIREHOSES_MAX:
            return Unread(f"{len(names)} Firehoses, of which {FIREHOSES_MAX} were looked at",
                          f"Look for one of {stream} yourself")  # fmt: skip
        return found

    def _firehose_names(self) -> list[str] | Unread:
        found: list[str] = []
        request: dict[str, Any] = {"DeliveryStreamType": "KinesisStreamAsSource", "Limit": 1000}
        for _ in range(PAGES_MAX):
            answer = self.ask("firehose", "list_delivery_streams", **request)
            if answer is None or isinstance(answer, Unread):
                return answer or []
            found += answer["DeliveryStreamNames"]
            if not answer["HasMoreDeliveryStreams"]:
                break
            request["ExclusiveStartDeliveryStreamName"] = found[-1]
        return found

    def switched_at_us(self, table: str, stream_arn: str) -> tuple[int | Unread | None, int | None]:
        """When streaming into the stream was last enabled, and last disabled before that, as CloudTrail tells it; None
        where it does not.

        AWS: LookupEvents knows the management events of the last 90 days.
        """
        enabled = self._switches(_ENABLE, table, stream_arn)
        if isinstance(enabled, Unread):
            return enabled, None
        if not enabled:
            return None, None
        disabled = self._switches(_DISABLE, table, stream_arn)
        before = [] if isinstance(disabled, Unread) else [at_us for at_us in disabled if at_us < max(enabled)]
        return max(enabled), max(before, default=None)

    def _switches(self, event: str, table: str, stream_arn: str) -> list[int] | Unread:
        events = self.pages(
            "cloudtrail", "lookup_events", "Events", ("NextToken", "NextToken"), PAGES_MAX,
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": event}],
        )  # fmt: skip
        if isinstance(events, Unread):
            return events
        return [round(one["EventTime"].timestamp() * 1e6) for one in events if is_switching(one, table, stream_arn)]

    def oldest_record(self, stream_arn: str, table: str) -> Oldest | Unread:
        """Costs a read or a few of each shard, of the five a second that all who read it share."""
        from ingest.kinesis import Kinesis

        kinesis = Kinesis(stream_arn)
        found = self.attempt("kinesis", "kinesis:GetRecords", lambda: _oldest(kinesis, table))
        return Unread("no answer", "Run it again") if found is None else found

    def last_beat_us(self, lake_uri: str, stream_arn: str, lease_table: str) -> int | Unread | None:
        """When a process of `consume` that reads the stream into this lake last gave a sign of life; None where none
        ever did.
        """
        from ingest.consume import consumer_of
        from ingest.kinesis import Kinesis
        from ingest.lease_table import LeaseTable

        def read() -> int | None:
            consumer = consumer_of(lake_uri, Kinesis(stream_arn, aws_client("kinesis", ATTEMPTS_MAX)))
            leases = LeaseTable(lease_table, consumer, lambda: 0)
            return max((one.beat_us for one in leases.all().values()), default=None)

        return self.attempt("dynamodb", "dynamodb:Query", read, ("ResourceNotFoundException",))


def _oldest(kinesis: Kinesis, table: str) -> Oldest:
    from ingest.leases import TRIM_HORIZON

    shards = kinesis.shards()
    times, is_all = [], len(shards) <= SHARDS_MAX
    for shard in shards[:SHARDS_MAX]:
        iterator: str | None = kinesis.iterator(shard.shard_id, TRIM_HORIZON)
        for n in range(READS_MAX):
            if iterator is None:
                break
            if n:
                time.sleep(0.2)
            answer = kinesis.read(shard.shard_id, iterator, RECORDS_MAX)
            ours = [one.arrived_us for one in answer.records if _is_of(one.data, table)]
            times += ours[:1]
            if ours or (not answer.behind_ms and len(answer.records) < RECORDS_MAX):
                break
            iterator = answer.next_iterator
        else:
            is_all = False
    return Oldest(min(times, default=None), is_all)


def _is_of(data: bytes, table: str) -> bool:
    try:
        record = json.loads(data)
    except ValueError:
        return False
    return isinstance(record, dict) and record.get("tableName") == table


def _unread(fault: LakeError, code: str, right: str) -> Unread:
    reason = (fault.got or str(fault))[:200]
    if any(code.startswith(one) for one in _DENIED):
        return Unread(f"no right to {right}", f"Give the role that runs doctor {right}, or ask who has it")
    if "NotImplemented" in reason:
        return Unread(f"{right} is not answered here", "Nothing: a stand-in does not have it; AWS does")
    return Unread(reason, fault.remedy or "Run it again")


def is_switching(event: Description, table: str, stream_arn: str) -> bool:
    try:
        told = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return False
    asked = told.get("requestParameters") or {}
    name = str(asked.get("tableName", "")).rpartition("/")[2]
    return not told.get("errorCode") and name == table and asked.get("streamArn") == stream_arn
