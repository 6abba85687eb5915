"""Backfill by Scan, as a ratio against a boto3 paginator that only counts the same items, in one run.

    python -m benchmarks.backfill                    100,000 items, with 1 worker and with 4
    python -m benchmarks.backfill --rcu-max 500      only how near a backfill comes to that

DynamoDB is the stand-in's server, in a process of its own: both wait for the same answers, and what differs is
what is done with them. The paginator reads one segment after the other, as one writes it in a minute; with
`--workers 1` backfill does too. The server answers one request at a time, so more workers gain only what this
side takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3

from benchmarks.compact import order
from ingest.backfill import backfill
from lake.config import TableConfig
from lake.dynamodb import DynamoDB
from lake.lake import add_table, create_lake

BATCH = 25  # of one BatchWriteItem


def serve(items: int) -> None:
    """The server, filled with items; says where it is, and ends with its input."""
    import random

    from standin.server import AwsStandIn

    rng = random.Random(1)
    with AwsStandIn(seed=1) as aws:
        aws.replicate("orders", bucket="raw", range_key=("sk", "S"))
        client = aws.client("dynamodb")
        for n in range(0, items, BATCH):
            puts = [{"PutRequest": {"Item": order(rng, i, i)}} for i in range(n, min(n + BATCH, items))]
            client.batch_write_item(RequestItems={"orders": puts})
        print(json.dumps(aws.environment), flush=True)
        sys.stdin.read()


def paginate() -> int:
    """The floor: nothing but counting."""
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName="orders", ConsistentRead=True)
    return sum(len(page["Items"]) for page in pages)


def rate(function, items: int) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    found = function()
    assert found == items, (found, items)
    return items / (time.perf_counter() - start)


def measure(items: int, runs: int, workers: int) -> None:
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        for n in range(runs):
            lake = create_lake(Path(scratch) / f"lake-{n}")
            lake = add_table(lake, TableConfig("", "orders", DynamoDB().describe("orders").keys))
            table = lake.config.tables["orders"]
            counted = rate(paginate, items)
            filled = rate(lambda lake=lake, table=table: backfill(lake, table, DynamoDB(), workers).items, items)
            ratios.append(filled / counted)
            print(f"run {n + 1}: paginator {counted:,.0f} items/s, backfill {filled:,.0f} items/s")
    ratio = sorted(ratios)[len(ratios) // 2]
    print(f"backfill with {workers} worker(s) has {ratio:.1f} x the items/s of a paginator that counts (0.8 wanted)")


def measure_pace(rcu_max: float) -> None:
    """What was taken of what might be, and what this process does of it: the rest is waiting."""
    with tempfile.TemporaryDirectory() as scratch:
        lake = create_lake(Path(scratch) / "lake")
        lake = add_table(lake, TableConfig("", "orders", DynamoDB().describe("orders").keys))
        start, busy = time.perf_counter(), time.process_time()
        report = backfill(lake, lake.config.tables["orders"], DynamoDB(rcu_max=rcu_max))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    taken = report.capacity_units / seconds
    print(f"{taken:,.0f} of {rcu_max:,.0f} units/s taken ({taken / rcu_max:.2f} x) over {seconds:,.0f} s")
    print(f"a core of this side would do for {report.capacity_units / busy:,.0f} units/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rcu-max", type=float)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.items)
        return
    command = [sys.executable, "-m", "benchmarks.backfill", "--serve", "--items", str(options.items)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        os.environ.update(json.loads(server.stdout.readline()))
        if options.rcu_max:
            measure_pace(options.rcu_max)
        else:
            for workers in (1, 4):
                measure(options.items, options.runs, workers)
        server.stdin.close()


if __name__ == "__main__":
    main()
