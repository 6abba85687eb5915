"""Our own dead letters, redriven: what lands of them, what stays, and what a kill or two at once leave."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import zstandard

import ingest.redriven
from compaction.compact import compact
from lake.config import TableConfig
from lake.dead_letters import read_dead_letters
from lake.errors import LakeError
from lake.lake import Lake, add_table, create_lake
from lake.masks import MaskKey, parse_masks
from lake.store import update
from tests.commands import dynalake
from tests.lakes import NOW_US, SCHEMA, SETTINGS, compacted, land_records, new_lake, rows
from tests.records import NOON_US, change, s, text
from tests.redriving import capture, open_letters, redrive, redrive_of
from tests.test_masks import hashed

SECRET = "k" * 32
EARLY_US = NOON_US - 10 * 24 * 3_600_000_000  # all records are of the future then
ORDERS = TableConfig("", "orders", SCHEMA, buckets=4)


def landed(lake: Lake) -> list[dict[str, Any]]:
    """What lies under raw/redrive, line by line."""
    return [
        json.loads(line)
        for path in sorted((Path(lake.raw) / "redrive").rglob("*.ndjson.zst"))
        for line in zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()
    ]


def files(lake: Lake) -> dict[str, bytes]:
    return {str(p.relative_to(lake.root)): p.read_bytes() for p in lake.root.rglob("*") if p.is_file()}


def compacted_early(lake: Lake) -> int:
    """By a clock that is wrong; gives the dead letters."""
    return compact(lake, lake.config.table("orders"), replace(SETTINGS, now_us=EARLY_US)).dead_letters


@pytest.fixture
def unregistered(tmp_path: Path) -> Lake:
    """Three good changes and some rubbish, captured before their table was added."""
    lake = create_lake(tmp_path / "lake")
    capture(lake, [text("e1"), text("e2"), b"rubbish", text("e3", body={"Keys": ...})])
    return add_table(lake, ORDERS)


# What lands


def test_letters_of_capture_land_with_where_they_came_from(unregistered: Lake) -> None:
    found = redrive(unregistered)
    assert (found.letters, found.landed, found.still_poison, found.objects) == (4, 2, 2, 1)
    assert found.reasons == {"undecodable": 1, "keyless": 1}
    lines = landed(unregistered)
    assert [line["eventID"] for line in lines] == ["e1", "e2"]
    for n, line in enumerate(lines):
        assert line["_lake"] == {
            "source": "stream", "stream": "orders", "sequence_number": str(10**55 + 1 + n), "arrived_us": NOW_US,
            "shard_id": "shardId-000000000000",
        }  # fmt: skip
    assert compacted(unregistered).changes == 2
    assert rows(unregistered, "SELECT DISTINCT shard_id, length(sequence_number) FROM orders_changes") == [
        ("shardId-000000000000", 56)
    ]


def lines_of_every_kind() -> list[dict[str, Any]]:
    """As raw objects hold them: from Firehose, from the consumer, a READ, a tombstone."""
    lake = {"source": "stream", "stream": "orders", "sequence_number": "17", "shard_id": "shard-1", "arrived_us": 5}
    binary = {"B": base64.b64encode(base64.b64encode(b"x")).decode()}
    return [
        change("firehose", "e1", "INSERT", NOON_US, new=binary),
        change("consumer", "e2", "MODIFY", NOON_US, s("old"), s("new")) | {"_lake": lake},
        change("read", "e3", "READ", NOON_US, new={"B": base64.b64encode(b"x").decode()})
        | {"_lake": {"source": "scan"}},
        change("gone", "e4", "REMOVE", NOON_US) | {"_lake": {"source": "repair"}},
    ]


def test_letters_of_compaction_keep_their_own_provenance(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    given = lines_of_every_kind()
    land_records(lake, "a.json", given)
    assert compacted_early(lake) == 4
    assert redrive(lake).landed == 4
    assert [line.get("_lake") for line in sorted(landed(lake), key=lambda line: line["eventID"])] == [
        one.get("_lake") for one in given
    ]
    assert compacted(lake).changes == 4
    found = rows(lake, "SELECT event_id, source, sequence_number, shard_id, new_image FROM orders_changes ORDER BY 1")
    assert [row[:4] for row in found] == [
        ("e1", "stream", None, None), ("e2", "stream", "17", "shard-1"), ("e3", "scan", None, None),
        ("e4", "repair", None, None),
    ]  # fmt: skip
    once = base64.b64encode(b"x").decode()
    assert [json.loads(found[n][4])["v"] for n in (0, 2)] == [{"B": once}, {"B": once}]


def test_what_landed_unmasked_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binary of KDS is encoded twice, that of a READ once: both come out as the one digest."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", SECRET)
    lake = add_table(create_lake(tmp_path / "lake"), replace(ORDERS, masks=parse_masks({"v": "hash"}, SCHEMA, "")))
    given = lines_of_every_kind()
    land_records(lake, "a.json", given)
    assert compacted(lake).dead_letters == 4
    assert redrive(lake).landed == 4
    table = lake.config.table("orders")
    assert {line["_lake"]["masks"] for line in landed(lake)} == {table.fingerprint}
    assert not any(b"new" in path.read_bytes() for path in Path(lake.raw, "redrive").rglob("*.zst"))
    assert compacted(lake).changes == 4 and compacted(lake, reread=True).changes == 0
    images = dict(rows(lake, "SELECT event_id, new_image FROM orders_changes"))
    digest = hashed({"B": base64.b64encode(b"x").decode()}, key=MaskKey(SECRET.encode()))
    assert json.loads(images["e1"])["v"] == json.loads(images["e3"])["v"] == digest
    assert json.loads(images["e2"])["v"] == hashed(s("new"), key=MaskKey(SECRET.encode()))


def test_what_bears_the_sign_of_masks_is_not_masked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", SECRET)
    lake = add_table(create_lake(tmp_path / "lake"), replace(ORDERS, masks=parse_masks({"v": "hash"}, SCHEMA, "")))
    given = change("a", "e1", "INSERT", NOON_US, new=s("digest")) | {"_lake": {"masks": "abc", "source": "stream"}}
    land_records(lake, "a.json", [given])
    assert compacted_early(lake) == 1
    assert redrive(lake).landed == 1 and landed(lake) == [given]


def test_a_sealed_letter_needs_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", SECRET)
    masked = replace(ORDERS, dynamodb_name="secret", masks=parse_masks({"v": "drop"}, SCHEMA, ""))
    lake = add_table(create_lake(tmp_path / "lake"), masked)
    capture(lake, [text("e1")])
    (letter,) = read_dead_letters(lake.dead_letters)
    assert letter.is_sealed and letter.table == "orders"
    lake = add_table(lake, ORDERS)
    monkeypatch.delenv("DYNALAKE_MASK_SECRET")
    assert "expected it in that variable" in dynalake(lake.root, "redrive").fault
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "o" * 32)
    assert "expected the one that this lake began with" in dynalake(lake.root, "redrive").fault
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", SECRET)
    assert redrive(lake).landed == 1 and landed(lake)[0]["dynamodb"]["NewImage"]["v"] == {"N": "1"}


def test_only_the_letters_of_the_tables_that_are_named(tmp_path: Path) -> None:
    lake = create_lake(tmp_path / "lake")
    capture(lake, [text("e1"), text("e2", tableName="other"), b"rubbish", text("e3", tableName="third")])
    lake = add_table(add_table(lake, ORDERS), replace(ORDERS, dynamodb_name="other"))
    found = redrive(lake, [lake.config.table("other")])
    assert (found.letters, found.landed) == (1, 1) and landed(lake)[0]["eventID"] == "e2"
    assert open_letters(lake) == 3
    found = redrive(lake)
    assert found.landed == 1 and found.reasons == {"undecodable": 1, "unregistered table": 1}


def test_what_is_torn_is_told_and_not_decided(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    packed = zstandard.ZstdCompressor().compress(b"".join(text(f"e{n}") + b"\n" for n in range(2_000)))
    (Path(lake.raw) / "a.ndjson.zst").write_bytes(packed[: len(packed) * 2 // 3])
    assert compacted(lake).dead_letters == 1
    outcome = dynalake(lake.root, "redrive")
    assert outcome.code == 0 and "truncated" in outcome.out
    assert "land its object again, under its name, then compact" in outcome.out
    assert open_letters(lake) == 1 and landed(lake) == []


# Twice, two at once, kills


def test_a_second_redrive_changes_nothing(unregistered: Lake) -> None:
    redrive(unregistered)
    before = files(unregistered)
    found = redrive(unregistered)
    assert (found.letters, found.landed, found.objects) == (2, 0, 0)
    assert files(unregistered) == before


def test_a_lost_record_is_harmless(unregistered: Lake) -> None:
    redrive(unregistered)
    compacted(unregistered)
    before = files(unregistered)
    for path in (unregistered.root / "redrives").iterdir():
        path.unlink()
    assert open_letters(unregistered) == 4
    redrive(unregistered)
    assert set(files(unregistered)) == set(before)
    assert compacted(unregistered, reread=True).changes == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["require_same_masks", "land", "write_redrive"])
def test_a_kill_anywhere_converges(unregistered: Lake, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Before the landing, between object and record, behind it; some parts are done by then."""
    monkeypatch.setattr(ingest.redriven, "OBJECT_BYTES", 1)
    real, calls = getattr(ingest.redriven, at), Counter[str]()

    def killed(*arguments: Any) -> Any:
        calls[at] += 1
        if calls[at] == 2:
            raise Killed
        return real(*arguments)

    with patch.object(ingest.redriven, at, killed), pytest.raises(Killed):
        redrive(unregistered)
    assert open_letters(unregistered) == 3
    found = redrive(unregistered)
    assert found.landed == 1 and open_letters(unregistered) == 2
    assert [line["eventID"] for line in landed(unregistered)].count("e2") == 1
    assert compacted(unregistered).changes == 2


def test_two_at_once_leave_what_one_would(unregistered: Lake) -> None:
    """The second reads what is done before the first has landed."""
    (one, _), (other, _) = (redrive_of(unregistered) for _ in range(2))
    one.letters(None)
    before = files(unregistered)
    other.letters(None)
    assert set(files(unregistered)) == set(before)
    assert compacted(unregistered).changes == 2 and open_letters(unregistered) == 2


def test_masks_that_change_meanwhile_stop_it(unregistered: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = redrive_of(unregistered)
    section = '\n[tables.orders.masks]\nv = "drop"\n'
    update(unregistered.place("lake.toml"), lambda text: text + section)
    with pytest.raises(LakeError, match="expected the masks with which it began"):
        run.letters(None)
    assert landed(unregistered) == [] and open_letters(unregistered) == 4


def test_many_letters_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.redriven, "IDS_MAX", 40)
    lake = create_lake(tmp_path / "lake")
    for n in range(5):
        capture(lake, [text(f"e{n}-{m}") for m in range(50)] + [text("same")], first=1_000 * n)
    lake = add_table(lake, ORDERS)
    found = redrive(lake)
    assert (found.letters, found.landed, found.objects) == (251, 251, 7)
    assert compacted(lake).changes == 251 and open_letters(lake) == 0


# The command line


def test_the_command_and_what_is_open_then(unregistered: Lake) -> None:
    os.environ.pop("DYNALAKE_LAKE", None)
    place = unregistered.root
    assert len(json.loads(dynalake(place, "dead-letters", "--json").out)) == 4
    told = json.loads(dynalake(place, "redrive", "orders", "--json").out)
    assert (told["letters"], told["landed"], told["still_poison"]) == (3, 2, 1) and told["reasons"] == {"keyless": 1}
    assert len(json.loads(dynalake(place, "dead-letters", "--json").out)) == 2
    everything = json.loads(dynalake(place, "dead-letters", "--all", "--json").out)
    assert Counter(one["is_redriven"] for one in everything) == {True: 2, False: 2}
    assert "unregistered table (redriven)" in dynalake(place, "dead-letters", "--all").out
    (status,) = json.loads(dynalake(place, "status", "--json").out)
    assert (status["dead_letters"], status["dead_letters_of_no_table"]) == (0, 2)
    assert dynalake(place, "redrive", "nosuch").fault
    assert dynalake(place, "redrive", "orders", "--from", "x").code == 2
    (place / "redrives" / "bad.json").write_text("{")
    assert "read records of redrives" in dynalake(place, "status").fault


def test_nothing_to_redrive(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    outcome = dynalake(lake.root, "redrive")
    assert outcome.code == 0 and not (lake.root / "redrives").exists()
