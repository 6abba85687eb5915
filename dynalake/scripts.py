"""Where the statements of a script come from: a file, stdin, or the pack of queries that dynalake brings."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from pathlib import Path

from lake.errors import ConfigError
from lake.lake import Lake
from queries import pack


def read_script(name: str) -> str:
    """The text of a file of statements, of stdin for `-`. Raises ConfigError."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(
            "read", "stdin" if name == "-" else name, expected="statements of SQL, as text in UTF-8",
            got=getattr(fault, "strerror", None) or str(fault),
        ) from fault  # fmt: skip


def read_packed(lake: Lake, name: str, table: str | None) -> str:
    """A query of the pack, about a table, or about the only one. Raises ConfigError."""
    names = sorted(pack.names())
    if name not in names:
        close = get_close_matches(name, names, n=1)
        raise ConfigError(
            "read query", name, expected=f"one of {', '.join(names)}", got="none of them",
            remedy=f"Did you mean {close[0]}?" if close else "",
        )  # fmt: skip
    tables = lake.config.tables
    if table is None and len(tables) != 1:
        raise ConfigError(
            "read query", name, expected=f"the table that it is about: {', '.join(tables) or 'none is registered'}",
            got="none named", remedy=f"Name it: --table NAME, in the shell \\query {name} NAME",
        )  # fmt: skip
    return pack.read_query(name, next(iter(tables)) if table is None else lake.config.table(table).name)
