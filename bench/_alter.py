"""Other versions of a stretch of detections whose true counts are known just as well. Pure and seeded."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench._run import Take
from edge.arrays import Detections
from edge.config import LineSettings

_SEED = 1


def mirrored(take: Take) -> Take:
    """Return what a mirror shows: the lines turn with the picture, and so in becomes out."""
    frames = [
        replace(
            seen,
            xyxy=np.stack(
                [
                    take.width - seen.xyxy[:, 2],
                    seen.xyxy[:, 1],
                    take.width - seen.xyxy[:, 0],
                    seen.xyxy[:, 3],
                ],
                axis=1,
            ),
        )
        for seen in take.frames
    ]
    lines = [_redrawn(line, [(take.width - x, y) for x, y in line.points]) for line in take.lines]
    return replace(take, frames=frames, lines=lines, truth=[(n_out, n_in) for n_in, n_out in take.truth])


def scaled(take: Take, by: float) -> Take:
    """Return the same in another picture size."""
    frames = [replace(seen, xyxy=(seen.xyxy * by).astype(np.float32)) for seen in take.frames]
    lines = [_redrawn(line, [(x * by, y * by) for x, y in line.points]) for line in take.lines]
    return replace(
        take, width=math.ceil(take.width * by), height=math.ceil(take.height * by), frames=frames, lines=lines
    )


def every(take: Take, nth: int) -> Take:
    """Return every nth frame."""
    return replace(take, fps=take.fps / nth, times_ms=take.times_ms[::nth], frames=take.frames[::nth])


def shaken(take: Take, by: float) -> Take:
    """Return boxes whose middle, lower edge, width and height are off by a share of their height (deviation)."""
    rng = np.random.default_rng(_SEED)
    return replace(take, frames=[_shaken(seen, by, rng) for seen in take.frames])


def missing(take: Take, share: float) -> Take:
    """Return what is left if a share of the detections is missing, each on its own."""
    rng = np.random.default_rng(_SEED)
    return replace(take, frames=[_some(seen, rng.random(len(seen)) >= share) for seen in take.frames])


ALTERATIONS: dict[str, Callable[[Take], Take]] = {
    "as it is": lambda take: take,
    "mirrored": mirrored,
    "half the size": lambda take: scaled(take, 0.5),
    "double the size": lambda take: scaled(take, 2.0),
    "every 2nd frame": lambda take: every(take, 2),
    "every 4th frame": lambda take: every(take, 4),
    "boxes off by 3 %": lambda take: shaken(take, 0.03),
    "10 % missing": lambda take: missing(take, 0.1),
    "20 % missing": lambda take: missing(take, 0.2),
}


def _redrawn(line: LineSettings, points: list[tuple[float, float]]) -> LineSettings:
    return LineSettings(line.name, points, line.classes, line.swap)


def _some(seen: Detections, keep: np.ndarray) -> Detections:
    return Detections(seen.xyxy[keep], seen.score[keep], seen.class_id[keep])


def _shaken(seen: Detections, by: float, rng: np.random.Generator) -> Detections:
    x1, y1, x2, y2 = seen.xyxy.astype(np.float64).T
    high, wide = y2 - y1, x2 - x1
    middle, lower, wider, taller = rng.normal(0, by, (4, len(seen))) * high
    # A box stays a box.
    wide, high = np.maximum(wide + wider, wide / 2), np.maximum(high + taller, high / 2)
    x, y = (x1 + x2) / 2 + middle, y2 + lower
    boxes = np.stack([x - wide / 2, y - high, x + wide / 2, y], axis=1)
    return replace(seen, xyxy=boxes.astype(np.float32))
