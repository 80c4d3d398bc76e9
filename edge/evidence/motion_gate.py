"""The motion gate: whether a picture is worth the detector's time.

A detector costs tens of milliseconds, a glance a tenth of one. Where nothing moves there is nobody to find, so the
detector sleeps, and wakes with the very picture in which something moves::

    motion      ......########............................
    tracks      .......==========.........................
    detect      |   |||||||||||||||||   |   |   |   |   |
                                   ^ quiet for a while: now and then only, for whoever is too faint to be seen move

Motion is a cell that differs from its own slow mean by more than its own usual noise; light that changes everywhere
alike is none. While a track lives the detector is never far: what stands still is looked at several times a second.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.evidence.glance import HEIGHT, WIDTH, Grey

Cells = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """When the detector may sleep.

    Attributes:
        learn_s: From the start on nothing is left out for so long.
        quiet_s: Nothing may have moved for so long.
        detect_every_s: However quiet it is, the detector runs so often.
        detect_still_s: The same while tracks live; less than a track lives without being seen.
        mean_s: Time constant of a cell's mean.
        noise_s: Time constant of a cell's noise.
        noise_times: A cell moves when it differs by so many times its usual deviation,
        least: but not by less than this, grey levels,
        most: and surely by more than this: a restless cell must not become blind.
    """

    learn_s: float = 5.0
    quiet_s: float = 1.5
    detect_every_s: float = 2.0
    detect_still_s: float = 0.25
    mean_s: float = 8.0
    noise_s: float = 20.0
    noise_times: float = 6.0
    least: float = 3.0
    most: float = 16.0


class MotionGate:
    """Decides for one camera. Feed it every frame, in order of time."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        """Know nothing yet: at first the detector always runs."""
        self._settings = settings or MotionSettings()
        self._mean: Cells | None = None
        self._noise: Cells = np.ones((HEIGHT, WIDTH), dtype=np.float32)
        self._at_ms = 0
        self._learnt_ms = 0
        self._moved_ms = 0
        self._detected_ms = 0

    def feed(self, grey: Grey, at_ms: int, *, has_tracks: bool) -> bool:
        """Take one frame's glance; say whether the detector has to run on that frame.

        Args:
            grey: uint8, shape (HEIGHT, WIDTH).
            at_ms: The frame's capture time; a step back is taken as no time.
            has_tracks: Whether any track lived after the frame before, confirmed or not.
        """
        settings = self._settings
        if self._mean is None:
            self._mean = grey.astype(np.float32)
            self._at_ms = self._moved_ms = self._detected_ms = at_ms
            self._learnt_ms = at_ms + round(settings.learn_s * 1000)
            return True
        dt_s = min(1.0, max(0, at_ms - self._at_ms) / 1000)
        self._at_ms = max(self._at_ms, at_ms)
        if self._moves(grey, dt_s, has_tracks=has_tracks):
            self._moved_ms = self._at_ms
        every_s = settings.detect_still_s if has_tracks else settings.detect_every_s
        is_quiet = self._at_ms - self._moved_ms > settings.quiet_s * 1000
        if is_quiet and self._at_ms >= self._learnt_ms and self._at_ms - self._detected_ms < every_s * 1000:
            return False
        self._detected_ms = self._at_ms
        return True

    def _moves(self, grey: Grey, dt_s: float, *, has_tracks: bool) -> bool:
        """Say whether anything moves, and learn."""
        settings, mean = self._settings, self._mean
        assert mean is not None
        difference = grey - mean
        # Light that changes everywhere is no motion; the median of some cells says how much.
        sample = difference[::4, ::4].ravel()
        difference -= np.partition(sample, len(sample) // 2)[len(sample) // 2]
        size = np.abs(difference)
        threshold = np.clip(self._noise * np.float32(settings.noise_times), settings.least, settings.most)
        moving = size > threshold
        mean += (grey - mean) * np.float32(min(1.0, dt_s / settings.mean_s))
        if not has_tracks:  # people are no noise
            usual = np.minimum(size, 2 * threshold) - self._noise
            self._noise += usual * np.float32(min(1.0, dt_s / settings.noise_s))
        if not moving.any():
            return False
        # One cell alone may be chance; two that touch, or one that differs by far, are something.
        return bool(
            (moving[:, 1:] & moving[:, :-1]).any()
            or (moving[1:] & moving[:-1]).any()
            or (size > 2 * threshold).any()
        )
