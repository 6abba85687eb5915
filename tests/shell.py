"""bash, as a reader of the documents has it before him, with some commands that this very process answers.

Pipes, loops and `$(…)` are bash's own; `dynalake` and `aws` (or whatever is given) come back here: starting one takes
a second.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import boto3
import pytest

from tests.commands import Outcome

Command = Callable[[Sequence[str]], Outcome]
SECONDS_MAX = 120
_END = "\x00"
_SHIM = """#!{python} -IS
import json, os, socket, sys
here = socket.socket(socket.AF_UNIX)
here.connect({address!r})
here.sendall(json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], dict(os.environ)]).encode())
here.shutdown(socket.SHUT_WR)
code, out, errors = json.loads(here.makefile().read())
sys.stdout.write(out)
sys.stdout.flush()
sys.stderr.write(errors)
sys.exit(code)
"""


class Shell:
    """One session from `with` to the end of its block: variables and exports stay from command to command."""

    def __init__(self, commands: Mapping[str, Command], folder: Path) -> None:
        self._commands, self._folder = commands, folder
        self._place = Path(tempfile.mkdtemp(prefix="sh-"))  # short: the name of a socket has 108 bytes at most
        self._socket = socket.socket(socket.AF_UNIX)
        address = str(self._place / "socket")
        self._socket.bind(address)
        self._socket.listen()
        for name in commands:
            (self._place / name).write_text(_SHIM.format(python=sys.executable, address=address))
            (self._place / name).chmod(0o755)

    def __enter__(self) -> Shell:
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self._folder, env={**os.environ, "PATH": f"{self._place}:{os.environ['PATH']}"},
        )  # fmt: skip
        self._type("set -o pipefail")
        return self

    def __exit__(self, *_: object) -> None:
        self._bash.kill()
        self._bash.wait()
        for stream in (self._bash.stdin, self._bash.stdout):
            assert stream is not None
            stream.close()
        self._socket.close()
        shutil.rmtree(self._place)

    def run(self, command: str) -> tuple[int, str]:
        """The exit code and what came on stdout and stderr."""
        assert self._bash.stdout is not None
        self._type(f"{command}\nprintf '\\0%d\\0' $?")
        output, until = "", time.monotonic() + SECONDS_MAX
        with selectors.DefaultSelector() as ready:
            ready.register(self._bash.stdout, selectors.EVENT_READ)
            ready.register(self._socket, selectors.EVENT_READ)
            while output.count(_END) < 2:
                assert time.monotonic() < until, f"hangs: {command}\n{output}"
                for key, _ in ready.select(timeout=1.0):
                    if key.fileobj is self._socket:
                        self._serve()
                        continue
                    data = os.read(self._bash.stdout.fileno(), 1 << 16)
                    assert data, f"bash ended at: {command}\n{output}"
                    output += data.decode()
        output, code, _ = output.split(_END)
        return int(code), output

    def _type(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{text}\n".encode())
        self._bash.stdin.flush()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, connection.makefile() as file:
            name, words, given = json.loads(file.read())
            with pytest.MonkeyPatch.context() as patch:
                told = {key: value for key, value in given.items() if key.startswith(("AWS_", "DYNALAKE_", "TMPDIR"))}
                if any(os.environ.get(key) != value for key, value in told.items()):
                    patch.setattr(boto3, "DEFAULT_SESSION", None)
                    for key, value in told.items():
                        patch.setenv(key, value)
                outcome = self._commands[name](words)
            connection.sendall(json.dumps([outcome.code, outcome.out, outcome.errors]).encode())
