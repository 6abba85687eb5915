"""What a report's page is made of: words for numbers, shapes for counts, what is said to be done."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalake.report import charts, words
from dynalake.report.advice import advice_for, is_small
from queries.facts import (
    BANDS,
    DAY_US,
    HOUR_US,
    PERIODS_MAX,
    UNITS_US,
    HotKey,
    LakeFacts,
    LedgerFacts,
    LogFacts,
    Partition,
    ProofFacts,
    Series,
    StateFacts,
    TableFacts,
    items_before,
    unit_us,
)

COUNTS = st.lists(st.integers(0, 10**12), max_size=300)


def test_numbers_in_words() -> None:
    assert [words.percent(*of) for of in ((0, 0), (0, 5), (1, 3), (1, 5_000), (4_999, 5_000), (5, 5))] == [
        "–", "0%", "33.3%", "< 0.1%", "> 99.9%", "100%",
    ]  # fmt: skip
    assert [words.size(n) for n in (0, 999, 1_000, 123_456, 8_500_000, 5 * 10**18)] == [
        "0", "999 bytes", "1 KB", "123 KB", "8.5 MB", "5000 PB",
    ]  # fmt: skip
    lengths = (0, 999_999, 90_000_000, HOUR_US, 25 * HOUR_US, 400 * DAY_US, 800 * DAY_US)
    assert [words.duration(us) for us in lengths] == [
        "0 seconds", "0 seconds", "1 minute", "1 hour", "1 day", "400 days", "2 years",
    ]  # fmt: skip
    assert (words.ago(None, 5), words.ago(0, DAY_US), words.ago(2 * DAY_US, 0)) == ("never", "1 day ago", "in 2 days")
    assert [words.unit(us) for us in UNITS_US] == [
        "minute", "10 minutes", "hour", "6 hours", "day", "week", "4 weeks", "52 weeks",
    ]  # fmt: skip
    assert [words.band(*of) for of in zip((None, *BANDS), (*BANDS, None), strict=True)] == [
        "under 1 minute", "1 to 5 minutes", "5 to 15 minutes", "15 minutes to 1 hour", "1 to 6 hours",
        "6 hours to 1 day", "1 to 7 days", "over 7 days",
    ]  # fmt: skip


@given(first=st.integers(0, 2 * 10**15), span=st.integers(0, 2 * 10**15))
def test_periods_are_not_too_many(first: int, span: int) -> None:
    unit = unit_us(first, first + span)
    assert (first + span) // unit - first // unit < PERIODS_MAX
    shorter = [one for one in UNITS_US if one < unit]
    assert not shorter or (first + span) // shorter[-1] - first // shorter[-1] >= PERIODS_MAX


@given(value=st.floats(0, 1e18))
def test_an_axis_is_high_enough_and_round(value: float) -> None:
    top = charts.nice_top(value)
    assert value <= top <= max(2.0, 2.01 * value)
    assert math.isclose(top, float(f"{top:.1g}"))


@given(inserts=COUNTS, removes=COUNTS)
def test_bars_are_in_their_box_and_as_high_as_their_counts(inserts: list[int], removes: list[int]) -> None:
    length = min(len(inserts), len(removes))
    series = Series(0, HOUR_US, {"inserts": tuple(inserts[:length]), "removes": tuple(removes[:length])})
    chart = charts.stacked(series, {"inserts": "inserts", "removes": "removes"})
    assert len(chart.bars) == length
    top = charts.nice_top(max((a + b for a, b in zip(inserts, removes, strict=False)), default=0))
    for bar, counts in zip(chart.bars, zip(inserts, removes, strict=False), strict=True):
        assert 0 <= bar.x <= chart.width - charts.SLOT
        for part, count in zip(bar.parts, filter(None, counts), strict=True):
            assert part.y >= 0
            assert part.height == pytest.approx(max(100 * count / top, 0.6), abs=0.001)
    assert all(0 < label.at < 100 for label in chart.x_labels)
    assert [label.at for label in chart.x_labels] == sorted({label.at for label in chart.x_labels})
    assert bool(chart.x_labels) == bool(length)


def test_items_are_reckoned_back() -> None:
    changes = Series(0, HOUR_US, {"inserts": (5, 2, 0), "removes": (0, 1, 1), "expiries": (0, 0, 2)})
    assert items_before(3, changes).counts == {"items": (5, 6, 3)}
    assert items_before(0, changes).counts == {"items": (2, 3, 0)}
    assert items_before(0, Series(0, HOUR_US, {})).counts == {}
    broken = Series(0, HOUR_US, {"inserts": (0, 9), "removes": (0, 0), "expiries": (0, 0)})  # a delete never arrived
    assert items_before(3, broken).counts == {"items": (0, 3)}


def test_what_stands_out() -> None:
    small, few, large = (Partition("d", files, size, 1) for files, size in ((8, 8), (7, 7), (8, 64_000_001)))
    assert [is_small(one) for one in (small, few, large)] == [True, False, False]
    now = 100 * DAY_US
    table = TableFacts(
        name="orders", dynamodb_name="orders", key="pk:S", surface="kds", ttl="delete", masks=(),
        log=LogFacts(
            changes=5_000, newest_us=now, streamed=5_000, late=501, hot_keys=(HotKey("a", 1_001),), days=(small, few)
        ),
        ledger=LedgerFacts(records=10_000, changes=5_000, duplicates=2_501),
        state=StateFacts(tail_changes=51, rows=1_000, rescued_rows=1, columns_full=True),
        proof=ProofFacts(now, now, 5, 0, 3, {}, None), letters=(),
    )  # fmt: skip
    lake = LakeFacts("s3://a b/c", now, 30, (table,), ())
    found = advice_for(lake, table)
    assert [one.part for one in found] == [
        "freshness", "lateness", "duplicates", "columns", "columns", "proof", "files", "keys",
    ]  # fmt: skip
    assert [one.level for one in found] == ["act"] + ["look"] * 7
    assert all(one.command.startswith("dynalake --lake 's3://a b/c' ") for one in found)
