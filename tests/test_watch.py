"""`watch`: compaction and refresh by turns, faults that pass and faults that do not, and a clean stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from compaction.settings import Settings
from compaction.watch import FAILURES_MAX, Happened, Pace, is_refresh_due, watch
from lake.config import TableConfig
from lake.errors import LakeError
from lake.lake import Lake, add_table
from tests.commands import dynalake
from tests.lakes import SCHEMA, fresh_items, land_records, new_lake, rows
from tests.records import record
from tests.test_tidy import ROOT

PACE = Pace(every_seconds=60, refresh_seconds=3_600, tail_share=0.5)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


class Turns:
    """A clock that moves by waiting; before each turn but the first an act is done, and after the last it ends."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        self.now_us, self.acts, self.waited = time.time_ns() // 1_000, list(acts), []

    def settings(self) -> Settings:
        return Settings(self.now_us, memory_mb=1024, threads=2)

    def rest(self, seconds: float) -> bool:
        if seconds == 0:
            return True
        self.waited.append(seconds)
        self.now_us += int(seconds * 1e6)
        if not self.acts:
            return False
        self.acts.pop(0)()
        return True


def run(lake: Lake, *acts: Callable[[], object], tables: Sequence[str] = (), pace: Pace = PACE) -> list[Happened]:
    turns = Turns(*acts)
    return list(watch(str(lake.root), tables, pace, turns.settings, turns.rest))


def kinds(happened: Sequence[Happened]) -> list[str]:
    return [one.kind for one in happened]


@pytest.mark.parametrize(
    ("tail", "state", "since", "is_due"),
    [(0, 0, 1e9, False), (1, 0, 0, True), (49, 100, 0, False), (50, 100, 0, True), (1, 100, 3_600, True),
     (1, 100, 3_599, False)],
)  # fmt: skip
def test_when_a_refresh_is_due(tail: int, state: int, since: float, is_due: bool) -> None:
    assert is_refresh_due(tail, state, since, PACE) == is_due


def test_turns(lake: Lake) -> None:
    """A first state, a tail that is small, a tail that has grown."""
    land_records(lake, "1", [record(f"{n}") for n in range(10)])
    happened = run(
        lake,
        lambda: land_records(lake, "2", [record(f"a{n}") for n in range(4)]),
        lambda: land_records(lake, "3", [record(f"b{n}") for n in range(3)]),
        lambda: None,
    )
    assert kinds(happened) == ["compacted", "refreshed", "waits", "compacted", "waits", "compacted", "refreshed",
                               "waits", "compacted", "waits"]  # fmt: skip
    assert [one.tail_share for one in happened if one.kind == "compacted"] == [1.0, 0.4, 0.7, 0.0]
    assert [one.seconds for one in happened if one.kind == "waits"] == [60] * 4
    assert len(fresh_items(lake)) == 17


def test_an_old_state_is_refreshed(lake: Lake) -> None:
    land_records(lake, "1", [record(f"{n}") for n in range(10)])
    pace = Pace(every_seconds=60, refresh_seconds=0, tail_share=0.9)
    assert kinds(run(lake, lambda: land_records(lake, "2", [record("a")]), pace=pace)).count("refreshed") == 2


def test_a_table_registered_meanwhile_is_taken_up(lake: Lake) -> None:
    def register() -> None:
        add_table(lake, TableConfig("", "other", SCHEMA))

    land_records(lake, "1", [record("1", tableName="other")])
    happened = run(lake, register)
    assert [one.table for one in happened if one.kind == "compacted"] == ["orders", "orders", "other"]
    assert [one.table for one in run(lake, tables=["other"]) if one.kind == "compacted"] == ["other"]


def test_a_fault_that_passes(lake: Lake) -> None:
    raw = Path(lake.raw)
    raw.rename(raw.with_name("away"))
    add_table(lake, TableConfig("", "other", SCHEMA))
    happened = run(lake, lambda: None, lambda: raw.with_name("away").rename(raw))
    assert kinds(happened) == [
        "failed",
        "failed",
        "waits",
        "failed",
        "failed",
        "waits",
        "compacted",
        "compacted",
        "waits",
    ]
    assert "raw" in str(happened[0].fault)


def test_a_fault_that_stays_ends_it(lake: Lake) -> None:
    Path(lake.raw).rmdir()
    with pytest.raises(LakeError, match="raw"):
        run(lake, *[lambda: None] * (FAILURES_MAX - 1))


def test_a_lake_that_goes_away(lake: Lake) -> None:
    settings = lake.root / "lake.toml"
    happened = run(lake, lambda: settings.rename(lake.root / "away"), lambda: (lake.root / "away").rename(settings))
    assert kinds(happened) == ["compacted", "waits", "failed", "waits", "compacted", "waits"]


def test_what_is_wrong_from_the_start(lake: Lake, tmp_path: Path) -> None:
    assert "none" in dynalake(tmp_path / "nowhere", "watch").fault
    assert "invoices" in dynalake(lake.root, "watch", "invoices").fault
    for wrong in ("5", "often", "-1m", ""):
        assert dynalake(lake.root, "watch", "--every", wrong).code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_clean_stop(lake: Lake, number: int) -> None:
    """While it waits, and with what had landed until then taken in."""
    land_records(lake, "1", [record("1")])
    command = [sys.executable, "-m", "dynalake.cli", "--lake", str(lake.root), "watch", "--every", "1h", "--json"]
    with subprocess.Popen(
        command, cwd=lake.root.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [(line["job"], line["table"]) for line in lines] == [("compacted", "orders"), ("refreshed", "orders")]
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - started < 50, "it did not wait for the next turn"
        assert "stopping" in process.stderr.read()
    assert rows(lake, "SELECT count(*) FROM orders") == [(1,)]
