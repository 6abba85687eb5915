"""SQL that more than one stage needs: quoting, JSON pointers, keys, and the macros that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lake.keys import KeyAttribute, KeySchema

# Numbers as DynamoDB writes them are canonical, and those of other sources may end in zeros; only the rest is worth a
# call into Python. (A macro of the whole rule is bound anew for every column: seconds for some dozens of numbers.)
CANONICAL_NUMBER = r"0|-?[1-9][0-9]{0,37}|-?[1-9][0-9]*\.[0-9]{0,37}[1-9]|-?0\.[0-9]{0,37}[1-9]"
_WITH_ZEROS = r"-?(0|[1-9][0-9]{0,37})\.[0-9]{0,37}"
_BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
MACROS = (
    f"""CREATE OR REPLACE MACRO number(t) AS
        CASE WHEN regexp_full_match(t, '{CANONICAL_NUMBER}') THEN t
        WHEN regexp_full_match(t, '{_WITH_ZEROS}') AND regexp_matches(t, '[1-9]') THEN rtrim(rtrim(t, '0'), '.')
        ELSE canonical_number(t) END""",
    r"CREATE OR REPLACE MACRO key_head(t) AS replace(replace(t, '\', '\\'), '|', '\|') || '|'",
)


def literal(text: object) -> str:
    """A SQL string literal."""
    quoted = "'" + str(text).replace("'", "''") + "'"
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")" if "\0" in quoted else quoted  # SQL ends at a NUL


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


def refusing(rows: str, refusal: str, columns: Mapping[str, str]) -> str:
    """SQL for the same rows, that fails where `refusal` (SQL for a text) does so rather than being NULL.

    Each of the columns, given with its type, hangs on the refusal: what a condition rules out unseen is never run.
    """
    values = ", ".join(f"CAST(_refused AS {kind}) AS {identifier(name)}" for name, kind in columns.items())
    return f"""({rows}) UNION ALL BY NAME
      (SELECT {values} FROM (SELECT {refusal} AS _refused) WHERE _refused IS NOT NULL)"""


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
