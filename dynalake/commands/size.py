"""`dynalake size`: how large a table's capture, lake and jobs should be, and about what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from dynalake.console import AsJson, print_json, print_rows
from dynalake.size import (
    CONSISTENT_READ,
    DAY_SECONDS,
    FIREHOSE_BUFFER_MB,
    GB,
    HEADROOM,
    ITEM_KB_MAX,
    KB,
    KEPT_HOURS_MAX,
    KEPT_HOURS_MIN,
    MB,
    TRANSFORM_BUFFER_SECONDS,
    TRANSFORM_MB,
    WINDOW_SECONDS,
    Load,
    Paths,
    Surface,
    plan,
    warnings,
)

if TYPE_CHECKING:
    from dynalake.costs import Cost, Prices, Stream
    from dynalake.size import Plan

NAME = "size"
EXAMPLE = "dynalake size --writes-per-second 500 --item-kb 1 --items 20000000"
WRITES_MAX = 100_000_000.0


def run(
    writes_per_second: Annotated[
        float, typer.Option(help="Writes on the average of a month.", min=0.0, max=WRITES_MAX)
    ],
    item_kb: Annotated[
        float, typer.Option(help="An average item's size, as DynamoDB counts it.", min=0.001, max=ITEM_KB_MAX)
    ] = 1.0,
    items: Annotated[int | None, typer.Option(help="Items in the table. [default: 1000000]", min=0, max=10**13)] = None,
    table_gb: Annotated[
        float | None, typer.Option(help="The table's size, instead of items.", min=0.0, max=1e9)
    ] = None,
    surface: Annotated[str, typer.Option(help="kds, streams or pipe.")] = "kds",
    paths: Annotated[str, typer.Option(help="Into the lake, of kds: both, firehose or consumer.")] = "both",
    transform: Annotated[
        bool, typer.Option("--transform", help="Firehose runs our transformation, as a lake with masks needs it.")
    ] = False,
    peak: Annotated[float, typer.Option(help="The busiest minute against the average.", min=1.0, max=1000.0)] = 2.0,
    delete_share: Annotated[
        float, typer.Option(help="Deletes among the writes; as many insert.", min=0.0, max=0.5)
    ] = 0.1,
    retention_hours: Annotated[
        int, typer.Option(help="Of the Kinesis stream.", min=KEPT_HOURS_MIN, max=KEPT_HOURS_MAX)
    ] = 168,
    sinks: Annotated[int, typer.Option(help="Sinks behind the pipe.", min=0, max=1000)] = 1,
    prices: Annotated[
        Path | None, typer.Option(help="A file of prices, such as for another Region.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how large a table's capture, lake and jobs should be, and about what they cost a month.

    Nothing is asked of AWS. Every figure comes with what it was made of; the prices are those of one dated file.
    """
    load = load_of(
        writes_per_second,
        item_kb,
        items,
        table_gb,
        surface,
        paths,
        transform,
        peak,
        delete_share,
        retention_hours,
        sinks,
    )
    from dynalake.costs import costs, read_prices, stream_costs

    found = read_prices(prices)
    made = plan(load)
    stream = stream_costs(load, made, found) if load.surface == "kds" else None
    lines = costs(load, made, found)
    warned = warnings(load, made)
    if as_json:
        print_json(
            {"load": asdict(load), "plan": asdict(made), "stream": _stream_json(stream),
             "costs": [asdict(line) for line in lines], "usd_per_month": sum(line.usd for line in lines),
             "prices": {"region": found.region, "date": found.date}, "warnings": warned}
        )  # fmt: skip
        return
    print_rows(["set up", "value", "made of"], rows(load, made, stream))
    print()
    _print_costs(lines, found)
    for text in warned:
        print(f"\nmind: {text}")


def load_of(
    writes_per_second: float, item_kb: float, items: int | None, table_gb: float | None, surface: str, paths: str,
    transform: bool, peak: float, delete_share: float, retention_hours: int, sinks: int,
) -> Load:  # fmt: skip
    """The options, held against each other. Raises typer.BadParameter."""
    for option, value in (("--writes-per-second", writes_per_second), ("--item-kb", item_kb), ("--table-gb", table_gb),
                          ("--peak", peak), ("--delete-share", delete_share)):  # fmt: skip
        if value is not None and not math.isfinite(value):  # which no bound catches
            raise typer.BadParameter(f"expected a number, found {value}", param_hint=option)
    if surface not in get_args(Surface):
        raise typer.BadParameter(f"expected kds, streams or pipe, found {surface!r}", param_hint="--surface")
    if paths not in get_args(Paths):
        raise typer.BadParameter(f"expected both, firehose or consumer, found {paths!r}", param_hint="--paths")
    if surface != "kds" and paths == "firehose":
        raise typer.BadParameter("Firehose reads no DynamoDB stream: leave it out", param_hint="--paths")
    if transform and (surface != "kds" or paths == "consumer"):
        raise typer.BadParameter("there is no Firehose to run it: leave it out", param_hint="--transform")
    if items is not None and table_gb is not None:
        raise typer.BadParameter("say it in items or in GB", param_hint="--table-gb")
    if table_gb is not None:
        items = round(table_gb * GB / (item_kb * KB))
    return Load(writes_per_second, item_kb, 1_000_000 if items is None else items, surface, retention_hours,  # type: ignore[arg-type]
                delete_share, peak, paths, sinks, transform)  # type: ignore[arg-type]  # fmt: skip


def rows(load: Load, made: Plan, stream: Stream | None) -> list[tuple[str, str, str]]:
    """What to set up, and what each figure is made of."""
    images = f"an envelope, and {2 - 2 * load.delete_share:.2g} images of {load.item_kb:g} KB in DynamoDB's JSON"
    return [
        ("a record", f"{made.record_bytes / KB:,.1f} KB", images),
        *_stream_rows(load, made, stream),
        *_capture_rows(load, made),
        *_lake_rows(load, made),
    ]


def _stream_rows(load: Load, made: Plan, stream: Stream | None) -> list[tuple[str, str, str]]:
    busiest = load.writes_per_second * load.peak
    if stream is None:
        partitions = (
            f"the table's partitions: {busiest:,.0f} writes a second at the peak, {load.table_bytes / GB:,.1f} GB"
        )
        return [
            ("shards", f"about {made.shards:,}", partitions),
            ("retention", f"{made.retention_hours} h", "that of every DynamoDB stream"),
        ]
    flow = f"{busiest:,.0f} records, {busiest * made.record_bytes / MB:,.2f} MB a second at the peak"
    modes = (
        f"on demand {stream.on_demand_usd:,.2f} USD a month, provisioned {stream.provisioned_usd:,.2f}, "
        f"which is cheaper up to {stream.break_even_shards:,} shards; on demand where you do not know the peak"
    )
    return [
        ("shards", f"{made.shards:,}", f"{flow}, read by {load.readers}, {HEADROOM:.0%} full"),
        ("stream mode", stream.advice, modes),
        (
            "retention",
            f"{made.retention_hours} h",
            "the time to mend a consumer in; the age of its records must stay below",
        ),
    ]


def _capture_rows(load: Load, made: Plan) -> Iterator[tuple[str, str, str]]:
    if load.has_firehose:
        arrived = made.bytes_per_second / MB * made.firehose_seconds
        told = f"{arrived:,.1f} MB in that time, {made.firehose_objects_per_day:,.0f} objects a day"
        yield "Firehose buffer", f"{FIREHOSE_BUFFER_MB} MB, {made.firehose_seconds} s", told
    if load.transform:
        told = f"{made.transforms_per_second * DAY_SECONDS:,.0f} invocations a day"
        yield "transformation", f"{TRANSFORM_MB} MB, {TRANSFORM_BUFFER_SECONDS} s", told
    if load.has_consumer:
        told = (
            f"which are 6 MB, where Lambda ends it; {made.invocations_per_second * DAY_SECONDS:,.0f} invocations a day"
        )
        yield "Lambda batch", f"{WINDOW_SECONDS} s, or {made.batch_records:,} records", told
        yield "Lambda concurrency", f"{made.concurrency:,}", "one a shard; a stream on demand begins with four"


def _lake_rows(load: Load, made: Plan) -> Iterator[tuple[str, str, str]]:
    arrived = made.bytes_per_second * load.ways / MB * made.compact_minutes * 60
    fresh = f"{arrived:,.1f} MB of records{' by both ways' if load.ways > 1 else ''}, {made.compact_seconds:,.0f} s"
    grows = (
        f"of state; a month adds {made.raw_gb_per_month:,.2f} GB raw, {made.log_gb_per_month:,.2f} GB of log, "
        f"{made.replaced_gb_per_month:,.2f} GB of replaced state"
    )
    memory_mb = made.task_memory_gb * 1024 * 3 // 4  # infra/modules/jobs
    yield (
        "buckets",
        f"{made.buckets:,}",
        f"{made.state_gb:,.2f} GB of state, 256 MB each at most; they stay as they are",
    )
    yield "compact", f"every {made.compact_minutes} min", fresh
    yield (
        "refresh",
        f"every {made.refresh_hours:.3g} h",
        f"a tail of 5% of the items, or a day, or twice what it takes; {made.refresh_seconds:,.0f} s",
    )
    units = load.table_bytes / CONSISTENT_READ
    yield "verify", "daily", f"{units:,.0f} read units; {made.verify_seconds:,.0f} s, and what --wait takes"
    yield (
        "task",
        f"{made.task_vcpu} vCPU, {made.task_memory_gb} GB",
        f"--memory-mb {memory_mb}, {made.scratch_gb} GB of scratch",
    )
    yield "lake", f"{made.state_gb:,.2f} GB", grows


def _stream_json(stream: Stream | None) -> dict[str, object] | None:
    if stream is None:
        return None
    told = asdict(stream)
    del told["lines"]
    return told


def _print_costs(lines: list[Cost], prices: Prices) -> None:
    shown = []
    for line in lines:
        price = prices.prices[line.price]
        mark = "" if price.confirmed else " (not confirmed)"
        shown.append(
            (
                line.part,
                line.what,
                f"{line.quantity:,.2f}",
                f"{_plain(price.usd)} per {price.per}{mark}",
                f"{line.usd:,.2f}",
            )
        )
    total = sum(line.usd for line in lines)
    print_rows(["part", "what", "a month", "USD", "USD a month"], [*shown, ("all", "", "", "", f"{total:,.2f}")])
    print(f"prices of {prices.region}, {prices.date}; without the table, transfer, NAT, logs, requests of KMS, queries")


def _plain(usd: float) -> str:
    """With all its digits, and no exponent."""
    return f"{usd:.10f}".rstrip("0").rstrip(".")
