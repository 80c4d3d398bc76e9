"""What a track that has ended says of a line it came near; `edge.count.doubts` judges by it.

How high people are there, whether they begin or end there, whether their feet are seen, how far they step from one frame
to the next.
"""

import itertools
import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from countline.events import Point
from edge.count.geometry import net_crossings

# Points of one track that are kept; a longer one is thinned out evenly.
MAX_POINTS = 64
# Heights in the whole picture, from which the scene's perspective is known.
MAX_HEIGHTS = 512
# Steps that one track tells of: who walks for long weighs no more than others.
_MAX_STEPS = 8
# Within so many box heights a track is near a line.
_NEAR = 0.5
# A box whose lower edge is so near to the border is cut by it, share of the picture's height.
_CUT = 0.012
# A box is too short if it has less than this share of what the scene's perspective says.
_SHORT = 0.72
_MIN_HEIGHTS = 100
_FIT_EVERY = 20
# Room that a foot point needs beyond a line to be seen there, in box heights: by the upper border the body has to fit.
_ROOM, _ROOM_ABOVE = 0.25, 0.6
_SAMPLES = 16

Floats = NDArray[np.float64]


class Witness(NamedTuple):
    """What one track says of one line.

    Attributes:
        height_px: Of its box there.
        ends_here: Whether it begins or ends there, in the middle of the picture.
        is_hidden: Whether its feet are not seen there.
        steps: How far it went in one frame, some of them, in box heights.
    """

    height_px: float
    ends_here: bool
    is_hidden: bool
    steps: tuple[float, ...]


class Path:
    """The way of one track, thinned out when it is long."""

    __slots__ = ("_n", "_points", "_stride", "has_begun", "last")

    def __init__(self, x: float, y: float, height_px: float, *, has_begun: bool) -> None:
        """Begin where it was first seen, pixels; `has_begun` is False if it may have been there before."""
        self.has_begun = has_begun
        # x, y, height, step to here in box heights
        self.last = (x, y, height_px, 0.0)
        self._points = [self.last]
        self._stride = self._n = 1

    def add(self, x: float, y: float, height_px: float) -> None:
        """Take the next place; pixels."""
        step = math.hypot(x - self.last[0], y - self.last[1]) / max(height_px, 1.0)
        self.last = (x, y, height_px, step)
        if self._n % self._stride == 0:
            if len(self._points) >= MAX_POINTS:
                del self._points[1::2]
                self._stride *= 2
            self._points.append(self.last)
        self._n += 1

    def array(self) -> Floats:
        """Return x, y, height and step of what is kept and of the last place, shape (N, 4)."""
        return np.array([*self._points, self.last])


class Perspective:
    """How high people are, by where they stand: a straight line, fitted to those who are seen whole."""

    def __init__(self) -> None:
        """Know nothing yet."""
        # (y, height): one of each track, so that nobody who waits weighs more.
        self._seen: deque[tuple[float, float]] = deque(maxlen=MAX_HEIGHTS)
        self._due = _MIN_HEIGHTS
        self._fit: tuple[float, float] | None = None

    def add(self, y: float, height_px: float) -> None:
        """Take one person; pixels."""
        self._seen.append((y, height_px))
        self._due -= 1
        if self._due <= 0:
            self._due = _FIT_EVERY
            self._fit = self._fitted()

    def share(self, y: Floats, height_px: Floats) -> Floats:
        """Return heights relative to what is usual at those places, 1 where that is not known; shape (N,)."""
        if self._fit is None:
            return np.ones(len(y))
        usual = self._fit[0] * y + self._fit[1]
        return np.where(usual > 1, height_px / np.maximum(usual, 1.0), 1.0)

    def _fitted(self) -> tuple[float, float] | None:
        """Fit to the higher ones: who is hidden is too short, nobody is too high."""
        seen: Floats = np.array(self._seen)
        y, height = seen[:, 0], seen[:, 1]
        if y.std() < 1:
            return None
        keep = np.ones(len(y), dtype=np.bool_)
        a = b = 0.0
        for _ in range(4):
            a, b = (float(value) for value in np.polyfit(y[keep], height[keep], 1))
            rest = height - (a * y + b)
            keep = rest >= np.quantile(rest, 0.4)
        return (a, b) if a >= 0 else None


def testify(
    path: Path, line: Sequence[Point], size: tuple[int, int], perspective: Perspective
) -> Witness | None:
    """Return what a track says of a line; None if it never came near.

    Args:
        path: Its way.
        line: Two or more points, pixels.
        size: Width and height of the picture, pixels.
        perspective: Of the scene.
    """
    way = path.array()
    reach = _NEAR * float(way[:, 2].max())
    low, high = way[:, :2].min(axis=0) - reach, way[:, :2].max(axis=0) + reach
    if all(x < low[0] for x, _ in line) or all(x > high[0] for x, _ in line):
        return None
    if all(y < low[1] for _, y in line) or all(y > high[1] for _, y in line):
        return None
    is_near = distances(way[:, :2], line) < _NEAR * way[:, 2]
    jumped = not is_near.any() and any(
        net_crossings((p[0], p[1]), (q[0], q[1]), line) for p, q in itertools.pairwise(way.tolist())
    )
    near = way if jumped else way[is_near]
    if not len(near):
        return None
    is_cut = near[:, 1] >= size[1] * (1 - _CUT)
    is_short = (perspective.share(near[:, 1], near[:, 2]) < _SHORT) & ~is_cut
    ends = (0, len(way) - 1) if path.has_begun else (len(way) - 1,)
    ends_here = not jumped and any(bool(is_near[end]) and not _leaves(way[end], size) for end in ends)
    steps = near[near[:, 3] > 0, 3][:_MAX_STEPS]
    return Witness(
        float(np.median(near[:, 2])),
        ends_here,
        max(int(is_cut.sum()), int(is_short.sum())) * 2 > len(near),
        tuple(steps.tolist()),
    )


def _leaves(end: Floats, size: tuple[int, int]) -> bool:
    """Say whether a track begins or ends because the picture does."""
    x, y, height_px, _ = end.tolist()
    width, height = size
    return (
        min(x, width - x) < 0.6 * height_px
        or y > height * (1 - _CUT) - 0.1 * height_px
        or y - height_px < 0.02 * height
    )


def distances(xy: Floats, line: Sequence[Point]) -> Floats:
    """Return how far points are from the nearest point of a polyline, pixels, shape (N,).

    Args:
        xy: Shape (N, 2).
        line: Two or more points, pixels.
    """
    nearest = np.full(len(xy), np.inf)
    for a, b in itertools.pairwise(line):
        start, along = np.array(a), np.array(b) - np.array(a)
        share = np.clip((xy - start) @ along / (along @ along), 0.0, 1.0)
        nearest = np.minimum(nearest, np.hypot(*(xy - start - share[:, None] * along).T))
    return nearest


def share_at_border(line: Sequence[Point], size: tuple[int, int], body_px: float) -> float:
    """Return of which share of a line's length a foot on one of its sides could not be seen.

    Args:
        line: Two or more points, pixels.
        size: Width and height of the picture, pixels.
        body_px: How high people are there.
    """
    bad = total = 0.0
    for (ax, ay), (bx, by) in itertools.pairwise(line):
        length = math.hypot(bx - ax, by - ay)
        normal = ((ay - by) / length, (bx - ax) / length)
        for step in range(_SAMPLES):
            share = (step + 0.5) / _SAMPLES
            at = (ax + share * (bx - ax), ay + share * (by - ay))
            ways = (normal, (-normal[0], -normal[1]))
            total += length
            bad += length * (not all(_has_room(at, way, size, body_px) for way in ways))
    return bad / total


def _has_room(at: Point, way: Point, size: tuple[int, int], body_px: float) -> bool:
    """Say whether a foot that has gone beyond the line is still one that is seen."""
    x, y = at[0] + way[0] * _ROOM * body_px, at[1] + way[1] * _ROOM * body_px
    # Going up, most of the body above the feet has to be in the picture.
    least_y = _ROOM_ABOVE * body_px if way[1] < -0.5 else 0.0
    return 0 <= x <= size[0] and least_y <= y <= size[1]
