"""Objects of a lake: listing what landed, reading it, writing whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lake.errors import ConfigError, TransientError

_NOT_LANDED = (".", "_")  # names that begin so are still being written, or are markers


@dataclass(frozen=True, slots=True)
class RawObject:
    """One landed object, as listed: a rewritten one has another ETag and is another input."""

    uri: str
    etag: str
    size: int


def list_objects(uri: str, s3: Any = None) -> Iterator[RawObject]:
    """Every object under a folder or `s3://bucket/prefix`, a page at a time.

    In a folder the ETag is the size and the time of the last change, in ns. Raises ConfigError where there
    is no such folder or bucket. `s3` is a boto3 client (one is made where none is given).
    """
    if uri.startswith("s3://"):
        yield from _list_s3(uri, s3 or s3_client())
        return
    if not os.path.isdir(uri):
        raise ConfigError("list raw objects", uri, expected="a folder", got="none", remedy="Check the path")
    yield from _list_folder(uri)


def _list_folder(folder: str) -> Iterator[RawObject]:
    with _listing_faults(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_NOT_LANDED):
                continue
            with _listing_faults(entry.path):
                try:
                    is_folder, status = entry.is_dir(), entry.stat()
                    entry.path.encode()
                except FileNotFoundError:
                    continue  # gone between listing and look: nothing that landed
            if is_folder:
                yield from _list_folder(entry.path)
            elif stat.S_ISREG(status.st_mode):  # a pipe would be waited on for ever
                yield RawObject(entry.path, f"{status.st_size}-{status.st_mtime_ns}", status.st_size)


@contextmanager
def _listing_faults(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        pass  # a folder gone meanwhile
    except UnicodeEncodeError as fault:
        raise ConfigError(
            "list raw objects", repr(path), expected="a name in UTF-8", got="other bytes", remedy="Rename it"
        ) from fault
    except OSError as fault:
        raise ConfigError(
            "list raw objects", path, expected="what can be read", got=str(fault.strerror),
            remedy="Check its permissions",
        ) from fault  # fmt: skip


def s3_client() -> Any:
    """A boto3 S3 client by the standard settings (AWS_ENDPOINT_URL, profiles)."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.client("s3")
    except (BotoCoreError, ValueError) as fault:
        raise ConfigError("reach S3", "", got=str(fault), remedy="Check the AWS settings") from fault


def _list_s3(uri: str, s3: Any) -> Iterator[RawObject]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield RawObject(f"s3://{bucket}/{entry['Key']}", entry["ETag"].strip('"'), entry["Size"])
    except (BotoCoreError, ClientError) as fault:
        raise ConfigError(
            "list raw objects", uri, expected="a bucket that may be listed", got=str(fault),
            remedy="Check the name, the Region and the credentials",
        ) from fault  # fmt: skip


def download(raw: RawObject, folder: Path, s3: Any = None) -> Path:
    """The object's bytes as a local file: where it lies, or from S3 a copy of just the version listed.

    Raises TransientError where it was rewritten or removed since: the next listing has it anew.
    """
    if not raw.uri.startswith("s3://"):
        return Path(raw.uri)
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = raw.uri.removeprefix("s3://").partition("/")
    target = folder / uuid.uuid4().hex
    try:
        answer = (s3 or s3_client()).get_object(Bucket=bucket, Key=key, IfMatch=raw.etag)
        with target.open("wb") as out:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                out.write(chunk)
    except (BotoCoreError, ClientError) as fault:
        raise TransientError(
            "read", raw.uri, expected=f"the version {raw.etag}", got=str(fault), remedy="Run compact again"
        ) from fault
    return target


def put(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all: to a temporary name, then renamed."""
    _put(path, lambda temporary: temporary.write_bytes(data))


def put_copy(path: Path, source: Path) -> None:
    """The same with the bytes of another file, of whatever size."""
    _put(path, lambda temporary: shutil.copyfile(source, temporary))


def _put(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def put_new(path: Path, data: bytes) -> bool:
    """Writes a file whole, or leaves the one that is there: False."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def update(path: Path, change: Callable[[str], str]) -> None:
    """Replaces a text file by a function of what it holds; of two at once both take effect, in turn."""
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        put(path, change(path.read_text(encoding="utf-8")).encode())
