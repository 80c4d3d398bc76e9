"""Where each object was in the last seconds: what its size and its speed at a moment are told from."""

from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Spots

# Places nearer in time than this say nothing new.
MIN_GAP_MS = 40
# Places per object: at least five seconds, so that also a crossing that is decided late finds its moment.
MAX_PLACES = 128
# What lies within this time of a moment tells how large an object was then.
NEAR_MS = 1_000


@dataclass(slots=True)
class _Path:
    at_ms: list[int] = field(default_factory=list[int])
    x: list[float] = field(default_factory=list[float])
    y: list[float] = field(default_factory=list[float])
    height_px: list[float] = field(default_factory=list[float])


class Paths:
    """The recent paths of one camera's living tracks, at most `MAX_PLACES` each."""

    def __init__(self, *, keeps_places: bool = True) -> None:
        """Know nobody yet; without places it is only known who has been seen before, and `feed` costs next to nothing."""
        self._keeps_places = keeps_places
        self._paths: dict[int, _Path] = {}

    def feed(self, spots: Spots) -> NDArray[np.bool_]:
        """Take where objects stood, of one track in order of time; say which are their track's first, shape (N,)."""
        first = np.zeros(len(spots), dtype=np.bool_)
        if not self._keeps_places:
            for row, track in enumerate(spots.track_id.tolist()):
                if track not in self._paths:
                    self._paths[track] = _Path()
                    first[row] = True
            return first
        times, xy, heights = spots.at_ms.tolist(), spots.xy.tolist(), spots.height_px.tolist()
        for row, track in enumerate(spots.track_id.tolist()):
            path = self._paths.get(track)
            if path is None:
                path = self._paths[track] = _Path()
                first[row] = True
            elif times[row] - path.at_ms[-1] < MIN_GAP_MS:
                continue
            path.at_ms.append(times[row])
            path.x.append(xy[row][0])
            path.y.append(xy[row][1])
            path.height_px.append(heights[row])
            if len(path.at_ms) > MAX_PLACES:
                del path.at_ms[0], path.x[0], path.y[0], path.height_px[0]
        return first

    def height_px(self, track: int, at_ms: int) -> float:
        """Return an object's usual box height around a moment, or its usual height if that moment is forgotten."""
        path = self._paths[track]
        near = [
            height
            for when_ms, height in zip(path.at_ms, path.height_px, strict=True)
            if abs(when_ms - at_ms) <= NEAR_MS
        ]
        return median(near or path.height_px)

    def around(
        self, track: int, at_ms: int, reach_ms: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return what is known of a track within `reach_ms` of a moment.

        Returns:
            Times in ms from that moment, shape (N,); points in pixels, shape (N, 2); box heights, shape (N,).
        """
        path = self._paths[track]
        times = np.array(path.at_ms, dtype=np.float64) - at_ms
        near = np.abs(times) <= reach_ms
        xy = np.stack([np.array(path.x), np.array(path.y)], axis=1)
        return times[near], xy[near], np.array(path.height_px)[near]

    def end(self, track: int) -> None:
        """Let go of a track that will not come back."""
        self._paths.pop(track, None)
