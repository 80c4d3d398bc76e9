"""Where an object really was, a moment later: a fixed-lag smoother of its box.

A filter knows the past of a moment, a smoother also a little of its future, and so it shakes much less: what looks
like a step over a line may be taken back by the next two frames. The price is that a position is settled only a
quarter of a second after it was seen::

    samples      * * * * * * * * |          new one at `now`
    settled      o o o o o o                by all samples up to `now`, at least LAG_S old
    not yet                  . . |

It is a Kalman filter with constant velocity and the Rauch-Tung-Striebel backward pass over the samples that are not
settled (Rauch, Tung, Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA Journal 3, 1965). Each
coordinate is for itself; lengths are box heights, times seconds.
"""

from dataclasses import dataclass
from typing import NamedTuple

# Most of what smoothing gives comes from the next fifth of a second; a whole second more changes nothing measurable.
LAG_S = 0.25
# Samples that wait for their future: the lag at 200 frames a second. More would mean a clock that stands still.
MAX_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class SmootherSettings:
    """What is assumed of people and of boxes, in box heights (standard deviations).

    Attributes:
        acceleration: Of the position, per second squared (per root of a second: white noise).
        measurement_x: Of the box's middle.
        measurement_y: Of its lower edge, which is the worst: feet move, hide, and stand on shadows.
        first_speed: Per second, of what was seen once.
        lag_s: How long a position may be corrected by what comes after it.
    """

    acceleration: float = 0.7
    measurement_x: float = 0.12
    measurement_y: float = 0.25
    first_speed: float = 1.0
    lag_s: float = LAG_S


class Place(NamedTuple):
    """Where an object stood.

    Attributes:
        at_ms: When, UTC epoch ms.
        x: Middle of the lower edge, pixels.
        y: Lower edge, pixels.
        height_px: Of its box.
    """

    at_ms: int
    x: float
    y: float
    height_px: float


class _Axis:
    """One coordinate: position and velocity of each sample, as filtered and as predicted before it was seen."""

    __slots__ = ("filtered", "predicted")

    def __init__(self) -> None:
        # (position, velocity, var position, covariance, var velocity)
        self.filtered: list[tuple[float, float, float, float, float]] = []
        self.predicted: list[tuple[float, float, float, float, float]] = []

    def start(self, z: float, sigma: float, speed: float) -> None:
        state = (z, 0.0, sigma * sigma, 0.0, speed * speed)
        self.filtered.append(state)
        self.predicted.append(state)

    def add(self, z: float, sigma: float, acceleration: float, dt_s: float) -> None:
        p, v, a, b, c = self.filtered[-1]
        q = acceleration * acceleration
        p += v * dt_s
        a, b, c = (
            a + 2 * dt_s * b + dt_s * dt_s * c + q * dt_s**3 / 3,
            b + dt_s * c + q * dt_s * dt_s / 2,
            c + q * dt_s,
        )
        self.predicted.append((p, v, a, b, c))
        total = a + sigma * sigma
        gain_p, gain_v, residual = a / total, b / total, z - p
        self.filtered.append(
            (p + gain_p * residual, v + gain_v * residual, a * (1 - gain_p), b * (1 - gain_p), c - gain_v * b)
        )

    def smoothed(self, times_s: list[float]) -> list[float]:
        """Return the position of each sample, by all samples."""
        p, v = self.filtered[-1][:2]
        positions = [p]
        for i in range(len(times_s) - 2, -1, -1):
            fp, fv, a, b, c = self.filtered[i]
            pp, pv, na, nb, nc = self.predicted[i + 1]
            dt_s = times_s[i + 1] - times_s[i]
            # Gain = filtered covariance x transition' x inverse of the predicted covariance.
            determinant = na * nc - nb * nb
            x0, x1 = a + b * dt_s, b + c * dt_s
            ep, ev = p - pp, v - pv
            wp, wv = (nc * ep - nb * ev) / determinant, (na * ev - nb * ep) / determinant
            p, v = fp + x0 * wp + b * wv, fv + x1 * wp + c * wv
            positions.append(p)
        positions.reverse()
        return positions

    def drop(self, n: int) -> None:
        del self.filtered[:n]
        del self.predicted[:n]


class Smoother:
    """The recent past of one object."""

    __slots__ = ("_axes", "_height_px", "_samples", "_settings", "_settled")

    def __init__(self, settings: SmootherSettings) -> None:
        """Know nothing yet."""
        self._settings = settings
        self._axes = (_Axis(), _Axis())
        # (at_ms, height) of the samples kept. The first may be settled already: the others are linked to it.
        self._samples: list[tuple[int, float]] = []
        self._settled = 0
        self._height_px = 0.0

    def add(self, at_ms: int, x: float, y: float, height_px: float, score: float) -> None:
        """Take one sample.

        Args:
            at_ms: When, later than the sample before; one that is not is left out.
            x: Middle of the lower edge, pixels.
            y: Lower edge, pixels.
            height_px: Of the box.
            score: How sure the detector is, 0 to 1; a weak sample counts less.
        """
        settings = self._settings
        if self._samples and at_ms <= self._samples[-1][0]:
            return
        # The scale of all noises: the box's height, which itself shakes.
        self._height_px += (height_px - self._height_px) * (0.3 if self._samples else 1.0)
        scale = max(1.0, self._height_px)
        weight = max(score, 0.05)
        axis_x, axis_y = self._axes
        if self._samples:
            dt_s = (at_ms - self._samples[-1][0]) / 1000
            acceleration = settings.acceleration * scale
            axis_x.add(x, settings.measurement_x * scale / weight, acceleration, dt_s)
            axis_y.add(y, settings.measurement_y * scale / weight, acceleration, dt_s)
        else:
            speed = settings.first_speed * scale
            axis_x.start(x, settings.measurement_x * scale / weight, speed)
            axis_y.start(y, settings.measurement_y * scale / weight, speed)
        self._samples.append((at_ms, self._height_px))

    def settle(self, now_ms: int | None) -> list[Place]:
        """Return the positions that are settled now and were not before, in order of time.

        Args:
            now_ms: The time; None settles all, because nothing more will come.
        """
        lag_ms = round(self._settings.lag_s * 1000)
        waiting = self._samples[self._settled :]
        overfull = len(self._samples) - MAX_SAMPLES
        n = sum(
            1
            for i, (at_ms, _) in enumerate(waiting)
            if now_ms is None or now_ms - at_ms >= lag_ms or i + self._settled < overfull
        )
        if n == 0:
            return []
        times_s = [at_ms / 1000 for at_ms, _ in self._samples]
        xs, ys = (axis.smoothed(times_s) for axis in self._axes)
        first, last = self._settled, self._settled + n
        places = [
            Place(at_ms, xs[i], ys[i], height)
            for i, (at_ms, height) in enumerate(self._samples[first:last], start=first)
        ]
        self._let_go(last)
        return places

    def _let_go(self, settled: int) -> None:
        """Keep the newest settled sample, which the next one is linked to, and what is not settled."""
        gone = settled - 1
        del self._samples[:gone]
        for axis in self._axes:
            axis.drop(gone)
        self._settled = 1
