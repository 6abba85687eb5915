"""What others keep of records that failed, told apart by what is in it. Pure, but for reading a file.

Lambda's on-failure messages name a range of a shard; in a bucket they hold the whole event as well. Firehose's error
objects hold a record a line. SNS wraps a message in one of its own.

AWS: "Retain discarded records for a … event source" in the Lambda guide; "Handle failure in data transformation" and
"Handling errors for data format conversion" in the Firehose guide.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

DOCUMENT_BYTES_MAX = 32 << 20  # an event is 6 MB at most, and grows by a half or so as an escaped text
_BATCHES: dict[str, Literal["kinesis", "streams"]] = {"KinesisBatchInfo": "kinesis", "DDBStreamBatchInfo": "streams"}
_TEXTS = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")
_NUMBER = re.compile(r"[0-9]{1,129}")  # a sequence number, as long as Kinesis has them
_json = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A range of a shard that a Lambda function was given in vain, both ends in it; times are AWS' own text.

    `events` are its records, where the whole event was kept.
    """

    surface: Literal["kinesis", "streams"]
    stream_arn: str
    shard_id: str
    first: str
    last: str
    records: int
    first_arrived: str
    last_arrived: str
    events: list[dict[str, Any]] | None = None

    @property
    def id(self) -> str:
        return digest(self.stream_arn, self.shard_id, self.first, self.last)

    @property
    def place(self) -> str:
        """The range, in words."""
        return f"{self.stream_arn} {self.shard_id} from {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record in an error object of Firehose. `is_landed` where it is as it was to land, behind a transformation."""

    data: bytes
    arrived_us: int
    sequence_number: str
    is_landed: bool


def digest(*parts: str) -> str:
    """What tells one failure from all others."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def parse_failure(document: Any) -> FailedBatch | FailedRecord:
    """The failure that a JSON document tells of. Raises ValueError for any other document, saying what is wrong."""
    for _ in range(3):  # SNS may wrap, and what sends on from there may wrap again
        if not isinstance(document, dict):
            raise ValueError("no JSON object")
        if not isinstance(document.get("Message"), str) or any(name in document for name in _BATCHES):
            break
        document = _decoded(document["Message"], "a `Message` that is no JSON")
    for name, surface in _BATCHES.items():
        if name in document:
            return _batch(document, document[name], surface)
    fields = {name.lower(): value for name, value in document.items()}
    if isinstance(fields.get("rawdata"), str):
        return _record(fields)
    raise ValueError(f"neither {' nor '.join(_BATCHES)} nor rawData in it, but {', '.join(list(document)[:5])}")


def _batch(document: dict[str, Any], info: Any, surface: Literal["kinesis", "streams"]) -> FailedBatch:
    if not isinstance(info, dict) or not all(isinstance(info.get(name), str) and info[name] for name in _TEXTS):
        raise ValueError(f"without one of {', '.join(_TEXTS)}")
    if not (_NUMBER.fullmatch(info["startSequenceNumber"]) and _NUMBER.fullmatch(info["endSequenceNumber"])):
        raise ValueError("with a sequence number that is no number")
    size, payload, events = info.get("batchSize"), document.get("payload"), None
    if isinstance(payload, str):
        payload = _decoded(payload, "with a `payload` that is no JSON")
    if isinstance(payload, dict) and isinstance(payload.get("Records"), list) and payload["Records"]:
        events = payload["Records"]
    began, ended = (str(info.get(f"approximateArrivalOf{which}Record") or "unknown") for which in ("First", "Last"))
    arn, shard_id, first, last = (info[name] for name in _TEXTS)
    records = size if isinstance(size, int) else 1
    return FailedBatch(surface, arn, shard_id, first, last, records, began, ended, events)


def _record(fields: dict[str, Any]) -> FailedRecord:
    try:
        data = base64.b64decode(fields["rawdata"], validate=True)
    except binascii.Error as fault:
        raise ValueError("a rawData that is no base64") from fault
    number = fields.get("sequencenumber")
    is_landed = "datacatalogtable" in fields or "lasterrorcode" in fields  # the conversion comes behind the function
    if not (isinstance(number, str) and _NUMBER.fullmatch(number)):
        number = ""
    return FailedRecord(data, _time_us(fields.get("arrivaltimestamp")), number, is_landed)


def _time_us(value: Any) -> int:
    """UTC microseconds of milliseconds or of a text; 0 where it says nothing."""
    try:
        if isinstance(value, str) and not value.isdecimal():
            return round(datetime.fromisoformat(value).timestamp() * 1e6)
        return int(value) * 1_000
    except (ValueError, TypeError, OverflowError):
        return 0


def _decoded(text: str, fault: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise ValueError(fault) from None


def documents_in(path: Path) -> Iterator[Any]:
    """The JSON documents in a file, plain or gzipped: one, or one a line, or one behind the other.

    For what cannot be read a ValueError stands among them; the rest goes on behind it.
    """
    try:
        whole = _whole(path)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        pass  # more than one, or damaged: what stands before the damage is given
    else:
        yield whole
        return
    try:
        with _opened(path) as file:
            while line := file.readline(DOCUMENT_BYTES_MAX):
                if len(line) < DOCUMENT_BYTES_MAX:
                    yield from _documents(line)
                    continue
                yield ValueError(f"a line of more than {DOCUMENT_BYTES_MAX >> 20} MB")
                while line and not line.endswith(b"\n"):
                    line = file.readline(DOCUMENT_BYTES_MAX)
    except (OSError, EOFError, zlib.error) as fault:
        yield ValueError(f"it breaks off, or cannot be read: {fault}")


def _whole(path: Path) -> Any:
    """A file that is one document. Raises what tells that it is not."""
    with _opened(path) as file:
        text = file.read(DOCUMENT_BYTES_MAX + 1)
    if len(text) > DOCUMENT_BYTES_MAX:
        raise ValueError("too long for one document")
    return msgspec.json.decode(text)


def _documents(line: bytes) -> Iterator[Any]:
    try:
        text = line.decode().strip()
        position = 0
        while position < len(text):
            found, position = _json.raw_decode(text, position)
            yield found
            while text[position : position + 1].isspace():
                position += 1
    except (ValueError, RecursionError) as fault:
        yield ValueError(f"no JSON: {fault}")


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if is_gzip else path.open("rb")  # type: ignore[return-value]
