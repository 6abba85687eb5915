"""The page of a report: what was gathered, drawn. What is not ours is escaped; nothing is fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dynalake.report import charts, words
from dynalake.report.advice import Advice, advice_for, is_small
from queries.facts import LakeFacts, TableFacts

FOLDER = Path(__file__).parent
KINDS = {
    "inserts": "inserts", "modifies": "modifies", "removes": "removes", "expiries": "expired (TTL)",
    "reads": "read by a backfill",
}  # fmt: skip
STREAMED = {kind: name for kind, name in KINDS.items() if kind != "reads"}  # a backfill would dwarf the rest
INTAKE = {"duplicates": "duplicates", "dead_letters": "dead letters"}
DAYS_SHOWN_MAX = 400


@dataclass(frozen=True, slots=True)
class TablePage:
    """A table's facts with what is drawn and said of them."""

    facts: TableFacts
    advice: tuple[Advice, ...]
    throughput: charts.Chart
    growth: charts.Chart
    duplicates: charts.Chart
    log_files: charts.Chart
    state_files: charts.Chart

    @property
    def mark(self) -> str:
        """The gravest of what is said: `act`, `look` or `fine`."""
        return self.advice[0].level if self.advice else "fine"


def render(lake: LakeFacts) -> str:
    """The whole page: the same facts give the same text."""
    tables = [_table_page(lake, table) for table in lake.tables]
    return _environment().get_template("page.html.j2").render(lake=lake, tables=tables)


def _table_page(lake: LakeFacts, table: TableFacts) -> TablePage:
    return TablePage(
        facts=table,
        advice=tuple(advice_for(lake, table)),
        throughput=charts.stacked(table.log.throughput, STREAMED),
        growth=charts.line(table.state.growth, "items"),
        duplicates=charts.stacked(table.ledger.intake, INTAKE),
        log_files=charts.sizes(table.log.days[-DAYS_SHOWN_MAX:], is_small),
        state_files=charts.sizes(table.state.buckets, is_small),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    given: Mapping[str, Any] = {
        name: getattr(words, name)
        for name in ("ago", "band", "counted", "duration", "instant", "number", "percent", "period", "size", "unit")
    }
    environment.globals |= {**given, "KINDS": KINDS, "INTAKE": INTAKE, "is_small": is_small}
    environment.tests["small"] = is_small
    return environment
