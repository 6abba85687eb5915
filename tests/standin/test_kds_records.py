"""KDS records: their shape as AWS documents it, their order and places, and each fault with its report."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import Faults, KinesisRecord, Report, Table, kds_records

AT_US = 1_721_011_165_891_550
HOUR_US = 3_600_000_000


def orders(changes: int = 400, items: int = 40) -> Table:
    """A table whose items change in turn, one change a millisecond, every tenth one a delete."""
    table = Table("orders", range_key=None)
    for number in range(changes):
        item = {"pk": {"S": f"o{number % items}"}, "n": {"N": str(number)}}
        if number % 10 == 9:
            table.delete(item, AT_US + number * 1_000)
        else:
            table.put(item, AT_US + number * 1_000)
    return table


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables of a few items whose changes of one item are at least a millisecond apart."""
    table = Table("orders", range_key=None, seed=draw(st.integers(0, 3)))
    at_us = AT_US
    for name, value in draw(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 3)), max_size=30)):
        at_us += draw(st.integers(1_000, 5_000_000))
        item = {"pk": {"S": name}, "n": {"N": str(value)}}
        if value is None:
            table.delete({"pk": {"S": name}}, at_us)
        else:
            table.put(item, at_us)
    return table


def event(record: KinesisRecord) -> dict:
    return json.loads(record.data)


def created_at_us(change: dict) -> int:
    created_at = change["dynamodb"]["ApproximateCreationDateTime"]
    return created_at if "ApproximateCreationDateTimePrecision" in change["dynamodb"] else created_at * 1_000


def replayed(changes: list[dict]) -> dict:
    """The table that changes leave behind; each must start where its item's last one ended."""
    items: dict = {}
    for change in changes:
        key = (("S", change["dynamodb"]["Keys"]["pk"]["S"]),)
        assert items.get(key) == change["dynamodb"].get("OldImage")
        items[key] = change["dynamodb"].get("NewImage")
    return {key: item for key, item in items.items() if item is not None}


def test_an_insert_has_the_documented_shape():
    table = Table("orders")
    table.put({"pk": {"S": "o1"}, "sk": {"S": "é\n"}, "n": {"N": "1.50"}, "ok": {"BOOL": True}}, AT_US)
    [record] = kds_records(table, seed=1)
    assert event(record) == {
        "awsRegion": "us-east-1",
        "eventID": table.changes[0].event_id,
        "eventName": "INSERT",
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": "orders",
        "dynamodb": {
            "ApproximateCreationDateTime": 1721011165891550,
            "Keys": {"pk": {"S": "o1"}, "sk": {"S": "é\n"}},
            "NewImage": {"pk": {"S": "o1"}, "sk": {"S": "é\n"}, "n": {"N": "1.50"}, "ok": {"BOOL": True}},
            "SizeBytes": 2 * (2 + 2 + 2 + 3) + (1 + 2 + 1) - 1 + 3,
            "ApproximateCreationDateTimePrecision": "MICROSECOND",
        },
        "eventSource": "aws:dynamodb",
    }


def test_a_modify_and_a_ttl_delete_have_their_images():
    table = Table("orders", range_key=None, seed=5)
    one, two = (
        {"pk": {"S": "o1"}, "n": {"N": "1"}},
        {"pk": {"S": "o1"}, "m": {"M": {"x": {"L": [{"NULL": True}]}}}},
    )
    table.put(one, AT_US)
    table.put(two, AT_US + 1)
    table.delete(one, AT_US + 2, ttl=True)
    _, modify, remove = map(event, kds_records(table, seed=1, region="eu-west-1"))
    assert modify["awsRegion"] == "eu-west-1"
    assert modify["eventName"] == "MODIFY"
    assert modify["userIdentity"] is None
    assert modify["dynamodb"] == {
        "ApproximateCreationDateTime": AT_US + 1,
        "Keys": {"pk": {"S": "o1"}},
        "NewImage": two,
        "OldImage": one,
        "SizeBytes": 4 + (4 + 3) + (4 + 1 + 3 + 1 + (1 + 3 + 1 + 1)),
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
    }
    assert remove["eventName"] == "REMOVE"
    assert remove["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert remove["dynamodb"] == {
        "ApproximateCreationDateTime": AT_US + 2,
        "Keys": {"pk": {"S": "o1"}},
        "OldImage": two,
        "SizeBytes": 4 + 15,
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
    }


def test_milliseconds_have_13_digits_and_no_precision_field():
    table = Table("orders", range_key=None)
    table.put({"pk": {"S": "o1"}}, AT_US)
    [record] = kds_records(table, seed=1, precision="MILLISECOND")
    assert event(record)["dynamodb"] == {
        "ApproximateCreationDateTime": 1721011165891,
        "Keys": {"pk": {"S": "o1"}},
        "NewImage": {"pk": {"S": "o1"}},
        "SizeBytes": 8,
    }


def test_binary_is_encoded_twice_wherever_it_stands():
    table = Table("orders", hash_key=("B", "B"), range_key=None)
    item = {
        "B": {"B": "aGk="},
        "set": {"BS": ["aGk=", "AA=="]},
        "m": {"M": {"l": {"L": [{"B": "aGk="}, {"S": "aGk="}]}, "B": {"S": "aGk="}}},
    }
    table.put(item, AT_US)
    [record] = kds_records(table, seed=1)
    assert event(record)["dynamodb"]["Keys"] == {"B": {"B": "YUdrPQ=="}}
    assert event(record)["dynamodb"]["NewImage"] == {
        "B": {"B": "YUdrPQ=="},
        "set": {"BS": ["YUdrPQ==", "QUE9PQ=="]},
        "m": {"M": {"l": {"L": [{"B": "YUdrPQ=="}, {"S": "aGk="}]}, "B": {"S": "aGk="}}},
    }


def test_an_item_keeps_its_partition_key_and_the_key_its_shard():
    table = Table("orders", hash_key=("n", "N"), range_key=None)
    for number in range(200):
        table.put({"n": {"N": f"{number % 50}.{'0' * (number // 50 + 1)}"}, "x": {"N": str(number)}}, AT_US + number)
    records = kds_records(table, seed=1, shards=3)
    places = {(event(r)["dynamodb"]["Keys"]["n"]["N"].split(".")[0], r.partition_key, r.shard_id) for r in records}
    assert len(places) == len({partition_key for _, partition_key, _ in places}) == 50
    assert all(len(key) == 32 and key == key.upper() and int(key, 16) >= 0 for _, key, _ in places)
    assert {shard for _, _, shard in places} == {f"shardId-{index:012d}" for index in range(3)}
    for _, key, shard in places:
        hash_key = int(hashlib.md5(key.encode()).hexdigest(), 16)
        index = int(shard.removeprefix("shardId-"))
        assert index * 2**128 <= hash_key * 3 < (index + 1) * 2**128
    assert {record.shard_id for record in kds_records(table, seed=1, shards=1)} == {"shardId-000000000000"}
    with pytest.raises(ValueError, match="at least one shard; got shards=0"):
        kds_records(table, seed=1, shards=0)


def test_sequence_numbers_rise_with_the_arrival():
    records = kds_records(orders(), seed=3, faults=Faults.typical())
    assert [r.arrived_at_us for r in records] == sorted(r.arrived_at_us for r in records)
    assert all(a.sequence_number < b.sequence_number for a, b in pairwise(records))
    assert {len(record.sequence_number) for record in records} == {56}


def test_records_arrive_after_the_replication_delay():
    table = orders(changes=50)
    records = kds_records(table, seed=3, replication_delay_us=HOUR_US)
    for change, record in zip(table.changes, records, strict=True):
        assert event(record)["eventID"] == change.event_id
        assert HOUR_US // 2 <= record.arrived_at_us - change.at_us <= HOUR_US * 3 // 2


def test_same_arguments_same_bytes_and_another_seed_others():
    assert kds_records(orders(), seed=3, faults=Faults.typical()) == kds_records(
        orders(), seed=3, faults=Faults.typical()
    )
    assert kds_records(orders(), seed=3, faults=Faults.typical()) != kds_records(
        orders(), seed=4, faults=Faults.typical()
    )


def test_tables_share_a_stream():
    one, two = orders(20), Table("customers", range_key=None)
    two.put({"pk": {"S": "o1"}}, AT_US + 5_500)
    records = kds_records([*one.changes, *two.changes], seed=1)
    assert Counter(event(record)["tableName"] for record in records) == {
        "orders": len(one.changes),
        "customers": 1,
    }
    assert event(records[6])["tableName"] == "customers"


@given(tables(), st.integers(0, 9))
def test_without_faults_the_records_in_turn_are_the_table(table, seed):
    report = Report()
    records = kds_records(table, seed=seed, report=report)
    assert [event(record)["eventID"] for record in records] == [change.event_id for change in table.changes]
    assert replayed([event(record) for record in records]) == table.items
    assert report == Report(changes=len(records), records=len(records))


@given(
    tables(),
    st.integers(0, 9),
    st.builds(
        Faults,
        duplicates=st.sampled_from([0, 0.3, 1]),
        duplicate_other_precision=st.sampled_from([0, 0.5]),
        disorder=st.sampled_from([0, 0.5, 1]),
        disorder_records=st.integers(0, 50),
        disorder_seconds=st.sampled_from([0, 100.0]),
        precision_switch_at=st.sampled_from([None, 0.5]),
        poison=st.integers(0, 6),
        unregistered=st.integers(0, 2),
    ),
)
def test_under_faults_the_changes_put_in_order_are_the_table(table, seed, faults):
    report = Report()
    records = kds_records(table, seed=seed, faults=faults, report=report)
    injected = Counter([poison.payload for poison in report.poison] + report.unregistered)
    arrived = Counter(record.data for record in records)
    assert injected <= arrived
    changes = [json.loads(data) for data in (arrived - injected).elements()]
    first_copies = {change["eventID"]: change for change in sorted(changes, key=created_at_us, reverse=True)}
    assert replayed(sorted(first_copies.values(), key=created_at_us)) == table.items
    assert report.records == len(records) == len(changes) + len(report.poison) + len(report.unregistered)
    assert len(changes) == len(table.changes) + len(report.duplicates)


def test_duplicates_come_later_with_the_same_event_id():
    table, report = orders(), Report()
    faults = Faults(duplicates=0.25, duplicate_after_seconds=2)
    records = kds_records(table, seed=1, faults=faults, report=report)
    copies: dict[str, list[KinesisRecord]] = {}
    for record in records:
        copies.setdefault(event(record)["eventID"], []).append(record)
    twice = {event_id: pair for event_id, pair in copies.items() if len(pair) == 2}
    assert 50 < len(twice) < 150
    assert sorted(twice) == sorted(report.duplicates)
    for first, second in twice.values():
        assert second.data == first.data
        assert 0 <= second.arrived_at_us - first.arrived_at_us <= 2_000_000
    assert report.duplicates_other_precision == []
    assert len(records) == report.records == len(table.changes) + len(twice)


def test_a_duplicate_may_come_with_the_other_precision():
    table, report = orders(), Report()
    faults = Faults(duplicates=0.5, duplicate_other_precision=0.5)
    records = [event(record) for record in kds_records(table, seed=1, faults=faults, report=report)]
    milliseconds = [r["eventID"] for r in records if "ApproximateCreationDateTimePrecision" not in r["dynamodb"]]
    assert 50 < len(milliseconds) < 150
    assert sorted(milliseconds) == sorted(report.duplicates_other_precision)
    assert report.milliseconds == 0
    at_us = {change.event_id: change.at_us for change in table.changes}
    assert all(created_at_us(r) // 1_000 == at_us[r["eventID"]] // 1_000 for r in records)


def test_disorder_lets_later_records_overtake():
    table, report = orders(), Report()
    records = kds_records(table, seed=1, faults=Faults(disorder=0.1, disorder_records=7), report=report)
    order = [event(record)["eventID"] for record in records]
    in_order = [change.event_id for change in table.changes]
    assert sorted(order) == sorted(in_order)
    places = {event_id: place for place, event_id in enumerate(in_order)}
    displaced = [place - places[event_id] for place, event_id in enumerate(order)]
    assert 1 <= max(displaced) <= 7
    assert report.held_back >= sum(steps > 0 for steps in displaced) > 10


def test_disorder_by_time():
    faults = Faults(disorder=0.2, disorder_records=0, disorder_seconds=3_600)
    plain = {r.data: r.arrived_at_us for r in kds_records(orders(), seed=1)}
    delays = [r.arrived_at_us - plain[r.data] for r in kds_records(orders(), seed=1, faults=faults)]
    assert sum(delay > 60_000_000 for delay in delays) > 40
    assert max(delays) <= HOUR_US + 1_000_000


@pytest.mark.parametrize(("precision", "before", "after"), [("MICROSECOND", 16, 13), ("MILLISECOND", 13, 16)])
def test_the_precision_switches_mid_stream(precision, before, after):
    table, report = orders(400), Report()
    faults = Faults(precision_switch_at=0.25)
    records = kds_records(table, seed=1, precision=precision, faults=faults, report=report)
    digits = [len(str(event(record)["dynamodb"]["ApproximateCreationDateTime"])) for record in records]
    switch_at = len(table.changes) // 4
    assert digits == [before] * switch_at + [after] * (len(digits) - switch_at)
    assert report.milliseconds == digits.count(13)


def test_a_skipped_change_breaks_a_chain_but_leaves_the_last_state():
    table, report = orders(), Report()
    records = kds_records(table, seed=1, faults=Faults(skipped=90), report=report)
    arrived = {event(record)["eventID"] for record in records}
    assert len(report.skipped) == 90
    assert {change.event_id for change in table.changes} - arrived == set(report.skipped)
    last = {change.key: change.event_id for change in table.changes}
    assert arrived >= set(last.values())
    assert report.records == len(table.changes) - 90
    with pytest.raises(AssertionError):
        replayed([event(record) for record in records])


def test_a_skipped_last_change_leaves_the_item_stale():
    table, report = orders(), Report()
    kds_records(table, seed=1, faults=Faults(skipped_last=2), report=report)
    last = {change.key: change.event_id for change in table.changes}
    assert len(report.skipped) == 2
    assert set(report.skipped) <= set(last.values())
    report = Report()
    assert kds_records(orders(3, items=3), seed=1, faults=Faults(skipped_last=9, skipped=9), report=report) == []
    assert len(report.skipped) == 3


def test_poison_is_beside_the_good_records_and_is_what_it_says():
    table, report = orders(), Report()
    kinds = ("rubbish", "no_record", "missing_key", "contradictory", "future", "truncated")
    faults = Faults(poison=12, poison_kinds=kinds)
    records = kds_records(table, seed=1, faults=faults, report=report)
    assert [poison.kind for poison in report.poison] == [*kinds, *kinds]
    payloads = Counter(poison.payload for poison in report.poison)
    assert max(payloads.values()) == 1
    good = kds_records(table, seed=1)
    assert Counter(record.data for record in records) == payloads + Counter(record.data for record in good)
    rubbish, no_record, missing_key, contradictory, future, truncated = report.poison[:6]
    with pytest.raises(UnicodeDecodeError):
        rubbish.payload.decode()
    assert not set(rubbish.payload) & set(b"{}\n")
    assert json.loads(no_record.payload).keys() == {"message", "id"}
    assert json.loads(missing_key.payload)["dynamodb"]["Keys"] == {}
    record = json.loads(contradictory.payload)
    assert record["eventName"] == "INSERT"
    assert "OldImage" in record["dynamodb"]
    assert created_at_us(json.loads(future.payload)) > AT_US + 99 * 365 * 24 * HOUR_US
    with pytest.raises(json.JSONDecodeError):
        json.loads(truncated.payload)
    assert truncated.payload.startswith(b'{"awsRegion"')
    event_ids = {change.event_id for change in table.changes}
    assert not event_ids & {json.loads(poison.payload)["eventID"] for poison in (missing_key, contradictory, future)}


def test_unregistered_records_are_good_ones_of_another_table():
    table, report = orders(), Report()
    faults = Faults(unregistered=3, unregistered_table="audit")
    records = kds_records(table, seed=1, faults=faults, report=report)
    others = [record.data for record in records if event(record)["tableName"] == "audit"]
    assert sorted(others) == sorted(report.unregistered)
    assert len(set(others)) == 3
    assert len(records) == len(table.changes) + 3
    assert all(
        "NewImage" in json.loads(data)["dynamodb"] or "OldImage" in json.loads(data)["dynamodb"] for data in others
    )


def test_a_report_adds_up_over_calls():
    report = Report()
    first = kds_records(orders(), seed=1, faults=Faults.typical(), report=report)
    second = kds_records(orders(), seed=2, faults=Faults.typical(), report=report)
    counts = report.counts()
    assert counts["changes"] == 2 * len(orders().changes)
    assert counts["records"] == len(first) + len(second)
    assert counts["records"] == (
        counts["changes"] - counts["skipped"] + counts["duplicates"] + counts["poison"] + counts["unregistered"]
    )
    assert counts["poison"] == 16
    assert counts["poison_rubbish"] == counts["poison_missing_key"] == 4


def test_a_knob_turned_leaves_the_others_results_alone():
    base = Faults.typical()
    one, two = Report(), Report()
    kds_records(orders(), seed=1, faults=base, report=one)
    kds_records(orders(), seed=1, faults=replace(base, poison=0, unregistered=0), report=two)
    assert two.duplicates == one.duplicates
    assert two.skipped == one.skipped


def test_an_empty_history_is_an_empty_stream():
    report = Report()
    assert kds_records(Table("orders"), seed=1, faults=Faults.typical(), report=report) == []
    assert report == Report()
