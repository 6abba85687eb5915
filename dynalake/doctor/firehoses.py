"""The Firehoses that read a table's stream: what they leave out, where they write, in what form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynalake.console import time_text
from dynalake.doctor.account import Oldest
from dynalake.doctor.finding import Answer, Description, Finding, Unread, judged, unknown
from dynalake.doctor.functions import FIREHOSE_HANDLER, check_function, function_name
from lake import layout
from lake.config import TableConfig
from lake.lake import Lake

_READABLE = ("GZIP", "UNCOMPRESSED")
_EXPRESSION = re.compile(r"!\{.*")


@dataclass(frozen=True, slots=True)
class Began:
    """What is known of when changes began to come, all in UTC microseconds.

    `enabled_us` is when streaming was enabled (None: not told), `disabled_us` when it was disabled last before that
    (None: not that anybody could tell). `stream_us` is when the stream was made, and
    `retention_us` how long it holds what comes. `proven_us` is through when `verify` found the lake equal to the table.
    """

    enabled_us: int | Unread | None
    oldest: Oldest | Unread
    stream_us: int
    retention_us: int
    proven_us: int | None
    disabled_us: int | None = None


def name_of(firehose: Description) -> str:
    return str(firehose["DeliveryStreamName"])


def is_at_work(firehose: Description) -> bool:
    return firehose.get("DeliveryStreamStatus") == "ACTIVE"


def transformation_of(firehose: Description) -> str | None:
    """The ARN of the Lambda function that it has records pass through."""
    for processor in _processors(_destination(firehose)):
        if processor.get("Type") == "Lambda":
            return _parameters(processor).get("LambdaArn", "")
    return None


def place_of(firehose: Description) -> str:
    """Where it delivers, up to the first expression of the prefix; empty where that is no bucket."""
    to = _destination(firehose)
    return f"s3://{_bucket(to)}/{_EXPRESSION.sub('', to.get('Prefix') or '')}" if to else ""


def of_lake(lake: Lake, found: Sequence[Description]) -> list[Description]:
    """Those that deliver into the lake. Where none does, those to any bucket: `compact --raw` may read there. All
    others are other people's, and no concern of this.
    """
    there = [one for one in found if lake.is_on_s3 and overlap(place_of(one), f"{lake.uri}/")]
    return there or [one for one in found if place_of(one)]


def error_place(firehose: Description) -> tuple[str, str]:
    """The bucket and, up to its first expression, the prefix of objects that hold what failed."""
    to = _destination(firehose)
    prefix = to.get("ErrorOutputPrefix") or to.get("Prefix") or ""
    return _bucket(to), _EXPRESSION.sub("", prefix)


def check_firehose(lake: Lake, table: TableConfig, firehose: Description, function: Answer) -> Iterator[Finding]:
    """All of its settings; `function` is the configuration of its transformation, where there is one."""
    name, label = table.name, name_of(firehose)
    status = firehose.get("DeliveryStreamStatus", "")
    yield judged("firehose", name, status == "ACTIVE", f"{label} {status}",
                 "Make it anew where it failed; else wait until it is ACTIVE")  # fmt: skip
    to = _destination(firehose)
    yield from _form(name, label, to, function)
    yield from _places(lake, name, label, to, place_of(firehose))
    yield from _masking(lake, table, label, to, transformation_of(firehose), function)
    logging = to.get("CloudWatchLoggingOptions", {}).get("Enabled", False)
    yield judged(
        "error logging", name, bool(logging), f"{label}: {'on' if logging else 'off'}",
        "Why a delivery fails is told nowhere: set CloudWatchLoggingOptions (aws firehose update-destination)",
    )  # fmt: skip


def check_age(table: TableConfig, firehose: Description, began: Began, now_us: int) -> Finding:
    """A Firehose begins at the end of its stream (AWS: "Writing to Firehose using Kinesis Data Streams"): what came
    before it is not in the lake, unless something else brought it.
    """
    check, name = "firehose older than streaming", table.name
    source = firehose.get("Source", {}).get("KinesisStreamSourceDescription", {})
    at = source.get("DeliveryStartTimestamp") or firehose.get("CreateTimestamp")
    if at is None:
        return unknown(check, name, Unread("not told when it began", "Compare the two by hand"))
    at_us = round(at.timestamp() * 1e6)
    found = f"{name_of(firehose)} from {time_text(at_us)}"
    do = (f"What changed in between may be missing: dynalake backfill {table.dynamodb_name} --again --prune, compact, "
          f"then dynalake verify {table.dynamodb_name}; once that proves the table, this is ok")  # fmt: skip
    if began.proven_us is not None and began.proven_us > at_us:
        return Finding(check, name, "ok", f"{found}; verify has proven the table since")
    if isinstance(began.enabled_us, int):
        told = f"{found}, streaming from {time_text(began.enabled_us)}"
        return judged(check, name, at_us <= began.enabled_us, told, do)
    oldest = began.oldest
    if isinstance(oldest, Oldest):
        if oldest.at_us is not None and oldest.at_us < at_us:
            return judged(check, name, False, f"{found}, changes from {time_text(oldest.at_us)}", do)
        if oldest.is_all and now_us < began.stream_us + began.retention_us:  # nothing has left the stream yet
            return judged(check, name, True, f"{found}; nothing in the stream is older", do)
    why = began.enabled_us.reason if isinstance(began.enabled_us, Unread) else "CloudTrail knows 90 days"
    return unknown(
        check, name,
        Unread(f"{found}; not told since when it streams ({why})",
               f"Compare that with when streaming was enabled, or prove it: dynalake verify {table.dynamodb_name}"),
    )  # fmt: skip


def check_gap(table: TableConfig, began: Began) -> Iterator[Finding]:
    """What changed while streaming was off was sent nowhere (AWS: "Using Kinesis Data Streams to capture changes to
    DynamoDB"); only a proof since tells that the state is right again.
    """
    if not isinstance(began.enabled_us, int) or began.disabled_us is None:
        return
    found = f"off from {time_text(began.disabled_us)} to {time_text(began.enabled_us)}"
    if began.proven_us is not None and began.proven_us > began.enabled_us:
        yield Finding("streaming gap", table.name, "ok", f"{found}; verify has proven the table since")
        return
    yield judged(
        "streaming gap", table.name, False, found,
        f"What changed in between was sent nowhere: dynalake backfill {table.dynamodb_name} --again --prune, compact, "
        f"then dynalake verify {table.dynamodb_name}; once that proves the table, this is ok",
    )  # fmt: skip


def _form(table: str, label: str, to: Description, function: Answer) -> Iterator[Finding]:
    kinds = {str(one.get("Type")) for one in _processors(to)}
    adds_newlines = isinstance(function, dict) and function.get("Handler") == FIREHOSE_HANDLER
    is_on = "AppendDelimiterToRecord" in kinds
    yield judged(
        "delimiter", table, is_on or adds_newlines,
        f"{label}: {'on' if is_on else 'by the transformation' if adds_newlines else 'off'}",
        "compact reads records without one, but a damaged record takes its neighbours along, and other readers see "
        "only the first: add the processor AppendDelimiterToRecord (aws firehose update-destination)",
    )  # fmt: skip
    compression = to.get("CompressionFormat", "UNCOMPRESSED")
    yield judged("compression", table, compression in _READABLE, f"{label}: {compression}",
                 "compact cannot read it: set CompressionFormat=GZIP (aws firehose update-destination)")  # fmt: skip
    converts = to.get("DataFormatConversionConfiguration", {}).get("Enabled", False)
    yield judged("format conversion", table, not converts, f"{label}: {'on' if converts else 'off'}",
                 "compact reads JSON only: turn it off (aws firehose update-destination)")  # fmt: skip


def _places(lake: Lake, table: str, label: str, to: Description, place: str) -> Iterator[Finding]:
    if place.startswith(lake.raw):
        yield Finding("prefix", table, "ok", place)
    elif lake.is_on_s3 and overlap(place, f"{lake.uri}/"):
        yield judged("prefix", table, False, place, f"Set a Prefix under {lake.raw}")
    else:
        do = f"See that whoever compacts names it: dynalake compact {table} --raw {place}"
        yield unknown("prefix", table, Unread(f"{place}, outside of {lake.raw}", do))
    told = to.get("ErrorOutputPrefix")
    errors = f"s3://{_bucket(to)}/{_EXPRESSION.sub('', told or '')}"
    # Dead letters are read by redrive, files of the warehouse by their names only: neither is a place for strangers.
    ours = (lake.raw, lake.dead_letters, f"{lake.uri}/{layout.WAREHOUSE}/")
    is_right = bool(told) and not errors.startswith((place, *ours))
    yield judged(
        "error prefix", table, is_right, f"{label}: {errors if told else 'none'}",
        "What failed would be read as raw objects, unmasked: set ErrorOutputPrefix=firehose-errors/"
        f"{table}/!{{firehose:error-output-type}}/ (aws firehose update-destination)",
    )  # fmt: skip


def _masking(
    lake: Lake, table: TableConfig, label: str, to: Description, transformation: str | None, function: Answer
) -> Iterator[Finding]:
    if transformation is None:
        if table.masks:
            yield judged(
                "transformation", table.name, False, f"{label}: none, and the table has masks",
                f"Values land unmasked, and compact refuses them: add the Lambda function {FIREHOSE_HANDLER} "
                "(docs/capture.md, The transformation for Firehose)",
            )  # fmt: skip
        return
    name = function_name(transformation)
    yield from check_function(table.name, "transformation", name, function, FIREHOSE_HANDLER, lake.uri)
    backup = to.get("S3BackupMode", "Disabled")
    if table.masks:
        yield judged("source backup", table.name, backup == "Disabled", f"{label}: {backup}",
                     "It keeps records as they came, before masks: set S3BackupMode=Disabled")  # fmt: skip


def _destination(firehose: Description) -> Description:
    for one in firehose.get("Destinations", ()):
        found: Description = one.get("ExtendedS3DestinationDescription") or one.get("S3DestinationDescription") or {}
        if found:
            return found
    return {}


def _processors(to: Description) -> list[Description]:
    processing = to.get("ProcessingConfiguration", {})
    return list(processing.get("Processors", ())) if processing.get("Enabled") else []


def _parameters(processor: Description) -> dict[str, str]:
    return {one["ParameterName"]: one["ParameterValue"] for one in processor.get("Parameters", ())}


def _bucket(to: Description) -> str:
    return str(to.get("BucketARN", "")).rpartition(":")[2]


def overlap(one: str, other: str) -> bool:
    """Whether one place is in the other. No place is in none."""
    return bool(one) and (one.startswith(other) or other.startswith(one))
