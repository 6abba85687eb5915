"""Random histories: a story lists every copy of every change of its item once, at places that really hold it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import standin
from compaction.objects import read_records, stage
from lake.changes import Change
from lake.errors import PoisonError
from lake.lake import Lake
from lake.ordering import in_order, latest, settle_instants
from lake.records import decode_record, parse_record, table_of
from lake.store import list_objects
from proof.explain import Settings, explain
from proof.values import same_text
from tests.lakes import NOW_US, compacted, land, new_lake, only_table, refreshed
from tests.tables import FakeDynamoDB
from tests.test_histories import START_US, history

Places = dict[str, dict[str, list[tuple[str, int]]]]


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1 << 40))
@example(seed=0)
def test_stories_of_random_histories(seed: int) -> None:
    check_stories(seed)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 1 << 40))
def test_many_stories_of_random_histories(seed: int) -> None:
    check_stories(seed)


def check_stories(seed: int) -> None:
    rng = random.Random(seed)
    table = history(rng, rng.choice([1, 4]), rng.choice([10, 40]), rng.choice([1, 40, 3_000]))
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        lake = new_lake(root / "lake", ttl=rng.choice(["delete", "keep"]))
        fill(rng, lake, table)
        places, changes = truth(lake, root)
        with_source = FakeDynamoDB(table, START_US + 200_000_000_000)
        for key in rng.sample(sorted(changes), min(2, len(changes))):
            check_story(lake, key, places[key], changes[key], with_source)
    finally:
        shutil.rmtree(root)


def fill(rng: random.Random, lake: Lake, table: standin.Table) -> None:
    """Deliveries with faults, and some of the changes delivered again in other objects, in any order and batches."""
    objects = []
    for n in range(rng.choice([1, 3])):
        some = table.changes if n == 0 else [one for one in table.changes if rng.random() < 0.4]
        faults = standin.Faults(
            duplicates=rng.choice([0.0, 0.4]), duplicate_other_precision=rng.choice([0.0, 0.5]),
            disorder=rng.choice([0.0, 1.0]), poison=rng.choice([0, 3]), unregistered=rng.choice([0, 1]),
        )  # fmt: skip
        records = standin.kds_records(some, seed=seed_of(rng), faults=faults)
        objects += standin.firehose_objects(
            records, seed=seed_of(rng), prefix=f"{n}/", buffer_bytes=rng.choice([5_000, 20_000]),
            gzip=rng.random() < 0.5, delimiter=rng.random() < 0.5,
        )  # fmt: skip
    rng.shuffle(objects)
    rounds = rng.choice([1, 3])
    for n in range(rounds):
        land(lake, objects[n * len(objects) // rounds : (n + 1) * len(objects) // rounds])
        compacted(lake, reread=rng.random() < 0.2)
        if rng.random() < 0.5:
            refreshed(lake)


def seed_of(rng: random.Random) -> int:
    return rng.randrange(1 << 30)


def truth(lake: Lake, scratch: Path) -> tuple[Places, dict[str, list[Change]]]:
    """Where the records of each change are, by item and event id, and every item's changes."""
    places: Places = defaultdict(lambda: defaultdict(list))
    changes: dict[str, list[Change]] = defaultdict(list)
    for raw in list_objects(lake.raw):
        for piece in read_records(stage(0, raw, scratch)):
            try:
                record = parse_record(piece.raw)
                if table_of(record) != "orders":
                    continue
                change = decode_record(record, only_table(lake).rules, NOW_US)
            except PoisonError:
                continue
            places[str(change.item_key)][change.event_id].append((raw.uri, piece.number))
            changes[str(change.item_key)].append(change)
    return places, changes


def check_story(lake: Lake, key: str, places: Any, changes: list[Change], source: FakeDynamoDB) -> None:
    options = Settings(memory_mb=1024, threads=2)
    with explain(lake, only_table(lake), key, lambda: source, options) as story:
        told = list(story.changes())
    found = {}
    for one in told:
        assert one.record is not None, one
        copies = [(copy.raw_object, copy.record) for copy in one.copies]
        assert one.event_id not in found
        found[one.event_id] = sorted([(one.raw_object, one.record), *copies])
    assert found == {event_id: sorted(where) for event_id, where in places.items()}
    assert story.strays == () and story.faults == {}
    assert story.copies_dropped == sum(len(where) - 1 for where in places.values())
    # Of copies with a coarser and a finer time the log may have either: an order is of the log's.
    times = {one.event_id: one.created_at_us for one in told}
    ours = [change for change in changes if change.created_at_us == times[change.event_id]]
    assert [one.event_id for one in told] == [one.event_id for one in in_order(ours)]
    last = latest(ours)
    assert last is not None and same_text(story.in_table.image, last.new_image)
    assert story.verdict.finding == "they agree", story.verdict
    tied = [tie.event_ids for tie in story.ties]
    assert [event_id for ids in tied for event_id in ids] == [
        change.event_id for instant in instants_of(ours) if instant.ways for change in instant.changes
    ]


def instants_of(changes: list[Change]) -> Any:
    unique = {change.event_id: change for change in changes}
    return settle_instants(sorted(unique.values(), key=lambda change: change.created_at_us))
