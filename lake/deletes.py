"""A version of a table without some of its rows, for this process alone.

What Iceberg calls merge-on-read: metadata, a manifest and a file of position deletes in a scratch folder, beside the
table's own data files. An engine passes over such rows as it reads, several times faster than a join by keys would
take them out, and every filter still reaches the files.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.typedef import Record

from lake.sql import literal, parquet_sql
from lake.tables import LogFile

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FIELD_IDS = "{file_path: 2147483546, pos: 2147483545}"  # as Iceberg's specification has them


class _DeletesWriter(ManifestWriterV2):
    """pyiceberg writes manifests of data files alone."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def scan_without(
    con: DuckDBPyConnection, table: Table, files: Sequence[LogFile], keys: str, column: str, scratch: str
) -> tuple[str, int]:
    """SQL for the rows of a pinned table but those whose `column` is in that of `keys`, and how many these are.

    `keys` is SQL for rows, `column` a text; of `files`, the table's, those are looked at that may hold such rows.
    """
    folder = Path(scratch) / uuid.uuid4().hex
    folder.mkdir(parents=True)
    place = str(folder / "deletes.parquet")
    # Found by its number and under a name of ours: an attribute may be named as DuckDB names a row's place.
    key = "{name: 'the key', type: 'VARCHAR', default_value: NULL}"
    options = f", filename = 'the file', schema = MAP {{{table.schema().find_field(column).field_id}: {key}}}"
    row = con.execute(
        f"""COPY (SELECT "the file" AS file_path, file_row_number AS pos
          FROM {parquet_sql([file.path for file in files], options)} f
          SEMI JOIN {keys} k ON f."the key" = k.{column} ORDER BY ALL)
        TO {literal(place)} (FORMAT parquet, FIELD_IDS {_FIELD_IDS})"""
    ).fetchone()
    count = int(row[0]) if row else 0
    return f"iceberg_scan({literal(_metadata(table, files[0], folder, place, count))})", count


def _metadata(table: Table, some: LogFile, folder: Path, deletes: str, count: int) -> str:
    """Writes metadata of the table's version with the deletes over it, and gives its place."""
    snapshot = table.current_snapshot()
    assert snapshot is not None and isinstance(table.metadata, TableMetadataV2)
    number, sequence = snapshot.snapshot_id + 1, table.metadata.last_sequence_number + 1
    manifest = _manifest(table, some, folder, deletes, count, number)
    manifests = str(folder / "manifests.avro")
    output = PyArrowFileIO().new_output(manifests)
    with write_manifest_list(2, output, number, snapshot.snapshot_id, sequence, "null") as writer:
        writer.add_manifests([*snapshot.manifests(table.io), manifest])
    metadata = json.loads(table.metadata.model_dump_json())
    (ours,) = [one for one in metadata["snapshots"] if one["snapshot-id"] == snapshot.snapshot_id]
    metadata["snapshots"] = [ours | {"snapshot-id": number, "sequence-number": sequence, "manifest-list": manifests}]
    metadata |= {"current-snapshot-id": number, "last-sequence-number": sequence, "refs": {}, "snapshot-log": []}
    place = folder / "v1.metadata.json"
    place.write_text(json.dumps(metadata), encoding="utf-8")
    return str(place)


def _manifest(table: Table, some: LogFile, folder: Path, deletes: str, count: int, snapshot_id: int) -> ManifestFile:
    # One file for all partitions, in the name of one of them: DuckDB finds a data file's deletes by its path.
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES,
        file_path=deletes,
        file_format=FileFormat.PARQUET,
        partition=Record(some.partition),
        record_count=count,
        file_size_in_bytes=os.path.getsize(deletes),
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
    )
    output = PyArrowFileIO().new_output(str(folder / "deletes.avro"))
    entry = ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, sequence_number=None, data_file=file
    )
    with _DeletesWriter(table.spec(), table.schema(), output, snapshot_id, "null") as writer:
        writer.add_entry(entry)
    return writer.to_manifest_file()
