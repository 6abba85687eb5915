"""Metrics of the Lambda functions: what became of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.capture import Origin
from lake.metrics import metrics_line


@dataclass(frozen=True, slots=True)
class Counted:
    """What a function did with a batch: its `records` are the sum of the others. `unlanded` ones are not lost."""

    records: int
    landed: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    unlanded: int = 0


def batch_line(origin: Origin, counted: Counted, age_us: int, now_us: int) -> str:
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
    by = [names[:n] for n in range(1, len(names) + 1)]
    return metrics_line(dimensions, by, values, {"OldestRecordAge": "Milliseconds"}, now_us)
