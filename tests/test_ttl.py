"""What expires, under both policies: state, views, the past, a switch of policy, states made before, verify."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import standin
from compaction.settings import Settings
from compaction.watch import Pace, watch
from lake.changes import Change, Ttl
from lake.columns import OURS
from lake.keys import ItemKey
from lake.lake import Lake, open_lake
from lake.layout import state_table
from lake.ordering import ItemState, state_after
from lake.records import TTL_PRINCIPAL
from lake.state import TTL
from lake.tables import batch_of
from queries.status import table_status
from tests.commands import dynalake
from tests.lakes import SETTINGS, compacted, land_records, new_lake, refreshed, rows, table, timestamp, with_ttl
from tests.records import NOON_US, change, s
from tests.tables import START_US, FakeDynamoDB, Pipeline, check, item, kinds
from tests.test_verify_damage import rewrite

MINUTE_US = 60_000_000
BY_TTL = {"type": "Service", "principalId": TTL_PRINCIPAL}
ONE = NOON_US + MINUTE_US  # when the item `a` expires
WITHOUT_OURS = {name: kind for name, kind in OURS.items() if name != "_expired_at"}
TTLS: list[Ttl] = ["delete", "keep"]


def expiry(name: str, event_id: str, at_us: int, old: Any = None) -> dict[str, Any]:
    return {**change(name, event_id, "REMOVE", at_us, old=old), "userIdentity": BY_TTL}


def take_in(lake: Lake, name: str, *records: dict[str, Any]) -> None:
    land_records(lake, name, records)
    compacted(lake)


def items(lake: Lake, relation: str = "orders") -> dict[str, tuple[str, str, int | None]]:
    """Each item's value, in the image and in the column, its `_op`, and the time of expiry."""
    found = rows(lake, f"SELECT pk, v, _item, _op, epoch_us(_expired_at), _created_at_us FROM {relation}")
    for _, v, image, _, expired_us, created_us in found:
        assert json.loads(image)["v"] == {"S": v}
        assert expired_us in (None, created_us)
    assert len({pk for pk, *_ in found}) == len(found)
    return {pk: (v, op, expired_us) for pk, v, _, op, expired_us, _ in found}


def everywhere(lake: Lake) -> dict[str, tuple[str, str, int | None]]:
    """The items of the fresh view, which are those of the refreshed and the full state."""
    found = items(lake)
    for full in (False, True):
        refreshed(lake, full)
        assert items(lake) == found
    return found


@pytest.fixture(params=TTLS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """`a` expires, `b` is deleted, `c` expires without an image, `d` stays."""
    made = new_lake(tmp_path / "lake", ttl=request.param)
    take_in(made, "1", *(change(name, name, "INSERT", NOON_US, new=s(name)) for name in "abcd"))
    refreshed(made)
    gone = expiry("a", "a1", ONE, s("x")), change("b", "b1", "REMOVE", ONE, old=s("b")), expiry("c", "c1", ONE)
    take_in(made, "2", *gone)
    return made


def keeps(lake: Lake) -> bool:
    return lake.config.table("orders").ttl == "keep"


def kept(lake: Lake) -> dict[str, tuple[str, str, int | None]]:
    return {"a": ("x", "REMOVE", ONE)} if keeps(lake) else {}


def test_the_specification() -> None:
    def after(op: Any, is_ttl: bool = False, new: str | None = None, old: str | None = None) -> list[ItemState | None]:
        one = Change(ItemKey(("a",)), op, 5, "e", new, old, is_ttl)
        return [state_after(one, "delete"), state_after(one, "keep")]

    for lives in (after("INSERT", new="n"), after("MODIFY", new="n", old="o"), after("READ", new="n")):
        assert lives == [ItemState("n"), ItemState("n")]
    assert after("REMOVE", old="o") == [None, None]
    assert after("REMOVE", is_ttl=True) == [None, None]
    assert after("REMOVE", is_ttl=True, old="o") == [None, ItemState("o", 5)]
    assert [state_after(None, ttl) for ttl in TTLS] == [None, None]


def test_what_expired_goes_or_stays(lake: Lake) -> None:
    """From the delete's own OldImage: the lake may never have seen what made it so."""
    report = refreshed(lake)
    assert (report.touched, report.removed) == (3, 2 if keeps(lake) else 3)
    assert everywhere(lake) == {"d": ("d", "INSERT", None)} | kept(lake)
    assert rows(lake, "SELECT count(*) FROM orders_changes WHERE is_ttl") == [(2,)], "they are always in the log"


def test_the_past(lake: Lake) -> None:
    before = {name: (name, "INSERT", None) for name in "abcd"}
    assert items(lake, f"orders_as_of({timestamp(ONE - 1)})") == before
    after = {"d": before["d"]} | kept(lake)
    assert items(lake, f"orders_as_of({timestamp(ONE)})") == after
    take_in(lake, "3", change("a", "a2", "INSERT", ONE + MINUTE_US, new=s("new")))
    assert items(lake, f"orders_as_of({timestamp(ONE + MINUTE_US - 1)})") == after
    assert items(lake, f"orders_as_of({timestamp(ONE + MINUTE_US)})")["a"] == ("new", "INSERT", None)


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_what_comes_after(lake: Lake, is_refreshed: bool) -> None:
    if is_refreshed:
        refreshed(lake)
    take_in(lake, "3", change("a", "a2", "INSERT", ONE + 1_500, new=s("new")))
    assert items(lake)["a"] == ("new", "INSERT", None), "it lives again"
    if is_refreshed:
        refreshed(lake)
    take_in(lake, "4", expiry("a", "a3", ONE + 3_500, s("new")))
    assert items(lake).get("a") == (("new", "REMOVE", ONE + 3_500) if keeps(lake) else None)
    take_in(lake, "5", change("a", "late", "MODIFY", ONE - 1_500, old=s("a"), new=s("x")))
    assert items(lake).get("a") == (("new", "REMOVE", ONE + 3_500) if keeps(lake) else None), "late"
    take_in(lake, "6", change("a", "a4", "INSERT", ONE + 5_500, new=s("a")))
    take_in(lake, "7", change("a", "a5", "REMOVE", ONE + 7_500, old=s("a")))
    assert everywhere(lake) == {"d": ("d", "INSERT", None)}, "a delete by somebody is a delete"


def test_a_switch_of_policy(lake: Lake) -> None:
    """Seen at once, and made by the next refresh though the log has no more; back again too."""
    refreshed(lake)
    first = items(lake)
    for policy in ("delete", "keep", "delete") if keeps(lake) else ("keep", "delete", "keep"):
        lake = with_ttl(lake, policy)  # type: ignore[arg-type]
        expected = {"d": ("d", "INSERT", None)} | kept(lake)
        assert items(lake) == expected != first
        assert items(lake, f"orders_as_of({timestamp(ONE)})") == expected
        status = table_status(lake)[0]
        assert (status["state_covers_batch"], status["tail_changes"]) == (0, 7)
        assert refreshed(lake).touched == 4
        state = table(lake, state_table("orders"))
        assert (state.properties[TTL], batch_of(state), state.scan().to_arrow().num_rows) == (policy, 2, len(expected))
        assert everywhere(lake) == expected
        assert refreshed(lake).touched == 0
        first = expected


def test_watch_makes_a_switch(lake: Lake) -> None:
    refreshed(lake)
    path = lake.root / "lake.toml"
    other = "delete" if keeps(lake) else "keep"
    path.write_text(path.read_text().replace('ttl = "keep"\n', "") + f'ttl = "{other}"\n')
    pace, settings = Pace(tail_share=0.9), Settings(NOON_US, SETTINGS.memory_mb, SETTINGS.threads)
    goes_on = iter([True, False])  # after the one table, and then no more
    happened = list(watch(lake.uri, (), pace, lambda: settings, lambda _: next(goes_on)))
    assert [one.kind for one in happened] == ["compacted", "refreshed", "waits"]
    assert len(items(open_lake(lake.uri))) == (2 if other == "keep" else 1)


def make_old(lake: Lake) -> None:
    """What a refresh leaves that knows of no policy."""
    refreshed(lake)
    state = table(lake, state_table("orders"))
    assert "_expired_at" not in {field.name for field in state.schema().fields if not field.doc}
    with state.transaction() as transaction:
        transaction.remove_properties(TTL)


@pytest.mark.parametrize("is_retyped", [False, True])
@pytest.mark.parametrize("ttl", TTLS)
def test_a_state_of_before_there_was_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ttl: Ttl, is_retyped: bool
) -> None:
    lake = new_lake(tmp_path / "lake", buckets=1)
    number = {"N": "1"}
    records = [change(name, name, "INSERT", NOON_US, new=number) for name in "abd"]
    with monkeypatch.context() as patch:
        patch.setattr("lake.state.OURS", WITHOUT_OURS)
        take_in(lake, "1", *records, expiry("b", "b1", ONE, number))
        make_old(lake)
    lake = with_ttl(lake, ttl)
    query = "SELECT pk, v::VARCHAR, _op, epoch_us(_expired_at) FROM orders ORDER BY pk"
    before = [("a", "1", "INSERT", None), ("d", "1", "INSERT", None)]
    if ttl == "keep":
        before.insert(1, ("b", "1", "REMOVE", ONE))
    assert rows(lake, query) == before, "views work at once"
    more = {"N": "1.5"} if is_retyped else number
    take_in(lake, "2", expiry("a", "a1", ONE, number), change("e", "e", "INSERT", ONE, new=more))
    fresh = rows(lake, query)
    assert [pk for pk, *_ in fresh] == (["a", "b", "d", "e"] if ttl == "keep" else ["d", "e"])
    for full in (False, True):
        refreshed(lake, full)
        assert rows(lake, query) == fresh
        state = table(lake, state_table("orders"))
        assert str(state.schema().find_field("_expired_at").field_type) == "timestamp"
        assert state.properties[TTL] == ttl


@pytest.mark.parametrize("ttl", TTLS)
def test_an_attribute_that_had_the_name_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ttl: Ttl) -> None:
    """Its column gets another name, as if the column had always been ours."""
    lake = new_lake(tmp_path / "lake")
    record = change("a", "a", "INSERT", NOON_US, new=s("x"))
    record["dynamodb"]["NewImage"]["_expired_at"] = s("never")
    with monkeypatch.context() as patch:
        patch.setattr("lake.state.OURS", WITHOUT_OURS)
        patch.setattr("lake.columns.OURS", WITHOUT_OURS)
        take_in(lake, "1", record)
        make_old(lake)
    lake = with_ttl(lake, ttl)
    for _ in range(3):
        assert rows(lake, "SELECT v, _expired_at, _expired_at_2 FROM orders") == [("x", None, "never")]
        refreshed(lake)
    schema = table(lake, state_table("orders")).schema()
    assert (schema.find_field("_expired_at_2").doc, schema.find_field("_expired_at").doc) == ("_expired_at", None)


# verify


@pytest.fixture(params=TTLS)
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Pipeline:
    """Six items: two expired before the last refresh, one after it; one deleted."""
    made = Pipeline(new_lake(tmp_path / "lake", buckets=1, ttl=request.param), standin.Table("orders"))
    for n in range(6):
        made.table.put(item(f"i{n}", v=str(n)), START_US + n)
    for n in (0, 1):
        made.table.delete(item(f"i{n}"), START_US + 10, ttl=True)
    made.deliver()
    refreshed(made.lake)
    made.table.delete(item("i2"), START_US + 20, ttl=True)
    made.table.delete(item("i3"), START_US + 20)
    made.deliver()
    return made


def verified(pipeline: Pipeline, wait_seconds: float = 0) -> Any:
    return check(pipeline.lake, FakeDynamoDB(pipeline.table, START_US + MINUTE_US), wait_seconds)


def test_verify_of_what_expired(pipeline: Pipeline) -> None:
    for _ in range(2):
        report = verified(pipeline)
        assert report.is_proven, report
        expired = 3 if keeps(pipeline.lake) else 0
        assert (report.items_in_table, report.items_in_lake, report.equal, report.proven) == (
            2,
            2 + expired,
            2,
            expired,
        )
        assert report.waited_seconds == 0
        refreshed(pipeline.lake)


def test_verify_misses_what_came_again(pipeline: Pipeline) -> None:
    """With the very image that is kept: it is no proof, for the lake says that the item is gone."""
    lost = pipeline.table.put(item("i0", v="0"), START_US + 30)
    assert lost is not None
    pipeline.lost.add(lost.event_id)
    report = verified(pipeline, 30)
    assert kinds(report) == {"i0|1": "missing in the lake"}
    pipeline.lost.clear()
    pipeline.deliver()
    assert verified(pipeline).is_proven


def test_verify_misses_an_expiry(pipeline: Pipeline) -> None:
    lost = pipeline.table.delete(item("i4"), START_US + 30, ttl=True)
    assert lost is not None
    pipeline.lost.add(lost.event_id)
    assert kinds(verified(pipeline, 30)) == {"i4|1": "extra in the lake"}


def test_verify_of_another_policy_than_the_states(pipeline: Pipeline) -> None:
    refreshed(pipeline.lake)
    switched = replace(pipeline, lake=with_ttl(pipeline.lake, "delete" if keeps(pipeline.lake) else "keep"))
    for _ in range(2):
        assert verified(switched).is_proven
        refreshed(switched.lake)


DAMAGES: list[tuple[dict[str, Any], str]] = [
    ({"_item": json.dumps(item("i0", v="9")), "v": "9"}, "state damaged"),
    ({"_expired_at": None}, "state damaged"),
    ({"_expired_at": None, "_op": "INSERT"}, "state damaged"),
    ({"v": "9"}, "column damaged"),
    ({"_op": "MODIFY"}, "column damaged"),
]


@pytest.mark.parametrize(("cells", "kind"), DAMAGES)
def test_damage_of_what_is_kept(tmp_path: Path, cells: dict[str, Any], kind: str) -> None:
    made = Pipeline(new_lake(tmp_path / "lake", buckets=1, ttl="keep"), standin.Table("orders"))
    for n in range(2):
        made.table.put(item(f"i{n}", v=str(n)), START_US + n)
        made.table.delete(item(f"i{n}"), START_US + 10, ttl=True)
    made.deliver()
    refreshed(made.lake)

    def damage(found: list[dict[str, Any]]) -> None:
        for row in found:
            if row["_item_key"] == "i0|1":
                row.update(cells)

    rewrite(made.lake, "orders", damage)
    report = verified(made)
    assert kinds(report) == {"i0|1": kind}
    assert all(attribute.table != attribute.lake for attribute in report.differences[0].attributes)
    refreshed(made.lake, full=True)
    assert verified(made).is_proven, "the remedy"


# The setting


def test_the_setting(tmp_path: Path) -> None:
    dynalake(tmp_path / "lake", "init")
    keys = ("--hash-key", "pk:S", "--range-key", "sk:S")
    assert dynalake(tmp_path / "lake", "add-table", "orders", *keys, "--ttl", "keep").code == 0
    assert dynalake(tmp_path / "lake", "add-table", "others", *keys).code == 0
    lake = open_lake(tmp_path / "lake")
    assert {name: one.ttl for name, one in lake.config.tables.items()} == {"orders": "keep", "others": "delete"}
    assert (tmp_path / "lake/lake.toml").read_text().count("ttl") == 1, "written where it is not the usual"
    again = dynalake(tmp_path / "lake", "add-table", "orders", *keys)
    assert (again.code, open_lake(lake.uri).config) == (0, lake.config)
    assert 'was registered before with ttl = "keep"; change it in lake.toml' in again.out
    refused = dynalake(tmp_path / "lake", "add-table", "more", *keys, "--ttl", "drop")
    assert refused.code == 2 and "expected delete or keep" in refused.errors
