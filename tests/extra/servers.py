"""Servers that have an environment of their own, for their pins do not go with ours: `make test-extra` makes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv-servers" / "bin"
NODE = ROOT / ".node-servers" / "node_modules"
PRELOAD = Path(__file__).parent / "node" / "preload.cjs"
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
    with started([str(BIN / command[0]), *command[1:]], log, port, environment):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def started(
    command: list[str], log: Path, port: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=log.parent, env={**os.environ, **(environment or {})}
        )
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
        yield process
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


@contextmanager
def microburst(folder: Path, upstream: str, rules: list[dict[str, Any]]) -> Iterator[Callable[[], Counter[str]]]:
    """A proxy that fails in AWS' own ways; the environment turned to it. Gives a function of what it has done."""
    (port,) = free_ports(1)
    command = ["microburst", "--upstream", upstream, "--port", str(port), "--host", "127.0.0.1"]
    with running(command, folder / "microburst.txt", port) as endpoint, pytest.MonkeyPatch.context() as patch:
        asked = urllib.request.Request(f"{endpoint}/_microburst/rules", json.dumps(rules).encode(), method="POST")
        with urllib.request.urlopen(asked) as answer:
            assert answer.status == 200

        def fired() -> Counter[str]:
            with urllib.request.urlopen(f"{endpoint}/_microburst/fired?limit=10000") as answer:
                return Counter(f"{one['operation']} {one['action']}" for one in json.load(answer))

        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield fired


@dataclass(frozen=True)
class Kinesis:
    endpoint: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> Any:
        return boto3.client(
            "kinesis", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip

    def expire_iterators(self) -> None:
        """Moves the server's clock 301 seconds ahead."""
        moves = self.log.read_text().count("the clock was moved")
        self.process.send_signal(signal.SIGUSR2)
        until = time.monotonic() + 10
        while self.log.read_text().count("the clock was moved") == moves:
            assert time.monotonic() < until, self.log.read_text()[-2_000:]
            time.sleep(0.01)


@contextmanager
def kinesis_local(folder: Path) -> Iterator[Kinesis]:
    """Kinesis whose shards split, merge and end as AWS's do, but for the sequence numbers at their bounds: a closed
    shard's last is 2**63 - 1, a merged one's first that of a parent. Puts slow down as a shard fills: hold it to
    some thousand records."""
    if (node := shutil.which("node")) is None:
        pytest.skip("kinesis-local needs Node, which is not installed")
    package = NODE / "kinesis-local"
    if not (package / "main.js").exists():
        pytest.skip("kinesis-local is not installed: make test-extra installs it, with npm")
    tls, plain = free_ports(2)
    settings = {"KINESIS_MOCK_CERT_PATH": str(package / "server.json"), "KINESIS_MOCK_TLS_PORT": str(tls),
                "KINESIS_MOCK_PLAIN_PORT": str(plain), "SHARD_LIMIT": "1000", "LOG_LEVEL": "WARN",
                **{f"{act}_DURATION": "1ms" for act in ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD",
                                                        "MERGE_SHARDS", "UPDATE_SHARD_COUNT")}}  # fmt: skip
    command = [node, "--require", str(PRELOAD), str(package / "main.js")]
    log = folder / "kinesis-local.txt"
    with started(command, log, plain, settings) as process:
        yield Kinesis(f"http://127.0.0.1:{plain}", process, log)
