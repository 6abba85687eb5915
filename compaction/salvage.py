"""Objects that hold something unusual, read record by record: good changes kept, the rest dead-lettered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from compaction.landed import FOREIGN, TAKEN
from compaction.objects import Piece, StagedObject, read_records
from lake.changes import Change
from lake.config import TableConfig
from lake.dead_letters import DeadLetter, spooled_dead_letters
from lake.errors import PoisonError
from lake.records import SOUND, UNREGISTERED, decode_record, parse_record, table_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

HELD_BYTES = 8 << 20  # of records whose changes have not gone to DuckDB yet


@dataclass(slots=True)
class Salvage:
    """What one object held beside good records: its dead letters lie in scratch files, this table's and others'.

    `poison` counts those that tell of unsound data; `example` is the first of them.
    """

    staged: StagedObject
    ours: Path
    others: Path
    letters: int = 0
    poison: int = 0
    example: str = ""


def salvage(
    con: DuckDBPyConnection,
    staged: StagedObject,
    table: TableConfig,
    others: Sequence[str],
    now_us: int,
    seal: Callable[[DeadLetter], DeadLetter],
) -> Salvage:
    """Adds the good changes of an object to `landed` and spools its dead letters beside its scratch file.

    `seal` is given what masks may concern.
    """
    rows: list[tuple[Any, ...]] = []
    held = 0
    found = Salvage(staged, staged.path.with_suffix(".ours"), staged.path.with_suffix(".others"))
    with spooled_dead_letters(found.ours) as add_ours, spooled_dead_letters(found.others) as add_other:
        for piece in read_records(staged):
            name: str | None = None
            try:
                if piece.is_torn:
                    raise PoisonError("truncated", f"the object ends before its end: {staged.damage}")
                record = parse_record(piece.raw)
                name = table_of(record)
                if name in others:
                    rows.append((FOREIGN, staged.number))
                elif name != table.dynamodb_name:
                    raise PoisonError(UNREGISTERED, f"{name!r} is not in lake.toml")
                else:
                    change = decode_record(record, table.rules, now_us)
                    rows.append((TAKEN, staged.number, *_columns(change)))
            except PoisonError as fault:
                letter = _letter(staged, piece, fault, name, now_us)
                if table.masks or name != table.dynamodb_name:
                    letter = seal(letter)
                (add_ours if name == table.dynamodb_name else add_other)(letter)
                found.letters += 1
                if fault.reason not in SOUND:
                    found.poison += 1
                    found.example = found.example or f"{letter.reason}: {letter.detail} ({staged.raw.uri})"
            held += len(piece.raw)
            if held >= HELD_BYTES:
                _insert(con, rows)
                held = 0
        _insert(con, rows)
    return found


def _letter(staged: StagedObject, piece: Piece, fault: PoisonError, table: str | None, now_us: int) -> DeadLetter:
    raw = staged.raw
    return DeadLetter(fault.reason, fault.detail, piece.raw, raw.uri, raw.etag, piece.number, table=table,
                      found_at_us=now_us)  # fmt: skip


def _columns(change: Change) -> tuple[Any, ...]:
    """A change as `landed` has it, behind the verdict and the object."""
    place = (change.source, change.sequence_number, change.shard_id, change.masks)
    images = (change.new_image, change.old_image)
    what = (change.op, change.created_at_us, change.event_id, *images, change.is_ttl)
    return (str(change.item_key), *change.item_key.parts, *what, *place)


def _insert(con: DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    names = [column[0] for column in con.execute("SELECT * FROM landed LIMIT 0").description or ()]
    width = len(names)
    columns = zip(*(row + (None,) * (width - len(row)) for row in rows), strict=True)
    con.register("salvaged", pa.table({n: list(c) for n, c in zip(names, columns, strict=True)}))
    con.execute("INSERT INTO landed FROM salvaged")
    con.unregister("salvaged")
    rows.clear()
