"""Where things lie in a lake, a folder or `s3://bucket/prefix`: every path is built and parsed here.

lake.toml                          tables, policies, format version
catalog.db                         the Iceberg catalog of a lake in a folder (SQLite); on S3 it is Glue
raw/…                              landed NDJSON objects, as Firehose or the consumer writes them
dead_letters/<table>/<id>.ndjson.gz   what could not be taken in; `_unknown` where no table is known
raw/stream=<stream>/YYYY/MM/DD/HH/<shard>-<digest>.ndjson.zst   what the consumer landed, by arrival
masks.check                        that the secret of masks is the one this lake began with
raw/backfill/table=<table>/<run>/…       READ records of a run of backfill
raw/export/table=<table>/<export>/<data file>-<masks>.ndjson.zst   READs and tombstones of an export to S3
raw/repair/table=<table>/<digest>.ndjson.zst   READ records and tombstones of items that were read again
raw/redrive/<digest>.ndjson.zst  what was redriven from dead letters and other people's failures
redrives/<digest>.json             the record of it: which letters, batches and objects, and where their changes landed
backfills/<table>/<n>.json         the manifest of a run; `<n>.done.json` once it has ended, `<n>.void.json` if given up
proofs/<table>/<time>-<n>.json     what a run of verify found
locks/<job>-<table>.json           which job of a kind is at work on a table, of those that were told to be alone
exports/<table>/<export>.json      the window of an export that was backfilled from; `<export>.done` once all has landed
warehouse/lake/<table>…            the Iceberg tables: <table>, <table>_changes, <table>_ledger, and where published
                                   <table>_tail
…/metadata/version-hint.text       which version of a table was published, for readers that know no catalog
…/metadata/published-….metadata.json   the metadata of that version, which stays
views.sql, views.spark.sql         the published views, for DuckDB's own command line and for Spark
views.athena.json                  which views were published into which database of Glue
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

CONFIG = "lake.toml"
CATALOG = "catalog.db"
MASKS_CHECK = "masks.check"
VIEWS_ATHENA = "views.athena.json"
VIEWS = {"duckdb": "views.sql", "spark": "views.spark.sql"}
RAW = "raw"
DEAD_LETTERS = "dead_letters"
REDRIVES = "redrives"
WAREHOUSE = "warehouse"
NAMESPACE = "lake"
UNKNOWN_TABLE = "_unknown"
TABLE_NAME_MAX = 200  # Glue allows 255; the longest suffix and a counter must fit behind it
# What stands behind a table's name in those of its other Iceberg tables, and of views that are no entity's.
SUFFIXES = ("changes", "ledger", "tail", "as_of", "history", "transitions", "diff")
_SUFFIXES = ("", *(f"_{suffix}" for suffix in SUFFIXES))


def lake_name(dynamodb_name: str, taken: set[str]) -> str:
    """The lake's name for a DynamoDB table: lower case, `_` for what SQL would have to quote, unique.

    A name is stored when the table is added and never moves. `taken` holds the names there already are.
    """
    used = {name + suffix for name in taken for suffix in _SUFFIXES}
    ascii_name = dynamodb_name.encode("ascii", "replace").decode()  # DynamoDB has no others; a TOML section neither
    name, n = sql_name(ascii_name)[:TABLE_NAME_MAX], 1
    while any(numbered(name, n) + suffix in used for suffix in _SUFFIXES):
        n += 1
    return numbered(name, n)


def sql_name(name: str) -> str:
    """A name in lower case with `_` for everything but letters, digits and `_`."""
    return re.sub(r"\W", "_", name.lower()) or "_"


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or the first of `name_2`, `name_3`, … that is not taken."""
    n = 1
    while numbered(name, n) in taken:
        n += 1
    return numbered(name, n)


def numbered(name: str, n: int) -> str:
    return name if n == 1 else f"{name}_{n}"


def log_table(table: str) -> str:
    return f"{table}_changes"


def state_table(table: str) -> str:
    return table


def ledger_table(table: str) -> str:
    return f"{table}_ledger"


def tail_table(table: str) -> str:
    return f"{table}_tail"


def version_hint(location: str) -> str:
    """Where readers without a catalog look for a table's version, given where the table lies."""
    return f"{location}/metadata/version-hint.text"


def published_metadata(location: str, version: str) -> str:
    """A copy of a version's metadata that no commit removes, however many come, as those do to the file itself."""
    return f"{location}/metadata/published-{version}.metadata.json"


def dead_letter_path(table: str | None, uri: str, etag: str) -> str:
    """Where the dead letters of one raw object go: the same object, read again, writes the same one."""
    digest = hashlib.sha256(f"{uri}\n{etag}".encode()).hexdigest()[:32]
    return f"{dead_letter_folder(table)}{digest}.ndjson.gz"


def dead_letter_folder(table: str | None) -> str:
    """Where a table's dead letters are, with the slash at its end that a listing on S3 needs."""
    return f"{DEAD_LETTERS}/{table or UNKNOWN_TABLE}/"


def captured_object(stream: str, shard_id: str, arrived_us: int, digest: str) -> str:
    """Where the consumer lands records; the time is the arrival of the oldest, in UTC microseconds.

    All of the name follows from the records, so that the same ones, read again, land in the same object. No folder
    may begin with `_` or `.`, as names may: such ones are passed over where raw objects are listed.
    """
    hour = datetime.fromtimestamp(arrived_us // 1_000_000, UTC).strftime("%Y/%m/%d/%H")
    return f"{RAW}/stream={stream}/{hour}/{shard_id}-{digest}.ndjson.zst"


def backfill_objects(table: str, run: str) -> str:
    """Where a run of backfill lands its objects, with a slash at its end."""
    return f"{RAW}/backfill/table={table}/{run}/"  # never a name that is passed over


def export_objects(table: str, export_id: str) -> str:
    """Where what an export holds lands, with a slash at its end."""
    return f"{RAW}/export/table={table}/{export_id}/"


def export_object_name(data_file: str, masks: str) -> str:
    """The object of one data file: another one under other masks."""
    return f"{data_file}{'-' if masks else ''}{masks}.ndjson.zst"


def export_notes(table: str) -> str:
    """Where it is noted of which times a table's exports are, with a slash at its end."""
    return f"exports/{table}/"


def export_note(table: str, export_id: str) -> str:
    return f"{export_notes(table)}{export_id}.json"


def export_end(table: str, export_id: str) -> str:
    """There once all of an export has landed."""
    return f"{export_notes(table)}{export_id}.done"


def is_export_note(name: str) -> bool:
    return name.endswith(".json")


def repair_object(table: str, digest: str) -> str:
    """Where items that were read again by their keys land."""
    return f"{RAW}/repair/table={table}/{digest}.ndjson.zst"


def redrive_object(digest: str) -> str:
    """Where changes land that were redriven; the digest is that of the records."""
    return f"{RAW}/redrive/{digest}.ndjson.zst"


def redrive_record(digest: str) -> str:
    """The record of a redrive; the digest is that of what was redriven."""
    return f"{REDRIVES}/{digest}.json"


def backfill_folder(table: str) -> str:
    """Where the manifests of a table's runs are, with a slash at its end."""
    return f"backfills/{table}/"


def backfill_manifest(table: str, number: int) -> str:
    return f"{backfill_folder(table)}{number:06}.json"


def backfill_end(table: str, number: int) -> str:
    return f"{backfill_folder(table)}{number:06}.done.json"


def backfill_void(table: str, number: int) -> str:
    return f"{backfill_folder(table)}{number:06}.void.json"


def proof_folder(table: str) -> str:
    """Where what `verify` found of a table is, with a slash at its end."""
    return f"proofs/{table}/"


def proof(table: str, at_us: int, unique: str) -> str:
    return f"{proof_folder(table)}{at_us:017}-{unique}.json"


def lock(kind: str, table: str) -> str:
    """The lock of one kind of jobs on a table."""
    return f"locks/{kind}-{table}.json"
