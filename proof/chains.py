"""Holes in an item's history, by its images alone. Pure.

Each change of the stream tells the item before and after it: what a change found must be what the one before it left.
Where it is not, a change between the two is missing, or their times contradict their images.

Where the clock leaves an order open (`lake.ordering`: changes of one instant), there is a hole only where there is one
in every order. With images as vertices and the changes of an instant as edges, they need no hole between them where one
trail goes over them all; what is left of an instant then may be more than one state. So what is carried along is a set
of states that the item may have been in, and a change is held against all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product
from math import prod
from typing import Literal

from lake.changes import Change, Op, Source, Surface
from lake.keys import ItemKey
from lake.ordering import in_order, instants

Cause = Literal["skipped oversize record", "times that run backwards", "lost record"]
CAUSES: tuple[Cause, ...] = ("skipped oversize record", "times that run backwards", "lost record")
ABSENT = 0  # the state of an item that is not there; every image is another number
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html: a larger record is skipped
RECORD_BYTES_MAX = 1 << 20
ENVELOPE_BYTES = 450  # of a record, about: all but its images
NEAR = 3  # instants on either side of a hole among which another order is looked for
_KEY = ItemKey(("",))
_BEFORE_US = 10_000  # surely another instant
VARIANTS_MAX = 256  # of one instant, as to which changes are copies: so many are tried
States = frozenset[int]
Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Link:
    """A change as a chain has it: the item's state `before` and `after` it, as numbers, and the bytes of the images.

    `before` is None where the record did not tell; `masks` is None where nobody knows under which masks it landed.
    """

    created_at_us: int
    event_id: str
    op: Op
    source: Source
    masks: str | None
    before: int | None
    after: int
    before_bytes: int = 0
    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Hole:
    """Two changes of an item, `later` right behind `earlier`, of which the one did not find what the other left."""

    earlier: Link
    later: Link
    cause: Cause


@dataclass(frozen=True, slots=True)
class _Moment:
    """The stream's changes of one instant, and the states before and after it; None: it may be any.

    `reads` are the states that the lake came to know by other ways since the stream's change before.
    """

    changes: Sequence[Link]
    reads: States
    start: States | None
    ends: States | None
    is_sound: bool  # of one kind of masks, with all of their images


def find_holes(history: Iterable[Link], surface: Surface, until_us: int) -> Iterator[Hole]:
    """The holes in one item's history, which comes in the order of time (of native Streams: in their order).

    Nothing that was made after `until_us` is judged. At any time only a few instants are held.
    """
    moments: dict[int, _Moment] = {}
    waiting: list[tuple[int, Link, Link]] = []
    reads: set[int] = set()
    last: Link | None = None
    number = young = 0
    for instant in _instants(history, surface):
        reads |= {link.after for link in instant if link.source != "stream"}
        changes = [link for link in instant if link.source == "stream"]
        if not changes:
            continue
        young += max(link.created_at_us for link in changes) > until_us
        if young > NEAR:
            break
        moment, broken = _judge(changes, frozenset(reads), moments.get(number), last, is_young=young > 0)
        number += 1
        moments[number] = moment
        moments.pop(number - 2 * NEAR - 2, None)
        waiting += [(number, *pair) for pair in broken]
        while waiting and waiting[0][0] + NEAR < number:
            yield _explained(*waiting.pop(0), moments, surface)
        last = _in_order(changes, moment.start, surface)[-1]
        reads.clear()
    for found in waiting:
        yield _explained(*found, moments, surface)


def _instants(history: Iterable[Link], surface: Surface) -> Iterator[Sequence[Link]]:
    if surface == "streams":  # numbered: no two are tied
        yield from ([link] for link in history)
        return
    for _, millisecond in groupby(history, key=lambda link: link.created_at_us // 1000):
        yield from instants(list(millisecond))


def _judge(
    changes: Sequence[Link], reads: States, previous: _Moment | None, last: Link | None, is_young: bool
) -> tuple[_Moment, list[tuple[Link, Link]]]:
    """An instant after the one before it, and the pairs of changes between which something is missing."""
    masks = {link.masks for link in changes}
    afters = frozenset(link.after for link in changes)
    if len(masks) > 1 or None in masks:  # a seam: their images cannot be compared with any
        return _Moment(changes, reads, None, None, is_sound=False), []
    if any(link.before is None for link in changes):
        return _Moment(changes, reads, None, afters, is_sound=False), []
    start = None
    if previous is not None and previous.ends is not None and masks == {link.masks for link in previous.changes}:
        start = previous.ends | reads
    holes, ends = least_holes([_edge(link) for link in changes], start)
    moment = _Moment(changes, reads, start, ends, is_sound=True)
    if not holes or is_young:
        return moment, []
    return moment, _broken(changes, start, last)[:holes]


def _broken(changes: Sequence[Link], start: States | None, last: Link | None) -> list[tuple[Link, Link]]:
    """The pairs that do not fit in the order of the specification."""
    ordered = _in_order(changes, start, "kds")
    pairs = [pair for pair in pairwise(ordered) if pair[0].after != pair[1].before]
    if start is not None and last is not None and ordered[0].before not in start:
        pairs.insert(0, (last, ordered[0]))
    return pairs


def _in_order(changes: Sequence[Link], start: States | None, surface: Surface) -> Sequence[Link]:
    """Changes of one instant as the specification orders them, given a state before that one of them can go on from."""
    if len(changes) == 1:
        return changes
    fitting = [link.before for link in changes if start is not None and link.before in start]
    written = [_written(link) for link in changes]
    if fitting and fitting[0] != ABSENT:
        first_us = min(link.created_at_us for link in changes)
        written.append(Change(_KEY, "READ", first_us - _BEFORE_US, "", f"#{fitting[0]}"))
    by_id = {link.event_id: link for link in changes}
    return [by_id[change.event_id] for change in in_order(written, surface) if change.event_id in by_id]


def _written(link: Link) -> Change:
    """A change whose images are texts that stand for them."""
    old = None if link.before in (None, ABSENT) else f"#{link.before}"
    new = None if link.after == ABSENT else f"#{link.after}"
    return Change(_KEY, link.op, link.created_at_us, link.event_id, new, old)


def _edge(link: Link) -> Edge:
    assert link.before is not None, "only links that tell it are judged"
    return link.before, link.after


def least_holes(edges: Sequence[Edge], start: States | None) -> tuple[int, States]:
    """The least holes in any order of these changes after one of the states `start`, and what state they may leave."""
    if len(edges) == 1:
        ((before, after),) = edges
        return int(start is not None and before not in start), frozenset((after,))
    found = [_least_holes(some, start) for some in _without_copies(edges)]
    least = min(holes for holes, _ in found)
    if least:  # where the hole is among them nobody knows, and so not what they leave
        return least, frozenset(after for _, after in edges)
    return 0, frozenset[int]().union(*(ends for holes, ends in found if not holes))


def _without_copies(edges: Sequence[Edge]) -> Iterator[Sequence[Edge]]:
    """The edges, and what may be left where some are copies of others that came under new event ids."""
    counts = Counter(edges)
    if len(counts) == len(edges):
        yield edges
    elif prod(counts.values()) > VARIANTS_MAX:
        yield from (edges, list(counts))
    else:
        for times in product(*(range(1, count + 1) for count in counts.values())):
            yield [edge for edge, n in zip(counts, times, strict=True) for _ in range(n)]


def _least_holes(edges: Sequence[Edge], start: States | None) -> tuple[int, States]:
    """By Euler: what hangs together takes as many trails as more edges leave its vertices than arrive, or one."""
    leaving: Counter[int] = Counter()
    beside: dict[int, set[int]] = defaultdict(set)
    for before, after in edges:
        leaving[before] += 1
        leaving[after] -= 1
        beside[before].add(after)
        beside[after].add(before)
    trails, starts, ends = 0, set[int](), set[int]()
    for part in _parts(beside):
        uneven = sum(leaving[vertex] for vertex in part if leaving[vertex] > 0)
        trails += max(1, uneven)
        starts |= {vertex for vertex in part if leaving[vertex] > 0 or not uneven}  # a loop may start anywhere
        ends |= {vertex for vertex in part if leaving[vertex] < 0 or not uneven}
    fits = start is None or not starts.isdisjoint(start)
    if trails == 1 and start is not None and fits and starts == ends:  # a loop ends where it started
        ends &= start
    return trails - 1 + (not fits), frozenset(ends)


def _parts(beside: dict[int, set[int]]) -> Iterator[set[int]]:
    """The vertices that hang together."""
    left = set(beside)
    while left:
        part, edge = set[int](), {left.pop()}
        while edge:
            part |= edge
            edge = {vertex for one in edge for vertex in beside[one]} - part
        left -= part
        yield part


def _explained(number: int, earlier: Link, later: Link, moments: dict[int, _Moment], surface: Surface) -> Hole:
    """Names the likely cause of a hole that an instant of this number has in it or right before it."""
    missing_bytes = ENVELOPE_BYTES + earlier.after_bytes + later.before_bytes  # were it one change
    if surface == "kds" and missing_bytes > RECORD_BYTES_MAX:
        return Hole(earlier, later, "skipped oversize record")
    firsts = [number - near for near in range(NEAR + 1) if number - near in moments]
    lasts = [number + near for near in range(NEAR + 1) if number + near in moments]
    some = [moments[near] for near in range(firsts[-1], lasts[-1] + 1)]
    is_left = any(
        link.after == later.before for moment in some for link in moment.changes
    )  # by another change: cheap, and mostly not so
    runs_backwards = (is_left or _may_start(some, later)) and any(
        first != last and _chains(moments, first, last) for first in firsts for last in lasts
    )
    return Hole(earlier, later, "times that run backwards" if runs_backwards else "lost record")


def _may_start(moments: Sequence[_Moment], link: Link) -> bool:
    """Whether a change may have come before all others of one of these instants."""
    return any(moment.start is None or link.before in moment.start for moment in moments)


def _chains(moments: dict[int, _Moment], first: int, last: int) -> bool:
    """Whether the changes of some instants would chain without a hole, had they been made in another order."""
    some = [moments[number] for number in range(first, last + 1)]
    if not all(moment.is_sound for moment in some) or len({link.masks for m in some for link in m.changes}) > 1:
        return False
    holes, ends = least_holes([_edge(link) for moment in some for link in moment.changes], some[0].start)
    after = moments.get(last + 1)
    if holes or after is None or not after.is_sound or after.start is None:
        return not holes
    return not least_holes([_edge(link) for link in after.changes], ends | after.reads)[0]
