"""What somebody must be told of: one list, which the Terraform modules `alarms` and `jobs` keep to as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dynalake.doctor.finding import Description, Finding, Unread, judged, unknown

JOBS = ("compact", "refresh", "verify")


@dataclass(frozen=True, slots=True)
class Metric:
    """`of` says whose it is: a key of what is watched. `tells` is what nobody would be told of without it."""

    namespace: str
    name: str
    of: str
    tells: str


# AWS: "Monitoring the Amazon Kinesis Data Streams service with CloudWatch", "DynamoDB metrics and dimensions",
# "Monitor Amazon Data Firehose with CloudWatch metrics", "Types of metrics for Lambda functions", "Available
# CloudWatch metrics for Amazon SQS". Those of dynalake: ingest/metrics.py and `--metrics` of the jobs.
METRICS = (
    Metric("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "stream", "a shard that is not read comes to an end"),
    Metric("AWS/Kinesis", "ReadProvisionedThroughputExceeded", "stream", "too many read the stream"),
    Metric("AWS/Kinesis", "WriteProvisionedThroughputExceeded", "stream", "the stream is too small"),
    Metric("AWS/DynamoDB", "AgeOfOldestUnreplicatedRecord", "table", "DynamoDB falls behind with replicating"),
    Metric("AWS/DynamoDB", "FailedToReplicateRecordCount", "table", "DynamoDB skipped changes, for good"),
    Metric("AWS/DynamoDB", "ThrottledPutRecordCount", "table", "the stream throttles DynamoDB"),
    Metric("AWS/Firehose", "DeliveryToS3.DataFreshness", "firehose", "a Firehose falls behind"),
    Metric("AWS/Firehose", "DeliveryToS3.Success", "firehose", "a Firehose cannot write to the bucket"),
    Metric("AWS/Firehose", "ExecuteProcessing.Success", "transforming firehose", "a transformation fails"),
    Metric("AWS/Lambda", "Errors", "function", "a function fails"),
    Metric("AWS/Lambda", "Throttles", "function", "a function is throttled"),
    Metric("AWS/Lambda", "ConcurrentExecutions", "function", "a function comes to its limit"),
    Metric("AWS/Lambda", "IteratorAge", "consumer", "the consumer falls behind"),
    Metric("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", "mapping", "batches were given up"),
    Metric("AWS/Lambda", "DroppedEventCount", "mapping", "records were lost"),
    Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", "queue", "something failed and waits for a redrive"),
    Metric("dynalake", "DeadLetters", "capture", "records could not be taken in"),
    Metric("dynalake", "Unlanded", "capture", "the lake cannot be written to"),
    *(Metric("dynalake", "Succeeded", job, f"{job} has not run") for job in JOBS),
    *(Metric("dynalake", "Failed", job, f"{job} fails") for job in JOBS),
    Metric("dynalake", "DeadLetters", "compact", "compact finds records that it cannot take in"),
    Metric("dynalake", "NewestChangeAge", "compact", "what is written does not come to the lake"),
    Metric("dynalake", "Differing", "verify", "the lake differs from the table"),
    Metric("dynalake", "Unproven", "verify", "the lake could not be proven"),
)
_NAMES = sorted({one.name for one in METRICS})
DIMENSIONS = {
    "stream": "StreamName", "table": "TableName", "firehose": "DeliveryStreamName",
    "transforming firehose": "DeliveryStreamName", "function": "FunctionName", "consumer": "FunctionName",
    "mapping": "EventSourceMappingUUID", "queue": "QueueName", "capture": "Stream",
}  # fmt: skip
Dimensions = Mapping[str, str]
Watched = Mapping[str, Sequence[Dimensions]]  # by `of`
ByMetric = Mapping[str, Sequence[Description]]


def dimensions(of: str, *values: str) -> list[Dimensions]:
    """One or none for each value."""
    return [{DIMENSIONS[of]: value} for value in values]


def job_dimensions(lake: str, table: str) -> dict[str, list[Dimensions]]:
    """As `--metrics` prints them: the lake's place, the job, the table's name in DynamoDB."""
    return {job: [{"Lake": lake, "Job": job, "Table": table}] for job in JOBS}


def check_alarms(
    table: str, watched: Watched, alarms: ByMetric | Unread, composites: Sequence[Description]
) -> Iterator[Finding]:
    """For each metric of each thing that is watched an alarm tells somebody."""
    if isinstance(alarms, Unread):
        yield unknown("alarms", table, alarms)
        return
    for metric in METRICS:
        for named in watched.get(metric.of, ()):
            yield _check_metric(table, metric, named, alarms.get(metric.name, ()), composites)


def by_metric(alarms: Sequence[Description] | Unread) -> ByMetric | Unread:
    """Alarms of DescribeAlarms by the metrics that they name: an account may have thousands, and each table asks."""
    if isinstance(alarms, Unread):
        return alarms
    found: dict[str, list[Description]] = {}
    for alarm in alarms:
        queries = alarm.get("Metrics") or ()
        names = {alarm.get("MetricName")} | {one.get("MetricStat", {}).get("Metric", {}).get("MetricName")
                                             for one in queries}  # fmt: skip
        told = " ".join(one.get("Expression") or "" for one in queries)
        for name in _NAMES:
            if name in names or name in told:
                found.setdefault(name, []).append(alarm)
    return found


def _check_metric(
    table: str, metric: Metric, named: Dimensions, alarms: Sequence[Description], composites: Sequence[Description]
) -> Finding:
    found = [one for one in alarms if _watches(one, metric, named)]
    telling = [one for one in found if _tells(one, composites)]
    subject = named.get("Job") or ", ".join(named.values())
    told = [one["AlarmName"] for one in telling or found]
    shown = f"{subject}: {told[0] if told else 'none'}"
    check = f"alarm {metric.name}"
    if found and not telling:
        do = f"aws cloudwatch enable-alarm-actions --alarm-names {told[0]}"
        if not any(one.get("AlarmActions") for one in found):
            do = (
                "It has no action: apply infra/, which has it tell the lake's topic, or put one in by its alarm_actions"
            )
        return judged(check, table, False, f"{shown} tells nobody", do)
    ringing = [one["AlarmName"] for one in found if one.get("StateValue") == "ALARM"]
    if ringing:
        return judged(check, table, False, f"{subject}: {ringing[0]} is in ALARM",
                      f"{metric.tells[0].upper()}{metric.tells[1:]}: docs/playbook.md has what to do")  # fmt: skip
    if telling and metric.name == "Succeeded" and not any(map(_takes_silence_for_bad, telling)):
        return judged(check, table, False, f"{shown} takes no data for good",
                      "Set its TreatMissingData to breaching: a job that does not run tells nothing")  # fmt: skip
    spelled = ", ".join(f"{name}={value}" for name, value in named.items())
    return judged(
        check, table, bool(telling), shown,
        f"Nobody is told when {metric.tells}: have infra/modules/{'jobs' if 'Job' in named else 'alarms'} alarm on it, "
        f"{metric.namespace} by {spelled}",
    )  # fmt: skip


def _watches(alarm: Description, metric: Metric, named: Dimensions) -> bool:
    if _is_of(alarm, metric, named):
        return True
    for query in alarm.get("Metrics") or ():
        if _is_of(query.get("MetricStat", {}).get("Metric", {}), metric, named):
            return True
        if _selects(query.get("Expression") or "", metric, named):
            return True
    return False


def _is_of(stated: Description, metric: Metric, named: Dimensions) -> bool:
    if (stated.get("Namespace"), stated.get("MetricName")) != (metric.namespace, metric.name):
        return False
    return named.items() <= {one["Name"]: one["Value"] for one in stated.get("Dimensions", ())}.items()


def _selects(expression: str, metric: Metric, named: Dimensions) -> bool:
    """A query of Metrics Insights, or a SEARCH, by its text: it names the metric, and this thing or all of them."""
    if metric.namespace not in expression or not re.search(rf"\b{re.escape(metric.name)}\b", expression):
        return False
    quoted = {part for pair in re.findall(r"'([^']*)'|\"([^\"]*)\"", expression) for part in pair}
    return set(named.values()) <= quoted or not re.search(r"\bWHERE\b", expression, re.IGNORECASE)


def _tells(alarm: Description, composites: Sequence[Description]) -> bool:
    """By itself, or as part of a composite alarm."""
    name = re.compile(rf"\(\s*\"?{re.escape(alarm['AlarmName'])}\"?\s*\)")
    return _acts(alarm) or any(_acts(one) and name.search(one.get("AlarmRule", "")) for one in composites)


def _acts(alarm: Description) -> bool:
    return bool(alarm.get("ActionsEnabled")) and bool(alarm.get("AlarmActions"))


def _takes_silence_for_bad(alarm: Description) -> bool:
    fills = any("FILL(" in (query.get("Expression") or "") for query in alarm.get("Metrics") or ())
    return fills or alarm.get("TreatMissingData") == "breaching"
