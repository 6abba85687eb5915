"""All checks of some tables of a lake, over what was read of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dynalake.doctor import alarms, buckets, consumers, firehoses, lakes, permissions, queues, reading, streams, tables
from dynalake.doctor.account import Account
from dynalake.doctor.finding import Answer, Finding, Unread, judged, unknown
from dynalake.doctor.functions import function_name
from dynalake.doctor.reading import Seen
from lake.config import TableConfig
from lake.dead_letters import Ids
from lake.dynamodb import DescribedTable
from lake.lake import Lake
from lake.proofs import Proof
from lake.s3 import split


def examine(
    lake: Lake, chosen: Sequence[TableConfig], now_us: int, lease_table: str, role: str | None = None
) -> Iterator[Finding]:
    """Every finding, table by table, then those of the lake. `role` is whose rights are simulated; without, the
    caller's own. What cannot be read makes its checks unknown; nothing is written.
    """
    account = Account()
    who, done = _identity(account, role), reading.redriven(account, lake)
    found, composites = reading.alarms_of(account)
    watching = alarms.by_metric(found)
    for table in chosen:
        seen = reading.see_table(account, lake, table, lease_table)
        yield from _check_capture(lake, seen, now_us)
        yield from _check_failures(seen)
        yield from alarms.check_alarms(table.name, _watched(lake, seen), watching, composites)
        yield from _check_rights(account, lake, seen, who)
        yield lakes.check_compaction(table.name, reading.compacted_at_us(account, lake, table), now_us)
        yield lakes.check_proof(table.name, seen.proof, now_us)
        yield lakes.check_dead_letters(table.name, reading.open_letters(account, lake, table.name, done))
    yield from _check_lake(account, lake, done)


def _check_capture(lake: Lake, seen: Seen, now_us: int) -> Iterator[Finding]:
    table = seen.table
    proven_id = seen.proof.table_id if isinstance(seen.proof, Proof) else ""
    yield from tables.check_table(table, seen.described, proven_id, seen.expires_by)
    if table.surface == "streams" and isinstance(seen.described, DescribedTable):
        yield tables.check_native_stream(table, seen.described)
    elif table.surface == "kds" and seen.described is not None:
        yield from tables.check_streaming(table, seen.destinations)
    if seen.stream_arn is None:
        return
    retention_seconds: int | None = consumers.NATIVE_RETENTION_SECONDS
    if table.surface == "kds":
        retention_seconds = None
        yield from streams.check_stream(table.name, seen.stream_arn, seen.stream)
        if isinstance(seen.stream, dict):
            retention_seconds = seen.stream["StreamDescriptionSummary"]["RetentionPeriodHours"] * 3_600
    yield consumers.check_capture(table, seen.firehoses, seen.mappings, seen.functions, seen.beat_us, lake.uri, now_us)
    if isinstance(seen.firehoses, Unread):
        yield unknown("firehose", table.name, seen.firehoses)
    else:
        for one in seen.firehoses:
            function = seen.functions.get(firehoses.transformation_of(one) or "")
            yield from firehoses.check_firehose(lake, table, one, function)
            if seen.began is not None:
                yield firehoses.check_age(table, one, seen.began, now_us)
    if seen.began is not None:
        yield from firehoses.check_gap(table, seen.began)
    if isinstance(seen.mappings, Unread):
        yield unknown("mapping", table.name, seen.mappings)
    else:
        yield from consumers.check_mappings(table, seen.mappings, seen.functions, retention_seconds, lake.uri)


def _check_failures(seen: Seen) -> Iterator[Finding]:
    for queue in seen.queues:
        yield from queues.check_queue(seen.table.name, queue.name, queue.url, queue.attributes)
    for place, listed in seen.failed.items():
        yield queues.check_failed_objects(seen.table.name, place, listed)


def _watched(lake: Lake, seen: Seen) -> alarms.Watched:
    """Everything of the table that an alarm should watch."""
    found = [] if isinstance(seen.firehoses, Unread) else list(seen.firehoses)
    mappings = [] if isinstance(seen.mappings, Unread) else consumers.ours(seen.mappings, seen.functions)
    transforming = [one for one in found if firehoses.transformation_of(one)]
    consuming = {str(one["FunctionArn"]) for one in mappings}
    functions = consuming | {firehoses.transformation_of(one) or "" for one in transforming}
    is_kds = seen.table.surface == "kds" and seen.stream_arn is not None
    stream = (seen.stream_arn or "").rpartition("/")[2] if is_kds else seen.table.dynamodb_name
    names: dict[str, list[str]] = {
        "stream": [stream] if is_kds else [],
        "table": [seen.table.dynamodb_name] if is_kds else [],
        "firehose": [firehoses.name_of(one) for one in found],
        "transforming firehose": [firehoses.name_of(one) for one in transforming],
        "function": sorted(function_name(arn) for arn in functions),
        "consumer": sorted(function_name(arn) for arn in consuming),
        "mapping": [str(one["UUID"]) for one in mappings],
        "queue": [one.name for one in seen.queues],
        "capture": [stream] if functions else [],
    }
    watched = {of: alarms.dimensions(of, *values) for of, values in names.items()}
    if not lake.is_on_s3:  # its jobs run on a machine of yours, which has ways of its own to tell
        return watched
    return watched | alarms.job_dimensions(lake.uri, seen.table.dynamodb_name)


def _identity(account: Account, role: str | None) -> str | Unread:
    """The ARN of the role whose rights are simulated."""
    if role is None:
        caller = account.ask("sts", "get_caller_identity")
        if not isinstance(caller, dict):
            return caller or Unread("no answer", "Run it again")
        role = str(caller["Arn"])
    known = permissions.role_of(role)
    if known is None:
        return Unread(f"{role} has no policies that IAM simulates", "Name a job's role: --role ARN")
    arn, name = known
    told: Answer = account.ask("iam", "get_role", ("NoSuchEntity",), RoleName=name) if name else None
    return str(told["Role"]["Arn"]) if isinstance(told, dict) else arn


def _check_rights(account: Account, lake: Lake, seen: Seen, role: str | Unread) -> Iterator[Finding]:
    denied = role if isinstance(role, Unread) else reading.denied_to(account, role, lake, seen)
    if isinstance(denied, Unread):
        yield unknown("rights", seen.table.name, denied)
        return
    for job, actions in denied.items():
        yield permissions.check_job(seen.table.name, job, str(role), actions)


def _check_lake(account: Account, lake: Lake, done: Ids | Unread) -> Iterator[Finding]:
    names = ", ".join(sorted(lake.config.tables))
    yield judged("lake", "", bool(names), f"{lake.uri}: {names or 'no tables'}",
                 "dynalake add-table NAME --from-dynamodb")  # fmt: skip
    yield lakes.check_dead_letters("", reading.open_letters(account, lake, None, done))
    if lake.config.poison_queue_url:
        queue = reading.queue_at(account, lake.config.poison_queue_url)
        yield from queues.check_queue("", queue.name, queue.url, queue.attributes, is_poison=True)
    if lake.is_on_s3:
        bucket, prefix = split(lake.uri)
        told = reading.bucket_of(account, bucket)
        lifecycle = told.pop("lifecycle")
        yield from buckets.check_bucket(bucket, account.region(), **told)
        yield buckets.check_lifecycle(bucket, prefix, lifecycle)
