"""A pytest fixture of the stand-in for any project: ``pytest_plugins = ["standin.fixtures"]`` in its conftest.

::

    import boto3

    def test_my_job_writes_the_table(aws):
        aws.replicate("orders", bucket="raw")
        my_job()  # makes its own clients with boto3, and child processes inherit the environment
        aws.deliver()
        assert boto3.client("s3").list_objects_v2(Bucket="raw")["KeyCount"] == 1
"""

import os
from collections.abc import Iterator

import boto3
import pytest

from standin.server import AwsStandIn


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[AwsStandIn]:
    """A stand-in for one test, with a clock that stands still, and the environment of the process turned to it.

    ``@pytest.mark.parametrize("aws", [{"seed": 3, "faults": Faults.typical()}], indirect=True)`` gives it other
    arguments.
    """
    with AwsStandIn(**getattr(request, "param", {})) as standin:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in standin.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        yield standin
