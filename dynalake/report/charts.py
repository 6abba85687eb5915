"""Charts as plain shapes, for the templates to draw: bars in a box of 100 high that is stretched to its place. Pure.

What is written beside a chart is HTML, not part of the drawing: so it stays readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from dynalake.report.words import compact, counted, period, short_period, size
from queries.facts import Partition, Series

SLOT = 10  # the width of a bar's place
SLOTS_MIN = 12  # of which fewer are not stretched over the whole width
AXIS_PIXELS, LETTER_PIXELS = 380, 8  # of an axis of half the page's width
BARS_MAX = 128


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar; `kind` names its colour."""

    kind: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """A word on an axis, at so many percent of it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, or the points of a line; `names` are the kinds in their order with their words."""

    width: float
    bars: tuple[Bar, ...]
    y_labels: tuple[Label, ...]
    x_labels: tuple[Label, ...]
    names: tuple[tuple[str, str], ...] = ()
    line: str = ""
    area: str = ""


def nice_top(value: float) -> float:
    """The least of 1, 2, 4, 5, 6, 8 times a power of ten, and even, that is not below the value: its half is round."""
    if value <= 2:
        return 2.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 6, 8, 10) if step * power >= value)


def stacked(series: Series, names: Mapping[str, str]) -> Chart:
    """Bars by period, with a piece for each of the named kinds."""
    present = {kind: name for kind, name in names.items() if series.total(kind)}
    columns = [tuple(series.counts[kind][n] for kind in present) for n in range(series.length)]
    titles = [
        f"{period(series.start_us + n * series.unit_us, series.unit_us)}: "
        + (", ".join(f"{c:,} {name}" for c, name in zip(column, present.values(), strict=True) if c) or "nothing")
        for n, column in enumerate(columns)
    ]
    chart = _bars(columns, tuple(present), titles, compact)
    return _named(chart, _period_labels(series, chart), tuple(present.items()))


def line(series: Series, kind: str) -> Chart:
    """A line through the ends of the periods, and the area under it; over each period a title."""
    values = series.counts.get(kind, ())
    titles = [
        f"end of {period(series.start_us + n * series.unit_us, series.unit_us)}: {counted(value, 'item')}"
        for n, value in enumerate(values)
    ]
    chart = _bars([(value,) for value in values], (kind,), titles, compact)
    tops = [f"{bar.x + SLOT / 2:g},{bar.parts[0].y if bar.parts else 100:g}" for bar in chart.bars]
    if not tops:
        return chart
    edges = [f"{chart.bars[0].x:g},{tops[0].split(',')[1]}", *tops, f"{chart.width:g},{tops[-1].split(',')[1]}"]
    bare = tuple(Bar(bar.x, bar.title, ()) for bar in chart.bars)
    return Chart(
        chart.width, bare, chart.y_labels, _period_labels(series, chart), (), " ".join(edges),
        " ".join([f"{chart.bars[0].x:g},100", *edges, f"{chart.width:g},100"]),
    )  # fmt: skip


def sizes(partitions: Sequence[Partition], is_small: Callable[[Partition], bool]) -> Chart:
    """A bar for the bytes of each partition, or of some neighbours together; those of many small files stand out."""
    at_once = max(1, math.ceil(len(partitions) / BARS_MAX))
    groups = [partitions[n : n + at_once] for n in range(0, len(partitions), at_once)]
    columns, titles = [], []
    for group in groups:
        small = sum(one.bytes for one in group if is_small(one))
        columns.append((sum(one.bytes for one in group) - small, small))
        files = sum(one.files for one in group)
        name = group[0].label if len(group) == 1 else f"{group[0].label} to {group[-1].label}"
        titles.append(
            f"{name}: {counted(files, 'file')}, {size(sum(columns[-1]))}, {counted(sum(g.rows for g in group), 'row')}"
        )
    chart = _bars(columns, ("whole", "small"), titles, size)
    has_small = any(map(is_small, partitions))
    names = (("whole", "as they should be"), ("small", "many small files")) if has_small else ()
    return _named(chart, _x_labels(chart, [_short_day(group[0].label) for group in groups]), names)


def _named(chart: Chart, x_labels: tuple[Label, ...], names: tuple[tuple[str, str], ...]) -> Chart:
    return Chart(chart.width, chart.bars, chart.y_labels, x_labels, names)


def _bars(
    columns: Sequence[tuple[int, ...]], kinds: tuple[str, ...], titles: Sequence[str], words: Callable[[float], str]
) -> Chart:
    """Bars from the left end of their box on."""
    top = nice_top(max((sum(column) for column in columns), default=0))
    slots = max(len(columns), SLOTS_MIN)
    bars = []
    for n, (column, title) in enumerate(zip(columns, titles, strict=True)):
        parts, y = [], 100.0
        for kind, value in zip(kinds, column, strict=True):
            if value:
                height = max(100 * value / top, 0.6)  # what is little is not nothing
                y -= height
                parts.append(Part(kind, round(max(y, 0.0), 3), round(height, 3)))
        bars.append(Bar(n * SLOT, title, tuple(parts)))
    y_labels = tuple(Label(at, words(top * (100 - at) / 100)) for at in (0, 50, 100))
    return Chart(slots * SLOT, tuple(bars), y_labels, ())


def _period_labels(series: Series, chart: Chart) -> tuple[Label, ...]:
    starts = (series.start_us + n * series.unit_us for n in range(series.length))
    return _x_labels(chart, [short_period(start, series.unit_us) for start in starts])


def _x_labels(chart: Chart, texts: Sequence[str]) -> tuple[Label, ...]:
    """As many of the words as have place below their bars, evenly."""
    if not texts:
        return ()
    length = len(texts) * SLOT * AXIS_PIXELS / chart.width
    wanted = min(len(texts), max(1, int(length / (LETTER_PIXELS * (2 + max(map(len, texts)))))))
    step = math.ceil(len(texts) / wanted)
    places = range((step - 1) // 2, len(texts), step)
    return tuple(Label(100 * (n + 0.5) * SLOT / chart.width, texts[n]) for n in places)


def _short_day(label: str) -> str:
    """`Jan 02` of a day; what is none stays."""
    try:
        return f"{date.fromisoformat(label):%b %d}"
    except ValueError:
        return label
