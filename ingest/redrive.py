"""`redrive`: dead letters, and what others keep of failed records, decided anew by today's rules.

What can be taken now lands under `raw/redrive/`, and then a record tells what was redriven. Names follow from what
is in an object: a kill anywhere, two at once or a lost record end in the same log, by the changes' event ids. Nothing
is deleted but messages of a queue, once all that they tell of is safe.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from ingest.capture import CaptureRules, Line, Origin, StreamRecord
from ingest.events import records_of
from ingest.failures import FailedBatch, FailedRecord, digest, documents_in, parse_failure
from ingest.ranges import RecordsMissing, read_range
from lake import layout
from lake.config import TableConfig
from lake.dead_letters import DeadLetter, Ids, read_dead_letters
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.masks import MaskKey
from lake.secret import open_mask_key
from lake.store import RawObject, download, is_s3, list_objects

TRUNCATED = "truncated"
FIREHOSE = "firehose"  # where the error objects of an unknown delivery stream are from
Notify = Callable[[LakeError], None]
"""Told of what could not be taken, which is left where it is, while the rest goes on."""


@dataclass(slots=True)
class RedriveReport:
    """What a redrive did. `reasons` tells why letters are still poison, and how many."""

    letters: int = 0  # looked at: those that nobody has redriven
    failures: int = 0  # batches and error objects of others, taken in wholly
    already: int = 0  # failures that an earlier redrive took in
    left: int = 0  # failures of which something is missing or cannot be read: each is named
    landed: int = 0
    duplicates: int = 0
    still_poison: int = 0
    dead_letters: int = 0  # set aside anew, of failures
    objects: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Decided:
    """A record, decided anew: `line` is what lands of it; where there is none, `letter` says why.

    `id` is that of the dead letter it was; empty where it was none. A letter of such a one is to be kept.
    """

    id: str
    place: str
    decision: Line | DeadLetter


class Sink(Protocol):
    """What becomes of decisions: they land, or are shown."""

    def add(self, decided: Decided) -> None: ...

    def finish(self, failure: str) -> None:
        """All of a failure, by its id, has been added."""

    def flush(self) -> None:
        """Raises LakeError where what was added is not safe by now."""


class SealUnreadable(LakeError):
    """A sealed letter that the lake's secret does not open: the others may."""


class Redrive:
    """One run. `done` are the ids of what was redriven before; whatever this one takes is added by its sink."""

    def __init__(self, lake: Lake, done: Ids, report: RedriveReport, sink: Sink, notify: Notify, now_us: int) -> None:
        self._lake, self._done, self._report, self._sink = lake, done, report, sink
        self._notify, self._now_us = notify, now_us
        self._opened: CaptureRules | None = None
        self._key: MaskKey | None = None
        self._sleep: Callable[[float], None] = time.sleep

    # Our own dead letters

    def letters(self, tables: Sequence[TableConfig] | None) -> None:
        """Redrives the dead letters of some tables and, as far as they prove to be theirs, of none; or all there are.

        Raises LakeError, also where there is no secret to open sealed letters with; one that is damaged is told.
        """
        names = None if tables is None else {table.dynamodb_name for table in tables}
        folders = [layout.dead_letter_folder(table.name) for table in tables or ()] + [layout.dead_letter_folder(None)]
        places = [self._lake.dead_letters] if tables is None else [self._lake.place(folder) for folder in folders]
        for n, place in enumerate(places):
            for letter in read_dead_letters(place):
                if letter.redrive_id in self._done:
                    continue
                try:
                    decision = self._again(letter)
                except SealUnreadable as fault:
                    self._leave(fault)
                    continue
                is_unknown = n == len(places) - 1
                if names is not None and is_unknown and decision.table not in names:
                    continue
                self._report.letters += 1
                self._add(letter.redrive_id, letter.place, decision)
        self._sink.flush()

    def _again(self, letter: DeadLetter) -> Line | DeadLetter:
        """What a letter is today. What is torn its bytes cannot tell."""
        if letter.reason == TRUNCATED:
            return letter
        raw = letter.raw
        if letter.is_sealed:
            try:
                raw = self._mask_key().unseal(letter.raw)
            except ValueError as fault:
                raise SealUnreadable("open dead letter", letter.id, expected="the secret it was sealed with",
                                     got=str(fault), remedy="Give the old one back") from fault  # fmt: skip
        record = StreamRecord(raw, letter.sequence_number, letter.found_at_us)
        return self._decide(record, Origin(letter.stream, letter.shard_id), bool(letter.object and not letter.stream))

    # What others keep

    def objects(self, uri: str) -> None:
        """Redrives the failures in every object of a folder or under `s3://bucket/prefix`, or in one file."""
        with tempfile.TemporaryDirectory(prefix="dynalake-redrive-") as scratch:
            for one in _objects(uri):
                failure = digest(one.uri, one.etag)
                if failure in self._done:
                    self._report.already += 1
                    continue
                try:
                    path = download(one, Path(scratch))
                except LakeError as fault:  # rewritten just now, archived, or under a key that is not ours to use
                    self._leave(fault)
                    continue
                if self._object(one, path):
                    self._sink.finish(failure)
                if is_s3(one.uri):
                    path.unlink()
        self._sink.flush()

    def _object(self, raw: RawObject, path: Path) -> bool:
        """Whether all in an object was taken in; the first of what is none is told."""
        records, unreadable, is_whole = 0, 0, True
        for number, document in enumerate(documents_in(path), start=1):
            try:
                if isinstance(document, ValueError):
                    raise document
                failure = parse_failure(document)
            except ValueError as fault:
                unreadable += 1
                if unreadable == 1:
                    self._leave(_unreadable(f"{raw.uri} document {number}", fault))
                continue
            if isinstance(failure, FailedBatch):
                is_whole = self.batch(failure) and is_whole
            else:
                records += 1
                self._record(failure, raw, number)
        self._report.failures += records > 0 and unreadable == 0
        return is_whole and unreadable == 0

    def document(self, document: object, place: str) -> bool:
        """Redrives one failure, such as a message; whether all of it was taken in. What is none is told."""
        try:
            failure = parse_failure(document)
        except ValueError as fault:
            self._leave(_unreadable(place, fault))
            return False
        if isinstance(failure, FailedRecord):
            self._leave(_unreadable(place, ValueError("a record of Firehose, in no object")))
            return False
        return self.batch(failure)

    def batch(self, batch: FailedBatch) -> bool:
        """Redrives a batch, from the event where that was kept, else from the stream; whether it was there wholly."""
        if batch.id in self._done:
            self._report.already += 1
            return True
        try:
            for origin, records in self._batch(batch):
                for record in records:
                    decision = self._decide(record, origin, False)
                    self._add("", f"{origin.stream} {origin.shard_id} {record.sequence_number}", decision)
        except RecordsMissing as fault:
            self._leave(fault)
            return False
        self._report.failures += 1
        self._sink.finish(batch.id)
        return True

    def _batch(self, batch: FailedBatch) -> Iterator[tuple[Origin, list[StreamRecord]]]:
        if batch.events is not None:
            try:
                origin, records = records_of(batch.events, self._now_us)
            except (ConfigError, ValueError, KeyError, TypeError, IndexError, AttributeError):
                pass  # not the whole event of a mapping: the stream may still tell
            else:
                if len(records) >= batch.records and all(map(_is_numbered, records)):
                    yield replace(origin, shard_id=batch.shard_id), records
                    return
        origin = Origin(batch.stream_arn.split(":", 5)[-1].partition("/")[2].partition("/")[0], batch.shard_id)
        for records in read_range(batch, self._sleep):
            yield origin, records

    def _record(self, record: FailedRecord, raw: RawObject, number: int) -> None:
        origin = Origin("" if record.is_landed else FIREHOSE)
        given = StreamRecord(record.data, record.sequence_number, record.arrived_us or self._now_us)
        decision = self._decide(given, origin, record.is_landed)
        if isinstance(decision, DeadLetter):
            decision = replace(decision, object=raw.uri, etag=raw.etag, record=number)
        self._add("", f"{raw.uri} record {number}", decision)

    # Decisions

    def _decide(self, record: StreamRecord, origin: Origin, is_landed: bool) -> Line | DeadLetter:
        if self._opened is None:
            config = self._lake.config
            self._opened = CaptureRules(config, self._mask_key() if config.has_masks else None)
        if is_landed:
            return self._opened.decide_landed(record, origin, self._now_us)
        captured = self._opened.capture([record], origin, self._now_us)
        return captured.lines[0] if captured.lines else captured.letters[0]

    def _mask_key(self) -> MaskKey:
        """Opened where it is needed, and not before."""
        self._key = self._key or open_mask_key(self._lake)
        return self._key

    def _add(self, id: str, place: str, decision: Line | DeadLetter) -> None:
        if isinstance(decision, DeadLetter):
            self._report.reasons[decision.reason] += 1
            self._report.still_poison += 1
        self._sink.add(Decided(id, place, decision))

    def _leave(self, fault: LakeError) -> None:
        self._report.left += 1
        self._notify(fault)


def _is_numbered(record: StreamRecord) -> bool:
    return isinstance(record.sequence_number, str) and record.sequence_number.isdecimal()


def _unreadable(place: str, fault: ValueError) -> LakeError:
    return LakeError(
        "redrive", place, expected="an on-failure message of Lambda, or an error record of Firehose", got=str(fault),
        remedy="It is left as it is: move it away if it is none",
    )  # fmt: skip


def _objects(uri: str) -> Iterable[RawObject]:
    path = Path(uri).expanduser()
    if not is_s3(uri) and path.is_file():
        status = path.stat()
        return [RawObject(str(path.resolve()), f"{status.st_size}-{status.st_mtime_ns}", status.st_size)]
    return list_objects(uri if is_s3(uri) else str(path.resolve()))
