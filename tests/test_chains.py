"""The rules of holes against all orders there could be, tried one by one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise, permutations

import pytest

from lake.changes import Surface
from proof.chains import ABSENT, Link, find_holes

MS = 1_000
State = int | None
"""None: it may be any."""


def fewest_holes(history: Sequence[Link], surface: Surface, until_us: int) -> int:
    """The specification: of all orders that the clock allows, and with or without copies, the one with fewest holes.

    What may be the item's state, each with the holes that it takes to believe so, is carried from instant to instant.
    """
    states: dict[State, int] = {None: 0}
    masks: set[str | None] = set()
    reads: set[int] = set()
    for instant in tied(history, surface):
        reads |= {link.after for link in instant if link.source != "stream"}
        changes = [link for link in instant if link.source == "stream"]
        if not changes:
            continue
        least = min(states.values())
        if max(link.created_at_us for link in changes) > until_us:
            break
        known = {link.masks for link in changes}
        if known != masks or len(known) > 1 or None in known:
            states = {None: least}
        masks = known
        if len(known) > 1 or None in known:
            reads = set()
            continue
        if any(link.before is None for link in changes):
            states = {link.after: least for link in changes}
        else:
            before = dict(states) | {read: min(least, states.get(read, least)) for read in reads}
            states = {}
            for order in orders(changes):
                for state, holes in before.items():
                    found = holes + holes_in(state, order)
                    states[order[-1].after] = min(found, states.get(order[-1].after, found))
        reads = set()
    return min(states.values())


def tied(history: Sequence[Link], surface: Surface) -> Iterator[list[Link]]:
    """The changes in groups that no clock tells apart."""
    if surface == "streams":
        yield from ([link] for link in history)
        return
    for ms in sorted({link.created_at_us // MS for link in history}):
        group = [link for link in history if link.created_at_us // MS == ms]
        if any(link.created_at_us % MS == 0 for link in group):
            yield group
        else:
            times = sorted({link.created_at_us for link in group})
            yield from ([link for link in group if link.created_at_us == us] for us in times)


def orders(changes: Sequence[Link]) -> Iterator[tuple[Link, ...]]:
    """All orders of the changes, and of those left when copies of others are taken away; what is last stays open."""
    for size in range(1, len(changes) + 1):
        for chosen in combinations(changes, size):
            if {edge(link) for link in chosen} == {edge(link) for link in changes}:
                yield from permutations(chosen)


def edge(link: Link) -> tuple[int | None, int]:
    return link.before, link.after


def holes_in(state: State, order: Iterable[Link]) -> int:
    holes = 0
    for link in order:
        holes += state is not None and link.before != state
        state = link.after
    return holes


def random_history(rng: random.Random, ties: bool) -> list[Link]:
    """A true history of few states, some changes lost, some copied, some reads in between, some of other masks."""
    states, state, at_us = rng.choice([2, 3, 6]), ABSENT, 10_000_000
    step_us = rng.choice([1, 300, 2_000]) if ties else 5_000
    in_ms, lost = rng.random() < 0.5, rng.choice([0, 0.1, 0.4])
    masks, untold, unknown = "", rng.choice([0, 0, 0.1]), rng.choice([0, 0, 0.1])
    links: list[Link] = []
    for n in range(rng.randrange(1, 7)):
        at_us += rng.randrange(step_us + 1)
        time_us = at_us // MS * MS if in_ms else at_us
        in_ms ^= rng.random() < 0.05
        masks = rng.choice(["a", ""]) if rng.random() < 0.05 else masks
        after = rng.choice([one for one in range(states) if one != state])
        op = "REMOVE" if after == ABSENT else "INSERT" if state == ABSENT else "MODIFY"
        before = None if op != "INSERT" and rng.random() < untold else state
        told = None if rng.random() < unknown else masks
        link = Link(time_us, f"{rng.randrange(1000)}-{n}", op, "stream", told, before, after)
        state = after
        if rng.random() >= lost:
            links.append(link)
            if rng.random() < 0.05:
                links.append(Link(time_us, f"copy-{n}", op, "stream", told, before, after))
        if rng.random() < 0.1:
            links.append(Link(at_us - rng.choice([0, 7_000]), f"read-{n}", "READ", "repair", masks, None, state))
    return sorted(links, key=lambda link: (link.created_at_us, link.event_id))


def check(seed: int) -> int:
    rng = random.Random(seed)
    history = random_history(rng, ties=rng.random() < 0.8)
    surface: Surface = "streams" if rng.random() < 0.2 else "kds"
    until_us = rng.choice([1 << 60, 10_000_000 + rng.randrange(8_000)])
    expected = fewest_holes(history, surface, until_us)
    found = list(find_holes(iter(history), surface, until_us))
    assert bool(found) == bool(expected), (seed, history, found)
    assert len(found) <= expected, (seed, history, found)
    for hole in found:
        assert hole.later.created_at_us <= until_us
        assert hole.earlier.after != hole.later.before and hole.earlier.event_id != hole.later.event_id
        assert hole.earlier.created_at_us // MS <= hole.later.created_at_us // MS
    return expected


def test_holes_are_those_of_the_best_order() -> None:
    assert sum(check(seed) > 0 for seed in range(3_000)) > 300


@pytest.mark.slow
def test_many_histories() -> None:
    for seed in range(3_000, 300_000):
        check(seed)


def chain(*states: int, start_us: int = MS) -> list[Link]:
    """Changes from one state to the next, a second apart."""
    return [
        Link(start_us + n * 1_000_000, f"e{n}", "MODIFY", "stream", "", before, after)
        for n, (before, after) in enumerate(pairwise(states))
    ]


def causes(history: Sequence[Link]) -> list[str]:
    return [hole.cause for hole in find_holes(history, "kds", 1 << 60)]


def test_the_likely_cause() -> None:
    whole = chain(1, 2, 3, 4, 5, 6, 7)
    assert causes(whole) == []
    assert causes(whole[:2] + whole[3:]) == ["lost record"]
    swapped = [whole[0], *chain(3, 4, start_us=1_500_000), *chain(2, 3, start_us=2_500_000), *whole[3:]]
    assert set(causes(swapped)) == {"times that run backwards"}
    big = [Link(n, f"{n}", "MODIFY", "stream", "", n, n + 1, 530_000, 530_000) for n in (1_001, 1_002, 3_004)]
    assert causes(big) == ["skipped oversize record"]


def test_a_long_history_is_held_a_few_instants_at_a_time() -> None:
    alive = [0]

    class Counted(Link):
        __slots__ = ()

        def __del__(self) -> None:
            alive[0] -= 1

    def history() -> Iterator[Link]:
        for n in range(5_000):
            alive[0] += 1
            assert alive[0] < 40
            yield Counted(n * 1_000_000, f"{n}", "MODIFY", "stream", "", n + n % 7, n + 1)

    assert sum(1 for _ in find_holes(history(), "kds", 1 << 60)) > 4_000
