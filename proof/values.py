"""When two items are the same one, by DynamoDB's rules: judged here anew, not by the code that is to be proved.

Equal are numbers of one value however spelled, sets in any order, attributes in any order. Values of two types
are never equal, an empty text is no NULL, and a list's order counts.
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import Any

import msgspec

Item = dict[str, Any]

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_encode = msgspec.json.Encoder(order="deterministic").encode
SHOWN_MAX = 120  # characters of a value that are shown


def parse_item(text: str | bytes) -> Item:
    """An item from DynamoDB's JSON. Raises ValueError."""
    try:
        item = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as fault:
        raise ValueError(f"no JSON: {fault}") from fault
    if not isinstance(item, dict):
        raise ValueError("no JSON object")
    return item


def number(text: Any) -> Decimal:
    """The exact value of a number (a Decimal made of text is never rounded). Raises ValueError."""
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ValueError(f"no number: {str(text)[:60]!r}")
    return Decimal(text)


def binary(text: Any) -> bytes:
    """Raises ValueError where it is no base64."""
    if not isinstance(text, str):
        raise ValueError("no text")
    return base64.b64decode(text, validate=True)


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise ValueError("no text")
    return content


def _truth(content: Any) -> bool:
    if not isinstance(content, bool):  # 1 == True in Python
        raise ValueError("neither true nor false")
    return content


def _each(rule: Any) -> Any:
    def canonical(content: Any) -> list[Any]:
        if not isinstance(content, list):
            raise ValueError("no list")
        return [rule(element) for element in content]

    return canonical


def _set(rule: Any) -> Any:
    elements = _each(rule)
    return lambda content: sorted(elements(content))


def canonical_item(item: Any) -> Any:
    """What compares equal (`==`) for equal items only."""
    if not isinstance(item, dict):
        raise ValueError("no attributes")
    return {name: canonical_value(value) for name, value in item.items()}


def canonical_value(value: Any) -> Any:
    """What compares equal (`==`) for equal values only. What DynamoDB could not give equals only its very self."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        try:
            return kind, _RULES[kind](content)
        except (KeyError, ValueError, RecursionError):
            pass
    return "?", _encode(value)


_RULES: dict[str, Any] = {
    "S": _text, "N": number, "B": binary, "BOOL": _truth, "NULL": _truth, "M": canonical_item,
    "L": _each(canonical_value), "SS": _set(_text), "NS": _set(number), "BS": _set(binary),
}  # fmt: skip


def same_item(one: Item, other: Item) -> bool:
    """Whether two parsed items are equal; quick where they are spelled alike but for the order of attributes."""
    return _encode(one) == _encode(other) or bool(canonical_item(one) == canonical_item(other))


def same_text(one: str | None, other: str | None) -> bool:
    """Whether two items given as DynamoDB's JSON are equal; None is an item that does not exist."""
    if one is None or other is None or one == other:
        return one == other
    try:
        return same_item(parse_item(one), parse_item(other))
    except ValueError:
        return False


def differing_attributes(one: Item, other: Item) -> list[str]:
    """The names under which two items hold something different, sorted."""
    names = sorted(one.keys() | other.keys())
    return [
        name for name in names
        if (name in one) != (name in other) or canonical_value(one.get(name)) != canonical_value(other.get(name))
    ]  # fmt: skip


def shown(value: Any) -> str | None:
    """A value for a person's eye, shortened; None stays None."""
    if value is None:
        return None
    text = _encode(value).decode()
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text):,} characters)"
