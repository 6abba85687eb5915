"""The JSON of a change record, as Kinesis Data Streams for DynamoDB writes it."""

import base64
import json
import json.encoder
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from standin.history import AttributeValue, CanonicalKey, Change, Item
from standin.size import attribute_size

Precision: TypeAlias = Literal["MICROSECOND", "MILLISECOND"]

encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring

_MICROSECOND_FIELD = ',"ApproximateCreationDateTimePrecision":"MICROSECOND"'
_TTL_IDENTITY = '{"type":"Service","principalId":"dynamodb.amazonaws.com"}'


@dataclass(slots=True)
class _ItemText:
    """The text and size of an item's attributes and last image, most of which its next change repeats."""

    attributes: dict[str, tuple[AttributeValue, str, int]] = field(default_factory=dict)
    image: Item | None = None
    image_text: tuple[str, int] = ("", 0)

    def encode_image(self, image: Item) -> tuple[str, int]:
        if image is not self.image:
            self.image, self.image_text = image, self.encode(image)
        return self.image_text

    def encode(self, attributes: Item) -> tuple[str, int]:
        texts = []
        size = 0
        for name, value in attributes.items():
            known = self.attributes.get(name)
            if known is None or known[0] is not value:
                known = (value, f"{_quoted(name)}:{_value_text(value)}", attribute_size(name, value))
                self.attributes[name] = known
            texts.append(known[1])
            size += known[2]
        return f"{{{','.join(texts)}}}", size


class Encoder:
    """Encodes changes, keeping the text of every item's last image."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._items: defaultdict[tuple[str, CanonicalKey], _ItemText] = defaultdict(_ItemText)

    def encode(self, change: Change, precision: Precision) -> bytes:
        """A change as the stream's JSON: no sequence number, and the precision named only if microseconds."""
        created_at, precision_field = change.at_us // 1000, ""
        if precision == "MICROSECOND":
            created_at, precision_field = change.at_us, _MICROSECOND_FIELD
        item = self._items[change.table, change.key]
        images = ""
        size = 0
        if change.old is not None:
            text, old_size = item.encode_image(change.old)
            images = f',"OldImage":{text}'
            size += old_size
        if change.new is not None:
            text, new_size = item.encode_image(change.new)
            images = f',"NewImage":{text}{images}'
            size += new_size
        keys, keys_size = item.encode(change.keys)
        return (
            f'{{"awsRegion":"{self.region}","eventID":"{change.event_id}","eventName":"{change.op}",'
            f'"userIdentity":{_TTL_IDENTITY if change.ttl else "null"},"recordFormat":"application/json",'
            f'"tableName":{_quoted(change.table)},'
            f'"dynamodb":{{"ApproximateCreationDateTime":{created_at},"Keys":{keys}{images},'
            f'"SizeBytes":{size + keys_size}{precision_field}}},"eventSource":"aws:dynamodb"}}'
        ).encode()


def _value_text(value: AttributeValue) -> str:
    """A value's JSON as KDS writes it: binary, base64 text already, is encoded a second time."""
    [(kind, content)] = value.items()
    if kind in ("S", "N"):
        return f'{{"{kind}":{_quoted(content)}}}'
    text = encode_json(value)
    if '"B":' in text or '"BS":' in text:
        return encode_json(_binary_twice(value))
    return text


def _binary_twice(value: AttributeValue) -> AttributeValue:
    [(kind, content)] = value.items()
    match kind:
        case "B":
            return {"B": _base64(content)}
        case "BS":
            return {"BS": [_base64(member) for member in content]}
        case "L":
            return {"L": [_binary_twice(member) for member in content]}
        case "M":
            return {"M": {name: _binary_twice(member) for name, member in content.items()}}
    return value


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
