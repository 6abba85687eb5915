"""Runs of backfill over time: given up where changes were lost meanwhile, gone on with after faults."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ingest.backfill
import ingest.workers
from compaction.compact import compact
from ingest.workers import work_off
from lake.dynamodb import DescribedTable, DynamoDB
from lake.errors import ConfigError, LakeError, TransientError
from lake.lake import Lake
from standin.server import AwsStandIn
from tests.accounts import RAW, Interleaved, Writer, create, enable
from tests.commands import dynalake
from tests.lakes import SETTINGS, compacted, expected_items, fresh_items, new_lake, only_table
from tests.test_backfill import Stopped, orders, put, reads, run

STREAM = "arn:aws:kinesis:us-east-1:123456789012:stream/{}"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


@pytest.fixture
def stream(aws: AwsStandIn) -> str:
    """A table that streams, with items."""
    stream_arn = enable(aws, create(aws))
    put(aws, *orders(30))
    return stream_arn


def disable(aws: AwsStandIn, stream_arn: str) -> None:
    aws.client("dynamodb").disable_kinesis_streaming_destination(TableName="orders", StreamArn=stream_arn)


def at_call(number: int, act: Callable[[], object]) -> Callable[[], None]:
    """For `Interleaved`: does something once."""
    left = [number]

    def at_work() -> None:
        left[0] -= 1
        if left[0] == 0:
            act()

    return at_work


def stop() -> None:
    raise Stopped


def begin(aws: AwsStandIn, lake: Lake) -> None:
    """A run that lands some of the items, and stops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.backfill, "OBJECT_BYTES", 1)
        with pytest.raises(Stopped):
            run(lake, Interleaved(aws, 2, at_call(10, stop)), workers=1)


def check_equal(aws: AwsStandIn, lake: Lake) -> None:
    """The lake has what the table has."""
    aws.deliver()
    compact(lake, only_table(lake), SETTINGS, RAW)
    compacted(lake)
    assert fresh_items(lake) == expected_items(only_table(lake).keys, aws.history("orders").items.values())


# Changes that were lost meanwhile


def test_streaming_that_goes_off_meanwhile(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    """What was read before and changed since is in no stream: the next run must read it again."""

    def outage() -> None:
        disable(aws, stream)
        put(aws, *orders(30, changed={"S": "while off"}))

    with pytest.raises(ConfigError, match=r"until the end.*it scans anew"):
        run(lake, Interleaved(aws, 2, at_call(12, outage)), workers=1)
    aws.clock.advance(seconds=60)
    enable(aws, stream)
    report = run(lake)
    assert (report.items, report.resumed, report.finished_before) == (30, False, False)
    check_equal(aws, lake)
    assert run(lake).finished_before


def test_streaming_that_is_off_when_a_run_is_taken_up(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    begin(aws, lake)
    disable(aws, stream)
    put(aws, *orders(30, changed={"S": "while off"}))
    fault = dynalake(lake.root, "backfill").fault
    assert "enable-kinesis-streaming-destination" in fault and "scans anew" in fault
    aws.clock.advance(seconds=60)
    enable(aws, stream)
    assert run(lake).items == 30
    check_equal(aws, lake)


def test_changes_that_go_to_another_stream_since(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    """Between the two they went nowhere, though streaming is on whenever one looks."""
    begin(aws, lake)
    aws.client("kinesis").create_stream(StreamName="other", ShardCount=1)
    disable(aws, stream)
    enable(aws, STREAM.format("other"))
    report = run(lake)
    assert (report.items, report.resumed) == (30, False)

    def switch() -> None:
        disable(aws, STREAM.format("other"))
        enable(aws, stream)

    with pytest.raises(ConfigError, match=r"stream/other.*scans anew"):
        run(lake, Interleaved(aws, 2, at_call(5, switch)), again=True)


class Renamed(Interleaved):
    """A table of which DescribeTable tells other names than moto, which has no TableId and no second stream."""

    names: dict[str, str]

    def describe(self, name: str) -> DescribedTable:
        return replace(super().describe(name), **self.names)  # type: ignore[arg-type]


def renamed(aws: AwsStandIn, at_work: Callable[[], None] = lambda: None, **names: str) -> Renamed:
    source = Renamed(aws, 2, at_work)
    source.names = names
    return source


def test_a_native_stream_made_anew(aws: AwsStandIn, tmp_path: Path) -> None:
    create(aws)
    put(aws, *orders(30))
    aws.client("dynamodb").update_table(
        TableName="orders", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    lake = new_lake(tmp_path / "lake", surface="streams")
    with pytest.raises(Stopped):
        run(lake, renamed(aws, at_call(10, stop), stream_arn="first"), workers=1)
    report = run(lake, renamed(aws, stream_arn="second"))
    assert (report.items, report.resumed) == (30, False)
    assert run(lake, renamed(aws, stream_arn="second")).finished_before


def test_a_switch_of_precision_is_waited_for(
    aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No changes need be lost by it, so the run is not given up."""
    begin(aws, lake)
    call = DynamoDB._call

    def updating(self: DynamoDB, operation: str, name: str, method: str, **request: Any) -> Any:
        answer = call(self, operation, name, method, **request)
        for one in answer.get("KinesisDataStreamDestinations", ()):
            one["DestinationStatus"] = "UPDATING"
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(DynamoDB, "_call", updating)
        assert "Wait until it is ACTIVE" in dynalake(lake.root, "backfill").fault
    report = run(lake)
    assert report.resumed and report.items < 30 and report.items_of_run == 30


def test_a_run_that_another_process_gives_up(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    """Streaming was off for a moment, seen by one of two; it is on again when the other ends."""

    def other_process() -> None:
        disable(aws, stream)
        with pytest.raises(ConfigError):
            run(lake)
        enable(aws, stream)

    with pytest.raises(LakeError, match="saw it off"):
        run(lake, Interleaved(aws, 2, at_call(5, other_process)), workers=1)
    assert (run(lake).items, run(lake).finished_before) == (30, True)


def test_a_table_made_anew_meanwhile(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    source = renamed(aws, at_call(5, lambda: source.names.update(table_id="second")), table_id="first")
    with pytest.raises(ConfigError, match="made under its name"):
        run(lake, source, workers=1)
    report = run(lake, source)
    assert (report.items, report.resumed, run(lake, source).finished_before) == (30, False, True)


@pytest.mark.parametrize("seed", range(3))
def test_random_outages(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    check_random_outages(aws, lake, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_many_random_outages(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    check_random_outages(aws, lake, seed)


def check_random_outages(aws: AwsStandIn, lake: Lake, seed: int) -> None:
    """Writers at work, runs that stop, streaming that goes off, is found off, and comes on again.

    While it is off nothing is deleted, for a Scan cannot tell. That it is off is seen by at least one run: of an
    outage between two looks DynamoDB tells nothing.
    """
    rng, stream_arn, is_on = random.Random(seed), create(aws), [True]
    enable(aws, stream_arn)
    writer, faults_left, one_at_a_time = Writer(aws, rng, 20, 400_000), [rng.randrange(1, 6)], threading.Lock()
    writer.write(60)

    def at_work() -> None:
        with one_at_a_time:
            if is_on[0]:
                writer.write(rng.randrange(3))
            else:
                put(aws, *rng.sample(orders(20, changed={"N": str(rng.randrange(9))}), 2))
            if faults_left[0] == 0 or rng.random() > 0.05:
                return
            faults_left[0] -= 1
            if rng.random() < 0.4:
                raise Stopped
            if is_on[0]:
                disable(aws, stream_arn)
                is_on[0] = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.backfill, "OBJECT_BYTES", rng.choice([1, 1_000]))
        while True:
            try:
                run(lake, Interleaved(aws, 2, at_work, writer), workers=rng.choice([1, 3]))
                break
            except (ConfigError, Stopped) as fault:
                if not is_on[0] and isinstance(fault, ConfigError):
                    aws.clock.advance(seconds=60)
                    enable(aws, stream_arn)
                    is_on[0] = True
    writer.write(10)
    check_equal(aws, lake)


# Going on


class Poor(Interleaved):
    """A table that is throttled for good after a few pages."""

    pages = 4

    def _call(self, operation: str, name: str, method: str, **request: Any) -> Any:
        if method == "scan":
            self.pages -= 1
            if self.pages < 0:
                raise TransientError(operation, name, expected="capacity left")
        return super()._call(operation, name, method, **request)


def test_a_table_that_is_throttled_all_the_time_is_done_some_time(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    for attempt in range(20):
        try:
            report = run(lake, Poor(aws, 3), workers=2)
            break
        except TransientError:
            assert attempt < 19, "never done"
    assert attempt > 1 and report.items_of_run == 30
    compacted(lake)
    assert len(reads(lake)) == 30 and set(reads(lake).values()) == {1}


def test_again_goes_on_with_what_has_not_ended(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    """A schedule that says --again ends some time, whatever stops it."""
    begin(aws, lake)
    report = run(lake, again=True)
    assert report.resumed and 0 < report.items < 30 and report.items_of_run == 30
    assert not run(lake, again=True).resumed


def test_objects_that_are_gone_are_not_taken_for_read(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    begin(aws, lake)
    landed = sorted(Path(lake.raw).rglob("*.zst"))
    landed[0].unlink()
    with pytest.raises(LakeError, match=landed[0].name):
        run(lake)
    report = run(lake)
    assert (report.items, report.resumed) == (30, False)
    check_equal(aws, lake)


def test_a_manifest_that_was_deleted_is_no_run(aws: AwsStandIn, stream: str, lake: Lake) -> None:
    run(lake)
    (lake.root / "backfills/orders/000001.json").unlink()
    assert (run(lake).items, run(lake).finished_before) == (30, True)
    assert {path.name for path in lake.root.glob("backfills/orders/*")} == {
        "000001.done.json", "000002.json", "000002.done.json"
    }  # fmt: skip


def test_a_full_disk(aws: AwsStandIn, stream: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put_new = ingest.backfill.put_new

    def on_full_disk(uri: str, data: bytes) -> bool:
        if uri.endswith("000001-000000.ndjson.zst"):
            raise OSError(28, "No space left on device")
        return put_new(uri, data)

    with monkeypatch.context() as patch:
        patch.setattr(ingest.backfill, "put_new", on_full_disk)
        assert "No space left" in dynalake(lake.root, "backfill").fault
    assert run(lake).items_of_run == 30


# Threads


def test_the_first_fault_stops_the_others() -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def work(job: int) -> None:
        begun.append(job)
        if job == 3:
            raise LakeError("work", job)
        stopped.wait(10 if job > 3 else 0)

    start = time.monotonic()
    with pytest.raises(LakeError, match="work 3"):
        work_off(range(1_000), work, 4, stopped)
    assert time.monotonic() - start < 5 and len(begun) < 20 and stopped.is_set()


def test_nobody_waits_for_a_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.workers, "PATIENCE_SECONDS", 0.2)
    released = threading.Event()

    def work(job: int) -> None:
        if job == 1:
            raise LakeError("work", job)
        released.wait(60)

    start = time.monotonic()
    with pytest.raises(LakeError):
        work_off(range(4), work, 2, threading.Event())
    released.set()
    assert time.monotonic() - start < 5


def test_every_job_is_done_once() -> None:
    done: list[int] = []
    work_off(range(500), done.append, 8, threading.Event())
    assert sorted(done) == list(range(500))
    work_off([], done.append, 3, threading.Event())
