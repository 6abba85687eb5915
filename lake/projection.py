"""SQL that turns lossless images into typed columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lake.columns import BIGINT_DIGITS, DECIMAL_DIGITS, UNBOUNDED, Column, Seen
from lake.sql import identifier, literal, paths, pointer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NESTED = ("M", "L")


def projected(source: str, columns: Sequence[Column], rescue: Collection[str], image: str = "_item") -> str:
    """SQL for the rows of `source` with `columns` and `_rescued` beside its own.

    `rescue` names the attributes whose values may not fit their column; others are not looked at twice.
    """
    fields = [pointer(c.attribute) if c.kind in _NESTED else pointer(c.attribute, c.kind) for c in columns]
    texts = [f"_v[{n}] AS _v{n}" for n, _ in enumerate(columns, start=1)]
    typed = [f"{_typed(c, f'_v{n}')} AS {identifier(c.name)}" for n, c in enumerate(columns, start=1)]
    watched = [column for column in columns if column.attribute in rescue]
    inner = f"SELECT *, json_extract_string({image}, {paths(fields)}) AS _v"
    if watched:
        inner += f", json_extract({image}, {paths([pointer(c.attribute) for c in watched])}) AS _w"
    # Each text once, in a level of its own: list access is what costs.
    inner = f"SELECT * EXCLUDE (_v), {', '.join(texts)} FROM ({inner} FROM {source})"
    drop = ", ".join(f"_v{n}" for n, _ in enumerate(columns, start=1))
    middle = f"SELECT * EXCLUDE ({drop}), {', '.join(typed)} FROM ({inner})"
    if not watched:
        return f"SELECT *, NULL::VARCHAR AS _rescued FROM ({middle})"
    odd = [
        f"""CASE WHEN {identifier(c.name)} IS NULL AND _w[{n}] IS NOT NULL
          AND NOT starts_with(_w[{n}]::VARCHAR, '{{"NULL":') AND _w[{n}]::VARCHAR <> 'null'
          THEN {literal(json.dumps(c.attribute, ensure_ascii=False) + ":")} || _w[{n}]::VARCHAR END"""
        for n, c in enumerate(watched, start=1)
    ]
    text = f"concat_ws(',', {', '.join(odd)})"
    return f"""SELECT * EXCLUDE (_w, _odd), CASE WHEN _odd <> '' THEN '{{' || _odd || '}}' END AS _rescued
      FROM (SELECT *, {text} AS _odd FROM ({middle}))"""


def _typed(column: Column, text: str) -> str:
    """SQL for a value of the column from its text; NULL where the text is none of its type."""
    if column.kind in _NESTED:
        return f"CASE WHEN starts_with({text}, '{{\"{column.kind}\":') THEN plain_json({text}) END"
    if column.element_kind is None:
        return _scalar(column.kind, column, text)
    element = _scalar(column.element_kind, column, "e")
    strings = f"TRY(from_json({text}, '[\"VARCHAR\"]'))"
    if column.element_kind == "S":
        return f"list_sort({strings})"
    values = f"list_transform({strings}, lambda e: {element})"
    return f"CASE WHEN NOT list_contains(list_transform({strings}, lambda e: {element} IS NULL), true) THEN list_sort({values}) END"


def _scalar(kind: str, column: Column, text: str) -> str:
    if kind == "S":
        return text
    if kind == "B":
        return f"TRY(from_base64({text}))"
    if kind == "BOOL":
        return f"CASE {text} WHEN 'true' THEN true WHEN 'false' THEN false END"
    kind = column.scalar_type
    if kind == "DOUBLE":
        return f"TRY_CAST({text} AS DOUBLE)"
    # Only what fits is cast: TRY_CAST of '1.5' to BIGINT is 2, and rounds at a decimal's last digit.
    whole = BIGINT_DIGITS if kind == "BIGINT" else DECIMAL_DIGITS - column.scale
    fits = _digits(whole, column.scale)
    cases = [f"WHEN {text} IS NULL THEN NULL"]
    if kind != "BIGINT" and column.scale < BIGINT_DIGITS:  # in 64 bits a cast is some fifty times as fast
        short = f"DECIMAL({BIGINT_DIGITS},{column.scale})"
        digits = _digits(BIGINT_DIGITS - column.scale, column.scale)
        cases.append(f"WHEN regexp_full_match({text}, '{digits}') THEN TRY_CAST({text} AS {short})::{kind}")
    cases.append(f"WHEN regexp_full_match({text}, '{fits}') THEN TRY_CAST({text} AS {kind})")
    other = f"nullif(regexp_extract(number({text}), '^{fits}$'), '')"
    return f"CASE {' '.join(cases)} ELSE TRY_CAST({other} AS {kind}) END"


def _digits(whole: int, scale: int) -> str:
    """A pattern for numbers with at most so many digits before and after the point."""
    return f"-?[0-9]{{1,{max(whole, 1)}}}" + (f"([.][0-9]{{1,{scale}}})?" if scale else "")


def seen_attributes(con: DuckDBPyConnection, source: str, image: str = "_item") -> list[Seen]:
    """What the images of `source` (SQL) hold: a row for each attribute and kind.

    Items of one sort share their names and kinds: grouped by these first, few rows are left to take apart.
    """
    kinds = con.execute(
        f"""WITH shapes AS (
          SELECT json_keys({image}) AS names,
            list_transform(json_extract({image}, '$.*'), lambda v: split_part(v::VARCHAR, '"', 2)) AS kinds,
            count(*) AS items
          FROM {source} GROUP BY ALL)
        SELECT name, kind, sum(items)::BIGINT
        FROM (SELECT unnest(names) AS name, unnest(kinds) AS kind, items FROM shapes) GROUP BY name, kind"""
    ).fetchall()
    numeric = [(name, kind) for name, kind, _ in kinds if kind in ("N", "NS")]
    widths: dict[tuple[str, str], tuple[int, int]] = {}
    for start in range(0, len(numeric), 100):
        widths |= _widths(con, source, image, numeric[start : start + 100])
    return [Seen(name, kind, count, *widths.get((name, kind), (0, 0))) for name, kind, count in kinds]


def _widths(
    con: DuckDBPyConnection, source: str, image: str, numeric: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """The most digits before and after the point of each numeric attribute."""
    texts, measures = [], []
    for n, (_, kind) in enumerate(numeric, start=1):
        text = f"_v[{n}]"
        numbers = f"[number({text})]" if kind == "N" else f"""list_transform(
          TRY(from_json({text}, '["VARCHAR"]')), lambda e: number(e))"""
        texts.append(f"{numbers} AS _n{n}")
        measures += [
            f"""max(list_max(list_transform(_n{n}, lambda e: CASE WHEN contains(e, 'E') THEN {UNBOUNDED}
              ELSE length(ltrim(split_part(e, '.', 1), '-0')) END)))""",
            f"max(list_max(list_transform(_n{n}, lambda e: length(split_part(e, '.', 2)))))",
        ]
    fields = paths([pointer(name, kind) for name, kind in numeric])
    row = con.execute(
        f"""SELECT {", ".join(measures)} FROM (SELECT {", ".join(texts)}
        FROM (SELECT json_extract_string({image}, {fields}) AS _v FROM {source}))"""
    ).fetchone()
    assert row is not None
    return {key: (row[2 * n] or 0, row[2 * n + 1] or 0) for n, key in enumerate(numeric)}
