"""Images as numbers: two are the same number where DynamoDB would call the items equal, however they are spelled.

They stand for the images wherever many have to be compared: a number is a few bytes, an image up to 400 KB.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from proof.values import binary, number, parse_item

_PLAIN = re.compile("-?[1-9][0-9]*|0")
_encode = msgspec.json.Encoder(order="deterministic").encode


def image_hash(text: str) -> int:
    """A number of 64 bits that equal items have in common (`proof.values.same_text`), and practically no others.

    It holds within this process only. What is no item equals only its very text.
    """
    try:
        item = parse_item(text)
        for value in item.values():
            for kind in value:
                if kind in _RULES:  # most are texts
                    _normalise(value)
                    break
        canonical = _encode(item)
    except (ValueError, TypeError, RecursionError):
        canonical = text.encode()
    return hash(canonical) or 1


def kds_bytes(text: str) -> int:
    """How long an image is as KDS writes it, with its binary encoded twice."""
    try:
        item = parse_item(text)
        return len(_encode(item)) + sum(map(_added, item.values()))
    except (ValueError, RecursionError):
        return len(text.encode())


def _normalise(value: Any) -> None:
    """Spells a value the one way, in place; what DynamoDB could not give stays as it is."""
    if not isinstance(value, dict) or len(value) != 1:
        return
    ((kind, content),) = value.items()
    rule = _RULES.get(kind)
    if rule is not None:
        try:
            value[kind] = rule(content)
        except (ValueError, TypeError, AttributeError):
            return


def _number(text: Any) -> str:
    if isinstance(text, str) and _PLAIN.fullmatch(text):
        return text
    plain = format(number(text), "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def _binary(text: Any) -> str:
    return base64.b64encode(binary(text)).decode()


def _map(content: Any) -> Any:
    for value in content.values():
        _normalise(value)
    return content


def _list(content: Any) -> Any:
    if not isinstance(content, list):
        raise TypeError("no list")
    for value in content:
        _normalise(value)
    return content


_RULES: dict[str, Any] = {
    "N": _number, "B": _binary, "M": _map, "L": _list, "SS": sorted,
    "NS": lambda content: sorted(map(_number, content)), "BS": lambda content: sorted(map(_binary, content)),
}  # fmt: skip


def _added(value: Any) -> int:
    """The bytes by which a value grows when its binary is encoded once more."""
    if not isinstance(value, dict) or len(value) != 1:
        return 0
    ((kind, content),) = value.items()
    if kind == "B" and isinstance(content, str):
        return (len(content) + 2) // 3 * 4 - len(content)
    if kind == "BS" and isinstance(content, list):
        return sum(_added({"B": one}) for one in content)
    if kind == "L" and isinstance(content, list):
        return sum(map(_added, content))
    return sum(map(_added, content.values())) if kind == "M" and isinstance(content, dict) else 0
