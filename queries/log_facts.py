"""What a report tells of a change log: one pass over a few narrow columns, one over the hash keys."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from duckdb import DuckDBPyConnection
from pyiceberg.table import Table

from lake.config import TableConfig
from lake.log import key_columns
from lake.sql import identifier
from lake.tables import LogFile, batch_of, data_files, scan_sql
from queries.facts import BANDS, DAY_US, KINDS, Band, HotKey, LogFacts, Partition, Series, unit_us

HOT_KEYS_MAX = 10
KEY_LETTERS_MAX = 120
_EPOCH = datetime.date(1970, 1, 1)
_KIND = """CASE op WHEN 'INSERT' THEN 'inserts' WHEN 'MODIFY' THEN 'modifies' WHEN 'READ' THEN 'reads'
  ELSE CASE WHEN is_ttl THEN 'expiries' ELSE 'removes' END END"""


def log_facts(
    con: DuckDBPyConnection, log: Table, table: TableConfig, batches: str, days: int, keys: bool
) -> LogFacts:  # fmt: skip
    """`batches` is SQL for a table of when each batch was taken in."""
    files = data_files(log, "created_at_us")
    if not files:
        return LogFacts(batch=batch_of(log))
    oldest, newest = min(file.low for file in files), max(file.high for file in files)
    since = max(oldest, newest - days * DAY_US)
    recent = f"(FROM {scan_sql(log)} WHERE event_time >= make_timestamp({since}) AND created_at_us >= {since})"
    facts = LogFacts(
        batch=batch_of(log),
        changes=sum(file.rows for file in files),
        oldest_us=oldest,
        newest_us=newest,
        since_us=since,
        hot_keys=_hot_keys(con, recent, table, keys),
        days=partitions(files, _day),
    )
    return _counted(con, recent, batches, facts, since, newest)


def _counted(
    con: DuckDBPyConnection, recent: str, batches: str, facts: LogFacts, since_us: int, newest_us: int
) -> LogFacts:
    unit = unit_us(since_us, newest_us)
    lag = "(taken_us - created_at_us) / 1e6"
    bands = " ".join(f"WHEN {lag} < {seconds} THEN {n}" for n, seconds in enumerate(BANDS))
    rows = con.execute(
        f"""SELECT created_at_us // {unit} AS period, {_KIND} AS kind, is_late, is_tied,
        source = 'stream' AS is_streamed,
        CASE WHEN taken_us IS NULL THEN -1 {bands} ELSE {len(BANDS)} END AS band, count(*)
        FROM {recent} LEFT JOIN {batches} USING (batch) GROUP BY ALL"""
    ).fetchall()
    periods: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    on_time, late = [0] * (len(BANDS) + 2), [0] * (len(BANDS) + 2)  # the last: of which nobody knows
    tied = streamed = late_reads = 0
    for period, kind, is_late, is_tied, is_streamed, band, count in rows:
        periods[kind][period] += count
        tied += count if is_tied else 0
        late_reads += count if is_late and not is_streamed else 0
        if is_streamed:
            streamed += count
            (late if is_late else on_time)[band] += count
    start, end = since_us // unit, newest_us // unit
    counts = {kind: tuple(periods[kind][n] for n in range(start, end + 1)) for kind in KINDS}
    limits: tuple[int | None, ...] = (*BANDS, None)
    return replace(
        facts,
        tied=tied,
        streamed=streamed,
        late=sum(late),
        late_reads=late_reads,
        untold=on_time[-1] + late[-1],
        throughput=Series(start * unit, unit, counts),
        lateness=tuple(Band(*band) for band in zip(limits, on_time[:-1], late[:-1], strict=True)),
    )


def _hot_keys(con: DuckDBPyConnection, recent: str, table: TableConfig, keys: bool) -> tuple[HotKey, ...]:
    column = identifier(key_columns(table.keys)[0])
    text = f"to_base64({column})" if table.keys.hash_key.kind == "B" else column
    rows = con.execute(
        f"""SELECT {text}, changes FROM (SELECT {column}, count(*) AS changes FROM {recent}
        WHERE source = 'stream' GROUP BY {column}) ORDER BY changes DESC, {column} LIMIT {HOT_KEYS_MAX}"""
    ).fetchall()
    return tuple(HotKey(_shortened(key) if keys else None, changes) for key, changes in rows)


def _shortened(key: str) -> str:
    return key if len(key) <= KEY_LETTERS_MAX else key[:KEY_LETTERS_MAX] + "…"


def _day(partition: Any) -> str:
    return str(_EPOCH + datetime.timedelta(days=partition)) if isinstance(partition, int) else str(partition)


def partitions(files: Iterable[LogFile], label: Any) -> tuple[Partition, ...]:
    """The files of a table by their partition, in its order."""
    found: dict[Any, list[LogFile]] = defaultdict(list)
    for file in files:
        found[file.partition].append(file)
    return tuple(
        Partition(label(key), len(group), sum(file.size for file in group), sum(file.rows for file in group))
        for key, group in sorted(found.items(), key=lambda one: (one[0] is None, one[0]))
    )
