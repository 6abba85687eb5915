"""The entries of docs/playbook.md, and the faults that bring them about: one for each heading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.account import Account
from tests.test_documents import FENCE, ROOT, commands_of

PLAYBOOK = ROOT / "docs" / "playbook.md"
PARTS = ("Symptom.", "Cause.", "Lost.", "Confirm.", "Fix.")
_ENTRY = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
Inject = Callable[[Account], Iterator[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`inject` brings the fault about, lets the entry's commands run at its `yield`, and checks what came of them."""

    inject: Inject
    account: dict[str, Any]
    standin: dict[str, Any]
    begins: bool


@dataclass(slots=True)
class Entry:
    """What stands under a heading: texts by part, and the commands of the two parts that have some."""

    heading: str
    texts: dict[str, str] = field(default_factory=dict)
    commands: list[tuple[str, str]] = field(default_factory=list)


FAULTS: dict[str, Fault] = {}


def fault(
    heading: str, standin: dict[str, Any] | None = None, begins: bool = True, **account: Any
) -> Callable[[Inject], Inject]:
    """Registers an injection; `standin` are arguments of the stand-in, the others those of the account.

    `begins`: whether there is a lake with a past before it.
    """

    def register(inject: Inject) -> Inject:
        assert heading not in FAULTS
        FAULTS[heading] = Fault(inject, account, standin or {}, begins)
        return inject

    return register


def entries() -> list[Entry]:
    """The document's entries. An entry whose parts are not all there, in their order, fails."""
    found = []
    for heading, body in _ENTRY.findall(PLAYBOOK.read_text(encoding="utf-8")):
        entry = Entry(heading)
        pieces = re.split(r"^\*\*(\w+\.)\*\*", body, flags=re.MULTILINE)[1:]
        assert tuple(pieces[::2]) == PARTS, f"{heading}: {pieces[::2]}"
        for name, text in zip(pieces[::2], pieces[1::2], strict=True):
            entry.texts[name] = FENCE.sub("", text).strip()
            for language, block in FENCE.findall(text):
                assert language == "console", f"{heading}: a block of {language!r}"
                entry.commands += commands_of(block)
        found.append(entry)
    return found


def code_of(shown: str) -> int:
    """The exit code that goes with what is shown."""
    if re.search(r"^dynalake: ", shown, re.MULTILINE):
        return 1
    return 254 if shown.startswith("An error occurred") else 0
