"""What `verify` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proof.columns import AttributeDifference

Kind = Literal["state damaged", "column damaged", "missing in the lake", "extra in the lake", "differs", "unproven"]
# What is told of an item of which several are true: the first.
KINDS: tuple[Kind, ...] = (
    "state damaged", "missing in the lake", "extra in the lake", "differs", "unproven", "column damaged",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """An item that is not proven to be the same in the table and the lake, and where the two part."""

    item_key: str
    kind: Kind
    attributes: tuple[AttributeDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The table against the lake. `compared` = `equal` + `proven` + `differing` + `unproven`.

    `equal` are the items that were the same at once, `proven` those that were in their history or read again.
    `verified_through` is DynamoDB's time before which nothing is missing in the lake; None where something
    differs or is unproven. `counts` has every kind of difference that there is; `differences` only the first.
    """

    table: str
    items_in_table: int
    items_in_lake: int
    compared: int
    equal: int
    proven: int
    differing: int
    unproven: int
    waited_seconds: int
    verified_through: str | None
    counts: dict[Kind, int]
    differences: tuple[Difference, ...]

    @property
    def is_proven(self) -> bool:
        return self.differing == 0 and self.unproven == 0
