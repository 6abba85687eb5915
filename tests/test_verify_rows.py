"""The quick way through the rows of a view, held to the rules that alone say that something is damaged."""

from __future__ import annotations

import base64
import json
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lake.config import TableConfig
from lake.keys import KeyAttribute, KeySchema
from proof.columns import TypedColumn
from proof.rows import _PlainRows, _Rules

TYPES = {
    "S": ["VARCHAR"], "N": ["BIGINT", "DECIMAL(38,2)", "DECIMAL(38,0)", "DECIMAL(38,37)", "DOUBLE"],
    "B": ["BLOB"], "BOOL": ["BOOLEAN"], "SS": ["VARCHAR[]"], "NS": ["BIGINT[]", "DECIMAL(38,2)[]", "DOUBLE[]"],
    "BS": ["BLOB[]"], "M": ["VARCHAR"], "L": ["VARCHAR"],
}  # fmt: skip
ARROW = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BLOB": pa.binary(),
         "BOOLEAN": pa.bool_()}  # fmt: skip
NUMBERS = [
    "0", "-0", "1", "01", "+1", "1.0", "1.5", "1.50", "1E2", "1e-2", "100", "-7", "999999999999999999",
    "1000000000000000000", "-999999999999999999", "9223372036854775807", "9223372036854775808", "0.1", "0.01", "0.001",
    "1E-37", "1E-38", "1E125", "9.9999999999999999999999999999999999999E+125", "1E-130", "0.30000000000000004",
    "99999999999999999999999999999999999999", "999999999999999999999999999999999999.99", "1.", ".5", "", " 1", "0x1F",
    "NaN", "Infinity", "1e400", "00", "1_0", "\u0661",
]  # fmt: skip
TEXTS = ["", "a", "a ", "A", "\u00e9", "e\u0301", "\0", "nul\0x", "\U0001f600", '"', "\\", "|", "1", "true"]
BYTES = ["", "AA==", "AAA=", "AAE=", "AB==", "A", "/+8=", "_-8="]


def content_of(rng: random.Random, kind: str, depth: int = 0) -> Any:
    if kind in ("SS", "NS", "BS"):
        return [content_of(rng, kind[0]) for _ in range(rng.randrange(3))]
    if kind == "M":
        return {name: value_of(rng, depth + 1) for name in rng.sample(["a", "b", "\u00e9", '"'], rng.randrange(3))}
    if kind == "L":
        return [value_of(rng, depth + 1) for _ in range(rng.randrange(3))]
    return rng.choice({"N": NUMBERS, "S": TEXTS, "B": BYTES, "BOOL": [True, False], "NULL": [True]}[kind])


def value_of(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.choice(["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS"] + ["M", "L"] * (depth < 2))
    return {kind: content_of(rng, kind, depth)}


def plain(value: Any) -> Any:
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: plain(one) for name, one in content.items()}
    if kind == "L":
        return [plain(one) for one in content]
    return None if kind == "NULL" else content


def cell_of(rng: random.Random, column: TypedColumn, value: Any) -> Any:
    """Mostly what the value should be there; else something near."""
    if rng.random() < 0.15:
        value = {column.kind: content_of(rng, column.kind)}
    if not isinstance(value, dict) or value.get(column.kind) is None or rng.random() < 0.05:
        return None
    content = value[column.kind]
    element = column.sql_type.removesuffix("[]")
    if column.kind in ("M", "L"):
        return json.dumps(plain({column.kind: content}))

    def one(text: Any) -> Any:
        if element == "BLOB":
            return base64.b64decode(text + "==")
        if element == "BIGINT":
            return int(Decimal(text))
        if element == "DOUBLE":
            return float(text)
        if element.startswith("DECIMAL"):
            return Decimal(text)
        return text

    try:
        return sorted(map(one, content)) if column.sql_type.endswith("[]") else one(content)
    except (ValueError, ArithmeticError):
        return None


def arrow_type(sql_type: str) -> pa.DataType:
    if sql_type.endswith("[]"):
        return pa.list_(arrow_type(sql_type[:-2]))
    if sql_type.startswith("DECIMAL"):
        return pa.decimal128(*map(int, sql_type[8:-1].split(",")))
    return ARROW[sql_type]


def array_of(cells: list[Any], kind: pa.DataType) -> pa.Array:
    made = []
    for cell in cells:
        try:
            made.append(pa.array([cell], kind)[0].as_py())
        except (pa.ArrowException, ValueError, OverflowError, TypeError):
            made.append(None)
    return pa.array(made, kind)


class _Findings:
    def __init__(self) -> None:
        self.found: list[Any] = []

    def add(self, *finding: Any) -> None:
        self.found.append(finding)


def check_quick_way(seed: int) -> int:
    """What the quick way calls right has no damage by the rules. Gives how many rows it called right."""
    rng = random.Random(seed)
    names = [f"a{n}" for n in range(rng.choice([1, 4, 12]))] + rng.sample(["\u00e9", "a b", "A0", "#:.", "null"], 2)
    columns = []
    for name in names:
        kind = rng.choice(list(TYPES))
        columns.append(TypedColumn(name, f"c_{name}", kind, rng.choice(TYPES[kind])))
    key_kinds = rng.choice([["S"], ["N"], ["B"], ["S", "S"], ["S", "N"], ["B", "S"], ["N", "B"]])
    keys = KeySchema(*(KeyAttribute(name, kind) for name, kind in zip(("pk", "sk"), key_kinds, strict=False)))  # type: ignore[arg-type]
    for attribute in keys.attributes:
        if rng.random() < 0.8:
            columns.append(TypedColumn(attribute.name, f"c_{attribute.name}", attribute.kind, TYPES[attribute.kind][0]))
    rows: list[list[Any]] = []
    for _ in range(300):
        item = {c.attribute: ({c.kind: content_of(rng, c.kind)} if rng.random() < 0.9 else value_of(rng))
                for c in columns if rng.random() < 0.7}  # fmt: skip
        for attribute in keys.attributes:
            if rng.random() < 0.98:
                item[attribute.name] = {attribute.kind: content_of(rng, attribute.kind)}
        if rng.random() < 0.03:
            item[rng.choice(names)] = rng.choice([None, {"S": "a", "N": "1"}, 3, {"X": "1"}, {"S": 1}])
        cells = [cell_of(rng, column, item.get(column.attribute)) for column in columns]
        try:
            key = keys.item_key_of(item)
            item_key, hash_key = str(key), key.parts[0]
        except (ValueError, AttributeError):
            item_key, hash_key = "x", "x"
        if rng.random() < 0.05:
            item_key = rng.choice([None, "", "|", item_key + " ", "a|a"])
        image = json.dumps(item, ensure_ascii=rng.random() < 0.5)
        if rng.random() < 0.03:
            image = rng.choice(["", "null", "[]", "{", image + "}", image[:-1], " " + image + " "])
        ours = [item_key, image, rng.choice(["INSERT", "MODIFY", "READ"] * 9 + ["REMOVE", None]),
                rng.choice([1] * 20 + [0, None]), rng.choice([None] * 20 + ['{"a0":{"S":"1"}}']),
                rng.choice([None] * 20 + [1]),
                (hash_key if rng.random() < 0.95 else "y") if keys.hash_key.kind != "S" else None]  # fmt: skip
        rows.append([*ours, *cells])
    kinds = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.string(), pa.int64(), pa.string()]
    kinds += [arrow_type(column.sql_type) for column in columns]
    arrays = [array_of(list(cells), kind) for cells, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    table = TableConfig("orders", "orders", keys)
    right = _PlainRows(table, columns).are_right(arrays)
    for n, row in enumerate(zip(*(array.to_pylist() for array in arrays), strict=True)):
        if right[n]:
            findings = _Findings()
            _Rules(table, columns).check(row, findings)  # type: ignore[arg-type]
            assert not findings.found, (seed, findings.found, row, columns)
    return int(right.sum())


def test_what_is_seen_quickly_is_right_by_the_rules() -> None:
    assert sum(check_quick_way(seed) for seed in range(40)) > 300


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 2_000, 100))
def test_what_is_seen_quickly_is_right_by_the_rules_slow(start: int) -> None:
    for seed in range(1_000 + start, 1_100 + start):
        check_quick_way(seed)
