"""Lakes on S3 against servers that do as AWS does: commit races in Glue, signatures, conditional writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from lake import store
from lake.lake import Lake, open_lake
from lake.layout import log_table
from lake.tables import append_files, batch_of
from tests.commands import dynalake
from tests.extra.servers import ACCESS_KEY, SECRET_KEY, ministack, seaweedfs
from tests.lakes import compacted, fresh_items, new_lake, refreshed, rows, table
from tests.records import text
from tests.test_histories import check_history

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module", params=[ministack, seaweedfs], ids=["ministack", "seaweedfs"])
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bool]]:
    """The server's address, and whether Glue is there too."""
    with request.param(tmp_path_factory.mktemp("server")) as address:
        yield address, request.param is ministack


@pytest.fixture
def place(
    endpoint: tuple[str, bool], s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> str:
    """Where a lake can be made: a prefix of its own. Where the server has no Glue, moto's is used."""
    address, has_glue = endpoint
    settings = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip
    if not has_glue:
        settings["AWS_ENDPOINT_URL_GLUE"] = s3_server
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    until = time.monotonic() + 60
    while True:
        try:
            boto3.client("s3").create_bucket(Bucket="lakes")
            break
        except ClientError as fault:
            if "BucketAlready" in str(fault):
                break
            assert time.monotonic() < until, "the server has not come up"
            time.sleep(0.5)
    return f"s3://lakes/{time.monotonic_ns()}"


def event_ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY 1")]


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_end_as_the_table(place: str, seed: int) -> None:
    check_history(seed, place)


def test_conditional_writes(place: str) -> None:
    assert store.put_new(f"{place}/a", b"1") and not store.put_new(f"{place}/a", b"2")
    threads = [threading.Thread(target=store.update, args=(f"{place}/a", lambda text: text + "+")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(f"{place}/a") == b"1++++++"


def test_an_object_larger_than_a_part(place: str, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(range(256)) * 100_000)
    store.put_copy(f"{place}/large", large)
    (found,) = store.list_objects(f"{place}/")
    assert found.size == 25_600_000
    assert store.download(found, tmp_path).read_bytes() == large.read_bytes()


@pytest.mark.parametrize("endpoint", [seaweedfs], indirect=True)  # the other checks no signatures
def test_a_wrong_secret_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "credentials" in dynalake(place, "init").fault


def test_a_stale_version_is_refused(place: str) -> None:
    lake = new_lake(place)
    store.put(f"{lake.raw}1", text("1"))
    compacted(lake)
    stale = table(lake, log_table("orders"))
    store.put(f"{lake.raw}2", text("2"))
    compacted(lake)
    with pytest.raises(Exception, match="has changed"):
        append_files(stale, [], batch_of(stale) + 1)


@pytest.mark.parametrize("endpoint", [ministack], indirect=True)  # moto's Glue takes stale versions, and loses updates
def test_jobs_at_once_lose_nothing_and_land_nothing_twice(place: str) -> None:
    """Catalogs are asked for a table and then given a new version: in between, others commit."""
    lake = new_lake(place)
    for n in range(12):
        store.put(f"{lake.raw}{n}", b"\n".join(text(f"{n}/{i}") for i in range(20)))
    conflicts: list[int] = []

    def job() -> None:
        for _ in range(3):
            conflicts.append(compacted(open_lake(place)).conflicts)
            conflicts.append(refreshed(open_lake(place)).conflicts)

    threads = [threading.Thread(target=job) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(12, 16):
        store.put(f"{lake.raw}{n}", b"\n".join(text(f"{n}/{i}") for i in range(20)))
    for thread in threads:
        thread.join()
    compacted(lake)
    wanted = sorted(f"{n}/{i}" for n in range(16) for i in range(20))
    assert len(conflicts) == 24 and sum(conflicts) > 0, "no race was run"
    assert event_ids(lake) == wanted
    refreshed(lake)
    assert len(fresh_items(lake)) == len(wanted)
    assert compacted(lake, reread=True).changes == 0


def test_a_commit_whose_answer_is_lost_stands(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = new_lake(place)
    store.put(f"{lake.raw}1", text("1"))
    send, lost = URLLib3Session.send, []

    def deaf(self: URLLib3Session, request: Any) -> Any:
        answer = send(self, request)
        if request.headers.get("X-Amz-Target") in (b"AWSGlue.UpdateTable", "AWSGlue.UpdateTable"):
            lost.append(request.url)
            raise ReadTimeoutError(endpoint_url=request.url)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(URLLib3Session, "send", deaf)
        assert compacted(lake).changes == 1
        refreshed(lake)
    assert len(lost) >= 2 and event_ids(lake) == ["1"] and len(fresh_items(lake)) == 1
