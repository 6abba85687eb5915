"""A lake whose rules refused some records, mended and redriven, against one that never had the fault."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import compaction.compact
import compaction.salvage
import ingest.capture
import standin
from compaction.compact import compact
from lake.config import TableConfig
from lake.errors import PoisonError
from lake.lake import Lake, add_table, create_lake, open_lake
from lake.masks import parse_masks
from lake.records import decode_record
from lake.store import update
from tests.lakes import NOW_US, SCHEMA, SETTINGS, compacted, land_records, refreshed
from tests.redriving import capture, log_of, open_letters, redrive, state_of
from tests.test_histories import START_US, history

MASKS = {"v": "hash", "s": "drop"}
KEY_MASKS = {"pk": "hash", "v": "redact"}
OTHER = TableConfig("", "other", SCHEMA, buckets=4)


@contextmanager
def refusing(rng: random.Random, share: float, per_record: bool) -> Iterator[None]:
    """An older decoder: it refuses a share of the changes, or now and then a copy of one."""
    refused: dict[str, bool] = {}

    def decode(record: dict[str, Any], *rest: Any) -> Any:
        decided = rng.random() < share
        if not (decided if per_record else refused.setdefault(str(record.get("eventID")), decided)):
            return decode_record(record, *rest)
        raise PoisonError("contradictory", "as an older version would have it")

    def no_sql(*_: Any) -> None:
        raise duckdb.ConversionException("an older version")

    with (
        patch.object(compaction.compact, "read_landed", no_sql),
        patch.object(compaction.salvage, "decode_record", decode),
        patch.object(ingest.capture, "decode_record", decode),
        patch.object(ingest.capture.CaptureRules, "_plain", lambda *_: None),
    ):
        yield


def table_config(rng: random.Random, masks: dict[str, str]) -> TableConfig:
    return TableConfig("", "orders", SCHEMA, rng.choice(["kds", "streams"]), 4, rng.choice(["delete", "keep"]),
                       parse_masks(masks, SCHEMA, ""))  # fmt: skip


def bring(lake: Lake, parts: Sequence[Sequence[bytes]], by_capture: bool, now_us: int = NOW_US) -> None:
    """Lands every part and compacts behind each, all tables that there are."""
    for n, part in enumerate(parts):
        if by_capture:
            capture(lake, part, now_us, first=1_000 * n)
        else:
            land_records(lake, f"firehose-{n}.json", part)
        for table in open_lake(lake.uri).config.tables.values():
            compact(open_lake(lake.uri), table, replace(SETTINGS, now_us=now_us))


def end(lake: Lake) -> tuple[list[tuple], list[tuple], list[tuple]]:
    lake = open_lake(lake.uri)
    compacted(lake)
    fresh = state_of(lake)
    refreshed(lake)
    return log_of(lake), fresh, state_of(lake)


def check(seed: int) -> None:
    rng = random.Random(seed)
    writes = history(rng, rng.choice([1, 5, 30]), rng.choice([20, 120]), rng.choice([1, 40, 3_000, 90_000_000]))
    fault = rng.choice(["decoder", "decoder", "unregistered", "masks added", "clock"])
    masks = rng.choice([{}, MASKS, KEY_MASKS]) if fault != "masks added" else MASKS
    config = table_config(rng, masks)
    by_capture = rng.random() < 0.5 if fault != "masks added" else False
    raws = records_of(rng, writes, config)
    cuts = sorted(rng.sample(range(len(raws) + 1), min(3, len(raws))))
    parts = [part for part in (raws[a:b] for a, b in zip([0, *cuts], [*cuts, len(raws)], strict=True)) if part]
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        right, lake = (create_lake(root / name) for name in ("right", "wrong"))
        right = add_table(right, config)
        if config.masks and not by_capture and fault != "masks added":
            by_capture = True  # a table with masks takes nothing from Firehose that has not gone through them
        bring(right, parts, by_capture or bool(config.masks))
        if fault == "decoder":
            lake = add_table(lake, config)
            with refusing(rng, rng.uniform(0.01, 0.1), rng.random() < 0.3):
                bring(lake, parts, by_capture)
        elif fault == "unregistered":
            lake = add_table(lake, OTHER)
            bring(lake, parts, by_capture)
            lake = without_other(add_table(lake, config))
        elif fault == "clock":
            lake = add_table(lake, config)
            bring(lake, parts, by_capture, START_US - rng.randrange(10**12))
        else:
            lake = add_table(lake, replace(config, masks=()))
            for n, part in enumerate(parts):
                land_records(lake, f"firehose-{n}.json", part)
            lake = masked(lake, MASKS)
            compacted(lake)
        found = redrive(lake)
        assert found.still_poison == 0 and open_letters(lake) == 0
        assert end(lake) == end(right)
        again = redrive(lake)
        assert (again.letters, again.landed, again.objects) == (0, 0, 0)
    finally:
        shutil.rmtree(root)


def records_of(rng: random.Random, writes: standin.Table, config: TableConfig) -> list[bytes]:
    """With duplicates and late arrivals."""
    faults = standin.Faults(duplicates=0.2, duplicate_after_seconds=rng.choice([1.0, 100_000.0]),
                            disorder=rng.choice([0.0, 0.3]), disorder_records=rng.choice([3, 200]))  # fmt: skip
    seed = rng.randrange(1 << 30)
    if config.surface == "streams":
        return [json.dumps(one).encode() for one in standin.stream_records(writes, seed=seed, faults=faults)]
    precision: standin.Precision = rng.choice(["MICROSECOND", "MILLISECOND"])
    return [one.data for one in standin.kds_records(writes, seed=seed, precision=precision, faults=faults)]


def without_other(lake: Lake) -> Lake:
    """The lake with but one table: letters of no table were all there was of it."""
    update(lake.place("lake.toml"), lambda text: text.replace(text[text.index("\n[tables.other]") :], "")
           + text[text.index("\n[tables.orders]") :])  # fmt: skip
    return open_lake(lake.uri)


def masked(lake: Lake, masks: dict[str, str]) -> Lake:
    section = "\n[tables.orders.masks]\n" + "".join(f'{path} = "{action}"\n' for path, action in masks.items())
    update(lake.place("lake.toml"), lambda text: text + section)
    return open_lake(lake.uri)


@pytest.fixture(autouse=True, scope="module")
def secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
        yield


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1 << 40))
@example(seed=0)
def test_a_mended_lake_is_what_it_would_have_been(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_many_mended_lakes_are_what_they_would_have_been(seed: int) -> None:
    check(seed)
