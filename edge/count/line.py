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

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import Direction, LineShape, Point
from edge.arrays import Spots
from edge.count.geometry import distance, net_crossings, share_before_crossing

# How far clear of the line a point must be, in box heights: wider than a smoothed lower edge shakes.
DEAD_BAND = 0.05
_FIRST_PLACES = 16


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


_Moment = tuple[int, Point]
"""When (ms), and where."""


@dataclass(slots=True)
class _Passage:
    """What one track has done about one line since it was clear of it, if it has touched it."""

    net: int = 0
    crossed_at_ms: int = 0


class LineCounters:
    """Counts all lines of one camera. State is kept per living track and let go when the track ends.

    On which side of each piece of each line a point lies is worked out for all tracks and all lines at once; only where
    a side has changed is there anything to think about, and that is rare.
    """

    def __init__(self, lines: Sequence[LineShape], *, dead_band: float = DEAD_BAND) -> None:
        """Take the lines, from A (first point) to B (last point), pixels.

        Args:
            lines: To count over; classes and sizes are not looked at here.
            dead_band: In box heights.
        """
        self._lines = tuple(lines)
        self._dead_band = dead_band
        pieces = [(i, a, b) for i, line in enumerate(lines) for a, b in itertools.pairwise(line.points)]
        self._line_of_piece = [i for i, _, _ in pieces]
        start, end = (
            np.array([piece[k] for piece in pieces], dtype=np.float64).reshape(-1, 2) for k in (1, 2)
        )
        self._x, self._y = start.T
        self._along_x, self._along_y = (end - start).T
        # Of each living track, by its place: where it was, when, and which pieces it had on its right.
        self._place: dict[int, int] = {}
        self._free = list(range(_FIRST_PLACES))
        self._xy = np.zeros((_FIRST_PLACES, 2))
        self._at_ms = np.zeros(_FIRST_PLACES, dtype=np.int64)
        self._is_right = np.zeros((_FIRST_PLACES, len(pieces)), dtype=np.bool_)
        self._open: dict[int, dict[int, _Passage]] = {}

    def feed(self, spots: Spots) -> list[Crossing]:
        """Take where tracks stood, of each track in order of time; return what is decided now, often nothing."""
        if not self._lines or len(spots) == 0:
            return []
        # Track by track, each in order of time: the row before is where it came from.
        order = spots.track_id.argsort(kind="stable")
        track_id, xy, at_ms = (
            spots.track_id.take(order),
            spots.xy.take(order, axis=0),
            spots.at_ms.take(order),
        )
        is_first = np.ones(len(order), dtype=np.bool_)
        np.not_equal(track_id[1:], track_id[:-1], out=is_first[1:])
        first = is_first.nonzero()[0]
        is_last = np.ones(len(order), dtype=np.bool_)
        is_last[:-1] = is_first[1:]
        last = is_last.nonzero()[0]
        is_right = self._sides(xy)
        tracks: list[int] = track_id.take(first).tolist()
        places = self._places(tracks, is_right.take(first, axis=0))
        was_right = np.empty_like(is_right)
        was_right[1:] = is_right[:-1]
        was_right[first] = self._is_right.take(places, axis=0)
        changed = is_right != was_right
        crossings: list[Crossing] = []
        if self._open or np.count_nonzero(changed):
            crossings = self._follow(spots, order.tolist(), is_first.tolist(), changed)
        self._xy[places] = xy.take(last, axis=0)
        self._at_ms[places] = at_ms.take(last)
        self._is_right[places] = is_right.take(last, axis=0)
        return crossings

    def end(self, track: int) -> None:
        """Let go of a track that will not come back."""
        place = self._place.pop(track, None)
        if place is not None:
            self._free.append(place)
        self._open.pop(track, None)

    def _sides(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say which pieces points have on their right, shape (N, pieces); as `geometry.cross` says it, to the last bit."""
        return self._along_x * (xy[:, 1:] - self._y) - self._along_y * (xy[:, :1] - self._x) > 0

    def _follow(
        self, spots: Spots, order: list[int], is_first: list[bool], changed: NDArray[np.bool_]
    ) -> list[Crossing]:
        """Add up the steps that have changed sides, and decide the lines that somebody is clear of.

        Args:
            spots: Where tracks stood.
            order: Their rows track by track.
            is_first: Whether a step, in this order, is its track's first, so that it began where the track was before.
            changed: Steps that have changed the side of a piece, in this order, shape (N, pieces).

        Returns:
            Crossings in the order of the spots that decided them.
        """
        touched: dict[int, set[int]] = {}
        steps, pieces = (indices.tolist() for indices in changed.nonzero())
        for step, piece in zip(steps, pieces, strict=True):
            touched.setdefault(step, set()).add(self._line_of_piece[piece])
        decided: list[tuple[int, Crossing]] = []
        track_ids: list[int] = spots.track_id.tolist()
        for step, row in enumerate(order):
            track = track_ids[row]
            if step not in touched and track not in self._open:
                continue
            at_ms, point = int(spots.at_ms[row]), _point(spots.xy[row])
            if step in touched:
                place, before = self._place[track], order[step - 1]
                came_from = (
                    (int(self._at_ms[place]), _point(self._xy[place]))
                    if is_first[step]
                    else (int(spots.at_ms[before]), _point(spots.xy[before]))
                )
                self._touch(track, came_from, (at_ms, point), touched[step])
            if track in self._open:
                crossings = self._decide(track, point, float(spots.height_px[row]))
                decided += [(row, crossing) for crossing in crossings]
        decided.sort(key=lambda of_row: of_row[0])
        return [crossing for _, crossing in decided]

    def _touch(self, track: int, before: _Moment, after: _Moment, lines: Iterable[int]) -> None:
        """Add up a step that has changed the side of pieces of some lines."""
        for index in lines:
            points = self._lines[index].points
            net = net_crossings(before[1], after[1], points)
            if net:
                passage = self._open.setdefault(track, {}).setdefault(index, _Passage())
                passage.net += net
                share = share_before_crossing(before[1], after[1], points)
                passage.crossed_at_ms = round(before[0] + share * (after[0] - before[0]))

    def _decide(self, track: int, point: Point, height_px: float) -> list[Crossing]:
        """Decide the lines that a track has touched and is clear of now."""
        passages = self._open[track]
        clear = [
            index
            for index in passages
            if distance(point, self._lines[index].points) >= self._dead_band * height_px
        ]
        crossings: list[Crossing] = []
        for index in clear:
            passage, line = passages.pop(index), self._lines[index]
            if passage.net:
                direction = Direction.IN if (passage.net > 0) != line.swap else Direction.OUT
                crossing = Crossing(line.name, direction, track, passage.crossed_at_ms)
                crossings += [crossing] * abs(passage.net)
        if not passages:
            del self._open[track]
        return crossings

    def _places(self, tracks: list[int], is_right: NDArray[np.bool_]) -> list[int]:
        """Return where tracks are kept, new ones as coming from the side where they are, shape (N, pieces)."""
        places: list[int] = []
        for i, track in enumerate(tracks):
            place = self._place.get(track)
            if place is None:
                place = self._new_place(track)
                self._is_right[place] = is_right[i]
            places.append(place)
        return places

    def _new_place(self, track: int) -> int:
        if not self._free:
            n = len(self._xy)
            self._free = list(range(n, 2 * n))
            self._xy = np.concatenate([self._xy, np.zeros_like(self._xy)])
            self._at_ms = np.concatenate([self._at_ms, np.zeros_like(self._at_ms)])
            self._is_right = np.concatenate([self._is_right, np.zeros_like(self._is_right)])
        place = self._free.pop()
        self._place[track] = place
        return place


def _point(xy: NDArray[np.float64]) -> Point:
    return float(xy[0]), float(xy[1])
