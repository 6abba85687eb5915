"""Lakes, catalogs, settings, queries and places that are not as they must be: one line, exit 1, no traceback."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from lake.lake import Lake
from tests.commands import dynalake
from tests.lakes import fresh_items, ten_items
from tests.test_tidy import ROOT

EVERY = {
    "compact": ("compact", "--reread"),
    "refresh": ("refresh", "--full"),
    "sql": ("sql", "SELECT count(*) FROM orders"),
    "status": ("status",),
    "dead-letters": ("dead-letters",),
    "add-table": ("add-table", "more", "--hash-key", "pk:S"),
}
OF_TABLES = ("compact", "refresh", "sql", "status")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return ten_items(tmp_path_factory.mktemp("made") / "lake")


@pytest.fixture
def lake(made: Lake) -> Lake:
    """The same, whatever a test did to it before."""
    kept = made.root.with_name("kept")
    if not kept.exists():
        shutil.copytree(made.root, kept)
    shutil.rmtree(made.root)
    shutil.copytree(kept, made.root)
    return made


@pytest.mark.parametrize("command", EVERY)
def test_a_lake_that_is_not_there(tmp_path: Path, command: str) -> None:
    assert "init" in dynalake(tmp_path / "nowhere", *EVERY[command]).fault
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("command", [*EVERY, "init"])
def test_a_lake_that_is_a_file(tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("here")
    assert str(tmp_path / "file") in dynalake(tmp_path / "file", *EVERY.get(command, ("init",))).fault


def test_places_where_no_lake_can_be(tmp_path: Path) -> None:
    for place in ("s3://bucket/lake", str(tmp_path / "what?"), str(tmp_path / "100%")):
        assert place in dynalake(Path(place) if place[0] == "/" else place, "init").fault  # type: ignore[arg-type]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    assert "empty" in dynalake(tmp_path / "full", "init").fault


@pytest.mark.parametrize("command", ["compact", "refresh"])
def test_a_table_that_is_not_registered(lake: Lake, command: str) -> None:
    fault = dynalake(lake.root, command, "nothing").fault
    assert "'nothing'" in fault and "orders" in fault and "add-table" in fault


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("compact", "--no-such-option"),
        ("compact", "--memory-mb", "16"),
        ("compact", "--memory-mb", "much"),
        ("sql", "SELECT 1", "--file", "some.sql"),
        ("sql", "SELECT 1", "--query", "some"),
        ("sql", "SELECT 1", "--as-of", "yesterday"),
        ("sql", "SELECT 1", "--param", "x"),
        ("sql", "SELECT $x", "--param", "x=1", "--param", "y=1"),
        ("sql", "SELECT 1", "--format", "parquet"),
        ("add-table", "x"),
        ("dead-letters", "--limit", "-1"),
        ("add-table", "x", "--hash-key", "pk"),
        ("add-table", "x", "--hash-key", "pk:Z"),
        ("add-table", "x", "--hash-key", ":S"),
        ("add-table", "x", "--hash-key", "pk:S", "--range-key", "sk:BOOL"),
        ("add-table", "x", "--hash-key", "pk:S", "--surface", "kinesis"),
        ("add-table", "x", "--hash-key", "pk:S", "--buckets", "0"),
        ("add-table", "no name", "--hash-key", "pk:S"),
        ("sql", "SELECT 1", "--format", "xml"),
    ],
    ids=" ".join,
)
def test_wrong_usage(lake: Lake, arguments: tuple[str, ...]) -> None:
    before = (lake.root / "lake.toml").read_text()
    outcome = dynalake(lake.root, *arguments)
    assert outcome.code == 2 and outcome.errors and "Traceback" not in outcome.errors
    assert (lake.root / "lake.toml").read_text() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("add-table", "orders", "--hash-key", "id:N"),
        ("add-table", "x", "--hash-key", "pk:S", "--range-key", "pk:N"),
        ("compact", "--raw", "/no/such/folder"),
    ],
    ids=" ".join,
)
def test_values_that_cannot_be(lake: Lake, arguments: tuple[str, ...]) -> None:
    before = (lake.root / "lake.toml").read_text()
    assert dynalake(lake.root, *arguments).fault
    assert (lake.root / "lake.toml").read_text() == before


SECTION = '[tables.orders]\nhash_key = "pk:S"\n'
BROKEN_SETTINGS = {
    "empty": ("", "format"),
    "no TOML": ("format = 1\n[tables.orders\n", "TOML"),
    "not UTF-8": (b"format = 1 # \xff\n", "utf-8"),
    "another format": ("format = 2\n", "format = 1"),
    "format as text": ('format = "1"\n', "format = 1"),
    "unknown setting": ("format = 1\ncolour = 'red'\n", "colour"),
    "unknown table setting": (f"format = 1\n{SECTION}tll = 'keep'\n", "tll"),
    "bad ttl": (f"format = 1\n{SECTION}ttl = 'drop'\n", "drop"),
    "ttl a number": (f"format = 1\n{SECTION}ttl = 5\n", "ttl"),
    "tables no section": ("format = 1\ntables = 5\n", "tables"),
    "table no section": ("format = 1\n[tables]\norders = 5\n", "orders"),
    "no hash key": ("format = 1\n[tables.orders]\n", "hash_key"),
    "bad hash key": ('format = 1\n[tables.orders]\nhash_key = "pk:Z"\n', "pk:Z"),
    "hash key a number": ("format = 1\n[tables.orders]\nhash_key = 5\n", "hash_key"),
    "bad range key": (f'format = 1\n{SECTION}range_key = "sk"\n', "sk"),
    "bad surface": (f'format = 1\n{SECTION}surface = "tea"\n', "tea"),
    "bad buckets": (f"format = 1\n{SECTION}buckets = 0\n", "buckets"),
    "buckets as text": (f'format = 1\n{SECTION}buckets = "16"\n', "buckets"),
    "bad name": ('format = 1\n[tables."Or-ders"]\nhash_key = "pk:S"\n', "Or-ders"),
}


@pytest.mark.parametrize("case", BROKEN_SETTINGS)
def test_broken_settings(lake: Lake, case: str) -> None:
    content, named = BROKEN_SETTINGS[case]
    (lake.root / "lake.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in ("status", "compact", "add-table", "init"):
        fault = dynalake(lake.root, *EVERY.get(command, ("init",))).fault
        assert named in fault


@pytest.mark.parametrize(
    ("case", "command"),
    [*(("rubbish", command) for command in OF_TABLES), ("half", "compact"), ("empty", "compact"), ("empty", "sql"),
     ("gone", "refresh"), ("gone", "status"), ("a folder", "compact")],
)  # fmt: skip
def test_a_damaged_catalog(lake: Lake, case: str, command: str) -> None:
    """An empty one is damage too: tables made anew beside those in the warehouse would hide them."""
    path = lake.root / "catalog.db"
    data = path.read_bytes()
    path.unlink()
    if case == "a folder":
        path.mkdir()
    elif case != "gone":
        path.write_bytes({"rubbish": b"rubbish" * 999, "half": data[: len(data) // 2], "empty": b""}[case])
    before = sorted(Path(lake.warehouse).rglob("*"))
    assert "catalog" in dynalake(lake.root, *EVERY[command]).fault
    assert sorted(Path(lake.warehouse).rglob("*")) == before
    if path.is_dir():
        path.rmdir()
    path.write_bytes(data)
    assert dynalake(lake.root, *EVERY[command]).code == 0, "restored"


def test_a_catalog_locked_for_long(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.dbapi2.connect", partial(sqlite3.connect, timeout=0.1))
    holder = sqlite3.connect(lake.root / "catalog.db")
    try:
        holder.execute("BEGIN EXCLUSIVE")
        fault = dynalake(lake.root, "compact").fault
        assert "locked" in fault and "again" in fault
    finally:
        holder.close()
    assert dynalake(lake.root, "compact").code == 0


LOST = {
    "a file of the log": "orders_changes/data/**/*.parquet",
    "a file of the state": "orders/data/**/*.parquet",
    "the log's metadata": "orders_changes/metadata/*.metadata.json",
    "the log's manifests": "orders_changes/metadata/*-m0.avro",
    "the log's snapshots": "orders_changes/metadata/snap-*.avro",
    "the state's metadata": "orders/metadata/*.metadata.json",
    "the state's manifests": "orders/metadata/*-m0.avro",
    "the ledger's files": "orders_ledger/data/**/*.parquet",
}


@pytest.mark.parametrize("case", LOST)
def test_files_lost_from_the_warehouse(lake: Lake, case: str) -> None:
    """Every command says so in a line, or does not need the file."""
    paths = list((Path(lake.warehouse) / "lake").glob(LOST[case]))
    assert paths
    for path in paths:
        path.unlink()
    query = "SELECT count(_item), (SELECT count(new_image) FROM orders_changes) FROM orders"
    outcomes = [dynalake(lake.root, *a) for a in (("sql", query), ("status",), ("compact",), ("refresh",))]
    assert [outcome.fault for outcome in outcomes if outcome.code]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELEC 1", "syntax"),
        ("SELECT * FROM nothing", "nothing"),
        ("SELECT nothing FROM orders", "nothing"),
        ("SELECT *\nFROM orders\nWHERE", "syntax"),
        ("SELECT * FROM orders_as_of('never')", "never"),
        ("SELECT * FROM orders_history()", "orders_history"),
        ("SELECT CAST('x' AS INTEGER)", "x"),
        ("", "statement"),
        ("/* nothing */", "statement"),
    ],
)
def test_bad_queries(lake: Lake, query: str, named: str) -> None:
    assert named in dynalake(lake.root, "sql", query).fault


@pytest.mark.parametrize("form", ["csv", "json"])
def test_bad_queries_in_other_forms(lake: Lake, form: str) -> None:
    assert "nothing" in dynalake(lake.root, "sql", "SELECT nothing", "--format", form).fault


def test_output_to_a_reader_that_has_gone(lake: Lake) -> None:
    """Before the first line, of few lines and of many."""
    line = [sys.executable, "-m", "dynalake.cli", "--lake", str(lake.root), "sql"]
    cases = [(3, "table"), (3, "csv"), (200_000, "csv"), (200_000, "json")]
    running = []
    for count, form in cases:
        process = subprocess.Popen(
            [*line, f"FROM range({count})", "--format", form],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        running.append(process)
    for process in running:
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() in (0, 1)


def test_reading_goes_on_after_every_fault(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults on the way out leave the lake as it was."""
    before = fresh_items(lake)
    for arguments in (("sql", "SELEC"), ("compact", "nothing"), ("compact", "--raw", "/no/such/folder")):
        assert dynalake(lake.root, *arguments).fault
    assert fresh_items(lake) == before
    (status,) = json.loads(dynalake(lake.root, "status", "--json").out)
    assert (status["batch"], status["state_covers_batch"], status["changes"]) == (2, 1, 10)


# Files of a lake that are damaged: one line each, whichever job meets them


def damage(lake: Lake, pattern: str, change: str) -> None:
    found = sorted(Path(lake.warehouse).glob(pattern))
    assert found
    for path in found:
        data = path.read_bytes()
        path.write_bytes({"cut": data[:300], "empty": b"", "other": b"x" * len(data)}[change])


@pytest.mark.parametrize("change", ["cut", "empty", "other"])
@pytest.mark.parametrize(
    "pattern", ["data/**/*.parquet", "metadata/*-m0.avro", "metadata/snap-*.avro", "metadata/*.json"]
)
@pytest.mark.parametrize("command", ["sql", "status", "refresh", "compact"])
def test_a_damaged_file_of_the_log(lake: Lake, command: str, pattern: str, change: str) -> None:
    damage(lake, f"lake/orders_changes/{pattern}", change)
    outcome = dynalake(lake.root, *EVERY[command])
    assert "Traceback" not in outcome.errors and "Aborted" not in outcome.errors
    assert outcome.code == 0 or outcome.fault


def test_a_catalog_of_no_tables_over_a_warehouse_with_data(lake: Lake) -> None:
    (lake.root / "catalog.db").unlink()
    with sqlite3.connect(lake.root / "catalog.db") as other:
        other.execute("CREATE TABLE unrelated (x)")
    other.close()
    assert "backup" in dynalake(lake.root, "compact").fault


def test_a_copy_of_a_lake_leaves_the_first_alone(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree(lake.root, tmp_path / "copy")
    for command in OF_TABLES:
        assert "only where it was made" in dynalake(tmp_path / "copy", *EVERY[command]).fault


@pytest.mark.parametrize("content", [b"rubbish", b"", b"\x1f\x8b\x08"])
def test_dead_letters_that_are_damaged(lake: Lake, content: bytes) -> None:
    place = Path(lake.dead_letters) / "orders" / "0.ndjson.gz"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    for command in ("dead-letters", "status"):
        outcome = dynalake(lake.root, command)
        assert "0.ndjson.gz" in outcome.fault if content else outcome.code == 0


def test_settings_that_two_tables_share(lake: Lake) -> None:
    path = lake.root / "lake.toml"
    text_before = path.read_text()
    for more in (
        '[tables.orders_changes]\nhash_key = "pk:S"\n',
        '[tables.x]\ndynamodb_name = "orders"\nhash_key = "pk:S"\n',
    ):
        path.write_text(text_before + more)
        assert "of its own" in dynalake(lake.root, "status").fault


# What a query gives, as it is


@pytest.mark.parametrize("value", ["USER:key:1", "[placed] order", "[/x]", "a:b:S"])
def test_values_are_not_markup(lake: Lake, value: str) -> None:
    assert value in dynalake(lake.root, "sql", f"SELECT '{value}' AS v").out


def test_json_and_csv_of_odd_values(lake: Lake) -> None:
    query = "SELECT 'NaN'::DOUBLE AS a, 1 AS a, {'b': 'x'::BLOB, 'l': [true, NULL]} AS s, now() > '2020-01-01' AS t"
    found = json.loads(dynalake(lake.root, "sql", query, "--format", "json").out)
    assert found == [{"a": "nan", "a_2": 1, "s": {"b": "eA==", "l": [True, None]}, "t": True}]
    out = dynalake(lake.root, "sql", "SELECT [1, NULL] AS l, true AS t, now() IS NOT NULL AS n", "--format", "csv").out
    assert out == 'l,t,n\n"[1, null]",true,true\n'
    assert dynalake(lake.root, "sql", "SELECT now()").code == 0


def test_as_of_an_instant_is_the_same_however_it_is_written(lake: Lake) -> None:
    query = "SELECT count(*) FROM orders_as_of({})"
    asked = ("'2023-11-14 22:13:20.5'", "'2023-11-15T00:13:20.5+02:00'", "TIMESTAMPTZ '2023-11-14 22:13:20.5+00'")
    counts = {dynalake(lake.root, "sql", query.format(moment), "--format", "csv").out for moment in asked}
    assert len(counts) == 1
