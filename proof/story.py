"""What is told of an item: its changes, copies, ties, what holds what of it, and a verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from lake.changes import Change
from lake.ordering import ItemState
from proof.copies import Copy, Searched, why_dropped
from proof.letters import Letters
from proof.values import Item, differing_attributes, parse_item, same_text, shown

NOT_IN_IT = "not in it"
_EPOCH = datetime.fromtimestamp(0, UTC)
Finding = Literal[
    "they agree", "state damaged", "the lake lacks it", "the lake differs", "the table was not asked", "unknown"
]


@dataclass(frozen=True, slots=True)
class ChangedAttribute:
    """An attribute before and after a change, as DynamoDB JSON, shortened; None where there is none."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class DroppedCopy:
    """Another copy of a change: where it is, and why it is not the one in the log."""

    raw_object: str
    record: int
    event_time: str | None
    why: str


@dataclass(frozen=True, slots=True)
class ToldChange:
    """One change in the order of the specification.

    `record` is its number in `raw_object`, from 1; where there is none `place` says why: `gone`, `damaged`,
    `unreadable`, or `not in it` (the object was rewritten). `old_image_fits` is False where the image it replaced is
    not what the change before left, None where that says nothing. The images are there where they are asked for.
    """

    event_time: str
    created_at_us: int
    op: str
    source: str
    event_id: str
    batch: int
    raw_object: str
    is_late: bool
    is_tied: bool
    is_ttl: bool
    changed: tuple[ChangedAttribute, ...]
    old_image_fits: bool | None
    sequence_number: str | None = None
    shard_id: str | None = None
    new_image: str | None = None
    old_image: str | None = None
    record: int | None = None
    place: str | None = None
    copies: tuple[DroppedCopy, ...] = ()


@dataclass(frozen=True, slots=True)
class Tie:
    """Changes that share an instant, in the order in which they were settled, and by what."""

    event_time: str
    event_ids: tuple[str, ...]
    settled_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """What the lake holds of the item, and the op and the time of the change that it comes of."""

    image: str | None
    expired_at: str | None = None
    op: str | None = None
    event_time: str | None = None


@dataclass(frozen=True, slots=True)
class TableItem:
    """What the table itself holds of the item; `error` says why that is not known."""

    asked: bool
    image: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StateRow:
    """The row of the state table, what batch it covers, and how many of the item's changes are in the tail behind it.

    `counts` is False for a state of another log or policy, which no query looks at; `expected` is what the log's
    changes up to that batch leave.
    """

    row: Holding | None
    covered_batch: int
    counts: bool
    tail_changes: int
    in_tail: bool
    expected: Holding | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it comes to, in a word for machines and a sentence for people."""

    finding: Finding
    sentence: str


def utc(us: int | None) -> str | None:
    """A time for people, to the microsecond."""
    return None if us is None else f"{_EPOCH + timedelta(microseconds=us):%Y-%m-%d %H:%M:%S.%f}Z"


def changed_attributes(before: str | None, after: str | None) -> tuple[ChangedAttribute, ...]:
    """What is different between two images; of what is no image, all of it under an empty name."""
    try:
        one, other = _attributes(before), _attributes(after)
        names = differing_attributes(one, other)
    except ValueError:
        return (ChangedAttribute("", shown(before), shown(after)),) if before != after else ()
    return tuple(ChangedAttribute(name, shown(one.get(name)), shown(other.get(name))) for name in names)


def _attributes(image: str | None) -> Item:
    return {} if image is None else parse_item(image)


def left_by(change: Change | None) -> str | None:
    """The image that a change leaves in the table."""
    return None if change is None or change.op == "REMOVE" else change.new_image


def fits(change: Change, before: Change | None) -> bool | None:
    """Whether a change's OldImage is what the change before left."""
    if change.source != "stream" or before is None:
        return None
    if change.op != "INSERT" and change.old_image is None:
        return None
    return same_text(change.old_image, left_by(before))


def placed(change: ToldChange, searched: Searched) -> ToldChange:
    """The change with its record's number and its other copies."""
    found = searched.copies.get(change.event_id, [])
    stands = next((copy for copy in found if is_standing(copy, change)), None)
    place = None
    if stands is None:
        place = searched.faults.get(change.raw_object, NOT_IN_IT)
    copies = tuple(
        DroppedCopy(
            copy.raw_object, copy.record, utc(copy.created_at_us), why_dropped(copy, change.created_at_us, change.batch)
        )
        for copy in found if copy is not stands
    )  # fmt: skip
    return replace(change, record=stands.record if stands else None, place=place, copies=copies)


def is_standing(copy: Copy, change: ToldChange) -> bool:
    """Whether a copy can be the one that the log holds."""
    return copy.raw_object == change.raw_object and copy.created_at_us == change.created_at_us


def strays(searched: Searched, known: set[str]) -> Iterator[Copy]:
    """Records of the item that are neither copies of a change that the log has of it nor dead letters."""
    for event_id, copies in searched.copies.items():
        if event_id not in known:
            yield from copies


def holding(state: ItemState | None, change: Change | None = None) -> Holding | None:
    """What a state holds of the item, with the op and the time of the change that it comes of."""
    if state is None:
        return None
    last = (change.op, utc(change.created_at_us)) if change else (None, None)
    return Holding(state.image, utc(state.expired_at_us), *last)


def same_holding(one: Holding | None, other: Holding | None) -> bool:
    """Whether two places hold the same of an item."""
    if one is None or other is None:
        return one is other
    return one.expired_at == other.expired_at and same_text(one.image, other.image)


def judge_item(
    name: str, last: Change | None, must_be: Holding | None, queries: Holding | None, state: StateRow, table: TableItem,
    letters: Letters,
) -> Verdict:  # fmt: skip
    """What the item's places come to, held against each other: the log, the state, what queries see, the table.

    `last` is the item's last change in the log, `must_be` what it leaves in the state.
    """
    if not same_holding(queries, must_be) or (state.counts and not same_holding(state.row, state.expected)):
        return Verdict("state damaged", f"The state disagrees with the log: dynalake refresh {name} --full mends it.")
    ending = _of_letters(letters)
    if not table.asked or table.error is not None:
        if last is None:
            return Verdict(
                "the table was not asked", f"The lake does not know the item; nor was the table asked.{ending}"
            )
        return Verdict("the table was not asked", f"Log and state agree; the table was not asked.{ending}")
    if same_text(table.image, left_by(last)):
        if last is None:
            return Verdict("unknown", f"The item is unknown everywhere: in the lake and in the table.{ending}")
        what = "the item is gone" if table.image is None else "the item is what its last change made it"
        return Verdict("they agree", f"Log, state and table agree: {what}.{ending}")
    remedy = f"dynalake compact {name} brings what has landed; verify {name} --repair reads it anew, gaps {name} "
    remedy += "tells of other holes."
    if last is None or (table.image is not None and left_by(last) is None):
        return Verdict("the lake lacks it", f"The lake lacks what the table has. {remedy}{ending}")
    what = "has what the table no longer has" if table.image is None else "has not what the table has now"
    return Verdict("the lake differs", f"The lake {what}: a change is on its way, or lost. {remedy}{ending}")


def _of_letters(letters: Letters) -> str:
    told: Sequence[str] = [
        f"{letters.count:,} dead letters name it: dynalake redrive replays them." if letters.count else "",
        f"{letters.unread:,} sealed dead letters could not be looked into." if letters.unread else "",
    ]
    return "".join(f" {text}" for text in told if text)
