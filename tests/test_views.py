"""Changes with their values, transitions and differences, held to the order of changes in plain Python."""

from __future__ import annotations

import base64
import datetime
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lake.attributes import canonical_number, canonical_value, plain_json
from lake.changes import Change
from lake.keys import ItemKey, KeyAttribute, KeySchema
from lake.ordering import in_order, latest
from lake.sql import literal
from queries.connect import LakeConnection, connect
from tests.lakes import compacted, land_records, new_lake, refreshed, timestamp
from tests.records import START_US, TIME, change, record, s

ODD = 'a/b~c "d".e'
VALUES: list[dict[str, Any]] = [
    {"S": "x"}, {"S": 'a "quoted" \\ é'}, {"N": "1.5"}, {"N": "1.50"}, {"N": "12345678901234567890"}, {"BOOL": True},
    {"NULL": True}, {"SS": ["a", "b"]}, {"SS": ["b", "a"]}, {"M": {"p": {"N": "1"}, "q": {"S": "r"}}}, {"L": []},
    {"M": {"q": {"S": "r"}, "p": {"N": "1.0"}}},
]  # fmt: skip


def history(rng: random.Random, items: int, length: int) -> list[dict[str, Any]]:
    """Records of items with three attributes at most; many in one instant, some read, some lost on their way."""
    records, now = [], {f"i{n}": None for n in range(items)}
    at_us = START_US
    for n in range(length):
        at_us += rng.choice([0, 0, 1, 400, 1_000, 60_000_000])
        item, told_us = f"i{rng.randrange(items)}", at_us // 1000 * 1000 if rng.random() < 0.1 else at_us
        keys = {"pk": s(item), "sk": s("1")}
        old, new = now[item], None
        if old is None or rng.random() < 0.8:
            new = {**keys, **{name: rng.choice(VALUES) for name in ("v", "n", ODD) if rng.random() < 0.7}}
        op = "REMOVE" if new is None else "INSERT" if old is None else "MODIFY"
        now[item] = new
        if rng.random() < 0.1:
            continue
        body = {TIME: told_us, "Keys": keys, "NewImage": new or ..., "OldImage": old or ...}
        records.append(record(f"e{n}", eventName=op, body=body))
        if new is not None and rng.random() < 0.1:
            read = {TIME: told_us - rng.choice([0, 5]), "Keys": keys, "NewImage": new}
            records.append(record(f"r{n}", eventName="READ", body=read, _lake={"source": "scan"}))
    rng.shuffle(records)
    return records


@pytest.fixture(params=range(3))
def con(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LakeConnection]:
    rng = random.Random(request.param)
    lake = new_lake(tmp_path / "lake")
    records = history(rng, 12, 150)
    for n in range(2):
        land_records(lake, f"{n}.ndjson", records[n * len(records) // 2 : (n + 1) * len(records) // 2])
        compacted(lake)
        if n == 0:
            refreshed(lake)
    with connect(lake, 1024, 2) as opened:
        yield opened


def items(con: LakeConnection, until_us: int | None = None) -> dict[str, list[Change]]:
    """The log's changes of each item, in their order."""
    rows = con.execute(
        """SELECT item_key, op, created_at_us, event_id, new_image, old_image, is_ttl, source FROM orders_changes"""
    ).fetchall()
    found: dict[str, list[Change]] = {}
    for key, *rest in rows:
        if until_us is None or rest[1] <= until_us:
            found.setdefault(key, []).append(Change(ItemKey((key,)), *rest))
    return {key: in_order(changes) for key, changes in found.items()}


def value_of(image: str | None, attribute: str) -> Any:
    value = json.loads(image).get(attribute) if image else None
    return None if value is None else canonical_value(value)


def shown(value: Any) -> str | None:
    if value is None:
        return None
    ((kind, content),) = value.items()
    return str(content) if kind in ("S", "N", "B") else plain_json(json.dumps(value, ensure_ascii=False))


def expected_transitions(changes: list[Change], attribute: str) -> Iterator[tuple[Any, ...]]:
    value, since_us = None, None
    for n, one in enumerate(changes):
        if n == 0:
            value = value_of(one.old_image, attribute)
        after = value_of(one.new_image, attribute) if one.op != "REMOVE" else None
        if not (n == 0 and one.op == "READ") and after != value:
            lasted = None if since_us is None else datetime.timedelta(microseconds=one.created_at_us - since_us)
            yield one.event_id, one.op, shown(value), shown(after), lasted
            since_us = one.created_at_us
        value = after


@pytest.mark.parametrize("attribute", ["v", "n", ODD])
def test_transitions_are_those_of_the_order(con: LakeConnection, attribute: str) -> None:
    found: dict[str, list[Any]] = {}
    rows = con.execute(
        f"""SELECT _item_key, pk, event_id, op, from_value, to_value, lasted, changed_at
        FROM orders_transitions({literal(attribute)})"""
    ).fetchall()
    for key, pk, *rest in rows:
        assert key == f"{pk}|1"
        found.setdefault(key, []).append(tuple(rest[:-1]))
    expected = {key: list(expected_transitions(changes, attribute)) for key, changes in items(con).items()}
    assert sum(map(len, expected.values())) > 30
    assert {key: sorted(rows, key=str) for key, rows in found.items()} == {
        key: sorted(rows, key=str) for key, rows in expected.items() if rows
    }


def test_an_attribute_that_none_ever_had(con: LakeConnection) -> None:
    for attribute in ("'colour'", "NULL"):
        with pytest.raises(duckdb.InvalidInputException, match="no item ever had an attribute"):
            con.execute(f"FROM orders_transitions({attribute})").fetchall()


def test_the_difference_of_two_instants(con: LakeConnection) -> None:
    times = [row[0] for row in con.execute("SELECT created_at_us FROM orders_changes ORDER BY ALL").fetchall()]
    for first_us, second_us in ((times[40], times[90]), (times[90], times[40]), (times[0], times[-1])):
        states = []
        for at_us in (first_us, second_us):
            last = {key: latest(changes) for key, changes in items(con, at_us).items()}
            states.append({k: json.loads(c.new_image) for k, c in last.items() if c and c.op != "REMOVE"})
        expected = {}
        for key in states[0].keys() | states[1].keys():
            before, after = (state.get(key) for state in states)
            names = {name for image in (before, after) if image for name in image}
            changed = sorted(
                name for name in names
                if before is None or after is None
                or canonical_value(before.get(name)) != canonical_value(after.get(name))
            )  # fmt: skip
            if changed:
                what = "added" if before is None else "removed" if after is None else "changed"
                expected[key] = (what, changed, before, after)
        rows = con.execute(
            f"""SELECT _item_key, pk, difference, changed_attributes, "before", "after"
            FROM orders_diff({timestamp(first_us)}, {timestamp(second_us)})"""
        ).fetchall()
        found = {
            key: (what, changed, *(image and json.loads(image) for image in images))
            for key, _, what, changed, *images in rows
        }
        assert len(rows) == len(found) and found == expected
        assert all(key == f"{pk}|1" for key, pk, *_ in rows)


def test_an_instant_that_cannot_be_asked_for(con: LakeConnection) -> None:
    for given in ("'2001-01-01', now()", "now(), '2001-01-01'"):
        with pytest.raises(duckdb.InvalidInputException, match="its log begins at"):
            con.execute(f"FROM orders_diff({given})").fetchall()


def test_values_of_changes_are_typed_as_in_the_state(con: LakeConnection) -> None:
    """A change's new values are those that the state would have of its image; of another kind they are NULL."""
    columns = con.prepared("orders").columns
    types = {name: kind for name, kind, *_ in con.execute("DESCRIBE orders").fetchall()}
    kinds = {name: kind for name, kind, *_ in con.execute("DESCRIBE orders_changes").fetchall()}
    assert "new_image" in kinds and kinds["new_v"] == types["v"]
    for column in columns:
        assert kinds[f"new_{column.name}"] == kinds[f"old_{column.name}"] == types[column.name]
        for prefix in ("new", "old"):
            rows = con.execute(f'SELECT {prefix}_image, "{prefix}_{column.name}" FROM orders_changes').fetchall()
            for image, found in rows:
                value = json.loads(image).get(column.attribute) if image else None
                content = value.get(column.kind) if value else None
                if content is None:
                    assert found is None
                elif column.kind == "N":
                    assert canonical_number(str(found)) == canonical_number(content)
                elif column.kind in ("M", "L"):
                    assert json.loads(found) == json.loads(plain_json(json.dumps(value)))
                else:
                    assert found == (sorted(content) if column.kind == "SS" else content)


def test_names_of_values_give_way_to_the_logs(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake")
    keys = {"pk": s("a"), "sk": s("b")}
    image = {**keys, "image": s("of a cat"), "x": s("1"), "X": s("2")}
    land_records(lake, "1.ndjson", [record("e1", body={TIME: START_US, "Keys": keys, "NewImage": image})])
    compacted(lake)
    with connect(lake) as con:
        query = "SELECT new_image_2, new_x, new_x_2, old_image, old_image_2 FROM orders_changes"
        assert con.execute(query).fetchall() == [("of a cat", "2", "1", None, None)]


def test_a_streams_table_is_ordered_by_its_numbers(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", surface="streams")
    records = []
    for n, (op, old, new) in enumerate([("INSERT", None, "a"), ("MODIFY", "a", "b"), ("MODIFY", "b", "a")]):
        one = change("i", f"e{9 - n}", op, START_US // 1_000_000, old=old and s(old), new=new and s(new))
        one["dynamodb"]["SequenceNumber"] = str(100 + n)
        one["eventSourceARN"] = "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/x"
        records.append(one)
    land_records(lake, "1.ndjson", records)
    assert compacted(lake).dead_letters == 0
    with connect(lake) as con:
        rows = con.execute("SELECT from_value, to_value FROM orders_transitions('v') ORDER BY event_id DESC").fetchall()
        assert rows == [(None, "a"), ("a", "b"), ("b", "a")]


def test_a_binary_key_is_given_as_it_is_shown(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", keys=KeySchema(KeyAttribute("pk", "B")))
    once = base64.b64encode(b"\x02\x00\xff").decode()
    key = {"pk": {"B": base64.b64encode(once.encode()).decode()}}  # as KDS encodes it
    land_records(lake, "1.ndjson", [record("e1", body={TIME: START_US, "Keys": key, "NewImage": key})])
    compacted(lake)
    with connect(lake) as con:
        for given in (f"'{once}'", r"'\x02\x00\xFF'::BLOB"):
            assert con.execute(f"SELECT event_id FROM orders_history({given})").fetchall() == [("e1",)]
        assert con.execute("SELECT (SELECT count(*) FROM orders_history(pk)) FROM orders").fetchall() == [(1,)]


def test_all_values_of_changes_need_little_memory(tmp_path: Path) -> None:
    """Of every value by itself there would be a parsed copy of each image at once."""
    lake = new_lake(tmp_path / "lake")
    keys = [{"pk": s(f"i{n}"), "sk": s("1")} for n in range(6_000)]
    images = [key | {f"a{n}": {"N": str(n)} for n in range(60)} | {"text": s("x" * 1_000)} for key in keys]
    bodies = [{TIME: START_US, "Keys": key, "NewImage": image, "OldImage": image}
              for key, image in zip(keys, images, strict=True)]  # fmt: skip
    land_records(
        lake, "1.ndjson", [record(f"e{n}", eventName="MODIFY", body=body) for n, body in enumerate(bodies)]
    )  # fmt: skip
    compacted(lake)
    with connect(lake, 800, 2) as con:
        assert con.execute("SELECT count(*), sum(new_a59), max(old_a7) FROM (FROM orders_changes)").fetchall()
        columns = ", ".join(f"max({kind}_a{n})" for kind in ("new", "old") for n in range(60))
        assert con.execute(f"SELECT {columns} FROM orders_changes").fetchall()[0][:60] == tuple(range(60))
