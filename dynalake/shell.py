"""The interactive shell of `dynalake sql`: statements of several lines, completion, history, commands like psql's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from prompt_toolkit.output import Output
from pygments.lexers.sql import SqlLexer

from dynalake.completion import SqlCompleter
from dynalake.console import show_error
from dynalake.relations import Relation
from dynalake.results import FORMATS
from dynalake.scripts import read_packed, read_script
from dynalake.session import Session, instant_of
from dynalake.showing import Showing, run_statements
from dynalake.statements import is_complete, split_statements
from lake.errors import ConfigError, LakeError

COMMANDS = {
    "\\d": "[NAME]  the views and macros of every table; the columns of one",
    "\\dt": "the tables of the lake",
    "\\as-of": "TIME|now  all tables as they were at an instant, or are now",
    "\\refresh": "move on to what is newest in the lake, and say what that is",
    "\\query": "NAME [TABLE]  run a query of the pack; their names without NAME",
    "\\i": "FILE  run the statements of a file",
    "\\o": "FILE  write the next result to a file: as its name ends, else in the format set",
    "\\format": "[FORMAT]  " + ", ".join(FORMATS),
    "\\x": "a line for every value, or a table again",
    "\\timing": "tell how long each statement took, or no more",
    "\\?": "this list; \\h too",
    "\\q": "leave; Ctrl-D too",
}
_STATEMENTS = "A statement ends with `;`. Tab completes, Ctrl-C ends what runs or is typed."


class Shell:
    """What stands behind the prompt: takes a line or a statement at a time."""

    def __init__(self, session: Session, showing: Showing) -> None:
        self.session, self.showing = session, showing
        self._doing: dict[str, Callable[[str], object]] = {
            "\\d": self._describe,
            "\\dt": lambda _: self._tables(),
            "\\as-of": self._as_of,
            "\\refresh": lambda _: self._refresh(),
            "\\query": self._query,
            "\\i": self._include,
            "\\o": self._output,
            "\\format": self._format,
            "\\x": lambda _: self._switch("is_expanded", "one line a value"),
            "\\timing": lambda _: self._switch("is_timed", "timing"),
            "\\?": lambda _: self._help(),
            "\\h": lambda _: self._help(),
        }

    def take(self, text: str) -> bool:
        """Does what was typed; whether more is wanted. Faults are told and forgotten."""
        text = text.strip()
        if text in ("\\q", "exit", "quit", "exit;", "quit;"):
            return False
        try:
            if text.startswith("\\"):
                self._command(text)
            else:
                self._run(text)
        except LakeError as fault:
            show_error(fault)
        except OSError as fault:
            show_error(LakeError("do", text.split()[0], got=str(fault)))
        except KeyboardInterrupt:
            print("interrupted")
        return True

    def _run(self, text: str, source: str = "") -> None:
        run_statements(self.session, self.session.plan(split_statements(text, source)), self.showing)

    def _command(self, text: str) -> None:
        name, _, argument = text.rstrip("; ").partition(" ")
        if name not in self._doing:
            raise ConfigError("do", name, expected="a command of the shell", got="none", remedy="See them by \\?")
        self._doing[name](argument.strip())

    def _describe(self, name: str) -> None:
        relations = self.session.relations
        if not name:
            self.showing.rows(["name", "what it is"], [(one.call, one.what) for one in relations])
            return
        asked = name.lower()  # names are found in any case
        found = next((one for one in relations if asked in (one.name, one.call.lower(), f'"{one.name}"')), None)
        if found is None:
            known = ", ".join(one.name for one in relations[:12]) or "nothing"
            raise ConfigError("describe", name, expected=f"one of {known}", got="none", remedy="See all by \\d")
        self._columns(found)

    def _columns(self, relation: Relation) -> None:
        print(f"{relation.call}: {relation.what}")
        columns = self.session.interruptibly(lambda: self.session.columns(relation))
        self.showing.rows(["column", "type"], columns)

    def _tables(self) -> None:
        rows = [
            (table.name, table.dynamodb_name, " ".join(map(str, table.keys.attributes)), table.surface)
            for table in self.session.lake.config.tables.values()
        ]
        self.showing.rows(["table", "in DynamoDB", "key", "surface"], rows)

    def _as_of(self, text: str) -> None:
        if not text:
            print(f"as of {self.session.as_of.isoformat(' ') if self.session.as_of else 'now'}")
            return
        moment = None if text.lower() == "now" else instant_of(text.strip("'\""))
        self.session.interruptibly(lambda: self.session.move(moment))
        self._as_of("")

    def _refresh(self) -> None:
        self.session.interruptibly(self.session.refresh)
        for line in self.session.position():
            print(line)

    def _query(self, text: str) -> None:
        name, *tables = text.split()[:2] or [""]
        self._run(read_packed(self.session.lake, name, tables[0] if tables else None), name)

    def _include(self, name: str) -> None:
        self._run(read_script(name), name)

    def _output(self, name: str) -> None:
        self.showing.to = Path(name).expanduser() if name else None
        print(f"the next result goes to {name or 'the terminal'}")

    def _format(self, form: str) -> None:
        if form and form not in FORMATS:
            raise ConfigError("set format", form, expected=", ".join(FORMATS), got="none of them")
        self.showing.form = form or self.showing.form
        print(f"format: {self.showing.form}")

    def _switch(self, name: str, what: str) -> None:
        setattr(self.showing, name, not getattr(self.showing, name))
        print(f"{what}: {'on' if getattr(self.showing, name) else 'off'}")

    def _help(self) -> None:
        for name, what in COMMANDS.items():
            print(f"  {name:<9} {what}")
        print(_STATEMENTS)


def history_path() -> Path:
    """Where what was typed is kept: among the user's own files, never in the lake."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "dynalake" / "history"


class _Kept(FileHistory):
    """A history for its user's eyes; where the file cannot be written to, that of this session."""

    def load_history_strings(self) -> Iterable[str]:
        try:
            return list(super().load_history_strings())
        except (OSError, UnicodeDecodeError):
            return []

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(string)


def open_history(path: Path) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return _Kept(str(path))


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    def is_done() -> bool:
        text = get_app().current_buffer.text
        return text.lstrip().startswith("\\") or text.strip() in ("exit", "quit") or is_complete(text)

    @bindings.add("enter", filter=Condition(is_done))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None  # Enter takes what was chosen
        else:
            buffer.validate_and_handle()

    return bindings


def run_shell(session: Session, showing: Showing, source: Input | None = None, target: Output | None = None) -> None:
    """Takes statements and commands from the terminal until its user leaves."""
    shell = Shell(session, showing)
    prompt: PromptSession[Any] = PromptSession(
        history=open_history(history_path()),
        lexer=PygmentsLexer(SqlLexer),
        completer=SqlCompleter(session, COMMANDS, FORMATS),
        complete_in_thread=True,
        complete_while_typing=False,
        multiline=True,
        prompt_continuation=lambda width, *_: "-> ".rjust(width),
        key_bindings=_bindings(),
        input=source,
        output=target,
    )
    print(f"{session.lake.uri}: \\? for help, \\q to leave.")
    while True:
        try:
            text = prompt.prompt(lambda: f"{_position(session)}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.strip() and not shell.take(text):
            return


def _position(session: Session) -> str:
    return "lake" if session.as_of is None else f"lake at {session.as_of:%Y-%m-%d %H:%M:%S}"
