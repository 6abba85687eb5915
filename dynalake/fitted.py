"""Results on a terminal: as wide as it is, or a line for each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynalake.results import printable

_CELL_MAX = 40  # of a column, where not all fit
_CELL_MIN = 8  # a column is rather left out than narrower
_BORDER = 3  # a column's own share of lines and spaces
_MORE = "…"


def print_fitted(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[bool]) -> int:
    """A table no wider than the terminal: long cells are cut, columns that do not fit are left out and counted."""
    cells = [[printable(value) for value in row] for row in rows]
    heads = [printable(name) for name in names]
    wanted = [max(map(cell_len, (head, *(row[n] for row in cells)))) for n, head in enumerate(heads)]
    widths = fit(wanted, console.width)
    table = Table(header_style="bold")
    for head, width, is_number in zip(heads, widths, numeric, strict=False):
        table.add_column(Text(cut(head, width)), justify="right" if is_number else "left", no_wrap=True)
    left_out = len(heads) - len(widths)
    if left_out:
        table.add_column(Text(_MORE))
    for row in cells:
        shown = [Text(cut(cell, width)) for cell, width in zip(row, widths, strict=False)]
        table.add_row(*shown, *([Text(_MORE)] if left_out else []))
    console.print(table)
    return left_out


def fit(wanted: Sequence[int], width: int) -> list[int]:
    """The widths of the columns that fit, from the left: those wanted, else the widest are cut first."""
    if sum(wanted) + _BORDER * len(wanted) + 1 <= width:
        return list(wanted)
    for cell_max in range(_CELL_MAX, _CELL_MIN - 1, -1):
        capped = [min(one, cell_max) for one in wanted]
        if sum(capped) + _BORDER * len(capped) + 1 <= width:
            return capped
    left, widths = width - 1 - _BORDER - len(_MORE), list[int]()
    for one in wanted:
        capped_one = min(one, _CELL_MAX // 2)
        if capped_one + _BORDER > left:
            break
        widths.append(capped_one)
        left -= capped_one + _BORDER
    return widths or [max(1, min(wanted[0], left - _BORDER))]


def cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + _MORE


def print_expanded(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Every value on a line of its own, and whole."""
    heads = [cut(printable(name), _CELL_MAX) for name in names]
    wide = max(map(cell_len, heads), default=0)
    for number, row in enumerate(rows, 1):
        console.print(Text(f"─[ row {number:,} ]{'─' * 20}"), style="bold")
        for head, value in zip(heads, row, strict=True):
            console.print(Text(f"{set_cell_size(head, wide)} │ {printable(value)}"), soft_wrap=True)
