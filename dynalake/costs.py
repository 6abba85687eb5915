"""What a plan of `size` costs a month, line by line, at the prices of one file: `prices.toml`, or one like it."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Literal

from dynalake.size import (
    CONSISTENT_READ,
    DAY_SECONDS,
    FUNCTION_MB,
    GB,
    KB,
    MONTH_HOURS,
    MONTH_SECONDS,
    VERIFY_WAIT_SECONDS,
    Load,
    Plan,
)
from lake.errors import ConfigError

Mode = Literal["ON_DEMAND", "PROVISIONED"]
MILLION = 1e6
MONTH_DAYS = MONTH_SECONDS / DAY_SECONDS
TASK_START_SECONDS = 60  # pulling the image, which is paid for, and Fargate's least
PUT_UNIT, FIREHOSE_UNIT = 25 * KB, 5 * KB
CHUNK = 64 * KB  # of EventBridge and SQS
PIPE_BATCH = 10  # of what a pipe puts on a bus at once
PIPE_POLLS = 4  # a second and shard. AWS: "Amazon DynamoDB stream as a source" for EventBridge Pipes
FILES_OF_COMMIT = 10  # data, manifests, metadata
ALARMS = 40  # metrics in those of a table and its jobs; infra/modules/alarms, infra/modules/jobs
SHARD_METRICS = 7  # that Kinesis has of a shard
OWN_METRICS = 6  # ingest/metrics.py, by stream and by shard
JOB_METRICS = 12  # dynalake/jobs.py: eleven of compact; those of daily jobs are paid for in the hour they come


@dataclass(frozen=True, slots=True)
class Price:
    """In USD."""

    usd: float
    per: str
    page: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Prices:
    """Of one Region, as they were on a day."""

    region: str
    date: date
    prices: dict[str, Price]


@dataclass(frozen=True, slots=True)
class Cost:
    """A line: `quantity` a month of what `price` (its name) is for."""

    part: str
    what: str
    quantity: float
    price: str
    usd: float


@dataclass(frozen=True, slots=True)
class Stream:
    """Both modes of a Kinesis stream. Provisioned is cheaper up to `break_even_shards`; 0 where it never is."""

    advice: Mode
    on_demand_usd: float
    provisioned_usd: float
    break_even_shards: int
    lines: list[Cost]


def read_prices(path: Path | None = None) -> Prices:
    """The file that comes with dynalake, or another of its form. Raises ConfigError."""
    identity = str(path or "prices.toml")
    try:
        text = path.read_text("utf-8") if path else (resources.files("dynalake") / "prices.toml").read_text("utf-8")
        found = tomllib.loads(text)
        given = {name: Price(**price) for name, price in found["prices"].items()}
        prices = Prices(found["region"], found["date"], given)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ConfigError(
            "read prices from", identity, expected="region, date and [prices.NAME] as in prices.toml",
            got=f"{type(fault).__name__}: {fault}", remedy="See docs/sizing.md, Prices",
        ) from fault  # fmt: skip
    wrong = [name for name, price in given.items() if not _is_amount(price.usd)]
    if wrong or not isinstance(prices.date, date):
        raise ConfigError("read prices from", identity, expected="a date, and usd of 0 or more",
                          got=", ".join(wrong) or repr(prices.date))  # fmt: skip
    return prices


def _is_amount(value: object) -> bool:
    """A price is far below 1,000 USD: more is a slip, and NaN is neither."""
    return isinstance(value, int | float) and 0 <= value < 1_000


class _Bill:
    """Lines as they are added."""

    def __init__(self, prices: Prices) -> None:
        self._prices, self.lines = prices, list[Cost]()

    def add(self, part: str, what: str, quantity: float, price: str) -> None:
        if price not in self._prices.prices:
            raise ConfigError(
                "reckon", part, expected=f"a price {price}", got="none", remedy="Add it to the file of prices"
            )
        self.lines.append(Cost(part, what, quantity, price, quantity * self._prices.prices[price].usd))

    @property
    def usd(self) -> float:
        return sum(line.usd for line in self.lines)


def stream_costs(load: Load, plan: Plan, prices: Prices) -> Stream:
    """Both modes. On demand is paid by what is written and read on the average, provisioned by what the peak needs, so
    the break-even is a number of shards. What is kept counts as it did when it was written, rounded up.
    """
    records = load.records_per_month
    written = records * math.ceil(plan.record_bytes / KB) * KB / GB
    kept = written / MONTH_HOURS * (min(plan.retention_hours, 168) - 24)
    long = written / MONTH_HOURS * max(0, plan.retention_hours - 168)
    on_demand, one_shard, provisioned = _Bill(prices), _Bill(prices), _Bill(prices)
    on_demand.add("stream", "stream, on demand", MONTH_HOURS, "kinesis_stream_hour")
    on_demand.add("stream", "written", written, "kinesis_in_gb")
    on_demand.add(
        "stream", f"read by {load.readers}", records * plan.record_bytes / GB * load.readers, "kinesis_out_gb"
    )
    on_demand.add("stream", "kept 24 hours to 7 days", kept, "kinesis_kept_gb_month")
    for bill, shards in ((one_shard, 1), (provisioned, plan.shards)):
        bill.add("stream", "shards, provisioned", shards * MONTH_HOURS, "kinesis_shard_hour")
        if plan.retention_hours > 24:
            bill.add("stream", "longer retention", shards * MONTH_HOURS, "kinesis_extended_shard_hour")
    units = records * math.ceil(plan.record_bytes / PUT_UNIT) / MILLION
    provisioned.add("stream", "PUT payload units", units, "kinesis_put_million")
    if long:
        for bill in (on_demand, provisioned):
            bill.add("stream", "kept over 7 days", long, "kinesis_long_gb_month")
    beside_shards = provisioned.usd - plan.shards * one_shard.usd
    break_even = math.floor((on_demand.usd - beside_shards) / one_shard.usd) if one_shard.usd else plan.shards
    is_cheaper = provisioned.usd <= on_demand.usd
    return Stream(
        "PROVISIONED" if is_cheaper else "ON_DEMAND", on_demand.usd, provisioned.usd, max(0, break_even),
        (provisioned if is_cheaper else on_demand).lines,
    )  # fmt: skip


def costs(load: Load, plan: Plan, prices: Prices) -> list[Cost]:
    """Every line of a month. Not in it: the table itself, transfer, logs, requests of KMS, queries."""
    bill = _Bill(prices)
    if load.surface == "kds":
        units = load.records_per_month * math.ceil(load.item_kb) / MILLION
        bill.add("capture", "change data capture units", units, "dynamodb_capture_million")
        bill.lines += stream_costs(load, plan, prices).lines
    if load.has_firehose:
        billed = load.records_per_month * math.ceil(plan.record_bytes / FIREHOSE_UNIT) * FIREHOSE_UNIT / GB
        bill.add("Firehose", "delivered", billed, "firehose_gb")
    if load.transform:
        _add_function(bill, "transformation", plan.transforms_per_second, plan.transform_seconds)
    if load.has_consumer:
        _add_function(bill, "consumer", plan.invocations_per_second, plan.invocation_seconds)
    if load.surface == "pipe":
        _add_pipe(bill, load, plan)
    _add_lake(bill, load, plan)
    _add_jobs(bill, load, plan)
    _add_watching(bill, load, plan)
    return bill.lines


def _add_function(bill: _Bill, part: str, per_second: float, seconds: float) -> None:
    invocations = per_second * MONTH_SECONDS
    bill.add(part, "invocations", invocations / MILLION, "lambda_request_million")
    bill.add(part, f"{FUNCTION_MB} MB", invocations * seconds * FUNCTION_MB / 1024, "lambda_gb_second")


def _add_pipe(bill: _Bill, load: Load, plan: Plan) -> None:
    """The pipe reads for itself, beside the consumer; every change is an event, and comes to every sink's queue."""
    records, size = load.records_per_month, plan.record_bytes
    chunks = math.ceil(size / CHUNK)
    bill.add(
        "pipe", "reads of the stream", PIPE_POLLS * plan.shards * MONTH_SECONDS / MILLION, "dynamodb_streams_million"
    )
    requests = records / PIPE_BATCH * max(1, math.ceil(size * PIPE_BATCH / CHUNK))
    bill.add("pipe", "requests", requests / MILLION, "pipes_million")
    bill.add("pipe", "events on the bus", records * chunks / MILLION, "events_million")
    sent = records * chunks * load.sinks
    bill.add("pipe", "sent to queues, received, deleted", (2 * sent + records * load.sinks) / MILLION, "sqs_million")


def _add_lake(bill: _Bill, load: Load, plan: Plan) -> None:
    """Storage is that of the state, and of what one month adds: the next month's is more by as much."""
    objects = plan.firehose_objects_per_day * MONTH_DAYS + plan.invocations_per_second * MONTH_SECONDS
    runs = MONTH_HOURS * 60 / plan.compact_minutes
    commits = runs if load.writes_per_second else 0.0
    listings = runs * (1 + objects / 1_000)  # of a month's objects, a thousand a page
    bill.add("lake", "storage of state and a month", plan.state_gb + plan.gb_per_month, "s3_gb_month")
    written = objects + FILES_OF_COMMIT * commits + plan.buckets * MONTH_HOURS / plan.refresh_hours
    bill.add("lake", "objects written", written / 1_000, "s3_put_thousand")
    bill.add("lake", "listings", listings / 1_000, "s3_put_thousand")
    bill.add("lake", "objects read", 2 * objects / 1_000, "s3_get_thousand")
    bill.add("lake", "its key", 1, "kms_key_month")


def _add_jobs(bill: _Bill, load: Load, plan: Plan) -> None:
    wait = VERIFY_WAIT_SECONDS if load.writes_per_second else 0
    runs = {
        "compact": (MONTH_HOURS * 60 / plan.compact_minutes, plan.compact_seconds),
        "refresh": (MONTH_HOURS / plan.refresh_hours, plan.refresh_seconds),
        "verify": (MONTH_DAYS, plan.verify_seconds + wait),
    }
    for job, (count, seconds) in runs.items():
        hours = count * (TASK_START_SECONDS + seconds) / 3_600
        bill.add(job, f"{plan.task_vcpu} vCPU", hours * plan.task_vcpu, "fargate_vcpu_hour")
        bill.add(job, f"{plan.task_memory_gb} GB", hours * plan.task_memory_gb, "fargate_gb_hour")
    units = load.table_bytes / CONSISTENT_READ / MILLION
    bill.add("verify", "a full Scan a day", units * MONTH_DAYS, "dynamodb_read_million")


def _add_watching(bill: _Bill, load: Load, plan: Plan) -> None:
    bill.add("watching", "alarms", ALARMS, "cloudwatch_alarm")
    if load.surface == "kds":
        bill.add("watching", "metrics of shards", SHARD_METRICS * plan.shards, "cloudwatch_metric")
    if load.has_consumer or load.transform:
        streams = 1 + (plan.shards if load.surface == "kds" and load.has_consumer else 0)
        metrics = OWN_METRICS * streams if load.writes_per_second else 0
        bill.add("watching", "metrics of functions", metrics, "cloudwatch_metric")
    bill.add("watching", "metrics of jobs", JOB_METRICS, "cloudwatch_metric")
