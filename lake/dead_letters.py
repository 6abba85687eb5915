"""Dead letters: what could not be taken in, with its bytes, its reason and its place.

One object of gzipped NDJSON for each raw object, or stretch of a stream, and table, named by what it was read from:
reading the same input again writes the same object. A letter's `id` is the hash of its bytes, so a poison record
that comes twice, by a replay or a rewritten object, is one dead letter.

Where masks may concern a record, its bytes are sealed, and nothing is told that was found in them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lake import layout
from lake.errors import ConfigError, LakeError
from lake.masks import MaskKey
from lake.store import BEING_WRITTEN, RawObject, download, is_s3, list_objects

AGAIN = "again-"  # how ids of letters begin that a redrive landed in vain
_CACHE_KB = 32_768


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be taken in. `table` is its name in DynamoDB, where known; `raw` its bytes, or their seal.

    Its place is either an `object`, its `etag` and the `record`'s ordinal in it, from 1; or `stream`, `shard_id` and
    `sequence_number`, all empty where they do not apply.
    """

    reason: str
    detail: str
    raw: bytes
    object: str = ""
    etag: str = ""
    record: int = 0
    stream: str = ""
    shard_id: str = ""
    sequence_number: str = ""
    table: str | None = None
    found_at_us: int = 0
    is_sealed: bool = False
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            place = f"{self.object}\n{self.etag}\n{self.record}\n{self.shard_id}\n{self.sequence_number}"
            object.__setattr__(self, "id", hashlib.sha256(self.raw or place.encode()).hexdigest()[:32])

    @property
    def redrive_id(self) -> str:
        """By what it is known to have been redriven: its id; of what a redrive landed, only to be refused again by an
        older version or a wrong clock, one of its own, for the first letter of the same bytes is closed by then.
        """
        if f"/{layout.RAW}/redrive/" not in self.object:
            return self.id
        return AGAIN + hashlib.sha256(f"{self.id}\n{self.object}".encode()).hexdigest()[:32]

    @property
    def place(self) -> str:
        """Where it was found, in words."""
        if self.object:
            return f"{self.object} record {self.record}"
        return f"{self.stream} {self.shard_id} {self.sequence_number}".replace("  ", " ")


class Ids:
    """A set of ids in a scratch file beyond some memory: there may be millions."""

    def __init__(self) -> None:
        self._con = sqlite3.connect("")  # a file of its own, that goes with it
        self._con.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        self._con.execute("CREATE TABLE ids (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, id: str) -> bool:
        """Whether it is new."""
        return self._con.execute("INSERT OR IGNORE INTO ids VALUES (?)", (id,)).rowcount == 1

    def update(self, ids: Collection[str]) -> None:
        self._con.executemany("INSERT OR IGNORE INTO ids VALUES (?)", ((id,) for id in ids))

    def __contains__(self, id: str) -> bool:
        return self._con.execute("SELECT 1 FROM ids WHERE id = ?", (id,)).fetchone() is not None

    def close(self) -> None:
        self._con.close()


def sealed(letter: DeadLetter, key: MaskKey) -> DeadLetter:
    """The letter with its bytes sealed: also what was wrong with them may tell of them, and so may their hash."""
    identity = key.identity(letter.raw) if letter.raw else letter.id
    return replace(letter, detail="sealed", raw=key.seal(letter.raw), is_sealed=True, id=identity)


def letter_line(letter: DeadLetter) -> bytes:
    """A letter as a line of its object."""
    fields = asdict(letter) | {"raw": base64.b64encode(letter.raw).decode()}
    return json.dumps(fields).encode() + b"\n"


@contextmanager
def spooled_dead_letters(path: Path) -> Iterator[Callable[[DeadLetter], None]]:
    """Gives a function that adds a letter to a scratch file, made with the first; memory may not hold them all."""
    with ExitStack() as opened:
        file: gzip.GzipFile | None = None

        def add(letter: DeadLetter) -> None:
            nonlocal file
            if file is None:
                out = opened.enter_context(path.open("wb"))
                file = opened.enter_context(gzip.GzipFile("", "wb", fileobj=out, mtime=0))
            file.write(letter_line(letter))

        yield add


def read_dead_letters(place: str) -> Iterator[DeadLetter]:
    """Every dead letter in a folder or under `s3://bucket/prefix/` once, the letters of an object in their order."""
    seen = Ids()
    with tempfile.TemporaryDirectory(prefix="dynalake-letters-") as scratch:
        for one in _objects(place):
            path = download(one, Path(scratch))
            for letter in _letters(one.uri, path):
                if seen.add(letter.redrive_id):
                    yield letter
            if is_s3(one.uri):
                path.unlink()


def _letters(uri: str, path: Path) -> Iterator[DeadLetter]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                yield DeadLetter(**{**fields, "raw": base64.b64decode(fields["raw"])})
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise LakeError(
            "read dead letters", uri, expected="a file that is whole", got=str(fault),
            remedy="Move it away; compact --reread of its raw object writes it anew",
        ) from fault  # fmt: skip


def _objects(place: str) -> list[RawObject]:
    try:
        listed = list_objects(place, (BEING_WRITTEN,), may_be_missing=True)
        found = [one for one in listed if one.uri.endswith(".ndjson.gz")]
    except ConfigError as fault:
        raise LakeError(
            "read dead letters", place, expected="a place that may be read", got=fault.got, remedy=fault.remedy
        ) from fault
    return sorted(found, key=lambda one: one.uri)
