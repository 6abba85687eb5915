"""What tests of a consumer rely on in kinesis-local: shards that split, merge, close and end as AWS's do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.extra.servers import Kinesis, kinesis_local

pytestmark = pytest.mark.extra

FIRST, SECOND, THIRD, FOURTH = (f"shardId-{n:012}" for n in range(4))
MIDDLE = 2**127


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinesis]:
    with kinesis_local(tmp_path_factory.mktemp("kinesis")) as kinesis:
        yield kinesis


class Stream:
    """A stream of its own for a test."""

    def __init__(self, server: Kinesis, shards: int) -> None:
        self.server, self.client, self.name = server, server.client(), f"orders-{time.monotonic_ns()}"
        self.client.create_stream(StreamName=self.name, ShardCount=shards)
        self.settle()

    def settle(self) -> None:
        until = time.monotonic() + 30
        while self.summary()["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < until
            time.sleep(0.01)

    def summary(self) -> Any:
        return self.client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]

    def split(self, shard: str, at: int) -> None:
        self.client.split_shard(StreamName=self.name, ShardToSplit=shard, NewStartingHashKey=str(at))
        self.settle()

    def merge(self, shard: str, adjacent: str) -> None:
        self.client.merge_shards(StreamName=self.name, ShardToMerge=shard, AdjacentShardToMerge=adjacent)
        self.settle()

    def shards(self, **asked: Any) -> dict[str, Any]:
        return {shard["ShardId"]: shard for shard in self.client.list_shards(StreamName=self.name, **asked)["Shards"]}

    def open(self) -> list[str]:
        return [name for name, shard in self.shards().items()
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]  # fmt: skip

    def put(self, *texts: str, at: int = 0) -> list[tuple[str, str]]:
        """The shard and the sequence number of each record put where hash keys are so large."""
        records = [{"Data": text.encode(), "PartitionKey": text, "ExplicitHashKey": str(at)} for text in texts]
        answer = self.client.put_records(StreamName=self.name, Records=records)
        assert answer["FailedRecordCount"] == 0
        return [(record["ShardId"], record["SequenceNumber"]) for record in answer["Records"]]

    def iterator(self, shard: str, kind: str = "TRIM_HORIZON", **start: Any) -> str:
        answer = self.client.get_shard_iterator(
            StreamName=self.name, ShardId=shard, ShardIteratorType=kind, **start
        )  # fmt: skip
        return str(answer["ShardIterator"])

    def get(self, iterator: str, **limit: int) -> Any:
        return self.client.get_records(ShardIterator=iterator, **limit)


def texts(answer: Any) -> list[str]:
    return [record["Data"].decode() for record in answer["Records"]]


def children(answer: Any) -> list[tuple[str, list[str]]]:
    return [(child["ShardId"], child["ParentShards"]) for child in answer["ChildShards"]]


def refusal(ask: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(ClientError) as fault:
        ask(*arguments, **options)
    return str(fault.value.response["Error"]["Code"])


def test_a_split_shard_closes_and_ends(server: Kinesis) -> None:
    stream = Stream(server, 1)
    before = stream.iterator(FIRST, "LATEST")
    stream.put("1", "2", "3")
    stream.split(FIRST, MIDDLE)
    assert stream.open() == [SECOND, THIRD] and stream.summary()["OpenShardCount"] == 2
    assert [shard.get("ParentShardId") for shard in stream.shards().values()] == [None, FIRST, FIRST]
    assert not any("AdjacentParentShardId" in shard for shard in stream.shards().values())
    first = stream.get(before, Limit=2)
    assert texts(first) == ["1", "2"] and "ChildShards" not in first
    last = stream.get(first["NextShardIterator"])
    assert texts(last) == ["3"] and "NextShardIterator" not in last
    assert children(last) == [(SECOND, [FIRST]), (THIRD, [FIRST])]
    assert refusal(stream.client.split_shard, StreamName=stream.name, ShardToSplit=FIRST, NewStartingHashKey="9")


def test_an_ended_shard_answers_with_its_children(server: Kinesis) -> None:
    stream = Stream(server, 1)
    stream.split(FIRST, MIDDLE)
    ((_, last),) = stream.put("1")
    stream.split(SECOND, MIDDLE // 2)
    ends = [stream.iterator(FIRST), stream.iterator(SECOND, "LATEST"),
            stream.iterator(SECOND, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=last)]  # fmt: skip
    for end in ends:
        answer = stream.get(end)
        assert not answer["Records"] and "NextShardIterator" not in answer and len(answer["ChildShards"]) == 2


def test_merged_shards_have_one_child(server: Kinesis) -> None:
    stream = Stream(server, 2)
    puts = [*stream.put("1"), *stream.put("2", at=MIDDLE)]
    assert [shard for shard, _ in puts] == [FIRST, SECOND]
    stream.merge(FIRST, SECOND)
    assert stream.open() == [THIRD]
    child = stream.shards()[THIRD]
    assert (child["ParentShardId"], child["AdjacentParentShardId"]) == (FIRST, SECOND)
    for shard, text in ((FIRST, "1"), (SECOND, "2")):
        answer = stream.get(stream.iterator(shard))
        assert texts(answer) == [text] and "NextShardIterator" not in answer
        assert children(answer) == [(THIRD, [FIRST, SECOND])]


def test_puts_go_to_open_shards_and_their_numbers_grow(server: Kinesis) -> None:
    stream = Stream(server, 1)
    puts = stream.put("1", "2")
    stream.split(FIRST, MIDDLE)
    puts += stream.put("3", at=MIDDLE - 1) + stream.put("4", at=MIDDLE)
    stream.merge(SECOND, THIRD)
    puts += stream.put("5", at=MIDDLE - 1) + stream.put("6", at=MIDDLE)
    assert [shard for shard, _ in puts] == [FIRST, FIRST, SECOND, THIRD, FOURTH, FOURTH]
    numbers = [int(number) for _, number in puts]
    assert numbers == sorted(set(numbers)) and {len(number) for _, number in puts} == {56}
    assert [texts(stream.get(stream.iterator(shard))) for shard in stream.shards()] == [["1", "2"], ["3"], ["4"],
                                                                                      ["5", "6"]]  # fmt: skip


def test_reading_goes_on_after_a_record(server: Kinesis) -> None:
    stream = Stream(server, 1)
    numbers = [number for _, number in stream.put(*"123")]
    for kind, rest in (("AT_SEQUENCE_NUMBER", ["2", "3"]), ("AFTER_SEQUENCE_NUMBER", ["3"])):
        assert texts(stream.get(stream.iterator(FIRST, kind, StartingSequenceNumber=numbers[1]))) == rest
    tip = stream.get(stream.iterator(FIRST, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[2]))
    assert not tip["Records"] and tip["MillisBehindLatest"] == 0
    stream.put("4")
    answer = stream.get(tip["NextShardIterator"])
    assert texts(answer) == ["4"]
    arrived = answer["Records"][0]["ApproximateArrivalTimestamp"]
    assert 0 <= (arrived - stream.summary()["StreamCreationTimestamp"]).total_seconds() < 60


def test_shards_are_listed_in_pages(server: Kinesis) -> None:
    stream = Stream(server, 5)
    page = stream.client.list_shards(StreamName=stream.name, MaxResults=2)
    names = [shard["ShardId"] for shard in page["Shards"]]
    while "NextToken" in page:  # AWS refuses the name beside a token too
        assert refusal(stream.client.list_shards, StreamName=stream.name, NextToken=page["NextToken"])
        page = stream.client.list_shards(NextToken=page["NextToken"], MaxResults=2)
        names += [shard["ShardId"] for shard in page["Shards"]]
    assert names == list(stream.shards()) and len(names) == 5
    assert list(stream.shards(ExclusiveStartShardId=THIRD)) == names[3:]
    stream.split(FIRST, 1)
    assert list(stream.shards(ShardFilter={"Type": "AT_LATEST"})) == stream.open() and len(stream.open()) == 6


def test_old_iterators_and_wrong_numbers_are_refused(server: Kinesis) -> None:
    stream = Stream(server, 1)
    ((_, number),) = stream.put("1")
    iterator = stream.iterator(FIRST)
    assert texts(stream.get(iterator)) == ["1"]
    server.expire_iterators()
    assert refusal(stream.get, iterator) == "ExpiredIteratorException"
    assert texts(stream.get(stream.iterator(FIRST))) == ["1"]
    for wrong, code in (("x", "InvalidArgumentException"), (str(int(number) + 1), "ResourceNotFoundException")):
        assert refusal(stream.iterator, FIRST, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=wrong) == code
    assert refusal(stream.iterator, SECOND) == "ResourceNotFoundException"
