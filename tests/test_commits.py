"""Commits and their races, step by step in one process; and what stands in the files, read by pyiceberg itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.table import Table

import compaction.compact
from compaction.settings import ATTEMPTS_MAX
from lake.catalog import open_catalog
from lake.errors import CommitConflict, TransientError
from lake.lake import Lake
from lake.layout import NAMESPACE, ledger_table, log_table, state_table
from lake.tables import BATCH, append_files, batch_of
from tests.lakes import compacted, fresh_items, land_records, new_lake, refreshed, rows, table
from tests.records import HOUR_US, START_US, change, record, s


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def log_of(lake: Lake) -> Table:
    return table(lake, log_table("orders"))


def event_ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY 1")]


# Races: what comes between a plan and its commit


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int = 1) -> None:
    """Runs `act` in the midst of the next commits of a log: planned and written, not yet committed."""
    left = [times]

    def commit(*arguments: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            act()
        append_files(*arguments)

    monkeypatch.setattr(compaction.compact, "append_files", commit)


def test_a_stale_version_of_the_log_is_refused(lake: Lake) -> None:
    land_records(lake, "1", [record("1")])
    compacted(lake)
    stale = log_of(lake)
    land_records(lake, "2", [record("2")])
    compacted(lake)
    with pytest.raises(CommitConflict):
        append_files(stale, [], batch_of(stale) + 1)
    assert event_ids(lake) == ["1", "2"] and batch_of(log_of(lake)) == 2


@pytest.mark.parametrize("first", [True, False], ids=["the log's first commit", "a later commit"])
def test_the_loser_of_a_race_plans_anew(lake: Lake, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    """Both had read both objects: the loser finds nothing new, throws its files away and counts a conflict."""
    if not first:
        land_records(lake, "0", [record("0")])
        compacted(lake)
    land_records(lake, "1", [record("1"), record("2")])
    winner = []
    between(monkeypatch, lambda: winner.append(compacted(lake)))
    loser = compacted(lake)
    assert (winner[0].changes, winner[0].conflicts) == (2, 0)
    assert (loser.changes, loser.conflicts, loser.batches) == (0, 1, 0)
    assert event_ids(lake) == ["1", "2"] if first else ["0", "1", "2"]
    files = {Path(task.file.file_path.removeprefix("file://")) for task in log_of(lake).scan().plan_files()}
    assert set((Path(lake.warehouse) / "lake" / "orders_changes" / "data").rglob("*.parquet")) == files


def test_losers_with_inputs_of_their_own_still_land_them(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Overlapping sets of inputs: a number that is taken says nothing of what is in it."""
    land_records(lake, "shared", [record("1")])
    land_records(lake, "own", [record("2")])
    other = tmp_path / "other"
    other.mkdir()
    for name in ("shared", "more"):
        data = (Path(lake.raw) / "shared").read_bytes() if name == "shared" else b""
        (other / name).write_bytes(data or (Path(lake.raw) / "own").read_bytes().replace(b'"2"', b'"3"'))
    between(monkeypatch, lambda: compacted(lake, raw_uri=str(other)))
    assert compacted(lake).conflicts == 1
    assert event_ids(lake) == ["1", "2", "3"]
    assert [row[0] for row in rows(lake, "SELECT DISTINCT batch FROM orders_changes ORDER BY 1")] == [1, 2]


def test_batches_only_grow_and_say_what_the_state_covers(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []
    for n in range(4):
        land_records(lake, f"{n}", [record(f"{n}")])
        if n == 2:
            land_records(lake, "more", [record("more")])
            between(monkeypatch, lambda: compacted(lake))
        compacted(lake)
        numbers.append(batch_of(log_of(lake)))
        refreshed(lake)
        state = table(lake, state_table("orders"))
        assert batch_of(state) == numbers[-1]
        snapshot = state.current_snapshot()
        assert snapshot is not None and snapshot.summary is not None
        assert snapshot.summary.additional_properties[BATCH] == str(numbers[-1])
    assert numbers == [1, 2, 3, 4]


def test_losing_again_and_again_ends(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> None:
        raise CommitConflict("commit", "batch")

    land_records(lake, "1", [record("1")])
    monkeypatch.setattr(compaction.compact, "append_files", lose)
    with pytest.raises(TransientError, match=f"{ATTEMPTS_MAX} attempts"):
        compacted(lake)
    assert list((Path(lake.warehouse) / "lake" / "orders_changes" / "data").rglob("*.parquet")) == []


def test_a_ledger_that_was_not_written_costs_a_reading_and_nothing_else(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_records(lake, "1", [record("1"), b"rubbish"])
    with monkeypatch.context() as killed:
        killed.setattr(compaction.compact._Job, "_write_ledger", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            compacted(lake)
    again = compacted(lake)
    assert (again.objects, again.changes, again.duplicates, again.dead_letters) == (1, 0, 1, 1)
    assert (event_ids(lake), batch_of(log_of(lake))) == (["1"], 1)
    assert compacted(lake).objects == 0
    entries = table(lake, ledger_table("orders")).scan().to_arrow().to_pylist()
    assert [(entry["batch"], entry["records"], entry["dead_letters"]) for entry in entries] == [(1, 2, 1)]


def test_a_log_made_anew_is_filled_anew(lake: Lake) -> None:
    """The ledger speaks of one log; of another under the same name it says nothing."""
    land_records(lake, "1", [record("1")])
    compacted(lake)
    refreshed(lake)
    open_catalog(lake).drop_table((NAMESPACE, log_table("orders")))
    assert compacted(lake).changes == 1
    land_records(lake, "2", [change("1", "gone", "REMOVE", START_US + 1, old={"N": "1"})])
    compacted(lake)
    refreshed(lake)
    assert event_ids(lake) == ["1", "gone"] and fresh_items(lake) == {}


# Commits of unknown outcome


def lost_answers(monkeypatch: pytest.MonkeyPatch, landed: bool, calls: set[int]) -> None:
    """Loses the answer to some commits: after they took effect, or before they could."""
    original = SqlCatalog.commit_table
    count = [0]

    def commit(self: SqlCatalog, *arguments: Any) -> Any:
        count[0] += 1
        if count[0] not in calls:
            return original(self, *arguments)
        if landed:
            original(self, *arguments)
        raise CommitStateUnknownException("the answer was lost")

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
@pytest.mark.parametrize("calls", [{1}, {1, 2}, {2}, {2, 3}], ids=["1", "1-2", "2", "2-3"])
def test_compact_when_the_answer_is_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool, calls: set[int]
) -> None:
    """The first commit is the batch's, the next the ledger's, unless the batch has to be committed again."""
    land_records(lake, "1", [record("1"), record("2")])
    lost_answers(monkeypatch, landed, calls)
    report = compacted(lake)
    monkeypatch.undo()
    assert (report.changes, event_ids(lake), batch_of(log_of(lake))) == (2, ["1", "2"], 1)
    assert compacted(lake, reread=True).changes == 0


def test_an_earlier_commit_of_the_same_inputs_is_not_taken_for_this_one(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was poison at the first reading, of the future, is a change at the second, of the very same object."""
    ahead = change("1", "ahead", "INSERT", START_US + 100_000_000_000_000 + 2 * 24 * HOUR_US, new=s("x"))
    land_records(lake, "1", [record("now"), ahead])
    monkeypatch.setattr("tests.lakes.SETTINGS", settings_at(START_US + 100_000_000_000_000))
    assert (compacted(lake).changes, event_ids(lake)) == (1, ["now"])
    monkeypatch.setattr("tests.lakes.SETTINGS", settings_at(START_US + 200_000_000_000_000))
    lost_answers(monkeypatch, landed=False, calls={1})
    assert compacted(lake, reread=True).changes == 1
    monkeypatch.undo()
    assert event_ids(lake) == ["ahead", "now"]


def settings_at(now_us: int) -> Any:
    from compaction.settings import Settings

    return Settings(now_us, memory_mb=1024, threads=2)


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
@pytest.mark.parametrize("full", [False, True])
def test_refresh_when_the_answer_is_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool, full: bool) -> None:
    for n in (1, 2):
        land_records(lake, f"{n}", [record(f"{n}"), record(f"more {n}")])
        compacted(lake)
        if n == 2:
            lost_answers(monkeypatch, landed, {1})
        refreshed(lake, full=full and n == 2)
    monkeypatch.undo()
    state = table(lake, state_table("orders"))
    assert batch_of(state) == 2 and state.scan().to_arrow().num_rows == 4
    assert len(fresh_items(lake)) == 4


# Two first jobs at once


@pytest.mark.parametrize("method", ["create_tables", "create_namespace", "create_table"])
def test_what_another_job_makes_first_is_used(lake: Lake, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The other one comes in right before the catalog's tables, its namespace or a table are made."""
    land_records(lake, "1", [record("1")])
    original = getattr(SqlCatalog, method)
    entered = []

    def late(self: SqlCatalog, *arguments: Any, **keywords: Any) -> Any:
        if not entered:
            entered.append(self)
            compacted(lake)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(SqlCatalog, method, late)
    compacted(lake)
    monkeypatch.undo()
    assert entered and event_ids(lake) == ["1"]


def test_threads_of_one_process_at_once(lake: Lake) -> None:
    for n in range(6):
        land_records(lake, f"{n}", [record(f"{n}/{i}") for i in range(3)])
    threads = [threading.Thread(target=compacted, args=(lake,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert event_ids(lake) == sorted(f"{n}/{i}" for n in range(6) for i in range(3))
