"""How a job may use the machine."""

from __future__ import annotations

from dataclasses import dataclass

ATTEMPTS_MAX = 20  # at one commit, lost races included
ROW_GROUP_ROWS = 30_000
DICTIONARY_MAX = 100  # distinct values of a Parquet column with a dictionary: for more it is not worth the time


@dataclass(frozen=True, slots=True)
class Settings:
    """`now_us` is the present in UTC microseconds; `memory_mb` what the whole process may hold."""

    now_us: int
    memory_mb: int = 4096
    threads: int | None = None

    @property
    def batch_bytes(self) -> int:
        """Raw bytes, as listed, of one batch: records stay in scratch files, but what is said of them does not."""
        return max(8, min(256, self.memory_mb // 8)) << 20
