"""Native DynamoDB Streams records, as a Lambda function is given them."""

from collections import Counter
from dataclasses import replace

from standin import Faults, Report, Table, stream_records

AT_US = 1_721_011_165_891_550
STREAM_LABEL = "2013-01-01T00:00:00.000"


def orders(changes: int = 300) -> Table:
    table = Table("orders", range_key=None)
    for number in range(changes):
        table.put({"pk": {"S": f"o{number % 7}"}, "n": {"N": str(number)}}, AT_US + number)
    return table


def test_records_have_the_documented_shape():
    table = Table("orders")
    item = {"pk": {"S": "o1"}, "sk": {"S": "a"}, "b": {"B": "aGk="}}
    table.put(item, AT_US)
    table.delete(item, AT_US + 1, ttl=True)
    insert, remove = stream_records(table, seed=1, region="eu-west-1", account="000011112222")
    assert insert == {
        "eventID": table.changes[0].event_id,
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1721011165,
            "Keys": {"pk": {"S": "o1"}, "sk": {"S": "a"}},
            "NewImage": item,
            "SequenceNumber": insert["dynamodb"]["SequenceNumber"],
            "SizeBytes": 2 * 7 + 3,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": f"arn:aws:dynamodb:eu-west-1:000011112222:table/orders/stream/{STREAM_LABEL}",
    }
    assert remove["eventName"] == "REMOVE"
    assert remove["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert remove["dynamodb"]["OldImage"] == item
    assert "NewImage" not in remove["dynamodb"]


def test_sequence_numbers_order_as_integers_and_not_as_text():
    numbers = [record["dynamodb"]["SequenceNumber"] for record in stream_records(orders(), seed=1)]
    assert [int(number) for number in numbers] == sorted(int(number) for number in numbers)
    assert len(set(numbers)) == 300
    assert numbers != sorted(numbers)
    assert {len(number) for number in numbers} == set(range(21, 31))


def test_sequence_numbers_do_not_depend_on_what_comes_after():
    assert stream_records(orders(40), seed=1) == stream_records(orders(300), seed=1)[:40]


def test_long_histories_stay_within_40_digits():
    changes = orders(2).changes
    far = [replace(changes[0], ordinal=2**ordinal) for ordinal in range(40)]
    numbers = [record["dynamodb"]["SequenceNumber"] for record in stream_records(far, seed=1)]
    assert [int(number) for number in numbers] == sorted(int(number) for number in numbers)
    assert len(numbers[-1]) == 40


def test_some_records_are_given_again_later():
    report = Report()
    records = stream_records(orders(), seed=1, faults=Faults(duplicates=0.2), report=report)
    counts = Counter(record["eventID"] for record in records)
    assert sorted(event_id for event_id, count in counts.items() if count == 2) == sorted(report.duplicates)
    assert 30 < len(report.duplicates) < 90
    assert len(records) == report.records == 300 + len(report.duplicates)
    first_copies = list(dict.fromkeys(record["eventID"] for record in records))
    assert first_copies == [change.event_id for change in orders().changes]
