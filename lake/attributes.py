"""DynamoDB attribute values: exact numbers, binary, canonical images, plain JSON.

An *image* is an item in DynamoDB's own JSON (`{"price": {"N": "1.50"}}`). Everything here keeps numbers
as text: no float and no 28-digit decimal context ever touches them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

KINDS = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
Image = dict[str, Any]

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,6}))?")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# Only in values, never inside a string: there every quote is escaped (see DECISIONS.md, 7).
_BINARY = re.compile(r'"B":"([^"\\]*)"|"BS":\[([^\]]*)\]')


def canonical_number(text: str) -> str:
    """The one text of a number: `1.50`, `15e-1` and `1.5` are `1.5`; `-0` is `0`.

    Plain digits where no more than 38 of them are needed, else `d.dddE±x`. Raises ValueError for what is
    no number. `number()` in SQL is this function, but for what it sees to be canonical already.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError(f"no number: {text[:60]!r}")
    fraction = match[3] or ""
    digits = (match[2] + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    sign = "-" if match[1] == "-" else ""
    exponent = int(match[4] or 0) - len(fraction) + len(digits) - len(significant)
    length = len(significant)
    if exponent >= 0 and length + exponent <= 38:
        return sign + significant + "0" * exponent
    if exponent < 0 and -exponent < length:
        return f"{sign}{significant[:exponent]}.{significant[exponent:]}"
    if exponent < 0 and -exponent <= 38:
        return f"{sign}0.{'0' * (-exponent - length)}{significant}"
    mantissa = significant[0] + ("." + significant[1:] if length > 1 else "")
    return f"{sign}{mantissa}E{exponent + length - 1:+d}"


def decode_base64(text: str) -> bytes:
    """Bytes of standard base64; ValueError where it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ValueError(f"no base64: {text[:40]!r}") from fault


def _once(text: str) -> str:
    inner = decode_base64(text)
    decode_base64(inner.decode("ascii"))
    return inner.decode("ascii")


def encode_binary_once(image_json: str) -> str:
    """A KDS image with its binary values base64-encoded once, as Scan, export and Streams give them.

    Kinesis Data Streams for DynamoDB encodes B and BS twice. Takes and gives compact JSON text; raises
    ValueError (UnicodeDecodeError is one) where a value is not base64 of base64.
    """

    def unwrap(match: re.Match[str]) -> str:
        if match[2] is None:
            return f'"B":"{_once(match[1])}"'
        values: list[str] = msgspec.json.decode(f"[{match[2]}]")
        return '"BS":[' + ",".join(f'"{_once(value)}"' for value in values) + "]"

    return _BINARY.sub(unwrap, image_json)


def canonical_value(value: Any) -> Any:
    """An attribute value such that equal values, and only those, compare equal: sets sorted, numbers canonical."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, content),) = value.items()
    try:
        if kind == "N":
            content = canonical_number(content)
        elif kind == "NS":
            content = sorted(canonical_number(number) for number in content)
        elif kind in ("SS", "BS"):
            content = sorted(content)
        elif kind == "L":
            content = [canonical_value(element) for element in content]
        elif kind == "M":
            content = canonical_image(content)
    except (TypeError, ValueError, AttributeError):
        pass  # not DynamoDB's JSON: compared as it stands
    return {kind: content}


def canonical_text(value_json: str) -> str:
    """`canonical_value` from JSON text to JSON text."""
    return msgspec.json.encode(canonical_value(msgspec.json.decode(value_json))).decode()


def shown_value(value_json: str) -> str:
    """A value as people read it: the text of S, N and B, plain JSON of the rest; one text for equal values."""
    value = canonical_value(msgspec.json.decode(value_json))
    ((kind, content),) = value.items()
    return str(content) if kind in ("S", "N", "B") else msgspec.json.encode(plain_value(value)).decode()


def changed_attributes(before_json: str, after_json: str) -> list[str]:
    """The names of the attributes whose values differ between two images given as JSON text, sorted."""
    before, after = msgspec.json.decode(before_json), msgspec.json.decode(after_json)
    names = sorted(before.keys() | after.keys())
    return [name for name in names if canonical_value(before.get(name)) != canonical_value(after.get(name))]


def canonical_image(image: Image) -> Image:
    """An image with every value canonical and its attributes sorted by name."""
    return {name: canonical_value(image[name]) for name in sorted(image)}


def image_text(image: Image | None) -> str | None:
    """The canonical text of an image; None (the item does not exist) stays None."""
    return None if image is None else msgspec.json.encode(canonical_image(image)).decode()


def plain_value(value: Any) -> Any:
    """DynamoDB's JSON without its type tags: `{"M": {"a": {"N": "1.0"}}}` is `{"a": 1.0}`, digits kept."""
    ((kind, content),) = value.items()
    if kind == "M":
        return {name: plain_value(inner) for name, inner in content.items()}
    if kind == "L":
        return [plain_value(inner) for inner in content]
    if kind == "N":
        return _json_number(content)
    if kind == "NS":
        return [_json_number(number) for number in content]
    return None if kind == "NULL" else content


def _json_number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text if _JSON_NUMBER.fullmatch(text) else canonical_number(text))


def plain_json(text: str) -> str:
    """`plain_value` from JSON text to JSON text."""
    return msgspec.json.encode(plain_value(msgspec.json.decode(text))).decode()
