"""What of a lake can be named in a query: the views and macros of its tables, what each is and how it is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dynalake.statements import Token
from lake.config import TableConfig

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_WHAT = {
    "": "the items, as of now",
    "_changes": "every change",
    "_ledger": "the raw objects that were taken in",
    "_as_of": "the items as they were at an instant",
    "_history": "all changes of one item, in order",
    "_transitions": "the values that an attribute took, from and to, and for how long",
    "_diff": "what differs between two instants",
}
_ARGUMENTS = {"_as_of": ("ts",), "_transitions": ("attribute",), "_diff": ("t1", "t2")}


@dataclass(frozen=True, slots=True)
class Relation:
    """A view, or a macro with its arguments."""

    name: str
    what: str
    table: str = ""
    suffix: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def call(self) -> str:
        """As it is written in a query: `orders`, `orders_history(pk, sk)`."""
        return f"{self.name}({', '.join(self.arguments)})" if self.arguments else self.name


def relations_of(names: Collection[str], tables: Mapping[str, TableConfig]) -> list[Relation]:
    """The relations of these names, those of a table together; what is of no table is the user's own."""
    found = [_relation(name, tables) for name in names]
    order = list(_WHAT)
    return sorted(
        found, key=lambda r: (not r.table, r.table, order.index(r.suffix) if r.suffix in order else len(order), r.name)
    )


def _relation(name: str, tables: Mapping[str, TableConfig]) -> Relation:
    owners = [table for table in tables if name == table or name.startswith(f"{table}_")]
    for owner in sorted(owners, key=len, reverse=True):
        suffix = name.removeprefix(owner)
        if suffix in _WHAT:
            keys = tuple(attribute.name for attribute in tables[owner].keys.attributes)
            arguments = keys if suffix == "_history" else _ARGUMENTS.get(suffix, ())
            return Relation(name, _WHAT[suffix], owner, suffix, arguments)
    if owners:
        owner = max(owners, key=len)
        return Relation(name, f"the items of the entity {name.removeprefix(f'{owner}_')}", owner, name[len(owner) :])
    return Relation(name, "made in this session")


def quoted(name: str, reserved: Collection[str] = ()) -> str:
    """A name as SQL takes it, in quotes only where it needs them."""
    if _PLAIN.fullmatch(name.lower()) and name.lower() not in reserved:
        return name
    return '"' + name.replace('"', '""') + '"'


def bare(name: str) -> str:
    """A name as it is without its quotes, or as DuckDB finds it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def relations_named(said: Sequence[Token], relations: Iterable[Relation]) -> dict[str, Relation]:
    """The relations that a statement names, by their names and by their aliases."""
    known = {relation.name: relation for relation in relations}
    found: dict[str, Relation] = {}
    for n, token in enumerate(said):
        name = bare(token.text) if token.kind in ("word", "quoted") else ""
        if name not in known or (n and said[n - 1].text == "."):
            continue
        found[name] = known[name]
        alias = _alias(said, n + 1)
        if alias:
            found[alias] = known[name]
    return found


def _alias(said: Sequence[Token], place: int) -> str:
    """The alias that begins at a place behind a table's name: `orders o`, `orders_as_of('…') AS o`."""
    if place < len(said) and said[place].text == "(":
        depth = 0
        while place < len(said):
            depth += {"(": 1, ")": -1}.get(said[place].text, 0)
            place += 1
            if depth == 0:
                break
    if place < len(said) and said[place].text.lower() == "as":
        place += 1
    if place < len(said) and said[place].kind in ("word", "quoted"):
        return bare(said[place].text)
    return ""
