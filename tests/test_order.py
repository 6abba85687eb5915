"""`in_order` and `latest`, the specification: cases by hand, true histories, and sets that no table would make."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.changes import Change, Op, Source
from lake.keys import ItemKey
from lake.ordering import in_order, latest

KEY = ItemKey(("k",))
T = 1_700_000_000_000_000  # a whole millisecond
MS = 1_000
US = 1


def image(state: str | None) -> str | None:
    return None if state is None else json.dumps({"pk": {"S": "k"}, "v": {"S": state}})


def step(event_id: str, before: str | None, after: str | None, at_us: int = T, source: Source = "stream") -> Change:
    """A change of the item from one state to another; None is absent."""
    op: Op = "REMOVE" if after is None else "INSERT" if before is None else "MODIFY"
    if source != "stream":
        op, before = ("REMOVE" if after is None else "READ"), None
    return Change(KEY, op, at_us, event_id, image(after), image(before), source=source)


def ids(changes: list[Change]) -> str:
    return " ".join(change.event_id for change in changes)


# Event ids are given so that they alone would order each case wrongly.
CASES = {
    "a then b": ([step("2", None, "A"), step("1", "A", "B")], "2 1"),
    "to and fro ends where it began": (
        [step("0", None, "A", T - MS), step("2", "A", "B"), step("1", "B", "A")],
        "0 2 1",
    ),
    "to and fro and away": (
        [step("0", None, "A", T - MS), step("2", "A", "B"), step("1", "B", "A"), step("3", "A", "B")],
        "0 2 1 3",
    ),
    "insert and delete": ([step("2", None, "A"), step("1", "A", None)], "2 1"),
    "delete and insert": (
        [step("0", None, "A", T - MS), step("2", "A", None), step("1", None, "B")],
        "0 2 1",
    ),
    "born, gone and born in one millisecond": (
        [step("3", None, "A"), step("2", "A", None), step("1", None, "C")],
        "3 2 1",
    ),
    "a delete before what it deletes": ([step("1", "A", None, T + MS), step("2", None, "A")], "2 1"),
    "a closed loop needs the state before it": (
        [step("0", None, "B", T - MS), step("1", "A", "B"), step("2", "B", "A")],
        "0 2 1",
    ),
    "a closed loop through absence, from nothing": ([step("1", "A", None), step("2", None, "A")], "2 1"),
    "three ways in one instant": (
        [step("3", None, "A"), step("1", "A", "B"), step("2", "B", "C")],
        "3 1 2",
    ),
    "a longer loop": (
        [step("9", None, "B", T - MS), step("1", "A", "B"), step("2", "C", "A"), step("3", "B", "C")],
        "9 3 2 1",
    ),
    "microseconds need no images": ([step("2", None, "A", T + 1), step("1", "A", "B", T + 2)], "2 1"),
    "a millisecond covers its microseconds": (
        [step("1", "A", "B", T + 400), step("2", None, "A", T + 300), step("3", "B", "C", T)],
        "2 1 3",
    ),
    "the next millisecond is another instant": (
        [step("1", None, "A", T), step("2", "A", "B", T + MS), step("3", "B", None, T + MS + 1)],
        "1 2 3",
    ),
    "a READ loses a tie": ([step("1", None, "A"), step("2", None, "B", source="scan")], "2 1"),
    "a repair's tombstone loses a tie": (
        [step("1", None, "A"), step("2", None, None, source="repair")],
        "2 1",
    ),
    "a loop goes on from a READ of its instant": (
        [step("1", "A", "B"), step("2", "B", "A"), step("3", None, "B", source="scan")],
        "3 2 1",
    ),
    "a READ later by a microsecond wins": (
        [step("2", None, "A", T + 1), step("1", None, "B", T + 2, "export")],
        "2 1",
    ),
    "a copy under a new event id": (
        [step("1", "A", "B"), step("2", "A", "B"), step("0", None, "A", T - MS)],
        "0 2 1",
    ),
    "a copy of one of two": (
        [step("3", None, "A"), step("4", None, "A"), step("1", "A", "B")],
        "4 3 1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_hand_written_cases(case: str) -> None:
    changes, expected = CASES[case]
    for shuffled in (changes, changes[::-1], changes + changes):
        assert ids(in_order(shuffled)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        [step("1", "A", "B"), step("2", "B", "A")],  # a loop, and nothing before it
        [step("0", None, "C", T - MS), step("1", "A", "B"), step("2", "B", "A")],  # … that is on it
        [step("1", "A", "B"), step("2", "C", "D")],  # a broken chain
        [step("1", "A", "B"), step("2", "A", "C")],  # two ways out
    ],
)
def test_where_no_trail_can_be_told_time_and_event_id_decide(changes: list[Change]) -> None:
    for shuffled in (changes, changes[::-1]):
        assert ids(in_order(shuffled)) == ids(sorted(changes, key=lambda c: (c.created_at_us, c.event_id)))


def test_of_two_copies_the_finer_time_stands() -> None:
    copies = [step("1", None, "A", T), step("1", None, "A", T + 700)]
    for order in (copies, copies[::-1]):
        assert in_order(order) == [copies[1]]


def test_nothing_has_no_latest() -> None:
    assert latest([]) is None
    assert in_order([]) == []


def test_a_loop_of_one_instant_is_settled_by_all_that_came_before() -> None:
    """The window holds the loop alone; whether the item ends as A or B stands a year earlier."""
    loop = [step("8", "A", "B"), step("9", "B", "A")]
    for before in ("A", "B"):
        last = latest([step("0", None, before, T - 31_536_000_000_000), *loop])
        assert last is not None
        assert last.new_image == image(before)


def test_equal_images_in_other_words_are_one_vertex() -> None:
    """Order in maps and sets and the spelling of numbers do not break a chain."""
    first = Change(
        KEY, "INSERT", T, "2", '{"s":{"SS":["b","a"]},"n":{"N":"1.0"},"m":{"M":{"x":{"NS":["1","2"]},"y":{"S":""}}}}'
    )
    second = Change(
        KEY,
        "MODIFY",
        T,
        "1",
        "{}",
        '{"m":{"M":{"y":{"S":""},"x":{"NS":["2.0","1E0"]}}},"n":{"N":"1"},"s":{"SS":["a","b"]}}',
    )
    assert ids(in_order([second, first])) == "2 1"


def test_native_streams_go_by_number_whatever_its_length() -> None:
    def numbered(event_id: str, number: str) -> Change:
        return replace(step(event_id, None, event_id), sequence_number=number.zfill(40))

    changes = [numbered("2", "9" * 20), numbered("1", "1" + "0" * 20), numbered("0", "1" + "0" * 39)]
    assert ids(in_order(changes[::-1], "streams")) == "2 1 0"
    later = replace(step("3", "x", "y", T + 1_000_000), sequence_number="1".zfill(40))
    read = step("9", None, "z", T, "scan")
    assert ids(in_order([*changes, later, read], "streams")) == "9 2 1 0 3"


# True histories


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Change], str]:
    """One item's changes as they happened, told in µs, in ms, or in one and then the other."""
    precision = draw(st.sampled_from(["us", "ms", "us to ms", "ms to us"]))
    states = draw(st.lists(st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=14))
    gaps = st.sampled_from([1, 2, 300, MS, 40 * MS] if precision == "us" else [0, 0, 1, 300, MS, 40 * MS])
    switch = draw(st.integers(0, len(states)))
    at_us, before, told = T + draw(st.integers(0, 999)), None, []
    for n, after in enumerate(states):
        at_us += draw(gaps)
        if after == before:
            continue
        is_ms = (
            precision == "ms" or (precision == "us to ms" and n >= switch) or (precision == "ms to us" and n < switch)
        )
        event_id = f"{draw(st.integers(0, 9))}-{n}"
        told.append(step(event_id, before, after, at_us // MS * MS if is_ms else at_us))
        before = after
    return told, precision


@given(histories(), st.randoms(use_true_random=False))
def test_true_histories_are_recovered(history: tuple[list[Change], str], rng: random.Random) -> None:
    truth, precision = history
    arrived = truth + rng.sample(truth, rng.randrange(len(truth) + 1))
    rng.shuffle(arrived)
    found = in_order(arrived)
    if precision == "us":
        assert found == truth
    assert sorted(ids(found).split()) == sorted(ids(truth).split())
    # Which of two equal changes came first nobody can tell; that each hangs on the one before it, anybody can.
    assert [c.old_image for c in found] == [None, *(c.new_image for c in found[:-1])][: len(found)]
    assert [c.new_image for c in found[-1:]] == [c.new_image for c in truth[-1:]]
    assert [c.created_at_us // MS for c in found] == [c.created_at_us // MS for c in truth]


# Sets that no table would make

ODD_IMAGES = [
    '{"v":{"S":"A"}}',
    '{"v":{"S":"B"}}',
    "{}",
    '{"v":5}',
    '{"v":{"N":"x"}}',
    "[]",
    "7",
    '{"v":{"N":NaN}}',
    "",
    None,
]


@st.composite
def odd_sets(draw: st.DrawFn) -> list[Change]:
    """Any changes: MODIFY without OldImage, self loops, equal edges, images that are none."""
    texts = st.sampled_from(draw(st.sampled_from([ODD_IMAGES, ODD_IMAGES[:2], [*ODD_IMAGES[:2], None]])))
    changes = []
    for n in range(draw(st.integers(0, 10))):
        op: Op = draw(st.sampled_from(["INSERT", "MODIFY", "REMOVE", "READ"]))
        source: Source = draw(st.sampled_from(["stream", "stream", "stream", "scan", "repair"]))
        at_us = T + draw(st.sampled_from([0, 0, 1, 1, 999, MS]))
        number = draw(st.one_of(st.none(), st.integers(0, 3).map(lambda i: str(i).zfill(40))))
        change = Change(KEY, op, at_us, f"e{n}", draw(texts), draw(texts), False, source, number)
        changes.append(change)
        if draw(st.booleans()):
            changes.append(replace(change, created_at_us=at_us // MS * MS))
    return changes


@given(odd_sets(), st.randoms(use_true_random=False), st.sampled_from(["kds", "streams"]))
def test_any_set_has_one_order(changes: list[Change], rng: random.Random, surface: str) -> None:
    found = in_order(changes, surface)  # type: ignore[arg-type]
    assert sorted(c.event_id for c in found) == sorted({c.event_id for c in changes})
    again = changes + rng.sample(changes, rng.randrange(len(changes) + 1))
    rng.shuffle(again)
    assert in_order(again, surface) == found  # type: ignore[arg-type]
    assert latest(again, surface) == (found[-1] if found else None)  # type: ignore[arg-type]


def test_an_image_nested_beyond_all_reason_does_not_raise() -> None:
    deep = '{"v":' + '{"L":[' * 5_000 + "]}" * 5_000 + "}"
    changes = [Change(KEY, "INSERT", T, "2", deep), Change(KEY, "MODIFY", T, "1", '{"v":{"S":"A"}}', deep)]
    assert ids(in_order(changes)) == "2 1"
