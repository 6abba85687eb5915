"""Proposed entities: sensible names for usual designs, disjoint conditions for any; and what the command does."""

from __future__ import annotations

import datetime
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import queries.inference
from dynalake.flights import flights_history
from lake.columns import key_state_columns, plan_columns
from lake.engine import connect_engine
from lake.entities import condition_sql
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, open_lake
from lake.projection import projected, seen_attributes
from queries.inference import Proposals, infer_entities, snake
from tests.commands import dynalake
from tests.lakes import SCHEMA, compacted, land_records, new_lake
from tests.records import START_US, record

Item = dict[str, Any]


def item(pk: str, sk: str | None = None, **attributes: str) -> Item:
    keys = {"pk": pk} if sk is None else {"pk": pk, "sk": sk}
    return {name: {"S": value} for name, value in (keys | attributes).items()}


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect_engine(1024, 1, extensions=()) as one:
        yield one


def inferred(con: duckdb.DuckDBPyConnection, items: list[Item], keys: KeySchema = SCHEMA, **options: Any) -> Proposals:
    images = "SELECT i AS _item, md5(i) AS _item_key FROM (SELECT unnest(?) AS i)"
    con.execute(f"CREATE OR REPLACE TEMP TABLE images AS {images}", [[json.dumps(one) for one in items]])
    columns = plan_columns(key_state_columns(keys), seen_attributes(con, "images"))
    rows = projected("images", columns, {column.attribute for column in columns})
    con.execute(f"CREATE OR REPLACE TEMP TABLE app AS FROM ({rows})")
    found = infer_entities(con, "app", keys, columns, **options)
    for one in found.found:  # what is said of an entity is so
        matching = [image for image in items if one.entity.where.matches(image)]
        assert len(matching) == one.items
        assert con.execute(f"SELECT count(*) FROM app WHERE {condition_sql(one.entity.where, columns)}").fetchone() == (
            one.items,
        )
        if found.looked_at == found.items:
            assert set(one.attributes) == {name for image in matching for name in image} - {"pk", "sk"}
    times = [sum(one.entity.where.matches(image) for one in found.found) for image in items]
    assert max(times, default=0) <= 1  # disjoint
    assert (found.items, found.uncovered) == (len(items), times.count(0))
    return found


def told(found: Proposals) -> dict[str, str]:
    return {one.entity.name: str(one.entity.where) for one in found.found}


def shop() -> list[Item]:
    items = [item(f"CUSTOMER#{n}", "META", name="x") for n in range(4)]
    items += [item(f"CUSTOMER#{n % 4}", f"ORDER#{n}", total="1") for n in range(9)]
    return items + [item(f"INVOICE#{n}", f"2026-01-0{n}", due="x") for n in range(1, 4)]


DESIGNS: dict[str, tuple[list[Item], dict[str, str]]] = {
    "customers, their orders, invoices": (
        shop(),
        {"order": "sk begins_with 'ORDER#'", "customer": "pk begins_with 'CUSTOMER#' and sk = 'META'",
         "invoice": "pk begins_with 'INVOICE#'"},
    ),
    "an adjacency list": (
        [item(f"INVOICE#{n}", f"INVOICE#{n}") for n in range(3)]
        + [item(f"BILL#{n}", f"BILL#{n}", GSI1PK="x", GSI1SK="y") for n in range(5)]
        + [item(f"INVOICE#{n % 3}", f"BILL#{n}") for n in range(5)],
        {"bill": "pk begins_with 'BILL#'", "invoice": "sk begins_with 'INVOICE#'",
         "invoice_bill": "pk begins_with 'INVOICE#' and sk begins_with 'BILL#'"},
    ),
    "one label under two others": (
        [item(f"{who}#{n}", f"{what}#{n}") for n in range(3) for who in ("USER", "TEAM") for what in ("NOTE", "TASK")],
        {f"{who}_{what}": f"pk begins_with '{who.upper()}#' and sk begins_with '{what.upper()}#'"
         for who in ("user", "team") for what in ("note", "task")},
    ),
    "labels in labels": (
        [item("SHOP", f"ORDER#{n}") for n in range(4)] + [item("SHOP", f"ORDER#ITEM#{n}") for n in range(4)],
        {"order": "sk begins_with 'ORDER#' and sk not begins_with 'ORDER#ITEM#'",
         "order_item": "sk begins_with 'ORDER#ITEM#'"},
    ),
    "events of an account by their time": (
        [item(f"ACCOUNT:{n}", "#profile") for n in range(3)]
        + [item(f"ACCOUNT:{n}", f"2026-01-01T00:00:0{m}") for n in range(3) for m in range(3)],
        {"account": "pk begins_with 'ACCOUNT:' and sk = '#profile'",
         "account_item": "pk begins_with 'ACCOUNT:' and sk <> '#profile'"},
    ),
    "an attribute that tells": (
        [item(f"u{n}", "1", __typename="OrderItem" if n % 3 else "Customer") for n in range(9)],
        {"order_item": "__typename = 'OrderItem'", "customer": "__typename = 'Customer'"},
    ),
    "an attribute that tells of most": (
        [item(f"A#{n}", "1", type="a") for n in range(5)] + [item(f"B#{n}", "1", type="b") for n in range(4)]
        + [item(f"LOCK#{n}", "1") for n in range(3)],
        {"a": "pk begins_with 'A#'", "b": "pk begins_with 'B#'", "lock": "pk begins_with 'LOCK#'"},
    ),
    "an attribute that tells, and items without it": (
        [item(f"{n}", "1", type="a" if n % 2 else "b") for n in range(8)] + [item(f"LOCK#{n}", "1") for n in range(3)],
        {"a": "type = 'a'", "b": "type = 'b'", "lock": "type not exists and pk begins_with 'LOCK#'"},
    ),
    "a state is no entity": ([item(f"{n}", "1", status="open" if n % 2 else "done", at="x") for n in range(8)], {}),
    "values that go with attributes of their own": (
        [item(f"{n}", "1", what="one", **{"a": "x", "b": "x", "c": "x"}) for n in range(4)]
        + [item(f"{n}", "2", what="two", **{"d": "x", "e": "x", "f": "x"}) for n in range(4)],
        {"one": "what = 'one'", "two": "what = 'two'"},
    ),
    "people's names are no labels": ([item(f"user{n}#x", f"v{n}") for n in range(200)], {}),
    "no items": ([], {}),
}  # fmt: skip


@pytest.mark.parametrize("design", DESIGNS)
def test_designs(con: duckdb.DuckDBPyConnection, design: str) -> None:
    items, expected = DESIGNS[design]
    assert told(inferred(con, items)) == expected


def test_the_flights_of_the_demo(con: duckdb.DuckDBPyConnection) -> None:
    items = list(flights_history(datetime.date(2013, 1, 1), 1).items.values())
    names = ("flight", "plane", "airport", "carrier")
    assert told(inferred(con, items)) == {name: f"type = '{name}'" for name in names}
    untold = [{name: value for name, value in one.items() if name != "type"} for one in items]
    assert told(inferred(con, untold)) == {name: f"pk begins_with '{name.upper()}#'" for name in names}


def test_a_hash_key_alone_and_one_of_numbers(con: duckdb.DuckDBPyConnection) -> None:
    keys = KeySchema(KeyAttribute("pk", "S"))
    assert told(inferred(con, [item(f"{kind}/{n}") for n in range(3) for kind in ("a", "b")], keys)) == {
        "a": "pk begins_with 'a/'", "b": "pk begins_with 'b/'",
    }  # fmt: skip
    numbers = [{"pk": {"N": str(n)}, "type": {"S": "even" if n % 2 == 0 else "odd"}} for n in range(5)]
    assert set(told(inferred(con, numbers, KeySchema(KeyAttribute("pk", "N"))))) == {"even", "odd"}


def test_names_that_are_taken(con: duckdb.DuckDBPyConnection) -> None:
    items = [item(f"HISTORY#{n}", "1") for n in range(3)] + [item(f"ORDER#{n}", "1") for n in range(3)]
    assert set(told(inferred(con, items, taken={"history", "order"}))) == {"history_item", "order_item"}


def test_what_was_not_looked_at_does_not_overlap(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simple conditions that hold in the sample give way where they meet in the rest."""
    monkeypatch.setattr(queries.inference, "SAMPLE_ITEMS", 40)
    items = [item(f"A#{n}", f"X#{n}") for n in range(400)] + [item(f"B#{n}", f"2026-{n}") for n in range(400)]
    simple = inferred(con, items)
    assert told(simple) == {"x": "sk begins_with 'X#'", "b": "pk begins_with 'B#'"}
    assert 0 < simple.looked_at < 200
    assert told(inferred(con, [*items, item("B#1", "X#1")])) == {
        "x": "pk begins_with 'A#' and sk begins_with 'X#'", "b": "pk begins_with 'B#' and sk not begins_with 'X#'",
    }  # fmt: skip


KEYS = st.builds(
    "".join,
    st.tuples(st.sampled_from(("A#", "B#", "A#C#", "#", "META", "x", "")), st.sampled_from(("", "1", "2", "D#", "Z"))),
).filter(bool)


@given(st.lists(st.tuples(KEYS, KEYS, st.sampled_from(("", "a", "b"))), max_size=30))
def test_proposals_are_disjoint(con: duckdb.DuckDBPyConnection, rows: list[tuple[str, str, str]]) -> None:
    inferred(con, [item(pk, sk, **({"type": kind} if kind else {})) for pk, sk, kind in rows])


@pytest.mark.parametrize(
    ("text", "name"), [("OrderItem", "order_item"), ("#ORDER_ITEM#", "order_item"), ("order-item", "order_item"),
                       ("2FA#", "_2fa"), ("É", "")],
)  # fmt: skip
def test_snake(text: str, name: str) -> None:
    assert snake(text) == name


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = new_lake(tmp_path / "lake", "app")
    records = [
        record(f"e{n}", tableName="app", body={"Keys": {key: one[key] for key in ("pk", "sk")}, "NewImage": one,
               "ApproximateCreationDateTime": START_US + n})
        for n, one in enumerate(shop())
    ]  # fmt: skip
    land_records(lake, "one.json", records)
    compacted(lake)
    return lake


def test_the_command(lake: Lake) -> None:
    path = Path(lake.uri) / "lake.toml"
    with open(path, "a", encoding="utf-8") as file:
        file.write("# mine\n[tables.app.entities.invoice]\nwhere = \"sk begins_with '2026'\"\n")
    before = path.read_text()
    shown = dynalake(lake.uri, "infer-entities", "app")
    assert "0 of 16 items (0.0%) match none of them; 16 were looked at" in shown.out and "56.25" in shown.out
    sections = tomllib.loads(dynalake(lake.uri, "infer-entities", "app", "--toml").out)
    assert sections["tables"]["app"]["entities"]["order"] == {"where": "sk begins_with 'ORDER#'"}
    assert path.read_text() == before
    written = dynalake(lake.uri, "infer-entities", "app", "--write")
    assert "added to lake.toml, as views: app_order, app_customer" in written.out
    assert "left so: invoice" in written.out
    after = path.read_text()
    assert after.startswith(before)
    assert [one.name for one in open_lake(lake.uri).config.table("app").entities] == ["invoice", "order", "customer"]
    assert "added" not in dynalake(lake.uri, "infer-entities", "app", "--write").out
    assert path.read_text() == after
    fields = json.loads(dynalake(lake.uri, "infer-entities", "app", "--json", "--write").out)
    assert fields["added"] == [] and fields["uncovered"] == 0
    assert fields["entities"][0] == {
        "name": "order", "where": "sk begins_with 'ORDER#'", "items": 9, "share_percent": 56.25,
        "attributes": ["total"], "is_declared": True,
    }  # fmt: skip


def test_the_command_where_there_is_nothing_to_tell(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", "app")
    assert "0 of 0 items" in dynalake(lake.uri, "infer-entities", "app").out
    assert "Declare them in lake.toml by hand" in dynalake(lake.uri, "infer-entities", "app", "--write").fault
    told = dynalake(lake.uri, "infer-entities", "app", "--toml").out
    assert told.startswith("# app: nothing tells") and tomllib.loads(told) == {}
    assert dynalake(lake.uri, "infer-entities", "app", "--toml", "--json").code == 2
    assert "a registered table (app)" in dynalake(lake.uri, "infer-entities", "nope").fault
