"""`verify --repair`: what was found is mended by the usual jobs, and proven again.

What the log lacks or has wrong is read again from the table, and lands as any other read: compact takes it in, refresh
brings it into the state. A state that disagrees with a right log is made anew from it. Nothing here is special: a kill
anywhere leaves raw objects that the next compact takes in, and the next verify finds what is left to do.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO

import msgspec

from compaction.compact import compact
from compaction.refresh import refresh
from compaction.settings import Settings as JobSettings
from ingest.reread import RereadReport, reread
from lake.config import TableConfig
from lake.dynamodb import Source
from lake.lake import Lake
from lake.masked import masked_source
from proof.report import MENDED_BY_READING, MENDED_BY_REFRESH, Kind, Report
from proof.verify import Settings, verify

PROVEN_AGAIN_MAX = 1_000_000  # items: their keys are held in memory


class Findings:
    """The items that verify could not prove, in a scratch file: there may be as many as there are items."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="dynalake-findings-")  # noqa: SIM115
        self.counts: Counter[Kind] = Counter()

    def __enter__(self) -> Findings:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, item_key: str, kind: Kind) -> None:
        self._file.write(msgspec.json.encode((item_key, kind)) + b"\n")
        self.counts[kind] += 1

    def keys(self, kinds: Sequence[Kind]) -> Iterator[str]:
        """The items of these kinds."""
        self._file.seek(0)
        for line in self._file:
            item_key, kind = msgspec.json.decode(line, type=tuple[str, Kind])
            if kind in kinds:
                yield item_key

    def count(self, kinds: Sequence[Kind]) -> int:
        return sum(self.counts[kind] for kind in kinds)


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done: items read again, and whether the state was made anew. `after` is the proof of these items."""

    reread: RereadReport
    is_state_new: bool
    after: Report

    @property
    def told(self) -> str:
        """In words."""
        done = []
        if self.reread.items:
            done.append(f"read {self.reread.items:,} items again, of which {self.reread.tombstones:,} are gone")
        if self.is_state_new:
            done.append("made the current state anew from its log")
        return f"repaired: {' and '.join(done) or 'nothing'}"

    def proof_of(self, found: Report) -> Report:
        """The first report, now that these items are proven too; or what is left of its differences."""
        left = self.after
        was = found.differing + found.unproven
        return replace(
            found,
            proven=found.proven + was - left.differing - left.unproven,
            differing=left.differing,
            unproven=left.unproven,
            waited_seconds=found.waited_seconds + left.waited_seconds,
            verified_through=found.judged_through if left.is_proven and found.sample is None else None,
            counts=left.counts,
            differences=left.differences,
        )


def mend(
    lake: Lake, table: TableConfig, dynamodb: Source, settings: Settings, findings: Findings, now_us: int
) -> Mended:
    """Mends what verify found. `settings` are those that it ran with. Raises LakeError; what is done stays done."""
    source = masked_source(dynamodb, lake, table)
    done = reread(
        lake, table, source, _whole_keys(findings.keys(MENDED_BY_READING)), settings.progress,
        findings.count(MENDED_BY_READING),
    )  # fmt: skip
    jobs = JobSettings(now_us, memory_mb=settings.memory_mb, threads=settings.threads)
    compact(lake, table, jobs)
    is_state_new = findings.count(MENDED_BY_REFRESH) > 0
    refresh(lake, table, jobs, full=is_state_new)
    items = list(islice(_whole_keys(findings.keys((*MENDED_BY_READING, *MENDED_BY_REFRESH))), PROVEN_AGAIN_MAX))
    after = verify(lake, table, dynamodb, replace(settings, sample=None, chosen=items, on_finding=lambda *_: None))
    return Mended(done, is_state_new, after)


def _whole_keys(item_keys: Iterator[str]) -> Iterator[str]:
    """Without those of rows that have no key: only their row can be mended."""
    return (item_key for item_key in item_keys if not item_key.startswith("(row "))
