"""A video file as a recording, through OpenCV."""

import math
from pathlib import Path

import cv2

from countline.errors import UsageError
from countline.telemetry import Log
from edge.capture.folder import to_size
from edge.capture.opencv import Capture, hush, retrieve, sane_fps
from edge.capture.player import Sight
from edge.frames import Image, SourceInfo

DEFAULT_FPS = 25.0
# These keep a number of frames; of other files OpenCV estimates it, which is far off if the rate varies.
COUNTING_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})

_log = Log("capture.video")


class VideoReel:
    """A video file as a recording."""

    def __init__(self, path: Path, fps: float = 0.0) -> None:
        """Name the file.

        Args:
            path: The video.
            fps: Its rate if the file does not say; 0 is `DEFAULT_FPS`.
        """
        self._path = path
        self._fallback_fps = fps or DEFAULT_FPS
        self._capture: Capture | None = None
        self._first: Image | None = None
        self._position = -1
        self._frame_count: int | None = None
        self._size = (0, 0)

    def open(self) -> SourceInfo:
        """Open the file and look at its first frame; see `Reel.open`."""
        if not self._path.is_file():
            raise UsageError(f"the video {self._path} does not exist.")
        self.rewind()
        assert self._capture is not None
        self._first = retrieve(self._capture) if self._capture.grab() else None
        if self._first is None:
            self.close()
            raise UsageError(f"{self._path} is not a video that can be read, or a damaged one.")
        fps = sane_fps(self._capture.get(cv2.CAP_PROP_FPS)) or self._fallback_fps
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._frame_count = round(count) if math.isfinite(count) and 0 < count < 1 << 40 else None
        self._size = self._first.shape[1], self._first.shape[0]
        return SourceInfo(
            *self._size,
            fps=fps,
            frame_count=self._frame_count,
            counts_exactly=self._path.suffix.lower() in COUNTING_SUFFIXES,
        )

    def advance(self) -> bool:
        """Go to the next frame."""
        assert self._capture is not None
        if self._position < 0 and self._first is not None:
            self._position = 0  # `open` is there already
            return True
        self._first = None
        if self._capture.grab():
            self._position += 1
            return True
        if self._frame_count is not None and self._position + 1 < self._frame_count:
            # Some headers promise a frame or two too many; a file cut in the middle looks the same, only worse.
            _log.info(  # whoever plays it says how far it came
                "video ends before its header says",
                path=self._path,
                frames=self._position + 1,
                said=self._frame_count,
            )
        return False

    def sight(self) -> Sight | None:
        """Return the frame, in the size of the first one; None if it is damaged."""
        assert self._capture is not None
        image, self._first = self._first, None
        image = image if image is not None else retrieve(self._capture)
        return None if image is None else (to_size(image, self._size), None)

    def rewind(self) -> None:
        """Open the file again: seeking in it is not exact with every format."""
        self.close()
        hush()
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        self._position = -1

    def close(self) -> None:
        """Close the file."""
        self._first = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None
