"""How far the tables of a lake are, from metadata alone where that can tell."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.columns import COLUMNS_MAX
from lake.config import TableConfig
from lake.dead_letters import Ids
from lake.engine import connect_engine, engine_faults, use_s3
from lake.lake import Lake
from lake.proofs import last_proof
from lake.redrives import count_open, redriven_ids
from lake.state import columns_of, covered_batch
from lake.tables import batch_of, data_files, files_sql, scan_sql

Status = dict[str, Any]
SHOWN_MAX = 20  # items that were not proven


@engine_faults("look at")
def table_status(lake: Lake) -> list[Status]:
    """A mapping for each table, the same fields in the same order. Raises LakeError."""
    catalog = open_catalog(lake)
    done = redriven_ids(lake)
    return [_status(lake, catalog, table, done) for table in lake.config.tables.values()]


def _status(lake: Lake, catalog: Catalog, table: TableConfig, done: Ids) -> Status:
    log = load_table(catalog, layout.log_table(table.name))
    state = load_table(catalog, layout.state_table(table.name))
    columns = columns_of(state) if state is not None else []
    return {
        "table": table.name,
        "dynamodb_name": table.dynamodb_name,
        "key": " ".join(map(str, table.keys.attributes)),
        "surface": table.surface,
        **_log_status(log, covered_batch(state, log, table)),
        **_state_status(state),
        "columns": len(columns),
        "columns_full": len(columns) >= COLUMNS_MAX,  # further attributes are in _item only
        "dead_letters": count_open(lake, table.name, done),
        "dead_letters_of_no_table": count_open(lake, None, done),
        **_proof_status(lake, table),
    }


def _proof_status(lake: Lake, table: TableConfig) -> Status:
    """What `verify` has proven and what it found last; None where it never ran."""
    proof = last_proof(lake, table.name)
    not_proven = islice(proof.items.items(), SHOWN_MAX) if proof is not None else ()
    return {
        "verified_through": _time(proof.verified_through_us if proof else None),
        "last_verify": _time(proof.at_us if proof else None),
        "last_verify_sample": proof and proof.sample,
        "differing": proof and proof.differing,
        "unproven": proof and proof.unproven,
        "not_proven": [f"{item}: {kind}" for item, kind in not_proven],
    }


def _time(us: int | None) -> str | None:
    return None if us is None else f"{datetime.fromtimestamp(us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _log_status(log: Table | None, covered: int) -> Status:
    batch = batch_of(log)
    status: Status = {"batch": batch, "state_covers_batch": covered}
    if log is None or batch == 0:
        return {
            **status,
            "changes": 0,
            "tail_changes": 0,
            "newest_change": None,
            "log_files": 0,
            "log_bytes": 0,
        }
    files = data_files(log, "batch")
    tail = [file.path for file in files if file.high > covered]
    con = connect_engine()
    try:
        use_s3(con, log.location())
        tail_changes = con.execute(f"SELECT count(*) FROM {files_sql(log, tail)} WHERE batch > {covered}").fetchone()
        newest = con.execute(f"SELECT max(event_time) FROM {scan_sql(log)}").fetchone()
    finally:
        con.close()
    assert tail_changes is not None and newest is not None
    return {
        **status,
        "changes": sum(file.rows for file in files),
        "tail_changes": tail_changes[0],
        "newest_change": f"{newest[0]} UTC",
        "log_files": len(files),
        "log_bytes": sum(file.size for file in files),
    }


def newest_change_us(lake: Lake, table: TableConfig) -> int | None:
    """When the newest change in a table's log was made, in UTC microseconds, by metadata alone; None where there is
    none. Raises LakeError.
    """
    log = load_table(open_catalog(lake), layout.log_table(table.name))
    return max((file.high for file in data_files(log, "event_time")), default=None) if log is not None else None


def _state_status(state: Table | None) -> Status:
    files = data_files(state, "_created_at_us") if state is not None else []
    rescued = 0
    if state is not None and files:
        con = connect_engine()
        try:
            use_s3(con, state.location())
            row = con.execute(f"SELECT count(_rescued) FROM {scan_sql(state)}").fetchone()
            rescued = row[0] if row else 0
        finally:
            con.close()
    return {
        "rows": sum(file.rows for file in files),
        "rescued_rows": rescued,
        "state_files": len(files),
        "state_bytes": sum(file.size for file in files),
    }
