"""What `verify` found, as a lake remembers it: one small object a run, never changed, of which the latest tells.

`verified_through` is carried on from run to run: a run that finds a difference takes nothing back of what was proven.
"""

from __future__ import annotations

import uuid

import msgspec

from lake import layout
from lake.errors import LakeError
from lake.lake import Lake
from lake.store import list_objects, put_new, read

ITEMS_KEPT_MAX = 1_000  # of those that were not proven


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `verified_through_us` (DynamoDB's time, UTC microseconds) is the greatest that any run has proven.

    `counts` has each kind of difference, `items` the first that were not proven, by key, with their kind. `sample` is
    the share of the items that was looked at, where it was not all. `table_id` tells the table from one made anew.
    """

    at_us: int
    verified_through_us: int | None
    items_in_table: int
    differing: int
    unproven: int
    counts: dict[str, int] = {}
    items: dict[str, str] = {}
    sample: float | None = None
    table_id: str = ""


def keep_proof(lake: Lake, table: str, proof: Proof) -> None:
    """Raises LakeError where the lake cannot be written to."""
    place = lake.place(layout.proof(table, proof.at_us, uuid.uuid4().hex[:8]))
    try:
        put_new(place, msgspec.json.encode(proof))
    except OSError as fault:
        raise LakeError("keep the result of verify", place, got=str(fault),
                        remedy="Give the role that verifies the right to write there") from fault  # fmt: skip


def last_proof(lake: Lake, table: str) -> Proof | None:
    """The latest run's; None where there was none. Raises LakeError."""
    names = [one.uri for one in list_objects(lake.place(layout.proof_folder(table)), may_be_missing=True)]
    place = max((name for name in names if name.endswith(".json")), default=None)
    if place is None:
        return None
    try:
        return msgspec.json.decode(read(place) or b"", type=Proof)
    except (OSError, msgspec.DecodeError) as fault:
        raise LakeError("read the result of verify", place, expected="what verify has written", got=str(fault),
                        remedy="Move it away") from fault  # fmt: skip
