"""Metrics as lines of a log, in CloudWatch's embedded metric format: they need no request.

AWS: "Specification: Embedded metric format" in the CloudWatch guide. Lambda's log takes them as they are, and so does
a container's by the driver awslogs: PutLogEvents needs no header for them any more ("Using the PutLogEvents API to send
manually-created embedded metric format logs").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

NAMESPACE = "dynalake"


def metrics_line(
    dimensions: Mapping[str, str],
    by: Sequence[Sequence[str]],
    values: Mapping[str, float],
    units: Mapping[str, str],
    now_us: int,
) -> str:
    """One line, of values as they were at `now_us`. `by` are the sets of dimensions under which each value counts;
    what has no unit in `units` is a count.
    """
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(names) for names in by],
        "Metrics": [{"Name": name, "Unit": units.get(name, "Count")} for name in values],
    }
    return json.dumps(
        {"_aws": {"Timestamp": now_us // 1_000, "CloudWatchMetrics": [directive]}, **dimensions, **values}
    )
