"""What a report tells of a lake, as plain data: no values of items but hash keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTE_US = 60_000_000
HOUR_US, DAY_US = 60 * MINUTE_US, 1_440 * MINUTE_US
UNITS_US = (
    MINUTE_US, 10 * MINUTE_US, HOUR_US, 6 * HOUR_US, DAY_US, 7 * DAY_US, 28 * DAY_US, 364 * DAY_US,
)  # fmt: skip
PERIODS_MAX = 180  # a page's patience
KINDS = ("inserts", "modifies", "removes", "expiries", "reads")
INTAKE = ("changes", "duplicates", "dead_letters")
# How long a change took into the log, up to so many seconds; then more.
BANDS = (60, 300, 900, 3_600, 6 * 3_600, 86_400, 7 * 86_400)


@dataclass(frozen=True, slots=True)
class Series:
    """Counts by period: of each kind one number for every `unit_us` from `start_us` on, UTC microseconds."""

    start_us: int
    unit_us: int
    counts: Mapping[str, tuple[int, ...]]

    @property
    def length(self) -> int:
        return max(map(len, self.counts.values()), default=0)

    def total(self, kind: str) -> int:
        return sum(self.counts.get(kind, ()))


@dataclass(frozen=True, slots=True)
class Band:
    """Changes that were taken in so many seconds after they were made, and not so in less; None: whatever is more."""

    until_seconds: int | None
    on_time: int
    late: int


@dataclass(frozen=True, slots=True)
class HotKey:
    """A hash key, as text, with its changes; no key where keys are not to be told."""

    key: str | None
    changes: int


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A typed column of the state. `filled` rows have a value, in `rescued` rows one of another kind was put aside."""

    name: str
    attribute: str
    kind: str
    type: str
    filled: int | None
    rescued: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A day of a log, or a bucket of a state."""

    label: str
    files: int
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters of one reason: those that wait, and those that were redriven."""

    reason: str
    open: int
    redriven: int


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """What the last `verify` found."""

    at_us: int
    verified_through_us: int | None
    items_in_table: int
    differing: int
    unproven: int
    counts: Mapping[str, int]
    sample: float | None


@dataclass(frozen=True, slots=True)
class LogFacts:
    """The change log. What is counted by period, and what is told of marks, lateness and keys, is of the last days."""

    batch: int = 0
    changes: int = 0
    oldest_us: int | None = None
    newest_us: int | None = None
    since_us: int | None = None  # of what the rest tells
    throughput: Series = Series(0, DAY_US, {})
    tied: int = 0
    streamed: int = 0
    late: int = 0  # of the streamed ones
    late_reads: int = 0  # of those that were read: what they tell is older than what streamed meanwhile
    lateness: tuple[Band, ...] = ()
    untold: int = 0  # of the streamed ones: the ledger does not say when they were taken in
    hot_keys: tuple[HotKey, ...] = ()
    days: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What was taken in from raw objects."""

    objects: int = 0
    records: int = 0
    changes: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    last_taken_us: int | None = None
    intake: Series = Series(0, DAY_US, {})  # by when it was taken in


@dataclass(frozen=True, slots=True)
class StateFacts:
    """The current state: as of its last refresh, but for `items`, which are as of the log."""

    covered: int = 0
    tail_changes: int = 0
    rows: int = 0
    items: int = 0  # that the table holds, by the log
    expired: int = 0  # that it no longer holds, kept by the table's policy
    growth: Series = Series(0, DAY_US, {})
    columns: tuple[ColumnFacts, ...] = ()
    columns_full: bool = False
    rescued_rows: int = 0
    buckets: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table."""

    name: str
    dynamodb_name: str
    key: str
    surface: str
    ttl: str
    masks: tuple[tuple[str, str], ...]
    log: LogFacts
    ledger: LedgerFacts
    state: StateFacts
    proof: ProofFacts | None
    letters: tuple[Letters, ...]

    @property
    def open_letters(self) -> int:
        return sum(one.open for one in self.letters)


@dataclass(frozen=True, slots=True)
class LakeFacts:
    """A lake at an instant."""

    uri: str
    now_us: int
    days: int
    tables: tuple[TableFacts, ...]
    letters_of_no_table: tuple[Letters, ...]


def unit_us(first_us: int, last_us: int) -> int:
    """The shortest period of which not too many reach from the one instant to the other."""
    return next(
        (unit for unit in UNITS_US if last_us // unit - first_us // unit < PERIODS_MAX), UNITS_US[-1]
    )  # fmt: skip


def items_before(items: int, changes: Series) -> Series:
    """How many items the table held at the end of each period, reckoned back from how many it holds now."""
    held: list[int] = []
    for n in reversed(range(changes.length)):
        held.append(max(items, 0))
        came, went, expired = (changes.counts[kind][n] for kind in ("inserts", "removes", "expiries"))
        items += went + expired - came
    return Series(changes.start_us, changes.unit_us, {"items": tuple(reversed(held))} if held else {})
