"""What a job says of itself in CloudWatch's embedded metric format, done and failed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from compaction import compact
from lake.config import TableConfig
from lake.errors import TransientError
from lake.lake import Lake, add_table
from lake.metrics import NAMESPACE
from standin.fixtures import aws  # noqa: F401
from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.lakes import SCHEMA, compacted, land_records, new_lake
from tests.records import record

ENDS = {"Succeeded", "Failed", "Seconds"}
UNITS = {"Seconds": "Seconds", "NewestChangeAge": "Seconds", "VerifiedThroughAge": "Seconds"}


@pytest.fixture(name="lake")
def _lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake", "Orders.v2")  # orders_v2 in the lake


def measured(text: str, lake: Lake, job: str, table: str = "Orders.v2") -> dict[str, Any]:
    """The values of the one line, held against the format's specification."""
    assert text.count("\n") == 1
    line = json.loads(text)
    meta = line.pop("_aws")
    assert type(meta["Timestamp"]) is int and abs(meta["Timestamp"] / 1_000 - time.time()) < 60
    (directive,) = meta["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert directive["Dimensions"] == [["Lake", "Job", "Table"]]
    assert [line.pop(name) for name in ("Lake", "Job", "Table")] == [lake.uri, job, table]
    assert directive["Metrics"] == [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in line]
    assert all(type(value) in (int, float) and value >= 0 for value in line.values())
    assert line["Succeeded"] + line["Failed"] == 1
    return line


def test_compact_and_refresh(lake: Lake) -> None:
    empty = measured(dynalake(lake.root, "compact", "--metrics").out, lake, "compact")
    assert "NewestChangeAge" not in empty, "there is no newest change yet"
    newest_us = time.time_ns() // 1_000 - 90_000_000
    records = [record("1"), record("2"), {}, record("1")]
    for one in (records[0], records[1], records[3]):
        one["tableName"] = "Orders.v2"
    records[1]["dynamodb"]["ApproximateCreationDateTime"] = newest_us
    land_records(lake, "1", records)
    done = dynalake(lake.root, "compact", "Orders.v2", "--metrics", "--alone")
    assert (done.code, done.errors) == (0, "")
    line = measured(done.out, lake, "compact")
    assert 90 <= line["NewestChangeAge"] < 180
    counts = {"Succeeded": 1, "Objects": 1, "Records": 4, "Changes": 2, "Duplicates": 1, "DeadLetters": 1}
    assert {name: line[name] for name in counts} == counts
    line = measured(dynalake(lake.root, "refresh", "orders_v2", "--metrics").out, lake, "refresh")
    assert line.keys() == ENDS | {"Touched", "Removed", "Rescued", "Buckets", "Conflicts"}
    assert (line["Succeeded"], line["Touched"]) == (1, 2)


def test_a_job_that_fails(lake: Lake, tmp_path: Path) -> None:
    """It says so, and the fault is told as ever."""
    Path(lake.raw).rmdir()
    failed = dynalake(lake.root, "compact", "--metrics")
    assert "raw" in failed.fault
    line = measured(failed.out, lake, "compact")
    assert line.keys() == ENDS and (line["Succeeded"], line["Failed"]) == (0, 1)


def test_what_was_done_before_a_job_failed_counts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run knows the first object, and will tell of its dead letter no more."""
    real, calls = compact.append_files, []

    def once(*given: Any) -> None:
        calls.append(given)
        if len(calls) > 1:
            raise TransientError("commit", "the log", got="no answer")
        real(*given)

    monkeypatch.setattr(compact, "append_files", once)
    monkeypatch.setattr(compact, "OBJECTS_MAX", 1)
    for n in "12":
        land_records(lake, n, [record(n) | {"tableName": "Orders.v2"}, {}])
    failed = dynalake(lake.root, "compact", "--metrics")
    assert "no answer" in failed.fault
    line = measured(failed.out, lake, "compact")
    assert [line[name] for name in ("Failed", "Objects", "Changes", "DeadLetters")] == [1, 1, 1, 1]


def test_a_lake_without_tables(tmp_path: Path) -> None:
    """Of stdout metrics are made: what is for people is told elsewhere."""
    dynalake(tmp_path / "lake", "init")
    for job in ("compact", "refresh", "backfill"):
        done = dynalake(tmp_path / "lake", job, "--metrics")
        assert (done.code, done.out, done.errors.count("add-table")) == (0, "", 1)


def test_a_lake_that_cannot_be_opened(lake: Lake) -> None:
    (lake.root / "lake.toml").rename(lake.root / "away")
    for job in ("compact", "refresh", "verify", "backfill"):
        failed = dynalake(lake.root, job, "Orders.v2", "--metrics")
        assert "lake.toml" in failed.fault
        assert measured(failed.out, lake, job)["Failed"] == 1


def test_tables_one_after_the_other(lake: Lake) -> None:
    """Each has its line, also where a later one fails."""
    add_table(lake, TableConfig("", "shop", SCHEMA))
    Path(lake.root, "locks").mkdir()
    Path(lake.root, "locks/compact-shop.json").mkdir()  # a lock that cannot be had
    failed = dynalake(lake.root, "compact", "--metrics", "--alone")
    assert "compact-shop" in failed.fault
    first, second = failed.out.splitlines(keepends=True)
    assert measured(first, lake, "compact")["Succeeded"] == 1
    assert measured(second, lake, "compact", "shop")["Failed"] == 1


def test_not_with_json(lake: Lake) -> None:
    for job in ("compact", "refresh", "verify", "backfill"):
        ended = dynalake(lake.root, job, "Orders.v2", "--metrics", "--json")
        assert (ended.code, ended.out) == (2, "")
        assert "--metrics" in ended.errors


def test_backfill_and_verify(tmp_path: Path, aws: AwsStandIn) -> None:  # noqa: F811
    aws.replicate("orders", bucket="raw", prefix="orders/", range_key=("sk", "S"))
    client, lake = aws.client("dynamodb"), new_lake(tmp_path / "lake")
    for n in range(3):
        client.put_item(TableName="orders", Item={"pk": {"S": f"{n}"}, "sk": {"S": "1"}})
    line = measured(dynalake(lake.root, "backfill", "--metrics").out, lake, "backfill", "orders")
    assert (line["Succeeded"], line["Items"], line["ItemsOfRun"]) == (1, 3, 3)
    compacted(lake)
    line = measured(dynalake(lake.root, "verify", "orders", "--metrics").out, lake, "verify", "orders")
    assert line.keys() == ENDS | {"Differing", "Unproven", "ItemsInTable", "VerifiedThroughAge"}
    assert [line[name] for name in ("Succeeded", "Differing", "Unproven", "ItemsInTable")] == [1, 0, 0, 3]
    proven_age = line["VerifiedThroughAge"]
    client.put_item(TableName="orders", Item={"pk": {"S": "new"}, "sk": {"S": "1"}})
    differs = dynalake(lake.root, "verify", "orders", "--wait", "0", "--metrics", "--alone")
    assert "1 missing in the lake" in differs.fault
    line = measured(differs.out, lake, "verify", "orders")
    assert [line[name] for name in ("Succeeded", "Failed", "Differing")] == [1, 0, 1], "it has done what it is for"
    assert line["VerifiedThroughAge"] >= proven_age, "what was proven stays proven"
