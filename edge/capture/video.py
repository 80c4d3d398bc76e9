"""Video through OpenCV: a file as a recording, and a camera (RTSP, HTTP, USB) as a live source.

A live source has one thread that reads all the time and keeps only the newest picture; whoever is slow gets fewer
pictures, never old ones. It connects for ever, with growing waits. While there is no picture it says why.

```
camera --> reader thread --> one slot --> read()
              | gone: wait (backoff with jitter), connect again; the first picture after says how long it was blind
```
"""

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from countline.backoff import Backoff
from countline.clock import Clock
from countline.config import set_default_environment
from countline.errors import Unavailable, UsageError
from countline.telemetry import Log, mask
from edge.capture.folder import to_size
from edge.capture.player import Sight
from edge.frames import Frame, Image, SourceInfo

DEFAULT_FPS = 25.0
# These keep a number of frames; of other files OpenCV estimates it, which is far off if the rate varies.
COUNTING_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})
# Longer than a camera's worst distance of key frames, shorter than anyone's patience.
OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 5_000
# Waits between two tries: a camera that reboots is found again within seconds.
RETRY_CAP_S = 10.0
# Without a picture for this long, and for some usual distances of two, a camera is blind.
BLIND_AFTER_S = 1.0
_BLIND_AFTER_FRAMES = 3
# How long `close` waits for a reader that hangs in OpenCV; its thread does not keep the process from ending.
_JOIN_S = 1.0

_log = Log("capture.video")


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

    def open(self) -> SourceInfo:
        """Open the file and look at its first frame; see `Reel.open`."""
        if not self._path.is_file():
            raise UsageError(f"the video {self._path} does not exist.")
        self.rewind()
        assert self._capture is not None
        self._first = _retrieve(self._capture) if self._capture.grab() else None
        if self._first is None:
            self.close()
            raise UsageError(f"{self._path} is not a video that can be read, or a damaged one.")
        fps = _sane_fps(self._capture.get(cv2.CAP_PROP_FPS)) or self._fallback_fps
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self._frame_count = round(count) if math.isfinite(count) and 0 < count < 1 << 40 else None
        return SourceInfo(
            self._first.shape[1],
            self._first.shape[0],
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
        """Return the frame; None if it is damaged."""
        assert self._capture is not None
        image, self._first = self._first, None
        image = image if image is not None else _retrieve(self._capture)
        return None if image is None else (image, None)

    def rewind(self) -> None:
        """Open the file again: seeking in it is not exact with every format."""
        self.close()
        _hush()
        self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        self._position = -1

    def close(self) -> None:
        """Close the file."""
        self._first = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def open_capture(source: str) -> Capture:
    """Open a camera, with time-outs. RTSP goes over TCP first: over UDP, lost packets become grey smears.

    Args:
        source: An address, a number, or a path such as /dev/video0.
    """
    _hush()
    if source.isdigit() or source.startswith("/dev/"):
        device = int(source) if source.isdigit() else source
        capture = cv2.VideoCapture(device, cv2.CAP_ANY)  # pyright: ignore[reportArgumentType] - both are right
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
    # Naming FFmpeg keeps OpenCV from trying other ways, one of which prints the address with its login. Without
    # options in the environment OpenCV asks FFmpeg to prefer TCP.
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_TIMEOUT_MS,
    ]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


class LiveSource:
    """A camera."""

    def __init__(
        self,
        source: str,
        clock: Clock,
        *,
        max_fps: float = 0.0,
        patience_s: float = OPEN_TIMEOUT_MS / 1000,
        opener: Callable[[str], Capture] = open_capture,
        backoff: Backoff | None = None,
    ) -> None:
        """Name the camera. Nothing is opened yet.

        Args:
            source: See `open_capture`.
            clock: Stamps the pictures.
            max_fps: Pictures beyond this rate are left out; 0 takes all.
            patience_s: How long one call of `open` waits for the first picture.
            opener: Opens the camera; for tests.
            backoff: Draws the waits between two tries.
        """
        self._source = source
        self._label = mask(source)
        self._clock = clock
        self._min_distance_s = 1.0 / max_fps if max_fps > 0 else 0.0
        self._max_fps = max_fps
        self._patience_s = patience_s
        self._opener = opener
        self._backoff = backoff or Backoff(cap_s=RETRY_CAP_S)
        self._closed = threading.Event()
        # Everything below is guarded by this condition's lock; the reader thread notifies.
        self._changed = threading.Condition()
        self._info: SourceInfo | None = None
        self._slot: Frame | None = None
        self._trouble = ""
        self._failures = 0
        self._index = -1
        self._last_s = clock.monotonic_s()
        self._thread: threading.Thread | None = None
        # Of the reader thread alone.
        self._tries = 0
        self._usual_s = 0.0
        self._due_s = 0.0

    @property
    def info(self) -> SourceInfo:
        """What is known of it."""
        assert self._info is not None, "open it first"
        return self._info

    @property
    def is_finished(self) -> bool:
        """Return False: a camera has no end."""
        return False

    def open(self) -> SourceInfo:
        """Wait for the camera's first picture; see `FrameSource.open`.

        The reader goes on connecting after a failure: call it again, as often as you like.

        Raises:
            Unavailable: It does not answer yet.
        """
        with self._changed:
            if self._thread is None:
                self._last_s = self._clock.monotonic_s()
                self._thread = threading.Thread(
                    target=self._read_for_ever, name=f"camera {self._label}", daemon=True
                )
                self._thread.start()
            failures = self._failures
            self._changed.wait_for(
                lambda: self._info is not None or self._failures > failures or self._closed.is_set(),
                timeout=self._patience_s,
            )
            if self._info is None:
                raise Unavailable(self._trouble or f"{self._label} does not answer yet")
            return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest picture that was not returned yet; see `FrameSource.read`.

        Raises:
            Unavailable: None came within `timeout_s`, and the camera is gone or hangs.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._closed.is_set(), timeout=timeout_s)
            frame, self._slot = self._slot, None
            if frame is not None or self._closed.is_set():
                return frame
            if self._trouble:
                raise Unavailable(self._trouble)
            silent_s = self._clock.monotonic_s() - self._last_s
            if silent_s > self._blind_after_s():
                raise Unavailable(f"{self._label} sends no picture for {silent_s:.0f} s")
            return None

    def close(self) -> None:
        """Let the camera go."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _blind_after_s(self) -> float:
        return max(BLIND_AFTER_S, _BLIND_AFTER_FRAMES * max(self._usual_s, self._min_distance_s))

    def _read_for_ever(self) -> None:
        while not self._closed.is_set():
            trouble = self._read_until_gone()
            if self._closed.is_set():
                return
            with self._changed:
                self._trouble = trouble
                self._failures += 1
                self._changed.notify_all()
            wait_s = self._backoff.next_delay_s()
            # A camera that is off for a night is said some times, not thousands of times.
            self._tries += 1
            if self._tries in {1, 5} or self._tries % 100 == 0:
                _log.warning("camera gone", source=self._label, reason=trouble, next_try_s=round(wait_s, 1))
            self._closed.wait(wait_s)

    def _read_until_gone(self) -> str:
        """Connect and read until it fails; return what went wrong."""
        capture = self._opener(self._source)
        frames = 0
        try:
            if not capture.isOpened():
                return f"{self._label} does not answer: is it on, and are address, user and password right?"
            fps = _sane_fps(capture.get(cv2.CAP_PROP_FPS))
            while not self._closed.is_set() and capture.grab():
                captured_at_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
                if now_s < self._due_s:
                    continue
                image = _retrieve(capture)
                if image is None:
                    break
                frames += 1
                if frames == 1:
                    self._begin(image, fps)
                self._offer(image, captured_at_ms, now_s)
        except cv2.error as error:
            return f"{self._label} sends what can't be decoded: {mask(str(error))[:200]}"
        finally:
            capture.release()
        return (
            f"{self._label} has stopped sending" if frames else f"{self._label} answers, but sends no picture"
        )

    def _begin(self, image: Image, fps: float) -> None:
        """Note that the camera is there."""
        height, width = image.shape[:2]
        self._backoff.reset()
        self._tries = 0
        with self._changed:
            self._usual_s = 1 / fps if fps else 0.0
            if self._info is None:
                rate = min(fps, self._max_fps) if fps and self._max_fps else fps or self._max_fps
                self._info = SourceInfo(width, height, fps=rate)
        if (width, height) != (self._info.width, self._info.height):
            _log.warning(
                "camera has changed the size of its pictures; they are scaled to the first size",
                source=self._label,
                now=f"{width}x{height}",
                first=f"{self._info.width}x{self._info.height}",
            )
        _log.info("camera sends", source=self._label, width=width, height=height, fps=fps)

    def _offer(self, image: Image, captured_at_ms: int, now_s: float) -> None:
        """Put a picture into the slot, and account for what it replaces."""
        image = to_size(image, (self.info.width, self.info.height))
        with self._changed:
            distance_s, self._last_s = now_s - self._last_s, now_s
            is_gap = distance_s > self._blind_after_s()
            blind_ms = (
                max(0, round((distance_s - max(self._usual_s, self._min_distance_s)) * 1000)) if is_gap else 0
            )
            left_out = self._slot
            if left_out is not None:
                blind_ms += left_out.blind_ms
            self._index += 1
            dropped = 0 if left_out is None else left_out.dropped + 1
            self._slot = Frame(self._index, captured_at_ms, image, None, dropped, blind_ms)
            self._trouble = ""
            self._changed.notify_all()
        # An even rhythm, not a distance after each: 25 pictures a second at most 10 are 10, not 8.3.
        self._due_s = max(self._due_s, now_s - self._min_distance_s) + self._min_distance_s


def _retrieve(capture: Capture) -> Image | None:
    """Return the picture that was grabbed, as BGR in an array of its own; None if it can't be decoded."""
    is_there, image = capture.retrieve()
    if not is_there or not isinstance(image, np.ndarray) or image.size == 0:
        return None
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image  # pyright: ignore[reportReturnType]


def _sane_fps(fps: float) -> float:
    """Return the rate, or 0 if it is none: some cameras say 90000."""
    return fps if math.isfinite(fps) and 0.1 <= fps <= 240 else 0.0


def _hush() -> None:
    """Keep OpenCV from writing to standard error: we say in our own words what is wrong, and never a login."""
    # FFmpeg itself writes to the terminal too.
    set_default_environment("OPENCV_FFMPEG_LOGLEVEL", "-8")
    log = getattr(cv2.utils, "logging", None)  # OpenCV 5 has moved it
    if log is not None:
        log.setLogLevel(log.LOG_LEVEL_SILENT)
    else:
        cv2.setLogLevel(0)  # pyright: ignore[reportAttributeAccessIssue] - OpenCV 4
