"""What changes would do to their items, told beforehand, against what they did."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.changes import Change
from lake.keys import ItemKey
from lake.lake import create_lake
from lake.ordering import latest, state_after
from proof.effects import effects_on
from tests.commands import dynalake
from tests.lakes import compacted, fresh_items, land_records, new_lake
from tests.records import NOON_US, change, s
from tests.redriving import capture, redrive

KEY = ItemKey(("a", "1"))
A, B = '{"v":{"S":"a"}}', '{"v":{"S":"b"}}'


def of(event_id: str, op: Any, at_us: int, new: str | None = None, old: str | None = None, **parts: Any) -> Change:
    return Change(KEY, op, NOON_US + at_us, event_id, new, old, **parts)


@pytest.mark.parametrize(
    ("history", "candidates", "expected"),
    [
        ([], [of("1", "INSERT", 1, A)], ["adds the item"]),
        ([of("1", "INSERT", 1, A)], [of("1", "INSERT", 1, A)], ["known"]),
        ([of("1", "INSERT", 1, A)], [of("2", "MODIFY", 2, B, A)], ["changes the item"]),
        ([of("1", "INSERT", 1, A)], [of("2", "MODIFY", 2, B, A), of("2", "MODIFY", 2, B, A)],
         ["changes the item", "known"]),
        ([of("1", "INSERT", 1, A)], [of("2", "REMOVE", 2, None, A)], ["removes the item"]),
        ([of("2", "MODIFY", 2, B, A)], [of("1", "INSERT", 1, A)], ["history only"]),
        ([of("3", "REMOVE", 3, None, B)], [of("2", "MODIFY", 2, B, A), of("1", "INSERT", 1, A)], ["history only"] * 2),
        ([], [of("1", "INSERT", 1, A), of("2", "MODIFY", 2, B, A)], ["history only", "adds the item"]),
        ([of("1", "INSERT", 1, A)], [of("2", "READ", 2, '{"v": {"S": "a"}}', source="scan")], ["history only"]),
        ([], [of("1", "REMOVE", 1, None, A)], ["history only"]),
        # A→B→A in one instant, the loop's start known only with the first of them
        ([of("2", "MODIFY", 5, B, A), of("3", "MODIFY", 5, A, B)], [of("1", "INSERT", 1, A)], ["history only"]),
    ],
)  # fmt: skip
def test_effects(history: list[Change], candidates: list[Change], expected: list[str]) -> None:
    assert effects_on(history, candidates) == expected


def test_an_item_that_is_kept_though_it_expired() -> None:
    history, ttl = [of("1", "INSERT", 1, A)], of("2", "REMOVE", 2, None, A, is_ttl=True)
    assert effects_on(history, [ttl]) == ["removes the item"]
    assert effects_on(history, [ttl], ttl="keep") == ["changes the item"]


def changes_of(rng: random.Random, name: str) -> list[dict[str, Any]]:
    """A chain of an item, with ties."""
    found, state, at_us = list[dict[str, Any]](), None, NOON_US
    for n in range(rng.randrange(1, 8)):
        at_us += rng.choice([0, 1, 1_000, 5_000_000])
        new = None if state and rng.random() < 0.3 else s(rng.choice("abc"))
        op = "REMOVE" if new is None else "MODIFY" if state else "INSERT"
        found.append(change(name, f"{name}-{n}", op, at_us, state, new))
        state = new
    return found


def check_told_and_done(root: Path, seed: int) -> None:
    """Some changes are in the log, others dead letters, some both; then these are redriven, and the items compared."""
    rng = random.Random(seed)
    lake = create_lake(root / str(seed))
    everything = [one for n in range(20) for one in changes_of(rng, f"i{n}")]
    letters = [one for one in everything if rng.random() < 0.4]
    capture(lake, [json.dumps(one).encode() for one in letters])
    lake = new_lake(root / str(seed))
    in_log = [one for one in everything if one not in letters or rng.random() < 0.1]
    land_records(lake, "a.json", in_log)
    compacted(lake)
    before = fresh_items(lake)
    told = json.loads(dynalake(lake.root, "redrive", "--dry-run", "--limit", "1000", "--json").out)
    known = {one["eventID"] for one in in_log}
    by_item = defaultdict[str, list[str]](list)
    for one in told["changes"]:
        assert (one["event_id"] in known) == (one["effect"] == "known")
        by_item[one["item_key"]].append(one["effect"])
    assert len(told["changes"]) == len(letters) == sum(one["changes"] for one in told["effects"])
    assert fresh_items(lake) == before
    redrive(lake)
    compacted(lake)
    after = fresh_items(lake)
    for key, effects in by_item.items():
        done = [one for one in effects if one.endswith("the item")]
        if before.get(key) == after.get(key):
            assert done == [], key
        else:
            verb = "adds" if key not in before else "changes" if key in after else "removes"
            assert done == [f"{verb} the item"], key
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= set(by_item)


@pytest.mark.parametrize("seed", range(2))
def test_what_is_told_is_what_is_done(tmp_path: Path, seed: int) -> None:
    check_told_and_done(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_times_what_is_told_is_what_is_done(tmp_path: Path, seed: int) -> None:
    check_told_and_done(tmp_path, seed)


times = st.integers(1, 4)
images = st.sampled_from([A, B])
one_change = st.one_of(
    st.builds(lambda n, t, i: of(str(n), "INSERT", t, i), st.integers(0, 9), times, images),
    st.builds(lambda n, t, i, j: of(str(n), "MODIFY", t, i, j), st.integers(10, 19), times, images, images),
    st.builds(lambda n, t, i: of(str(n), "REMOVE", t, None, i), st.integers(20, 29), times, images),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(one_change, max_size=6, unique_by=lambda one: one.event_id),
       st.lists(one_change, min_size=1, max_size=6, unique_by=lambda one: one.event_id))  # fmt: skip
def test_effects_agree_with_the_specification(history: list[Change], candidates: list[Change]) -> None:
    known = {one.event_id for one in history}
    candidates = [one for one in candidates if one.event_id not in known] or [of("99", "INSERT", 9, A)]
    before, after = (state_after(latest(part), "delete") for part in (history, [*history, *candidates]))
    found = effects_on(history, candidates)
    assert len(found) == len(candidates)
    assert sum(one != "history only" for one in found) == (before != after)
