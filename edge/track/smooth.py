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
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.track.motion import Floats, correct, move, smoothed

# Most of what smoothing gives comes from the next third of a second; a whole second more changes nothing measurable.
LAG_S = 0.35
# The backward pass costs as much for one frame as for some: at high frame rates they are settled together.
BATCH_S = 0.1
# Frames that wait for their future: the lag at 200 frames a second. More would mean a clock that stands still.
MAX_FRAMES = 64

_FIRST_FRAMES = 16

Bools = NDArray[np.bool_]
_Value = TypeVar("_Value", bound=np.generic)


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
        state: As in `edge.track.motion`, shape (5, 2).
        height_px: Of its box.
    """

    at_ms: int
    state: Floats
    height_px: float


class Settled(NamedTuple):
    """Where the objects of some past frames stood, in order of time.

    Attributes:
        at_ms: When, UTC epoch ms, shape (F,).
        seen: Which rows were seen in each frame, bool, shape (F, N).
        xy: Middle of the lower edge of each row, pixels, shape (F, N, 2); means something only where `seen`.
        height_px: Of its box, shape (F, N).
    """

    at_ms: NDArray[np.int64]
    seen: Bools
    xy: Floats
    height_px: Floats


def doubt_of(score: float) -> float:
    """Return by how much a detection's noise is larger than that of one that is sure: a weak one counts less."""
    return 1 / max(score, 0.05)


class SmootherBank:
    """The recent past of N objects. Rows keep their order; the caller knows which row is which object."""

    def __init__(self, settings: SmootherSettings) -> None:
        """Know no object yet."""
        self._settings = settings
        self._measurement = np.array([settings.measurement_x, settings.measurement_y])
        # The same for frames as far apart as the newest two.
        self._noise = self._measurement
        # The frames that are not settled, and before them the newest that is: the others are linked to it. Of each the
        # states (`edge.track.motion`) as predicted before it and as filtered after it; more room than frames.
        self._times_ms: list[int] = []
        self._settled = 0
        self._settled_at_ms = 0
        self._predicted: Floats = np.zeros((_FIRST_FRAMES, 5, 0, 2))
        self._filtered: Floats = np.zeros((_FIRST_FRAMES, 5, 0, 2))
        self._seen: Bools = np.zeros((_FIRST_FRAMES, 0), dtype=np.bool_)
        self._heights_px: Floats = np.zeros((_FIRST_FRAMES, 0))
        # Of the newest frame.
        self._height_px: Floats = np.zeros(0)
        self._at_ms = 0
        # The states when each was last seen, and when that was.
        self._seen_state: Floats = np.zeros((5, 0, 2))
        self._seen_ms = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._height_px)

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest frame; None before the first."""
        return self._times_ms[-1] if self._times_ms else None

    def is_waiting(self, mask: Bools) -> bool:
        """Say whether one of the rows where `mask`, shape (N,), is True was seen in a frame that is not settled."""
        return bool((self._seen[self._settled : len(self._times_ms)] & mask).any())

    def feed(self, at_ms: int, xy: Floats, height_px: Floats, doubt: Floats) -> None:
        """Take one frame.

        Args:
            at_ms: When; later than the frame before.
            xy: Middle of each object's box's lower edge, pixels, shape (N, 2); any number of one that was not seen.
            height_px: Of the boxes, shape (N,), likewise.
            doubt: By how much the box's noise is larger than that of one that is sure, shape (N,); infinite: not seen.
        """
        step_s = (at_ms - self._at_ms) / 1000
        self._noise = self._measurement * math.sqrt(1 + 2 * self._settings.correlation_s / max(step_s, 0.001))
        frame = self._next_frame(at_ms)
        predicted, filtered, seen = self._predicted[frame], self._filtered[frame], self._seen[frame]
        self._move(self._filtered[frame - 1], self._height_px, step_s, predicted)
        np.less(doubt, np.inf, out=seen)
        # The scale of all noises: the box's height, which itself shakes.
        np.add(self._height_px, (height_px - self._height_px) * 0.3, out=self._height_px, where=seen)
        noise = (np.maximum(self._height_px, 1.0) * doubt)[:, None] * self._noise
        correct(predicted, xy, noise, filtered)
        self._heights_px[frame] = self._height_px
        np.copyto(self._seen_ms, at_ms, where=seen)
        np.copyto(self._seen_state, filtered, where=seen[:, None])

    def add(self, xy: Floats, height_px: Floats, doubt: Floats) -> None:
        """Add objects that the frame just fed has shown for the first time, shapes (M, 2), (M,), (M,), at the end."""
        scale = np.maximum(1.0, height_px)[:, None]
        newest, n = len(self._times_ms) - 1, len(self)
        state = np.zeros((5, len(xy), 2))
        state[0] = xy
        state[2] = (scale * doubt[:, None] * self._noise) ** 2
        state[4] = (self._settings.first_speed * scale) ** 2
        # Before they were seen they have no past: a prediction that nothing is gained from.
        unknown = np.zeros((5, 1, 1))
        unknown[2] = unknown[4] = 1.0
        self._predicted = _wider(self._predicted, unknown, len(xy), axis=2)
        self._filtered = _wider(self._filtered, np.zeros((5, 1, 1)), len(xy), axis=2)
        self._filtered[newest, :, n:] = state
        self._seen = _wider(self._seen, np.False_, len(xy), axis=1)
        self._seen[newest, n:] = True
        self._heights_px = _wider(self._heights_px, height_px, len(xy), axis=1)
        self._height_px = self._heights_px[newest].copy()
        self._seen_state = np.concatenate([self._seen_state, state], axis=1)
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
        frames = {at_ms: frame for frame, at_ms in enumerate(self._times_ms)}
        first_open_ms = (
            self._times_ms[self._settled] if self._settled < len(self._times_ms) else self._at_ms + 1
        )
        times_ms = sorted(at_ms for at_ms in {*seen, *frames} if at_ms > trail.at_ms)
        state, at_ms, height = trail.state[:, None], trail.at_ms, trail.height_px
        predicted: list[Floats] = []
        filtered: list[Floats] = []
        for time_ms in times_ms:
            before, after = np.empty_like(state), np.empty_like(state)
            self._move(state, np.array([height]), (time_ms - at_ms) / 1000, before)
            state, at_ms = before, time_ms
            sample = seen.get(time_ms)
            if sample is not None:
                height += (sample.height_px - height) * 0.3
                noise = max(1.0, height) * doubt_of(sample.score) * self._noise
                correct(before, np.array([[sample.x, sample.y]]), noise[None], after)
                state = after
                self._seen_state[:, row] = state[:, 0]
            predicted.append(before)
            filtered.append(state)
            if time_ms in frames:
                frame = frames[time_ms]
                self._predicted[frame, :, row], self._filtered[frame, :, row] = before[:, 0], state[:, 0]
        self._height_px[row] = height
        dt_s = np.diff(times_ms) / 1000
        places = smoothed(np.array(predicted), np.array(filtered), dt_s)
        return [
            seen[time_ms]._replace(x=float(place[0, 0, 0]), y=float(place[0, 0, 1]))
            for time_ms, place in zip(times_ms, places, strict=True)
            if time_ms in seen and time_ms < first_open_ms
        ]

    def keep(self, mask: Bools) -> None:
        """Let go of the rows where `mask`, shape (N,), is False."""
        # Not by an index: what that returns may be laid out otherwise, and frames are looked at as matrices.
        self._predicted, self._filtered = (
            frames.compress(mask, axis=2) for frames in (self._predicted, self._filtered)
        )
        self._seen, self._heights_px = (
            frames.compress(mask, axis=1) for frames in (self._seen, self._heights_px)
        )
        self._seen_state, self._seen_ms = self._seen_state.compress(mask, axis=1), self._seen_ms[mask]
        self._height_px = self._height_px[mask]

    def settle(self, now_ms: int | None) -> Settled | None:
        """Return the frames that are settled now and were not before, if there are any.

        Args:
            now_ms: The time; None settles all, because nothing more will come.
        """
        times_ms, first = self._times_ms, self._settled
        last = len(times_ms)
        if now_ms is not None:
            overfull = len(times_ms) - MAX_FRAMES
            if now_ms - self._settled_at_ms < BATCH_S * 1000 and overfull <= first:
                return None
            lag_ms = round(self._settings.lag_s * 1000)
            last = first
            while last < len(times_ms) and (now_ms - times_ms[last] >= lag_ms or last < overfull):
                last += 1
            self._settled_at_ms = now_ms
        if last == first:
            return None
        open_ = slice(first, len(times_ms))
        at_ms = np.array(times_ms[open_])
        places = smoothed(self._predicted[open_], self._filtered[open_], np.diff(at_ms) / 1000)
        n = last - first
        xy = np.array([place[0] for place in places[:n]])
        settled = Settled(at_ms[:n], self._seen[first:last].copy(), xy, self._heights_px[first:last].copy())
        self._forget(last - 1)
        self._settled = 1
        return settled

    def _move(self, state: Floats, height_px: Floats, dt_s: float, out: Floats) -> None:
        # White noise of the acceleration, integrated over the step; its scale is the box's height.
        scale = self._settings.acceleration * np.maximum(height_px, 1.0)
        move(state, dt_s, _integrals(dt_s) * (scale * scale)[:, None], out)

    def _next_frame(self, at_ms: int) -> int:
        """Make room for a frame and return which it is."""
        frame = len(self._times_ms)
        if frame == len(self._seen):
            self._predicted, self._filtered = _longer(self._predicted), _longer(self._filtered)
            self._seen, self._heights_px = _longer(self._seen), _longer(self._heights_px)
        self._times_ms.append(at_ms)
        self._at_ms = at_ms
        return frame

    def _forget(self, n: int) -> None:
        """Let go of the oldest frames."""
        left = len(self._times_ms) - n
        for frames in (self._predicted, self._filtered, self._seen, self._heights_px):
            frames[:left] = frames[n : n + left]
        del self._times_ms[:n]


@lru_cache(maxsize=256)
def _integrals(dt_s: float) -> Floats:
    """Return what a unit of noise adds in a step to the variances of position, of both, and of velocity; shape (3, 1, 1)."""
    return np.array([dt_s**3 / 3, dt_s * dt_s / 2, dt_s]).reshape(3, 1, 1)


def _longer(frames: NDArray[_Value]) -> NDArray[_Value]:
    """Return frames with twice the room."""
    return np.concatenate([frames, np.zeros_like(frames)])


def _wider(frames: NDArray[_Value], of_new: ArrayLike, n: int, axis: int) -> NDArray[_Value]:
    """Return frames with `n` more objects, of which all that was before is `of_new`."""
    shape = list(frames.shape)
    shape[axis] = n
    return np.concatenate([frames, np.broadcast_to(of_new, shape)], axis=axis)
