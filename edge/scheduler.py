"""One detector for all cameras of a device, in a thread of its own.

```
camera A  reader --> | waiting | --+                       +--> | seen | --> counts, keeps, shows
camera B  reader --> | waiting | --+--> detector, by turns +--> | seen | --> counts, keeps, shows
```

Each camera has a lane with one place per step. So the next picture is read and the last one counted while the
detector looks at one, and the wait of no camera grows with another's: a reader that hangs leaves its place empty, and
a count that is slow leaves its picture lying, and only its own. A picture that has to wait gives way to a newer one of
its camera; it is counted as dropped.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from countline.clock import Clock
from countline.telemetry import Log
from edge.arrays import Detections
from edge.fairness import Governor, is_taken, next_turns
from edge.frames import Frame, Image

# A source answers within this, or says that it is blind.
READ_TIMEOUT_S = 0.5
# A source that does not even say so hangs: a dead network drive, a driver that has lost its device.
HANGS_AFTER_S = 3.0
# How often it is judged whether the machine keeps up.
JUDGE_EVERY_S = 1.0
_JOIN_S = 1.0
# A source that has left out more by itself is so slow that its next picture is wanted in any case.
MAX_SKIPPED = 1_000

_log = Log("edge.scheduler")

Look = Callable[[Sequence[Image]], Sequence[Detections]]
"""Detects on pictures, which may differ in size."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture, and what was seen on it."""

    frame: Frame
    detections: Detections


@dataclass(frozen=True, slots=True)
class Blind:
    """There is no picture, and why."""

    reason: str


class Lane:
    """The way of one camera's pictures through the detector. Made by `Scheduler.lane`."""

    def __init__(self, scheduler: "Scheduler", name: str, *, is_live: bool) -> None:
        """See `Scheduler.lane`."""
        self.name = name
        self.is_live = is_live
        self._scheduler = scheduler
        # All below is guarded by the scheduler's lock.
        self._changed = threading.Condition(scheduler.lock)
        self._waiting: Frame | None = None
        self._since_s = 0.0
        self._is_looked_at = False
        self._seen: Seen | None = None
        self._trouble = ""
        self._reads_since_s: float | None = None
        self._is_finished = False
        self._error: BaseException | None = None
        # Left out since the last picture that was not: how many, and the blind time that they told of.
        self._dropped = 0
        self._blind_ms = 0
        self._share = 1.0
        # How many pictures came, those that the reader has lost included. A recording's own numbers don't say it: its
        # `max_fps` leaves out pictures that nobody was to look at.
        self._came = 0
        # Of these, how many would have needed the detector; and how many since the last that was not left out.
        self._arrived = 0
        self._left_out = 0

    @property
    def share(self) -> float:
        """Which share of the pictures is taken; 1 unless the machine is too slow."""
        return self._share

    @property
    def note(self) -> str:
        """What a person should know of it; mostly empty."""
        if self._share == 1.0:
            return ""
        return f"the machine cannot keep up: {self._share:.0%} of the pictures are counted"

    # Called by the camera's reader.

    def reads(self) -> None:
        """Say that the source is being asked, so that one that never answers is noticed."""
        with self._scheduler.lock:
            self._reads_since_s = self._scheduler.clock.monotonic_s()

    def wants(self, frame: Frame) -> bool:
        """Say whether a picture belongs to the even selection that the machine manages; if not it is dropped."""
        with self._scheduler.lock:
            self._answered()
            # One of those since the last picture belongs to the selection: the reader may have lost some by itself.
            newest = self._came + frame.dropped
            first = max(self._came, newest - MAX_SKIPPED)
            is_wanted = any(is_taken(number, self._share) for number in range(newest, first - 1, -1))
            self._came = newest + 1
            if not is_wanted:
                self._left_out += frame.dropped + 1
                self._drop(frame)
            return is_wanted

    def offer(self, frame: Frame, wait_s: float = 0.0) -> bool:
        """Bring a picture. One that brings its detections needs no detector, but keeps its place in the order.

        Args:
            frame: The picture.
            wait_s: Of a recording no picture may be lost: how long to wait for the one before to be taken.

        Returns:
            False if the one before still waits, and the picture was not taken.
        """
        with self._scheduler.lock:
            if not self.is_live and not self._changed.wait_for(lambda: self._waiting is None, wait_s):
                return False
            if self._waiting is not None:
                self._drop(self._waiting)
            else:
                self._since_s = self._scheduler.clock.monotonic_s()
            if frame.detections is None:
                self._arrived += self._left_out + frame.dropped + 1
            self._left_out = 0
            if self._dropped or self._blind_ms:
                frame = replace(
                    frame, dropped=frame.dropped + self._dropped, blind_ms=frame.blind_ms + self._blind_ms
                )
                self._dropped = self._blind_ms = 0
            self._waiting = frame
            self._wake()
            return True

    def blind(self, reason: str) -> None:
        """Say that there is no picture, until the next one comes."""
        with self._scheduler.lock:
            self._reads_since_s = None
            self._trouble = reason

    def idle(self) -> None:
        """Say that the source has answered without a picture, and that nothing is wrong with it."""
        with self._scheduler.lock:
            self._reads_since_s = None

    def finish(self, error: BaseException | None = None) -> None:
        """Say that no picture will come any more."""
        with self._scheduler.lock:
            self._is_finished = True
            self._error = self._error or error
            self._reads_since_s = None
            self._changed.notify_all()

    # Called by the camera's counter.

    @property
    def is_finished(self) -> bool:
        """True once no picture will come any more, and all that came are taken."""
        with self._scheduler.lock:
            return self._is_finished and self._is_empty() and self._error is None

    def take(self, timeout_s: float) -> Seen | Blind | None:
        """Return the next picture that has been looked at, or why there is none; None if there is nothing to say.

        Raises:
            BaseException: What went wrong in the reader or in the detector.
        """
        with self._scheduler.lock:
            self._changed.wait_for(self._has_news, timeout_s)
            if self._error is not None:
                raise self._error
            seen, self._seen = self._seen, None
            if seen is None and self._is_ready():
                assert self._waiting is not None
                assert self._waiting.detections is not None
                seen, self._waiting = Seen(self._waiting, self._waiting.detections), None
            if seen is not None:
                self._wake()
                return seen
            if not self._is_empty() or self._is_finished:
                return None
            return self._blindness()

    # With the lock held.

    def _has_news(self) -> bool:
        is_over = self._is_finished and self._is_empty()
        return self._seen is not None or self._is_ready() or self._error is not None or is_over

    def _is_empty(self) -> bool:
        return self._waiting is None and self._seen is None and not self._is_looked_at

    def _is_ready(self) -> bool:
        """Say whether the waiting picture needs no detector and is next."""
        waits = self._waiting
        return waits is not None and waits.detections is not None and not self._is_looked_at

    def _blindness(self) -> Blind | None:
        if self._trouble:
            return Blind(self._trouble)
        if self._reads_since_s is None:
            return None
        silent_s = self._scheduler.clock.monotonic_s() - self._reads_since_s
        return (
            Blind(f"the source hangs: no answer for {silent_s:.0f} s") if silent_s > HANGS_AFTER_S else None
        )

    def _answered(self) -> None:
        self._reads_since_s = None
        self._trouble = ""

    def _drop(self, frame: Frame) -> None:
        self._dropped += frame.dropped + 1
        self._blind_ms += frame.blind_ms

    def _wake(self) -> None:
        self._changed.notify_all()
        self._scheduler.work.notify()

    # Called by the scheduler, with the lock held.

    def waits_since(self) -> float | None:
        """Return since when a picture has waited for the detector; None if none does, or the last is not taken."""
        waits = self._waiting
        if waits is None or waits.detections is not None or self._is_looked_at or self._seen is not None:
            return None
        return self._since_s

    def begin(self) -> Frame:
        """Hand over the waiting picture."""
        frame, self._waiting = self._waiting, None
        assert frame is not None
        self._is_looked_at = True
        self._changed.notify_all()
        return frame

    def done(self, outcome: Seen | BaseException) -> None:
        """Put down what was seen, or what went wrong."""
        self._is_looked_at = False
        if isinstance(outcome, Seen):
            self._seen = outcome
        else:
            self._error = outcome
        self._changed.notify_all()

    def arrived(self) -> int:
        """Return how many pictures have needed the detector since the last call."""
        arrived, self._arrived = self._arrived, 0
        return arrived

    def set_share(self, share: float) -> None:
        """Take a share of the pictures."""
        self._share = share


class Scheduler:
    """The detector of a device, and the lanes of its cameras."""

    def __init__(self, look: Look | None, clock: Clock, *, most: int = 1) -> None:
        """Take the detector. Make the lanes, then `start`.

        Args:
            look: The detector; None if every camera brings its own detections.
            clock: Measures it.
            most: Pictures that it looks at together.
        """
        self.lock = threading.Lock()
        self.work = threading.Condition(self.lock)
        self.clock = clock
        self._look = look
        self._most = most
        self._lanes: dict[str, Lane] = {}
        self._governor = Governor()
        self._wanted_fps: dict[str, float] = {}
        self._is_closed = False
        self._busy_s = 0.0
        self._looked = 0
        self._service_s = 0.0
        self._judged_s = clock.monotonic_s()
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)

    def lane(self, name: str, *, is_live: bool) -> Lane:
        """Make the lane of a camera.

        Args:
            name: Of the camera.
            is_live: A newer picture replaces one that waits; else the newer one waits, so that none is lost.
        """
        lane = Lane(self, name, is_live=is_live)
        with self.lock:
            self._lanes[name] = lane
        return lane

    def start(self) -> None:
        """Begin to look."""
        if self._look is not None:
            self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        with self.lock:
            self._is_closed = True
            self.work.notify_all()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        while True:
            turn = self._next()
            if not turn:
                return
            began_s = self.clock.monotonic_s()
            outcomes = self._looked_at([frame for _, frame in turn])
            with self.lock:
                now_s = self.clock.monotonic_s()
                self._busy_s += now_s - began_s
                self._looked += len(turn)
                for (lane, _), outcome in zip(turn, outcomes, strict=True):
                    lane.done(outcome)
                self._judge(now_s)

    def _next(self) -> list[tuple[Lane, Frame]]:
        """Wait for pictures; return those whose turn it is, none when the scheduler is closed."""
        with self.lock:
            while not self._is_closed:
                waiting = {
                    name: since
                    for name, lane in self._lanes.items()
                    if (since := lane.waits_since()) is not None
                }
                if waiting:
                    return [
                        (self._lanes[name], self._lanes[name].begin())
                        for name in next_turns(waiting, self._most)
                    ]
                self.work.wait()
            return []

    def _looked_at(self, frames: Sequence[Frame]) -> Sequence[Seen | BaseException]:
        assert self._look is not None
        try:
            images = [frame.image for frame in frames if frame.image is not None]
            found = self._look(images)
            return [Seen(frame, detections) for frame, detections in zip(frames, found, strict=True)]
        except BaseException as error:  # noqa: BLE001 - carried to the camera's thread, which raises it
            return [error] * len(frames)

    def _judge(self, now_s: float) -> None:
        """Find out whether the machine keeps up, and leave out pictures evenly if not."""
        elapsed_s = now_s - self._judged_s
        if elapsed_s < JUDGE_EVERY_S:
            return
        self._judged_s = now_s
        service_s = self._busy_s / self._looked
        self._service_s = (self._service_s + service_s) / 2 if self._service_s else service_s
        self._busy_s, self._looked = 0.0, 0
        for name, lane in self._lanes.items():
            fps, before = lane.arrived() / elapsed_s, self._wanted_fps.get(name)
            self._wanted_fps[name] = fps if before is None else (before + fps) / 2
        live = {name: fps for name, fps in self._wanted_fps.items() if self._lanes[name].is_live}
        if self._governor.judge(now_s, live, self._service_s):
            self._pace(live)

    def _pace(self, wanted_fps: dict[str, float]) -> None:
        for name, fps in wanted_fps.items():
            lane, share = self._lanes[name], self._governor.share(name)
            before = lane.share
            lane.set_share(share)
            told = {"camera": name, "brings_fps": round(fps, 1), "counted_fps": round(fps * share, 1)}
            if before == 1.0 and share < 1.0:
                _log.warning("the machine cannot keep up; pictures are left out evenly", **told)
            elif share == 1.0 and before < 1.0:
                _log.info("the machine keeps up again; every picture is counted", **told)
