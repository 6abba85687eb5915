"""Entities that a table's items seem to be: found in a sample, by what their keys begin with or an attribute that says
it, and counted in all of them. What is proposed is disjoint.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lake.columns import ITEM, ITEM_KEY, Column
from lake.conditions import And, BeginsWith, Condition, Exists, In, Not, Value
from lake.entities import NAME_MAX, Entity, condition_sql
from lake.keys import KeySchema
from lake.layout import sql_name, unique_name
from lake.sql import identifier

SAMPLE_ITEMS = 10_000
TEXT_MAX = 200  # characters of a key, and attributes of an item, that are looked at
LABELS_MAX = 50  # more of them are no labels but ids
SHARE_MIN = 0.001  # what is rarer is no entity
CANDIDATES_MAX = 40
NAME_SHOWN = NAME_MAX - 10  # a counter, or another word, must fit behind it
SEPARATORS = "#|:/"
_LABEL = rf"[{SEPARATORS}]?[A-Za-z_][A-Za-z0-9_.\-]*"
_PREFIX = re.compile(rf"{_LABEL}[{SEPARATORS}]")
_CONSTANT = re.compile(_LABEL)
_INNER = re.compile(rf"[A-Z][A-Z_]+[{SEPARATORS}]")  # a further label behind the first: never an id
# What a range key says of the one item that stands for the whole hash key.
_WHOLE = {
    "meta",
    "metadata",
    "info",
    "root",
    "self",
    "header",
    "base",
    "details",
    "main",
    "data",
    "item",
    "a",
    "profile",
}
# What attributes are called that tell items apart.
_TELLING = {"type", "entity", "entitytype", "itemtype", "recordtype", "objecttype", "typename", "et", "kind", "edbe",
            "model", "class", "discriminator", "doctype", "modeltype"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proposal:
    """An entity that there seems to be: how many items it is, and what those looked at hold beside their keys."""

    entity: Entity
    items: int
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proposals:
    """What was proposed: of how many items, of which how many were looked at, and how many match none of it."""

    items: int
    looked_at: int
    uncovered: int
    found: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is looked at of an item: its keys where they are strings, strings that may tell, its attributes' names."""

    hash_key: str | None
    range_key: str | None
    told: tuple[str | None, ...]
    attributes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Label:
    """What values of a key have in common: the same beginning, or all of it; or nothing."""

    text: str = ""
    is_whole: bool = False

    @property
    def name(self) -> str:
        return snake(self.text)


NONE = Label()
Found = list[tuple[str, Condition]]  # names and conditions, the most frequent first


def infer_entities(
    con: Any, relation: str, keys: KeySchema, columns: Sequence[Column], taken: Collection[str] = ()
) -> Proposals:
    """Proposes entities of the rows of `relation` (SQL for a current state with `columns`).

    `taken` are names that none may have. The memory it takes has a bound, whatever the items.
    """
    (items,) = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
    every = max(1, -(-items // SAMPLE_ITEMS))
    source = f"(FROM {relation} WHERE hash({ITEM_KEY}) % {every} = 0)"
    told = _telling_columns(con, source, keys, columns)
    seen = _looked_at(con, source, keys, columns, told)
    exact, loose = (
        find(seen, keys, [column.attribute for column in told], taken, is_exact) for is_exact in (True, False)
    )
    counts, overlap, covered = _counted(con, relation, columns, loose)
    if overlap:  # what is simple meets in items that were not looked at
        loose = exact
        counts, overlap, covered = _counted(con, relation, columns, loose)
    assert not overlap, loose
    proposals = [
        Proposal(Entity(name, where), count, _attributes_of(seen, keys, told, where))
        for (name, where), count in zip(loose, counts, strict=True)
        if count
    ]
    proposals.sort(key=lambda one: (-one.items, one.entity.name))
    return Proposals(items, len(seen), items - covered, tuple(proposals))


def _telling_columns(con: Any, source: str, keys: KeySchema, columns: Sequence[Column]) -> list[Column]:
    """The columns of few strings, which may tell items apart."""
    names = {key.name for key in keys.attributes}
    texts = [column for column in columns if column.kind == "S" and column.attribute not in names]
    if not texts:
        return []
    measures = ", ".join(
        f"count({n}), approx_count_distinct(left({n}, 100))" for n in (identifier(c.name) for c in texts)
    )
    total, *row = con.execute(f"SELECT count(*), {measures} FROM {source}").fetchone()
    few = [c for n, c in enumerate(texts) if 2 * row[2 * n] >= total > 0 and 1 < row[2 * n + 1] <= 2 * LABELS_MAX]
    return sorted(few, key=lambda column: not _is_telling(column.attribute))[:CANDIDATES_MAX]


def _is_telling(attribute: str) -> bool:
    return re.sub("[^a-z]", "", attribute.lower()) in _TELLING


def _looked_at(con: Any, source: str, keys: KeySchema, columns: Sequence[Column], told: Sequence[Column]) -> list[Seen]:
    by_attribute = {column.attribute: column for column in columns}
    texts = [
        f"left({identifier(by_attribute[key.name].name)}, {TEXT_MAX})" if key.kind == "S" else "NULL"
        for key in keys.attributes
    ]
    texts += ["NULL"] * (2 - len(texts)) + [f"left({identifier(column.name)}, 100)" for column in told]
    result = con.execute(f"SELECT json_keys({ITEM})[:{TEXT_MAX}], {', '.join(texts)} FROM {source}")
    sets: dict[frozenset[str], frozenset[str]] = {}  # items of an entity share theirs
    seen = []
    while rows := result.fetchmany(1_000):
        for names, hash_key, range_key, *values in rows:
            attributes = frozenset(names)
            seen.append(Seen(hash_key, range_key, tuple(values), sets.setdefault(attributes, attributes)))
    return seen


def _counted(con: Any, relation: str, columns: Sequence[Column], found: Found) -> tuple[list[int], int, int]:
    """How many items each matches, by how many that is more than once, and how many match at all."""
    if not found:
        return [], 0, 0
    tests = [condition_sql(where, columns) for _, where in found]
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in [*tests, f"({' OR '.join(tests)})"])
    *each, covered = con.execute(f"SELECT {counts} FROM {relation}").fetchone()
    return each, sum(each) - covered, covered


def _attributes_of(seen: Iterable[Seen], keys: KeySchema, told: Sequence[Column], where: Condition) -> tuple[str, ...]:
    """What the items that match hold, the most frequent first."""
    counts: Counter[str] = Counter()
    names = [key.name for key in keys.attributes]
    for one in seen:
        image = {name: {"NULL": True} for name in one.attributes}
        texts = [*zip(names, (one.hash_key, one.range_key), strict=False)]
        texts += zip((column.attribute for column in told), one.told, strict=True)
        if where.matches(image | {name: {"S": text} for name, text in texts if text is not None}):
            counts.update(one.attributes)
    return tuple(sorted(counts.keys() - set(names), key=lambda name: (-counts[name], name)))


def find(seen: Sequence[Seen], keys: KeySchema, told: Sequence[str], taken: Collection[str], is_exact: bool) -> Found:
    """Names and conditions of what is in the sample. The exact conditions are disjoint in whatever else there is too.

    An attribute that tells items apart is what the table's authors say, and goes before the keys where it covers as
    much; what does not have it is told apart by its keys.
    """
    names = _Names(taken)
    by_keys = _by_keys(seen, keys, is_exact)
    covered = sum(one.count for one in by_keys)
    for n, attribute in enumerate(told):
        values = _values_that_tell(seen, n, _is_telling(attribute))
        if not values or sum(values.values()) < covered:
            continue
        found: Found = [
            (names.unique(snake(value)), In(attribute, (Value("S", value),))) for value, _ in values.most_common()
        ]
        others = [one for one in seen if attribute not in one.attributes]
        if len(others) < len(seen):
            rest = _by_keys(others, keys, is_exact) if len(others) >= SHARE_MIN * len(seen) else []
            found += [
                (names.of(one, rest), And((Not(Exists(attribute)), *_parts(one.where)))) for one in _named_first(rest)
            ]
        return found
    return [(names.of(one, by_keys), one.where) for one in _named_first(by_keys)]


def _parts(where: Condition) -> tuple[Condition, ...]:
    return where.parts if isinstance(where, And) else (where,)


def _values_that_tell(seen: Sequence[Seen], n: int, is_telling: bool) -> Counter[str]:
    """The values of an attribute, where they tell items apart: by its name, or each having attributes of its own."""
    values = Counter(text for one in seen if (text := one.told[n]) is not None)
    if not 1 < len(values) <= LABELS_MAX or not all(re.search("[A-Za-z]", value) for value in values):
        return Counter()
    if is_telling:
        return values
    if sum(values.values()) < len(seen):
        return Counter()
    usual = []
    for value, count in values.items():
        held = Counter(name for one in seen if one.told[n] == value for name in one.attributes)
        usual.append({name for name, times in held.items() if 2 * times >= count})
    alike = (len(a & b) / len(a | b) for i, a in enumerate(usual) for b in usual[:i])
    return Counter() if any(share > 0.6 for share in alike) else values


@dataclass(frozen=True, slots=True)
class _Pair:
    """Items whose two keys bear these labels."""

    hash_label: Label
    range_label: Label
    where: Condition
    count: int

    @property
    def is_whole(self) -> bool:
        """Whether it is the item that the hash key speaks of."""
        last = self.range_label
        return last == NONE or last.name == self.hash_label.name or (last.is_whole and last.name in _WHOLE)


def _by_keys(seen: Sequence[Seen], keys: KeySchema, is_exact: bool) -> list[_Pair]:
    """What the keys tell apart, the most frequent first."""
    hash_keys = [one.hash_key for one in seen]
    first = _labels(hash_keys, [one.range_key for one in seen], is_hash_key=True)
    last = _labels([one.range_key for one in seen], hash_keys, is_hash_key=False)
    pairs = Counter((_label_of(one.hash_key, first), _label_of(one.range_key, last)) for one in seen)
    least = max(1, SHARE_MIN * len(seen))
    kept = [(pair, n) for pair, n in pairs.most_common(LABELS_MAX) if pair != (NONE, NONE) and n >= least]
    names = [key.name for key in keys.attributes]
    found = []
    for (a, b), count in kept:
        is_last_alone = not b.is_whole and b != NONE and [pair for pair in pairs if pair[1] == b] == [(a, b)]
        is_first_alone = a != NONE and [pair for pair in pairs if pair[0] == a] == [(a, b)]
        parts: list[Condition] = []
        if is_exact or not is_last_alone:
            parts += _label_parts(names[0], a, first)
        if len(names) > 1 and (is_exact or is_last_alone or not is_first_alone):
            parts += _label_parts(names[1], b, last)
        found.append(_Pair(a, b, parts[0] if len(parts) == 1 else And(tuple(parts)), count))
    return found


def _label_parts(name: str, label: Label, labels: Collection[Label]) -> list[Condition]:
    """What a key with this label, and no longer one, is like."""
    if label.is_whole:
        return [In(name, (Value("S", label.text),))]
    parts: list[Condition] = [BeginsWith(name, label.text)] if label != NONE else []
    longer = sorted(one.text for one in labels if not one.is_whole and one != label and one.text.startswith(label.text))
    tops = [one for one in longer if not any(one != other and one.startswith(other) for other in longer)]
    if label == NONE and (whole := sorted(one.text for one in labels if one.is_whole)):
        parts.append(Not(In(name, tuple(Value("S", text) for text in whole))))
    return parts + [Not(BeginsWith(name, text)) for text in tops]


def _labels(values: Sequence[str | None], others: Sequence[str | None], is_hash_key: bool) -> list[Label]:
    """What values of a key begin with, and the whole values that come with many values of the other key."""
    texts = [value for value in values if value is not None]
    least = max(1, SHARE_MIN * len(texts))
    prefixes = Counter(match[0] for text in texts if (match := _PREFIX.match(text)))
    found = [Label(text) for text, count in prefixes.items() if count >= least]
    if len(found) > LABELS_MAX:
        found = []
    found += [Label(inner) for label in found for inner in _inner(label.text, texts)]
    whole: dict[str, set[str | None]] = {}
    for value, other in zip(values, others, strict=True):
        if value is not None and _CONSTANT.fullmatch(value) and (not is_hash_key or value == value.upper()):
            whole.setdefault(value, set()).add(other)
    constants = [Label(text, True) for text, among in whole.items() if len(among) >= max(2, least)]
    return found + (constants if len(constants) <= LABELS_MAX // (5 if is_hash_key else 1) else [])


def _inner(prefix: str, texts: Sequence[str]) -> list[str]:
    """Labels that stand behind another: `ORDER#ITEM#`."""
    rest = [text for text in texts if text.startswith(prefix)]
    counts = Counter(match[0] for text in rest if (match := _INNER.match(text, len(prefix))))
    often = [prefix + text for text, count in counts.items() if 100 * count >= len(rest)]
    return often if len(often) <= 10 else []


def _label_of(text: str | None, labels: Collection[Label]) -> Label:
    if text is None:
        return NONE
    fits = [one for one in labels if (text == one.text if one.is_whole else text.startswith(one.text))]
    return max(fits, key=lambda one: (one.is_whole, len(one.text)), default=NONE)


def _named_first(pairs: Iterable[_Pair]) -> list[_Pair]:
    """Those first that a hash key speaks of: an invoice is `invoice`, and what else names one is not."""
    return sorted(
        pairs,
        key=lambda one: (not one.is_whole, one.range_label == NONE, one.range_label.name == "profile", -one.count),
    )


class _Names:
    """Gives each entity a name of its own."""

    def __init__(self, taken: Collection[str]) -> None:
        self.taken = set(taken)

    def of(self, pair: _Pair, pairs: Sequence[_Pair]) -> str:
        a, b = pair.hash_label.name, pair.range_label.name
        if pair.is_whole:
            return self.unique(a or b, f"{a}_{b or 'item'}".strip("_"))
        is_shared = sum(other.range_label.name == b for other in pairs) > 1
        both = f"{a}_{b}".strip("_")
        return self.unique(both) if is_shared else self.unique(b, both)

    def unique(self, *names: str) -> str:
        names = tuple(name[:NAME_SHOWN].strip("_") for name in names)
        chosen = next((name for name in names if name not in self.taken), None)
        name = chosen or unique_name(names[-1] if len(names) > 1 else f"{names[0]}_item", self.taken)
        self.taken.add(name)
        return name


def snake(text: str) -> str:
    """`OrderItem`, `ORDER_ITEM#` and `order-item` as a name: `order_item`."""
    words = re.sub("([a-z])([A-Z])", r"\1_\2", text)
    name = re.sub("_+", "_", sql_name(re.sub("[^A-Za-z0-9]", "_", words))).strip("_")
    return f"_{name}" if name[:1].isdigit() else name
