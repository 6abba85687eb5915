"""SQL that turns lossless images into typed columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

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


PATHS_MAX = 200  # attributes looked at in one pass


def seen_attributes(
    con: DuckDBPyConnection, source: str, present: Sequence[Column] = (), image: str = "_item"
) -> list[Seen]:
    """What the images of `source` (SQL) hold: a row for each attribute and kind.

    Names are counted by shape: items of one sort share theirs. The kind of each is guessed, from its column or
    from an example, and all guesses are counted in one pass; only where a count falls short of the name's
    are the values looked at one by one.
    """
    shapes = con.execute(
        f"""SELECT json_keys({image}) AS names, count(*) AS items, any_value({image}) AS example
        FROM {source} GROUP BY names"""
    ).fetchall()
    counts: Counter[str] = Counter()
    guesses: dict[str, str] = {}
    for names, items, example in shapes:
        values = msgspec.json.decode(example)
        for name in names:
            counts[name] += items
            guesses.setdefault(name, next(iter(values[name]), "") if isinstance(values[name], dict) else "")
    guesses |= {column.attribute: column.kind for column in present if column.attribute in counts}
    seen: list[Seen] = []
    names = sorted(counts)
    for start in range(0, len(names), PATHS_MAX):
        part = names[start : start + PATHS_MAX]
        found = _guessed(con, source, image, [(name, guesses[name]) for name in part])
        short = {one.attribute: counts[one.attribute] - one.count for one in found if one.count < counts[one.attribute]}
        nulls = _guessed(con, source, image, [(name, "NULL") for name in short]) if short else []
        seen += [one for one in (*found, *nulls) if one.count]
        for one in nulls:
            if one.count < short[one.attribute]:
                seen += _looked_at(con, source, image, one.attribute, {guesses[one.attribute], "NULL"})
    return seen


def _guessed(con: DuckDBPyConnection, source: str, image: str, guesses: Sequence[tuple[str, str]]) -> list[Seen]:
    """How many images have each attribute with the guessed kind, and the digits of its numbers."""
    texts, measures = [], []
    for n, (_, kind) in enumerate(guesses, start=1):
        texts.append(f"{_digits_source(kind, f'_v[{n}]')} AS _t{n}")
        measures += [f"count(_t{n})", *_digits_seen(kind, f"_t{n}")]
    fields = paths([pointer(name, kind) for name, kind in guesses])
    row = con.execute(
        f"""SELECT {", ".join(measures)} FROM (SELECT {", ".join(texts)}
        FROM (SELECT json_extract_string({image}, {fields}) AS _v FROM {source}))"""
    ).fetchone()
    assert row is not None
    return [
        Seen(name, kind, row[3 * n], row[3 * n + 1] or 0, row[3 * n + 2] or 0) for n, (name, kind) in enumerate(guesses)
    ]


def _looked_at(con: DuckDBPyConnection, source: str, image: str, attribute: str, known: Collection[str]) -> list[Seen]:
    """The further kinds under an attribute, with their digits."""
    kinds = con.execute(
        f"""SELECT DISTINCT split_part(value, '"', 2) FROM (
          SELECT json_extract({image}, {literal(pointer(attribute))})::VARCHAR AS value FROM {source})
        WHERE value IS NOT NULL"""
    ).fetchall()
    others = [(attribute, kind) for (kind,) in kinds if kind not in known]
    return _guessed(con, source, image, others) if others else []


def _digits_source(kind: str, text: str) -> str:
    """SQL for a value as far as its digits go: a number without exponent, a set of them as a list."""
    plain = "CASE WHEN contains({0}, 'E') OR contains({0}, 'e') THEN number({0}) ELSE {0} END"
    if kind == "N":
        return plain.format(text)
    if kind == "NS":
        return f"""list_transform(TRY(from_json({text}, '["VARCHAR"]')), lambda e: {plain.format("e")})"""
    return text


def _digits_seen(kind: str, number: str) -> tuple[str, str]:
    """SQL for the most digits before and after the point."""
    one = number if kind == "N" else "e"
    whole = f"CASE WHEN contains({one}, 'E') THEN {UNBOUNDED} ELSE length(ltrim(split_part({one}, '.', 1), '+-0')) END"
    scale = f"length(split_part({one}, '.', 2))"
    if kind == "N":
        return f"max({whole})", f"max({scale})"
    if kind == "NS":
        each = "max(list_max(list_transform({}, lambda e: {})))"
        return each.format(number, whole), each.format(number, scale)
    return "0", "0"
