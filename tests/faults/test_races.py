"""Jobs at once, and jobs stopped (SIGSTOP) while others run and then let go on: the same tables."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lake.lake import open_lake
from tests.faults.jobs import Job, Point
from tests.faults.scenario import Scenario, scenario
from tests.lakes import compacted, refreshed
from tests.test_tidy import ROOT

pytestmark = pytest.mark.faults

_COMMIT = "pyiceberg.catalog.sql:SqlCatalog.commit_table"


@pytest.mark.parametrize(
    "jobs",
    [
        [["compact"], ["compact"]],
        [["compact"], ["compact", "--reread"], ["compact"], ["compact"]],
        [["refresh"], ["refresh"]],
        [["compact"], ["refresh"], ["refresh", "--full"], ["compact"]],
    ],
    ids=lambda jobs: " + ".join(" ".join(job) for job in jobs),
)
def test_jobs_at_once(tmp_path: Path, jobs: list[list[str]]) -> None:
    is_first_run = jobs[-1] == ["compact"]  # log and state are made in the race too
    case = scenario(tmp_path / "lake", seed=1, compact_all=jobs[0] == ["refresh"], rounds=1 if is_first_run else 2)
    at_once(case, jobs)
    case.check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_jobs_at_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = scenario(tmp_path / "lake", seed, compact_all=rng.random() < 0.3, rounds=rng.choice([1, 2]))
    kinds = [["compact"], ["compact", "--reread"], ["refresh"], ["refresh", "--full"]]
    for _ in range(3):
        at_once(case, rng.choices(kinds, k=rng.choice([2, 3, 4])))
    case.check()


def at_once(case: Scenario, jobs: list[list[str]]) -> None:
    running = [Job(case.lake.root, *job) for job in jobs]
    for job in running:
        assert job.wait() == 0, job.output()


def test_overlapping_raw_sets_at_once(tmp_path: Path) -> None:
    """Two jobs of which each has objects that the other has, and some of its own."""
    case = scenario(tmp_path / "lake", seed=7, rounds=1)
    objects = sorted(path for path in Path(case.lake.raw).rglob("*") if path.is_file())
    assert len(objects) >= 9
    for name, part in (("left", objects[: len(objects) * 2 // 3]), ("right", objects[len(objects) // 3 :])):
        (tmp_path / name).mkdir()
        for path in part:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    at_once(case, [["compact", "--raw", str(tmp_path / name)] for name in ("left", "right")])
    assert compacted(case.lake).changes == 0, "the two had everything"
    case.check()


def test_commands_of_fresh_interpreters_at_once(tmp_path: Path) -> None:
    """The command line as it is started outside of tests."""
    case = scenario(tmp_path / "lake", seed=8)
    line = [sys.executable, "-m", "dynalake.cli", "--lake", str(case.lake.root)]
    running = [
        subprocess.Popen([*line, *rest], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for rest in (["compact"], ["compact"], ["refresh"])
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    case.check()


@pytest.mark.parametrize("call", [1, 2], ids=["its batch", "its ledger"])
def test_compact_stopped_before_a_commit_while_others_run(tmp_path: Path, call: int) -> None:
    case = scenario(tmp_path / "lake", seed=call)
    zombie = Job(case.lake.root, "compact", "--json", point=Point(_COMMIT, "before", call), sent=signal.SIGSTOP)
    assert zombie.wait_until_stopped()
    compacted(case.lake)
    refreshed(case.lake)
    zombie.send(signal.SIGCONT)
    assert zombie.wait() == 0
    if call == 1:
        assert '"conflicts": 1' in zombie.output(), "its version of the log was no longer the last"
    case.check()


@pytest.mark.parametrize("call", [1, 2], ids=["read", "planned"])
def test_refresh_stopped_while_others_run(tmp_path: Path, call: int) -> None:
    """Stopped on a state of before: after it has read the log, or when all is planned and written."""
    case = scenario(tmp_path / "lake", seed=call + 10)
    point = Point(_COMMIT) if call == 2 else Point("compaction.refresh:_Refresh._find", "after")
    first = Job(case.lake.root, "compact")
    assert first.wait() == 0
    zombie = Job(case.lake.root, "refresh", "--json", point=point, sent=signal.SIGSTOP)
    assert zombie.wait_until_stopped()
    compacted(case.lake)
    refreshed(case.lake)
    zombie.send(signal.SIGCONT)
    assert zombie.wait() == 0
    assert '"conflicts": 1' in zombie.output()
    case.check()


@pytest.mark.parametrize("seed", range(2))
def test_stopped_at_random(tmp_path: Path, seed: int) -> None:
    check_random_stops(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_stopped_at_random_many_times(tmp_path: Path, seed: int) -> None:
    check_random_stops(tmp_path, seed)


def check_random_stops(tmp_path: Path, seed: int) -> None:
    """Stopped for the length of another's run; in the rare instant that it holds the catalog, that one fails."""
    rng = random.Random(seed)
    case = scenario(tmp_path / "lake", seed)
    for kind in rng.sample([["compact"], ["compact", "--reread"], ["refresh"], ["refresh", "--full"]], 2):
        zombie = Job(case.lake.root, *kind)
        time.sleep(rng.random() * 0.8)
        zombie.send(signal.SIGSTOP)
        for other in (["compact"], ["refresh"]):
            job = Job(case.lake.root, *other)
            code = job.wait()
            assert code == 0 or (code == 1 and "locked" in job.output()), job.output()
        zombie.send(signal.SIGCONT)
        assert zombie.wait() == 0, zombie.output()
    case.check()


def test_tables_added_at_once_are_both_there(tmp_path: Path) -> None:
    check_settings_at_once(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(30))
def test_tables_added_at_once_are_both_there_many_times(tmp_path: Path, attempt: int) -> None:
    check_settings_at_once(tmp_path)


def check_settings_at_once(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    running = [Job(lake, "init") for _ in range(3)]
    assert [job.wait() for job in running] == [0, 0, 0], [job.output() for job in running]
    running = [Job(lake, "add-table", name, "--hash-key", "pk:S") for name in ("a", "b", "c", "a")]
    running.append(Job(lake, "init"))
    assert [job.wait() for job in running] == [0] * 5, [job.output() for job in running]
    assert set(open_lake(lake).config.tables) == {"a", "b", "c"}


def test_a_slow_init_does_not_undo_what_came_meanwhile(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    zombie = Job(lake, "init", point=Point("lake.store:put_new"), sent=signal.SIGSTOP)
    assert zombie.wait_until_stopped()
    assert Job(lake, "init").wait() == 0
    assert Job(lake, "add-table", "orders", "--hash-key", "pk:S").wait() == 0
    zombie.send(signal.SIGCONT)
    assert zombie.wait() == 0, zombie.output()
    assert set(open_lake(lake).config.tables) == {"orders"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_init_killed_can_be_run_again(tmp_path: Path, when: str) -> None:
    lake = tmp_path / "lake"
    assert Job(lake, "init", point=Point("os:link", when)).wait() == -signal.SIGKILL
    again = Job(lake, "init")
    assert again.wait() == 0, again.output()
    assert open_lake(lake).config.tables == {}


def test_add_table_killed_can_be_run_again(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert Job(lake, "init").wait() == 0
    add = ("add-table", "orders", "--hash-key", "pk:S")
    assert Job(lake, *add, point=Point("os:replace")).wait() == -signal.SIGKILL
    assert Job(lake, *add).wait() == 0
    assert set(open_lake(lake).config.tables) == {"orders"}
