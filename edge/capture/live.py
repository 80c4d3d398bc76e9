"""A camera as a live source: RTSP, HTTP, HLS, USB or GStreamer.

It has one thread that reads all the time and keeps only the newest picture; whoever is slow gets fewer pictures, never
old ones. It connects for ever, with growing waits. While there is no picture it says why.

```
camera --> reader thread --> one slot --> read()
              | gone: wait (backoff with jitter), connect again; the first picture after says how long it was blind
```
"""

import threading

import cv2

from countline.backoff import Backoff
from countline.clock import Clock
from countline.errors import Unavailable
from countline.telemetry import Log, mask
from edge.capture.connect import OPEN_TIMEOUT_MS, Connection
from edge.capture.folder import to_size
from edge.capture.opencv import Capture, retrieve, sane_fps
from edge.capture.reason import Reason
from edge.frames import Frame, Image, SourceInfo

# Waits between two tries: a camera that reboots is found again within seconds.
RETRY_CAP_S = 10.0
# A camera that refuses the login is asked seldom: many lock the account after some wrong passwords.
REFUSED_WAIT_S = 60.0
# Without a picture for this long, and for some usual distances of two, a camera is blind.
BLIND_AFTER_S = 1.0
_BLIND_AFTER_FRAMES = 3
# A clock that has gone further than the time that has passed was set, or the machine was asleep: nobody watched.
CLOCK_STEP_S = 1.0
# A paced stream that is further behind than this goes on from where it is; one that is ahead is waited for, so long at most.
_PACE_SLACK_S = 5.0
# Shapes of pictures that differ by less are one: sizes are rounded to multiples of 8 or 16.
SHAPE_TOLERANCE = 0.02
# How long `close` waits for a reader that hangs in OpenCV; its thread does not keep the process from ending.
_JOIN_S = 1.0

_log = Log("capture.live")


class LiveSource:
    """A camera."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        *,
        max_fps: float = 0.0,
        size: tuple[int, int] | None = None,
        patience_s: float = OPEN_TIMEOUT_MS / 1000,
        backoff: Backoff | None = None,
    ) -> None:
        """Name the camera. Nothing is opened yet.

        Args:
            connection: How to reach it.
            clock: Stamps the pictures.
            max_fps: Pictures beyond this rate are left out; 0 takes all.
            size: Width and height that all pictures are scaled to; None: those of the first one.
            patience_s: How long one call of `open` waits for the first picture.
            backoff: Draws the waits between two tries.
        """
        self._connection = connection
        self._label = connection.label
        self._clock = clock
        self._min_distance_s = 1.0 / max_fps if max_fps > 0 else 0.0
        self._max_fps = max_fps
        self._size = size
        self._patience_s = patience_s
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
        self._pace: Pace | None = None
        self._sent_size = (0, 0)
        self._last_ms: int | None = None

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
                self._trouble = trouble.text
                self._failures += 1
                self._changed.notify_all()
            wait_s = max(self._backoff.next_delay_s(), REFUSED_WAIT_S if trouble.is_refused else 0.0)
            # A camera that is off for a night is said some times, not thousands of times.
            self._tries += 1
            if self._tries in {1, 5} or self._tries % 100 == 0:
                _log.warning(
                    "camera gone", source=self._label, reason=trouble.text, next_try_s=round(wait_s, 1)
                )
            self._closed.wait(wait_s)

    def _read_until_gone(self) -> Reason:
        """Connect and read until it fails; return what went wrong."""
        capture = self._connection.open()
        self._pace = Pace() if self._connection.is_paced else None
        first_index = self._index
        try:
            if not capture.isOpened():
                return self._connection.why_not()
            fps = sane_fps(capture.get(cv2.CAP_PROP_FPS))
            while self._grab(capture):
                captured_at_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
                if now_s < self._due_s:
                    continue
                image = retrieve(capture)
                if image is None:
                    break
                if self._index == first_index:
                    self._begin(image, fps)
                self._offer(image, captured_at_ms, now_s)
        except cv2.error as error:
            return Reason(f"{self._label} sends what can't be decoded: {mask(str(error))[:200]}")
        finally:
            capture.release()
        has_sent = self._index > first_index
        return Reason(
            f"{self._label} has stopped sending"
            if has_sent
            else f"{self._label} answers, but sends no picture"
        )

    def _grab(self, capture: Capture) -> bool:
        """Go to the next picture, in a paced stream when it is due; False if the camera is gone or we are to end."""
        began_s = self._clock.monotonic_s()
        if self._closed.is_set() or not capture.grab():
            return False
        now_s = self._clock.monotonic_s()
        if 0 < self._connection.read_timeout_s <= now_s - began_s:
            # The connection has timed out: this picture is an old one that was left in the decoder.
            return False
        if self._pace:
            self._closed.wait(self._pace.wait_s(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, now_s))
        return not self._closed.is_set()

    def _begin(self, image: Image, fps: float) -> None:
        """Note that the camera is there."""
        height, width = image.shape[:2]
        self._backoff.reset()
        self._tries = 0
        with self._changed:
            self._usual_s = 1 / fps if fps else 0.0
            if self._info is None:
                rate = min(fps, self._max_fps) if fps and self._max_fps else fps or self._max_fps
                self._info = SourceInfo(*(self._size or (width, height)), fps=rate)
        _log.info("camera sends", source=self._label, width=width, height=height, fps=fps)

    def _offer(self, image: Image, captured_at_ms: int, now_s: float) -> None:
        """Put a picture into the slot, and account for what it replaces."""
        image = self._fitted(image)
        with self._changed:
            distance_s, self._last_s = now_s - self._last_s, now_s
            is_gap = distance_s > self._blind_after_s()
            blind_ms = (
                max(0, round((distance_s - max(self._usual_s, self._min_distance_s)) * 1000)) if is_gap else 0
            )
            blind_ms += self._stepped_ms(captured_at_ms, distance_s)
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

    def _stepped_ms(self, captured_at_ms: int, distance_s: float) -> int:
        """Return how far the clock was set forward since the picture before: time in which nobody watched."""
        last_ms, self._last_ms = self._last_ms, captured_at_ms
        if last_ms is None:
            return 0
        step_ms = captured_at_ms - last_ms - round(distance_s * 1000)
        return step_ms if step_ms > CLOCK_STEP_S * 1000 else 0

    def _fitted(self, image: Image) -> Image:
        """Return a picture in the size that lines are drawn for; say it once if the camera sends another."""
        wanted, sent = (self.info.width, self.info.height), (image.shape[1], image.shape[0])
        if sent not in {wanted, self._sent_size}:
            same_shape = (
                abs(sent[0] * wanted[1] - sent[1] * wanted[0]) <= SHAPE_TOLERANCE * sent[0] * wanted[1]
            )
            _log.warning(
                "the camera sends pictures of another size; they are scaled, so that lines stay where they are"
                if same_shape
                else "the camera sends pictures of another shape; they are stretched, and lines may lie elsewhere: look at them",
                source=self._label,
                sends=f"{sent[0]}x{sent[1]}",
                counted_in=f"{wanted[0]}x{wanted[1]}",
            )
        self._sent_size = sent
        return to_size(image, wanted)


class Pace:
    """Says how long to wait for a picture that came before its time. Pure."""

    def __init__(self) -> None:
        """Begin; the first picture is due at once."""
        self._start_s = 0.0
        self._last_s: float | None = None

    def wait_s(self, place_s: float, now_s: float) -> float:
        """Return how long to wait, seconds.

        Args:
            place_s: Of the picture in the stream.
            now_s: Monotonic seconds.
        """
        last_s, self._last_s = self._last_s, place_s
        is_near = -_PACE_SLACK_S <= now_s - self._start_s - place_s <= _PACE_SLACK_S
        if last_s is None or place_s < last_s or not is_near:
            # The first one, a stream that begins anew, a hole in it, or one that was held up.
            self._start_s = now_s - place_s
        return max(0.0, self._start_s + place_s - now_s)
