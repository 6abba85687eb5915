"""Dead letters that name an item: those whose bytes show its key, or hold the key's texts where they show none.

What was sealed is opened here where the secret is there, and nothing of its values leaves.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lake import layout
from lake.config import TableConfig
from lake.dead_letters import DeadLetter, read_dead_letters
from lake.errors import LakeError
from lake.lake import Lake
from lake.masks import MaskKey
from lake.secret import open_mask_key
from proof.record_keys import look_at, names_a_table

LETTERS_MAX = 1_000  # that are told of one item


@dataclass(frozen=True, slots=True)
class NamingLetter:
    """A dead letter that names the item: `by` its key, or merely by the key's texts somewhere in it."""

    id: str
    reason: str
    detail: str
    place: str
    by: Literal["key", "text"]
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Letters:
    """`naming` are the first of `count`; `unread` sealed letters could not be looked into, `why` says the cause."""

    naming: tuple[NamingLetter, ...] = ()
    count: int = 0
    unread: int = 0
    why: str | None = None


class DeadRecords:
    """Tells a raw record that became a dead letter from one that was taken in: letters are named by their bytes."""

    def __init__(self, ids: set[str], key: MaskKey | None) -> None:
        self._ids, self._key = ids, key

    def holds(self, raw: bytes) -> bool:
        if not self._ids:
            return False
        if hashlib.sha256(raw).hexdigest()[:32] in self._ids:
            return True
        return self._key is not None and self._key.identity(raw) in self._ids


def letters_naming(lake: Lake, table: TableConfig, item_key: str) -> tuple[Letters, DeadRecords]:
    """The table's dead letters, and those of no known table, that name an item. Raises LakeError."""
    opener = _Opener(lake)
    texts = [value[kind] for value in table.keys.values_of(item_key).values() for kind in value]
    patterns = [re.compile(_as_a_word(text), re.DOTALL) for text in texts]
    naming: list[NamingLetter] = []
    count = unread = 0
    seen: set[str] = set()
    for folder in (table.name, None):
        for letter in read_dead_letters(lake.place(layout.dead_letter_folder(folder))):
            if letter.id in seen:
                continue
            raw = opener.bytes_of(letter)
            if raw is None:
                unread += 1
                continue
            by = named_by(raw, table, item_key, patterns)
            if by is not None:
                seen.add(letter.id)
                count += 1
                if len(naming) < LETTERS_MAX:
                    naming.append(
                        NamingLetter(letter.id, letter.reason, letter.detail, letter.place, by, letter.is_sealed)
                    )
    return Letters(tuple(naming), count, unread, opener.why if unread else None), DeadRecords(seen, opener.key)


def named_by(
    raw: bytes, table: TableConfig, item_key: str, patterns: Iterable[re.Pattern[bytes]]
) -> Literal["key", "text"] | None:
    """How bytes name an item. A record that shows another key, or another table, does not, whatever else it holds."""
    seen = look_at(raw, table)
    if seen is not None and seen.item_key is not None:
        return "key" if seen.item_key == item_key else None
    if seen is None and names_a_table(raw):
        return None
    return "text" if all(pattern.search(raw) for pattern in patterns) else None


def _as_a_word(text: str) -> bytes:
    """A pattern for a text that is no part of a longer one, plain or escaped as in JSON."""
    spellings = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    either = b"|".join(re.escape(spelling.encode(errors="surrogatepass")) for spelling in sorted(spellings))
    return rb"(?<![A-Za-z0-9])(?:" + either + rb")(?![A-Za-z0-9])"


class _Opener:
    """Opens seals, if it can; asks for the secret with the first."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.key: MaskKey | None = None
        self.why: str | None = None

    def bytes_of(self, letter: DeadLetter) -> bytes | None:
        if not letter.is_sealed:
            return letter.raw
        try:
            if self.key is None and self.why is None:
                self.key = open_mask_key(self._lake)
            return None if self.key is None else self.key.unseal(letter.raw)
        except (LakeError, ValueError) as fault:
            self.why = str(fault)
            return None
