"""`gaps` over a change log, as a ratio against a bare scan of its images beside it in one process.

    python benchmarks/gaps.py                    half a million changes

The log is that of benchmarks/compact.py. A second one has the attributes of each image in another order, so that no
text is the next one's and every pair of changes has to be compared as items.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.compact import NOW_US, new_lake, timed, write_records
from compaction.compact import compact
from compaction.settings import Settings
from lake import layout
from lake.catalog import load_table, open_catalog
from lake.engine import connect_engine
from lake.lake import Lake
from lake.tables import scan_sql
from proof import gaps


def made(raw: Path, root: Path, settings: Settings) -> Lake:
    lake = new_lake(root)
    compact(lake, lake.config.tables["orders"], settings, str(raw))
    return lake


def reorder(raw: Path, out: Path) -> None:
    """The same records, the attributes of each image in an order of its own."""
    rng = random.Random(2)
    out.mkdir()
    for path in sorted(raw.glob("*.gz")):
        lines = []
        for line in gzip.decompress(path.read_bytes()).splitlines():
            record = json.loads(line)
            rng.seed(record["eventID"])  # copies stay copies
            for name in ("NewImage", "OldImage"):
                if name in record["dynamodb"]:
                    attributes = list(record["dynamodb"][name].items())
                    rng.shuffle(attributes)
                    record["dynamodb"][name] = dict(attributes)
            lines.append(json.dumps(record, separators=(",", ":")).encode())
        (out / path.name).write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1))


def scan(lake: Lake, settings: Settings) -> None:
    """The floor: the images of the log and nothing else."""
    log = load_table(open_catalog(lake), layout.log_table("orders"))
    assert log is not None
    con = connect_engine(settings.memory_mb, settings.threads)
    con.execute(f"SELECT sum(length(new_image)), sum(length(old_image)) FROM {scan_sql(log)}").fetchall()
    con.close()


def search(lake: Lake, settings: gaps.Settings) -> Callable[[], None]:
    def run() -> None:
        report = gaps.find_gaps(lake, lake.config.tables["orders"], settings)
        assert (report.holes, report.changes > 0) == (0, True), report

    return run


def measure(name: str, lake: Lake, settings: Settings, runs: int) -> None:
    options = gaps.Settings(NOW_US, 0, memory_mb=settings.memory_mb, threads=settings.threads)
    found = []
    for _ in range(runs):
        floor = timed(lambda: scan(lake, settings))
        searching = timed(search(lake, options))
        cpu = time.process_time()
        scan(lake, settings)
        floor_cpu = time.process_time() - cpu
        search(lake, options)()
        found.append((searching / floor, (time.process_time() - cpu - floor_cpu) / floor_cpu))
        print(f"{name}: scan {floor:.2f} s, gaps {searching:.2f} s")
    by_clock, by_cpu = (sorted(ratio)[len(found) // 2] for ratio in zip(*found, strict=True))
    print(f"{name}: gaps takes {by_clock:.1f} x the scan ({by_cpu:.1f} x its processor time)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-mb", type=int, default=4096)
    options = parser.parse_args()
    settings = replace(Settings(NOW_US, 4096, threads=2), memory_mb=options.memory_mb)
    with tempfile.TemporaryDirectory() as scratch:
        raw, other = Path(scratch) / "raw", Path(scratch) / "other"
        raw.mkdir()
        write_records(raw, options.records)
        measure("images as they come", made(raw, Path(scratch) / "lake", settings), settings, options.runs)
        reorder(raw, other)
        name = "attributes in another order each time"
        measure(name, made(other, Path(scratch) / "other-lake", settings), settings, max(1, options.runs // 3))


if __name__ == "__main__":
    sys.exit(main())
