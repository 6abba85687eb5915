"""Conditions of entities in the words of engines that have none of our functions. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lake.columns import ITEM, Column
from lake.conditions import Atom, BeginsWith, Condition, Exists, In, Value, said
from lake.entities import is_held
from lake.sql import identifier
from queries.words import Dialect, attribute_value, quoted, starts_with, text_value


class Unsaid(Exception):
    """The engine has no words for the condition."""


def condition_words(condition: Condition, columns: Sequence[Column], dialect: Dialect) -> str | None:
    """SQL that is true of the rows that match, as `lake.entities.condition_sql` is; None where it cannot be said.

    That is so of a number that no column holds: to compare it takes our `number()`.
    """
    by_attribute = {column.attribute: column for column in columns}
    try:
        return said(condition, lambda atom: _atom(atom, by_attribute, dialect))
    except Unsaid:
        return None


def name_words(name: str, dialect: Dialect) -> str:
    """A quoted name."""
    return "`" + name.replace("`", "``") + "`" if dialect == "spark" else identifier(name)


def _atom(atom: Atom, columns: Mapping[str, Column], dialect: Dialect) -> str:
    match atom:
        case BeginsWith(attribute, prefix):
            return starts_with(_string(attribute, columns, dialect), quoted(prefix, dialect), dialect)
        case In(attribute, values):
            texts = [quoted(value.text, dialect) for value in values if value.kind == "S"]
            tests = [f"{_string(attribute, columns, dialect)} IN ({', '.join(texts)})"] if texts else []
            tests += [_equal(attribute, value, columns, dialect) for value in values if value.kind != "S"]
            return f"({' OR '.join(tests)})"
        case Exists(attribute):
            inside = f"{attribute_value(ITEM, attribute, dialect)} IS NOT NULL"
            column = columns.get(attribute)
            return f"({name_words(column.name, dialect)} IS NOT NULL OR {inside})" if column else inside


def _string(attribute: str, columns: Mapping[str, Column], dialect: Dialect) -> str:
    column = columns.get(attribute)
    if column is not None and column.kind == "S":
        return name_words(column.name, dialect)
    return text_value(ITEM, attribute, "S", dialect)


def _equal(attribute: str, value: Value, columns: Mapping[str, Column], dialect: Dialect) -> str:
    column = columns.get(attribute)
    typed = column if column is not None and column.kind == value.kind else None
    if value.kind == "BOOL":
        if typed is not None:
            return f"{name_words(typed.name, dialect)} = {value.text.upper()}"
        return f"{text_value(ITEM, attribute, 'BOOL', dialect)} = {quoted(value.text, dialect)}"
    if typed is None or not is_held(value.text, typed):
        raise Unsaid
    return f"{name_words(typed.name, dialect)} = CAST({quoted(value.text, dialect)} AS {typed.sql_type})"
