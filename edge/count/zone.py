"""Who is inside a zone, since when, and for how long.

A track is inside when the middle of its lower edge is. Going in and out is dated back to when it happened, but believed
only after it has lasted, so that someone on the border is not counted again and again::

    outside |xxxx          x = seems inside; believed after SETTLE_MS if it is clear of the border by then, else
            |    ******    after BORDER_SETTLE_MS. The entry is dated to the first x, and so is leaving, the same way.

A tracker loses people and finds them again as somebody new. Who vanishes inside therefore stays for a moment, and who
appears inside, near enough and soon enough, takes the stay over instead of entering::

    track 4 ----------*   lost    *------------ track 9    one entry, one visit, and never nobody inside

Tracks that are outside are not remembered, so a zone's memory is as large as its crowd.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from countline.events import Point
from edge.arrays import Spots
from edge.count.geometry import distance

# A change that lasts less is shaking at the border.
SETTLE_MS = 500
# The same for one that stays at the border: nearer than so many box heights.
BORDER_SETTLE_MS = 2_000
BORDER_BAND = 0.05
# How long after somebody vanished inside another may be the same one.
HANDOVER_MS = 3_000
# How far away, in box heights: at once, and more for each second, but no more than that.
HANDOVER_REACH = 0.5
HANDOVER_REACH_PER_S = 1.0
HANDOVER_REACH_MAX = 2.0
# Who is still seen when somebody appears is not the same one; spots of two tracks may differ so much in time.
_SAME_TIME_MS = 150
# Stays whose tracks have ended, at once: more are let go of at once.
MAX_VANISHED = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """Where objects stood, as lists: each zone looks at each object, and single numbers of an array are slow.

    Attributes:
        tracks: Their ids.
        at_ms: When.
        feet: Where, pixels.
        heights_px: Of their boxes.
        classes: Their classes.
        first: Which are their track's first.
    """

    tracks: list[int]
    at_ms: list[int]
    feet: list[Point]
    heights_px: list[float]
    classes: list[str]
    first: list[bool]

    @classmethod
    def of(cls, spots: Spots, classes: list[str], first: list[bool]) -> "Seen":
        """Return spots as lists."""
        feet: list[Point] = [(x, y) for x, y in spots.xy.tolist()]
        return cls(
            spots.track_id.tolist(), spots.at_ms.tolist(), feet, spots.height_px.tolist(), classes, first
        )


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
    foot: Point
    height_px: float
    is_inside: bool = False
    since_ms: int = 0
    # Where it was first seen, for who appeared.
    first_foot: Point = (0.0, 0.0)


class ZoneCounter:
    """Watches one zone of one camera. State is kept per track inside and let go when it leaves or has vanished."""

    def __init__(self, name: str, points: Sequence[Point]) -> None:
        """Take the zone's corners in order, pixels of the picture."""
        self.name = name
        self._border = (*points, points[0])
        self._stays: dict[int, _Stay] = {}
        # Of tracks that have ended inside, oldest first.
        self._vanished: dict[int, _Stay] = {}

    def feed(self, seen: Seen, is_in: Sequence[bool], wanted: Callable[[int], bool]) -> list[Entry | Visit]:
        """Take where objects stood; return who is now known to have come or gone.

        Args:
            seen: Of one track in order of time.
            is_in: Which of them are inside this zone.
            wanted: Whether this zone counts the one in this place of the list; who is inside already is counted until it
                leaves.
        """
        changes: list[Entry | Visit] = []
        for row, track in enumerate(seen.tracks):
            stay = self._stays.get(track)
            if stay is None:
                if is_in[row] and wanted(row):
                    self._stays[track] = self._new(seen, row)
                continue
            at_ms = seen.at_ms[row]
            stay.seen_at_ms, stay.foot, stay.height_px = at_ms, seen.feet[row], seen.heights_px[row]
            if is_in[row] == stay.is_inside:
                stay.changed_at_ms = None
                if not stay.is_inside:
                    del self._stays[track]
                continue
            if stay.changed_at_ms is None:
                stay.changed_at_ms = at_ms
            if self._has_lasted(stay, at_ms - stay.changed_at_ms):
                changes += self._change(track, stay, stay.changed_at_ms)
        return changes

    def end(self, track: int) -> list[Visit]:
        """Let go of a track that will not come back.

        If it was about to leave, it has left. If it was inside, it has vanished, and somebody may take its stay over.
        """
        stay = self._stays.pop(track, None)
        if stay is None or not stay.is_inside:
            return []
        if stay.changed_at_ms is not None:
            return [self._visit(track, stay, stay.changed_at_ms, vanished=False)]
        self._vanished[track] = stay
        return self._give_up(1) if len(self._vanished) > MAX_VANISHED else []

    def expire(self, now_ms: int) -> list[Visit]:
        """Return the visits of who has vanished and whom nobody has taken over; they left when last seen."""
        return self._give_up(
            sum(1 for stay in self._vanished.values() if now_ms - stay.seen_at_ms > 2 * HANDOVER_MS)
        )

    def finish(self) -> list[Visit]:
        """Return the visits of all who have vanished, because nobody will come any more."""
        return self._give_up(len(self._vanished))

    def occupancy(self, now_ms: int) -> dict[str, int]:
        """Return how many are inside now, per class, ascending; classes without anyone are left out.

        Who has vanished is believed to be there for as long as somebody may take the stay over.
        """
        counts: dict[str, int] = {}
        hidden = (stay for stay in self._vanished.values() if now_ms - stay.seen_at_ms <= HANDOVER_MS)
        for stay in (*self._stays.values(), *hidden):
            if stay.is_inside:
                counts[stay.cls] = counts.get(stay.cls, 0) + 1
        return dict(sorted(counts.items()))

    @staticmethod
    def _new(seen: Seen, row: int) -> _Stay:
        at_ms, foot = seen.at_ms[row], seen.feet[row]
        stay = _Stay(seen.classes[row], seen.first[row], at_ms, at_ms, foot, seen.heights_px[row])
        stay.first_foot = foot
        return stay

    def _has_lasted(self, stay: _Stay, lasted_ms: int) -> bool:
        if lasted_ms < SETTLE_MS or lasted_ms >= BORDER_SETTLE_MS:
            return lasted_ms >= SETTLE_MS
        return distance(stay.foot, self._border) >= BORDER_BAND * stay.height_px

    def _change(self, track: int, stay: _Stay, at_ms: int) -> list[Entry | Visit]:
        if stay.is_inside:
            del self._stays[track]
            return [self._visit(track, stay, at_ms, vanished=False)]
        stay.is_inside, stay.since_ms, stay.changed_at_ms = True, at_ms, None
        if stay.appeared and (before := self._before(track, stay)) is not None:
            stay.since_ms, stay.cls = before.since_ms, before.cls
            return []
        return [Entry(self.name, stay.cls, track, at_ms, stay.appeared)]

    def _before(self, track: int, new: _Stay) -> _Stay | None:
        """Take over the stay of the nearest one who has not been seen since somebody appeared; None if there is none."""
        reachable = [(away, other, stays) for other, stays, away in self._silent(new) if other != track]
        if not reachable:
            return None
        _, other, stays = min(reachable, key=lambda one: one[:2])
        return stays.pop(other)

    def _silent(self, new: _Stay) -> Iterator[tuple[int, dict[int, _Stay], float]]:
        """Yield who might be the one who appeared: track, where it is kept, and how far away in box heights."""
        for stays in (self._vanished, self._stays):
            for other, stay in stays.items():
                gap_ms = new.since_ms - stay.seen_at_ms
                if not stay.is_inside or not -_SAME_TIME_MS <= gap_ms <= HANDOVER_MS:
                    continue
                away = math.dist(stay.foot, new.first_foot) / max(1.0, stay.height_px)
                reach = HANDOVER_REACH + HANDOVER_REACH_PER_S * max(0, gap_ms) / 1000
                if away <= min(reach, HANDOVER_REACH_MAX):
                    yield other, stays, away

    def _give_up(self, n: int) -> list[Visit]:
        """Return the visits of the first `n` who have vanished."""
        tracks = list(self._vanished)[:n]
        gone = [(track, self._vanished.pop(track)) for track in tracks]
        return [self._visit(track, stay, stay.seen_at_ms, vanished=True) for track, stay in gone]

    def _visit(self, track: int, stay: _Stay, left_at_ms: int, *, vanished: bool) -> Visit:
        dwell_ms = max(0, left_at_ms - stay.since_ms)
        return Visit(self.name, stay.cls, track, left_at_ms, dwell_ms, vanished)
