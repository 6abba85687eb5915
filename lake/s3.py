"""Objects on S3, as `store` needs them: pages of a listing, whole reads and writes, conditional ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lake.aws import aws_client, aws_faults, error_code
from lake.errors import ConfigError, TransientError

SCHEME = "s3://"
CHUNK_BYTES = 1 << 20
PUT_BYTES_MAX = 4 << 30  # of one request: S3 takes 5 GB
DELETED_MAX = 1_000  # keys of one DeleteObjects
_TRANSFERS = 4  # parts on their way at once, of 8 MB each
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_LOST = {"PreconditionFailed", "412"}  # another write came first
_CONFLICT = {"ConditionalRequestConflict", "409"}  # one is on its way, and may yet fail: ask again
_CONFLICTS_MAX = 5


def split(uri: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key


def list_objects(uri: str) -> Iterator[dict[str, Any]]:
    """S3's entries (`Key`, `ETag`, `Size`) under a prefix, a page at a time."""
    bucket, prefix = split(uri)
    with aws_faults("list raw objects", uri, "Check the name of the bucket, the Region and the credentials"):
        for page in aws_client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", ())


def read(uri: str) -> tuple[bytes, str] | None:
    """An object's bytes and ETag, None where there is none."""
    from botocore.exceptions import ClientError

    bucket, key = split(uri)
    with aws_faults("read", uri):
        try:
            answer = aws_client("s3").get_object(Bucket=bucket, Key=key)
            return answer["Body"].read(), answer["ETag"]
        except ClientError as fault:
            if error_code(fault) in _ABSENT:
                return None
            raise


def download(uri: str, etag: str | None, target: Path) -> bool:
    """Just the version listed, TransientError where it was rewritten or removed since; without an ETag the one there
    is, False where there is none.
    """
    from botocore.exceptions import ClientError

    bucket, key = split(uri)
    with aws_faults("read", uri, "Run it again"):
        try:
            condition = {} if etag is None else {"IfMatch": etag}
            answer = aws_client("s3").get_object(Bucket=bucket, Key=key, **condition)
            with target.open("wb") as out:
                for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                    out.write(chunk)
            return True
        except ClientError as fault:
            if etag is None and error_code(fault) in _ABSENT:
                return False
            if error_code(fault) in _ABSENT | _LOST | _CONFLICT:
                raise TransientError(
                    "read", uri, expected=f"the version {etag}", got=str(fault), remedy="Run it again"
                ) from fault
            raise


def put(uri: str, data: bytes | Path, **condition: str) -> bool:
    """Writes a whole object, from memory or of a local file; False where the condition (`IfNoneMatch`, `IfMatch`) did
    not hold.
    """
    from botocore.exceptions import ClientError

    bucket, key = split(uri)
    with aws_faults("write", uri):
        for n in range(_CONFLICTS_MAX):
            try:
                with nullcontext(data) if isinstance(data, bytes) else data.open("rb") as body:
                    aws_client("s3").put_object(Bucket=bucket, Key=key, Body=body, **condition)
                return True
            except ClientError as fault:
                if condition and error_code(fault) in _LOST:
                    return False
                if not condition or error_code(fault) not in _CONFLICT:
                    raise
                time.sleep(0.1 * 2**n)
    raise TransientError("write", uri, expected="a turn", got="other writes of it under way all the while",
                         remedy="Run it again")  # fmt: skip


def upload(source: Path, uri: str) -> None:
    """A local file's bytes, of whatever size: in parts where it is large."""
    from boto3.exceptions import S3UploadFailedError
    from boto3.s3.transfer import TransferConfig

    bucket, key = split(uri)
    with aws_faults("write", uri):
        try:
            aws_client("s3").upload_file(str(source), bucket, key, Config=TransferConfig(max_concurrency=_TRANSFERS))
        except S3UploadFailedError as fault:  # boto3's wrapping of what was the matter
            if fault.__context__ is not None:
                raise fault.__context__ from fault
            raise ConfigError("write", uri, got=str(fault)) from fault


def size(uri: str) -> int | None:
    """An object's bytes, None where there is none."""
    from botocore.exceptions import ClientError

    bucket, key = split(uri)
    with aws_faults("look at", uri):
        try:
            return int(aws_client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ClientError as fault:
            if error_code(fault) in _ABSENT:
                return None
            raise


def delete(uris: list[str]) -> None:
    """Deletes objects of one bucket; those that are not there count as deleted."""
    for n in range(0, len(uris), DELETED_MAX):
        some = [split(uri) for uri in uris[n : n + DELETED_MAX]]
        with aws_faults("delete", uris[n]):
            aws_client("s3").delete_objects(
                Bucket=some[0][0], Delete={"Objects": [{"Key": key} for _, key in some], "Quiet": True}
            )
