"""Checking a lake opens it many times over; most of that time would go to the signatures of extensions."""

from collections.abc import Iterator

import duckdb
import pytest


@pytest.fixture(autouse=True, scope="session")
def _unsigned_extensions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        connect = duckdb.connect

        def connect_quickly(config: dict[str, object]) -> duckdb.DuckDBPyConnection:
            return connect(config={**config, "allow_unsigned_extensions": True})

        patch.setattr(duckdb, "connect", connect_quickly)
        yield
