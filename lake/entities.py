"""Entities of a single-table design: what a table's items are, told apart by conditions. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lake.conditions import BeginsWith, Condition, In, atoms, parse_condition
from lake.errors import ConfigError
from lake.keys import KeySchema

NAME_MAX = 50
# What stands behind a table's name in views of other meanings.
RESERVED = ("changes", "as_of", "history", "transitions", "diff", "ledger", "tail")


@dataclass(frozen=True, slots=True)
class Entity:
    """A view of the items that match. `attributes` are its columns; None: those that its items have."""

    name: str
    where: Condition
    attributes: tuple[str, ...] | None = None

    def view(self, table: str) -> str:
        return f"{table}_{self.name}"


def parse_entities(section: Any, keys: KeySchema, place: str) -> tuple[Entity, ...]:
    """The entities of a table from its `entities` section. Raises ConfigError."""
    if not isinstance(section, Mapping):
        raise ConfigError("read", place, expected="[….entities.NAME] sections", got=repr(section))
    return tuple(_entity(name, one, keys, f"{place}, entity {name!r}") for name, one in section.items())


def _entity(name: str, section: Any, keys: KeySchema, place: str) -> Entity:
    if not re.fullmatch(f"[a-z_][a-z0-9_]{{0,{NAME_MAX - 1}}}", name):
        raise ConfigError(
            "read", place, expected=f"a lower-case name of letters, digits and _, up to {NAME_MAX} of them",
            got=repr(name), remedy="It becomes the end of a view's name",
        )  # fmt: skip
    if name in RESERVED:
        raise ConfigError(
            "read", place, expected=f"a name other than {', '.join(RESERVED)}", got=name,
            remedy="A view of this name is there already: rename the entity",
        )  # fmt: skip
    if not isinstance(section, Mapping) or not isinstance(section.get("where"), str):
        raise ConfigError("read", place, expected="""where = "sk begins_with 'ORDER#'" """.strip(), got=repr(section))
    if unknown := sorted(set(section) - {"where", "attributes"}):
        raise ConfigError("read", place, expected="settings attributes, where", got=", ".join(unknown))
    attributes = section.get("attributes")
    if attributes is not None and not (
        isinstance(attributes, list) and attributes and all(isinstance(one, str) and one for one in attributes)
    ):
        raise ConfigError("read", place, expected='attributes = ["id", "total"]', got=repr(attributes))
    where = parse_condition(section["where"], place)
    _require_key_kinds(where, keys, place)
    return Entity(name, where, None if attributes is None else tuple(dict.fromkeys(attributes)))


def _require_key_kinds(where: Condition, keys: KeySchema, place: str) -> None:
    """A key has one kind in all items: to ask it for a value of another is a mistake."""
    kinds = {key.name: key.kind for key in keys.attributes}
    for atom in atoms(where):
        asked = {"S"} if isinstance(atom, BeginsWith) else {v.kind for v in atom.values} if isinstance(atom, In) else ()
        for kind in asked:
            if kinds.get(atom.attribute, kind) != kind:
                raise ConfigError(
                    "read", f"{place}, where {str(where)!r}", got=f"a value of kind {kind}",
                    expected=f"values of kind {kinds[atom.attribute]}, as the key {atom.attribute} is",
                )  # fmt: skip


def entities_text(table: str, entities: Iterable[Entity]) -> str:
    """Their sections, for `lake.toml`."""
    return "".join(_section_text(table, entity) for entity in entities)


def _section_text(table: str, entity: Entity) -> str:
    text = f"\n[tables.{table}.entities.{entity.name}]\nwhere = {_toml_text(str(entity.where))}\n"
    if entity.attributes is not None:
        text += f"attributes = [{', '.join(map(_toml_text, entity.attributes))}]\n"
    return text


def _toml_text(value: str) -> str:
    # A JSON string is a TOML basic string, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
