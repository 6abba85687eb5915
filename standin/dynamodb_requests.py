"""DynamoDB's requests on moto: what changed is seen after each, and some are answered without moto's detours."""

import json
from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Any

from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import (
    validate_put_has_empty_attrs,
    validate_put_has_empty_keys,
    validate_put_has_gsi_keys_set_to_none,
)

from standin.clock import Clock
from standin.destinations import ApiError
from standin.export_requests import ExportRequests
from standin.history import Item, Table
from standin.moto_tables import LiveTable, wire_item
from standin.pipeline import Pipeline, moto_stream

_SCAN_FIELDS = {
    "TableName",
    "Limit",
    "ExclusiveStartKey",
    "Segment",
    "TotalSegments",
    "ConsistentRead",
    "ReturnConsumedCapacity",
}
_READ_UNIT_BYTES = 4_096
_TABLE_MAKERS = ("CreateTable", "RestoreTableFromBackup", "RestoreTableToPointInTime", "DeleteTable")
_BATCH_WRITES_MAX = 25


class DynamoDbRequests:
    """Answers some requests itself and takes up what all of them changed. Its owner holds a lock."""

    def __init__(self, clock: Clock, pipeline: Pipeline, *, account: str, settling_us: int, empty_pages: float) -> None:
        self._clock = clock
        self._pipeline = pipeline
        self._account = account
        self._settling_us = settling_us
        self._empty_pages = empty_pages
        self._empty_random = Random(f"{pipeline.seed}/empty_pages")
        self._empty_ends: dict[str, Item | None] = {}
        """Where to go on after an empty page, by the JSON of the key that it ended at."""
        self._tables: dict[tuple[str, str], LiveTable] = {}
        self._made: dict[tuple[str, str], int] = {}
        pipeline.commit = self._expired
        self._exports = ExportRequests(clock, account=account, seed=pipeline.seed)
        self._answers: dict[str, Callable[[str, dict[str, Any]], str | None]] = {
            "Scan": self._scan,
            "GetItem": self._get_item,
            "PutItem": self._put_item,
            "DeleteItem": self._delete_item,
            "BatchWriteItem": self._batch_write_item,
            "EnableKinesisStreamingDestination": self._enable,
            "UpdateKinesisStreamingDestination": self._update,
            "DisableKinesisStreamingDestination": self._disable,
            "DescribeKinesisStreamingDestination": self._describe,
            "ExportTableToPointInTime": lambda region, request: self._exports.export(
                self._live(region, request["TableArn"]), region, request
            ),
            "DescribeExport": lambda _, request: self._exports.describe(request),
        }

    def answer(self, action: str, region: str, body: bytes) -> str | None:
        """The answer's JSON, where this is a request to answer here; None for what moto is to answer.

        ApiError for what DynamoDB refuses. Where moto is to answer, nothing has been changed yet.
        """
        handler = self._answers.get(action)
        if handler is None:
            self._in_transaction(action == "TransactWriteItems")
            return None
        request = json.loads(body)
        try:
            answer = handler(region, request)
        except ApiError:
            raise
        except Exception:
            # A request that moto, or DynamoDB, would refuse: moto says why. Nothing of it may stay.
            self.undo()
            if action.endswith("KinesisStreamingDestination"):
                raise
            return None
        if answer is not None:
            self.take_up()
        return answer

    def answered(self, action: str, region: str, body: bytes, status: int) -> None:
        """Take up what moto's answer to a request changed; undo what it left behind where it failed."""
        self._in_transaction(False)
        if action in _TABLE_MAKERS:
            self._follow_tables(region)
        if status >= 400:
            self.undo()
            return
        self.take_up()
        if action == "UpdateTimeToLive":
            self._watch_expiries(region, json.loads(body)["TableName"])

    def take_up(self) -> None:
        """Make changes of what was written; ApiError, and nothing written, for items that DynamoDB refuses."""
        try:
            written = [(live, live.written_images()) for live in self._tables.values() if live.tap.touched]
        except ValueError as error:
            self.undo()
            raise ApiError("ValidationException", f"One or more parameter values were invalid: {error}") from error
        for live, images in written:
            for change in live.take_up(images, self._clock.tick):
                self._pipeline.write(live, change)

    def undo(self) -> None:
        """Put back what was written since the last ``take_up``."""
        for live in self._tables.values():
            if live.tap.touched:
                live.undo()

    def history(self, name: str, region: str) -> Table:
        """A table's history; KeyError if there is no such table."""
        return self._tables[region, name].history

    def _expired(self, live: LiveTable, due_us: int) -> None:
        for change in live.take_up(live.written_images(), lambda: self._tick_at(live, due_us), ttl=True):
            self._pipeline.write(live, change)

    def _tick_at(self, live: LiveTable, due_us: int) -> int:
        """The sweep's instant, or just after the table's last write if that was later."""
        changes = live.history.changes
        at_us = max(due_us, changes[-1].at_us + 1) if changes else due_us
        self._clock.ticked(at_us)
        return at_us

    def _in_transaction(self, yes: bool) -> None:
        for live in self._tables.values():
            live.tap.in_transaction = yes

    def _follow_tables(self, region: str) -> None:
        tables = dynamodb_backends[self._account][region].tables
        for (of_region, name), live in list(self._tables.items()):
            if of_region == region and tables.get(name) is not live.moto:
                del self._tables[region, name]
        for name, table in tables.items():
            if (region, name) not in self._tables:
                # A table made anew under an old name has changes of its own, not the old one's event ids.
                made = self._made[region, name] = self._made.get((region, name), -1) + 1
                seed = "/".join([str(self._pipeline.seed), *([region] if made else []), *([str(made)] if made else [])])
                self._tables[region, name] = LiveTable(
                    table, seed=seed, settling_us=self._settling_us, now_us=self._clock.now_us()
                )

    def _live(self, region: str, name: str) -> LiveTable:
        live = self._tables.get((region, name.rpartition("/")[2] if name.startswith("arn:") else name))
        if live is None:
            raise ApiError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
        return live

    def _watch_expiries(self, region: str, name: str) -> None:
        live = self._live(region, name)
        for image in live.history.items.values():
            self._pipeline.watch_expiry(live, image, self._clock.now_us())

    def _put_item(self, region: str, request: dict[str, Any]) -> str | None:
        if request.keys() != {"TableName", "Item"}:
            return None
        self._put(self._live(region, request["TableName"]), request["Item"])
        return "{}"

    def _put(self, live: LiveTable, item: Item) -> None:
        live.history.key_of(item)
        wire = wire_item(item)
        validate_put_has_empty_keys(wire, live.moto)
        validate_put_has_empty_attrs(wire, live.moto)
        validate_put_has_gsi_keys_set_to_none(wire, live.moto)
        live.moto.put_item(wire, overwrite=True)

    def _delete_item(self, region: str, request: dict[str, Any]) -> str | None:
        if request.keys() != {"TableName", "Key"}:
            return None
        self._delete(self._live(region, request["TableName"]), request["Key"])
        return "{}"

    def _delete(self, live: LiveTable, key: Item) -> None:
        live.history.key_of(key)
        if len(key) != len(live.key_names):
            raise ValueError("the provided key element does not match the schema")
        live.delete(key)

    def _batch_write_item(self, region: str, request: dict[str, Any]) -> str | None:
        if request.keys() != {"RequestItems"}:
            return None
        named: set[tuple[str, Any]] = set()
        writes: list[tuple[LiveTable, Callable[[LiveTable, Item], None], Item]] = []
        for name, requests in request["RequestItems"].items():
            live = self._live(region, name)
            for one in requests:
                [(kind, write)] = one.items()
                put = kind == "PutRequest"
                item = write["Item" if put else "Key"]
                writes.append((live, self._put if put else self._delete, item))
                named.add((live.moto.name, live.history.key_of(item)))
        if not writes or len(writes) > _BATCH_WRITES_MAX:
            raise ValueError("too many requests")
        if len(named) < len(writes):
            raise ApiError("ValidationException", "Provided list of item keys contains duplicates")
        for live, write_one, item in writes:
            write_one(live, item)
        return '{"UnprocessedItems":{}}'

    def _get_item(self, region: str, request: dict[str, Any]) -> str | None:
        if not request.keys() <= {"TableName", "Key", "ConsistentRead", "ReturnConsumedCapacity"}:
            return None
        live = self._live(region, request["TableName"])
        if len(request["Key"]) != len(live.key_names):
            return None
        held = live.order.get(live.history.key_of(request["Key"]))
        fields = [f'"Item":{held.text}'] if held is not None else []
        fields += self._capacity(live, request, held.size if held is not None else 0)
        return f"{{{','.join(fields)}}}"

    def _scan(self, region: str, request: dict[str, Any]) -> str | None:
        if not request.keys() <= _SCAN_FIELDS or ("Segment" in request) != ("TotalSegments" in request):
            return None
        live = self._live(region, request["TableName"])
        segment, segments = request.get("Segment", 0), request.get("TotalSegments", 1)
        if not 0 <= segment < segments:
            return None
        after = request.get("ExclusiveStartKey")
        after = self._empty_ends.get(json.dumps(after, sort_keys=True), after)
        if self._empty_random.random() < self._empty_pages:
            key = json.dumps(self._empty_end(live), sort_keys=True)
            self._empty_ends[key] = after
            return f'{{"Items":[],"Count":0,"ScannedCount":0,"LastEvaluatedKey":{key}}}'
        page = live.order.page(after=after, limit=request.get("Limit"), segment=segment, segments=segments)
        count = len(page.items)
        fields = [
            f'"Items":[{",".join([item.text for item in page.items])}]',
            f'"Count":{count}',
            f'"ScannedCount":{count}',
            *self._capacity(live, request, page.size),
        ]
        if page.last is not None:
            last = {name: page.last.image[name] for name in live.key_names}
            fields.append(f'"LastEvaluatedKey":{json.dumps(last)}')
        return f"{{{','.join(fields)}}}"

    def _empty_end(self, live: LiveTable) -> Item:
        """A key for an empty page to end at: of no item, and none given before, as boto3 wants progress."""
        number = len(self._empty_ends)
        texts = {"S": f"empty page {number}", "N": f"{number}", "B": b64encode(b"empty page %d" % number).decode()}
        return {name: {kind: texts[kind]} for name, kind in live.history.key_schema}

    def _capacity(self, live: LiveTable, request: dict[str, Any], size: int) -> list[str]:
        """Half a unit for each 4 KB read, a whole one where the read is consistent; at least one step.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        """
        if request.get("ReturnConsumedCapacity", "NONE") == "NONE":
            return []
        units = max(1, -(-size // _READ_UNIT_BYTES)) * (1.0 if request.get("ConsistentRead") else 0.5)
        consumed: dict[str, Any] = {"TableName": live.moto.name, "CapacityUnits": units}
        if request["ReturnConsumedCapacity"] == "INDEXES":
            consumed["Table"] = {"CapacityUnits": units}
        return [f'"ConsumedCapacity":{json.dumps(consumed)}']

    def _enable(self, region: str, request: dict[str, Any]) -> str:
        live = self._live(region, request["TableName"])
        try:
            moto_stream(request["StreamArn"])
            exists = True
        except (KeyError, ValueError):
            exists = False
        return json.dumps(live.destinations.enable(request, self._clock.now_us(), exists))

    def _update(self, region: str, request: dict[str, Any]) -> str:
        live = self._live(region, request["TableName"])
        return json.dumps(live.destinations.update(request, self._clock.now_us()))

    def _disable(self, region: str, request: dict[str, Any]) -> str:
        live = self._live(region, request["TableName"])
        return json.dumps(live.destinations.disable(request, self._clock.now_us()))

    def _describe(self, region: str, request: dict[str, Any]) -> str:
        live = self._live(region, request["TableName"])
        return json.dumps(live.destinations.describe(self._clock.now_us()))
