"""Redrives for tests, and what a log and a state hold but for how it came to be there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ingest.capture import CaptureRules, Origin, StreamRecord, plan_landing
from ingest.landing import land
from ingest.redrive import Redrive, RedriveReport
from ingest.redriven import Landings
from lake.attributes import canonical_image
from lake.config import TableConfig
from lake.dead_letters import read_dead_letters
from lake.errors import LakeError
from lake.lake import Lake, open_lake
from lake.redrives import redriven_ids
from lake.secret import open_mask_key
from tests.lakes import NOW_US, only_table, rows

ORIGIN = Origin("orders", "shardId-000000000000")
Json = dict[str, Any]


class Told(list[str]):
    """What a redrive could not take."""

    def __call__(self, fault: LakeError) -> None:
        self.append(str(fault))


def redrive_of(lake: Lake, told: Told | None = None, now_us: int = NOW_US) -> tuple[Redrive, RedriveReport]:
    """A redrive that lands, without waits; its report is filled as it goes on."""
    done, report, notify = redriven_ids(lake), RedriveReport(), told if told is not None else Told()
    redrive = Redrive(lake, done, report, Landings(lake, done, report, notify, now_us), notify, now_us)
    redrive._sleep = lambda seconds: None
    return redrive, report


def redrive(lake: Lake, tables: Sequence[TableConfig] | None = None) -> RedriveReport:
    """Redrives the lake's dead letters, as it is registered now."""
    run, report = redrive_of(open_lake(lake.uri))
    run.letters(tables)
    return report


def from_objects(lake: Lake, uri: object, told: Told | None = None) -> RedriveReport:
    run, report = redrive_of(lake, told)
    run.objects(str(uri))
    return report


def capture(lake: Lake, raws: Sequence[bytes], now_us: int = NOW_US, first: int = 1) -> None:
    """Lands records as the consumer does, in one window."""
    lake = open_lake(lake.uri)
    rules = CaptureRules(lake.config, open_mask_key(lake) if lake.config.has_masks else None)
    records = [StreamRecord(raw, str(10**55 + first + n), 1_700_000_000_000_000 + n) for n, raw in enumerate(raws)]
    names = {table.dynamodb_name: name for name, table in lake.config.tables.items()}
    landing = plan_landing([rules.capture(records, ORIGIN, now_us)], ORIGIN, set(names))
    land(landing, lake, names, lambda fault: None)


def open_letters(lake: Lake) -> int:
    done = redriven_ids(lake)
    return sum(1 for letter in read_dead_letters(lake.dead_letters) if letter.redrive_id not in done)


def log_of(lake: Lake) -> list[tuple]:
    """The log but for marks, batch and provenance; of native Streams the sequence number is more than that."""
    table = only_table(lake)
    number = "sequence_number" if table.surface == "streams" else "NULL"
    found = rows(
        lake,
        f"""SELECT event_id, item_key, op, created_at_us, event_time, is_ttl, source, {number}, new_image, old_image
        FROM {table.name}_changes ORDER BY event_id""",
    )
    return [(*row[:-2], *map(_image, row[-2:])) for row in found]


def state_of(lake: Lake) -> list[tuple]:
    name = only_table(lake).name
    found = rows(lake, f"SELECT _item_key, _created_at_us, _op, _expired_at, _item FROM {name} ORDER BY _item_key")
    return [(*row[:-1], _image(row[-1])) for row in found]


def _image(text: str | None) -> Any:
    return None if text is None else canonical_image(json.loads(text))
