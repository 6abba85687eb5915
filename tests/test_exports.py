"""Exports into a lake: amid the stream, again and again, stopped and gone on with, behind masks; SQL against Python."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

import ingest.exports
import standin
from ingest.exported import ExportRecords, Versions
from ingest.exports import SelectRecords
from ingest.manifests import Export, read_export
from lake.config import TableConfig
from lake.engine import connect_engine
from lake.errors import LakeError
from lake.keys import KeyKind, KeySchema
from lake.lake import Lake, add_table, create_lake
from lake.masks import TableMasks, parse_masks
from lake.records import decode_record
from lake.secret import open_mask_key
from lake.store import list_objects
from standin.server import AwsStandIn
from tests.accounts import Writer, create, enable
from tests.commands import dynalake
from tests.exports import SECOND_US, START_US, history, lay_out, raw_texts, run
from tests.lakes import (
    NOW_US,
    SCHEMA,
    compacted,
    expected_items,
    fresh_items,
    land_records,
    new_lake,
    only_table,
    refreshed,
    rows,
    schema_of,
)
from tests.test_masks import SECRET, traces
from tests.test_tidy import ROOT

VIEWS: list[standin.ExportView] = ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"]
KINDS: list[tuple[KeyKind, KeyKind | None]] = [
    ("S", "S"),
    ("S", None),
    ("N", None),
    ("B", "N"),
    ("N", "B"),
    ("B", None),
]

# Histories


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_end_as_the_table(seed: int) -> None:
    check_history(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_many_random_histories_end_as_the_table(seed: int) -> None:
    check_history(seed)


def whole_second(us: int) -> int:
    return us // SECOND_US * SECOND_US


def check_history(seed: int) -> None:
    """Each export tells of a state; all changes after the first one's come, by the stream or by exports that tile."""
    rng = random.Random(seed)
    kinds = rng.choice(KINDS)
    keys = schema_of(*kinds)
    table = history(rng, *kinds, writes=rng.choice([20, 150]), step_us=rng.choice([2_000, 300_000, 2 * SECOND_US]))
    end_us = whole_second(table.changes[-1].at_us) + SECOND_US
    surface: Any = rng.choice(["kds", "kds", "streams"])
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        lake = new_lake(root / "lake", keys=keys, surface=surface)
        begin_us = rng.randrange(START_US, end_us)  # the state of the first export
        begin_us = whole_second(begin_us)
        made = [standin.full_export(table, begin_us, seed=seed, files=rng.choice([1, 4]))]
        stream_us = begin_us
        for _ in range(rng.choice([0, 2])):  # until the stream begins, windows that tile
            tile_us = min(stream_us + rng.randrange(1, 20) * SECOND_US, end_us)
            made.append(incremental(rng, table, stream_us, tile_us))
            stream_us = tile_us
        for _ in range(rng.choice([0, 3])):  # from then on anything, overlapping as it likes
            to_us = max(whole_second(rng.randrange(stream_us, end_us + 1)), stream_us)
            made.append(incremental(rng, table, whole_second(rng.randrange(START_US - SECOND_US, to_us + 1)), to_us))
        if rng.random() < 0.5:
            at_us = rng.randrange(stream_us, end_us + 1)
            made.append(standin.full_export(table, at_us, seed=seed + 1, prefix="another/place"))
        jobs: list[Callable[[], Any]] = []
        for one in made + rng.sample(made, 1):
            uri = lay_out(one, root / "exports")
            jobs.append(lambda uri=uri: run(lake, uri))
        jobs += stream_jobs(rng, lake, [change for change in table.changes if change.at_us >= stream_us])
        rng.shuffle(jobs)
        for job in jobs:
            job()
            if rng.random() < 0.3:
                compacted(lake)
            if rng.random() < 0.2:
                refreshed(lake)
        report = compacted(lake)
        assert report.dead_letters == 0
        expected = expected_items(keys, table.items.values())
        assert fresh_items(lake) == expected, "fresh"
        refreshed(lake, full=rng.random() < 0.5)
        assert fresh_items(lake) == expected, "refreshed"
    finally:
        shutil.rmtree(root)


def incremental(rng: random.Random, table: standin.Table, from_us: int, to_us: int) -> standin.TableExport:
    return standin.incremental_export(
        table, from_us, to_us, view=rng.choice(VIEWS), seed=rng.random(), files=rng.choice([1, 3])
    )


def stream_jobs(rng: random.Random, lake: Lake, changes: list[standin.Change]) -> list[Callable[[], Any]]:
    """What lands these changes, in parts, some of them twice, and in any order."""
    order = rng.sample(changes, len(changes)) + rng.sample(changes, len(changes) // 5)
    parts = rng.choice([1, 3])
    precision: standin.Precision = rng.choice(["MICROSECOND", "MILLISECOND"])
    jobs = []
    for n in range(parts):
        some = order[n * len(order) // parts : (n + 1) * len(order) // parts]
        if only_table(lake).surface == "streams":
            records: list[Any] = list(standin.stream_records(some, seed=1))
        else:
            records = [one.data for one in standin.kds_records(some, seed=1, precision=precision)]
        jobs.append(lambda n=n, records=records: land_records(lake, f"stream-{n}.json", records))
    return jobs


@pytest.mark.parametrize("surface", ["kds", "streams"])
def test_a_window_that_ends_within_a_second(tmp_path: Path, surface: Any) -> None:
    """Native Streams tell seconds only: what was written behind the window, in its last second, wins all the same."""
    table = standin.Table("orders")
    at_us = START_US + SECOND_US
    key = {"pk": {"S": "a"}, "sk": {"S": "1"}}
    for n, offset_us in enumerate((-SECOND_US, 200_000, 700_000)):
        table.put({**key, "v": {"N": str(n)}}, at_us + offset_us)
    lake = new_lake(tmp_path / "lake", surface=surface)
    run(lake, lay_out(standin.incremental_export(table, START_US - SECOND_US, at_us + 500_000), tmp_path))
    compacted(lake)
    assert [item["v"] for item in fresh_items(lake).values()] == [{"N": "1"}]
    for job in stream_jobs(random.Random(1), lake, table.changes):
        job()
    compacted(lake)
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())


def test_a_full_export_is_dated_before_its_state(tmp_path: Path) -> None:
    """By the margin, and by what manifests tell of the time."""
    table = standin.Table("orders")
    table.put({"pk": {"S": "a"}, "sk": {"S": "1"}}, START_US)
    uri = lay_out(standin.full_export(table, START_US + 10 * SECOND_US + 999_999), tmp_path)
    for margin in (5.0, 1.5):
        lake = new_lake(tmp_path / f"lake-{margin}")
        run(lake, uri, margin_seconds=margin)
        compacted(lake)
        version_us = START_US + 10 * SECOND_US - round(margin * SECOND_US)
        assert rows(lake, "SELECT created_at_us, op, source FROM orders_changes") == [(version_us, "READ", "export")]


# The two ways of reading


@pytest.mark.parametrize("kinds", KINDS)
def test_sql_makes_the_records_that_python_makes(tmp_path: Path, kinds: tuple[KeyKind, KeyKind | None]) -> None:
    rng = random.Random(repr(kinds))
    con = connect_engine(1024, 2, extensions=())
    config = TableConfig("orders", "orders", schema_of(*kinds))
    table = history(rng, *kinds, writes=300, items=40)
    end_us = table.changes[-1].at_us + 1
    made = [standin.full_export(table, end_us), *(incremental(rng, table, START_US, end_us) for _ in range(3))]
    for export in made:
        found = read_export(lay_out(export, tmp_path / "exports"), config)
        lines = [line for file in found.files for line in lines_of(file.uri)]
        sql, python = both_ways(con, tmp_path, config, found, lines)
        assert None not in sql and sql == python
    con.close()


def lines_of(path: str) -> list[bytes]:
    import gzip

    return gzip.decompress(Path(path).read_bytes()).splitlines()


def both_ways(
    con: Any, folder: Path, table: TableConfig, export: Export, lines: list[bytes]
) -> tuple[list[bytes | None], list[bytes | None]]:
    """What SQL and Python make of each line, alone in its file: None where it is not plainly right, or no record."""
    versions = Versions.of(export, table, 5 * SECOND_US)
    select, records = SelectRecords(table, export, versions), ExportRecords(table, export, versions, None)
    sql: list[bytes | None] = []
    python: list[bytes | None] = []
    text = folder / "text.ndjson"
    text.write_bytes(b"\n".join(lines) + b"\n")
    try:
        con.execute("SET preserve_insertion_order = true")
        sql = [line and line.encode() for line, _ in con.execute(select.of(text)).fetchall()]
    except ingest.exports.duckdb.Error:
        sql = [None] * len(lines)
    for line in lines:
        try:
            python.append(records.record(line)[0])
        except ValueError:
            python.append(None)
    return sql, python


def odd_lines(rng: random.Random, keys: KeySchema, good: bytes) -> bytes:
    """A line that is odd in some way, or only looks so."""
    line = json.loads(good)
    name = rng.choice(list(line))
    image = line.get("Item") or line.get("NewImage") or line.get("OldImage") or line["Keys"]
    key = keys.hash_key.name
    match rng.randrange(12):
        case 0:
            del line[name]
        case 1:
            line[name] = rng.choice([None, 1, "x", [], {}])
        case 2:
            image[key] = rng.choice([{"S": "other"}, {"N": "7"}, {"S": ""}, {"N": "x"}, {"B": "?"}, None, {}, "k"])
        case 3:
            image[key] = {**image[key], "X": "more"}
        case 4:
            line["Metadata"] = rng.choice([
                {"WriteTimestampMicros": value} for value in
                (1_700_000_000_000_000, "1700000000000001", {"N": "x"}, {"N": "1700000000"}, {"S": "1"}, -1, 1.5, True,
                 {"N": "01700000000000000"}, "9" * 30, {"N": "1700000000000000", "S": "1"}, "1_700_000_000_000_000")
            ])  # fmt: skip
        case 5:
            line["more"] = {"a": 1}
        case 6:
            line.setdefault("Keys", {})["another"] = {"S": "x"}
        case 7:
            line = dict(reversed(line.items()))
        case 8:
            return json.dumps(line, indent=None).encode()
        case 9:
            return json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode()
        case 10:
            cut = rng.randrange(len(good))
            return good[:cut] + rng.choice([b"", b"\xff", b"x", b'"', b"}"]) + good[cut + rng.randrange(2) :]
        case 11:
            image.pop(key)
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("kinds", KINDS[:4])
def test_what_sql_takes_python_takes(tmp_path: Path, kinds: tuple[KeyKind, KeyKind | None]) -> None:
    """And makes the same change of it; what it makes, compaction takes in."""
    rng = random.Random(repr(kinds))
    con = connect_engine(1024, 2, extensions=())
    config = TableConfig("orders", "orders", schema_of(*kinds))
    table = history(rng, *kinds, writes=200, items=40)
    taken = 0
    for export in (standin.full_export(table, NOW_US), incremental(rng, table, START_US, NOW_US)):
        found = read_export(lay_out(export, tmp_path / "exports"), config)
        lines = [line for file in found.files for line in lines_of(file.uri)]
        for _ in range(80):
            line = odd_lines(rng, config.keys, rng.choice(lines))
            (sql,), (python,) = both_ways(con, tmp_path, config, found, [line]) if b"\n" not in line else ((None,),) * 2
            if sql is not None:
                assert python is not None, line
                taken += 1
                assert change_of(sql, config) == change_of(python, config), line
            elif python is not None:
                change_of(python, config)
    assert taken > 20
    con.close()


def test_files_of_aws_go_by_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not, after a fault that nobody sees, line by line."""
    monkeypatch.setattr(ExportRecords, "record", None)
    for seed, kinds in enumerate(KINDS):
        table = history(random.Random(seed), *kinds, writes=300, items=100)
        lake = new_lake(tmp_path / f"lake-{seed}", keys=schema_of(*kinds))
        full, later = standin.full_export(table, NOW_US, files=7), standin.incremental_export(table, START_US, NOW_US)
        assert run(lake, lay_out(full, tmp_path)).items == len(table.items)
        assert run(lake, lay_out(later, tmp_path)).objects > 0


def change_of(record: bytes, table: TableConfig) -> Any:
    change = decode_record(json.loads(record), table.rules, NOW_US)
    images = (image and json.loads(image) for image in (change.new_image, change.old_image))
    return (replace(change, new_image=None, old_image=None), *images)


# Again, at once, after a stop


def test_a_stop_between_files_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = history(random.Random(1), writes=200, items=60)
    export = standin.full_export(table, NOW_US, files=8)
    uri = lay_out(export, tmp_path)
    whole, lake = new_lake(tmp_path / "whole"), new_lake(tmp_path / "lake")
    complete = run(whole, uri)
    put = ingest.exports.put_new_copy
    left = iter(range(3))

    def put_three(place: str, source: Path) -> bool:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return put(place, source)

    monkeypatch.setattr(ingest.exports, "put_new_copy", put_three)
    with pytest.raises(LakeError, match="No space left"):
        run(lake, uri)
    assert len(raw_texts(lake)) == 3
    compacted(lake)
    then = "SELECT count(*) FROM orders_as_of('2100-01-01')"
    with pytest.raises(duckdb.InvalidInputException, match="a backfill was begun that has not ended"):
        rows(lake, then)
    monkeypatch.setattr(ingest.exports, "put_new_copy", put)
    report = run(lake, uri)
    assert report.skipped == 3 and report.objects == complete.objects - 3
    assert {name: sorted(text.splitlines()) for name, text in raw_texts(lake).items()} == {
        name: sorted(text.splitlines()) for name, text in raw_texts(whole).items()
    }
    with pytest.raises(duckdb.InvalidInputException, match="is not in its log yet: run dynalake compact"):
        rows(lake, then)
    assert compacted(lake).duplicates == 0
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())
    assert rows(lake, then) == [(len(table.items),)]


def test_twice_and_by_another_lake(tmp_path: Path) -> None:
    """The same export makes the same changes: raw objects of two runs, side by side, are one set of changes."""
    table = history(random.Random(2))
    uri = lay_out(standin.full_export(table, NOW_US, prefix="a/b"), tmp_path)
    lake, other = new_lake(tmp_path / "lake"), new_lake(tmp_path / "other")
    first, again, elsewhere = run(lake, uri), run(lake, f"{uri}manifest-summary.json"), run(other, uri.rstrip("/"))
    assert again == replace(first, items=0, objects=0, bytes=0, skipped=first.objects)
    assert elsewhere == first
    shutil.copytree(Path(other.raw) / "export", Path(lake.raw) / "copied")
    report = compacted(lake)
    assert report.changes == report.duplicates == first.items
    found = rows(lake, "SELECT DISTINCT source, op, is_late FROM orders_changes")
    assert found == [("export", "READ", False)]


def test_an_export_that_was_copied(tmp_path: Path) -> None:
    """Its folder may have another name, and may be named from within."""
    table = history(random.Random(3))
    lake = new_lake(tmp_path / "lake")
    full = standin.full_export(table, NOW_US, prefix="AWSDynamoDB")
    shutil.move(lay_out(full, tmp_path / "a"), tmp_path / "renamed")
    assert run(lake, str(tmp_path / "renamed")).items == len(table.items)
    later = incremental(random.Random(1), table, START_US, NOW_US)
    lay_out(later, tmp_path / "b")
    shutil.move(tmp_path / "b" / "AWSDynamoDB", tmp_path / "moved")
    report = run(lake, f"{tmp_path}/moved/{later.id}")
    assert report.items + report.tombstones > 0
    compacted(lake)
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())


def test_on_s3(s3: Any) -> None:
    table = history(random.Random(4))
    full = standin.full_export(table, START_US + 10 * SECOND_US, prefix="nightly")
    later = standin.incremental_export(table, START_US + 10 * SECOND_US, NOW_US, prefix="nightly")
    for key, body in (full.objects | later.objects).items():
        s3.put_object(Bucket="raw", Key=key, Body=body)
    lake = new_lake("s3://lakes/lake")
    for one in (full, later, full):
        run(lake, f"s3://raw/{one.folder}")
    assert len(list(list_objects(lake.raw))) == sum(
        b'"itemCount":0,' not in line for one in (full, later) for line in files_of(one)
    )
    compacted(lake)
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())


def files_of(export: standin.TableExport) -> list[bytes]:
    return export.objects[f"{export.folder}manifest-files.json"].splitlines()


def test_a_line_longer_than_sql_reads(tmp_path: Path) -> None:
    table = standin.Table("orders")
    for n in range(3):
        value = {"L": [{"BOOL": True}] * (250_000 if n == 1 else 1)}
        table.put({"pk": {"S": "a"}, "sk": {"S": str(n)}, "v": value}, START_US)
    lake = new_lake(tmp_path / "lake")
    report = run(lake, lay_out(standin.full_export(table, NOW_US, files=1), tmp_path))
    assert report.items == 3
    compacted(lake)
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())


# Masks


def test_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake is what the masked stream makes, and what is masked is nowhere in it, not in a tombstone either."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    rng = random.Random(5)
    table = standin.Table("orders", seed=5)
    for n in range(80):
        key = {"pk": {"S": f"{SECRET}{n % 5}"}, "sk": {"S": str(n % 9)}}
        if rng.random() < 0.3:
            table.delete(key, START_US + n * SECOND_US)
        else:
            table.put({**key, "email": {"S": f"{SECRET}@{n}"}, "m": {"M": {"deep": {"S": SECRET}, "n": {"N": str(n)}}},
                       "open": {"N": str(n)}}, START_US + n * SECOND_US)  # fmt: skip
    paths = {"pk": "hash", "email": "hash", "m.deep": "redact"}
    keys = [SCHEMA.hash_key.name]
    config = TableConfig("", "orders", SCHEMA, buckets=4, masks=parse_masks(paths, SCHEMA, ""))
    by_stream, by_export = (add_table(create_lake(tmp_path / name), config) for name in ("stream", "export"))
    masks = TableMasks(config.masks, SCHEMA, open_mask_key(by_stream))
    records = [json.loads(one.data) for one in standin.kds_records(table, seed=1)]
    masked = [masks.record(one, True) | {"_lake": {"masks": masks.fingerprint}} for one in records]
    land_records(by_stream, "stream.json", masked)
    middle_us = START_US + 40 * SECOND_US
    for export in (standin.full_export(table, middle_us), standin.incremental_export(table, middle_us, NOW_US)):
        report = run(by_export, lay_out(export, tmp_path / "exports"))
        assert report.objects
    assert report.tombstones
    for lake in (by_stream, by_export):
        assert compacted(lake).dead_letters == 0
    assert keys == ["pk"] and fresh_items(by_export) == fresh_items(by_stream)
    assert fresh_items(by_export) == expected_items(SCHEMA, [masks.image(item) for item in table.items.values()])
    for name, text in raw_texts(by_export).items():
        assert [trace for trace in traces() if trace in text] == [] and masks.fingerprint in name


def test_other_masks_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What landed before there were masks is refused by compact, and does not stand in the way."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    table = history(random.Random(6))
    uri = lay_out(standin.full_export(table, NOW_US), tmp_path)
    lake = new_lake(tmp_path / "lake")
    run(lake, uri)
    masked = replace(only_table(lake), masks=parse_masks({"v": "drop"}, SCHEMA, ""))
    text = (lake.root / "lake.toml").read_text()
    (lake.root / "lake.toml").write_text(text + '\n[tables.orders.masks]\nv = "drop"\n')
    with pytest.raises(LakeError, match="the masks with which it began"):
        run(lake, lay_out(standin.full_export(table, NOW_US, seed=1), tmp_path))
    lake = replace(lake, config=replace(lake.config, tables={"orders": masked}))
    assert run(lake, uri).skipped == 0
    report = compacted(lake)
    assert report.changes == report.dead_letters == len(table.items)
    assert all("v" not in item for item in fresh_items(lake).values())


# The command


@pytest.mark.parametrize("seed", range(2))
def test_amid_random_writers(aws: AwsStandIn, tmp_path: Path, seed: int) -> None:
    """Exports of a table that is written to and streams, as boto3 asks for them; verify finds the lake equal."""
    rng = random.Random(seed)
    stream_arn = create(aws)
    writer = Writer(aws, rng, items=20, pace_us=SECOND_US)
    client = aws.client("dynamodb")
    arn = client.describe_table(TableName="orders")["Table"]["TableArn"]
    on = {"PointInTimeRecoveryEnabled": True}
    client.update_continuous_backups(TableName="orders", PointInTimeRecoverySpecification=on)
    writer.write(60)
    enable(aws, stream_arn)
    lake = new_lake(tmp_path / "lake")
    since = whole_second(aws.clock.now_us()) // SECOND_US
    for n in range(4):
        writer.write(rng.randrange(40))
        what: Any = {}
        if n and rng.random() < 0.6:
            what = {"ExportType": "INCREMENTAL_EXPORT", "IncrementalExportSpecification": {"ExportFromTime": since}}
        made = client.export_table_to_point_in_time(TableArn=arn, S3Bucket="raw", S3Prefix="exports", **what)
        told = client.describe_export(ExportArn=made["ExportDescription"]["ExportArn"])["ExportDescription"]
        writer.write(rng.randrange(40))
        place = f"s3://raw/{told['ExportManifest']}"
        assert dynalake(lake.root, "backfill", "orders", "--from-export", place).code == 0
        if rng.random() < 0.5:
            aws.deliver()
            assert dynalake(lake.root, "compact", "--raw", "s3://raw/firehose/").code == 0
    aws.deliver()
    for words in (["compact"], ["compact", "--raw", "s3://raw/firehose/"], ["verify", "orders", "--wait", "0"]):
        done = dynalake(lake.root, *words)
        assert done.code == 0, done


def test_the_command(tmp_path: Path) -> None:
    table = history(random.Random(7))
    uri = lay_out(standin.full_export(table, NOW_US), tmp_path)
    lake = new_lake(tmp_path / "lake")
    done = dynalake(lake.root, "backfill", "orders", "--from-export", uri, "--json")
    assert done.code == 0, done
    (report,) = json.loads(done.out)
    assert report["items"] == len(table.items) and report["skipped"] == 0
    assert dynalake(lake.root, "backfill", "--from-export", uri).code == 2
    assert dynalake(lake.root, "backfill", "orders", "orders", "--from-export", uri).code == 2
    assert dynalake(lake.root, "backfill", "orders", "--again", "--from-export", uri).code == 2


def test_exports_that_may_hide_deletions_are_told(tmp_path: Path) -> None:
    """In whatever order they come; those that follow each other are not."""
    table = standin.Table("orders")
    for n in range(20):
        table.put({"pk": {"S": "a"}, "sk": {"S": str(n)}}, START_US + n * SECOND_US)
    ends = [START_US + n * SECOND_US for n in range(20)]
    full = standin.full_export(table, ends[5])
    tiles = [standin.incremental_export(table, ends[5], ends[9]), standin.incremental_export(table, ends[9], ends[15])]
    across = standin.incremental_export(table, ends[3], ends[12])
    places = [lay_out(one, tmp_path) for one in (full, *tiles, across)]
    for seed in range(4):
        lake = new_lake(tmp_path / f"lake-{seed}")
        order = random.Random(seed).sample(range(4), 4)
        ids = [one.id for one in (full, *tiles, across)]
        told = {frozenset((n, ids.index(other))) for n in order for other in run(lake, places[n]).overlaps}
        assert told == {frozenset((n, 3)) for n in range(3)}
        assert run(lake, places[0]).overlaps == (across.id,)
    done = dynalake(lake.root, "backfill", "orders", "--from-export", places[3])
    assert done.code == 0 and f"exports {across.id} and {full.id} overlap" in done.errors
    (lake.root / "exports" / "orders" / f"{full.id}.json").write_text("x")
    assert "Delete it, and run" in dynalake(lake.root, "backfill", "orders", "--from-export", places[3]).fault


def test_nothing_else_of_capture_needs_the_engine() -> None:
    script = """
import sys
import ingest.backfill, ingest.consume, ingest.exported, ingest.handlers, ingest.manifests, ingest.reread
found = {"duckdb", "pyarrow", "pyiceberg", "numpy"} & {n.split(".")[0] for n in sys.modules}
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
