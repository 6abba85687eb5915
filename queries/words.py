"""What engines say each in its own words: values out of images, instants, refusals.

sqlglot turns the rest of a query. These it would turn into what runs and is wrong (Trino rounds a text to a decimal,
Spark takes '1d' for a number, each has its own JSON paths), so they are written down for each engine.
"""

from __future__ import annotations

import re
from typing import Literal

from lake.columns import BIGINT_DIGITS, DECIMAL_DIGITS, Column
from lake.sql import literal, pointer

Dialect = Literal["duckdb", "athena", "spark"]
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_NUMBER = "^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$"
_ODD = re.compile(r"['?*\\\x00-\x1f]")  # names that no path of Spark's may hold, and none of Athena's with certainty
_MATCHES = {"duckdb": "regexp_matches({}, {})", "athena": "regexp_like({}, {})", "spark": "{} RLIKE {}"}
_STARTS = {"duckdb": "starts_with({}, {})", "athena": "starts_with({}, {})", "spark": "startswith({}, {})"}
_UNBASE64 = {"duckdb": "from_base64({})", "athena": "from_base64({})", "spark": "unbase64({})"}
_SORTED = {"duckdb": "list_sort({})", "athena": "array_sort({})", "spark": "array_sort({})"}
_EACH = {
    "duckdb": "list_transform({}, lambda e: {})",
    "athena": "transform({}, e -> {})",
    "spark": "transform({}, e -> {})",
}
_ALL = {
    "duckdb": "len(list_filter({}, lambda e: NOT {})) = 0",
    "athena": "all_match({}, e -> {})",
    "spark": "forall({}, e -> {})",
}
_FAIL = {"duckdb": "error({})", "athena": "fail({})", "spark": "raise_error({})"}
_TEXT = {"duckdb": "VARCHAR", "athena": "VARCHAR", "spark": "STRING"}
_MICROSECONDS = {
    "duckdb": "epoch_us({})",
    "athena": "CAST(round(to_unixtime({}) * 1000000) AS BIGINT)",  # a double holds microseconds until the year 2242
    "spark": "unix_micros(CAST({} AS TIMESTAMP))",
}
_TIMESTAMP = {"duckdb": "TIMESTAMP", "athena": "TIMESTAMP(6)", "spark": "TIMESTAMP_NTZ"}


def quoted(text: str, dialect: Dialect) -> str:
    """A string literal."""
    if dialect == "athena":
        return literal(text)
    if dialect == "duckdb":  # on one line, for scripts go by lines
        return f"({literal(text)})".replace("\n", "' || chr(10) || '") if "\n" in text else literal(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\u0000")
    return "'" + escaped.replace("\n", "\\n").replace("\r", "\\r") + "'"


def starts_with(text: str, prefix: str, dialect: Dialect) -> str:
    return _STARTS[dialect].format(text, prefix)


def attribute_value(image: str, attribute: str, dialect: Dialect) -> str:
    """The JSON text of an attribute's value, with its tag: `{"N":"1"}`."""
    if dialect == "duckdb":
        return f"json_extract_string({image}, {quoted(pointer(attribute), dialect)})"
    if _ODD.search(attribute):
        return any_value(image, quoted(attribute, dialect), dialect)
    if dialect == "athena":
        return f"json_format(json_extract({image}, {_path(dialect, attribute)}))"
    return f"get_json_object({image}, {_path(dialect, attribute)})"


def any_value(image: str, attribute: str, dialect: Dialect) -> str:
    """The same where `attribute` is SQL for a name, whichever."""
    if dialect == "duckdb":
        place = f"'/' || replace(replace({attribute}, '~', '~0'), '/', '~1')"
        return f"CAST(json_extract({image}, {place}) AS VARCHAR)"
    if dialect == "athena":
        return f"json_format(element_at(CAST(json_parse({image}) AS MAP(VARCHAR, JSON)), {attribute}))"
    return f"from_json({image}, 'map<string,string>')[{attribute}]"


def shown_value(value: str, dialect: Dialect) -> str:
    """A value, given as JSON text with its tag, as people read it: the text of S, N and B; else as it is."""
    one = {"duckdb": "json_extract_string({}, '/{}')", "athena": "json_extract_scalar({}, '$.{}')",
           "spark": "get_json_object({}, '$.{}')"}[dialect]  # fmt: skip
    return f"coalesce({', '.join(one.format(value, kind) for kind in 'SNB')}, {value})"


def typed_value(column: Column, image: str, dialect: Dialect) -> str:
    """A value of the column; NULL where the image has none that fits its type."""
    if column.kind in ("M", "L"):
        value = attribute_value(image, column.attribute, dialect)
        tag = quoted(f'{{"{column.kind}":', dialect)
        return f"CASE WHEN {_STARTS[dialect].format(value, tag)} THEN {value} END"
    if column.element_kind is None:
        return _scalar(column.kind, column, text_value(image, column.attribute, column.kind, dialect), dialect)
    strings = _strings(column, image, dialect)
    if column.element_kind == "S":
        return _SORTED[dialect].format(strings)
    element = _scalar(column.element_kind, column, "e", dialect)
    fits = _ALL[dialect].format(strings, _fits(column.element_kind, column, "e", dialect))
    return f"CASE WHEN {fits} THEN {_SORTED[dialect].format(_EACH[dialect].format(strings, element))} END"


def microseconds(moment: str, dialect: Dialect) -> str:
    return _MICROSECONDS[dialect].format(moment)


def text(given: str, dialect: Dialect) -> str:
    return f"CAST({given} AS {_TEXT[dialect]})"


def timestamp(given: str, dialect: Dialect) -> str:
    """An instant in UTC, to the microsecond. Spark's sessions have to be in UTC."""
    return f"CAST({given} AS {_TIMESTAMP[dialect]})"


def from_base64(text: str, dialect: Dialect) -> str:
    return _UNBASE64[dialect].format(text)


def refusal(reason: str, dialect: Dialect) -> str:
    """What fails with the reason, when it is evaluated."""
    return f"CAST({_FAIL[dialect].format(quoted(reason, dialect))} AS {_TEXT[dialect]})"


def _path(dialect: Dialect, *names: str) -> str:
    if dialect == "athena":
        steps = ["[" + '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' + "]" for name in names]
    else:
        steps = [f"['{name}']" for name in names]
    return quoted("$" + "".join(steps), dialect)


def text_value(image: str, name: str, kind: str, dialect: Dialect) -> str:
    """The text under an attribute and its kind."""
    if dialect == "duckdb":
        return f"json_extract_string({image}, {quoted(pointer(name, kind), dialect)})"
    call = {"athena": "json_extract_scalar", "spark": "get_json_object"}[dialect]
    if _ODD.search(name):
        value = any_value(image, quoted(name, dialect), dialect)
        return f"{call}({value}, '$.{kind}')"
    return f"{call}({image}, {_path(dialect, name, kind)})"


def _strings(column: Column, image: str, dialect: Dialect) -> str:
    """The elements of a set as a list of texts."""
    if dialect == "duckdb":
        return f"""TRY(from_json({text_value(image, column.attribute, column.kind, dialect)}, '["VARCHAR"]'))"""
    if dialect == "spark":
        return f"from_json({text_value(image, column.attribute, column.kind, dialect)}, 'array<string>')"
    if _ODD.search(column.attribute):
        image = any_value(image, quoted(column.attribute, dialect), dialect)
        return f"TRY_CAST(json_extract({image}, '$.{column.kind}') AS ARRAY(VARCHAR))"
    return f"TRY_CAST(json_extract({image}, {_path(dialect, column.attribute, column.kind)}) AS ARRAY(VARCHAR))"


def _fits(kind: str, column: Column, text: str, dialect: Dialect) -> str:
    """Whether a cast of the text is exact: the digits that a decimal would drop are zeros."""
    pattern = _BASE64
    if kind == "N" and column.scalar_type == "DOUBLE":
        pattern = _NUMBER
    elif kind == "N":
        whole = BIGINT_DIGITS if column.scalar_type == "BIGINT" else DECIMAL_DIGITS - column.scale
        digits = f"[0-9]{{1,{whole}}}" if whole else ""
        fraction = f"[0-9]{{0,{column.scale}}}" if column.scale else ""
        pattern = f"^-?0*{digits}([.]{fraction}0*)?$"
    return _MATCHES[dialect].format(text, quoted(pattern, dialect))


def _scalar(kind: str, column: Column, text: str, dialect: Dialect) -> str:
    if kind == "S":
        return text
    if kind == "BOOL":
        return f"CASE {text} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
    if kind == "B":
        value = from_base64(text, dialect)
    elif column.scalar_type == "BIGINT":
        value = f"TRY_CAST(TRY_CAST({text} AS DECIMAL({DECIMAL_DIGITS},0)) AS BIGINT)"
    else:
        value = f"TRY_CAST({text} AS {column.scalar_type})"
    return f"CASE WHEN {_fits(kind, column, text, dialect)} THEN {value} END"
