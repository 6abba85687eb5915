"""The shell of `dynalake sql`: on a terminal, as its user meets it; its commands; what it completes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from rich.cells import cell_len

from dynalake.completion import SqlCompleter, candidates
from dynalake.fitted import cut, fit
from dynalake.results import FORMATS
from dynalake.session import Session
from dynalake.shell import COMMANDS, Shell, history_path, open_history
from dynalake.showing import Showing
from lake.lake import Lake
from queries.connect import connect
from tests.lakes import compacted, ten_items
from tests.records import text
from tests.test_sql import LONG, PROCESS
from tests.test_tidy import ROOT

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")
SECONDS_MAX = 30
# The process takes the terminal as its own, from which Ctrl-C then comes as a signal.
ON_TERMINAL = [*PROCESS[:-1], f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {PROCESS[-1]}"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Ten items, half of them in the tail."""
    return ten_items(tmp_path_factory.mktemp("shell") / "lake")


@pytest.fixture(scope="module")
def session(lake: Lake) -> Iterator[Session]:
    session = Session(lake, 1024)
    yield session
    session.close()


@pytest.fixture
def shell(session: Session) -> Shell:
    return Shell(session, Showing(is_fitted=True))


class Terminal:
    """A process on a terminal of its own, with what it has shown since it was last looked at."""

    def __init__(self, lake: Lake, state: Path, columns: int = 100) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "XDG_STATE_HOME": str(state), "PROMPT_TOOLKIT_NO_CPR": "1"}
        environment.pop("COLUMNS", None)
        self.process = subprocess.Popen(
            [*ON_TERMINAL, "--lake", str(lake.root), "sql"], cwd=ROOT, env=environment, stdin=theirs, stdout=theirs,
            stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._ours = ours
        self._shown = ""

    def expect(self, words: str) -> str:
        """What was shown up to these words."""
        until = time.monotonic() + SECONDS_MAX
        while words not in self._shown:
            assert time.monotonic() < until, f"{words!r} is not in {self._shown!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self._shown += CODES.sub("", os.read(self._ours, 65_536).decode(errors="replace"))
        before, _, self._shown = self._shown.partition(words)
        return before + words

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ask(self, line: str, answer: str, prompt: str = "lake>") -> str:
        """Types a line; what is shown up to the answer, and then waits for the prompt."""
        self.type(line + "\r")
        shown = self.expect(answer)
        self.expect(prompt)
        return shown

    def end(self) -> int:
        code = self.process.wait(SECONDS_MAX)
        os.close(self._ours)
        return code


def test_a_session_on_a_terminal(lake: Lake, tmp_path: Path) -> None:
    terminal = Terminal(lake, tmp_path)
    terminal.expect("lake>")
    assert "orders_history(pk, sk)" in terminal.ask("\\d", "all changes of one item")
    terminal.type("SELECT count(*) AS n\r")
    terminal.expect("->")
    assert "10" in terminal.ask("FROM orders;", "(1 row)")
    terminal.type("SELECT 12345 AS x")
    terminal.expect("12345 AS x")
    terminal.type("\x03")  # nothing of it is run
    terminal.expect("lake>")
    terminal.type("SELECT count(*) + 2 AS n FROM orders_cha\t")
    terminal.expect("nges")
    assert "12" in terminal.ask(";", "(1 row)")
    assert "Did you mean orders" in terminal.ask("FROM ordrs;", "Did you mean orders")
    terminal.type(LONG + ";\r")
    terminal.expect("a.range % 7 = b.range;")
    time.sleep(0.5)  # it should run by now, and if not is interrupted all the same
    terminal.type("\x03")
    terminal.expect("interrupted")
    terminal.expect("lake>")
    assert "11" in terminal.ask("SELECT 10 + 1 AS m;", "(1 row)")
    terminal.type("\x04")
    assert terminal.end() == 0

    path = tmp_path / "dynalake/history"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(lake.root.rglob("history"))
    again = Terminal(lake, tmp_path, columns=60)
    again.expect("lake>")
    again.type("\x1b[A")  # up: what was typed last
    again.expect("SELECT 10 + 1 AS m;")
    assert "11" in again.ask("", "(1 row)")
    shown = again.ask("SELECT * FROM orders;", "left out")
    assert max(cell_len(line) for line in shown.splitlines()) <= 60
    assert "…" in shown
    again.type("\\q\r")
    assert again.end() == 0


# Commands


def test_what_there_is(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", "orders", "ORDERS_changes;", "orders_history", "orders_as_of(ts)"):
        assert shell.take(f"\\d {name}")
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert "_expired_at" in shown and "sequence_number" in shown and "TIMESTAMP" in shown
    assert shell.take("\\dt;") and capsys.readouterr().err == ""
    shell.take("\\d nothing")
    assert "orders_changes" in capsys.readouterr().err
    shell.take("\\dt")
    assert "pk:S sk:S" in capsys.readouterr().out
    shell.take("CREATE TEMP TABLE mine AS SELECT 1 AS a")
    shell.take("\\d")
    assert "made in this session" in capsys.readouterr().out


def test_each_relation_is_described_and_can_be_asked(session: Session) -> None:
    with connect(session.lake) as con:
        assert set(con.views) <= {relation.name for relation in session.relations}
    for relation in session.relations:
        assert relation.what and session.columns(relation), relation


def test_a_shell_moves_on_and_tells_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = ten_items(tmp_path / "lake")
    session = Session(lake, 1024)
    shell = Shell(session, Showing("csv", is_fitted=True))
    try:
        count = "SELECT count(*) AS n FROM orders"
        Path(lake.raw, "3").write_bytes(text("3"))
        compacted(lake)
        shell.take(count)
        assert capsys.readouterr().out == "n\n10\n"  # one version, until it is told otherwise
        shell.take("\\refresh")
        assert re.search(r"orders: batch 3, changes up to 20\d\d-.* UTC", capsys.readouterr().out)
        shell.take(count)
        assert capsys.readouterr().out == "n\n11\n"
        for wrong in ("yesterday", "2026-13-01"):
            shell.take(f"\\as-of {wrong}")
            assert "ISO 8601" in capsys.readouterr().err
        assert session.as_of is None
        shell.take("\\as-of 2100-01-01 00:00")
        assert "as of 2100-01-01 00:00:00+00:00" in capsys.readouterr().out
        shell.take(count)
        assert capsys.readouterr().out == "n\n11\n"
        shell.take("\\as-of now")
        assert session.as_of is None
    finally:
        session.close()


def test_how_results_are_shown(shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert all([shell.take("\\x"), shell.take("SELECT 'a\x1b[31m' AS first, 2 AS second FROM range(2);")])
    shown = capsys.readouterr().out
    assert "row 2" in shown and "second │ 2" in shown
    assert "\x1b[31m" not in shown and "a\\x1b[31m" in shown  # data moves no cursor
    shell.take(f'SELECT 1 AS "{"long" * 50}", 2 AS b')
    assert max(map(cell_len, capsys.readouterr().out.splitlines())) < 50
    shell.take("\\x")
    shell.take("FROM range(300)")
    assert "first 200 rows" in capsys.readouterr().out
    shell.take("\\format ndjson")
    shell.take("SELECT 1 AS a; SELECT 2 AS a")
    assert '{"a": 1}\n{"a": 2}\n' in capsys.readouterr().out
    shell.take("\\format xml")
    assert "parquet" in capsys.readouterr().err
    shell.take(f"\\o {tmp_path}/x.parquet")
    shell.take("FROM range(3)")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 3
    shell.take("\\timing")
    shell.take("FROM range(3)")  # on the terminal again
    out, errors = capsys.readouterr()
    assert '{"range": 2}' in out and "3 rows, " in errors
    (tmp_path / "x.sql").write_text("SELECT 'from a file' AS a;\nSELECT nothing;")
    shell.take(f"\\i {tmp_path}/x.sql")
    out, errors = capsys.readouterr()
    assert "from a file" in out and "line 2 of" in errors
    shell.take("\\i nosuch.sql")
    shell.take("\\nothing")
    errors = capsys.readouterr().err
    assert "nosuch.sql" in errors and "\\?" in errors
    assert shell.take("\\?")
    assert set(COMMANDS) <= set(capsys.readouterr().out.split())
    assert not shell.take("\\q") and not shell.take("quit;")


def test_queries_of_the_pack(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    from queries import pack

    shell.take(f"\\query {pack.names('operational')[0]} orders")
    assert capsys.readouterr().err == ""
    shell.take("\\query nothing")
    assert pack.names("operational")[0] in capsys.readouterr().err


def test_every_command_is_known_and_told_of(shell: Shell) -> None:
    assert set(COMMANDS) | {"\\h"} == set(shell._doing) | {"\\q"}


def test_a_history_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    assert isinstance(open_history(history_path()), InMemoryHistory)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    history = open_history(history_path())
    history.append_string("SELECT 1;\nSELECT 2")
    history_path().unlink()
    history_path().mkdir()
    history.append_string("SELECT 3")  # and no word of it
    assert list(open_history(tmp_path / "state/other").load_history_strings()) == []


# Completion


def completed(session: Session, text: str) -> list[str]:
    """What is offered where the text has a `^`."""
    cursor = text.index("^")
    return [one.text for one in candidates(text.replace("^", ""), cursor, session)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("SELECT * FROM ord^", "orders"),
        ("SELECT * FROM orders JOIN orders_h^", "orders_history("),
        ("SELECT * FROM orders, orders_c^", "orders_changes"),
        ("DESCRIBE ord^", "orders"),
        ("SELECT _ex^ FROM orders", "_expired_at"),
        ("SELECT o._ex^ FROM orders o", "_expired_at"),
        ("SELECT o._ex^ FROM orders_as_of('2026-01-01', (1)) AS o", "_expired_at"),
        ("SELECT c.is_t^ FROM orders o JOIN orders_changes AS c ON true", "is_ttl"),
        ('SELECT "_EX^ FROM orders', "_expired_at"),
        ("SELECT 1 FROM orders WHERE p^", "pk"),
        ("SELECT 1; SELECT v FROM orders ORDER BY s^; SELECT 2", "sk"),
        ("SEL^", "SELECT"),
        ("sel^", "select"),
        ("SELECT array_agg(_item_^ FROM orders", "_item_key"),
        ("SELECT epoch_u^", "epoch_us("),
    ],
)
def test_what_is_offered_first(session: Session, text: str, first: str) -> None:
    assert completed(session, text)[:1] == [first]


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("SELECT 'FROM ord^", "orders"),
        ("SELECT 1 -- FROM ord^", "orders"),
        ("SELECT x.p^ FROM orders o", "pk"),
        ("SELECT p^; SELECT 1 FROM orders", "pk"),
        ("SELECT 1 FROM orders; SELECT p^", "pk"),
        ("SELECT pk, ord^", "orders_as_of"),
    ],
)
def test_what_is_not_offered(session: Session, text: str, never: str) -> None:
    assert never not in completed(session, text)


def test_names_are_quoted_where_they_must_be(session: Session) -> None:
    session.con.execute('CREATE OR REPLACE TEMP TABLE odd AS SELECT 1 AS "two words", 2 AS "select", 3 AS plain')
    assert {'"two words"', '"select"', "plain"} <= set(completed(session, "SELECT ^ FROM odd"))
    assert completed(session, 'SELECT o."two^ FROM odd o') == ['"two words"']


@given(st.text(alphabet="ab ;'\"$-/*\n.,()", max_size=20), st.integers(0, 20))
def test_anything_can_be_completed(session: Session, text: str, cursor: int) -> None:
    cursor = min(cursor, len(text))
    for one in candidates(text, cursor, session):
        assert one.length <= cursor


def test_commands_are_completed(session: Session, tmp_path: Path) -> None:
    def offered(text: str) -> list[str]:
        completer = SqlCompleter(session, COMMANDS, FORMATS)
        return [one.text for one in completer.get_completions(Document(text), CompleteEvent())]

    assert offered("\\f") == ["\\format"]
    assert offered("\\format nd") == ["ndjson"]
    assert "orders_changes" in offered("\\d orders_")
    (tmp_path / "report.sql").touch()
    assert offered(f"\\i {tmp_path}/rep") == ["ort.sql"]
    assert "orders" in offered("SELECT * FROM ")


# The table on a terminal


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30), st.integers(20, 200))
def test_columns_fit(wanted: list[int], width: int) -> None:
    widths = fit(wanted, width)
    assert 1 <= len(widths) <= len(wanted)
    assert all(found <= one or found == 1 for found, one in zip(widths, wanted, strict=False))
    more = 4 if len(widths) < len(wanted) else 0
    assert sum(widths) + 3 * len(widths) + 1 + more <= width
    if sum(wanted) + 3 * len(wanted) + 1 <= width:
        assert widths == wanted


@given(st.text(alphabet="ab漢é", max_size=10), st.integers(1, 12))
def test_a_cell_is_cut_to_its_width(text: str, width: int) -> None:
    assert cell_len(cut(text, width)) <= max(width, 1)
    assert cut(text, 100) == text
