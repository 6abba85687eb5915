"""The query pack: every file runs, says what it is for, and gives figures that Python finds too, without SQL."""

from __future__ import annotations

import datetime
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

import standin
from dynalake.flights import flights_history
from lake.errors import ConfigError
from queries import pack
from queries.connect import LakeConnection, connect
from tests.lakes import NOW_US, compacted, land_records, new_lake, refreshed
from tests.records import HOUR_US, NOON_US, record

SECOND_US = 1_000_000
Rows = list[dict[str, Any]]


def ask(con: LakeConnection, name: str, table: str) -> Rows:
    result = con.execute(pack.read_query(name, table))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def time_of(us: int) -> datetime.datetime:
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=us)  # noqa: DTZ001


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2)


@pytest.mark.parametrize("name", pack.names())
def test_files_say_what_they_are_for(name: str) -> None:
    lines = pack.read_query(name, "orders").splitlines()
    comments = [line for line in lines if line.startswith("--")]
    assert lines[: len(comments)] == comments and len(comments) >= 2
    assert pack.title(name).split("(")[0].strip().endswith("?")
    assert "{" not in "".join(lines) and '"orders' in "".join(lines)
    assert all(len(line) <= 120 for line in lines)


def test_names() -> None:
    every, ours, demo = pack.names(), pack.names("operational"), pack.names("demo")
    assert sorted(ours + demo) == every == sorted(set(every))
    assert {"freshness", "growth"} < set(ours) and "late-carriers" in demo
    with pytest.raises(ConfigError, match=r"'nope'; expected one of board-six-hours-ago, .*ttl-share"):
        pack.read_query("nope", "orders")


@dataclass(frozen=True)
class Made:
    """A change as it was made: `new` None for a delete."""

    key: tuple[str, str]
    at_us: int
    new: dict[str, Any] | None
    old: dict[str, Any] | None
    is_ttl: bool = False

    @property
    def item_key(self) -> str:
        return self.key[0].replace("|", "\\|") + "|" + self.key[1]

    @property
    def op(self) -> str:
        return "REMOVE" if self.new is None else "MODIFY" if self.old else "INSERT"

    def image(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if values is None else {"pk": {"S": self.key[0]}, "sk": {"S": self.key[1]}, **values}

    def record(self, n: int) -> dict[str, Any]:
        images = {"NewImage": self.image(self.new), "OldImage": self.image(self.old)}
        body = {"ApproximateCreationDateTime": self.at_us, "Keys": self.image({}), "NewImage": ...}
        who = {"type": "Service", "principalId": "dynamodb.amazonaws.com"} if self.is_ttl else None
        body |= {name: image for name, image in images.items() if image}
        return record(f"e{n}", eventName=self.op, userIdentity=who, body=body)


def n(value: str, **more: Any) -> dict[str, Any]:
    return {"total": {"N": value}, **more}


A, B, C, D, E = ("P|1", "a"), ("P|1", "b"), ("Q", "c"), ("Q", "d"), ("R", "e")
LATE = Made(A, NOON_US + SECOND_US // 2, n("2"), n("1"))
TIED_US = NOON_US + 25 * HOUR_US
FIRST = [
    Made(A, NOON_US, n("1"), None),
    Made(A, NOON_US + SECOND_US, n("3"), n("2")),
    Made(A, NOON_US + SECOND_US + 500_000, n("4", note={"S": "x" * 90}), n("3")),
    Made(B, NOON_US + HOUR_US, n("1"), None),
    Made(C, NOON_US + 13 * HOUR_US, n("1"), None),
    Made(B, NOON_US + 14 * HOUR_US, None, n("1"), is_ttl=True),
]
SECOND = [
    LATE,
    Made(D, TIED_US, n("1"), None),
    Made(D, TIED_US, n("2"), n("1")),
    Made(C, NOON_US + 26 * HOUR_US, None, n("1")),
    Made(E, NOON_US + 26 * HOUR_US, {"total": {"S": "many"}}, None),
]
ALL = sorted(FIRST + SECOND, key=lambda change: change.at_us)  # of D's two the first was made first
LIVE = {change.key: change for change in ALL if change.key in (A, D, E)}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeConnection]:
    lake = new_lake(tmp_path_factory.mktemp("pack") / "lake")
    numbered = list(enumerate(FIRST + SECOND))
    land_records(lake, "one.json", [change.record(i) for i, change in numbered[: len(FIRST)]])
    compacted(lake)
    refreshed(lake)
    again = [change.record(i) for i, change in numbered[:2]]
    land_records(lake, "two.json", [*again, *(change.record(i) for i, change in numbered[len(FIRST) :]), b"no record"])
    compacted(lake)
    with connect(lake, 1024, 2) as con:
        yield con


def size(change: Made, values: dict[str, Any] | None) -> int:
    return 0 if values is None else len(json.dumps(change.image(values), separators=(",", ":")))


def by_day() -> dict[datetime.date, list[Made]]:
    days: dict[datetime.date, list[Made]] = defaultdict(list)
    for change in ALL:
        days[time_of(change.at_us).date()].append(change)
    return days


def test_freshness(orders: LakeConnection) -> None:
    (row,) = ask(orders, "freshness", "orders")
    assert row["newest_change"] == time_of(ALL[-1].at_us) and row["last_taken"] == time_of(NOW_US)
    assert row["seconds_behind"] == (NOW_US - ALL[-1].at_us) // SECOND_US
    assert isinstance(row["minutes_since"], int)


def test_late_arrivals(orders: LakeConnection) -> None:
    hours = Counter(change.at_us // HOUR_US for change in ALL)
    hour = LATE.at_us // HOUR_US
    assert ask(orders, "late-arrivals", "orders") == [
        {"hour": time_of(hour * HOUR_US), "changes": hours[hour], "late": 1, "late_percent": percent(1, hours[hour])}
    ]


def test_duplicates(orders: LakeConnection) -> None:
    records = len(ALL) + 2 + 1
    assert ask(orders, "duplicates", "orders") == [
        {"day": time_of(NOW_US).date(), "objects": 2, "records": records, "changes": len(ALL), "duplicates": 2,
         "duplicate_percent": percent(2, records), "dead_letters": 1}
    ]  # fmt: skip


def test_hot_keys(orders: LakeConnection) -> None:
    counts = Counter(change.item_key for change in ALL)
    seconds = Counter((change.item_key, change.at_us // SECOND_US) for change in ALL)
    rows = ask(orders, "hot-keys", "orders")
    assert {row["item_key"]: row["changes"] for row in rows} == counts
    assert rows[0] == {
        "item_key": "P\\|1|a", "changes": 4, "percent": percent(4, len(ALL)),
        "most_in_a_second": max(n for (key, _), n in seconds.items() if key == "P\\|1|a"),
    }  # fmt: skip


def test_hot_partitions(orders: LakeConnection) -> None:
    counts = Counter(change.key[0] for change in ALL)
    rows = ask(orders, "hot-partitions", "orders")
    assert [(row["hash_key"].replace("\\", ""), row["changes"]) for row in rows] == counts.most_common()
    assert [row["items"] for row in rows] == [2, 2, 1]
    assert [row["most_in_a_second"] for row in rows] == [2, 2, 1]
    assert sum(row["percent"] for row in rows) == pytest.approx(100, abs=0.1)


def test_ttl_share(orders: LakeConnection) -> None:
    expected = [
        (day, len(made), sum(c.op == "REMOVE" for c in made), sum(c.is_ttl for c in made))
        for day, made in by_day().items()
    ]  # fmt: skip
    rows = ask(orders, "ttl-share", "orders")
    assert [(row["day"], row["changes"], row["deletes"], row["expired"]) for row in rows] == expected
    assert [row["expired_percent"] for row in rows] == [None, 50.0]


def test_growth(orders: LakeConnection) -> None:
    sizes: dict[tuple[str, str], int] = {}
    expected, before = [], (0, 0)
    for day, made in by_day().items():
        for change in made:
            if change.new is None:
                del sizes[change.key]
            else:
                sizes[change.key] = size(change, change.new)
        now = (len(sizes), sum(sizes.values()))
        log_bytes = sum(size(change, values) for change in made for values in (change.new, change.old))
        expected.append((day, len(made), log_bytes, now[0] - before[0], now[1] - before[1], *now))
        before = now
    assert [tuple(row.values()) for row in ask(orders, "growth", "orders")] == expected


def test_ties(orders: LakeConnection) -> None:
    instant = time_of(TIED_US)
    assert ask(orders, "ties", "orders") == [{"item_key": "Q|d", "tied_changes": 2, "first": instant, "last": instant}]


def test_largest_items(orders: LakeConnection) -> None:
    rows = ask(orders, "largest-items", "orders")
    assert rows[0]["item_key"] == "P\\|1|a"
    expected = {c.item_key: (size(c, c.new), 2 + len(c.new or ()), time_of(c.at_us)) for c in LIVE.values()}
    assert {row["item_key"]: (row["bytes"], row["attributes"], row["changed_at"]) for row in rows} == expected


def test_fill_rates(orders: LakeConnection) -> None:
    counts = Counter(name for change in LIVE.values() for name in (change.image(change.new) or ()))
    rows = ask(orders, "fill-rates", "orders")
    assert {row["attribute"]: row["items"] for row in rows} == counts
    assert rows[-1] == {"attribute": "note", "items": 1, "percent": percent(1, 3)}


def test_rescued_values(orders: LakeConnection) -> None:
    assert ask(orders, "rescued-values", "orders") == [{"attribute": "total", "items": 1, "example": '{"S":"many"}'}]


def test_sources(orders: LakeConnection) -> None:
    rows = ask(orders, "sources", "orders")
    assert {row["op"]: row["changes"] for row in rows} == Counter(change.op for change in ALL)
    assert {row["op"]: row["items"] for row in rows}["MODIFY"] == len({c.key for c in ALL if c.op == "MODIFY"})
    assert rows[0]["first"] == time_of(ALL[0].at_us)


@pytest.fixture(scope="module")
def history() -> standin.Table:
    return flights_history(datetime.date(2013, 1, 1), 2, expire_after=datetime.timedelta(hours=12))


@pytest.fixture(scope="module")
def airline(tmp_path_factory: pytest.TempPathFactory, history: standin.Table) -> Iterator[LakeConnection]:
    lake = new_lake(tmp_path_factory.mktemp("pack") / "lake", "airline")
    land_records(lake, "one.json", [one.data for one in standin.kds_records(history.changes, seed=1)])
    compacted(lake)
    with connect(lake, 1024, 2) as con:
        yield con


def flights(history: standin.Table) -> Rows:
    return [item for item in history.items.values() if item["type"]["S"] == "flight"]


def number(item: dict[str, Any], name: str) -> float | None:
    return float(item[name]["N"]) if name in item else None


def test_late_carriers(airline: LakeConnection, history: standin.Table) -> None:
    carriers = {
        item["carrier"]["S"]: item["name"]["S"] for item in history.items.values() if item["type"]["S"] == "carrier"
    }
    delays: dict[str, list[float]] = defaultdict(list)
    for item in flights(history):
        if item["status"]["S"] == "landed":
            delays[carriers[item["carrier"]["S"]]].append(float(item["dep_delay"]["N"]))
    rows = ask(airline, "late-carriers", "airline")
    assert len(rows) == 6
    for row in rows:
        known = delays[row["carrier"]]
        assert row["flights"] == len(known)
        assert row["late_percent"] == pytest.approx(100 * mean(delay > 15 for delay in known), abs=0.051)
        assert row["mean_delay_minutes"] == pytest.approx(mean(known), abs=0.051)
    shares = [100 * mean(delay > 15 for delay in known) for known in delays.values()]
    assert rows[0]["late_percent"] == pytest.approx(max(shares), abs=0.051)


def test_busiest_planes(airline: LakeConnection, history: standin.Table) -> None:
    planes = [item for item in history.items.values() if item["type"]["S"] == "plane" and "hours_flown" in item]
    first = max(planes, key=lambda item: float(item["hours_flown"]["N"]))
    row = ask(airline, "busiest-planes", "airline")[0]
    assert (str(row["hours_flown"]).rstrip("0"), row["flights"]) == (
        first["hours_flown"]["N"].rstrip("0"), int(first["flights"]["N"])
    )  # fmt: skip
    assert (row["plane"], row["airports"]) == (first["pk"]["S"], len(first["airports"]["SS"]))


def test_board_six_hours_ago(airline: LakeConnection, history: standin.Table) -> None:
    then_us = max(change.at_us for change in history.changes) - 6 * HOUR_US
    board: dict[str, Any] = {}
    for change in history.changes:
        if change.at_us <= then_us:
            board[str(change.keys)] = change.new
    counts = Counter(item["status"]["S"] for item in board.values() if item and item["type"]["S"] == "flight")
    assert {row["status"]: row["flights"] for row in ask(airline, "board-six-hours-ago", "airline")} == counts


def test_cancelled_or_expired(airline: LakeConnection, history: standin.Table) -> None:
    made = [change for change in history.changes if change.keys["pk"]["S"].startswith("FLIGHT#")]
    counts = Counter((change.op, change.ttl) for change in made)
    assert ask(airline, "cancelled-or-expired", "airline") == [
        {"cancelled": counts["REMOVE", False], "expired": counts["REMOVE", True], "scheduled": counts["INSERT", False]}
    ]
    assert counts["REMOVE", True] > 100


def test_busiest_routes(airline: LakeConnection, history: standin.Table) -> None:
    routes = Counter((item["origin"]["S"], item["dest"]["S"]) for item in flights(history))
    rows = ask(airline, "busiest-routes", "airline")
    assert [row["flights"] for row in rows] == [count for _, count in routes.most_common(10)]
    route = (rows[0]["origin"], rows[0]["dest"])
    minutes = [number(i, "air_time") for i in flights(history) if (i["origin"]["S"], i["dest"]["S"]) == route]
    assert rows[0]["mean_air_minutes"] == pytest.approx(mean(one for one in minutes if one is not None), abs=0.051)


def test_delay_by_hour(airline: LakeConnection, history: standin.Table) -> None:
    hours: dict[int, list[float]] = defaultdict(list)
    for item in flights(history):
        if (delay := number(item, "dep_delay")) is not None:
            hours[int(item["scheduled"]["M"]["departure"]["S"][11:13])].append(delay)
    rows = ask(airline, "delay-by-hour", "airline")
    assert {row["hour"]: row["flights"] for row in rows} == {hour: len(delays) for hour, delays in hours.items()}
    assert all(row["mean_delay_minutes"] == pytest.approx(mean(hours[row["hour"]]), abs=0.051) for row in rows)


def test_stages(airline: LakeConnection, history: standin.Table) -> None:
    last: dict[str, int] = {}
    minutes = []
    for change in history.changes:
        if change.new and change.new["type"]["S"] == "flight":
            if change.old and (change.old["status"]["S"], change.new["status"]["S"]) == ("departed", "landed"):
                minutes.append((change.at_us - last[str(change.keys)]) / SECOND_US / 60)
            last[str(change.keys)] = change.at_us
    rows = {(row["from_status"], row["to_status"]): row for row in ask(airline, "stages", "airline")}
    assert rows["departed", "landed"]["flights"] == len(minutes)
    assert rows["departed", "landed"]["median_minutes"] == pytest.approx(median(minutes), abs=0.1)


def test_every_file_has_a_test() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in pack.names() if f"def test_{name.replace('-', '_')}(" not in tests] == []
