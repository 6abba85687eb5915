"""SQL text as statements, as far as that is told without parsing it: where each begins, and whether it has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag))
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<open>[eE]?'|"|\$(?:[A-Za-z_]\w*)?\$)
    | (?P<end>;)
    | (?P<word>\w+)
    | (?P<symbol>.)""",
    re.DOTALL | re.VERBOSE,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_SAID_NOTHING = ("space", "comment")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL. Of kind `open` is what begins a text, a quoted name or a comment that does not end."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a script: the how-many-th it is, and the line that it begins on, both from 1."""

    text: str
    number: int = 1
    of: int = 1
    line: int = 1
    source: str = ""

    @property
    def place(self) -> str:
        """`statement 2 of 3, line 4 of report.sql`; nothing of a single query of a line."""
        if self.of == 1 and not self.source:
            return ""
        source = f" of {self.source}" if self.source else ""
        return f"statement {self.number} of {self.of}, line {self.line}{source}"


def tokens_of(text: str) -> Iterator[Token]:
    """Every token, spaces and comments too: together they are the text."""
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match is not None and match.lastgroup is not None
        kind, end = "string" if match.lastgroup == "tag" else match.lastgroup, match.end()
        if kind == "block":
            closed = _end_of_block(text, place)
            kind, end = ("open", len(text)) if closed is None else ("comment", closed)
        elif kind == "open":
            end = len(text)
        yield Token(kind, text[place:end], place)
        place = end


def _end_of_block(text: str, start: int) -> int | None:
    """Where a comment ends, which may hold others."""
    depth = 0
    for edge in _BLOCK_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return None


def saying(text: str) -> list[Token]:
    """The tokens that are neither space nor comment."""
    return [token for token in tokens_of(text) if token.kind not in _SAID_NOTHING]


def split_statements(text: str, source: str = "") -> list[Statement]:
    """The statements of a script, without what is before and after each."""
    found: list[tuple[int, int]] = []
    start = end = None
    for token in saying(text):
        if token.kind != "end":
            start, end = token.start if start is None else start, token.end
        elif start is not None and end is not None:
            found.append((start, end))
            start = None
    if start is not None and end is not None:
        found.append((start, end))
    return [
        Statement(text[start:end], number, len(found), text.count("\n", 0, start) + 1, source)
        for number, (start, end) in enumerate(found, 1)
    ]


def is_complete(text: str) -> bool:
    """Whether a text ends with a semicolon, or says nothing at all: no more lines are to be waited for."""
    said = saying(text)
    return not said or said[-1].kind == "end"
