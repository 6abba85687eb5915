"""An account on the stand-in as infra/ would make it: a table, its way into a lake on S3, and what AWS does meanwhile.

The stand-in has the table, its stream, Firehose, S3, Glue and SQS, and what else moto has. What neither does is done
here as AWS' guides describe it: the mapping, which invokes the handlers and puts what it gives up into a queue,
and roles, whose rights are looked up in IAM before the handlers, Firehose or the jobs are let to S3.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from moto.awslambda.models import LambdaBackend
from moto.iam.models import iam_backends

import proof.verify
import standin.pipeline
from ingest import handlers
from lake.lake import open_lake
from standin.server import AwsStandIn
from tests.commands import Outcome, run_dynalake
from tests.faults.invoking import denied, event_of, failure_of, number_of
from tests.lakes import rows
from tests.test_handlers import Json

ACCOUNT = "123456789012"
BUCKET, LAKE, STREAM, FIREHOSE = "my-lake", "s3://my-lake/lake", "shop-orders", "shop-orders-raw"
RAW = "lake/raw/firehose/orders/"
STREAM_ARN = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/{STREAM}"
CONSUMER, QUEUE = "shop-orders-consumer", "shop-orders-failures"
QUEUE_ARN, BUCKET_ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{QUEUE}", f"arn:aws:s3:::{BUCKET}"
LOGS = f"/aws/lambda/{CONSUMER}"
FIREHOSE_LOGS = f"/aws/kinesisfirehose/{FIREHOSE}"
ROLES = {"shop-orders-consumer": "lake", "shop-orders-firehose": "lake", "shop-compaction": "lake"}
_TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                                                  "Action": "sts:AssumeRole"}]}  # fmt: skip
_RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:PutObject"],
                                                   "Resource": f"arn:aws:s3:::{BUCKET}/lake/*"}]}  # fmt: skip
DAY_SECONDS = 86_400


class Account:
    """`paths` are the ways into the lake, `firehose` and `consumer`; `surface` is `kds` or `streams`."""

    def __init__(
        self, aws: AwsStandIn, patch: pytest.MonkeyPatch, paths: Sequence[str] = ("firehose",), surface: str = "kds",
        table_options: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.aws, self.patch, self.paths, self.surface = aws, patch, paths, surface
        self.table_options = table_options
        self.rng = random.Random(7)
        self.read = dict[str, str]()  # through which sequence number the mapping has read each shard
        self._clients = dict[str, Any]()
        self.retries_left = 1_000
        self.writes = 0
        self.at_terraform: list[Callable[[], None]] = []
        self.while_verify_waits: Callable[[], object] = lambda: None
        self._held: list[tuple[Any, Any]] = []
        self.build()

    def client(self, service: str) -> Any:
        """Made once: it takes longer than most requests."""
        if service not in self._clients:
            self._clients[service] = self.aws.client(service)
        return self._clients[service]

    # As it is made

    def build(self) -> None:
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.patch.setenv("DYNALAKE_LAKE", LAKE)
        self.patch.setenv("DYNALAKE_MASK_SECRET", "0123456789abcdef" * 2)
        self.patch.setattr(handlers, "_opened", {})
        self.done("init", "--database", "shop")
        self.create_table("orders")
        for role in ROLES:
            self.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(_TRUST))
        self.grant()
        self.client("sqs").create_queue(QueueName=QUEUE, Attributes={"MessageRetentionPeriod": "345600"})
        if self.surface == "kds":
            self.client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
        if "firehose" in self.paths:
            self.create_firehose()
        if "consumer" in self.paths:
            self.mapping = self.create_mapping(self.stream_arn)
        if self.surface == "kds":
            self.enable()
        self.done("add-table", "orders", "--from-dynamodb", "--buckets", "2", "--surface", self.surface,
                  *self.table_options)  # fmt: skip
        # moto would run functions of native streams by itself, in docker.
        self.patch.setattr(LambdaBackend, "send_dynamodb_items", lambda *arguments: False)
        self._watch_rights()
        self._hasten_verify()

    def create_table(self, name: str) -> None:
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        native = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
        self.client("dynamodb").create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in keys],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
            **(native if self.surface == "streams" else {}),
        )  # fmt: skip

    def create_firehose(self) -> None:
        role = f"arn:aws:iam::{ACCOUNT}:role/shop-orders-firehose"
        newline = {"ParameterName": "Delimiter", "ParameterValue": "\\n"}
        self.client("firehose").create_delivery_stream(
            DeliveryStreamName=FIREHOSE, DeliveryStreamType="KinesisStreamAsSource",
            KinesisStreamSourceConfiguration={"KinesisStreamARN": STREAM_ARN, "RoleARN": role},
            ExtendedS3DestinationConfiguration={
                "RoleARN": role, "BucketARN": BUCKET_ARN, "Prefix": RAW,
                "ErrorOutputPrefix": "firehose-errors/orders/", "CompressionFormat": "GZIP",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
                "ProcessingConfiguration": {
                    "Enabled": True, "Processors": [{"Type": "AppendDelimiterToRecord", "Parameters": [newline]}],
                },
            },
        )  # fmt: skip

    def create_mapping(self, arn: str, name: str = CONSUMER) -> str:
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as file:
            file.writestr("ingest/handlers.py", "")
        client = self.client("lambda")
        client.create_function(
            FunctionName=name, Runtime="python3.12", Handler="ingest.handlers.stream_handler",
            Role=f"arn:aws:iam::{ACCOUNT}:role/shop-orders-consumer", Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"DYNALAKE_LAKE": LAKE}},
        )  # fmt: skip
        self.client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}")
        self.client("logs").create_log_stream(logGroupName=f"/aws/lambda/{name}", logStreamName="1")
        return str(
            client.create_event_source_mapping(
                EventSourceArn=arn, FunctionName=name, StartingPosition="TRIM_HORIZON", BatchSize=1_000,
                MaximumBatchingWindowInSeconds=10, MaximumRecordAgeInSeconds=259_200, BisectBatchOnFunctionError=True,
                FunctionResponseTypes=["ReportBatchItemFailures"],
                DestinationConfig={"OnFailure": {"Destination": QUEUE_ARN if self.surface == "kds" else BUCKET_ARN}},
            )["UUID"]
        )  # fmt: skip

    @property
    def stream_arn(self) -> str:
        if self.surface == "kds":
            return STREAM_ARN
        return str(self.client("dynamodb").describe_table(TableName="orders")["Table"]["LatestStreamArn"])

    def enable(self, arn: str = STREAM_ARN, name: str = "orders") -> None:
        self.client("dynamodb").enable_kinesis_streaming_destination(
            TableName=name, StreamArn=arn,
            EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
        )  # fmt: skip

    def disable(self, arn: str = STREAM_ARN) -> None:
        self.client("dynamodb").disable_kinesis_streaming_destination(TableName="orders", StreamArn=arn)

    # Rights

    def grant(self) -> None:
        """What `terraform apply` puts right: the roles' policies."""
        for role, policy in ROLES.items():
            self.client("iam").put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(_RIGHTS))

    def revoke(self, role: str) -> None:
        self.client("iam").delete_role_policy(RoleName=role, PolicyName=ROLES[role])

    def may(self, role: str) -> bool:
        return bool(self.client("iam").list_role_policies(RoleName=role)["PolicyNames"])

    def terraform(self, words: Sequence[str]) -> Outcome:
        assert words[-1] == "apply"
        self.grant()
        for act in self.at_terraform:
            act()
        return Outcome(0, "Apply complete!\n", "")

    def dynalake(self, words: Sequence[str]) -> Outcome:
        """A command; before it, AWS has had time to do its part."""
        self.pass_time()
        if self.may("shop-compaction"):
            return run_dynalake(*words)
        with denied(("glue", "s3")):
            return run_dynalake(*words)

    def done(self, *words: str) -> str:
        outcome = run_dynalake(*words)
        assert outcome.code == 0, outcome
        return outcome.out

    def _watch_rights(self) -> None:
        """Firehose keeps what it may not write, and tries again, as long as the stream's retention lasts."""
        land = standin.pipeline._land

        def land_where_allowed(stream: Any, delivery: Any) -> None:
            if self._firehose_may():
                land(stream, delivery)
            else:
                self._held.append((stream, delivery))

        self._land = land
        self.patch.setattr(standin.pipeline, "_land", land_where_allowed)

    def _hasten_verify(self) -> None:
        """While verify waits, AWS goes on, and the clock is not waited for."""
        settings, seconds = proof.verify.Settings, [0.0]

        def sleep(pause: float) -> None:
            seconds[0] += pause
            self.pass_time()
            self.while_verify_waits()

        def hastened(*arguments: Any, **options: Any) -> Any:
            return settings(*arguments, **{"sleep": sleep, "seconds": lambda: seconds[0], **options})

        self.patch.setattr(proof.verify, "Settings", hastened)

    def _firehose_may(self) -> bool:
        """Asked within a request, when no other one can be sent."""
        return bool(iam_backends[ACCOUNT]["aws"].get_role("shop-orders-firehose").policies)

    # What goes on

    def write(self, count: int = 12, note: str = "") -> None:
        """Inserts, changes and deletes of a few items; each item is written now and then."""
        client = self.client("dynamodb")
        for _ in range(count):
            self._tick()
            n = self.rng.randrange(9)
            key = {"pk": {"S": f"c{n % 3}"}, "sk": {"S": f"o{n}"}}
            if self.rng.random() < 0.25:
                client.delete_item(TableName="orders", Key=key)
            else:
                total = {"N": f"{self.rng.randrange(10_000)}.95"}
                client.put_item(TableName="orders", Item={**key, "total": total, "note": {"S": note or "x"}})

    def _tick(self) -> None:
        self.writes += 1
        self.aws.clock.advance(seconds=1)

    def put(self, name: str, **attributes: Any) -> None:
        self._tick()
        self.client("dynamodb").put_item(TableName="orders", Item={"pk": {"S": name}, "sk": {"S": "1"}, **attributes})

    def delete(self, name: str) -> None:
        self._tick()
        self.client("dynamodb").delete_item(TableName="orders", Key={"pk": {"S": name}, "sk": {"S": "1"}})

    def begin(self) -> None:
        """A past: written, landed, compacted, refreshed and proven."""
        self.write(24)
        self.settle()
        assert not self.missing()

    def check_stuck(self) -> None:
        """What was written does not come to the log, though time passes and `compact` runs."""
        self.pass_time()
        self.done("compact", "orders", "--memory-mb", "1024")
        assert self.missing()

    def settle(self) -> None:
        self.pass_time()
        self.done("compact", "orders", "--memory-mb", "1024")
        self.done("refresh", "orders", "--memory-mb", "1024")

    def pass_time(self) -> None:
        """What was written arrives, Firehose delivers, the mapping invokes."""
        self.aws.deliver()
        if self._firehose_may():
            for held in self._held:
                self._land(*held)
            self._held.clear()
        if "consumer" in self.paths and self.is_mapping_on():
            self.invoke()

    def is_mapping_on(self) -> bool:
        return self.client("lambda").get_event_source_mapping(UUID=self.mapping)["State"] == "Enabled"

    def records(self, all_of_them: bool = False) -> Iterator[tuple[str, list[Json]]]:
        """Each shard with the records that the mapping has not handled, or all."""
        client = self.client("kinesis" if self.surface == "kds" else "dynamodbstreams")
        named = {"StreamName": STREAM} if self.surface == "kds" else {"StreamArn": self.stream_arn}
        if self.surface == "kds":
            shards = client.list_shards(**named)["Shards"]
        else:
            shards = client.describe_stream(**named)["StreamDescription"]["Shards"]
        for shard_id in (shard["ShardId"] for shard in shards):
            place = client.get_shard_iterator(**named, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
            found = client.get_records(ShardIterator=place["ShardIterator"])["Records"]
            done = -1 if all_of_them else int(self.read.get(shard_id, "-1"))
            if left := [one for one in found if int(number_of(one)) > done]:
                yield shard_id, left

    def invoke(self) -> None:
        """The mapping: a batch of each shard, again and again until its retries are used up; then it is given up."""
        for shard_id, records in self.records():
            if self._succeeds(event_of(self.stream_arn, shard_id, records)):
                self.read[shard_id] = number_of(records[-1])
                continue
            self.retries_left -= 1
            if self.retries_left <= 0:
                self.give_up(shard_id, records)
                self.read[shard_id] = number_of(records[-1])

    def _succeeds(self, batch: Json) -> bool:
        try:
            if self.may("shop-orders-consumer"):
                return not handlers.stream_handler(batch)["batchItemFailures"]
            with denied(("s3",)):
                handlers._opened.clear()
                return not handlers.stream_handler(batch)["batchItemFailures"]
        except Exception as fault:
            self.log(LOGS, f"[ERROR] {type(fault).__name__}: {fault}")
            return False

    def give_up(self, shard_id: str, records: Sequence[Json]) -> None:
        """To the queue, where from and to what; to a bucket, the whole event as well."""
        told = failure_of(self.stream_arn, shard_id, records)
        if self.surface == "kds":
            self.client("sqs").send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(told))
            return
        told["payload"] = json.dumps(event_of(self.stream_arn, shard_id, records))
        key = f"aws/lambda/{self.mapping}/{shard_id}/2026/01/01/2026-01-01T00.00.00-0"
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(told))

    @property
    def queue_url(self) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=QUEUE)["QueueUrl"])

    def log(self, group: str, message: str) -> None:
        now_ms = self.aws.clock.now_us() // 1_000
        self.client("logs").put_log_events(
            logGroupName=group, logStreamName="1", logEvents=[{"timestamp": now_ms, "message": message}]
        )

    def metric(self, namespace: str, name: str, value: float, **dimensions: str) -> None:
        """As the service would count it; nobody does on the stand-in."""
        told = {"MetricName": name, "Value": value, "Timestamp": datetime.now(UTC),
                "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()]}  # fmt: skip
        self.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=[told])

    def alarm(self, name: str, metric: str) -> None:
        """One of modules/alarms, which fires. The metric has a dimension whose value nobody tells: hence the query."""
        schema = 'SCHEMA("AWS/DynamoDB", DelegatedOperation, TableName)'
        query = f"SELECT MAX({metric}) FROM {schema} WHERE TableName = 'orders'"
        name = f"shop-orders-{name}"
        cloudwatch = self.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=name, ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, Threshold=0,
            Metrics=[{"Id": "q", "Expression": query, "Period": 60, "ReturnData": True}],
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="above the threshold")

    def lose_the_stream(self) -> None:
        """Its retention passes: what is in its shards is gone."""
        self.aws.clock.advance(seconds=DAY_SECONDS)
        for shard in standin.pipeline.moto_stream(STREAM_ARN).shards.values():
            shard.records.clear()

    def keys(self, prefix: str) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix, MaxKeys=1_000).get("Contents", ())
        return [one["Key"] for one in found]

    # What must come of it

    def check_proven(self) -> None:
        outcome = run_dynalake("verify", "orders", "--wait", "0", "--memory-mb", "1024")
        assert outcome.code == 0, outcome

    def missing(self, table: str = "orders") -> Counter[str]:
        """Changes of the table that the log does not have; one that is there twice fails."""
        ids = Counter(row[0] for row in rows(open_lake(LAKE), f"SELECT event_id FROM {table}_changes"))
        assert set(ids.values()) <= {1}
        if self.surface == "kds":
            return Counter(change.event_id for change in self.aws.history(table).changes) - ids
        return Counter(one["eventID"] for _, records in self.records(all_of_them=True) for one in records) - ids
