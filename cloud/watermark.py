"""How far a camera's time has come, and which of it was watched.

Event time per camera: its watermark moves by its own heartbeats only, never by the wall clock and never by another
camera. So a backlog that arrives hours late finds its panes where it left them.

A crossing does not move the watermark: it proves that time went on, not that everything before it was counted. If
it did, each crossing shortly after a pane's border would close that pane before the heartbeat that covers its end.
"""

from collections.abc import Iterator

# A device whose clock runs ahead may move its watermark at most this far past the moment its event was received:
# one event from the year 2100 must not close every pane until then.
MAX_AHEAD_MS = 60_000
# Heartbeats come every second or two. Of a span longer than this only its end counts as watched: an absurd
# `since_ms` must not fill millions of panes.
MAX_SPAN_MS = 3_600_000
# Separate stretches of known time per camera; each hole between two of them is one restart or lost heartbeat.
MAX_STRETCHES = 64


def advance(watermark_ms: int, at_ms: int, received_at_ms: int) -> int:
    """Return the watermark after a heartbeat; it never goes back.

    Args:
        watermark_ms: As it was.
        at_ms: Up to when the camera has counted everything, by the device's clock.
        received_at_ms: When the gateway received that, by its own clock.
    """
    return max(watermark_ms, min(at_ms, received_at_ms + MAX_AHEAD_MS))


def portion(amount: int, span: tuple[int, int], part: tuple[int, int]) -> int:
    """Return how much of `amount`, spread evenly over `span`, lies in `part`.

    Parts that tile the span get portions that add up to exactly `amount`: each border is rounded once, for both of
    its sides.

    Args:
        amount: Anything countable, at least 0.
        span: From and to, of positive length.
        part: From and to, within the span.
    """
    start, end = span
    low, high = part
    length = end - start
    return amount * (high - start) // length - amount * (low - start) // length


def panes_between(from_ms: int, to_ms: int, pane_ms: int) -> Iterator[tuple[int, int, int]]:
    """Yield `(pane's start, from, to)` for each pane that `[from_ms, to_ms)` touches, in order."""
    low = from_ms
    while low < to_ms:
        start = low - low % pane_ms
        high = min(to_ms, start + pane_ms)
        yield start, low, high
        low = high


class Stretches:
    """The time that heartbeats have told of, as a few ascending, disjoint stretches."""

    def __init__(self, stretches: tuple[tuple[int, int], ...] = ()) -> None:
        self._stretches = list(stretches)

    def snapshot(self) -> tuple[tuple[int, int], ...]:
        """Return the stretches, ascending."""
        return tuple(self._stretches)

    def add(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """Take `[from_ms, to_ms)` in and return the parts of it that were not known, ascending.

        Beyond `MAX_STRETCHES` the oldest hole is closed: what would arrive for it even later is not counted as
        watched. That errs on the side of "not watched".
        """
        if from_ms >= to_ms:
            return []
        fresh: list[tuple[int, int]] = []
        kept: list[tuple[int, int]] = []
        known_to, low, high = from_ms, from_ms, to_ms
        for start, end in self._stretches:
            if end < from_ms or start > to_ms:
                kept.append((start, end))
                continue
            if known_to < start:
                fresh.append((known_to, start))
            known_to = max(known_to, end)
            low, high = min(low, start), max(high, end)
        if known_to < to_ms:
            fresh.append((known_to, to_ms))
        kept.append((low, high))
        kept.sort()
        if len(kept) > MAX_STRETCHES:
            kept[:2] = [(kept[0][0], kept[1][1])]
        self._stretches = kept
        return fresh
