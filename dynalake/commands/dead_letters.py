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
REDRIVEN = " (redriven)"


def run(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many to show, at most.", min=0)] = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also those that were redriven.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters that are open: the reason, the place, the bytes; and how many there are of each reason."""
    from dataclasses import asdict

    from lake.dead_letters import read_dead_letters
    from lake.lake import open_lake
    from lake.redrives import redriven_ids

    lake = open_lake(context.obj.uri)
    done = redriven_ids(lake)
    reasons: Counter[tuple[str, str]] = Counter()
    shown: list[tuple[DeadLetter, bool]] = []
    for letter in read_dead_letters(lake.dead_letters):
        is_redriven = letter.redrive_id in done
        if is_redriven and not everything:
            continue
        reasons[letter.table or "", letter.reason + (REDRIVEN if is_redriven else "")] += 1
        if len(shown) < limit:
            shown.append((letter, is_redriven))
    if as_json:
        print_json([{**asdict(one), "raw": _shown(one), "is_redriven": mark} for one, mark in shown])
        return
    print_rows(["table", "reason", "dead letters"], [(*key, n) for key, n in sorted(reasons.items())])
    for one, is_redriven in shown:
        print(f"{one.id}{REDRIVEN if is_redriven else ''}  {one.place}")
        print(f"  {one.reason}: {one.detail}\n  {_shown(one)[:RAW_SHOWN]!r}")


def _shown(letter: DeadLetter) -> str:
    """Its bytes as text; those that are sealed in base64."""
    return base64.b64encode(letter.raw).decode() if letter.is_sealed else letter.raw.decode(errors="replace")
