"""A lake with a history behind it and raw objects landed for the next run; and what must come of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import standin
from lake.dead_letters import read_dead_letters
from lake.lake import Lake
from queries.connect import connect
from queries.status import table_status
from tests.lakes import SCHEMA, compacted, items_of, land, new_lake, refreshed
from tests.test_histories import check_lake, history


@dataclass(slots=True)
class Scenario:
    """`table` is what the lake must become once all of its raw objects are taken in."""

    seed: int
    lake: Lake
    table: standin.Table
    report: standin.Report
    whole_ms: bool

    def check(self) -> None:
        """A plain run takes in what is left; then the lake is the table, and each poison is there once."""
        self.check_unfinished()
        compacted(self.lake)
        assert compacted(self.lake, reread=True).changes == 0, "the log has every change"
        check_lake(self.lake, self.table, SCHEMA, self.whole_ms, random.Random(self.seed))
        letters = sorted(letter.raw for letter in read_dead_letters(self.lake.dead_letters))
        assert letters == sorted([poison.payload for poison in self.report.poison] + self.report.unregistered)

    def check_unfinished(self) -> None:
        """What is committed so far can be read, and holds nothing twice."""
        (status,) = table_status(self.lake)
        con = connect(self.lake, 1024, 2)
        try:
            ids = [row[0] for row in con.execute("SELECT event_id FROM orders_changes").fetchall()]
            items = items_of(con, "orders")
        finally:
            con.close()
        assert len(ids) == len(set(ids)) == status["changes"]
        assert set(ids) <= {change.event_id for change in self.table.changes}
        assert len(items) <= len({change.key for change in self.table.changes})


def scenario(root: Path | str, seed: int, compact_all: bool = False, rounds: int = 2) -> Scenario:
    """All objects landed, and those of all rounds but the last (or all: `compact_all`) compacted.

    The rounds before the last are refreshed too.
    """
    rng = random.Random(seed)
    table = history(rng, rng.choice([4, 30]), 250, rng.choice([1, 40, 3_000, 90_000_000]))
    whole_ms = rng.random() < 0.3
    faults = standin.Faults(duplicates=0.1, disorder=0.3, poison=3, unregistered=2, rewritten_objects=1, late_objects=1)
    report = standin.Report()
    precision: standin.Precision = "MILLISECOND" if whole_ms else "MICROSECOND"
    records = standin.kds_records(table, seed=seed, precision=precision, faults=faults, report=report)
    objects = standin.firehose_objects(records, seed=seed, buffer_bytes=6_000, faults=faults, report=report)
    lake = new_lake(root)
    for n in range(rounds):
        land(lake, objects[n * len(objects) // rounds : (n + 1) * len(objects) // rounds])
        if n + 1 < rounds:
            compacted(lake)
            refreshed(lake)
    if compact_all:
        compacted(lake)
    return Scenario(seed, lake, table, report, whole_ms)
