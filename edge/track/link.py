"""Which track is the continuation of one that was lost: decided a moment later, when both are known.

Frame by frame only what fits well is taken for the same object, so that a track is one object and not two. The price
is that a track ends when its object is hidden, and another begins when it comes out again. Who is who then is decided
here, not at once but when the new track has been seen for a while: its own motion, looked at backwards, must meet the
lost one's, looked at forwards. Both speeds tell much more than the place alone, in which people who pass each other are
confused; and all who are lost and all who are new are paired at once, so that the best pairs win and not the first.

For a pair with the gap g (seconds) between them, lengths in the mean h of their box heights::

    miss      = new place - (lost place + mean of both speeds x g')     g' = (1 - exp(-SLOW x g)) / SLOW
    sigma     = PLACE + DRIFT x g
    cost      = |miss|^2 / sigma^2 + |speed difference|^2 / SPEED^2 + log(h ratio)^2 / SIZE^2 + 2 log(sigma / PLACE)

which is, up to a constant, minus twice the logarithm of the pair's likelihood under normal errors: a wider gap makes a
larger miss likelier and every pair less sure. Pairs that cost more than `limit` are strangers. Speed slows with time
because people who are hidden often stand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from edge.track.associate import assign
from edge.track.smooth import Sample

# Lost tracks that wait; beyond that the oldest is given up. More would be a detector gone wild.
MAX_LOST = 512
# Of a track's beginning or end, from which its motion is taken.
WALK_MS = 700
LEAST = 4
_IMPOSSIBLE = 1e6


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How tracks are linked; see the module.

    Attributes:
        gap_s: A track that was lost for longer is not continued.
        limit: Cost from which on two tracks are strangers. 0 links nothing.
        place: How far places are off for the shortest gap, in box heights.
        drift: How much more for each second.
        slow: By which share a speed falls a second, 1/s.
        speed: How far the speeds of one object before and after differ, box heights a second.
        size: How far its heights do, as the logarithm of their ratio.
        largest_ratio: Of heights; beyond it a pair is not looked at.
    """

    gap_s: float = 2.0
    limit: float = 8.0
    place: float = 0.1
    drift: float = 0.5
    slow: float = 1.0
    speed: float = 0.6
    size: float = 0.15
    largest_ratio: float = 1.5


class End(NamedTuple):
    """A loose end of a track, its last moment or its first: when, where, how fast and how tall, pixels and seconds."""

    at_ms: int
    x: float
    y: float
    speed_x: float
    speed_y: float
    height_px: float


class Linker:
    """Keeps the tracks that were lost, and pairs them with new ones."""

    def __init__(self, settings: LinkSettings) -> None:
        """Know no track."""
        self._settings = settings
        self._lost: dict[int, End] = {}

    def lose(self, track: int, end: End) -> list[int]:
        """Keep a track that was lost; return the one that is given up for it, if there are too many."""
        self._lost[track] = end
        return [self._forget_oldest()] if len(self._lost) > MAX_LOST else []

    def forget(self, before_ms: int | None) -> list[int]:
        """Give up and return the tracks that were last seen before a time; None gives up all."""
        old = [track for track, end in self._lost.items() if before_ms is None or end.at_ms < before_ms]
        for track in old:
            del self._lost[track]
        return old

    def link(self, starts: Sequence[tuple[int, End]], due: Sequence[bool]) -> dict[int, int]:
        """Pair new tracks with lost ones.

        Args:
            starts: Ids and beginnings of all new tracks that are not decided.
            due: Which of them are decided now; the others only compete.

        Returns:
            The lost track that each one continues; those that continue none are left out. What is paired is no
            longer lost.
        """
        if not self._lost or not starts or self._settings.limit <= 0:
            return {}
        lost = list(self._lost)
        cost = np.array([[self._cost(self._lost[track], start) for track in lost] for _, start in starts])
        pairs = {
            starts[row][0]: lost[column] for row, column in assign(cost, self._settings.limit) if due[row]
        }
        for track in pairs.values():
            del self._lost[track]
        return pairs

    def _cost(self, end: End, start: End) -> float:
        settings = self._settings
        gap_s = (start.at_ms - end.at_ms) / 1000
        ratio = abs(math.log(start.height_px / end.height_px))
        if not 0 < gap_s <= settings.gap_s or ratio > math.log(settings.largest_ratio):
            return _IMPOSSIBLE
        height = (start.height_px + end.height_px) / 2
        moving_s = (1 - math.exp(-settings.slow * gap_s)) / settings.slow
        miss_x = start.x - end.x - (start.speed_x + end.speed_x) / 2 * moving_s
        miss_y = start.y - end.y - (start.speed_y + end.speed_y) / 2 * moving_s
        turn_x, turn_y = start.speed_x - end.speed_x, start.speed_y - end.speed_y
        sigma = settings.place + settings.drift * gap_s
        return (
            (miss_x * miss_x + miss_y * miss_y) / (height * sigma) ** 2
            + (turn_x * turn_x + turn_y * turn_y) / (height * settings.speed) ** 2
            + (ratio / settings.size) ** 2
            + 2 * math.log(sigma / settings.place)
        )

    def _forget_oldest(self) -> int:
        oldest = min(self._lost, key=lambda track: self._lost[track].at_ms)
        del self._lost[oldest]
        return oldest


def beginning(samples: Sequence[Sample]) -> End:
    """Return the first moment of a track, by a straight walk through its first samples; at least one, in order of time."""
    near = [sample for sample in samples if sample.at_ms - samples[0].at_ms <= WALK_MS]
    return _walk(near if len(near) >= LEAST else samples[:LEAST], samples[0].at_ms)


def ending(samples: Sequence[Sample]) -> End:
    """Return the last moment of a track, by a straight walk through its last samples; at least one, in order of time."""
    near = [sample for sample in samples if samples[-1].at_ms - sample.at_ms <= WALK_MS]
    return _walk(near if len(near) >= LEAST else list(samples)[-LEAST:], samples[-1].at_ms)


def _walk(samples: Sequence[Sample], at_ms: int) -> End:
    """Fit a walk of constant speed by least squares; return where it is at `at_ms`."""
    n = len(samples)
    times_s = [(sample.at_ms - at_ms) / 1000 for sample in samples]
    mean_s = sum(times_s) / n
    mean_x = sum(sample.x for sample in samples) / n
    mean_y = sum(sample.y for sample in samples) / n
    height_px = max(1.0, sorted(sample.height_px for sample in samples)[n // 2])
    # Of two samples, or in a moment, nobody can tell a speed.
    if n < 3 or times_s[-1] - times_s[0] < 0.15:
        return End(at_ms, mean_x, mean_y, 0.0, 0.0, height_px)
    spread = sum((time_s - mean_s) ** 2 for time_s in times_s)
    speed_x = sum((t - mean_s) * s.x for t, s in zip(times_s, samples, strict=True)) / spread
    speed_y = sum((t - mean_s) * s.y for t, s in zip(times_s, samples, strict=True)) / spread
    return End(at_ms, mean_x - speed_x * mean_s, mean_y - speed_y * mean_s, speed_x, speed_y, height_px)
