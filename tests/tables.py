"""A DynamoDB table for tests of verify: in memory, on a clock of its own, with others at work between any two requests.

It answers as `lake.dynamodb.DynamoDB` does. A server is not needed for what is at stake: which writes fall between
which reads, and what of them has reached the lake by then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import standin
from lake.dynamodb import DescribedTable, Page
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake
from proof.report import Report
from proof.verify import Settings, verify
from tests.lakes import compacted, land_records, only_table

START_US = 1_700_006_399_990_000
SECOND_US = 1_000_000


def nothing() -> None:
    pass


@dataclass
class FakeDynamoDB:
    """The table's items by consistent reads, in pages, in an order that has nothing to do with their keys.

    `at_work` is called between any two moments of a request. `skew_us` is how far the clock that dates the
    answers is ahead of the one that dates the changes.
    """

    table: standin.Table
    now_us: int = START_US
    page_items: int = 5
    skew_us: int = 0
    at_work: Callable[[], None] = nothing
    rereads: int = 0
    _told_us: int = 0

    def server_us(self) -> int:
        assert self._told_us, "no answer yet"
        return self._told_us

    def describe(self, name: str) -> DescribedTable:
        assert name == self.table.name
        self._tell()
        keys = KeySchema(*(KeyAttribute(*one) for one in self.table.key_schema))  # type: ignore[arg-type]
        return DescribedTable(name, "", keys, len(self.table.items), None)

    def scan(self, name: str, segment: int, segments: int) -> Iterator[Page]:
        place = ""
        while True:
            read_us = self.server_us()
            self.at_work()
            places = {place_of(key): item for key, item in self.table.items.items()}
            ours = sorted(p for p in places if p > place and int(p, 16) % segments == segment)
            page = ours[: self.page_items]
            items = [json.dumps(places[p], ensure_ascii=False).encode() for p in page]
            self.at_work()
            self._tell()
            is_last = len(ours) <= self.page_items
            yield Page(items, None if is_last else page[-1], read_us)
            self.at_work()
            if is_last:
                return
            place = page[-1]

    def get_items(self, name: str, keys: Sequence[str]) -> Iterator[Page]:
        for key in keys:
            read_us = self.server_us()
            self.at_work()
            item = self.table.get(json.loads(key))
            self.rereads += 1
            self._tell()
            if item is not None:
                yield Page([json.dumps(dict(reversed(item.items()))).encode()], None, read_us)

    def _tell(self) -> None:
        told_us = (self.now_us + self.skew_us) // SECOND_US * SECOND_US
        self._told_us = max(self._told_us, told_us)


def place_of(key: Any) -> str:
    return hashlib.md5(repr(key).encode(), usedforsecurity=False).hexdigest()


@dataclass
class Pipeline:
    """What brings a table's changes into a lake: nothing of itself, all on demand."""

    lake: Lake
    table: standin.Table
    precision: standin.Precision = "MICROSECOND"
    faults: standin.Faults = field(default_factory=standin.Faults)
    lost: set[str] = field(default_factory=set)
    _sent: set[str] = field(default_factory=set)
    _objects: int = 0

    def on_the_way(self) -> list[standin.Change]:
        return [c for c in self.table.changes if c.event_id not in self._sent and c.event_id not in self.lost]

    def send(self, changes: Sequence[standin.Change]) -> None:
        """Lands these changes as an object, whichever they are."""
        if not changes:
            return
        self._objects += 1
        self._sent |= {change.event_id for change in changes}
        if only_table(self.lake).surface == "streams":
            records: list[Any] = standin.stream_records(changes, seed=self._objects, faults=self.faults)
        else:
            found = standin.kds_records(changes, seed=self._objects, precision=self.precision, faults=self.faults)
            records = [record.data for record in found]
        land_records(self.lake, f"object-{self._objects:04d}.json", records)

    def deliver(self) -> None:
        """All that is on its way, into the log."""
        self.send(self.on_the_way())
        compacted(self.lake)


def check(
    lake: Lake, source: Any, wait_seconds: float = 900.0, sleep: Callable[[float], None] | None = None, **options: Any
) -> Report:
    """Runs verify where waiting takes no time: it moves the table's clock on, and then `sleep` is called."""

    def pass_time(seconds: float) -> None:
        source.now_us += ceil(seconds * SECOND_US)
        if sleep is not None:
            sleep(seconds)

    settings = Settings(
        wait_seconds, memory_mb=1024, threads=2, segments=options.pop("segments", 2), sleep=pass_time,
        seconds=lambda: source.now_us / SECOND_US, **options,
    )  # fmt: skip
    return verify(lake, only_table(lake), source, settings)


def item(name: str, **attributes: Any) -> dict[str, Any]:
    """An item of the usual table; a plain text as a value is a string."""
    values = {key: {"S": value} if isinstance(value, str) else value for key, value in attributes.items()}
    return {"pk": {"S": name}, "sk": {"S": "1"}, **values}


def kinds(report: Report) -> dict[str, str]:
    """What was found, by item."""
    return {difference.item_key: difference.kind for difference in report.differences}
