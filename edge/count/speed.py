r"""How fast: from pixels to metres, and the slope of a path.

Four points of the picture that are the corners of a rectangle on the ground give a homography: every point of the
ground in the picture has its place in metres::

    picture                      ground
       0-----1                   0---------1   size_m[0] from 0 to 1
      /       \        --->      |         |   size_m[1] from 1 to 2
     3---------2                 3---------2

Without them a known height serves: a person of 1.7 m whose box is 170 pixels high walks a metre in 100 pixels. That is
right across the picture; towards the camera it tells too little.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from countline.events import Point
from edge.count.geometry import cross

# A speed is told from at least so many places over at least so much time.
MIN_PLACES = 4
MIN_SPAN_MS = 300
# How far before and after a moment a path is looked at to tell its speed.
REACH_MS = 600
# Nobody counted here is faster, metres per second: a path that jumps is no speed.
MAX_SPEED_M_S = 100.0
# Of the four points: the smallest triangle's share of the largest, below which they lie nearly on one line.
_MIN_AREA_SHARE = 0.01
# Points this near to the horizon, as a share of the rectangle's own nearness, lie too far away to measure.
_HORIZON = 0.05


class Scale(Protocol):
    """Turns places in the picture into places in metres."""

    def metres(self, xy: NDArray[np.float64], height_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where an object was, in metres from anywhere.

        Args:
            xy: Middle of the lower edge, pixels, in order of time, shape (N, 2).
            height_px: Of the box, shape (N,).

        Returns:
            Shape (N, 2); NaN where it cannot be told.
        """
        ...


class Ground:
    """Four points on the ground."""

    def __init__(self, points: Sequence[Point], size_m: tuple[float, float]) -> None:
        """Take the corners of a rectangle, in order around it, and its sides.

        Args:
            points: Four, pixels.
            size_m: From the first to the second, and from the second to the third, metres.

        Raises:
            ValueError: They are not the corners of a rectangle seen from above the ground.
        """
        _check_corners(points)
        width, length = size_m
        self._matrix = _homography(points, [(0.0, 0.0), (width, 0.0), (width, length), (0.0, length)])
        corners = np.array([(x, y, 1.0) for x, y in points])
        depths = corners @ self._matrix[2]
        # The sign of a homography is free: make points on our side of the horizon positive.
        self._matrix *= np.sign(depths[0])
        self._min_depth = _HORIZON * float(np.abs(depths).min())

    def metres(self, xy: NDArray[np.float64], height_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return places on the ground, metres from the first corner; NaN beyond the horizon."""
        del height_px
        projected = np.column_stack([xy, np.ones(len(xy))]) @ self._matrix.T
        depth = np.where(projected[:, 2] > self._min_depth, projected[:, 2], np.nan)
        return projected[:, :2] / depth[:, None]


class KnownHeight:
    """Objects of a known height."""

    def __init__(self, height_m: float) -> None:
        """Take how tall they are, metres."""
        self._height_m = height_m

    def metres(self, xy: NDArray[np.float64], height_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return places along the path, metres from its first place."""
        if not len(xy):
            return np.zeros((0, 2))
        scale = self._height_m / np.maximum(1.0, (height_px[1:] + height_px[:-1]) / 2)
        return np.vstack([np.zeros((1, 2)), np.cumsum(np.diff(xy, axis=0) * scale[:, None], axis=0)])


def speed_m_s(at_ms: NDArray[np.float64], metres: NDArray[np.float64]) -> float | None:
    """Return how fast a path is, by the median of the slopes between all its places (Theil and Sen).

    A third of the places may be wrong without changing much.

    Args:
        at_ms: Ascending, shape (N,).
        metres: shape (N, 2); places that are NaN are left out.

    Returns:
        Metres per second; None if the path is too short to tell.
    """
    known = np.isfinite(metres).all(axis=1)
    at_ms, metres = at_ms[known], metres[known]
    if len(at_ms) < MIN_PLACES or at_ms[-1] - at_ms[0] < MIN_SPAN_MS:
        return None
    first, second = np.triu_indices(len(at_ms), k=1)
    dt_s = (at_ms[second] - at_ms[first]) / 1000
    slopes = (metres[second] - metres[first]) / dt_s[:, None]
    speed = float(np.hypot(*np.median(slopes, axis=0)))
    return speed if speed <= MAX_SPEED_M_S else None


def _check_corners(points: Sequence[Point]) -> None:
    a, b, c, d = points
    areas = [cross(a, b, c), cross(b, c, d), cross(c, d, a), cross(d, a, b)]
    smallest, largest = min(map(abs, areas)), max(map(abs, areas))
    if smallest <= _MIN_AREA_SHARE * largest:
        raise ValueError(
            "three of its four points lie nearly on one line: give the four corners of a rectangle on the ground"
        )
    if len({area > 0 for area in areas}) > 1:
        raise ValueError(
            "its points are not in order around a rectangle: give its corners one after the other, so that the sides do not cross"
        )


def _homography(picture: Sequence[Point], ground: Sequence[Point]) -> NDArray[np.float64]:
    """Return the 3x3 matrix that takes four points to four others."""
    rows: list[list[float]] = []
    values: list[float] = []
    for (x, y), (u, v) in zip(picture, ground, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        values += [u, v]
    solution = np.linalg.solve(np.array(rows, dtype=np.float64), np.array(values))
    return np.append(solution, 1.0).reshape(3, 3)
