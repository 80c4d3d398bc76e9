"""A made-up scene: people walk across a square, and it is known exactly when each of them crosses a line.

Three lanes run from one side of the picture to the other, downwards or upwards, so that everybody crosses both a
line across the middle and one down the middle. Within a lane all walk one way at one speed and never overtake.

```
 ->  . . .                        lane 0: left to right
 <-        ' ' - . . .            lane 1: right to left
 ->                    ' ' ->     lane 2: left to right
```

The scene is a function of its seed and the frame's index alone: any frame can be drawn without those before it.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from countline.events import Point
from edge.arrays import Detections
from edge.capture.player import Sight
from edge.frames import Image, SourceInfo

WIDTH, HEIGHT, FPS = 640, 360, 12.0
CLASS_NAMES = ("person",)
# How long a scene lasts that is not played live: two minutes.
FRAMES = 1440
_LANES = ((88.0, 250.0, 1), (128.0, 290.0, -1), (168.0, 330.0, 1))  # feet at the left edge, at the right, way
_MARGIN = 40.0  # people appear and vanish this far outside the picture
_STEP = 5.0  # pixels per frame, 60 a second
_CROSSING_FRAMES = int((WIDTH + 2 * _MARGIN) / _STEP)
# One person per lane starts in every slot, in its first part, so that two never touch.
_SLOT_FRAMES = 48
_LATEST_START = 28
# More than are in the picture at once: each is made up only once, and the oldest is forgotten.
_MAX_KNOWN_SLOTS = 16
_BODY_WIDTH, _BODY_HEIGHT = 26.0, 66.0
_JITTER_PX = 0.7


@dataclass(frozen=True, slots=True)
class Walker:
    """One person of the scene.

    Attributes:
        lane: Which path is walked.
        start: Index of the first frame outside the picture's edge.
        size: Relative to the usual body.
        colour: Of the coat, BGR.
    """

    lane: int
    start: int
    size: float
    colour: tuple[int, int, int]

    def feet(self, index: float) -> Point:
        """Return where the person stands at a frame."""
        left_y, right_y, way = _LANES[self.lane]
        along = (index - self.start) * _STEP - _MARGIN
        x = along if way > 0 else WIDTH - along
        return x, left_y + (right_y - left_y) * x / WIDTH

    def box(self, index: float) -> tuple[float, float, float, float]:
        """Return x1, y1, x2, y2 of the whole body, also of parts outside the picture."""
        x, y = self.feet(index)
        half, height = _BODY_WIDTH * self.size / 2, _BODY_HEIGHT * self.size
        return x - half, y - height, x + half, y


@dataclass(frozen=True, slots=True)
class TruthCrossing:
    """Somebody crosses a line.

    Attributes:
        index: Of the first frame on the other side.
        direction: "in" from the left hand of the line's A->B to its right, else "out".
        walker: Who.
    """

    index: int
    direction: str
    walker: Walker


class Scene:
    """The people of a scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Make the scene up.

        Args:
            rng: Decides who walks when. It is copied: the same one makes the same scene again.
        """
        self._seed = int(copy.deepcopy(rng).integers(1 << 32))
        self._known_slots: dict[int, tuple[Walker, ...]] = {}
        self._ground = _ground()

    def walkers(self, index: int) -> list[Walker]:
        """Return who is about at a frame, also just outside the picture."""
        first = max(0, index - _CROSSING_FRAMES - _LATEST_START) // _SLOT_FRAMES
        slots = range(first, index // _SLOT_FRAMES + 1)
        return [
            walker
            for slot in slots
            for walker in self._slot(slot)
            if walker.start <= index <= walker.start + _CROSSING_FRAMES
        ]

    def _slot(self, slot: int) -> tuple[Walker, ...]:
        if slot not in self._known_slots:
            if len(self._known_slots) >= _MAX_KNOWN_SLOTS:
                del self._known_slots[next(iter(self._known_slots))]
            self._known_slots[slot] = tuple(self._starting(slot))
        return self._known_slots[slot]

    def _starting(self, slot: int) -> Iterator[Walker]:
        for lane in range(len(_LANES)):
            rng = np.random.default_rng([self._seed, lane, slot])
            start = slot * _SLOT_FRAMES + int(rng.integers(_LATEST_START))
            red, green, blue = (int(part) for part in rng.integers(40, 220, 3))
            yield Walker(lane, start, float(rng.uniform(0.9, 1.1)), (blue, green, red))

    def detections(self, index: int) -> Detections:
        """Return what a good detector would see at a frame: everybody at least half in the picture, a little off."""
        boxes = [walker.box(index) for walker in self.walkers(index)]
        boxes = [box for box in boxes if 0 <= (box[0] + box[2]) / 2 <= WIDTH]
        rng = np.random.default_rng([self._seed, len(_LANES), index])
        exact = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        noisy = exact + rng.normal(0.0, _JITTER_PX, exact.shape).astype(np.float32)
        limit = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], dtype=np.float32)
        score = rng.uniform(0.7, 0.95, len(exact)).astype(np.float32)
        return Detections(np.clip(noisy, np.float32(0), limit), score, np.zeros(len(exact), dtype=np.int16))

    def truth_crossings(self, line: Sequence[Point], frames: int) -> list[TruthCrossing]:
        """Return who crosses a line with the feet within the picture, in order.

        Args:
            line: Two or more points in pixels.
            frames: Of the scene, from the first.
        """
        crossings: list[TruthCrossing] = []
        for index in range(1, frames):
            for walker in self.walkers(index - 1):
                before, after = walker.feet(index - 1), walker.feet(index)
                if not (0 <= before[0] <= WIDTH and 0 <= after[0] <= WIDTH):
                    continue
                for start, end in pairwise(line):
                    if _crosses(before, after, start, end):
                        way = "in" if _side(start, end, after) > 0 else "out"
                        crossings.append(TruthCrossing(index, way, walker))
        return crossings

    def picture(self, index: int) -> Image:
        """Return the drawing of a frame."""
        image = self._ground.copy()
        for walker in sorted(self.walkers(index), key=lambda walker: walker.feet(index)[1]):
            _draw(image, walker, index)
        return image


def _side(a: Point, b: Point, p: Point) -> float:
    """Return a positive number if `p` is on the right hand of someone who walks from `a` to `b` on the picture."""
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _crosses(p: Point, q: Point, a: Point, b: Point) -> bool:
    """Say whether the step from `p` to `q` crosses the piece from `a` to `b`, which does not contain its end."""
    return (_side(a, b, p) > 0) != (_side(a, b, q) > 0) and (_side(p, q, a) >= 0) != (_side(p, q, b) >= 0)


def _ground() -> Image:
    image = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:] = (168, 174, 178)
    image[:48] = (196, 188, 176)
    for x in range(0, WIDTH, 80):
        cv2.line(image, (x, 48), (2 * x - WIDTH // 2, HEIGHT), (158, 164, 168), 1, cv2.LINE_AA)
    cv2.putText(
        image, "synthetic scene", (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (90, 90, 90), 1, cv2.LINE_AA
    )
    return image


def _draw(image: Image, walker: Walker, index: int) -> None:
    x, y = walker.feet(index)
    tall = _BODY_HEIGHT * walker.size
    stride = int(tall * 0.14 * np.sin(index * 0.9 + walker.start))

    def at(across: float, up: float) -> tuple[int, int]:
        return round(x + across), round(y - up * tall)

    cv2.ellipse(image, at(0, 0.0), (int(tall * 0.2), 4), 0, 0, 360, (140, 146, 150), -1, cv2.LINE_AA)
    for swing in (stride, -stride):
        cv2.line(image, at(0, 0.45), at(swing, 0.02), (60, 50, 45), 5, cv2.LINE_AA)
        cv2.line(image, at(0, 0.78), at(swing * 0.8, 0.5), walker.colour, 4, cv2.LINE_AA)
    cv2.line(image, at(0, 0.8), at(0, 0.45), walker.colour, 13, cv2.LINE_AA)
    cv2.circle(image, at(0, 0.91), round(tall * 0.085), (150, 180, 215), -1, cv2.LINE_AA)


class SyntheticReel:
    """A scene as a recording."""

    def __init__(self, rng: np.random.Generator, frames: int | None) -> None:
        """Make the scene up.

        Args:
            rng: Decides who walks when.
            frames: How many there are; None goes on for ever.
        """
        self.scene = Scene(rng)
        self._frames = frames
        self._index = -1

    def open(self) -> SourceInfo:
        """Return what is known of the scene."""
        return SourceInfo(WIDTH, HEIGHT, fps=FPS, frame_count=self._frames, class_names=CLASS_NAMES)

    def advance(self) -> bool:
        """Go to the next frame."""
        self._index += 1
        return self._frames is None or self._index < self._frames

    def sight(self) -> Sight | None:
        """Return the drawing and who is on it."""
        return self.scene.picture(self._index), self.scene.detections(self._index)

    def rewind(self) -> None:
        """Go back to the first frame."""
        self._index = -1

    def close(self) -> None:
        """Nothing has to be let go."""
