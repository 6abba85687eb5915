"""Faults on the way from a table to its raw objects: seeded knobs, and the report of what they did."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PoisonKind: TypeAlias = Literal["rubbish", "no_record", "missing_key", "contradictory", "future", "truncated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and how often; every knob is off by default.

    A rate is a share of the records (0 to 1), picked by the seed; a count is that many, or as many as there
    are. AWS documents duplicates, disorder, skips and both precisions of the stream, and late and rewritten
    objects of Firehose: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html and
    https://docs.aws.amazon.com/firehose/latest/dev/basic-deliver.html.
    """

    duplicates: float = 0.0
    """Rate of changes sent a second time, with the same event id."""
    duplicate_after_seconds: float = 60.0
    """A duplicate arrives up to this much after the first copy."""
    duplicate_other_precision: float = 0.0
    """Rate, among the duplicates, of those whose time comes with the other precision."""

    disorder: float = 0.0
    """Rate of records held back, so that later ones overtake them."""
    disorder_records: int = 50
    """A record held back arrives after up to this many later records ..."""
    disorder_seconds: float = 0.0
    """... and then up to this much later still."""

    precision_switch_at: float | None = None
    """The fraction of the history after which the stream is switched to its other precision."""

    skipped: int = 0
    """Count of changes that never arrive though a later change of their item does: a broken image chain."""
    skipped_last: int = 0
    """Count of items whose last change never arrives: only the table itself can tell."""

    rewritten_objects: int = 0
    """Count of objects delivered twice under one key, with two bodies (so records come twice)."""
    rewritten_after_seconds: float = 600.0

    late_objects: int = 0
    """Count of objects delivered long after, under the prefix of their records' arrival."""
    late_after_seconds: float = 86_400.0

    poison: int = 0
    """Count of extra records that cannot be taken in, of ``poison_kinds`` in turn."""
    poison_kinds: tuple[PoisonKind, ...] = ("rubbish", "no_record", "missing_key", "contradictory")
    """``future`` (a change of a hundred years on) and ``truncated`` (a cut record, which may take along the
    good one after it where there are no delimiters) are to be asked for."""

    unregistered: int = 0
    """Count of extra records, good ones, of another table."""
    unregistered_table: str = "unregistered"

    def __post_init__(self) -> None:
        for name in ("duplicates", "duplicate_other_precision", "disorder", "precision_switch_at"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate <= 1:
                raise ValueError(f"Faults.{name} is a rate, 0 to 1; got {rate}")
        for name in _COUNTS_AND_SECONDS:
            if getattr(self, name) < 0:
                raise ValueError(f"Faults.{name} must not be negative; got {getattr(self, name)}")
        if self.poison and not self.poison_kinds:
            raise ValueError("Faults.poison needs at least one of poison_kinds")

    @classmethod
    def none(cls) -> "Faults":
        """Everything arrives once, in order."""
        return cls()

    @classmethod
    def typical(cls) -> "Faults":
        """A bad day: some of everything but lost last changes, so that the table can be had from the feed."""
        return cls(
            duplicates=0.02,
            duplicate_other_precision=0.1,
            disorder=0.05,
            disorder_seconds=30.0,
            precision_switch_at=0.6,
            skipped=2,
            rewritten_objects=2,
            late_objects=1,
            poison=8,
            unregistered=3,
        )


_COUNTS_AND_SECONDS = (
    "duplicate_after_seconds",
    "disorder_records",
    "disorder_seconds",
    "skipped",
    "skipped_last",
    "rewritten_objects",
    "rewritten_after_seconds",
    "late_objects",
    "late_after_seconds",
    "poison",
    "unregistered",
)


_COUNTS = ("skipped", "skipped_last", "rewritten_objects", "late_objects", "poison", "unregistered")


@dataclass(frozen=True, slots=True)
class Poison:
    """One poison record as it was sent; no two payloads are the same."""

    kind: PoisonKind
    payload: bytes


@dataclass(slots=True)
class Report:
    """What was sent and what went wrong, exactly; pass one through all calls and it adds up."""

    changes: int = 0
    """Changes in the history."""
    records: int = 0
    """Records that arrived in the stream: changes - skipped + duplicates + poison + unregistered."""
    duplicates: list[str] = field(default_factory=list)
    """Event ids of the changes sent twice."""
    duplicates_other_precision: list[str] = field(default_factory=list)
    """Those of them whose second copy came with the other precision."""
    held_back: int = 0
    """Records held back behind later ones."""
    milliseconds: int = 0
    """First copies of changes that were stamped in milliseconds; the others were in microseconds."""
    skipped: list[str] = field(default_factory=list)
    """Event ids of the changes that never arrived."""
    poison: list[Poison] = field(default_factory=list)
    unregistered: list[bytes] = field(default_factory=list)
    """Payloads of the unregistered table's records."""

    objects: int = 0
    """Deliveries of objects, second ones of the same key included."""
    records_delivered: int = 0
    """Records in all deliveries: those of rewritten objects count each time."""
    rewritten: list[str] = field(default_factory=list)
    """Keys delivered twice."""
    late: list[str] = field(default_factory=list)
    """Keys delivered long after."""

    def counts(self) -> dict[str, int]:
        """Every figure by name, the lists as their lengths, the poison also by kind."""
        figures = {name: getattr(self, name) for name in self.__dataclass_fields__}
        counts = {name: value if isinstance(value, int) else len(value) for name, value in figures.items()}
        kinds = Counter(poison.kind for poison in self.poison)
        return counts | {f"poison_{kind}": count for kind, count in sorted(kinds.items())}


class FaultsLeft:
    """How often each counted fault is still to strike, for what runs on without knowing how much is to come.

    Struck at once where ``final``; before that once in ``every`` candidates, so that they spread.
    """

    def __init__(self, faults: Faults) -> None:
        self._left = {name: int(getattr(faults, name)) for name in _COUNTS}
        self._struck = Counter[str]()
        self._seen = Counter[str]()

    def due(self, name: str, candidates: int, *, every: int, final: bool) -> int:
        """How often the fault is to strike now, at ``candidates`` more; tell ``struck`` how often it did."""
        self._seen[name] += candidates
        if final:
            return self._left[name]
        return max(0, min(self._left[name], self._seen[name] // every - self._struck[name]))

    def struck(self, name: str, count: int) -> None:
        """Count the fault as made; a negative count takes some back."""
        self._left[name] -= count
        self._struck[name] += count
