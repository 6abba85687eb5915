"""A Lambda function of ours: which handler, which lake, whether it can run at all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynalake.doctor.finding import Answer, Description, Finding, Unread, judged, unknown

STREAM_HANDLER = "ingest.handlers.stream_handler"
FIREHOSE_HANDLER = "ingest.handlers.firehose_handler"
_LAKE = "DYNALAKE_LAKE"
_RUNTIMES = re.compile(r"python3\.(1[1-9]|[2-9]\d)")  # those that dynalake supports


def function_name(arn: str) -> str:
    """Without the version or alias that may stand behind it."""
    return arn.rpartition(":function:")[2].partition(":")[0]


def lake_of(function: Answer) -> str | None:
    """The lake that a function lands in, as its environment says; None where that is not known."""
    if not isinstance(function, dict):
        return None
    lake = function.get("Environment", {}).get("Variables", {}).get(_LAKE)
    return None if lake is None else str(lake).rstrip("/")


def is_ours(function: Answer) -> bool:
    """Whether it may be one of dynalake's: others may read the stream as well, and are no concern of this."""
    if not isinstance(function, dict):
        return True
    return _LAKE in function.get("Environment", {}).get("Variables", {}) or str(function.get("Handler", "")).startswith(
        "ingest.handlers."
    )


def check_function(table: str, role: str, name: str, function: Answer, handler: str, lake: str) -> Iterator[Finding]:
    """`function` is of GetFunctionConfiguration; `role` says which one it is, and begins the checks' names."""
    if isinstance(function, Unread):
        yield unknown(f"{role} function", table, function)
        return
    if function is None:
        yield judged(f"{role} function", table, False, f"no function {name}", "Deploy it, or take away what calls it")
        return
    yield _can_run(table, role, name, function)
    if function.get("PackageType", "Zip") == "Zip":
        found = function.get("Handler") or "none"
        do = f"aws lambda update-function-configuration --function-name {name} --handler {handler}"
        yield judged(f"{role} handler", table, found == handler, found, do)
        runtime = function.get("Runtime") or "none"
        yield judged(f"{role} runtime", table, bool(_RUNTIMES.fullmatch(runtime)), runtime,
                     "Python 3.11 or later, the one the package was built for: make package says which")  # fmt: skip
    there = lake_of(function)
    yield judged(
        f"{role} lake", table, there == lake, there or f"no {_LAKE}",
        f"Set {_LAKE}={lake} in its environment; where it went on so, dynalake backfill {table} --again --prune",
    )  # fmt: skip


def _can_run(table: str, role: str, name: str, function: Description) -> Finding:
    state, last = function.get("State", "Active"), function.get("LastUpdateStatus", "Successful")
    is_right = state in ("Active", "Inactive", "Pending") and last != "Failed"
    reason = function.get("StateReason") or function.get("LastUpdateStatusReason") or ""
    found = f"{name} {state}" + ("" if is_right else f", last update {last}: {reason}")
    return judged(f"{role} function", table, is_right, found, "Mend what the reason names, and deploy it again")
