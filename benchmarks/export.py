"""Backfill from an export, as a ratio against DuckDB's bare read of the same files, in one run.

    python -m benchmarks.export                     300,000 items of some 700 bytes, full and incremental
    python -m benchmarks.export --masks             the same behind masks, which are applied line by line

The floor is what any reader of an export in SQL must do: unpack the gzip files, parse each line and get the item as
text. Backfill checks the files on top, finds the keys, makes records of the lines, and lands them compressed.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

import standin
from benchmarks.compact import START_US, order
from ingest.exports import backfill_from_export
from lake.config import TableConfig
from lake.keys import KeyAttribute, KeySchema
from lake.lake import add_table, create_lake
from lake.masks import parse_masks

FILES = 8
KEYS = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
HOUR_US = 3_600_000_000


def lay_out(items: int, place: Path) -> tuple[list[standin.TableExport], float, float]:
    """A full export and an incremental one, in a folder; the bytes of a line and the gzip ratio, too."""
    table = standin.Table("orders")
    rng = random.Random(1)
    for n in range(items):
        table.put(order(rng, n, n), START_US + n)
    for n in range(0, items, 2):
        item = order(rng, n, items + n)
        if n % 20:
            table.put(item, START_US + HOUR_US + n)
        else:
            table.delete(item, START_US + HOUR_US + n)
    middle_us, end_us = START_US + HOUR_US // 2, START_US + 2 * HOUR_US
    made = [standin.full_export(table, middle_us, files=FILES),
            standin.incremental_export(table, middle_us, end_us, files=FILES)]  # fmt: skip
    plain = packed = 0
    for export in made:
        for key, body in export.objects.items():
            path = place / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            if key.endswith(".gz"):
                plain, packed = plain + len(gzip.decompress(body)), packed + len(body)
    return made, plain / (items * 1.5), plain / packed


def bare_read(files: list[str], columns: dict[str, str]) -> None:
    """The floor."""
    con = duckdb.connect(config={"threads": 2})
    lengths = " + ".join(f"coalesce(sum(length({name}::VARCHAR)), 0)" for name in columns)
    con.execute(
        f"SELECT {lengths} FROM read_json(?, format = 'newline_delimited', columns = {columns})", [files]
    ).fetchall()
    con.close()


def timed(function: Callable[[], object]) -> float:
    os.sync()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(place: Path, export: standin.TableExport, names: tuple[str, ...], runs: int, masked: bool) -> None:
    files = [str(place / key) for key in export.objects if key.endswith(".gz")]
    masks = parse_masks({"email": "hash"}, KEYS, "") if masked else ()
    ratios = []
    for n in range(runs):
        with tempfile.TemporaryDirectory() as scratch:
            lake = add_table(create_lake(Path(scratch) / "lake"), TableConfig("", "orders", KEYS, masks=masks))
            table = lake.config.tables["orders"]
            floor = timed(lambda: bare_read(files, dict.fromkeys(names, "JSON")))
            ours = timed(lambda lake=lake, table=table: backfill_from_export(lake, table, str(place / export.folder)))
            ratios.append(ours / floor)
            print(f"run {n + 1}: bare read {floor:.2f} s, backfill {ours:.2f} s")
    kind = "incremental" if len(names) > 1 else "full"
    print(
        f"a backfill from a {kind} export takes {sorted(ratios)[len(ratios) // 2]:.1f} x a bare read (at most 5 wanted)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--masks", action="store_true", help="with one mask")
    options = parser.parse_args()
    if options.masks:
        os.environ.setdefault("DYNALAKE_MASK_SECRET", "k" * 32)
    with tempfile.TemporaryDirectory() as scratch:
        (full, later), mean, ratio = lay_out(options.items, Path(scratch))
        print(f"{options.items:,} items, lines of {mean:,.0f} bytes, gzip ratio {ratio:.1f}")
        measure(Path(scratch), full, ("Item",), options.runs, options.masks)
        names = ("Metadata", "Keys", "NewImage", "OldImage")
        measure(Path(scratch), later, names, options.runs, options.masks)


if __name__ == "__main__":
    main()
