"""Envelopes for tests."""

from countline import events as ev
from countline import topics

TOPIC = topics.events("home", "box")


def envelope(seq: int, *, epoch: int = 5, device: str = "box", at_ms: int = 1_700_000_000_000) -> ev.Envelope:
    """Return a crossing of the line "door"."""
    totals = ev.LineTotals(in_=seq, out=0)
    crossing = ev.LineCrossed("door", ev.Direction.IN, "person", seq, 0.9, totals)
    return ev.Envelope(1, "home", device, epoch, seq, "entrance", at_ms, crossing)


def heartbeat(seq: int, *, at_ms: int = 1_700_000_000_000, backlog: int = 0) -> ev.Envelope:
    """Return a heartbeat of one second."""
    beat = ev.Heartbeat(since_ms=at_ms - 1_000, backlog=backlog)
    return ev.Envelope(1, "home", "box", 5, seq, "entrance", at_ms, beat)
