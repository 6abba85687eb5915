"""A table on the stand-in with everything around it as the pipeline needs it, by name; and what doctor says of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dynalake.doctor.alarms import DIMENSIONS, METRICS
from standin.server import AwsStandIn
from tests.commands import dynalake

LAKE = "s3://lakes/lake"
ARN = "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
QUEUE = "http://sqs/123456789012/failures"
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:failures"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"
_ROLE = "arn:aws:iam::123456789012:role/all"
NAMES = {"stream": "orders", "table": "orders", "firehose": "orders", "function": "consumer", "consumer": "consumer",
         "queue": "failures", "capture": "orders"}  # fmt: skip
DESTINATION: dict[str, Any] = {
    "RoleARN": _ROLE, "BucketARN": "arn:aws:s3:::lakes", "Prefix": "lake/raw/firehose/orders/",
    "ErrorOutputPrefix": "firehose-errors/orders/", "CompressionFormat": "GZIP",
    "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
    "CloudWatchLoggingOptions": {"Enabled": True, "LogGroupName": "firehose", "LogStreamName": "orders"},
    "ProcessingConfiguration": {"Enabled": True, "Processors": [{
        "Type": "AppendDelimiterToRecord", "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}],
    }]},
}  # fmt: skip
MAPPING: dict[str, Any] = {
    "FunctionName": "consumer", "FunctionResponseTypes": ["ReportBatchItemFailures"], "MaximumRetryAttempts": 100,
    "BisectBatchOnFunctionError": True, "MaximumRecordAgeInSeconds": 259_200,
    "DestinationConfig": {"OnFailure": {"Destination": QUEUE_ARN}},
}  # fmt: skip
LIFECYCLE = [
    {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
     "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
    {"ID": "raw", "Status": "Enabled", "Filter": {"Prefix": "lake/raw/"},
     "Transitions": [{"Days": 90, "StorageClass": "GLACIER_IR"}]},
    {"ID": "results", "Status": "Enabled", "Filter": {"Prefix": "athena-results/"}, "Expiration": {"Days": 7}},
]  # fmt: skip


class SetUp:
    """All of it. Each `set_…` is one setting, as right unless told otherwise."""

    def __init__(self, aws: AwsStandIn) -> None:
        self.aws, self.c = aws, aws.client
        self.set_up_bucket()
        self.c("dynamodb").create_table(
            TableName="orders", BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        )  # fmt: skip
        kinesis = self.c("kinesis")
        kinesis.create_stream(StreamName="orders", ShardCount=2)
        self.set_retention(168)
        self.set_encryption()
        self.set_shard_metrics()
        self.create_firehose("orders")
        self.set_streaming()
        self.create_queue()
        self.create_function()
        self.uuid = self.c("lambda").create_event_source_mapping(
            EventSourceArn=ARN, StartingPosition="TRIM_HORIZON", **MAPPING
        )["UUID"]
        for metric in METRICS:
            self.set_alarm(metric.namespace, metric.name, metric.of)

    def set_up_bucket(self) -> None:
        self.c("s3").create_bucket(Bucket="lakes")
        self.set_versioning()
        self.set_public(True)
        self.set_bucket_encryption()
        self.set_lifecycle(LIFECYCLE)

    def set_versioning(self, status: str = "Enabled") -> None:
        self.c("s3").put_bucket_versioning(Bucket="lakes", VersioningConfiguration={"Status": status})

    def set_public(self, is_blocked: bool) -> None:
        blocks = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy"), True)
        self.c("s3").put_public_access_block(
            Bucket="lakes", PublicAccessBlockConfiguration=blocks | {"RestrictPublicBuckets": is_blocked}
        )

    def set_bucket_encryption(self) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        self.c("s3").put_bucket_encryption(Bucket="lakes", ServerSideEncryptionConfiguration={"Rules": [rule]})

    def set_lifecycle(self, rules: list[dict[str, Any]]) -> None:
        self.c("s3").put_bucket_lifecycle_configuration(Bucket="lakes", LifecycleConfiguration={"Rules": rules})

    def set_retention(self, hours: int) -> None:
        kinesis = self.c("kinesis")
        present = kinesis.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]
        grows = hours > present["RetentionPeriodHours"]
        change = kinesis.increase_stream_retention_period if grows else kinesis.decrease_stream_retention_period
        change(StreamName="orders", RetentionPeriodHours=hours)

    def set_encryption(self) -> None:
        self.c("kinesis").start_stream_encryption(StreamName="orders", EncryptionType="KMS", KeyId="alias/lake")

    def set_shard_metrics(self) -> None:
        self.c("kinesis").enable_enhanced_monitoring(StreamName="orders", ShardLevelMetrics=["IteratorAgeMilliseconds"])

    def create_firehose(self, name: str) -> None:
        self.c("firehose").create_delivery_stream(
            DeliveryStreamName=name, DeliveryStreamType="KinesisStreamAsSource",
            KinesisStreamSourceConfiguration={"KinesisStreamARN": ARN, "RoleARN": _ROLE},
            ExtendedS3DestinationConfiguration=DESTINATION,
        )  # fmt: skip

    def set_firehose(self, **changes: Any) -> None:
        client = self.c("firehose")
        described = client.describe_delivery_stream(DeliveryStreamName="orders")["DeliveryStreamDescription"]
        client.update_destination(
            DeliveryStreamName="orders", CurrentDeliveryStreamVersionId=described["VersionId"],
            DestinationId=described["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=DESTINATION | changes,
        )  # fmt: skip

    def set_streaming(self, is_on: bool = True) -> None:
        client = self.c("dynamodb")
        if not is_on:
            client.disable_kinesis_streaming_destination(TableName="orders", StreamArn=ARN)
            return
        client.enable_kinesis_streaming_destination(
            TableName="orders", StreamArn=ARN,
            EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
        )  # fmt: skip

    def set_precision(self, precision: str = "MICROSECOND") -> None:
        self.c("dynamodb").update_kinesis_streaming_destination(
            TableName="orders", StreamArn=ARN,
            UpdateKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": precision},
        )  # fmt: skip

    def create_queue(self) -> None:
        self.c("sqs").create_queue(QueueName="failures", Attributes={"MessageRetentionPeriod": "1209600"})

    @property
    def queue_url(self) -> str:
        return f"{self.aws.endpoint_url}/123456789012/failures"

    def set_queue_retention(self, seconds: int) -> None:
        attributes = {"MessageRetentionPeriod": str(seconds)}
        self.c("sqs").set_queue_attributes(QueueUrl=self.queue_url, Attributes=attributes)

    def create_function(self) -> None:
        self.c("iam").create_role(RoleName="all", AssumeRolePolicyDocument="{}")
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as file:
            file.writestr("empty.py", "")
        self.c("lambda").create_function(
            FunctionName="consumer", Runtime="python3.13", Role=_ROLE, Handler="ingest.handlers.stream_handler",
            Code={"ZipFile": package.getvalue()}, Environment={"Variables": {"DYNALAKE_LAKE": LAKE}},
        )  # fmt: skip

    def set_function(self, handler: str = "stream_handler", runtime: str = "python3.13", lake: str = LAKE) -> None:
        self.c("lambda").update_function_configuration(
            FunctionName="consumer", Handler=f"ingest.handlers.{handler}", Runtime=runtime,
            Environment={"Variables": {"DYNALAKE_LAKE": lake}},
        )  # fmt: skip

    def set_mapping(self, **changes: Any) -> None:
        self.c("lambda").update_event_source_mapping(UUID=self.uuid, **MAPPING | {"Enabled": True} | changes)

    def alarm_dimensions(self, of: str) -> dict[str, str]:
        if of in DIMENSIONS:
            return {DIMENSIONS[of]: self.uuid if of == "mapping" else NAMES[of]}
        return {"Lake": LAKE, "Job": of, "Table": "orders"}

    def set_alarm(self, namespace: str, name: str, of: str, **changes: Any) -> None:
        """Those of DynamoDB by a query, that of a job that has not run by arithmetic, others by the metric."""
        if of == "transforming firehose":
            return
        named = self.alarm_dimensions(of)
        dimensions = [{"Name": key, "Value": value} for key, value in named.items()]
        metric = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
        told: dict[str, Any] = {**metric, "Period": 60, "Statistic": "Maximum"}
        if of == "table":
            query = f"SELECT MAX({name}) FROM SCHEMA(\"AWS/DynamoDB\", TableName) WHERE TableName = 'orders'"
            told = {"Metrics": [{"Id": "q", "Expression": query, "Period": 60, "ReturnData": True}]}
        elif name == "Succeeded":
            stated = {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False}
            told = {"Metrics": [stated, {"Id": "e", "Expression": "FILL(m, 0)", "ReturnData": True}]}
        self.c("cloudwatch").put_metric_alarm(**{
            "AlarmName": f"{of} {name}", "ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1,
            "Threshold": 0, "AlarmActions": [TOPIC], "ActionsEnabled": True, **told, **changes,
        })  # fmt: skip

    def delete_alarm(self, of: str, name: str) -> None:
        self.c("cloudwatch").delete_alarms(AlarmNames=[f"{of} {name}"])


def findings(*arguments: str, lake: str = LAKE) -> list[dict[str, str]]:
    """What doctor prints as JSON; its exit code is as its worst finding."""
    done = dynalake(lake, "doctor", "--json", *arguments)
    found: list[dict[str, str]] = json.loads(done.out)
    wrong = sum(one["status"] == "wrong" for one in found)
    assert done.code == int(wrong > 0), done
    assert done.errors.count("\n") == done.code, done.errors
    assert [one["status"] for one in found] == sorted(
        (one["status"] for one in found), key=["wrong", "unknown", "ok"].index
    )
    assert all(bool(one["do"]) == (one["status"] != "ok") and one["found"] for one in found)
    return found


def checks(found: list[dict[str, str]], status: str) -> list[str]:
    return sorted(one["check"] for one in found if one["status"] == status)


@contextmanager
def broken(breaking: Callable[[], object], mending: Callable[[], object]) -> Iterator[None]:
    breaking()
    try:
        yield
    finally:
        mending()
