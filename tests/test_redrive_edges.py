"""Failures that are damaged, foreign or hard to reach: each is named, and holds up nothing else."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ingest.failures import documents_in, parse_failure
from lake.lake import Lake
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.lakes import compacted, land_records, new_lake
from tests.records import text
from tests.redriving import Told, capture, from_objects, open_letters, redrive
from tests.test_handlers import event
from tests.test_redrive import compacted_early, landed
from tests.test_redrive_streams import fill, of_records, queue, taken, waiting


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def failed(n: int) -> bytes:
    return json.dumps({"errorCode": "x", "rawData": base64.b64encode(text(f"e{n}")).decode()}).encode() + b"\n"


def test_foreign_bytes_hold_up_nothing(lake: Lake, tmp_path: Path) -> None:
    place = tmp_path / "failures"
    place.mkdir()
    (place / "a").write_bytes(b'{"name": "caf\xe9"}')  # not UTF-8, in an otherwise good document
    (place / "b").write_bytes(failed(1))
    told = Told()
    found = from_objects(lake, place, told)
    assert (found.landed, found.failures, found.left) == (1, 1, 1) and f"{place}/a document 1" in told[0]


def test_what_stands_before_a_cut_is_taken(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(gzip.compress(b"".join(map(failed, range(500))))[:-30])
    told = Told()
    found = from_objects(lake, path, told)
    assert found.landed > 300 and found.left == 1 and "breaks off" in told[0]
    assert from_objects(lake, path).left == 1  # it was not taken in wholly, and is not recorded so


def test_numbers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for number in ("9" * 5_000, "٣", '1","masks":"x'):
        batch: Any = event("lambda_kinesis_failure")
        batch["KinesisBatchInfo"]["startSequenceNumber"] = number
        with pytest.raises(ValueError, match="is no number"):
            parse_failure(batch)
        path.write_text(json.dumps(json.loads(failed(1)) | {"sequenceNumber": number}))
        (document,) = documents_in(path)
        assert parse_failure(document).sequence_number == ""  # type: ignore[union-attr]


def test_a_payload_that_is_not_the_whole_event(aws: AwsStandIn, lake: Lake) -> None:
    """The stream still tells; where it does not, the batch is not taken for done."""
    arn, shard_id, records = fill(aws, 10)
    batch = of_records(arn, shard_id, records)
    given: list[dict[str, Any]] = [
        {"eventSource": "aws:kinesis", "eventID": f"{shard_id}:1", "eventSourceARN": arn,
         "kinesis": {"data": base64.b64encode(one["Data"]).decode(), "sequenceNumber": one["SequenceNumber"],
                     "approximateArrivalTimestamp": 1.7e9}}
        for one in records
    ]  # fmt: skip
    report, told = taken(lake, batch | {"payload": json.dumps({"Records": given[:-1]})})
    assert (report.landed, report.failures, told) == (len(records), 1, [])
    gone = of_records(arn + "-gone", shard_id, records)
    report, _ = taken(lake, gone | {"payload": json.dumps({"Records": given[:-1]})})
    assert (report.left, report.failures) == (1, 0)
    given[0]["kinesis"]["sequenceNumber"] = 5
    report, _ = taken(lake, gone | {"payload": json.dumps({"Records": given})})
    assert (report.left, report.failures) == (1, 0)


def test_a_stream_that_cannot_be_read_holds_up_no_other(aws: AwsStandIn, lake: Lake) -> None:
    arn, shard_id, records = fill(aws, 10)
    good = of_records(arn, shard_id, records)
    far = of_records(arn.replace("us-east-1", "eu-central-1"), shard_id, records)
    bad = of_records("none", shard_id, records)
    native = {"DDBStreamBatchInfo": good["KinesisBatchInfo"] | {"streamArn": "none", "shardId": "s"}}
    url = queue(aws, far, bad, native, good)
    outcome = dynalake(lake.root, "redrive", "--queue", url, "--json")
    told = json.loads(outcome.out)
    assert (outcome.code, told["failures"], told["landed"], told["left"]) == (1, 1, len(records), 3)
    assert waiting(aws, url) == 3 and outcome.errors.count("\n") == 3
    assert "AWS_DEFAULT_REGION=eu-central-1" in outcome.errors


def test_a_dry_run_hides_no_messages(aws: AwsStandIn, lake: Lake) -> None:
    arn, shard_id, records = fill(aws, 10)
    url = queue(aws, of_records(arn, shard_id, records), "rubbish")
    aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "600"})
    assert dynalake(lake.root, "redrive", "--queue", url, "--dry-run").code == 1
    for _ in range(2):
        outcome = dynalake(lake.root, "redrive", "--queue", url, "--json")
        assert json.loads(outcome.out)["left"] == 1
    assert len(landed(lake)) == len(records) and waiting(aws, url) == 1


def test_damaged_letters_are_told_in_a_line(lake: Lake) -> None:
    path = lake.root / "dead_letters" / "table=orders" / "x.ndjson.gz"
    path.parent.mkdir(parents=True)
    data = bytearray(gzip.compress(json.dumps({"a": list(range(1_000))}).encode()))
    data[100:110] = b"\xff" * 10
    path.write_bytes(data)
    assert "a file that is whole" in dynalake(lake.root, "redrive").fault
    assert "a file that is whole" in dynalake(lake.root, "dead-letters").fault


def test_arguments_that_say_nothing(lake: Lake) -> None:
    for option in ("--from", "--queue"):
        outcome = dynalake(lake.root, "redrive", option, "")
        assert outcome.code == 2 and "found an empty text" in outcome.errors
    capture(lake, [text("e1")])
    compacted(lake)
    outcome = dynalake(lake.root, "explain", "orders", "--no-table", "\udcff", "x")
    assert outcome.code == 2 and "surrogates not allowed" in outcome.errors


def test_what_is_refused_behind_a_redrive_is_open_again(lake: Lake) -> None:
    """The job that compacts may be of an older version, or its clock be wrong; then that is mended."""
    land_records(lake, "a", [text("e1")])
    for _ in range(3):
        assert compacted_early(lake) == 1 and open_letters(lake) == 1
        assert redrive(lake).landed == 1 and open_letters(lake) == 0 and redrive(lake).letters == 0
    assert compacted(lake).changes == 1 and open_letters(lake) == 0
