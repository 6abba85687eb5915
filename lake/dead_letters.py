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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lake.store import put


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


def write_dead_letters(path: Path, letters: Iterable[DeadLetter]) -> None:
    """Writes the letters of one raw object, whole or not at all."""
    lines = []
    for letter in letters:
        fields = {name: getattr(letter, name) for name in ("id", *DeadLetter.__slots__) if name != "raw"}
        lines.append(json.dumps({**fields, "raw": base64.b64encode(letter.raw).decode()}))
    put(path, gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))


def read_dead_letters(folder: Path) -> Iterator[DeadLetter]:
    """Every dead letter under a folder once, the letters of an object in their order."""
    seen: set[str] = set()
    for path in sorted(folder.rglob("*.ndjson.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                identity = fields.pop("id")
                if identity in seen:
                    continue
                seen.add(identity)
                yield DeadLetter(**{**fields, "raw": base64.b64decode(fields["raw"])})
