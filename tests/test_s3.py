"""Raw objects on S3: listed with their ETags, read as listed, and what can go wrong on the way."""

from __future__ import annotations

import gzip
from typing import Any

import boto3
import pytest

import compaction.compact
from compaction.objects import stage
from lake.lake import Lake
from lake.store import RawObject, list_objects
from tests.commands import dynalake
from tests.lakes import new_lake, rows
from tests.records import text


@pytest.fixture
def lake(tmp_path: Any) -> Lake:
    return new_lake(tmp_path / "lake")


def event_ids(lake: Lake) -> list[str]:
    return [row[0] for row in rows(lake, "SELECT event_id FROM orders_changes ORDER BY 1")]


def test_objects_are_listed_by_page_with_their_etags(s3: Any) -> None:
    etags = {f"a/{n:04}": s3.put_object(Bucket="raw", Key=f"a/{n:04}", Body=b"%d" % n)["ETag"] for n in range(25)}
    s3.put_object(Bucket="raw", Key="b/1", Body=b"other")
    found = list(list_objects("s3://raw/a/"))
    assert {one.uri: one.etag for one in found} == {f"s3://raw/{key}": tag.strip('"') for key, tag in etags.items()}
    assert found[7] == RawObject("s3://raw/a/0007", etags["a/0007"].strip('"'), 1)


def test_odd_keys(s3: Any, lake: Lake) -> None:
    keys = ["plain", "sp ace", "é/ü", "a?b=c#d%20e", "[x]*", "it's", 'q"', "a//b", "+&"]
    for n, key in enumerate(keys):
        s3.put_object(Bucket="raw", Key=f"p/{key}", Body=gzip.compress(text(f"{n}")))
    outcome = dynalake(lake.root, "compact", "--raw", "s3://raw/p/")
    assert (outcome.code, outcome.errors) == (0, "")
    found = rows(lake, "SELECT event_id, raw_object FROM orders_changes ORDER BY 1")
    assert found == [(f"{n}", f"s3://raw/p/{key}") for n, key in enumerate(keys)]


def test_prefixes_with_marks_of_uris(s3: Any) -> None:
    for key in ("p#1/a", "p/a", "p?x/a"):
        s3.put_object(Bucket="raw", Key=key, Body=b"")
    assert [one.uri for one in list_objects("s3://raw/p#1/")] == ["s3://raw/p#1/a"]
    assert [one.uri for one in list_objects("s3://raw/p?x")] == ["s3://raw/p?x/a"]
    assert len(list(list_objects("s3://raw"))) == len(list(list_objects("s3://raw/"))) == 3


def test_an_object_rewritten_between_list_and_get(s3: Any, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading what was not listed would put its changes under another's ETag: the run stops, the next has it."""
    s3.put_object(Bucket="raw", Key="1", Body=text("1"))
    s3.put_object(Bucket="raw", Key="2", Body=text("2"))

    def listed(uri: str) -> list[RawObject]:
        found = list(list_objects(uri))
        s3.put_object(Bucket="raw", Key="1", Body=text("1") + b"\n" + text("3"))
        return found

    monkeypatch.setattr(compaction.compact, "list_objects", listed)
    fault = dynalake(lake.root, "compact", "--raw", "s3://raw").fault
    assert "s3://raw/1" in fault and "again" in fault
    monkeypatch.setattr(compaction.compact, "list_objects", list_objects)
    assert dynalake(lake.root, "compact", "--raw", "s3://raw").code == 0
    assert event_ids(lake) == ["1", "2", "3"]
    again = dynalake(lake.root, "compact", "--raw", "s3://raw", "--json")
    assert '"objects": 0' in again.out


def test_an_object_gone_between_list_and_get(s3: Any, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="raw", Key="1", Body=text("1"))

    def listed(uri: str) -> list[RawObject]:
        found = list(list_objects(uri))
        s3.delete_object(Bucket="raw", Key="1")
        return found

    monkeypatch.setattr(compaction.compact, "list_objects", listed)
    assert "s3://raw/1" in dynalake(lake.root, "compact", "--raw", "s3://raw").fault


def test_poison_and_a_tear_on_s3(s3: Any, lake: Lake) -> None:
    s3.put_object(Bucket="raw", Key="1", Body=text("1") + b"\nrubbish\n" + text("2"))
    s3.put_object(Bucket="raw", Key="2", Body=gzip.compress(text("3") + b"\n" + text("4"))[:-9])
    s3.put_object(Bucket="raw", Key="3", Body=b"")
    for _ in range(2):
        assert dynalake(lake.root, "compact", "--raw", "s3://raw", "--reread").code == 0
        assert set(event_ids(lake)) >= {"1", "2", "3"}
        shown = dynalake(lake.root, "dead-letters", "--json").out
        assert shown.count('"object": "s3://raw/1"') == 1
        assert shown.count('"object": "s3://raw/2"') == 1


def test_nothing_of_the_download_is_left(s3: Any, tmp_path: Any) -> None:
    s3.put_object(Bucket="raw", Key="1", Body=gzip.compress(text("1")))
    (raw,) = list_objects("s3://raw")
    staged = stage(0, raw, tmp_path)
    assert list(tmp_path.iterdir()) == [staged.path] and staged.path.read_bytes() == text("1")


@pytest.mark.parametrize("uri", ["s3://no-such-bucket/x", "s3://", "s3:///x", "s3://Not_A_Bucket!/x"])
def test_no_such_bucket(s3: Any, lake: Lake, uri: str) -> None:
    assert uri in dynalake(lake.root, "compact", "--raw", uri).fault


def test_settings_that_lead_nowhere(s3: Any, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL", "nonsense"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            patch.setattr(boto3, "DEFAULT_SESSION", None)
            assert dynalake(lake.root, "compact", "--raw", "s3://raw").fault
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    assert "credentials" in dynalake(lake.root, "compact", "--raw", "s3://raw").fault
