"""The lake: whether what was captured gets into its tables, and whether that is proven."""

from __future__ import annotations

from dynalake.doctor.finding import Finding, Unread, judged, unknown
from lake.proofs import Proof

PROOF_DAYS_MAX = 7
COMPACTION_HOURS_MAX = 24
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000


def check_proof(table: str, proof: Proof | Unread | None, now_us: int) -> Finding:
    do = f"dynalake verify {table}"
    if isinstance(proof, Unread):
        return unknown("proof", table, proof)
    if proof is None:
        return unknown("proof", table, Unread("never verified", do))
    days = max(now_us - proof.at_us, 0) / _DAY_US
    found = f"{days:.1f} days ago: {proof.differing} differing, {proof.unproven} unproven"
    if proof.differing:
        return judged("proof", table, False, found, f"{do} --repair")
    if proof.unproven or days > PROOF_DAYS_MAX:
        return unknown("proof", table, Unread(found, f"{do}, and have it run at least once a week"))
    return Finding("proof", table, "ok", found)


def check_compaction(table: str, at_us: int | Unread | None, now_us: int) -> Finding:
    """`at_us` is when the change log was last written to."""
    if isinstance(at_us, Unread):
        return unknown("compaction", table, at_us)
    if at_us is None:
        return unknown("compaction", table, Unread("nothing was ever compacted", f"dynalake compact {table}"))
    hours = max(now_us - at_us, 0) / _HOUR_US
    if hours > COMPACTION_HOURS_MAX:
        return unknown("compaction", table, Unread(
            f"{hours:.0f} h ago", "Where the table has changed since, see that compact is scheduled and what it says"
        ))  # fmt: skip
    return Finding("compaction", table, "ok", f"{hours:.1f} h ago")


def check_dead_letters(table: str, count: int | Unread | None) -> Finding:
    """Open ones, of a table or (empty) of no table."""
    if isinstance(count, Unread):
        return unknown("dead letters", table, count)
    do = f"dynalake dead-letters tells why; mend that, then dynalake redrive {table}".rstrip()
    return judged("dead letters", table, not count, f"{count or 0} open", do)
