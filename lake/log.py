"""The change log as an Iceberg table: its columns, its files, its ledger."""

from __future__ import annotations

import json
from contextlib import suppress

from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)

from lake import layout
from lake.catalog import catalog_faults, create_table
from lake.config import TableConfig
from lake.errors import CommitConflict, CommitStateUnknown, ConfigError, TransientError
from lake.keys import KeySchema
from lake.masks import masked_keys
from lake.sql import empty_rows, identifier
from lake.tables import batch_of, column_types, scan_sql

DAY_FIELD_ID = 1000
MASKED_KEYS = "dynalake.masked_keys"
MASKS_SINCE = "dynalake.masks_since"  # of a log made before: the first batch of which the masks are known
ATTEMPTS_MAX = 10  # at a column that is missing, while others commit
IMAGES = ("new_image", "old_image")
_RESERVED = {"event_day", "key_0", "key_1"}  # the partition's name, and parameters of `orders_history`
_BEFORE_KEYS: tuple[tuple[str, IcebergType], ...] = (("item_key", StringType()),)
_AFTER_KEYS: tuple[tuple[str, IcebergType], ...] = (
    ("op", StringType()),
    ("event_time", TimestampType()),
    ("created_at_us", LongType()),
    ("event_id", StringType()),
    ("is_ttl", BooleanType()),
    ("is_late", BooleanType()),
    ("is_tied", BooleanType()),
    ("source", StringType()),
    ("new_image", StringType()),
    ("old_image", StringType()),
    ("batch", LongType()),
    ("sequence_number", StringType()),
    ("shard_id", StringType()),
    ("raw_object", StringType()),
)


def key_columns(keys: KeySchema) -> list[str]:
    """The log's columns for the key attributes, in their order; ours keep their names."""
    taken = {name for name, _ in (*_BEFORE_KEYS, *_AFTER_KEYS)} | _RESERVED
    columns: list[str] = []
    for attribute in keys.attributes:
        columns.append(layout.unique_name(layout.sql_name(attribute.name), taken | set(columns)))
    return columns


def masks_column(keys: KeySchema) -> str:
    """The log's column for the masks that a change landed under.

    It came when there were logs already: so it is the one of ours that gives way where a key has its name.
    """
    taken = {name for name, _ in (*_BEFORE_KEYS, *_AFTER_KEYS)} | _RESERVED
    return layout.unique_name("masks", taken | set(key_columns(keys)))


def masks_since(log: Table) -> int:
    """The first batch whose masks the log tells: of changes before that nobody knows which they bore."""
    return int(log.properties.get(MASKS_SINCE, "0"))


def ensure_log(catalog: Catalog, table: TableConfig) -> Table:
    """The change log of a table with all its columns, for a job to write: made, or added to, where it is not so yet.

    Raises LakeError.
    """
    name = masks_column(table.keys)
    for _ in range(ATTEMPTS_MAX):
        log = open_log(catalog, table)
        if name in log.schema().column_names:
            return log
        with suppress(CommitConflict, CommitStateUnknown):  # another job may have added it: looked at anew
            _add_masks(log, name)
    raise TransientError(
        "add column to", layout.log_table(table.name), expected=f"a commit within {ATTEMPTS_MAX} attempts",
        got="other jobs committing all the while", remedy="Run it again",
    )  # fmt: skip


def _add_masks(log: Table, name: str) -> None:
    """Adds the column to a log made before there was one: a change of the schema alone, no file is written anew."""
    with catalog_faults("add column to", log.name()[-1]):
        transaction = log.transaction()
        with transaction.update_schema() as update:
            update.add_column(name, StringType())
        transaction.set_properties({MASKS_SINCE: str(batch_of(log) + 1)})
        transaction.commit_transaction()


def changes_sql(log: Table, table: TableConfig) -> str:
    """SQL for the rows of the pinned version of a log, with all columns of today: NULL where it was made before."""
    snapshot = log.current_snapshot()
    schema_id = None if snapshot is None else snapshot.schema_id
    schema = log.schema() if schema_id is None else log.schemas()[schema_id]
    name = masks_column(table.keys)
    if name in schema.column_names:
        return scan_sql(log)
    types = column_types(log) | {name: "VARCHAR"}
    return f"({empty_rows(types)} UNION ALL BY NAME SELECT * FROM {scan_sql(log)})"


def open_log(catalog: Catalog, table: TableConfig) -> Table:
    """The change log of a table, for a reader: as it is, made where there is none yet.

    N keys are text there, B keys binary.
    """
    keys = [
        (column, BinaryType() if attribute.kind == "B" else StringType(), f"{attribute} of DynamoDB")
        for column, attribute in zip(key_columns(table.keys), table.keys.attributes, strict=True)
    ]
    ours = [[(name, kind, None) for name, kind in group] for group in (_BEFORE_KEYS, _AFTER_KEYS)]
    masks: tuple[str, IcebergType, None] = (masks_column(table.keys), StringType(), None)
    fields = [
        NestedField(n, name, kind, required=False, doc=doc)
        for n, (name, kind, doc) in enumerate([*ours[0], *keys, *ours[1], masks], start=1)
    ]
    return create_table(
        catalog,
        layout.log_table(table.name),
        Schema(*fields),
        lambda schema: PartitionSpec(
            PartitionField(schema.find_field("event_time").field_id, DAY_FIELD_ID, DayTransform(), "event_day")
        ),
        {f"write.metadata.metrics.column.{image}": "none" for image in IMAGES} | {MASKED_KEYS: _masked_keys(table)},
    )


def require_same_masked_keys(log: Table, table: TableConfig) -> None:
    """Raises ConfigError where keys are masked that were not when the log was made, or the other way round.

    Every item would be there under two keys, and none of the old ones could ever be deleted.
    """
    made_with, now = log.properties.get(MASKED_KEYS, "[]"), _masked_keys(table)
    if made_with != now:
        raise ConfigError(
            "compact", table.name, expected=f"masked keys as when its log was made: {made_with}", got=now,
            remedy="Set them back in lake.toml. A key is masked from the first change on, or in a new lake",
        )  # fmt: skip


def _masked_keys(table: TableConfig) -> str:
    return json.dumps(masked_keys(table.masks, table.keys))


_LEDGER: tuple[tuple[str, IcebergType], ...] = (
    ("uri", StringType()),
    ("etag", StringType()),
    ("size", LongType()),
    ("lineage", StringType()),
    ("batch", LongType()),
    ("records", LongType()),
    ("changes", LongType()),
    ("duplicates", LongType()),
    ("dead_letters", LongType()),
    ("taken_at", TimestampType()),
)


def ensure_ledger(catalog: Catalog, table: TableConfig) -> Table:
    """The ledger beside a log: which raw object went into which batch of which log, with its counts."""
    fields = [NestedField(n, name, kind, required=False) for n, (name, kind) in enumerate(_LEDGER, start=1)]
    return create_table(catalog, layout.ledger_table(table.name), Schema(*fields), lambda schema: PartitionSpec(), {})


def lineage(log: Table) -> str:
    """Which log a ledger entry speaks of: one made anew under the same name is another."""
    return str(log.metadata.table_uuid)


def field_ids(schema: Schema) -> str:
    """DuckDB's FIELD_IDS for a schema: what makes the files readable after columns come, go and change."""
    return "{" + ", ".join(_field_id(field) for field in schema.fields) + "}"


def _field_id(field: NestedField) -> str:
    if isinstance(field.field_type, ListType):
        inner = f"{{__duckdb_field_id: {field.field_id}, element: {field.field_type.element_id}}}"
        return f"{identifier(field.name)}: {inner}"
    return f"{identifier(field.name)}: {field.field_id}"
