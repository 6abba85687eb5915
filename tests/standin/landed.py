"""What a stand-in's server has put into S3, read back."""

import gzip
import json
from collections import Counter
from typing import Any

from standin.server import AwsStandIn

START_US = 1_721_011_165_000_000  # 2024-07-15 02:39:25 UTC


def objects(aws: AwsStandIn, bucket: str = "raw") -> dict[str, bytes]:
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def lines(bodies: dict[str, bytes]) -> list[bytes]:
    return [line for body in bodies.values() for line in gzip.decompress(body).split(b"\n") if line]


def read(bodies: dict[str, bytes]) -> tuple[dict[str, dict], Counter]:
    """The changes of `orders` by event id, and how often each whole line came."""
    changes, seen = {}, Counter(lines(bodies))
    for line in seen:
        try:
            change = json.loads(line)
        except ValueError:
            continue
        if change.get("tableName") == "orders" and "pk" in change["dynamodb"]["Keys"]:
            changes[change["eventID"]] = change
    return changes, seen


def created_at_us(change: dict) -> int:
    at = change["dynamodb"]["ApproximateCreationDateTime"]
    return at if "ApproximateCreationDateTimePrecision" in change["dynamodb"] else at * 1_000


def held(dynamodb: Any, table: str = "orders") -> dict[str, dict]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return {item["pk"]["S"]: item for page in pages for item in page["Items"]}
