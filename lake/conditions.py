"""A small language of conditions on an item's top-level attributes, in DynamoDB's way. Pure.

`sk begins_with 'ORDER#' and total exists`. `matches` says what a condition means; `lake.entities.condition_sql` is the
same in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from lake.attributes import Image, canonical_number
from lake.errors import ConfigError
from lake.sql import identifier

TEXT_MAX = 10_000
DEPTH_MAX = 50  # of parentheses and nots
_KEYWORDS = {"and", "or", "not", "in", "exists", "begins_with", "true", "false",
             "attribute_exists", "attribute_not_exists"}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")+")|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><>|[=(),]))""",
    re.VERBOSE,
)
_PLAIN_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = "=, <>, in (…), begins_with, exists"


@dataclass(frozen=True, slots=True)
class Value:
    """A literal: a string (S), a number (N, canonical) or a boolean (BOOL)."""

    kind: str
    text: str

    def __str__(self) -> str:
        return "'" + self.text.replace("'", "''") + "'" if self.kind == "S" else self.text


@dataclass(frozen=True, slots=True)
class BeginsWith:
    """The attribute is a string that begins so."""

    attribute: str
    prefix: str

    def matches(self, image: Image) -> bool:
        found = _value_of(image, self.attribute)
        return found is not None and found.kind == "S" and found.text.startswith(self.prefix)

    def __str__(self) -> str:
        return f"{_name_text(self.attribute)} begins_with {Value('S', self.prefix)}"


@dataclass(frozen=True, slots=True)
class In:
    """The attribute is one of these values, of its very kind; `=` is this with one."""

    attribute: str
    values: tuple[Value, ...]

    def matches(self, image: Image) -> bool:
        return _value_of(image, self.attribute) in self.values

    def __str__(self) -> str:
        name = _name_text(self.attribute)
        return f"{name} = {self.values[0]}" if len(self.values) == 1 else f"{name} in {_list_text(self.values)}"


@dataclass(frozen=True, slots=True)
class Exists:
    """The item has the attribute, be it of kind NULL."""

    attribute: str

    def matches(self, image: Image) -> bool:
        return self.attribute in image

    def __str__(self) -> str:
        return f"{_name_text(self.attribute)} exists"


@dataclass(frozen=True, slots=True)
class Not:
    """The other does not hold; so `<>` holds of an item without the attribute too, as in DynamoDB."""

    one: Condition

    def matches(self, image: Image) -> bool:
        return not self.one.matches(image)

    def __str__(self) -> str:
        match self.one:
            case In(name, (value,)):
                return f"{_name_text(name)} <> {value}"
            case In(name, values):
                return f"{_name_text(name)} not in {_list_text(values)}"
            case Exists(name):
                return f"{_name_text(name)} not exists"
            case BeginsWith(name, prefix):
                return f"{_name_text(name)} not begins_with {Value('S', prefix)}"
        return f"not {_part_text(self.one)}"


@dataclass(frozen=True, slots=True)
class And:
    """All of them hold."""

    parts: tuple[Condition, ...]

    def matches(self, image: Image) -> bool:
        return all(part.matches(image) for part in self.parts)

    def __str__(self) -> str:
        return " and ".join(map(_part_text, self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds."""

    parts: tuple[Condition, ...]

    def matches(self, image: Image) -> bool:
        return any(part.matches(image) for part in self.parts)

    def __str__(self) -> str:
        return " or ".join(f"({part})" if isinstance(part, Or) else str(part) for part in self.parts)


Atom = BeginsWith | In | Exists
Condition = Atom | Not | And | Or


def said(condition: Condition, atom: Callable[[Atom], str]) -> str:
    """SQL for a condition, given what is said of its atoms: what is NULL there counts as not so."""
    match condition:
        case Not(one):
            return f"NOT coalesce({said(one, atom)}, FALSE)"
        case And(parts):
            return "(" + " AND ".join(said(part, atom) for part in parts) + ")"
        case Or(parts):
            return "(" + " OR ".join(said(part, atom) for part in parts) + ")"
        case _:
            return atom(condition)


def atoms(condition: Condition) -> Iterator[Atom]:
    match condition:
        case Not(one):
            yield from atoms(one)
        case And(parts) | Or(parts):
            for part in parts:
                yield from atoms(part)
        case atom:
            yield atom


def _value_of(image: Image, attribute: str) -> Value | None:
    """The attribute's value, where it is of a kind that literals have."""
    found = image.get(attribute)
    if not isinstance(found, dict) or len(found) != 1:
        return None
    ((kind, content),) = found.items()
    if kind == "S":
        return Value("S", content)
    if kind == "BOOL":
        return Value("BOOL", "true" if content else "false")
    return Value("N", canonical_number(content)) if kind == "N" else None


def _name_text(name: str) -> str:
    is_plain = _PLAIN_NAME.fullmatch(name) and name.lower() not in _KEYWORDS
    return name if is_plain else identifier(name)


def _list_text(values: Sequence[Value]) -> str:
    return f"({', '.join(map(str, values))})"


def _part_text(condition: Condition) -> str:
    return f"({condition})" if isinstance(condition, And | Or) else str(condition)


def parse_condition(text: str, place: str) -> Condition:
    """Raises ConfigError, which says what is wrong and where in the text."""
    return _Parser(text, place).parsed()


class _Parser:
    """A condition by recursive descent: `or` binds weakest, then `and`, then `not`."""

    def __init__(self, text: str, place: str) -> None:
        self.text, self.place = text, place
        self.tokens: list[tuple[str, str, int]] = []  # kind, text, where it begins
        self.at, self.depth = 0, 0

    def parsed(self) -> Condition:
        if len(self.text) > TEXT_MAX:
            raise ConfigError(
                "read", f"{self.place}, where", expected=f"up to {TEXT_MAX:,} characters", got=f"{len(self.text):,}"
            )
        self._read_tokens()
        condition = self._any_of()
        if self._kind != "end":
            self._refuse("and, or, or its end")
        return condition

    def _read_tokens(self) -> None:
        position, end = 0, len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                self.tokens.append(("odd", self.text[start : start + 20], start))
                break  # told of once it is reached
            kind = str(match.lastgroup)
            word, start = match[kind], match.start(kind)
            if kind == "name" and word.lower() in _KEYWORDS:
                kind, word = "word", word.lower()
            self.tokens.append((kind, word, start))
            position = match.end()
        self.tokens.append(("end", "its end", end))

    @property
    def _kind(self) -> str:
        return self.tokens[self.at][0]

    def _take(self, *words: str) -> str | None:
        kind, text, _ = self.tokens[self.at]
        if kind not in ("word", "sign") or text not in words:
            return None
        self.at += 1
        return text

    def _require(self, word: str) -> None:
        if self._take(word) is None:
            self._refuse(repr(word))

    def _refuse(self, expected: str) -> NoReturn:
        kind, text, start = self.tokens[self.at]
        got = text if kind == "end" else f"{text!r} at character {start + 1}"
        remedy = ""
        if kind == "word":
            remedy = f'An attribute of this name is written "{text}"'
        elif kind == "odd" and text[0] == ".":
            remedy = "Only top-level attributes can be asked for; a name with a dot in it is written in double quotes"
        elif kind == "odd" and text[0] in "'\"":
            remedy = "The quote is not closed"
        elif kind == "odd" and text[:1] in "<>!":
            remedy = f"There are {_OPERATORS}"
        raise ConfigError("read", f"{self.place}, where {self.text[:200]!r}", expected=expected, got=got, remedy=remedy)

    def _any_of(self) -> Condition:
        return self._joined("or", Or, lambda: self._joined("and", And, self._one))

    def _joined(
        self, word: str, join: Callable[[tuple[Condition, ...]], Condition], part: Callable[[], Condition]
    ) -> Condition:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else join(tuple(parts))

    def _one(self) -> Condition:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self._refuse(f"parentheses and nots up to {DEPTH_MAX} deep")
        try:
            if self._take("not"):
                return Not(self._one())
            if self._take("("):
                inner = self._any_of()
                self._require(")")
                return inner
            return self._function() or self._test()
        finally:
            self.depth -= 1

    def _function(self) -> Condition | None:
        word = self._take("begins_with", "attribute_exists", "attribute_not_exists", "exists")
        if word is None:
            return None
        if self.tokens[self.at][:2] != ("sign", "("):
            self.at -= 1
            self._refuse("an attribute's name, or ( behind it")
        self._require("(")
        name = self._name()
        found: Condition = Exists(name)
        if word == "begins_with":
            self._require(",")
            found = BeginsWith(name, self._string())
        self._require(")")
        return Not(found) if word == "attribute_not_exists" else found

    def _test(self) -> Condition:
        name = self._name()
        if self._take("="):
            return In(name, (self._value(),))
        if self._take("<>"):
            return Not(In(name, (self._value(),)))
        is_not = self._take("not") is not None
        found: Condition
        if self._take("begins_with"):
            found = BeginsWith(name, self._string())
        elif self._take("exists"):
            found = Exists(name)
        elif self._take("in"):
            self._require("(")
            values = [self._value()]
            while self._take(","):
                values.append(self._value())
            self._require(")")
            found = In(name, tuple(values))
        else:
            self._refuse(f"one of {_OPERATORS}")
        return Not(found) if is_not else found

    def _name(self) -> str:
        kind, text, _ = self.tokens[self.at]
        if kind not in ("name", "quoted"):
            self._refuse("an attribute's name")
        self.at += 1
        return text if kind == "name" else text[1:-1].replace('""', '"')

    def _string(self) -> str:
        if self._kind != "text":
            self._refuse("a text in single quotes")
        return self._value().text

    def _value(self) -> Value:
        kind, text, _ = self.tokens[self.at]
        if word := self._take("true", "false"):
            return Value("BOOL", word)
        if kind == "number":
            self.at += 1
            try:
                return Value("N", canonical_number(text))
            except ValueError:
                self.at -= 1
        if kind != "text":
            self._refuse("a text in single quotes, a number, true or false")
        self.at += 1
        return Value("S", text[1:-1].replace("''", "'"))
