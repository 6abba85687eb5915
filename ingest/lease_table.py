"""Leases in a DynamoDB table, an item for each shard: every change is conditional on what it was planned on."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ingest.leases import Lease
from lake.aws import aws_client, aws_faults, error_code
from lake.errors import ConfigError, TransientError

ATTEMPTS_MAX = 3  # of a request: who asks must go on beating
CREATED_SECONDS_MAX = 60
_REFUSED = "ConditionalCheckFailedException"
_MINE = "#owner = :me AND fence = :fence"
_BEAT = "beat = beat + :one, beat_us = :now"
_KEYS = {"consumer": "HASH", "shard_id": "RANGE"}


@dataclass(frozen=True, slots=True)
class Counts:
    """What was done since the checkpoint before: it is added up beside it, for `status`."""

    landed: int = 0
    duplicates: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A lease, when its owner last gave a sign of life by the owner's clock, and what all owners counted."""

    lease: Lease
    beat_us: int
    counts: Counts


class LeaseTable:
    """The leases of one consumer of one stream. `consumer` tells them from those of others in the table.

    `now_us` is the present, UTC microseconds: noted with every sign of life, for people; nothing is decided by it.
    Raises TransientError where DynamoDB does not answer or refuses for want of capacity, ConfigError for what does
    not pass by itself.
    """

    def __init__(self, name: str, consumer: str, now_us: Callable[[], int], client: Any = None) -> None:
        self.name, self.consumer, self._now_us = name, consumer, now_us
        self._client = client or aws_client("dynamodb", attempts=ATTEMPTS_MAX)

    def ensure(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Makes the table where there is none. Raises ConfigError where there is another one of its name."""
        if self._described() is None:
            is_there = self._client.exceptions.ResourceInUseException  # another process was first
            with aws_faults("create lease table", self.name), suppress(is_there):
                self._create_table()
        until = CREATED_SECONDS_MAX
        while (found := self._described()) is None or found["TableStatus"] in ("CREATING", "UPDATING"):
            if until <= 0:
                raise TransientError("create lease table", self.name, expected="it to be ACTIVE soon", got="not yet",
                                     remedy="Run it again")  # fmt: skip
            sleep(1)
            until -= 1
        if {part["AttributeName"]: part["KeyType"] for part in found["KeySchema"]} != _KEYS:
            raise ConfigError("use lease table", self.name, expected="a table with the keys consumer and shard_id",
                              got="another", remedy="Choose another name: --lease-table NAME")  # fmt: skip

    def all(self) -> dict[str, Known]:
        """Every lease, by its shard; empty where there is no table yet."""
        found: dict[str, Known] = {}
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name, ConsistentRead=True, KeyConditionExpression="consumer = :consumer",
            ExpressionAttributeValues={":consumer": {"S": self.consumer}},
        )  # fmt: skip
        with aws_faults("read leases in", self.name):
            for page in pages:
                for item in page["Items"]:
                    known = _known(item)
                    found[known.lease.shard_id] = known
        return found

    def create(self, lease: Lease) -> None:
        """Adds a lease that nobody has; one that is there already stays."""
        item = {**self._key(lease), "checkpoint": {"S": lease.checkpoint}, "owner": {"S": ""},
                "parents": {"L": [{"S": parent} for parent in lease.parents]}, "fence": {"N": "0"},
                "beat": {"N": "0"}}  # fmt: skip
        refused = self._client.exceptions.ConditionalCheckFailedException
        with aws_faults("create lease in", self.name), suppress(refused):
            self._client.put_item(TableName=self.name, Item=item, ConditionExpression="attribute_not_exists(shard_id)")

    def take(self, lease: Lease, me: str) -> Lease | None:
        """Makes `me` the owner of a lease that is still as it was seen; None where it is not."""
        taken = self._update(
            lease, f"SET #owner = :me, fence = fence + :one, {_BEAT}",
            "#owner = :owner AND fence = :fence AND beat = :beat",
            {":me": {"S": me}, ":owner": {"S": lease.owner}, ":fence": {"N": str(lease.fence)},
             ":beat": {"N": str(lease.beat)}},
        )  # fmt: skip
        if taken is None:  # or the answer to an attempt that took was lost
            with aws_faults("read leases in", self.name):
                item = self._client.get_item(TableName=self.name, Key=self._key(lease), ConsistentRead=True).get("Item")
            now = _known(item).lease if item else None
            return now if now is not None and (now.owner, now.fence) == (me, lease.fence + 1) else None
        return taken

    def beat(self, lease: Lease) -> bool:
        """Gives a sign of life; False where the lease is another's by now."""
        return self._update(
            lease, f"SET {_BEAT}", _MINE, _fenced(lease)
        ) is not None  # fmt: skip

    def move(self, lease: Lease, checkpoint: str, counts: Counts) -> bool:
        """Moves the checkpoint; False where the lease is another's by now.

        Also the counts are then told twice where an answer is lost: they are for people to look at.
        """
        return self._update(
            lease, f"SET checkpoint = :checkpoint, {_BEAT} ADD landed :l, duplicates :d, dead_letters :p",
            _MINE,
            {":checkpoint": {"S": checkpoint}, ":l": {"N": str(counts.landed)},
             ":d": {"N": str(counts.duplicates)}, ":p": {"N": str(counts.dead_letters)}, **_fenced(lease)},
        ) is not None  # fmt: skip

    def release(self, lease: Lease) -> None:
        """Lets a lease go, where it still is ours."""
        self._update(lease, "SET #owner = :nobody", _MINE, {":nobody": {"S": ""}, **_fenced(lease)})

    def delete(self, lease: Lease) -> None:
        """Removes a lease that is as it was seen."""
        refused = self._client.exceptions.ConditionalCheckFailedException
        with aws_faults("delete lease in", self.name), suppress(refused):
            self._client.delete_item(
                    TableName=self.name, Key=self._key(lease), ConditionExpression="fence = :fence",
                    ExpressionAttributeValues={":fence": {"N": str(lease.fence)}},
                )  # fmt: skip

    def _update(self, lease: Lease, update: str, condition: str, values: dict[str, Any]) -> Lease | None:
        from botocore.exceptions import ClientError

        if _BEAT in update:
            values = values | {":one": {"N": "1"}, ":now": {"N": str(self._now_us())}}
        with aws_faults("change lease in", self.name):
            try:
                answer = self._client.update_item(
                    TableName=self.name, Key=self._key(lease), UpdateExpression=update, ConditionExpression=condition,
                    ExpressionAttributeNames={"#owner": "owner"}, ExpressionAttributeValues=values,
                    ReturnValues="ALL_NEW",
                )  # fmt: skip
            except ClientError as fault:
                if error_code(fault) == _REFUSED:
                    return None
                raise
        return _known(answer["Attributes"]).lease

    def _key(self, lease: Lease) -> dict[str, Any]:
        return {"consumer": {"S": self.consumer}, "shard_id": {"S": lease.shard_id}}

    def _described(self) -> Any:
        with aws_faults("describe lease table", self.name):
            try:
                return self._client.describe_table(TableName=self.name)["Table"]
            except self._client.exceptions.ResourceNotFoundException:
                return None

    def _create_table(self) -> None:
        self._client.create_table(
            TableName=self.name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": role} for name, role in _KEYS.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in _KEYS],
        )  # fmt: skip


def _fenced(lease: Lease) -> dict[str, Any]:
    return {":me": {"S": lease.owner}, ":fence": {"N": str(lease.fence)}}


def _known(item: dict[str, Any]) -> Known:
    def number(name: str) -> int:
        return int(item.get(name, {}).get("N", "0"))

    lease = Lease(
        item["shard_id"]["S"], tuple(one["S"] for one in item["parents"]["L"]), item["checkpoint"]["S"],
        item["owner"]["S"], number("fence"), number("beat"),
    )  # fmt: skip
    return Known(lease, number("beat_us"), Counts(number("landed"), number("duplicates"), number("dead_letters")))
