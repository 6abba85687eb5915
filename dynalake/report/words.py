"""Numbers, times and shares as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from queries.facts import DAY_US, HOUR_US, MINUTE_US

_SIZES = ("bytes", "KB", "MB", "GB", "TB", "PB")


def number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def counted(value: int, noun: str) -> str:
    """`1 change`, `2 changes`."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def compact(value: float) -> str:
    """A number for an axis."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def size(value: float) -> str:
    if not value:
        return "0"
    for unit in _SIZES:
        if value < 1_000 or unit == _SIZES[-1]:
            break
        value /= 1_000
    return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.3g} {unit}"


def percent(part: int, whole: int) -> str:
    """A share; what is little is not nothing, and what lacks little is not all."""
    if whole <= 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1%"
    if 99.9 < share < 100:
        return "> 99.9%"
    return f"{share:.0f}%" if share in (0, 100) else f"{share:.1f}%"


def instant(us: int | None) -> str:
    return "never" if us is None else f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(us: int) -> str:
    """A length of time in its greatest unit."""
    for unit_us, noun in ((365 * DAY_US, "year"), (DAY_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute")):
        if us >= 2 * unit_us or (us >= unit_us and noun != "year"):
            return counted(us // unit_us, noun)
    return counted(max(us, 0) // 1_000_000, "second")


def ago(us: int | None, now_us: int) -> str:
    if us is None:
        return "never"
    return f"{duration(now_us - us)} ago" if us <= now_us else f"in {duration(us - now_us)}"


def period(us: int, unit_us: int) -> str:
    """The start of a period, as finely as its length asks for."""
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):{'%Y-%m-%d' if unit_us >= DAY_US else '%Y-%m-%d %H:%M'}}"


def short_period(us: int, unit_us: int) -> str:
    """The same for an axis."""
    form = "%Y-%m" if unit_us >= 28 * DAY_US else "%b %d" if unit_us >= DAY_US else "%b %d %H:%M"
    return f"{datetime.fromtimestamp(us // 1_000_000, UTC):{form}}"


def unit(unit_us: int) -> str:
    """`hour`, `10 minutes`, `week`."""
    if unit_us % (7 * DAY_US) == 0:
        weeks = unit_us // (7 * DAY_US)
        return "week" if weeks == 1 else f"{weeks} weeks"
    for length, noun in ((DAY_US, "day"), (HOUR_US, "hour"), (MINUTE_US, "minute")):
        if unit_us % length == 0:
            return noun if unit_us == length else f"{unit_us // length} {noun}s"
    return f"{unit_us / 1e6:g} seconds"


def band(from_seconds: int | None, until_seconds: int | None) -> str:
    """A band of lateness."""
    if until_seconds is None:
        return f"over {duration(1_000_000 * (from_seconds or 0))}"
    until = duration(1_000_000 * until_seconds)
    if from_seconds is None:
        return f"under {until}"
    many, noun = duration(1_000_000 * from_seconds).split()
    return f"{many} to {until}" if noun.rstrip("s") == until.split()[1].rstrip("s") else f"{many} {noun} to {until}"
