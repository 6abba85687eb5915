"""Metrics of the Lambda functions: lines in CloudWatch's embedded metric format, which need no request.

AWS: "Specification: Embedded metric format" in the CloudWatch guide.
"""

from __future__ import annotations

import json

from ingest.capture import Landing, Origin

NAMESPACE = "dynalake"
_UNITS = {"Records": "Count", "Landed": "Count", "Duplicates": "Count", "DeadLetters": "Count", "Unlanded": "Count",
          "OldestRecordAge": "Milliseconds"}  # fmt: skip


def metrics_line(origin: Origin, landing: Landing | None, records: int, age_us: int, now_us: int) -> str:
    """What a function did with a batch, by stream and, where it is told, by shard.

    Without a `landing` its `records` are unlanded. `age_us` is that of the oldest of them, from its arrival.
    """
    dimensions = {"Stream": origin.stream} | ({"Shard": origin.shard_id} if origin.shard_id else {})
    values = {
        "Records": records,
        "Landed": landing.changes if landing else 0,
        "Duplicates": landing.duplicates if landing else 0,
        "DeadLetters": landing.dead_letters if landing else 0,
        "Unlanded": 0 if landing else records,
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
