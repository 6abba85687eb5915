"""What a redrive takes in, landed: objects and new dead letters first, and then the record of it."""

from __future__ import annotations

import hashlib

from ingest.capture import Landing, Line, Origin, take_once
from ingest.landing import land
from ingest.reads import require_same_masks
from ingest.redrive import Decided, Notify, RedriveReport
from lake import layout
from lake.dead_letters import AGAIN, DeadLetter, Ids
from lake.lake import Lake
from lake.redrives import write_redrive

OBJECT_BYTES = 8 << 20  # of records before compression, and of new dead letters
IDS_MAX = 50_000  # in one record


class Landings:
    """Collects what was decided and lands it, an object at a time. Adds to `done` what is recorded."""

    def __init__(self, lake: Lake, done: Ids, report: RedriveReport, notify: Notify, now_us: int) -> None:
        self._lake, self._done, self._report, self._notify, self._now_us = lake, done, report, notify, now_us
        self._names = {table.dynamodb_name: table for table in lake.config.tables.values()}
        self._empty()

    def _empty(self) -> None:
        self._lines: dict[tuple[str, str], Line] = {}
        self._letters: dict[str, DeadLetter] = {}
        self._ids: dict[str, None] = {}
        self._size = self._copies = 0

    def add(self, decided: Decided) -> None:
        """Takes what lands, and poison that nobody has set aside; lands it all where it has become much."""
        decision = decided.decision
        if isinstance(decision, DeadLetter):
            if decided.id:
                return  # it stays the dead letter that it is
            self._letters.setdefault(decision.id, decision)
            self._size += len(decision.raw)
        else:
            self._copies += not take_once(self._lines, decision)
            self._size += len(decision.text)
            if decided.id:
                self._ids[decided.id] = None
        if self._size >= OBJECT_BYTES or len(self._ids) >= IDS_MAX:
            self.flush()

    def finish(self, failure: str) -> None:
        self._ids[failure] = None

    def flush(self) -> None:
        """Lands and records what was added. Raises LakeError where masks have changed meanwhile, and otherwise."""
        if not (self._lines or self._letters or self._ids):
            return
        for name in {table for table, _ in self._lines}:
            require_same_masks("redrive", self._lake, self._names[name])
        lines = sorted(self._lines.values(), key=lambda line: (line.created_at_us, line.table, line.event_id))
        data = b"".join([line.text for line in lines])
        again = "".join(sorted(id for id in self._ids if id.startswith(AGAIN)))  # under the old name nobody looks
        path = layout.redrive_object(hashlib.sha256(data + again.encode()).hexdigest()[:32]) if data else None
        letters: dict[str | None, list[DeadLetter]] = {}
        for letter in self._letters.values():
            letters.setdefault(letter.table if letter.table in self._names else None, []).append(letter)
        landing = Landing(Origin("redrive"), path, data, letters, "", len(self._ids), len(lines), self._copies)
        names = {dynamodb_name: table.name for dynamodb_name, table in self._names.items()}
        land(landing, self._lake, names, self._notify)
        self._record(landing, path)

    def _record(self, landing: Landing, path: str | None) -> None:
        if self._ids:
            told = {"redriven_at_us": self._now_us, "object": path, "changes": landing.changes,
                    "dead_letters": landing.dead_letters}  # fmt: skip
            write_redrive(self._lake, self._ids, told)
            self._done.update(self._ids)
        self._report.landed += landing.changes
        self._report.duplicates += landing.duplicates
        self._report.dead_letters += landing.dead_letters
        self._report.objects += path is not None
        self._empty()
