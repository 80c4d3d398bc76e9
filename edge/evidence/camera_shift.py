"""Whether a camera looks where it looked before, by the edges of its scene.

A camera that was moved shows the scene's edges beside those of a slowly learned reference, all by the same shift, or
another scene altogether. It is blind until it has stood still for a while; then it goes on with a new reference, and a
warning that lines drawn for the old view may be wrong. If it comes back to where it was, all is well again.

A bare picture in which nothing stands (one lamp that swings in the dark) tells nothing of where the camera looks: it is
not called moved for it.

The reference is learned from the start on, so a camera that was moved while nobody watched is not found out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.events import AnyEvent, Drift
from edge.evidence.debounce import Held, Mean
from edge.evidence.glance import HEIGHT, WIDTH, Grey

Cells = NDArray[np.float32]

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


class CameraShift:
    """Where the scene of one camera lies, and where it should lie. Time is an argument, UTC epoch ms."""

    def __init__(self, moved_s: float, settle_s: float, learn_s: float) -> None:
        """Know nothing yet.

        Args:
            moved_s: The scene must lie beside its reference for so long.
            settle_s: A moved camera must stand still for so long before it counts again.
            learn_s: From the start on, before anything is compared with what is usual.
        """
        self._moved_s, self._settle_s, self._learn_s = moved_s, settle_s, learn_s
        self._origin: Cells | None = None
        self._reference: Cells | None = None
        self._candidate: Cells | None = None
        self._candidate_ms = 0
        self._learnt_s = 0.0
        self._usual = Mean(600.0)
        self._filled = Mean(60.0)
        self._beside = Held(moved_s, 3.0)
        self._other = Held(_OTHER_LONGER * moved_s, 3.0)
        self._home = Held(3.0, 0.0)
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
        """Forget what is pending."""
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
        if self._learnt_s < self._learn_s:
            if self._learnt_s > self._learn_s / 2:
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
        if at_ms - self._candidate_ms < self._settle_s * 1000:
            return []
        self._begin(self._candidate, is_nudged=True)
        # How far another scene is from this one can't be said: it is as far as can be.
        return [
            Drift("scene_shift", round(home.shift if home.is_beside(usual) else 1.0, 4), 0.0, self._moved_ms)
        ]

    def _begin(self, reference: Cells, *, is_nudged: bool) -> None:
        self._reference, self._candidate = reference, None
        self._beside = Held(self._moved_s, 3.0)
        self._other = Held(_OTHER_LONGER * self._moved_s, 3.0)
        self._home = Held(3.0, 0.0)
        self.is_nudged = is_nudged
