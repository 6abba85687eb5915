"""One simulated clock for everything a stand-in does: it stands still, or runs at any multiple of the wall clock."""

import threading
import time
from collections.abc import Callable


class Clock:
    """A clock in microseconds since 1970 (UTC) that never goes backwards; any thread may read or move it.

    ``start_us`` is where it starts (the present, if None). ``rate`` is how many simulated seconds pass in a
    second: 0.0 stands still but for ``set``, ``advance`` and the ticks of writes; 1.0 goes with the wall clock.

    Each write takes its instant from ``tick``, ``tick_us`` after the last write's at the least, and the clock
    goes along: so that writes have an order even where the clock stands still. ``tick_us = 0`` lets writes
    share an instant, as they can in a stream: it may be changed at any time.
    """

    def __init__(self, start_us: int | None = None, rate: float = 0.0, *, tick_us: int = 1) -> None:
        if rate < 0 or tick_us < 0:
            raise ValueError(f"a clock never goes backwards; got rate={rate}, tick_us={tick_us}")
        self.rate = rate
        self.tick_us = tick_us
        self._lock = threading.Lock()
        self._base_us = time.time_ns() // 1_000 if start_us is None else start_us
        self._base_ns = time.monotonic_ns()
        self._last_tick_us = self._base_us - tick_us
        self._listeners: list[Callable[[], None]] = []

    def now_us(self) -> int:
        """The instant now, in microseconds since 1970."""
        with self._lock:
            return self._now_us()

    def set(self, us: int) -> None:
        """Move the clock to an instant; ValueError for one before now."""
        with self._lock:
            now_us = self._now_us()
            if us < now_us:
                raise ValueError(f"clock: set to {us} us, but it is {now_us} us already; it never goes backwards")
            self._rebase(us)
        self._tell()

    def advance(self, seconds: float) -> None:
        """Move the clock on; ValueError for a negative amount."""
        if seconds < 0:
            raise ValueError(f"clock: advance by {seconds} s; it never goes backwards")
        with self._lock:
            self._rebase(self._now_us() + round(seconds * 1_000_000))
        self._tell()

    def tick(self) -> int:
        """The instant of a write, in microseconds: now, or ``tick_us`` after the last write if that is later."""
        with self._lock:
            now_us = self._now_us()
            at_us = max(now_us, self._last_tick_us + self.tick_us)
            self._last_tick_us = at_us
            if at_us > now_us:
                self._rebase(at_us)
            return at_us

    def ticked(self, at_us: int) -> None:
        """Have the next ``tick`` come after an instant that was given to a write without it."""
        with self._lock:
            self._last_tick_us = max(self._last_tick_us, at_us)

    def on_move(self, listener: Callable[[], None]) -> None:
        """Have a function called, in the same thread, after each ``set`` and ``advance``."""
        self._listeners.append(listener)

    def _now_us(self) -> int:
        if not self.rate:
            return self._base_us
        return self._base_us + int((time.monotonic_ns() - self._base_ns) * self.rate) // 1_000

    def _rebase(self, us: int) -> None:
        self._base_us = us
        self._base_ns = time.monotonic_ns()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
