"""Firehose objects: names, buffers, bodies, and deliveries that go wrong."""

import gzip
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import Faults, FirehoseObject, KinesisRecord, Report, Table, firehose_objects, kds_records

START_US = 1_721_087_990_000_000  # 2024-07-15 23:59:50 UTC
SECOND_US = 1_000_000


def record(number: int, at_us: int, size: int = 100) -> KinesisRecord:
    data = json.dumps({"n": number, "pad": ""})
    data = json.dumps({"n": number, "pad": "x" * (size - len(data))})
    return KinesisRecord(data.encode(), "A" * 32, f"49{number:054d}", "shardId-000000000000", at_us)


def every_second(count: int, size: int = 100) -> list[KinesisRecord]:
    return [record(number, START_US + number * SECOND_US, size) for number in range(count)]


def numbers(delivery: FirehoseObject) -> list[int]:
    return [json.loads(line)["n"] for line in gzip.decompress(delivery.body).splitlines()]


def test_names_and_prefixes_tell_the_arrival_of_the_oldest_record():
    records = every_second(40)
    objects = firehose_objects(records[::-1], seed=1, stream="orders", prefix="raw/orders/", buffer_seconds=15)
    assert [numbers(delivery) for delivery in objects] == [
        list(range(16)),
        list(range(16, 32)),
        list(range(32, 40)),
    ]
    stems = [
        "raw/orders/2024/07/15/23/orders-1-2024-07-15-23-59-50",
        "raw/orders/2024/07/16/00/orders-1-2024-07-16-00-00-06",
        "raw/orders/2024/07/16/00/orders-1-2024-07-16-00-00-22",
    ]
    for delivery, stem in zip(objects, stems, strict=True):
        uuid = delivery.key.removeprefix(f"{stem}-").removesuffix(".gz")
        assert delivery.key == f"{stem}-{uuid}.gz"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid)
    assert len({delivery.key[-39:] for delivery in objects}) == 3


def test_a_buffer_is_closed_by_time_or_by_size():
    by_time = firehose_objects(every_second(10), seed=1, buffer_seconds=4)
    assert [len(numbers(delivery)) for delivery in by_time] == [5, 5]
    for index, delivery in enumerate(by_time):
        closed_us = START_US + (5 * index + 4) * SECOND_US
        assert closed_us < delivery.delivered_at_us <= closed_us + 2 * SECOND_US
    by_size = firehose_objects(every_second(10, size=100), seed=1, buffer_bytes=300)
    assert [len(numbers(delivery)) for delivery in by_size] == [3, 3, 3, 1]
    assert by_size[0].delivered_at_us < START_US + 5 * SECOND_US
    assert by_size[-1].delivered_at_us > START_US + 300 * SECOND_US
    assert [len(numbers(one)) for one in firehose_objects(every_second(3), seed=1, buffer_seconds=0)] == [
        1,
        1,
        1,
    ]


def test_bodies_with_and_without_gzip_and_delimiter():
    records = every_second(3)
    joined = b"".join(record.data for record in records)
    lines = b"".join(record.data + b"\n" for record in records)
    [plain] = firehose_objects(records, seed=1, gzip=False, delimiter=False)
    assert plain.body == joined
    assert plain.key[-36:].count("-") == 4
    [delimited] = firehose_objects(records, seed=1, gzip=False, delimiter=True)
    assert delimited.body == lines
    [zipped] = firehose_objects(records, seed=1, gzip=True, delimiter=False)
    assert gzip.decompress(zipped.body) == joined
    [both] = firehose_objects(records, seed=1)
    assert gzip.decompress(both.body) == lines
    assert both.key == f"{plain.key}.gz"
    assert len(both.etag) == 32 and both.etag != zipped.etag


def test_same_arguments_same_bytes():
    records = every_second(200)

    def objects(seed: int) -> list[FirehoseObject]:
        return firehose_objects(records, seed=seed, buffer_bytes=999, faults=Faults.typical())

    assert objects(1) == objects(1)
    assert {delivery.key for delivery in objects(1)}.isdisjoint(delivery.key for delivery in objects(2))
    assert all(delivery.body[4:8] == b"\0\0\0\0" for delivery in objects(1))  # gzip's time of making


@given(
    st.lists(st.tuples(st.integers(0, 5_000 * SECOND_US), st.integers(30, 300)), max_size=60),
    st.integers(1, 1_000),
    st.integers(0, 900),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_every_record_is_delivered_and_buffers_keep_their_limits(arrivals, bytes_max, seconds_max, late, rewritten):
    records = [record(number, START_US + at_us, size) for number, (at_us, size) in enumerate(arrivals)]
    report = Report()
    options = {"seed": 1, "buffer_bytes": bytes_max, "buffer_seconds": seconds_max}
    plain = firehose_objects(records, **options)
    in_turn = [number for delivery in plain for number in numbers(delivery)]
    assert sorted(in_turn) == list(range(len(records)))
    for delivery in plain:
        held = [records[number] for number in numbers(delivery)]
        assert held[-1].arrived_at_us - held[0].arrived_at_us <= seconds_max * SECOND_US
        assert sum(len(one.data) for one in held[:-1]) < bytes_max
    faults = Faults(late_objects=late, rewritten_objects=rewritten)
    deliveries = firehose_objects(records, **options, faults=faults, report=report)
    left = {delivery.key: numbers(delivery) for delivery in deliveries}
    assert {number for held in left.values() for number in held} == set(range(len(records)))
    assert report.objects == len(deliveries)
    assert report.records_delivered == sum(len(numbers(delivery)) for delivery in deliveries)
    assert all(a.delivered_at_us <= b.delivered_at_us for a, b in pairwise(deliveries))


def test_an_object_turns_up_late_under_its_old_prefix():
    records, report = every_second(100), Report()
    faults = Faults(late_objects=1, late_after_seconds=86_400)
    plain = firehose_objects(records, seed=1, buffer_seconds=9)
    objects = firehose_objects(records, seed=1, buffer_seconds=9, faults=faults, report=report)
    late = objects[-1]
    assert report.late == [late.key]
    assert sorted(delivery.key for delivery in objects) == sorted(delivery.key for delivery in plain)
    assert late.delivered_at_us > objects[-2].delivered_at_us + 23 * 3_600 * SECOND_US
    delivered_at = datetime.fromtimestamp(late.delivered_at_us // SECOND_US, UTC)
    assert f"{delivered_at - timedelta(days=1):%Y/%m/%d}/" in late.key
    assert report.objects == len(plain)
    assert report.records_delivered == 100


def test_a_rewritten_object_keeps_its_key_and_changes_its_body():
    records, report = every_second(100), Report()
    faults = Faults(rewritten_objects=2, rewritten_after_seconds=500)
    plain = {one.key: numbers(one) for one in firehose_objects(records, seed=1, buffer_seconds=9)}
    objects = firehose_objects(records, seed=1, buffer_seconds=9, faults=faults, report=report)
    deliveries: dict[str, list[FirehoseObject]] = {}
    for delivery in objects:
        deliveries.setdefault(delivery.key, []).append(delivery)
    twice = {key: pair for key, pair in deliveries.items() if len(pair) == 2}
    assert sorted(report.rewritten) == sorted(twice)
    assert len(twice) == 2
    grown_key, split_key = sorted(twice, key=lambda key: len(numbers(twice[key][0])))
    grown, split = twice[grown_key], twice[split_key]
    assert numbers(grown[0]) == plain[grown_key][:5]
    assert numbers(grown[1]) == plain[grown_key]
    assert numbers(split[0]) == plain[split_key]
    assert numbers(split[1]) == plain[split_key][:5]
    [other_key] = deliveries.keys() - plain.keys()
    assert numbers(deliveries[other_key][0]) == plain[split_key][5:]
    assert other_key[:-39] == split_key[:-39]
    for first, second in twice.values():
        assert first.etag != second.etag
        assert second.delivered_at_us - first.delivered_at_us == 500 * SECOND_US
    assert report.objects == 10 + 3
    assert report.records_delivered == 100 + 5 + 10


def test_a_rewritten_object_of_one_record_repeats_it():
    report = Report()
    objects = firehose_objects(every_second(1), seed=1, faults=Faults(rewritten_objects=3), report=report)
    assert [numbers(delivery) for delivery in objects] == [[0], [0, 0]]
    assert report.rewritten == [objects[0].key]


def test_from_table_to_objects_under_all_faults_every_record_is_there():
    table = Table("orders", range_key=None)
    for number in range(2_000):
        table.put({"pk": {"S": f"o{number % 90}"}, "n": {"N": str(number)}}, START_US + number * SECOND_US)
    report = Report()
    faults = Faults.typical()
    records = kds_records(table, seed=1, faults=faults, report=report)
    objects = firehose_objects(records, seed=1, faults=faults, report=report)
    left = {delivery.key: delivery.body for delivery in objects}
    lines = {line for body in left.values() for line in gzip.decompress(body).split(b"\n")[:-1]}
    assert lines == {record.data for record in records}
    delivered = Counter(line for one in objects for line in gzip.decompress(one.body).split(b"\n")[:-1])
    assert delivered.total() == report.records_delivered > report.records == len(records)
    assert (
        report.counts() | {"poison": 8, "unregistered": 3, "skipped": 2, "rewritten": 2, "late": 1} == report.counts()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "raw/!{timestamp:yyyy}/"}, "expressions are not supported"),
        ({"buffer_bytes": 0}, "a buffer takes bytes and time; got 0 bytes, 300 s"),
        ({"buffer_seconds": -1}, "got .* bytes, -1 s"),
    ],
)
def test_what_firehose_would_refuse_is_a_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        firehose_objects([], seed=1, **options)
