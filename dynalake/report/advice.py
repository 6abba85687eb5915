"""What a report says is to be done, and with which command. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dynalake.report.words import ago, counted, duration, percent
from queries.facts import DAY_US, LakeFacts, Partition, TableFacts

TAIL_SHARE_MAX = 0.05  # of the state's rows, as `watch` has it
STALE_US = DAY_US  # without a change
PROOF_AGE_US_MAX = 7 * DAY_US
LATE_SHARE_MAX = 0.1
HOT_SHARE_MAX, HOT_CHANGES_MIN = 0.2, 1_000
SMALL_BYTES, SMALL_FILES_MIN = 8_000_000, 8
DUPLICATE_SHARE_MAX = 0.25

Level = Literal["act", "look"]


@dataclass(frozen=True, slots=True)
class Advice:
    """`act` is what is wrong, `look` what may be. `part` is where on the page the numbers are."""

    level: Level
    text: str
    command: str
    part: str


def is_small(partition: Partition) -> bool:
    """Many files, and small ones: each is opened by whoever reads the partition."""
    return partition.files >= SMALL_FILES_MIN and partition.bytes < SMALL_BYTES * partition.files


def advice_for(lake: LakeFacts, table: TableFacts) -> list[Advice]:
    """What is wrong first."""
    found = [*_intake(lake, table), *_state(lake, table), *_trust(lake, table), *_shape(lake, table)]
    return sorted(found, key=lambda one: one.level != "act")


def _command(lake: LakeFacts, text: str) -> str:
    return f"dynalake --lake {shlex.quote(lake.uri)} {text}"


def _intake(lake: LakeFacts, table: TableFacts) -> Iterator[Advice]:
    newest = table.log.newest_us
    if newest is None:
        yield Advice(
            "act", "There are no changes yet. Land raw objects, by consume, Firehose or backfill; then take them in.",
            _command(lake, f"compact {table.name}"), "freshness",
        )  # fmt: skip
    elif lake.now_us - newest > STALE_US:
        yield Advice(
            "look",
            f"The newest change was made {ago(newest, lake.now_us)}. If the table is still written to, see whether the "
            "stream is read and compact runs.",
            _command(lake, f"compact {table.name}"), "freshness",
        )  # fmt: skip
    if table.open_letters:
        yield Advice(
            "act",
            f"{counted(table.open_letters, 'dead letter')} of this table could not be taken in. Mend the cause, and "
            "see what a redrive would change.",
            _command(lake, f"redrive {table.name} --dry-run"), "letters",
        )  # fmt: skip
    if table.log.streamed and table.log.late > LATE_SHARE_MAX * table.log.streamed:
        yield Advice(
            "look",
            f"{percent(table.log.late, table.log.streamed)} of the streamed changes came after a newer one of their "
            "item. The tables are right all the same; see whether a shard or a delivery lags.",
            _command(lake, "status --stream STREAM"), "lateness",
        )  # fmt: skip
    duplicates, records = table.ledger.duplicates, table.ledger.records
    if records >= HOT_CHANGES_MIN and duplicates > DUPLICATE_SHARE_MAX * records:
        yield Advice(
            "look",
            f"{percent(duplicates, records)} of the records read were copies. They are dropped, but read: see whether "
            "the stream is captured twice for a reason.",
            _command(lake, "status"), "duplicates",
        )  # fmt: skip


def _state(lake: LakeFacts, table: TableFacts) -> Iterator[Advice]:
    tail, rows = table.state.tail_changes, table.state.rows
    if tail and tail > TAIL_SHARE_MAX * rows:
        share = f", {percent(tail, rows)} of the state's {counted(rows, 'row')}" if rows else ", and no state yet"
        yield Advice(
            "act", f"The tail has {counted(tail, 'change')}{share}: every query settles it anew. Refresh.",
            _command(lake, f"refresh {table.name}"), "freshness",
        )  # fmt: skip
    if table.state.rescued_rows:
        yield Advice(
            "look",
            f"{counted(table.state.rescued_rows, 'row')} hold values of another kind than their column: they are in "
            "_rescued, not in the column.",
            _command(lake, f'sql "SELECT _item_key, _rescued FROM {table.name} WHERE _rescued IS NOT NULL"'), "columns",
        )  # fmt: skip
    if table.state.columns_full:
        yield Advice(
            "look", "There are no more columns to be had: further attributes are in _item only.",
            _command(lake, f'sql "SELECT json_keys(_item) FROM {table.name} LIMIT 5"'), "columns",
        )  # fmt: skip


def _trust(lake: LakeFacts, table: TableFacts) -> Iterator[Advice]:
    proof, verify = table.proof, _command(lake, f"verify {table.name}")
    if proof is None:
        yield Advice("look", "No verify has held this lake against the table yet.", verify, "proof")
    elif proof.differing:
        yield Advice(
            "act", f"The last verify found {counted(proof.differing, 'item')} unlike the table's.",
            f"{verify} --repair", "proof",
        )  # fmt: skip
    elif proof.unproven:
        yield Advice(
            "look", f"The last verify could not settle {counted(proof.unproven, 'item')}: they changed all the while.",
            verify, "proof",
        )  # fmt: skip
    elif lake.now_us - proof.at_us > PROOF_AGE_US_MAX:
        yield Advice("look", f"The last verify was {duration(lake.now_us - proof.at_us)} ago.", verify, "proof")


def _shape(lake: LakeFacts, table: TableFacts) -> Iterator[Advice]:
    small = sum(map(is_small, table.log.days))
    if small:
        yield Advice(
            "look",
            f"{counted(small, 'day')} of the log {'is' if small == 1 else 'are'} in many small files, which makes "
            "reading slow: compact less often.",
            _command(lake, f"watch {table.name} --every 15m"), "files",
        )  # fmt: skip
    hottest = table.log.hot_keys[0].changes if table.log.hot_keys else 0
    if hottest >= HOT_CHANGES_MIN and hottest > HOT_SHARE_MAX * table.log.streamed:
        yield Advice(
            "look",
            f"One hash key has {percent(hottest, table.log.streamed)} of all changes: DynamoDB throttles a key that is "
            "written to more than about 1,000 times a second.",
            _command(lake, "report --no-keys"), "keys",
        )  # fmt: skip
