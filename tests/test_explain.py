"""Stories of items: what each of their parts tells, and that it is so."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

import standin
from lake.changes import Surface
from lake.config import TableConfig
from lake.errors import LakeError, TransientError
from lake.lake import Lake, add_table, create_lake
from lake.masks import TableMasks, parse_masks
from proof.explain import Settings, Story, explain
from proof.story import ToldChange
from tests.lakes import SCHEMA, compacted, land_records, new_lake, only_table, refreshed, schema_of, with_ttl
from tests.records import START_US, change, record, s, text
from tests.tables import FakeDynamoDB, Pipeline, item
from tests.test_masks import KEY
from tests.test_verify_damage import rewrite, set_state


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(new_lake(tmp_path / "lake", buckets=1), standin.Table("orders", ("pk", "S"), ("sk", "S")))


def told(lake: Lake, key: str, source: Any = None, **settings: Any) -> tuple[Story, list[ToldChange]]:
    options = Settings(memory_mb=1024, threads=2, **settings)
    with explain(lake, only_table(lake), key, (lambda: source) if source else None, options) as story:
        changes = list(story.changes())
        assert changes == list(story.changes()) and len(changes) == story.change_count
        return story, changes


def source_of(pipeline: Pipeline) -> FakeDynamoDB:
    return FakeDynamoDB(pipeline.table, START_US + 60_000_000)


def land_bytes(lake: Lake, name: str, data: bytes) -> str:
    path = Path(lake.raw) / name
    path.write_bytes(data)
    compacted(lake)
    return str(path)


def test_a_plain_story(pipeline: Pipeline) -> None:
    items = pipeline.table
    items.put(item("i0", v={"N": "1"}, t="x"), START_US + 1)
    pipeline.deliver()
    refreshed(pipeline.lake)
    items.put(item("i0", v={"N": "2"}, t="x" * 500), START_US + 2)
    items.put(item("i1"), START_US + 2)
    items.delete(item("i0"), START_US + 3)
    pipeline.deliver()
    story, changes = told(pipeline.lake, "i0|1", source_of(pipeline), images=True)
    assert [one.op for one in changes] == ["INSERT", "MODIFY", "REMOVE"]
    assert [one.batch for one in changes] == [1, 2, 2]
    assert [(Path(one.raw_object).name, one.record) for one in changes] == [
        ("object-0001.json", 1), ("object-0002.json", 1), ("object-0002.json", 3),
    ]  # fmt: skip
    assert changes[0].event_time == "2023-11-14 22:13:20.000001Z"
    first = [(one.name, one.before, one.after) for one in changes[0].changed]
    assert first == [("pk", None, '{"S":"i0"}'), ("sk", None, '{"S":"1"}'), ("t", None, '{"S":"x"}'),
                     ("v", None, '{"N":"1"}')]  # fmt: skip
    assert [one.name for one in changes[1].changed] == ["t", "v"]
    assert (changes[1].changed[0].after or "").endswith("… (508 characters)")
    assert json.loads(changes[1].new_image or "")["t"]["S"] == "x" * 500
    assert [one.old_image_fits for one in changes] == [None, True, True]
    assert story.state.row is not None and story.log is None and story.queries is None
    assert (story.state.covered_batch, story.state.tail_changes, story.state.in_tail) == (1, 2, True)
    assert story.in_table.asked and story.in_table.image is None
    assert story.verdict.finding == "they agree"
    assert (story.ties, story.strays, story.faults, story.copies_dropped) == ((), (), {}, 0)


def test_copies_and_why_they_lost(pipeline: Pipeline) -> None:
    lake = pipeline.lake
    finer, coarse = START_US + 1_123, START_US + 1_000
    land_records(lake, "a.json", [change("i0", "e1", "INSERT", coarse, new=s("1")),
                                  change("i0", "e1", "INSERT", finer, new=s("1")), text("other")])  # fmt: skip
    compacted(lake)
    land_records(lake, "b.json", [text("x"), change("i0", "e1", "INSERT", finer, new=s("1"))])
    compacted(lake)
    land_records(lake, "c.json", [text("y")])
    compacted(lake)
    story, (one,) = told(lake, "i0|1")
    assert (Path(one.raw_object).name, one.record, one.created_at_us) == ("a.json", 2, finer)
    assert [(Path(c.raw_object).name, c.record, c.why) for c in one.copies] == [
        ("a.json", 1, "the other's time is finer"), ("b.json", 2, "the log had it already"),
    ]  # fmt: skip
    assert (story.searched, story.ledger_objects, story.copies_dropped) == (2, 3, 2)
    assert told(lake, "i0|1", search_raw=True)[0].searched == 3


def test_late_and_tied(pipeline: Pipeline) -> None:
    lake, at = pipeline.lake, START_US + 5
    for name, records in {
        "a": [change("i0", "e3", "MODIFY", at, s("b"), s("c")), change("i0", "e1", "INSERT", at, new=s("a"))],
        "b": [change("i0", "e2", "MODIFY", at, s("a"), s("b"))],
        "c": [change("i0", "e0", "READ", at, new=s("z")) | {"_lake": {"source": "scan"}}],
        "d": [change("i0", "early", "INSERT", START_US + 1, new=s("q"))],
    }.items():
        land_records(lake, name, records)
        compacted(lake)
    story, changes = told(lake, "i0|1")
    assert [one.event_id for one in changes] == ["early", "e0", "e1", "e2", "e3"]
    (tie,) = story.ties
    assert tie.event_ids == ("e0", "e1", "e2", "e3")
    assert tie.settled_by == ("a read loses its tie", "image chain")
    assert [one.is_tied for one in changes[2:]] == [True, True, True]
    assert (story.late, story.verdict.finding) == (sum(one.is_late for one in changes), "the table was not asked")


@pytest.mark.parametrize(
    ("edges", "way"),
    [
        ([("e1", "a", "b"), ("e2", "c", "d")], "event id"),
        ([("e1", "a", "b"), ("e2", "a", "b"), ("e3", "b", "c")], "identical edges once"),
        ([("e2", "a", "b"), ("e1", "b", "a")], "image chain"),
    ],
)
def test_ways_of_settling(pipeline: Pipeline, edges: list[tuple[str, str, str]], way: str) -> None:
    before = change("i0", "e0", "INSERT", START_US + 1, new=s("a"))
    land_records(
        pipeline.lake, "a", [before, *(change("i0", e, "MODIFY", START_US + 2, s(o), s(n)) for e, o, n in edges)]
    )
    compacted(pipeline.lake)
    story, changes = told(pipeline.lake, "i0|1")
    assert [tie.settled_by for tie in story.ties] == [(way,)]
    assert sorted(story.ties[0].event_ids) == sorted(e for e, _, _ in edges)
    if way == "event id":
        assert changes[2].old_image_fits is False


def test_native_streams(tmp_path: Path) -> None:
    surface: Surface = "streams"
    pipeline = Pipeline(new_lake(tmp_path / "lake", surface=surface), standin.Table("orders", ("pk", "S"), ("sk", "S")))
    pipeline.faults = standin.Faults(duplicates=1.0)
    at = START_US // 1_000_000 * 1_000_000
    for n in range(4):
        pipeline.table.put(item("i0", v={"N": str(n)}, b={"B": "AAE="}), at + n)
    pipeline.deliver()
    story, changes = told(pipeline.lake, "i0|1", source_of(pipeline))
    assert [tie.settled_by for tie in story.ties] == [("sequence number",)]
    assert [len(one.sequence_number or "") for one in changes] == [40] * 4
    assert story.copies_dropped == 4 and all(one.old_image_fits is not False for one in changes)
    assert story.verdict.finding == "they agree"


@pytest.mark.parametrize("ttl", ["delete", "keep"])
def test_an_item_that_expired(pipeline: Pipeline, ttl: Any) -> None:
    pipeline.lake = with_ttl(pipeline.lake, ttl)
    pipeline.table.put(item("i0", v={"N": "1"}), START_US)
    pipeline.table.delete(item("i0"), START_US + 10, ttl=True)
    pipeline.deliver()
    refreshed(pipeline.lake)
    story, changes = told(pipeline.lake, "i0|1", source_of(pipeline))
    assert changes[1].is_ttl
    assert (story.log is not None, story.queries is not None, story.state.row is not None) == (ttl == "keep",) * 3
    assert story.log is None or story.log.expired_at == "2023-11-14 22:13:20.000010Z"
    assert story.verdict.finding == "they agree"
    other, _ = told(with_ttl(pipeline.lake, "delete" if ttl == "keep" else "keep"), "i0|1")
    assert not other.state.counts and other.verdict.finding == "the table was not asked"


def test_repairs_and_what_the_lake_lacks(pipeline: Pipeline) -> None:
    from ingest.reread import reread

    pipeline.table.put(item("i0", v={"N": "1"}), START_US)
    pipeline.deliver()
    lost = [pipeline.table.delete(item("i0"), START_US + 10), pipeline.table.put(item("new"), START_US + 11)]
    pipeline.lost = {one.event_id for one in lost if one}
    source = source_of(pipeline)
    assert told(pipeline.lake, "i0|1", source)[0].verdict.finding == "the lake differs"
    assert told(pipeline.lake, "new|1", source)[0].verdict.finding == "the lake lacks it"
    reread(pipeline.lake, only_table(pipeline.lake), source, ["i0|1", "new|1"])
    compacted(pipeline.lake)
    story, changes = told(pipeline.lake, "i0|1", source)
    assert [(one.op, one.source, one.old_image_fits) for one in changes][1:] == [("REMOVE", "repair", None)]
    assert changes[1].record is not None and story.verdict.finding == "they agree"
    assert told(pipeline.lake, "new|1", source)[0].verdict.finding == "they agree"


def test_an_item_nobody_knows(pipeline: Pipeline) -> None:
    story, changes = told(pipeline.lake, "i0|1", source_of(pipeline))
    assert (changes, story.verdict.finding, story.searched) == ([], "unknown", 0)
    assert told(pipeline.lake, "i0|1")[0].verdict.sentence.startswith("The lake does not know the item")


def test_a_table_that_cannot_be_reached(pipeline: Pipeline) -> None:
    class Unreachable:
        def describe(self, name: str) -> Any:
            raise TransientError("describe table", name, got="no answer")

    pipeline.table.put(item("i0"), START_US)
    pipeline.deliver()
    story, _ = told(pipeline.lake, "i0|1", Unreachable())
    assert story.in_table.error == "describe table orders; found no answer"
    assert story.verdict.finding == "the table was not asked"


def test_a_damaged_state(pipeline: Pipeline) -> None:
    for n in range(3):
        pipeline.table.put(item(f"i{n}", v={"N": "1"}), START_US + n)
    pipeline.deliver()
    refreshed(pipeline.lake)
    set_state(pipeline, "i0", _item=json.dumps(item("i0", v={"N": "7"})))
    rewrite(
        pipeline.lake, "orders", lambda rows: rows[:] and rows.remove(next(r for r in rows if r["_item_key"] == "i1|1"))
    )
    for key, finding in (("i0|1", "state damaged"), ("i1|1", "state damaged"), ("i2|1", "they agree")):
        story, _ = told(pipeline.lake, key, source_of(pipeline))
        assert story.verdict.finding == finding, key
    pipeline.table.put(item("i0", v={"N": "2"}), START_US + 100)
    pipeline.deliver()
    assert told(pipeline.lake, "i0|1", source_of(pipeline))[0].verdict.finding == "state damaged", "though in the tail"
    refreshed(pipeline.lake, full=True)
    assert told(pipeline.lake, "i0|1", source_of(pipeline))[0].verdict.finding == "they agree"


def test_raw_objects_that_are_not_as_they_were(pipeline: Pipeline) -> None:
    lake, found = pipeline.lake, {}
    for n, name in enumerate(["gone", "rewritten", "damaged", "unreadable"]):
        data = text("x") + b"\n" + json.dumps(change("i0", name, "INSERT", START_US + 1 + n, new=s("a"))).encode()
        found[name] = Path(land_bytes(lake, name, gzip.compress(data * 50)))
    found["gone"].unlink()
    found["rewritten"].write_bytes(text("x"))
    found["damaged"].write_bytes(found["damaged"].read_bytes()[:40])
    found["unreadable"].unlink()
    found["unreadable"].symlink_to(found["unreadable"].name)  # to itself
    story, changes = told(lake, "i0|1")
    assert [one.place for one in changes] == ["gone", "not in it", "damaged", "unreadable"]
    assert {one.record for one in changes} == {None}
    assert sorted(story.faults.values()) == ["damaged", "gone", "unreadable"]


def test_how_objects_are_packed(pipeline: Pipeline) -> None:
    lake = pipeline.lake
    records = [json.dumps(change(f"i{n}", f"e{n}", "INSERT", START_US + n, new=s("{é}"))).encode() for n in range(9)]
    packs = {
        "lines.gz": gzip.compress(b"\n".join(records)), "firehose.gz": gzip.compress(b"".join(records)),
        "lines.zst": zstandard.ZstdCompressor().compress(b"\r\n\n".join(records)), "plain": b"".join(records),
    }  # fmt: skip
    for name, data in packs.items():
        land_bytes(lake, name, data)
    _, (one,) = told(lake, "i6|1")
    places = {(Path(c.raw_object).name, c.record) for c in one.copies} | {(Path(one.raw_object).name, one.record)}
    assert places == {(name, 7) for name in packs}


# Dead letters


def test_dead_letters_that_name_it(pipeline: Pipeline) -> None:
    lake = pipeline.lake
    poison = change("i0", "e1", "INSERT", START_US, old=s("1"), new=s("1"))
    rubbish = b'{"pk":{"S":"i0"},"sk":{"S":"1"},"broken'
    others = [
        change("i00", "e2", "INSERT", START_US, old=s("i0"), new=s("i0")),  # names it as a value
        poison | {"tableName": "another"},
        b'{"pk":{"S":"i00"},"sk":{"S":"1"},"broken',
    ]
    good = change("i0", "e1", "INSERT", START_US, new=s("1"))
    land_records(lake, "a.json", [poison, rubbish, good, *others, poison])
    compacted(lake)
    story, (one,) = told(lake, "i0|1")
    letters = {(letter.reason, letter.by, letter.place.rpartition(" ")[2]) for letter in story.dead_letters.naming}
    assert letters == {("contradictory", "key", "1"), ("undecodable", "text", "2")}
    assert story.dead_letters.count == 2 and "2 dead letters name it" in story.verdict.sentence
    assert (one.record, one.copies, story.strays) == (3, (), ()), "dead letters are no copies, though they say so"
    story, changes = told(lake, "i00|1", source_of(pipeline))
    assert not changes and [letter.by for letter in story.dead_letters.naming] == ["key", "text"]
    assert story.verdict.finding == "unknown" and "dead letters name it" in story.verdict.sentence


# Masks


@pytest.fixture(name="masked")
def _masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose keys and values are masked, with two changes of one item and two letters of it."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    masks = parse_masks({"pk": "hash", "v": "hash"}, SCHEMA, "")
    lake = add_table(create_lake(tmp_path / "lake"), TableConfig("", "orders", SCHEMA, buckets=1, masks=masks))
    over = TableMasks(masks, SCHEMA, KEY)
    records = [
        change("alice", "e1", "INSERT", START_US, new=s("secret")),
        change("alice", "e2", "MODIFY", START_US + 1, s("secret"), s("other")),
    ]
    landed = [over.record(one, True) | {"_lake": {"masks": over.fingerprint}} for one in records]
    broken = over.record(change("alice", "e3", "INSERT", START_US, s("secret"), s("secret")), True)
    land_records(lake, "a", [*landed, broken | {"_lake": {"masks": over.fingerprint}}, records[0]])
    compacted(lake)
    return lake


def masked_key() -> str:
    (pk,) = TableMasks(parse_masks({"pk": "hash"}, SCHEMA, ""), SCHEMA, KEY).image({"pk": {"S": "alice"}}).values()
    return f"{pk['S']}|1"


def test_an_item_with_a_masked_key(masked: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    items = standin.Table("orders", ("pk", "S"), ("sk", "S"))
    items.put({"pk": s("alice"), "sk": s("1"), "v": s("other")}, START_US)
    source = FakeDynamoDB(items, START_US + 60_000_000)
    story, changes = told(masked, masked_key(), source)
    assert [one.event_id for one in changes] == ["e1", "e2"] and [one.record for one in changes] == [1, 2]
    assert not story.in_table.asked and "--plain" in (story.in_table.error or "")
    assert [letter.is_sealed for letter in story.dead_letters.naming] == [True]
    assert "alice" not in repr((story, changes)) and "secret" not in repr((story, changes))
    story, _ = told(masked, masked_key(), source, plain_key=("alice", "1"))
    assert story.verdict.finding == "they agree" and source.rereads == 1
    assert "alice" not in (story.in_table.image or "alice")
    monkeypatch.delenv("DYNALAKE_MASK_SECRET")
    story, _ = told(masked, masked_key())
    assert story.dead_letters.unread == 2 and "DYNALAKE_MASK_SECRET" in (story.dead_letters.why or "")
    assert "2 sealed dead letters could not be looked into" in story.verdict.sentence


# Keys


def test_keys_of_other_kinds(tmp_path: Path) -> None:
    for kind, spelled, key in (("N", "1.50", "1.5"), ("B", base64.b64encode(b"AP8/").decode(), "AP8/")):
        lake = new_lake(tmp_path / kind, keys=schema_of(kind, None))  # type: ignore[arg-type]
        keys = {"pk": {kind: spelled}}
        one = record("e1", body={"Keys": keys, "NewImage": keys})
        land_records(lake, "a", [text("x", tableName="others"), one, one])
        compacted(lake)
        story, (found,) = told(lake, key)
        assert found.record in (2, 3) and len(found.copies) == 1
        assert story.queries is not None


def test_a_lake_that_cannot_be_read(pipeline: Pipeline) -> None:
    pipeline.table.put(item("i0"), START_US)
    pipeline.deliver()
    for path in Path(pipeline.lake.uri, "warehouse").rglob("*.parquet"):
        path.write_bytes(b"x")
    with pytest.raises(LakeError, match="files that are whole"):
        told(pipeline.lake, "i0|1")
