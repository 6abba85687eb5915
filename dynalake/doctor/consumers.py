"""Who reads the stream into the lake by code of ours: event source mappings, and processes of `consume`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from dynalake.doctor.finding import Answer, Description, Finding, Unread, judged, unknown
from dynalake.doctor.firehoses import is_at_work, name_of, place_of
from dynalake.doctor.functions import STREAM_HANDLER, check_function, function_name, is_ours, lake_of
from lake import layout
from lake.config import TableConfig

NATIVE_RETENTION_SECONDS = 24 * 3_600  # of DynamoDB Streams
# How much earlier than the stream's end records are given up. A message only names them: they are to be found in the
# stream after a weekend. An object holds them; but a shard that was blocked is given up batch by batch, to its last.
MARGIN_SECONDS, BUCKET_MARGIN_SECONDS = 72 * 3_600, 6 * 3_600
_AGE_SECONDS_MIN = 3_600
SILENCE_SECONDS_MAX = 3_600  # `consume --once` on a schedule gives a sign of life only so often
_PASSING = ("Creating", "Enabling", "Updating")
Functions = Mapping[str, Answer]  # by ARN: GetFunctionConfiguration


def ours(mappings: Sequence[Description], functions: Functions) -> list[Description]:
    return [one for one in mappings if is_ours(functions.get(one["FunctionArn"]))]


def destination_of(mapping: Description) -> str | None:
    """The ARN of the queue, topic or bucket that is told of batches given up."""
    found = (mapping.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    return str(found) if found else None


def check_mappings(
    table: TableConfig, mappings: Sequence[Description], functions: Functions, retention_seconds: int | None, lake: str
) -> Iterator[Finding]:
    """Those of functions of ours. Where one lands in this lake, those that land in other lakes are meant to.

    `retention_seconds` is the stream's, None where it could not be read.
    """
    found = ours(mappings, functions)
    lakes = [lake_of(functions.get(one["FunctionArn"])) for one in found]
    for mapping, its_lake in zip(found, lakes, strict=True):
        if lake in lakes and its_lake not in (None, lake):
            continue
        function = functions.get(mapping["FunctionArn"])
        name = function_name(mapping["FunctionArn"])
        if not isinstance(function, Unread):  # else it may be another's
            yield from _settings(table.name, mapping, retention_seconds)
            yield _filter(table, mapping)
        yield from check_function(table.name, "consumer", name, function, STREAM_HANDLER, lake)


def _settings(table: str, mapping: Description, retention_seconds: int | None) -> Iterator[Finding]:
    update = f"aws lambda update-event-source-mapping --uuid {mapping['UUID']}"
    yield _state(table, mapping, update)
    position = mapping.get("StartingPosition", "")
    if position == "AT_TIMESTAMP":
        at = mapping.get("StartingPositionTimestamp", "a time that is not told")
        do = f"See that streaming was enabled after that; if not, dynalake backfill {table} --again --prune"
        yield unknown("starting position", table, Unread(f"{position}, {at}", do))
    else:
        yield judged(
            "starting position", table, position == "TRIM_HORIZON", position,
            "It may have missed changes, and cannot be changed: delete the mapping, make it anew with TRIM_HORIZON, "
            f"then dynalake backfill {table} --again --prune",
        )  # fmt: skip
    responses = mapping.get("FunctionResponseTypes") or []
    yield judged(
        "partial batches", table, "ReportBatchItemFailures" in responses, ", ".join(responses) or "not reported",
        f"What could not be landed for now counts as done, and is lost: {update} --function-response-types "
        "ReportBatchItemFailures",
    )  # fmt: skip
    retries = mapping.get("MaximumRetryAttempts", -1)
    yield judged("retries", table, retries >= 0, "without end" if retries < 0 else str(retries),
                 f"A batch that always fails holds its shard up: {update} --maximum-retry-attempts 100")  # fmt: skip
    bisects = bool(mapping.get("BisectBatchOnFunctionError"))
    yield judged("bisect", table, bisects, "on" if bisects else "off",
                 f"One bad record gives up a whole batch: {update} --bisect-batch-on-function-error")  # fmt: skip
    yield _record_age(table, mapping, retention_seconds, update)
    destination = destination_of(mapping)
    yield judged(
        "on-failure destination", table, destination is not None, destination or "none",
        f"What is given up is lost without a word: {update} --destination-config OnFailure={{Destination=QUEUE_ARN}}",
    )  # fmt: skip


def _filter(table: TableConfig, mapping: Description) -> Finding:
    """AWS: "Control which events Lambda sends to your function": what no pattern matches is dropped, as if done."""
    patterns = [one.get("Pattern", "") for one in (mapping.get("FilterCriteria") or {}).get("Filters", ())]
    is_right = not patterns or any(_takes_all(json.loads(one or "{}"), table.dynamodb_name) for one in patterns)
    return judged(
        "filter", table.name, is_right, " or ".join(patterns) or "none",
        "What it leaves out never comes to the lake, and nothing tells of it: aws lambda update-event-source-mapping "
        f"--uuid {mapping['UUID']} --filter-criteria '{{}}'; then dynalake backfill {table.dynamodb_name} --again "
        "--prune",
    )  # fmt: skip


def _takes_all(pattern: Description, table: str) -> bool:
    """Whether every change of the table matches: no condition, or that it is of some tables, of which this is one."""
    data = pattern.get("data", {})
    return set(pattern) <= {"data"} and set(data) <= {"tableName"} and table in data.get("tableName", [table])


def _record_age(table: str, mapping: Description, retention_seconds: int | None, update: str) -> Finding:
    age = mapping.get("MaximumRecordAgeInSeconds", -1)
    found = "without end" if age < 0 else f"{age} s"
    if age > 0 and retention_seconds is None:
        do = "See to the stream first: the age must be well below its retention"
        return unknown("record age", table, Unread(f"{found} of a retention that is not known", do))
    destination = destination_of(mapping)
    margin = BUCKET_MARGIN_SECONDS if destination is None or ":s3:::" in destination else MARGIN_SECONDS
    age_max = (retention_seconds or NATIVE_RETENTION_SECONDS) - margin
    do = f"Records leave the stream before they can be redriven: {update} --maximum-record-age-in-seconds {age_max}"
    if age_max < _AGE_SECONDS_MIN:
        do = ("A message only names records, which leave the stream too soon to be redriven: have the on-failure "
              "destination be a bucket, which gets the records themselves, or keep them longer")  # fmt: skip
    return judged("record age", table, 0 < age <= age_max, found, do)


def _state(table: str, mapping: Description, update: str) -> Finding:
    state, last = mapping.get("State", ""), mapping.get("LastProcessingResult") or ""
    name = function_name(mapping["FunctionArn"])
    if state in _PASSING:
        return unknown("mapping", table, Unread(f"{name} {state}", "Wait until it is Enabled, and run it again"))
    if state == "Enabled" and last.startswith("PROBLEM"):
        return judged("mapping", table, False, f"{name}: {last}", "Mend what it names: the function's log tells more")
    return judged("mapping", table, state == "Enabled", f"{name} {state}", f"{update} --enabled")


def check_capture(
    table: TableConfig,
    firehoses: Sequence[Description] | Unread,
    mappings: Sequence[Description] | Unread,
    functions: Functions,
    beat_us: int | Unread | None,
    lake: str,
    now_us: int,
) -> Finding:
    """Somebody reads the stream into the lake."""
    ways, unread = [], [one for one in (firehoses, mappings, beat_us) if isinstance(one, Unread)]
    for one in () if isinstance(firehoses, Unread) else firehoses:
        if not is_at_work(one):
            continue
        if place_of(one).startswith(f"{lake}/{layout.RAW}/"):
            ways.append(f"Firehose {name_of(one)}")
        else:
            do = f"See that whoever compacts names it: dynalake compact {table.name} --raw {place_of(one)}"
            unread.append(Unread(f"only Firehose {name_of(one)}, to {place_of(one)}, outside of the lake", do))
    if not isinstance(mappings, Unread):
        for one in ours(mappings, functions):
            function = functions.get(one["FunctionArn"])
            if isinstance(function, Unread):
                unread.append(function)
            elif one.get("State") == "Enabled" and lake_of(function) == lake:
                ways.append(f"function {function_name(one['FunctionArn'])}")
    silent = "none"
    if isinstance(beat_us, int):
        seconds = max(now_us - beat_us, 0) // 1_000_000
        if seconds <= SILENCE_SECONDS_MAX:
            ways.append("consume")
        silent = f"consume gave its last sign of life {seconds} s ago"
    if not ways and unread:
        return unknown("capture", table.name, unread[0])
    way = "a Lambda function" if table.surface == "streams" else "a Firehose, a Lambda function, or dynalake consume"
    return judged(
        "capture", table.name, bool(ways), ", ".join(ways) or silent,
        f"Nothing reads the stream into the lake, and what leaves it is lost: set up {way} (docs/capture.md), then "
        f"dynalake backfill {table.dynamodb_name} --again --prune",
    )  # fmt: skip
