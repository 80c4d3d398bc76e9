"""Spots of one track, as a tracker settles them."""

from collections.abc import Sequence

import numpy as np

from edge.arrays import Spots

Place = tuple[int, float, float]
"""When (ms) and where (pixels) the middle of a box's lower edge was."""


def spots_of(track: int, places: Sequence[Place], height_px: float = 100.0, class_id: int = 0) -> Spots:
    """Return the spots of one track at these places."""
    n = len(places)
    return Spots(
        track_id=np.full(n, track, dtype=np.int64),
        at_ms=np.array([at_ms for at_ms, _, _ in places], dtype=np.int64),
        xy=np.array([(x, y) for _, x, y in places], dtype=np.float64).reshape(n, 2),
        height_px=np.full(n, height_px),
        class_id=np.full(n, class_id, dtype=np.int16),
        score=np.full(n, 0.9, dtype=np.float32),
    )
