"""Ready queries: commented `.sql` files, `operational/` for every table, `demo/` for the demo's flights.

The first comment line of a file says what it answers, the others what its columns are and what to do about them.
`{table}` in it stands for the table's name: `FROM {table}_changes`.
"""

from __future__ import annotations

import re
from pathlib import Path

from lake.errors import ConfigError
from lake.sql import identifier

_FOLDER = Path(__file__).parent
_PLACE = re.compile(r"\{table\}(\w*)")


def names(folder: str = "*") -> list[str]:
    """The names of the queries there are, or of those in `operational` or `demo`."""
    return sorted(path.stem for path in _FOLDER.glob(f"{folder}/*.sql"))


def title(name: str) -> str:
    """What a query answers, in a line. Raises ConfigError where there is none of this name."""
    first, _, _ = _text(name).partition("\n")
    return first.removeprefix("--").strip()


def read_query(name: str, table: str) -> str:
    """The text of a query, comments included, over a table. Raises ConfigError where there is none of this name."""
    return _PLACE.sub(lambda found: identifier(table + found[1]), _text(name))


def _text(name: str) -> str:
    path = next((path for path in _FOLDER.glob("*/*.sql") if path.stem == name), None)
    if path is None:
        raise ConfigError("find query", repr(name), expected=f"one of {', '.join(names())}")
    return path.read_text(encoding="utf-8")
