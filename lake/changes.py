"""A change: one decoded mutation of one item, whatever brought it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lake.keys import ItemKey

Op = Literal["INSERT", "MODIFY", "REMOVE", "READ"]
Source = Literal["stream", "scan", "export", "repair"]
Surface = Literal["kds", "streams"]
Ttl = Literal["delete", "keep"]  # what a state does with items that expired
OPS: tuple[Op, ...] = ("INSERT", "MODIFY", "REMOVE", "READ")
SOURCES: tuple[Source, ...] = ("stream", "scan", "export", "repair")


@dataclass(frozen=True, slots=True)
class Change:
    """What the change log keeps of a mutation.

    `created_at_us` is UTC microseconds since 1970; the images are DynamoDB JSON text with binary encoded
    once; `sequence_number` orders changes of native Streams (40 digits, zero-padded) and is mere
    provenance on KDS, where AWS gives no order but the time. `masks` tells under which masks it landed.
    """

    item_key: ItemKey
    op: Op
    created_at_us: int
    event_id: str
    new_image: str | None = None
    old_image: str | None = None
    is_ttl: bool = False
    source: Source = "stream"
    sequence_number: str | None = None
    shard_id: str | None = None
    masks: str | None = None

    @property
    def is_tombstone(self) -> bool:
        return self.op == "REMOVE"
