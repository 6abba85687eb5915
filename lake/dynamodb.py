"""DynamoDB as backfill and verify read it: consistent pages of items as text, and the time of DynamoDB itself.

Items are taken from the answers as JSON text, past boto3's parser: lossless, and several times as fast. The
time of a read is never this machine's: every answer carries DynamoDB's (`Date`), and the last one seen before
a request was sent is no later than the request's start, whatever the clock here says.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Protocol

import msgspec

from lake.aws import answer_of, aws_client, aws_faults, raise_throttles, take_as_text
from lake.changes import Surface
from lake.config import TableConfig
from lake.errors import ConfigError, LakeError, Throttled
from lake.keys import KeyAttribute, KeySchema, can_be_read
from lake.pace import Pace

KEYS_MAX = 100  # of one BatchGetItem
ANSWER_BYTES_MAX = 16 << 20  # a BatchGetItem that gives less has left keys over for want of capacity
MARGIN_SECONDS = 5  # between the clocks inside DynamoDB, and the precision of its times: a second on native Streams
_IMAGES = "NEW_AND_OLD_IMAGES"


@dataclass(frozen=True, slots=True)
class DescribedTable:
    """What DescribeTable says; `items` and `size_bytes` are DynamoDB's estimates, some hours old.

    `table_id` tells a table from another one made under its name later, `stream_arn` (of native Streams) a
    stream from the one before it was disabled.
    """

    name: str
    table_id: str
    keys: KeySchema
    items: int
    stream_view: str | None
    stream_arn: str | None = None
    size_bytes: int = 0

    def require_keys(self, operation: str, table: TableConfig) -> None:
        """Raises ConfigError where the table has other keys than were registered."""
        if self.keys != table.keys:
            raise ConfigError(
                operation, table.name, expected=f"a table with the key {' '.join(map(str, table.keys.attributes))}",
                got=" ".join(map(str, self.keys.attributes)),
                remedy="A table made anew with other keys needs a lake of its own",
            )  # fmt: skip


class StreamingOff(ConfigError):
    """The table's changes go nowhere: what is read now may be out of date with nothing to tell."""


@dataclass(frozen=True, slots=True)
class Page:
    """Items of one consistent read, as DynamoDB JSON text.

    `read_us` is in UTC microseconds, no later than the read's start by DynamoDB's clock: the read saw every
    write acknowledged before. `next_key` is where the next page begins, as JSON text; None behind the last
    (a page without items need not be that).
    """

    items: Sequence[bytes]
    next_key: str | None
    read_us: int
    capacity_units: float = 0.0


class Source(Protocol):
    """What is needed of a `DynamoDB` to read a table: the table itself, or as it is behind its masks."""

    def server_us(self) -> int: ...
    def describe(self, name: str) -> DescribedTable: ...
    def scan(self, name: str, segment: int, segments: int, start_key: str | None = None) -> Iterator[Page]: ...
    def get_items(self, name: str, keys: Sequence[str]) -> Iterator[Page]: ...


class _Capacity(msgspec.Struct):
    CapacityUnits: float = 0.0


class _Scanned(msgspec.Struct):
    Items: list[msgspec.Raw] = []
    LastEvaluatedKey: msgspec.Raw = msgspec.Raw(b"null")
    ConsumedCapacity: _Capacity | None = None


class _Got(msgspec.Struct):
    Responses: dict[str, list[msgspec.Raw]]
    UnprocessedKeys: dict[str, Any] = {}
    ConsumedCapacity: list[_Capacity] = []


_SCANNED, _GOT = msgspec.json.Decoder(_Scanned), msgspec.json.Decoder(_Got)


class DynamoDB:
    """A client that may be shared by threads; all that they read together keeps to one `pace`.

    It is that of `rcu_max` read capacity units a second, or as fast as it goes. `pace.stop` ends waits for it.
    """

    def __init__(self, client: Any = None, rcu_max: float | None = None, pace: Pace | None = None) -> None:
        self._client = client or aws_client("dynamodb")
        self.pace = pace or Pace(rcu_max)
        self._lock, self._server_us = Lock(), 0
        take_as_text(self._client, "dynamodb", "Scan", "BatchGetItem")
        raise_throttles(self._client, "dynamodb", "Scan", "BatchGetItem")

    def server_us(self) -> int:
        """The latest time that DynamoDB has told, in UTC microseconds: whole seconds, rounded down. It never falls."""
        return self._server_us

    def describe(self, name: str) -> DescribedTable:
        """Raises ConfigError where there is no such table."""
        table = self._call("describe table", name, "describe_table", TableName=name)["Table"]
        kinds = {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]}
        parts = sorted(table["KeySchema"], key=lambda part: part["KeyType"])  # HASH comes before RANGE
        keys = [KeyAttribute(part["AttributeName"], kinds[part["AttributeName"]]) for part in parts]
        stream = table.get("StreamSpecification") or {}
        return DescribedTable(
            name=table["TableName"],
            table_id=table.get("TableId") or str(table.get("CreationDateTime", "")),
            keys=KeySchema(*keys),
            items=table.get("ItemCount", 0),
            stream_view=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
            stream_arn=table.get("LatestStreamArn") if stream.get("StreamEnabled") else None,
            size_bytes=table.get("TableSizeBytes", 0),
        )

    def time_to_live(self, name: str) -> str | None:
        """The attribute by which the table's items expire, if they do."""
        told = self._call("read time to live of", name, "describe_time_to_live", TableName=name)
        found = told.get("TimeToLiveDescription", {})
        is_on = found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING", "DISABLING")
        return found.get("AttributeName") if is_on else None

    def require_streaming(self, table: DescribedTable, surface: Surface) -> str:
        """The stream that the table's changes go to now.

        Raises StreamingOff where they go nowhere, so that what changes now is lost; ConfigError while the precision
        is being switched, of which AWS does not say whether all goes on meanwhile.
        """
        if surface == "streams":
            if table.stream_view != _IMAGES:
                raise StreamingOff(
                    "read table", table.name, expected=f"its DynamoDB stream enabled with {_IMAGES}",
                    got=table.stream_view or "none",
                    remedy=f"aws dynamodb update-table --table-name {table.name} --stream-specification "
                    f"StreamEnabled=true,StreamViewType={_IMAGES}",
                )  # fmt: skip
            return table.stream_arn or ""
        answer = self._call("read streaming of", table.name, "describe_kinesis_streaming_destination",
                            TableName=table.name)  # fmt: skip
        destinations = answer.get("KinesisDataStreamDestinations", ())
        found = {one.get("DestinationStatus", ""): one.get("StreamArn", "") for one in destinations}
        if "ACTIVE" in found:
            return str(found["ACTIVE"])
        is_coming = bool({"ENABLING", "UPDATING"} & found.keys())
        raise (ConfigError if "UPDATING" in found else StreamingOff)(
            "read table", table.name, expected="streaming to Kinesis to be ACTIVE, so that no change is missed",
            got=", ".join(found) or "none",
            remedy="Wait until it is ACTIVE, and run it again" if is_coming else "Enable it first: aws dynamodb "
            f"enable-kinesis-streaming-destination --table-name {table.name} --stream-arn ARN",
        )  # fmt: skip

    def scan(self, name: str, segment: int, segments: int, start_key: str | None = None) -> Iterator[Page]:
        """The pages of one segment of a consistent Scan, from behind `start_key` on. Raises LakeError.

        A throttle is no fault: it lowers the pace. Waiting for it ends with Stopped.
        """
        while True:
            request: dict[str, Any] = {"TableName": name, "ConsistentRead": True, "ReturnConsumedCapacity": "TOTAL",
                                       "Segment": segment, "TotalSegments": segments}  # fmt: skip
            if start_key is not None:
                request["ExclusiveStartKey"] = _boto_key(start_key)
            turn = self.pace.turn("scan")
            if turn.items_max is not None:
                request["Limit"] = turn.items_max
            read_us = self._read_us()
            try:
                answer = answer_of(self._call("scan", name, "scan", **request), _SCANNED, "DynamoDB")
            except Throttled:
                if not self.pace.throttled(turn):
                    raise
                continue
            next_key = bytes(answer.LastEvaluatedKey).decode()
            start_key = None if next_key == "null" else next_key
            units = answer.ConsumedCapacity.CapacityUnits if answer.ConsumedCapacity else 0.0
            self.pace.spent(turn, units, len(answer.Items))
            yield Page([bytes(item) for item in answer.Items], start_key, read_us, units)
            if start_key is None:
                return

    def get_items(self, name: str, keys: Sequence[str]) -> Iterator[Page]:
        """The items of some keys (JSON text, `{"pk":{"S":"a"}}`) by consistent reads; absent ones are left out.

        A page's `next_key` says nothing here. Throttles are as in `scan`.
        """
        wanted = [_boto_key(key) for key in keys]
        while wanted:
            turn = self.pace.turn("get", min(len(wanted), KEYS_MAX))
            asked, read_us = wanted[: turn.items_max], self._read_us()
            request = {name: {"Keys": asked, "ConsistentRead": True}}
            try:
                got = self._call("read items of", name, "batch_get_item", RequestItems=request,
                                 ReturnConsumedCapacity="TOTAL")  # fmt: skip
            except Throttled:
                if not self.pace.throttled(turn):
                    raise
                continue
            answer = answer_of(got, _GOT, "DynamoDB")
            items = [bytes(item) for item in answer.Responses.get(name, [])]
            left = answer.UnprocessedKeys.get(name, {}).get("Keys", [])
            units = 0.0
            if len(left) < len(asked):
                units = sum(one.CapacityUnits for one in answer.ConsumedCapacity)
                self.pace.spent(turn, units, len(asked) - len(left))
                turn = replace(turn, units=0.0)
            if left and sum(map(len, items)) < ANSWER_BYTES_MAX and not self.pace.throttled(turn):
                raise Throttled(
                    "read items of", name, expected="capacity left", got="keys unprocessed for hours",
                    remedy="Run it again later, or raise the table's capacity; nothing is lost",
                )  # fmt: skip
            wanted = [_binary_values(key) for key in left] + wanted[len(asked) :]
            if items:
                yield Page(items, None, read_us, units)

    def _read_us(self) -> int:
        if not self._server_us:
            raise LakeError("read", "DynamoDB", expected="its time told by an answer before the first read")
        return self._server_us

    def _call(self, operation: str, name: str, method: str, **request: Any) -> Any:
        with aws_faults(operation, name):
            answer = getattr(self._client, method)(**request)
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        try:
            moment = parsedate_to_datetime(date)
            at_us = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1_000_000
        except (TypeError, ValueError):
            raise ConfigError(
                operation, name, expected="DynamoDB's time in the answer's Date", got=repr(date),
                remedy="Read from DynamoDB itself, past the proxy that takes it away",
            ) from None  # fmt: skip
        with self._lock:
            self._server_us = max(self._server_us, at_us)
        return answer


def _boto_key(text: str) -> dict[str, Any]:
    return _binary_values(msgspec.json.decode(text))


def _binary_values(key: dict[str, Any]) -> dict[str, Any]:
    """A key as boto3 takes it: binary as bytes, where JSON has base64."""
    return {name: {"B": base64.b64decode(value["B"])} if "B" in value else value for name, value in key.items()}


class KeyReader(Protocol):
    """`decode(item)` has a key's values as `key_0` and `key_1`, each a `{"S": "…"}`. Raises msgspec.DecodeError."""

    def decode(self, item: bytes) -> Any: ...


def key_reader(keys: KeySchema) -> KeyReader:
    """A decoder of an item's text that looks at its key alone, its values in the order of `keys`."""
    names = [attribute.name for attribute in keys.attributes]
    if not can_be_read(names):
        return _WholeItemReader(names)
    fields = [(f"key_{n}", dict[str, str], msgspec.field(name=name)) for n, name in enumerate(names)]
    return msgspec.json.Decoder(msgspec.defstruct("Key", fields))


class _WholeItemReader:
    """For keys with names that JSON has to escape: they are rare."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._key = msgspec.defstruct("Key", [(f"key_{n}", dict[str, str]) for n, _ in enumerate(names)])

    def decode(self, item: bytes) -> Any:
        found = msgspec.json.decode(item, type=dict[str, Any])
        return msgspec.convert({f"key_{n}": found.get(name) for n, name in enumerate(self._names)}, self._key)


def key_of_text(keys: KeySchema, name: str) -> Callable[[bytes], str]:
    """A function from an item's text to its key's one text; it raises LakeError where there is no such key."""
    decode = key_reader(keys).decode
    attributes = [(f"key_{n}", attribute.kind) for n, attribute in enumerate(keys.attributes)]

    def key_of(text: bytes) -> str:
        try:
            key = decode(text)
            return str(keys.item_key(*(getattr(key, field)[kind] for field, kind in attributes)))
        except (msgspec.DecodeError, KeyError, ValueError) as fault:
            raise LakeError("scan", name, expected=f"items with {' '.join(map(str, keys.attributes))}",
                            got=str(fault)) from fault  # fmt: skip

    return key_of
