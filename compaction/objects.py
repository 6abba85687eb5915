"""Raw objects: staged as plain text, whole and checked, and the records in one, one after another."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import zstandard
from isal import igzip, isal_zlib

from compaction.damage import recover
from lake.records import RECORD_BYTES_MAX
from lake.store import RawObject, download

Layout = Literal["newline_delimited", "unstructured", "empty"]

CHUNK_BYTES = 1 << 20
RESYNCS_MAX = 10_000  # places in one line of rubbish at which a record is looked for
_HEAD_BYTES = 4 * CHUNK_BYTES
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}]', re.DOTALL)
_MAYBE_BINARY = re.compile(rb'B"|BS"')  # twice as fast as the two tags, and seldom there without them
_START = re.compile(rb'\{\s*"')
_DAMAGE: Any = (
    EOFError,
    igzip.BadGzipFile,
    isal_zlib.error,
    zlib.error,
    zstandard.ZstdError,
)


@dataclass(frozen=True, slots=True)
class StagedObject:
    """A raw object's text in a scratch file. `damage` says where its compression broke off."""

    number: int
    raw: RawObject
    path: Path
    layout: Layout
    has_binary: bool
    damage: str | None


def stage(number: int, raw: RawObject, folder: Path, s3: Any = None) -> StagedObject:
    """Decompresses an object, checking it: DuckDB reads a gzip or zstd cut short without a word.

    The packing is told by the first bytes (gzip, zstd or plain), as Firehose's names need not tell. Raises
    TransientError where the object is gone or was rewritten since it was listed.
    """
    target = folder / f"{number}.ndjson"
    source = download(raw, folder, s3)
    with source.open("rb") as file, target.open("wb") as out:
        watch = _BinaryWatch(out)
        damage = _decompress(file, watch)
        if damage is not None:
            recover(file, out)
    if raw.uri.startswith("s3://"):
        source.unlink()
    return StagedObject(number, raw, target, _layout(target), watch.found, damage)


class _BinaryWatch:
    """Passes text on and notes whether anything in it may be a binary value: most tables have none."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._tail, self.found = out, b"", False

    def write(self, data: bytes) -> int:
        if not self.found:
            text = self._tail + data
            self.found = _MAYBE_BINARY.search(text) is not None and any(tag in text for tag in (b'"B"', b'"BS"'))
            self._tail = data[-4:]
        return self._out.write(data)


def _decompress(file: IO[bytes], out: _BinaryWatch) -> str | None:
    magic = file.read(4)
    file.seek(0)
    try:
        if magic[:2] == b"\x1f\x8b":
            with igzip.open(file, "rb") as stream:
                shutil.copyfileobj(stream, out, CHUNK_BYTES)
        elif magic == b"\x28\xb5\x2f\xfd":
            _decompress_zstd(file, out)
        else:
            shutil.copyfileobj(file, out, CHUNK_BYTES)
    except _DAMAGE as fault:
        return f"{type(fault).__name__}: {fault}"
    return None


def _decompress_zstd(file: IO[bytes], out: _BinaryWatch) -> None:
    frame = zstandard.ZstdDecompressor().decompressobj()
    data = file.read(CHUNK_BYTES)
    while data:
        out.write(frame.decompress(data))
        data = frame.unused_data or file.read(CHUNK_BYTES)
        if frame.eof and data:
            frame = zstandard.ZstdDecompressor().decompressobj()
    if not frame.eof:
        raise EOFError("the zstd frame has no end")


def _layout(path: Path) -> Layout:
    """Whether records stand one a line. A guess from the head: a wrong one fails loudly, and is salvaged."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "empty"
    end = _record_end(head, 0)
    if end is None:
        return "newline_delimited"
    is_spread = b"\n" in head[:end].strip() or head[end : end + 8].lstrip(b" \t\r").startswith(b"{")
    return "unstructured" if is_spread else "newline_delimited"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an object: one record, or what cannot be one; `number` counts from 1."""

    number: int
    raw: bytes
    is_torn: bool = False


def read_records(staged: StagedObject) -> Iterator[Piece]:
    """Every record of an object in order, whatever stands between; nothing of it is left out.

    Rubbish comes as pieces of its own, up to the next line or the next thing that parses as a change record.
    Of a damaged object the last piece is what stood before the tear, perhaps nothing.
    """
    number = 0
    buffer = b""
    with staged.path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK_BYTES)
            buffer += chunk
            while (cut := _cut(buffer, not chunk and staged.damage is None)) is not None:
                block, buffer = buffer[:cut], buffer[cut:]
                for raw in _pieces(block):
                    number += 1
                    yield Piece(number, raw)
            if not chunk:
                break
    if staged.damage is not None:
        *whole, torn = [*_pieces(buffer), b""] if _is_json(buffer) else [*_concatenated(buffer)] or [b""]
        for raw in whole:
            number += 1
            yield Piece(number, raw)
        yield Piece(number + 1, torn, is_torn=True)


def _cut(buffer: bytes, ended: bool) -> int | None:
    """Where the buffer can be cut without cutting a record; None where more must be read first."""
    if not buffer:
        return None
    newline = buffer.rfind(b"\n")
    if newline >= 0:
        return newline + 1
    if ended:
        return len(buffer)
    if len(buffer) < RECORD_BYTES_MAX:
        return None
    end, last = _record_end(buffer, 0), None
    while end is not None:
        last, end = end, _record_end(buffer, end)
    return last or len(buffer)


def _pieces(block: bytes) -> Iterator[bytes]:
    """The records in a block of whole lines."""
    for line in map(bytes.strip, block.split(b"\n")):
        if line and _is_json(line):
            yield line
        elif line:
            yield from _concatenated(line)


def _concatenated(line: bytes) -> Iterator[bytes]:
    """The records of a line that holds several, or rubbish, or both."""
    position = rubbish = failures = 0
    while position < len(line) and failures < RESYNCS_MAX:
        end = _record_end(line, position)
        if end is not None and _is_record(line[position:end]):
            if line[rubbish:position].strip():
                yield line[rubbish:position].strip()
            yield line[position:end].strip()
            position = rubbish = end
            continue
        failures += 1
        start = _START.search(line, position + 1)
        position = len(line) if start is None else start.start()
    if line[rubbish:].strip():
        yield line[rubbish:].strip()


def _record_end(data: bytes, start: int) -> int | None:
    """The end of the JSON object that begins at `start` (white space apart); None where none ends."""
    depth = 0
    for token in _TOKEN.finditer(data, start):
        if token[0] == b"{":
            if depth == 0 and data[start : token.start()].strip():
                return None
            depth += 1
        elif token[0] == b"}":
            depth -= 1
            if depth <= 0:
                return token.end() if depth == 0 else None
    return None


def _is_json(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_record(data: bytes) -> bool:
    try:
        return "dynamodb" in msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
