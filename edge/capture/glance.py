"""Makes a glance of a picture."""

import cv2

from edge.evidence.glance import HEIGHT, WIDTH, Glance
from edge.frames import Image

# Pixels that are looked at per cell, along each side: enough to average noise out, few enough to cost next to nothing.
_PER_CELL = 3


def glance(image: Image) -> Glance:
    """Return a glance of a picture; the picture may be overwritten afterwards.

    Green stands for brightness: it has most of it, and one channel is a third of the work.

    Args:
        image: uint8, shape (H, W, 3), BGR.
    """
    sparse = cv2.resize(image, (WIDTH * _PER_CELL, HEIGHT * _PER_CELL), interpolation=cv2.INTER_NEAREST)
    green = cv2.extractChannel(sparse, 1)
    grey = cv2.resize(green, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return Glance(grey, green[::_PER_CELL, ::_PER_CELL].ravel())  # pyright: ignore[reportArgumentType] - uint8 stays uint8
