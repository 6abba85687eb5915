"""What may come next in a statement: keywords, tables and macros, the columns of the tables that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from dynalake.relations import Relation, bare, quoted, relations_named
from dynalake.statements import Token, tokens_of

_BEFORE_A_TABLE = {"from", "join", "describe", "desc", "summarize", "table"}
_ENDING_TABLES = {"where", "group", "order", "having", "limit", "select", "on", "using", "union", "qualify", "window"}
_FILES = ("\\i ", "\\o ")


class Catalog(Protocol):
    """What there is to be named."""

    @property
    def keywords(self) -> Sequence[str]: ...

    @property
    def reserved(self) -> frozenset[str]: ...

    @property
    def functions(self) -> Sequence[str]: ...

    def try_relations(self) -> Sequence[Relation]: ...

    def columns(self, relation: Relation) -> Sequence[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may stand for the last `length` characters before the cursor."""

    text: str
    length: int
    what: str = ""


def candidates(text: str, cursor: int, catalog: Catalog) -> Iterator[Candidate]:
    """What may stand at the cursor, the likeliest first."""
    before, after = _statement_around(text, cursor)
    if before and _is_inside(before[-1]):
        return
    word = before[-1] if before and before[-1].kind in ("word", "open", "quoted") else None
    typed = word.text if word else ""
    said = [t for t in before if t.kind not in ("space", "comment")]
    said = said[:-1] if word else said
    relations = catalog.try_relations()
    named = relations_named(said + [t for t in after if t.kind not in ("space", "comment")], relations)
    if said and said[-1].text == ".":
        owner = bare(said[-2].text) if len(said) > 1 else ""
        yield from _columns([named[owner]] if owner in named else [], typed, catalog)
    elif _wants_table(said):
        yield from _relations(relations, typed, catalog)
    else:
        unique = {relation.name: relation for relation in named.values()}
        yield from _columns(unique.values(), typed, catalog)
        if typed and not typed.startswith('"'):
            yield from _words(typed, catalog)
            yield from _relations(relations, typed, catalog)


def _is_inside(last: Token) -> bool:
    """Whether what is typed belongs to a text or a comment that has not ended."""
    is_text = last.kind == "open" and not last.text.startswith('"')
    return is_text or (last.kind == "comment" and last.text.startswith("--"))


def _statement_around(text: str, cursor: int) -> tuple[list[Token], list[Token]]:
    """The tokens of the cursor's statement before and after it; a word that it stands in is cut in two."""
    before: list[Token] = []
    for token in tokens_of(text[:cursor]):
        before = [] if token.kind == "end" else [*before, token]
    after: list[Token] = []
    for token in tokens_of(text[cursor:]):
        if token.kind == "end":
            break
        after.append(token)
    return before, after


def _wants_table(said: Sequence[Token]) -> bool:
    if not said:
        return False
    if said[-1].text != ",":
        return said[-1].text.lower() in _BEFORE_A_TABLE
    depth = 0
    for token in reversed(said):
        depth += {")": 1, "(": -1}.get(token.text, 0)
        word = token.text.lower() if depth == 0 else ""
        if depth < 0 or word in _ENDING_TABLES:
            return False
        if word == "from":
            return True
    return False


def _columns(relations: Iterable[Relation], typed: str, catalog: Catalog) -> Iterator[Candidate]:
    told = set()
    for relation in relations:
        for name, kind in catalog.columns(relation):
            if _fits(name, typed) and name not in told:
                told.add(name)
                yield Candidate(quoted(name, catalog.reserved), len(typed), kind)


def _relations(relations: Iterable[Relation], typed: str, catalog: Catalog) -> Iterator[Candidate]:
    for relation in relations:
        if _fits(relation.name, typed):
            name = quoted(relation.name, catalog.reserved)
            yield Candidate(name + ("(" if relation.arguments else ""), len(typed), relation.what)


def _words(typed: str, catalog: Catalog) -> Iterator[Candidate]:
    is_lower = typed.islower()
    for word in catalog.keywords:
        if _fits(word, typed):
            yield Candidate(word if is_lower else word.upper(), len(typed))
    for function in catalog.functions:
        if len(typed) > 1 and _fits(function, typed):
            yield Candidate(f"{function}(", len(typed), "function")


def _fits(name: str, typed: str) -> bool:
    return name.lower().startswith(typed.lstrip('"').lower())


class SqlCompleter(Completer):
    """For the prompt: of SQL, and of the shell's own commands with what they take."""

    def __init__(self, catalog: Catalog, commands: dict[str, str], formats: Sequence[str]) -> None:
        self._catalog, self._commands, self._formats = catalog, commands, formats

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        if text.startswith("\\"):
            yield from self._of_command(text, complete_event)
            return
        for one in candidates(document.text, document.cursor_position, self._catalog):
            yield Completion(one.text, -one.length, display_meta=one.what)

    def _of_command(self, text: str, event: CompleteEvent) -> Iterator[Completion]:
        command, space, typed = text.partition(" ")
        if text.startswith(_FILES):
            yield from PathCompleter(expanduser=True).get_completions(Document(typed), event)
        elif not space:
            for name, what in self._commands.items():
                if name.startswith(command):
                    yield Completion(name, -len(command), display_meta=what)
        else:
            taken = {"\\format": self._formats, "\\as-of": ["now"]}.get(command)
            if command == "\\d":
                taken = [relation.name for relation in self._catalog.try_relations()]
            for word in taken or ():
                if word.startswith(typed):
                    yield Completion(word, -len(typed))
