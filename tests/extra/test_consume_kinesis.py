"""`consume` on a stream whose shards split and merge under load, as AWS's do: `make test-extra EXTRA="-k kinesis"`."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import boto3
import pytest

from ingest.capture import Landing
from ingest.shard_reader import Bounds
from lake.lake import Lake
from tests.commands import dynalake
from tests.consuming import Running, wait_for
from tests.extra.servers import Kinesis
from tests.extra.test_kinesis_local import Stream, server  # noqa: F401
from tests.lakes import compacted, new_lake, rows
from tests.records import START_US, change, s

pytestmark = pytest.mark.extra

ITEMS = 40
BOUNDS = Bounds(window_records=150, window_seconds=0.5, poll_seconds=0.2)


class Load:
    """Versions of items put one after the other, each where its item's hash is, while shards split and merge."""

    def __init__(self, stream: Stream, rng: random.Random) -> None:
        self.stream, self.rng = stream, rng
        self.versions: dict[int, int] = defaultdict(int)
        self.places = [rng.randrange(2**128) for _ in range(ITEMS)]

    def put(self, count: int) -> None:
        entries = []
        for _ in range(count):
            item = self.rng.randrange(ITEMS)
            self.versions[item] += 1
            version = self.versions[item]
            op, old = ("INSERT", None) if version == 1 else ("MODIFY", s(str(version - 1)))
            at_us = START_US + version * 1_000
            made = change(f"i{item}", f"{item}-{version}", op, at_us, old, s(str(version)))
            entries.append({"Data": json.dumps(made).encode(), "PartitionKey": f"i{item}",
                            "ExplicitHashKey": str(self.places[item])})  # fmt: skip
        answer = self.stream.client.put_records(StreamName=self.stream.name, Records=entries)
        assert answer["FailedRecordCount"] == 0

    def reshard(self) -> None:
        ranges = {}
        for name, shard in self.stream.shards().items():
            if name in self.stream.open():
                hashes = shard["HashKeyRange"]
                ranges[name] = (int(hashes["StartingHashKey"]), int(hashes["EndingHashKey"]))
        neighbours = [(one, other) for one in ranges for other in ranges if ranges[one][1] + 1 == ranges[other][0]]
        if neighbours and (len(ranges) > 4 or self.rng.random() < 0.5):
            self.stream.merge(*self.rng.choice(neighbours))
        else:
            name = self.rng.choice(list(ranges))
            low, high = ranges[name]
            self.stream.split(name, self.rng.randrange(low + 1, high))


@pytest.fixture
def lake(server: Kinesis, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:  # noqa: F811
    """A lake in a folder; the leases are in moto's DynamoDB."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", server.endpoint)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return new_lake(tmp_path / "lake")


@pytest.mark.parametrize("seed", range(3))
def test_kinesis_splits_and_merges_under_load(server: Kinesis, lake: Lake, seed: int) -> None:  # noqa: F811
    stream = Stream(server, 2)
    load = Load(stream, random.Random(seed))
    workers = [Running(lake, stream=stream.name, bounds=BOUNDS) for _ in range(2)]
    for _ in range(8):
        load.put(60)
        load.reshard()
        load.put(20)
        time.sleep(0.3)
    total = sum(load.versions.values())
    wait_for(lambda: sum(one.consumer._progress.records for one in workers) >= total, "read to the end")
    closed = len(stream.shards()) - len(stream.open())
    wait_for(lambda: sum(one.told.count("read to its end") for one in workers) >= closed, "ended")
    for one in workers:
        one.end()
        assert not one.faults
    check(lake, load, workers)
    assert dynalake(lake.root, "consume", "--stream", stream.name, "--lease-table", "leases", "--once").code == 0
    assert compacted(lake).changes == 0, "there was nothing left"
    status = json.loads(dynalake(lake.root, "status", "--stream", stream.name, "--lease-table", "leases", "--json").out)
    assert {one["state"] for one in status["shards"]} == {"read to its end", "free"}
    assert {one["oldest_unread_seconds"] for one in status["shards"]} == {None, 0.0}


def test_kinesis_iterators_expire_while_nothing_comes(server: Kinesis, lake: Lake) -> None:  # noqa: F811
    stream = Stream(server, 1)
    load = Load(stream, random.Random(1))
    running = Running(lake, stream=stream.name, bounds=BOUNDS)
    load.put(50)
    wait_for(lambda: running.consumer._progress.records == 50, "read")
    server.expire_iterators()
    load.put(50)
    wait_for(lambda: running.consumer._progress.records == 100, "read on")
    running.end()
    assert not running.faults
    check(lake, load, [running])


def test_kinesis_once_reads_a_line_of_shards_to_its_end(server: Kinesis, lake: Lake) -> None:  # noqa: F811
    """Closed shards and their children of children, all in one run."""
    stream = Stream(server, 1)
    load = Load(stream, random.Random(2))
    for _ in range(6):
        load.put(30)
        load.reshard()
    load.put(30)
    running = Running(lake, once=True, stream=stream.name, bounds=BOUNDS)
    assert running.end(tell=False).records == 210
    check(lake, load, [running])


def check(lake: Lake, load: Load, workers: list[Running]) -> None:
    """Each version once in the log, and every item's versions landed in their order: no child before its parents."""
    assert compacted(lake).changes == sum(load.versions.values())
    expected = {f"i{item}|1": count for item, count in load.versions.items()}
    assert dict(rows(lake, "SELECT item_key, count(*) FROM orders_changes GROUP BY 1")) == expected
    landings = sorted(
        ((at, one.what) for worker in workers for at, one in zip(worker.told_at, worker.happened, strict=True)
         if isinstance(one.what, Landing)), key=lambda pair: pair[0],
    )  # fmt: skip
    newest: dict[str, int] = defaultdict(int)
    for _, landing in landings:
        for line in landing.data.splitlines():
            item, version = json.loads(line)["eventID"].split("-")
            assert int(version) <= newest[item] + 1, f"item {item} skipped to {version}"
            newest[item] = max(newest[item], int(version))
