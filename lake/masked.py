"""The table through its masks: what the lake may hold of it, and is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lake.config import TableConfig
from lake.dynamodb import DescribedTable, Page, Source, key_of_text
from lake.lake import Lake
from lake.masks import TableMasks
from lake.secret import open_mask_key


def masked_source(source: Source, lake: Lake, table: TableConfig) -> Source:
    """The source itself for a table without masks. Raises LakeError where the masks' secret is not there."""
    if not table.masks:
        return source
    return _MaskedSource(source, table, TableMasks(table.masks, table.keys, open_mask_key(lake)))


class _MaskedSource:
    """A source of masked items. Nothing plain is kept: items whose keys are masked are found again by another Scan.

    Where a segment goes on is told as it is: a plain key.
    """

    def __init__(self, source: Source, table: TableConfig, masks: TableMasks) -> None:
        self._source, self._table, self._masks = source, table, masks

    def server_us(self) -> int:
        return self._source.server_us()

    def describe(self, name: str) -> DescribedTable:
        return self._source.describe(name)

    def scan(self, name: str, segment: int, segments: int, start_key: str | None = None) -> Iterator[Page]:
        return map(self._page, self._source.scan(name, segment, segments, start_key))

    def get_items(self, name: str, keys: Sequence[str]) -> Iterator[Page]:
        if not self._masks.mask_keys:
            yield from map(self._page, self._source.get_items(name, keys))
            return
        key_of = key_of_text(self._table.keys, name)
        wanted = {key_of(key.encode()) for key in keys}
        for page in self.scan(name, 0, 1):
            if found := [item for item in page.items if key_of(item) in wanted]:
                yield replace(page, items=found)

    def _page(self, page: Page) -> Page:
        return replace(page, items=[self._masks.item(item, self._table.name) for item in page.items])
