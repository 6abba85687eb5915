"""How large the capture of a table, its lake and its jobs should be: arithmetic, and no more. `costs` prices it.

What AWS sets is a constant with its page. What was measured or is assumed is one too, rounded to the careful side; it
holds for no table exactly. docs/sizing.md has the formulae in words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Surface = Literal["kds", "streams", "pipe"]
Paths = Literal["both", "firehose", "consumer"]

KB, MB, GB = 1024, 1024**2, 1024**3
DAY_SECONDS = 86_400
MONTH_HOURS = 730
MONTH_SECONDS = MONTH_HOURS * 3_600

# AWS: "Quotas and limits" in the Kinesis Data Streams guide
SHARD_RECORDS_MAX = 1_000  # in, a second
SHARD_IN_MAX = 1 * MB
SHARD_OUT_MAX = 2 * MB  # shared by all who read
STREAM_RECORD_MAX = 1 * MB  # unless the stream is set to take more, 10 MiB at most
ON_DEMAND_SHARDS_MIN = 4  # that such a stream begins with
ON_DEMAND_IN_MAX = 200 * MB  # a second, unless the quota is raised
KEPT_HOURS_MIN, KEPT_HOURS_MAX = 24, 8_760
# AWS: "Partitions and data distribution", "Service, account, and table quotas" in the DynamoDB guide
PARTITION_WRITES_MAX = 1_000  # units a second
PARTITION_MAX = 10 * GB
ITEM_KB_MAX = 400
CONSISTENT_READ = 4 * KB  # of a unit
STREAMS_KEPT_HOURS = 24
# AWS: "Lambda quotas", "Amazon Data Firehose quota", "Amazon EventBridge quotas", "Amazon ECS task size"
LAMBDA_PAYLOAD_MAX = 6 * MB
LAMBDA_BATCH_MAX = 10_000
LAMBDA_CONCURRENCY = 1_000  # of an account, unless raised
FIREHOSE_BUFFER_MB = 128
EVENT_MAX = 256 * KB
TASK_VCPUS = (1, 2, 4)
VCPU_MEMORY_GB, VCPU_MEMORY_LARGE_GB = 4, 7  # of items over 100 KB; 8 to a vCPU at most, 30 to four
TASK_SCRATCH_GB, TASK_SCRATCH_MAX_GB = 21, 200

HEADROOM = 0.7  # how full a shard is at the peak: DynamoDB's own hash does not spread evenly

# Measured on 20 days of the demo's flights, November 2026 (in brackets), and rounded to the careful side
ENVELOPE_BYTES = 450  # of a record without its images (422)
JSON_SHARE = 2.0  # bytes of DynamoDB's JSON for a byte of an item: names and types of small attributes (1.86)
RAW_COMPRESSION = 6.0  # of records as text, gzip or zstd (8.4)
LOG_COMPRESSION = 8.0  # the change log's files against the same text (11)
STATE_SHARE = 0.5  # the state's files against DynamoDB's size of the items (0.38)
COMPACT_BYTES = 6 * MB  # of records as text, a second and vCPU (6.4, on two shared cores)
REFRESH_BYTES = 10 * MB  # of items, a second and vCPU; assumed
VERIFY_BYTES = 4 * MB  # of items, a second and vCPU; assumed: it takes about as long as the Scan that it rides on
VERIFY_WAIT_SECONDS = 900  # of verify --wait, for what is on its way

BUCKET_MAX = 256 * MB  # of the state; docs/operations.md, "Buckets": 128 to 256 MB each
BUCKETS_MAX = 4_096
TAIL_SHARE_MAX = 0.05  # of the items, before a refresh; docs/operations.md, "Two jobs"
REFRESH_HOURS_MIN, REFRESH_HOURS_MAX = 6, 24
BATCH_TEXT_MAX = 2 * GB  # that one compact should have to take in
WINDOW_SECONDS = 30  # of the event source mapping; infra/modules/consumer
FUNCTION_MB = 1024  # infra/modules/function
FUNCTION_SECONDS = 0.2  # of an invocation, for what it asks of S3
FUNCTION_BYTES = 10 * MB  # of records, a second; the core of capture does ten times that on a whole core
TRANSFORM_MB, TRANSFORM_BUFFER_SECONDS = 1, 60  # that Firehose hands to its transformation; infra/modules/stream
TRANSFORM_SECONDS = 0.05  # of an invocation, which asks nothing of S3 but for what it sets aside


@dataclass(frozen=True, slots=True)
class Load:
    """What is written, on the average of a month, and what there is."""

    writes_per_second: float
    item_kb: float = 1.0
    items: int = 1_000_000
    surface: Surface = "kds"
    retention_hours: int = 168
    delete_share: float = 0.1
    """Of the writes. As many insert, else the table would shrink; the rest replace, and bring both images."""
    peak: float = 2.0
    """The busiest minute's writes against the average."""
    paths: Paths = "both"
    """Into the lake, of surface kds; the others have the consumer alone."""
    sinks: int = 1
    """Of surface pipe."""
    transform: bool = False
    """Whether Firehose runs our transformation, as it must where there are masks."""

    @property
    def item_bytes(self) -> float:
        return self.item_kb * KB

    @property
    def table_bytes(self) -> float:
        return self.items * self.item_bytes

    @property
    def has_firehose(self) -> bool:
        return self.surface == "kds" and self.paths != "consumer"

    @property
    def has_consumer(self) -> bool:
        return self.surface != "kds" or self.paths != "firehose"

    @property
    def ways(self) -> int:
        """Into the lake: as often is a record landed, and read by compact."""
        return self.has_firehose + self.has_consumer

    @property
    def readers(self) -> int:
        """Of the stream."""
        return self.ways + (self.surface == "pipe")

    @property
    def records_per_month(self) -> float:
        return self.writes_per_second * MONTH_SECONDS


@dataclass(frozen=True, slots=True)
class Plan:
    """What to set up. Bytes are of records as text, unless said otherwise; GB are 2**30 bytes."""

    record_bytes: float
    record_bytes_max: float
    bytes_per_second: float
    shards: int
    """Of the Kinesis stream, provisioned; of the DynamoDB stream, about as many as the table has partitions."""
    retention_hours: int
    firehose_seconds: int
    firehose_objects_per_day: float
    batch_records: int
    concurrency: int
    invocations_per_second: float
    invocation_seconds: float
    transforms_per_second: float
    transform_seconds: float
    buckets: int
    compact_minutes: int
    compact_seconds: float
    refresh_hours: float
    refresh_seconds: float
    verify_seconds: float
    """Of a full Scan, daily, without the wait."""
    task_vcpu: int
    task_memory_gb: int
    scratch_gb: int
    state_gb: float
    raw_gb_per_month: float
    log_gb_per_month: float
    replaced_gb_per_month: float
    """Files of the state that refreshes have replaced: nothing is cleaned up yet."""

    @property
    def gb_per_month(self) -> float:
        """By which the lake grows."""
        return self.raw_gb_per_month + self.log_gb_per_month + self.replaced_gb_per_month


def record_bytes(load: Load) -> float:
    """Of an average record: an envelope, and both images of what replaces, one of what inserts or deletes."""
    return ENVELOPE_BYTES + (2 - 2 * load.delete_share) * load.item_bytes * JSON_SHARE


def shards_for(load: Load, size: float) -> int:
    """By records, by bytes in and by bytes out, whichever asks for most, at the peak and with headroom."""
    if load.surface != "kds":
        units = load.writes_per_second * load.peak * math.ceil(load.item_kb)
        return max(1, math.ceil(units / PARTITION_WRITES_MAX), math.ceil(load.table_bytes / PARTITION_MAX))
    records = load.writes_per_second * load.peak
    busiest = max(records / SHARD_RECORDS_MAX, records * size / SHARD_IN_MAX,
                  records * size * load.readers / SHARD_OUT_MAX)  # fmt: skip
    return max(1, math.ceil(busiest / HEADROOM))


def batch_for(load: Load, size: float) -> int:
    """Records of one invocation: a payload of 6 MB, in which Kinesis' records are in base64, with a tenth to spare."""
    carried = (size * 4 / 3 if load.surface == "kds" else size) + ENVELOPE_BYTES
    return max(1, min(LAMBDA_BATCH_MAX, math.floor(LAMBDA_PAYLOAD_MAX * 0.9 / carried)))


def buckets_for(state_bytes: float) -> int:
    """A power of two, of 128 to 256 MB each where there is more than one."""
    wanted = max(1.0, state_bytes / BUCKET_MAX)
    return min(BUCKETS_MAX, 1 << math.ceil(math.log2(wanted)))


def refresh_hours_for(load: Load, seconds: float) -> float:
    """Until the tail has come to its share of the items: no oftener than every six hours, daily at least; but a refresh
    takes half of the time at most.
    """
    tail = TAIL_SHARE_MAX * load.items / load.writes_per_second / 3_600 if load.writes_per_second else math.inf
    return max(2 * seconds / 3_600, min(REFRESH_HOURS_MAX, max(REFRESH_HOURS_MIN, tail)))


def task_for(load: Load, landed_per_second: float) -> tuple[int, int]:
    """vCPUs and GB of a task: compaction takes half of the time at most; items over 100 KB take more memory."""
    fitting = [n for n in TASK_VCPUS if landed_per_second <= n * COMPACT_BYTES / 2]
    vcpu = fitting[0] if fitting else TASK_VCPUS[-1]
    return vcpu, vcpu * (VCPU_MEMORY_GB if load.item_kb <= 100 else VCPU_MEMORY_LARGE_GB)


def plan(load: Load) -> Plan:
    """The whole of it. Nothing in it becomes smaller where more is written, but the times between two jobs."""
    size = record_bytes(load)
    flow = load.writes_per_second * size
    shards = shards_for(load, size)
    batch = batch_for(load, size)
    open_shards = max(shards, ON_DEMAND_SHARDS_MIN) if load.surface == "kds" else shards
    invocations = max(min(load.writes_per_second, open_shards / WINDOW_SECONDS), load.writes_per_second / batch)
    seconds = 300 if flow * 300 >= MB else 900
    objects = max(DAY_SECONDS / seconds, flow * DAY_SECONDS / (FIREHOSE_BUFFER_MB * MB)) if flow else 0.0
    landed = flow * load.ways
    vcpu, memory_gb = task_for(load, landed)
    minutes = 10 if landed * 600 <= BATCH_TEXT_MAX else 5
    refresh_seconds = load.table_bytes / (vcpu * REFRESH_BYTES)
    hours = refresh_hours_for(load, refresh_seconds)
    transforms = max(1 / TRANSFORM_BUFFER_SECONDS, flow / (TRANSFORM_MB * MB)) if flow and load.transform else 0.0
    state = load.table_bytes * STATE_SHARE
    text_per_month = flow * MONTH_SECONDS / GB
    is_written = load.writes_per_second > 0
    return Plan(
        record_bytes=size,
        record_bytes_max=ENVELOPE_BYTES + 2 * load.item_bytes * JSON_SHARE,
        bytes_per_second=flow,
        shards=shards,
        retention_hours=load.retention_hours if load.surface == "kds" else STREAMS_KEPT_HOURS,
        firehose_seconds=seconds,
        firehose_objects_per_day=objects if load.has_firehose else 0.0,
        batch_records=batch if load.has_consumer else 0,
        concurrency=open_shards if load.has_consumer else 0,
        invocations_per_second=invocations if load.has_consumer else 0.0,
        invocation_seconds=FUNCTION_SECONDS + flow / invocations / FUNCTION_BYTES if invocations else 0.0,
        transforms_per_second=transforms,
        transform_seconds=TRANSFORM_SECONDS + flow / transforms / FUNCTION_BYTES if transforms else 0.0,
        buckets=buckets_for(state),
        compact_minutes=minutes,
        compact_seconds=landed * minutes * 60 / (vcpu * COMPACT_BYTES),
        refresh_hours=hours,
        refresh_seconds=refresh_seconds if is_written else 0.0,
        verify_seconds=load.table_bytes / (vcpu * VERIFY_BYTES),
        task_vcpu=vcpu,
        task_memory_gb=memory_gb,
        scratch_gb=max(TASK_SCRATCH_GB, math.ceil(5 + 2 * load.table_bytes * JSON_SHARE / RAW_COMPRESSION / GB)),
        state_gb=state / GB,
        raw_gb_per_month=text_per_month / RAW_COMPRESSION * load.ways,
        log_gb_per_month=text_per_month / LOG_COMPRESSION,
        replaced_gb_per_month=state / GB * MONTH_HOURS / hours if is_written else 0.0,
    )


def warnings(load: Load, made: Plan) -> list[str]:
    """What does not fit, or may not, each with what to do."""
    peak = made.bytes_per_second * load.peak
    found = {
        "items so large may make records of more than 1 MiB, and DynamoDB leaves out what its stream does not take: "
        "raise the largest record, alarm on FailedToReplicateRecordCount":
            load.surface == "kds" and made.record_bytes_max > STREAM_RECORD_MAX,
        "items of more than 34 KB may make records of more than 1 MiB, where they are of many small or empty "
        "attributes: alarm on FailedToReplicateRecordCount":
            load.surface == "kds" and load.item_kb > 34 and made.record_bytes_max <= STREAM_RECORD_MAX,
        "a record may be larger than a bus takes (256 KB): what is, goes to the pipe's dead letters":
            load.surface == "pipe" and made.record_bytes_max > EVENT_MAX,
        "the peak is beyond what an on-demand stream takes (200 MB a second) unless its quota is raised":
            load.surface == "kds" and peak > ON_DEMAND_IN_MAX,
        "the consumer's concurrency is beyond what an account has (1,000) unless its quota is raised":
            made.concurrency > LAMBDA_CONCURRENCY,
        "one task does not compact this in time: compact the prefixes of hours apart, on a machine of more cores":
            made.bytes_per_second * load.ways > TASK_VCPUS[-1] * COMPACT_BYTES / 2,
        "a refresh takes more than half a day, and each writes the state anew: rarely, and on a machine of more cores":
            made.refresh_hours > REFRESH_HOURS_MAX,
        "a full verify takes more than half a day: daily with --sample 1%, and in full on a machine of more cores":
            made.verify_seconds > DAY_SECONDS / 2,
        "a job needs more scratch than Fargate has (200 GB): run verify with --sample, or on a machine with a disk":
            made.scratch_gb > TASK_SCRATCH_MAX_GB,
        "the state needs more buckets than there may be: they will be larger than 256 MB":
            made.state_gb * GB > BUCKETS_MAX * BUCKET_MAX,
    }  # fmt: skip
    return [text for text, holds in found.items() if holds]
