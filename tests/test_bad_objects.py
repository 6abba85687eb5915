"""Objects that are torn, damaged, huge, changing or not to be read; and too much poison."""

from __future__ import annotations

import gzip
import os
import random
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

import compaction.compact
import compaction.objects
from lake import records as lake_records
from lake.dead_letters import read_dead_letters
from lake.lake import Lake
from lake.store import RawObject, list_objects
from tests.commands import dynalake
from tests.lakes import compacted, fresh_items, new_lake, refreshed, rows
from tests.records import START_US, record, text
from tests.test_bad_input import take

SYNCED = 3  # the record after which the compressed text can be cut without losing any of it


def packed_gzip(lines: list[bytes]) -> tuple[bytes, int]:
    """A gzip and where in it all of the first lines, and nothing else, has been said."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = b"".join(map(packer.compress, lines[:SYNCED])) + packer.flush(zlib.Z_SYNC_FLUSH)
    return head + b"".join(map(packer.compress, lines[SYNCED:])) + packer.flush(), len(head)


def packed_zstd(lines: list[bytes]) -> tuple[bytes, int]:
    packer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    head = b"".join(map(packer.compress, lines[:SYNCED])) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return head + b"".join(map(packer.compress, lines[SYNCED:])) + packer.flush(), len(head)


def unpacked_gzip(data: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(data)


def unpacked_zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("end", [b"\n", b""], ids=["lines", "no delimiters"])
@pytest.mark.parametrize(
    ("pack", "unpack"), [(packed_gzip, unpacked_gzip), (packed_zstd, unpacked_zstd)], ids=["gzip", "zstd"]
)
def test_what_stands_before_a_tear_is_kept(
    tmp_path: Path, pack: Callable[[list[bytes]], tuple[bytes, int]], unpack: Callable[[bytes], bytes], end: bytes
) -> None:
    """Cut at every kind of place: in the header, between records, inside one, in the trailer."""
    objects, expected, torn = {}, [], []
    for n in range(40):
        lines = [text(f"{n} {i}", extra=random.Random(n * 8 + i).randbytes(80).hex()) + end for i in range(8)]
        data, synced = pack(lines)
        cut = {0: synced, 1: len(data) - 1, 2: len(data) - 4, 3: 5}.get(n, n * len(data) // 40)
        whole = unpack(data[:cut])
        kept = next(i for i in range(9) if i == 8 or len(b"".join(lines[: i + 1])) > len(whole))
        if end and kept < 8 and whole.endswith(lines[kept].strip()):
            kept += 1  # only its delimiter is gone
        objects[f"{n:02}"] = data[:cut]
        expected += [f"{n} {i}" for i in range(kept)]
        torn.append(whole[len(b"".join(lines[:kept])) :].strip())
    taken = take(tmp_path / "lake", objects)
    assert taken.event_ids == sorted(expected) and len(expected) > 60
    assert set(taken.letter_counts.values()) == {1}
    assert [letter.reason for letter in taken.letters] == ["truncated"] * len(taken.letters)
    assert {letter.raw for letter in taken.letters_reread} == set(torn)
    assert [letter.id for letter in taken.letters_reread] == [letter.id for letter in taken.letters]


def test_damage_elsewhere_is_a_dead_letter_too(tmp_path: Path) -> None:
    lines = b"".join(text(f"{n}") + b"\n" for n in range(20))
    checksum = bytearray(gzip.compress(lines))
    checksum[-6] ^= 1
    framed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(lines.replace(b'ID":"', b'ID":"z')))
    framed[-1] ^= 1
    rubbish = gzip.compress(lines.replace(b'ID":"', b'ID":"r')) + b"rubbish behind it"
    taken = take(tmp_path / "lake", {"checksum": bytes(checksum), "framed": bytes(framed), "rubbish": rubbish})
    assert taken.letter_counts == {"checksum": 1, "framed": 1, "rubbish": 1}
    assert {letter.reason for letter in taken.letters} == {"truncated"}
    assert taken.event_ids == sorted([f"{n}" for n in range(20)] + [f"{mark}{n}" for mark in "zr" for n in range(20)])


BOUND = 1 << 20


@pytest.fixture
def _small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds a sixteenth of what they are, so that reaching them takes no time."""
    for module in (compaction.objects, lake_records):
        monkeypatch.setattr(module, "RECORD_BYTES_MAX", BOUND)
    monkeypatch.setattr(compaction.objects, "CHUNK_BYTES", BOUND // 16)


@pytest.mark.usefixtures("_small_records")
def test_oversized_records_and_endless_lines_do_not_take_their_neighbours_along(tmp_path: Path) -> None:
    oversized = text("huge", extra="x" * BOUND)
    tangled = b'{"a":' * 100_000
    taken = take(
        tmp_path / "lake",
        {
            "oversized": b"\n".join([text("1"), b"rubbish", oversized, text("2")]),
            "tangled": b"\n".join([text("3"), tangled, text("4")]),
            "tangled, no delimiters": text("5") + tangled[:40_000] + text("6"),
            "another's, long": b"".join([text("7"), b'{"a":[' + b'{"b":1},' * 12_000 + b"1]}", text("8")]),
        },
    )
    assert taken.event_ids == ["1", "2", "3", "4", "5", "6", "7", "8"]
    huge = [letter for letter in taken.letters if letter.object.endswith("oversized")]
    assert b"".join(letter.raw for letter in huge) == b"rubbish" + oversized
    assert huge[1].reason == "oversized"


@pytest.mark.usefixtures("_small_records")
def test_undelimited_objects_longer_than_what_is_looked_at_at_once(tmp_path: Path) -> None:
    """Records go on where a stretch ends; spaces inside a string stay what they were."""
    image = {"pk": {"S": "p"}, "sk": {"S": "1"}, "t": {"S": (" " * 100 + "x") * 700}}
    count = 3 * BOUND // 70_000
    body = {"Keys": {"pk": {"S": "p"}, "sk": {"S": "1"}}, "NewImage": image}
    records = [text(f"{n:03}", body=body) for n in range(count)]
    taken = take(tmp_path / "lake", {"long": b"rubbish".join([records[0], b"".join(records[1:])])})
    assert taken.event_ids == [f"{n:03}" for n in range(count)]
    assert [letter.raw for letter in taken.letters] == [b"rubbish"]
    assert rows(taken.lake, "SELECT DISTINCT t = repeat(repeat(' ', 100) || 'x', 700) FROM orders") == [(True,)]


def land(lake: Lake, name: str, data: bytes) -> Path:
    path = Path(lake.raw) / name
    path.write_bytes(data)
    return path


def event_ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY 1")]


def test_an_object_that_vanishes_after_it_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = new_lake(tmp_path / "lake")
    gone = land(lake, "1", text("1"))
    land(lake, "2", text("2"))
    monkeypatch.setattr(compaction.compact, "list_objects", after_listing(gone.unlink))
    assert str(gone) in dynalake(lake.root, "compact").fault
    monkeypatch.undo()
    assert dynalake(lake.root, "compact").code == 0
    assert event_ids(lake) == ["2"]


def test_an_object_rewritten_after_it_was_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = new_lake(tmp_path / "lake")
    path = land(lake, "1", text("1"))
    grown = b"\n".join([text("1"), b"rubbish", text("2")])
    monkeypatch.setattr(compaction.compact, "list_objects", after_listing(lambda: path.write_bytes(grown)))
    assert dynalake(lake.root, "compact").code == 0
    monkeypatch.undo()
    assert compacted(lake).objects == 1, "it is another object now"
    path.write_bytes(grown + b"\n" + text("3"))
    assert compacted(lake).changes == 1
    assert event_ids(lake) == ["1", "2", "3"]
    assert [letter.raw for letter in read_dead_letters(lake.dead_letters)] == [b"rubbish"]


def after_listing(act: Callable[[], object]) -> Callable[..., Iterator[RawObject]]:
    def listed(*arguments: object) -> Iterator[RawObject]:
        found = list(list_objects(*arguments))  # type: ignore[arg-type]
        act()
        return iter(found)

    return listed


def test_objects_that_cannot_be_read_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets, pipes and dangling links have not landed; a loop and a name that is none stop the run."""
    lake = new_lake(tmp_path / "lake")
    land(lake, "2", text("2"))
    (Path(lake.raw) / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(lake.raw)
    os.mkfifo("0")
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind("1")
        assert dynalake(lake.root, "compact").code == 0
    Path("loop").symlink_to("loop")
    assert "raw/loop" in dynalake(lake.root, "compact").fault
    Path("loop").unlink()
    Path(os.fsdecode(b"\xff")).write_bytes(text("3"))
    assert "UTF-8" in dynalake(lake.root, "compact").fault
    Path(os.fsdecode(b"\xff")).rename("3")
    assert dynalake(lake.root, "compact").code == 0
    assert event_ids(lake) == ["2", "3"]


def batches_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction.compact, "OBJECTS_MAX", 1)


def many(start: int, count: int) -> bytes:
    return b"".join(text(f"{n}") + b"\n" for n in range(start, start + count))


def test_too_much_poison_stops_the_run_before_anything_is_kept(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land(lake, "1", many(0, 900) + b"".join(b"rubbish %d\n" % n for n in range(101)))
    fault = dynalake(lake.root, "compact").fault
    assert "101 of 1001" in fault and "undecodable" in fault
    assert event_ids(lake) == [] and list(read_dead_letters(lake.dead_letters)) == []
    land(lake, "1", many(0, 900) + b"".join(b"rubbish %d\n" % n for n in range(100)))
    assert dynalake(lake.root, "compact").code == 0, "a tenth is not too much"
    assert len(event_ids(lake)) == 900 and len(list(read_dead_letters(lake.dead_letters))) == 100


def test_poison_of_earlier_batches_counts_and_unregistered_tables_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_of_one(monkeypatch)
    lake = new_lake(tmp_path / "lake")
    others = b"".join(text(f"o{n}", tableName="elsewhere") + b"\n" for n in range(1_200))
    land(lake, "1", others + many(0, 400) + b"".join(b"rubbish %d\n" % n for n in range(150)))
    land(lake, "2", many(400, 500))
    assert "150 of 1050" in dynalake(lake.root, "compact").fault
    assert len(event_ids(lake)) == 400, "the batch before stays"
    assert dynalake(lake.root, "compact").code == 0
    assert len(event_ids(lake)) == 900


def test_unregistered_tables_alone_stop_nothing(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land(lake, "1", b"".join(text(f"o{n}", tableName="elsewhere") + b"\n" for n in range(1_500)) + text("good"))
    assert dynalake(lake.root, "compact").code == 0
    assert event_ids(lake) == ["good"]
    assert len(list(read_dead_letters(lake.dead_letters))) == 1_500


def test_images_that_are_no_dynamodb_json_stop_nothing(tmp_path: Path) -> None:
    """Values without a type, of an unknown one, or of another shape: the item is whole, its columns what they can."""
    odd = [5, None, "x", [], {}, {"N": 5}, {"N": "abc"}, {"N": ""}, {"NS": "1"}, {"NS": [1]}, {"SS": 5},
           {"BOOL": "x"}, {"M": 5}, {"M": {"a": 5}}, {"L": [{}]}, {"L": {"S": "x"}}, {"S": 5}, {"S": "a", "N": "1"},
           {"Z": 1}, {"BS": 7}, {"B": 7}, {"NULL": False}, True, {"N": "1E999999"}, {"N": "9" * 60}]  # fmt: skip
    lake = new_lake(tmp_path / "lake")
    lines = []
    for n, value in enumerate(odd):
        keys = record(f"{n}")["dynamodb"]["Keys"]
        lines.append(text(f"{n}", body={"NewImage": {**keys, "v": value, f"v{n}": value}}))
        tied = {"Keys": keys, "OldImage": {**keys, "v": value}, "NewImage": {**keys, "v": {"N": "2"}, "w": value}}
        lines.append(text(f"{n} again", eventName="MODIFY", body={**tied, "ApproximateCreationDateTime": START_US}))
    land(lake, "1", b"\n".join(lines[::2]))
    assert compacted(lake).changes == len(odd)
    refreshed(lake)
    land(lake, "2", b"\n".join(lines[1::2]))
    compacted(lake)
    second = fresh_items(lake)
    refreshed(lake)
    assert fresh_items(lake) == second
    refreshed(lake, full=True)
    assert fresh_items(lake) == second and len(second) == len(odd)
