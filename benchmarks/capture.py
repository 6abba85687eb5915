"""The core of capture on one core, beside a loop of `json.loads` over the same records, in one process.

    python -m benchmarks.capture                     100,000 records of some 1.3 KB, ratios
    python -m benchmarks.capture --rounds 200        the same records again and again: memory, which must stay flat

What is measured is decode, checks, dedupe, order and encode: from a record's bytes as Kinesis has them to an object's
bytes. zstd and the upload are apart. Seconds are the processor's, of this process alone. `--masks` masks an attribute.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.compact import NOW_US, write_records
from ingest.capture import CaptureRules, Landing, Origin, StreamRecord, plan_landing
from lake.config import LakeConfig, TableConfig
from lake.keys import KeyAttribute, KeySchema
from lake.masks import MaskKey, parse_masks

ANSWER_RECORDS = 2_000  # of one GetRecords
WINDOW_ANSWERS = 4
ORIGIN = Origin("orders", "shardId-000000000000")
SEQUENCE = 49_545_115_243_490_985_018_280_067_714_973_144_582_180_062_593_244_200_961
KEYS = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))


def stream_records(count: int) -> list[StreamRecord]:
    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), count)
        bodies = [gzip.decompress(path.read_bytes()) for path in sorted(Path(folder).glob("*.gz"))]
        lines = [line for body in bodies for line in body.splitlines()]
    return [StreamRecord(line, str(SEQUENCE + n), NOW_US + n) for n, line in enumerate(lines)]


def landings(rules: CaptureRules, records: Sequence[StreamRecord]) -> Iterator[Landing]:
    """The whole core, window by window."""
    window = []
    for n in range(0, len(records), ANSWER_RECORDS):
        window.append(rules.capture(records[n : n + ANSWER_RECORDS], ORIGIN, NOW_US))
        if len(window) == WINDOW_ANSWERS:
            yield plan_landing(window, ORIGIN, {"orders"})
            window = []
    if window:
        yield plan_landing(window, ORIGIN, {"orders"})


def captured(rules: CaptureRules, records: Sequence[StreamRecord]) -> None:
    done = [(landing.records, landing.dead_letters, len(landing.data)) for landing in landings(rules, records)]
    assert sum(one[0] for one in done) == len(records)
    assert sum(one[1] for one in done) == 0 and all(one[2] for one in done)


def parsed(records: Sequence[StreamRecord]) -> None:
    """The floor: what one would begin with."""
    for record in records:
        json.loads(record.data)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure(rules: CaptureRules, records: Sequence[StreamRecord], runs: int) -> None:
    figures = []
    for _ in range(runs):
        start = time.process_time()
        captured(rules, records)
        middle = time.process_time()
        parsed(records)
        figures.append((middle - start, time.process_time() - middle))
    ours, floor = sorted(figures, key=lambda pair: pair[0] / pair[1])[len(figures) // 2]
    best = min(one for one, _ in figures)
    size = sum(len(record.data) for record in records) / len(records)
    print(f"{len(records):,} records of {size:,.0f} bytes, {runs} runs")
    print(f"the core of capture has {floor / ours:.2f} x the records/s of a loop of json.loads")
    print(f"{len(records) / ours:,.0f} records/s a core, {len(records) / best:,.0f} at best (100,000 wanted)")


def hold(rules: CaptureRules, records: Sequence[StreamRecord], rounds: int) -> None:
    """Resident memory after a tenth of the rounds, and at the end."""
    early = 0.0
    for n in range(rounds):
        captured(rules, records)
        if n == rounds // 10:
            early = resident_mb()
    late = resident_mb()
    print(f"{rounds * len(records):,} records: {early:,.0f} MB after a tenth of them, {late:,.0f} MB after all")
    assert late < early * 1.1 + 10, "memory grows"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--masks", action="store_true")
    options = parser.parse_args()
    masks = parse_masks({"email": "hash"} if options.masks else {}, KEYS, "benchmark")
    config = LakeConfig({"orders": TableConfig("orders", "orders", KEYS, masks=masks)})
    rules = CaptureRules(config, MaskKey(bytes(32)) if masks else None)
    records = stream_records(options.records)
    if options.rounds:
        hold(rules, records, options.rounds)
    else:
        measure(rules, records, options.runs)


if __name__ == "__main__":
    main()
