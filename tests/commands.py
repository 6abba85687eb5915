"""The command line as a caller meets it: an exit code, and what it printed."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from dynalake.cli import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. What it should have caught and did not comes as the exception it is."""

    code: int
    out: str
    errors: str

    @property
    def fault(self) -> str:
        """The one line of a foreseen fault, after which it exited 1."""
        assert self.code == 1, self
        assert self.errors.count("\n") == 1, self.errors
        assert self.errors.startswith("dynalake: "), self.errors
        return self.errors


def dynalake(lake: Path | str, *arguments: str) -> Outcome:
    """Runs `dynalake --lake … ARGUMENTS` in this process, through the very door that the script opens."""
    return run_dynalake("--lake", str(lake), *arguments)


def run_dynalake(*words: str) -> Outcome:
    """Runs `dynalake WORDS`, likewise; the lake is as the environment says."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["dynalake", *words]),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        try:
            main()
            code: str | int | None = 0
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int | None)
    return Outcome(code or 0, out.getvalue(), errors.getvalue())
