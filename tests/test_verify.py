"""verify: what is equal, what is proven by history, and the command as its callers meet it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import standin
from lake.attributes import canonical_image
from lake.changes import Change, Op
from lake.config import TableConfig
from lake.errors import ConfigError, LakeError
from lake.keys import ItemKey, KeyAttribute, KeySchema
from lake.lake import add_table
from lake.ordering import ItemState, in_order, state_after
from proof.columns import RowRules, TypedColumn
from proof.history import Read, judge
from proof.values import canonical_item, parse_item, same_item, same_text
from tests.lakes import compacted, land_records, new_lake, only_table, refreshed, schema_of
from tests.tables import START_US, FakeDynamoDB, Pipeline, check, item, kinds
from tests.test_types import MAPS, NAMES, SETS, STRINGS

SECOND = 1_000_000
KEY = ItemKey(("i",))


# Items, of few values, so that equal ones come about by themselves.
numbers = st.sampled_from(["0", "-0", "1", "1.0", "10e-1", "1E+2", "100", "-1", "0.1", ".1",
                           "1.00000000000000000000000000000000000001"])  # fmt: skip
texts = st.sampled_from(["", "a", "b", "1", "é", "null"])
binaries = st.sampled_from(["", "AA==", "AQ==", "/+8="])
scalars = st.one_of(
    st.builds(lambda v: {"S": v}, texts), st.builds(lambda v: {"N": v}, numbers),
    st.builds(lambda v: {"B": v}, binaries), st.builds(lambda v: {"BOOL": v}, st.booleans()), st.just({"NULL": True}),
    st.builds(lambda v: {"SS": v}, st.lists(texts, min_size=1, max_size=2, unique=True)),
    st.builds(lambda v: {"NS": v}, st.lists(numbers, min_size=1, max_size=2, unique_by=float)),
    st.builds(lambda v: {"BS": v}, st.lists(binaries, min_size=1, max_size=2, unique=True)),
)  # fmt: skip
names = st.sampled_from(["a", "b", "A"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda v: {"L": v}, st.lists(inner, max_size=2)),
        st.builds(lambda v: {"M": v}, st.dictionaries(names, inner, max_size=2)),
    ),
    max_leaves=4,
)
items = st.dictionaries(names, values, max_size=2)


@given(items, items)
def test_two_other_notions_of_equal_items_agree(one: Any, other: Any) -> None:
    """The lake's own and the stand-in's."""
    expected = standin.history.same_item(one, other)
    assert same_item(one, other) == expected
    assert (canonical_item(one) == canonical_item(other)) == expected
    assert (canonical_image(one) == canonical_image(other)) == expected
    assert same_text(json.dumps(one), json.dumps(dict(reversed(other.items())))) == expected


def test_what_dynamodb_could_not_give_equals_nothing_else() -> None:
    odd = [
        {"N": "1"}, {"N": 1}, {"N": "x"}, {"N": "NaN"}, {"N": "1_0"}, {"BOOL": True}, {"BOOL": 1}, {"BOOL": "true"},
        {"S": None}, {"SS": "ab"}, {"SS": ["a", "b"]}, {"SS": ["a", "a", "b"]}, {"S": "a", "N": "1"}, {}, "a", None,
        {"X": "a"}, {"L": {}}, {"M": []}, {"B": "?"}, {"L": []}, {"M": {}},
    ]  # fmt: skip
    for n, one in enumerate(odd):
        for m, other in enumerate(odd):
            assert same_item({"v": one}, {"v": other}) == (n == m), (one, other)
    assert not same_text("{", "{}")
    for text in ("[]", "1", "{", ""):
        with pytest.raises(ValueError, match="no JSON"):
            parse_item(text)


def test_rules_of_columns() -> None:
    def damages(kind: str, sql_type: str, value: Any, cell: Any, rescued: str | None = None) -> list[str]:
        rules = RowRules([TypedColumn("a", "a", kind, sql_type)])
        return [one.name for one in rules.damages({} if value is None else {"a": value}, [cell], rescued)]

    assert damages("N", "BIGINT", {"N": "1e2"}, 100) == []
    assert damages("N", "BIGINT", {"N": "1"}, 2) == ["a"]
    assert damages("N", "BIGINT", {"N": "1.5"}, 2) == ["a", "_rescued"], "rounded"
    assert damages("N", "BIGINT", {"N": "1.5"}, None, '{"a":{"N":"1.50"}}') == []
    assert damages("N", "BIGINT", {"N": "1"}, None, '{"a":{"N":"1"}}') == ["a", "_rescued"], "it does fit"
    assert damages("N", "BIGINT", {"N": "1234567890123456789"}, None, '{"a":{"N":"1234567890123456789"}}') == []
    assert damages("N", "DOUBLE", {"N": "1E-100"}, 1e-100) == []
    assert damages("S", "VARCHAR", None, None) == []
    assert damages("S", "VARCHAR", None, "") == ["a"]
    assert damages("S", "VARCHAR", {"S": ""}, None) == ["a"]
    assert damages("S", "VARCHAR", {"NULL": True}, None) == []
    assert damages("S", "VARCHAR", {"NULL": True}, "x") == ["a"]
    assert damages("S", "VARCHAR", {"N": "1"}, None) == ["_rescued"]
    assert damages("S", "VARCHAR", {"N": "1"}, "1", '{"a":{"N":"1"}}') == ["a"]
    assert damages("S", "VARCHAR", {"S": "x"}, "x", "no JSON") == ["_rescued"]
    assert damages("BS", "BLOB[]", {"BS": ["/w==", "AA=="]}, [b"\0", b"\xff"]) == []
    assert damages("NS", "BIGINT[]", {"NS": ["10", "9"]}, [10, 9]) == ["a"], "they are sorted"
    assert damages("NS", "BIGINT[]", {"NS": ["1", "2.5"]}, [1], '{"a":{"NS":["1","2.5"]}}') == ["a"]
    assert damages("M", "VARCHAR", {"M": {"x": {"N": "1.50"}}}, '{"x": 1.5}') == []
    for wrong in ('{"x": 1.51}', '{"x": "1.5"}', "{}", '{"x": 1.5, "y": null}', "[]", "no JSON", '{"x": true}'):
        assert damages("M", "VARCHAR", {"M": {"x": {"N": "1.50"}}}, wrong) == ["a"]
    plain = {"L": [{"NULL": True}, {"BOOL": True}, {"SS": ["b", "a"]}, {"NS": ["1.0"]}, {"B": "AA=="}, {"L": []}]}
    assert damages("L", "VARCHAR", plain, '[null,true,["a","b"],[1],"AA==",[]]') == []
    for wrong in ('[null,1,["a","b"],[1],"AA==",[]]', '[null,true,["a","b"],["1"],"AA==",[]]', "[null]"):
        assert damages("L", "VARCHAR", plain, wrong) == ["a"]


@given(st.text(min_size=1, max_size=5, alphabet='a|\\"é'), st.text(min_size=1, max_size=5, alphabet='a|\\"é'))
def test_a_key_from_its_text(hash_value: str, range_value: str) -> None:
    for keys in (schema_of("S", None), schema_of("S", "S")):
        given_key = {a.name: {"S": v} for a, v in zip(keys.attributes, (hash_value, range_value), strict=False)}
        assert keys.values_of(str(keys.item_key_of(given_key))) == given_key


def image(value: str | None) -> str | None:
    return None if value is None else json.dumps({"pk": {"S": "i"}, "v": {"S": value}})


def history(*states: tuple[int, str | None]) -> list[Change]:
    """Changes at seconds, each to a value or, with None, a delete; the first one an INSERT."""
    changes: list[Change] = []
    before: str | None = None
    for at, value in states:
        op: Op = "REMOVE" if value is None else "INSERT" if before is None else "MODIFY"
        changes.append(Change(KEY, op, at * SECOND, f"e{len(changes)}", image(value), image(before)))
        before = value
    return changes


def verdict(changes: list[Change], until: int, *reads: tuple[int, str | None]) -> str:
    ordered = in_order(changes)
    row = state_after(ordered[-1], "delete") if ordered else None
    return judge([Read(image(value), at * SECOND) for at, value in reads], until * SECOND, row, changes).verdict


def test_a_read_against_the_history() -> None:
    aba = history((10, "A"), (20, "B"), (30, "A"))
    assert verdict(aba, 51, (40, "A")) == "proven", "the lake's present"
    assert verdict(aba, 51, (40, "B")) == "pending", "B is older than the read: B -> A -> (lost) B"
    assert verdict(aba, 25, (14, "B")) == "proven", "the lake is ahead"
    assert verdict(aba, 25, (14, "A")) == "proven", "of the second A"
    assert verdict(aba[:2], 25, (14, "A")) == "pending", "before B, or after it: A -> B -> (lost) A"
    assert verdict(aba[:2], 25, (14, "A"), (16, "A")) == "pending"
    assert verdict(aba[:2], 25, (14, "A"), (16, "B")) == "proven", "read again"
    assert verdict(aba[:2], 19, (8, "A")) == "proven", "B came after the answer"
    assert verdict(aba[:2], 19, (8, None)) == "pending", "A did not"
    assert verdict(aba, 9, (1, None)) == "proven", "made later"
    assert verdict([], 9, (1, "A")) == "pending"
    gone = history((10, "A"), (20, None), (30, "A"), (40, None))
    assert verdict(gone, 51, (41, None)) == "proven"
    assert verdict(gone, 35, (24, None)) == "proven"
    assert verdict(gone, 35, (24, "A")) == "proven"
    assert verdict(gone, 45, (34, "A")) == "pending"
    assert verdict(gone[:3], 51, (41, None)) == "pending"


def test_nobody_knows_what_was_before_a_history_that_begins_in_the_middle() -> None:
    later = [Change(KEY, "MODIFY", 30 * SECOND, "e", image("B"), image("A"))]
    assert verdict(later, 21, (10, None)) == "pending"
    assert verdict(later, 21, (10, "A")) == "pending"
    assert verdict(later, 21, (10, "A"), (31, "B")) == "proven"


def test_an_item_that_never_rests_is_proven_by_any_reread_the_lake_has_reached() -> None:
    hot = history(*((at, str(at)) for at in range(1, 60)))
    assert verdict(hot[:20], 26, (15, "20")) == "proven"
    assert verdict(hot[:19], 26, (15, "20")) == "pending"
    assert verdict(hot[:25], 26, (15, "20")) == "pending"
    assert verdict(hot[:35], 26, (15, "20"), (25, "30"), (55, "59")) == "proven"


def test_a_row_that_is_not_what_its_log_says() -> None:
    changes = history((10, "A"), (20, "B"))
    for row in (ItemState(image("A")), None, ItemState(image("C")), ItemState(image("B"), 20 * SECOND)):
        assert judge([Read(image("B"), 0)], 9, row, changes).verdict == "state damaged"
    assert judge([Read(None, 0)], 9, ItemState(image("A")), []).verdict == "state damaged"


def simulated(tmp_path: Path, *keys: tuple[str, str], surface: Any = "kds") -> tuple[Pipeline, FakeDynamoDB]:
    schema = KeySchema(*(KeyAttribute(*one) for one in keys)) if keys else schema_of("S", "S")  # type: ignore[arg-type]
    parts = [*keys, None] if keys else [("pk", "S"), ("sk", "S")]
    table = standin.Table("orders", parts[0], parts[1])  # type: ignore[arg-type]
    return Pipeline(new_lake(tmp_path / "lake", "orders", schema, surface), table), FakeDynamoDB(table)


def test_an_empty_table_and_an_empty_lake(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    report = check(pipeline.lake, source)
    assert (report.is_proven, report.compared, report.waited_seconds) == (True, 0, 0)
    pipeline.table.put(item("a"), START_US)
    report = check(pipeline.lake, source, 20)
    assert kinds(report) == {"a|1": "missing in the lake"}
    assert report.waited_seconds == 20
    pipeline.deliver()
    pipeline.table.delete(item("a"), START_US + 1)
    assert kinds(check(pipeline.lake, source, 0)) == {"a|1": "extra in the lake"}
    report = check(pipeline.lake, source, sleep=lambda _: pipeline.deliver())
    assert (report.is_proven, report.proven, report.waited_seconds) == (True, 1, 5)
    assert check(pipeline.lake, source).compared == 0


def test_items_of_every_kind_and_name(tmp_path: Path) -> None:
    """No false alarm about any value that DynamoDB may hold, in any column; then none is overlooked."""
    pipeline, source = simulated(tmp_path, ("pk", "B"), ("sk", "N"))
    held: list[Any] = [
        *({"S": text} for text in STRINGS), *SETS, *MAPS, {"B": "AAH/"}, {"B": ""}, {"BOOL": False}, {"NULL": True},
        *({"N": n} for n in ("1", "-2", "1.50", "123456789012345678", "12345678901234567890", "1E-38", "9.99E+125",
                             "1E-130", "-0", "0.1", "12345678901234567890123456789012345678")),
    ]  # fmt: skip
    for n, value in enumerate(held):
        key = {"pk": {"B": "AAE="}, "sk": {"N": f"{n}.50"}}
        more: dict[str, Any] = {name: {"S": name} if n % 2 else {"N": str(n)} for name in NAMES[n % 7 :: 7]}
        pipeline.table.put({**more, **key, "v": value, f"v{n % 5}": value, f"only{n}": value}, START_US + n)
        if n == len(held) // 2:
            pipeline.deliver()
            refreshed(pipeline.lake)
    pipeline.deliver()
    for _ in range(2):
        report = check(pipeline.lake, source)
        assert report.is_proven, report
        assert report.equal == len(held)
        refreshed(pipeline.lake)
    for held_item in pipeline.table.items.values():
        held_item["v"] = {"L": [held_item["v"]]}
    assert check(pipeline.lake, source, 0).counts == {"differs": len(held)}


def test_native_streams_and_changes_within_a_second(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path, surface="streams")
    for value in "ABAB":
        pipeline.table.put(item("a", v=value), START_US)
    pipeline.deliver()
    assert check(pipeline.lake, source).equal == 1
    lost = pipeline.table.put(item("a", v="A"), START_US + 1)
    assert lost is not None
    pipeline.lost.add(lost.event_id)
    assert kinds(check(pipeline.lake, source, 60)) == {"a|1": "differs"}


def test_an_item_that_changes_all_the_while_and_never_arrives_is_unproven(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    pipeline.table.put(item("a", v="0"), START_US)
    pipeline.deliver()

    def write(_: float) -> None:
        pipeline.table.put(item("a", v=str(source.now_us)), source.now_us)

    write(0)
    report = check(pipeline.lake, source, 60, write)
    assert kinds(report) == {"a|1": "unproven"}
    assert (report.differing, report.unproven, report.verified_through) == (0, 1, None)

    def write_and_deliver(_: float) -> None:
        pipeline.deliver()
        write(0)

    report = check(pipeline.lake, source, 60, write_and_deliver)
    assert (report.is_proven, report.proven) == (True, 1), "one write behind all the while"


def test_what_was_equal_only_because_the_lake_was_behind(tmp_path: Path) -> None:
    """A, on its way B, and A again, lost: equal at first, and wrong as soon as B arrives."""
    pipeline, source = simulated(tmp_path)
    table = pipeline.table
    table.put(item("a", v="A"), START_US)
    table.put(item("b", v="A"), START_US)
    pipeline.deliver()
    table.put(item("a", v="B"), START_US + 1)
    table.put(item("c"), START_US + 1)
    for change in (table.put(item("a", v="A"), START_US + 2), table.delete(item("c"), START_US + 2)):
        assert change is not None
        pipeline.lost.add(change.event_id)
    assert check(pipeline.lake, source).is_proven, "nobody can tell yet"
    table.put(item("b", v="B"), START_US + 3)
    report = check(pipeline.lake, source, 60, lambda _: pipeline.deliver())
    assert kinds(report) == {"a|1": "differs", "c|1": "extra in the lake"}
    assert (report.compared, report.equal, report.proven, report.differing) == (3, 0, 1, 2)


def test_a_table_with_another_key_is_not_compared(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    source.table = standin.Table("orders", ("pk", "S"), ("sk", "N"))
    with pytest.raises(ConfigError, match="expected a table with the key pk:S sk:S; found pk:S sk:N"):
        check(pipeline.lake, source)


def test_other_tables_of_the_lake_do_not_matter(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    pipeline.table.put(item("a"), START_US)
    pipeline.deliver()
    lake = add_table(pipeline.lake, TableConfig("", "others", schema_of("S", None)))
    source_of_damage = Path(lake.raw) / "x.json"
    source_of_damage.write_text("{")
    assert check(pipeline.lake, source).is_proven


def test_a_fault_of_one_segment_ends_the_scan(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    for n in range(40):
        pipeline.table.put(item(f"i{n}"), START_US)
    pages = source.scan

    def scan(name: str, segment: int, segments: int) -> Any:
        yield from pages(name, segment, segments)
        if segment == 1:
            raise LakeError("scan", name, got="a fault")

    source.scan = scan  # type: ignore[method-assign]
    with pytest.raises(LakeError, match="found a fault"):
        check(pipeline.lake, source, segments=4)


def test_limit_tells_fewer_but_counts_all(tmp_path: Path) -> None:
    pipeline, source = simulated(tmp_path)
    for n in range(9):
        pipeline.table.put(item(f"i{n}"), START_US)
    compacted(pipeline.lake)
    report = check(pipeline.lake, source, 0, limit=2)
    assert list(kinds(report)) == ["i0|1", "i1|1"]
    assert report.counts == {"missing in the lake": 9}


def test_a_record_of_the_future_is_no_proof(tmp_path: Path) -> None:
    """The lake's only change of an item is later than the read: it must say so, not be taken for it."""
    pipeline, source = simulated(tmp_path)
    pipeline.table.put(item("a", v="B"), START_US)
    record = json.loads(standin.kds_records(pipeline.table, seed=1)[0].data)
    record["dynamodb"]["ApproximateCreationDateTime"] += 3_600 * SECOND
    record["dynamodb"]["NewImage"]["v"] = {"S": "C"}
    land_records(pipeline.lake, "x.json", [record])
    compacted(pipeline.lake)
    assert kinds(check(pipeline.lake, source, 30)) == {"a|1": "differs"}
    assert only_table(pipeline.lake).name == "orders"
