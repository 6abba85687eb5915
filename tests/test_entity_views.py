"""Entities as views of a connection."""

from __future__ import annotations

from pathlib import Path

from lake.lake import open_lake
from queries.connect import connect
from tests.lakes import compacted, land_records, new_lake, refreshed, rows
from tests.records import START_US, change, s


def test_an_entity_is_a_view_of_a_connection(tmp_path: Path) -> None:
    """Fresh, at its version, moved on with it; as of an instant where the connection is."""
    lake = new_lake(tmp_path / "lake")
    config = tmp_path / "lake" / "lake.toml"
    config.write_text(config.read_text() + "\n[tables.orders.entities.order]\nwhere = \"pk begins_with 'ORDER#'\"\n")
    lake = open_lake(lake.uri)
    land_records(lake, "1.ndjson", [change("ORDER#1", "e1", "INSERT", START_US, new=s("a")),
                                    change("META", "e2", "INSERT", START_US, new=s("b"))])  # fmt: skip
    compacted(lake)
    refreshed(lake)
    query = "SELECT pk, v FROM orders_order ORDER BY pk"
    with connect(lake) as con:
        config.write_text(config.read_text() + "\n[tables.orders.entities.meta]\nwhere = \"pk = 'META'\"\n")
        assert con.execute(query).fetchall() == [("ORDER#1", "a")]
        land_records(lake, "2.ndjson", [change("ORDER#2", "e3", "INSERT", START_US + 10, new=s("c"))])
        compacted(lake)
        assert con.execute(query).fetchall() == [("ORDER#1", "a")]
        con.refresh()
        assert con.execute(query).fetchall() == [("ORDER#1", "a"), ("ORDER#2", "c")]
        assert con.execute("SELECT v FROM orders_meta").fetchall() == [("b",)], "declared since"
    with connect(lake, as_of="2023-11-14T22:13:20.000001Z") as con:
        assert con.execute(query).fetchall() == [("ORDER#1", "a")]
    assert rows(lake, query) == [("ORDER#1", "a"), ("ORDER#2", "c")]
