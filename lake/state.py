"""The current state as an Iceberg table: its columns and its buckets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DecimalType,
    DoubleType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
)

from lake import layout
from lake.catalog import create_table
from lake.columns import (
    DECIMAL_DIGITS,
    HASH_KEY,
    IS_LIVE,
    OURS,
    Column,
    changed_types,
    dump_columns,
    key_state_columns,
    parse_columns,
)
from lake.config import TableConfig
from lake.layout import sql_name, unique_name
from lake.log import lineage
from lake.tables import batch_of

COLUMNS = "dynalake.columns"
LINEAGE = "dynalake.lineage"  # the log that the state was made from
TTL = "dynalake.ttl"  # the policy that it was made under
BUCKET_FIELD_ID = 1000
ICEBERG_TYPES: dict[str, IcebergType] = {
    "VARCHAR": StringType(), "BIGINT": LongType(), "DOUBLE": DoubleType(), "BOOLEAN": BooleanType(),
    "BLOB": BinaryType(), "TIMESTAMP": TimestampType(),
}  # fmt: skip


def own_columns(table: TableConfig) -> dict[str, str]:
    """Our columns of a state and their SQL types: `_hash_key` only where the hash key itself is no text."""
    return {name: kind for name, kind in OURS.items() if name != HASH_KEY or table.keys.hash_key.kind != "S"}


def bucket_column(table: TableConfig) -> str:
    """The column whose Iceberg bucket a row lies in: the canonical text of the hash key."""
    return key_state_columns(table.keys)[0].name if table.keys.hash_key.kind == "S" else HASH_KEY


def ensure_state(catalog: Catalog, table: TableConfig) -> Table:
    """The current state of a table, made where there is none yet, with the key's columns."""
    columns = key_state_columns(table.keys)
    fields = [
        NestedField(n, name, ICEBERG_TYPES[kind], required=False)
        for n, (name, kind) in enumerate(own_columns(table).items(), 1)
    ]
    for column in columns:
        fields.append(
            NestedField(len(fields) + 1, column.name, iceberg_type(column), required=False, doc=column.attribute)
        )
    return create_table(
        catalog,
        layout.state_table(table.name),
        Schema(*fields),
        lambda schema: _buckets(schema, table),
        {COLUMNS: dump_columns(columns), TTL: table.ttl, "write.metadata.metrics.column._item": "none"},
    )


def _buckets(schema: Schema, table: TableConfig) -> PartitionSpec:
    source = schema.find_field(bucket_column(table)).field_id
    return PartitionSpec(PartitionField(source, BUCKET_FIELD_ID, BucketTransform(table.buckets), "key_bucket"))


def is_made_from(state: Table, log: Table, table: TableConfig) -> bool:
    """Whether a state speaks of this log, or of none yet, and under the table's policy of today.

    A log made anew under its name is another. Nor does it where a column of an attribute has a name of ours.
    """
    is_of_this_log = state.properties.get(LINEAGE, lineage(log)) == lineage(log)
    is_of_this_policy = state.properties.get(TTL, "delete") == table.ttl  # before there were policies: delete
    return is_of_this_log and is_of_this_policy and not any(_is_ours(c.name) for c in _stored_columns(state))


def covered_batch(state: Table | None, log: Table | None, table: TableConfig) -> int:
    """The last batch of the log that a state covers: 0 where it was not made from it."""
    if state is None or log is None or not is_made_from(state, log, table):
        return 0
    return batch_of(state)


def columns_of(state: Table) -> list[Column]:
    """The typed columns. One with a name that has become ours since gets another, at the next refresh."""
    columns = _stored_columns(state)
    taken = {*OURS, IS_LIVE, *(column.name for column in columns)}
    return [
        replace(column, name=unique_name(sql_name(column.attribute), taken)) if _is_ours(column.name) else column
        for column in columns
    ]


def _is_ours(name: str) -> bool:
    return name in OURS or name == IS_LIVE


def _stored_columns(state: Table) -> list[Column]:
    return parse_columns(state.properties[COLUMNS])


def buckets_of(state: Table) -> int:
    """The number of buckets it was made with, whatever `lake.toml` says since."""
    transform = state.spec().fields[0].transform
    assert isinstance(transform, BucketTransform)
    return transform.num_buckets


def iceberg_type(column: Column) -> IcebergType:
    if column.scalar_type.startswith("DECIMAL"):
        scalar: IcebergType = DecimalType(DECIMAL_DIGITS, column.scale)
    else:
        scalar = ICEBERG_TYPES[column.scalar_type]
    # pyiceberg gives the real element id when the column is added
    return ListType(element_id=0, element_type=scalar, element_required=False) if column.element_kind else scalar


def evolve(
    transaction: Transaction, table: TableConfig, before: Sequence[Column], after: Sequence[Column], lineage: str
) -> None:
    """Adds new columns, ours too in a state made before we had them, and says what the state is made from.

    One whose type changed goes and comes anew, with a new field id, to be filled again.
    """
    ours = own_columns(table)
    present = transaction.table_metadata.schema().fields
    gone = {column.name for column in changed_types(before, after)}
    gone |= {field.name for field in present if _is_ours(field.name) and field.doc}  # of an attribute, as its doc says
    if gone:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in sorted(gone):
                update.delete_column((name,))
    known = {field.name for field in present} - gone
    with transaction.update_schema() as update:
        for name, kind in ours.items():
            if name not in known:
                update.add_column((name,), ICEBERG_TYPES[kind])
        for column in after:
            if column.name not in known:
                update.add_column((column.name,), iceberg_type(column), doc=column.attribute)
    transaction.set_properties({COLUMNS: dump_columns(after), LINEAGE: lineage, TTL: table.ttl})
