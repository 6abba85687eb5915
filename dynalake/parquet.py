"""Results of queries as Parquet, a row group at a time, every value as DuckDB has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dynalake.console import interval_text
from dynalake.results import Result
from lake.errors import LakeError

_FETCHED_ROWS = 2_048  # at once: a vector of DuckDB's
_GROUP_ROWS_MAX = 122_880
_GROUP_BYTES_MAX = 64_000_000
# What Arrow, on the way, would make something else of.
_ALTERED = {"uhugeint", "bit", "time with time zone", "union", "variant", "bignum", "geometry"}


def write_parquet(result: Result, path: Path) -> int:
    """Writes all rows and gives their number. An INTERVAL becomes its text. Raises LakeError."""
    names = result.unique_names
    _require_kept(names, result.types)
    is_checked = any("hugeint" in kinds_of(kind) for kind in result.types)
    reader = result.source.to_arrow_reader(_FETCHED_ROWS)
    schema = pa.schema([field.with_name(name) for field, name in zip(_told(reader.schema), names, strict=True)])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in _groups(result, reader, schema, is_checked):
            writer.write_table(table, row_group_size=max(1, table.num_rows))
            count += table.num_rows
    return count


def _groups(result: Result, reader: Any, schema: pa.Schema, is_checked: bool) -> Iterator[pa.Table]:
    """The rows in tables that are small enough to be held."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        result.check()
        if is_checked:
            _require_digits(batch)
        held.append(pa.RecordBatch.from_arrays(list(map(_as_told, batch.columns)), schema=schema))
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS_MAX or size >= _GROUP_BYTES_MAX:
            yield pa.Table.from_batches(held, schema)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held, schema)


def _told(schema: pa.Schema) -> Iterator[pa.Field]:
    for field in schema:
        is_interval = field.type == pa.month_day_nano_interval()
        yield field.with_type(pa.string()) if is_interval else field


def _as_told(column: pa.Array) -> pa.Array:
    if column.type != pa.month_day_nano_interval():
        return column
    return pa.array(
        [None if one is None else _interval(one.months, one.days, one.nanoseconds) for one in column.to_pylist()],
        pa.string(),
    )


def _interval(months: int, days: int, ns: int) -> str:
    return interval_text(months, days, ns // 1_000)


def kinds_of(kind: Any) -> set[str]:
    """The names of a type and of those inside it."""
    if not hasattr(kind, "id"):
        return set()
    if kind.id in ("decimal", "enum"):
        return {kind.id}
    try:
        inner = kind.children
    except Exception:  # of a plain type, which has none
        inner = []
    return {str(kind.id)}.union(*(kinds_of(child) for _, child in inner))


def _require_kept(names: Sequence[str], kinds: Sequence[Any]) -> None:
    for name, kind in zip(names, kinds, strict=True):
        found = kinds_of(kind)
        if found & _ALTERED or ("interval" in found and kind.id != "interval"):
            raise LakeError(
                "write Parquet", f"column {name}", expected="a type that Parquet keeps", got=str(kind),
                remedy=f'Write CAST("{name}" AS VARCHAR) in the query',
            )  # fmt: skip


def _require_digits(batch: pa.RecordBatch) -> None:
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as fault:
        raise LakeError(
            "write Parquet", "a HUGEINT", expected="38 digits at most", got="more",
            remedy="Write CAST(… AS VARCHAR) in the query",
        ) from fault  # fmt: skip
