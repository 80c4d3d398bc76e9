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
        self._start = np.array([a for _, a, _ in pieces], dtype=np.float64).reshape(-1, 2)
        self._along = np.array([b for _, _, b in pieces], dtype=np.float64).reshape(-1, 2) - self._start
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
        tracks: list[int] = spots.track_id.tolist()
        crossings: list[Crossing] = []
        for rows in _rounds(tracks):
            crossings += self._step(spots, tracks, rows)
        return crossings

    def end(self, track: int) -> None:
        """Let go of a track that will not come back."""
        place = self._place.pop(track, None)
        if place is not None:
            self._free.append(place)
        self._open.pop(track, None)

    def _step(self, spots: Spots, tracks: list[int], rows: list[int]) -> list[Crossing]:
        """Take at most one spot of each track."""
        known: list[bool] = []
        places: list[int] = []
        for row in rows:
            place = self._place.get(tracks[row])
            known.append(place is not None)
            places.append(self._new_place(tracks[row]) if place is None else place)
        xy = spots.xy[rows]
        offset = xy[:, None, :] - self._start
        is_right = self._along[:, 0] * offset[..., 1] - self._along[:, 1] * offset[..., 0] > 0
        changed = (is_right != self._is_right[places]) & np.array(known)[:, None]
        if changed.any():
            self._touch(spots, tracks, rows, places, changed)
        crossings: list[Crossing] = []
        if self._open:
            for row in rows:
                if tracks[row] in self._open:
                    point = (float(spots.xy[row, 0]), float(spots.xy[row, 1]))
                    crossings += self._decide(tracks[row], point, float(spots.height_px[row]))
        self._xy[places], self._at_ms[places], self._is_right[places] = xy, spots.at_ms[rows], is_right
        return crossings

    def _touch(
        self, spots: Spots, tracks: list[int], rows: list[int], places: list[int], changed: NDArray[np.bool_]
    ) -> None:
        """Add up the steps that have changed the side of a piece."""
        touched = {(int(i), self._line_of_piece[int(piece)]) for i, piece in np.argwhere(changed)}
        for i, index in touched:
            row, place = rows[i], places[i]
            before = (float(self._xy[place, 0]), float(self._xy[place, 1]))
            after = (float(spots.xy[row, 0]), float(spots.xy[row, 1]))
            points = self._lines[index].points
            net = net_crossings(before, after, points)
            if net:
                passage = self._open.setdefault(tracks[row], {}).setdefault(index, _Passage())
                passage.net += net
                began_ms = int(self._at_ms[place])
                share = share_before_crossing(before, after, points)
                passage.crossed_at_ms = round(began_ms + share * (int(spots.at_ms[row]) - began_ms))

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


def _rounds(tracks: list[int]) -> Iterable[list[int]]:
    """Return rows in rounds, in each at most one of a track, and those of a track in order."""
    if len(set(tracks)) == len(tracks):
        return [list(range(len(tracks)))]
    rounds: list[list[int]] = []
    taken: dict[int, int] = {}
    for row, track in enumerate(tracks):
        turn = taken.get(track, 0)
        taken[track] = turn + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(row)
    return rounds
