"""Exports to S3: what the pure functions make, and the server's requests for them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import standin
from standin.server import AwsStandIn

T = 1_700_000_000_000_000
S = 1_000_000


@pytest.fixture
def table() -> standin.Table:
    """a is changed, b deleted, c made and deleted, d made, e left alone."""
    found = standin.Table("orders", range_key=None)
    for n, name in enumerate("abe"):
        found.put({"pk": {"S": name}, "v": {"N": "1"}}, T + n)
    found.put({"pk": {"S": "a"}, "v": {"N": "2"}}, T + 10 * S)
    found.delete({"pk": {"S": "b"}}, T + 11 * S)
    found.put({"pk": {"S": "c"}}, T + 12 * S)
    found.delete({"pk": {"S": "c"}}, T + 13 * S)
    found.put({"pk": {"S": "d"}, "x": {"B": "AQI="}}, T + 14 * S)
    return found


def lines_of(export: standin.TableExport) -> list[Any]:
    """The lines of the data files that the manifests name, which are held against these."""
    summary = json.loads(export.objects[f"{export.folder}manifest-summary.json"])
    lines = []
    for listed in export.objects[summary["manifestFilesS3Key"]].splitlines():
        one = json.loads(listed)
        body = export.objects[one["dataFileS3Key"]]
        digest = hashlib.md5(body).digest()
        assert one["md5Checksum"] == base64.b64encode(digest).decode()
        assert one["etag"] == f"{hashlib.md5(digest).hexdigest()}-1"
        found = gzip.decompress(body).splitlines()
        assert len(found) == one["itemCount"]
        lines += map(json.loads, found)
    assert len(lines) == summary["itemCount"] and summary["exportArn"] == export.arn
    return lines


def test_a_full_export(table: standin.Table) -> None:
    export = standin.full_export(table, T + 10 * S, prefix="a/b")
    assert sorted(line["Item"]["pk"]["S"] for line in lines_of(export)) == ["a", "b", "e"]
    assert {"Item": {"pk": {"S": "a"}, "v": {"N": "1"}}} in lines_of(export)
    assert {"Item": {"pk": {"S": "a"}, "v": {"N": "2"}}} in lines_of(standin.full_export(table, T + 10 * S + 1))
    assert export.folder == f"a/b/AWSDynamoDB/{export.id}/"
    assert all(key.startswith(export.folder) for key in export.objects)
    assert export == standin.full_export(table, T + 10 * S, prefix="a/b")
    assert export.id != standin.full_export(table, T + 10 * S, prefix="a/b", seed=1).id


@pytest.mark.parametrize("view", ["NEW_AND_OLD_IMAGES", "NEW_IMAGE"])
def test_an_incremental_export(table: standin.Table, view: standin.ExportView) -> None:
    export = standin.incremental_export(table, T + 10 * S, T + 15 * S, view=view)
    found = {line["Keys"]["pk"]["S"]: line for line in lines_of(export)}
    assert sorted(found) == ["a", "b", "d"]
    assert [one["Metadata"]["WriteTimestampMicros"]["N"] for _, one in sorted(found.items())] == [
        str(T + n * S) for n in (10, 11, 14)
    ]
    has_old = view == "NEW_AND_OLD_IMAGES"
    assert found["a"]["NewImage"]["v"] == {"N": "2"} and ("OldImage" in found["a"]) == has_old
    assert "NewImage" not in found["b"] and ("OldImage" in found["b"]) == has_old
    assert "OldImage" not in found["d"] and found["d"]["NewImage"]["x"] == {"B": "AQI="}
    assert lines_of(standin.incremental_export(table, T + 11 * S + 1, T + 14 * S)) == []
    assert [key for key in export.objects if key.startswith("AWSDynamoDB/data/")]


def test_the_server_exports(aws: AwsStandIn) -> None:
    aws.replicate("orders", bucket="raw")
    client, s3 = aws.client("dynamodb"), aws.client("s3")
    arn = client.describe_table(TableName="orders")["Table"]["TableArn"]
    client.put_item(TableName="orders", Item={"pk": {"S": "a"}})
    with pytest.raises(ClientError, match="PointInTimeRecoveryUnavailable"):
        client.export_table_to_point_in_time(TableArn=arn, S3Bucket="raw")
    on = {"PointInTimeRecoveryEnabled": True}
    client.update_continuous_backups(TableName="orders", PointInTimeRecoverySpecification=on)
    full = client.export_table_to_point_in_time(TableArn=arn, S3Bucket="raw", S3Prefix="p")["ExportDescription"]
    aws.clock.advance(seconds=100)
    start = aws.clock.now_us() // S
    aws.clock.advance(seconds=100)
    client.delete_item(TableName="orders", Key={"pk": {"S": "a"}})
    window = {"ExportFromTime": start, "ExportViewType": "NEW_IMAGE"}
    later = client.export_table_to_point_in_time(
        TableArn=arn, S3Bucket="raw", S3Prefix="p", ExportType="INCREMENTAL_EXPORT",
        IncrementalExportSpecification=window,
    )["ExportDescription"]  # fmt: skip
    found = []
    for one in (full, later):
        told = client.describe_export(ExportArn=one["ExportArn"])["ExportDescription"]
        assert (one["ExportStatus"], told["ExportStatus"], told["ItemCount"]) == ("IN_PROGRESS", "COMPLETED", 1)
        folder = told["ExportManifest"].removesuffix("manifest-summary.json")
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="raw", Prefix="p/")["Contents"]]
        objects = {key: s3.get_object(Bucket="raw", Key=key)["Body"].read() for key in keys}
        found.append(lines_of(standin.TableExport(one["ExportArn"], folder, objects)))
    assert found[0] == [{"Item": {"pk": {"S": "a"}}}]
    assert found[1][0].keys() == {"Metadata", "Keys"}


def test_the_server_refuses(aws: AwsStandIn) -> None:
    aws.replicate("orders", bucket="raw")
    client = boto3.client("dynamodb")
    arn = client.describe_table(TableName="orders")["Table"]["TableArn"]
    on = {"PointInTimeRecoveryEnabled": True}
    client.update_continuous_backups(TableName="orders", PointInTimeRecoverySpecification=on)
    backwards = {"ExportFromTime": 2, "ExportToTime": 1}
    for wrong in (
        {"S3Bucket": "none"}, {"ExportFormat": "ION"}, {"ExportTime": aws.clock.now_us() // S + 100},
        {"ExportType": "INCREMENTAL_EXPORT"},
        {"ExportType": "INCREMENTAL_EXPORT", "IncrementalExportSpecification": backwards},
        {"TableArn": f"{arn}-2"},
    ):  # fmt: skip
        with pytest.raises(ClientError):
            client.export_table_to_point_in_time(**{"TableArn": arn, "S3Bucket": "raw"} | wrong)
    with pytest.raises(ClientError, match="ExportNotFound"):
        client.describe_export(ExportArn=f"{arn}/export/0170000000000-00000000")
