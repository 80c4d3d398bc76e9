"""What is used of OpenCV's video capture, and how its pictures come out of it: for files and for cameras."""

import math
from typing import Protocol

import cv2
import numpy as np

from countline.config import set_default_environment
from edge.frames import Image


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:  # noqa: D102, N802 - OpenCV's name
        ...

    def grab(self) -> bool:  # noqa: D102
        ...

    def retrieve(self) -> tuple[bool, object]:  # noqa: D102
        ...

    def get(self, propId: int, /) -> float:  # noqa: D102, N803
        ...

    def release(self) -> None:  # noqa: D102
        ...


def retrieve(capture: Capture) -> Image | None:
    """Return the picture that was grabbed, as BGR in an array of its own; None if it can't be decoded."""
    is_there, image = capture.retrieve()
    if not is_there or not isinstance(image, np.ndarray) or image.size == 0:
        return None
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image  # pyright: ignore[reportReturnType]


def sane_fps(fps: float) -> float:
    """Return the rate, or 0 if it is none: some cameras say 90000."""
    return fps if math.isfinite(fps) and 0.1 <= fps <= 240 else 0.0


def hush() -> None:
    """Keep OpenCV from writing to standard error: we say in our own words what is wrong, and never a login."""
    # FFmpeg itself writes to the terminal too.
    set_default_environment("OPENCV_FFMPEG_LOGLEVEL", "-8")
    log = getattr(cv2.utils, "logging", None)  # OpenCV 5 has moved it
    if log is not None:
        log.setLogLevel(log.LOG_LEVEL_SILENT)
    else:
        cv2.setLogLevel(0)  # pyright: ignore[reportAttributeAccessIssue] - OpenCV 4
