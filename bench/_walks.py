"""A made-up camera view and people who walk in it: the exact paths behind `bench.scenes`.

The camera looks over flat ground. With its horizon at the height `horizon_px` of the picture a foot at y is
`focal_px * height_m / (y - horizon_px)` metres away, and so a box's height is linear in its foot's y, and what is
straight on the ground is straight on the picture.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE_FPS = 30
"""All paths and errors are made at this rate; a slower scene leaves frames out."""

Floats = NDArray[np.float64]
PERSON, PRAM = 0, 1
CLASS_NAMES = ("person", "pram")

# A body's stride: its box grows and shrinks by this share of its height, this often a second.
_STRIDE_SHARE = 0.05
_STRIDES_PER_S = 0.95
# Nobody turns on a point: corners are rounded over this time.
_ROUND_S = 0.6
_PRAM_AHEAD_M = 0.8


@dataclass(frozen=True)
class Camera:
    """Where a camera hangs. Pixels, metres."""

    width: int = 1280
    height: int = 720
    focal_px: float = 1000.0
    height_m: float = 5.0
    horizon_px: float = -150.0

    def project(self, ground: Floats) -> Floats:
        """Return where points of the ground are on the picture; shape (..., 2): metres to the right, metres away."""
        scale = self.focal_px / ground[..., 1]
        return np.stack(
            [self.width / 2 + scale * ground[..., 0], self.horizon_px + scale * self.height_m], axis=-1
        )

    def ground(self, foot: Floats) -> Floats:
        """Return what point of the ground is at a place of the picture; the inverse of `project`."""
        away = self.focal_px * self.height_m / (foot[..., 1] - self.horizon_px)
        return np.stack([(foot[..., 0] - self.width / 2) * away / self.focal_px, away], axis=-1)

    def box_height(self, foot_y: Floats, tall_m: float) -> Floats:
        """Return how many pixels something of `tall_m` metres has at a foot's y."""
        return tall_m / self.height_m * (foot_y - self.horizon_px)


@dataclass(frozen=True)
class Stop:
    """A place that someone walks to: x and y in shares of the picture, and how long they stay there."""

    x: float
    y: float
    stay_s: float = 0.0


@dataclass(frozen=True)
class Walker:
    """One true object, at `REFERENCE_FPS`.

    Attributes:
        cls: `PERSON` or `PRAM`.
        foot: Middle of its lower edge, pixels, shape (T, 2); NaN while it is not there.
        size: Width and height of its box, pixels, shape (T, 2).
    """

    cls: int
    foot: Floats
    size: Floats


def times_s(seconds: float) -> Floats:
    """Return the times of all frames of a scene at the reference rate, shape (T,)."""
    return np.arange(int(seconds * REFERENCE_FPS)) / REFERENCE_FPS


def person(
    camera: Camera,
    stops: Sequence[Stop],
    start_s: float,
    speed_m_s: float,
    seconds: float,
    rng: np.random.Generator,
) -> Walker:
    """Return someone who walks from stop to stop and is there from `start_s` until they reach the last."""
    return _walker(camera, PERSON, _path(camera, stops, start_s, speed_m_s, seconds), seconds, rng)


def person_with_pram(
    camera: Camera,
    stops: Sequence[Stop],
    start_s: float,
    speed_m_s: float,
    seconds: float,
    rng: np.random.Generator,
) -> list[Walker]:
    """Return someone who walks like `person`, and the pram that they push before them."""
    path = _path(camera, stops, start_s, speed_m_s, seconds)
    step = np.gradient(path, axis=0)
    heading = step / np.maximum(np.hypot(step[:, :1], step[:, 1:]), 1e-6)
    return [
        _walker(camera, PERSON, path, seconds, rng),
        _walker(camera, PRAM, path + _PRAM_AHEAD_M * heading, seconds, rng),
    ]


def _path(camera: Camera, stops: Sequence[Stop], start_s: float, speed_m_s: float, seconds: float) -> Floats:
    """Return metres to the right and away at each frame, shape (T, 2), NaN before the first and after the last stop."""
    places = camera.ground(np.array([(stop.x * camera.width, stop.y * camera.height) for stop in stops]))
    known_s, known = [start_s], [places[0]]
    for (before, after), stop in zip(itertools.pairwise(places), stops[1:], strict=True):
        known_s.append(known_s[-1] + float(np.hypot(*(after - before))) / speed_m_s)
        known.append(after)
        if stop.stay_s:
            known_s.append(known_s[-1] + stop.stay_s)
            known.append(after)
    now_s = times_s(seconds)
    path = np.stack([np.interp(now_s, known_s, axis) for axis in np.array(known).T], axis=1)
    if len(stops) > 2:
        half = int(_ROUND_S * REFERENCE_FPS / 2)
        padded = np.pad(path, ((half, half), (0, 0)), mode="edge")
        path = np.stack(
            [np.convolve(axis, np.ones(2 * half + 1) / (2 * half + 1), "valid") for axis in padded.T], axis=1
        )
    path[(now_s < start_s) | (now_s > known_s[-1])] = np.nan
    return path


def _walker(camera: Camera, cls: int, path: Floats, seconds: float, rng: np.random.Generator) -> Walker:
    foot = camera.project(path)
    tall_m = rng.normal(1.7, 0.08) if cls == PERSON else rng.normal(1.05, 0.05)
    high = camera.box_height(foot[:, 1], tall_m)
    if cls == PERSON:
        phase = rng.uniform(0, 2 * np.pi)
        wide = high * (0.38 + _STRIDE_SHARE * np.sin(2 * np.pi * _STRIDES_PER_S * times_s(seconds) + phase))
    else:
        wide = 0.85 * high
    is_outside = (
        (foot[:, 0] + wide / 2 < 0)
        | (foot[:, 0] - wide / 2 > camera.width)
        | (foot[:, 1] - high > camera.height)
    )
    foot[is_outside] = np.nan
    return Walker(cls, foot, np.stack([wide, high], axis=1))
