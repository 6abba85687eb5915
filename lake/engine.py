"""DuckDB, set up the one way this project uses it."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType
from duckdb.sqltypes import BIGINT, INTEGER, VARCHAR
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import StringType

from lake.attributes import (
    canonical_number,
    canonical_text,
    changed_attributes,
    encode_binary_once,
    plain_json,
    shown_value,
)
from lake.aws import s3_access
from lake.changes import Change, Surface
from lake.errors import ConfigError, LakeError
from lake.keys import ItemKey
from lake.ordering import in_order
from lake.sql import MACROS, literal
from lake.store import is_s3

OWN_MB = 370  # what Python, pyarrow and pyiceberg take beside DuckDB, and DuckDB beside its buffers: measured
MEMORY_MB_MIN = 512
THREAD_MB = 128  # below, a thread's own buffers leave too little for the rest

# Faults of our SQL, whatever the data.
OUR_FAULTS = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException, duckdb.InternalException)


@contextmanager
def engine_faults(operation: str) -> Iterator[None]:
    """Turns a file that is missing or damaged, a full disk and spent memory into this project's errors."""
    try:
        yield
    except (OSError, EOFError, UnicodeDecodeError, duckdb.Error) as fault:
        if isinstance(fault, OUR_FAULTS):
            raise
        if "Out of Memory Error" in str(fault):  # an Arrow reader raises it as an OSError
            raise LakeError(
                operation, "the lake's tables", expected="memory for two thousand items as JSON and parsed",
                got=str(fault).splitlines()[0], remedy="Run it again with a larger --memory-mb; nothing is lost",
            ) from fault  # fmt: skip
        raise LakeError(
            operation, "the lake's files", expected="files that are whole and may be read and written",
            got=" ".join(str(fault).split()[:40]) or "a file cut short",
            remedy="See to permissions and disk space; refresh --full mends the state, a backup the rest",
        ) from fault  # fmt: skip


def connect_engine(
    memory_mb: int = 4096, threads: int | None = None, extensions: Sequence[str] = ("avro", "iceberg")
) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in UTC, spilling beyond its memory, with Iceberg and this project's functions.

    `memory_mb` is what the whole process may hold. Nothing is downloaded: the extensions come as wheels.
    """
    if memory_mb < MEMORY_MB_MIN:
        raise ConfigError("start engine", f"memory {memory_mb} MB", expected=f"at least {MEMORY_MB_MIN} MB")
    scratch = tempfile.mkdtemp(prefix="dynalake-")
    engine_mb = memory_mb - OWN_MB
    con = duckdb.connect(
        config={
            "memory_limit": f"{engine_mb}MB",
            "temp_directory": scratch,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "threads": min(threads or os.cpu_count() or 1, max(1, engine_mb // THREAD_MB)),
        }
    )
    weakref.finalize(con, shutil.rmtree, scratch, ignore_errors=True)
    for name in extensions:
        con.execute(f"LOAD '{_extension(name)}'")
    con.execute("SET TimeZone = 'UTC'")
    _register_functions(con)
    for macro in MACROS:
        con.execute(macro)
    return con


def use_s3(con: duckdb.DuckDBPyConnection, *places: str) -> None:
    """Lets the engine read S3 where one of the places is there, by the standard AWS settings.

    Called before each stretch of work: credentials may be renewed meanwhile. Raises LakeError.
    """
    if not any(map(is_s3, places)):
        return
    key, secret, token, region, endpoint = s3_access()
    con.execute(f"LOAD '{_extension('httpfs')}'")
    settings = {"KEY_ID": key, "SECRET": secret, "SESSION_TOKEN": token, "REGION": region}
    if endpoint is not None:
        scheme, _, host = endpoint.partition("://")
        settings |= {"ENDPOINT": host.rstrip("/"), "URL_STYLE": "path", "USE_SSL": str(scheme == "https").lower()}
    given = ", ".join(f"{name} {literal(value)}" for name, value in settings.items() if value)
    con.execute(f"CREATE OR REPLACE SECRET dynalake (TYPE s3, {given})")


def _extension(name: str) -> Path:
    spec = find_spec(f"duckdb_extension_{name}")
    folder = Path(spec.origin).parent if spec and spec.origin else Path(os.devnull)
    path = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.exists():
        raise ConfigError(
            "load DuckDB extension", name, expected=str(path), got="no such file",
            remedy=f"pip install duckdb-extension-{name}=={duckdb.__version__}",
        )  # fmt: skip
    return path


def _register_functions(con: duckdb.DuckDBPyConnection) -> None:
    for name, function in _TEXT_FUNCTIONS.items():
        con.create_function(
            name, function, [VARCHAR], VARCHAR, type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,  # else DuckDB stops where a function refuses a text
        )  # fmt: skip
    con.create_function(
        "changed_attributes", changed_attributes, [VARCHAR, VARCHAR], duckdb.list_type(VARCHAR),
        type=PythonUDFType.NATIVE,
    )  # fmt: skip
    con.create_function("key_bucket", _key_bucket, [INTEGER, VARCHAR], INTEGER, type=PythonUDFType.ARROW)
    for surface, function in _ORDERS.items():
        con.create_function(
            f"in_order_{surface}", function, [duckdb.list_type(_CHANGE)], duckdb.list_type(VARCHAR),
            type=PythonUDFType.NATIVE,
        )  # fmt: skip


_TEXTS = ("op", "event_id", "source", "sequence_number", "new_image", "old_image")
_CHANGE = duckdb.struct_type({"created_at_us": BIGINT, **dict.fromkeys(_TEXTS, VARCHAR)})
CHANGE_STRUCT = "{" + ", ".join(f"'{name}': {name}" for name, _ in _CHANGE.children) + "}"


_NO_KEY = ItemKey(("",))


def _each(function: Any) -> Any:
    """A vectorised form of a text function; what it refuses, and NULL, become NULL.

    Not to be called within coalesce(), but in a CASE: of what is its last argument DuckDB frees the text too early.
    """

    def apply(texts: pa.ChunkedArray) -> pa.Array:
        return pa.array([_or_none(function, text) for text in texts.to_pylist()], pa.string())

    return apply


def _or_none(function: Any, text: str | None) -> str | None:
    try:
        return None if text is None else function(text)
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.DecodeError):
        return None


def _key_bucket(buckets: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Iceberg's bucket of each text: as its extension for DuckDB has it, which takes long to load."""
    return BucketTransform(buckets[0].as_py() if len(buckets) else 1).pyarrow_transform(StringType())(texts)


def _in_order(surface: Surface) -> Any:
    """The event ids of one item's changes in order: the specification itself, for DuckDB."""

    def settle(changes: list[dict[str, Any]]) -> list[str]:
        return [change.event_id for change in in_order((Change(_NO_KEY, **c) for c in changes), surface)]

    return settle


# Once for the process: DuckDB holds them for as long as the connection that they were given to. A cursor that outlives
# it would call what is gone.
_TEXT_FUNCTIONS = {
    "binary_once": _each(encode_binary_once),
    "canonical_number": _each(canonical_number),
    "plain_json": _each(plain_json),
    "canonical_value": _each(canonical_text),
    "shown_value": _each(shown_value),
}
_ORDERS = {"kds": _in_order("kds"), "streams": _in_order("streams")}
