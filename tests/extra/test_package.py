"""The Lambda functions as Lambda runs them: from the built zip, unzipped, with Python's own library and nothing else.

Events are those of `tests/events`, in the shapes that AWS documents; S3, SQS and Secrets Manager are moto's.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra import package
from lake.dead_letters import read_dead_letters
from lake.lake import Lake, open_lake
from lake.layout import CONFIG
from lake.masks import parse_masks
from lake.store import put, read
from tests.lakes import SCHEMA, compacted, new_lake, only_table, rows
from tests.test_handlers import event

pytestmark = pytest.mark.extra
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
OTHER_ARCH = "x86_64" if ARCH == "arm64" else "arm64"
SECRET = "k" * 32
MASKS = {"v": "redact", "b": "redact"}
CLEAN = """
import json, sys
task, library = sys.argv[1], sys.path[:]
sys.path.insert(0, task)
{body}
places = {{m.__name__: m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)}}
foreign = {{n: f for n, f in places.items() if not f.startswith((task, *library))}}
assert not foreign, foreign
heavy = {{"duckdb", "pyarrow", "pyiceberg", "numpy"}} & {{name.partition(".")[0] for name in sys.modules}}
assert not heavy, heavy
"""
CALL = """
from ingest import handlers
print(json.dumps(getattr(handlers, sys.argv[2])(json.load(sys.stdin), None)))
"""


def build(out: Path, arch: str = ARCH, **environment: str) -> Path:
    command = [sys.executable, str(package.ROOT / "infra/package.py"), "--arch", arch, "--out", str(out)]
    done = subprocess.run(
        command, cwd=out.parent, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path = out / f"capture-python{HERE}-{arch}.zip"
    assert done.stdout.startswith(f"{path}: ") and " MB, " in done.stdout and done.stdout.count("\n") == 1
    return path


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package") / "out")


@pytest.fixture(scope="module")
def task(zipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lambda") / "task"
    with zipfile.ZipFile(zipped) as opened:
        opened.extractall(folder)
    return folder


def clean(task: Path, body: str, *arguments: str, given: Any = None) -> list[str]:
    """Runs a script where there is only the package, and gives its lines."""
    command = [sys.executable, "-I", "-S", "-B", "-c", CLEAN.format(body=body), str(task), *arguments]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def invoke(task: Path, handler: str, given: dict[str, Any]) -> dict[str, Any]:
    return json.loads(clean(task, CALL, handler, given=given)[-1])


def test_it_has_what_is_imported_and_no_more(zipped: Path, task: Path) -> None:
    assert zipped.stat().st_size < 50 * 1024 * 1024
    with zipfile.ZipFile(zipped) as opened:
        names = opened.namelist()
        assert names == sorted(names) and {one.date_time for one in opened.infolist()} == {package.DATED}
    tops = {name.partition("/")[0] for name in names}
    assert {"ingest", "lake", "boto3", "botocore", "cryptography", "msgspec", "zstandard"} <= tops
    assert not {"duckdb", "pyarrow", "pyiceberg", "numpy", "compaction", "dynalake", "standin", "tests"} & tops
    services = {name.split("/")[2] for name in names if name.startswith(package.DATA) and name.count("/") > 2}
    assert services == {"s3", "secretsmanager", "sqs"}
    for module in package.traced()[0]:
        source = package.source_of(module)
        assert (task / source.relative_to(package.ROOT)).read_bytes() == source.read_bytes()


def test_every_module_of_it_can_be_imported(task: Path) -> None:
    """Also those that are imported late, and the clients of every service whose description is there."""
    imports = "\n".join(f"import {name}" for name in (*package.traced()[0], *package.traced()[1]))
    clients = """
import os
os.environ |= {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_CONFIG_FILE": "/dev/null"}
from lake.aws import aws_client
from lake.masks import MaskKey
assert MaskKey(bytes(32)).unseal(MaskKey(bytes(32)).seal(b"x")) == b"x"
print([aws_client(name).meta.endpoint_url for name in ("s3", "sqs", "secretsmanager")])
"""
    (line,) = clean(task, imports + clients)
    assert line.count("amazonaws.com") == 3
    caches = [path for path in task.rglob("*.py") if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))]
    assert caches == [], "without bytecode a cold start takes twice as long"


def test_the_same_input_gives_the_same_bytes(zipped: Path, tmp_path: Path) -> None:
    """Elsewhere, with another seed: Terraform deploys what has another hash."""
    (tmp_path / "elsewhere").mkdir()
    again = build(tmp_path / "out", TMPDIR=str(tmp_path / "elsewhere"), PYTHONHASHSEED="7")
    assert again.read_bytes() == zipped.read_bytes()


def test_the_other_architecture(zipped: Path, tmp_path: Path) -> None:
    """Its libraries are the other machine's; all that is Python is the same."""
    with zipfile.ZipFile(build(tmp_path / "out", OTHER_ARCH)) as other, zipfile.ZipFile(zipped) as ours:
        sources = [[name for name in one.namelist() if name.startswith(("ingest/", "lake/"))] for one in (other, ours)]
        assert sources[0] == sources[1] and all(other.read(name) == ours.read(name) for name in sources[0])
        libraries = [name for name in other.namelist() if name.endswith(".so")]
        assert any(name.startswith("msgspec/") for name in libraries)
        machine = {"x86_64": 62, "arm64": 183}[OTHER_ARCH]  # e_machine of ELF
        assert {int.from_bytes(other.read(name)[18:20], "little") for name in libraries} == {machine}


def test_a_wheel_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line that says for what."""
    with pytest.raises(package.LakeError) as refused:
        package.install(["dynalake-has-no-such-wheel==1"], "3.12", "arm64", tmp_path)
    assert "package python3.12 on arm64; expected wheels for glibc 2.34 or older; found No matching" in str(
        refused.value
    )
    assert "\n" not in str(refused.value)


@pytest.fixture(params=[False, True], ids=["plain", "masked"])
def lake(request: pytest.FixtureRequest, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """On S3, with a queue for poison; its secret, where there are masks, in Secrets Manager."""
    made = new_lake("s3://lakes/shop")
    text = (read(made.place(CONFIG)) or b"").decode()
    url = boto3.client("sqs").create_queue(QueueName="poison")["QueueUrl"]
    text += f"\n[poison]\nqueue_url = {json.dumps(url)}\n"
    if request.param:
        arn = boto3.client("secretsmanager").create_secret(Name="masks", SecretString=SECRET)["ARN"]
        text += f'\n[masks]\nsecret = {json.dumps(arn)}\n\n[tables.orders.masks]\nv = "redact"\nb = "redact"\n'
    put(made.place(CONFIG), text.encode())
    monkeypatch.setenv("DYNALAKE_LAKE", made.uri)
    opened = open_lake(made.uri)
    assert only_table(opened) == replace(
        only_table(made), masks=parse_masks(MASKS if request.param else {}, SCHEMA, "")
    )
    return opened


def check_landed(lake: Lake, poison: int) -> None:
    """Compaction finds three changes, masked where they must be, and the queue was told of the poison."""
    report = compacted(lake)
    assert (report.changes, report.dead_letters) == (3, 0)
    found = rows(lake, "SELECT op, coalesce(new_image, old_image) FROM orders_changes ORDER BY created_at_us")
    assert [op for op, _ in found] == ["INSERT", "MODIFY", "REMOVE"]
    masked = bool(only_table(lake).masks)
    plain = [{"N": "1"}, {"N": "2"}, {"N": "2"}]
    values = [{"NULL": True}] * 3 if masked else plain  # a number that is redacted
    assert [json.loads(image)["v"] for _, image in found] == values
    letters = list(read_dead_letters(lake.dead_letters))
    assert [letter.is_sealed for letter in letters] == [masked] * poison
    assert masked or [letter.raw for letter in letters] == [b"rubbish"] * poison
    messages = boto3.client("sqs").receive_message(QueueUrl=lake.config.poison_queue_url).get("Messages", [])
    assert len(messages) == poison


def test_a_batch_of_kinesis(task: Path, lake: Lake) -> None:
    answer = invoke(task, "stream_handler", event("kinesis_event_source_mapping"))
    assert answer == {"batchItemFailures": []}
    check_landed(lake, poison=1)


def test_a_batch_of_a_native_stream(task: Path, lake: Lake) -> None:
    text = (read(lake.place(CONFIG)) or b"").decode()
    put(lake.place(CONFIG), text.replace('surface = "kds"', 'surface = "streams"').encode())
    answer = invoke(task, "stream_handler", event("dynamodb_event_source_mapping"))
    assert answer == {"batchItemFailures": []}
    opened = open_lake(lake.uri)
    assert only_table(opened).surface == "streams"
    check_landed(opened, poison=0)


def test_a_transformation(task: Path, lake: Lake) -> None:
    """What it answers, Firehose writes; the rest it has landed itself."""
    answer = invoke(task, "firehose_handler", event("firehose_transformation"))
    assert [one["result"] for one in answer["records"]] == ["Ok", "Ok", "Dropped", "Ok"]
    data = b"".join(base64.b64decode(one["data"]) for one in answer["records"] if "data" in one)
    put(f"{lake.raw}firehose.ndjson", data)
    check_landed(lake, poison=1)
