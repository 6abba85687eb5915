"""verify, as a ratio against the Scan that it rides on, in one run.

    python -m benchmarks.verify                      100,000 items of some 700 bytes

DynamoDB is the stand-in's server, in a process of its own. The Scan is boto3's, as many segments at once as verify
reads, and counts the items; beside it stands our own Scan, which does nothing else either. verify is measured on a
lake that has the items as the Scan tells them, and on one in which every image has its attributes in another order.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import msgspec

from benchmarks.backfill import serve
from compaction.compact import compact
from compaction.refresh import refresh
from compaction.settings import Settings as JobSettings
from ingest.reads import ReadRecords
from lake.config import TableConfig
from lake.dynamodb import DynamoDB
from lake.lake import Lake, add_table, create_lake
from lake.store import put
from proof.verify import Settings, verify

SEGMENTS = 4
RECORDS_AT_ONCE = 20_000


def scan_with_boto3() -> int:
    """The floor: nothing but counting."""
    client = boto3.client("dynamodb")

    def count(segment: int) -> int:
        pages = client.get_paginator("scan").paginate(
            TableName="orders", ConsistentRead=True, Segment=segment, TotalSegments=SEGMENTS
        )
        return sum(len(page["Items"]) for page in pages)

    with ThreadPoolExecutor(SEGMENTS) as pool:
        return sum(pool.map(count, range(SEGMENTS)))


def scan_with_ours() -> int:
    dynamodb = DynamoDB()
    dynamodb.describe("orders")

    def count(segment: int) -> int:
        return sum(len(page.items) for page in dynamodb.scan("orders", segment, SEGMENTS))

    with ThreadPoolExecutor(SEGMENTS) as pool:
        return sum(pool.map(count, range(SEGMENTS)))


def new_lake(folder: Path, memory_mb: int, respell: Callable[[bytes], bytes]) -> tuple[Lake, TableConfig]:
    """A lake that has the table's items, their texts passed through `respell`."""
    dynamodb = DynamoDB()
    lake = add_table(create_lake(folder), TableConfig("", "orders", dynamodb.describe("orders").keys))
    table = lake.config.tables["orders"]
    records, held, number = ReadRecords(table, "benchmark", "scan"), [], 0

    def land() -> None:
        nonlocal number
        put(lake.place(f"raw/{number:06}.ndjson.zst"), records.packed(held))
        held.clear()
        number += 1

    for page in dynamodb.scan("orders", 0, 1):
        held += [records.read(respell(item), page.read_us - 5_000_000) for item in page.items]
        if len(held) >= RECORDS_AT_ONCE:
            land()
    if held:
        land()
    settings = JobSettings(time.time_ns() // 1_000, memory_mb=memory_mb, threads=2)
    compact(lake, table, settings)
    refresh(lake, table, settings)
    return lake, table


def reversed_attributes(item: bytes) -> bytes:
    return msgspec.json.encode(dict(reversed(msgspec.json.decode(item).items())))


def seconds(function: Callable[[], int], items: int) -> float:
    start = time.perf_counter()
    found = function()
    assert found == items, (found, items)
    return time.perf_counter() - start


def prove(lake: Lake, table: TableConfig, memory_mb: int) -> int:
    return verify(lake, table, DynamoDB(), Settings(0, segments=SEGMENTS, memory_mb=memory_mb, threads=2)).equal


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def measure(items: int, runs: int, memory_mb: int) -> None:
    lakes = {"as the Scan tells them": lambda item: item, "with attributes in another order": reversed_attributes}
    with tempfile.TemporaryDirectory() as scratch:
        for n, (name, respell) in enumerate(lakes.items()):
            lake, table = new_lake(Path(scratch) / f"lake-{n}", memory_mb, respell)
            floors, ours, ratios = [], [], []
            for _ in range(runs):
                floor = seconds(scan_with_boto3, items)
                own = seconds(scan_with_ours, items)
                taken = seconds(lambda lake=lake, table=table: prove(lake, table, memory_mb), items)
                floors.append(floor)
                ours.append(taken / own)
                ratios.append(taken / floor)
            print(
                f"items {name}: verify takes {median(ratios):.2f} x the Scan by boto3 (at most 1.2 wanted), "
                f"{median(ours):.1f} x our own bare Scan; {items / median(floors):,.0f} items/s by boto3"
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MB, of {memory_mb:,} allowed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-mb", type=int, default=2048)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.items)
        return
    command = [sys.executable, "-m", "benchmarks.verify", "--serve", "--items", str(options.items)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        os.environ.update(json.loads(server.stdout.readline()))
        measure(options.items, options.runs, options.memory_mb)
        server.stdin.close()


if __name__ == "__main__":
    main()
