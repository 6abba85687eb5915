"""The stand-in as a server: from a table to objects with boto3 alone, as its users run it."""

import gzip
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import standin.fixtures
import standin.server
from standin import Faults
from standin.server import AwsStandIn
from tests.standin.landed import START_US, created_at_us, held, lines, objects, read


def write_orders(dynamodb: Any, aws: AwsStandIn, count: int = 400) -> None:
    for number in range(count):
        key = {"pk": {"S": f"o{number % 40}"}}
        if number % 10 == 9:
            dynamodb.delete_item(TableName="orders", Key=key)
        elif number % 3:
            dynamodb.put_item(TableName="orders", Item={**key, "n": {"N": str(number)}, "raw": {"B": b"\x00\xff"}})
        else:
            dynamodb.update_item(
                TableName="orders",
                Key=key,
                UpdateExpression="SET n = :n ADD tags :t",
                ExpressionAttributeValues={":n": {"N": str(number)}, ":t": {"SS": [f"t{number % 7}"]}},
            )
        aws.clock.advance(0.5)


def as_boto3(image: dict | None) -> dict | None:
    return image and {
        name: ({"B": b"\x00\xff"} if value == {"B": "QVA4PQ=="} else value) for name, value in image.items()
    }


def test_the_example_in_the_docstring_passes() -> None:
    assert standin.server.__doc__ is not None
    example = textwrap.dedent(standin.server.__doc__.partition("::\n")[2].partition("\nThe clock stands")[0])
    names: dict = {"gzip": gzip, "json": json}
    exec(example, names)
    names["test_changes_land_as_objects"]()


def test_the_fixture_s_example_passes(aws: AwsStandIn) -> None:
    assert standin.fixtures.__doc__ is not None
    example = textwrap.dedent(standin.fixtures.__doc__.partition("::\n\n")[2])

    def my_job() -> None:
        boto3.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": "a"}})

    names: dict = {"my_job": my_job}
    exec(example, names)
    names["test_my_job_writes_the_table"](aws)


def test_on_a_bad_day_the_table_is_in_the_objects_and_the_report_is_exact() -> None:
    faults = Faults.typical()
    with AwsStandIn(seed=3, faults=faults, start_us=START_US) as aws:
        dynamodb = aws.client("dynamodb")
        aws.replicate("orders", bucket="raw", prefix="orders/", buffer_seconds=30)
        write_orders(dynamodb, aws)
        aws.deliver()
        report, history = aws.report, aws.history("orders")
        counts = report.counts()
        expected = {"poison": 8, "unregistered": 3, "skipped": 2, "rewritten": 2, "late": 1}
        assert {name: counts[name] for name in expected} == expected
        assert report.changes == len(history.changes)
        assert report.records == report.changes - 2 + len(report.duplicates) + 8 + 3
        assert report.duplicates and report.held_back

        changes, seen = read(objects(aws))
        assert {poison.payload for poison in report.poison} | set(report.unregistered) <= set(seen)
        in_feed = {change.event_id for change in history.changes} - set(report.skipped)
        good = {event_id for event_id in changes if event_id in {change.event_id for change in history.changes}}
        assert good == in_feed
        state: dict = {}
        for change in sorted((changes[event_id] for event_id in good), key=created_at_us):
            state[change["dynamodb"]["Keys"]["pk"]["S"]] = as_boto3(change["dynamodb"].get("NewImage"))
        assert {pk: item for pk, item in state.items() if item is not None} == sorted_sets(held(dynamodb))
        first = min(objects(aws))
        assert first.startswith("orders/2024/07/15/02/orders-1-2024-07-15-02-39-2")


def sorted_sets(items: dict[str, dict]) -> dict[str, dict]:
    return {
        pk: {name: {"SS": sorted(value["SS"])} if "SS" in value else value for name, value in item.items()}
        for pk, item in items.items()
    }


def test_a_still_clock_makes_the_same_bytes_again() -> None:
    def run(seed: int) -> dict[str, bytes]:
        with AwsStandIn(seed=seed, faults=Faults.typical(), start_us=START_US) as aws:
            aws.replicate("orders", bucket="raw", buffer_seconds=20)
            write_orders(aws.client("dynamodb"), aws, 100)
            aws.deliver()
            return objects(aws)

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first.keys().isdisjoint(other)


def test_threads_write_at_once_and_the_images_chain() -> None:
    with AwsStandIn(seed=1, start_us=START_US, rate=1.0) as aws:
        aws.replicate("orders", bucket="raw")

        def write(worker: int) -> None:
            dynamodb = aws.client("dynamodb")
            for number in range(40):
                name = {"pk": {"S": f"o{number % 3}"}}
                if (number + worker) % 5 == 0:
                    dynamodb.delete_item(TableName="orders", Key=name)
                else:
                    dynamodb.update_item(
                        TableName="orders",
                        Key=name,
                        UpdateExpression="ADD n :one SET w = :w",
                        ExpressionAttributeValues={":one": {"N": "1"}, ":w": {"N": str(worker)}},
                    )

        workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        aws.deliver()
        changes, _ = read(objects(aws))
        state: dict = {}
        ordered = sorted(changes.values(), key=created_at_us)
        for change in ordered:
            pk = change["dynamodb"]["Keys"]["pk"]["S"]
            assert state.get(pk) == change["dynamodb"].get("OldImage")
            state[pk] = change["dynamodb"].get("NewImage")
        assert len({created_at_us(change) for change in ordered}) == len(ordered) > 100
        assert {pk: item for pk, item in state.items() if item} == held(aws.client("dynamodb"))


def test_every_kind_of_write_is_seen_and_a_failed_one_leaves_nothing() -> None:
    with AwsStandIn(seed=1, start_us=START_US) as aws:
        dynamodb = aws.client("dynamodb")
        aws.replicate("orders", bucket="raw", hash_key=("pk", "S"), range_key=("sk", "N"))
        one, two, three = ({"pk": {"S": "a"}, "sk": {"N": str(n)}} for n in (1, 2, 3))
        puts = [{"PutRequest": {"Item": {**key, "v": {"N": "1"}}}} for key in (one, two)]
        dynamodb.batch_write_item(RequestItems={"orders": puts})
        dynamodb.put_item(TableName="orders", Item={**one, "v": {"N": "1.0"}})  # an equal item: no change
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": "orders", "Item": three}},
                {"Delete": {"TableName": "orders", "Key": two}},
            ]
        )
        with pytest.raises(ClientError, match="Transaction cancelled"):
            dynamodb.transact_write_items(
                TransactItems=[
                    {"Delete": {"TableName": "orders", "Key": one}},
                    {"Put": {"TableName": "orders", "Item": two, "ConditionExpression": "attribute_exists(pk)"}},
                ]
            )
        with pytest.raises(ClientError, match="ValidationException"):
            dynamodb.update_item(TableName="orders", Key=two, UpdateExpression="SET v = missing")
        puts = [{"PutRequest": {"Item": item}} for item in ({**one, "v": {"N": "9"}}, {**two, "s": {"NS": ["1", "1"]}})]
        with pytest.raises(ClientError, match="ValidationException"):
            dynamodb.batch_write_item(RequestItems={"orders": puts})
        seen = [(change.op, change.keys["sk"]["N"]) for change in aws.history("orders").changes]
        assert seen == [("INSERT", "1"), ("INSERT", "2"), ("INSERT", "3"), ("REMOVE", "2")]
        assert dynamodb.get_item(TableName="orders", Key=one)["Item"]["v"] == {"N": "1"}
        assert "Item" not in dynamodb.get_item(TableName="orders", Key=two)
        filtered = dynamodb.scan(TableName="orders", FilterExpression="attribute_exists(sk)")  # moto's own answer
        assert sorted(item["sk"]["N"] for item in filtered["Items"]) == ["1", "3"]


def test_another_project_takes_the_fixture_in(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["standin.fixtures"]\n')
    (tmp_path / "test_it.py").write_text(
        "import boto3, pytest\n"
        "@pytest.mark.parametrize('aws', [{'start_us': 1_000_000}], indirect=True)\n"
        "def test_it(aws):\n"
        "    boto3.client('s3').create_bucket(Bucket='mine')\n"
        "    assert aws.clock.now_us() == 1_000_000\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_another_process_uses_the_environment_and_nothing_of_the_machine_s(
    aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of-the-machine")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-machine")
    aws.replicate("orders", bucket="raw")
    put = "import boto3; boto3.client('dynamodb').put_item(TableName='orders', Item={'pk': {'S': 'child'}})"
    subprocess.run([sys.executable, "-c", put], env=aws.child_environment(), check=True)
    assert list(held(aws.client("dynamodb"))) == ["child"]


def test_native_streams_work_beside_and_are_hidden_until_enabled(aws: AwsStandIn) -> None:
    dynamodb, streams = aws.client("dynamodb"), aws.client("dynamodbstreams")
    aws.replicate("orders", bucket="raw")
    assert not {"LatestStreamArn", "StreamSpecification"} & dynamodb.describe_table(TableName="orders")["Table"].keys()
    specification = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    dynamodb.update_table(TableName="orders", StreamSpecification=specification)
    key = {"pk": {"S": "a"}}
    dynamodb.update_item(
        TableName="orders", Key=key, UpdateExpression="SET b = :b", ExpressionAttributeValues={":b": {"B": b"hi"}}
    )
    dynamodb.put_item(TableName="orders", Item={**key, "b": {"B": b"hi"}})
    dynamodb.delete_item(TableName="orders", Key=key)
    arn = dynamodb.describe_table(TableName="orders")["Table"]["LatestStreamArn"]
    [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [record["eventName"] for record in records] == ["INSERT", "REMOVE"]
    assert records[0]["dynamodb"]["NewImage"] == {**key, "b": {"B": b"hi"}}


def test_one_at_a_time_and_nothing_is_left_behind() -> None:
    before = set(threading.enumerate())
    for number in range(2):
        with AwsStandIn(rate=60.0) as aws:
            assert aws.client("dynamodb").list_tables()["TableNames"] == []
            aws.replicate(f"t{number}", bucket="raw")
            with pytest.raises(RuntimeError, match="another AwsStandIn is running"), AwsStandIn():
                pass
    assert set(threading.enumerate()) == before
    with pytest.raises(RuntimeError, match="not running"):
        _ = AwsStandIn().endpoint_url
    assert "AWS_ENDPOINT_URL" not in os.environ


def lose_the_bucket(rate: float) -> None:
    with AwsStandIn(rate=rate) as aws:
        aws.replicate("orders", bucket="raw", buffer_seconds=0)
        aws.client("s3").delete_bucket(Bucket="raw")
        aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": "a"}})
        if rate:
            threading.Event().wait(0.2)  # time enough for the background, whose failure the end of the block raises
        else:
            aws.clock.advance(60)


@pytest.mark.parametrize("rate", [0.0, 600.0])
def test_what_fails_inside_comes_out(rate: float) -> None:
    with pytest.raises(RuntimeError, match="bucket raw, which does not exist"):
        lose_the_bucket(rate)


def test_the_clock_runs_by_itself_at_a_rate() -> None:
    with AwsStandIn(start_us=START_US, rate=3_600.0) as aws:
        aws.replicate("orders", bucket="raw", buffer_seconds=60)
        aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": "a"}})
        for _ in range(100):
            if objects(aws):
                break
            threading.Event().wait(0.02)
        assert len(lines(objects(aws))) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 10\r\n\r\n",
        b"Content-Length: 10\r\n\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
def test_half_a_request_asks_for_nothing(aws: AwsStandIn, capfd: pytest.CaptureFixture[str], sent: bytes) -> None:
    """A client that is killed leaves no half an object behind, and is no failure of the server's."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="raw")
    host, _, port = aws.endpoint_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"PUT /raw/key HTTP/1.1\r\nHost: localhost\r\n" + sent)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert s3.list_objects_v2(Bucket="raw")["KeyCount"] == 0
    assert "Traceback" not in capfd.readouterr().err
