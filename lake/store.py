"""Objects of a lake, in a folder or on S3: listing what landed, reading it, writing whole or not at all.

A URI is the path of a file or folder, or `s3://bucket/key`. Nothing here needs more than boto3.
"""

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

from lake import s3
from lake.errors import ConfigError, TransientError

BEING_WRITTEN = "."  # how names of files begin that are not there yet
MARKERS = "_"
_UPDATES_MAX = 20  # lost races at one object


@dataclass(frozen=True, slots=True)
class RawObject:
    """One landed object, as listed: a rewritten one has another ETag and is another input."""

    uri: str
    etag: str
    size: int


def is_s3(uri: str | os.PathLike[str]) -> bool:
    return str(uri).startswith(s3.SCHEME)


def list_objects(
    uri: str, passed_over: tuple[str, ...] = (BEING_WRITTEN, MARKERS), may_be_missing: bool = False
) -> Iterator[RawObject]:
    """Every object under a folder or `s3://bucket/prefix`, a page at a time.

    In a folder the ETag is the size and the time of the last change, in ns, and names that begin as
    `passed_over` says do not count. Raises ConfigError where there is no such bucket, or no such folder unless it
    `may_be_missing`.
    """
    if is_s3(uri):
        bucket, _ = s3.split(uri)
        for entry in s3.list_objects(uri):
            yield RawObject(f"s3://{bucket}/{entry['Key']}", entry["ETag"].strip('"'), entry["Size"])
        return
    if may_be_missing and not os.path.lexists(uri):
        return
    if not os.path.isdir(uri):
        raise ConfigError("list raw objects", uri, expected="a folder", got="none", remedy="Check the path")
    yield from _list_folder(uri, passed_over)


def _list_folder(folder: str, passed_over: tuple[str, ...]) -> Iterator[RawObject]:
    with _listing_faults(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(passed_over):
                continue
            with _listing_faults(entry.path):
                try:
                    is_folder, status = entry.is_dir(), entry.stat()
                    entry.path.encode()
                except FileNotFoundError:
                    continue  # gone between listing and look: nothing that landed
            if is_folder:
                yield from _list_folder(entry.path, passed_over)
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


def download(raw: RawObject, folder: Path) -> Path:
    """The object's bytes as a local file: where it lies, or from S3 a copy of just the version listed.

    Raises TransientError where it was rewritten or removed since: the next listing has it anew.
    """
    if not is_s3(raw.uri):
        return Path(raw.uri)
    target = folder / uuid.uuid4().hex
    s3.download(raw.uri, raw.etag, target)
    return target


def fetch(uri: str, folder: Path) -> Path | None:
    """An object of whatever size as a local file, in the version there is now: where it lies, or from S3 a copy in the
    folder. None where there is none.
    """
    if is_s3(uri):
        target = folder / uuid.uuid4().hex
        return target if s3.download(uri, None, target) else None
    return Path(uri) if os.path.isfile(uri) else None


def read(uri: str) -> bytes | None:
    """An object's bytes, None where there is none. Raises OSError, or LakeError on S3."""
    if is_s3(uri):
        found = s3.read(uri)
        return None if found is None else found[0]
    try:
        return Path(uri).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def put(uri: str | os.PathLike[str], data: bytes) -> None:
    """Writes an object whole or not at all (in a folder: to a temporary name, then renamed)."""
    if is_s3(uri):
        s3.put(str(uri), data)
    else:
        _put(Path(uri), lambda temporary: _write_durably(temporary, data))


def put_copy(uri: str | os.PathLike[str], source: Path) -> None:
    """The same with the bytes of a local file, of whatever size."""
    if is_s3(uri):
        s3.upload(source, str(uri))
    else:
        _put(Path(uri), lambda temporary: shutil.copyfile(source, temporary))


def _put(path: Path, write: Callable[[Path], object]) -> None:
    _make_folder(path.parent)
    temporary = _temporary(path)
    try:
        write(temporary)
        os.replace(temporary, path)
        _keep_name(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_durably(path: Path, data: bytes) -> None:
    """On the disk and not only on its way there: a checkpoint elsewhere may tell that it is."""
    with path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _keep_name(folder)


def _keep_name(path: Path) -> None:
    """Makes a new name of a file last, as its bytes do."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def put_new(uri: str | os.PathLike[str], data: bytes) -> bool:
    """Writes an object whole, or leaves the one that is there: False.

    On S3 the answer to a write that took may be lost, and the next attempt be told that an object is there: it
    is read, and counts as written where it is this very one.
    """
    if is_s3(uri):
        return s3.put(str(uri), data, IfNoneMatch="*") or read(str(uri)) == data
    path = Path(uri)
    _make_folder(path.parent)
    temporary = _temporary(path)
    try:
        _write_durably(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
        _keep_name(path)  # also of one that is there: who wrote it may have come no further
    return True


def put_new_copy(uri: str | os.PathLike[str], source: Path) -> bool:
    """`put_new` with the bytes of a local file, of whatever size; those of one name must say the same.

    On S3 False may also be told of a write that took, and what is larger than one request may carry takes the place
    of what is there.
    """
    if is_s3(uri):
        if source.stat().st_size > s3.PUT_BYTES_MAX:
            s3.upload(source, str(uri))
            return True
        return s3.put(str(uri), source, IfNoneMatch="*")
    path = Path(uri)
    _make_folder(path.parent)
    temporary = _temporary(path)
    try:
        shutil.copyfile(source, temporary)
        _flush(temporary)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
        _keep_name(path)
    return True


def _flush(path: Path) -> None:
    """Onto the disk, what is only on its way there."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def update(uri: str | os.PathLike[str], change: Callable[[str], str]) -> None:
    """Replaces a text by a function of what it holds; of two at once both take effect, in turn."""
    if not is_s3(uri):
        path = Path(uri)
        with open(path.with_name(f".{path.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            put(path, change(path.read_text(encoding="utf-8")).encode())
        return
    for _ in range(_UPDATES_MAX):
        found = s3.read(str(uri))
        if found is None:
            raise ConfigError("change", uri, expected="an object", got="none")
        text = found[0].decode()
        changed = change(text)
        if changed == text or s3.put(str(uri), changed.encode(), IfMatch=found[1]):
            return
    raise TransientError("change", uri, expected="a turn", got="others changing it all the while", remedy="Try again")


def delete(uris: list[str]) -> None:
    """Deletes objects; those that are not there count as deleted."""
    if uris and is_s3(uris[0]):
        s3.delete(uris)
        return
    for uri in uris:
        Path(uri).unlink(missing_ok=True)
