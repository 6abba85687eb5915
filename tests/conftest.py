"""Servers of S3 and Glue, and of Spark's SQL. Hypothesis: `ci` is small and the same each time, `thorough` looks on."""

import logging
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer

from standin.fixtures import aws  # noqa: F401

# Lakes on a busy machine are slow to make: no time is a fault.
settings.register_profile("patient", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("patient"), max_examples=30, derandomize=True)
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=3_000, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client, and the environment in which the command line makes its own; `raw` and `lakes` are empty buckets."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # a page of a listing
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    client = boto3.client("s3")
    moto_reset(s3_server)
    for bucket in ("raw", "lakes"):
        client.create_bucket(Bucket=bucket)
    return client


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A session of Spark's SQL on Sail, which needs no JVM."""
    sail = pytest.importorskip("pysail.spark", reason="pysail is not installed")
    sql = pytest.importorskip("pyspark.sql", reason="pyspark-client is not installed")
    server = sail.SparkConnectServer(ip="127.0.0.1", port=0)
    server.start()
    _, port = server.listening_address
    session = sql.SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    yield session
    session.stop()
    server.stop()


def moto_reset(server: str) -> None:
    """Forgets every bucket and database."""
    with urllib.request.urlopen(urllib.request.Request(f"{server}/moto-api/reset", method="POST")) as answer:
        assert answer.status == 200
