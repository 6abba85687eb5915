"""Entities of a single-table design: what a table's items are, told apart by conditions; and these in SQL. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lake.columns import BIGINT_DIGITS, DECIMAL_DIGITS, Column
from lake.conditions import Atom, BeginsWith, Condition, Exists, In, Value, atoms, parse_condition, said
from lake.errors import ConfigError
from lake.keys import KeySchema
from lake.layout import SUFFIXES
from lake.sql import identifier, literal, pointer

NAME_MAX = 50
_PATH_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")  # one that a JSON path takes as it is


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
    if name in SUFFIXES:
        raise ConfigError(
            "read", place, expected=f"a name other than {', '.join(SUFFIXES)}", got=name,
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


def condition_sql(condition: Condition, columns: Sequence[Column]) -> str:
    """SQL that is true of the rows of a current state whose items match; NULL or false of the others.

    A column holds every value of its kind; one of another kind, or of an attribute without a column, is in `_item`.
    """
    by_attribute = {column.attribute: column for column in columns}
    return said(condition, lambda atom: _atom_sql(atom, by_attribute))


def _atom_sql(atom: Atom, columns: Mapping[str, Column]) -> str:
    match atom:
        case BeginsWith(attribute, prefix):
            return f"starts_with({_string_sql(attribute, columns)}, {literal(prefix)})"
        case In(attribute, values):
            texts = [literal(value.text) for value in values if value.kind == "S"]
            tests = [f"{_string_sql(attribute, columns)} IN ({', '.join(texts)})"] if texts else []
            tests += [_equal_sql(attribute, value, columns) for value in values if value.kind != "S"]
            return tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"
        case Exists(attribute):
            inside = f"json_extract(_item, {_place(attribute)}) IS NOT NULL"
            column = columns.get(attribute)
            return f"({identifier(column.name)} IS NOT NULL OR {inside})" if column else inside


def _string_sql(attribute: str, columns: Mapping[str, Column]) -> str:
    column = columns.get(attribute)
    return identifier(column.name) if column is not None and column.kind == "S" else _inside_sql(attribute, "S")


def _inside_sql(attribute: str, kind: str) -> str:
    return f"json_extract_string(_item, {_place(attribute, kind)})"


def _place(*names: str) -> str:
    """SQL for a place in an image: a path, which other engines know too, or a pointer, which takes any name."""
    return literal(".".join(["$", *names]) if all(map(_PATH_NAME.fullmatch, names)) else pointer(*names))


def _equal_sql(attribute: str, value: Value, columns: Mapping[str, Column]) -> str:
    column = columns.get(attribute)
    is_typed = column is not None and column.kind == value.kind
    if value.kind == "BOOL":
        if column is not None and is_typed:
            return f"{identifier(column.name)} = {value.text}"
        return f"{_inside_sql(attribute, 'BOOL')} = {literal(value.text)}"
    if column is not None and is_typed and is_held(value.text, column):
        return f"{identifier(column.name)} = CAST({literal(value.text)} AS {column.sql_type})"
    return f"number({_inside_sql(attribute, 'N')}) = {literal(value.text)}"


def is_held(number: str, column: Column) -> bool:
    """Whether the column holds every value that equals the number, and exactly."""
    if column.sql_type == "DOUBLE" or "E" in number:
        return False
    whole, _, fraction = number.lstrip("-").partition(".")
    most = BIGINT_DIGITS if column.sql_type == "BIGINT" else DECIMAL_DIGITS - column.scale
    return len(whole) <= most and len(fraction) <= column.scale
