"""What others keep of failed records, redriven: Lambda's on-failure messages and Firehose's error objects.

`tests/events` holds them in the shapes that AWS documents.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import ingest.failures
import ingest.redriven
from ingest.failures import FailedBatch, documents_in, parse_failure
from lake.dead_letters import read_dead_letters
from lake.lake import Lake, create_lake
from tests.commands import dynalake
from tests.lakes import compacted, new_lake, rows
from tests.records import text
from tests.redriving import Told, from_objects, open_letters, redrive
from tests.test_handlers import EVENTS, event
from tests.test_redrive import files, landed

KINESIS, STREAMS = "lambda_kinesis_failure", "lambda_dynamodb_failure"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def failures(tmp_path: Path, *names: str, packed: bool = False) -> Path:
    """A folder with these events in it."""
    folder = tmp_path / "failures" / "2023" / "11"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = (EVENTS / f"{name}.json").read_bytes()
        (folder / name).write_bytes(gzip.compress(data) if packed else data)
    return tmp_path / "failures"


# What is in them


@pytest.mark.parametrize("name", [KINESIS, f"{KINESIS}_on_s3", "sns_notification"])
def test_a_failed_batch_is_told_by_its_content(name: str) -> None:
    found = parse_failure(event(name))
    info = event(KINESIS)["KinesisBatchInfo"]
    assert isinstance(found, FailedBatch) and found.surface == "kinesis"
    assert (found.stream_arn, found.shard_id) == (info["streamArn"], info["shardId"])
    assert (found.first, found.last, found.records) == (info["startSequenceNumber"], info["endSequenceNumber"], 4)
    assert (found.events is not None) == name.endswith("s3")
    assert found.id == parse_failure(event(KINESIS)).id  # type: ignore[union-attr]
    assert found.id != parse_failure(event(STREAMS)).id  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "no JSON object"), ("x", "no JSON object"), ({"a": 1, "b": 2}, "but a, b"), ({"Message": "x"}, "no JSON"),
        ({"KinesisBatchInfo": None}, "without one of"), ({"KinesisBatchInfo": {"shardId": "s"}}, "without one of"),
        ({"rawData": "?"}, "no base64"), ({"payload": "{}"}, "but payload"),
        (event(KINESIS) | {"payload": "{"}, "`payload` that is no JSON"),
        ({"DDBStreamBatchInfo": event(STREAMS)["DDBStreamBatchInfo"] | {"startSequenceNumber": "x"}}, "is no number"),
    ],
)  # fmt: skip
def test_other_documents_are_refused(document: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_failure(document)


def test_documents_in_any_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, one = tmp_path / "file", {"a": " } { "}
    pretty, plain = json.dumps(one, indent=2).encode(), json.dumps(one).encode()
    for layout, count in (
        (pretty, 1),
        (plain, 1),
        (plain * 3, 3),
        (plain + b" \n\n" + plain + plain + b"\n", 3),
        (b"", 0),
    ):
        for data in (layout, gzip.compress(layout)):
            path.write_bytes(data)
            found = list(documents_in(path))
            assert found == [one] * count or (count == 0 and len(found) == 0)
    path.write_bytes(plain + b"\nrubbish\n" + plain)
    assert [type(each) for each in documents_in(path)] == [dict, ValueError, dict]
    path.write_bytes(gzip.compress(b"".join(b'{"n": %d}\n' % n for n in range(50_000)))[:-2_000])
    *good, fault = documents_in(path)
    assert isinstance(fault, ValueError) and "breaks off" in str(fault) and all(isinstance(one, dict) for one in good)
    monkeypatch.setattr(ingest.failures, "DOCUMENT_BYTES_MAX", 50)
    path.write_bytes(plain + b"\n" + b'{"long": "' + b"x" * 500 + b'"}\n' + plain + b"\n")
    assert [type(each) for each in documents_in(path)] == [dict, ValueError, dict]


# The whole event in a bucket


def test_a_payload_of_kinesis(lake: Lake, tmp_path: Path) -> None:
    """As the Lambda function would have landed it: three changes and a dead letter. No stream is read."""
    place = failures(tmp_path, f"{KINESIS}_on_s3")
    found = from_objects(lake, place)
    assert (found.failures, found.landed, found.dead_letters, found.left) == (1, 3, 1, 0)
    lines = landed(lake)
    assert [line["eventName"] for line in lines] == ["INSERT", "MODIFY", "REMOVE"]
    assert {(line["_lake"]["stream"], line["_lake"]["shard_id"]) for line in lines} == {
        ("orders-changes", "shardId-000000000006")
    }
    assert lines[0]["_lake"]["arrived_us"] == 1_700_000_000_987_000
    (letter,) = read_dead_letters(lake.dead_letters)
    assert (letter.raw, letter.reason, letter.shard_id) == (b"rubbish", "undecodable", "shardId-000000000006")
    before = files(lake)
    again = from_objects(lake, place)
    assert (again.already, again.failures, again.landed, again.dead_letters) == (1, 0, 0, 0) and files(lake) == before
    assert compacted(lake).changes == 3 and redrive(lake).reasons == {"undecodable": 1}


def test_a_payload_of_a_native_stream(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", surface="streams")
    found = from_objects(lake, failures(tmp_path, f"{STREAMS}_on_s3", packed=True))
    assert (found.failures, found.landed, found.left) == (1, 3, 0)
    assert {line["_lake"]["shard_id"] for line in landed(lake)} == {"shardId-00000001573689847184-864758bb"}
    assert compacted(lake).changes == 3
    assert rows(lake, "SELECT count(*) FROM orders_changes WHERE is_ttl") == [(1,)]


# Firehose


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("spelling", ["rawData", "RawData"])
def test_records_that_a_transformation_failed_on(lake: Lake, tmp_path: Path, packed: bool, spelling: str) -> None:
    place = failures(tmp_path, "firehose_processing_failed", packed=packed)
    (path,) = (one for one in place.rglob("*") if one.is_file())
    if spelling == "RawData":
        data = (EVENTS / "firehose_processing_failed.json").read_text()
        for name in ("rawData", "errorCode", "errorMessage"):
            data = data.replace(f'"{name}"', f'"{name[0].upper()}{name[1:]}"')
        path.write_bytes(gzip.compress(data.encode()) if packed else data.encode())
    found = from_objects(lake, place)
    assert (found.failures, found.landed, found.dead_letters, found.left) == (1, 2, 1, 0)
    assert landed(lake)[0]["_lake"] == {
        "source": "stream", "stream": "firehose", "sequence_number": "", "arrived_us": 1_700_000_000_987_000
    }  # fmt: skip
    (letter,) = read_dead_letters(lake.dead_letters)
    assert (letter.raw, letter.record, letter.object) == (b"rubbish", 3, str(path))
    assert from_objects(lake, path).already == 1
    assert compacted(lake).changes == 2


def test_a_record_that_was_not_converted_is_as_it_was_to_land(lake: Lake, tmp_path: Path) -> None:
    """Behind the transformation: `_lake` is ours then, and stays; it would also tell that the record is masked."""
    found = from_objects(lake, failures(tmp_path, "firehose_format_conversion_failed"))
    assert (found.landed, found.left) == (1, 0)
    assert landed(lake)[0]["_lake"]["shard_id"] == "shardId-000000000006"


# What cannot be taken


def test_other_objects_are_named_and_the_rest_is_taken(lake: Lake, tmp_path: Path) -> None:
    place = failures(tmp_path, f"{KINESIS}_on_s3", "firehose_processing_failed")
    (place / "other.json").write_text('{"hello": 1}')
    with (place / "2023" / "11" / "firehose_processing_failed").open("a") as file:
        file.write("rubbish\n")
    told = Told()
    found = from_objects(lake, place, told)
    assert (found.failures, found.left, found.landed) == (1, 2, 3) and len(told) == 2
    assert any("other.json document 1" in one and "but hello" in one for one in told)
    assert any("firehose_processing_failed document 4" in one and "no JSON" in one for one in told)
    again = from_objects(lake, place)
    assert (again.already, again.left) == (1, 2)
    assert compacted(lake).changes == 3
    outcome = dynalake(lake.root, "redrive", "--from", str(place), "--json")
    assert outcome.code == 1 and outcome.errors.count("\n") == 2 and "It is left as it is" in outcome.errors
    assert len(json.loads(outcome.out)["left_told"]) == 2
    assert "expected a folder" in dynalake(lake.root, "redrive", "--from", str(place / "nowhere")).fault


def test_before_its_table_is_known(tmp_path: Path) -> None:
    """All become dead letters, and a redrive of those lands them."""
    lake = create_lake(tmp_path / "lake")
    found = from_objects(lake, failures(tmp_path, f"{KINESIS}_on_s3"))
    assert (found.landed, found.dead_letters, found.failures) == (0, 4, 1)
    lake = new_lake(tmp_path / "lake")
    assert redrive(lake).landed == 3 and open_letters(lake) == 1
    assert compacted(lake).changes == 3


def test_many_failures_in_parts(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.redriven, "OBJECT_BYTES", 2_000)
    lines = [
        json.dumps({"attemptsMade": 4, "errorCode": "x", "rawData": base64.b64encode(text(f"e{n}")).decode()})
        for n in range(100)
    ]
    path = tmp_path / "failed"
    path.write_text("\n".join(lines))
    found = from_objects(lake, path)
    assert found.landed == 100 and found.objects > 5 and from_objects(lake, path).already == 1
    assert compacted(lake).changes == 100


# What would change


def test_a_dry_run_shows_what_each_change_would_do(lake: Lake, tmp_path: Path) -> None:
    place = failures(tmp_path, f"{KINESIS}_on_s3")
    before = files(lake)
    outcome = dynalake(lake.root, "redrive", "--from", str(place), "--dry-run", "--json")
    told = json.loads(outcome.out)
    assert [(one["op"], one["effect"]) for one in told["changes"]] == [
        ("INSERT", "history only"), ("MODIFY", "history only"), ("REMOVE", "history only")
    ]  # fmt: skip
    assert [one["reason"] for one in told["poison"]] == ["undecodable"]
    assert files(lake) == before
    from_objects(lake, place)
    compacted(lake)
    for path in (lake.root / "redrives").iterdir():
        path.unlink()
    told = json.loads(dynalake(lake.root, "redrive", "--from", str(place), "--dry-run", "--json").out)
    assert Counter(one["effect"] for one in told["changes"]) == {"known": 3}
    assert "and 2 more changes; --limit shows them" in dynalake(
        lake.root, "redrive", "--from", str(place), "--dry-run", "--limit", "1"
    ).out  # fmt: skip
