"""Plays a detection log: as fast as it is read with the times at which it was recorded, or at its own speed as a camera would."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from countline.clock import Clock
from countline.errors import UsageError
from edge.arrays import Detections
from edge.capture.detlog import SUFFIX, Header, Seen, Span, read_blocks, read_header, read_spans
from edge.frames import Frame, SourceInfo

DEFAULT_FPS = 10.0
# A gap in a recording, such as a night without a camera, is waited for so long at most.
MAX_GAP_MS = 10_000
# A reader that comes later than this was away: the recording goes on where it was.
MAX_LATE_S = 10.0


class DetlogSource:
    """A source that plays a detection log: one file, or all files of a folder in the order of their names."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        realtime: bool,
        loop: bool = False,
        max_fps: float = 0.0,
    ) -> None:
        """Name the log. Nothing is opened yet.

        Args:
            path: A file, or a folder of files.
            clock: Paces and stamps the frames in real time.
            realtime: Play at its own speed; else as fast as it is read, with the recorded times.
            loop: Begin again at the end; index and time go on.
            max_fps: Leave out frames beyond this rate; 0 takes all.
        """
        self._path = path
        self._clock = clock
        self._realtime = realtime
        self._loop = loop
        self._min_distance_ms = 1000 / max_fps if max_fps > 0 else 0.0
        self._max_fps = max_fps
        self._closed = threading.Event()
        self._info: SourceInfo | None = None
        self._files: list[Path] = []
        self._frames: Iterator[Seen] = iter(())
        self._next: Seen | None = None
        self._index = -1
        self._finished = False
        self._start_s: float | None = None
        self._last_ms: int | None = None
        self._due_ms: float | None = None
        # What is added to recorded times: of a second round, and less where a gap is cut short.
        self._shift_ms = 0
        self._blind_ms = 0

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
        """Look at all files; see `FrameSource.open`.

        Raises:
            UsageError: There is none, or one is no detection log.
        """
        self._files = log_files(self._path)
        headers, spans = _surveyed(self._files)
        first = headers[0]
        # Class numbers may differ from file to file, as another model was used.
        names = tuple(dict.fromkeys(name for header in headers for name in header.classes))
        fps = first.fps or DEFAULT_FPS
        self._info = SourceInfo(
            first.width,
            first.height,
            fps=min(fps, self._max_fps or fps),
            frame_count=None if self._loop or self._max_fps else sum(span.frames for span in spans),
            class_names=names,
        )
        self._frames = self._play()
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next frame, in real time when it is due; see `FrameSource.read`."""
        if self._finished or self._closed.is_set():
            return None
        seen = self._next = self._next or self._advance()
        if seen is None:
            self._finished = True
            return None
        at_ms = seen.captured_at_ms
        if self._realtime:
            stamp_ms = self._due(at_ms, timeout_s)
            if stamp_ms is None:
                return None
            at_ms = stamp_ms
        self._next = None
        self._index += 1
        blind_ms, self._blind_ms = self._blind_ms, 0
        return Frame(self._index, at_ms, None, seen.detections, 0, blind_ms)

    def close(self) -> None:
        """Let it go, and wake a reader that waits."""
        self._closed.set()

    def _due(self, at_ms: int, timeout_s: float) -> int | None:
        """Wait until a frame is due; return the time of day at which it is, None if the time is up before."""
        now_s = self._clock.monotonic_s()
        if self._start_s is None:
            self._start_s = now_s - at_ms / 1000
        early_s = self._start_s + at_ms / 1000 - now_s
        if early_s > 0:
            self._closed.wait(min(early_s, timeout_s))
        late_s = self._clock.monotonic_s() - self._start_s - at_ms / 1000
        # A wait may end a hair early.
        if late_s < -0.0005 or self._closed.is_set():
            return None
        if late_s > MAX_LATE_S:
            self._start_s += late_s
            self._blind_ms += round(late_s * 1000)
            late_s = 0.0
        return self._clock.now_ms() - max(0, round(late_s * 1000))

    def _advance(self) -> Seen | None:
        """Return the next frame that is wanted, with its time shifted; None at the end."""
        for seen in self._frames:
            at_ms = seen.captured_at_ms + self._shift_ms
            gap_ms = 0 if self._last_ms is None else at_ms - self._last_ms
            if self._realtime and not 0 <= gap_ms <= MAX_GAP_MS:
                # Who looks on waits for a gap a little, and for a clock that was set back not at all.
                kept_ms = MAX_GAP_MS if gap_ms > 0 else 0
                self._shift_ms += kept_ms - gap_ms
                self._blind_ms += kept_ms
                at_ms += kept_ms - gap_ms
            self._last_ms = at_ms
            if self._is_wanted(at_ms):
                return Seen(at_ms, seen.detections)
        return None

    def _is_wanted(self, at_ms: int) -> bool:
        """Say whether a frame belongs to the even selection that `max_fps` leaves."""
        due_ms, distance_ms = self._due_ms, self._min_distance_ms
        if due_ms is None:
            self._due_ms = at_ms + distance_ms
            return True
        if at_ms < due_ms:
            return False
        self._due_ms = max(due_ms, at_ms - distance_ms) + distance_ms
        return True

    def _play(self) -> Iterator[Seen]:
        """Yield all frames, again and again if it is looped."""
        while True:
            for path in self._files:
                yield from self._frames_of(path)
            if not self._loop or self._last_ms is None:
                return
            # The next round begins a frame after this one.
            first_ms = next(self._first_times(), 0)
            self._shift_ms = self._last_ms + round(1000 / self.info.fps) - first_ms

    def _first_times(self) -> Iterator[int]:
        for path in self._files:
            with path.open("rb") as file:
                read_header(file, path)
                yield from (span.first_ms for span in read_spans(file))

    def _frames_of(self, path: Path) -> Iterator[Seen]:
        """Yield the frames of a file, in the size and with the classes of the whole."""
        try:
            with path.open("rb") as file:
                header = read_header(file, path)
                fit = _Fit(header, self.info)
                for seen in read_blocks(file):
                    yield from (Seen(one.captured_at_ms, fit(one.detections)) for one in seen)
        except OSError as error:
            raise UsageError(
                f"the detection log {path} can't be read any more ({error.strerror}): is it still there?"
            ) from error


class _Fit:
    """Makes the detections of one file those of the whole log: same size of the picture, same numbers of classes."""

    def __init__(self, header: Header, info: SourceInfo) -> None:
        scale = (info.width / header.width, info.height / header.height)
        self._scale = None if scale == (1, 1) else np.array([*scale, *scale], dtype=np.float32)
        ids = [info.class_names.index(name) for name in header.classes]
        self._ids = None if ids == list(range(len(ids))) else np.array(ids, dtype=np.int16)
        self._classes = len(ids)

    def __call__(self, found: Detections) -> Detections:
        if len(found) and not 0 <= int(found.class_id.min()) <= int(found.class_id.max()) < self._classes:
            known = (found.class_id >= 0) & (found.class_id < self._classes)
            found = Detections(found.xyxy[known], found.score[known], found.class_id[known])
        if self._scale is None and self._ids is None:
            return found
        xyxy = found.xyxy if self._scale is None else found.xyxy * self._scale
        return Detections(
            xyxy, found.score, found.class_id if self._ids is None else self._ids[found.class_id]
        )


def log_files(path: Path) -> list[Path]:
    """Return the files of a log, in order.

    Args:
        path: A file, a folder, or a pattern such as door/2026-11-2*, because a file's name is the hour in which it begins.

    Raises:
        UsageError: There are none.
    """
    if path.is_file():
        return [path]
    if "*" in path.name:
        found = sorted(one for one in path.parent.glob(path.name) if one.suffix == SUFFIX)
        if not found:
            raise UsageError(f"no detection log ({SUFFIX}) is called {path}.")
        return found
    if not path.is_dir():
        raise UsageError(f"the detection log {path} does not exist.")
    found = sorted(path.glob(f"*{SUFFIX}"))
    if not found:
        cameras = sorted({one.parent.name for one in path.glob(f"*/*{SUFFIX}")})
        hint = f"; there is one of each of these cameras in it: {', '.join(cameras)}" if cameras else ""
        raise UsageError(f"the folder {path} holds no detection log ({SUFFIX}){hint}.")
    return found


def _surveyed(files: list[Path]) -> tuple[list[Header], list[Span]]:
    """Return what the files say of themselves.

    Raises:
        UsageError: One is no detection log, or there is no frame in any.
    """
    headers: list[Header] = []
    spans: list[Span] = []
    for path in files:
        try:
            with path.open("rb") as file:
                headers.append(read_header(file, path))
                spans += read_spans(file)
        except OSError as error:
            raise UsageError(f"the detection log {path} can't be read: {error.strerror}.") from error
    if not spans:
        raise UsageError(f"{files[0]} holds no frames: a recording is written every five seconds.")
    if min(headers[0].width, headers[0].height) < 1:
        raise UsageError(f"{files[0]} is no detection log: its pictures have no size.")
    return headers, spans
