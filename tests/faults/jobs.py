"""Real processes of the command line that kill or stop themselves at a chosen call, or are killed from outside.

They are forked from a server that has imported everything, so that a run is its work and not its imports.
"""

from __future__ import annotations

import faulthandler
import importlib
import inspect
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WAIT_SECONDS_MAX = 120
_MODULES = [
    "compaction.compact", "compaction.refresh", "ingest.backfill", "ingest.consume", "ingest.exports",
    "queries.connect", "queries.status", "lake.lake", "dynalake.cli", "pyiceberg.catalog.sql", "pyiceberg.io.pyarrow",
]  # fmt: skip
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(_MODULES)


@dataclass(frozen=True, slots=True)
class Point:
    """A call of a function, `module:name`, at which a process sends itself a signal: before it, or after."""

    function: str
    when: str = "before"
    call: int = 1

    def __str__(self) -> str:
        return f"{self.when} call {self.call} of {self.function}"


def every_other(points: Sequence[Point]) -> list[Any]:
    """For a parametrization: the second, fourth, … are left to `make faults`, as CI runs a share of them."""
    return [pytest.param(point, marks=pytest.mark.slow) if n % 2 else point for n, point in enumerate(points)]


class Job:
    """One run of the command line in a process of its own; `point` is where it meets `sent`."""

    def __init__(
        self, lake: Path | str, *arguments: str, point: Point | None = None, sent: int = signal.SIGKILL,
        small_batches: bool = True,
    ) -> None:  # fmt: skip
        folder = lake.parent if isinstance(lake, Path) else Path(tempfile.gettempdir())
        self.log = folder / f"dynalake-{arguments[0]}-{os.getpid()}-{time.monotonic_ns()}.txt"
        line = ["--lake", str(lake), *arguments]
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        self.process = _PROCESSES.Process(target=_run, args=(line, str(self.log), point, sent, small_batches, aws))
        self.process.start()

    def wait(self) -> int:
        """The exit code, minus the signal's number where one ended it; a hanging job or a traceback fails."""
        self.process.join(WAIT_SECONDS_MAX)
        if self.process.exitcode is None:  # where it hangs
            self.send(signal.SIGUSR1)
            time.sleep(1)
        assert self.process.exitcode is not None, f"hangs: {self.output()}"
        output = self.output()
        assert "Traceback" not in output, output
        return self.process.exitcode

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def send(self, number: int) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid or 0, number)

    def wait_until_stopped(self) -> bool:
        """False where it ended instead."""
        until = time.monotonic() + WAIT_SECONDS_MAX
        while self.process.is_alive() and time.monotonic() < until:
            state = subprocess.run(
                ["ps", "-o", "state=", "-p", str(self.process.pid)], capture_output=True, text=True, check=False
            )
            if state.stdout.startswith("T"):
                return True
            time.sleep(0.02)
        return False


def _run(line: list[str], log: str, point: Point | None, sent: int, small_batches: bool, aws: dict[str, str]) -> None:
    os.environ.update(aws)  # it was forked before a test could set them
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
    for module in _MODULES:
        importlib.import_module(module)
    if small_batches:
        sys.modules["compaction.compact"].OBJECTS_MAX = 3  # type: ignore[attr-defined]
    if point is not None:
        interrupt(point, lambda: os.kill(os.getpid(), sent))
    sys.argv = ["dynalake", *line]
    sys.modules["dynalake.cli"].main()


def interrupt(point: Point, act: Callable[[], Any]) -> None:
    """Puts `act` before or after a call of a function, wherever that has been imported to."""
    module_name, _, name = point.function.partition(":")
    holder: Any = importlib.import_module(module_name)
    *path, last = name.split(".")
    for step in path:
        holder = getattr(holder, step)
    original = getattr(holder, last)
    calls = 0

    def wrapped(*args: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        is_it = calls == point.call
        if is_it and point.when == "before":
            act()
        result = original(*args, **keywords)
        if is_it and point.when == "after":
            act()
        return result

    is_static = isinstance(inspect.getattr_static(holder, last), staticmethod)
    setattr(holder, last, staticmethod(wrapped) if is_static else wrapped)
    for module in list(sys.modules.values()):
        if getattr(module, last, None) is original:
            setattr(module, last, wrapped)
