"""Conditions: what they mean, how they are written, and that SQL says of every item what Python says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.columns import Column, plan_columns
from lake.conditions import And, BeginsWith, Condition, Exists, In, Not, Or, Value, parse_condition
from lake.engine import connect_engine
from lake.entities import condition_sql
from lake.errors import ConfigError
from lake.projection import projected, seen_attributes

ATTRIBUTES = ("pk", "total", "Type", "type", "in", 'odd "~/. name', "é")
TEXTS = ("", "ORDER#", "ORDER#1", "it's", "5", "true", "\0", "a%_", "é")
NUMBERS = ("0", "5", "-5", "1.5", "123456789012345678901", "0.001", "1E+60", "99999999999999999999999999999999999999")


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect_engine(1024, 1, extensions=()) as one:
        yield one


def values() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.sampled_from(TEXTS).map(lambda text: {"S": text}),
        st.sampled_from((*NUMBERS, "5.0", "1.50", "-0")).map(lambda text: {"N": text}),
        st.booleans().map(lambda one: {"BOOL": one}),
        st.just({"NULL": True}),
        st.just({"M": {"S": {"S": "ORDER#"}}}),
        st.just({"L": [{"S": "5"}]}),
        st.just({"SS": ["5", "ORDER#"]}),
        st.just({"B": "T1JERVIj"}),
    )


def conditions() -> st.SearchStrategy[Condition]:
    names = st.sampled_from((*ATTRIBUTES, "missing"))
    literals = st.one_of(
        st.sampled_from(TEXTS).map(lambda text: Value("S", text)),
        st.sampled_from(NUMBERS).map(lambda text: Value("N", text)),
        st.sampled_from(("true", "false")).map(lambda text: Value("BOOL", text)),
    )
    atoms = st.one_of(
        st.builds(BeginsWith, names, st.sampled_from(TEXTS)),
        st.builds(In, names, st.lists(literals, min_size=1, max_size=3).map(tuple)),
        st.builds(Exists, names),
    )
    several = {"min_size": 2, "max_size": 3}
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, **several).map(tuple).map(And),
            st.lists(inner, **several).map(tuple).map(Or),
        ),
        max_leaves=6,
    )


ITEMS = st.lists(st.dictionaries(st.sampled_from(ATTRIBUTES), values()), min_size=1, max_size=6)


@given(conditions())
def test_what_is_written_reads_the_same(condition: Condition) -> None:
    assert parse_condition(str(condition), "here") == condition


@given(ITEMS, st.lists(conditions(), min_size=1, max_size=6), st.data())
def test_sql_says_what_python_says(
    con: duckdb.DuckDBPyConnection, items: list[dict[str, Any]], asked: list[Condition], data: st.DataObject
) -> None:
    """Whatever columns there are: those born of some of the items, so that others' values are rescued or cut off."""
    images = [json.dumps(item, ensure_ascii=False) for item in items]
    con.execute("CREATE OR REPLACE TEMP TABLE images AS SELECT unnest(?) AS _item, unnest(?) AS n",
                [images, list(range(len(images)))])  # fmt: skip
    born = data.draw(st.integers(0, len(items)))
    columns = plan_columns([], seen_attributes(con, f"(FROM images WHERE n < {born})"))
    columns = data.draw(st.permutations(columns).map(lambda some: some[: data.draw(st.integers(0, len(some)))]))
    rows = projected("images", columns, {column.attribute for column in columns}) if columns else "FROM images"
    tests = ", ".join(f"coalesce({condition_sql(one, columns)}, false)" for one in asked)
    found = con.execute(f"SELECT {tests} FROM ({rows}) ORDER BY n").fetchall()
    assert found == [tuple(one.matches(item) for one in asked) for item in items]


@pytest.mark.parametrize(
    ("text", "item", "holds"),
    [
        ("sk begins_with 'ORDER#'", {"sk": {"S": "ORDER#1"}}, True),
        ("begins_with(sk, 'ORDER#')", {"sk": {"S": "META"}}, False),
        ("sk not begins_with 'ORDER#'", {}, True),
        ("total = 5.00", {"total": {"N": "5"}}, True),
        ("total = '5'", {"total": {"N": "5"}}, False),
        ("total <> 5", {}, True),  # as in DynamoDB
        ("not total = 5 and total exists", {"total": {"N": "6"}}, True),
        ("kind in ('a', 'b') or paid = true", {"paid": {"BOOL": True}}, True),
        ("kind NOT IN ('a', 'b')", {"kind": {"S": "b"}}, False),
        ("attribute_not_exists(gone)", {"gone": {"NULL": True}}, False),
        ('"in" = \'x\' OR "a ""b""" exists', {'a "b"': {"L": []}}, True),
        ("a exists or b exists and c exists", {"a": {"S": ""}}, True),
        ("(a exists or b exists) and c exists", {"a": {"S": ""}}, False),
    ],
)
def test_meanings(text: str, item: dict[str, Any], holds: bool) -> None:
    assert parse_condition(text, "here").matches(item) is holds


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "an attribute's name; found its end"),
        ("sk begins_with ORDER", "expected a text in single quotes; found 'ORDER' at character 16"),
        ('sk = "ORDER#"', "expected a text in single quotes, a number, true or false"),
        ("sk = 'ORDER#", "The quote is not closed"),
        ("address.city = 'x'", "Only top-level attributes"),
        ("total > 5", "There are =, <>"),
        ("exists = 5", 'written "exists"'),
        ("in = 5", 'written "in"'),
        ("(a exists", "expected ')'; found its end"),
        ("a exists b exists", "expected and, or, or its end; found 'b' at character 10"),
        ("a in ()", "a text in single quotes, a number"),
        ("not " * 60 + "a exists", "50 deep"),
        ("(" * 5_000 + "a exists" + ")" * 5_000, "up to 10,000 characters"),
        ("a = 1e999999999", "expected a text in single quotes, a number"),
    ],
)  # fmt: skip
def test_faults(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_condition(text, "lake.toml [tables.app], entity 'order'")
    assert fault in str(found.value)
    assert "lake.toml [tables.app], entity 'order', where" in str(found.value)


def test_a_key_prefix_needs_its_column_alone() -> None:
    """So that an engine skips files by it, and reads no images."""
    columns = [Column("pk", "pk", "S"), Column("sk", "sk", "S")]
    text = condition_sql(parse_condition("sk begins_with 'ORDER#' and pk <> 'x'", "here"), columns)
    assert "_item" not in text
