"""A Kalman filter for many boxes at once, in seconds and box heights.

Each box is four numbers: the centre's x, the lower edge's y, width and height. Each number is a position with a
velocity, moved by white acceleration noise; the four do not disturb each other, so that the filter is four
filters of two states per box, and a whole frame is a few array operations. All noises scale with the box's
height, so that near and far people are treated alike, and with time, so that 3 and 30 frames per second are.

The discrete white-noise acceleration model is in Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to
Tracking and Navigation", 2001, section 6.2.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes

States = NDArray[np.float64]
"""float64, shape (N, 4): centre x, lower edge y, width, height (or their velocities, variances)."""


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
        self.position: States = np.zeros((0, 4))
        self.velocity: States = np.zeros((0, 4))
        self._var_p: States = np.zeros((0, 4))
        self._cov_pv: States = np.zeros((0, 4))
        self._var_v: States = np.zeros((0, 4))

    def __len__(self) -> int:
        return len(self.position)

    def add(self, xyxy: Boxes) -> None:
        """Add boxes that were seen for the first time, shape (M, 4), at the end."""
        z = to_states(xyxy)
        height = z[:, 3:4]
        self.position = np.concatenate([self.position, z])
        self.velocity = np.concatenate([self.velocity, np.zeros_like(z)])
        self._var_p = np.concatenate([self._var_p, (self._measurement * height) ** 2])
        self._cov_pv = np.concatenate([self._cov_pv, np.zeros_like(z)])
        self._var_v = np.concatenate(
            [self._var_v, np.broadcast_to((self._first_speed * height) ** 2, z.shape)]
        )

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        self.position, self.velocity = self.position[mask], self.velocity[mask]
        self._var_p, self._cov_pv, self._var_v = self._var_p[mask], self._cov_pv[mask], self._var_v[mask]

    def predict(self, dt_s: float) -> None:
        """Move all boxes on by `dt_s` seconds."""
        sigma2 = (self._acceleration * self.position[:, 3:4]) ** 2
        self.position = self.position + self.velocity * dt_s
        np.maximum(self.position[:, 2:], 1.0, out=self.position[:, 2:])
        self._var_p = self._var_p + 2 * dt_s * self._cov_pv + dt_s**2 * self._var_v + sigma2 * dt_s**4 / 4
        self._cov_pv = self._cov_pv + dt_s * self._var_v + sigma2 * dt_s**3 / 2
        self._var_v = self._var_v + sigma2 * dt_s**2

    def update(self, rows: NDArray[np.intp], xyxy: Boxes, score: NDArray[np.float32]) -> None:
        """Correct some boxes by what a detector saw.

        Args:
            rows: Which boxes, shape (M,).
            xyxy: What was seen, shape (M, 4).
            score: How sure the detector is, shape (M,). A weak detection counts less: its noise is divided by its
                score, which is at least 0.05.
        """
        z = to_states(xyxy)
        noise = (self._measurement * self.position[rows, 3:4] / np.maximum(score, 0.05)[:, None]) ** 2
        total = self._var_p[rows] + noise
        gain_p = self._var_p[rows] / total
        gain_v = self._cov_pv[rows] / total
        residual = z - self.position[rows]
        self.position[rows] += gain_p * residual
        self.velocity[rows] += gain_v * residual
        self._var_v[rows] -= gain_v * self._cov_pv[rows]
        self._cov_pv[rows] *= 1 - gain_p
        self._var_p[rows] *= 1 - gain_p

    def xyxy(self) -> Boxes:
        """Return the estimated boxes, float32, shape (N, 4)."""
        x, y, width, height = self.position.T
        return np.stack([x - width / 2, y - height, x + width / 2, y], axis=1).astype(np.float32)


def to_states(xyxy: Boxes) -> States:
    """Return boxes as centre x, lower edge y, width, height; shape (N, 4), float64."""
    box = xyxy.astype(np.float64)
    width = box[:, 2] - box[:, 0]
    height = box[:, 3] - box[:, 1]
    return np.stack([box[:, 0] + width / 2, box[:, 3], width, height], axis=1)
