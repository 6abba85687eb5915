"""The log's tail as an Iceberg table beside the state, for engines that have none of our functions.

A row for each item that the tail touches, with the columns of the fresh view and whether the item is there. So the
fresh view is, in plain SQL, (state without the items of this table) ∪ (those of them that are live).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pyiceberg.catalog import Catalog
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.types import BooleanType, IcebergType, NestedField

from lake import layout
from lake.catalog import create_table
from lake.columns import IS_LIVE, Column, dump_columns, key_state_columns, parse_columns
from lake.config import TableConfig
from lake.log import lineage
from lake.state import COLUMNS, ICEBERG_TYPES, iceberg_type, own_columns
from lake.tables import batch_of

SOURCE = "dynalake.tail"  # what the rows were computed from
ENTITIES = "dynalake.entities"  # the columns of each entity's view
_FORMAT = 2  # grows where a tail of an earlier version does not hold what is needed now


def ensure_tail(catalog: Catalog, table: TableConfig) -> Table:
    """The tail of a table, made where there is none yet, with the key's columns."""
    columns = key_state_columns(table.keys)
    fields = [
        NestedField(n, name, kind, required=False, doc=doc)
        for n, (name, (kind, doc)) in enumerate(_fields(table, columns).items(), start=1)
    ]
    return create_table(
        catalog,
        layout.tail_table(table.name),
        Schema(*fields),
        lambda schema: PartitionSpec(),
        {COLUMNS: dump_columns(columns), "write.metadata.metrics.column._item": "none"},
    )


def source_of(state: Table, log: Table, table: TableConfig) -> str:
    """What a tail is computed from: the log as far as it goes, the state that it goes beyond, the policy, entities."""
    snapshot = state.current_snapshot()
    covered = None if snapshot is None else snapshot.snapshot_id
    entities = [[one.name, str(one.where), one.attributes] for one in table.entities]
    return json.dumps([_FORMAT, lineage(log), batch_of(log), covered, table.ttl, entities])


def is_computed_from(tail: Table, source: str) -> bool:
    return tail.properties.get(SOURCE) == source


def entities_of(tail: Table) -> dict[str, list[Column]]:
    """The columns of the views of entities, by the entities' names."""
    found: dict[str, str] = json.loads(tail.properties.get(ENTITIES, "{}"))
    return {name: parse_columns(text) for name, text in found.items()}


def evolve_tail(
    transaction: Transaction, table: TableConfig, columns: Sequence[Column], source: str,
    entities: Mapping[str, Sequence[Column]],
) -> None:  # fmt: skip
    """Gives the tail these columns, and says what it is computed from. All of its rows are written anew.

    A column whose type or attribute changed goes and comes again, with a new field id.
    """
    wanted = _fields(table, columns)
    present = {f.name: (str(f.field_type), f.doc) for f in transaction.table_metadata.schema().fields}
    kept = {name for name, (kind, doc) in wanted.items() if present.get(name) == (str(kind), doc)}
    gone = present.keys() - kept
    if gone:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for name in sorted(gone):
                update.delete_column((name,))
    if wanted.keys() - kept:
        with transaction.update_schema() as update:
            for name, (kind, doc) in wanted.items():
                if name not in kept:
                    update.add_column((name,), kind, doc=doc)
    dumped = json.dumps({name: dump_columns(own) for name, own in entities.items()})
    transaction.set_properties({COLUMNS: dump_columns(columns), SOURCE: source, ENTITIES: dumped})


def _fields(table: TableConfig, columns: Sequence[Column]) -> dict[str, tuple[IcebergType, str | None]]:
    ours = {name: (ICEBERG_TYPES[kind], None) for name, kind in own_columns(table).items()}
    return {
        **ours,
        IS_LIVE: (BooleanType(), None),
        **{column.name: (iceberg_type(column), column.attribute) for column in columns},
    }
