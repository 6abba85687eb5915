"""The Lambda functions, with what AWS gives them: batches of both kinds of mapping, and Firehose's transformation.

`tests/events` holds whole events in the shapes that AWS documents.
"""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
import zstandard
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ReadTimeoutError
from botocore.httpsession import URLLib3Session

from compaction.compact import compact
from ingest import handlers
from ingest.handlers import firehose_handler, stream_handler
from lake.config import TableConfig
from lake.dead_letters import read_dead_letters
from lake.errors import ConfigError, LakeError
from lake.lake import Lake, add_table, create_lake
from lake.masks import parse_masks
from lake.metrics import NAMESPACE
from tests.lakes import SCHEMA, SETTINGS, compacted, new_lake, rows
from tests.records import START_US, TIME, record, s, text

EVENTS = Path(__file__).parent / "events"
ROOT = EVENTS.parent.parent
LAMBDA_BYTES_MAX = 6 * 1024 * 1024
METRICS = {"Records", "Landed", "Duplicates", "DeadLetters", "Unlanded", "OldestRecordAge"}
Json = dict[str, Any]


def event(name: str) -> Json:
    return json.loads((EVENTS / f"{name}.json").read_text())


def kinesis(*raws: bytes) -> Json:
    """An event source mapping's batch of these records."""
    whole = event("kinesis_event_source_mapping")
    given = whole["Records"][0]
    whole["Records"] = []
    for n, raw in enumerate(raws):
        one = copy.deepcopy(given)
        one["kinesis"] |= {"sequenceNumber": str(10**55 + n), "data": base64.b64encode(raw).decode()}
        one["eventID"] = f"shardId-000000000006:{10**55 + n}"
        whole["Records"].append(one)
    return whole


def firehose(*raws: bytes) -> Json:
    whole = event("firehose_transformation")
    given = whole["records"][0]
    whole["records"] = []
    for n, raw in enumerate(raws):
        one = copy.deepcopy(given)
        one |= {"recordId": f"{10**55 + n}000000", "data": base64.b64encode(raw).decode()}
        one["kinesisRecordMetadata"]["sequenceNumber"] = str(10**55 + n)
        whole["records"].append(one)
    return whole


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    return opened(new_lake(tmp_path / "lake"), monkeypatch)


@pytest.fixture
def s3_lake(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    return opened(new_lake("s3://lakes/shop"), monkeypatch)


def opened(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(handlers, "_opened", {})
    monkeypatch.setenv("DYNALAKE_LAKE", lake.uri)
    return lake


def landed(lake: Lake) -> list[Json]:
    """What lies in the lake's own objects, line by line."""
    return [
        json.loads(line)
        for path in sorted(Path(lake.raw).rglob("*.ndjson.zst"))
        for line in zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()
    ]


def told(capsys: pytest.CaptureFixture[str]) -> tuple[Json, list[Json]]:
    """The line of metrics, which there is one of, and the others."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = [line for line in lines if "_aws" in line]
    assert len(metrics) == 1
    return metrics[0], [line for line in lines if "_aws" not in line]


def refuse(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Requests with a method and a URL like these get no answer."""
    seen: list[str] = []
    real = URLLib3Session.send

    def send(self: URLLib3Session, request: AWSRequest) -> Any:
        if f"{request.method} {request.url}".startswith(words):
            seen.append(request.url)
            raise ReadTimeoutError(endpoint_url=request.url)
        return real(self, request)

    monkeypatch.setattr(URLLib3Session, "send", send)
    return seen


# The consumer


def test_a_batch_of_kinesis_lands(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    batch = event("kinesis_event_source_mapping")
    assert stream_handler(batch) == {"batchItemFailures": []}
    lines = landed(lake)
    assert [line["eventName"] for line in lines] == ["INSERT", "MODIFY", "REMOVE"]
    numbers = [one["kinesis"]["sequenceNumber"] for one in batch["Records"]]
    assert [line["_lake"]["sequence_number"] for line in lines] == [numbers[0], numbers[1], numbers[3]]
    assert {(line["_lake"]["stream"], line["_lake"]["shard_id"]) for line in lines} == {
        ("orders-changes", "shardId-000000000006")
    }
    assert lines[0]["_lake"]["arrived_us"] == 1_700_000_000_987_000
    (letter,) = read_dead_letters(lake.dead_letters)
    assert (letter.raw, letter.reason, letter.sequence_number) == (b"rubbish", "undecodable", numbers[2])
    metrics, others = told(capsys)
    assert (metrics["Stream"], metrics["Shard"]) == ("orders-changes", "shardId-000000000006")
    assert [metrics[n] for n in ("Records", "Landed", "Duplicates", "DeadLetters", "Unlanded")] == [4, 3, 0, 1, 0]
    assert others == []
    (path,) = Path(lake.raw).rglob("*.zst")
    assert str(path.relative_to(lake.raw)).startswith("stream=orders-changes/2023/11/14/22/shardId-000000000006-")
    assert stream_handler(batch) == {"batchItemFailures": []}
    assert landed(lake) == lines and len(list(Path(lake.dead_letters).rglob("*.gz"))) == 1
    assert compacted(lake).changes == 3
    assert rows(lake, "SELECT op FROM orders_changes ORDER BY created_at_us") == [("INSERT",), ("MODIFY",), ("REMOVE",)]


def test_a_batch_of_a_native_stream_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its stream's ARN ends in a time with colons in it."""
    lake = opened(new_lake(tmp_path / "lake", surface="streams"), monkeypatch)
    assert stream_handler(event("dynamodb_event_source_mapping")) == {"batchItemFailures": []}
    assert [line["eventName"] for line in landed(lake)] == ["INSERT", "MODIFY", "REMOVE"]
    metrics, _ = told(capsys)
    assert (metrics["Stream"], metrics["Landed"]) == ("orders", 3)
    assert compacted(lake).changes == 3
    assert list(read_dead_letters(lake.dead_letters)) == []
    found = rows(lake, "SELECT sequence_number, is_ttl, new_image FROM orders_changes ORDER BY created_at_us")
    assert [row[:2] for row in found] == [
        (f"442158450000000001745043909{n}".zfill(40), n == 3) for n in (1, 2, 3)
    ]  # fmt: skip
    assert json.loads(found[0][2])["b"] == {"B": "AAE="}


def test_a_batch_of_nothing_but_poison_counts_as_handled(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    assert stream_handler(kinesis(b"rubbish", b"", text("e1", tableName="unknown"))) == {"batchItemFailures": []}
    assert landed(lake) == []
    assert Counter(one.reason for one in read_dead_letters(lake.dead_letters)) == {
        "undecodable": 2, "unregistered table": 1
    }  # fmt: skip
    metrics, _ = told(capsys)
    assert [metrics[n] for n in ("Records", "Landed", "DeadLetters", "Unlanded")] == [3, 0, 3, 0]


def test_an_empty_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNALAKE_LAKE", raising=False)
    assert stream_handler({"Records": []}) == {"batchItemFailures": []}


SQS = {"messageId": "1", "body": "{}", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:1:q"}
SNS = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": {"Message": "{}"}}


@pytest.mark.parametrize("other", [{}, {"Records": None}, [], None, {"Records": [SQS]}, {"Records": [SNS]}, "kinesis"])
def test_events_of_others_are_refused(lake: Lake, other: Any) -> None:
    """To take one for an empty batch would be to lose its records."""
    event_of_kinesis = event("kinesis_event_source_mapping")
    for handler, given in ((stream_handler, other), (firehose_handler, other), (firehose_handler, event_of_kinesis)):
        with pytest.raises(ConfigError, match="capture an event; expected"):
            handler(given)
    with pytest.raises(ConfigError, match="Name the other handler"):
        stream_handler(event("firehose_transformation"))


def test_what_cannot_land_now_comes_again(
    s3_lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the lowest number of the batch; a later call finds no trace of the one that failed."""
    batch = kinesis(text("e1"), text("e2"), b"rubbish")
    batch["Records"].reverse()
    with monkeypatch.context() as broken:
        asked = refuse(broken, "PUT")
        assert stream_handler(batch) == {"batchItemFailures": [{"itemIdentifier": str(10**55)}]}
        assert asked
    metrics, (log,) = told(capsys)
    assert [metrics[n] for n in ("Records", "Landed", "DeadLetters", "Unlanded")] == [3, 0, 0, 3]
    assert (log["event"], log["fault"]) == ("landing failed", "TransientError")
    assert "rubbish" not in json.dumps(log)
    assert stream_handler(batch) == {"batchItemFailures": []}
    assert compacted(s3_lake).changes == 2
    assert [one.raw for one in read_dead_letters(s3_lake.dead_letters)] == [b"rubbish"]


@pytest.mark.parametrize("broken", ["dead_letters", "raw"])
def test_a_disk_that_fails(lake: Lake, broken: str) -> None:
    """A file where a folder must be is refused to root, too; not until all is written does the batch count."""
    (lake.root / broken).rmdir()
    (lake.root / broken).write_text("")
    batch = kinesis(text("e1"), b"rubbish")
    assert stream_handler(batch) == {"batchItemFailures": [{"itemIdentifier": str(10**55)}]}
    (lake.root / broken).unlink()
    assert stream_handler(batch) == {"batchItemFailures": []}
    assert (len(landed(lake)), len(list(read_dead_letters(lake.dead_letters)))) == (1, 1)


def test_a_bucket_that_is_gone_is_no_matter_of_waiting(s3_lake: Lake, s3: Any) -> None:
    stream_handler(kinesis(text("e0")))
    for one in s3.list_objects_v2(Bucket="lakes")["Contents"]:
        s3.delete_object(Bucket="lakes", Key=one["Key"])
    s3.delete_bucket(Bucket="lakes")
    with pytest.raises(LakeError, match="NoSuchBucket"):
        stream_handler(kinesis(text("e1")))


@pytest.mark.parametrize("handler", [lambda: stream_handler(kinesis(b"x")), lambda: firehose_handler(firehose(b"x"))])
def test_without_a_lake_nothing_is_answered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, handler: Any) -> None:
    monkeypatch.setattr(handlers, "_opened", {})
    for value, message in (("", "variable DYNALAKE_LAKE"), (str(tmp_path / "none"), "expected a lake with its")):
        monkeypatch.setenv("DYNALAKE_LAKE", value)
        with pytest.raises(ConfigError, match=message):
            handler()
    monkeypatch.delenv("DYNALAKE_LAKE")
    with pytest.raises(ConfigError, match="variable DYNALAKE_LAKE"):
        handler()


def test_a_table_that_was_registered_meanwhile_is_known(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream_handler(kinesis(text("e1", tableName="later")))
    add_table(lake, TableConfig("", "later", SCHEMA))
    clock[0] += 6
    stream_handler(kinesis(text("e2", tableName="later"), text("e3")))
    assert [line["eventID"] for line in landed(lake)] == ["e2", "e3"]


# What it tells


def check_metrics(line: Json) -> None:
    """The embedded metric format, as CloudWatch specifies it."""
    meta = line["_aws"]
    assert abs(meta["Timestamp"] / 1_000 - time.time()) < 60 and isinstance(meta["Timestamp"], int)
    (directive,) = meta["CloudWatchMetrics"]
    assert directive["Namespace"] == NAMESPACE
    assert {one["Name"] for one in directive["Metrics"]} == METRICS
    for one in directive["Metrics"]:
        assert one.keys() == {"Name", "Unit"} and one["Unit"] in ("Count", "Milliseconds")
        assert type(line[one["Name"]]) is int and line[one["Name"]] >= 0
    assert directive["Dimensions"]
    for names in directive["Dimensions"]:
        assert 0 < len(names) <= 30 and len(names) == len(set(names))
        assert all(isinstance(line[name], str) and 0 < len(line[name]) <= 1024 for name in names)
    assert line.keys() == {"_aws", *METRICS, *(n for names in directive["Dimensions"] for n in names)}


def test_metrics_are_in_the_embedded_format(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    stream_handler(kinesis(text("e1"), text("e1"), b"rubbish"))
    metrics, _ = told(capsys)
    check_metrics(metrics)
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stream"], ["Stream", "Shard"]]
    assert [metrics[n] for n in ("Records", "Landed", "Duplicates", "DeadLetters")] == [3, 1, 1, 1]
    assert metrics["OldestRecordAge"] == pytest.approx((time.time() - 1_700_000_000.987) * 1_000, abs=60_000)
    firehose_handler(firehose(text("e1"), b"rubbish"))
    metrics, _ = told(capsys)
    check_metrics(metrics)
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Stream"]]
    ahead = kinesis(text("e1"))
    ahead["Records"][0]["kinesis"]["approximateArrivalTimestamp"] = time.time() + 100  # clocks differ
    stream_handler(ahead)
    assert told(capsys)[0]["OldestRecordAge"] == 0


# The transformation


def answers(result: Json, batch: Json) -> list[tuple[str, bytes]]:
    """Result and data of each record, in the order of the batch."""
    assert result.keys() == {"records"}
    assert [one["recordId"] for one in result["records"]] == [one["recordId"] for one in batch["records"]]
    assert len(json.dumps(result)) < LAMBDA_BYTES_MAX
    for one in result["records"]:
        assert one["result"] in ("Ok", "Dropped", "ProcessingFailed")
        assert ("data" in one) == (one["result"] == "Ok")
    return [(one["result"], base64.b64decode(one.get("data", ""), validate=True)) for one in result["records"]]


def test_a_transformation(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    batch = event("firehose_transformation")
    found = answers(firehose_handler(batch), batch)
    assert [result for result, _ in found] == ["Ok", "Ok", "Dropped", "Ok"]
    lines = [data for result, data in found if result == "Ok"]
    assert all(data.endswith(b"}\n") and data.count(b"\n") == 1 for data in lines)
    for given, (result, data) in zip(batch["records"], found, strict=True):
        if result == "Ok":
            whole, metadata = json.loads(data), given["kinesisRecordMetadata"]
            assert whole.pop("_lake") == {
                "source": "stream", "stream": "orders-changes", "sequence_number": metadata["sequenceNumber"],
                "arrived_us": metadata["approximateArrivalTimestamp"] * 1_000, "shard_id": metadata["shardId"],
            }  # fmt: skip
            assert whole == json.loads(base64.b64decode(given["data"]))
    assert landed(lake) == []
    (letter,) = read_dead_letters(lake.dead_letters)
    assert (letter.raw, letter.shard_id) == (b"rubbish", "shardId-000000000000")
    assert letter.sequence_number == batch["records"][2]["kinesisRecordMetadata"]["sequenceNumber"]
    metrics, others = told(capsys)
    assert [metrics[n] for n in ("Records", "Landed", "DeadLetters", "Unlanded")] == [4, 3, 1, 0] and others == []
    assert answers(firehose_handler(batch), batch) == found
    assert len(list(Path(lake.dead_letters).rglob("*.gz"))) == 1
    (Path(lake.raw) / "firehose.ndjson").write_bytes(b"".join(lines))
    assert compacted(lake).changes == 3


def test_records_that_were_put_into_firehose_itself(lake: Lake) -> None:
    """Without metadata of Kinesis there is no shard and no number, and no stream but the delivery stream."""
    batch = firehose(text("e1"), b"rubbish", text("e2"))
    del batch["sourceKinesisStreamArn"]
    del batch["records"][0]["kinesisRecordMetadata"]
    batch["records"][1]["kinesisRecordMetadata"] = batch["records"][2]["kinesisRecordMetadata"] = None
    (_, data), (dropped, _), _ = answers(firehose_handler(batch), batch)
    whole = json.loads(data)["_lake"]
    assert (whole["stream"], whole["arrived_us"], dropped) == ("orders", 1_700_000_001_000_000, "Dropped")


def test_letters_that_cannot_be_kept_stay_with_firehose(
    s3_lake: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = firehose(text("e1"), b"rubbish", text("e2"), b"{}")
    with monkeypatch.context() as broken:
        refuse(broken, "PUT")
        found = answers(firehose_handler(batch), batch)
    assert [result for result, _ in found] == ["Ok", "ProcessingFailed", "Ok", "ProcessingFailed"]
    metrics, (log,) = told(capsys)
    check_metrics(metrics)
    assert [metrics[n] for n in ("Records", "Landed", "DeadLetters", "Unlanded")] == [4, 2, 0, 2]
    assert "rubbish" not in json.dumps(log)
    found = answers(firehose_handler(batch), batch)
    assert [result for result, _ in found] == ["Ok", "Dropped", "Ok", "Dropped"]
    assert {one.raw for one in read_dead_letters(s3_lake.dead_letters)} == {b"rubbish", b"{}"}


def large(count: int, size: int) -> list[bytes]:
    return [
        json.dumps(record(f"e{n:05}", body={TIME: START_US + n, "NewImage": {
            "pk": s(f"e{n:05}"), "sk": s("1"), "v": s("x" * size)}})).encode()
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "size"), [(3_000, 1_700), (12, 1_000_000), (11_000, 200), (1, 10)])
def test_an_answer_is_never_too_large(
    lake: Lake, capsys: pytest.CaptureFixture[str], count: int, size: int
) -> None:  # fmt: skip
    """What does not fit lands beside; what is answered and what has landed are all there was, once."""
    raws = large(count, size)
    batch = firehose(*raws, b"rubbish")
    found = answers(firehose_handler(batch), batch)
    assert found.pop() == ("Dropped", b"")
    answered = [json.loads(data)["eventID"] for result, data in found if result == "Ok"]
    beside = [line["eventID"] for line in landed(lake)]
    assert sorted(answered + beside) == [f"e{n:05}" for n in range(count)]
    assert bool(beside) == (count > 1) and answered
    assert [result == "Dropped" for result, _ in found] == [f"e{n:05}" in set(beside) for n in range(count)]
    metrics, _ = told(capsys)
    assert [metrics[n] for n in ("Records", "Landed", "DeadLetters", "Unlanded")] == [count + 1, count, 1, 0]


def test_what_is_too_much_and_cannot_land_stays_with_firehose(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    (lake.root / "raw").rmdir()
    (lake.root / "raw").write_text("")
    batch = firehose(*large(8, 1_000_000), b"rubbish")
    found = Counter(result for result, _ in answers(firehose_handler(batch), batch))
    assert found["ProcessingFailed"] == 8 - found["Ok"] > 0 and found["Dropped"] == 1
    metrics, _ = told(capsys)
    assert (metrics["Landed"], metrics["Unlanded"]) == (found["Ok"], found["ProcessingFailed"])


def test_every_dead_letter_is_counted(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several tables, too: they lie in objects of their own."""
    add_table(lake, TableConfig("", "second", SCHEMA))
    poison = [b"rubbish", text("e1", eventName="x"), text("e2", tableName="second", eventName="x"), b"{}"]
    firehose_handler(firehose(*poison))
    assert len(list(read_dead_letters(lake.dead_letters))) == 4
    assert told(capsys)[0]["DeadLetters"] == 4


@pytest.mark.parametrize("handler", ["stream", "firehose"])
def test_masks_are_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: str) -> None:
    monkeypatch.setenv("DYNALAKE_MASK_SECRET", "k" * 32)
    table = TableConfig("", "orders", SCHEMA, masks=parse_masks({"v": "redact"}, SCHEMA, ""))
    lake = opened(add_table(create_lake(tmp_path / "lake"), table), monkeypatch)
    raws = large(1, 0) + [one.replace(b"xxx", b"secret") for one in large(1, 3)] + [b"rubbish secret"]
    if handler == "stream":
        assert stream_handler(kinesis(*raws)) == {"batchItemFailures": []}
        data = json.dumps(landed(lake))
    else:
        batch = firehose(*raws)
        data = b"".join(line for _, line in answers(firehose_handler(batch), batch)).decode()
        (Path(lake.raw) / "firehose.ndjson").write_text(data)
    assert "secret" not in data and "[redacted]" in data
    (letter,) = read_dead_letters(lake.dead_letters)
    assert letter.is_sealed and b"secret" not in letter.raw
    assert compact(lake, lake.config.table("orders"), SETTINGS).dead_letters == 0


def test_masks_without_their_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNALAKE_MASK_SECRET", raising=False)
    table = TableConfig("", "orders", SCHEMA, masks=parse_masks({"v": "redact"}, SCHEMA, ""))
    lake = opened(add_table(create_lake(tmp_path / "lake"), table), monkeypatch)
    for handler in (lambda: stream_handler(kinesis(text("e1"))), lambda: firehose_handler(firehose(text("e1")))):
        with pytest.raises(ConfigError, match="DYNALAKE_MASK_SECRET"):
            handler()
    assert landed(lake) == []


# The queue


def with_queue(lake: Lake, url: str) -> None:
    with (lake.root / "lake.toml").open("a") as config:
        config.write(f"\n[poison]\nqueue_url = {json.dumps(url)}\n")


def messages(url: str) -> list[Json]:
    found = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(one["Body"]) for one in found]


@pytest.mark.parametrize("handler", ["stream", "firehose"])
def test_a_queue_is_told_of_dead_letters(s3: Any, lake: Lake, handler: str) -> None:
    url = boto3.client("sqs").create_queue(QueueName="poison")["QueueUrl"]
    with_queue(lake, url)
    secret = [b"rubbish secret %d" % n for n in range(15)]
    raws = [text("e1"), text("e2", eventName="secret"), text("e3", eventName="secret"), *secret]
    if handler == "stream":
        assert stream_handler(kinesis(*raws)) == {"batchItemFailures": []}
    else:
        firehose_handler(firehose(*raws))
    found = {one["table"]: one for one in messages(url)}
    assert found.keys() == {"orders", None}
    assert found["orders"]["reasons"] == {"no change record": 2} and found["orders"]["dead_letters"] == 2
    assert found[None]["reasons"] == {"undecodable": 15} and len(found[None]["ids"]) == 10
    letters = {one.id for one in read_dead_letters(lake.dead_letters)}
    for one in found.values():
        assert set(one["ids"]) <= letters and one["stream"] == "orders-changes" and one["lake"] == lake.uri
        assert one["shard_id"] == ("shardId-000000000006" if handler == "stream" else "")
        assert Path(one["object"]).is_file() and len(list(read_dead_letters(str(Path(one["object"]).parent)))) >= 2
        assert "secret" not in json.dumps(one)
    stream_handler(kinesis(text("e9")))
    assert messages(url) == [], "nothing to tell of"


@pytest.mark.parametrize(
    "queue", ["http://127.0.0.1:9/123456789012/none", "poison", "https://[", "", "{server}/1/none"]
)
@pytest.mark.parametrize("handler", ["stream", "firehose"])
def test_a_queue_that_is_not_there_holds_nothing_up(
    s3: Any, lake: Lake, capsys: pytest.CaptureFixture[str], handler: str, queue: str
) -> None:
    with_queue(lake, queue.format(server=s3.meta.endpoint_url))
    batch = firehose(text("e1"), b"rubbish")
    if handler == "stream":
        assert stream_handler(kinesis(text("e1"), b"rubbish")) == {"batchItemFailures": []}
        assert len(landed(lake)) == 1
    else:
        assert [result for result, _ in answers(firehose_handler(batch), batch)] == ["Ok", "Dropped"]
    assert [one.raw for one in read_dead_letters(lake.dead_letters)] == [b"rubbish"]
    metrics, (log,) = told(capsys)
    assert "dead letters" in log["message"] and metrics["DeadLetters"] == 1 and metrics["Unlanded"] == 0


# What it needs


def test_a_function_needs_no_engine() -> None:
    """A Lambda package holds none of what compaction needs."""
    script = """
import sys
import ingest.handlers, ingest.metrics
found = {"duckdb", "pyarrow", "pyiceberg", "numpy", "standin", "compaction"} & {n.split(".")[0] for n in sys.modules}
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_function_works_without_the_engines(lake: Lake) -> None:
    """Also while it lands records and dead letters."""
    script = f"""
import sys
for name in ("duckdb", "pyarrow", "pyiceberg", "numpy"):
    sys.modules[name] = None
from ingest.handlers import firehose_handler, stream_handler
assert stream_handler({kinesis(text("e1"), b"rubbish")!r}) == {{"batchItemFailures": []}}
print([one["result"] for one in firehose_handler({firehose(text("e1"), b"rubbish")!r})["records"]])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['Ok', 'Dropped']"
    assert len(landed(lake)) == 1
