"""Who is inside a zone, since when, and for how long.

A track is inside when the middle of its lower edge is. Going in and out is dated back to when it happened, but believed
only after it has lasted, so that someone on the border is not counted again and again::

    outside |xxxx          x = seems inside; believed after SETTLE_MS if it is clear of the border by then, else
            |    ******    after BORDER_SETTLE_MS. The entry is dated to the first x, and so is leaving, the same way.

Tracks that are outside are not remembered, so a zone's memory is as large as its crowd.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import Point
from edge.arrays import Spots
from edge.count.geometry import distance, inside_many

# A change that lasts less is shaking at the border.
SETTLE_MS = 500
# The same for one that stays at the border: nearer than so many box heights.
BORDER_SETTLE_MS = 2_000
BORDER_BAND = 0.05


@dataclass(frozen=True, slots=True)
class Entry:
    """One object has come in.

    Attributes:
        zone: The zone's name.
        cls: The object's class; it is kept until it leaves.
        track: The track's id.
        at_ms: When.
        appeared: It was inside when it was first seen.
    """

    zone: str
    cls: str
    track: int
    at_ms: int
    appeared: bool


@dataclass(frozen=True, slots=True)
class Visit:
    """One object's stay that has ended.

    Attributes:
        zone: The zone's name.
        cls: The object's class when it came in.
        track: The track's id.
        left_at_ms: When it left.
        dwell_ms: How long it stayed.
        vanished: It was inside when it was last seen.
    """

    zone: str
    cls: str
    track: int
    left_at_ms: int
    dwell_ms: int
    vanished: bool = False


@dataclass(slots=True)
class _Stay:
    cls: str
    appeared: bool
    # The side that the track seems to be on since `changed_at_ms`, not yet believed.
    changed_at_ms: int | None
    seen_at_ms: int
    is_inside: bool = False
    since_ms: int = 0


class ZoneCounter:
    """Watches one zone of one camera. State is kept per track inside and let go when it leaves or ends."""

    def __init__(self, name: str, points: Sequence[Point]) -> None:
        """Take the zone's corners in order, pixels of the picture."""
        self.name = name
        self._corners = np.array(points, dtype=np.float64)
        self._border = (*points, points[0])
        self._stays: dict[int, _Stay] = {}

    def feed(
        self,
        spots: Spots,
        classes: Sequence[str],
        wanted: NDArray[np.bool_],
        first: NDArray[np.bool_],
    ) -> list[Entry | Visit]:
        """Take where objects stood; return who is now known to have come or gone.

        Args:
            spots: Of one track in order of time.
            classes: The class of each.
            wanted: Which of them this zone counts; who is inside already is counted until it leaves. Shape (N,).
            first: Which of them are their track's first, shape (N,).
        """
        if not len(spots):
            return []
        is_in = inside_many(spots.xy, self._corners)
        changes: list[Entry | Visit] = []
        for row, track in enumerate(spots.track_id.tolist()):
            stay = self._stays.get(track)
            at_ms = int(spots.at_ms[row])
            if stay is None:
                if is_in[row] and wanted[row]:
                    self._stays[track] = _Stay(classes[row], bool(first[row]), at_ms, at_ms)
                continue
            stay.seen_at_ms = at_ms
            if bool(is_in[row]) == stay.is_inside:
                stay.changed_at_ms = None
                if not stay.is_inside:
                    del self._stays[track]
                continue
            if stay.changed_at_ms is None:
                stay.changed_at_ms = at_ms
            if self._has_lasted(spots, row, at_ms - stay.changed_at_ms):
                changes.append(self._change(track, stay, stay.changed_at_ms))
        return changes

    def end(self, track: int) -> list[Visit]:
        """Let go of a track that will not come back; it left, if it was inside, when it was last seen there."""
        stay = self._stays.pop(track, None)
        if stay is None or not stay.is_inside:
            return []
        vanished = stay.changed_at_ms is None
        left_at_ms = stay.seen_at_ms if stay.changed_at_ms is None else stay.changed_at_ms
        return [self._visit(track, stay, left_at_ms, vanished=vanished)]

    def occupancy(self) -> dict[str, int]:
        """Return how many are inside now, per class, ascending; classes without anyone are left out."""
        counts: dict[str, int] = {}
        for stay in self._stays.values():
            if stay.is_inside:
                counts[stay.cls] = counts.get(stay.cls, 0) + 1
        return dict(sorted(counts.items()))

    def _has_lasted(self, spots: Spots, row: int, lasted_ms: int) -> bool:
        if lasted_ms < SETTLE_MS or lasted_ms >= BORDER_SETTLE_MS:
            return lasted_ms >= SETTLE_MS
        foot = (float(spots.xy[row, 0]), float(spots.xy[row, 1]))
        return distance(foot, self._border) >= BORDER_BAND * float(spots.height_px[row])

    def _change(self, track: int, stay: _Stay, at_ms: int) -> Entry | Visit:
        if stay.is_inside:
            del self._stays[track]
            return self._visit(track, stay, at_ms, vanished=False)
        stay.is_inside, stay.since_ms, stay.changed_at_ms = True, at_ms, None
        return Entry(self.name, stay.cls, track, at_ms, stay.appeared)

    def _visit(self, track: int, stay: _Stay, left_at_ms: int, *, vanished: bool) -> Visit:
        dwell_ms = max(0, left_at_ms - stay.since_ms)
        return Visit(self.name, stay.cls, track, left_at_ms, dwell_ms, vanished)
