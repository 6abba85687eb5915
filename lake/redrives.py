"""What was redriven: records that are written once, behind what they tell of, and never changed.

A record names dead letters, failed batches and error objects by their ids. It saves work and tells people: should
one be lost, what it tells of is redriven again, and the log knows the changes by their event ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from lake import layout
from lake.dead_letters import Ids, read_dead_letters
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.store import list_objects, put_new, read


class _Record(msgspec.Struct):
    ids: list[str]


_RECORD = msgspec.json.Decoder(_Record)


def write_redrive(lake: Lake, ids: Collection[str], told: Mapping[str, Any]) -> bool:
    """Records that these were redriven; False where that is known. `told` says when, where to and how many.

    The name follows from the ids: of two at once one record stands.
    """
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:32]
    return put_new(lake.place(layout.redrive_record(digest)), json.dumps({**told, "ids": list(ids)}).encode())


def redriven_ids(lake: Lake) -> Ids:
    """All that was redriven. Raises LakeError."""
    found = Ids()
    place = lake.place(layout.REDRIVES) + "/"
    try:
        for one in list_objects(place, may_be_missing=True):
            data = read(one.uri)
            if data is not None:
                found.update(_RECORD.decode(data).ids)
    except (msgspec.DecodeError, OSError) as fault:
        raise LakeError("read records of redrives", place, expected="records that are whole", got=str(fault),
                        remedy="Move a damaged one away: what it tells of is redriven again, which is harmless"
                        ) from fault  # fmt: skip
    except ConfigError as fault:
        raise LakeError("read records of redrives", place, expected="a place that may be read", got=fault.got,
                        remedy=fault.remedy) from fault  # fmt: skip
    return found


def count_open(lake: Lake, table: str | None, done: Ids) -> int:
    """How many dead letters of a table, by its name in the lake, or of no table, were not redriven."""
    letters = read_dead_letters(lake.place(layout.dead_letter_folder(table)))
    return sum(1 for letter in letters if letter.redrive_id not in done)
