"""Entities: how they are declared, and what their views hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lake.conditions import parse_condition
from lake.config import TableConfig, parse_config, table_section
from lake.entities import Entity
from lake.errors import ConfigError
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake, add_table, open_lake
from queries.connect import connect
from queries.entities import OWN, entity_columns, entity_sql
from tests.lakes import SCHEMA, compacted, land_records, new_lake, only_table, refreshed
from tests.records import START_US, record

HEAD = 'format = 1\n\n[tables.app]\nhash_key = "pk:S"\nrange_key = "sk:S"\n'


def config(*entities: str, more: str = "") -> Any:
    return parse_config(HEAD + "".join(f"[tables.app.entities.{entity}\n" for entity in entities) + more, "lake.toml")


def test_declared() -> None:
    found = config("order]\nwhere = \"sk begins_with 'ORDER#'\"", 'paid]\nwhere = "paid = true"\nattributes = ["id"]')
    order, paid = found.tables["app"].entities
    assert order == Entity("order", parse_condition("begins_with(sk, 'ORDER#')", ""))
    assert paid == Entity("paid", parse_condition("paid = true", ""), ("id",))
    assert found.entity_views == {"app_order", "app_paid"}


def test_what_is_written_reads_the_same() -> None:
    where = parse_condition("""a = 'it''s' or "q""\\ \x7f\t" not in (1, 'é') and sk not begins_with 'A\\'""", "")
    entities = (Entity("one", where), Entity("two", where, ('a"b', "é")))
    app = TableConfig("app", "app", SCHEMA, entities=entities)
    assert parse_config("format = 1\n" + table_section(app), "lake.toml").tables["app"] == app


@pytest.mark.parametrize(
    ("entity", "fault"),
    [
        ("Order]\nwhere = 'a exists'", "a lower-case name"),
        ("order]\nwhere = 'a exist'", "[tables.app], entity 'order', where 'a exist'; expected one of"),
        ("order]\nwhen = 'a exists'", "expected where ="),
        ("order]\nwhere = 'a exists'\nlimit = 1", "expected settings attributes, where; found limit"),
        ("order]\nwhere = 'a exists'\nattributes = 'id'", 'expected attributes = ["id", "total"]'),
        ("order]\nwhere = 'a exists'\nattributes = []", 'expected attributes = ["id", "total"]'),
        ("changes]\nwhere = 'a exists'", "a name other than changes"),
        ("diff]\nwhere = 'a exists'", "a name other than changes"),
        ("order]\nwhere = 'sk = 5'", "expected values of kind S, as the key sk is; found a value of kind N"),
    ],
)
def test_faults(entity: str, fault: str) -> None:
    with pytest.raises(ConfigError) as found:
        config(entity)
    assert fault in str(found.value)


def test_a_number_key_begins_with_nothing() -> None:
    with pytest.raises(ConfigError, match="expected values of kind N"):
        parse_config('format=1\n[tables.t]\nhash_key="n:N"\n[tables.t.entities.e]\nwhere="n begins_with \'1\'"', "")


@pytest.mark.parametrize(
    ("more", "got"),
    [
        ('[tables.app_order]\nhash_key = "pk:S"', "app_order, which is the table app_order"),
        ('[tables.app_order_x]\nhash_key = "pk:S"', None),
        ('[tables.app_x]\nhash_key="pk:S"\n[tables.app_x.entities.e]\nwhere = "a exists"', "entity x_e of the"),
    ],
)  # fmt: skip
def test_names_of_views_that_clash(more: str, got: str | None) -> None:
    entities = ("order]\nwhere = 'a exists'", "x_e]\nwhere = 'a exists'")
    if got is None:
        assert len(config(*entities, more=more).tables) == 2
        return
    with pytest.raises(ConfigError) as found:
        config(*entities, more=more)
    assert got in str(found.value)


def test_an_entity_with_the_name_of_another_tables_view() -> None:
    more = "[tables.app_b]\nhash_key = 'pk:S'\n"
    with pytest.raises(ConfigError, match="app_b_diff, which is a view of the table app_b"):
        config("b_diff]\nwhere = 'a exists'", more=more)


def test_a_new_table_gives_way_to_an_entity(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", "app")
    with open(tmp_path / "lake" / "lake.toml", "a", encoding="utf-8") as file:
        file.write("\n[tables.app.entities.order] # mine\nwhere = 'a exists'\n")
    lake = add_table(open_lake(lake.uri), TableConfig("", "app_order", SCHEMA))
    assert sorted(lake.config.tables) == ["app", "app_order_2"]
    assert "# mine" in (tmp_path / "lake" / "lake.toml").read_text()


ITEMS: list[dict[str, Any]] = [
    {"pk": {"S": "C#1"}, "sk": {"S": "META"}, "name": {"S": "Ann"}, "total": {"S": "many"}},
    {"pk": {"S": "C#1"}, "sk": {"S": "ORDER#1"}, "total": {"N": "1.5"}, "note": {"NULL": True}},
    {"pk": {"S": "C#1"}, "sk": {"S": "ORDER#2"}, "total": {"N": "2"}, "gift": {"BOOL": False}},
    {"pk": {"S": "C#1"}, "sk": {"S": "ORDER#3"}, "total": {"N": "3"}, "note": {"S": "soon"}},
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = new_lake(tmp_path_factory.mktemp("entities") / "lake", "app", SCHEMA)
    records = [
        record(f"e{n}", tableName="app", body={"Keys": {key: item[key] for key in ("pk", "sk")}, "NewImage": item,
               "ApproximateCreationDateTime": START_US + n})
        for n, item in enumerate(ITEMS)
    ]  # fmt: skip
    land_records(lake, "one.json", records)
    compacted(lake)
    refreshed(lake)
    return lake


def view(
    con: duckdb.DuckDBPyConnection, lake: Lake, entity: Entity, relation: str = "app"
) -> duckdb.DuckDBPyConnection:
    columns = con.prepared("app").columns
    own = entity_columns(con.con, relation, entity, only_table(lake).keys, columns)
    return con.execute(entity_sql(entity, columns, own, relation) + " ORDER BY _item_key")


@pytest.mark.parametrize(
    ("where", "attributes", "columns", "keys"),
    [
        ("sk begins_with 'ORDER#'", None, ["gift", "note", "total"], ["ORDER#1", "ORDER#2", "ORDER#3"]),
        ("sk = 'META'", None, ["name", "total"], ["META"]),  # its total is in _rescued
        ("note not exists", None, ["gift", "name", "total"], ["META", "ORDER#2"]),
        ("total = 1.50", None, ["total"], ["ORDER#1"]),
        ("total = 'many'", None, ["name", "total"], ["META"]),
        ("sk = 'NONE'", None, [], []),
        ("gift = false", ("Later", "total", "sk"), ["later", "total"], ["ORDER#2"]),
    ],
)
def test_views(lake: Lake, where: str, attributes: Any, columns: list[str], keys: list[str]) -> None:
    entity = Entity("e", parse_condition(where, ""), attributes)
    with connect(lake, 1024, 2) as con:
        con.make("app", "app_as_of")
        result = view(con, lake, entity)
        assert [name for name, *_ in result.description or ()] == ["pk", "sk", *columns, *OWN]
        rows = result.fetchall()
        assert [row[1] for row in rows] == keys
        found = [json.loads(row[-5]) for row in rows]
        assert found == [item for item in ITEMS if entity.where.matches(item)]
        past = view(con, lake, entity, "app_as_of('2100-01-01')").fetchall()
        assert past == rows


def test_an_attribute_without_a_column_is_read_from_the_item(lake: Lake) -> None:
    entity = Entity("e", parse_condition("name exists", ""), ("name", "total"))
    with connect(lake, 1024, 2) as con:
        con.make("app")
        columns = [c for c in con.prepared("app").columns if c.name in ("pk", "sk")]
        own = entity_columns(con.con, "app", entity, SCHEMA, columns)
        assert con.execute(entity_sql(entity, columns, own, "app")).fetchall()[0][:4] == ("C#1", "META", "Ann", "many")


def test_keys_that_are_numbers() -> None:
    keys = KeySchema(KeyAttribute("id", "N"))
    one = parse_config('format=1\n[tables.t]\nhash_key="id:N"\n[tables.t.entities.e]\nwhere="id = 5.0"', "").tables["t"]
    assert one.keys == keys and one.entities[0].where.matches({"id": {"N": "5"}})
