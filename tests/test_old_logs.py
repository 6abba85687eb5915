"""Logs that were made before their last column: they are added to, once, and old files are read beside new ones."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.schema import Schema

import compaction.compact
from lake import layout
from lake.catalog import create_table, open_catalog
from lake.keys import KeyAttribute, KeySchema
from lake.lake import Lake
from lake.log import ensure_log, key_columns, masks_column, masks_since, open_log
from lake.store import put
from tests.lakes import compacted, fresh_items, new_lake, only_table, refreshed, rows, table
from tests.records import START_US, change, record, s


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    return old_lake(tmp_path / "lake", monkeypatch)


def land(lake: Lake, name: str, *records: dict) -> None:
    put(lake.place(f"raw/{name}"), b"\n".join(json.dumps(one).encode() for one in records))


def old_lake(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake with a log of one batch as it was made before there was `masks`, and the state of it."""
    old = new_lake(place)
    catalog = open_catalog(old)
    made = open_log(catalog, only_table(old))
    fields, spec, properties = made.schema().fields[:-1], made.spec(), made.properties
    assert [field.name for field in made.schema().fields if field not in fields] == ["masks"]
    catalog.drop_table(made.name())
    create_table(catalog, layout.log_table("orders"), Schema(*fields), lambda _: spec, properties)
    land(old, "1", change("a", "a1", "INSERT", START_US, new=s("x")), record("b"))
    write = compaction.compact._Job._write

    def write_old(*arguments: Any) -> list[tuple[str, int, int]]:
        written = write(*arguments)
        for path, *_ in written:
            pq.write_table(pq.ParquetFile(path).read().drop_columns(["masks"]), path)
        return [(path, Path(path).stat().st_size, day) for path, _, day in written]

    with monkeypatch.context() as before:
        before.setattr(compaction.compact, "ensure_log", open_log)
        before.setattr(compaction.compact._Job, "_write", write_old)
        compacted(old)
    refreshed(old)
    return old


def log_of(lake: Lake) -> Any:
    return table(lake, layout.log_table("orders"))


def changes(lake: Lake) -> list[tuple]:
    return rows(lake, "SELECT event_id, masks, raw_object IS NULL FROM orders_changes ORDER BY ALL")


def test_a_reader_adds_nothing_and_sees_the_column(lake: Lake) -> None:
    before = log_of(lake).metadata_location
    assert changes(lake) == [("a1", None, False), ("b", None, False)]
    assert fresh_items(lake).keys() == {"a|1", "b|1"}
    assert log_of(lake).metadata_location == before


def test_the_column_is_there_between_its_coming_and_the_next_batch(lake: Lake) -> None:
    assert compacted(lake).changes == 0
    log = ensure_log(open_catalog(lake), only_table(lake))
    assert (log.schema().column_names[-1], masks_since(log)) == ("masks", 2)
    assert log.schema().fields[-1].field_id == len(log.schema().fields)
    assert changes(lake) == [("a1", None, False), ("b", None, False)]


@pytest.mark.parametrize("place", ["folder", "s3://lakes/old"])
def test_old_files_beside_new_ones(place: str, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tail, in the whole log, tied, late and twice: whichever file comes first in a list."""
    lake = old_lake(tmp_path / place if place == "folder" else place, monkeypatch)
    land(lake, "2",
        change("a", "a2", "MODIFY", START_US, old=s("x"), new=s("y")) | {"_lake": {"masks": "m1"}},
        change("b", "b0", "MODIFY", START_US - 5, old=s("x"), new=s("y")) | {"_lake": {"masks": ""}},
        record("b"), record("c", _lake={"masks": 7}),
    )  # fmt: skip
    report = compacted(lake)
    assert (report.changes, report.duplicates, report.late, report.tied) == (3, 1, 1, 1)
    told = [("a1", None, False), ("a2", "m1", False), ("b", None, False), ("b0", None, False), ("c", None, False)]
    assert changes(lake) == told
    whole = log_of(lake).scan().to_arrow().to_pylist()
    assert sorted((row["event_id"], row["masks"]) for row in whole) == [one[:2] for one in told]
    for full in (None, False, True):
        if full is not None:
            refreshed(lake, full)
        assert fresh_items(lake).keys() == {"a|1", "b|1", "c|1"}
        assert fresh_items(lake)["a|1"]["v"] == {"S": "y"}
    assert rows(lake, "SELECT event_id FROM orders_history('a', '1')") == [("a1",), ("a2",)]
    assert compacted(lake, reread=True).changes == 0


def test_two_jobs_add_it_once(lake: Lake) -> None:
    for n in range(4):
        land(lake, f"more {n}", record(f"more {n}"))
    threads = [threading.Thread(target=compacted, args=(lake,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log_of(lake).schema().column_names.count("masks") == 1
    assert len(changes(lake)) == 6 and compacted(lake).changes == 0


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "not landed"])
def test_when_the_answer_is_lost(lake: Lake, monkeypatch: pytest.MonkeyPatch, landed: bool) -> None:
    original, calls = SqlCatalog.commit_table, []

    def commit(self: SqlCatalog, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 1 or landed:
            answer = original(self, *arguments)
        if len(calls) == 1:
            raise CommitStateUnknownException("the answer was lost")
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)
    log = ensure_log(open_catalog(lake), only_table(lake))
    assert (log.schema().column_names.count("masks"), len(calls)) == (1, 1 if landed else 2)


def test_a_key_of_that_name_keeps_its_column(tmp_path: Path) -> None:
    keys = KeySchema(KeyAttribute("masks", "S"), KeyAttribute("Masks_2", "N"))
    assert (key_columns(keys), masks_column(keys)) == (["masks", "masks_2"], "masks_3")
    lake = new_lake(tmp_path / "lake", keys=KeySchema(KeyAttribute("masks", "S")))
    key = {"masks": {"S": "k"}}
    land(lake, "1", record("1", body={"Keys": key, "NewImage": key}, _lake={"masks": "m"}))
    assert compacted(lake).changes == 1
    assert rows(lake, "SELECT masks, masks_2 FROM orders_changes") == [("k", "m")]
    assert fresh_items(lake).keys() == {"k"}
