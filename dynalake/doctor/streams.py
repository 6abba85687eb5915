"""The Kinesis stream between the table and those who read it."""

from __future__ import annotations

from collections.abc import Iterator

from dynalake.doctor.finding import Answer, Finding, Unread, judged, unknown

# What fails on a Friday evening is 62 hours old on Monday morning.
RETENTION_HOURS_MIN = 72
RETENTION_HOURS = 168  # what is advised: DynamoDB, too, holds changes for so long before it gives up replicating
_SHARD_METRIC = "IteratorAgeMilliseconds"


def check_stream(table: str, arn: str, summary: Answer) -> Iterator[Finding]:
    """`summary` is of DescribeStreamSummary."""
    name = arn.rpartition("/")[2]
    if isinstance(summary, Unread):
        yield unknown("stream", table, summary)
        return
    if summary is None:
        yield judged("stream", table, False, f"no stream {name}",
                     "Make it, then enable streaming anew, then dynalake backfill --again --prune")  # fmt: skip
        return
    found = summary["StreamDescriptionSummary"]
    status = found["StreamStatus"]
    yield judged("stream", table, status in ("ACTIVE", "UPDATING"), f"{name} {status}",
                 "Wait until it is ACTIVE, and run it again")  # fmt: skip
    hours = found["RetentionPeriodHours"]
    yield judged(
        "retention", table, hours >= RETENTION_HOURS_MIN, f"{hours} h",
        "An outage over a weekend would lose changes: aws kinesis increase-stream-retention-period --stream-name "
        f"{name} --retention-period-hours {RETENTION_HOURS}",
    )  # fmt: skip
    kind = found.get("EncryptionType", "NONE")
    do = f"aws kinesis start-stream-encryption --stream-name {name} --encryption-type KMS --key-id KEY"
    yield judged("stream encryption", table, kind == "KMS", kind, do)
    metrics = {one for level in found.get("EnhancedMonitoring", ()) for one in level.get("ShardLevelMetrics", ())}
    yield judged(
        "shard metrics", table, bool({_SHARD_METRIC, "ALL"} & metrics), ", ".join(sorted(metrics)) or "none",
        "Which shard is stuck is not to be seen: aws kinesis enable-enhanced-monitoring "
        f"--stream-name {name} --shard-level-metrics {_SHARD_METRIC}",
    )  # fmt: skip
