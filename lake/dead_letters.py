"""Dead letters: what could not be taken in, with its bytes, its reason and its place.

One object of gzipped NDJSON for each raw object and table, named by what it was read from: reading the same
input again writes the same object. A letter's `id` is the hash of its bytes, so a poison record that comes
twice, by a replay or a rewritten object, is one dead letter.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lake.errors import ConfigError, LakeError
from lake.store import BEING_WRITTEN, RawObject, download, is_s3, list_objects


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that cannot be taken in. `record` is its ordinal in the object, from 1; `table` in DynamoDB."""

    reason: str
    detail: str
    object: str
    etag: str
    record: int
    raw: bytes
    table: str | None = None
    found_at_us: int = 0

    @property
    def id(self) -> str:
        place = b"" if self.raw else f"{self.object}\n{self.etag}\n{self.record}".encode()
        return hashlib.sha256(self.raw or place).hexdigest()[:32]


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
            fields = {name: getattr(letter, name) for name in ("id", *DeadLetter.__slots__) if name != "raw"}
            line = json.dumps({**fields, "raw": base64.b64encode(letter.raw).decode()})
            file.write(line.encode() + b"\n")

        yield add


def read_dead_letters(place: str) -> Iterator[DeadLetter]:
    """Every dead letter in a folder or under `s3://bucket/prefix/` once, the letters of an object in their order."""
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="dynalake-letters-") as scratch:
        for one in _objects(place):
            path = download(one, Path(scratch))
            for identity, letter in _letters(one.uri, path):
                if identity not in seen:
                    seen.add(identity)
                    yield letter
            if is_s3(one.uri):
                path.unlink()


def _letters(uri: str, path: Path) -> Iterator[tuple[str, DeadLetter]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                identity = fields.pop("id")
                yield identity, DeadLetter(**{**fields, "raw": base64.b64decode(fields["raw"])})
    except (OSError, EOFError, ValueError, KeyError, TypeError) as fault:
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
