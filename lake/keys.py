"""Keys of items, and their one canonical text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lake.attributes import canonical_number, decode_base64
from lake.errors import ConfigError

KeyKind = Literal["S", "N", "B"]


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """A key attribute as CreateTable declares it: a name and S, N or B."""

    name: str
    kind: KeyKind

    @classmethod
    def parse(cls, text: str) -> KeyAttribute:
        """`pk:S` (the name may itself hold colons)."""
        name, _, kind = text.rpartition(":")
        if not name or kind not in ("S", "N", "B"):
            raise ConfigError(
                "read key", repr(text), expected="NAME:TYPE with type S, N or B", remedy="For example: pk:S"
            )
        return cls(name, kind)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.name}:{self.kind}"


def canonical_key_part(kind: KeyKind, text: str) -> str:
    """The canonical text of one key value; ValueError where it is none of its kind or is empty."""
    if kind == "N":
        return canonical_number(text)
    if text == "":
        raise ValueError("an empty key value")
    if kind == "B":
        decode_base64(text)
    return text


def can_be_read(names: Sequence[str]) -> bool:
    """Whether a decoder can look for these names alone: msgspec takes none that JSON has to escape."""
    return not any(character < " " or character in '"\\' for name in names for character in name)


@dataclass(frozen=True, slots=True)
class ItemKey:
    """The key of an item by its canonical parts, each DynamoDB's text (B in base64, N canonical).

    `str()` is the one canonical text: a single part stands as it is; of two the first has `\\` and `|` escaped
    by a backslash, then comes `|` and the second. Different keys never share a text, and most can be read.
    """

    parts: tuple[str, ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return self.parts[0]
        return self.parts[0].replace("\\", "\\\\").replace("|", "\\|") + "|" + self.parts[1]


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The primary key of a table."""

    hash_key: KeyAttribute
    range_key: KeyAttribute | None = None

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        return (self.hash_key,) if self.range_key is None else (self.hash_key, self.range_key)

    def item_key(self, *values: str) -> ItemKey:
        """A key given as DynamoDB's texts (B in base64). Raises ValueError."""
        if len(values) != len(self.attributes):
            raise ValueError(f"{len(self.attributes)} key values are needed, not {len(values)}")
        pairs = zip(self.attributes, values, strict=True)
        return ItemKey(tuple(canonical_key_part(attribute.kind, value) for attribute, value in pairs))

    def item_key_of(self, keys: dict[str, Any]) -> ItemKey:
        """The key in a `Keys` object or in an image; ValueError names what is missing or wrong."""
        values = []
        for attribute in self.attributes:
            value = keys.get(attribute.name)
            text = value.get(attribute.kind) if isinstance(value, dict) else None
            if not isinstance(text, str):
                raise ValueError(f"key attribute {attribute} is missing or of another type")
            values.append(text)
        return self.item_key(*values)

    def values_of(self, item_key: str) -> dict[str, dict[str, str]]:
        """The key attributes that an item key's text stands for, as `Keys` has them: `item_key_of` undone."""
        parts = [item_key]
        if self.range_key is not None:
            head, position = "", 0
            while item_key[position] != "|":
                position += item_key[position] == "\\"
                head += item_key[position]
                position += 1
            parts = [head, item_key[position + 1 :]]
        return {attribute.name: {attribute.kind: part} for attribute, part in zip(self.attributes, parts, strict=True)}
