"""Points, lines and polygons on the picture: x to the right, y down, pixels."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from countline.events import Point


def cross(a: Point, b: Point, p: Point) -> float:
    """Return `(b-a) x (p-a)`: negative if `p` is on the left hand of someone who walks from `a` to `b`."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def signed_crossing(p: Point, q: Point, a: Point, b: Point) -> int:
    """Say how the step from `p` to `q` crosses the segment from `a` to `b`.

    Returns:
        +1 from the left of a->b to its right, -1 from right to left, 0 not at all. A point on the line counts as
        left, and the segment's end `b` is not part of it, so that a step through a polyline's corner counts once.
    """
    from_right = cross(a, b, p) > 0
    to_right = cross(a, b, q) > 0
    if from_right == to_right:
        return 0
    # The same half-open rule for the other pair: a and b on different sides of p->q.
    if (cross(p, q, a) >= 0) == (cross(p, q, b) >= 0):
        return 0
    return 1 if to_right else -1


def net_crossings(p: Point, q: Point, line: Sequence[Point]) -> int:
    """Return the sum of `signed_crossing` over the pieces of a polyline."""
    return sum(signed_crossing(p, q, a, b) for a, b in itertools.pairwise(line))


def share_before_crossing(p: Point, q: Point, line: Sequence[Point]) -> float:
    """Return at which share of the step from `p` to `q` it first meets the polyline; 1 if it does not."""
    share = 1.0
    for a, b in itertools.pairwise(line):
        if signed_crossing(p, q, a, b):
            before, after = cross(a, b, p), cross(a, b, q)
            share = min(share, before / (before - after))
    return share


def distance(p: Point, line: Sequence[Point]) -> float:
    """Return how far `p` is from the nearest point of a polyline, pixels."""
    return min(_segment_distance(p, a, b) for a, b in itertools.pairwise(line))


def _segment_distance(p: Point, a: Point, b: Point) -> float:
    along = (b[0] - a[0], b[1] - a[1])
    length2 = along[0] ** 2 + along[1] ** 2
    t = ((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / length2
    t = min(1.0, max(0.0, t))
    return math.hypot(p[0] - a[0] - t * along[0], p[1] - a[1] - t * along[1])


def inside(p: Point, polygon: Sequence[Point]) -> bool:
    """Say whether `p` lies inside a polygon, by the even-odd rule; its corners in order, first not repeated."""
    is_inside = False
    x, y = p
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            is_inside = not is_inside
    return is_inside


class Areas:
    """Says of many points in which of many polygons they lie; the same rule as `inside`, for all at once."""

    def __init__(self, polygons: Sequence[Sequence[Point]]) -> None:
        """Take the corners of each in order, first not repeated."""
        rings = [np.array(polygon, dtype=np.float64) for polygon in polygons]
        first = np.concatenate(rings) if rings else np.zeros((0, 2))
        second = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]) if rings else first
        self._x1, self._y1 = first[:, 0], first[:, 1]
        self._y2 = second[:, 1]
        # An edge that is level is never between, so what it is divided by does not matter.
        rise = np.where(self._y1 == self._y2, 1.0, self._y2 - self._y1)
        self._slope = (second[:, 0] - self._x1) / rise
        self._starts = np.cumsum([0, *(len(ring) for ring in rings[:-1])])
        self._n = len(rings)

    def inside(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say where points lie.

        Args:
            xy: shape (N, 2).

        Returns:
            bool, shape (polygons, N).
        """
        if not self._n or not len(xy):
            return np.zeros((self._n, len(xy)), dtype=np.bool_)
        x, y = xy[:, 0, None], xy[:, 1, None]
        is_between = (self._y1 > y) != (self._y2 > y)
        hits = is_between & (x < self._slope * (y - self._y1) + self._x1)
        return np.bitwise_xor.reduceat(hits, self._starts, axis=1).T
