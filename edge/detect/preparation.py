"""How a picture is laid into a detector's input: pure geometry and facts, one `Preparation` per family of models.

```
+------------------+   source 768 x 576 (BGR, uint8)        +--------------+   input 640 x 640
|                  |   --- scale 640/768, centred ------->  |::::::::::::::|   grey 114
|                  |                                        |   picture    |   RGB / 255, float32, 1 x 3 x H x W
+------------------+                                        |::::::::::::::|
                                                            +--------------+
```
"""

import enum
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes

PAD_GREY = 114


class Placement(enum.Enum):
    """Where the picture comes to lie in an input of another shape."""

    CENTRED = "scaled evenly, in the middle"
    TOP_LEFT = "scaled evenly, in the upper left corner"
    STRETCHED = "each side scaled for itself, no padding"


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a family of models was trained on.

    Attributes:
        placement: Where the picture lies.
        is_bgr: Whether its channels come in OpenCV's order; else red first.
        divisor: Pixels of 0 to 255 are divided by it.
        mean: Subtracted after that, per channel in the input's order.
        deviation: And divided by this.
    """

    placement: Placement = Placement.CENTRED
    is_bgr: bool = False
    divisor: float = 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def tables(self) -> NDArray[np.float32]:
        """Return what each pixel value becomes: float32, shape (3, 256), by channel of the input."""
        values = np.arange(256, dtype=np.float32) / np.float32(self.divisor)
        mean, deviation = (np.array(row, dtype=np.float32)[:, None] for row in (self.mean, self.deviation))
        return (values[None] - mean) / deviation


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a picture lies within a detector's input.

    Attributes:
        source: Width and height of the picture.
        size: Width and height of the input.
        scale: Input pixels per source pixel, across and down.
        inner: Width and height of the scaled picture within the input.
        left: Grey columns on its left.
        top: Grey rows above it.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    inner: tuple[int, int]
    left: int
    top: int

    def to_source(self, boxes: Boxes) -> Boxes:
        """Return boxes of input pixels in pixels of the source, cut to the picture.

        Args:
            boxes: Shape (N, 4), x1, y1, x2, y2.
        """
        offset = np.array([self.left, self.top, self.left, self.top], dtype=np.float32)
        limit = np.array([*self.source, *self.source], dtype=np.float32)
        moved = (boxes - offset) / np.array([*self.scale, *self.scale], dtype=np.float32)
        return np.clip(moved, np.float32(0), limit, dtype=np.float32)

    def to_input(self, boxes: Boxes) -> Boxes:
        """Return boxes of source pixels in pixels of the input: the inverse of `to_source` within the picture."""
        offset = np.array([self.left, self.top, self.left, self.top], dtype=np.float32)
        return boxes * np.array([*self.scale, *self.scale], dtype=np.float32) + offset


def fit(source: tuple[int, int], size: tuple[int, int], placement: Placement = Placement.CENTRED) -> Fit:
    """Return how a picture is fitted into an input of a given size.

    Args:
        source: Width and height of the picture, pixels, 1 or more.
        size: Width and height of the input, pixels.
        placement: Where it comes to lie.
    """
    (width, height), (into_width, into_height) = source, size
    if placement is Placement.STRETCHED:
        return Fit(source, size, (into_width / width, into_height / height), inner=size, left=0, top=0)
    scale = min(into_width / width, into_height / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    if placement is Placement.TOP_LEFT:
        return Fit(source, size, (scale, scale), inner, left=0, top=0)
    # An odd pixel of padding goes to the right and to the bottom, as in training: 0.1 breaks the tie.
    left = max(0, round((into_width - inner[0]) / 2 - 0.1))
    top = max(0, round((into_height - inner[1]) / 2 - 0.1))
    return Fit(source, size, (scale, scale), inner, left, top)


def snug_size(source: tuple[int, int], within: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the smallest input that holds a picture scaled to fit `within`, for models that take any size.

    A picture of 768 x 576 within 640 x 640 needs 640 x 480: a quarter of the work is not spent on grey.

    Args:
        source: Width and height of the picture, pixels.
        within: Width and height that the scaled picture must not exceed.
        stride: Both sides become multiples of it.
    """
    inner = fit(source, within).inner
    width, height = (math.ceil(side / stride) * stride for side in inner)
    return width, height
