"""The Iceberg tables of a lake: creating, pinning, committing lists of Parquet files.

DuckDB writes the files; pyiceberg only commits them. A table object is a pinned version: what was planned on
it is committed on it, and a commit is a compare-and-swap because pyiceberg's own retry is off (it would
rebase the work on a version it was not planned on, and land it twice). All use of pyiceberg's undocumented
surface stands here, held by read-back tests.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import Record
from pyiceberg.types import PrimitiveType
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from lake import layout
from lake.errors import CommitConflict, CommitStateUnknown, LakeError, TransientError
from lake.lake import Lake
from lake.sql import empty_rows, literal, parquet_sql

BATCH = "dynalake.batch"  # log: the last batch in it; state: the batch of the log that it covers
INPUTS = "dynalake.inputs"  # snapshot summary: the hash of what a commit was made of
_PROPERTIES = {
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.parquet.compression-codec": "zstd",
}
_OPENINGS_MAX = 5
_AVRO = b"Obj\x01"  # how an Avro file begins
_EPOCH = datetime.date(1970, 1, 1)


@contextmanager
def catalog_faults(operation: str, identity: object) -> Iterator[None]:
    """Turns what the catalog raises into this project's errors."""
    try:
        yield
    except CommitFailedException as fault:
        raise CommitConflict(operation, identity, got=str(fault), remedy="Planned anew") from fault
    except CommitStateUnknownException as fault:
        raise CommitStateUnknown(operation, identity, got=str(fault)) from fault
    except OperationalError as fault:  # locked for longer than SQLite waits, or the file cannot be opened
        raise TransientError(
            operation, identity, expected="the catalog to answer", got=str(fault.orig),
            remedy="Run the command again; if it persists, see whether another job hangs",
        ) from fault  # fmt: skip
    except DatabaseError as fault:
        raise LakeError(
            operation, identity, expected="an intact catalog.db", got=str(fault.orig),
            remedy="Restore catalog.db from a backup; raw objects and tables are not touched",
        ) from fault  # fmt: skip
    except FileNotFoundError as fault:
        raise LakeError(
            operation, identity, expected="the table's files", got=str(fault), remedy="Restore the warehouse"
        ) from fault


def open_catalog(lake: Lake) -> Catalog:
    """The lake's catalog, made where there is none yet. Raises LakeError where it is damaged."""
    path = lake.root / layout.CATALOG
    has_tables = (lake.warehouse / layout.NAMESPACE).is_dir()  # looked at first: it comes to be last
    has_data = any((lake.warehouse / layout.NAMESPACE).glob("*/data/*"))  # written after its table was made
    if has_tables and not (path.exists() and path.stat().st_size):
        raise LakeError(
            "open catalog", path, expected="the catalog of the tables in the warehouse", got="none",
            remedy="Restore catalog.db from a backup; raw objects and tables are not touched",
        )  # fmt: skip
    with catalog_faults("open catalog", path):
        for attempt in range(_OPENINGS_MAX):
            try:
                catalog = SqlCatalog(layout.NAMESPACE, uri=f"sqlite:///{path}", warehouse=str(lake.warehouse))
                catalog.create_namespace_if_not_exists(layout.NAMESPACE)
                break
            except DatabaseError as fault:  # of two first jobs at once the other may just have made it
                is_race = isinstance(fault, IntegrityError) or "already exists" in str(fault.orig)
                if not is_race or attempt + 1 == _OPENINGS_MAX:
                    raise
        if has_data and not catalog.list_tables(layout.NAMESPACE):
            raise LakeError(
                "open catalog", path, expected="the tables that the warehouse holds data of", got="none",
                remedy="Restore catalog.db from a backup; raw objects and tables are not touched",
            )  # fmt: skip
    return catalog


def load_table(catalog: Catalog, name: str) -> Table | None:
    """The table as it is now, pinned; None where there is none yet."""
    with catalog_faults("load table", name):
        try:
            table = catalog.load_table(name)
        except NoSuchTableError:
            return None
        except (ValidationError, ValueError) as fault:  # metadata that is none, or no JSON
            raise LakeError(
                "load table", name, expected="intact metadata", got=" ".join(str(fault).split()[:20]),
                remedy="Restore the warehouse and catalog.db from one backup",
            ) from fault  # fmt: skip
    if not _path(table.location()).startswith(_path(catalog.properties["warehouse"])):
        raise LakeError(
            "load table", name, expected=f"its files under {catalog.properties['warehouse']}", got=table.location(),
            remedy="A lake works only where it was made: make another, and compact the same raw objects",
        )  # fmt: skip
    return table


def create_table(
    catalog: Catalog,
    name: str,
    schema: Schema,
    partitions: Callable[[Schema], PartitionSpec],
    properties: Mapping[str, str],
) -> Table:
    """The table, made where there is none yet (two at once make one). pyiceberg renumbers fields: look them up."""
    present = load_table(catalog, name)
    if present is not None:
        return present
    with catalog_faults("create table", name):
        try:
            return catalog.create_table(
                name, schema, partition_spec=partitions(schema), properties={**_PROPERTIES, **properties}
            )
        except TableAlreadyExistsError:
            return catalog.load_table(name)


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
                path=_path(file.file_path),
                rows=file.record_count,
                size=file.file_size_in_bytes,
                partition=file.partition[0] if len(file.partition) else None,
                low=None if low is None else from_bytes(field.field_type, low),
                high=None if high is None else from_bytes(field.field_type, high),
            )
        )
    return found


def files_sql(table: Table, files: list[str]) -> str:
    """SQL for the rows of some of a table's files, or of none."""
    return parquet_sql(files) if files else f"({empty_rows(_column_types(table))})"


def scan_sql(table: Table) -> str:
    """SQL for the rows of the pinned version of a table."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return f"({empty_rows(_column_types(table))})"
    for manifest in snapshot.manifests(table.io):  # DuckDB's extension ends the process where one is not whole
        path = _path(manifest.manifest_path)
        with open(path, "rb") as file:
            is_whole = file.read(len(_AVRO)) == _AVRO and os.fstat(file.fileno()).st_size == manifest.manifest_length
        if not is_whole:
            raise OSError(f"{path} is not the manifest of {manifest.manifest_length} bytes that was written")
    return f"iceberg_scan({literal(_path(table.metadata_location))})"


def _column_types(table: Table) -> dict[str, str]:
    names = {"string": "VARCHAR", "long": "BIGINT", "binary": "BLOB"}
    return {field.name: names.get(str(field.field_type), str(field.field_type)) for field in table.schema().fields}


def manifest_entries(table: Table, paths: Collection[str]) -> list[DataFile]:
    """The pinned snapshot's entries for these files."""
    return [task.file for task in table.scan().plan_files() if _path(task.file.file_path) in paths]


def _path(location: str) -> str:
    return location.removeprefix("file://")


def data_file(metadata: TableMetadata, path: str, size: int, partition: int | None) -> DataFile:
    """A manifest entry for a Parquet file that DuckDB wrote; its statistics are read from the footer."""
    schema = metadata.schema()
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=pq.read_metadata(path),
        stats_columns=compute_statistics_plan(schema, metadata.properties),
        parquet_column_mapping=parquet_path_to_id_mapping(schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
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


def append_files(table: Table, files: Sequence[DataFile], batch: int, inputs: str) -> None:
    """Commits new files of a batch on the pinned table. Raises CommitConflict, CommitStateUnknown."""
    with catalog_faults("commit batch", f"{batch} of {table.name()[-1]}"), table.transaction() as transaction:
        transaction.set_properties({BATCH: str(batch)})
        summary = {BATCH: str(batch), INPUTS: inputs}
        with transaction.update_snapshot(snapshot_properties=summary).fast_append() as append:
            for file in files:
                append.append_data_file(file)


def replace_files(transaction: Transaction, removed: Sequence[DataFile], added: Sequence[DataFile], batch: int) -> None:
    """Within a transaction, swaps data files and says which batch of the log the table now covers."""
    transaction.set_properties({BATCH: str(batch)})
    snapshot = transaction.update_snapshot(snapshot_properties={BATCH: str(batch)})
    with snapshot.overwrite() if removed else snapshot.fast_append() as producer:
        for file in removed:
            producer.delete_data_file(file)
        for file in added:
            producer.append_data_file(file)


def committed_batch(table: Table, inputs: str) -> int | None:
    """The batch in which just these inputs were committed, if they were. Only for a commit of unknown outcome."""
    for snapshot in reversed(table.snapshots()):
        summary = snapshot.summary
        if summary is not None and summary.additional_properties.get(INPUTS) == inputs:
            return int(summary.additional_properties[BATCH])
    return None


def discard(paths: Sequence[str]) -> None:
    """Deletes files that were written for a commit that did not take place."""
    for path in paths:
        Path(path).unlink(missing_ok=True)


def data_folder(table: Table) -> str:
    """The folder for a table's data files, made where it is not there."""
    folder = f"{_path(table.location())}/data"
    os.makedirs(folder, exist_ok=True)
    return folder
