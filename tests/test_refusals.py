"""What cannot be answered is refused, whatever else a query asks: never answered by no rows."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from queries.connect import LakeConnection, connect
from tests.lakes import compacted, land_records, new_lake, refreshed
from tests.records import START_US, TIME, record, s

KEY = {"pk": s("a"), "sk": s("b")}
VALUES = {"v": s("x"), "n": {"N": "1"}, "d": {"N": "1.5"}, "b": {"B": "WVE9PQ=="}, "o": {"BOOL": True}, "m": {"M": {}},
          "ns": {"NS": ["1", "2.5"]}, "ss": {"SS": ["x"]}}  # fmt: skip
BEFORE = "'2001-01-01'"


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeConnection]:
    lake = new_lake(tmp_path_factory.mktemp("refusals") / "lake")
    body = {TIME: START_US, "Keys": KEY, "NewImage": KEY | VALUES}
    land_records(lake, "1.ndjson", [record("e1", body=body)])
    assert compacted(lake).dead_letters == 0
    refreshed(lake)
    with connect(lake, 1024, 2) as opened:
        yield opened


@pytest.mark.parametrize(
    "relation",
    [f"orders_as_of({BEFORE})", f"orders_diff({BEFORE}, now())", f"orders_diff(now(), {BEFORE})",
     "orders_transitions('colour')"],
)  # fmt: skip
def test_no_condition_hides_a_refusal(con: LakeConnection, relation: str) -> None:
    types = con.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM {relation})").fetchall()
    conditions = ["true", "pk IN ('a', 'b') AND sk > 'a'", "pk IN (SELECT pk FROM orders)"]
    for name, kind in types:
        conditions += [
            f'"{name}" IS NULL',
            f'"{name}" IS NOT NULL',
            f'"{name}" = (SELECT any_value("{name}") FROM known)',
        ]
        conditions.append(f"\"{name}\"::VARCHAR > ''")
        if kind in ("VARCHAR", "BIGINT"):
            conditions.append(f"\"{name}\" = '1'")
    known = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in types)
    for condition in conditions:
        with pytest.raises(duckdb.InvalidInputException, match=r"is not known then|no item ever had"):
            con.execute(f"WITH known AS (SELECT {known}) SELECT count(*) FROM {relation} WHERE {condition}").fetchall()


def test_what_is_known_is_not_refused(con: LakeConnection) -> None:
    for relation in ("orders_as_of(now())", "orders_transitions('v')", "orders"):
        assert con.execute(f"SELECT count(*) FROM {relation} WHERE pk = 'a' AND sk > 'a'").fetchall() == [(1,)]
    assert con.execute(f"DESCRIBE FROM orders_as_of({BEFORE})").fetchall() == con.execute("DESCRIBE orders").fetchall()
