"""Constant velocity, moved by white acceleration noise: the Kalman equations of many coordinates at once.

Every coordinate is for itself, with two numbers, its position and its velocity. A state is five of them, shape
(5, N, D) for N objects with D coordinates each: position, velocity, variance of the position, covariance, and variance
of the velocity. All in pixels and seconds.

A frame costs a handful of array operations whatever N is, so that what is written here is written to need few of them.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def move(state: Floats, dt_s: float, growth: Floats, out: Floats) -> None:
    """Write down states some time later.

    Args:
        state: shape (5, N, D), contiguous.
        dt_s: How much later, seconds.
        growth: What noise adds to the variances and the covariance meanwhile, shape (3, N, D).
        out: Where to, like `state`, and another array.
    """
    np.dot(_transition(dt_s), state.reshape(5, -1), out=out.reshape(5, -1))
    variances = out[2:]
    variances += growth


@lru_cache(maxsize=256)
def _transition(dt_s: float) -> Floats:
    return np.array(
        [
            [1.0, dt_s, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 2.0 * dt_s, dt_s * dt_s],
            [0.0, 0.0, 0.0, 1.0, dt_s],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )


def correct(state: Floats, measured: Floats, noise_px: Floats, out: Floats) -> None:
    """Write down states after a measurement.

    Args:
        state: shape (5, N, D).
        measured: Positions, finite, shape (N, D).
        noise_px: Their standard deviations, shape (N, D). Infinite: nothing was measured, and nothing changes.
        out: Where to, like `state`; may be the same array.
    """
    gains = state[2:4] / (state[2] + noise_px * noise_px)
    gain_p, gain_v = gains
    gains_of_miss = gains * (measured - state[0])
    np.add(state[:2], gains_of_miss, out=out[:2])
    np.subtract(state[4], gain_v * state[3], out=out[4])
    np.multiply(state[2:4], 1.0 - gain_p, out=out[2:4])


def smoothed(predicted: Floats, filtered: Floats, dt_s: Floats) -> list[Floats]:
    """Return positions by all that came after them: the Rauch-Tung-Striebel backward pass.

    Args:
        predicted: Of frames in order of time, states before each was seen, shape (F, 5, N, D).
        filtered: The same after it was seen.
        dt_s: Between the frames, shape (F - 1,).

    Returns:
        For each frame the positions and velocities, shape (2, N, D).
    """
    steps = dt_s[:, None, None]
    # Contiguous, because that is faster to work with.
    a, b, c = filtered[:-1, 2:].swapaxes(0, 1).copy()
    na, nb, nc = predicted[1:, 2:].swapaxes(0, 1).copy()
    # Gain = filtered covariance x transition' x inverse of the predicted covariance; of all frames at once.
    determinant = na * nc - nb * nb
    ab, bc = a + b * steps, b + c * steps
    gains = np.empty((2, 2, *determinant.shape))
    gains[0, 0], gains[0, 1] = ab * nc - b * nb, bc * nc - c * nb
    gains[1, 0], gains[1, 1] = b * na - ab * nb, c * na - bc * nb
    gains /= determinant
    by_position, by_velocity = gains.swapaxes(1, 2)
    latest = filtered[-1, :2]
    places = [latest]
    for i in range(len(steps) - 1, -1, -1):
        miss = latest - predicted[i + 1, :2]
        latest = filtered[i, :2] + (by_position[i] * miss[0] + by_velocity[i] * miss[1])
        places.append(latest)
    places.reverse()
    return places
