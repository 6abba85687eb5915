"""Metrics of the Lambda functions: lines in CloudWatch's embedded metric format, which need no request.

AWS: "Specification: Embedded metric format" in the CloudWatch guide.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ingest.capture import Origin

NAMESPACE = "dynalake"
_UNITS = {"Records": "Count", "Landed": "Count", "Duplicates": "Count", "DeadLetters": "Count", "Unlanded": "Count",
          "OldestRecordAge": "Milliseconds"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counted:
    """What a function did with a batch: its `records` are the sum of the others. `unlanded` ones are not lost."""

    records: int
    landed: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    unlanded: int = 0


def metrics_line(origin: Origin, counted: Counted, age_us: int, now_us: int) -> str:
    """By stream and, where it is told, by shard. `age_us` is that of the oldest record, from its arrival."""
    dimensions = {"Stream": origin.stream} | ({"Shard": origin.shard_id} if origin.shard_id else {})
    values = {
        "Records": counted.records,
        "Landed": counted.landed,
        "Duplicates": counted.duplicates,
        "DeadLetters": counted.dead_letters,
        "Unlanded": counted.unlanded,
        "OldestRecordAge": max(age_us, 0) // 1_000,
    }
    names = list(dimensions)
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [names[:n] for n in range(1, len(names) + 1)],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in _UNITS.items()],
    }
    return json.dumps(
        {"_aws": {"Timestamp": now_us // 1_000, "CloudWatchMetrics": [directive]}, **dimensions, **values}
    )
