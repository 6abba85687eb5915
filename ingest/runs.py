"""Runs of backfill as a lake remembers them: begun, ended, or given up as streaming was off meanwhile.

Runs of a table are numbered from 1, and only the latest counts. All is written by conditional puts: of two
processes that begin a run at once the second joins the first's, whatever became of either.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

import msgspec

from lake import layout
from lake.config import TableConfig
from lake.errors import LakeError
from lake.lake import Lake
from lake.store import list_objects, put_new, read

_MARK = re.compile(r"\d{6}(\.done|\.void)?\.json")


class Run(msgspec.Struct, frozen=True):
    """The manifest of a run: what a process that takes it up must know.

    `stream` is where the table's changes went when it was begun, `masks` the fingerprint of those it has, if any.
    """

    run: str
    table_id: str
    segments: int
    started_us: int
    stream: str = ""
    masks: str = ""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run and what became of it. A run that was given up stays so, even if another process took it to its end."""

    number: int
    manifest: Run
    is_finished: bool = False
    is_void: bool = False


def latest_run(lake: Lake, table: TableConfig) -> tuple[int, FoundRun | None]:
    """The latest number there was, from 1, and its run; None where its manifest was deleted, or there was none."""
    place = lake.place(layout.backfill_folder(table.name))
    names = {one.uri.rpartition("/")[2] for one in list_objects(place, may_be_missing=True)}
    number = max((int(name[:6]) for name in names if _MARK.fullmatch(name)), default=0)
    return number, _found(lake, table, number, names) if f"{number:06}.json" in names else None


def begin_run(lake: Lake, table: TableConfig, number: int, manifest: Run) -> FoundRun:
    """A new run; or the one that another process began under this number just before, whatever became of it."""
    if put_new(lake.place(layout.backfill_manifest(table.name, number)), msgspec.json.encode(manifest)):
        return FoundRun(number, manifest)
    ends = (layout.backfill_end(table.name, number), layout.backfill_void(table.name, number))
    return _found(lake, table, number, {end.rpartition("/")[2] for end in ends if read(lake.place(end)) is not None})


def new_run(table_id: str, segments: int, stream: str, now_us: int, masks: str) -> Run:
    """A manifest with a name that no run of any lake has."""
    return Run(uuid.uuid4().hex, table_id, segments, now_us, stream, masks)


def finish_run(lake: Lake, table: TableConfig, found: FoundRun, items: int, now_us: int) -> None:
    """Notes that all of the table was read. Raises LakeError where another process had to give the run up."""
    if read(lake.place(layout.backfill_void(table.name, found.number))) is not None:
        raise LakeError(
            "backfill", table.name, expected="streaming on until the end of the Scan",
            got="that another backfill of the same run saw it off", remedy="Run it again: it scans anew",
        )  # fmt: skip
    done = {"run": found.manifest.run, "items": items, "finished_us": now_us}
    put_new(lake.place(layout.backfill_end(table.name, found.number)), msgspec.json.encode(done))


def items_read(lake: Lake, table: TableConfig, found: FoundRun) -> int:
    """How many items a run that has ended landed. Raises LakeError."""
    place = lake.place(layout.backfill_end(table.name, found.number))
    try:
        return msgspec.json.decode(read(place) or b"", type=_Done).items
    except msgspec.DecodeError as fault:
        raise LakeError("read backfill", place, expected="the end of a run", got=str(fault),
                        remedy="Delete it, and run backfill again") from fault  # fmt: skip


class _Done(msgspec.Struct):
    items: int


def give_up_run(lake: Lake, table: TableConfig, found: FoundRun, reason: str, now_us: int) -> None:
    """Notes that a run must not be gone on with. What it has landed stays, and is as right as any past version."""
    void = {"run": found.manifest.run, "reason": reason, "given_up_us": now_us}
    put_new(lake.place(layout.backfill_void(table.name, found.number)), msgspec.json.encode(void))


def _found(lake: Lake, table: TableConfig, number: int, names: set[str]) -> FoundRun:
    place = lake.place(layout.backfill_manifest(table.name, number))
    try:
        manifest = msgspec.json.decode(read(place) or b"", type=Run)
    except msgspec.DecodeError as fault:
        raise LakeError(
            "read backfill", place, expected="the manifest of a run", got=str(fault),
            remedy="Delete it, and run backfill --again",
        ) from fault  # fmt: skip
    ends = (layout.backfill_end(table.name, number), layout.backfill_void(table.name, number))
    is_finished, is_void = (end.rpartition("/")[2] in names for end in ends)
    return FoundRun(number, manifest, is_finished, is_void)
