"""Random histories through the stand-in's faults, in any split, compacted and refreshed at random."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pytest
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

import standin
from lake.dead_letters import read_dead_letters
from lake.keys import KeySchema
from queries.connect import connect
from tests.lakes import (
    SCHEMA,
    Items,
    compacted,
    expected_items,
    expired_items,
    fresh_items,
    items_of,
    land,
    new_lake,
    only_table,
    refreshed,
    timestamp,
    with_ttl,
)

START_US = 1_700_006_399_990_000  # a little before a midnight: histories cross days


def history(rng: random.Random, items: int, writes: int, step_us: int) -> standin.Table:
    """Inserts, updates, deletes and re-inserts with few values, so that images come back and loops close."""
    table = standin.Table("orders", ("pk", "S"), ("sk", "S"), seed=rng.randrange(1 << 30))
    at_us = START_US
    for _ in range(writes):
        at_us += rng.choice([0, 0, 1, rng.randrange(1, step_us + 1), rng.randrange(1, step_us + 1)])
        if rng.random() < 0.01:
            at_us += rng.randrange(100_000_000_000)  # a day or so without writes
        key = {"pk": {"S": f"c|{rng.randrange(items) % 5}"}, "sk": {"S": f"o{rng.randrange(items)}"}}
        if rng.random() < 0.3:
            table.delete(key, at_us, ttl=rng.random() < 0.3)
        else:
            table.put({**key, "v": {"N": str(rng.randrange(3))}, "s": {"SS": ["a", "b"]}}, at_us)
    return table


def faults(rng: random.Random) -> standin.Faults:
    return standin.Faults(
        duplicates=rng.choice([0.0, 0.2]),
        duplicate_other_precision=rng.choice([0.0, 0.5]),
        duplicate_after_seconds=rng.choice([1.0, 100_000.0]),
        disorder=rng.choice([0.0, 0.3, 1.0]),
        disorder_records=rng.choice([3, 200]),
        precision_switch_at=rng.choice([None, None, 0.4]),
        rewritten_objects=rng.choice([0, 2]),
        late_objects=rng.choice([0, 2]),
        poison=rng.choice([0, 0, 3]),
        unregistered=rng.choice([0, 0, 2]),
    )


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1 << 40))
@example(seed=0)
@example(seed=1)
def test_random_histories_end_as_the_table(seed: int) -> None:
    check_history(seed)


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_many_random_histories_end_as_the_table(seed: int) -> None:
    check_history(seed)


def check_history(seed: int, place: str | None = None) -> None:
    """`place` is where the lake comes to be, where it is not a scratch folder."""
    rng = random.Random(seed)
    table = history(rng, rng.choice([1, 4, 30]), rng.choice([10, 150]), rng.choice([1, 40, 3_000, 90_000_000]))
    precision = rng.choice(["MICROSECOND", "MILLISECOND"])
    knobs = faults(rng)
    report = standin.Report()
    records = standin.kds_records(table, seed=seed, precision=precision, faults=knobs, report=report)
    objects = standin.firehose_objects(
        records, seed=seed, prefix="kds/", buffer_bytes=rng.choice([2_000, 50_000]), faults=knobs, report=report,
        gzip=rng.random() < 0.5, delimiter=rng.random() < 0.7,
    )  # fmt: skip
    if place is None:
        note(f"{len(table.changes)} changes, {precision}, {knobs}")
    if rng.random() < 0.3:  # deliveries of distinct keys in any order: a year-old arrival and the like
        keys = {one.key for one in objects}
        order = dict(zip(sorted(keys), rng.sample(range(len(keys)), len(keys)), strict=True))
        objects = sorted(objects, key=lambda one: order[one.key])
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        lake = new_lake(place or root / "lake", ttl=rng.choice(["delete", "keep"]))
        rounds = rng.choice([1, 3, 6])
        for n in range(rounds):
            land(lake, objects[n * len(objects) // rounds : (n + 1) * len(objects) // rounds])
            for _ in range(rng.randrange(2) if n + 1 < rounds else 1):
                compacted(lake, reread=rng.random() < 0.2)
            if rng.random() < 0.1:
                lake = with_ttl(lake, rng.choice(["delete", "keep"]))
            if rng.random() < 0.5:
                refreshed(lake, full=rng.random() < 0.2)
        check_lake(lake, table, SCHEMA, whole_ms=precision == "MILLISECOND" or knobs.precision_switch_at is not None
                   or knobs.duplicate_other_precision > 0, rng=rng)  # fmt: skip
        letters = sum(1 for _ in read_dead_letters(lake.dead_letters))
        assert (letters > 0) == bool(report.poison or report.unregistered)
    finally:
        shutil.rmtree(root)


def check_lake(lake, table: standin.Table, keys: KeySchema, whole_ms: bool, rng: random.Random) -> None:
    """Fresh, refreshed and full state are the table; the log has each change once; any past is the past.

    Under the policy that keeps them, so are the items that have expired.
    """
    name, keeps = only_table(lake).name, only_table(lake).ttl == "keep"

    def check_items(found: Items, live: Iterable[dict], at_us: int | None, what: str) -> None:
        kept, unsure = expired_items(keys, table, at_us) if keeps else ({}, set())
        expected = expected_items(keys, live) | kept
        assert {key: image for key, image in found.items() if key not in unsure} == expected, what

    items = table.items.values()
    con = connect(lake, 1024, 2)
    try:
        check_items(items_of(con, name), items, None, "fresh")
        ids = sorted(row[0] for row in con.execute(f"SELECT event_id FROM {name}_changes").fetchall())
        assert ids == sorted(change.event_id for change in table.changes)
        for change in rng.sample(table.changes, min(4, len(table.changes))):
            at_us = change.at_us + rng.choice([-1, 0, 0, 1, 1_000])
            if whole_ms:  # what the feed tells no finer, nobody can ask finer
                at_us = at_us // 1000 * 1000 + 999
            past = f"{name}_as_of({timestamp(at_us)})"
            if at_us < con.execute(f"SELECT min(created_at_us) FROM {name}_changes").fetchall()[0][0]:
                with pytest.raises(duckdb.InvalidInputException, match="its log begins at"):
                    items_of(con, past)
                continue
            then = items_of(con, past)
            check_items(then, table.items_as_of(at_us).values(), at_us, f"as of {at_us}")
    finally:
        con.close()
    refreshed(lake)
    check_items(fresh_items(lake), items, None, "refreshed")
    refreshed(lake, full=True)
    check_items(fresh_items(lake), items, None, "full")
