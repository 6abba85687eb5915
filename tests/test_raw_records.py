"""Records of raw objects and their numbers as `explain` reads them, against the reader of compaction."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path

import pytest
import zstandard

from compaction.objects import read_records, stage
from lake.config import TableConfig
from lake.keys import KeyAttribute, KeySchema
from lake.store import RawObject
from proof.raw_records import DamagedObject, may_hold, present_object, records_of
from proof.record_keys import look_at, microseconds, needles_of
from tests.lakes import SCHEMA
from tests.records import START_US, record, text

TABLE = TableConfig("orders", "orders", SCHEMA)
RUBBISH = [b"rubbish", b"\x00\xfe\xff", b'{"a":', b'{"message":"no record"}', b"[1,2]", b"}", b'"', b'{"x":"\xff"}']


def packed(data: bytes, how: str) -> bytes:
    if how == "gzip":
        half = len(data) // 2
        return gzip.compress(data[:half]) + gzip.compress(data[half:])
    return zstandard.ZstdCompressor().compress(data) if how == "zstd" else data


def object_of(rng: random.Random) -> bytes:
    pieces = []
    for n in range(rng.choice([0, 1, 8, 40])):
        one = text(f"e{n}", body={"NewImage": {"pk": {"S": f"e{n}"}, "sk": {"S": "1"}, "t": {"S": 'a{"}\\\n é'}}})
        if rng.random() < 0.1:
            one = json.dumps(record(f"e{n}"), indent=1).encode()
        pieces.append(rng.choice(RUBBISH) if rng.random() < 0.1 else one)
    between = rng.choice([[b"\n"], [b""], [b"\n", b"\r\n", b"\n\n", b" "], [b"\n", b""]])
    data = b"".join(piece + rng.choice(between) for piece in pieces)
    return data[: -rng.randrange(1, 40)] if rng.random() < 0.1 else data


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
def test_numbers_are_those_of_compaction(tmp_path: Path, how: str) -> None:
    for seed in range(150):
        path = tmp_path / f"{seed}.json"
        path.write_bytes(packed(object_of(random.Random(seed)), how))
        raw = RawObject(str(path), "", path.stat().st_size)
        expected = [(piece.number, piece.raw) for piece in read_records(stage(0, raw, tmp_path))]
        assert [(one.number, one.raw) for one in records_of(path)] == expected, seed


def test_records_across_the_pieces_in_which_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "object"
    for between in (b"\n", b""):
        big = [text(f"e{n}", body={"NewImage": {"t": {"S": "x" * 700_000}}}) for n in range(30)]
        path.write_bytes(zstandard.ZstdCompressor().compress(between.join(big)))
        assert [(one.number, len(one.raw)) for one in records_of(path)] == list(enumerate(map(len, big), 1))
        assert may_hold(path, [b"rubbish", b"e29"]) and not may_hold(path, [b"e30"])
    plain = b"a" * ((1 << 20) - 3) + b"needle" + b"a" * 9
    path.write_bytes(plain)
    assert may_hold(path, [b"needle"]) and not may_hold(path, [b"needles"])


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_damaged_object(tmp_path: Path, how: str) -> None:
    path = tmp_path / "object"
    path.write_bytes(packed(b"".join(text(f"e{n}") + b"\n" for n in range(1_000)), how)[:-30])
    with pytest.raises(DamagedObject):
        list(records_of(path))
    with pytest.raises(DamagedObject):
        may_hold(path, [b"never"])


def test_objects_that_are_there(tmp_path: Path) -> None:
    assert present_object(str(tmp_path / "gone")) is None
    assert present_object(str(tmp_path)) is None
    (tmp_path / "one").write_bytes(b"1")
    found = present_object(str(tmp_path / "one"))
    assert found is not None and found.size == 1


def test_times_are_normalised() -> None:
    times = (START_US, START_US // 1000, START_US // 1_000_000, START_US / 1_000_000)
    assert [microseconds(time) for time in times] == [START_US] * 4
    assert [microseconds(time) for time in (True, "1", None, 1.5)] == [None] * 4


def keyed(kind: str, value: str, **parts: object) -> bytes:
    return json.dumps(record("e", **parts, body={"Keys": {"k": {kind: value}}, "NewImage": ...})).encode()


def test_keys_of_records_in_every_spelling() -> None:
    numbers = TableConfig("orders", "orders", KeySchema(KeyAttribute("k", "N")))
    binary = TableConfig("orders", "orders", KeySchema(KeyAttribute("k", "B")))
    texts = TableConfig("orders", "orders", KeySchema(KeyAttribute("k", "S")))
    twice = base64.b64encode(b"AP8/").decode()

    def key_of(raw: bytes, table: TableConfig) -> str | None:
        seen = look_at(raw, table)
        assert seen is not None
        needles = needles_of(table, seen.item_key) if seen.item_key else []
        assert not needles or any(needle in raw for needle in needles)
        return seen.item_key

    assert {key_of(keyed("N", spelling), numbers) for spelling in ("1.5", "1.50", "15e-1")} == {"1.5"}
    assert key_of(keyed("B", twice), binary) == "AP8/"
    assert key_of(keyed("B", "AP8/", _lake={"source": "scan"}), binary) == "AP8/"
    assert key_of(keyed("B", "AP8/"), binary) is None, "once, from KDS"
    for value in ("é", "😀|\\", 'a"b\nc', "plain"):
        assert key_of(keyed("S", value), texts) == value
    assert key_of(keyed("S", "1"), numbers) is None
    assert look_at(keyed("S", "a", tableName="others"), texts) is None
    assert (
        look_at(b"rubbish", texts) is None
        and look_at(b"[]", texts) is None
        and look_at(b'{"dynamodb":1}', texts) is None
    )
    in_image = json.dumps(record("e", body={"Keys": ..., "OldImage": {"k": {"S": "a"}}})).encode()
    assert key_of(in_image, texts) == "a"
    assert needles_of(numbers, "1.5") == [] and needles_of(texts, "é|\\") == []
