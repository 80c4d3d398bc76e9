"""The only place that asks what time it is. Cores get `now_ms` as an argument."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now_ms(self) -> int:
        """Return UTC, milliseconds since 1970. It may step when the system's clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that only ever go forward, from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return UTC, milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that a test moves by hand."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._start_ms = now_ms

    def now_ms(self) -> int:
        """Return the time it was moved to."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return the seconds it was moved by."""
        return (self._now_ms - self._start_ms) / 1000

    def advance_ms(self, by_ms: int) -> None:
        """Move forward."""
        self._now_ms += by_ms
