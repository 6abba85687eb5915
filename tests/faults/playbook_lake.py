"""Faults of docs/playbook.md in the lake, its files and its jobs."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

import compaction.compact
import compaction.objects
from ingest import handlers
from lake.dynamodb import DynamoDB
from lake.errors import CommitConflict
from lake.lake import open_lake
from tests.consuming import Transport
from tests.faults.account import BUCKET, LAKE, RAW, Account
from tests.faults.jobs import Job, Point
from tests.faults.playbook import fault
from tests.lakes import table
from tests.test_handlers import event

CONSUMER = ("consumer",)
Rows = list[dict[str, Any]]


@fault("Dead letters of no table", paths=CONSUMER)
def letters_of_no_table(account: Account) -> Iterator[None]:
    account.create_table("invoices")
    account.enable(name="invoices")
    for n in range(5):
        item = {"pk": {"S": f"i{n}"}, "sk": {"S": "1"}}
        account.client("dynamodb").put_item(TableName="invoices", Item=item)
    account.pass_time()
    yield
    assert not account.missing("invoices")


@fault("Dead letters, wrong surface", paths=CONSUMER)
def letters_of_the_wrong_surface(account: Account) -> Iterator[None]:
    made = account.client("dynamodb").update_table(
        TableName="orders", StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    arn = made["TableDescription"]["LatestStreamArn"]
    account.create_mapping(arn, "shop-orders-old")
    account.write()
    batch = event("dynamodb_event_source_mapping")
    for record in batch["Records"]:
        record["eventSourceARN"] = arn
    assert handlers.stream_handler(batch) == {"batchItemFailures": []}
    yield
    states = account.client("lambda").list_event_source_mappings(FunctionName="shop-orders-old")["EventSourceMappings"]
    assert [one["State"] for one in states] == ["Disabled"]


@fault("Dead letters, unmasked", begins=False, table_options=("--mask", "note=hash"))
def letters_unmasked(account: Account) -> Iterator[None]:
    """An object beside them that has nothing unmasked in it stays."""
    account.write()
    account.client("s3").put_object(Bucket=BUCKET, Key=f"{RAW}masked", Body=b"")
    yield
    assert account.keys(RAW) == [f"{RAW}masked"]


@fault("compact stops at poison")
def compact_stops(account: Account) -> Iterator[None]:
    account.write()
    rubbish = b'{"level":"info","message":"started"}\n' * 1_200
    account.client("s3").put_object(Bucket=BUCKET, Key=f"{RAW}foreign/app.log", Body=rubbish)
    yield


@fault("A job has not run")
def job_killed(account: Account) -> Iterator[None]:
    account.write()
    account.pass_time()
    job = Job(LAKE, "compact", "orders", point=Point("compaction.compact:append_files"), small_batches=False)
    assert job.wait() == -9
    job.log.unlink()
    assert account.missing()
    yield


@fault("A lock was left behind")
def lock_left(account: Account) -> Iterator[None]:
    account.write()
    account.pass_time()
    job = Job(LAKE, "compact", "orders", "--alone", point=Point("compaction.compact:append_files"), small_batches=False)
    assert job.wait() == -9
    job.log.unlink()
    yield


@fault("A job may not")
def job_may_not(account: Account) -> Iterator[None]:
    account.write()
    account.revoke("shop-compaction")
    yield


@fault("A job looks in the wrong Region")
def wrong_region(account: Account) -> Iterator[None]:
    account.write()
    account.patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    account.patch.setattr(boto3, "DEFAULT_SESSION", None)
    yield
    account.patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    account.patch.setattr(boto3, "DEFAULT_SESSION", None)


@fault("compact runs out of scratch space")
def scratch_is_full(account: Account) -> Iterator[None]:
    download = compaction.objects.download

    def full(*arguments: Any, **options: Any) -> Any:
        if "large-disk" not in os.environ.get("TMPDIR", ""):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return download(*arguments, **options)

    account.patch.setattr(compaction.objects, "download", full)
    account.write()
    yield
    account.patch.setattr(compaction.objects, "download", download)


@fault("compact loses every commit")
def commits_are_lost(account: Account) -> Iterator[None]:
    append, left = compaction.compact.append_files, [20]

    def lose(*arguments: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise CommitConflict("commit", "orders", got="another job's commit")
        return append(*arguments, **options)

    account.patch.setattr(compaction.compact, "append_files", lose)
    account.write()
    yield


@fault("A backfill is throttled")
def backfill_is_throttled(account: Account) -> Iterator[None]:
    account.write()
    account.metric("AWS/DynamoDB", "ReadThrottleEvents", 6, TableName="orders")
    with Transport() as transport:
        left = transport.refuse("DynamoDB_20120810.Scan", "ProvisionedThroughputExceededException", times=2)
        yield
    assert left == [0]


@fault("A raw object was deleted")
def raw_object_deleted(account: Account) -> Iterator[None]:
    for key in landed(account):
        account.client("s3").delete_object(Bucket=BUCKET, Key=key)
    yield


@fault("A raw object was overwritten")
def raw_object_overwritten(account: Account) -> Iterator[None]:
    """Beside it Firehose has written an object of its own again: what it was before must not come back over that."""
    s3, rewritten = account.client("s3"), account.keys(RAW)[0]
    body = s3.get_object(Bucket=BUCKET, Key=rewritten)["Body"].read()
    for key in landed(account):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"not yours\n")
    s3.put_object(Bucket=BUCKET, Key=rewritten, Body=body + body)
    yield
    assert s3.get_object(Bucket=BUCKET, Key=rewritten)["Body"].read() == body + body


@fault("Files of the tables are gone")
def files_are_gone(account: Account) -> Iterator[None]:
    s3 = account.client("s3")
    rule = {"ID": "clean-up", "Status": "Enabled", "Filter": {"Prefix": "lake/"}, "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    account.at_terraform.append(lambda: s3.delete_bucket_lifecycle(Bucket=BUCKET))
    account.aws.clock.advance(seconds=60)
    for key in account.keys("lake/warehouse/"):
        s3.delete_object(Bucket=BUCKET, Key=key)
    account.write()
    yield


@fault("Tables are gone from the catalog")
def catalog_is_empty(account: Account) -> Iterator[None]:
    glue = account.client("glue")
    for one in glue.get_tables(DatabaseName="shop")["TableList"]:
        glue.delete_table(DatabaseName="shop", Name=one["Name"])
    account.write()
    yield


@fault("Changes never arrived")
def changes_never_arrived(account: Account) -> Iterator[None]:
    for name in ("gone", "changed"):
        account.put(name)
    account.settle()
    account.delete("gone")
    account.put("changed", note={"S": "again"})
    account.put("new")
    s3 = account.client("s3")
    for key in landed(account):
        for one in s3.list_object_versions(Bucket=BUCKET, Prefix=key)["Versions"]:
            s3.delete_object(Bucket=BUCKET, Key=key, VersionId=one["VersionId"])
    yield


@fault("The state is damaged")
def state_is_damaged(account: Account) -> Iterator[None]:
    def damage(found: Rows) -> None:
        for row in found:
            row["_item"] = row["_item"].replace('"S":"x"', '"S":"y"')

    rewrite(account, "orders", damage)
    yield


@fault("The log is damaged")
def log_is_damaged(account: Account) -> Iterator[None]:
    rewrite(account, "orders_changes", lambda found: found.clear())
    yield


@fault("Items are unproven")
def items_are_unproven(account: Account) -> Iterator[None]:
    """Somebody writes behind each read, and the lake does not hear of it within the time."""
    call = DynamoDB._call
    numbers = iter(range(1_000))

    def busy(self: DynamoDB, operation: str, name: str, method: str, **request: Any) -> Any:
        if method in ("scan", "batch_get_item"):
            account.put("busy", n={"N": str(next(numbers))})
        return call(self, operation, name, method, **request)

    account.put("busy")
    account.settle()
    account.patch.setattr(DynamoDB, "_call", busy)

    def calm_down() -> None:
        account.patch.setattr(DynamoDB, "_call", call)
        account.done("compact", "orders")

    account.while_verify_waits = calm_down
    yield


def landed(account: Account) -> list[str]:
    """The raw objects of some changes more, which no job has read yet."""
    before = set(account.keys(RAW))
    account.write()
    account.pass_time()
    found = [key for key in account.keys(RAW) if key not in before]
    assert found
    account.aws.clock.advance(seconds=60)  # versions are told apart by their times
    return found


def rewrite(account: Account, name: str, damage: Callable[[Rows], None]) -> None:
    """Rewrites the rows of a table's Parquet files where they lie, as no job of ours ever would."""
    s3 = account.client("s3")
    for task in table(open_lake(LAKE), name).scan().plan_files():
        key = task.file.file_path.removeprefix(f"s3://{BUCKET}/")
        whole = pq.read_table(io.BytesIO(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()))
        found = whole.to_pylist()
        damage(found)
        out = io.BytesIO()
        pq.write_table(
            pa.Table.from_pylist(found, whole.schema),
            out,
            compression="zstd",
            write_statistics=False,
            store_schema=False,
        )
        s3.put_object(Bucket=BUCKET, Key=key, Body=padded(out.getvalue(), task.file.file_size_in_bytes))


def padded(file: bytes, size: int) -> bytes:
    """A Parquet file made longer, in front of its footer: manifests tell the length of each file."""
    assert len(file) <= size
    at = len(file) - 8 - int.from_bytes(file[-8:-4], "little")
    return file[:at] + bytes(size - len(file)) + file[at:]
