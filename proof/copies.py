"""Where an item's changes lie in raw objects: every copy with its object and its number in it.

Objects are read a few at once, each in pieces, and only those whose bytes may hold the item are parsed.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from lake.config import TableConfig
from lake.errors import LakeError
from lake.ordering import copy_preference
from lake.store import download, is_s3
from proof.raw_records import DamagedObject, may_hold, present_object, records_of
from proof.record_keys import look_at, needles_of

READERS = 4  # objects read at once, each some tens of MB at most
_LOT = 64
GONE, DAMAGED, UNREADABLE = "gone", "damaged", "unreadable"
WhyDropped = Literal["the log had it already", "the other's time is finer", "the same event id and time"]

Progress = Callable[[int, int], None]
"""Told the objects looked through and how many there are."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One record of the item: its object, its number there from 1, its time, and the batch the object went into."""

    raw_object: str
    record: int
    event_id: str | None
    created_at_us: int | None
    batch: int | None


@dataclass(slots=True)
class Searched:
    """What was found: copies by event id in the order of objects and numbers, and what of each object was the matter.

    `faults` has objects that are gone, damaged or unreadable; what comes before the damage counts as read.
    """

    objects: int = 0
    copies: dict[str | None, list[Copy]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, str] = field(default_factory=dict)


def search(
    objects: Iterable[tuple[str, int | None]],
    total: int,
    table: TableConfig,
    item_key: str,
    is_dead: Callable[[bytes], bool],
    progress: Progress,
) -> Searched:
    """Looks through objects, given with the batches they went into, for records of the item that were taken in.

    `is_dead` tells which records became dead letters.
    """
    found = Searched()
    needles = needles_of(table, item_key)
    with (
        tempfile.TemporaryDirectory(prefix="dynalake-explain-") as scratch,
        ThreadPoolExecutor(READERS) as pool,
    ):
        for lot in _lots(objects):
            looked = pool.map(
                lambda one: _look_through(one[0], one[1], table, item_key, needles, is_dead, Path(scratch)), lot
            )
            for (uri, _), (copies, fault) in zip(lot, looked, strict=True):
                found.objects += 1
                if fault is not None:
                    found.faults[uri] = fault
                for copy in copies:
                    found.copies[copy.event_id].append(copy)
                progress(found.objects, total)
    return found


def _lots(objects: Iterable[tuple[str, int | None]]) -> Iterator[list[tuple[str, int | None]]]:
    left = iter(objects)
    while lot := list(islice(left, _LOT)):
        yield lot


def _look_through(
    uri: str,
    batch: int | None,
    table: TableConfig,
    item_key: str,
    needles: Sequence[bytes],
    is_dead: Callable[[bytes], bool],
    scratch: Path,
) -> tuple[list[Copy], str | None]:
    copies: list[Copy] = []
    try:
        raw = present_object(uri)
        if raw is None:
            return copies, GONE
        path = download(raw, scratch)
        try:
            if needles and not may_hold(path, needles):
                return copies, None
            for one in records_of(path):
                if needles and not any(needle in one.raw for needle in needles):
                    continue
                seen = look_at(one.raw, table)
                if seen is not None and seen.item_key == item_key and not is_dead(one.raw):
                    copies.append(Copy(uri, one.number, seen.event_id, seen.created_at_us, batch))
        finally:
            if is_s3(uri):
                path.unlink(missing_ok=True)
    except DamagedObject:
        return copies, DAMAGED
    except FileNotFoundError:
        return copies, GONE
    except (OSError, LakeError):
        return copies, UNREADABLE
    return copies, None


def why_dropped(copy: Copy, created_at_us: int, batch: int) -> WhyDropped:
    """Why a copy lost against the change that stands in the log, of this time and batch. They share the event id."""
    mine, others = copy_preference(copy.created_at_us or 0), copy_preference(created_at_us)
    if mine > others or (copy.batch is not None and copy.batch > batch):
        return "the log had it already"
    return "the other's time is finer" if mine < others else "the same event id and time"
