"""How tall a person is where: the scene's own perspective, learned from what the detector sees.

Of people who stand on one floor, the height of a box and the place of its lower edge hang together: on a picture
that is level, height is a linear function of the lower edge's y (Hoiem, Efros, Hebert, "Putting objects in
perspective", IJCV 80, 2008). Nobody has to calibrate for it. A box that breaks the rule is a torso whose legs are
hidden, two people seen as one, or no person at all; or somebody of another size, a child, who breaks it alone and for
good. Whoever tracks trusts such a box less where a better explanation stands beside it.

The rule is fitted by iteratively reweighted least squares on relative errors, so that what breaks it hardly bends it,
and its spread is learned too: in a scene without such a rule, on stairs, under a camera that looks straight down on a
crowd of children and adults, the spread is wide and nothing is mistrusted.
"""

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes

# Samples are kept per strip of the picture, so that somebody who sits in one place for hours does not fill the memory: a
# strip is this share of the first boxes' height.
_STRIP = 0.2
_STRIPS = 256
_PER_STRIP = 32
# Fewer boxes than this say nothing.
_ENOUGH = 100
# It is fitted anew when so much more has been seen, and at the latest after this many boxes.
_GROWTH = 0.1
_AT_MOST_EVERY = 50
_AT_LEAST_EVERY = 2_000
_ROUNDS = 10
# Detectors are never better than the first, and a spread beyond the second is no rule.
_SPREAD = (0.06, 0.4)


class Perspective:
    """Learns from boxes, and says how far others break the rule."""

    def __init__(self) -> None:
        """Know nothing."""
        self._samples = np.zeros((_STRIPS, _PER_STRIP, 2))
        self._taken = np.zeros(_STRIPS, dtype=np.int64)
        self._strip_px = 0.0
        # Boxes that come into it with the next fit; as many as lie between two.
        self._waiting: list[Boxes] = []
        self._seen = 0
        self._next_fit = _ENOUGH
        self._rule: tuple[float, float, float] | None = None

    def learn(self, xyxy: Boxes) -> None:
        """Take sure boxes of one frame, shape (N, 4); the array is kept and must not change."""
        if len(xyxy) == 0:
            return
        self._waiting.append(xyxy)
        self._seen += len(xyxy)
        if self._seen >= self._next_fit:
            self._sort_in(np.concatenate(self._waiting))
            self._waiting = []
            self._fit()
            wait = min(max(self._seen * _GROWTH, _AT_MOST_EVERY), _AT_LEAST_EVERY)
            self._next_fit = self._seen + round(wait)

    def strangeness(self, xyxy: Boxes) -> NDArray[np.float64]:
        """Return how many spreads each box's height is off the rule, shape (N,); 0 while there is none."""
        if self._rule is None or len(xyxy) == 0:
            return np.zeros(len(xyxy))
        slope, start, spread = self._rule
        foot = xyxy[:, 3].astype(np.float64)
        expected = np.maximum(slope * foot + start, 1.0)
        return np.abs(np.log(np.maximum(foot - xyxy[:, 1], 1.0) / expected)) / spread

    def _sort_in(self, xyxy: Boxes) -> None:
        """Put boxes, shape (N, 4), in order of time, to the samples of their strips."""
        foot = xyxy[:, 3].astype(np.float64)
        height = foot - xyxy[:, 1]
        self._strip_px = self._strip_px or max(1.0, float(np.median(height)) * _STRIP)
        strips = np.clip(foot / self._strip_px, 0, _STRIPS - 1).astype(np.int64)
        # Two boxes in one strip take places one after the other; the last that takes a place has it.
        order = np.argsort(strips, kind="stable")
        strips = strips[order]
        first = np.searchsorted(strips, strips)
        places = (self._taken[strips] + np.arange(len(strips)) - first) % _PER_STRIP
        self._samples[strips, places, 0] = foot[order]
        self._samples[strips, places, 1] = height[order]
        np.add.at(self._taken, strips, 1)

    def _fit(self) -> None:
        filled = np.arange(_PER_STRIP) < self._taken[:, None]
        foot, height = self._samples[filled].T
        scale = _median(height)
        middle = float(foot.mean())
        x, y = (foot - middle) / scale, height / scale
        weight = np.ones_like(y)
        slope = start = spread = 0.0
        for _ in range(_ROUNDS):
            # Relative errors: a far person's centimetre counts as much as a near one's.
            w = weight / (y * y)
            sum_w, sum_x, sum_y = w.sum(), (w * x).sum(), (w * y).sum()
            # A little ridge: people who all stand in one row tell no slope.
            spread_x = (w * x * x).sum() - sum_x * sum_x / sum_w + 1e-3 * sum_w
            slope = float(((w * x * y).sum() - sum_x * sum_y / sum_w) / spread_x)
            start = float((sum_y - slope * sum_x) / sum_w)
            error = np.log(y / np.maximum(slope * x + start, 0.01))
            spread = 1.4826 * _median(np.abs(error - _median(error))) + 0.02
            weight = 1 / (1 + (error / (2 * spread)) ** 2)
        self._rule = (
            slope,
            (start - slope * middle / scale) * scale,
            min(max(spread, _SPREAD[0]), _SPREAD[1]),
        )


def _median(values: NDArray[np.float64]) -> float:
    """Return the same as numpy's median of at least one value, in a fifth of the time."""
    n = len(values)
    lower, upper = (n - 1) // 2, n // 2
    parted = np.partition(values, (lower, upper))
    return float(parted[lower] + parted[upper]) / 2
