"""The Lambda functions: a consumer behind an event source mapping, and the transformation for Firehose.

Set `DYNALAKE_LAKE` to the lake. `stream_handler` is for mappings of a Kinesis stream or of a native DynamoDB stream
with `ReportBatchItemFailures`; `firehose_handler` is for a delivery stream's processing configuration.

AWS: "Using AWS Lambda with Amazon Kinesis" and "… with DynamoDB Streams" (partial batch responses), and "Data
transformation" in the Firehose guide (what goes in and out, 6 MB).
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections import Counter
from typing import Any

from ingest.capture import Captured, Landing, Origin, plan_landing
from ingest.events import firehose_record, name_of, records_of
from ingest.landing import LiveLake, land
from ingest.metrics import Counted, batch_line
from lake.errors import ConfigError, LakeError, TransientError

RESPONSE_BYTES_MAX = 6_000_000  # a little less than Lambda takes
_ANSWER_BYTES = 150  # of one record's answer, beside its data
_opened: dict[str, LiveLake] = {}  # lives as long as Lambda keeps the process


def stream_handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Lands a batch of an event source mapping; poison counts as handled, it is in the dead letters.

    Where nothing could be landed for now, the answer names the batch's lowest sequence number, and Lambda brings it
    again from there. Raises LakeError for what does not pass by itself: then the function's errors tell of it.
    """
    given = _given(event, "Records", "an event source mapping of a Kinesis or DynamoDB stream")
    if not given:
        return {"batchItemFailures": []}
    origin, records = records_of(given, _now_us())
    lake, now_us = _lake(), _now_us()
    failures: list[dict[str, str]] = []
    landing = None
    try:
        landing = plan_landing([lake.capture(records, origin, now_us)], origin, set(lake.names))
        land(landing, lake.lake, lake.names, _log)
    except (TransientError, OSError) as fault:
        _log(fault)
        failures = [{"itemIdentifier": min((one.sequence_number for one in records), key=int)}]
    counted = Counted(len(records), unlanded=len(records))
    if landing is not None and not failures:
        counted = Counted(len(records), landing.changes, landing.duplicates, landing.dead_letters)
    print(batch_line(origin, counted, now_us - records[0].arrived_us, now_us), flush=True)
    return {"batchItemFailures": failures}


def firehose_handler(event: dict[str, Any], context: Any = None) -> dict[str, Any]:
    """Answers for each record: Ok with `_lake`, masks and a newline; Dropped where it is a dead letter by now.

    What would make the answer too large lands as an object beside Firehose's. What cannot be kept in any way is
    ProcessingFailed, and stays with Firehose, in its error prefix. Raises LakeError where the lake cannot be read.
    """
    given_records = _given(event, "records", "a delivery stream's processing configuration")
    origin = Origin(name_of(event.get("sourceKinesisStreamArn") or event["deliveryStreamArn"]))
    lake, now_us = _lake(), _now_us()
    answers: list[dict[str, str]] = []
    poison: list[tuple[int, Captured]] = []
    overflow: list[tuple[int, Captured]] = []
    size, oldest_us = _ANSWER_BYTES * len(given_records), now_us
    for n, given in enumerate(given_records):
        shard_id, record = firehose_record(given)
        oldest_us = min(oldest_us, record.arrived_us)
        captured = lake.capture([record], Origin(origin.stream, shard_id), now_us)
        answer = {"recordId": given["recordId"], "result": "Dropped"}
        answers.append(answer)
        if captured.letters:
            poison.append((n, captured))
            continue
        data = base64.b64encode(captured.lines[0].text).decode()
        if size + len(data) > RESPONSE_BYTES_MAX:
            overflow.append((n, captured))
        else:
            size += len(data)
            answer |= {"result": "Ok", "data": data}
    landings = [_land_beside(part, origin, lake, answers) for part in (poison, overflow) if part]
    landed = [one for one in landings if one is not None]
    results = Counter(answer["result"] for answer in answers)
    counted = Counted(
        len(answers), results["Ok"] + sum(one.changes for one in landed), sum(one.duplicates for one in landed),
        sum(one.dead_letters for one in landed), results["ProcessingFailed"],
    )  # fmt: skip
    print(batch_line(origin, counted, now_us - oldest_us, now_us), flush=True)
    return {"records": answers}


def _given(event: Any, name: str, source: str) -> list[dict[str, Any]]:
    """The records in an event. Raises ConfigError for another: taken for an empty one, its records would be lost."""
    found = event.get(name) if isinstance(event, dict) else None
    if not isinstance(found, list):
        raise ConfigError("capture", "an event", expected=f"{name!r}, as from {source}",
                          got=", ".join(event) if isinstance(event, dict) else type(event).__name__,
                          remedy="Name the other handler, or see what invokes the function")  # fmt: skip
    return found


def _land_beside(
    part: list[tuple[int, Captured]], origin: Origin, lake: LiveLake, answers: list[dict[str, str]]
) -> Landing | None:
    """Lands what Firehose is not to deliver; where that fails, these records stay with Firehose."""
    landing = plan_landing([captured for _, captured in part], origin, set(lake.names))
    try:
        land(landing, lake.lake, lake.names, _log)
        return landing
    except (LakeError, OSError) as fault:
        _log(fault)
        for n, _ in part:
            answers[n]["result"] = "ProcessingFailed"
        return None


def _lake() -> LiveLake:
    uri = os.environ.get("DYNALAKE_LAKE", "")
    if not uri:
        raise ConfigError("capture", "the function", expected="its lake in the variable DYNALAKE_LAKE", got="none",
                          remedy="Set it to s3://BUCKET/PREFIX")  # fmt: skip
    if uri not in _opened:
        _opened[uri] = LiveLake(uri, time.monotonic)
    return _opened[uri]


def _now_us() -> int:
    return time.time_ns() // 1_000


def _log(fault: Exception) -> None:
    print(json.dumps({"event": "landing failed", "fault": type(fault).__name__, "message": str(fault)}), flush=True)
