"""Lakes on S3 with their tables in Glue: the same jobs, races at one object, answers that are lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

import compaction.compact
import lake.aws
import lake.catalog
from lake import store
from lake.config import TableConfig
from lake.errors import ConfigError
from lake.lake import Lake, add_table, create_lake, open_lake
from lake.tables import append_files
from tests.commands import dynalake
from tests.lakes import SCHEMA, compacted, fresh_items, new_lake, refreshed, rows
from tests.records import START_US, change, record, s, text
from tests.test_histories import check_history

SHOP = "s3://lakes/shop"


@pytest.fixture
def shop(s3: Any) -> Lake:
    return new_lake(SHOP)


def land(lake: Lake, name: str, *records: dict) -> None:
    store.put(f"{lake.raw}{name}", b"\n".join(json.dumps(one).encode() for one in records))


def event_ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY 1")]


def test_the_command_line_from_nothing(s3: Any) -> None:
    for _ in range(2):
        assert dynalake(SHOP, "init").code == 0
    assert dynalake(SHOP, "add-table", "orders", "--hash-key", "pk:S", "--range-key", "sk:S").code == 0
    s3.put_object(Bucket="lakes", Key="shop/raw/2026/1", Body=b"\n".join([text("1"), b"rubbish", text("2")]))
    s3.put_object(Bucket="lakes", Key="shop/raw-2/1", Body=text("not of this prefix"))
    (report,) = json.loads(dynalake(SHOP, "compact", "--json").out)
    assert (report["changes"], report["dead_letters"]) == (2, 1)
    assert json.loads(dynalake(SHOP, "refresh", "--json").out)[0]["touched"] == 2
    assert json.loads(dynalake(SHOP, "sql", "SELECT pk, v FROM orders ORDER BY 1", "--format", "json").out) == [
        {"pk": "1", "v": 1}, {"pk": "2", "v": 1},
    ]  # fmt: skip
    (status,) = json.loads(dynalake(SHOP, "status", "--json").out)
    assert (status["rows"], status["tail_changes"], status["dead_letters_of_no_table"]) == (2, 0, 1)
    assert "rubbish" in dynalake(SHOP, "dead-letters").out
    assert boto3.client("glue").get_database(Name="lakes_shop")["Database"]
    tables = boto3.client("glue").get_tables(DatabaseName="lakes_shop")["TableList"]
    assert {one["Name"]: one["Parameters"]["table_type"].upper() for one in tables} == {
        "orders": "ICEBERG", "orders_changes": "ICEBERG", "orders_ledger": "ICEBERG",
    }  # fmt: skip


def test_a_database_of_ones_own_choice(s3: Any) -> None:
    assert dynalake(SHOP, "init", "--database", "shop_lake").code == 0
    assert open_lake(SHOP).config.catalog == {"type": "glue", "database": "shop_lake"}


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_random_histories_end_as_the_table(s3: Any, seed: int) -> None:
    check_history(seed, SHOP)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_random_histories_end_as_the_table(s3: Any, seed: int) -> None:
    check_history(seed, SHOP)


def test_what_is_no_place_for_a_lake(s3: Any, tmp_path: Any) -> None:
    s3.put_object(Bucket="lakes", Key="other/thing", Body=b"")
    assert "nothing under it" in dynalake("s3://lakes/other", "init").fault
    assert "NoSuchBucket" in dynalake("s3://no-such-bucket/x", "init").fault
    for uri in ("s3://", "s3:///x", "s3://Not_A_Bucket!/x", "s3://lakes/a//b", "s3://lakes/a*", "gs://lakes/a"):
        assert "expected" in dynalake(uri, "init").fault
    assert "init" in dynalake("s3://lakes/none", "status").fault
    assert "S3" in dynalake(tmp_path / "lake", "init", "--database", "x").fault


def test_a_lake_whose_settings_name_no_catalog(shop: Lake) -> None:
    store.update(shop.place("lake.toml"), lambda text: text.replace("[catalog]", "[tables.x]").replace("type", "#"))
    assert "lake.toml" in dynalake(SHOP, "compact").fault
    store.put(shop.place("lake.toml"), b"format = 1\n")
    assert "[catalog]" in dynalake(SHOP, "status").fault
    store.put(shop.place("lake.toml"), b'format = 1\n[catalog]\ntype = "nonsense"\ndatabase = "x"\n')
    assert "nonsense" in dynalake(SHOP, "status").fault


def test_a_database_that_was_emptied_is_not_begun_anew(shop: Lake) -> None:
    land(shop, "1", record("1"))
    compacted(shop)
    glue = boto3.client("glue")
    for table in glue.get_tables(DatabaseName="lakes_shop")["TableList"]:
        glue.delete_table(DatabaseName="lakes_shop", Name=table["Name"])
    assert "the warehouse holds data" in dynalake(SHOP, "compact").fault


# Races


def test_of_two_first_jobs_neither_takes_the_other_for_damage(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one makes the tables and their data after this one has seen that there are none."""
    land(shop, "1", record("1"))
    original, entered = lake.catalog._has_data, []

    def late(of: Lake) -> bool:
        if not entered:
            entered.append(of)
            compacted(shop)
        return original(of)

    monkeypatch.setattr(lake.catalog, "_has_data", late)
    assert compacted(shop).changes == 0 and entered
    assert event_ids(shop) == ["1"]


def test_the_loser_of_a_race_plans_anew(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    land(shop, "1", record("1"), record("2"))
    left = [1]

    def commit(*arguments: Any) -> None:
        if left and left.pop():
            land(shop, "2", record("3"))
            compacted(shop)
        append_files(*arguments)

    monkeypatch.setattr(compaction.compact, "append_files", commit)
    assert compacted(shop).conflicts == 1
    assert event_ids(shop) == ["1", "2", "3"]
    assert (
        sum(one.uri.endswith(".parquet") for one in store.list_objects(f"{shop.warehouse}/lake/orders_changes/")) == 1
    )


def test_tables_added_at_once_are_all_there(s3: Any) -> None:
    create_lake(SHOP)
    threads = [
        threading.Thread(target=lambda n=n: add_table(open_lake(SHOP), TableConfig("", f"t{n}", SCHEMA)))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(open_lake(SHOP).config.tables) == {f"t{n}" for n in range(6)}


def test_the_first_new_object_stays(s3: Any) -> None:
    assert store.put_new("s3://lakes/a", b"1")
    assert not store.put_new("s3://lakes/a", b"2")
    assert store.read("s3://lakes/a") == b"1"
    assert store.read("s3://lakes/none") is None
    with pytest.raises(ConfigError, match="NoSuchBucket"):
        store.put_new("s3://nowhere/a", b"2")


# Answers that are lost: the request took effect, and the client heard nothing


def lose_answers(monkeypatch: pytest.MonkeyPatch, wanted: Callable[[Any], bool], times: int = 1) -> list[str]:
    """Of the first requests that are wanted; gives the list of what was lost."""
    send, lost = URLLib3Session.send, []

    def deaf(self: URLLib3Session, request: Any) -> Any:
        answer = send(self, request)
        if len(lost) < times and wanted(request):
            lost.append(request.url)
            raise ReadTimeoutError(endpoint_url=request.url)
        return answer

    monkeypatch.setattr(URLLib3Session, "send", deaf)
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return lost


def is_commit(request: Any) -> bool:
    return request.headers.get("X-Amz-Target") in (b"AWSGlue.UpdateTable", "AWSGlue.UpdateTable")


@pytest.mark.parametrize("times", [1, 2])
def test_a_commit_whose_answer_is_lost_stands(shop: Lake, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Were it sent again, it would be told of a conflict with itself, and its files thrown away."""
    land(shop, "1", record("1"), change("2", "2", "INSERT", START_US, new=s("x")))
    lost = lose_answers(monkeypatch, is_commit, times)
    report = compacted(shop)
    assert len(lost) == times and (report.changes, report.conflicts) == (2, 0)
    lost = lose_answers(monkeypatch, is_commit)
    assert refreshed(shop).conflicts == 0 and len(lost) == 1
    monkeypatch.undo()


def test_a_new_object_whose_answer_is_lost_is_ours(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = lose_answers(monkeypatch, lambda request: request.method == "PUT")
    assert store.put_new("s3://lakes/a", b"1") and lost


@pytest.mark.parametrize("seed", range(3))
def test_any_answer_may_be_lost(shop: Lake, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Every seventh request's, whatever it is."""
    count = [seed]

    def seventh(_: Any) -> bool:
        count[0] += 1
        return count[0] % 7 == 0

    land(shop, "1", record("1"), record("2"))
    with monkeypatch.context() as patch:
        lose_answers(patch, seventh, 1_000)
        compacted(shop)
        land(shop, "2", record("3"), change("1", "gone", "REMOVE", START_US + 1, old={"N": "1"}))
        compacted(shop)
        refreshed(shop)
    assert event_ids(shop) == ["1", "2", "3", "gone"] and len(fresh_items(shop)) == 2
    assert compacted(shop, reread=True).changes == 0


# Errors of the world outside


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [("ExpiredToken", 400, "Renew the credentials"), ("AccessDenied", 403, "permission"), ("SlowDown", 503, "later"),
     ("InternalError", 500, "Run it again"), ("InvalidAccessKeyId", 403, "credentials")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["compact", "refresh", "status", "sql"])
def test_what_s3_refuses(
    shop: Lake, monkeypatch: pytest.MonkeyPatch, code: str, status: int, said: str, command: str
) -> None:
    land(shop, "1", record("1"))
    compacted(shop)
    land(shop, "2", record("2"))
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    lake.aws.aws_client("s3").meta.events.register(
        "before-parse.s3.*",
        lambda response_dict, **_: response_dict.update(status_code=status, body=body, headers={}),
    )
    arguments = (command, "SELECT 1") if command == "sql" else (command,)
    fault = dynalake(SHOP, *arguments).fault
    assert said in fault and code in fault


def test_an_endpoint_that_hangs(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        monkeypatch.setattr(lake.aws, "READ_SECONDS_MAX", 0.2)
        assert "within the time allowed" in dynalake(SHOP, "compact").fault


def test_no_credentials(shop: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "AWS_PROFILE" in dynalake(SHOP, "compact").fault
