"""What a report tells of a lake's tables: all of a table from one version of it, most of it from metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from duckdb import DuckDBPyConnection
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from lake import layout
from lake.catalog import load_table, open_catalog
from lake.config import TableConfig
from lake.dead_letters import Ids, read_dead_letters
from lake.engine import connect_engine, engine_faults, use_s3
from lake.lake import Lake
from lake.log import lineage
from lake.proofs import last_proof
from lake.redrives import redriven_ids
from lake.sql import literal
from lake.tables import scan_sql
from queries.facts import (
    DAY_US,
    INTAKE,
    LakeFacts,
    LedgerFacts,
    Letters,
    LogFacts,
    ProofFacts,
    Series,
    StateFacts,
    TableFacts,
    items_before,
    unit_us,
)
from queries.log_facts import log_facts
from queries.state_facts import state_facts

BATCHES = '"report batches"'  # no table of a lake holds a space in its name
_PARTS = 4

Told = Callable[[int, int], None]


@engine_faults("report on")
def gather(
    lake: Lake,
    tables: Sequence[TableConfig],
    now_us: int,
    *,
    days: int,
    keys: bool = True,
    memory_mb: int = 4096,
    threads: int | None = None,
    told: Told = lambda done, total: None,
) -> LakeFacts:
    """Looks at these tables. `days` is how far back from a log's newest change is counted; `keys` tells hot keys.

    Raises LakeError.
    """
    catalog, done, steps = open_catalog(lake), redriven_ids(lake), len(tables) * _PARTS + 1
    found = []
    con = connect_engine(memory_mb, threads)
    try:
        for n, table in enumerate(tables):
            use_s3(con, lake.uri)

            def step(part: int, before: int = n * _PARTS) -> None:
                told(before + part, steps)

            found.append(_table(lake, con, catalog, table, done, days, keys, step))
    finally:
        con.close()
    letters = _letters(lake, None, done)
    told(steps, steps)
    return LakeFacts(lake.uri, now_us, days, tuple(found), letters)


def _table(
    lake: Lake, con: DuckDBPyConnection, catalog: Catalog, table: TableConfig, done: Ids, days: int, keys: bool,
    step: Callable[[int], None],
) -> TableFacts:  # fmt: skip
    # The log last: it covers at least what the others do.
    ledger = load_table(catalog, layout.ledger_table(table.name))
    state = load_table(catalog, layout.state_table(table.name))
    log = load_table(catalog, layout.log_table(table.name))
    intake, told_of_log, told_of_state = _ledger(con, ledger, log, days), LogFacts(), StateFacts()
    step(1)
    if log is not None:
        told_of_log = log_facts(con, log, table, BATCHES, days, keys)
        step(2)
        told_of_state = state_facts(con, log, state, table)
    growth = items_before(told_of_state.items, told_of_log.throughput)
    step(3)
    facts = TableFacts(
        name=table.name,
        dynamodb_name=table.dynamodb_name,
        key=", ".join(map(str, table.keys.attributes)),
        surface=table.surface,
        ttl=table.ttl,
        masks=tuple((mask.text, mask.action) for mask in table.masks),
        log=told_of_log,
        ledger=intake,
        state=replace(told_of_state, growth=growth),
        proof=_proof(lake, table),
        letters=_letters(lake, table.name, done),
    )
    step(4)
    return facts


def _ledger(con: DuckDBPyConnection, ledger: Table | None, log: Table | None, days: int) -> LedgerFacts:
    """What the ledger says of this log; fills the table of when each batch was taken in."""
    rows = "(SELECT NULL::BIGINT AS batch, NULL::TIMESTAMP AS taken_at, 0::BIGINT AS changes WHERE false)"
    if ledger is not None and log is not None:
        rows = f"(FROM {scan_sql(ledger)} WHERE lineage = {literal(lineage(log))})"
    # Objects that held nothing new are entered under the last batch before them; so is all of a batch whose own entries
    # were lost: when that was taken in, nobody knows.
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE {BATCHES} AS
        SELECT batch, epoch_us(min(taken_at)) AS taken_us FROM {rows} WHERE changes > 0 GROUP BY batch"""
    )
    if ledger is None or log is None:
        return LedgerFacts()
    total = con.execute(
        f"""SELECT count(*), coalesce(sum(records), 0)::BIGINT, coalesce(sum(changes), 0)::BIGINT,
        coalesce(sum(duplicates), 0)::BIGINT, coalesce(sum(dead_letters), 0)::BIGINT,
        epoch_us(max(taken_at)), epoch_us(min(taken_at)) FROM {rows}"""
    ).fetchone()
    assert total is not None
    objects, records, changes, duplicates, dead_letters, last_us, first_us = total
    if last_us is None:
        return LedgerFacts()
    first_us = max(first_us, last_us - days * DAY_US)
    unit = unit_us(first_us, last_us)
    periods = con.execute(
        f"""SELECT epoch_us(taken_at) // {unit} AS period,
        {", ".join(f"sum({name})::BIGINT" for name in INTAKE)}
        FROM {rows} WHERE epoch_us(taken_at) >= {first_us} GROUP BY period"""
    ).fetchall()
    by_period = {period: counts for period, *counts in periods}
    start, end, none = first_us // unit, last_us // unit, [0] * len(INTAKE)
    series = zip(*(by_period.get(period, none) for period in range(start, end + 1)), strict=True)
    intake = Series(start * unit, unit, dict(zip(INTAKE, series, strict=True)))
    return LedgerFacts(objects, records, changes, duplicates, dead_letters, last_us, intake)


def _proof(lake: Lake, table: TableConfig) -> ProofFacts | None:
    proof = last_proof(lake, table.name)
    if proof is None:
        return None
    return ProofFacts(
        proof.at_us, proof.verified_through_us, proof.items_in_table, proof.differing, proof.unproven,
        dict(sorted(proof.counts.items())), proof.sample,
    )  # fmt: skip


def _letters(lake: Lake, table: str | None, done: Ids) -> tuple[Letters, ...]:
    open_, redriven = Counter[str](), Counter[str]()
    for letter in read_dead_letters(lake.place(layout.dead_letter_folder(table))):
        (redriven if letter.redrive_id in done else open_)[letter.reason] += 1
    reasons = sorted(open_ | redriven, key=lambda reason: (-open_[reason], -redriven[reason], reason))
    return tuple(Letters(reason, open_[reason], redriven[reason]) for reason in reasons)
