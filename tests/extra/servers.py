"""Servers that have an environment of their own, for their pins do not go with ours: `make test-extra` makes it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[2] / ".venv-servers" / "bin"
START_SECONDS_MAX = 60
ACCESS_KEY, SECRET_KEY = "dynalake", "dynalake-secret"


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(command: list[str], log: Path, port: int, environment: dict[str, str] | None = None) -> Iterator[str]:
    """The endpoint of a server, once it takes connections."""
    if not (BIN / command[0]).exists():
        pytest.skip(f"{command[0]} is not installed: make test-extra installs it")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]], stdout=out, stderr=out, cwd=log.parent,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            assert process.poll() is None, log.read_text()[-2_000:]
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < until, log.read_text()[-2_000:]
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """S3 and a Glue catalog that refuses stale versions, as AWS does and moto does not."""
    (port,) = free_ports(1)
    settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "S3_DATA_DIR": str(folder / "s3"),
                "SERVICES": "s3,glue,dynamodb,sts", "LOG_LEVEL": "WARNING"}  # fmt: skip
    with running(["ministack"], folder / "ministack.txt", port, settings) as endpoint:
        yield endpoint


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """A real S3 server, which checks signatures."""
    s3, *ports = free_ports(9)
    identities = {"identities": [{"name": "dynalake", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                                  "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}]}  # fmt: skip
    (folder / "s3.json").write_text(json.dumps(identities))
    (folder / "data").mkdir()
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
             "s3.port.grpc", "s3.port.iceberg")  # fmt: skip
    command = ["weed", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
               f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}", "-master.telemetry=false",
               "-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=64", "-volume.max=50",
               *(f"-{name}={port}" for name, port in zip(names, ports, strict=True))]  # fmt: skip
    with running(command, folder / "weed.txt", s3) as endpoint:
        yield endpoint
