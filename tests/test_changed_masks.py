"""Masks that are set or changed under a lake that has data: what must be refused, given up, set aside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import ingest.backfill
from ingest.backfill import BackfillReport, backfill
from ingest.capture import CaptureRules, Origin, StreamRecord, plan_landing
from ingest.landing import land
from lake.dead_letters import read_dead_letters
from lake.errors import ConfigError, LakeError
from lake.lake import Lake, open_lake
from lake.secret import open_mask_key
from proof.verify import Settings, verify
from standin.server import AwsStandIn
from tests.accounts import Interleaved, create, enable
from tests.commands import dynalake
from tests.consuming import BOUNDS, Running, consume_once
from tests.lakes import compacted, land_records, new_lake, only_table, rows
from tests.records import text
from tests.test_consume import put

ITEMS = 20


@pytest.fixture
def lake(aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake without masks, of a table that streams and has items whose `v` is a secret."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "s" * 32)
    enable(aws, create(aws))
    for n in range(ITEMS):
        item = {"pk": {"S": f"p{n % 5}"}, "sk": {"S": f"o{n:02}"}, "v": {"S": f"Secret{n}"}}
        aws.client("dynamodb").put_item(TableName="orders", Item=item)
    return new_lake(tmp_path / "lake")


def set_masks(lake: Lake, **masks: str) -> Lake:
    config = lake.root / "lake.toml"
    kept = config.read_text().partition("\n[tables.orders.masks]")[0]
    section = "".join(f'"{path}" = "{action}"\n' for path, action in masks.items())
    config.write_text(kept + (f"\n[tables.orders.masks]\n{section}" if masks else ""))
    return open_lake(lake.uri)


def scan(aws: AwsStandIn, lake: Lake, at_work=lambda: None, again: bool = False) -> BackfillReport:
    return backfill(lake, only_table(lake), Interleaved(aws, 2, at_work), workers=1, again=again)


def scan_halfway(aws: AwsStandIn, lake: Lake, again: bool = False) -> None:
    left = [8]

    def stop() -> None:
        left[0] -= 1
        if not left[0]:
            raise LakeError("stop", "here")

    with pytest.raises(LakeError, match="stop here"):
        scan(aws, lake, stop, again)


def plain_items(lake: Lake) -> list[tuple]:
    return rows(lake, "SELECT count(*), count(*) FILTER (_item LIKE '%Secret%') FROM orders")


@pytest.fixture
def small_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", 1)


@pytest.mark.usefixtures("small_objects")
def test_a_backfill_begun_with_other_masks_is_given_up(aws: AwsStandIn, lake: Lake) -> None:
    scan_halfway(aws, lake)
    compacted(lake)
    aws.clock.advance(seconds=3_600)
    lake = set_masks(lake, v="hash")
    assert scan(aws, lake, again=True).items == ITEMS
    compacted(lake)
    assert plain_items(lake) == [(ITEMS, 0)]
    aws.deliver()
    assert verify(lake, only_table(lake), Interleaved(aws, 50), Settings(0, memory_mb=1024, threads=2)).is_proven
    aws.clock.advance(seconds=3_600)
    scan_halfway(aws, set_masks(lake, v="redact"), again=True)
    assert scan(aws, set_masks(lake)).items == ITEMS, "without masks there is no sealed key to go on from"


@pytest.mark.usefixtures("small_objects")
def test_a_backfill_at_work_stops_when_masks_are_set(aws: AwsStandIn, lake: Lake) -> None:
    left = [6]

    def change() -> None:
        left[0] -= 1
        if not left[0]:
            set_masks(lake, v="drop")

    with pytest.raises(ConfigError, match="the masks with which it began"):
        scan(aws, lake, change)
    assert scan(aws, open_lake(lake.uri)).items == ITEMS
    assert compacted(open_lake(lake.uri)).changes >= ITEMS - 6


def test_keys_are_masked_from_the_first_change_on(aws: AwsStandIn, lake: Lake) -> None:
    """Said in lake.toml twice, and once more in the log."""
    aws.deliver()
    consume_once(lake)
    compacted(lake)
    with pytest.raises(ConfigError, match="masked_keys"):
        set_masks(lake, pk="hash")
    assert "masked_keys" in dynalake(lake.root, "consume", "--stream", "orders", "--once").fault
    config = lake.root / "lake.toml"
    config.write_text(config.read_text().replace("buckets = 4\n", 'buckets = 4\nmasked_keys = ["pk"]\n'))
    assert "in a new lake" in dynalake(lake.root, "compact").fault
    config.write_text(config.read_text().partition("masked_keys")[0])
    assert compacted(open_lake(lake.uri)).changes == 0


def test_unmasked_records_beside_masked_ones_stop_nothing(lake: Lake) -> None:
    """A plain Firehose beside a consumer that masks: what it brings is set aside, however much it is."""
    lake = set_masks(lake, v="hash")
    records = [text(f"e{n}") for n in range(1_200)]
    rules = CaptureRules(lake.config, open_mask_key(lake))
    stream = [StreamRecord(record, str(n), n) for n, record in enumerate(records)]
    captured = rules.capture(stream, Origin("orders", "s"), 1_800_000_000_000_000)
    land(plan_landing([captured], Origin("orders", "s"), {"orders"}), lake, {"orders": "orders"}, lambda fault: None)
    land_records(lake, "firehose", records)
    assert compacted(lake).changes == 1_200
    assert {letter.reason for letter in read_dead_letters(lake.dead_letters)} == {"unmasked"}
    assert all(letter.is_sealed for letter in read_dead_letters(lake.dead_letters))


def test_the_example_of_too_much_poison_is_one_that_counts(aws: AwsStandIn, lake: Lake) -> None:
    put(aws, *[b"rubbish"] * 900)
    running = Running(lake, bounds=replace(BOUNDS, window_records=10_000))
    try:
        while not running.fault and running.consumer._progress.dead_letters < 900:
            running.stop.wait(0.05)
        put(aws, *[text(f"g{n}") for n in range(600)], *[text(f"u{n}", tableName="other") for n in range(9)])
        running.stop.wait(3)
    finally:
        with pytest.raises(LakeError, match="such as undecodable"):
            running.end()


def test_masks_of_a_table_registered_before_are_not_changed_in_passing(lake: Lake) -> None:
    add = ("add-table", "orders", "--hash-key", "pk:S", "--range-key", "sk:S")
    assert "Change them in lake.toml" in dynalake(lake.root, *add, "--mask", "v=drop").fault
    assert dynalake(lake.root, *add).code == 0
