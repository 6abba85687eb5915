"""Exports that are not what they should be: refused with a reason, and nothing of the wrong file landed."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import standin
from lake.lake import Lake
from tests.commands import dynalake
from tests.exports import SECOND_US, START_US, history, lay_out, raw_texts, run
from tests.lakes import NOW_US, new_lake, rows

Json = dict[str, Any]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


@pytest.fixture
def export() -> standin.TableExport:
    return standin.full_export(history(random.Random(1), writes=200, items=60), NOW_US)


def refused(lake: Lake, uri: str) -> str:
    """The one line of the fault."""
    fault = dynalake(lake.root, "backfill", "orders", "--from-export", uri).fault
    assert fault.startswith(("dynalake: read export ", "dynalake: backfill from an export "))
    return fault


def changed(export: standin.TableExport, **fields: Any) -> standin.TableExport:
    """The export with other fields in its summary; ... drops one."""
    key = f"{export.folder}manifest-summary.json"
    summary = {n: value for n, value in (json.loads(export.objects[key]) | fields).items() if value is not ...}
    return standin.TableExport(export.arn, export.folder, export.objects | {key: json.dumps(summary).encode()})


def with_files(export: standin.TableExport, change: Callable[[list[Json]], object]) -> standin.TableExport:
    """The export with another list of files, and a summary that fits it."""
    key = f"{export.folder}manifest-files.json"
    listed = [json.loads(line) for line in export.objects[key].splitlines()]
    change(listed)
    text = "\n".join(map(json.dumps, listed)).encode()
    whole = changed(export, itemCount=sum(one["itemCount"] for one in listed))
    return standin.TableExport(export.arn, export.folder, whole.objects | {key: text})


def with_data(export: standin.TableExport, change: Callable[[bytes], bytes]) -> standin.TableExport:
    """The export with its first data file that holds anything changed, sums and counts as they must then be."""
    key = next(k for k in sorted(export.objects) if k.endswith(".gz") and len(export.objects[k]) > 60)
    body = change(export.objects[key])
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()

    def fit(listed: list[Json]) -> None:
        (one,) = (one for one in listed if one["dataFileS3Key"] == key)
        one["md5Checksum"] = md5

    found = with_files(export, fit)
    return standin.TableExport(export.arn, export.folder, found.objects | {key: body})


def on_lines(change: Callable[[list[bytes]], object]) -> Callable[[bytes], bytes]:
    def changed_body(body: bytes) -> bytes:
        lines = gzip.decompress(body).splitlines()
        change(lines)
        return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)

    return changed_body


def test_no_export_there(lake: Lake, export: standin.TableExport, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "when an export is complete; found none. Wait until it is" in refused(lake, str(tmp_path / "empty"))
    assert "found none" in refused(lake, str(tmp_path / "nowhere"))
    uri = lay_out(export, tmp_path)
    os.remove(f"{uri}manifest-summary.json")
    assert "found none. Wait until it is" in refused(lake, uri)
    assert "expected a folder, or s3://BUCKET/PREFIX" in refused(lake, "https://example.com/AWSDynamoDB/1")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outputFormat": "ION"}, "expected an export in DYNAMODB_JSON; found ION. Export the table again"),
        (
            {"tableArn": "arn:aws:dynamodb:us-east-1:1:table/others"},
            "expected an export of the table orders; found one",
        ),
        ({"tableArn": "orders"}, "expected an export of the table orders"),
        ({"exportType": "DIFF"}, "expected a full or an incremental export; found 'DIFF'"),
        ({"exportTime": None}, "expected the time of its state"),
        ({"exportTime": "yesterday"}, "expected the time of its state, with its zone; found 'yesterday'"),
        ({"exportTime": "2026-01-01T00:00:00"}, "with its zone"),
        ({"exportArn": "x"}, "expected the ARN of an export"),
        ({"exportArn": "arn:aws:dynamodb:r:1:table/orders/export/../../x"}, "expected the ARN of an export"),
        ({"itemCount": 1}, "expected files of 1 items, as manifest-summary.json says"),
        ({"itemCount": "many"}, "expected a manifest as DynamoDB writes it"),
        ({"manifestFilesS3Key": ...}, "expected a manifest as DynamoDB writes it"),
        ({"manifestFilesS3Key": "AWSDynamoDB/../../secret"}, "expected keys with AWSDynamoDB/ in them"),
        ({"manifestFilesS3Key": "elsewhere/manifest-files.json"}, "expected keys with AWSDynamoDB/ in them"),
        ({"manifestFilesS3Key": "AWSDynamoDB/x/manifest-files.json"}, "the list of its files that an export's summary"),
        ({"exportType": "INCREMENTAL_EXPORT"}, "expected the time of its state"),
    ],
)
def test_a_wrong_summary(lake: Lake, export: standin.TableExport, tmp_path: Path, fields: Json, message: str) -> None:
    assert message in refused(lake, lay_out(changed(export, **fields), tmp_path))
    assert raw_texts(lake) == {}


def test_a_summary_of_before_there_were_incremental_ones(
    lake: Lake, export: standin.TableExport, tmp_path: Path
) -> None:
    assert run(lake, lay_out(changed(export, exportType=..., version="2020-06-30"), tmp_path)).items > 0


def test_no_json_in_the_manifests(lake: Lake, export: standin.TableExport, tmp_path: Path) -> None:
    uri = lay_out(export, tmp_path)
    for name in ("manifest-files.json", "manifest-summary.json"):
        Path(uri, name).write_bytes(b"\xff{")
        assert "expected a manifest as DynamoDB writes it" in refused(lake, uri)


def drop_last(listed: list[Json]) -> None:
    listed.pop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda listed: listed[0].update(dataFileS3Key="AWSDynamoDB/data/none.json.gz"), "names; found none"),
        (lambda listed: listed[0].update(dataFileS3Key="AWSDynamoDB/data/.gz"), "expected the name of a data file"),
        (lambda listed: listed[0].update(dataFileS3Key="AWSDynamoDB/../x.gz"), "expected keys with AWSDynamoDB/"),
        (lambda listed: listed[0].update(md5Checksum="AAAA"), "expected a gzip file of MD5 AAAA; found MD5 "),
        (lambda listed: listed[0].update(itemCount=1_000), "expected 1000 items, as the manifest says"),
        (lambda listed: listed[0].update(itemCount=-1), "expected the name of a data file, and its items"),
        (lambda listed: listed.append(listed[0]), "expected a name for each data file"),
    ],
)
def test_a_wrong_list(
    lake: Lake, export: standin.TableExport, tmp_path: Path, change: Callable[[list[Json]], object], message: str
) -> None:
    assert message in refused(lake, lay_out(with_files(export, change), tmp_path))


def test_a_damaged_file(lake: Lake, export: standin.TableExport, tmp_path: Path) -> None:
    """One byte changed anywhere, or the end missing, is told by the sum; with a sum that fits, by gzip itself."""
    uri = lay_out(export, tmp_path)
    path = next(one for one in sorted(Path(uri, "data").iterdir()) if one.stat().st_size > 60)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:30], b"", whole + b"x", whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]):
        path.write_bytes(damaged)
        assert f"{path.name}; expected a gzip file of MD5" in refused(lake, uri)
    path.write_bytes(whole)
    for change in (lambda body: body[:-4], lambda body: body[:30], lambda body: b"{}\n", lambda body: body[:-8]):
        assert "expected a gzip file" in refused(lake, lay_out(with_data(export, change), tmp_path / "fits"))
    assert "expected" in refused(lake, lay_out(with_data(export, lambda body: b""), tmp_path / "fits"))
    assert not any(path.name.removesuffix(".json.gz") in name for name in raw_texts(lake))


def other_key(lines: list[bytes]) -> None:
    lines[1] = b'{"Item":{"id":{"S":"secret"}}}'


def other_kind(lines: list[bytes]) -> None:
    lines[1] = b'{"Item":{"pk":{"N":"77777"},"sk":{"S":"1"}}}'


def cut(lines: list[bytes]) -> None:
    lines[1] = lines[1][:-3]


def rubbish(lines: list[bytes]) -> None:
    lines[1] = b"secret \xff"


def two_in_one(lines: list[bytes]) -> None:
    lines[1] += lines[0]


def incremental_line(lines: list[bytes]) -> None:
    lines[1] = b'{"Metadata":{"WriteTimestampMicros":{"N":"1700000000000000"}},"Keys":{"pk":{"S":"a"},"sk":{"S":"b"}}}'


@pytest.mark.parametrize("change", [other_key, other_kind, cut, rubbish, two_in_one, incremental_line])
def test_a_line_that_cannot_be_a_record(
    lake: Lake, export: standin.TableExport, tmp_path: Path, change: Callable[[list[bytes]], object]
) -> None:
    """It is named, without what is in it; no other line of its file lands."""
    bad = with_data(export, on_lines(change))
    fault = refused(lake, lay_out(bad, tmp_path))
    assert ".json.gz, line 2; expected an item of an export; found no " in fault
    assert "secret" not in fault and "77777" not in fault
    found = raw_texts(lake)
    assert all(name.removesuffix(".ndjson.zst").rpartition("/")[2] not in fault for name in found)
    good = lay_out(export, tmp_path)
    assert run(lake, good).objects > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line["Metadata"].clear(), "no WriteTimestampMicros"),
        (lambda line: line["Metadata"].update(WriteTimestampMicros={"N": "1700000000000"}), "no WriteTimestampMicros"),
        (lambda line: line["Keys"].update(pk={"S": "another"}), "Keys and image disagree"),
        (lambda line: line["Keys"].update(third={"S": "x"}), "Keys has more than pk:S sk:S"),
        (lambda line: line["Keys"].pop("sk"), "no key pk:S sk:S"),
        (lambda line: line.pop("Keys"), "no object as Keys"),
        (lambda line: line.update(NewImage=[]), "no object as NewImage"),
        (lambda line: line.update(OldImage="x"), "no object as OldImage"),
    ],
)
def test_a_line_of_an_incremental_export(
    lake: Lake, tmp_path: Path, change: Callable[[Json], object], message: str
) -> None:
    table = standin.Table("orders")
    for n in range(3):
        table.put({"pk": {"S": "a"}, "sk": {"S": str(n)}}, START_US)
    whole = standin.incremental_export(table, START_US, START_US + SECOND_US, files=1)

    def odd(lines: list[bytes]) -> None:
        line = json.loads(lines[2])
        change(line)
        lines[2] = json.dumps(line).encode()

    assert f"line 3; expected an item of an export; found {message}" in refused(
        lake, lay_out(with_data(whole, on_lines(odd)), tmp_path)
    )
    assert raw_texts(lake) == {}


def test_unusual_but_right(lake: Lake, tmp_path: Path) -> None:
    """White space, other orders, empty lines, fields of a later version and times as plain texts are no faults."""
    table = standin.Table("orders")
    for n in range(4):
        table.put({"pk": {"S": "é"}, "sk": {"S": str(n)}}, START_US + n)
    table.delete({"pk": {"S": "é"}, "sk": {"S": "3"}}, START_US + SECOND_US)
    made = standin.incremental_export(table, START_US + 1, START_US + 2 * SECOND_US, files=1)

    def odd(lines: list[bytes]) -> None:
        found = [json.loads(line) for line in lines]
        found[0]["Metadata"]["WriteTimestampMicros"] = found[0]["Metadata"]["WriteTimestampMicros"]["N"]
        found[-1] = {"later": 1, **dict(reversed(found[-1].items())), "OldImage": None}
        lines[:] = [b" " + json.dumps(line).encode() for line in found] + [b"", b"  "]

    report = run(lake, lay_out(with_data(made, on_lines(odd)), tmp_path))
    assert (report.items, report.tombstones) == (2, 0) and report.objects == 1
    whole = run(lake, lay_out(standin.incremental_export(table, START_US + 4, NOW_US), tmp_path))
    assert (whole.items, whole.tombstones) == (0, 1)
    dynalake(lake.root, "compact")
    found = rows(lake, "SELECT op, created_at_us, source, old_image IS NULL FROM orders_changes ORDER BY created_at_us")
    assert found[:2] == [("READ", START_US + n, "export", True) for n in (1, 2)]
    assert found[2:] == [("REMOVE", START_US + SECOND_US, "export", False)]
