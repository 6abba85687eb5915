"""`dynalake report`: its figures are those that were counted elsewhere, and no data gets out of its place."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

import queries.report
import standin
from compaction.compact import CompactReport, compact
from dynalake.report.page import render
from ingest.capture import CaptureRules, StreamRecord, plan_landing
from ingest.landing import land as land_captured
from lake.catalog import load_table, open_catalog
from lake.config import TableConfig
from lake.lake import Lake, add_table, create_lake, open_lake
from lake.masks import parse_masks
from lake.proofs import Proof, keep_proof
from lake.secret import open_mask_key
from lake.store import put, read
from queries.facts import BANDS, DAY_US, HOUR_US, LakeFacts, TableFacts
from queries.report import gather
from tests.commands import dynalake
from tests.lakes import NOW_US, SCHEMA, SETTINGS, compacted, land, land_records, new_lake, only_table, refreshed, rows
from tests.pages import Element, number, parse_page, section
from tests.records import START_US, change, record
from tests.test_histories import history
from tests.test_masks import ORIGIN, SECRET, hashed, traces

OPTIONS: dict[str, Any] = {"days": 10_000, "memory_mb": 1024, "threads": 2}


def facts_of(lake: Lake, now_us: int = NOW_US, **options: Any) -> LakeFacts:
    return gather(lake, list(lake.config.tables.values()), now_us, **(OPTIONS | options))


def table_facts(lake: Lake, **options: Any) -> TableFacts:
    (table,) = facts_of(lake, **options).tables
    return table


def page_of(lake: Lake, **options: Any) -> Element:
    return section(parse_page(render(facts_of(lake, **options))), only_table(lake).name)


# The figures


class Story:
    """A history that the stand-in sent with faults, its end taken in first; the state refreshed between."""

    def __init__(self, root: Path, seed: int) -> None:
        self.table = history(random.Random(seed), 30, 300, 40_000_000)
        self.sent = standin.Report()
        faults = standin.Faults(
            duplicates=0.2, disorder=0.3, disorder_records=40, poison=4, poison_kinds=("missing_key", "contradictory")
        )
        records = standin.kds_records(self.table, seed=seed, precision="MICROSECOND", faults=faults, report=self.sent)
        objects = standin.firehose_objects(records, seed=seed, buffer_bytes=20_000, faults=faults, report=self.sent)
        self.lake = new_lake(root)
        self.taken_us = (self.table.changes[-1].at_us + 30_000_000, self.table.changes[-1].at_us + 5 * HOUR_US)
        half = len(objects) // 2
        land(self.lake, objects[half:])
        self.compacts = [self._compact(self.taken_us[0])]
        refreshed(self.lake)
        ((self.rows,),) = rows(self.lake, "SELECT count(*) FROM orders")
        land(self.lake, objects[:half])
        self.compacts.append(self._compact(self.taken_us[1]))

    def _compact(self, now_us: int) -> CompactReport:
        return compact(self.lake, only_table(self.lake), replace(SETTINGS, now_us=now_us))

    def total(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.compacts)


@pytest.fixture(scope="module", name="story")
def _story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return Story(tmp_path_factory.mktemp("story") / "lake", seed=7)


def kind_of(one: standin.Change) -> str:
    return {"INSERT": "inserts", "MODIFY": "modifies"}.get(one.op, "expiries" if one.ttl else "removes")


def test_the_figures_are_those_that_were_sent(story: Story) -> None:
    changes, page = story.table.changes, page_of(story.lake)
    kinds = Counter(map(kind_of, changes))
    assert page.facts() == {
        "newest_us": changes[-1].at_us,
        "items": len(story.table.items),
        "changes": len(changes),
        "tail_changes": story.compacts[1].changes,
        "late": story.total("late"),
        "duplicates": len(story.sent.duplicates),
        "records": story.sent.records,
        "open_letters": len(story.sent.poison),
        "last_taken_us": story.taken_us[1],
        "batch": 2,
        "covered": 1,
        "rows": story.rows,
        "objects": story.sent.objects,
        **{kind: kinds[kind] for kind in ("inserts", "modifies", "removes", "expiries")},
        "reads": 0,
    }
    assert story.total("late") and len(kinds) == 4, "the history shows nothing"
    letters = Counter(one.kind.replace("missing_key", "keyless") for one in story.sent.poison)
    assert page.rows("letters") == {kind: [str(count), "0"] for kind, count in letters.items()}


def test_what_is_shown_over_time(story: Story) -> None:
    page, log = page_of(story.lake), table_facts(story.lake).log.throughput
    expected: dict[str, list[int]] = {kind: [0] * log.length for kind in (*page.numbers("throughput"),)}
    for one in story.table.changes:
        expected[kind_of(one)][(one.at_us - log.start_us) // log.unit_us] += 1
    assert page.numbers("throughput") == expected
    ends = (log.start_us + (n + 1) * log.unit_us - 1 for n in range(log.length))
    assert page.numbers("growth")["items"] == [len(story.table.items_as_of(end)) for end in ends]
    intake = page.numbers("duplicates")
    found = {kind: [count for count in counts if count] for kind, counts in intake.items()}
    assert found == {
        kind: [count for one in story.compacts if (count := getattr(one, kind))]
        for kind in ("changes", "duplicates", "dead_letters")
    }


def test_how_late_changes_came(story: Story) -> None:
    taken = dict(rows(story.lake, "SELECT event_id, batch FROM orders_changes"))
    expected = Counter[str]()
    for one in story.table.changes:
        seconds = (story.taken_us[taken[one.event_id] - 1] - one.at_us) / 1e6
        expected[str(next((band for band in BANDS if seconds < band), ""))] += 1
    (table,) = page_of(story.lake).all("table", data_rows="lateness")
    (body,) = table.all("tbody")
    bands = {row.attributes["data-until"]: [number(cell.text) for cell in row.all("td")[1:]] for row in body.all("tr")}
    assert {band: counts[0] for band, counts in bands.items() if counts[0]} == dict(expected)
    assert sum(counts[1] for counts in bands.values()) == story.total("late")
    assert len(expected) > 2


def test_hot_keys_and_that_they_can_be_left_out(story: Story) -> None:
    counts = Counter(one.keys["pk"]["S"] for one in story.table.changes)
    hottest = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = page_of(story.lake).rows("keys")
    assert [(key, number(cells[1])) for key, cells in shown.items()] == hottest
    text = render(facts_of(story.lake, keys=False))
    assert not any(key in text for key in counts)
    assert list(section(parse_page(text), "orders").rows("keys")) == [f"key {n + 1}" for n in range(len(hottest))]


def test_only_the_last_days_are_counted(story: Story) -> None:
    changes = story.table.changes
    since = changes[-1].at_us - DAY_US
    log = table_facts(story.lake, days=1).log
    recent = sum(one.at_us >= since for one in changes)
    assert 0 < recent < len(changes) == log.changes
    assert (log.since_us, log.streamed) == (since, recent)
    assert sum(map(log.throughput.total, log.throughput.counts)) == recent


def test_the_same_lake_at_the_same_time_gives_the_same_page(story: Story) -> None:
    pages = {render(facts_of(story.lake, threads=threads)) for threads in (1, 2, 2)}
    assert len(pages) == 1
    assert render(facts_of(story.lake, NOW_US + HOUR_US)) not in pages


def test_nothing_is_asked_of_the_network(story: Story) -> None:
    text = render(facts_of(story.lake))
    page = parse_page(text)
    assert "://" not in text.replace(story.lake.uri, "")
    assert not [one for one in page.all() if one.attributes.keys() & {"src", "srcset", "action", "data", "poster"}]
    assert {one.attributes["href"] for one in page.all("link")} == {"data:,"}
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    assert policy.attributes["content"].startswith("default-src 'none'")


def test_charts_and_tables_say_what_they_are(story: Story) -> None:
    refreshed(story.lake)  # so that there are files in every panel
    page = parse_page(render(facts_of(story.lake)))
    by_id = {one.attributes["id"]: one for one in page.all(id="")}
    drawings = page.all("svg", role="img")
    assert len(drawings) == 5
    for one in drawings:
        told = [by_id[id].text for id in one.attributes["aria-labelledby"].split()]
        assert len(told) == 2 and all(told)
    assert all("aria-hidden" in one.attributes for one in page.all("svg") if one not in drawings)
    table = section(page, "orders")
    assert all(one.all("caption") for one in table.all("table", data_rows="") + table.all("table", data_series=""))
    assert all(one.all("h2") or one.all("h3") for one in page.all("section"))


def test_columns_are_filled_as_they_are(tmp_path: Path) -> None:
    """Files that are older than a column, lists, which manifests count otherwise, and values of other kinds."""
    lake = new_lake(tmp_path / "lake")

    def item(number: int, **attributes: Any) -> dict[str, Any]:
        keys = {"pk": {"S": f"k{number}"}, "sk": {"S": "1"}}
        return record(f"e{number}", body={"Keys": keys, "NewImage": keys | attributes})

    land_records(lake, "1", [item(n, **({"A b": {"N": "1"}} if n % 3 else {})) for n in range(20)])
    compacted(lake)
    refreshed(lake)
    mixed = [item(20, tags={"SS": ["x", "y"]}, n={"N": "1.5"}), item(21, **{"A b": {"S": "no number"}}),
             item(22, tags={"NS": ["1"]}, n={"NULL": True})]  # fmt: skip
    land_records(lake, "2", mixed)
    compacted(lake)
    refreshed(lake)
    page = page_of(lake)
    names = rows(lake, "SELECT column_name FROM (DESCRIBE orders) WHERE NOT starts_with(column_name, '_')")
    assert page.facts()["rescued_rows"] == 2
    shown = page.rows("columns")
    assert [heading.split()[0] for heading in shown] == [name for (name,) in names]
    for heading, cells in shown.items():
        ((filled,),) = rows(lake, f'SELECT count("{heading.split()[0]}") FROM orders')
        assert number(cells[3]) == filled, heading
    assert {heading: (cells[0], cells[1], cells[5]) for heading, cells in shown.items() if cells[5] != "0"} == {
        "a_b A b": ("N", "bigint", "1"), "tags": ("SS", "varchar[]", "1"),
    }  # fmt: skip


def test_files_are_those_that_there_are(story: Story) -> None:
    refreshed(story.lake)
    page = page_of(story.lake)
    for name, table in (("log-files", "orders_changes"), ("state-files", "orders")):
        shown = page.rows(name)
        sizes = [p.stat().st_size for p in Path(story.lake.warehouse).glob(f"lake/{table}/data/**/*.parquet")]
        cells = [cell for one in page.all("table", data_rows=name) for cell in one.all("td", data_kind="bytes")]
        if table == "orders_changes":  # of a state files of before are still there
            assert sum(int(cell.attributes["data-value"]) for cell in cells) == sum(sizes)
            assert sum(number(row[0]) for row in shown.values()) == len(sizes)
            days = rows(story.lake, "SELECT DISTINCT CAST(event_time AS DATE)::VARCHAR FROM orders_changes ORDER BY 1")
            assert list(shown) == [day for (day,) in days]
        assert sum(number(row[3]) for row in shown.values()) == rows(story.lake, f"SELECT count(*) FROM {table}")[0][0]


@pytest.mark.parametrize("seed", [3, 4])
def test_items_are_those_of_queries_whatever_the_ties(tmp_path: Path, seed: int) -> None:
    """Of changes in milliseconds, many at once; under a policy that keeps what expires."""
    rng = random.Random(seed)
    table = history(rng, 4, 60, 600)
    lake = new_lake(tmp_path / "lake", ttl="keep")
    objects = standin.firehose_objects(
        standin.kds_records(table, seed=seed, precision="MILLISECOND"), seed=seed, buffer_bytes=8_000
    )
    rng.shuffle(objects)
    for one in objects[: len(objects) // 2], objects[len(objects) // 2 :]:
        land(lake, one)
        compacted(lake)
        told = table_facts(lake)
        counts = rows(lake, "SELECT count(*) FILTER (_expired_at IS NULL), count(_expired_at) FROM orders")
        assert [(told.state.items, told.state.expired)] == counts
        refreshed(lake)
        assert (table_facts(lake).state.items, table_facts(lake).state.expired) == counts[0]
    assert told.log.tied


# Lakes that have little


def test_an_empty_lake(tmp_path: Path) -> None:
    lake = create_lake(tmp_path / "lake")
    assert "No table is registered" in parse_page(render(facts_of(lake))).text


def test_a_table_without_changes(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    for taken in (lambda: None, lambda: compacted(lake), lambda: refreshed(lake)):  # no tables, an empty log, a state
        taken()
        page = page_of(lake)
        assert {"changes": 0, "items": 0, "newest_us": None}.items() <= page.facts().items()
        assert "There are no changes yet" in page.text
        assert "No verify has run" in page.text


def test_a_log_without_state_or_ledger(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    land_records(lake, "1", [change("a", "1", "INSERT", START_US, new={"S": "x"})])
    compacted(lake)
    catalog = open_catalog(lake)
    catalog.drop_table("lake.orders_ledger")
    page = page_of(lake)
    assert {"changes": 1, "tail_changes": 1, "items": 1, "rows": 0, "objects": 0}.items() <= page.facts().items()
    assert "of 1 the ledger does not tell" in page.text
    assert "and no state yet" in page.text
    compacted(lake)  # reads again what it knows
    page = page_of(lake)
    assert {"objects": 1, "duplicates": 1, "records": 1}.items() <= page.facts().items()
    assert "of 1 the ledger does not tell" in page.text


def test_what_is_kept_though_it_expired(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", ttl="keep")
    gone = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
    told = [change(name, name, "INSERT", START_US, new={"S": "x"}) for name in "abc"]
    told += [change(name, f"{name}2", "REMOVE", START_US + 5, old={"S": "x"}) | gone for name in "ab"]
    land_records(lake, "1", told[:4])
    compacted(lake)
    refreshed(lake)
    land_records(lake, "2", told[4:])
    compacted(lake)
    for _ in range(2):
        assert {"items": 1, "expired": 2, "expiries": 2, "removes": 0}.items() <= page_of(lake).facts().items()
        refreshed(lake)


def test_what_verify_found(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    proven = Proof(
        at_us=NOW_US - DAY_US, verified_through_us=NOW_US - 2 * DAY_US, items_in_table=9, differing=0, unproven=0
    )
    keep_proof(lake, "orders", proven)
    page = page_of(lake)
    assert {"verified_through_us": NOW_US - 2 * DAY_US, "items_in_table": 9}.items() <= page.facts().items()
    assert not page.all("li", data_advice="proof")
    found = msgspec.structs.replace(proven, at_us=NOW_US, differing=3, counts={"differs": 2, "missing in the lake": 1},
                           items={"secret|1": "differs"})  # fmt: skip
    keep_proof(lake, "orders", found)
    page = page_of(lake)
    (advice,) = page.all("li", data_advice="proof")
    assert "verify orders --repair" in advice.text
    assert page.facts()["differing"] == 3
    assert "secret" not in page.text


# Hostile data, masks, S3, others at work

SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>{{ 7 * 7 }}'


def test_names_and_keys_are_inert(tmp_path: Path) -> None:
    lake = add_table(create_lake(tmp_path / "a<b>&amp;c"), TableConfig("", "My.Shop-1", SCHEMA))
    keys = {"pk": {"S": IMAGE}, "sk": {"S": SCRIPT}}
    image = keys | {SCRIPT: {"S": "v"}, "\u202e'\"<b>": {"N": "1"}, "x" * 300: {"S": "v"}}
    mixed = {**keys, "sk": {"S": "2"}, SCRIPT: {"N": "1"}}
    other = {"Keys": {**keys, "sk": {"S": "2"}}, "NewImage": mixed}
    records = [
        record("1", tableName="My.Shop-1", body={"Keys": keys, "NewImage": image}),
        record("2", tableName="My.Shop-1", body=other),
    ]
    land_records(lake, "1", [*records, b'{"tableName": "<script>"}'])
    compacted(lake)
    refreshed(lake)
    text = render(facts_of(lake))
    page = parse_page(text)
    assert len(page.all("script")) == 1
    assert not page.all("img") and not page.all("b")
    table = section(page, "my_shop_1")
    assert list(table.rows("keys")) == [IMAGE]
    assert any(SCRIPT in heading for heading in table.rows("columns"))
    assert lake.uri in page.all("header")[0].text


def test_masks_are_told_and_what_they_hide_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys come as their hashes; of what was dropped there is no column, and of a sealed dead letter but the reason."""
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    masks = parse_masks({"pk": "hash", "card": "drop"}, SCHEMA, "lake.toml")
    lake = add_table(create_lake(tmp_path / "lake"), TableConfig("", "orders", SCHEMA, masks=masks))
    keys = {"pk": {"S": SECRET}, "sk": {"S": "1"}}
    good = record("e1", body={"Keys": keys, "NewImage": keys | {"card": {"S": SECRET}, "v": {"N": "1"}}})
    raws = [json.dumps(one).encode() for one in (good, record("e2", eventName=SECRET))]
    captured = CaptureRules(lake.config, open_mask_key(lake)).capture(
        [StreamRecord(raw, str(n), 1) for n, raw in enumerate(raws)], ORIGIN, NOW_US
    )
    names = {"orders": "orders"}
    land_captured(plan_landing([captured], ORIGIN, set(names)), lake, names, lambda fault: None)
    compacted(lake)
    refreshed(lake)
    text = render(facts_of(lake))
    page = section(parse_page(text), "orders")
    assert {"changes": 1, "open_letters": 1}.items() <= page.facts().items()
    assert "masks: drop card, hash pk" in page.text
    assert list(page.rows("keys")) == [hashed({"S": SECRET})["S"]]
    assert list(page.rows("columns")) == ["pk", "sk", "v"]
    assert not any(trace.decode() in text for trace in traces())


def test_a_lake_on_s3(s3: Any) -> None:
    lake = new_lake("s3://lakes/shop")
    put(f"{lake.raw}1", json.dumps(change("a", "1", "INSERT", START_US, new={"S": "x"})).encode())
    compacted(lake)
    refreshed(lake)
    place = "s3://lakes/pages/shop.html"
    ended = dynalake(lake.uri, "report", "orders", "--output", place)
    assert (ended.code, ended.errors) == (0, "")
    page = section(parse_page((read(place) or b"").decode()), "orders")
    assert {"changes": 1, "items": 1, "rows": 1, "tail_changes": 0}.items() <= page.facts().items()
    assert page.rows("columns")["v"][3] == "1"


@pytest.mark.parametrize("moment", ["_ledger", "log_facts", "state_facts", "_proof"])
def test_a_lake_that_is_written_to_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    lake = new_lake(tmp_path / "lake")

    def taken_in(names: str) -> None:
        land_records(lake, names, [change(name, name, "INSERT", START_US, new={"S": "x"}) for name in names])
        compacted(lake)

    taken_in("abc")
    before = table_facts(lake)
    found: Callable[..., Any] = getattr(queries.report, moment)

    def others_at_work(*arguments: Any) -> Any:
        taken_in("de")
        refreshed(lake)
        return found(*arguments)

    monkeypatch.setattr(queries.report, moment, others_at_work)
    assert table_facts(lake) == before
    monkeypatch.undo()
    assert table_facts(lake).state.items == 5


def test_tables_that_are_written_to_while_they_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No state or ledger is of a later version than the log: each change is here an item of its own."""
    lake = new_lake(tmp_path / "lake")
    names = iter("abcdef")

    def others_at_work(*arguments: Any) -> Any:
        found = load_table(*arguments)
        name = next(names)
        land_records(lake, name, [change(name, name, "INSERT", START_US, new={"S": "x"})])
        compacted(lake)
        refreshed(lake)
        return found

    monkeypatch.setattr(queries.report, "load_table", others_at_work)
    for taken in (2, 5):  # when the log is opened, the last
        told = table_facts(lake)
        assert told.state.items == told.log.changes == told.log.batch == taken
        assert told.state.covered == told.log.batch - told.state.tail_changes <= taken
        assert told.ledger.changes <= taken


# The command


def test_the_command(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = dynalake(story.lake.uri, "report")
    assert (ended.code, ended.errors) == (0, "")
    assert "report.html" in ended.out
    assert section(parse_page(Path("report.html").read_text()), "orders").facts()["changes"] == len(story.table.changes)
    Path("report.html").unlink()
    told = json.loads(dynalake(story.lake.uri, "report", "orders", "orders", "--json", "--no-keys").out)
    (table,) = told["tables"]
    assert table["log"]["changes"] == len(story.table.changes)
    assert {one["key"] for one in table["log"]["hot_keys"]} == {None}
    assert {one["part"] for one in table["advice"]} >= {"letters", "proof"}
    assert list(tmp_path.iterdir()) == []
    assert "orderz" in dynalake(story.lake.uri, "report", "orderz").fault
    Path("taken").write_text("")
    assert "write report" in dynalake(story.lake.uri, "report", "--output", "taken/page.html").fault
    assert dynalake(story.lake.uri, "report", "--days", "0").code == 2


def test_what_is_said_to_be_done(tmp_path: Path) -> None:
    lake = open_lake(new_lake(tmp_path / "lake").uri)
    land_records(lake, "1", [change(str(n), str(n), "INSERT", NOW_US - HOUR_US, new={"S": "x"}) for n in range(100)])
    compacted(lake)
    assert said(lake) == {"freshness": "refresh orders", "proof": "verify orders"}
    refreshed(lake)
    keep_proof(
        lake, "orders", Proof(at_us=NOW_US, verified_through_us=NOW_US, items_in_table=100, differing=0, unproven=0)
    )
    assert said(lake) == {}
    land_records(lake, "2", [change("x", f"x{n}", "INSERT", NOW_US - 5, new={"S": "x"}) for n in range(5)])
    compacted(lake)
    assert said(lake) == {}  # five of a hundred are no tail to speak of
    land_records(lake, "3", [change("y", "y", "INSERT", NOW_US - 5, new={"S": "x"}), record("z", body={"Keys": ...})])
    compacted(lake)
    assert said(lake) == {"freshness": "refresh orders", "letters": "redrive orders --dry-run"}
    assert said(lake, NOW_US + 8 * DAY_US)["proof"] == "verify orders"


def said(lake: Lake, now_us: int = NOW_US) -> dict[str, str]:
    """The commands that the page names, by its part; each is one that the command line takes."""
    page = section(parse_page(render(facts_of(lake, now_us))), "orders")
    found = {}
    for one in page.all("li", data_advice=""):
        (command,) = one.all("code")
        found[one.attributes["data-advice"]] = command.text.removeprefix(f"dynalake --lake {lake.uri} ")
    return found
