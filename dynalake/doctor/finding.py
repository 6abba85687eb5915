"""What a check found, and what is judged where something could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["wrong", "unknown", "ok"]
Description = dict[str, Any]  # as AWS gives it
_ORDER: dict[Status, int] = {"wrong": 0, "unknown": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one table, or of the lake where `table` is empty. `do` says what to do where it is not ok."""

    check: str
    table: str
    status: Status
    found: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read: why, and what to do about that."""

    reason: str
    do: str


Answer = Description | Unread | None  # None: there is no such thing


def judged(check: str, table: str, is_right: bool, found: str, do: str) -> Finding:
    """ok or wrong."""
    return Finding(check, table, "ok", found) if is_right else Finding(check, table, "wrong", found, do)


def unknown(check: str, table: str, unread: Unread) -> Finding:
    return Finding(check, table, "unknown", unread.reason, unread.do)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Wrong, then unknown, then ok; otherwise as they came."""
    return sorted(findings, key=lambda one: _ORDER[one.status])
