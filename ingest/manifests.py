"""Manifests of DynamoDB's exports to S3: which files an export has, of which table and as of when.

AWS: "DynamoDB table export output format" in the developer guide. The data folder of incremental exports is shared by
all of them, so nothing is ever listed: what belongs to an export is what its manifests name. An export may have been
copied elsewhere, into a folder too: its files are looked for where they stand beside its manifests.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from lake.config import TableConfig
from lake.errors import ConfigError, LakeError
from lake.store import is_s3, read

SUMMARY = "manifest-summary.json"
SECOND_US = 1_000_000
_FOLDER = "AWSDynamoDB/"  # what AWS puts between an export's prefix and all else
_EXPORT_ARN = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/[^/]+/export/([A-Za-z0-9-]+)")
_TABLE_ARN = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a data file: an object that is not passed over is named by it
_READ = "read export"
_COPY = "Give the folder of one export as DynamoDB wrote it, copied whole if at all"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of an export: gzipped lines, `items` of them; `md5` is of the file as it lies there, in base64."""

    name: str
    uri: str
    items: int
    md5: str


@dataclass(frozen=True, slots=True)
class Export:
    """One export. `until_us` is the time of its state in UTC microseconds: `exportTime`, or the end of the window.

    An incremental one tells of each item that was written in its window, from `from_us` on, the last state in it.
    """

    arn: str
    id: str
    from_us: int | None
    until_us: int
    files: tuple[DataFile, ...]

    @property
    def is_incremental(self) -> bool:
        return self.from_us is not None

    @property
    def items(self) -> int:
        return sum(file.items for file in self.files)


class _Summary(msgspec.Struct):
    exportArn: str
    tableArn: str
    manifestFilesS3Key: str
    itemCount: int
    outputFormat: str
    exportType: str | None = None  # manifests of before there were incremental ones do not tell
    exportTime: str | None = None
    exportFromTime: str | None = None
    exportToTime: str | None = None


class _File(msgspec.Struct):
    itemCount: int
    md5Checksum: str
    dataFileS3Key: str


def read_export(uri: str, table: TableConfig) -> Export:
    """The export whose folder, or `manifest-summary.json`, is at a URI. Raises LakeError unless it is whole and
    of this table.
    """
    folder = _folder(uri)
    place = f"{folder}/{SUMMARY}"
    text = _read(place, "the summary that DynamoDB writes when an export is complete",
                 f"Wait until it is; or correct the place. {_COPY}")  # fmt: skip
    summary = _decode(text, _Summary, place)
    found = _EXPORT_ARN.fullmatch(summary.exportArn)
    if found is None:
        raise LakeError(_READ, place, expected="the ARN of an export", got=repr(summary.exportArn), remedy=_COPY)
    _require_fit(summary, table, place)
    is_incremental = summary.exportType == "INCREMENTAL_EXPORT"
    from_us = _time(summary.exportFromTime, place) if is_incremental else None
    until_us = _time(summary.exportToTime if is_incremental else summary.exportTime, place)
    files_place = _place(folder, found[1], summary.manifestFilesS3Key, place)
    files_text = _read(files_place, "the list of its files that an export's summary names", _COPY)
    listed = [_decode(line, _File, files_place) for line in files_text.split(b"\n") if line.strip()]
    if (items := sum(one.itemCount for one in listed)) != summary.itemCount:
        raise LakeError(
            _READ, files_place, expected=f"files of {summary.itemCount} items, as {SUMMARY} says",
            got=f"{len(listed)} files of {items}", remedy=_COPY,
        )  # fmt: skip
    files = [_data_file(one, folder, found[1], files_place) for one in listed]
    twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
    if twice:
        raise LakeError(_READ, files_place, expected="a name for each data file", got=f"{twice[0]} twice")
    return Export(summary.exportArn, found[1], from_us, until_us, tuple(files))


def _folder(uri: str) -> str:
    folder = uri.removesuffix(SUMMARY).rstrip("/")
    if is_s3(folder):
        return folder
    if "://" in folder:
        raise ConfigError(_READ, uri, expected="a folder, or s3://BUCKET/PREFIX", got="another URI", remedy=_COPY)
    return os.path.abspath(os.path.expanduser(folder or "."))


def _require_fit(summary: _Summary, table: TableConfig, place: str) -> None:
    if summary.outputFormat != "DYNAMODB_JSON":
        raise ConfigError(
            _READ, place, expected="an export in DYNAMODB_JSON", got=summary.outputFormat,
            remedy="Export the table again, with --export-format DYNAMODB_JSON",
        )  # fmt: skip
    if summary.exportType not in (None, "FULL_EXPORT", "INCREMENTAL_EXPORT"):
        raise ConfigError(_READ, place, expected="a full or an incremental export", got=repr(summary.exportType))
    name = _TABLE_ARN.fullmatch(summary.tableArn)
    if name is None or name[1] != table.dynamodb_name:
        raise ConfigError(
            _READ, place, expected=f"an export of the table {table.dynamodb_name}", got=f"one of {summary.tableArn}",
            remedy="Name the table that it is of",
        )  # fmt: skip


def _data_file(listed: _File, folder: str, export_id: str, place: str) -> DataFile:
    key = listed.dataFileS3Key
    name = key.rpartition("/")[2].removesuffix(".gz").removesuffix(".json")
    if _NAME.fullmatch(name) is None or listed.itemCount < 0:
        raise LakeError(_READ, place, expected="the name of a data file, and its items", got=repr(key), remedy=_COPY)
    return DataFile(name, _place(folder, export_id, key, place), listed.itemCount, listed.md5Checksum)


def _place(folder: str, export_id: str, key: str, place: str) -> str:
    """Where something lies that a manifest names by its key in the bucket of the export."""
    tail = key.rpartition(_FOLDER)[2]
    if _FOLDER not in key or any(step in ("", ".", "..") for step in tail.split("/")):
        raise LakeError(_READ, place, expected=f"keys with {_FOLDER} in them", got=repr(key), remedy=_COPY)
    own, _, rest = tail.partition("/")
    return f"{folder}/{rest}" if own == export_id else f"{folder.rpartition('/')[0]}/{tail}"


def _read(place: str, expected: str, remedy: str) -> bytes:
    try:
        found = read(place)
    except OSError as fault:
        raise ConfigError(_READ, place, expected=expected, got=str(fault.strerror), remedy=remedy) from fault
    if found is None:
        raise ConfigError(_READ, place, expected=expected, got="none", remedy=remedy)
    return found


def _decode(text: bytes, kind: type[T], place: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise LakeError(_READ, place, expected="a manifest as DynamoDB writes it", got=str(fault),
                        remedy=_COPY) from fault  # fmt: skip


def _time(text: str | None, place: str) -> int:
    try:
        moment = datetime.fromisoformat(text or "")
        if moment.tzinfo is None:
            raise ValueError(text)
    except ValueError as fault:
        raise LakeError(_READ, place, expected="the time of its state, with its zone", got=repr(text)) from fault
    since = moment - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds
