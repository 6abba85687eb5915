"""moto's DynamoDB tables, with their history: what each request changed, seen from outside."""

import base64
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.dynamo_type import Item as MotoItem
from moto.dynamodb.models.table import StreamShard
from moto.dynamodb.models.table import Table as MotoTable

from standin.destinations import Destinations
from standin.history import AttributeValue, Change, Item, Table
from standin.scan_order import ScanOrder

_TTL_IDENTITY = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}

_Key = tuple[DynamoType, DynamoType | None]


class TableTap:
    """Stands where moto keeps a table's stream, and notes the keys of the items that are written.

    moto tells it of more than happens (an update that makes an item comes as two writes, a put of an equal item
    as one, and a transaction is undone behind its back), so only the keys are believed: ``LiveTable`` compares
    the items themselves. The table's native stream, if its user enabled one, is behind it.
    """

    def __init__(self, native: StreamShard | None) -> None:
        self.native = native
        self.touched: dict[_Key, None] = {}
        self.in_transaction = False

    def add(self, old: MotoItem | None, new: MotoItem | None) -> None:
        """Note a write; called by moto."""
        item = new if new is not None else old
        if item is not None:
            self.touched[item.hash_key, item.range_key] = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)


class _TappedTable:
    """What a table of moto becomes, once moto has made it: one whose stream is a tap."""

    _tap: TableTap | None = None

    @property
    def stream_shard(self) -> Any:
        """The tap, in the place of the native stream."""
        return self._tap

    @stream_shard.setter
    def stream_shard(self, native: StreamShard | None) -> None:
        if self._tap is not None:
            self._tap.native = native

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copy without the tap, for backups. moto copies a whole table for each transaction, to put the copy
        in its place if it fails: there, LiveTable undoes what was done, and no copy is made."""
        if self._tap is not None and self._tap.in_transaction:
            return self
        clone = object.__new__(self.__class__)
        memo[id(self)] = clone
        vars(clone).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items() if name != "_tap"})
        return clone


@dataclass(slots=True)
class TimeToLive:
    """Which attribute tells when an item expires, in seconds since 1970."""

    attribute: str


class LiveTable:
    """One table of moto's, its history, its order for Scan and where its changes go."""

    def __init__(self, table: MotoTable, *, seed: int | str, settling_us: int, now_us: int) -> None:
        native = vars(table).pop("stream_shard", None)
        # Restored tables are of classes of their own.
        table.__class__ = type("TappedTable", (_TappedTable, type(table)), {"__module__": __name__})
        self.moto = table
        self.tap = TableTap(native)
        vars(table)["_tap"] = self.tap
        self.key_names = tuple(table.table_key_attrs)
        kinds = {one["AttributeName"]: one["AttributeType"] for one in table.attr}
        hash_key, *range_key = [(name, kinds[name]) for name in self.key_names]
        self.history = Table(table.name, hash_key, range_key[0] if range_key else None, seed=seed)
        self.order = ScanOrder(self.key_names)
        self.destinations = Destinations(table.name, settling_us)
        for item in _moto_items(table):  # a restored table begins full; its items are no changes of the stream
            self._take_over(item, now_us)

    def _take_over(self, item: MotoItem, now_us: int) -> None:
        image = plain_item(item)
        key = self.history.key_of(image)
        self.history.put(image, now_us)
        self.history.changes.clear()
        self.order.put(key, self.history.items[key])

    @property
    def ttl(self) -> TimeToLive | None:
        """What UpdateTimeToLive last said; None while it is off."""
        spec = self.moto.ttl
        return TimeToLive(spec["AttributeName"]) if spec["TimeToLiveStatus"] == "ENABLED" else None

    def written_images(self) -> dict[_Key, Item | None]:
        """The items written since the last ``take_up``, as they are now: None where there is none.

        ValueError for an item that moto takes and DynamoDB does not.
        """
        images: dict[_Key, Item | None] = {}
        for key in self.tap.touched:
            item = self.moto.get_item(*key)
            if item is None:
                images[key] = None
            else:
                image = images[key] = plain_item(item)
                self.history.check(image)
        return images

    def take_up(self, images: dict[_Key, Item | None], tick: Callable[[], int], *, ttl: bool = False) -> list[Change]:
        """The changes that those writes made, each at an instant of its own from ``tick``."""
        changes = []
        for key, image in images.items():
            if image is None:
                change = self.history.delete(_plain_key(self.key_names, key), tick(), ttl)
            else:
                change = self.history.put(image, tick())
            if change is not None:
                self._keep(change)
                changes.append(change)
        self.tap.touched.clear()
        return changes

    def undo(self) -> None:
        """Put the items written since the last ``take_up`` back to what they were: the request failed."""
        items: Any = self.moto.items
        for hash_key, range_key in self.tap.touched:
            image = self.history.get(_plain_key(self.key_names, (hash_key, range_key)))
            if image is not None:
                item = MotoItem(hash_key, range_key, wire_item(image))
                if range_key is not None:
                    items[hash_key][range_key] = item
                else:
                    items[hash_key] = item
            elif range_key is not None:
                items[hash_key].pop(range_key, None)
            else:
                items.pop(hash_key, None)
        self.tap.touched.clear()

    def delete(self, key: Item) -> None:
        """Delete an item by its key attributes, as a request would."""
        values = [moto_value(key[name]) for name in self.key_names]
        self.moto.delete_item(values[0], values[1] if len(values) > 1 else None)

    def _keep(self, change: Change) -> None:
        if change.new is None:
            self.order.remove(change.key)
        else:
            self.order.put(change.key, change.new)
        specification = self.moto.stream_specification or {}
        if self.tap.native is not None and specification.get("StreamEnabled"):
            self.tap.native.add(self._moto_item(change, change.old), self._moto_item(change, change.new))
            if change.ttl:
                self.tap.native.items[-1].record["userIdentity"] = _TTL_IDENTITY

    def _moto_item(self, change: Change, image: Item | None) -> MotoItem | None:
        if image is None:
            return None
        hash_key, *range_key = [moto_value(change.keys[name]) for name in self.key_names]
        return MotoItem(hash_key, range_key[0] if range_key else None, wire_item(image))


def wire_item(image: Item) -> dict[str, Any]:
    """A request's item as moto's parser gives it: binary attributes as bytes (nested ones moto reads as text)."""
    return {name: _wire_value(value) for name, value in image.items()}


def _wire_value(value: AttributeValue) -> dict[str, Any]:
    if "B" in value:
        return {"B": base64.b64decode(value["B"])}
    if "BS" in value:
        return {"BS": [base64.b64decode(member) for member in value["BS"]]}
    return value


def moto_value(value: AttributeValue) -> DynamoType:
    """A typed value as moto keeps it, equal to what a request brings."""
    return DynamoType(_wire_value(value))


def plain_item(item: MotoItem) -> Item:
    """moto's item as DynamoDB JSON, in dictionaries of its own, its sets in order.

    moto adds to sets through Python's, whose order differs between processes; DynamoDB's have none.
    """
    return {name: _plain(value) for name, value in item.attrs.items()}


def _plain(value: DynamoType) -> AttributeValue:
    kind, content = value.type, value.value
    match kind:
        case "B":
            return {"B": _text(content)}
        case "BS":
            return {"BS": sorted(_text(member) for member in content)}
        case "SS":
            return {"SS": sorted(content)}
        case "NS":
            return {"NS": sorted(content, key=lambda member: (Decimal(member), member))}
        case "L":
            return {"L": [_plain(member) for member in content]}
        case "M":
            return {"M": {name: _plain(member) for name, member in content.items()}}
    return {kind: content}


def _text(content: Any) -> str:
    return base64.b64encode(content).decode() if isinstance(content, bytes) else str(content)


def _plain_key(names: tuple[str, ...], key: _Key) -> Item:
    return {name: _plain(value) for name, value in zip(names, key, strict=False) if value is not None}


def _moto_items(table: MotoTable) -> Iterator[MotoItem]:
    items: Any = table.items
    for held in items.values():
        if table.has_range_key:
            yield from held.values()
        else:
            yield held
