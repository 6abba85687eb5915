"""DynamoDB's requests for exports to S3, of a table's history: done as soon as they are asked for.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ExportTableToPointInTime.html
"""

import json
from typing import Any

from moto.s3.models import s3_backends

from standin.clock import Clock
from standin.destinations import ApiError
from standin.exports import TableExport, full_export, incremental_export
from standin.history import Table
from standin.moto_tables import LiveTable

_VIEW = "NEW_AND_OLD_IMAGES"


class ExportRequests:
    """The exports that were asked for, and their descriptions."""

    def __init__(self, clock: Clock, *, account: str, seed: int | str) -> None:
        self._clock, self._account, self._seed = clock, account, seed
        self._described: dict[str, dict[str, Any]] = {}

    def export(self, live: LiveTable, region: str, request: dict[str, Any]) -> str:
        """Puts an export into its bucket. ApiError for what DynamoDB refuses, and for ION."""
        recovery = live.moto.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
        if recovery != "ENABLED":
            raise ApiError(
                "PointInTimeRecoveryUnavailableException",
                f"Point in time recovery is not enabled for table '{live.moto.name}'",
            )
        if request.get("ExportFormat", "DYNAMODB_JSON") != "DYNAMODB_JSON":
            raise ApiError("ValidationException", "this stand-in exports DYNAMODB_JSON alone")
        bucket = request["S3Bucket"]
        backend = s3_backends[self._account]["aws"]
        if bucket not in backend.buckets:
            raise ApiError("ValidationException", f"The specified bucket does not exist: {bucket}")
        export, times = self._made(live.history, region, request)
        for key, body in export.objects.items():
            backend.put_object(bucket_name=bucket, key_name=key, value=body)
        summary = json.loads(export.objects[f"{export.folder}manifest-summary.json"])
        now = self._clock.now_us() / 1e6
        self._described[export.arn] = {
            "ExportArn": export.arn, "ExportStatus": "COMPLETED", "StartTime": now, "EndTime": now,
            "ExportManifest": f"{export.folder}manifest-summary.json", "TableArn": summary["tableArn"],
            "TableId": summary["tableId"], "S3Bucket": bucket, "S3Prefix": request.get("S3Prefix", ""),
            "S3SseAlgorithm": "AES256", "ExportFormat": "DYNAMODB_JSON", "ItemCount": summary["itemCount"],
            "BilledSizeBytes": summary["billedSizeBytes"], "ExportType": summary["exportType"], **times,
        }  # fmt: skip
        return self.describe({"ExportArn": export.arn}, status="IN_PROGRESS")

    def describe(self, request: dict[str, Any], status: str = "COMPLETED") -> str:
        """What DescribeExport says. ApiError for an export that nobody asked for."""
        found = self._described.get(request["ExportArn"])
        if found is None:
            raise ApiError("ExportNotFoundException", f"Export not found: {request['ExportArn']}")
        return json.dumps({"ExportDescription": found | {"ExportStatus": status}})

    def _made(self, table: Table, region: str, request: dict[str, Any]) -> tuple[TableExport, dict[str, Any]]:
        place = {
            "seed": f"{self._seed}/exports/{len(self._described)}", "bucket": request["S3Bucket"],
            "prefix": request.get("S3Prefix", ""), "region": region, "account": self._account,
        }  # fmt: skip
        now_us = self._clock.tick()  # behind every write there was
        if request.get("ExportType", "FULL_EXPORT") == "FULL_EXPORT":
            at_us = self._time(request.get("ExportTime"), now_us)
            return full_export(table, at_us, **place), {"ExportTime": at_us / 1e6}
        window = request.get("IncrementalExportSpecification", {})
        if "ExportFromTime" not in window:
            raise ApiError("ValidationException", "ExportFromTime must be given for an incremental export")
        from_us, to_us = (self._time(window.get(name), now_us) for name in ("ExportFromTime", "ExportToTime"))
        if from_us >= to_us:
            raise ApiError("InvalidExportTimeException", "ExportFromTime must be before ExportToTime")
        view = window.get("ExportViewType", _VIEW)
        told = {"ExportFromTime": from_us / 1e6, "ExportToTime": to_us / 1e6, "ExportViewType": view}
        export = incremental_export(table, from_us, to_us, view=view, **place)
        return export, {"IncrementalExportSpecification": told}

    def _time(self, seconds: float | None, now_us: int) -> int:
        at_us = now_us if seconds is None else round(seconds * 1e6)
        if at_us > now_us:
            raise ApiError("InvalidExportTimeException", "an export's time may not be in the future")
        return at_us
