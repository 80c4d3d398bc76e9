"""A Kalman filter for many boxes at once, in seconds and box heights.

Each box is four numbers: the centre's x, the lower edge's y, width and height. Each number is a position with a
velocity, moved by white acceleration noise (`edge.track.motion`); the four do not disturb each other, so that a whole
frame is a few array operations. All noises scale with the box's height, so that near and far people are treated alike,
and with time, so that 3 and 30 frames per second are.

The discrete white-noise acceleration model is in Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to
Tracking and Navigation", 2001, section 6.2.2.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes
from edge.track.motion import Floats, correct, move

States = NDArray[np.float64]
"""float64, shape (N, 4): centre x, lower edge y, width, height."""

# What a box's corners are made of, and what its states are.
_CORNERS_OF_STATE = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -1, 0, 0]])
_STATE_OF_CORNERS = np.array([[0.5, 0, -1, 0], [0, 0, 0, -1], [0.5, 0, 1, 0], [0, 1, 0, 1]])


@dataclass(frozen=True, slots=True)
class Noise:
    """How boxes move and how detectors err, in box heights (standard deviations).

    Attributes:
        acceleration: Per second squared, for x, y, width, height: people start, stop and turn.
        measurement: For x, y, width, height. The lower edge jitters most: feet move and hide.
        first_speed: Per second, of a box that was seen once.
    """

    acceleration: tuple[float, float, float, float] = (1.0, 1.0, 0.3, 0.3)
    measurement: tuple[float, float, float, float] = (0.05, 0.1, 0.07, 0.07)
    first_speed: float = 1.0


class KalmanBoxes:
    """Estimates of N boxes. Rows keep their order; the caller knows which row is which track."""

    def __init__(self, noise: Noise | None = None) -> None:
        """Start without a box."""
        noise = noise or Noise()
        self._acceleration = np.array(noise.acceleration)
        self._measurement = np.array(noise.measurement)
        self._first_speed = noise.first_speed
        self._state: Floats = np.zeros((5, 0, 4))

    def __len__(self) -> int:
        return self._state.shape[1]

    def add(self, seen: States) -> None:
        """Add boxes that were seen for the first time, shape (M, 4), at the end."""
        height = seen[:, 3:4]
        first = np.zeros((5, *seen.shape))
        first[0] = seen
        first[2] = (self._measurement * height) ** 2
        first[4] = (self._first_speed * height) ** 2
        self._state = np.concatenate([self._state, first], axis=1)

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self._state = self._state.compress(mask, axis=1)

    def predict(self, dt_s: float) -> None:
        """Move all boxes on by `dt_s` seconds."""
        sigma = self._acceleration * self._state[0, :, 3:4]
        later = np.empty_like(self._state)
        move(self._state, dt_s, _integrals(dt_s) * (sigma * sigma), later)
        sizes = later[0, :, 2:]
        np.maximum(sizes, 1.0, out=sizes)
        self._state = later

    def update(self, seen: States, doubt: Floats) -> None:
        """Correct the boxes by what a detector saw.

        Args:
            seen: What was seen of each, shape (N, 4); any number of what was not.
            doubt: By how much its noise is larger than that of a detection that is sure, shape (N,); infinite: not seen.
        """
        noise = self._measurement * (self._state[0, :, 3] * doubt)[:, None]
        correct(self._state, seen, noise, self._state)

    def xyxy(self) -> Boxes:
        """Return the estimated boxes, float32, shape (N, 4)."""
        return np.dot(self._state[0], _CORNERS_OF_STATE).astype(np.float32)


def to_states(xyxy: Boxes) -> States:
    """Return boxes as centre x, lower edge y, width, height; shape (N, 4), float64."""
    return np.dot(xyxy.astype(np.float64), _STATE_OF_CORNERS)


@lru_cache(maxsize=256)
def _integrals(dt_s: float) -> Floats:
    """Return what an acceleration adds in a step to the variances of position, of both, and of velocity; shape (3, 1, 1)."""
    return np.array([dt_s**4 / 4, dt_s**3 / 2, dt_s**2]).reshape(3, 1, 1)
