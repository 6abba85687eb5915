"""SQL that more than one stage needs: quoting, JSON pointers, keys, and the macros that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lake.keys import KeyAttribute, KeySchema

# The twins of `lake.attributes.canonical_number`: NULL where the text is no number.
_CANONICAL = r"0|-?[1-9][0-9]{0,37}|-?[1-9][0-9]*\.[0-9]{0,37}[1-9]|-?0\.[0-9]{0,37}[1-9]"
_NUMBER = r"([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]{1,6}))?"
_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
MACROS = (
    """CREATE OR REPLACE MACRO number_text(sign, digits, exponent) AS CASE
        WHEN digits = '' THEN '0'
        WHEN exponent >= 0 AND length(digits) + exponent <= 38 THEN sign || digits || repeat('0', exponent)
        WHEN exponent < 0 AND -exponent < length(digits)
            THEN sign || left(digits, length(digits) + exponent) || '.' || right(digits, -exponent)
        WHEN exponent < 0 AND -exponent <= 38
            THEN sign || '0.' || repeat('0', -exponent - length(digits)) || digits
        ELSE sign || left(digits, 1) || CASE WHEN length(digits) > 1 THEN '.' || digits[2:] ELSE '' END
            || 'E' || CASE WHEN exponent + length(digits) - 1 < 0 THEN '' ELSE '+' END
            || (exponent + length(digits) - 1)
    END""",
    """CREATE OR REPLACE MACRO number_parts(p) AS number_text(
        CASE WHEN p.sign = '-' THEN '-' ELSE '' END,
        rtrim(ltrim(p.whole || p.fraction, '0'), '0'),
        coalesce(TRY_CAST(p.exponent AS INTEGER), 0) - length(p.fraction)
            + length(ltrim(p.whole || p.fraction, '0'))
            - length(rtrim(ltrim(p.whole || p.fraction, '0'), '0')))""",
    f"""CREATE OR REPLACE MACRO number(t) AS CASE
        WHEN t IS NULL THEN NULL
        WHEN regexp_full_match(t, '{_CANONICAL}') THEN t
        WHEN NOT regexp_full_match(t, '{_NUMBER}') OR NOT regexp_matches(t, '^[+-]?\\.?[0-9]') THEN NULL
        ELSE number_parts(regexp_extract(t, '^{_NUMBER}$', ['sign', 'whole', 'fraction', 'exponent']))
    END""",
    r"CREATE OR REPLACE MACRO key_head(t) AS replace(replace(t, '\', '\\'), '|', '\|') || '|'",
)


def literal(text: object) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL name."""
    return '"' + name.replace('"', '""') + '"'


def paths(values: list[str]) -> str:
    """A SQL list of strings."""
    return "[" + ", ".join(map(literal, values)) + "]"


def parquet_sql(files: Sequence[str], extra: str = "") -> str:
    """SQL for the rows of these files; there must be one at least."""
    return f"read_parquet({paths(list(files))}, hive_partitioning = false{extra})"


def empty_rows(columns: Mapping[str, str]) -> str:
    """SQL for no rows with these columns and types."""
    return (
        "SELECT " + ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in columns.items()) + " WHERE false"
    )


def pointer(*names: str) -> str:
    """A JSON pointer: unlike a JSON path it can name any attribute."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)


def key_part_sql(attribute: KeyAttribute, text: str) -> str:
    """SQL for the canonical text of one key value given as DynamoDB's text; NULL where it is none."""
    if attribute.kind == "N":
        return f"number({text})"
    if attribute.kind == "B":
        # from_base64 is too kind: it takes 'AA=A'.
        return f"CASE WHEN {text} <> '' AND regexp_full_match({text}, '{_BASE64}') THEN {text} END"
    return f"nullif({text}, '')"


def item_key_sql(keys: KeySchema, parts: list[str]) -> str:
    """SQL for the item key, given SQL for its canonical parts: `KeySchema.item_key` in SQL."""
    return parts[0] if len(parts) == 1 else f"key_head({parts[0]}) || {parts[1]}"
