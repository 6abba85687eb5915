"""The Iceberg catalog of a lake: SQLite beside a folder, Glue for S3; loading and making tables in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationError,
)
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from lake import layout
from lake.aws import SERVER_ERROR, aws_client, aws_faults
from lake.errors import CommitConflict, CommitStateUnknown, ConfigError, LakeError, TransientError
from lake.lake import Lake
from lake.store import list_objects

_NAMESPACE = "dynalake.namespace"  # where a catalog has the lake's tables
_TABLES = "dynalake.tables"  # the place of their files
_S3_FILES = "lake.file_io.S3FileIO"
_PROPERTIES = {
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.parquet.compression-codec": "zstd",
}
_OPENINGS_MAX = 5


@contextmanager
def catalog_faults(operation: str, identity: object) -> Iterator[None]:
    """Turns what the catalog raises into this project's errors."""
    try:
        with aws_faults(operation, identity):
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
    if not lake.is_on_s3:
        return _open_file(lake.root / layout.CATALOG, lake)
    settings = dict(lake.config.catalog)
    if not settings:
        raise ConfigError(
            "open catalog", lake.uri, expected=f"[catalog] in {layout.CONFIG}", got="none",
            remedy='Add it: type = "glue", database = "NAME"',
        )  # fmt: skip
    database = settings.pop("database")
    files = {PY_IO_IMPL: _S3_FILES, "warehouse": lake.warehouse, **_places(lake, database)}
    with catalog_faults("open catalog", database):
        catalog = _glue(files | settings) if settings["type"] == "glue" else _other(settings | files)
        # Looked for first: who may use it need not have the right to make it.
        if not catalog.namespace_exists(database):
            catalog.create_namespace_if_not_exists(database)
        # Looked at once more: of two first jobs at once the other may have made the tables before its data was listed.
        if not catalog.list_tables(database) and _has_data(lake) and not catalog.list_tables(database):
            raise LakeError(
                "open catalog", database, expected="the tables that the warehouse holds data of", got="none",
                remedy=f"See to [catalog] in {layout.CONFIG}, and to who deleted the database's tables",
            )  # fmt: skip
    return catalog


class _Glue(GlueCatalog):
    """Glue, where a conflict is always another's commit.

    An HTTP client that hears no answer asks again. For a commit that would be a trap: the first request may
    have taken, the second is then told that the version has moved on, and pyiceberg deletes the manifests of a
    commit that stands. So a commit is sent once, and no answer means that its outcome is not known.
    """

    def _update_glue_table(self, database_name: str, table_name: str, table_input: Any, version_id: str) -> None:
        once = copy(self)
        once.glue = aws_client("glue", attempts=1)
        try:
            GlueCatalog._update_glue_table(once, database_name, table_name, table_input, version_id)
        except (BotoCoreError, ClientError) as fault:
            if isinstance(fault, ClientError) and fault.response["ResponseMetadata"]["HTTPStatusCode"] < SERVER_ERROR:
                raise  # refused: it did not take
            raise CommitStateUnknownException(str(fault)) from fault


def _glue(properties: Mapping[str, str]) -> Catalog:
    return _Glue(layout.NAMESPACE, client=aws_client("glue"), **properties)


def _other(properties: Mapping[str, str]) -> Catalog:
    try:
        return load_catalog(layout.NAMESPACE, **properties)
    except (ValueError, ImportError) as fault:
        raise ConfigError(
            "open catalog", properties["type"], expected="one that pyiceberg can load", got=str(fault),
            remedy=f"See to [catalog] in {layout.CONFIG}",
        ) from fault  # fmt: skip


def _has_data(lake: Lake) -> bool:
    return any("/data/" in found.uri for found in list_objects(_tables_of(lake) + "/"))


def _places(lake: Lake, namespace: str) -> dict[str, str]:
    return {_NAMESPACE: namespace, _TABLES: _tables_of(lake)}


def _tables_of(lake: Lake) -> str:
    return f"{lake.warehouse}/{layout.NAMESPACE}"


def _open_file(path: Path, lake: Lake) -> Catalog:
    tables = Path(_tables_of(lake))
    has_tables = tables.is_dir()  # looked at first: it comes to be last
    has_data = any(tables.glob("*/data/*"))  # written after its table was made
    if has_tables and not (path.exists() and path.stat().st_size):
        raise LakeError(
            "open catalog", path, expected="the catalog of the tables in the warehouse", got="none",
            remedy="Restore catalog.db from a backup; raw objects and tables are not touched",
        )  # fmt: skip
    with catalog_faults("open catalog", path):
        for attempt in range(_OPENINGS_MAX):
            try:
                places = _places(lake, layout.NAMESPACE)
                catalog = SqlCatalog(layout.NAMESPACE, uri=f"sqlite:///{path}", warehouse=lake.warehouse, **places)
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
    """The table as it is now, pinned; None where there is none yet. `name` is one of `layout`'s."""
    with catalog_faults("load table", name):
        try:
            table = catalog.load_table(_identifier(catalog, name))
        except NoSuchTableError:
            return None
        except (ValidationError, ValueError) as fault:  # metadata that is none, or no JSON
            raise LakeError(
                "load table", name, expected="intact metadata", got=" ".join(str(fault).split()[:20]),
                remedy="Restore the warehouse and catalog.db from one backup",
            ) from fault  # fmt: skip
    place = catalog.properties[_TABLES]
    if not local_path(table.location()).startswith(place):
        raise LakeError(
            "load table", name, expected=f"its files under {place}", got=table.location(),
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
    identifier = _identifier(catalog, name)
    with catalog_faults("create table", name):
        try:
            return catalog.create_table(
                identifier, schema, location=f"{catalog.properties[_TABLES]}/{name}",
                partition_spec=partitions(schema), properties={**_PROPERTIES, **properties},
            )  # fmt: skip
        except TableAlreadyExistsError:
            return catalog.load_table(identifier)


def _identifier(catalog: Catalog, name: str) -> tuple[str, str]:
    return (catalog.properties[_NAMESPACE], name)


def local_path(location: str) -> str:
    """A location as the engines take it: pyiceberg may write a local one as `file://…`."""
    return location.removeprefix("file://")
