"""`publish duckdb` and `publish spark`: views as SQL files at the lake's root, and hints for readers without a catalog.

A file has a section for each table, put in place of the one before in one write. Views name the snapshots of one
version: what reads the file later than the next jobs still sees that version.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, local_path, open_catalog
from lake.lake import Lake
from lake.sql import identifier
from lake.store import put, put_new, update
from lake.tables import scan_sql
from queries.portable import Sources
from queries.publish import Version, snapshot_of
from queries.published import queries_of, unsaid_entities, views_of

_DUCKDB = """-- The views of this lake, for DuckDB's own command line: duckdb -init views.sql
INSTALL avro;
LOAD avro;
INSTALL iceberg;
LOAD iceberg;
{s3}SET TimeZone = 'UTC';
"""
_DUCKDB_S3 = """INSTALL httpfs;
LOAD httpfs;
INSTALL aws;
LOAD aws;
CREATE OR REPLACE SECRET dynalake (TYPE s3, PROVIDER credential_chain);
"""
_SPARK = """-- The views of this lake, for Spark: spark-sql -i views.spark.sql
-- Its session needs an Iceberg catalog under the name used here.
SET TIME ZONE 'UTC';
"""


Made = tuple[list[str], list[str], list[str]]
"""The names of the views and of the queries that there are then, and of those that were left out."""


def publish_duckdb(lake: Lake, version: Version) -> Made:
    """Writes the table's section of views.sql, and the hints beside its tables."""
    catalog = open_catalog(lake)
    tables = [version.state, version.tail, version.log, load_table(catalog, layout.ledger_table(version.table.name))]
    for table in tables:
        if table is not None and table.current_snapshot() is not None:
            put(_copy(table), _metadata_of(table))
            hint = PurePosixPath(_copy(table)).name.removesuffix(".metadata.json")
            put(layout.version_hint(local_path(table.location())), hint.encode())
    sources = Sources(*(scan_sql(table, _copy(table)) for table in (version.state, version.tail, version.log)))
    views, macros = views_of(version, sources, "duckdb"), queries_of(version, sources, "duckdb")
    statements = [f"CREATE OR REPLACE VIEW {identifier(name)} AS {view}" for name, view in views.items()]
    for name, macro in macros.items():
        parameters = ", ".join(macro.parameters)
        statements.append(f"CREATE OR REPLACE MACRO {identifier(name)}({parameters}) AS TABLE {macro.sql}")
    header = _DUCKDB.format(s3=_DUCKDB_S3 if lake.is_on_s3 else "")
    _write(lake, "duckdb", header, version, statements)
    return list(views), list(macros), unsaid_entities(version, "duckdb")


def publish_spark(lake: Lake, version: Version, catalog: str) -> Made:
    """Writes the table's section of views.spark.sql, over the Iceberg catalog of that name in Spark's session.

    Spark has no views with parameters: queries that take some are there as text, for `spark.sql(text, args={…})`.
    """
    sources = Sources(*(_in_spark(catalog, table) for table in (version.state, version.tail, version.log)))
    views = views_of(version, sources, "spark")
    statements = [f"CREATE OR REPLACE TEMPORARY VIEW `{name}` AS {view}" for name, view in views.items()]
    queries = queries_of(version, sources, "spark")
    comments = [f"-- {name}: {query.sql}" for name, query in queries.items()]
    _write(lake, "spark", _SPARK, version, statements, comments)
    return list(views), list(queries), unsaid_entities(version, "spark")


def _in_spark(catalog: str, table: Table) -> str:
    database, name = table.name()[-2:]
    return f"`{catalog}`.`{database}`.`{name}` VERSION AS OF {snapshot_of(table)}"


def _copy(table: Table) -> str:
    """Where the metadata of a pinned table stays: the file itself goes once a hundred commits have come after it."""
    version = PurePosixPath(table.metadata_location).name.removesuffix(".metadata.json")
    return layout.published_metadata(local_path(table.location()), version)


def _metadata_of(table: Table) -> bytes:
    """The metadata of a pinned table with that one snapshot."""
    snapshot, refs = table.current_snapshot(), table.metadata.refs
    changed = {"snapshots": [snapshot], "snapshot_log": [], "metadata_log": [], "refs": {"main": refs["main"]}}
    return table.metadata.model_copy(update=changed).model_dump_json().encode()


def _write(
    lake: Lake, engine: str, header: str, version: Version, statements: Sequence[str], comments: Sequence[str] = ()
) -> None:
    """Replaces the table's section of a file, and drops those of tables that the lake has no more."""
    uri = lake.place(layout.VIEWS[engine])
    put_new(uri, header.encode())
    lines = [f"-- as of batch {version.batch} of the log", *(f"{one};" for one in statements), *comments]
    body = "".join(f"{line}\n" for line in lines)
    update(uri, lambda text: _with_section(text, header, version.table.name, body, lake.config.tables))


def _with_section(text: str, header: str, name: str, body: str, tables: Collection[str]) -> str:
    found = dict(_SECTION.findall(text)) | {name: body}
    return header + "".join(_SECTION_FORM.format(name=one, body=found[one]) for one in sorted(found) if one in tables)


_SECTION = re.compile(r"^-- table (\w+)\n(.*?)^-- end of \1\n", re.MULTILINE | re.DOTALL)
_SECTION_FORM = "\n-- table {name}\n{body}-- end of {name}\n"
