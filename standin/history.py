"""A DynamoDB table's history of writes: what its streams are made from.

Items and images are DynamoDB JSON, as the low-level API takes and gives them: ``{"pk": {"S": "a"}, "n": {"N":
"1.5"}}``, binary as base64 text, encoded once. Instants are integers, microseconds since 1970 in UTC.

Numbers keep the text they were written with (DynamoDB itself trims their zeros), so that a test can put two
spellings of one number before its reader; as keys and when compared, ``1.0`` is ``1``.
"""

import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias

AttributeValue: TypeAlias = dict[str, Any]
"""One typed value, such as ``{"S": "a"}``."""

Item: TypeAlias = dict[str, AttributeValue]
"""Attribute names to values; also an image, and the key attributes alone."""

Op: TypeAlias = Literal["INSERT", "MODIFY", "REMOVE"]

CanonicalKey: TypeAlias = tuple[tuple[str, str], ...]
"""A primary key made hashable: (type, canonical text) of the hash key, then of the range key."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write to a table: a put of ``item``, or a delete where it is None (by TTL where ``ttl``)."""

    at_us: int
    item: Item | None
    key: Item
    ttl: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What one write did to one item. ``ordinal`` counts the changes of its table from 0."""

    table: str
    ordinal: int
    at_us: int
    op: Op
    key: CanonicalKey
    keys: Item
    old: Item | None
    new: Item | None
    ttl: bool
    event_id: str


class Table:
    """A DynamoDB table with its whole history, in memory.

    ``items`` is the table now, by canonical key (see ``key_of``); ``changes`` is how it came about, in the
    order of the writes. Both are read, never changed, by callers. ``seed`` makes the event ids.
    """

    def __init__(
        self,
        name: str,
        hash_key: tuple[str, str] = ("pk", "S"),
        range_key: tuple[str, str] | None = ("sk", "S"),
        *,
        seed: int | str = 0,
    ) -> None:
        self.name = name
        self.key_schema = (hash_key,) if range_key is None else (hash_key, range_key)
        for attribute, kind in self.key_schema:
            if kind not in ("S", "N", "B"):
                raise ValueError(f"table {name}: key {attribute} has type {kind!r}; a key is S, N or B")
        self.seed = seed
        self.items: dict[CanonicalKey, Item] = {}
        self.changes: list[Change] = []
        self._last_write_us: dict[CanonicalKey, int] = {}

    def put(self, item: Item, at_us: int) -> Change | None:
        """Write the whole item; None if the table holds an equal one, for then DynamoDB emits nothing.

        The item is copied. Raises ValueError for an item DynamoDB would refuse and for a write into the past.
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
        """
        key = self.key_of(item)
        old = self.items.get(key)
        new = _copied(item, old or {})
        self._advance(key, at_us)
        if old is not None and same_item(old, new):
            return None
        self.items[key] = new
        return self._emit("INSERT" if old is None else "MODIFY", key, old, new, at_us)

    def check(self, item: Item) -> None:
        """Raise the ValueError that ``put`` would, and change nothing."""
        self.key_of(item)
        _copied(item, {})

    def delete(self, key: Item, at_us: int, ttl: bool = False) -> Change | None:
        """Delete an item by its key attributes, or by a whole item; None if there is no such item."""
        canonical = self.key_of(key)
        self._advance(canonical, at_us)
        old = self.items.pop(canonical, None)
        return None if old is None else self._emit("REMOVE", canonical, old, None, at_us, ttl)

    def apply(self, writes: Iterable[Write]) -> "Table":
        """Make the writes, in the order given; returns the table itself."""
        for write in writes:
            if write.item is None:
                self.delete(write.key, write.at_us, write.ttl)
            else:
                self.put(write.item, write.at_us)
        return self

    def key_of(self, item: Item) -> CanonicalKey:
        """The canonical key of an item, or of its key attributes alone."""
        keys = {}
        for name, kind in self.key_schema:
            value = item.get(name)
            if not isinstance(value, dict) or value.keys() != {kind}:
                raise ValueError(f"table {self.name}: key {name} must be {kind}, got {value!r}")
            if value[kind] == "":
                raise ValueError(f"table {self.name}: key {name} is empty; a key must not be")
            keys[name] = _checked(value, name)
        return canonical_key(keys)

    def get(self, key: Item) -> Item | None:
        """The item now, None if there is none."""
        return self.items.get(self.key_of(key))

    def items_as_of(self, at_us: int) -> dict[CanonicalKey, Item]:
        """The table as it was at an instant, the writes of that very microsecond included."""
        items: dict[CanonicalKey, Item] = {}
        for change in self.changes:
            if change.at_us > at_us:
                continue
            if change.new is None:
                del items[change.key]
            else:
                items[change.key] = change.new
        return items

    def _advance(self, key: CanonicalKey, at_us: int) -> None:
        last_us = self._last_write_us.get(key, at_us)
        if at_us < last_us:
            raise ValueError(
                f"table {self.name}: write to {key} at {at_us} us, but its last was at {last_us} us; "
                "write an item's history in order (disorder on the way is a fault: see Faults)"
            )
        self._last_write_us[key] = at_us

    def _emit(
        self, op: Op, key: CanonicalKey, old: Item | None, new: Item | None, at_us: int, ttl: bool = False
    ) -> Change:
        ordinal = len(self.changes)
        event_id = uuid_text(f"{self.seed}/{self.name}/{ordinal}")
        image = new or old or {}
        keys = {name: image[name] for name, _ in self.key_schema}
        change = Change(self.name, ordinal, at_us, op, key, keys, old, new, ttl, event_id)
        self.changes.append(change)
        return change


def uuid_text(name: str) -> str:
    """A UUID (version 4 in form) that follows from the name alone."""
    text = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def canonical_key(keys: Mapping[str, AttributeValue]) -> CanonicalKey:
    """A hashable form of key attributes, given in the order hash key, range key; 1.0 is 1, and -0 is 0."""
    parts = []
    for value in keys.values():
        [(kind, text)] = value.items()
        parts.append((kind, canonical_number(text) if kind == "N" else text))
    return tuple(parts)


def canonical_number(text: str) -> str:
    """One text for all spellings of a number, exact at any number of digits: digits, ``E``, exponent."""
    sign, digits, exponent = Decimal(text).as_tuple()
    significand = "".join(map(str, digits)).lstrip("0")
    trimmed = significand.rstrip("0")
    if not trimmed:
        return "0E0"
    return f"{'-' if sign else ''}{trimmed}E{int(exponent) + len(significand) - len(trimmed)}"


def same_item(left: Item, right: Item) -> bool:
    """Whether DynamoDB holds two items for equal: no order in maps and sets, 1.0 is 1."""
    return left == right or (
        left.keys() == right.keys() and all(_same_value(value, right[name]) for name, value in left.items())
    )


def _same_value(left: AttributeValue, right: AttributeValue) -> bool:
    if left == right:
        return True
    [(kind, a)], [(other_kind, b)] = left.items(), right.items()
    if kind != other_kind:
        return False
    match kind:
        case "N":
            return Decimal(a) == Decimal(b)
        case "NS":
            return set(map(Decimal, a)) == set(map(Decimal, b))
        case "SS" | "BS":
            return set(a) == set(b)
        case "L":
            return len(a) == len(b) and all(map(_same_value, a, b))
        case "M":
            return same_item(a, b)
    return False


def _copied(item: Item, present: Item) -> Item:
    """A checked copy that shares the values it has in common with the present item, as histories are long."""
    copied = {}
    for name, value in item.items():
        held = present.get(name)
        copied[name] = held if held is not None and held == value else _checked(value, name)
    return copied


def _checked(value: AttributeValue, path: str) -> AttributeValue:
    """A deep copy of a typed value; ValueError where DynamoDB would refuse it."""
    try:
        [(kind, content)] = value.items()
        return {kind: _COPIERS[kind](content, path)}
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation, binascii.Error) as error:
        if isinstance(error, ValueError) and str(error).startswith("attribute "):
            raise
        raise ValueError(f"attribute {path}: {value!r} is no DynamoDB JSON value") from error


def _text(content: Any, path: str) -> str:
    if type(content) is not str:
        raise TypeError
    return content


def _number(content: Any, path: str) -> str:
    if not Decimal(_text(content, path)).is_finite():
        raise ValueError
    return str(content)


def _binary(content: Any, path: str) -> str:
    binascii.a2b_base64(_text(content, path), strict_mode=True)
    return str(content)


def _bool(content: Any, path: str) -> bool:
    if type(content) is not bool:
        raise TypeError
    return content


def _null(content: Any, path: str) -> bool:
    if content is not True:
        raise TypeError
    return True


def _set_of(copier: Callable[[Any, str], str]) -> Callable[[Any, str], list[str]]:
    def copy(content: Any, path: str) -> list[str]:
        members = [copier(member, path) for member in content]
        distinct = set(map(Decimal, members)) if copier is _number else set(members)
        if not members or len(distinct) < len(members):
            raise ValueError
        return members

    return copy


def _list(content: Any, path: str) -> list[AttributeValue]:
    return [_checked(value, f"{path}[{index}]") for index, value in enumerate(content)]


def _map(content: Any, path: str) -> Item:
    return {name: _checked(value, f"{path}.{name}") for name, value in content.items()}


# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
_COPIERS: dict[str, Callable[[Any, str], Any]] = {
    "S": _text,
    "N": _number,
    "B": _binary,
    "BOOL": _bool,
    "NULL": _null,
    "SS": _set_of(_text),
    "NS": _set_of(_number),
    "BS": _set_of(_binary),
    "L": _list,
    "M": _map,
}
