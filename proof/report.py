"""What `verify` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proof.columns import AttributeDifference

Kind = Literal[
    "state damaged", "log damaged", "missing in the lake", "extra in the lake", "differs", "unproven", "column damaged"
]
# What is told of an item of which several are true: the first.
KINDS: tuple[Kind, ...] = (
    "state damaged", "log damaged", "missing in the lake", "extra in the lake", "differs", "unproven", "column damaged",
)  # fmt: skip
MENDED_BY_READING: tuple[Kind, ...] = (
    "log damaged", "missing in the lake", "extra in the lake", "differs", "unproven",
)  # fmt: skip
MENDED_BY_REFRESH: tuple[Kind, ...] = ("state damaged", "column damaged")


@dataclass(frozen=True, slots=True)
class Difference:
    """An item that is not proven to be the same in the table and the lake, and where the two part.

    `in_tail`: what queries see of it comes of changes that the current state does not cover yet.
    """

    item_key: str
    kind: Kind
    attributes: tuple[AttributeDifference, ...] = ()
    in_tail: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The table against the lake. `compared` = `equal` + `proven` + `differing` + `unproven`.

    `items_in_tail` are those of the lake's items that its current state does not cover yet. `equal` are the items that
    were the same at once, `proven` those that were in their history or read again. `verified_through` is DynamoDB's
    time before which nothing is missing in the lake; None where something differs or is unproven, and where only a
    `sample` (a share of the items) was looked at. `judged_through` is that time in any case. `counts` has every kind
    of difference that there is; `differences` only the first. `table_id` tells the table from one made anew under its
    name.
    """

    table: str
    items_in_table: int
    items_in_lake: int
    items_in_tail: int
    compared: int
    equal: int
    proven: int
    differing: int
    unproven: int
    waited_seconds: int
    verified_through: str | None
    judged_through: str
    counts: dict[Kind, int]
    differences: tuple[Difference, ...]
    sample: float | None = None
    table_id: str = ""

    @property
    def is_proven(self) -> bool:
        return self.differing == 0 and self.unproven == 0
