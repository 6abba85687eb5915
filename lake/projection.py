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
    fields = [text_pointer(c) for c in columns]
    texts = [f"_v[{n}] AS _v{n}" for n, _ in enumerate(columns, start=1)]
    values = [f"{typed(c, f'_v{n}')} AS {identifier(c.name)}" for n, c in enumerate(columns, start=1)]
    watched = [column for column in columns if column.attribute in rescue]
    inner = f"SELECT *, json_extract_string({image}, {paths(fields)}) AS _v"
    if watched:
        inner += f", json_extract({image}, {paths([pointer(c.attribute) for c in watched])}) AS _w"
    # Each text once, in a level of its own: list access is what costs.
    inner = f"SELECT * EXCLUDE (_v), {', '.join(texts)} FROM ({inner} FROM {source})"
    drop = ", ".join(f"_v{n}" for n, _ in enumerate(columns, start=1))
    middle = f"SELECT * EXCLUDE ({drop}), {', '.join(values)} FROM ({inner})"
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


def text_pointer(column: Column) -> str:
    """Where in an image the text of a value of the column is: of M and L with the tag."""
    return pointer(column.attribute) if column.kind in _NESTED else pointer(column.attribute, column.kind)


def typed(column: Column, text: str) -> str:
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
    misfit = f"list_contains(list_transform({strings}, lambda e: {element} IS NULL), true)"
    return f"CASE WHEN NOT {misfit} THEN list_sort({values}) END"


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


SEEN_MAX = 10_000  # attributes and kinds told of, the most frequent ones
SAMPLE_ITEMS = 1_000
PATHS_MAX = 200  # attributes and kinds counted in one pass


def seen_attributes(con: DuckDBPyConnection, source: str, image: str = "_item") -> list[Seen]:
    """What the images of `source` (SQL) hold: a row for each attribute and kind, with the most digits of its numbers.

    What some of the images hold is counted in all of them; only where that is not everything, which their number
    of attributes tells, is every value looked at.
    """
    sample = _kinds(con, f"(SELECT {image} FROM {source} LIMIT {SAMPLE_ITEMS})", image)
    seen = _counted(con, source, image, list(sample)[:PATHS_MAX])
    held = con.execute(f"SELECT sum(len(json_keys({image}))) FROM {source}").fetchone()
    if held and sum(one.count for one in seen) == (held[0] or 0):
        return seen
    kinds = _kinds(con, source, image)
    names = list(kinds)
    parts = [names[start : start + PATHS_MAX] for start in range(0, len(names), PATHS_MAX)]
    seen = [one for part in parts for one in _counted(con, source, image, part)]
    for one in seen:
        kinds[one.attribute, one.kind] -= one.count
    # What is left says a kind, or none, and is no value of it.
    return seen + [Seen(attribute, "", count) for (attribute, _), count in kinds.items() if count > 0]


def _kinds(con: DuckDBPyConnection, source: str, image: str) -> dict[tuple[str, str], int]:
    """How often each attribute comes with each kind in the images, the most frequent first."""
    entries = f"unnest(map_entries(from_json({image}, '\"MAP(VARCHAR, VARCHAR)\"')))"
    rows = con.execute(
        f"""SELECT entry.key AS attribute, coalesce(split_part(left(entry.value, 6), '"', 2), '') AS kind, count(*)
        FROM (SELECT {entries} AS entry FROM {source})
        GROUP BY ALL ORDER BY count(*) DESC, attribute, kind LIMIT {SEEN_MAX}"""
    ).fetchall()
    return {(attribute, kind): count for attribute, kind, count in rows}


def _counted(con: DuckDBPyConnection, source: str, image: str, kinds: Sequence[tuple[str, str]]) -> list[Seen]:
    """How many images have each attribute with this kind, and the most digits of its numbers."""
    if not kinds:
        return []
    texts = ", ".join(f"{_told(kind, f'_v[{n}]')} AS _t{n}" for n, (_, kind) in enumerate(kinds, start=1))
    measures = ", ".join(f"count(_t{n}), {_digits_seen(kind, f'_t{n}')}" for n, (_, kind) in enumerate(kinds, start=1))
    fields = paths([pointer(attribute, kind) for attribute, kind in kinds])
    row = con.execute(
        f"""SELECT {measures} FROM (SELECT {texts}
        FROM (SELECT json_extract_string({image}, {fields}) AS _v FROM {source}))"""
    ).fetchone()
    assert row is not None
    seen = [
        Seen(attribute, kind, row[3 * n], row[3 * n + 1] or 0, row[3 * n + 2] or 0)
        for n, (attribute, kind) in enumerate(kinds)
    ]
    return [one for one in seen if one.count]


def _told(kind: str, text: str) -> str:
    """SQL for a value as far as it is told of: its digits where it has some; NULL where it is none of its kind."""
    strings = f"""TRY(from_json({text}, '["VARCHAR"]'))"""
    if kind == "N":
        return f"number({text})"
    if kind == "NS":
        numbers = f"list_transform({strings}, lambda e: number(e))"
        return f"CASE WHEN NOT list_contains(list_transform({numbers}, lambda e: e IS NULL), true) THEN {numbers} END"
    if kind in ("SS", "BS"):
        return strings
    if kind in ("M", "L"):
        return f"CASE WHEN starts_with({text}, '{'{' if kind == 'M' else '['}') THEN {text} END"
    return {"B": f"TRY(from_base64({text}))", "BOOL": f"CASE WHEN {text} IN ('true', 'false') THEN {text} END"}.get(
        kind, text
    )


def _digits_seen(kind: str, number: str) -> str:
    """SQL for the most digits before and after the point."""
    if kind not in ("N", "NS"):
        return "0, 0"
    one = number if kind == "N" else "e"
    whole = f"""CASE WHEN contains({one}, 'E') THEN {UNBOUNDED}
      ELSE length(ltrim(split_part({one}, '.', 1), '-0')) END"""
    scale = f"length(split_part({one}, '.', 2))"
    if kind == "N":
        return f"max({whole}), max({scale})"
    return ", ".join(f"max(list_max(list_transform({number}, lambda e: {measure})))" for measure in (whole, scale))
