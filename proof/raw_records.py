"""The records of a raw object and their numbers, read anew: by code that shares nothing with what compacted it.

The numbers are those by which dead letters tell their place: from 1, rubbish counted as compaction counts it; a test
holds the two to each other. Whatever the size of an object, a few megabytes of it are held.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard
from isal import igzip, isal_zlib

from lake.store import RawObject, is_s3, list_objects

CHUNK_BYTES = 1 << 20
RECORD_BYTES_MAX = 16 << 20  # what is longer cannot be a record: Kinesis' own limit is 10 MiB
RESYNCS_MAX = 10_000
_HEAD_BYTES = 4 << 20
_DEPTH_MAX = 200  # DynamoDB nests 32 deep, two braces a level
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}]', re.DOTALL)
_START = re.compile(rb'\{\s*"')
_SPACE = re.compile(r"[ \t\r\n]*")
_value = json.JSONDecoder().raw_decode  # tells where it ends
_DAMAGE: Any = (EOFError, igzip.BadGzipFile, isal_zlib.error, zlib.error, zstandard.ZstdError)


class DamagedObject(Exception):
    """The object's compression breaks off: what comes behind cannot be read."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record in an object: its number from 1, and its text."""

    number: int
    raw: bytes


def present_object(uri: str) -> RawObject | None:
    """The object as it is now; None where it is gone. Raises LakeError, or OSError in a folder."""
    if is_s3(uri):
        return next((one for one in list_objects(uri) if one.uri == uri), None)
    try:
        status = os.stat(uri)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return RawObject(uri, f"{status.st_size}-{status.st_mtime_ns}", status.st_size)


def may_hold(path: Path, needles: Sequence[bytes]) -> bool:
    """Whether an object has any of these texts in it: one look at its bytes, no record parsed. Raises DamagedObject."""
    overlap = max(map(len, needles)) - 1
    tail = b""
    for chunk in _text(path):
        block = tail + chunk
        if any(needle in block for needle in needles):
            return True
        tail = block[len(block) - overlap :] if overlap else b""
    return False


def records_of(path: Path) -> Iterator[FoundRecord]:
    """Every record of an object and what stands between, in order. Raises DamagedObject behind the last whole one."""
    for number, raw in enumerate(_stripped(path), start=1):
        yield FoundRecord(number, raw)


def _text(path: Path) -> Iterator[bytes]:
    """What an object holds, unpacked; how it is packed is told by its first bytes."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        try:
            if magic[:2] == b"\x1f\x8b":
                with igzip.open(file, "rb") as stream:
                    yield from _chunks(stream)
            elif magic == b"\x28\xb5\x2f\xfd":
                yield from _unpacked_zstd(file)
            else:
                yield from _chunks(file)
        except _DAMAGE as fault:
            raise DamagedObject(str(fault)) from fault


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _unpacked_zstd(file: IO[bytes]) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    data = file.read(CHUNK_BYTES)
    while data:
        yield frame.decompress(data)
        data = frame.unused_data or file.read(CHUNK_BYTES)
        if frame.eof and data:
            frame = zstandard.ZstdDecompressor().decompressobj()
    if not frame.eof:
        raise EOFError("the zstd frame has no end")


def _stripped(path: Path) -> Iterator[bytes]:
    """The pieces without the white space between them."""
    buffer, is_by_line = b"", None
    damage: DamagedObject | None = None
    chunks = _text(path)
    while True:
        try:
            chunk = next(chunks, b"")
        except DamagedObject as fault:
            chunk, damage = b"", fault
        buffer += chunk
        if is_by_line is None and (not chunk or len(buffer) >= _HEAD_BYTES):
            is_by_line = _is_by_line(buffer[:_HEAD_BYTES])
        if not chunk:
            break
        if is_by_line is None:
            continue
        cut = buffer.rfind(b"\n") + 1 if is_by_line else 0
        if cut:
            yield from _lines(buffer[:cut])
        elif len(buffer) > RECORD_BYTES_MAX:
            spans = list(_spans(buffer))
            if spans[-1][1] - spans[-1][0] <= RECORD_BYTES_MAX:
                spans.pop()  # it may go on
            yield from _cut_out(buffer, spans)
            cut = spans[-1][1] if spans else 0
        buffer = buffer[cut:]
    yield from _lines(buffer) if is_by_line else _cut_out(buffer, _spans(buffer))
    if damage is not None:
        raise damage


def _is_by_line(head: bytes) -> bool:
    """Whether records stand one a line, as far as the first tells, or what begins like one."""
    end = _closing_brace(head)
    if end is None:
        return True
    return b"\n" not in head[:end].strip() and not head[end : end + 8].lstrip(b" \t\r").startswith(b"{")


def _closing_brace(data: bytes) -> int | None:
    """Behind the brace that closes the one at the start, be it JSON in between or not."""
    depth = 0
    for token in _TOKEN.finditer(data):
        if depth == 0 and token[0] == b"{" and data[: token.start()].strip():
            return None
        depth += {b"{": 1, b"}": -1}.get(token[0], 0)
        if token[0] == b"}" and depth <= 0:
            return token.end() if depth == 0 else None
        if depth > _DEPTH_MAX:
            return None
    return None


def _lines(block: bytes) -> Iterator[bytes]:
    for line in map(bytes.strip, block.split(b"\n")):
        if line and _is_json(line):
            yield line
        elif line:
            yield from _cut_out(line, _spans(line))


def _cut_out(data: bytes, spans: Any) -> Iterator[bytes]:
    pieces = (data[start:end].strip() for start, end in spans)
    return (piece for piece in pieces if piece)


def _spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the records of a stretch are, and what is between them; the last reaches to its end."""
    text = data.decode("latin-1")  # a character a byte: what JSON is made of is ASCII
    position = rubbish = failures = 0
    while position < len(data) and failures < RESYNCS_MAX:
        end = _value_end(text, position)
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


def _value_end(text: str, start: int) -> int | None:
    """Where the JSON object ends that begins at `start` (white space apart); None where none does."""
    space = _SPACE.match(text, start)
    begin = space.end() if space else start
    if not text.startswith("{", begin):
        return None
    try:
        return _value(text, begin)[1]
    except (ValueError, RecursionError):
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
