"""Change records for tests, as KDS gives them."""

from __future__ import annotations

import json
from typing import Any

HOUR_US = 3_600_000_000
NOON_US = 1_700_049_600_000_000
START_US = 1_700_000_000_000_000
TIME = "ApproximateCreationDateTime"


def record(event_id: str, **parts: Any) -> dict[str, Any]:
    """A good record of an item of its own; `parts` replace those of it, `body` those in `dynamodb`, ... drops one."""
    keys = {"pk": {"S": event_id}, "sk": {"S": "1"}}
    body = {TIME: START_US, "Keys": keys, "NewImage": {**keys, "v": {"N": "1"}}, "SizeBytes": 40}
    envelope = {"awsRegion": "us-east-1", "eventID": event_id, "eventName": "INSERT", "userIdentity": None,
                "recordFormat": "application/json", "tableName": "orders",
                "dynamodb": without_dropped(body | parts.pop("body", {}))}  # fmt: skip
    return without_dropped(envelope | parts)


def without_dropped(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not ...}


def text(event_id: str, **parts: Any) -> bytes:
    return json.dumps(record(event_id, **parts), separators=(",", ":")).encode()


def change(item: str, event_id: str, op: str, at_us: int, old: Any = None, new: Any = None) -> dict[str, Any]:
    """A record about one item; images are given as the value of its one attribute `v`."""
    keys = {"pk": {"S": item}, "sk": {"S": "1"}}
    images = {name: {**keys, "v": value} for name, value in (("OldImage", old), ("NewImage", new)) if value}
    return record(event_id, eventName=op, body={TIME: at_us, "Keys": keys, "NewImage": ..., **images})


def s(value: str) -> dict[str, str]:
    return {"S": value}
