"""Rule 5, case by case: what is late, what is tied, and what the state makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lake.catalog import load_table, open_catalog
from lake.lake import Lake
from lake.layout import state_table
from lake.tables import batch_of
from tests.lakes import compacted, fresh_items, land_records, new_lake, refreshed, rows
from tests.records import change, s

HOUR_US = 3_600_000_000
NOON_US = 1_700_049_600_000_000


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return new_lake(tmp_path / "lake")


def marks(lake: Lake) -> dict[str, tuple[bool, bool]]:
    found = rows(lake, "SELECT event_id, is_late, is_tied FROM orders_changes")
    return {event_id: (late, tied) for event_id, late, tied in found}


def batches(lake: Lake, *records: list[dict[str, Any]]) -> None:
    for n, of_batch in enumerate(records):
        land_records(lake, f"{n}", of_batch)
        compacted(lake)


def values(lake: Lake) -> dict[str, str]:
    return {key: image["v"]["S"] for key, image in fresh_items(lake).items()}


def test_the_designs_late_update_of_a_removed_item(lake: Lake) -> None:
    """Batch 1 removes an item at 12:05; batch 2 brings its update of 12:03: late, and the item stays gone."""
    at_1200, at_1203, at_1205 = (NOON_US + n * HOUR_US // 60 for n in (0, 3, 5))
    put = change("a", "put", "INSERT", at_1200, new=s("x"))
    update = change("a", "update", "MODIFY", at_1203, old=s("x"), new=s("y"))
    batches(lake, [put, change("a", "remove", "REMOVE", at_1205, old=s("y"))])
    refreshed(lake)
    land_records(lake, "late", [update])
    assert compacted(lake).late == 1
    assert marks(lake) == {"put": (False, False), "remove": (False, False), "update": (True, False)}
    assert values(lake) == {}
    refreshed(lake)
    assert batch_of(load_table(open_catalog(lake), state_table("orders"))) == 2, (
        "a tail of late changes alone is covered too"
    )
    assert values(lake) == {}
    refreshed(lake, full=True)
    assert values(lake) == {}


def test_late_is_said_of_the_log_not_of_the_batch(lake: Lake) -> None:
    """In one batch the smaller of two is not late: the log did not hold the greater yet."""
    first = change("a", "first", "INSERT", NOON_US + 1, new=s("x"))
    second = change("a", "second", "MODIFY", NOON_US + 5, old=s("x"), new=s("y"))
    other = change("b", "other", "INSERT", NOON_US + 9, new=s("z"))
    batches(lake, [second, first], [other])
    assert marks(lake) == dict.fromkeys(["first", "second", "other"], (False, False))
    assert values(lake) == {"a|1": "y", "b|1": "z"}


def test_a_year_old_arrival_is_late(lake: Lake) -> None:
    batches(lake, [change("a", "new", "INSERT", NOON_US, new=s("new"))])
    refreshed(lake)
    old = NOON_US - 365 * 24 * HOUR_US
    land_records(
        lake, "old", [change("a", "old", "INSERT", old, new=s("old")), change("b", "b", "INSERT", old, new=s("b"))]
    )
    assert compacted(lake).late == 1
    assert marks(lake)["old"] == (True, False) and marks(lake)["b"] == (False, False)
    assert values(lake) == {"a|1": "new", "b|1": "b"}


def test_a_tie_in_two_batches_is_settled_by_its_images(lake: Lake) -> None:
    """The middle one of three of an instant arrives last: tied, not late, and it moves nothing."""
    one = change("a", "z", "INSERT", NOON_US + 1, new=s("1"))
    two = change("a", "y", "MODIFY", NOON_US + 1, old=s("1"), new=s("2"))
    three = change("a", "x", "MODIFY", NOON_US + 1, old=s("2"), new=s("3"))
    batches(lake, [three, one], [two])
    assert marks(lake) == dict.fromkeys("xyz", (False, True))
    assert values(lake) == {"a|1": "3"}
    refreshed(lake)
    assert values(lake) == {"a|1": "3"}


def test_a_millisecond_covers_its_microseconds(lake: Lake) -> None:
    """Across a switch of precision a time in milliseconds ties with those inside of it, whichever came first."""
    coarse = change("a", "coarse", "MODIFY", NOON_US // 1000, old=s("1"), new=s("2"))
    fine = change("a", "fine", "INSERT", NOON_US + 400, new=s("1"))
    batches(lake, [fine], [coarse])
    assert marks(lake) == {"fine": (False, False), "coarse": (False, True)}
    assert values(lake) == {"a|1": "2"}
    refreshed(lake)
    assert values(lake) == {"a|1": "2"}


def test_a_greater_change_ends_a_tie(lake: Lake) -> None:
    tied = [change("a", f"t{n}", "MODIFY", NOON_US + 1, old=s(f"{n}"), new=s(f"{n + 1}")) for n in range(2)]
    last = change("a", "last", "REMOVE", NOON_US + 2, old=s("2"))
    batches(lake, tied, [last], [change("a", "t2", "MODIFY", NOON_US + 1, old=s("9"), new=s("8"))])
    assert marks(lake) == {"t0": (False, True), "t1": (False, True), "last": (False, False), "t2": (True, False)}
    assert values(lake) == {}
