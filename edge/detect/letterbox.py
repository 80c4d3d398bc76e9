"""Lays pictures into a detector's input: the one place where detection asks OpenCV for anything."""

import cv2
import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge.detect.preparation import PAD_GREY, Preparation, fit
from edge.frames import Image


class Letterbox:
    """Turns pictures of one size into a detector's input, in buffers of its own that the next call overwrites."""

    def __init__(
        self,
        source: tuple[int, int],
        size: tuple[int, int],
        preparation: Preparation | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        """Make the buffers.

        Args:
            source: Width and height of the pictures.
            size: Width and height of the input.
            preparation: How the model was trained; None is the Ultralytics family's way.
            dtype: Of the input, float32 or float16.
        """
        preparation = preparation or Preparation()
        self.fit = fit(source, size, preparation.placement)
        width, height = size
        self._canvas = np.full((height, width, 3), PAD_GREY, dtype=np.uint8)
        left, top = self.fit.left, self.fit.top
        self._inner = self._canvas[top : top + self.fit.inner[1], left : left + self.fit.inner[0]]
        self._is_whole = self.fit.inner == size
        self._planes = [np.empty((height, width), dtype=np.uint8) for _ in range(3)]
        self._tensor = np.empty((1, 3, height, width), dtype=dtype)
        # A table of 256 quotients is both exact and faster than 920 000 divisions: 0.25 ms against 0.9 ms at 640 x 480.
        self._tables = preparation.tables().astype(dtype)
        self._order = (0, 1, 2) if preparation.is_bgr else (2, 1, 0)

    def __call__(self, image: Image) -> NDArray[np.generic]:
        """Return the input for a picture.

        Args:
            image: uint8, shape (H, W, 3), BGR, of the size given to the constructor.

        Returns:
            float32 or float16, shape (1, 3, H, W), contiguous. Valid until the next call.
        """
        height, width = image.shape[:2]
        assert (width, height) == self.fit.source, (
            f"a picture of {width} x {height} came, {self.fit.source} was expected"
        )
        canvas = self._canvas
        if self.fit.inner != self.fit.source:
            cv2.resize(image, self.fit.inner, dst=self._inner, interpolation=cv2.INTER_LINEAR)
        elif self._is_whole:
            canvas = image  # it is split as it is: one copy less
        else:
            np.copyto(self._inner, image)
        cv2.split(canvas, self._planes)
        for channel, plane in enumerate(self._order):
            cv2.LUT(self._planes[plane], self._tables[channel], dst=self._tensor[0, channel])
        return self._tensor
