"""A table of native DynamoDB Streams: the same end states, by another order; and neither surface takes the other's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import standin
from lake.dead_letters import read_dead_letters
from lake.lake import Lake
from lake.layout import UNKNOWN_TABLE
from queries.connect import connect
from tests.lakes import (
    SCHEMA,
    compacted,
    expected_items,
    fresh_items,
    items_of,
    land,
    land_records,
    new_lake,
    refreshed,
    rows,
    timestamp,
)

START_US = 1_700_006_399_000_000  # a second before a midnight


def history(seed: int, writes: int = 120) -> standin.Table:
    """Many changes of few items in the same second, binary and TTL among them."""
    rng = random.Random(seed)
    table = standin.Table("orders", seed=seed)
    at_us = START_US
    for n in range(writes):
        at_us += rng.choice([0, 1, 90_000, 700_000])
        key = {"pk": {"S": f"c{rng.randrange(3)}"}, "sk": {"S": f"{rng.randrange(3)}"}}
        if rng.random() < 0.3:
            table.delete(key, at_us, ttl=rng.random() < 0.5)
        else:
            table.put(
                {**key, "v": {"N": str(rng.randrange(3))}, "b": {"BS": ["AAE=", "/w=="]}, "n": {"N": str(n % 7)}}, at_us
            )
    return table


def letters_of(lake: Lake) -> list[tuple[str, str | None]]:
    return sorted((letter.reason, letter.table) for letter in read_dead_letters(lake.dead_letters))


@pytest.mark.parametrize("seed", range(3))
def test_streams_end_as_the_table(tmp_path: Path, seed: int) -> None:
    """In any order, with duplicates, in batches, refreshed in between; READs of before lose."""
    table, rng = history(seed), random.Random(seed)
    records = standin.stream_records(table, seed=seed, faults=standin.Faults(duplicates=0.3))
    assert len({len(record["dynamodb"]["SequenceNumber"]) for record in records}) > 3
    rng.shuffle(records)
    lake = new_lake(tmp_path / "lake", surface="streams")
    taken = 0
    for n in range(4):
        land_records(lake, f"{n}.ndjson", records[n::4])
        taken += compacted(lake).changes
        if n % 2:
            refreshed(lake)
    expected = expected_items(SCHEMA, table.items.values())
    assert fresh_items(lake) == expected
    assert taken == len(table.changes)
    assert rows(lake, "SELECT DISTINCT length(sequence_number) FROM orders_changes") == [(40,)]
    assert rows(lake, "SELECT count(*) FROM orders_changes WHERE is_tied") == [(0,)]
    assert rows(lake, "SELECT count(*) FROM orders_changes WHERE is_ttl") == [(sum(c.ttl for c in table.changes),)]
    refreshed(lake, full=True)
    assert fresh_items(lake) == expected
    assert letters_of(lake) == []
    key = table.changes[0].keys
    told = rows(lake, f"SELECT event_id FROM orders_history('{key['pk']['S']}', '{key['sk']['S']}')")
    assert [row[0] for row in told] == [c.event_id for c in table.changes if c.keys == key]
    con = connect(lake, 1024, 2)
    first_us = con.execute("SELECT min(created_at_us) FROM orders_changes").fetchall()[0][0]
    for at_us in (first_us, START_US + 20_000_000):  # a stream tells no finer than seconds
        until = at_us // 1_000_000 * 1_000_000 + 999_999
        assert items_of(con, f"orders_as_of({timestamp(at_us)})") == expected_items(
            SCHEMA, table.items_as_of(until).values()
        )
    con.close()


def test_a_read_loses_to_the_second_it_was_made_in(tmp_path: Path) -> None:
    table = standin.Table("orders")
    table.put({"pk": {"S": "a"}, "sk": {"S": "1"}, "v": {"S": "new"}, "b": {"B": "AAE="}}, START_US)
    table.put({"pk": {"S": "b"}, "sk": {"S": "1"}, "v": {"S": "new"}}, START_US)
    image = {"pk": {"S": "a"}, "sk": {"S": "1"}, "v": {"S": "read"}, "b": {"B": "AAE="}}

    def read(event_id: str, pk: str, at_us: int) -> dict:
        item = image | {"pk": {"S": pk}}
        body = {"ApproximateCreationDateTime": at_us, "Keys": {"pk": item["pk"], "sk": item["sk"]}, "NewImage": item}
        return {
            "eventID": event_id,
            "eventName": "READ",
            "tableName": "orders",
            "dynamodb": body,
            "_lake": {"source": "scan"},
        }

    lake = new_lake(tmp_path / "lake", surface="streams")
    records = standin.stream_records(table, seed=1)
    land_records(
        lake, "o", [*records, read("r1", "a", START_US), read("r2", "b", START_US + 1), read("r3", "c", START_US)]
    )
    compacted(lake)
    refreshed(lake)
    assert rows(lake, "SELECT pk, v, hex(b) FROM orders ORDER BY pk") == [
        ("a", "new", "0001"),
        ("b", "read", "0001"),
        ("c", "read", "0001"),
    ]


def test_neither_surface_takes_the_others_records(tmp_path: Path) -> None:
    """The good records beside them are kept, and each dead letter is there once."""
    table = history(7, writes=20)
    streams = standin.stream_records(table, seed=1)
    kds = [record.data for record in standin.kds_records(table, seed=1)]
    expected = expected_items(SCHEMA, table.items.values())

    lake = new_lake(tmp_path / "streams", surface="streams")
    land_records(lake, "mixed", [*streams, kds[0]])
    land_records(lake, "again", [kds[0], kds[1]])
    assert compacted(lake).dead_letters == 3
    assert fresh_items(lake) == expected
    assert letters_of(lake) == [("wrong surface", "orders")] * 2

    lake = new_lake(tmp_path / "kds")
    land_records(lake, "mixed", [*kds, streams[0]])
    assert compacted(lake).dead_letters == 1
    assert fresh_items(lake) == expected
    assert letters_of(lake) == [("wrong surface", "orders")]


def test_streams_of_another_table_are_told_by_their_arn(tmp_path: Path) -> None:
    lake = new_lake(tmp_path / "lake", surface="streams")
    record = standin.stream_records(history(3, writes=5), seed=1)[0]
    arn = record["eventSourceARN"]
    other = record | {"eventSourceARN": arn.replace("table/orders/", "table/orders-eu/")}
    none = record | {"eventSourceARN": arn.replace("/stream/", "/index/")}
    china = record | {"eventSourceARN": arn.replace("arn:aws:", "arn:aws-cn:")}
    land_records(lake, "o", [other, none, china])
    assert compacted(lake).changes == 1
    assert letters_of(lake) == [("no change record", None), ("unregistered table", "orders-eu")]
    assert len(list((Path(lake.dead_letters) / UNKNOWN_TABLE).rglob("*.gz"))) == 1


def test_firehose_objects_without_delimiters(tmp_path: Path) -> None:
    """Streams records may come through a pipe and Firehose as well: `{…}{…}`."""
    table = history(4, writes=30)
    records = [
        standin.KinesisRecord(standin_json(record), "0" * 32, f"{n:056}", "shardId-0", START_US + n)
        for n, record in enumerate(standin.stream_records(table, seed=1))
    ]
    lake = new_lake(tmp_path / "lake", surface="streams")
    land(lake, standin.firehose_objects(records, seed=1, buffer_bytes=5_000, delimiter=False))
    assert compacted(lake).changes == len(table.changes)
    assert fresh_items(lake) == expected_items(SCHEMA, table.items.values())


def standin_json(record: dict) -> bytes:
    import json

    return json.dumps(record).encode()
