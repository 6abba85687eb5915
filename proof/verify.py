"""`verify`: the lake against the table itself, item by item, types and all.

The table is scanned consistently, then the lake is opened as its users see it, so that in a table at rest the two
are the same. What is not the same is held against the item's history in the lake (`history` says how, and why
that gives no false calm), read again, and waited for as long as the lake may still be catching up. What the
current state says is also held against the log, and each typed column against the item: for these there is
nothing to wait for.

Through which time is all proven? Through the scan's start by DynamoDB's clock, minus the margin: of every item,
what the table held then or later is in the lake. Losses after that are for the next run to find.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lake.config import TableConfig
from lake.dynamodb import DescribedTable, Source
from lake.engine import engine_faults
from lake.lake import Lake
from lake.masked import masked_source
from lake.sql import identifier
from proof.compare import Compared, compare
from proof.evidence import Evidence
from proof.report import KINDS, Kind, Report
from proof.scan import Progress, Scanned, read_chosen, scan_table
from proof.view import View, current_version, open_view

POLL_SECONDS_FIRST = 5.0
POLL_SECONDS_MAX = 30.0
REREADS_MAX = 10_000  # items read again in one round
HASHES = 1_000_000
SEGMENTS_MAX = 1_000_000  # of a Scan, by DynamoDB's rules
_EPOCH = datetime.fromtimestamp(0, UTC)


def _silent(*_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Settings:
    """`wait_seconds` is how long the lake may take to catch up; 0 judges at once. `limit` differences are told.

    `sample` is the share of the items to look at, by chance; `chosen` are the keys of those to look at. `on_finding`
    gets every item that is not proven, and its kind; `progress` items done and their total, `on_wait` the items that
    are waited for and the seconds left.
    """

    wait_seconds: float = 900.0
    limit: int = 20
    segments: int = 8
    memory_mb: int = 4096
    threads: int | None = None
    sample: float | None = None
    chosen: Sequence[str] | None = None
    on_finding: Callable[[str, Kind], None] = _silent
    progress: Progress = _silent
    on_wait: Progress = _silent
    rng: random.Random = field(default_factory=random.SystemRandom)
    sleep: Callable[[float], None] = time.sleep
    seconds: Callable[[], float] = time.monotonic


def verify(lake: Lake, table: TableConfig, source: Source, settings: Settings) -> Report:
    """Proves the lake equal to the table, or tells where it is not. Raises LakeError where it cannot be judged."""
    source = masked_source(source, lake, table)
    described = source.describe(table.dynamodb_name)
    described.require_keys("verify", table)
    folder = Path(tempfile.mkdtemp(prefix="dynalake-verify-"))
    try:
        scanned = _scanned(lake, table, source, described, settings, folder)
        report = _Proof(lake, table, source, settings, scanned, folder).run()
        return replace(report, table_id=described.table_id)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scanned(
    lake: Lake, table: TableConfig, source: Source, described: DescribedTable, settings: Settings, folder: Path
) -> Scanned:
    if settings.sample is None and settings.chosen is None:
        return scan_table(
            source, described, table.keys, settings.segments, settings.memory_mb, folder, settings.progress
        )
    segments: list[tuple[int, int]] = []
    item_keys = settings.chosen or ()
    if settings.sample is not None:  # segments for what the lake may lack, keys for what it may have that is not there
        of = min(SEGMENTS_MAX, max(settings.segments, round(settings.segments / settings.sample)))
        segments = [(n, of) for n in settings.rng.sample(range(of), settings.segments)]
        item_keys = _sampled_keys(lake, table, settings)
    return read_chosen(
        source, described, table.keys, segments, item_keys, settings.segments, settings.memory_mb, folder,
        settings.progress,
    )  # fmt: skip


def _sampled_keys(lake: Lake, table: TableConfig, settings: Settings) -> list[str]:
    """Some of the keys that the lake has, chosen by a hash that is another each time."""
    assert settings.sample is not None
    view = open_view(lake, table, settings.memory_mb, settings.threads)
    with engine_faults("verify"), closing(view.con) as con:
        salt, below = settings.rng.randrange(1 << 62), round(settings.sample * HASHES)
        rows = con.execute(
            f"""SELECT _item_key FROM {identifier(table.name)}
            WHERE md5_number_lower(_item_key || '{salt}') % {HASHES} < {below}"""
        )
        return [key for (key,) in rows.fetchall()]


class _Proof:
    def __init__(
        self, lake: Lake, table: TableConfig, source: Source, settings: Settings, scanned: Scanned, folder: Path
    ) -> None:
        self._lake, self._table, self._source, self._settings = lake, table, source, settings
        self._scanned, self._folder = scanned, folder
        self._evidence = Evidence(folder, table)
        self._view: View | None = None

    def run(self) -> Report:
        with engine_faults("verify"):
            try:
                compared = compare(
                    self._open(),
                    self._table,
                    self._scanned,
                    self._evidence,
                    self._folder,
                    self._settings.memory_mb,
                    self._settings.progress,
                )
                compared, waited = self._settle(compared)
                self._evidence.conclude()
                for kind in KINDS:
                    for item_key in self._evidence.keys(kind):
                        self._settings.on_finding(item_key, kind)
                return self._report(compared, waited)
            finally:
                self._close()

    def _settle(self, compared: Compared) -> tuple[Compared, float]:
        """Judges the suspects until none is pending or the time is up; gives the seconds waited."""
        start = self._settings.seconds()
        self._evidence.await_judgement()
        self._evidence.collect()
        pause = POLL_SECONDS_FIRST
        pending = self._evidence.judge_pending()
        while pending:
            self._evidence.read_again(self._source, self._table.dynamodb_name, REREADS_MAX)
            pending = self._evidence.judge_pending()
            left = start + self._settings.wait_seconds - self._settings.seconds()
            if not pending or left <= 0:
                break
            self._settings.on_wait(pending, int(left))
            self._settings.sleep(min(pause, left))
            pause = min(pause * 1.5, POLL_SECONDS_MAX)
            compared = self._look_again(compared)
            pending = self._evidence.judge_pending()
        return compared, self._settings.seconds() - start

    def _look_again(self, compared: Compared) -> Compared:
        """Opens the lake anew where it has advanced."""
        view = self._view
        assert view is not None
        if current_version(self._lake, self._table) == view.version:
            return compared
        self._close()
        self._open()
        overtaken = self._evidence.suspect_overtaken(self._scanned, view.batch)
        self._evidence.collect()
        return replace(
            compared, compared=compared.compared + overtaken["absent"], equal=compared.equal - overtaken["equal"]
        )

    def _open(self) -> View:
        self._view = open_view(self._lake, self._table, self._settings.memory_mb, self._settings.threads)
        self._evidence.attach(self._view)
        return self._view

    def _close(self) -> None:
        if self._view is not None:
            self._view.con.close()
        self._view = None

    def _report(self, compared: Compared, waited: float) -> Report:
        counts = self._evidence.counts()
        unproven = counts.get("unproven", 0)
        differing = sum(counts.values()) - unproven
        through = (_EPOCH + timedelta(microseconds=self._scanned.version_us)).isoformat().replace("+00:00", "Z")
        return Report(
            table=self._table.name,
            items_in_table=self._scanned.items,
            items_in_lake=compared.items_in_lake,
            items_in_tail=compared.items_in_tail,
            compared=compared.compared,
            equal=compared.equal,
            proven=compared.compared - compared.equal - differing - unproven,
            differing=differing,
            unproven=unproven,
            waited_seconds=round(waited),
            verified_through=None if differing or unproven or self._scanned.is_of_some else through,
            judged_through=through,
            sample=self._settings.sample,
            counts=counts,
            differences=self._evidence.differences(self._settings.limit),
        )


def summary(counts: dict[Kind, int]) -> str:
    """`2 missing in the lake, 1 unproven`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
