"""`dynalake dead-letters`: a look at what could not be taken in."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from dynalake.console import AsJson, print_json, print_rows

if TYPE_CHECKING:
    from lake.dead_letters import DeadLetter

NAME = "dead-letters"
EXAMPLE = "dynalake dead-letters --limit 5"
RAW_SHOWN = 80


def run(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many to show, at most.", min=0)] = 20,
    as_json: AsJson = False,
) -> None:
    """List dead letters: the reason, the place, the bytes; and how many there are of each reason."""
    from dataclasses import asdict

    from lake.dead_letters import read_dead_letters
    from lake.lake import open_lake

    lake = open_lake(context.obj.uri)
    reasons: Counter[tuple[str, str]] = Counter()
    shown: list[DeadLetter] = []
    for letter in read_dead_letters(lake.dead_letters):
        reasons[letter.table or "", letter.reason] += 1
        if len(shown) < limit:
            shown.append(letter)
    if as_json:
        print_json([{**asdict(one), "raw": _shown(one)} for one in shown])
        return
    print_rows(["table", "reason", "dead letters"], [(*key, n) for key, n in sorted(reasons.items())])
    for one in shown:
        print(f"{one.id}  {one.place}\n  {one.reason}: {one.detail}\n  {_shown(one)[:RAW_SHOWN]!r}")


def _shown(letter: DeadLetter) -> str:
    """Its bytes as text; those that are sealed in base64."""
    return base64.b64encode(letter.raw).decode() if letter.is_sealed else letter.raw.decode(errors="replace")
