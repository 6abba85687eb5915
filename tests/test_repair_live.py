"""Repair while others write, deliver late, compact and refresh: it ends in the table, whatever was lost and when."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dynalake.repair import Findings, mend
from lake.catalog import load_table, open_catalog
from lake.changes import Surface
from proof.verify import Settings, verify
from tests.lakes import NOW_US, compacted, only_table, refreshed
from tests.tables import SECOND_US, check
from tests.test_verify_damage import rewrite
from tests.test_verify_live import World

LOST = 0.3


class Lossy(World):
    """Some changes never arrive, and some rows of state and log vanish under the lake's hands."""

    def write(self) -> Any:
        change = super().write()
        if change is not None and self.rng.random() < LOST:
            self.pipeline.lost.add(change.event_id)
        return change

    def damage(self) -> None:
        """Rows taken out of the files of the state, or of the log."""

        def some(rows: list[dict[str, Any]]) -> None:
            rows[:] = [row for row in rows if self.rng.random() < 0.8]

        compacted(self.lake)
        refreshed(self.lake)
        name = self.rng.choice(["orders", "orders_changes"])
        if self.rng.random() < 0.5 and load_table(open_catalog(self.lake), name) is not None:
            rewrite(self.lake, name, some)


def repaired(world: World) -> bool:
    """One run of `verify --repair`; whether it was equal at the end."""

    def sleep(seconds: float) -> None:
        world.source.now_us += int(seconds * SECOND_US) + 1
        world.work()

    table = only_table(world.lake)
    with Findings() as findings:
        options = Settings(
            20, memory_mb=1024, threads=2, segments=1, sleep=sleep, on_finding=findings.add,
            seconds=lambda: world.source.now_us / SECOND_US,
        )  # fmt: skip
        report = verify(world.lake, table, world.source, options)
        return report.is_proven or mend(world.lake, table, world.source, options, findings, NOW_US).after.is_proven


def check_repair(seed: int, surface: Surface) -> None:
    root = Path(tempfile.mkdtemp(prefix="dynalake-test-"))
    try:
        world = Lossy(root, random.Random(seed), surface)
        world.before()
        world.damage()
        repaired(world)  # amid writes: of what changes all the while some may stay unproven
        world.is_writing, world.heavy = False, 1 << 30
        world.source.now_us += 60 * SECOND_US
        assert repaired(world), "at rest one run is enough"
        world.pipeline.deliver()  # what was only late: an insert, say, whose delete was lost, and that nobody missed
        assert repaired(world)
        world.source.now_us += 60 * SECOND_US
        report = check(world.lake, world.source, 0, segments=1)
        assert report.is_proven, report
    finally:
        shutil.rmtree(root)


SEEDS = st.integers(0, 1 << 40)


@pytest.mark.parametrize("surface", ["kds", "streams"])
@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
@example(seed=0)
def test_repair_amid_everything(surface: Surface, seed: int) -> None:
    check_repair(seed, surface)


@pytest.mark.slow
@pytest.mark.parametrize("surface", ["kds", "streams"])
@settings(max_examples=150, deadline=None)
@given(seed=SEEDS)
def test_repair_amid_everything_many_times(surface: Surface, seed: int) -> None:
    check_repair(seed, surface)
