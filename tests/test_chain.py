"""The whole chain on the stand-in's server: writers at work during backfill and verify, and a stream that loses.

What streams comes by Firehose, by our consumer, by both at once, or masked; the seed says which.
"""

from __future__ import annotations

import random
from pathlib import Path

import boto3
import pytest

from compaction.compact import compact
from ingest.backfill import backfill
from lake.lake import Lake, open_lake
from lake.masks import TableMasks
from lake.secret import open_mask_key
from lake.store import put
from proof.report import Report
from proof.verify import Settings, verify
from standin.faults import Faults
from standin.server import AwsStandIn
from tests.accounts import RAW, Interleaved, Writer, create, enable
from tests.consuming import consume_once
from tests.lakes import SETTINGS, Items, compacted, expected_items, fresh_items, new_lake, only_table, refreshed

START_US = 1_700_006_399_990_000
POLLS_AT_WORK = 2
MASKS = b'masked_keys = ["sk"]\n[tables.orders.masks]\nsk = "hash"\nv = "hash"\n'


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("losing", [False, True], ids=["all arrives", "some is lost"])
def test_writers_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, losing: bool) -> None:
    Chain(tmp_path, monkeypatch, seed, losing).check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_150))
@pytest.mark.parametrize("losing", [False, True], ids=["all arrives", "some is lost"])
def test_writers_at_work_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, losing: bool) -> None:
    Chain(tmp_path, monkeypatch, seed, losing).check()


class Chain:
    """What happens, and when, follows from the seed; the clock is the stand-in's, and waiting takes no time."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, losing: bool) -> None:
        self.rng, self.monkeypatch, self.losing = random.Random(seed), monkeypatch, losing
        self.lake: Lake = new_lake(tmp_path / "lake")
        self.by = random.Random(f"by {seed}").choice(["firehose", "consume", "both", "consume, masked"])
        if self.by == "consume, masked":
            monkeypatch.setenv("DYNALAKE_MASK_SECRET", "s" * 32)
            put(self.lake.place("lake.toml"), (self.lake.root / "lake.toml").read_bytes() + MASKS)
            self.lake = open_lake(self.lake.uri)
        faults = Faults(duplicates=0.2, disorder=0.3, disorder_seconds=20, poison=1,
                        skipped_last=2 if losing else 0)  # fmt: skip
        self.aws = AwsStandIn(seed=seed, faults=faults, start_us=START_US)

    def check(self) -> None:
        with self.aws as aws:
            for name, value in aws.environment.items():
                self.monkeypatch.setenv(name, value)
            self.monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
            stream_arn = create(aws)
            self.writer = Writer(aws, self.rng, self.rng.choice([3, 30]), self.rng.choice([400_000, 3_000_000]))
            self.writer.write(self.rng.choice([0, 40]))
            enable(aws, stream_arn, precision=self.rng.choice(["MICROSECOND", "MILLISECOND"]))
            backfill(self.lake, only_table(self.lake), self.source(), workers=1)
            self.writer.write(20)
            self.compact()
            report = self.verify(wait_seconds=0 if self.losing else 7_200)
            if not self.losing:
                assert report.is_proven, report
            aws.deliver()
            self.compact()
            at_rest = self.verify(wait_seconds=0)
            expected = self.expected()
            assert at_rest.is_proven == (fresh_items(self.lake) == expected), at_rest
            if not self.losing:
                assert at_rest.is_proven

    def expected(self) -> Items:
        table, items = only_table(self.lake), self.aws.history("orders").items.values()
        if not table.masks:
            return expected_items(table.keys, items)
        masks = TableMasks(table.masks, table.keys, open_mask_key(self.lake))
        masked = masks.image({"pk": {"S": "c1"}, "sk": {"S": "o1"}, "v": {"N": "1"}})
        assert masked["sk"] != {"S": "o1"} and masked["v"] != {"N": "1"} and masked["pk"] == {"S": "c1"}
        return expected_items(table.keys, map(masks.image, items))

    def source(self) -> Interleaved:
        return Interleaved(self.aws, self.rng.choice([1, 4]), self.at_work, self.writer)

    def at_work(self) -> None:
        self.writer.write(self.rng.randrange(3))

    def compact(self) -> None:
        if self.by in ("firehose", "both"):
            compact(self.lake, only_table(self.lake), SETTINGS, RAW)
        if self.by != "firehose":
            consume_once(self.lake)
        compacted(self.lake)
        if self.rng.random() < 0.5:
            refreshed(self.lake)

    def verify(self, wait_seconds: float) -> Report:
        """Writers go on for the first polls if there is any waiting; else they are at rest."""
        polls = [0]

        def sleep(seconds: float) -> None:
            polls[0] += 1
            if polls[0] <= POLLS_AT_WORK:
                self.at_work()
            self.aws.clock.advance(seconds=seconds)
            self.compact()

        source = self.source() if wait_seconds else Interleaved(self.aws, 4)
        settings = Settings(
            wait_seconds, segments=1, memory_mb=1024, threads=2, sleep=sleep,
            seconds=lambda: self.aws.clock.now_us() / 1e6,
        )  # fmt: skip
        return verify(self.lake, only_table(self.lake), source, settings)
