"""The only place that asks what time it is. Cores get `now_ms` as an argument."""

import threading
import time
from collections.abc import Callable
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


class SteadyClock:
    """A clock that never goes back and never stands still, though the clock below it may be set or be broken.

    It is the other clock, unless that was set back or stands still: then it goes on from where it was, a tenth slower than time
    passes, until the other has caught up. What measures by it, such as a tracker, hardly notices; a step forward it takes at once.
    """

    _SLOWED = 0.9
    _STEP_MS = 1_000

    def __init__(self, clock: Clock, on_set_back: Callable[[int], object] = lambda _: None) -> None:
        """Take the clock below.

        Args:
            clock: May step; its `monotonic_s` may not.
            on_set_back: Called with milliseconds when the other clock was set back by more than a second.
        """
        self._clock = clock
        self._on_set_back = on_set_back
        self._lock = threading.Lock()
        self._at_ms = float(clock.now_ms())
        self._asked_s = clock.monotonic_s()
        self._ahead_ms = 0.0

    def now_ms(self) -> int:
        """Return UTC, milliseconds since 1970; never less than before."""
        with self._lock:
            now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
            passed_ms = max(0.0, now_s - self._asked_s) * 1000
            self._at_ms = max(float(now_ms), self._at_ms + self._SLOWED * passed_ms)
            self._asked_s = now_s
            ahead_ms, self._ahead_ms = self._ahead_ms, self._at_ms - now_ms
            set_back_ms = self._ahead_ms - ahead_ms
            at_ms = int(self._at_ms)
        # A clock that stands still falls back by a little each time, which is no step.
        if set_back_ms > self._STEP_MS + passed_ms:
            self._on_set_back(round(set_back_ms))
        return at_ms

    def monotonic_s(self) -> float:
        """Return seconds since an arbitrary start."""
        return self._clock.monotonic_s()


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
