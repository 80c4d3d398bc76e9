"""Plays a recording: as fast as it is read, or at its own speed as a camera would.

```
fast       frame 0, 1, 2, 3, 4 ...          every one; its time is the start plus its place in the recording
real time  due at 0 ms, 100 ms, 200 ms ...  a reader that comes late gets the newest that is due, and how many
           read   ^0      ^120     ^460       it has missed: 0, 1, 4 (dropped 2)
```
"""

import math
import threading
from collections.abc import Callable
from typing import Protocol

from countline.clock import Clock
from countline.errors import UsageError
from edge.arrays import Detections
from edge.frames import Frame, Image, SourceInfo

# A reader that comes later than this was not slow but away (a suspended machine): the recording goes on where it was.
MAX_LATE_S = 10.0
Sight = tuple[Image | None, Detections | None]
"""What there is to see at one position of a recording."""


class Reel(Protocol):
    """A recording, position by position."""

    def open(self) -> SourceInfo:
        """Open it at its beginning.

        Raises:
            UsageError: It is missing, or not what it should be.
        """
        ...

    def advance(self) -> bool:
        """Go to the next position, the first at first; False at the end."""
        ...

    def sight(self) -> Sight | None:
        """Return what there is at this position; None if it can't be read. Asked for once at most."""
        ...

    def rewind(self) -> None:
        """Go back to the beginning."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


class Player:
    """A source that plays a reel."""

    def __init__(
        self,
        reel: Reel,
        clock: Clock,
        *,
        realtime: bool,
        loop: bool = False,
        max_fps: float = 0.0,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """Take a reel. Nothing is opened yet.

        Args:
            reel: What to play.
            clock: Says what time it is.
            realtime: Play at its own speed; else as fast as it is read.
            loop: Begin again at the end; the frames' index goes on.
            max_fps: Leave out frames beyond this rate; 0 takes all.
            wait: Sleeps for seconds, less if the source is closed; for tests.
        """
        self._reel = reel
        self._clock = clock
        self._realtime = realtime
        self._loop = loop
        self._max_fps = max_fps
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._info: SourceInfo | None = None
        self._index = -1
        self._start_ms = 0
        self._start_s: float | None = None
        self._blind_ms = 0
        self._finished = False

    @property
    def info(self) -> SourceInfo:
        """What is known of it."""
        assert self._info is not None, "open it first"
        return self._info

    @property
    def is_finished(self) -> bool:
        """True after its last frame."""
        return self._finished

    def open(self) -> SourceInfo:
        """Open the reel; see `FrameSource.open`."""
        known = self._reel.open()
        assert known.fps > 0
        self._info = SourceInfo(
            width=known.width,
            height=known.height,
            fps=min(known.fps, self._max_fps or known.fps),
            frame_count=None if self._loop else known.frame_count,
            class_names=known.class_names,
            counts_exactly=known.counts_exactly,
        )
        self._fps = known.fps
        self._start_ms = self._clock.now_ms()
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, or in real time the newest that is due; see `FrameSource.read`."""
        if self._finished or self._closed.is_set():
            return None
        target = self._next_wanted(self._index + 1)
        if self._realtime:
            late_s = self._until_due(target, timeout_s)
            if late_s is None:
                return None
            target = self._newest_due(target, late_s)
        return self._play(target)

    def _until_due(self, index: int, timeout_s: float) -> float | None:
        """Wait until a frame is due; return how late we are, or None if the time is up before."""
        now_s = self._clock.monotonic_s()
        if self._start_s is None:
            self._start_s = now_s  # the recording starts when somebody first looks
        late_s = now_s - self._start_s - index / self._fps
        if late_s < 0:
            self._wait(min(-late_s, timeout_s))
            late_s = self._clock.monotonic_s() - self._start_s - index / self._fps
        # A wait may end a hair early; half a millisecond is nothing to a frame.
        return late_s if late_s >= -0.0005 and not self._closed.is_set() else None

    def _newest_due(self, index: int, late_s: float) -> int:
        assert self._start_s is not None
        if late_s > MAX_LATE_S:
            self._start_s += late_s
            self._blind_ms = round(late_s * 1000)
            return index
        newest = index + int((late_s + 1e-9) * self._fps)
        if self.info.frame_count is not None:  # however late: its last frame is seen
            newest = max(index, min(newest, self.info.frame_count - 1))
        while not self._is_wanted(newest):
            newest -= 1
        return max(index, newest)

    def _play(self, target: int) -> Frame | None:
        dropped = -1
        while True:
            if not self._advance():
                self._finished = True
                return None
            dropped += self._is_wanted(self._index)
            if self._index < target:
                continue
            seen = self._reel.sight()
            if seen is not None:
                break
            target += 1  # this picture is damaged: the next one has to do
        blind_ms, self._blind_ms = self._blind_ms, 0
        image, detections = seen
        return Frame(self._index, self._captured_at_ms(), image, detections, max(0, dropped), blind_ms)

    def _advance(self) -> bool:
        if not self._reel.advance():
            if not self._loop:
                return False
            self._reel.rewind()
            if not self._reel.advance():
                raise UsageError(
                    "the recording can't be played again from its beginning: is its file still there?"
                )
        self._index += 1
        return True

    def _captured_at_ms(self) -> int:
        place_s = self._index / self._fps
        if self._start_s is None:
            return self._start_ms + round(place_s * 1000)
        late_s = self._clock.monotonic_s() - (self._start_s + place_s)
        return self._clock.now_ms() - max(0, round(late_s * 1000))

    def _next_wanted(self, index: int) -> int:
        while not self._is_wanted(index):
            index += 1
        return index

    def _is_wanted(self, index: int) -> bool:
        """Say whether a frame belongs to the even selection that `max_fps` leaves."""
        if index == 0 or not 0 < self._max_fps < self._fps:
            return True
        share = self._max_fps / self._fps
        return math.floor(index * share + 1e-9) > math.floor((index - 1) * share + 1e-9)

    def close(self) -> None:
        """Let the reel go, and wake a reader that waits."""
        self._closed.set()
        self._reel.close()
