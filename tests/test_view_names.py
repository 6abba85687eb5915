"""Views of tables whose keys and attributes bear any name and hold values of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import standin
from lake.attributes import canonical_value, shown_value
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake
from lake.sql import literal
from queries.connect import LakeConnection, connect
from queries.views import change_columns
from tests.lakes import compacted, land, land_records, new_lake, refreshed, timestamp
from tests.records import START_US, TIME, record, s
from tests.test_types import PK, Image, T, found_value, round_of_writes, typed

SECOND_US = 1_000_000


def lake_of_three_changes(root: Path, keys: KeySchema) -> Lake:
    """One item, whose value goes x, y, x: the first two changes in one instant, their event ids against their order."""
    lake = new_lake(root, keys=keys)
    key = {attribute.name: s(attribute.name) for attribute in keys.attributes}
    x, y = ({**key, "v": s(value)} for value in "xy")
    parts = [("e2", "INSERT", 0, ..., x), ("e1", "MODIFY", 0, x, y), ("e3", "MODIFY", SECOND_US, y, x)]
    land_records(lake, "1.ndjson", [
        record(event_id, eventName=op, body={TIME: START_US + us, "Keys": key, "OldImage": old, "NewImage": new})
        for event_id, op, us, old, new in parts
    ])  # fmt: skip
    compacted(lake)
    return lake


@pytest.mark.parametrize(
    "names",
    [
        ("changed_at", "before"), ("from_value", "difference"), ("_item_key", "_v1"), ("_new", "_old"),
        ("_n", "_place"), ("the new", "image before"),
    ],
)  # fmt: skip
def test_keys_named_like_what_views_name(tmp_path: Path, names: tuple[str, str]) -> None:
    keys = KeySchema(*(KeyAttribute(name, "S") for name in names))
    with connect(lake_of_three_changes(tmp_path / "lake", keys), 1024, 2) as con:
        found = con.execute("FROM orders_transitions('v') ORDER BY changed_at, event_id DESC")
        columns = [entry[0] for entry in found.description or ()]
        rows = found.fetchall()
        assert len(set(columns)) == len(columns) and [row[1:3] for row in rows] == [names] * 3
        place = columns.index("from_value")
        assert [row[place : place + 2] for row in rows] == [(None, "x"), ("x", "y"), ("y", "x")]
        moments = f"{timestamp(START_US)}, {timestamp(START_US + SECOND_US)}"
        ((item_key, *shown, difference, changed, before, after),) = con.execute(
            f"FROM orders_diff({moments})"
        ).fetchall()
        assert item_key == "|".join(names) and tuple(shown) == names and (difference, changed) == ("changed", ["v"])
        assert json.loads(before)["v"] == s("y") and json.loads(after)["v"] == s("x")
        check_changes(con)
        asked = ", ".join(map(literal, names))
        found = con.execute(f"SELECT event_id FROM orders_history({asked})").fetchall()
        assert found == [("e2",), ("e1",), ("e3",)]


def check_changes(con: LakeConnection) -> None:
    """Each value of each change is that of its image, typed; NULL where it is of another kind."""
    result = con.execute("FROM orders_changes")
    names = [entry[0] for entry in result.description or ()]
    rows = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
    columns = con.prepared("orders").columns
    assert len(names) == len({name.lower() for name in names}) and rows
    for prefix, column, name in change_columns(columns, names[: -2 * len(columns)]):
        for row in rows:
            image = row[f"{prefix}_image"]
            value = json.loads(image).get(column.attribute, {}) if image else {}
            expected = typed(column, value) if column.kind in value else None
            assert found_value(column, row[name]) == expected, (column, value)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LakeConnection, standin.Table]]:
    table = standin.Table("orders", ("pk", "S"), None, seed=5)
    for n in range(5):
        round_of_writes(table, n, T + n * 3_600_000_000)
    lake = new_lake(tmp_path_factory.mktemp("kinds") / "lake", keys=PK)
    land(lake, standin.firehose_objects(standin.kds_records(table.changes, seed=1), seed=1))
    assert compacted(lake).dead_letters == 0
    refreshed(lake)
    with connect(lake, 1024, 2) as con:
        yield con, table


def test_changes_of_every_kind_are_typed(every_kind: tuple[LakeConnection, standin.Table]) -> None:
    check_changes(every_kind[0])


@pytest.mark.parametrize(
    "attribute",
    ["n", "ns", "kind", "keeps", "sets", "maps", "text", "listed", "mapped", "b", "empty", "bs", "tiny", "/", "~",
     "a/b", "$.pk", "*", "[0]", "it's", 'q"q', "\\", "n\nn", "😀", "_item"],
)  # fmt: skip
def test_transitions_of_every_kind(every_kind: tuple[LakeConnection, standin.Table], attribute: str) -> None:
    con, table = every_kind
    expected = []
    for change in table.changes:
        old, new = ((image or {}).get(attribute) for image in (change.old, change.new))
        if canonical_value(old) != canonical_value(new):
            expected.append((change.keys["pk"]["S"], shown(old), shown(new)))
    found = con.execute(f"SELECT pk, from_value, to_value FROM orders_transitions({literal(attribute)})").fetchall()
    assert expected and sorted(found, key=repr) == sorted(expected, key=repr)


def shown(value: Image | None) -> str | None:
    return None if value is None else shown_value(json.dumps(value, ensure_ascii=False))


def test_an_attribute_that_only_past_items_had_is_none_to_refuse(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    key = {"pk": s("a"), "sk": s("b")}
    image = {**key, "gone": s("x")}
    land_records(lake, "1.ndjson", [
        record("e1", body={TIME: START_US, "Keys": key, "NewImage": image}),
        record("e2", eventName="REMOVE", body={TIME: START_US + 1, "Keys": key, "NewImage": ..., "OldImage": image}),
    ])  # fmt: skip
    with connect(lake, 1024, 2) as con:
        with pytest.raises(duckdb.InvalidInputException, match="no item ever had an attribute gone"):
            con.execute("FROM orders_transitions('gone')").fetchall()
        compacted(lake)
        con.refresh()
        rows = con.execute("SELECT from_value, to_value FROM orders_transitions('gone') ORDER BY changed_at").fetchall()
        assert rows == [(None, "x"), ("x", None)]
