"""`publish athena`, and queries there: views in a Glue database of their own, queries as prepared statements.

The tables are in Glue already where the lake's catalog is Glue. A view names the snapshots that it reads, so it is one
consistent version of a table whatever jobs do meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lake import layout
from lake.aws import aws_client, aws_faults, error_code
from lake.errors import ConfigError, LakeError
from lake.lake import Lake
from lake.sql import identifier
from queries.athena_views import claim_views, drop_views

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyiceberg.table import Table

    from queries.publish import Version

QUERY_BYTES_MAX = 262_144  # Athena's limit
VIEW_BYTES_MAX = 200_000  # Glue keeps a view's text, laid out anew and in base64, within 409,600 bytes
WORKGROUP = "primary"


@dataclass(frozen=True, slots=True)
class Place:
    """Where Athena runs and what it makes: the database of the views, the workgroup, where results go."""

    database: str
    workgroup: str = WORKGROUP
    output: str | None = None


def views_database(lake: Lake, database: str | None = None) -> str:
    """The Glue database of a lake's views. Raises ConfigError where the lake's tables are not in Glue."""
    catalog = lake.config.catalog
    if not lake.is_on_s3 or catalog.get("type") != "glue":
        raise ConfigError(
            "publish for Athena", lake.uri, expected="a lake on S3 whose catalog is Glue",
            got=f"the catalog {catalog.get('type')}" if lake.is_on_s3 else "a lake in a folder",
            remedy="Make one there: dynalake --lake s3://BUCKET/PREFIX init. Here: publish duckdb",
        )  # fmt: skip
    name = database or f"{catalog['database']}_views"
    if name == catalog["database"]:
        raise ConfigError(
            "publish for Athena", name, expected="a database for the views alone",
            got="that of the lake's tables, which have the views' names", remedy="Choose another --database",
        )  # fmt: skip
    return name


@contextmanager
def athena_faults(operation: str, identity: object) -> Iterator[None]:
    """Turns what awswrangler and AWS raise into this project's errors."""
    wr = _awswrangler()
    try:
        with aws_faults(operation, identity):
            yield
    except (wr.exceptions.QueryFailed, wr.exceptions.QueryCancelled) as fault:
        raise LakeError(operation, identity, expected="a query that Athena runs", got=str(fault)) from fault
    except (wr.exceptions.InvalidArgument, wr.exceptions.InvalidArgumentValue, TypeError) as fault:
        raise ConfigError(operation, identity, got=str(fault)) from fault


def _awswrangler() -> Any:
    try:
        import awswrangler
    except ImportError as fault:
        raise ConfigError(
            "query Athena", "", expected="awswrangler", got="none", remedy="pip install 'dynalake[athena]'"
        ) from fault
    return awswrangler


def publish_athena(lake: Lake, version: Version, place: Place) -> tuple[list[str], list[str], list[str]]:
    """Makes the views and prepared statements of a table: their names, and those that are too long for Athena.

    One after the other: where one fails, those before it stand, and the next run makes all of them again.
    """
    from queries.portable import Sources
    from queries.published import queries_of, unsaid_entities, untyped_changes, views_of

    _ensure_database(place.database)
    sources = Sources(*map(_in_athena, (version.state, version.tail, version.log)))
    left_out = unsaid_entities(version, "athena")
    views = views_of(version, sources, "athena")
    claim_views(lake, place.database, version.table.name, views)
    for name, view in views.items():
        sql = _create(place, name, view)
        if name == layout.log_table(version.table.name) and not _is_short(name, sql, VIEW_BYTES_MAX):
            sql = _create(place, name, untyped_changes(version, sources, "athena"))
            left_out.append(f"{name}: typed values")
        if _is_short(name, sql, VIEW_BYTES_MAX, is_needed=name == version.table.name):
            _run(place, name, sql)
        else:
            left_out.append(name)
    drop_views(lake, place.database, version.table.name, [name for name in views if name not in left_out])
    statements = queries_of(version, sources, "athena")
    for name, query in statements.items():
        if _is_short(name, query.sql, QUERY_BYTES_MAX):
            _prepare(lake, place, name, query.sql)
        else:
            left_out.append(name)
            _drop_statement(lake, place, name)
    made = [name for name in views if name not in left_out]
    return made, [name for name in statements if name not in left_out], left_out


def _create(place: Place, name: str, view: str) -> str:
    return f"CREATE OR REPLACE VIEW {identifier(place.database)}.{identifier(name)} AS {view}"


def _in_athena(table: Table) -> str:
    from queries.publish import snapshot_of

    database, name = table.name()[-2:]
    return f"{identifier(database)}.{identifier(name)} FOR VERSION AS OF {snapshot_of(table)}"


def _is_short(name: str, sql: str, bytes_max: int, is_needed: bool = False) -> bool:
    size = len(sql.encode())
    if size > bytes_max and is_needed:
        raise ConfigError(
            "publish for Athena", name, expected=f"a view of at most {bytes_max:,} bytes", got=f"{size:,} bytes",
            remedy="It has too many columns for Athena: use dynalake sql, publish duckdb or publish spark",
        )  # fmt: skip
    return size <= bytes_max


def ready(place: Place) -> None:
    """Raises ConfigError where awswrangler is missing, the workgroup, or a place for results: it would make a bucket
    that is called as anybody can guess.
    """
    _awswrangler()
    if place.output is not None and not place.output.startswith("s3://"):
        raise ConfigError("query Athena", place.output, expected="--output s3://BUCKET/PREFIX", got="another place")
    with aws_faults("look at workgroup", place.workgroup):
        answer = aws_client("athena").get_work_group(WorkGroup=place.workgroup)
    if "WorkGroup" not in answer:
        raise ConfigError("query Athena", f"workgroup {place.workgroup}", expected="one that is there", got="none")
    if place.output is not None:
        return
    settings = answer["WorkGroup"].get("Configuration", {})
    is_managed = settings.get("ManagedQueryResultsConfiguration", {}).get("Enabled", False)
    if not is_managed and not settings.get("ResultConfiguration", {}).get("OutputLocation"):
        raise ConfigError(
            "query Athena", f"workgroup {place.workgroup}", expected="a place for results", got="none",
            remedy="Give --output s3://BUCKET/PREFIX, or set one for the workgroup",
        )  # fmt: skip


def _ensure_database(name: str) -> None:
    """Looked for first: a role may publish into a database that it may not make."""
    from botocore.exceptions import ClientError

    glue = aws_client("glue")
    with aws_faults("make database", name):
        try:
            glue.get_database(Name=name)
        except ClientError as fault:
            if error_code(fault) != "EntityNotFoundException":
                raise
            with suppress(glue.exceptions.AlreadyExistsException):
                glue.create_database(DatabaseInput={"Name": name, "Description": "Views made by dynalake"})


def _run(place: Place, name: str, sql: str) -> None:
    with athena_faults("make view", name):
        _awswrangler().athena.start_query_execution(
            sql, database=place.database, s3_output=place.output, workgroup=place.workgroup, wait=True
        )


def _prepare(lake: Lake, place: Place, name: str, query: str) -> None:
    """Makes or replaces a prepared statement. Those of a workgroup are in one pot: that of another lake is left."""
    there, ours = {"StatementName": name, "WorkGroup": place.workgroup}, _description(lake)
    found = _statement(lake, place, name)
    with aws_faults("prepare statement", name):
        if found is None:
            aws_client("athena").create_prepared_statement(**there, QueryStatement=query, Description=ours)
        elif found != query:
            aws_client("athena").update_prepared_statement(**there, QueryStatement=query, Description=ours)


def _statement(lake: Lake, place: Place, name: str) -> str | None:
    """The text of a prepared statement of this lake, None where there is none."""
    from botocore.exceptions import ClientError

    with aws_faults("look at prepared statement", name):
        try:
            answer = aws_client("athena").get_prepared_statement(StatementName=name, WorkGroup=place.workgroup)
        except ClientError as fault:
            if error_code(fault) == "ResourceNotFoundException":
                return None
            raise
    found = answer["PreparedStatement"]
    if found.get("Description") != _description(lake):
        raise ConfigError(
            "prepare statement", f"{name} in workgroup {place.workgroup}", expected="none, or one of this lake",
            got=found.get("Description") or "one made by somebody else",
            remedy="Give a --workgroup of this lake's own, or delete that statement",
        )  # fmt: skip
    return str(found["QueryStatement"])


def _drop_statement(lake: Lake, place: Place, name: str) -> None:
    if _statement(lake, place, name) is not None:
        with aws_faults("drop prepared statement", name):
            aws_client("athena").delete_prepared_statement(StatementName=name, WorkGroup=place.workgroup)


def _description(lake: Lake) -> str:
    return f"dynalake {lake.uri}"[:1024]


def read(query: str, place: Place, params: Mapping[str, Any] | None = None) -> DataFrame:
    """The rows of a query. Raises LakeError."""
    values = {name: _value(value) for name, value in (params or {}).items()}
    with athena_faults("query Athena", place.database):
        ready(place)
        return _awswrangler().athena.read_sql_query(
            query, database=place.database, ctas_approach=False, s3_output=place.output, workgroup=place.workgroup,
            params=values or None,
        )  # fmt: skip


def _value(value: Any) -> Any:
    """A parameter as awswrangler writes it without loss: it cuts floats to six digits, and takes no time zones."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
