"""Which views of a Glue database are a lake's: those that it has noted. It replaces and drops no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

from lake import layout
from lake.aws import aws_client, aws_faults, error_code
from lake.errors import ConfigError
from lake.lake import Lake
from lake.store import put_new, read, update


def claim_views(lake: Lake, database: str, table: str, names: Collection[str]) -> None:
    """Notes that these views of a table are the lake's, before they are made.

    Raises ConfigError where one is somebody else's.
    """
    place = lake.place(layout.VIEWS_ATHENA)
    put_new(place, b"{}")
    noted = {name for names_of in _noted(read(place), database).values() for name in names_of}
    for name in names:
        if name not in noted and _is_there(database, name):
            raise ConfigError(
                "publish for Athena", f"{database}.{name}", expected="none yet, or one that this lake has published",
                got="one that somebody else made", remedy="Choose another --database, or drop it",
            )  # fmt: skip
    _note(lake, database, table, lambda found: sorted({*found, *names}))


def drop_views(lake: Lake, database: str, table: str, kept: Collection[str]) -> None:
    """Drops those of a table's views that were noted and are none of `kept`, and forgets them."""
    noted = _noted(read(lake.place(layout.VIEWS_ATHENA)), database).get(table, [])
    for name in [name for name in noted if name not in kept]:
        drop_view(database, name)
    _note(lake, database, table, lambda found: sorted(set(found) & set(kept)))


def drop_view(database: str, name: str) -> None:
    from botocore.exceptions import ClientError

    with aws_faults("drop view", name):
        try:
            aws_client("glue").delete_table(DatabaseName=database, Name=name)
        except ClientError as fault:
            if error_code(fault) != "EntityNotFoundException":
                raise


def _is_there(database: str, name: str) -> bool:
    from botocore.exceptions import ClientError

    with aws_faults("look at view", f"{database}.{name}"):
        try:
            aws_client("glue").get_table(DatabaseName=database, Name=name)
        except ClientError as fault:
            if error_code(fault) != "EntityNotFoundException":
                raise
            return False
    return True


def _noted(text: bytes | None, database: str) -> dict[str, list[str]]:
    found: dict[str, dict[str, list[str]]] = json.loads(text or b"{}")
    return found.get(database, {})


def _note(lake: Lake, database: str, table: str, change: Callable[[list[str]], list[str]]) -> None:
    def changed(text: str) -> str:
        found = json.loads(text)
        tables = found.setdefault(database, {})
        tables[table] = change(tables.get(table, []))
        return json.dumps(found, indent=1, sort_keys=True)

    update(lake.place(layout.VIEWS_ATHENA), changed)
