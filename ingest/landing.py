"""Landings written into a lake: dead letters and objects first, and only then may a checkpoint move.

All is written whole under names that follow from what is in it. So a replay finds its objects there already, and a
window that overlaps another one writes an object of its own, whose changes compaction knows by their event ids.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import zstandard

from ingest.capture import Captured, CaptureRules, Landing, Origin
from lake import layout
from lake.aws import aws_client, aws_faults
from lake.dead_letters import DeadLetter, letter_line
from lake.errors import ConfigError, LakeError, TransientError
from lake.lake import Lake, open_lake
from lake.records import UNREGISTERED
from lake.secret import open_mask_key
from lake.store import put_new

RULES_SECONDS_MAX = 60.0  # how long a change of lake.toml may take to be seen
RULES_SECONDS_MIN = 5.0  # between two looks, where records of unknown tables come
IDS_TOLD_MAX = 10  # of dead letters, in one message

Notify = Callable[[LakeError], None]
"""Told of what went wrong beside the landing, which goes on."""


class LiveLake:
    """A lake whose `lake.toml` is looked at now and then: tables and masks come and go while drivers run."""

    def __init__(self, uri: str, seconds: Callable[[], float]) -> None:
        self._uri, self._seconds = uri, seconds
        self._read()

    def capture(self, records: Any, origin: Origin, now_us: int) -> Captured:
        """`CaptureRules.capture` by the rules of now. Raises LakeError where they cannot be read."""
        if self._seconds() - self._read_at > RULES_SECONDS_MAX:
            self._read_again()
        captured = self.rules.capture(records, origin, now_us)
        is_unknown = any(letter.reason == UNREGISTERED for letter in captured.letters)
        if is_unknown and self._seconds() - self._read_at > RULES_SECONDS_MIN:
            self._read_again()  # the table may have been registered just now
            captured = self.rules.capture(records, origin, now_us)
        return captured

    def _read_again(self) -> None:
        """What cannot be read now may be half saved. Nothing is captured until it can: there may be new masks in it."""
        try:
            self._read()
        except ConfigError as fault:
            raise TransientError(fault.operation, fault.identity, expected=fault.expected, got=fault.got,
                                 remedy=fault.remedy) from fault  # fmt: skip

    def _read(self) -> None:
        self.lake = open_lake(self._uri)
        self.rules = CaptureRules(self.lake.config, open_mask_key(self.lake) if self.lake.config.has_masks else None)
        self.names = {table.dynamodb_name: name for name, table in self.lake.config.tables.items()}
        self._read_at = self._seconds()


def land(landing: Landing, lake: Lake, names: dict[str, str], notify: Notify) -> None:
    """Writes a landing durably; raises LakeError or OSError where that cannot be done, and then all may be done again.

    `names` are the lake's names of its DynamoDB tables. A message about dead letters that cannot be sent is told to
    `notify`: what it would tell of is safe in the lake, and must not hold up the rest.
    """
    places = {
        table: _write_letters(letters, landing.origin, lake, names.get(table or ""))
        for table, letters in landing.letters.items()
    }
    if landing.path is not None:
        put_new(lake.place(landing.path), zstandard.ZstdCompressor().compress(landing.data))
    for table, letters in landing.letters.items() if lake.config.poison_queue_url is not None else ():
        try:
            _send(lake.config.poison_queue_url or "", lake, letters, table, places[table], landing.origin)
        except LakeError as fault:
            notify(fault)


def _write_letters(letters: Sequence[DeadLetter], origin: Origin, lake: Lake, name: str | None) -> str:
    """One object; the same letters, found again, are left as they were."""
    identity = hashlib.sha256("\n".join(f"{one.id} {one.sequence_number}" for one in letters).encode()).hexdigest()
    place = lake.place(layout.dead_letter_path(name, f"{origin.stream} {origin.shard_id}", identity))
    put_new(place, gzip.compress(b"".join(map(letter_line, letters)), mtime=0))
    return place


def _send(
    queue_url: str, lake: Lake, letters: Sequence[DeadLetter], table: str | None, place: str, origin: Origin
) -> None:
    """Tells a queue that there are dead letters, and where; never what is in them."""
    message = {
        "lake": lake.uri, "table": table, "stream": origin.stream, "shard_id": origin.shard_id, "object": place,
        "dead_letters": len(letters), "reasons": dict(Counter(one.reason for one in letters)),
        "ids": [one.id for one in letters[:IDS_TOLD_MAX]],
    }  # fmt: skip
    with aws_faults("send a message about dead letters to", queue_url):
        aws_client("sqs", attempts=1).send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))
