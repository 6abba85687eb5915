"""A table's items in the order of a Scan: by a hash of the hash key, then by the range key.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
"""

import base64
import hashlib
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from standin.encoder import encode_json
from standin.history import CanonicalKey, Item, canonical_key
from standin.size import image_size

PAGE_BYTES_MAX = 1_048_576
_HASH_BITS = 64
_SORT_AT = 200  # from so many new places on, sorting anew is quicker than inserting one by one

_Place: TypeAlias = tuple[int, str, Any, CanonicalKey]


@dataclass(slots=True)
class HeldItem:
    """An item as a Scan gives it: its size as DynamoDB counts it and, once asked for, its JSON."""

    image: Item
    size: int
    _text: str | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = encode_json(self.image)
        return self._text


@dataclass(frozen=True, slots=True)
class ScanPage:
    """One page; ``last`` is its last item where there may be more."""

    items: list[HeldItem]
    last: HeldItem | None

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items)


class ScanOrder:
    """The items of a table, kept in order while it changes, so that a page costs what is in it.

    An item that is there throughout a Scan is given exactly once, whatever comes and goes between its pages:
    its place follows from its key alone, and a page starts after a place, whether or not an item is still there.
    """

    def __init__(self, key_names: tuple[str, ...]) -> None:
        self._key_names = key_names
        self._items: dict[CanonicalKey, HeldItem] = {}
        self._places: list[_Place] = []
        self._new: list[_Place] = []
        self._left: set[_Place] = set()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: CanonicalKey) -> HeldItem | None:
        """The item with a key, None if there is none."""
        return self._items.get(key)

    def put(self, key: CanonicalKey, image: Item) -> None:
        """Take in an item, or its new image; the image is kept, not copied."""
        if key not in self._items:
            place = _place(key)
            if place in self._left:
                self._left.discard(place)
            else:
                self._new.append(place)
        self._items[key] = HeldItem(image, image_size(image))

    def remove(self, key: CanonicalKey) -> None:
        """Drop an item."""
        del self._items[key]
        self._left.add(_place(key))

    def page(
        self,
        *,
        after: Item | None = None,
        limit: int | None = None,
        segment: int = 0,
        segments: int = 1,
        bytes_max: int = PAGE_BYTES_MAX,
    ) -> ScanPage:
        """The items after those key attributes, in one of the equal ranges of the hash, up to a limit or 1 MB."""
        self._settle()
        places = self._places
        end = bisect_left(places, (-(-(segment + 1 << _HASH_BITS) // segments),))
        start = bisect_left(places, (-(-(segment << _HASH_BITS) // segments),))
        if after is not None:
            key = canonical_key({name: after[name] for name in self._key_names})
            start = max(start, bisect_right(places, _place(key)))
        items: list[HeldItem] = []
        size = 0
        for index in range(start, end):
            item = self._items.get(places[index][-1])
            if item is None:
                continue
            if items and (size + item.size > bytes_max or len(items) == limit):
                return ScanPage(items, items[-1])
            items.append(item)
            size += item.size
        # DynamoDB that has stopped at a limit does not know whether there is more.
        return ScanPage(items, items[-1] if items and len(items) == limit else None)

    def _settle(self) -> None:
        if len(self._new) >= _SORT_AT:
            self._places += self._new
            self._places.sort()
        else:
            for place in self._new:
                insort(self._places, place)
        self._new.clear()
        if len(self._left) > len(self._places) // 2:
            self._places = [place for place in self._places if place not in self._left]
            self._left.clear()


def _place(key: CanonicalKey) -> _Place:
    kind, text = key[0]
    digest = hashlib.md5(f"{kind}{text}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[: _HASH_BITS // 8], "big"), text, _sort_value(*key[1]) if len(key) > 1 else 0, key


def _sort_value(kind: str, text: str) -> Any:
    match kind:
        case "N":
            return Decimal(text)
        case "B":
            return base64.b64decode(text)
    return text.encode()
