"""What goes into the Lambda functions' zip, and whether Terraform names handlers that there are.

The zip itself is built and run in tests/extra/test_package.py.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from infra import package
from lake.errors import ConfigError, LakeError

HANDLER = re.compile(r'^\s*handler\s*=\s*"([\w.]+)"', re.MULTILINE)


def test_modules_are_found_by_their_imports() -> None:
    """Late ones too: masks import cryptography, and landing makes a client of SQS, in the middle of functions."""
    modules, packages = package.traced()
    assert {"ingest.handlers", "ingest.landing", "ingest", "lake.masks", "lake.s3", "lake"} <= set(modules)
    assert not {"ingest.exports", "lake.engine", "lake.tables", "compaction"} & set(modules)
    assert {"boto3", "botocore", "cryptography", "msgspec", "zstandard"} == set(packages)
    assert package.services_of(modules) == {"s3", "secretsmanager", "sqs"}


def test_an_engine_does_not_slip_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "NOT_WANTED", ("zstandard", "duckdb"))
    with pytest.raises(ConfigError, match=r"expected nothing of zstandard, duckdb; found zstandard"):
        package.traced()


def test_versions_are_those_of_the_constraints() -> None:
    pinned = (package.ROOT / "constraints.txt").read_text().split()
    found = package.requirements_of(["boto3", "msgspec"])
    assert [one.partition("==")[0] for one in found] == ["boto3", "msgspec"] and set(found) <= set(pinned)
    with pytest.raises(ConfigError, match=r"expected a version in constraints\.txt"):
        package.requirements_of(["nothing_of_the_kind"])


@pytest.mark.parametrize(
    ("name", "is_wanted"),
    [
        ("botocore/data/s3/2006-03-01/service-2.json.gz", True),
        ("botocore/data/ec2/2016-11-15/service-2.json.gz", False),
        ("botocore/data/s3control/2018-08-20/service-2.json.gz", False),
        ("botocore/data/partitions.json", True),
        ("botocore/cacert.pem", True),
        ("boto3/session.py", True),
        ("boto3/data/s3/2006-03-01/resources-1.json", False),
        ("bin/jp.py", False),
        ("msgspec/__init__.pyi", False),
        ("boto3-1.44.5.dist-info/RECORD", False),
        ("boto3-1.44.5.dist-info/licenses/LICENSE", True),
    ],
)
def test_what_of_a_distribution_is_wanted(name: str, is_wanted: bool) -> None:
    assert package.is_wanted(name, {"s3"}) == is_wanted


def test_a_service_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "ROOT", tmp_path)
    (tmp_path / "one.py").write_text("aws_client('kinesis' if x else 'sqs', attempts=1)\n")
    assert package.services_of(["one"]) == {"kinesis", "sqs"}
    (tmp_path / "one.py").write_text("name = 'sqs'\naws_client(name)\n")
    with pytest.raises(ConfigError, match=r"one, line 2; expected a service by its name; found aws_client\(name\)"):
        package.services_of(["one"])


def test_the_same_files_make_the_same_zip(tmp_path: Path) -> None:
    """Whatever their times, modes and order of writing are."""
    for n, names in enumerate((["a.py", "b/c.py"], ["b/c.py", "a.py"])):
        for name in names:
            path = tmp_path / f"{n}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(0o600 + n)
        package.write_zip(tmp_path / f"{n}", tmp_path / f"{n}.zip")
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


def test_what_lambda_would_not_take_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "ZIPPED_BYTES_MAX", 100)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text("x")
    with pytest.raises(LakeError, match=r"package a\.zip; expected 50 MB zipped"):
        package.write_zip(tmp_path / "in", tmp_path / "out" / "a.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_handlers_that_terraform_names_are_there() -> None:
    named = {
        name for path in (package.ROOT / "infra").rglob("*.tf") for name in HANDLER.findall(path.read_text("utf-8"))
    }
    assert named
    modules, _ = package.traced()
    for name in named:
        module, _, function = name.rpartition(".")
        assert module in modules and callable(getattr(importlib.import_module(module), function)), name
