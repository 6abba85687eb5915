"""DynamoDB's exports to S3, full and incremental, made of a table's history: manifests and data files.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html
"""

import base64
import gzip
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Literal, TypeAlias

from standin.encoder import encode_json
from standin.history import Change, Table, uuid_text
from standin.size import image_size

ExportView: TypeAlias = Literal["NEW_AND_OLD_IMAGES", "NEW_IMAGE"]

_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TAKES_US = 300_000_000  # from an export's start to its end


@dataclass(frozen=True, slots=True)
class TableExport:
    """An export as it lies in its bucket: ``objects`` by key. ``folder`` is that of its manifests, with a slash at its
    end; the data of incremental exports is beside it, in a folder that all of them share.
    """

    arn: str
    folder: str
    objects: dict[str, bytes]

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]


def full_export(
    table: Table, at_us: int, *, seed: int | str = 0, files: int = 3, bucket: str = "exports", prefix: str = "",
    region: str = "us-east-1", account: str = "123456789012",
) -> TableExport:  # fmt: skip
    """``ExportTableToPointInTime`` of FULL_EXPORT: the table just before an instant, at which a window may begin."""
    items = table.items_as_of(at_us - 1)
    lines = [(repr(key), encode_json({"Item": item})) for key, item in items.items()]
    size = sum(image_size(item) for item in items.values())
    place = _Place(table.name, f"full/{seed}/{at_us}", at_us, bucket, prefix, region, account)
    data = f"{place.folder}data/"
    return place.export(lines, data, files, size, {"exportTime": _time(at_us), "exportType": "FULL_EXPORT"})


def incremental_export(
    table: Table, from_us: int, to_us: int, *, view: ExportView = "NEW_AND_OLD_IMAGES", seed: int | str = 0,
    files: int = 3, bucket: str = "exports", prefix: str = "", region: str = "us-east-1", account: str = "123456789012",
) -> TableExport:  # fmt: skip
    """The same of INCREMENTAL_EXPORT: of each item that was written in ``[from_us, to_us)`` its last state there.

    An item that was not there before and is not there at the end does not show. (AWS takes windows of 15 minutes to 24
    hours, given in seconds; here any will do.)
    """
    written: dict[object, list[Change]] = {}
    for change in table.changes:
        if from_us <= change.at_us < to_us:
            written.setdefault(change.key, []).append(change)
    lines, size = [], 0
    for key, changes in written.items():
        old, last = changes[0].old, changes[-1]
        if old is None and last.new is None:
            continue
        line = {"Metadata": {"WriteTimestampMicros": {"N": str(last.at_us)}}, "Keys": last.keys}
        if last.new is not None:
            line["NewImage"] = last.new
        if old is not None and view == "NEW_AND_OLD_IMAGES":
            line["OldImage"] = old
        lines.append((repr(key), encode_json(line)))
        size += sum(image_size(image) for image in (old, last.new) if image is not None)
    place = _Place(table.name, f"incremental/{seed}/{from_us}/{to_us}/{view}", to_us, bucket, prefix, region, account)
    told = {"exportFromTime": _time(from_us), "exportToTime": _time(to_us), "outputView": view,
            "exportType": "INCREMENTAL_EXPORT"}  # fmt: skip
    return place.export(lines, f"{place.prefix}AWSDynamoDB/data/", files, size, told)


class _Place:
    """Where an export goes, and the manifests and files there."""

    def __init__(self, table: str, name: str, at_us: int, bucket: str, prefix: str, region: str, account: str) -> None:
        self._rng = Random(f"{table}/{name}")
        self._table, self._at_us, self._bucket, self._given = table, at_us, bucket, prefix.strip("/")
        export_id = f"{at_us // 1000:014}-{self._rng.randrange(1 << 32):08x}"
        self.table_arn = f"arn:aws:dynamodb:{region}:{account}:table/{table}"
        self.arn = f"{self.table_arn}/export/{export_id}"
        self.prefix = f"{self._given}/" if self._given else ""
        self.folder = f"{self.prefix}AWSDynamoDB/{export_id}/"

    def export(
        self, lines: Iterable[tuple[str, str]], data: str, files: int, size: int, told: dict[str, str]
    ) -> TableExport:
        """Each line goes to the file of its partition, as its key's hash says, in any order; a file may stay empty."""
        parts: list[list[str]] = [[] for _ in range(files)]
        for key, line in lines:
            parts[int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % files].append(line)
        objects, listed = {f"{self.folder}_started": b""}, []
        for part in parts:
            self._rng.shuffle(part)
            body = gzip.compress("".join(f"{line}\n" for line in part).encode(), mtime=0)
            key = f"{data}{''.join(self._rng.choices(_NAME_LETTERS, k=26))}.json.gz"
            digest = hashlib.md5(body, usedforsecurity=False)
            etag = hashlib.md5(digest.digest(), usedforsecurity=False).hexdigest() + "-1"  # it is put in parts
            md5 = base64.b64encode(digest.digest()).decode()
            listed.append({"itemCount": len(part), "md5Checksum": md5, "etag": etag, "dataFileS3Key": key})
            objects[key] = body
        files_key = f"{self.folder}manifest-files.json"
        table_id = f"b116b490-6460-4d4a-9a6b-{uuid_text(self._table)[-12:]}"
        summary = {
            "version": "2023-08-01", "exportArn": self.arn, "startTime": _time(self._at_us),
            "endTime": _time(self._at_us + _TAKES_US), "tableArn": self.table_arn,
            "tableId": table_id,
            **told, "s3Bucket": self._bucket, "s3Prefix": self._given or None, "s3SseAlgorithm": "AES256",
            "s3SseKmsKeyId": None, "manifestFilesS3Key": files_key, "billedSizeBytes": size,
            "itemCount": sum(map(len, parts)), "outputFormat": "DYNAMODB_JSON",
        }  # fmt: skip
        texts = {files_key: "".join(f"{encode_json(one)}\n" for one in listed),
                 f"{self.folder}manifest-summary.json": encode_json(summary)}  # fmt: skip
        for key, text in texts.items():
            objects[key] = text.encode()
            objects[f"{key.removesuffix('.json')}.checksum"] = base64.b64encode(
                hashlib.md5(text.encode(), usedforsecurity=False).digest()
            )
        return TableExport(self.arn, self.folder, objects)


def _time(us: int) -> str:
    """As manifests tell times: to the millisecond, rounded down."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
