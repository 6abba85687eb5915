"""Doctor's checks, each judging descriptions as AWS gives them: what the stand-in cannot be set to."""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynalake.commands import doctor
from dynalake.doctor import alarms, buckets, consumers, firehoses, lakes, permissions, queues, streams, tables
from dynalake.doctor.account import Account, Oldest, is_switching
from dynalake.doctor.finding import Finding, Unread
from dynalake.doctor.firehoses import Began
from dynalake.doctor.reading import Seen, alarms_of, denied_to
from lake.config import LakeConfig, TableConfig
from lake.dynamodb import DescribedTable
from lake.lake import Lake
from lake.masks import parse_masks
from lake.proofs import Proof
from tests.doctoring import ARN, DESTINATION
from tests.lakes import SCHEMA, schema_of
from tests.test_tidy import ROOT

LAKE = Lake("s3://lakes/lake", LakeConfig(catalog={"type": "glue", "database": "lake"}))
TABLE = TableConfig("orders", "orders", SCHEMA)
MASKED = replace(TABLE, masks=parse_masks({"email": "hash"}, SCHEMA, "here"))
DESCRIBED = DescribedTable(
    "orders", "one", SCHEMA, 0, "NEW_AND_OLD_IMAGES", "arn:aws:dynamodb:eu-west-1:1:table/orders/s"
)
FUNCTION_ARN = "arn:aws:lambda:us-east-1:123456789012:function:transform"
TRANSFORM = {
    "Handler": "ingest.handlers.firehose_handler", "Runtime": "python3.12", "State": "Active",
    "Environment": {"Variables": {"DYNALAKE_LAKE": "s3://lakes/lake"}},
}  # fmt: skip
CONSUMER = {**TRANSFORM, "Handler": "ingest.handlers.stream_handler"}
LAMBDA = {"Type": "Lambda", "Parameters": [{"ParameterName": "LambdaArn", "ParameterValue": FUNCTION_ARN}]}
NO_RIGHT = Unread("no right", "Ask")
UNTOLD = Oldest(None, False)
DAY_US = 86_400_000_000
NOW_US = 1_790_000_000_000_000


def firehose(**changes: Any) -> dict[str, Any]:
    return {
        "DeliveryStreamName": "orders", "DeliveryStreamStatus": "ACTIVE", "CreateTimestamp": at(NOW_US - DAY_US),
        "Destinations": [{"ExtendedS3DestinationDescription": DESTINATION | changes}],
    }  # fmt: skip


def with_lambda(**changes: Any) -> dict[str, Any]:
    return firehose(ProcessingConfiguration={"Enabled": True, "Processors": [LAMBDA]}, **changes)


def at(us: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(us / 1e6, datetime.UTC)


def told(found: Iterable[Finding], status: str = "wrong") -> list[str]:
    return [one.check for one in found if one.status == status]


def test_a_table_is_the_one_that_was_registered_and_proven() -> None:
    assert told(tables.check_table(TABLE, DESCRIBED, "one", None)) == []
    assert told(tables.check_table(TABLE, replace(DESCRIBED, keys=schema_of("S", None)), "", None)) == ["key"]
    assert told(tables.check_table(TABLE, DESCRIBED, "another", None)) == ["same table"]
    assert told(tables.check_table(TABLE, None, "one", None)) == ["table"]
    keeping = replace(TABLE, ttl="keep")
    assert told(tables.check_table(keeping, DESCRIBED, "", None)) == ["time to live"]
    assert told(tables.check_table(keeping, DESCRIBED, "", "expires_at")) == []
    assert told(tables.check_table(keeping, DESCRIBED, "", NO_RIGHT), "unknown") == ["time to live"]


@pytest.mark.parametrize(("view", "status"), [("NEW_AND_OLD_IMAGES", "ok"), ("NEW_IMAGE", "wrong"), (None, "wrong")])
def test_a_native_stream_has_both_images(view: str | None, status: str) -> None:
    assert tables.check_native_stream(TABLE, replace(DESCRIBED, stream_view=view)).status == status


@pytest.mark.parametrize(("statuses", "status"), [
    (["ACTIVE"], "ok"), (["ACTIVE", "DISABLED"], "ok"), ([], "wrong"), (["DISABLED"], "wrong"),
    (["ENABLE_FAILED"], "wrong"), (["ENABLING"], "unknown"), (["UPDATING"], "unknown"), (["ACTIVE", "ACTIVE"], "wrong"),
])  # fmt: skip
def test_one_stream_is_active(statuses: list[str], status: str) -> None:
    destinations = [{"StreamArn": f"{ARN}{n}", "DestinationStatus": one} for n, one in enumerate(statuses)]
    found = list(tables.check_streaming(TABLE, {"KinesisDataStreamDestinations": destinations}))
    assert found[0].status == status
    # Milliseconds are what a destination has that was never told otherwise.
    assert told(found[1:]) == ["precision"] * statuses.count("ACTIVE")


def test_a_stream_that_is_gone_or_being_made() -> None:
    assert told(streams.check_stream("orders", ARN, None)) == ["stream"]
    summary = {"StreamStatus": "DELETING", "RetentionPeriodHours": 72, "EncryptionType": "KMS",
               "EnhancedMonitoring": [{"ShardLevelMetrics": ["ALL"]}]}  # fmt: skip
    assert told(streams.check_stream("orders", ARN, {"StreamDescriptionSummary": summary})) == ["stream"]


@pytest.mark.parametrize(("described", "wrong"), [
    (firehose(), []),
    (firehose(CompressionFormat="Snappy"), ["compression"]),
    (firehose(CompressionFormat="UNCOMPRESSED"), []),
    (firehose(DataFormatConversionConfiguration={"Enabled": True}), ["format conversion"]),
    (firehose(Prefix="lake/raw/!{timestamp:yyyy}/"), []),
    (firehose(Prefix="lake/raw-2/"), ["prefix"]),
    (firehose(ErrorOutputPrefix=""), ["error prefix"]),
    (firehose(ErrorOutputPrefix="lake/raw/!{firehose:error-output-type}/"), ["error prefix"]),
    (firehose(ErrorOutputPrefix="firehose-errors/!{firehose:error-output-type}/"), []),
    (with_lambda(), []),
    (firehose() | {"DeliveryStreamStatus": "CREATING_FAILED"}, ["firehose"]),
    (firehose(ErrorOutputPrefix="lake/dead_letters/"), ["error prefix"]),
    (firehose(ErrorOutputPrefix="lake/warehouse/errors/"), ["error prefix"]),
])  # fmt: skip
def test_a_firehose(described: dict[str, Any], wrong: list[str]) -> None:
    assert told(firehoses.check_firehose(LAKE, TABLE, described, TRANSFORM)) == wrong


def test_a_place_outside_of_the_lake_is_somebodys_choice() -> None:
    found = firehoses.check_firehose(LAKE, TABLE, firehose(Prefix="elsewhere/"), None)
    [only] = [one for one in found if one.status != "ok"]
    assert (only.check, only.status, only.do[-18:]) == ("prefix", "unknown", "s3://lakes/elsewhere/"[-18:])


@pytest.mark.parametrize(("described", "function", "wrong"), [
    (firehose(), TRANSFORM, ["transformation"]),
    (with_lambda(), TRANSFORM, []),
    (with_lambda(), None, ["delimiter", "transformation function"]),
    (with_lambda(S3BackupMode="Enabled"), TRANSFORM, ["source backup"]),
    (with_lambda(), CONSUMER, ["delimiter", "transformation handler"]),
    (with_lambda(), TRANSFORM | {"Environment": {"Variables": {"DYNALAKE_LAKE": "s3://b/c"}}}, ["transformation lake"]),
    (with_lambda(), TRANSFORM | {"LastUpdateStatus": "Failed"}, ["transformation function"]),
])  # fmt: skip
def test_masks_need_the_transformation(described: dict[str, Any], function: Any, wrong: list[str]) -> None:
    assert told(firehoses.check_firehose(LAKE, MASKED, described, function)) == wrong


def test_firehoses_of_others_are_left_alone() -> None:
    """Where none delivers into the lake, one to a bucket may be read from there; one to elsewhere is none of ours."""
    ours, elsewhere = firehose(), firehose(Prefix="elsewhere/")
    splunk = firehose() | {"Destinations": [{"SplunkDestinationDescription": {}}]}
    assert firehoses.of_lake(LAKE, [splunk, elsewhere, ours]) == [ours]
    assert firehoses.of_lake(LAKE, [splunk, elsewhere]) == [elsewhere]
    assert firehoses.of_lake(LAKE, [splunk]) == []
    into_tables = firehose(Prefix="lake/warehouse/")  # which is wrong, and ours to say
    assert firehoses.of_lake(LAKE, [into_tables, elsewhere]) == [into_tables]


@pytest.mark.parametrize(("disabled_us", "enabled_us", "proven_us", "wrong"), [
    (None, NOW_US, None, []),
    (NOW_US - 1, None, None, []),
    (NOW_US - 1, NO_RIGHT, None, []),
    (NOW_US - 1, NOW_US, None, ["streaming gap"]),
    (NOW_US - 1, NOW_US, NOW_US, ["streaming gap"]),
    (NOW_US - 1, NOW_US, NOW_US + 1, []),
])  # fmt: skip
def test_streaming_that_was_off_and_on_again_left_changes_out(
    disabled_us: int | None, enabled_us: Any, proven_us: int | None, wrong: list[str]
) -> None:
    began = Began(enabled_us, UNTOLD, 0, DAY_US, proven_us, disabled_us)
    assert told(firehoses.check_gap(TABLE, began)) == wrong


START_US = NOW_US - DAY_US  # of the Firehose


@pytest.mark.parametrize(("began", "status"), [
    (Began(START_US, UNTOLD, 0, DAY_US, None), "ok"),
    (Began(START_US - 1, UNTOLD, 0, DAY_US, None), "wrong"),
    (Began(START_US - 1, UNTOLD, 0, DAY_US, START_US), "wrong"),
    (Began(START_US - 1, UNTOLD, 0, DAY_US, START_US + 1), "ok"),
    (Began(None, Oldest(START_US - 1, False), 0, DAY_US, None), "wrong"),
    (Began(None, Oldest(START_US, True), 0, DAY_US, None), "unknown"),  # what is older has left the stream, perhaps
    (Began(None, Oldest(START_US, True), START_US, 7 * DAY_US, None), "ok"),
    (Began(None, Oldest(None, True), START_US, 7 * DAY_US, None), "ok"),
    (Began(None, Oldest(None, False), START_US, 7 * DAY_US, None), "unknown"),
    (Began(NO_RIGHT, NO_RIGHT, START_US, 7 * DAY_US, None), "unknown"),
    (Began(None, UNTOLD, 0, DAY_US, START_US + 1), "ok"),
])  # fmt: skip
def test_a_firehose_is_older_than_streaming(began: Began, status: str) -> None:
    assert firehoses.check_age(TABLE, firehose(), began, NOW_US).status == status


def test_a_firehose_begins_when_it_says() -> None:
    source = {"KinesisStreamSourceDescription": {"DeliveryStartTimestamp": at(NOW_US)}}
    began = Began(NOW_US - 1, UNTOLD, 0, DAY_US, None)
    assert firehoses.check_age(TABLE, firehose() | {"Source": source}, began, NOW_US).status == "wrong"


def test_what_cloudtrail_tells() -> None:
    asked = {"tableName": "arn:aws:dynamodb:us-east-1:123456789012:table/orders", "streamArn": ARN}

    def event(**changes: Any) -> dict[str, Any]:
        return {"CloudTrailEvent": json.dumps({"requestParameters": asked, **changes})}

    assert is_switching(event(), "orders", ARN)
    assert not is_switching(event(errorCode="ValidationException"), "orders", ARN)
    assert not is_switching(event(requestParameters=None), "orders", ARN)
    assert not is_switching(event(), "others", ARN)
    assert not is_switching({"CloudTrailEvent": "{"}, "orders", ARN)


def mapping(name: str = "consumer", **changes: Any) -> dict[str, Any]:
    return {
        "UUID": name, "FunctionArn": name, "State": "Enabled", "StartingPosition": "TRIM_HORIZON",
        "FunctionResponseTypes": ["ReportBatchItemFailures"], "MaximumRetryAttempts": 5,
        "BisectBatchOnFunctionError": True, "MaximumRecordAgeInSeconds": 3_600,
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}}, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(("changes", "wrong"), [
    ({}, []),
    ({"StartingPosition": "LATEST"}, ["starting position"]),
    ({"FilterCriteria": {"Filters": []}}, []),
    ({"FilterCriteria": {"Filters": [{"Pattern": "{}"}]}}, []),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"data": {"tableName": ["others", "orders"]}}'}]}}, []),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"data": {"tableName": ["others"]}}'}]}}, ["filter"]),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}}, ["filter"]),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"data": {"eventName": ["INSERT"]}}'}]}}, ["filter"]),
    ({"LastProcessingResult": "PROBLEM: Function call failed"}, ["mapping"]),
    ({"LastProcessingResult": "No records processed"}, []),
    ({"DestinationConfig": {"OnFailure": {}}}, ["on-failure destination"]),
    ({"MaximumRecordAgeInSeconds": 18 * 3_600}, []),
    ({"MaximumRecordAgeInSeconds": 18 * 3_600 + 1}, ["record age"]),
    ({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:1:q"}}}, ["record age"]),
])  # fmt: skip
def test_a_mapping_of_a_native_stream(changes: dict[str, Any], wrong: list[str]) -> None:
    functions = {"consumer": CONSUMER}
    assert told(consumers.check_mappings(TABLE, [mapping(**changes)], functions, 24 * 3_600, LAKE.uri)) == wrong


def test_from_when_a_mapping_reads_is_not_known_to_be_early_enough() -> None:
    found = consumers.check_mappings(
        TABLE, [mapping(StartingPosition="AT_TIMESTAMP")], {"consumer": CONSUMER}, 24 * 3_600, LAKE.uri
    )  # fmt: skip
    assert told(found, "unknown") == ["starting position"]


def test_functions_of_others_are_left_alone() -> None:
    """So are those of another lake, where one lands in this; who reads the stream is told rightly all the same."""
    theirs = {"Handler": "their.handler", "Runtime": "nodejs22.x"}
    elsewhere = CONSUMER | {"Environment": {"Variables": {"DYNALAKE_LAKE": "s3://b/c"}}}
    bad = {"StartingPosition": "LATEST", "MaximumRetryAttempts": -1}
    functions = {"theirs": theirs, "elsewhere": elsewhere, "consumer": CONSUMER}

    def of(*names: str) -> tuple[list[str], str]:
        found = [mapping(name, **(bad if name != "consumer" else {})) for name in names]
        capture = consumers.check_capture(TABLE, [], found, functions, None, LAKE.uri, NOW_US)
        return told(consumers.check_mappings(TABLE, found, functions, 24 * 3_600, LAKE.uri)), capture.status

    assert of("theirs", "elsewhere", "consumer") == ([], "ok")
    assert of("theirs") == ([], "wrong")
    functions["theirs"] = NO_RIGHT  # then it may be ours, or not
    assert of("theirs") == ([], "unknown")
    assert of("elsewhere") == (["starting position", "retries", "consumer lake"], "wrong")


@pytest.mark.parametrize(("found", "mappings", "beat_us", "status"), [
    ([], [], None, "wrong"),
    ([firehose()], [], None, "ok"),
    ([firehose(Prefix="elsewhere/")], [], None, "unknown"),
    ([firehose(Prefix="elsewhere/")], [mapping()], None, "ok"),
    ([firehose() | {"DeliveryStreamStatus": "CREATING_FAILED"}], [], None, "wrong"),
    ([], [mapping()], None, "ok"),
    ([], [mapping(State="Disabled")], None, "wrong"),
    ([], [], NOW_US - 60_000_000, "ok"),
    ([], [], NOW_US - DAY_US, "wrong"),
    ([], NO_RIGHT, None, "unknown"),
    (NO_RIGHT, [mapping()], NO_RIGHT, "ok"),
])  # fmt: skip
def test_somebody_reads_the_stream(found: Any, mappings: Any, beat_us: Any, status: str) -> None:
    functions = {"consumer": CONSUMER}
    assert consumers.check_capture(TABLE, found, mappings, functions, beat_us, LAKE.uri, NOW_US).status == status


def test_objects_of_failures_may_be_done_with() -> None:
    place = "s3://failures/aws/lambda/"
    assert queues.check_failed_objects("orders", place, {"KeyCount": 0}).status == "ok"
    some = queues.check_failed_objects("orders", place, {"Contents": [{}]})
    assert (some.status, some.do.partition(":")[0]) == ("unknown", "dynalake redrive --from s3")
    assert queues.check_failed_objects("orders", place, None).status == "wrong"


def rule(prefix: str, **actions: Any) -> dict[str, Any]:
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}


ARCHIVED = [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]


@pytest.mark.parametrize(("told_rule", "status"), [
    (rule("", Expiration={"Days": 1}), "wrong"),
    (rule("lake/", Expiration={"Days": 1}), "wrong"),
    (rule("lake/warehouse/", Transitions=[{"Days": 90, "StorageClass": "STANDARD_IA"}]), "wrong"),
    (rule("lake/r", Expiration={"Days": 400}), "wrong"),  # redrives/, too
    (rule("lake/proofs/", Expiration={"Date": at(NOW_US)}), "wrong"),
    (rule("lake/", Expiration={"Days": 1}) | {"Status": "Disabled"}, "ok"),
    (rule("lake/", Expiration={"ExpiredObjectDeleteMarker": True}), "ok"),
    (rule("lake/", NoncurrentVersionExpiration={"NoncurrentDays": 1}), "ok"),
    (rule("lake/", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}), "ok"),
    (rule("lake-2/", Expiration={"Days": 1}), "ok"),
    (rule("lake/raw/", Expiration={"Days": 29}), "wrong"),
    (rule("lake/raw/", Expiration={"Days": 30}), "ok"),
    (rule("lake/raw/", Transitions=[{"Days": 1, "StorageClass": "STANDARD_IA"}]), "ok"),
    (rule("lake/raw/", Transitions=ARCHIVED), "wrong"),
    ({"Status": "Enabled", "Prefix": "lake/", "Expiration": {"Days": 1}}, "wrong"),
    ({"Status": "Enabled", "Filter": {"And": {"Prefix": "lake/", "Tags": []}}, "Expiration": {"Days": 1}}, "wrong"),
    ({"Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}}, "wrong"),
])  # fmt: skip
def test_no_rule_takes_live_files(told_rule: dict[str, Any], status: str) -> None:
    assert buckets.check_lifecycle("lakes", "lake", {"Rules": [told_rule]}).status == status


@pytest.mark.parametrize(("location", "region", "status"), [
    ({"LocationConstraint": None}, "us-east-1", "ok"), ({"LocationConstraint": "EU"}, "eu-west-1", "ok"),
    ({"LocationConstraint": "eu-central-1"}, "us-east-1", "wrong"), (None, "us-east-1", "wrong"),
    (NO_RIGHT, "us-east-1", "unknown"),
])  # fmt: skip
def test_the_bucket_is_in_our_region(location: Any, region: str, status: str) -> None:
    assert next(iter(buckets.check_bucket("lakes", region, location, None, None, None))).status == status


def alarm(**changes: Any) -> dict[str, Any]:
    named = [{"Name": "StreamName", "Value": "orders"}]
    return {"AlarmName": "a", "ActionsEnabled": True, "AlarmActions": ["sns"], "Namespace": "AWS/Kinesis",
            "MetricName": "ReadProvisionedThroughputExceeded", "Dimensions": named, **changes}  # fmt: skip


def query(text: str) -> dict[str, Any]:
    return alarm(Namespace=None, MetricName=None, Dimensions=[], Metrics=[{"Id": "q", "Expression": text}])


SELECT = 'SELECT MAX(ReadProvisionedThroughputExceeded) FROM SCHEMA("AWS/Kinesis", StreamName)'


@pytest.mark.parametrize(("present", "status"), [
    (alarm(), "ok"),
    (alarm(ActionsEnabled=False), "wrong"),
    (alarm(AlarmActions=[]), "wrong"),
    (alarm(StateValue="OK"), "ok"),
    (alarm(StateValue="ALARM"), "wrong"),
    (alarm(MetricName="WriteProvisionedThroughputExceeded"), "wrong"),
    (query(SELECT), "ok"),
    (query(f"{SELECT} WHERE StreamName = 'orders'"), "ok"),
    (query(f"{SELECT} WHERE StreamName = 'orders-2'"), "wrong"),
    (query(SELECT.replace("ReadP", "WriteP")), "wrong"),
])  # fmt: skip
def test_an_alarm_watches_and_tells(present: dict[str, Any], status: str) -> None:
    watched = {"stream": alarms.dimensions("stream", "orders")}
    checked = alarms.check_alarms("orders", watched, alarms.by_metric([present]), [])
    found = [one for one in checked if "alarm Read" in one.check]
    assert [one.status for one in found] == [status]


def test_an_alarm_without_action_is_not_enabled_only() -> None:
    """enable-alarm-actions gives none."""
    watched = {"stream": alarms.dimensions("stream", "orders")}

    def do(**changes: Any) -> str:
        found = alarms.check_alarms("orders", watched, alarms.by_metric([alarm(**changes)]), [])
        return next(one.do for one in found if "alarm Read" in one.check)

    assert "enable-alarm-actions --alarm-names a" in do(ActionsEnabled=False)
    assert "enable-alarm-actions" not in do(AlarmActions=[])


def test_an_account_may_have_thousands_of_alarms() -> None:
    class Paging(Account):
        def ask(self, service: str, method: str, absent: Any = (), **request: Any) -> Any:
            page = int(request.get("NextToken", "0"))
            answer: dict[str, Any] = {"MetricAlarms": [alarm(AlarmName=f"{page}-{n}") for n in range(100)]}
            return answer if page == 49 else answer | {"NextToken": str(page + 1)}

    found, _ = alarms_of(Paging())
    assert not isinstance(found, Unread) and len(found) == 5_000


def test_each_metric_needs_an_alarm() -> None:
    watched = {of: alarms.dimensions(of, "x") for of in alarms.DIMENSIONS} | alarms.job_dimensions(LAKE.uri, "orders")
    found = list(alarms.check_alarms("orders", watched, alarms.by_metric([]), []))
    assert told(found) == [f"alarm {one.name}" for one in alarms.METRICS]
    assert told(alarms.check_alarms("orders", watched, alarms.by_metric(NO_RIGHT), []), "unknown") == ["alarms"]


def test_a_composite_alarm_tells_for_its_parts() -> None:
    watched, silent = {"stream": alarms.dimensions("stream", "orders")}, alarm(AlarmActions=[])

    def of(rule: str) -> list[str]:
        composite = {"AlarmRule": rule, "ActionsEnabled": True, "AlarmActions": ["sns"]}
        found = alarms.check_alarms("orders", watched, alarms.by_metric([silent]), [composite])
        return [one.status for one in found if "alarm Read" in one.check]

    assert of('ALARM("a") OR ALARM(b)') == ["ok"]
    assert of("ALARM(aa)") == ["wrong"]


def test_alarms_are_those_of_the_terraform_modules() -> None:
    """One list: what doctor looks for is what they set."""
    modules = [ROOT / "infra/modules/alarms", ROOT / "infra/modules/jobs"]
    lines = [
        line for folder in modules for path in folder.glob("*.tf") for line in path.read_text("utf-8").splitlines()
    ]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    assert sorted({one.name for one in alarms.METRICS if f'"{one.name}"' not in text}) == []
    assert sorted({one.namespace for one in alarms.METRICS if one.namespace not in text}) == []


def test_each_alarm_of_the_terraform_modules_is_in_the_playbook() -> None:
    """By the end of its name, as it comes in a mail."""
    ours = "".join(path.read_text("utf-8") for path in sorted((ROOT / "infra/modules/alarms").glob("*.tf")))
    found = set(re.findall(r'"?((?:\$\{role\}-)?[a-z]+(?:-[a-z]+)*)"? = \{\n\s+(?:when|minutes|metric) +=', ours))
    found |= {f"{kind}-…" for kind in re.findall(r'"([a-z]+)-\$\{name\}" =>', ours)}
    found |= {name.replace("${role}", role) for name in found for role in ("consumer", "transform")}
    jobs = (ROOT / "infra/modules/jobs/alarms.tf").read_text("utf-8")
    found |= set(re.findall(r'"\$\{name\}-([a-z-]+)" =>', jobs)) | {"differing", "unproven"}
    found |= set(re.findall(r"^    ([a-z]+(?:-[a-z]+)+) = \{$", jobs, re.MULTILINE))
    index = (ROOT / "docs/playbook.md").read_text("utf-8").partition("## From the symptom")[0]
    names = {name for name in found if "$" not in name}
    assert len(names) > 40 and {"sink-…", "pipe-timeout", "not-run", "not-started", "behind"} <= names
    assert sorted(name for name in names if f"`{name}`" not in index) == []


def test_proofs_compactions_and_letters() -> None:
    proof = Proof(at_us=NOW_US - DAY_US, verified_through_us=None, items_in_table=1, differing=0, unproven=0)
    assert lakes.check_proof("orders", proof, NOW_US).status == "ok"
    assert lakes.check_proof("orders", proof, NOW_US + 7 * DAY_US).status == "unknown"
    assert lakes.check_proof("orders", None, NOW_US).status == "unknown"
    differing = Proof(at_us=NOW_US, verified_through_us=None, items_in_table=1, differing=1, unproven=0)
    assert lakes.check_proof("orders", differing, NOW_US).status == "wrong"
    assert lakes.check_compaction("orders", NOW_US - DAY_US // 2, NOW_US).status == "ok"
    assert lakes.check_compaction("orders", NOW_US - 2 * DAY_US, NOW_US).status == "unknown"
    assert lakes.check_compaction("orders", None, NOW_US).status == "unknown"
    assert lakes.check_dead_letters("orders", 2).do.endswith("then dynalake redrive orders")
    assert lakes.check_dead_letters("", 0).status == "ok"


def test_on_a_terminal_a_command_stays_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"aws dynamodb {'x' * 300}"
    found = [Finding("streaming", "orders", "wrong", "off", command), Finding("lake", "", "ok", "s3://lakes/lake")]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    doctor._print(found)
    assert capsys.readouterr().out == f"wrong    orders streaming: off\n         {command}\n\nok: lake\n"


def test_whose_rights_are_simulated() -> None:
    session = "arn:aws:sts::123456789012:assumed-role/compaction/me@x"
    assert permissions.role_of(session) == ("arn:aws:iam::123456789012:role/compaction", "compaction")
    role = "arn:aws-cn:iam::123456789012:role/path/compaction"
    assert permissions.role_of(role) == (role, "")
    assert permissions.role_of("arn:aws:iam::123456789012:root") is None
    assert permissions.role_of("arn:aws:sts::123456789012:federated-user/me") is None


class Simulating(Account):
    """IAM's simulation of a role that may do all but some actions on some resources."""

    def __init__(self, *denied: tuple[str, str]) -> None:
        super().__init__()
        self.denied, self.asked = denied, list[dict[str, Any]]()

    def region(self) -> str:
        return "us-east-1"

    def ask(self, service: str, method: str, absent: Any = (), **request: Any) -> Any:
        assert (service, method) == ("iam", "simulate_principal_policy")
        self.asked.append(request)
        return {"EvaluationResults": [
            {"EvalActionName": action, "EvalDecision": "allowed", "ResourceSpecificResults": [
                {"EvalResourceDecision": "implicitDeny" if (action, arn) in self.denied else "allowed"}
                for arn in request["ResourceArns"]
            ]}
            for action in request["ActionNames"]
        ]}  # fmt: skip


def rights(*denied: tuple[str, str]) -> dict[str, Finding]:
    role = "arn:aws:iam::123456789012:role/job"
    account = Simulating(*denied)
    found = denied_to(account, role, LAKE, Seen(TABLE, DESCRIBED, None, None, None, ARN))
    assert not isinstance(found, Unread)
    arns = {arn for request in account.asked for arn in request["ResourceArns"]}
    assert {"arn:aws:s3:::lakes/lake/lake.toml", "arn:aws:dynamodb:us-east-1:123456789012:table/orders"} <= arns
    return {job: permissions.check_job("orders", job, role, actions) for job, actions in found.items()}


def test_rights_by_job() -> None:
    """A role that may not do a job's chief thing is not its role; one that may, and lacks another, is wrong."""
    assert {one.status for one in rights().values()} == {"ok"}
    warehouse = "arn:aws:s3:::lakes/lake/warehouse/x"
    assert rights(("s3:PutObject", warehouse))["compact and refresh"].status == "unknown"
    lacking = rights(
        ("s3:DeleteObject", warehouse), ("dynamodb:Scan", "arn:aws:dynamodb:us-east-1:123456789012:table/orders")
    )
    assert lacking["compact and refresh"].do == "Give job s3:DeleteObject on the warehouse"
    assert {job: one.status for job, one in lacking.items()} == {
        "compact and refresh": "wrong", "verify": "wrong", "backfill": "wrong", "redrive": "ok",
    }  # fmt: skip


def test_a_lake_in_a_folder_has_no_rights_on_s3(tmp_path: Path) -> None:
    account = Simulating()
    seen = Seen(TABLE, DESCRIBED, None, None, None, None)
    denied_to(account, "arn:aws:iam::123456789012:role/job", Lake(str(tmp_path), LakeConfig()), seen)
    assert [request["ActionNames"] for request in account.asked] == [["dynamodb:DescribeTable", "dynamodb:Scan"]]
