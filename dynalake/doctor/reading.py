"""What doctor reads of one table, and of the lake: put together from an account, and from the lake itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynalake.doctor import consumers, firehoses, permissions, tables
from dynalake.doctor.account import Account, Oldest
from dynalake.doctor.finding import Answer, Description, Unread
from dynalake.doctor.firehoses import Began
from lake import layout
from lake.config import TableConfig
from lake.dead_letters import Ids
from lake.dynamodb import DescribedTable, DynamoDB
from lake.lake import Lake
from lake.proofs import Proof, last_proof
from lake.redrives import count_open, redriven_ids
from lake.s3 import split

ALARM_PAGES_MAX = 200  # of a hundred: a table has some thirty alarms, an account hundreds of tables
_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NO_BUCKET = ("NoSuchBucket",)


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue with its attributes."""

    name: str
    url: str
    attributes: Answer


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read for one table. `functions` are by ARN, `failed` (objects of failures) by place."""

    table: TableConfig
    described: DescribedTable | Unread | None
    expires_by: str | Unread | None
    destinations: Answer
    proof: Proof | Unread | None
    stream_arn: str | None
    stream: Answer = None
    began: Began | None = None
    firehoses: Sequence[Description] | Unread = ()
    mappings: Sequence[Description] | Unread = ()
    functions: Mapping[str, Answer] = field(default_factory=dict)
    beat_us: int | Unread | None = None
    queues: Sequence[Queue] = ()
    failed: Mapping[str, Answer] = field(default_factory=dict)


def see_table(account: Account, lake: Lake, table: TableConfig, lease_table: str) -> Seen:
    """Reads the table, its stream and who reads that."""
    name, dynamodb = table.dynamodb_name, account.client("dynamodb", DynamoDB)
    described: DescribedTable | Unread | None
    expires_by: str | Unread | None
    if isinstance(dynamodb, Unread):
        described = expires_by = dynamodb
    else:
        described = account.attempt("dynamodb", "dynamodb:DescribeTable", lambda: dynamodb.describe(name),
                                    ("ResourceNotFoundException",))  # fmt: skip
        expires_by = account.attempt("dynamodb", "dynamodb:DescribeTimeToLive", lambda: dynamodb.time_to_live(name),
                                     ("ResourceNotFoundException",))  # fmt: skip
    destinations: Answer = None
    if table.surface == "kds":
        destinations = account.ask("dynamodb", "describe_kinesis_streaming_destination",
                                   ("ResourceNotFoundException",), TableName=name)  # fmt: skip
    proof = account.attempt("lake", "read the lake", lambda: last_proof(lake, table.name))
    arn = tables.stream_of(table, described, destinations)
    seen = Seen(table, described, expires_by, destinations, proof, arn)
    return seen if arn is None else _see_stream(account, lake, seen, arn, lease_table)


def _see_stream(account: Account, lake: Lake, seen: Seen, arn: str, lease_table: str) -> Seen:
    table, stream, began = seen.table, None, None
    found: Sequence[Description] | Unread = ()
    beat_us: int | Unread | None = None
    if table.surface == "kds":
        stream = account.ask("kinesis", "describe_stream_summary", ("ResourceNotFoundException",), StreamARN=arn,
                             StreamName=arn.rpartition("/")[2])  # fmt: skip
        if stream is not None:
            reading = account.firehoses(arn)
            found = reading if isinstance(reading, Unread) else firehoses.of_lake(lake, reading)
            beat_us = account.last_beat_us(lake.uri, arn, lease_table)
        if isinstance(stream, dict):
            has_firehose = bool(found) and not isinstance(found, Unread)
            began = _began(account, seen, arn, stream["StreamDescriptionSummary"], has_firehose)
    mappings = account.pages("lambda", "list_event_source_mappings", "EventSourceMappings", ("NextMarker", "Marker"),
                             EventSourceArn=arn)  # fmt: skip
    functions = _functions(account, found, mappings)
    ours = [] if isinstance(mappings, Unread) else consumers.ours(mappings, functions)
    failures = {told for one in ours if (told := consumers.destination_of(one)) and ":sqs:" in told}
    return Seen(
        table, seen.described, seen.expires_by, seen.destinations, seen.proof, arn, stream, began, found, mappings,
        functions, beat_us, [_queue(account, one) for one in sorted(failures)], _failed(account, found, ours),
    )  # fmt: skip


def _began(account: Account, seen: Seen, arn: str, summary: Description, has_firehose: bool) -> Began:
    """Records are read only where a Firehose may be younger than they are."""
    name = seen.table.dynamodb_name
    enabled_us, disabled_us = account.switched_at_us(name, arn)
    oldest: Oldest | Unread = Oldest(None, False)
    if has_firehose and not isinstance(enabled_us, int):
        oldest = account.oldest_record(arn, name)
    proven_us = None
    if isinstance(seen.proof, Proof) and not seen.proof.differing and not seen.proof.unproven and not seen.proof.sample:
        proven_us = seen.proof.verified_through_us
    made_us = round(summary["StreamCreationTimestamp"].timestamp() * 1e6)
    return Began(enabled_us, oldest, made_us, summary["RetentionPeriodHours"] * 3_600_000_000, proven_us, disabled_us)


def _functions(
    account: Account, found: Sequence[Description] | Unread, mappings: Sequence[Description] | Unread
) -> dict[str, Answer]:
    arns = {str(one["FunctionArn"]) for one in mappings} if not isinstance(mappings, Unread) else set()
    if not isinstance(found, Unread):
        arns |= {arn for one in found if (arn := firehoses.transformation_of(one))}
    return {
        arn: account.ask("lambda", "get_function_configuration", ("ResourceNotFoundException",), FunctionName=arn)
        for arn in sorted(arns)
    }


def _queue(account: Account, arn: str) -> Queue:
    _, _, _, _, owner, name = arn.split(":", 5)
    told = account.ask("sqs", "get_queue_url", _NO_QUEUE, QueueName=name, QueueOwnerAWSAccountId=owner)
    if not isinstance(told, dict):
        return Queue(name, arn, told)
    return queue_at(account, told["QueueUrl"])


def queue_at(account: Account, url: str) -> Queue:
    """A queue by its URL."""
    attributes = account.ask("sqs", "get_queue_attributes", _NO_QUEUE, QueueUrl=url, AttributeNames=["All"])
    return Queue(url.rpartition("/")[2], url, attributes)


def _failed(account: Account, found: Sequence[Description] | Unread, ours: Sequence[Description]) -> dict[str, Answer]:
    """A first object of each place where failures are kept: of Firehose's transformations, and of Lambda's batches."""
    places = []
    if not isinstance(found, Unread):
        places += [firehoses.error_place(one) for one in found if firehoses.transformation_of(one)]
    for one in ours:
        destination = consumers.destination_of(one) or ""
        if ":s3:::" in destination:
            places.append((destination.rpartition(":::")[2], f"aws/lambda/{one['UUID']}/"))
    return {
        f"s3://{bucket}/{prefix}": account.ask("s3", "list_objects_v2", _NO_BUCKET, Bucket=bucket, Prefix=prefix,
                                               MaxKeys=1)
        for bucket, prefix in places
    }  # fmt: skip


def alarms_of(account: Account) -> tuple[list[Description] | Unread, list[Description]]:
    """Metric alarms, and composite ones."""
    token = ("NextToken", "NextToken")
    found = account.pages("cloudwatch", "describe_alarms", "MetricAlarms", token, ALARM_PAGES_MAX,
                          AlarmTypes=["MetricAlarm"], MaxRecords=100)  # fmt: skip
    composites = account.pages("cloudwatch", "describe_alarms", "CompositeAlarms", token, ALARM_PAGES_MAX,
                               AlarmTypes=["CompositeAlarm"], MaxRecords=100)  # fmt: skip
    return found, [] if isinstance(composites, Unread) else composites


def bucket_of(account: Account, bucket: str) -> dict[str, Answer]:
    """What the checks of a bucket are about."""

    def ask(method: str, *absent: str) -> Answer:
        return account.ask("s3", method, absent, Bucket=bucket)

    return {
        "location": ask("get_bucket_location", *_NO_BUCKET),
        "versioning": ask("get_bucket_versioning"),
        "public": ask("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
        "encryption": ask("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        "lifecycle": ask("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    }


def compacted_at_us(account: Account, lake: Lake, table: TableConfig) -> int | Unread | None:
    """When the change log was last written to; None where there is none. The catalog is not opened: that makes one."""
    log = layout.log_table(table.name)
    if not lake.is_on_s3:
        folder = Path(lake.root, layout.WAREHOUSE, layout.NAMESPACE, log, "metadata")
        return account.attempt(
            "lake", "read the lake", lambda: folder.stat().st_mtime_ns // 1_000 if folder.is_dir() else None
        )
    if lake.config.catalog.get("type") != "glue":
        return Unread("the catalog is not Glue", "dynalake status tells the newest change")
    told = account.ask("glue", "get_table", ("EntityNotFoundException",), DatabaseName=lake.config.catalog["database"],
                       Name=log)  # fmt: skip
    if not isinstance(told, dict):
        return told
    at = told["Table"].get("UpdateTime") or told["Table"].get("CreateTime")
    return Unread("Glue does not tell", "dynalake status") if at is None else round(at.timestamp() * 1e6)


def redriven(account: Account, lake: Lake) -> Ids | Unread:
    """The ids of dead letters that were redriven."""
    found = account.attempt("lake", "read the lake", lambda: redriven_ids(lake))
    return Unread("no answer", "Run it again") if found is None else found


def open_letters(account: Account, lake: Lake, table: str | None, done: Ids | Unread) -> int | Unread | None:
    """How many dead letters are open, of a table by its name in the lake or of no table."""
    if isinstance(done, Unread):
        return done
    return account.attempt("lake", "read the lake", lambda: count_open(lake, table, done))


def denied_to(account: Account, role: str, lake: Lake, seen: Seen) -> dict[str, list[tuple[str, str]]] | Unread:
    """What a role may not do, by job: each action with the kind of resource."""
    place = _place(account, role, lake, seen)
    resources = permissions.resources_of(place)
    needed: dict[str, set[str]] = {}
    for needs in permissions.JOBS.values():
        for need in needs:
            needed.setdefault(need.resource, set()).update(need.actions)
    prefix = {"ContextKeyName": "s3:prefix", "ContextKeyValues": [f"{place.prefix}/raw/"], "ContextKeyType": "string"}
    denied = set()
    for kind, actions in needed.items():
        arns = resources.get(kind, [])
        if not arns:
            continue
        told = account.ask(
            "iam", "simulate_principal_policy", PolicySourceArn=role, ActionNames=sorted(actions), ResourceArns=arns,
            ContextEntries=[prefix] if kind == "bucket" else [], MaxItems=1000,
        )  # fmt: skip
        if not isinstance(told, dict):
            return told or Unread("no answer", "Run it again")
        denied |= {(action, kind) for action in permissions.denied_in(told)}
    return {
        job: [(action, need.resource) for need in needs for action in need.actions if (action, need.resource) in denied]
        for job, needs in permissions.JOBS.items()
    }


def _place(account: Account, role: str, lake: Lake, seen: Seen) -> permissions.Place:
    _, partition, _, _, owner, _ = role.split(":", 5)
    bucket, prefix = split(lake.uri) if lake.is_on_s3 else ("", "")
    queues = [f"arn:{partition}:sqs:{account.region()}:{owner}:{one.name}" for one in seen.queues]
    return permissions.Place(
        partition, account.region(), owner, bucket, prefix, lake.config.catalog.get("database", ""),
        seen.table.dynamodb_name, seen.stream_arn or "", queues,
    )  # fmt: skip
