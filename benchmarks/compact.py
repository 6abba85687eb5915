"""Compaction and refresh, as ratios against a bare scan and a plain loop run beside them in one process.

    python benchmarks/compact.py                     half a million records, ratios
    python benchmarks/compact.py --memory-mb 512     the whole job's peak resident memory, measured apart

The records: about 1.3 KB with both images, orders of a shop with some twenty attributes, gzip ratio under 10,
2% duplicates, arrival disorder, 5% deletes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from boto3.dynamodb.types import TypeDeserializer

from compaction.compact import compact
from compaction.refresh import refresh
from compaction.settings import Settings
from lake.config import TableConfig
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, add_table, create_lake

NOW_US = 1_800_000_000_000_000
START_US = 1_700_000_000_000_000
RECORDS_PER_OBJECT = 16_000
DUPLICATES, DELETES = 0.02, 0.05
COUNTED = """{eventID: 'VARCHAR', dynamodb: 'STRUCT("Keys" JSON, NewImage JSON, OldImage JSON)'}"""


def order(rng: random.Random, n: int, version: int) -> dict:
    """An item as a shop would have it."""
    lines = rng.randrange(1, 9)
    return {
        "pk": {"S": f"CUST#{n % 9973:06d}"}, "sk": {"S": f"ORDER#{n:09d}"}, "type": {"S": "order"},
        "status": {"S": rng.choice(("PLACED", "PAID", "PICKED", "SHIPPED", "DELIVERED", "RETURNED"))},
        "total": {"N": str(rng.randrange(100, 90_000) / 100)}, "currency": {"S": "EUR"},
        "lines": {"N": str(lines)}, "weight_kg": {"N": str(rng.randrange(1, 900) / 10)},
        "paid": {"BOOL": rng.random() < 0.7}, "gift": {"BOOL": rng.random() < 0.1},
        "channel": {"S": rng.choice(("web", "app", "shop"))}, "tags": {"SS": [f"t{rng.randrange(40)}", "u1"]},
        "city": {"S": rng.choice(("Berlin", "Paris", "Madrid", "Vienna"))}, "zip": {"S": f"{n % 99999:05d}"},
        "carrier": {"S": rng.choice(("DHL", "UPS", "GLS"))}, "email": {"S": f"{rng.randbytes(5).hex()}@example.com"},
        "coupon": {"NULL": True} if n % 3 else {"S": f"C{rng.randrange(10**6)}"},
        "tracking": {"S": rng.randbytes(6).hex()},
        "version": {"N": str(version)}, "updated_at": {"N": str(START_US // 1000 + version)},
    }  # fmt: skip


def write_records(folder: Path, count: int) -> tuple[float, float]:
    """Writes gzipped NDJSON objects; gives the mean record's bytes and the gzip ratio."""
    rng = random.Random(1)
    items: dict[int, dict] = {}
    at_us, plain, packed, number = START_US, 0, 0, 0
    held: list[bytes] = []
    for version in range(count):
        n = rng.randrange(count // 5 + 1)
        at_us += rng.randrange(2_000)
        old = items.get(n)
        gone = old is not None and rng.random() < DELETES / (1 - 0.2)
        new = None if gone else order(rng, n, version)
        images = {name: image for name, image in (("NewImage", new), ("OldImage", old)) if image is not None}
        record = {
            "awsRegion": "eu-central-1", "eventID": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "eventName": "REMOVE" if gone else "INSERT" if old is None else "MODIFY", "userIdentity": None,
            "recordFormat": "application/json", "tableName": "orders",
            "dynamodb": {
                "ApproximateCreationDateTime": at_us,
                "Keys": {name: (new or old or {})[name] for name in ("pk", "sk")}, **images,
                "SizeBytes": 700, "ApproximateCreationDateTimePrecision": "MICROSECOND",
            },
            "eventSource": "aws:dynamodb",
        }  # fmt: skip
        if new is None:
            del items[n]
        else:
            items[n] = new
        line = json.dumps(record, separators=(",", ":")).encode()
        held += [line, line] if rng.random() < DUPLICATES else [line]
        if len(held) >= RECORDS_PER_OBJECT or version == count - 1:
            rng.shuffle(held)
            body = b"\n".join(held) + b"\n"
            data = gzip.compress(body, 6, mtime=0)
            (folder / f"orders-1-{number:05d}.gz").write_bytes(data)
            plain, packed, number, held = plain + len(body), packed + len(data), number + 1, []
    return plain / count, plain / packed


def scan(raw: Path) -> None:
    """The floor: DuckDB counting the records, images as JSON text."""
    con = duckdb.connect(config={"threads": 2})
    con.execute(
        f"""SELECT count(eventID), count(dynamodb)
        FROM read_json('{raw}/*.gz', format = 'newline_delimited', columns = {COUNTED})"""
    ).fetchall()
    con.close()


def plain_loop(raw: Path, out: Path, with_log: bool) -> None:
    """What one would write in an afternoon: json, boto3's deserializer, a dict of the latest, pyarrow.

    It makes the current state, and `with_log` the change log too, each change once: what compact and refresh make.
    """
    deserialize = TypeDeserializer().deserialize
    latest: dict[tuple, tuple[int, dict | None]] = {}
    log: dict[str, dict] = {}
    for path in sorted(raw.glob("*.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                record = json.loads(line)
                body = record["dynamodb"]
                images = [
                    {name: deserialize(value) for name, value in body[image].items()} if image in body else None
                    for image in ("NewImage", "OldImage")
                ]
                key = (body["Keys"]["pk"]["S"], body["Keys"]["sk"]["S"])
                at_us = body["ApproximateCreationDateTime"]
                if key not in latest or at_us >= latest[key][0]:
                    latest[key] = (at_us, images[0])
                if with_log and record["eventID"] not in log:
                    texts = {n: json.dumps(body[n]) if n in body else None for n in ("NewImage", "OldImage")}
                    change = {"op": record["eventName"], "at_us": at_us, "pk": key[0], "sk": key[1], **texts}
                    log[record["eventID"]] = {"event_id": record["eventID"], **change}
    rows = [_plain(item) for _, item in latest.values() if item is not None]
    pq.write_table(pa.Table.from_pylist(rows), out / "loop.parquet", compression="zstd")
    if with_log:
        pq.write_table(pa.Table.from_pylist(list(log.values())), out / "log.parquet", compression="zstd")


def _plain(item: dict) -> dict:
    return {
        name: float(value) if isinstance(value, Decimal) else sorted(value) if isinstance(value, set) else value
        for name, value in item.items()
    }


def new_lake(root: Path) -> Lake:
    keys = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
    return add_table(create_lake(root), TableConfig("", "orders", keys, "kds", 8))


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratios(raw: Path, out: Path, settings: Settings, runs: int) -> None:
    """Each run measures all beside each other; the median of each ratio is what counts."""
    found = []
    for n in range(runs):
        lake = new_lake(out / f"lake-{n}")
        table = lake.config.tables["orders"]
        floor = min(timed(lambda: scan(raw)) for _ in range(2))
        compacting = timed(lambda lake=lake, table=table: compact(lake, table, settings, str(raw)))
        refreshing = timed(lambda lake=lake, table=table: refresh(lake, table, settings))
        both = timed(lambda: plain_loop(raw, out, with_log=True))
        state = timed(lambda: plain_loop(raw, out, with_log=False))
        ours = compacting + refreshing
        found.append((compacting / floor, both / ours, state / ours))
        print(
            f"run {n + 1}: scan {floor:.2f} s, compact {compacting:.2f} s, refresh {refreshing:.2f} s, "
            f"plain loop {both:.2f} s, for the state alone {state:.2f} s"
        )
    scans, boths, states = (sorted(ratio)[len(found) // 2] for ratio in zip(*found, strict=True))
    print(f"compact takes {scans:.1f} x the scan (at most 5 wanted)")
    print(f"compact + refresh are {boths:.1f} x as fast as a plain loop that makes both tables (8 wanted)")
    print(f"and {states:.1f} x as fast as one that makes the current state alone")


def peak(raw: Path, out: Path, memory_mb: int) -> None:
    """The job in a process of its own, so that nothing else counts."""
    subprocess.run([sys.executable, __file__, "--job", str(raw), str(out / "small"), str(memory_mb)], check=True)


def job(raw: Path, root: Path, memory_mb: int) -> None:
    lake, settings = new_lake(root), Settings(NOW_US, memory_mb, threads=2)
    for stage in (
        lambda: compact(lake, lake.config.tables["orders"], settings, str(raw)),
        lambda: refresh(lake, lake.config.tables["orders"], settings),
        lambda: refresh(lake, lake.config.tables["orders"], settings, full=True),
    ):
        print(stage(), f"peak so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-mb", type=int, help="measure peak memory under this setting instead")
    parser.add_argument("--keep", type=Path, help="make the records here, or take those that are here")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job(Path(options.job[0]), Path(options.job[1]), int(options.job[2]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        raw = options.keep or Path(scratch) / "raw"
        if not raw.exists():
            raw.mkdir(parents=True)
            mean, ratio = write_records(raw, options.records)
            print(f"{options.records:,} records of {mean:,.0f} bytes, gzip ratio {ratio:.1f}")
        if options.memory_mb:
            peak(raw, Path(scratch), options.memory_mb)
        else:
            ratios(raw, Path(scratch), Settings(NOW_US, 4096, threads=2), options.runs)


if __name__ == "__main__":
    main()
