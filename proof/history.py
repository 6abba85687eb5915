"""Whether what was read of an item is in its history in the lake. Pure, and the reasons for the verdicts.

The lake may be ahead of a read or behind it, and both may be right. So a read is held against the states that the
lake's history gives the item (in the order of the specification, `lake.ordering`), but only against those that it can
have seen:

- **No older than the read's version** (DynamoDB's time before it was sent, minus the margin). A→B→A with the last
  change lost would else be proven by the first A.
- **No older than the lake's state when the scan's read of the item was answered** (plus the margin), whichever read it
  is that is held against it. Clocks leave it open on which side of a read the changes of about its time fall: with
  B→A→B, the last change lost a moment before the read, B would else be proven by the first B, and the lake's A stay
  wrong for good. It costs no more than another look: an item that changed while it was read is read again.

So a change that was lost before the scan's read of its item is found, unless a later change of that item has
landed: that one brought the whole item. An item that never rests is proven as soon as the lake has caught up
with any re-read of it that was made some seconds after the scan's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lake.changes import Change, Surface, Ttl
from lake.ordering import ItemState, in_order, state_after
from proof.values import same_text

Verdict = Literal["proven", "pending", "state damaged", "log damaged"]


@dataclass(frozen=True, slots=True)
class Read:
    """What a consistent read gave of an item: DynamoDB's JSON, or None where there was none.

    It saw every change made up to `version_us`.
    """

    image: str | None
    version_us: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """`expected` is what the item's last change in the lake leaves in the current state."""

    verdict: Verdict
    expected: ItemState | None


def judge(
    reads: Sequence[Read],
    until_us: int,
    row: ItemState | None,
    changes: Sequence[Change],
    surface: Surface = "kds",
    ttl: Ttl = "delete",
) -> Judgement:
    """One item: what was read of it against its row in the current state and its changes in the log.

    Changes made after `until_us` came after the first of the reads. The row must be what the last change left:
    that is no matter of time, for both are of one version of the lake. Where it is not, and the log proves what was
    read, the state is wrong over a right log. Where the row is what a later read than any change gave, the log has
    lost what it was made of. Else more must be known. An item that is kept though it expired is held against the log
    alone: as to the table, its last change has removed it.
    """
    ordered = in_order(changes, surface)
    expected = state_after(ordered[-1], ttl) if ordered else None
    is_proven = any(_proves(read, until_us, ordered) for read in reads)
    if _same_state(row, expected):
        return Judgement("proven" if is_proven else "pending", expected)
    if is_proven:
        return Judgement("state damaged", expected)
    last_us = max((change.created_at_us for change in changes), default=0)
    shown = None if row is None or row.expired_at_us is not None else row.image
    is_right = any(read.version_us > last_us and same_text(read.image, shown) for read in reads)
    return Judgement("log damaged" if is_right else "pending", expected)


def _same_state(one: ItemState | None, other: ItemState | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.expired_at_us == other.expired_at_us and same_text(one.image, other.image)


def _proves(read: Read, until_us: int, ordered: Sequence[Change]) -> bool:
    first = _last_by(ordered, max(read.version_us, until_us))
    # Before the first change the item was not there, if that change made it; else nobody knows what it was.
    if first == 0 and read.image is None and (not ordered or ordered[0].op == "INSERT"):
        return True
    return any(same_text(read.image, _after(change)) for change in ordered[max(first - 1, 0) :])


def _last_by(ordered: Sequence[Change], time_us: int) -> int:
    """How many changes of the order there are up to the last one that was made by this time."""
    return max((n for n, change in enumerate(ordered, 1) if change.created_at_us <= time_us), default=0)


def _after(change: Change) -> str | None:
    return None if change.op == "REMOVE" else change.new_image
