"""The tables of a lake as lists of Parquet files: reading what is in a version, committing what comes and goes.

DuckDB writes the files; pyiceberg only commits them. A table object is a pinned version: what was planned on
it is committed on it, and a commit is a compare-and-swap because pyiceberg's own retry is off (it would
rebase the work on a version it was not planned on, and land it twice). All use of pyiceberg's undocumented
surface stands here, held by read-back tests.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import PrimitiveType

from lake.catalog import catalog_faults, local_path
from lake.errors import CommitConflict, CommitStateUnknown, LakeError, TransientError
from lake.sql import empty_rows, literal, parquet_sql
from lake.store import delete, is_s3, put_copy

BATCH = "dynalake.batch"  # log: the last batch in it; state: the batch of the log that it covers
COMMIT = "dynalake.commit"  # snapshot summary: which attempt made it, where an answer was lost
UPLOADS_MAX = 4  # at once
_AVRO = b"Obj\x01"  # how an Avro file begins
_EPOCH = datetime.date(1970, 1, 1)


def batch_of(table: Table | None) -> int:
    """The last batch in a log, or the last that a state covers; 0 in a new table."""
    return int(table.properties.get(BATCH, "0")) if table is not None else 0


@dataclass(frozen=True, slots=True)
class LogFile:
    """A data file of a pinned table with the range of one column in it."""

    path: str
    rows: int
    size: int
    partition: Any
    low: Any
    high: Any


def data_files(table: Table, column: str) -> list[LogFile]:
    """The data files of the pinned snapshot, with the bounds of `column` from the manifests."""
    field = table.schema().find_field(column)
    assert isinstance(field.field_type, PrimitiveType)
    found = []
    for task in table.scan().plan_files():
        file = task.file
        low, high = (bounds.get(field.field_id) for bounds in (file.lower_bounds, file.upper_bounds))
        found.append(
            LogFile(
                path=local_path(file.file_path),
                rows=file.record_count,
                size=file.file_size_in_bytes,
                partition=file.partition[0] if len(file.partition) else None,
                low=None if low is None else from_bytes(field.field_type, low),
                high=None if high is None else from_bytes(field.field_type, high),
            )
        )
    return found


def null_counts(table: Table, fields: Collection[int]) -> dict[int, int | None]:
    """How many rows of the pinned snapshot are NULL in each of these fields; None where the manifests do not tell."""
    found: dict[int, int | None] = dict.fromkeys(fields, 0)
    for task in table.scan().plan_files():
        file = task.file
        nulls, sizes = dict(file.null_value_counts or {}), dict(file.column_sizes or {})
        for field, count in found.items():
            # A file that has nothing of a column is older than it.
            told = nulls.get(field, None if field in sizes or not sizes else file.record_count)
            found[field] = None if count is None or told is None else count + told
    return found


def files_sql(table: Table, files: list[str]) -> str:
    """SQL for the rows of some of a table's files, or of none."""
    return parquet_sql(files) if files else f"({empty_rows(column_types(table))})"


def scan_sql(table: Table, metadata: str | None = None) -> str:
    """SQL for the rows of the pinned version of a table, whose metadata may be in another file than its own."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return f"({empty_rows(column_types(table))})"
    for manifest in snapshot.manifests(table.io):  # DuckDB's extension ends the process where one is not whole
        path = local_path(manifest.manifest_path)
        if is_s3(path):
            break  # an object is there whole or not at all
        with open(path, "rb") as file:
            is_whole = file.read(len(_AVRO)) == _AVRO and os.fstat(file.fileno()).st_size == manifest.manifest_length
        if not is_whole:
            raise OSError(f"{path} is not the manifest of {manifest.manifest_length} bytes that was written")
    return f"iceberg_scan({literal(metadata or local_path(table.metadata_location))})"


def column_types(table: Table) -> dict[str, str]:
    """The types of a table's columns in DuckDB, as it would read them."""
    names = {"string": "VARCHAR", "long": "BIGINT", "binary": "BLOB"}
    return {field.name: names.get(str(field.field_type), str(field.field_type)) for field in table.schema().fields}


def manifest_entries(table: Table, paths: Collection[str]) -> list[DataFile]:
    """The pinned snapshot's entries for these files."""
    return [task.file for task in table.scan().plan_files() if local_path(task.file.file_path) in paths]


class Output:
    """Where DuckDB writes the data files of one commit: the table's own folder, or scratch from which they go to S3."""

    def __init__(self, table: Table) -> None:
        self.place = f"{local_path(table.location())}/data"
        self._scratch = tempfile.mkdtemp(prefix="dynalake-out-") if is_s3(self.place) else None
        self.folder = self._scratch or self.place
        os.makedirs(self.folder, exist_ok=True)
        self._locations: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def entries(self, metadata: TableMetadata, written: Sequence[tuple[str, int, int | None]]) -> list[DataFile]:
        """Manifest entries for files (path, bytes, partition) that are then where readers find them."""
        with ThreadPoolExecutor(UPLOADS_MAX) as pool:
            return list(pool.map(lambda one: self._entry(metadata, *one), written))

    def _entry(self, metadata: TableMetadata, path: str, size: int, partition: int | None) -> DataFile:
        location = path
        if self._scratch is not None:
            location = f"{self.place}/{Path(path).relative_to(self._scratch)}"
        self._locations.append(location)
        entry = data_file(metadata, path, location, size, partition)
        if self._scratch is not None:
            put_copy(location, Path(path))
            os.unlink(path)
        return entry

    def discard(self) -> None:
        """Deletes what was written for a commit that did not take place."""
        delete(self._locations)


def data_file(metadata: TableMetadata, path: str, location: str, size: int, partition: int | None) -> DataFile:
    """A manifest entry for a Parquet file that DuckDB wrote; its statistics are read from the footer."""
    schema = metadata.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=pq.read_metadata(path),
        stats_columns=compute_statistics_plan(schema, metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record() if partition is None else Record(partition),
        file_size_in_bytes=size,
        sort_order_id=None,
        spec_id=metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def days_since_epoch(day: datetime.date) -> int:
    """Iceberg's `day` transform."""
    return (day - _EPOCH).days


def append_files(table: Table, files: Sequence[DataFile], batch: int) -> None:
    """Commits new files of a batch on the pinned table. Raises CommitConflict, CommitStateUnknown."""
    transaction = table.transaction()
    transaction.set_properties({BATCH: str(batch)})
    commit = uuid.uuid4().hex
    with transaction.update_snapshot(snapshot_properties={BATCH: str(batch), COMMIT: commit}).fast_append() as append:
        for file in files:
            append.append_data_file(file)
    _commit(table, transaction, commit, f"batch {batch}")


def replace_files(
    table: Table, transaction: Transaction, removed: Sequence[DataFile], added: Sequence[DataFile], batch: int
) -> None:
    """Commits a transaction that also swaps data files and says which batch of the log the table now covers.

    Raises CommitConflict, CommitStateUnknown.
    """
    transaction.set_properties({BATCH: str(batch)})
    commit = uuid.uuid4().hex
    snapshot = transaction.update_snapshot(snapshot_properties={BATCH: str(batch), COMMIT: commit})
    with snapshot.overwrite() if removed else snapshot.fast_append() as producer:
        for file in removed:
            producer.delete_data_file(file)
        for file in added:
            producer.append_data_file(file)
    _commit(table, transaction, commit, f"state as of batch {batch}")


def _commit(table: Table, transaction: Transaction, commit: str, what: str) -> None:
    """Commits; where an answer was lost, looks whether it took. A conflict is certain: `catalog` sees to that."""
    name = table.name()[-1]
    try:
        with catalog_faults(f"commit {what} of", name):
            transaction.commit_transaction()
    except CommitConflict:
        raise
    except (CommitStateUnknown, TransientError):
        try:
            with catalog_faults("look for the commit in", name):
                now = table.catalog.load_table(table.name())
        except LakeError as fault:
            raise CommitStateUnknown(f"commit {what} of", name, got=str(fault)) from fault
        if not _holds(now, commit):
            raise


def _holds(table: Table, commit: str) -> bool:
    summaries = [snapshot.summary for snapshot in table.snapshots()]
    return any(one is not None and one.additional_properties.get(COMMIT) == commit for one in summaries)
