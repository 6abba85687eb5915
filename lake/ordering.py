"""The order of an item's changes, and with it the current state: the specification.

Every SQL form of current state is held to `latest()` and `state_after()` by property tests, and items whose
greatest instant is tied are settled by this very code, from their whole history.

An *instant* is one `created_at_us`. DynamoDB may give times in milliseconds, and a stream may be switched
live: a time that is a whole millisecond covers all of it, so within a millisecond that holds such a time all
changes of an item share one instant.

Inside an instant KDS gives no order. Images do: among changes of one instant the later one's OldImage is the
earlier one's NewImage. With images as vertices (and "absent" as one more) and changes as edges, the order is
a trail that uses every edge once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol, TypeVar

import msgspec

from lake.attributes import image_text
from lake.changes import Change, Surface, Ttl

ABSENT = None
Vertex = str | None
Way = Literal["a read loses its tie", "image chain", "identical edges once", "event id", "sequence number"]
"""By what the changes of one instant were told apart; `event id` where nothing better does (after the time, where one
instant covers several)."""


def in_order(changes: Iterable[Change], surface: Surface = "kds") -> list[Change]:
    """All changes of one item, each `event_id` once, in the order in which they happened.

    A pure function of the set of changes: what order they are given in, and how often, plays no part.
    """
    unique = {change.event_id: change for change in sorted(changes, key=lambda one: copy_preference(one.created_at_us))}
    by_time = sorted(unique.values(), key=lambda change: change.created_at_us)
    return [change for instant in settle_instants(by_time, surface) for change in instant.changes]


@dataclass(frozen=True, slots=True)
class Instant:
    """The changes of one instant in their order, and by what it was settled: by nothing where there is but one."""

    changes: Sequence[Change]
    ways: tuple[Way, ...] = ()


def settle_instants(changes: Iterable[Change], surface: Surface = "kds") -> Iterator[Instant]:
    """The instants of one item in order, each settled. Of the changes only those of one millisecond are held.

    Expects each `event_id` once, sorted by time: what `in_order` sees to.
    """
    if surface == "streams":
        for _, group in groupby(changes, key=lambda change: change.created_at_us):
            numbered = sorted(group, key=_streams_order)
            yield Instant(numbered, ("sequence number",) if len(numbered) > 1 else ())
        return
    before: Change | None = None
    for together in instants(changes):
        instant = _settle(together, before)
        yield instant
        before = instant.changes[-1]


def latest(changes: Iterable[Change], surface: Surface = "kds") -> Change | None:
    """The last change of one item: `state_after` says what its state then is."""
    ordered = in_order(changes, surface)
    return ordered[-1] if ordered else None


@dataclass(frozen=True, slots=True)
class ItemState:
    """What the current state has of an item; `expired_at_us` where it is only kept, being no more in the table."""

    image: str | None
    expired_at_us: int | None = None


def state_after(change: Change | None, ttl: Ttl) -> ItemState | None:
    """The state of an item whose last change this is: its NewImage, or none after a REMOVE.

    Under `keep` an item that expired stays, from that change's own OldImage: no earlier change may have been seen.
    Without an OldImage there is nothing to keep.
    """
    if change is None:
        return None
    if change.op != "REMOVE":
        return ItemState(change.new_image)
    if ttl == "keep" and change.is_ttl and change.old_image is not None:
        return ItemState(change.old_image, change.created_at_us)
    return None


def copy_preference(created_at_us: int) -> tuple[bool, int]:
    """Of copies of a change that with the greatest of these stands: where their precision differs, the finer time."""
    return (created_at_us % 1000 != 0, created_at_us)


def _streams_order(change: Change) -> tuple[int, str, str]:
    """Native Streams number an item's changes; what is not from the stream has no number and loses ties."""
    return (change.created_at_us, change.sequence_number or "", change.event_id)


class Timed(Protocol):
    """What has a time, in microseconds."""

    @property
    def created_at_us(self) -> int: ...


T = TypeVar("T", bound=Timed)


def instants(changes: Iterable[T]) -> Iterator[list[T]]:
    """Groups of an item's changes, sorted by time, that no clock tells apart."""
    for _, millisecond in groupby(changes, key=lambda change: change.created_at_us // 1000):
        group = list(millisecond)
        if any(change.created_at_us % 1000 == 0 for change in group):
            yield group
            continue
        for _, microsecond in groupby(group, key=lambda change: change.created_at_us):
            yield list(microsecond)


def _settle(instant: list[Change], before: Change | None) -> Instant:
    """The changes of one instant in order, given the change before them."""
    if len(instant) == 1:
        return Instant(instant)
    instant = sorted(instant, key=lambda change: (change.created_at_us, change.event_id))
    others = [change for change in instant if change.source != "stream"]  # they lose ties, outside the chains
    stream = [change for change in instant if change.source == "stream"]
    ways: list[Way] = ["a read loses its tie"] if others and stream else []
    if len(others) > 1:
        ways.append("event id")
    state = _after(others[-1] if others else before)
    trail = _trail(stream, state)
    way: Way = "event id" if trail is None else "image chain"
    if trail is None:  # a copy may have come under a new event id: count identical edges once
        first_of_edge = {(_before_of(change), _after(change)): change for change in reversed(stream)}
        once = [change for change in stream if first_of_edge[_before_of(change), _after(change)] is change]
        trail = _trail(once, state) if len(once) < len(stream) else None
        if trail is not None:
            kept = {change.event_id for change in trail}
            trail = [change for change in stream if change.event_id not in kept] + trail
            way = "identical edges once"
    if len(stream) > 1 and way not in ways:
        ways.append(way)
    return Instant(others + (stream if trail is None else trail), tuple(ways))


def _after(change: Change | None) -> Vertex:
    if change is None or change.op == "REMOVE" or change.new_image is None:
        return ABSENT
    return _vertex(change.new_image)


def _before_of(change: Change) -> Vertex:
    if change.old_image is not None:
        return _vertex(change.old_image)
    # Without the image it replaced, a change hangs on no other: its start is a vertex of its own.
    return ABSENT if change.op == "INSERT" else f"before {change.event_id}"


def _vertex(image_json: str) -> Vertex:
    try:
        return image_text(msgspec.json.decode(image_json))
    except (AttributeError, TypeError, RecursionError, msgspec.DecodeError):
        return image_json  # no image that DynamoDB could give: the same only as its very text


def _trail(changes: Sequence[Change], state: Vertex) -> list[Change] | None:
    """An Eulerian trail over the changes, or None where there is none.

    Open trails start where one more edge leaves than arrives. A closed loop starts, and ends, at `state`:
    the image before it; where that is not on the loop nobody can tell, and there is no trail.
    """
    if not changes:
        return []
    edges = {change.event_id: (_before_of(change), _after(change)) for change in changes}
    balance: Counter[Vertex] = Counter()
    leaving: dict[Vertex, list[Change]] = defaultdict(list)
    for change in reversed(changes):  # popped from the end: the smallest time and event id goes first
        start, end = edges[change.event_id]
        balance[start] -= 1
        balance[end] += 1
        leaving[start].append(change)
    uneven = sorted(count for count in balance.values() if count)
    if uneven == [-1, 1]:
        first = next(vertex for vertex, count in balance.items() if count == -1)
    elif not uneven and state in leaving:
        first = state
    else:
        return None
    # Hierholzer: walk until stuck, back up, splice.
    path: list[tuple[Vertex, Change | None]] = [(first, None)]
    trail: list[Change] = []
    while path:
        vertex, arrived_by = path[-1]
        if leaving[vertex]:
            change = leaving[vertex].pop()
            path.append((edges[change.event_id][1], change))
        else:
            path.pop()
            if arrived_by is not None:
                trail.append(arrived_by)
    trail.reverse()
    return trail if len(trail) == len(changes) else None
