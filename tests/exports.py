"""Exports to S3 for tests: laid out in a folder, of tables with all that items may hold."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import zstandard

import standin
from ingest.exports import ExportReport, backfill_from_export
from lake.keys import KeyKind
from lake.lake import Lake
from tests.lakes import only_table

SECOND_US = 1_000_000
START_US = 1_700_006_300_000_000  # a little before a midnight
NAMES = (
    "v",
    "a.b",
    "a/b",
    "~1",
    'q"uote',
    "Id",
    "id",
    "é",
    "S",
    "Item",
    "Keys",
    "NewImage",
    "with space",
    "\n",
    "_lake",
)


def lay_out(export: standin.TableExport, place: Path | str) -> str:
    """Writes an export below a folder; gives the URI of the export's own."""
    for key, body in export.objects.items():
        path = Path(place) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return f"{place}/{export.folder}"


def run(lake: Lake, uri: str, **options: Any) -> ExportReport:
    return backfill_from_export(lake, only_table(lake), uri, **options)


def raw_texts(lake: Lake) -> dict[str, bytes]:
    """Every object that exports landed, unpacked, by its name below their folder."""
    place = Path(lake.raw) / "export"
    return {
        str(path.relative_to(place)): zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        for path in sorted(place.rglob("*.zst"))
    }


def history(
    rng: random.Random, hash_kind: KeyKind = "S", range_kind: KeyKind | None = "S", writes: int = 120, items: int = 12,
    step_us: int = 2 * SECOND_US, name: str = "orders",
) -> standin.Table:  # fmt: skip
    """Puts and deletes, some of them in one instant, from `START_US` on."""
    table = standin.Table(
        name, ("pk", hash_kind), ("sk", range_kind) if range_kind else None, seed=rng.randrange(1 << 30)
    )
    at_us = START_US
    for _ in range(writes):
        at_us += rng.choice([0, 1, rng.randrange(1_000), rng.randrange(step_us), rng.randrange(step_us)])
        n = rng.randrange(items)
        key = {"pk": key_value(hash_kind, n // 3 if range_kind else n)}
        if range_kind:
            key["sk"] = key_value(range_kind, n)
        if rng.random() < 0.3:
            table.delete(key, at_us, ttl=rng.random() < 0.3)
        else:
            table.put({**key, **attributes(rng)}, at_us)
    return table


def key_value(kind: KeyKind, n: int) -> dict[str, str]:
    if kind == "N":
        return {"N": ("-1.50", "0", "3", "1E+30", "12345678901234567890.5")[n % 5] if n < 5 else str(n)}
    if kind == "B":
        return {"B": base64.b64encode(bytes([n, 255, 0][: 1 + n % 3]) + b"k").decode()}
    return {"S": f"k|{n}\\é\"'"}


def attributes(rng: random.Random) -> dict[str, Any]:
    return {name: value(rng) for name in rng.sample(NAMES, rng.randrange(5))}


def value(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    binary = [base64.b64encode(bytes([n])).decode() for n in rng.sample(range(256), 2)]
    plain = [
        {"S": rng.choice(["", "x", "é😀", '"}]\\', "a\nb\t\x01\x7f", "null"])},
        {"N": rng.choice(["0", "-1.5", "12345678901234567890123456789012345678", "1E-130", "9.99E+125", "0.1"])},
        {"B": binary[0]}, {"BS": binary}, {"SS": ["b", "a", "é"]}, {"NS": ["1", "2.5"]},
        {"BOOL": rng.random() < 0.5}, {"NULL": True},
    ]  # fmt: skip
    if depth < 2:
        plain += [{"L": [value(rng, depth + 1) for _ in range(2)]}, {"M": {rng.choice(NAMES): value(rng, depth + 1)}}]
    return rng.choice(plain)
