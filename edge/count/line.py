r"""Who went over a line, decided once and without jitter.

A detector's box shakes, so the point where its lower edge's middle is shakes too, and someone who stands on a line
would be counted again and again. Instead every step of a track that touches the line is added up with its sign,
and the sum is looked at only when the point is clear of the line by a dead band::

    ........ clear ........        step sum      decided when clear again
      p1 \                          0
    - - - \ - - - dead band -
    =======p2==/p3============= A->B  +1, then 0, then +1
    - - - - p4 \ - dead band -
    ............ p5 clear ....     +1            one "in"

Walking around the end of a line sums up to nothing, walking along it too, and a fast object that jumps from one
side to the other in one frame is counted, because the step between is what counts, not the points. Lengths are box
heights, so that near and far people are treated alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from countline.events import Direction, Point
from edge.count.geometry import distance, net_crossings, share_before_crossing

# How far clear of the line a point must be, in box heights: wider than a smoothed lower edge shakes.
DEAD_BAND = 0.05


@dataclass(frozen=True, slots=True)
class Crossing:
    """One object over one line.

    Attributes:
        line: The line's name.
        direction: In or out.
        track: The track's id.
        at_ms: When the line was crossed, between the two frames around it.
    """

    line: str
    direction: Direction
    track: int
    at_ms: int


@dataclass(slots=True)
class _Passage:
    """What one track has done about the line since it was clear of it."""

    point: Point
    at_ms: int
    net: int = 0
    crossed_at_ms: int = 0


class LineCounter:
    """Counts one line of one camera. State is kept per living track and let go when the track ends."""

    def __init__(
        self, name: str, points: Sequence[Point], *, swap: bool = False, dead_band: float = DEAD_BAND
    ) -> None:
        """Take the line from A (first point) to B (last point), pixels.

        Args:
            name: The line's name.
            points: Two or more, pixels of the picture.
            swap: Exchange in and out.
            dead_band: In box heights.
        """
        self.name = name
        self._points = tuple(points)
        self._positive = Direction.OUT if swap else Direction.IN
        self._negative = Direction.IN if swap else Direction.OUT
        self._dead_band = dead_band
        self._passages: dict[int, _Passage] = {}

    def feed(self, track: int, foot: Point, height_px: float, at_ms: int) -> list[Crossing]:
        """Take one place of one track, in order of time.

        Args:
            track: The track's id.
            foot: Where it stands, pixels.
            height_px: Of its box.
            at_ms: When it stood there.

        Returns:
            What is decided now: usually nothing or one crossing.
        """
        passage = self._passages.get(track)
        if passage is None:
            self._passages[track] = _Passage(foot, at_ms)
            return []
        net = net_crossings(passage.point, foot, self._points)
        if net:
            share = share_before_crossing(passage.point, foot, self._points)
            passage.crossed_at_ms = round(passage.at_ms + share * (at_ms - passage.at_ms))
            passage.net += net
        passage.point, passage.at_ms = foot, at_ms
        if passage.net and distance(foot, self._points) >= self._dead_band * height_px:
            return self._decide(track, passage)
        return []

    def end(self, track: int) -> None:
        """Let go of a track that will not come back."""
        self._passages.pop(track, None)

    def _decide(self, track: int, passage: _Passage) -> list[Crossing]:
        direction = self._positive if passage.net > 0 else self._negative
        crossing = Crossing(self.name, direction, track, passage.crossed_at_ms)
        times = abs(passage.net)
        passage.net = 0
        return [crossing] * times
