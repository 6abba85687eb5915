"""What `backfill --prune` does behind a Scan: tombstones for what the lake has and the table no longer does."""

from __future__ import annotations

from ingest.backfill import BackfillReport
from ingest.reread import Progress, RereadReport, reread
from ingest.runs import FoundRun, items_read, latest_run
from lake.config import TableConfig
from lake.dynamodb import DynamoDB
from lake.errors import ConfigError
from lake.lake import Lake
from lake.masked import masked_source
from proof.pruned import FinishedRun, unread_items


def prune(
    lake: Lake, table: TableConfig, dynamodb: DynamoDB, report: BackfillReport, memory_mb: int, progress: Progress
) -> RereadReport:
    """Reads again what the run of `report`, which has ended, did not find, and lands what comes of it.

    Raises LakeError. Nothing that lands can be wrong: a tombstone comes only of a consistent read of its item.
    """
    described = dynamodb.describe(table.dynamodb_name)
    described.require_keys("prune", table)
    found = _run_of(lake, table, report.run, described.table_id)
    run = FinishedRun(found.manifest.run, found.manifest.started_us, items_read(lake, table, found))
    source, expires_by = masked_source(dynamodb, lake, table), _expires_by(table, dynamodb)
    with unread_items(lake, table, run, memory_mb, dynamodb.server_us(), expires_by) as (count, item_keys):
        return reread(lake, table, source, item_keys, progress, count)


def _run_of(lake: Lake, table: TableConfig, run: str, table_id: str) -> FoundRun:
    _, found = latest_run(lake, table)
    is_it = found is not None and found.manifest.run == run and found.is_finished and not found.is_void
    if found is None or not is_it or found.manifest.table_id != table_id:
        raise ConfigError("prune", table.name, expected=f"backfill {run} to be its latest, of this very table",
                          got="that another one was begun meanwhile", remedy="Run it again")  # fmt: skip
    if found.manifest.masks != table.fingerprint:
        raise ConfigError("prune", table.name, expected="a backfill under the masks of now", got="one under others",
                          remedy="Run backfill --again --prune: it scans anew")  # fmt: skip
    return found


def _expires_by(table: TableConfig, dynamodb: DynamoDB) -> str | None:
    """The attribute by which items expire, where the lake keeps such items: expired is not deleted."""
    attribute = dynamodb.time_to_live(table.dynamodb_name) if table.ttl == "keep" else None
    if attribute is not None and any(mask.path[0] == attribute for mask in table.masks):
        raise ConfigError(
            "prune", table.name, expected="to see when an item expires, as the lake keeps those that did",
            got=f"that {attribute} is masked", remedy="Without --prune, or with ttl = \"delete\" or another mask",
        )  # fmt: skip
    return attribute
