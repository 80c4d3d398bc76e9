"""Where objects really were, a moment later: a fixed-lag smoother of their places.

A filter knows the past of a moment, a smoother also a little of its future, and so it shakes much less: what looks
like a step over a line may be taken back by the next two frames. The price is that a place is settled only a third of
a second after it was seen::

    samples      * * * * * * * * |          new one at `now`
    settled      o o o o o o                by all samples up to `now`, at least LAG_S old
    not yet                  . . |

It is a Kalman filter with constant velocity and the Rauch-Tung-Striebel backward pass over the frames that are not
settled (Rauch, Tung, Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA Journal 3, 1965). Each
coordinate is for itself; lengths are box heights, times seconds. All objects are smoothed at once: a frame in which one
was not seen moves it on by its speed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Most of what smoothing gives comes from the next third of a second; a whole second more changes nothing measurable.
LAG_S = 0.35
# The backward pass costs as much for one frame as for some: at high frame rates they are settled together.
BATCH_S = 0.1
# Frames that wait for their future: the lag at 200 frames a second. More would mean a clock that stands still.
MAX_FRAMES = 64

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SmootherSettings:
    """What is assumed of people and of boxes, in box heights (standard deviations).

    Attributes:
        acceleration: Of the position, per second squared (per root of a second: white noise).
        measurement_x: Of the box's middle.
        measurement_y: Of its lower edge, which is the worst: feet move, hide, and stand on shadows.
        first_speed: Per second, of what was seen once.
        correlation_s: For how long an error of a box lasts: frames that follow each other closely repeat it, so that all
            frames of such a time together say little more than one.
        lag_s: How long a position may be corrected by what comes after it.
    """

    acceleration: float = 0.7
    measurement_x: float = 0.05
    measurement_y: float = 0.08
    correlation_s: float = 0.4
    first_speed: float = 1.0
    lag_s: float = LAG_S


class Sample(NamedTuple):
    """One detection of one object: when, the middle of its lower edge, its height, how sure; ms and pixels."""

    at_ms: int
    x: float
    y: float
    height_px: float
    score: float


class Trail(NamedTuple):
    """Where an object was when it was last seen: what a continuation of it begins with.

    Attributes:
        at_ms: When.
        state: As in `_Frame`, shape (5, 2).
        height_px: Of its box.
    """

    at_ms: int
    state: Floats
    height_px: float


class Settled(NamedTuple):
    """Where the objects of one past frame stood.

    Attributes:
        at_ms: When, UTC epoch ms.
        seen: Which rows were seen in it, bool, shape (N,).
        xy: Middle of the lower edge of each row, pixels, shape (N, 2); means something only where `seen`.
        height_px: Of its box, shape (N,).
    """

    at_ms: int
    seen: Bools
    xy: Floats
    height_px: Floats


class _Frame:
    """What is known of one frame: states as predicted before it and as filtered after it, shape (5, N, 2).

    The five are position, velocity, and the variance of the position, covariance, variance of the velocity.
    """

    __slots__ = ("at_ms", "filtered", "height_px", "predicted", "seen")

    def __init__(
        self, at_ms: int, predicted: Floats, filtered: Floats, seen: Bools, height_px: Floats
    ) -> None:
        self.at_ms = at_ms
        self.predicted = predicted
        self.filtered = filtered
        self.seen = seen
        self.height_px = height_px


class SmootherBank:
    """The recent past of N objects. Rows keep their order; the caller knows which row is which object."""

    def __init__(self, settings: SmootherSettings) -> None:
        """Know no object yet."""
        self._settings = settings
        self._measurement = np.array([settings.measurement_x, settings.measurement_y])
        # The same for frames as far apart as the newest two.
        self._noise = self._measurement
        # The frames that are not settled, and before them the newest that is: the others are linked to it.
        self._frames: list[_Frame] = []
        self._settled = 0
        self._settled_at_ms = 0
        self._state: Floats = np.zeros((5, 0, 2))
        self._height_px: Floats = np.zeros(0)
        # The states when each was last seen, and when that was.
        self._seen_state: Floats = np.zeros((5, 0, 2))
        self._seen_ms = np.zeros(0, dtype=np.int64)
        self._at_ms = 0

    def __len__(self) -> int:
        return self._state.shape[1]

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest frame; None before the first."""
        return self._frames[-1].at_ms if self._frames else None

    def is_waiting(self, mask: Bools) -> bool:
        """Say whether one of the rows where `mask`, shape (N,), is True was seen in a frame that is not settled."""
        return any(bool((frame.seen & mask).any()) for frame in self._frames[self._settled :])

    def feed(
        self, at_ms: int, rows: NDArray[np.intp], xy: Floats, height_px: Floats, score: NDArray[np.float32]
    ) -> None:
        """Take one frame.

        Args:
            at_ms: When; later than the frame before.
            rows: Which objects were seen, shape (M,).
            xy: Middle of their boxes' lower edges, pixels, shape (M, 2).
            height_px: Of the boxes, shape (M,).
            score: How sure the detector is, shape (M,); a weak sample counts less.
        """
        step_s = (at_ms - self._at_ms) / 1000
        self._noise = self._measurement * math.sqrt(1 + 2 * self._settings.correlation_s / max(step_s, 0.001))
        predicted = self._move(self._state, self._height_px, step_s)
        self._at_ms = at_ms
        seen = np.zeros(len(self), dtype=np.bool_)
        seen[rows] = True
        # The scale of all noises: the box's height, which itself shakes.
        self._height_px[rows] += (height_px - self._height_px[rows]) * 0.3
        scale = np.maximum(1.0, self._height_px[rows]) / np.maximum(score, 0.05)
        state = predicted.copy()
        state[:, rows] = _corrected(predicted[:, rows], xy, scale[:, None] * self._noise)
        self._state = state
        self._seen_state[:, rows] = state[:, rows]
        self._seen_ms[rows] = at_ms
        self._frames.append(_Frame(at_ms, predicted, state, seen, self._height_px.copy()))

    def add(self, xy: Floats, height_px: Floats, score: NDArray[np.float32]) -> None:
        """Add objects that the frame just fed has shown for the first time, shapes (M, 2), (M,), (M,), at the end."""
        scale = np.maximum(1.0, height_px)[:, None]
        noise = (scale / np.maximum(score, 0.05)[:, None] * self._noise) ** 2
        speed = np.broadcast_to((self._settings.first_speed * scale) ** 2, noise.shape)
        zero = np.zeros_like(xy)
        first = np.stack([xy, zero, noise, zero, speed])
        # Before they were seen they have no past: a prediction that nothing is gained from.
        nothing = np.zeros_like(first)
        unknown = np.stack([zero, zero, np.ones_like(xy), zero, np.ones_like(xy)])
        unseen = np.zeros(len(xy), dtype=np.bool_)
        for frame in self._frames[:-1]:
            _grow(frame, unknown, nothing, unseen, height_px)
        _grow(self._frames[-1], unknown, first, ~unseen, height_px)
        self._state = self._frames[-1].filtered
        self._height_px = np.concatenate([self._height_px, height_px])
        self._seen_state = np.concatenate([self._seen_state, first], axis=1)
        self._seen_ms = np.concatenate([self._seen_ms, np.full(len(xy), self._at_ms)])

    def trail(self, row: int) -> Trail:
        """Return where an object was when it was last seen."""
        return Trail(int(self._seen_ms[row]), self._seen_state[:, row].copy(), float(self._height_px[row]))

    def rejoin(self, row: int, trail: Trail, samples: Sequence[Sample]) -> list[Sample]:
        """Let an object be the continuation of another: all that was seen of it is smoothed anew, with the other's past.

        Args:
            row: Which.
            trail: Of the other.
            samples: All that was seen of the object, in order of time, later than `trail`.

        Returns:
            Where it stood in the frames that are settled already, as samples; the others come with `settle`.
        """
        seen = {sample.at_ms: sample for sample in samples}
        frames = {frame.at_ms: frame for frame in self._frames}
        first_open_ms = (
            self._frames[self._settled].at_ms if self._settled < len(self._frames) else self._at_ms + 1
        )
        times_ms = sorted(at_ms for at_ms in {*seen, *frames} if at_ms > trail.at_ms)
        state, at_ms, height = trail.state, trail.at_ms, trail.height_px
        predicted: list[Floats] = []
        filtered: list[Floats] = []
        for time_ms in times_ms:
            before = self._move(state[:, None], np.array([height]), (time_ms - at_ms) / 1000)[:, 0]
            state, at_ms = before, time_ms
            sample = seen.get(time_ms)
            if sample is not None:
                height += (sample.height_px - height) * 0.3
                noise = max(1.0, height) / max(sample.score, 0.05) * self._noise
                state = _corrected(before, np.array([sample.x, sample.y]), noise)
                self._seen_state[:, row] = state
            predicted.append(before)
            filtered.append(state)
            if time_ms in frames:
                frames[time_ms].predicted[:, row], frames[time_ms].filtered[:, row] = before, state
        self._state[:, row], self._height_px[row] = state, height
        places: list[Sample] = []
        p, v = state[:2]
        for i in range(len(times_ms) - 1, -1, -1):
            if i < len(times_ms) - 1:
                dt_s = (times_ms[i + 1] - times_ms[i]) / 1000
                p, v = _one_back(filtered[i], predicted[i + 1], p, v, dt_s)
            sample = seen.get(times_ms[i])
            if sample is not None and times_ms[i] < first_open_ms:
                places.append(sample._replace(x=float(p[0]), y=float(p[1])))
        places.reverse()
        return places

    def keep(self, mask: Bools) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        for frame in self._frames:
            frame.predicted, frame.filtered = frame.predicted[:, mask], frame.filtered[:, mask]
            frame.seen, frame.height_px = frame.seen[mask], frame.height_px[mask]
        self._state = self._state[:, mask]
        self._seen_state, self._seen_ms = self._seen_state[:, mask], self._seen_ms[mask]
        self._height_px = self._height_px[mask]

    def settle(self, now_ms: int | None) -> list[Settled]:
        """Return the frames that are settled now and were not before, in order of time.

        Args:
            now_ms: The time; None settles all, because nothing more will come.
        """
        frames, first = self._frames, self._settled
        last = len(frames)
        if now_ms is not None:
            overfull = len(frames) - MAX_FRAMES
            if now_ms - self._settled_at_ms < BATCH_S * 1000 and overfull <= first:
                return []
            lag_ms = round(self._settings.lag_s * 1000)
            last = first
            while last < len(frames) and (now_ms - frames[last].at_ms >= lag_ms or last < overfull):
                last += 1
            self._settled_at_ms = now_ms
        if last == first:
            return []
        settled = self._backwards(first, last)
        del frames[: last - 1]
        self._settled = 1
        return settled

    def _move(self, state: Floats, height_px: Floats, dt_s: float) -> Floats:
        position, velocity, a, b, c = state
        q = (self._settings.acceleration * np.maximum(1.0, height_px))[:, None] ** 2
        moved = np.empty_like(state)
        moved[0] = position + velocity * dt_s
        moved[1] = velocity
        moved[2] = a + dt_s * (2 * b + dt_s * c) + q * (dt_s**3 / 3)
        moved[3] = b + dt_s * c + q * (dt_s * dt_s / 2)
        moved[4] = c + q * dt_s
        return moved

    def _backwards(self, first: int, last: int) -> list[Settled]:
        """Return the frames from `first` up to `last`, each by all that came after it."""
        frames = self._frames
        p, v = frames[-1].filtered[:2]
        places = [p]
        for i in range(len(frames) - 2, first - 1, -1):
            dt_s = (frames[i + 1].at_ms - frames[i].at_ms) / 1000
            p, v = _one_back(frames[i].filtered, frames[i + 1].predicted, p, v, dt_s)
            places.append(p)
        places.reverse()
        return [
            Settled(frame.at_ms, frame.seen, places[i], frame.height_px)
            for i, frame in enumerate(frames[first:last])
        ]


def _corrected(predicted: Floats, xy: Floats, noise_px: Floats) -> Floats:
    """Return states after a measurement with this standard deviation."""
    position, velocity, a, b, c = predicted
    total = a + noise_px**2
    gain_p, gain_v, residual = a / total, b / total, xy - position
    corrected = np.empty_like(predicted)
    corrected[0] = position + gain_p * residual
    corrected[1] = velocity + gain_v * residual
    corrected[2] = a * (1 - gain_p)
    corrected[3] = b * (1 - gain_p)
    corrected[4] = c - gain_v * b
    return corrected


def _one_back(
    filtered: Floats, predicted: Floats, p: Floats, v: Floats, dt_s: float
) -> tuple[Floats, Floats]:
    """Return the smoothed position and velocity of a frame.

    Args:
        filtered: Its states.
        predicted: Those of the next frame before it was seen.
        p: The next frame's smoothed position.
        v: Its velocity.
        dt_s: Between the two.
    """
    position, velocity, a, b, c = filtered
    pp, pv, na, nb, nc = predicted
    # Gain = filtered covariance x transition' x inverse of the predicted covariance.
    determinant = na * nc - nb * nb
    ep, ev = p - pp, v - pv
    wp, wv = (nc * ep - nb * ev) / determinant, (na * ev - nb * ep) / determinant
    return position + (a + b * dt_s) * wp + b * wv, velocity + (b + c * dt_s) * wp + c * wv


def _grow(frame: _Frame, predicted: Floats, filtered: Floats, seen: Bools, height_px: Floats) -> None:
    frame.predicted = np.concatenate([frame.predicted, predicted], axis=1)
    frame.filtered = np.concatenate([frame.filtered, filtered], axis=1)
    frame.seen = np.concatenate([frame.seen, seen])
    frame.height_px = np.concatenate([frame.height_px, height_px])
