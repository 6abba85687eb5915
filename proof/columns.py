"""What the typed columns of a row must hold, given its `_item`: docs/tables.md once more, in plain Python.

Nothing of the SQL that makes the columns is used here: a wrong value in a column, whether of a damaged file or of
a mistake in that SQL, is found.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from proof.values import Item, binary, canonical_item, number, parse_item, shown

BIGINT_DIGITS = 18
DECIMAL_DIGITS = 38
_SHORT_INTEGER = re.compile("-?[1-9][0-9]{0,17}|0")
_DECIMAL = re.compile(r"DECIMAL\(38,([0-9]+)\)")
_ELEMENTS = {"SS": "S", "NS": "N", "BS": "B"}


class Misfit(ValueError):
    """The value is none that the column can hold: it belongs to `_rescued`."""


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column of the current state as queries see it, and the attribute that it is of."""

    attribute: str
    name: str
    kind: str
    sql_type: str


@dataclass(frozen=True, slots=True)
class AttributeDifference:
    """What two sides say of an attribute, or of a column; None where it has none there."""

    name: str
    table: str | None
    lake: str | None


class RowRules:
    """Holds the typed columns of rows against their `_item`."""

    def __init__(self, columns: Sequence[TypedColumn]) -> None:
        self._rules = [(column, column.attribute, column.kind, rule_of(column)) for column in columns]

    def damages(self, item: Item, cells: Sequence[Any], rescued: str | None) -> list[AttributeDifference]:
        """The columns of one row that are not as its item has them; `cells` are in the columns' order."""
        damages = []
        to_rescue: Item = {}
        for (column, attribute, kind, holds), cell in zip(self._rules, cells, strict=True):
            value = item.get(attribute)
            if value is None or (isinstance(value, dict) and "NULL" in value):
                is_right = cell is None
            else:
                try:
                    is_right = holds(value[kind], cell)
                except (KeyError, TypeError, ValueError):
                    to_rescue[attribute] = value
                    is_right = cell is None
            if not is_right:
                damages.append(AttributeDifference(column.name, shown(value), _shown_cell(cell)))
        if (rescued is not None or to_rescue) and not _rescues(rescued, to_rescue):
            damages.append(AttributeDifference("_rescued", shown(to_rescue or None), _shown_cell(rescued)))
        return damages


def _rescues(text: str | None, expected: Item) -> bool:
    if text is None or not expected:
        return text is None and not expected
    try:
        return bool(canonical_item(parse_item(text)) == canonical_item(expected))
    except ValueError:
        return False


def rule_of(column: TypedColumn) -> Callable[[Any, Any], bool]:
    """A function of a value's content and a cell: whether the one is the other. It raises Misfit."""
    if column.kind in ("M", "L"):
        return lambda content, cell: bool(_is_plain(_plain(cell), {column.kind: content}))
    element = _ELEMENTS.get(column.kind)
    if element is None:
        value_of = _value_of(column.kind, column.sql_type)
        return lambda content, cell: bool(value_of(content) == cell)  # it raises even where the cell is NULL
    element_of = _value_of(element, column.sql_type.removesuffix("[]"))
    order = str.encode if element == "S" else None  # as bytes, like the engine

    def holds(content: Any, cell: Any) -> bool:
        return bool(sorted((element_of(one) for one in content), key=order) == cell)

    return holds


def _value_of(kind: str, sql_type: str) -> Callable[[Any], Any]:
    if kind == "N":
        if sql_type == "DOUBLE":
            return lambda text: float(number(text))
        scale = _DECIMAL.fullmatch(sql_type)
        return _integer if scale is None else _decimal(int(scale[1]))
    return {"B": binary, "BOOL": _truth}.get(kind, _text)


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise Misfit("no text")
    return content


def _truth(content: Any) -> bool:
    if not isinstance(content, bool):
        raise Misfit("neither true nor false")
    return content


def _integer(text: Any) -> int:
    if isinstance(text, str) and _SHORT_INTEGER.fullmatch(text):
        return int(text)
    value = number(text)
    whole, scale = _digits(value)
    if scale or whole > BIGINT_DIGITS:
        raise Misfit(f"{text} in a column for whole numbers")
    return int(value)


def _decimal(scale_max: int) -> Callable[[Any], Decimal]:
    def value_of(text: Any) -> Decimal:
        value = number(text)
        whole, scale = _digits(value)
        if scale > scale_max or whole > DECIMAL_DIGITS - scale_max:
            raise Misfit(f"{text} in a column for {scale_max} digits behind the point")
        return value

    return value_of


def _digits(value: Decimal) -> tuple[int, int]:
    """How many digits it takes to write a number before and behind the point."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    significant = text.rstrip("0")
    if not significant:
        return 0, 0
    exponent += len(text) - len(significant)
    return max(0, len(significant) + exponent), max(0, -exponent)


def _plain(text: Any) -> Any:
    try:
        return json.loads(text, parse_int=Decimal, parse_float=Decimal)
    except (TypeError, ValueError, RecursionError):
        return _NOTHING


_NOTHING = object()


def _is_plain(plain: Any, value: Any) -> bool:
    """Whether plain JSON says the same as DynamoDB's, but for the type tags."""
    ((kind, content),) = value.items()
    if kind == "M":
        is_same = isinstance(plain, dict) and plain.keys() == content.keys()
        return is_same and all(_is_plain(plain[name], content[name]) for name in content)
    if kind == "L":
        is_same = isinstance(plain, list) and len(plain) == len(content)
        return is_same and all(_is_plain(one, other) for one, other in zip(plain, content, strict=True))
    if kind == "NS":
        return _same_elements(plain, [number(one) for one in content], Decimal)
    if kind in _ELEMENTS:
        return _same_elements(plain, content, str)
    if kind == "N":
        return isinstance(plain, Decimal) and plain == number(content)
    return plain is None if kind == "NULL" else type(plain) is type(content) and bool(plain == content)


def _same_elements(plain: Any, content: list[Any], kind: type) -> bool:
    is_list_of_them = isinstance(plain, list) and all(isinstance(element, kind) for element in plain)
    return is_list_of_them and sorted(plain) == sorted(content)


def _shown_cell(cell: Any) -> str | None:
    if isinstance(cell, bytes):
        return shown(base64.b64encode(cell).decode())
    return shown(str(cell) if isinstance(cell, Decimal | list) else cell)
