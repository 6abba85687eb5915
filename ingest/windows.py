"""Which times a table's exports are of, noted in the lake: where two overlap, one may show what the other hides.

An incremental export does not tell of an item that was made and deleted within its window. So an item that another
export shows, as of a time within that window, may be gone with nothing to tell, unless the stream brought its deletion.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ingest.manifests import Export
from lake import layout
from lake.config import TableConfig
from lake.errors import LakeError
from lake.lake import Lake
from lake.store import list_objects, put_new, read


class Window(msgspec.Struct, frozen=True):
    """The times of one export, in UTC microseconds; `from_us` is None of a full one."""

    export: str
    from_us: int | None
    until_us: int

    def hides_of(self, other: Window) -> bool:
        """Whether an item that was there at the end of the other may be gone by the end of this one, unseen."""
        return self.from_us is not None and self.from_us < other.until_us < self.until_us


def note_window(lake: Lake, table: TableConfig, export: Export) -> tuple[str, ...]:
    """Notes the times of an export before anything of it lands; gives the exports with which it overlaps.

    Of two that are noted at once the later sees the other. Raises LakeError.
    """
    ours = Window(export.id, export.from_us, export.until_us)
    put_new(lake.place(layout.export_note(table.name, export.id)), msgspec.json.encode(ours))
    return tuple(sorted(other.export for other in _noted(lake, table) if ours.hides_of(other) or other.hides_of(ours)))


def note_end(lake: Lake, table: TableConfig, export: Export) -> None:
    """Notes that all of an export has landed."""
    put_new(lake.place(layout.export_end(table.name, export.id)), b"{}")


def _noted(lake: Lake, table: TableConfig) -> Iterable[Window]:
    for one in list_objects(lake.place(layout.export_notes(table.name)), may_be_missing=True):
        if not layout.is_export_note(one.uri):
            continue
        try:
            yield msgspec.json.decode(read(one.uri) or b"", type=Window)
        except msgspec.DecodeError as fault:
            raise LakeError("read the times of an export", one.uri, got=str(fault),
                            remedy="Delete it, and run the backfill from that export again") from fault  # fmt: skip
