"""moto's state, which is the process's own: emptied, put on a simulated clock, and left as it was found."""

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import moto.backends
import moto.core.utils
import moto.kinesis.models
import moto.sqs.models
from moto.backends import list_of_moto_modules
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.dynamodb.exceptions import ItemSizeTooLarge
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.dynamo_type import Item as MotoItem
from moto.kinesis.models import Record, Shard

from standin.clock import Clock

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html
GET_RECORDS_MAX = 10_000
GET_RECORDS_BYTES_MAX = 10 * 1024 * 1024

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_ITEM_BYTES_MAX = 400 * 1024

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001  moto's instants have no zone


def naive_utc(us: int) -> datetime.datetime:
    """An instant as moto keeps it: a datetime in UTC without a zone."""
    return _EPOCH + datetime.timedelta(microseconds=us)


@contextmanager
def moto_on(clock: Clock) -> Iterator[None]:
    """moto, empty, with its ``utcnow`` on the clock; on leaving, moto empty and as it was.

    SQS alone keeps the wall clock: its long polls wait for moto's clock to pass, which may stand still.
    """

    def unix_time(at: datetime.datetime | None = None) -> float:
        at = at or datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        return (at - _EPOCH).total_seconds()

    class SimulatedDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            now = naive_utc(clock.now_us())
            return now.replace(tzinfo=datetime.UTC).astimezone(tz) if tz else now

        @classmethod
        def utcnow(cls) -> Any:
            return naive_utc(clock.now_us())

    def put_record(shard: Shard, partition_key: str, data: str, explicit_hash_key: str) -> str:
        """With sequence numbers of AWS's length, and rising along with those of replicated records."""
        least = int(f"49{clock.now_us():020d}{0:034d}")
        sequence_number = max(shard.get_max_sequence_number() + 1, least)
        shard.records[sequence_number] = Record(partition_key, data, sequence_number, explicit_hash_key)
        return str(sequence_number)

    simulated = SimpleNamespace(**vars(datetime))
    simulated.datetime = SimulatedDatetime
    patches: list[tuple[Any, str, Any]] = [
        (moto.core.utils, "datetime", simulated),  # where utcnow, which everything uses, reads the time
        (moto.sqs.models, "unix_time", unix_time),
        (moto.sqs.models, "unix_time_millis", lambda at=None: unix_time(at) * 1_000),
        (Shard, "put_record", put_record),
        (Shard, "get_records", _get_records),
        (Shard, "get_max_sequence_number", _last_sequence_number),
        (MotoItem, "__init__", _make_item),
        # Every request asks for these several times, and each time moto lists its folder.
        (moto.backends, "list_of_moto_modules", lambda: _MODULES),
    ]
    found = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    _reset()
    for owner, name, patch in patches:
        setattr(owner, name, patch)
    try:
        yield
    finally:
        for owner, name, value in found:
            setattr(owner, name, value)
        _reset()


_MODULES = tuple(list_of_moto_modules())


class _Forgetful(list[Any]):
    """moto lists every instance of every model for its dashboard: nothing deleted would ever be freed."""

    def append(self, instance: Any) -> None:
        """Keep nothing."""


def _reset() -> None:
    BackendDict.reset()
    reset_model_data()
    models: list[Any] = [MotoItem, Record]
    for model in models:
        model.instances_tracked = _Forgetful()


def _make_item(item: MotoItem, hash_key: DynamoType, range_key: DynamoType | None, attrs: dict[str, Any]) -> None:
    """moto's own sizes all attributes anew for each attribute that it adds."""
    item.hash_key = hash_key
    item.range_key = range_key
    item.attrs = LimitedSizeDict()
    dict.update(item.attrs, {name: DynamoType(value) for name, value in attrs.items()})
    if item.size() > _ITEM_BYTES_MAX:
        raise ItemSizeTooLarge


def _last_sequence_number(shard: Shard) -> int:
    return next(reversed(shard.records), 0)


def _get_records(shard: Shard, last_sequence_id: str, limit: int | None) -> tuple[list[Record], int, int]:
    """What a shard holds after a sequence number, up to AWS's limits, walking back from the end only that far.

    moto's own walks all records of the shard at every call, and knows no limit.
    """
    last = int(last_sequence_id)
    newer: list[Record] = []
    for sequence_number in reversed(shard.records):
        if sequence_number <= last:
            break
        newer.append(shard.records[sequence_number])
    taken: list[Record] = []
    size = 0
    for record in reversed(newer):
        size += len(record.data) * 3 // 4
        if len(taken) >= (limit or GET_RECORDS_MAX) or (taken and size > GET_RECORDS_BYTES_MAX):
            break
        taken.append(record)
    behind_s = newer[0].created_at - taken[-1].created_at if taken else 0.0
    return taken, int(taken[-1].sequence_number) if taken else last, int(behind_s * 1_000)
