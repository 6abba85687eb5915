"""Sizes and costs against examples that were reckoned by hand, and what must hold of them whatever is written."""

from __future__ import annotations

import datetime
import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from dynalake.commands.size import load_of, rows
from dynalake.costs import Cost, Prices, costs, read_prices, stream_costs
from dynalake.size import Load, Plan, plan, warnings
from lake.errors import ConfigError
from tests.commands import dynalake

PRICES = read_prices()
LISTED = Path(__file__).parent.parent / "dynalake" / "prices.toml"
SMALLER_IS_MORE = {"compact_minutes", "refresh_hours", "firehose_seconds"}  # the time between two of something


def total(load: Load, prices: Prices = PRICES) -> float:
    return sum(line.usd for line in costs(load, plan(load), prices))


def line(load: Load, part: str, what: str = "") -> Cost:
    (found,) = (one for one in costs(load, plan(load), PRICES) if one.part == part and one.what.startswith(what))
    return found


# By hand


def test_a_record_and_its_shards() -> None:
    """500 writes a second of 1 KB: 450 + 1.8 × 1,024 × 2 bytes; a peak of 1,000 records and 3.94 MiB a second."""
    made = plan(Load(500, 1, 20_000_000))
    assert made.record_bytes == pytest.approx(4136.4)
    assert made.shards == 6  # 3.94 MiB ÷ 0.7 = 5.6; two readers take 2 × 3.94 of 2 each, the same
    assert plan(Load(500, 1, paths="firehose")).shards == 6
    assert plan(Load(500, 0.1)).shards == 2  # 1,000 records ÷ 0.7 = 1.4; 0.78 MiB
    assert plan(Load(500, 1, peak=1)).shards == 3
    assert plan(Load(0)).shards == 1


def test_partitions_stand_for_the_shards_of_a_native_stream() -> None:
    assert plan(Load(500, 1.5, 1, "streams")).shards == 2  # 1,000 × 2 units at the peak
    assert plan(Load(1, 1, 30 * 2**20, "pipe")).shards == 3  # 30 GB
    assert plan(Load(1, surface="streams")).retention_hours == 24


def test_firehose_objects() -> None:
    """1 write a second brings 1.18 MB in 300 s: an object each time. 500 bring 128 MB every 65 s."""
    assert (plan(Load(1)).firehose_seconds, plan(Load(1)).firehose_objects_per_day) == (300, 288)
    assert plan(Load(500)).firehose_objects_per_day == pytest.approx(500 * 4136.4 * 86_400 / (128 * 2**20))
    assert (plan(Load(0.1)).firehose_seconds, plan(Load(0.1)).firehose_objects_per_day) == (900, 96)
    assert plan(Load(500, paths="consumer")).firehose_objects_per_day == 0


def test_batches_of_lambda() -> None:
    """5.4 MiB carry 949 records of 4,136.4 × 4/3 + 450 bytes; native ones are not in base64."""
    assert plan(Load(500)).batch_records == 949
    assert plan(Load(500, surface="streams")).batch_records == 1234
    assert plan(Load(500, 400)).batch_records == 2
    assert plan(Load(500)).invocations_per_second == pytest.approx(500 / 949)
    assert plan(Load(0.01)).invocations_per_second == pytest.approx(0.01)  # one each
    assert plan(Load(1)).invocations_per_second == pytest.approx(4 / 30)  # four open shards, 30 s
    assert plan(Load(500, paths="firehose")).concurrency == 0


def test_buckets() -> None:
    """docs/operations.md: for 10 GB of state some 64."""
    assert plan(Load(1, 1, 20 * 2**20)).state_gb == pytest.approx(10)
    assert plan(Load(1, 1, 20 * 2**20)).buckets == 64
    assert [plan(Load(1, 1, gb * 2**21)).buckets for gb in (0, 0.25, 0.26, 1, 100)] == [1, 1, 2, 4, 512]


def test_jobs() -> None:
    """Both ways bring 2 × 4,136.4 bytes a write: 2.4 GB in 10 minutes, and more than half of what one vCPU takes in."""
    made = plan(Load(500, 1, 20_000_000))
    assert (made.compact_minutes, made.task_vcpu, made.task_memory_gb) == (5, 2, 8)
    assert made.compact_seconds == pytest.approx(2 * 500 * 4136.4 * 300 / (2 * 6 * 2**20))
    one_way = plan(Load(500, 1, 20_000_000, paths="firehose"))
    assert (one_way.compact_minutes, one_way.task_vcpu, one_way.task_memory_gb) == (10, 1, 4)
    assert one_way.raw_gb_per_month == pytest.approx(made.raw_gb_per_month / 2)
    assert made.refresh_hours == 6  # 5 % of 20 million are written in 2,000 s
    assert plan(Load(1, 1, 1_000_000)).refresh_hours == pytest.approx(50_000 / 3_600)
    assert plan(Load(1, 1, 10**8)).refresh_hours == 24
    assert plan(Load(1, 1, 10**9)).refresh_hours == pytest.approx(
        2 * 10**9 / 10_240 / 3_600
    )  # 54 h: twice what it takes
    assert made.verify_seconds == pytest.approx(20_000_000 / 2 / 4_096)
    assert plan(Load(1000)).task_vcpu == 4 and plan(Load(1, 200)).task_memory_gb == 7


def test_the_transformation() -> None:
    """A call for each MiB, 1.97 a second; or one a minute. Each takes 0.05 s, and a tenth of a second for its MiB."""
    made = plan(Load(500, transform=True))
    assert made.transforms_per_second == pytest.approx(500 * 4136.4 / 2**20)
    assert made.transform_seconds == pytest.approx(0.15)
    assert plan(Load(1, transform=True)).transforms_per_second == pytest.approx(1 / 60)
    assert [plan(load).transforms_per_second for load in (Load(500), Load(0, transform=True))] == [0, 0]
    called = line(Load(500, transform=True), "transformation", "invocations")
    assert called.usd == pytest.approx(500 * 4136.4 / 2**20 * 2.628 * 0.20)


def test_costs_of_capture_and_firehose() -> None:
    """1,314 million writes a month; 2 KB items are two units each; records of 4.04 KB count as 5 KB."""
    load = Load(500, 1.5, 1)
    assert line(load, "capture").usd == pytest.approx(1_314 * 2 * 0.10)
    load = Load(500, 1, 1)
    assert line(load, "capture").usd == pytest.approx(131.40)
    assert line(load, "Firehose").usd == pytest.approx(1_314e6 * 5_120 / 2**30 * 0.029)
    assert line(load, "verify", "a full Scan").usd == pytest.approx(730 / 24 * 1 / 4 * 0.125 / 1e6)


def test_costs_of_both_modes() -> None:
    """6 shards: 730 h × (0.015 + 0.02), and 1,314 million units. 40 shards and these would still be under on demand."""
    load = Load(500, 1, 20_000_000)
    stream = stream_costs(load, plan(load), PRICES)
    assert stream.provisioned_usd == pytest.approx(6 * 730 * 0.035 + 1_314 * 0.014)
    written, read = 1_314e6 * 5_120 / 2**30, 2 * 1_314e6 * 4136.4 / 2**30
    assert stream.on_demand_usd == pytest.approx(29.20 + written * 0.08 + read * 0.04 + written / 730 * 144 * 0.10)
    assert (stream.advice, stream.break_even_shards) == ("PROVISIONED", 40)
    assert sum(one.usd for one in stream.lines) == pytest.approx(stream.provisioned_usd)
    rare = Load(5, 1, peak=1000)
    stream = stream_costs(rare, plan(rare), PRICES)
    assert stream.advice == "ON_DEMAND" and stream.break_even_shards < plan(rare).shards
    assert sum(one.usd for one in stream.lines) == pytest.approx(stream.on_demand_usd)


def test_the_break_even_is_one() -> None:
    """At as many shards provisioned is cheaper, at one more it is not."""
    load = Load(50, 1)
    made = plan(load)
    even = stream_costs(load, made, PRICES).break_even_shards
    advice = [stream_costs(load, replace(made, shards=n), PRICES).advice for n in (even, even + 1)]
    assert advice == ["PROVISIONED", "ON_DEMAND"]


def test_longer_retention_costs_more() -> None:
    day, week, month = (total(Load(100, retention_hours=hours)) for hours in (24, 168, 720))
    assert day < week < month
    assert not [one for one in costs(Load(1), plan(Load(1, retention_hours=24)), PRICES) if "retention" in one.what]


def test_costs_of_a_pipe() -> None:
    """Every change is an event; each sink's queue has it sent, received and deleted."""
    load = Load(100, 1, surface="pipe", sinks=3)
    assert line(load, "pipe", "events").usd == pytest.approx(262.8 * 1.00)
    assert line(load, "pipe", "sent").usd == pytest.approx(262.8 * 3 * 3 * 0.40)
    assert line(load, "pipe", "reads").quantity == pytest.approx(4 * 2.628)
    assert {one.part for one in costs(load, plan(load), PRICES)}.isdisjoint({"capture", "stream", "Firehose"})


# Whatever is written

LOADS = st.builds(
    Load,
    st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
    st.floats(0.01, 400),
    st.integers(0, 10**11),
    st.sampled_from(["kds", "streams", "pipe"]),
    st.integers(24, 8_760),
    st.floats(0, 0.5),
    st.floats(1, 100),
    st.sampled_from(["both", "firehose", "consumer"]),
    st.integers(0, 9),
    st.booleans(),
).map(lambda load: replace(load, transform=load.transform and load.has_firehose))


@given(LOADS, st.one_of(st.floats(0, 1e6), st.floats(0, 1)))
def test_more_writes_never_cost_less(load: Load, more: float) -> None:
    busier = replace(load, writes_per_second=load.writes_per_second + more)
    assert total(busier) >= total(load) * (1 - 1e-9)


@given(LOADS, st.floats(0, 1e6))
def test_more_writes_never_need_less(load: Load, more: float) -> None:
    before, after = plan(load), plan(replace(load, writes_per_second=load.writes_per_second + more))
    names = {field.name for field in fields(Plan)} - {
        f"{job}_seconds" for job in ("compact", "refresh", "verify", "invocation", "transform")
    }
    for name in names:
        less, greater = (after, before) if name in SMALLER_IS_MORE else (before, after)
        assert getattr(less, name) <= getattr(greater, name) * (1 + 1e-9), name


@given(LOADS)
def test_every_figure_is_a_number_within_its_bounds(load: Load) -> None:
    made = plan(load)
    assert all(getattr(made, field.name) >= 0 for field in fields(made))
    assert made.shards >= 1 and 1 <= made.buckets <= 4096 and made.buckets & (made.buckets - 1) == 0
    assert made.batch_records <= 10_000 and made.task_memory_gb <= 30
    assert all(one.usd >= 0 and one.quantity >= 0 for one in costs(load, made, PRICES))
    if load.surface == "kds":
        peak = load.writes_per_second * load.peak
        assert peak <= made.shards * 700 * (1 + 1e-9)
        assert peak * made.record_bytes <= made.shards * 0.7 * 2**20 * (1 + 1e-9)


@given(LOADS)
def test_larger_items_never_need_less(load: Load) -> None:
    """Of capture; more items may, of jobs: the tail comes to its share of them later."""
    before, after = plan(load), plan(replace(load, item_kb=min(400, load.item_kb * 2)))
    for name in ("record_bytes", "shards", "buckets", "firehose_objects_per_day", "task_memory_gb", "scratch_gb"):
        assert getattr(before, name) <= getattr(after, name) * (1 + 1e-9), name


def test_what_does_not_fit_is_told() -> None:
    def told(load: Load) -> str:
        return " ".join(warnings(load, plan(load)))

    assert told(Load(500, 1, 20_000_000)) == ""
    assert "items so large may make records of more than 1 MiB" in told(Load(1, 400))
    assert "more than 34 KB" in told(Load(1, 35)) and "more than 34 KB" not in told(Load(1, 400))
    assert "1 MiB" not in told(Load(1, 400, surface="streams"))
    assert "a bus takes" in told(Load(1, 100, surface="pipe"))
    assert "200 MB a second" in told(Load(1e5)) and "concurrency" in told(Load(1e6))
    assert "one task does not compact" in told(Load(1e4))
    assert "a refresh takes" in told(Load(1, 1, 10**9)) and "a full verify takes" in told(Load(1, 1, 10**9))
    assert "scratch" in told(Load(1, 1, 10**9)) and "buckets" in told(Load(1, 1, 10**13))


# Prices


def test_prices_are_dated_and_say_where_they_are_from() -> None:
    assert PRICES.region == "us-east-1" and PRICES.date >= datetime.date(2026, 11, 1)
    for name, price in PRICES.prices.items():
        assert 0 < price.usd < 10 and price.per and type(price.confirmed) is bool, name
        assert re.fullmatch(r"https://aws\.amazon\.com/[\w/-]+/pricing/[\w/-]*", price.page), name


def test_every_price_is_used() -> None:
    loads = [Load(5, 1, peak=1000), Load(500, retention_hours=800), Load(500, surface="pipe")]
    used = {one.price for load in loads for one in costs(load, plan(load), PRICES)}
    assert used == PRICES.prices.keys()


def test_another_file_of_prices(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LISTED.read_text().replace("us-east-1", "eu-central-1").replace("usd = 0.029", "usd = 0.058"))
    found = json.loads(dynalake("none", "size", "--writes-per-second", "9", "--prices", str(path), "--json").out)
    assert found["prices"]["region"] == "eu-central-1"
    (doubled,) = (one["usd"] for one in found["costs"] if one["part"] == "Firehose")
    assert doubled == pytest.approx(2 * line(Load(9), "Firehose").usd)
    for broken in (
        "", "region = 'x'\n", "not toml", "\udcff",
        LISTED.read_text().replace("usd = 0.029", "usd = -1"),
        LISTED.read_text().replace("usd = 0.029", "usd = 'x'"),
        LISTED.read_text().replace("usd = 0.029", "usd = nan"),
        LISTED.read_text().replace("date = 2026-11-28", "date = 'x'"),
        LISTED.read_text().replace("[prices.firehose_gb]", "[prices.other]"),
    ):  # fmt: skip
        path.write_bytes(broken.encode("utf-8", "surrogateescape"))
        with pytest.raises(ConfigError):
            costs(Load(9), plan(Load(9)), read_prices(path))
    assert "read prices from" in dynalake("none", "size", "--writes-per-second", "9", "--prices", "none.toml").fault
    with pytest.raises(ConfigError, match=r"expected a price"):
        total(Load(9), replace(PRICES, prices={}))


# The command


def test_a_plan_is_told_with_what_it_is_made_of() -> None:
    found = dynalake("none", "size", "--writes-per-second", "500", "--items", "20000000", "--transform")
    assert found.code == 0 and found.errors == ""
    for word in (
        "6 ",
        "PROVISIONED",
        "128 MB, 300 s",
        "or 949 records",
        "every 5 min",
        "170,414 invocations a day",
        "5,000,000 read units",
        "us-east-1",
        "(not confirmed)",
    ):
        assert word in found.out, word
    assert f"{total(Load(500, 1, 20_000_000, transform=True)):,.2f}" in found.out and "e-05" not in found.out


def test_json_says_all_of_it() -> None:
    found = json.loads(dynalake("none", "size", "--writes-per-second", "5", "--table-gb", "2", "--json").out)
    assert found["load"]["items"] == 2 * 2**20 and found["warnings"] == []
    assert found["plan"].keys() == {field.name for field in fields(Plan)}
    assert found["usd_per_month"] == pytest.approx(sum(one["usd"] for one in found["costs"]))
    assert found["stream"].keys() == {"advice", "on_demand_usd", "provisioned_usd", "break_even_shards"}
    native = json.loads(dynalake("none", "size", "--writes-per-second", "0", "--surface", "pipe", "--json").out)
    assert native["stream"] is None and native["plan"]["retention_hours"] == 24


@pytest.mark.parametrize("surface", ["kds", "streams", "pipe"])
def test_the_bounds(surface: str) -> None:
    """Said by the command at one corner, and by what it prints at the others."""
    words = ["--writes-per-second", "100000000", "--item-kb", "400", "--surface", surface]
    found = dynalake("none", "size", *words)
    assert found.code == 0 and "nan" not in found.out and "inf" not in found.out
    for writes, item_kb in ((0.0, 0.001), (0.0, 400.0), (1e8, 0.001)):
        load = Load(writes, item_kb, surface=surface)  # type: ignore[arg-type]
        made = plan(load)
        stream = stream_costs(load, made, PRICES) if surface == "kds" else None
        told = " ".join(" ".join(row) for row in rows(load, made, stream)) + f" {total(load)}"
        assert "nan" not in told and "inf" not in told


@pytest.mark.parametrize(
    "words",
    [
        "", "--writes-per-second -1", "--writes-per-second nan", "--writes-per-second many",
        "--writes-per-second 1 --item-kb 401", "--writes-per-second 1 --peak 0.5",
        "--writes-per-second 1 --delete-share 0.6", "--writes-per-second 1 --retention-hours 23",
        "--writes-per-second 1 orders",
    ],
)  # fmt: skip
def test_wrong_usage(words: str) -> None:
    found = dynalake("none", "size", *words.split())
    assert (found.code, found.out) == (2, "") and "Traceback" not in found.errors


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"writes_per_second": math.inf}, "--writes-per-second"),
        ({"item_kb": math.nan}, "--item-kb"),
        ({"items": 5, "table_gb": 1.0}, "--table-gb"),
        ({"surface": "dynamo"}, "--surface"),
        ({"paths": "none"}, "--paths"),
        ({"surface": "pipe", "paths": "firehose"}, "--paths"),
        ({"surface": "streams", "transform": True}, "--transform"),
        ({"paths": "consumer", "transform": True}, "--transform"),
    ],
)
def test_options_that_do_not_go_together(wrong: dict[str, Any], option: str) -> None:
    right: dict[str, Any] = {
        "writes_per_second": 1.0, "item_kb": 1.0, "items": None, "table_gb": None, "surface": "kds", "paths": "both",
        "transform": False, "peak": 2.0, "delete_share": 0.1, "retention_hours": 168, "sinks": 1,
    }  # fmt: skip
    assert load_of(**right) == Load(1)
    with pytest.raises(typer.BadParameter) as refused:
        load_of(**right | wrong)
    assert refused.value.param_hint == option
