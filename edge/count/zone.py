"""Who is inside a zone, and for how long.

A track is inside when the middle of its lower edge is. Going in and out is taken back to when it happened, but
believed only after it has lasted, so that someone on the border is not counted again and again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from countline.events import Point
from edge.count.geometry import inside

# A change that lasts less is shaking at the border.
SETTLE_MS = 500


@dataclass(frozen=True, slots=True)
class Visit:
    """One object's stay in a zone that has ended.

    Attributes:
        zone: The zone's name.
        cls: The object's class.
        track: The track's id.
        left_at_ms: When it left.
        dwell_ms: How long it stayed.
    """

    zone: str
    cls: str
    track: int
    left_at_ms: int
    dwell_ms: int


@dataclass(slots=True)
class _Stay:
    cls: str
    is_inside: bool = False
    since_ms: int = 0
    # The side that the track seems to be on since `changed_at_ms`, not yet believed.
    changed_at_ms: int | None = None
    seen_at_ms: int = 0


class ZoneCounter:
    """Watches one zone of one camera. State is kept per living track and let go when the track ends."""

    def __init__(self, name: str, points: Sequence[Point]) -> None:
        """Take the zone's corners in order, pixels of the picture."""
        self.name = name
        self._points = tuple(points)
        self._stays: dict[int, _Stay] = {}

    def feed(self, track: int, cls: str, foot: Point, at_ms: int) -> list[Visit]:
        """Take one confirmed track's point of one frame; return the visit that has just ended, if one has."""
        stay = self._stays.setdefault(track, _Stay(cls))
        stay.cls = cls
        stay.seen_at_ms = at_ms
        if inside(foot, self._points) == stay.is_inside:
            stay.changed_at_ms = None
            return []
        if stay.changed_at_ms is None:
            stay.changed_at_ms = at_ms
        if at_ms - stay.changed_at_ms < SETTLE_MS:
            return []
        return self._change(track, stay, stay.changed_at_ms)

    def end(self, track: int) -> list[Visit]:
        """Let go of a track that will not come back; it left, if it was inside, when it was last seen."""
        stay = self._stays.pop(track, None)
        if stay is None or not stay.is_inside:
            return []
        return [Visit(self.name, stay.cls, track, stay.seen_at_ms, max(0, stay.seen_at_ms - stay.since_ms))]

    def occupancy(self) -> dict[str, int]:
        """Return how many are inside now, per class, ascending; classes without anyone are left out."""
        counts: dict[str, int] = {}
        for stay in self._stays.values():
            if stay.is_inside:
                counts[stay.cls] = counts.get(stay.cls, 0) + 1
        return dict(sorted(counts.items()))

    def _change(self, track: int, stay: _Stay, at_ms: int) -> list[Visit]:
        stay.is_inside = not stay.is_inside
        stay.changed_at_ms = None
        if stay.is_inside:
            stay.since_ms = at_ms
            return []
        return [Visit(self.name, stay.cls, track, at_ms, at_ms - stay.since_ms)]
