"""`dynalake sql`: scripts, parameters, formats that keep every value, files whole or not at all, faults in one line."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynalake.console import interval_text
from dynalake.query_faults import query_fault
from dynalake.results import csv_line
from dynalake.session import instant_of
from dynalake.statements import is_complete, split_statements, tokens_of
from lake.lake import Lake
from tests.commands import Outcome, dynalake
from tests.lakes import compacted, new_lake, ten_items
from tests.records import text
from tests.test_tidy import ROOT

# A process in which Ctrl-C is heard, also where whoever runs the tests ignores it.
PROCESS = [
    sys.executable, "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from dynalake.cli import main; main()",
]  # fmt: skip
ENDLESS = "FROM range(1000000000000)"
LONG = "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range % 7 = b.range"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return ten_items(tmp_path_factory.mktemp("sql") / "lake")


def sql(lake: Lake, *arguments: object) -> Outcome:
    return dynalake(lake.root, "sql", *map(str, arguments))


# Statements


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("SELECT 1", ["SELECT 1"]),
        (" SELECT 1 ;; ; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT \";\"", ["SELECT ';'", 'SELECT ";"']),
        ("-- a;\nSELECT 1 /* ; /* ; */ ; */ + 1; -- b", ["SELECT 1 /* ; /* ; */ ; */ + 1"]),
        ("SELECT $$;$$, $x$;$$;$x$; SELECT $a", ["SELECT $$;$$, $x$;$$;$x$", "SELECT $a"]),
        (r"SELECT E'\';', 'it''s;', '\'; SELECT 2", [r"SELECT E'\';', 'it''s;', '\'", "SELECT 2"]),
        ("/* nothing */ ; -- nothing", []),
        ("SELECT 'open; SELECT 2", ["SELECT 'open; SELECT 2"]),
    ],
)
def test_a_script_is_split_where_duckdb_splits_it(script: str, statements: list[str]) -> None:
    assert [one.text for one in split_statements(script)] == statements
    if "open" not in script:
        assert len(duckdb.extract_statements(script)) == len(statements)


@given(st.text(alphabet="a;'\"$-/*\n e\\", max_size=30))
def test_tokens_are_the_text(script: str) -> None:
    tokens = list(tokens_of(script))
    assert "".join(token.text for token in tokens) == script
    assert all(token.start == sum(len(t.text) for t in tokens[:n]) for n, token in enumerate(tokens))


@given(st.text(alphabet="ab;'\"$-/*\n ", max_size=20))
def test_what_duckdb_takes_as_statements_is_split_alike(script: str) -> None:
    try:
        count = len(duckdb.extract_statements(f"SELECT 1 AS {script}"))
    except duckdb.Error:
        return
    assert len(split_statements(f"SELECT 1 AS {script}")) == count


@pytest.mark.parametrize(
    ("script", "is_whole"),
    [("SELECT 1", False), ("SELECT 1; -- so", True), ("SELECT ';", False), ("/* ;", False), ("", True), (";", True)],
)
def test_where_more_lines_are_waited_for(script: str, is_whole: bool) -> None:
    assert is_complete(script) == is_whole


def test_each_result_is_shown(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sql(lake, "SELECT 1 AS a; SELECT 2 AS b;", "--format", "csv").out == "a\n1\n\nb\n2\n"
    assert sql(lake, "CREATE TEMP TABLE t AS SELECT 7 AS a; SET threads = 1; FROM t", "--format", "csv").out == "a\n7\n"
    (tmp_path / "one.sql").write_text("CREATE TEMP TABLE t AS SELECT count(*) AS n FROM orders;\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT n FROM t;\nSELECT n + 1 AS m FROM t"))
    out = sql(lake, "--file", tmp_path / "one.sql", "--file", "-", "--format", "ndjson").out
    assert list(map(json.loads, out.splitlines())) == [{"n": 10}, {"m": 11}]
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 5 AS a"))
    assert sql(lake, "--format", "csv").out == "a\n5\n"  # no query, no terminal
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "statement" in sql(lake).fault


def test_a_script_stops_at_its_first_fault_and_says_where(lake: Lake, tmp_path: Path) -> None:
    script = tmp_path / "report.sql"
    script.write_text("SELECT 1 AS a;\n\nSELECT nothing\nFROM orders;\nSELECT 3;\n")
    outcome = sql(lake, "--file", script, "--format", "csv")
    assert outcome.out == "a\n1\n"
    assert f"statement 2 of 3, line 3 of {script}" in outcome.fault and "at line 3" in outcome.fault
    outcome = sql(lake, "SELECT 1;\nSELECT 2;\nSELECT 3 FROM;")
    assert outcome.out == ""  # nothing is run of what cannot be parsed
    assert "statement 3 of 3, line 3" in outcome.fault
    assert "nosuch.sql" in sql(lake, "--file", tmp_path / "nosuch.sql").fault


def test_statements_that_give_no_rows_or_may_not_run(lake: Lake) -> None:
    script = "CREATE TEMP TABLE t AS SELECT 1 AS a; SET threads = 1; PRAGMA disable_progress_bar; BEGIN; INSERT INTO t"
    assert sql(lake, f"{script} SELECT range FROM range(5); COMMIT").out == "1 row\n5 rows\n"
    out = sql(lake, "CREATE TEMP TABLE t (a INTEGER); INSERT INTO t VALUES (4) RETURNING a", "--format", "ndjson").out
    assert out == '{"a": 4}\n'
    fault = sql(lake, "SELECT 1;\nCOPY (SELECT 1) TO 'x.csv'").fault
    assert "statement 2 of 2, line 2" in fault and "--output" in fault
    assert not Path("x.csv").exists()


def test_parameters_are_values_and_never_text_of_the_query(lake: Lake) -> None:
    query = "SELECT count(*) AS n FROM orders WHERE pk = $pk; SELECT $n::INTEGER + 1 AS m"
    given = ("--param", "pk=1/1", "--param", "n=2", "--format", "ndjson")
    assert sql(lake, query, *given).out == '{"n": 1}\n{"m": 3}\n'
    out = sql(lake, "SELECT $x AS x", "--param", "x='; DROP TABLE orders; --=", "--format", "csv").out
    assert out == "x\n'; DROP TABLE orders; --=\n"
    assert "--param x=VALUE" in sql(lake, "SELECT $x").fault
    assert "y" in sql(lake, "SELECT $x", "--param", "x=1", "--param", "y=1").errors


# Formats

KINDS = {
    "s": "VARCHAR", "i": "BIGINT", "h": "HUGEINT", "d": "DECIMAL(38,2)", "e": "DECIMAL(38,38)", "f": "DOUBLE",
    "b": "BLOB", "o": "BOOLEAN", "t": "TIMESTAMP", "z": "TIMESTAMPTZ", "a": "DATE", "c": "TIME", "v": "INTERVAL",
    "u": "UUID", "l": "VARCHAR[]", "n": "DECIMAL(38,2)[]", "r": "STRUCT(x INTEGER, y VARCHAR)",
}  # fmt: skip
VALUES = [
    ["''", "0", "0", "0", "0", "'NaN'", "''", "false", "'1970-01-01'", "'1970-01-01'", "'0001-01-01'", "'00:00'",
     "'0 days'", "'00000000-0000-0000-0000-000000000000'", "[]", "[]", "{'x': NULL, 'y': ''}"],
    ["'NULL'", "9223372036854775807", "99999999999999999999999999999999999999",
     "999999999999999999999999999999999999.99", "0.00000000000000000000000000000000000001", "1e-300", "'\\x00\\xFF\"'",
     "true", "'2026-01-31 12:00:00.000001'", "'2026-01-31 12:00:00.5+02'", "'9999-12-31'", "'23:59:59.999999'",
     "'-3 days -00:00:01.5'", "'ffffffff-0000-0000-0000-000000000001'", "['', NULL, 'a,\"b\"', 'é\n']",
     "[1.10, NULL, 999999999999999999999999999999999999.99]", "{'x': 1, 'y': 'a\"b'}"],
    ["'a,\"b\" \n\r\té∪'", "-9223372036854775808", "-99999999999999999999999999999999999999", "-0.01", "-0.5",
     "'-inf'", "'abc'", "NULL", "'1583-10-15 00:00:00.1'", "'2000-02-29 23:59:59.999999+00'", "'2000-02-29'",
     "'12:00:00.5'", "'400 days 01:00:00'", "NULL", "['x']", "[-0.01]", "{'x': -1, 'y': NULL}"],
    ["' '", *["NULL"] * 16],
]  # fmt: skip
VALUE_QUERY = " UNION ALL ".join(
    "SELECT "
    + ", ".join(f"CAST({value} AS {kind}) AS {name}" for value, (name, kind) in zip(row, KINDS.items(), strict=True))
    for row in VALUES
)


def read_back(form: str, path: Path) -> str:
    """SQL for what a file holds, in the types that went in."""
    if form == "parquet":
        return f"SELECT {', '.join(f'CAST({n} AS {k}) AS {n}' for n, k in KINDS.items())} FROM '{path}'"
    columns = []
    for name, kind in KINDS.items():
        text = name if form == "csv" else f"({name} ->> '$')"
        is_nested = kind.endswith("]") or kind.startswith("STRUCT")
        value = f"from_base64({text})" if kind == "BLOB" else f"CAST({text}::JSON AS {kind})" if is_nested else text
        columns.append(f"CAST({value} AS {kind}) AS {name}")
    source = f"read_csv('{path}', header = true, all_varchar = true, allow_quoted_nulls = false, new_line = '\\n')"
    if form != "csv":
        kinds = ", ".join(f"{name}: 'JSON'" for name in KINDS)
        source = f"read_json('{path}', columns = {{{kinds}}})"
    return f"SELECT {', '.join(columns)} FROM {source}"


@pytest.mark.parametrize("form", ["csv", "json", "ndjson", "parquet"])
def test_every_value_comes_back_from_a_file(lake: Lake, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    assert sql(lake, VALUE_QUERY, "--output", path).code == 0  # the format by the name
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"CREATE TABLE expected AS {VALUE_QUERY}")
    con.execute(f"CREATE TABLE found AS {read_back(form, path)}")
    expected, found = (con.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in ("expected", "found"))
    assert len(found) == len(VALUES)
    assert str(found) == str(expected)  # NaN is NaN
    assert con.execute("FROM expected EXCEPT ALL FROM found").fetchall() == []


@given(st.lists(st.text() | st.integers() | st.booleans() | st.decimals(allow_nan=False), min_size=2, max_size=4))
def test_a_line_of_csv_is_read_by_others(values: list[object]) -> None:
    (found,) = csv.reader(io.StringIO(csv_line(values), newline=""))
    expected = [
        str(v).lower() if isinstance(v, bool) else f"{v:f}" if isinstance(v, Decimal) else str(v) for v in values
    ]
    assert found == expected


@given(st.integers(-30, 30), st.integers(-400, 400), st.integers(-(10**12), 10**12))
def test_a_span_of_time_is_read_by_duckdb(months: int, days: int, us: int) -> None:
    query = "SELECT CAST($told AS INTERVAL) = to_months($months) + to_days($days) + to_microseconds($us)"
    told = interval_text(months, days, us)
    assert duckdb.execute(query, {"told": told, "months": months, "days": days, "us": us}).fetchall() == [(True,)]


def test_json_is_as_the_library_writes_it(lake: Lake) -> None:
    assert sql(lake, "SELECT 1 AS a WHERE false", "--format", "json").out == "[]\n"
    out = sql(lake, "SELECT 'a\n\"' AS a, [1] AS a, {'b': [[1]]} AS c FROM range(2)", "--format", "json").out
    assert out == json.dumps([{"a": 'a\n"', "a_2": [1], "c": {"b": [[1]]}}] * 2, indent=2) + "\n"


def test_columns_of_one_name_and_none_at_all_in_parquet(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert sql(lake, "SELECT 1 AS a, 'x' AS a, 2 AS a_2 WHERE false", "--output", path).code == 0
    assert pq.read_schema(path).names == ["a", "a_2", "a_2_2"]
    assert pq.read_metadata(path).num_rows == 0


@pytest.mark.parametrize(
    "value",
    ["1::UHUGEINT", "'101'::BIT", "TIMETZ '12:00:00+02'", "[INTERVAL 1 DAY]", "{'a': ['101'::BIT]}",
     "union_value(k := 1)", "170141183460469231731687303715884105727::HUGEINT"],
)  # fmt: skip
def test_what_parquet_would_alter_is_refused(lake: Lake, tmp_path: Path, value: str) -> None:
    fault = sql(lake, f"SELECT 1 AS a, {value} AS v", "--output", tmp_path / "x.parquet").fault
    assert "AS VARCHAR)" in fault
    assert list(tmp_path.iterdir()) == []


def test_large_results_are_written_by_and_by(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert sql(lake, "SELECT range AS n FROM range(300000) ORDER BY n DESC", "--output", path).code == 0
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups > 2
    assert file.read()["n"].to_pylist() == list(range(299_999, -1, -1))
    assert sql(lake, "SELECT repeat('x', 20000) FROM range(8000)", "--output", path).code == 0
    assert pq.ParquetFile(path).metadata.num_row_groups > 1  # 160 MB


# Files


def test_a_file_is_there_whole_or_not_at_all(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    outcome = sql(
        lake, "SELECT 1; SELECT 1 / (range - 5000)::INTEGER, error('stop') FROM range(9000)", "--output", path
    )
    assert "stop" in outcome.fault
    assert path.read_text() == "before"
    assert sql(lake, "SELECT 1 AS a", "--output", path).out == ""
    assert path.read_text() == "a\n1\n"
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "link.csv").symlink_to(path)
    assert sql(lake, "SELECT 2 AS a", "--output", tmp_path / "link.csv").code == 0
    assert path.read_text() == "a\n2\n" and (tmp_path / "link.csv").is_symlink()
    assert sql(lake, "SELECT 2 AS a", "--output", "/dev/null").code == 0
    assert Path("/dev/null").is_char_device()


def test_places_that_are_not_to_be_written_to(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "into").symlink_to(lake.root)
    before = sorted(lake.root.rglob("*"))
    for place in (lake.root / "raw/x.csv", lake.root / "x.parquet", tmp_path / "into/raw/x.csv"):
        assert "outside of the lake" in sql(lake, "SELECT 1", "--output", place).fault
    for place, told in (tmp_path, "a file"), (tmp_path / "no/such/x.csv", "write into"), ("s3://b/x.csv", "on S3"):
        assert told in sql(lake, "SELECT 1", "--output", place).fault
    assert sorted(lake.root.rglob("*")) == before
    assert "2" in sql(lake, "SELECT 1; SELECT 2", "--output", tmp_path / "x.parquet").fault
    assert sql(lake, "CREATE TEMP TABLE t AS SELECT 1 AS a; FROM t", "--output", tmp_path / "x.parquet").code == 0
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == [{"a": 1}]


def test_a_table_in_a_file_is_as_wide_as_it_must_be(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    outcome = sql(lake, "SELECT repeat('x', 150) AS a FROM range(1001)", "--output", path)
    assert "first 1,000 rows" in outcome.errors
    assert path.read_text().count("x" * 150) == 1_000
    assert "1 row, " in sql(lake, "SELECT 1", "--timing", "--format", "csv").errors


# Times and the pack


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-01-31", 0), ("2026-01-31T12:00:00", 12), ("2026-01-31 12:00:00.5Z", 12), ("2026-01-31T12:00+02:00", 10)],
)
def test_times_are_in_utc(text: str, hour: int) -> None:
    assert instant_of(text).hour == hour and instant_of(text).tzinfo == UTC


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), st.integers(-800, 800))  # noqa: DTZ001
def test_a_time_is_the_same_in_any_zone(moment: datetime, minutes: int) -> None:
    there = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert instant_of(there.isoformat()) == instant_of(moment.isoformat(" "))


@pytest.mark.parametrize("text", ["", "yesterday", "2026", "12:00", "2026-13-01", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time(lake: Lake, text: str) -> None:
    outcome = sql(lake, "SELECT 1", "--as-of", text)
    assert outcome.code == 2 and "2026-01-31" in outcome.errors


def test_all_tables_as_of_a_time(lake: Lake) -> None:
    times = sql(lake, "SELECT max(event_time) AS t FROM orders_changes", "--format", "json").out
    (told,) = json.loads(times)
    assert sql(lake, "SELECT count(*) AS n FROM orders", "--as-of", told["t"], "--format", "csv").out == "n\n10\n"


def test_queries_of_the_pack(lake: Lake) -> None:
    from queries import pack

    assert sql(lake, "--query", pack.names("operational")[0], "--table", "orders").code == 0
    assert pack.names("operational")[0] in sql(lake, "--query", "nothing").fault
    assert "nothing" in sql(lake, "--query", pack.names("operational")[0], "--table", "nothing").fault


# Faults


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM ordrs", ["Did you mean orders", "orders_history(pk, sk)", "FROM >>> ordrs"]),
        ("SELECT * FROM orders_hist('x')", ["Did you mean orders_history(pk, sk)"]),
        ("SELECT * FROM orders_history('x')", ["Call it as orders_history(pk, sk)"]),
        ("SELECT * FROM orders_as_of()", ["Call it as orders_as_of(ts)"]),
        ("SELECT * FROM orders_as_of", ["Call it as orders_as_of(ts)"]),
        ("SELECT * FROM orders('x')", ["It takes no arguments: orders"]),
        ("SELECT pkk FROM orders", ["Candidate bindings:", '"pk"', "SELECT >>> pkk"]),
        ("SELECT o.pkk FROM orders o", ["Candidate bindings: ", "pk"]),
        ("SELECT 1\nFROM orders\nWHERE pk = WHERE", ["at line 3", "pk = >>> WHERE"]),
        ("SELECT (1", ["end of input", "SELECT (1 >>>"]),
        ("SELECT 'abc", ["unterminated", ">>> 'abc"]),
        ("FROM 'nosuch.parquet'", ["nosuch.parquet", "Check the path"]),
        ("INSERT INTO orders_changes FROM orders_changes", ["only read", "CREATE TEMP TABLE"]),
        ("DELETE FROM orders", ["only read"]),
        ("UPDATE orders SET pk = 'x'", ["only read"]),
        ("FROM con", ["con does not exist"]),  # no variable of ours is a table
    ],
)
def test_faults_say_what_to_do(lake: Lake, query: str, told: list[str]) -> None:
    fault = sql(lake, query).fault
    assert [words for words in told if words not in fault] == [], fault
    assert "LINE 1" not in fault and '"repeat_row"' not in fault


def test_more_than_fits_into_memory_says_so(lake: Lake) -> None:
    fault = sql(lake, "SELECT list(range) FROM range(100000000)", "--memory-mb", "512").fault
    assert "--memory-mb" in fault and "Out of Memory" in fault and "Possible solutions" not in fault


def test_what_fails_while_it_is_fetched_tells_why(lake: Lake) -> None:
    """DuckDB then says first that the result is closed."""
    raw = "Invalid Input Error: Attempting to execute a closed result\nError: Out of Memory Error: of 1 MiB\n\nPossible"
    (statement,) = split_statements("FROM orders")
    fault = query_fault(RuntimeError(raw), statement, [], lambda _: [], lake.uri)
    assert fault.got == "Out of Memory Error: of 1 MiB" and "--memory-mb" in fault.remedy


def test_a_table_named_as_a_word_of_sql(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", "order")
    assert 'quotes, "order"' in sql(lake, "SELECT * FROM order").fault
    assert sql(lake, 'SELECT count(*) AS n FROM "order"', "--format", "csv").out == "n\n0\n"
    assert "quotes" not in sql(lake, "SELECT * FRM order_changes").fault


def test_what_an_encoding_does_not_have_is_written_out(lake: Lake) -> None:
    query = "SELECT '\u6f22' AS a"
    for form in ("table", "csv"):
        ended = subprocess.run(
            [*PROCESS, "--lake", str(lake.root), "sql", query, "--format", form], cwd=ROOT, text=True,
            env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, "") and "\\u6f22" in ended.stdout


def test_a_lake_without_tables(tmp_path: Path) -> None:
    assert dynalake(tmp_path / "new", "init").code == 0
    assert "add-table" in dynalake(tmp_path / "new", "sql", "FROM orders").fault


def test_files_that_are_gone_by_now(tmp_path: Path) -> None:
    """As where another job has removed what a connection still had in view."""
    from dynalake.session import Session
    from lake.errors import LakeError

    lake = new_lake(tmp_path / "lake")
    Path(lake.raw, "1").write_bytes(text("1"))
    compacted(lake)
    session = Session(lake, 1024)
    try:
        (planned,) = session.plan(split_statements("SELECT count(new_image) FROM orders_changes"))
        for path in Path(lake.warehouse).rglob("*.parquet"):
            path.unlink()
        with pytest.raises(LakeError, match="run the query again"):
            session.run(planned, {}, lambda result: list(result.rows()))
    finally:
        session.close()


# Ctrl-C


def started(lake: Lake, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROCESS, "--lake", str(lake.root), "sql", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    process.wait(60)  # also while nobody reads
    assert process.stderr is not None
    return process.returncode, process.stderr.read()


def test_ctrl_c_ends_a_long_query_and_an_endless_output(lake: Lake, tmp_path: Path) -> None:
    """Endless results are written while they come: none is held in memory."""
    path = tmp_path / "out.parquet"
    waiting = started(lake, f"SELECT 1; {LONG}", "--format", "csv")
    printing = started(lake, ENDLESS, "--format", "json")
    writing = started(lake, ENDLESS, "--output", path)
    assert waiting.stdout is not None and waiting.stdout.readline() == "1\n"
    assert printing.stdout is not None
    assert len([printing.stdout.readline() for _ in range(5_000)]) == 5_000
    while not any(one.stat().st_size > 100_000 for one in tmp_path.iterdir()):
        assert writing.poll() is None
    for process in (waiting, printing, writing):
        assert ended(process) == (130, "")
    assert list(tmp_path.iterdir()) == []
