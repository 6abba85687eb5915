"""`dynalake doctor` on the stand-in: nothing wrong where all is right; of each setting that is broken, its check."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import boto3
import pytest

from standin.server import AwsStandIn
from tests.commands import dynalake
from tests.consuming import Transport
from tests.doctoring import LAKE, LIFECYCLE, SetUp, broken, checks, findings
from tests.test_tidy import ROOT


@pytest.fixture(scope="module")
def up() -> Iterator[SetUp]:
    """One server for all tests here: each breaks a thing and mends it."""
    with AwsStandIn() as aws, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        set_up = SetUp(aws)
        for arguments in (("init",), ("add-table", "orders", "--from-dynamodb")):
            assert dynalake(LAKE, *arguments).code == 0
        text = aws.client("s3").get_object(Bucket="lakes", Key="lake/lake.toml")["Body"].read().decode()
        text += f'\n[poison]\nqueue_url = "{set_up.queue_url}"\n'
        aws.client("s3").put_object(Bucket="lakes", Key="lake/lake.toml", Body=text.encode())
        aws.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
        aws.deliver()
        for arguments in (("compact", "orders"), ("verify", "orders", "--wait", "0")):
            done = dynalake(LAKE, *arguments)
            assert done.code == 0, done
        yield set_up


def test_all_is_right(up: SetUp) -> None:
    """But for rights, which the stand-in cannot simulate."""
    found = findings()
    assert checks(found, "wrong") == []
    assert checks(found, "unknown") == ["rights"]
    assert len(checks(found, "ok")) > 60
    assert {one["table"] for one in found} == {"orders", ""}
    assert dynalake(LAKE, "doctor", "orders").out.splitlines()[-1].startswith("ok: table, ")


Action = Callable[[SetUp], object]
BREAKS: dict[str, tuple[Action, Action, list[str]]] = {
    "no streaming": (lambda up: up.set_streaming(False), lambda up: up.set_streaming(), ["streaming"]),
    "milliseconds": (lambda up: up.set_precision("MILLISECOND"), lambda up: up.set_precision(), ["precision"]),
    "a day": (lambda up: up.set_retention(48), lambda up: up.set_retention(168), ["record age", "retention"]),
    "plain stream": (
        lambda up: up.c("kinesis").stop_stream_encryption(StreamName="orders", EncryptionType="KMS", KeyId="a"),
        lambda up: up.set_encryption(), ["stream encryption"],
    ),
    "no shard metrics": (
        lambda up: up.c("kinesis").disable_enhanced_monitoring(StreamName="orders", ShardLevelMetrics=["ALL"]),
        lambda up: up.set_shard_metrics(), ["shard metrics"],
    ),
    "no delimiter": (
        lambda up: up.set_firehose(ProcessingConfiguration={"Enabled": False}),
        lambda up: up.set_firehose(), ["delimiter"],
    ),
    "into the warehouse": (
        lambda up: up.set_firehose(Prefix="lake/warehouse/"), lambda up: up.set_firehose(), ["prefix"],
    ),
    "errors among raw objects": (
        lambda up: up.set_firehose(ErrorOutputPrefix="lake/raw/errors/"),
        lambda up: up.set_firehose(), ["error prefix"],
    ),
    "no error log": (
        lambda up: up.set_firehose(CloudWatchLoggingOptions={"Enabled": False}),
        lambda up: up.set_firehose(), ["error logging"],
    ),
    "mapping off": (lambda up: up.set_mapping(Enabled=False), lambda up: up.set_mapping(), ["mapping"]),
    "whole batches": (
        lambda up: up.set_mapping(FunctionResponseTypes=[]), lambda up: up.set_mapping(), ["partial batches"],
    ),
    "endless retries": (
        lambda up: up.set_mapping(MaximumRetryAttempts=-1), lambda up: up.set_mapping(), ["retries"],
    ),
    "no bisecting": (
        lambda up: up.set_mapping(BisectBatchOnFunctionError=False), lambda up: up.set_mapping(), ["bisect"],
    ),
    "records for ever": (
        lambda up: up.set_mapping(MaximumRecordAgeInSeconds=-1), lambda up: up.set_mapping(), ["record age"],
    ),
    "records as old as the stream": (
        lambda up: up.set_mapping(MaximumRecordAgeInSeconds=604_800), lambda up: up.set_mapping(), ["record age"],
    ),
    "another handler": (
        lambda up: up.set_function(handler="firehose_handler"), lambda up: up.set_function(), ["consumer handler"],
    ),
    "an old Python": (
        lambda up: up.set_function(runtime="python3.9"), lambda up: up.set_function(), ["consumer runtime"],
    ),
    "another lake": (
        lambda up: up.set_function(lake="s3://lakes/other"), lambda up: up.set_function(), ["consumer lake"],
    ),
    "a queue that forgets": (
        lambda up: up.set_queue_retention(345_600), lambda up: up.set_queue_retention(1_209_600),
        ["failure queue retention", "poison queue retention"],
    ),
    "a message": (
        lambda up: up.c("sqs").send_message(QueueUrl=up.queue_url, MessageBody="{}"),
        lambda up: up.c("sqs").purge_queue(QueueUrl=up.queue_url), ["failure queue", "poison queue"],
    ),
    "no queue": (
        lambda up: up.c("sqs").delete_queue(QueueUrl=up.queue_url), lambda up: up.create_queue(),
        ["failure queue", "poison queue"],
    ),
    "no versions": (lambda up: up.set_versioning("Suspended"), lambda up: up.set_versioning(), ["versioning"]),
    "public": (lambda up: up.set_public(False), lambda up: up.set_public(True), ["public access"]),
    "nothing blocked": (
        lambda up: up.c("s3").delete_public_access_block(Bucket="lakes"),
        lambda up: up.set_public(True), ["public access"],
    ),
    "plain bucket": (
        lambda up: up.c("s3").delete_bucket_encryption(Bucket="lakes"),
        lambda up: up.set_bucket_encryption(), ["bucket encryption"],
    ),
    "files that expire": (
        lambda up: up.set_lifecycle([*LIFECYCLE, {
            "ID": "all", "Status": "Enabled", "Filter": {"Prefix": "la"}, "Expiration": {"Days": 365},
        }]), lambda up: up.set_lifecycle(LIFECYCLE), ["lifecycle"],
    ),
    "an alarm that tells nobody": (
        lambda up: up.set_alarm("AWS/Lambda", "Errors", "function", ActionsEnabled=False),
        lambda up: up.set_alarm("AWS/Lambda", "Errors", "function"), ["alarm Errors"],
    ),
    "an alarm without action": (
        lambda up: up.set_alarm("AWS/SQS", "ApproximateNumberOfMessagesVisible", "queue", AlarmActions=[]),
        lambda up: up.set_alarm("AWS/SQS", "ApproximateNumberOfMessagesVisible", "queue"),
        ["alarm ApproximateNumberOfMessagesVisible"],
    ),
    "an alarm of another stream": (
        lambda up: up.set_alarm("AWS/Kinesis", "ReadProvisionedThroughputExceeded", "stream",
                                Dimensions=[{"Name": "StreamName", "Value": "others"}]),
        lambda up: up.set_alarm("AWS/Kinesis", "ReadProvisionedThroughputExceeded", "stream"),
        ["alarm ReadProvisionedThroughputExceeded"],
    ),
    "no alarm by a query": (
        lambda up: up.delete_alarm("table", "FailedToReplicateRecordCount"),
        lambda up: up.set_alarm("AWS/DynamoDB", "FailedToReplicateRecordCount", "table"),
        ["alarm FailedToReplicateRecordCount"],
    ),
    "silence is no alarm": (
        lambda up: up.set_alarm("dynalake", "Succeeded", "verify", Metrics=[{
            "Id": "m", "MetricStat": {"Metric": {"Namespace": "dynalake", "MetricName": "Succeeded", "Dimensions": [
                {"Name": name, "Value": value} for name, value in up.alarm_dimensions("verify").items()
            ]}, "Period": 60, "Stat": "Sum"}}]),
        lambda up: up.set_alarm("dynalake", "Succeeded", "verify"), ["alarm Succeeded"],
    ),
}  # fmt: skip


# What one break and another cannot both touch at once; every other is a thing of its own.
PARTS = {
    "no streaming": "all", "a day": "mapping", "no delimiter": "firehose", "errors among raw objects": "firehose",
    "no error log": "firehose", "into the warehouse": "firehose mapping function",  # the consumer alone brings all then
    "mapping off": "mapping function", "another lake": "mapping function", "whole batches": "mapping",
    "endless retries": "mapping", "no bisecting": "mapping", "records for ever": "mapping",
    "records as old as the stream": "mapping", "another handler": "function", "an old Python": "function",
    "a queue that forgets": "queue", "a message": "queue", "no queue": "queue",
    "public": "public", "nothing blocked": "public",
}  # fmt: skip


def rounds() -> list[list[str]]:
    """Breaks side by side, as a look at everything takes its time: exactly their checks must be wrong together."""
    assert set(PARTS) <= set(BREAKS)
    found: list[tuple[list[str], set[str]]] = []
    for name in BREAKS:
        parts = set(PARTS[name].split()) if name in PARTS else {name}
        for names, taken in found:
            if not parts & taken and "all" not in parts | taken:
                names.append(name)
                taken.update(parts)
                break
        else:
            found.append(([name], parts))
    return [names for names, _ in found]


@pytest.mark.parametrize("names", rounds(), ids=", ".join)
def test_what_is_broken_is_named(names: list[str], up: SetUp) -> None:
    with ExitStack() as stack:
        for name in names:
            breaking, mending, _ = BREAKS[name]
            stack.enter_context(broken(partial(breaking, up), partial(mending, up)))
        assert checks(findings(), "wrong") == sorted(check for name in names for check in BREAKS[name][2])


def test_every_check_is_documented(up: SetUp) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("dynalake/doctor/*.py"))
    named = set(re.findall(r'(?:judged|unknown|Finding)\(\s*"([^"]+)"', sources))
    seen = {check.removeprefix("alarm ") for check in checks(findings(), "ok")}
    assert len(named) > 30
    documented = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    assert sorted(name for name in named | seen if f"`{name}`" not in documented) == []


def test_a_firehose_younger_than_changes(up: SetUp) -> None:
    """It began at the end of the stream. Once verify has proven the table since, nothing is missing any more."""
    up.aws.clock.advance(seconds=3_600)
    with broken(lambda: up.create_firehose("younger"), lambda: up.c("firehose").delete_delivery_stream(
        DeliveryStreamName="younger"
    )):  # fmt: skip
        younger = [one for one in findings() if one["check"] == "firehose older than streaming"]
        assert [one["status"] for one in younger] == ["wrong", "ok"]
        assert younger[0]["found"].startswith("younger from ")
        assert "backfill orders --again" in younger[0]["do"]
        up.aws.clock.advance(seconds=60)
        assert dynalake(LAKE, "verify", "orders", "--wait", "0").code == 0
        alarms = ["alarm DeliveryToS3.DataFreshness", "alarm DeliveryToS3.Success"]  # nobody watches the younger one
        assert checks(findings(), "wrong") == alarms


def test_nobody_reads_the_stream(up: SetUp) -> None:
    def off() -> None:
        up.set_mapping(Enabled=False)
        up.c("firehose").delete_delivery_stream(DeliveryStreamName="orders")

    def on() -> None:
        up.set_mapping()
        up.create_firehose("orders")
        up.aws.clock.advance(seconds=60)
        assert dynalake(LAKE, "verify", "orders", "--wait", "0").code == 0

    with broken(off, on):
        assert checks(findings(), "wrong") == ["capture", "mapping"]
        done = dynalake(LAKE, "consume", "--stream", "orders", "--once", "--poll", "0.2s")
        assert done.code == 0, done
        found = findings()
        assert checks(found, "wrong") == ["mapping"]
        assert [one["found"] for one in found if one["check"] == "capture"] == ["consume"]


@pytest.mark.parametrize(("target", "expected"), [
    ("Firehose_20150804.ListDeliveryStreams", ["firehose"]),
    ("DynamoDB_20120810.DescribeTable", ["table"]),
    ("DynamoDB_20120810.DescribeKinesisStreamingDestination", ["streaming"]),
    ("Kinesis_20131202.DescribeStreamSummary", ["stream", "record age"]),
    ("AmazonSQS.GetQueueAttributes", ["failure queue", "poison queue"]),
])  # fmt: skip
def test_a_right_that_is_missing_makes_its_check_unknown(target: str, expected: list[str], up: SetUp) -> None:
    with Transport() as transport:
        transport.refuse(target, "AccessDeniedException", times=99)
        found = findings()
    assert checks(found, "wrong") == []
    assert checks(found, "unknown") == sorted([*expected, "rights"])
    [told, *_] = [one for one in found if one["check"] == expected[0]]
    operation = target.partition(".")[2]
    assert re.fullmatch(rf"no right to \w+:{operation}", told["found"]), told
    assert f":{operation}" in told["do"]


def test_throttles_and_silence_are_unknown(up: SetUp) -> None:
    """A service that does not answer is asked once: other requests to it would wait as long."""
    with Transport() as transport:
        transport.refuse("Firehose_20150804", "ThrottlingException", times=99)
        silent = transport.cut("AmazonSQS", times=99)
        found = findings()
    assert checks(found, "unknown") == ["failure queue", "firehose", "poison queue", "rights"]
    assert silent == [99 - 3]


def test_a_table_that_is_gone(tmp_path: Path, up: SetUp) -> None:
    """That is said, and nothing else of what was around it; a table that was never registered is a fault."""
    lake = str(tmp_path / "lake")
    for arguments in (("init",), ("add-table", "gone", "--hash-key", "pk:S")):
        assert dynalake(lake, *arguments).code == 0
    wrong = [one for one in findings("gone", lake=lake) if one["status"] == "wrong"]
    assert [(one["check"], one["table"], one["found"]) for one in wrong] == [("table", "gone", "no table gone")]
    assert dynalake(lake, "doctor", "others").fault.startswith("dynalake: find table 'others'")


def test_the_rights_of_a_role(up: SetUp) -> None:
    """moto simulates nothing, and says so in a form that boto3 cannot read."""
    [told] = [one for one in findings("--role", "arn:aws:iam::123456789012:role/job") if one["check"] == "rights"]
    assert (told["status"], told["found"]) == ("unknown", "iam:SimulatePrincipalPolicy is not answered here")
    assert dynalake(LAKE, "doctor", "--role", "job").code == 2


def test_a_lake_in_a_folder_without_anything(tmp_path: Path, up: SetUp) -> None:
    assert dynalake(tmp_path / "lake", "init").code == 0
    assert checks(findings(lake=str(tmp_path / "lake")), "wrong") == ["lake"]
    assert not (tmp_path / "lake/catalog.db").exists()
