"""Raw objects: staged as plain text, whole and checked, and the records in one, one after another."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import numpy as np
import zstandard
from isal import igzip, isal_zlib

from compaction.damage import recover
from lake.errors import TransientError
from lake.records import RECORD_BYTES_MAX
from lake.store import RawObject, download, is_s3

Layout = Literal["newline_delimited", "unstructured", "empty"]

CHUNK_BYTES = 1 << 20
RESYNCS_MAX = 10_000  # places in one stretch of rubbish at which a record is looked for
DEPTH_MAX = 200  # DynamoDB nests 32 deep, two braces a level
_HEAD_BYTES = 4 * CHUNK_BYTES
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}]', re.DOTALL)
_QUOTE, _B, _S = b'"BS'
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


def stage(number: int, raw: RawObject, folder: Path) -> StagedObject:
    """Decompresses an object, checking it: DuckDB reads a gzip or zstd cut short without a word.

    The packing is told by the first bytes (gzip, zstd or plain), as Firehose's names need not tell. Raises
    TransientError where the object is gone or was rewritten since it was listed.
    """
    target = folder / f"{number:08}.ndjson"  # eight digits, by which SQL tells the object
    source = download(raw, folder)
    with _opened(source, raw) as file, target.open("wb") as out:
        watch = _BinaryWatch(out)
        damage = _decompress(file, watch)
        if damage is not None:
            recover(file, out)
    if is_s3(raw.uri):
        source.unlink()
    return StagedObject(number, raw, target, _layout(target), watch.found, damage)


def _opened(source: Path, raw: RawObject) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as fault:
        raise TransientError(
            "read", raw.uri, expected="the object that was listed", got=str(fault.strerror),
            remedy="See to its permissions if it is there, and run compact again",
        ) from fault  # fmt: skip


class _BinaryWatch:
    """Passes text on and notes whether anything in it may be a binary value: most tables have none."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._tail, self.found = out, b"", False

    def write(self, data: bytes) -> int:
        if not self.found:
            self.found = _has_binary(data) or _has_binary(self._tail + data[:4])
            self._tail = (self._tail + data)[-4:]
        return self._out.write(data)


def _has_binary(data: bytes) -> bool:
    """Whether `"B"` or `"BS"` is in a text, but for its very end. Unlike `in` this leaves the other threads alone."""
    text = np.frombuffer(data, np.uint8)
    behind = np.flatnonzero(text[1:-2] == _B) + 2
    closed = (text[behind] == _QUOTE) | (text[behind] == _S) & (text[behind + 1] == _QUOTE)
    return bool((closed & (text[behind - 2] == _QUOTE)).any())


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
    for number, (raw, is_torn) in enumerate(_stripped(staged), start=1):
        yield Piece(number, raw, is_torn)


def _stripped(staged: StagedObject) -> Iterator[tuple[bytes, bool]]:
    """The pieces without the white space between them; True for one before a tear."""
    buffer = b""
    with staged.path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            buffer += chunk
            cut = buffer.rfind(b"\n") + 1 if staged.layout == "newline_delimited" else 0
            if cut:
                yield from ((raw, False) for raw in _pieces(buffer[:cut]))
            elif len(buffer) > RECORD_BYTES_MAX:
                spans = list(_spans(buffer))
                if spans[-1][1] - spans[-1][0] <= RECORD_BYTES_MAX:
                    spans.pop()  # it may go on
                yield from ((raw, False) for raw in _cut_out(buffer, spans))
                cut = spans[-1][1] if spans else 0
            buffer = buffer[cut:]
    rest = [*(_pieces(buffer) if staged.layout == "newline_delimited" else _concatenated(buffer))]
    is_whole = staged.damage is None or not rest or _is_json(rest[-1])
    yield from ((raw, False) for raw in (rest if is_whole else rest[:-1]))
    if staged.damage is not None:
        yield (b"" if is_whole else rest[-1]), True


def _pieces(block: bytes) -> Iterator[bytes]:
    """The records in a block of whole lines."""
    for line in map(bytes.strip, block.split(b"\n")):
        if line and _is_json(line):
            yield line
        elif line:
            yield from _concatenated(line)


def _concatenated(data: bytes) -> Iterator[bytes]:
    """The records of a stretch that holds several, or rubbish, or both."""
    return _cut_out(data, _spans(data))


def _cut_out(data: bytes, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    pieces = (data[start:end].strip() for start, end in spans)
    return (piece for piece in pieces if piece)


def _spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the records of a stretch are, and what is between them; the last reaches to its end."""
    position = rubbish = failures = 0
    while position < len(data) and failures < RESYNCS_MAX:
        end = _record_end(data, position)
        # In the midst of rubbish an object is a record or, likelier, a part of a broken one.
        if end is not None and (_is_json if rubbish == position else _is_record)(data[position:end]):
            if rubbish < position:
                yield rubbish, position
            yield position, end
            position = rubbish = end
            failures = 0
            continue
        failures += 1
        start = _START.search(data, position + 1)
        position = len(data) if start is None else start.start()
    if rubbish < len(data):
        yield rubbish, len(data)


def _record_end(data: bytes, start: int) -> int | None:
    """The end of the JSON object that begins at `start` (white space apart); None where none ends."""
    depth = 0
    for token in _TOKEN.finditer(data, start):
        if token[0] == b"{":
            if depth == 0 and data[start : token.start()].strip():
                return None
            depth += 1
            if depth > DEPTH_MAX:
                return None
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
