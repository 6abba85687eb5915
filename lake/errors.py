"""Every fault that dynalake foresees, as one small family.

A message says what was tried, on what, what was expected, what was found and what to do about it.
"""

from __future__ import annotations


class LakeError(Exception):
    """The root of all foreseen faults; `str()` is one line that a person can act on."""

    def __init__(
        self, operation: str, identity: object, *, expected: str = "", got: str = "", remedy: str = ""
    ) -> None:
        self.operation = operation
        self.identity = str(identity)
        self.expected = expected
        self.got = got
        self.remedy = remedy
        parts = [f"{operation} {self.identity}".strip()]
        if expected:
            parts.append(f"expected {expected}")
        if got:
            parts.append(f"found {got}")
        line = "; ".join(parts)
        if remedy:
            line += f". {remedy}"
        super().__init__(" ".join(line.split()))


class TransientError(LakeError):
    """May pass by itself: tried again a bounded number of times."""


class Throttled(TransientError):
    """AWS refuses what is too much at once: fewer requests, later, are answered."""


class CommitConflict(TransientError):
    """Another job committed first: reload the table and plan anew."""


class CommitStateUnknown(LakeError):
    """The answer to a commit was lost: look for its inputs in the table before doing it again."""


class ConfigError(LakeError):
    """The lake, a table or a setting is not as it must be: stop before anything is done."""


class PoisonError(LakeError):
    """One record cannot be taken in: it goes to the dead letters and the rest go on."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__("decode", "record", got=f"{reason}: {detail}")


class InvariantBroken(AssertionError):
    """Something that cannot be happened: a bug. The run stops; nothing is committed."""
