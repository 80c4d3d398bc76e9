"""Whether a camera's picture can be counted on, by the picture's own evidence.

A camera that sends a picture is not yet one that sees. What is looked for, and how it is told from a quiet scene::

    frozen    the same single pixels again and again: a sensor has noise, a still scene of a real camera has it too
    dark      no contrast in the averaged picture, and little light
    covered   no contrast, though there is light; or the fine detail of the scene has gone, relative to its contrast
    moved     the scene's edges lie beside those of a slowly learned reference, all by the same shift

Each must last some seconds before it is believed, and be gone for some before it is forgotten. How a moved camera is told is
the business of `edge.evidence.camera_shift`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import AnyEvent, Drift
from edge.evidence.camera_shift import CameraShift, edges, filled_share, strength
from edge.evidence.debounce import Held, Mean
from edge.evidence.glance import Glance, Grey

# Evidence changes in seconds: looking more often than this costs time and tells nothing.
EVERY_MS = 200
# Comparing whole scenes is dearer, and slower still to change.
_COMPARE_EVERY_MS = 1_000
# Time without a picture proves nothing about the picture: what was pending begins anew.
_LONGEST_STEP_MS = 5_000
# A picture repeats if no more than this share of single pixels differ: recompressing changes a few.
_REPEATING_SHARE = 0.001
# YOLO11n still found 22 of 24 people with a contrast (standard deviation of cells, grey levels) of 4.4, 20 with 3.1, 6 with 2.3.
_LEAST_CONTRAST = 2.0
_DARK_MEAN = 40.0
# Blurred until nobody was found (9 pixels at 768 wide), detail fell to 0.49 and detail by contrast to 0.55.
_COVERED_DETAIL = 0.45
_COVERED_SHARPNESS = 0.5
_BRIGHTNESS_FACTOR = 2.5
_DETAIL_FACTOR = 0.6


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How long evidence must last, seconds.

    Attributes:
        frozen_s: The same picture for so long is a frozen one.
        unusable_s: Dark or covered for so long.
        moved_s: The scene beside its reference for so long.
        settle_s: A moved camera must stand still for so long before it counts again.
        learn_s: From the start on, before anything is compared with what is usual.
        drift_s: A quality that was away from its baseline for so long is told of.
    """

    frozen_s: float = 15.0
    unusable_s: float = 5.0
    moved_s: float = 8.0
    settle_s: float = 60.0
    learn_s: float = 20.0
    drift_s: float = 60.0


class _Quality:
    """One measure, its baseline of the last hour, and whether it is away from it."""

    def __init__(self, metric: str, factors: tuple[float, float], drift_s: float) -> None:
        self._metric = metric
        self._least, self._most = factors
        self._now, self.baseline = Mean(20.0), Mean(3600.0)
        self._away = Held(drift_s, drift_s)

    def pause(self) -> None:
        self._away.pause()

    def feed(self, value: float, dt_s: float, at_ms: int) -> list[AnyEvent]:
        self._now.feed(value, dt_s)
        self.baseline.feed(value, dt_s)
        usual = max(self.baseline.value, 1e-3)
        was_away = self._away.is_on
        is_there = not self._least <= self._now.value / usual <= self._most
        if self._away.feed(at_ms, is_there=is_there) == was_away:
            return []
        return [Drift(self._metric, round(self._now.value, 3), round(usual, 3), self._away.since_ms)]


class CameraHealth:
    """The evidence of one camera. Time is an argument, UTC epoch ms."""

    def __init__(self, settings: HealthSettings | None = None) -> None:
        """Know nothing yet."""
        settings = settings or HealthSettings()
        self._settings = settings
        self._at_ms: int | None = None
        self._compared_ms: int | None = None
        self._still: NDArray[np.uint8] | None = None
        self._still_ms = 0
        self._frozen = Held(settings.frozen_s, 0.0)
        self._dark = Held(settings.unusable_s, 2.0)
        self._covered = Held(settings.unusable_s, 2.0)
        self._usual_detail = Mean(600.0)
        self._usual_sharpness = Mean(600.0)
        self._usual_s = 0.0
        self._scene = CameraShift(settings.moved_s, settings.settle_s, settings.learn_s)
        self._brightness = _Quality(
            "brightness", (1 / _BRIGHTNESS_FACTOR, _BRIGHTNESS_FACTOR), settings.drift_s
        )
        self._detail = _Quality("sharpness", (_DETAIL_FACTOR, 1 / _DETAIL_FACTOR), settings.drift_s)

    def is_due(self, at_ms: int) -> bool:
        """Say whether it is time for the next look."""
        return self._at_ms is None or not 0 <= at_ms - self._at_ms < EVERY_MS

    @property
    def is_nudged(self) -> bool:
        """Whether the camera looks elsewhere than when it was first seen: lines may be wrong."""
        return self._scene.is_nudged

    @property
    def reason(self) -> str:
        """Why the picture can't be counted on, for people; empty if it can."""
        if self._frozen.is_on:
            return f"the picture has not changed for {((self._at_ms or 0) - self._still_ms) // 1000} s"
        if self._dark.is_on:
            return "the picture is too dark to see anybody"
        if self._covered.is_on:
            return "the picture has lost its detail: the camera is covered, dirty or out of focus"
        return self._scene.reason

    def feed(self, glance: Glance, at_ms: int) -> list[AnyEvent]:
        """Take one look, if it is due; else do nothing.

        Args:
            glance: Of the picture.
            at_ms: When it was captured.

        Returns:
            What has moved away from its baseline, or has come back: `Drift` events.
        """
        if not self.is_due(at_ms):
            return []
        step_ms = 0 if self._at_ms is None else at_ms - self._at_ms
        self._at_ms = at_ms
        if not 0 <= step_ms <= _LONGEST_STEP_MS:
            self._pause()
            step_ms = 0
        self._look_for_repeats(glance, at_ms)
        if self._frozen.is_on:
            return []  # nothing new to learn from
        return self._look_at_light(glance.grey, step_ms / 1000, at_ms)

    def _pause(self) -> None:
        for held in (self._frozen, self._dark, self._covered, self._scene, self._brightness, self._detail):
            held.pause()
        self._still = None

    def _look_for_repeats(self, glance: Glance, at_ms: int) -> None:
        still = self._still
        repeats = (
            still is not None
            and still.shape == glance.grain.shape
            and int(np.count_nonzero(still != glance.grain)) <= _REPEATING_SHARE * len(still)
        )
        if not repeats:
            self._still, self._still_ms = glance.grain, at_ms
        self._frozen.feed(at_ms, is_there=repeats)

    def _look_at_light(self, grey: Grey, dt_s: float, at_ms: int) -> list[AnyEvent]:
        cells = grey.astype(np.float32)
        mean, contrast = float(cells.mean()), float(cells.std())
        detail = float(np.abs(np.diff(cells, axis=1)).mean() + np.abs(np.diff(cells, axis=0)).mean()) / 2
        sharpness = detail / max(contrast, 0.5)
        is_flat = contrast < _LEAST_CONTRAST
        is_blurred = (
            self._usual_s >= self._settings.learn_s
            and detail < _COVERED_DETAIL * self._usual_detail.value
            and sharpness < _COVERED_SHARPNESS * self._usual_sharpness.value
        )
        is_dark = self._dark.feed(at_ms, is_there=is_flat and mean < _DARK_MEAN)
        is_covered = self._covered.feed(at_ms, is_there=is_blurred or (is_flat and mean >= _DARK_MEAN))
        if is_flat or is_blurred or is_dark or is_covered:
            self._scene.pause()
            return []
        self._usual_s += dt_s
        self._usual_detail.feed(detail, dt_s)
        self._usual_sharpness.feed(sharpness, dt_s)
        drifts = self._brightness.feed(mean, dt_s, at_ms) + self._detail.feed(detail, dt_s, at_ms)
        before_ms = at_ms if self._compared_ms is None else self._compared_ms
        if self._compared_ms is None or at_ms - before_ms >= _COMPARE_EVERY_MS:
            since_s = min(_LONGEST_STEP_MS, at_ms - before_ms) / 1000
            self._compared_ms = at_ms
            found = strength(grey)
            drifts += self._scene.feed(edges(found), filled_share(found), since_s, at_ms)
        return drifts
