"""Whether a camera's picture can be counted on, by the picture's own evidence.

A camera that sends a picture is not yet one that sees. What is looked for, and how it is told from a quiet scene::

    frozen    the same single pixels again and again: a sensor has noise, a still scene of a real camera has it too
    dark      no contrast in the averaged picture, and little light
    covered   no contrast, though there is light; or the fine detail of the scene has gone, relative to its contrast
    moved     the scene's edges lie beside those of a slowly learned reference, all by the same shift

Each must last some seconds before it is believed, and be gone for some before it is forgotten. A camera that was moved
is blind until it has stood still for a while; then it goes on with a new reference, and a warning that lines drawn for
the old view may be wrong. If it comes back to where it was, all is well again.

A bare picture in which nothing stands (one lamp that swings in the dark) tells nothing of where the camera looks: it is
not called moved for it.

The reference is learned from the start on, so a camera that was moved while nobody watched is not found out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import AnyEvent, Drift
from edge.glance import HEIGHT, WIDTH, Glance, Grey

Cells = NDArray[np.float32]

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
# Likeness of two scenes' edges, -1 to 1: 0.7 of a street, 0.3 of a bare square with people, whoever walks through it.
# What counts is its share of the usual.
_ALIKE_SHARE = 0.6
_BETTER_BY = 0.08
# A camera turned by 8 degrees keeps half of its usual likeness, one turned upside down a third; so does one that looks
# at a lorry. Therefore it has to last longer than a shift.
_OTHER_SHARE = 0.45
_OTHER_LONGER = 3
# Share of a picture that its edges fill, by their participation ratio: 0.36 of a street, whether bright, dim or blurred;
# 0.1 of eight bars, 0.01 to 0.06 of one ball on black. Below this most of it is bare.
_BARE_SHARE = 0.15
# Likeness below which nothing stands: half of that of a bare square with people. One ball on black has 0.04 and less.
_STANDS = 0.15
# How far a scene may have moved and still be recognised, share of the picture.
_FARTHEST = 0.3
_BRIGHTNESS_FACTOR = 2.5
_DETAIL_FACTOR = 0.6


@dataclass(frozen=True, slots=True)
class SightSettings:
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


class _Held:
    """Believed once its evidence has lasted, forgotten once it has been missing for a while."""

    __slots__ = ("_changed_ms", "_off_ms", "_on_ms", "is_on", "since_ms")

    def __init__(self, on_s: float, off_s: float) -> None:
        self._on_ms, self._off_ms = on_s * 1000, off_s * 1000
        self.is_on = False
        self.since_ms = 0
        self._changed_ms: int | None = None

    def feed(self, at_ms: int, *, is_there: bool) -> bool:
        """Take one look; return whether it is believed."""
        if is_there == self.is_on:
            self._changed_ms = None
            return self.is_on
        if self._changed_ms is None:
            self._changed_ms = at_ms
        if at_ms - self._changed_ms >= (self._on_ms if is_there else self._off_ms):
            self.is_on = is_there
            self.since_ms = self._changed_ms
            self._changed_ms = None
        return self.is_on

    def pause(self) -> None:
        """Forget what is pending."""
        self._changed_ms = None


class _Mean:
    """A mean that becomes a slow one: all looks count alike at first, then newer ones more."""

    __slots__ = ("_seconds", "_slow_s", "value")

    def __init__(self, slow_s: float) -> None:
        self._slow_s = slow_s
        self._seconds = 0.0
        self.value = 0.0

    def feed(self, value: float, dt_s: float) -> None:
        self._seconds = min(self._slow_s, self._seconds + dt_s)
        self.value += (value - self.value) * (min(1.0, dt_s / self._seconds) if self._seconds else 1.0)


@dataclass(frozen=True, slots=True)
class Match:
    """How a scene lies beside another.

    Attributes:
        here: Likeness as they are, -1 to 1.
        best: Likeness with the best shift.
        dx: That shift, share of the picture's width, to the right.
        dy: Share of its height, downwards.
    """

    here: float
    best: float
    dx: float
    dy: float

    @property
    def shift(self) -> float:
        """The larger of both, as a positive share."""
        return max(abs(self.dx), abs(self.dy))

    def is_beside(self, usual: float) -> bool:
        """Say whether the scene is the same and lies elsewhere; `usual` is its usual likeness."""
        return self.shift > 0 and self.best > _ALIKE_SHARE * usual and self.best > self.here + _BETTER_BY

    def is_same(self, usual: float) -> bool:
        """Say whether the scene lies where it lay."""
        return self.here > _ALIKE_SHARE * usual and not self.is_beside(usual)


def strength(grey: Grey) -> Cells:
    """Return how strong the picture's edges are, without sign, shape (HEIGHT, WIDTH)."""
    cells = grey.astype(np.float32)
    found = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    found[:, 1:-1] += np.abs(cells[:, 2:] - cells[:, :-2])
    found[1:-1] += np.abs(cells[2:] - cells[:-2])
    return found


def filled_share(found: Cells) -> float:
    """Return the share of the picture that its edges fill, by their `strength`: 1 if they are alike everywhere."""
    squares = float(np.square(found).mean())
    return float(found.mean()) ** 2 / squares if squares else 0.0


def edges(found: Cells) -> Cells:
    """Return the `strength` of a picture's edges, fading towards its border, mean 0; shape (HEIGHT, WIDTH).

    Bounded: light that changes leaves edges where they are.
    """
    bounded = np.minimum(found, 4 * found.mean())
    bounded -= bounded.mean()
    return bounded * _FADE


_FADE: Cells = np.outer(np.hanning(HEIGHT + 2)[1:-1], np.hanning(WIDTH + 2)[1:-1]).astype(np.float32) ** 0.5


def match(scene: Cells, reference: Cells) -> Match:
    """Compare the edges of two scenes by their normalised cross-correlation.

    Args:
        scene: Of `edges`.
        reference: A mean of `edges`.
    """
    norm = float(np.linalg.norm(scene) * np.linalg.norm(reference))
    if norm == 0:
        return Match(0.0, 0.0, 0.0, 0.0)
    spectrum = np.fft.rfft2(scene) * np.conj(np.fft.rfft2(reference))
    likeness = np.fft.irfft2(spectrum, s=(HEIGHT, WIDTH)) / norm
    rows, columns = round(HEIGHT * _FARTHEST), round(WIDTH * _FARTHEST)
    near = np.roll(likeness, (rows, columns), axis=(0, 1))[: 2 * rows + 1, : 2 * columns + 1]
    row, column = divmod(int(near.argmax()), 2 * columns + 1)
    return Match(float(likeness[0, 0]), float(near.max()), (column - columns) / WIDTH, (row - rows) / HEIGHT)


def _blend(old: Cells, new: Cells, share: float) -> Cells:
    return (old + (new - old) * np.float32(share)).astype(np.float32)


class _Scene:
    """Where the scene lies, and where it should lie."""

    def __init__(self, settings: SightSettings) -> None:
        self._settings = settings
        self._origin: Cells | None = None
        self._reference: Cells | None = None
        self._candidate: Cells | None = None
        self._candidate_ms = 0
        self._learnt_s = 0.0
        self._usual = _Mean(600.0)
        self._filled = _Mean(60.0)
        self._beside = _Held(settings.moved_s, 3.0)
        self._other = _Held(_OTHER_LONGER * settings.moved_s, 3.0)
        self._home = _Held(3.0, 0.0)
        self._moved_ms = 0
        self._shift = 0.0
        self.is_nudged = False

    @property
    def reason(self) -> str:
        """Why the scene is not counted on; empty if it is."""
        if self._candidate is None:
            return ""
        if self._shift:
            return f"the camera has been moved: the scene has shifted by {self._shift:.0%} of the picture"
        return "the camera looks at another scene than before"

    def pause(self) -> None:
        for held in (self._beside, self._other, self._home):
            held.pause()

    def feed(self, scene: Cells, filled: float, dt_s: float, at_ms: int) -> list[AnyEvent]:
        """Take one look at the scene, and how much of it is filled; return what there is to tell."""
        if self._reference is None:
            self._reference = scene
        self._filled.feed(filled, dt_s)
        if self._candidate is not None:
            return self._settle(scene, at_ms)
        found, usual = match(scene, self._reference), self._usual.value
        if self._learnt_s < self._settings.learn_s:
            if self._learnt_s > self._settings.learn_s / 2:
                self._usual.feed(found.here, dt_s)
            self._learn(scene, dt_s)
            return []
        if self._filled.value < _BARE_SHARE and usual < _STANDS:
            self._usual.feed(found.here, dt_s)
            self._learn(scene, dt_s)
            self.pause()
            return []
        is_beside, is_other = found.is_beside(usual), found.best < _OTHER_SHARE * usual
        is_moved = self._beside.feed(at_ms, is_there=is_beside)
        if self._other.feed(at_ms, is_there=is_other) or is_moved:
            self._shift = found.shift if is_beside else 0.0
            self._moved_ms = self._beside.since_ms if is_moved else self._other.since_ms
            self._candidate, self._candidate_ms = scene, at_ms
        elif not is_beside and not is_other:
            self._usual.feed(found.here, dt_s)
            self._learn(scene, dt_s)
        return []

    def _learn(self, scene: Cells, dt_s: float) -> None:
        assert self._reference is not None
        self._learnt_s += dt_s
        # Ten minutes: shadows move on and are followed, a nudged camera is not.
        share = dt_s / min(600.0, self._learnt_s) if self._learnt_s > dt_s else 1.0
        self._reference = _blend(self._reference, scene, share)
        if not self.is_nudged:
            self._origin = self._reference

    def _settle(self, scene: Cells, at_ms: int) -> list[AnyEvent]:
        """Wait until a moved camera stands still, or is back."""
        assert self._candidate is not None
        assert self._origin is not None
        home, usual = match(scene, self._origin), self._usual.value
        if self._home.feed(at_ms, is_there=home.is_same(usual)):
            was_nudged = self.is_nudged
            self._begin(self._origin, is_nudged=False)
            return [Drift("scene_shift", 0.0, 0.0, self._moved_ms)] if was_nudged else []
        if not match(scene, self._candidate).is_same(usual):
            self._candidate, self._candidate_ms = scene, at_ms
            return []
        self._candidate = _blend(self._candidate, scene, 0.1)
        if at_ms - self._candidate_ms < self._settings.settle_s * 1000:
            return []
        self._begin(self._candidate, is_nudged=True)
        # How far another scene is from this one can't be said: it is as far as can be.
        return [
            Drift("scene_shift", round(home.shift if home.is_beside(usual) else 1.0, 4), 0.0, self._moved_ms)
        ]

    def _begin(self, reference: Cells, *, is_nudged: bool) -> None:
        self._reference, self._candidate = reference, None
        self._beside = _Held(self._settings.moved_s, 3.0)
        self._other = _Held(_OTHER_LONGER * self._settings.moved_s, 3.0)
        self._home = _Held(3.0, 0.0)
        self.is_nudged = is_nudged


class _Quality:
    """One measure, its baseline of the last hour, and whether it is away from it."""

    def __init__(self, metric: str, factors: tuple[float, float], drift_s: float) -> None:
        self._metric = metric
        self._least, self._most = factors
        self._now, self.baseline = _Mean(20.0), _Mean(3600.0)
        self._away = _Held(drift_s, drift_s)

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


class Sight:
    """The evidence of one camera. Time is an argument, UTC epoch ms."""

    def __init__(self, settings: SightSettings | None = None) -> None:
        """Know nothing yet."""
        settings = settings or SightSettings()
        self._settings = settings
        self._at_ms: int | None = None
        self._compared_ms: int | None = None
        self._still: NDArray[np.uint8] | None = None
        self._still_ms = 0
        self._frozen = _Held(settings.frozen_s, 0.0)
        self._dark = _Held(settings.unusable_s, 2.0)
        self._covered = _Held(settings.unusable_s, 2.0)
        self._usual_detail = _Mean(600.0)
        self._usual_sharpness = _Mean(600.0)
        self._usual_s = 0.0
        self._scene = _Scene(settings)
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
