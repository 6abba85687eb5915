"""Lakes with masks: their secret, their dead letters, their backfills."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import zstandard

import ingest.backfill
from compaction.compact import compact
from ingest.backfill import BackfillReport, backfill
from ingest.capture import CaptureRules, StreamRecord, plan_landing
from ingest.landing import land
from lake.attributes import canonical_value
from lake.config import TableConfig
from lake.dead_letters import DeadLetter, letter_line, read_dead_letters, sealed
from lake.errors import ConfigError, LakeError
from lake.lake import Lake, add_table, create_lake, open_lake
from lake.masks import MaskKey, parse_masks
from lake.records import decode_record, parse_record
from lake.secret import open_mask_key
from standin.server import AwsStandIn
from tests.accounts import Interleaved, create, enable
from tests.lakes import NOW_US, SCHEMA, SETTINGS, compacted, fresh_items, land_records, only_table, rows
from tests.records import record, s, text
from tests.test_masks import KEY, ORIGIN, OTHER_KEY, SECRET, Json, hashed, traces

# The secret


def test_seals() -> None:
    for data in (b"", b"\n", b"x", b"\x00" * 100, SECRET.encode() * 1_000):
        seal = KEY.seal(data)
        assert KEY.unseal(seal) == data and KEY.seal(data) == seal and MaskKey(b"k" * 32).seal(data) == seal
        assert not data.strip(b"\x00\n") or data not in seal
        with pytest.raises(ValueError, match="not sealed with this secret"):
            OTHER_KEY.unseal(seal)
        for n in {0, 7, len(seal) // 2, len(seal) - 1}:
            with pytest.raises(ValueError, match="not sealed with this secret"):
                KEY.unseal(seal[:n] + bytes([seal[n] ^ 1]) + seal[n + 1 :])
    for size in range(40):
        with pytest.raises(ValueError, match="not sealed"):
            KEY.unseal(b"s" * size)


def test_a_secret_that_could_be_guessed_is_refused() -> None:
    assert MaskKey(b"x" * 32).check != MaskKey(b"x" * 33).check
    with pytest.raises(ValueError, match="31 bytes, fewer than 32"):
        MaskKey(b"x" * 31)


def masked_lake(place: Path | str, paths: dict[str, str], name: str = "orders") -> Lake:
    table = TableConfig("", name, SCHEMA, buckets=4, masks=parse_masks(paths, SCHEMA, ""))
    return add_table(create_lake(place), table)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    return "k" * 32


def test_the_secret_is_the_one_the_lake_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = masked_lake(tmp_path / "lake", {"v": "hash"})
    with pytest.raises(ConfigError, match=r"env:DYNALAKE_MASK_SECRET.*found none.*openssl rand -hex 32"):
        open_mask_key(lake)
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "short")
    with pytest.raises(ConfigError, match="expected 32 bytes or more that nobody can guess; found 5 bytes"):
        open_mask_key(lake)
    assert not (lake.root / "masks.check").exists()
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    assert open_mask_key(lake).check == KEY.check == (lake.root / "masks.check").read_text()
    assert open_mask_key(lake).check == KEY.check
    assert "k" * 32 not in (lake.root / "masks.check").read_text()
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "o" * 32)
    with pytest.raises(ConfigError, match=r"found another\. Give the old one back") as refused:
        open_mask_key(lake)
    assert "o" * 32 not in str(refused.value)
    (lake.root / "masks.check").write_bytes(b"")
    with pytest.raises(ConfigError, match="found another"):
        open_mask_key(lake)


@pytest.mark.parametrize("secret", [b"\xff" * 32, b"\xc3" * 40], ids=["no UTF-8", "half of it"])
def test_a_secret_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: bytes) -> None:
    """Bytes in the environment, as `openssl rand 32` gives them, are refused or taken, but do not break anything."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", secret.decode("utf-8", "surrogateescape"))
    with suppress(ConfigError):
        open_mask_key(masked_lake(tmp_path / "lake", {"v": "hash"}))


def test_the_secret_in_secrets_manager(s3: Any, tmp_path: Path) -> None:
    client = boto3.client("secretsmanager")
    as_text = client.create_secret(Name="masks", SecretString="k" * 32)["ARN"]
    as_bytes = client.create_secret(Name="masks-2", SecretBinary=b"k" * 32)["ARN"]
    for n, arn in enumerate([as_text, as_bytes]):
        lake = masked_lake(f"s3://lakes/{n}", {"v": "hash"})
        lake = replace(lake, config=replace(lake.config, mask_secret=arn))
        assert open_mask_key(lake).check == KEY.check
        assert s3.get_object(Bucket="lakes", Key=f"{n}/masks.check")["Body"].read() == KEY.check.encode()
        s3.put_object(Bucket="lakes", Key=f"{n}/masks.check", Body=OTHER_KEY.check.encode())
        with pytest.raises(ConfigError, match="found another"):
            open_mask_key(lake)
    for place in (as_text[:-3] + "abc", "k" * 32, "secret"):
        with pytest.raises(ConfigError, match="read the secret of masks"):
            open_mask_key(replace(lake, config=replace(lake.config, mask_secret=place)))


# Dead letters


def letters_of(lake: Lake) -> Iterator[tuple[DeadLetter, bytes]]:
    for path in sorted(Path(lake.dead_letters).rglob("*.gz")):
        yield from ((DeadLetter(**fields(line)), line) for line in gzip.decompress(path.read_bytes()).splitlines())


def fields(line: bytes) -> Json:
    parsed = json.loads(line)
    return {**parsed, "raw": base64.b64decode(parsed["raw"])}


def test_a_sealed_letter_tells_nothing() -> None:
    raw = text("e1", eventName=SECRET)
    open_letter = DeadLetter("no change record", f"eventName {SECRET!r} is none", raw, stream="s", sequence_number="1")
    letter = sealed(open_letter, KEY)
    assert [trace for trace in traces() if trace in letter_line(letter)] == []
    assert KEY.unseal(letter.raw) == raw and letter.is_sealed
    assert letter.id != open_letter.id and len(letter.id) == len(open_letter.id)
    assert letter.id == sealed(replace(open_letter, id="", found_at_us=5, sequence_number="2"), KEY).id
    assert letter.id != sealed(open_letter, OTHER_KEY).id != sealed(replace(open_letter, raw=raw + b" "), OTHER_KEY).id
    assert sealed(DeadLetter("oversized", "x", b"", object="o"), KEY).id != sealed(
        DeadLetter("oversized", "x", b"", object="p"), KEY
    ).id  # fmt: skip


def test_what_is_landed_of_a_lake_with_masks(secret: str, tmp_path: Path) -> None:
    """Poison of tables with masks and of unknown ones is sealed; that of a table without masks is not."""
    lake = masked_lake(tmp_path / "lake", {"v": "hash", "email": "drop"})
    lake = add_table(lake, TableConfig("", "open", SCHEMA))
    mine = {"pk": s("a"), "sk": s("1"), "v": s(SECRET), "email": s(SECRET), "n": {"N": "1"}}
    good = text("e1", body={"Keys": {"pk": s("a"), "sk": s("1")}, "NewImage": mine})
    raws = [
        good, text("e2", eventName=SECRET), b"rubbish " + SECRET.encode(), text("e3", tableName="unknown", x=SECRET),
        text("e4", tableName="open", eventName="open poison"),
    ]  # fmt: skip
    records = [StreamRecord(raw, str(n), 1) for n, raw in enumerate(raws)]
    names = {"orders": "orders", "open": "open"}
    rules = CaptureRules(lake.config, open_mask_key(lake))
    land(plan_landing([rules.capture(records, ORIGIN, NOW_US)], ORIGIN, set(names)), lake, names, lambda fault: None)
    assert compacted_orders(lake) == (1, 0)
    ((new_image,),) = rows(lake, "SELECT new_image FROM orders_changes")
    assert json.loads(new_image) == {"pk": s("a"), "sk": s("1"), "v": hashed(s(SECRET)), "n": {"N": "1"}}
    assert_no_trace(lake)
    found = {letter.sequence_number: letter for letter, _ in letters_of(lake)}
    assert {n: letter.is_sealed for n, letter in found.items()} == {"1": True, "2": True, "3": True, "4": False}
    assert [KEY.unseal(found[str(n)].raw) for n in (1, 2, 3)] == raws[1:4] and found["4"].raw == raws[4]
    assert {found[n].detail for n in "123"} == {"sealed"}


def compacted_orders(lake: Lake) -> tuple[int, int]:
    report = compact(lake, lake.config.table("orders"), SETTINGS)
    return report.changes, report.dead_letters


def assert_no_trace(lake: Lake) -> None:
    """In any file of the lake, unpacked where it is packed."""
    for path in lake.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.name.endswith(".gz"):
                data += gzip.decompress(data)
            if path.name.endswith(".zst"):
                data += zstandard.ZstdDecompressor().decompressobj().decompress(data)
            assert [trace for trace in traces() if trace in data] == [], path


def test_raw_objects_without_masks_are_sealed_away(secret: str, tmp_path: Path) -> None:
    """What Firehose landed without the transformation is not taken in; what is said of it tells nothing."""
    lake = masked_lake(tmp_path / "lake", {"v": "hash"})
    unmasked = [record(f"e{n}", _lake=mark) for n, mark in enumerate([..., None, {}, {"masks": ""}, {"masks": 5}])]
    unmasked[0]["dynamodb"]["NewImage"]["v"] = s(SECRET)
    path = land_records(lake, "one.ndjson", [*unmasked, record("right", _lake={"masks": "00000000"})])
    assert compacted_orders(lake) == (1, 5)
    letters = list(letters_of(lake))
    assert {(letter.reason, letter.detail, letter.is_sealed) for letter, _ in letters} == {("unmasked", "sealed", True)}
    assert [KEY.unseal(letter.raw) for letter, _ in letters] == path.read_bytes().splitlines()[:5]
    path.unlink()
    assert_no_trace(lake)
    assert rows(lake, "SELECT event_id FROM orders_changes") == [("right",)]
    assert len({letter.id for letter in read_dead_letters(lake.dead_letters)}) == 5


def test_compaction_without_the_secret(tmp_path: Path) -> None:
    """It needs the secret only where there is something to seal, and then loses nothing without it."""
    lake = masked_lake(tmp_path / "lake", {"v": "hash"})
    land_records(lake, "one.ndjson", [record("right", _lake={"masks": "00000000"})])
    assert compacted(lake).changes == 1
    land_records(lake, "two.ndjson", [record("wrong")])
    with pytest.raises(ConfigError, match="DYNALAKE_MASK_SECRET"):
        compacted(lake)
    assert list(letters_of(lake)) == []
    assert rows(lake, "SELECT event_id FROM orders_changes") == [("right",)]


# Backfill


def run(lake: Lake, source: Any) -> BackfillReport:
    return backfill(lake, only_table(lake), source, workers=1)


def test_a_backfill_is_masked_also_where_it_goes_on(
    aws: AwsStandIn, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key at which it goes on is in the last record of an object, sealed: keys may be masked themselves."""
    monkeypatch.setattr(ingest.backfill, "OBJECT_BYTES", 1)
    enable(aws, create(aws))
    items = [
        {"pk": s(f"{SECRET}{n % 7}"), "sk": s(f"o{n:02}"), "v": {"B": f"{SECRET}{n}".encode()}, "w": s("w")}
        for n in range(30)
    ]  # fmt: skip
    for item in items:
        aws.client("dynamodb").put_item(TableName="orders", Item=item)
    lake = masked_lake(tmp_path / "lake", {"pk": "hash", "v": "hash"})
    left = [12]

    def at_work() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise LakeError("stop", "here")

    with pytest.raises(LakeError, match="stop here"):
        run(lake, Interleaved(aws, 2, at_work))
    landed = len(list(Path(lake.raw).rglob("*.zst")))
    assert landed > 2
    source = Interleaved(aws, 2)
    report = run(lake, source)
    assert report.resumed and report.items_of_run == 30 and source.scanned[0] < 30
    assert run(lake, Interleaved(aws, 2)).finished_before
    assert_no_trace(lake)
    aws.deliver()
    assert compacted(lake).changes == 30
    scanned = fresh_items(lake)
    rules = CaptureRules(lake.config, open_mask_key(lake))
    streamed = {
        str(change.item_key): json.loads(change.new_image or "")
        for change in (
            decode_record(parse_record(line.text), only_table(lake).rules, NOW_US)
            for line in rules.capture(kinesis_records(aws), ORIGIN, NOW_US).lines
        )
    }
    assert scanned == {
        key: {name: canonical_value(value) for name, value in sorted(item.items())} for key, item in streamed.items()
    }
    assert len(scanned) == 30


def kinesis_records(aws: AwsStandIn) -> list[StreamRecord]:
    client, found = aws.client("kinesis"), []
    for shard in client.list_shards(StreamName="orders")["Shards"]:
        iterator = client.get_shard_iterator(
            StreamName="orders", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        answer = client.get_records(ShardIterator=iterator)["Records"]
        found += [StreamRecord(one["Data"], one["SequenceNumber"], 1) for one in answer]
    return found


def test_a_backfill_does_not_go_on_with_another_secret_or_none(
    aws: AwsStandIn, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable(aws, create(aws))
    aws.client("dynamodb").put_item(TableName="orders", Item={"pk": s("a"), "sk": s("1")})
    lake = masked_lake(tmp_path / "lake", {"pk": "hash"})
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "")
    with pytest.raises(ConfigError, match="DYNALAKE_MASK_SECRET"):
        run(lake, Interleaved(aws, 2))
    assert not list(Path(lake.raw).rglob("*.zst"))
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", secret)
    run(lake, Interleaved(aws, 2))
    (lake.root / "backfills/orders/000001.done.json").unlink()
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "o" * 32)
    with pytest.raises(ConfigError, match="found another"):
        run(open_lake(lake.uri), Interleaved(aws, 2))
