"""An edge agent: one process, one device, its cameras. Builds everything and owns the threads."""

import fcntl
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from msgspec import Struct

from countline.backoff import Backoff
from countline.clock import Clock, SystemClock
from countline.codec import encode_value
from countline.errors import Unavailable, UsageError
from countline.events import CameraConfigured, CountDelta, LineCrossed, LineTotals
from countline.service import Stop
from countline.telemetry import Log, mask
from edge.arrays import Detections, Tracks
from edge.capture import open_source
from edge.config import CameraSettings, EdgeSettings, source_kind
from edge.count.rules import Moment, shapes
from edge.detector import Detector
from edge.frames import Detect, Frame, FrameSource, SourceInfo
from edge.outbox import Outbox
from edge.pipeline import CameraPlan, Pipeline
from edge.preview import Preview
from edge.publish import Publisher
from edge.sequence import fold
from edge.watch import Watch

# A source answers within this, or says that it is blind.
READ_TIMEOUT_S = 0.5
# How long opening a camera may block a stop; it goes on connecting behind our back.
OPEN_PATIENCE_S = 1.0
# Events that could not be written wait in memory; beyond this many they are folded, which bounds them for good.
MAX_PENDING = 2_000
# After a write that failed the next one waits, at most so long: trying with each frame would cost what counting needs.
WRITE_RETRY_CAP_S = 1.0
# How long a stop may take to send what is left. What is not confirmed by then stays in the outbox.
DRAIN_S = 1.5
# What a camera counts with goes out as one event, which must fit into a message of `publish.BATCH_BYTES`.
MAX_CONFIGURED_BYTES = 100_000
# A supervisor that was killed leaves us a moment in which its old agent still holds the data folder.
LOCK_WAIT_S = 6.0
HAS_ENDED = "the recording has ended"

_log = Log("edge.main")


def run(settings: EdgeSettings, stop: Stop) -> None:
    """Count until asked to stop.

    Args:
        settings: `detector.model` is the path of an ONNX file.
        stop: Ends it.

    Raises:
        UsageError: A person has to mend something.
    """
    clock = SystemClock()
    with _lock_folder(Path(settings.data_dir), stop, clock):
        detector = _detector(settings)
        outbox = _open_outbox(settings, clock)
        publisher = Publisher(outbox, settings.mqtt, settings.site, settings.device, clock)
        preview = (
            Preview(settings.preview, [camera.name for camera in settings.cameras])
            if settings.preview.enabled
            else None
        )
        agents = [
            CameraAgent(
                camera, detector, outbox, publisher, preview, CameraTiming(clock, settings.heartbeat_s)
            )
            for camera in settings.cameras
        ]
        publisher.start()
        try:
            _run_cameras(agents, stop)
        finally:
            if not publisher.close(DRAIN_S):
                _log.info(
                    "stopped with events in the outbox; the next start sends them", waiting=outbox.backlog
                )
            if preview:
                preview.close()
            outbox.close()


def _run_cameras(agents: Sequence["CameraAgent"], stop: Stop) -> None:
    """Run each camera in its thread. The first that fails ends all, and its error goes on to the caller."""
    failures: list[BaseException] = []

    def target(agent: "CameraAgent") -> None:
        try:
            agent.run(stop)
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            failures.append(error)
            stop.request()

    threads = [
        threading.Thread(target=target, args=(agent,), name=f"camera {agent.name}", daemon=True)
        for agent in agents
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@dataclass(frozen=True)
class CameraTiming:
    """Whose time, and how often to say that a camera is watched."""

    clock: Clock
    heartbeat_s: float

    @property
    def heartbeat_ms(self) -> int:
        """The same in milliseconds."""
        return round(self.heartbeat_s * 1000)


class CameraAgent:
    """One camera, from its pictures to the outbox."""

    def __init__(
        self,
        settings: CameraSettings,
        detector: Detector | None,
        outbox: Outbox,
        publisher: Publisher,
        preview: Preview | None,
        timing: CameraTiming,
    ) -> None:
        """Take the camera's settings and what it shares with the others."""
        self.name = settings.name
        self._settings = settings
        self._detector = detector
        self._outbox = outbox
        self._publisher = publisher
        self._preview = preview
        self._clock = timing.clock
        self._heartbeat_ms = timing.heartbeat_ms
        self._pending: list[Moment] = []
        self._totals: dict[str, LineTotals] = outbox.totals(settings.name)
        self._write_failures = 0
        self._write_backoff = Backoff(base_s=0.1, cap_s=WRITE_RETRY_CAP_S)
        self._write_again_s = 0.0

    def run(self, stop: Stop) -> None:
        """Count until asked to stop. A recording that has ended is blind from then on, and says why.

        Raises:
            UsageError: A person has to mend the camera's settings.
        """
        source = open_source(self._settings, self._clock, patience_s=OPEN_PATIENCE_S)
        watch = Watch(self._clock.now_ms(), self._heartbeat_ms)
        try:
            info = self._open(source, watch, stop)
            if info is None:
                return
            plan, detect = self._plan(info)
            pipeline = Pipeline(plan, detect)
            self._commit([(self._clock.now_ms(), plan.configured)])
            reached = self._count(source, pipeline, watch, stop)
            last = pipeline.finish()
            self._totals = pipeline.totals()
            self._commit([*last, *watch.close()])
            if source.is_finished:
                _log.warning(
                    "the recording has ended; nothing more is counted",
                    camera=self.name,
                    frames=reached,
                    frames_expected=info.frame_count,
                )
                self._rest(watch, stop)
            self._commit_last()
        finally:
            source.close()

    def _open(self, source: FrameSource, watch: Watch, stop: Stop) -> SourceInfo | None:
        backoff = Backoff(base_s=0.5, cap_s=10.0)
        while not stop.is_requested():
            try:
                return source.open()
            except Unavailable as error:
                reason = mask(error.what)
                if backoff.attempts in {0, 3} or backoff.attempts % 20 == 0:
                    _log.warning("the camera does not answer; trying on", camera=self.name, reason=reason)
                self._wait_blind(watch, reason, backoff.next_delay_s(), stop)
        return None

    def _wait_blind(self, watch: Watch, reason: str, wait_s: float, stop: Stop) -> None:
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            self._commit(watch.blind(self._clock.now_ms(), reason))
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0 or stop.wait(min(left_s, READ_TIMEOUT_S)):
                return

    def _rest(self, watch: Watch, stop: Stop) -> None:
        """Say that a recording has ended until asked to stop: silence would look like a camera that has died."""
        while not stop.is_requested():
            self._wait_blind(watch, HAS_ENDED, READ_TIMEOUT_S, stop)
        self._commit(watch.close())

    def _count(self, source: FrameSource, pipeline: Pipeline, watch: Watch, stop: Stop) -> int:
        """Count until asked to stop or until a recording has ended; return how many frames it has come."""
        reached = 0
        while not stop.is_requested() and not source.is_finished:
            try:
                frame = source.read(READ_TIMEOUT_S)
            except Unavailable as error:
                self._wait_blind(watch, mask(error.what), READ_TIMEOUT_S, stop)
                continue
            if frame is None:
                continue
            reached = frame.index + 1
            moments = pipeline.feed(frame)
            self._totals = pipeline.totals()
            latency_ms = self._clock.now_ms() - frame.captured_at_ms if self._settings.realtime else 0.0
            moments += watch.saw(
                frame.captured_at_ms, dropped=frame.dropped, blind_ms=frame.blind_ms, latency_ms=latency_ms
            )
            self._commit(moments)
            if self._preview and pipeline.tracks is not None:
                self._preview.publish(self.name, frame, _overlay(pipeline.tracks, self._class_names))
        return reached

    def _plan(self, info: SourceInfo) -> tuple[CameraPlan, Detect]:
        settings = self._settings
        kind = source_kind(settings.source)
        self._class_names = info.class_names or (self._detector.class_names if self._detector else ())
        lines, zones = shapes(settings.name, settings.lines, settings.zones, info.width, info.height)
        configured = CameraConfigured(
            width=info.width,
            height=info.height,
            source=kind,
            lines=lines,
            zones=zones,
            synthetic=kind == "synthetic",
            model="" if info.class_names or not self._detector else self._detector.name,
            fps=info.fps,
            preview=self._preview is not None,
        )
        if len(encode_value(configured)) > MAX_CONFIGURED_BYTES:
            raise UsageError(
                f"Camera {settings.name} has lines and zones of {len(encode_value(configured))} bytes, {MAX_CONFIGURED_BYTES} fit "
                "into one event: use fewer of them, or fewer points."
            )
        plan = CameraPlan(configured, self._class_names, self._outbox.totals(settings.name))
        return plan, detect_with(self._detector, self._class_names, settings.classes)

    def _commit(self, moments: Sequence[Moment]) -> None:
        """Put events into the outbox. If it cannot be written they wait here, and are folded when they are many."""
        self._pending += moments
        if not self._pending or self._clock.monotonic_s() < self._write_again_s:
            return
        try:
            self._outbox.append(self.name, self._pending, self._totals)
        except Unavailable as error:
            self._write_failures += 1
            self._write_again_s = self._clock.monotonic_s() + self._write_backoff.next_delay_s()
            if self._write_failures == 1 or self._write_failures % 100 == 0:
                _log.warning(  # no traceback: a full disk is no bug
                    "events wait in memory until the outbox can be written",
                    camera=self.name,
                    reason=error.what,
                )
            if len(self._pending) > MAX_PENDING:
                self._pending = fold(self._pending)
            return
        self._pending = []
        self._write_failures = 0
        self._write_again_s = 0.0
        self._write_backoff.reset()
        self._publisher.wake()

    def _commit_last(self) -> None:
        """Try once more at the end, with as few bytes as can be; what does not fit even then is lost, and said."""
        if not self._pending:
            return
        self._pending = fold(self._pending)
        self._write_again_s = 0.0
        self._commit([])
        if self._pending:
            _log.error(
                "the outbox could not be written until the end: what waited in memory is lost",
                camera=self.name,
                crossings=_crossings(self._pending),
                events=len(self._pending),
            )


def _crossings(moments: Sequence[Moment]) -> int:
    """Return how many crossings these events tell of."""
    return sum(
        event.n if isinstance(event, CountDelta) else isinstance(event, LineCrossed) for _, event in moments
    )


class _TrackBox(Struct, frozen=True):
    """What is drawn over a picture: a confirmed track, its box in pixels of the frame."""

    id: int
    cls: str
    conf: float
    box: list[float]


def _overlay(tracks: Tracks, class_names: Sequence[str]) -> list[_TrackBox]:
    return [
        _TrackBox(
            id=int(tracks.track_id[row]),
            cls=class_names[int(tracks.class_id[row])],
            conf=round(float(tracks.score[row]), 2),
            box=[round(float(value), 1) for value in tracks.xyxy[row]],
        )
        for row in np.flatnonzero(tracks.seen & tracks.confirmed)
    ]


def detect_with(detector: Detector | None, class_names: Sequence[str], classes: Sequence[str]) -> Detect:
    """Return how to detect: with a detector, or what a recording says; only the classes that the camera counts."""
    wanted = np.array(
        [class_id for class_id, name in enumerate(class_names) if name in classes], dtype=np.int16
    )
    takes_all = len(wanted) == len(class_names)

    def detect(frame: Frame) -> Detections:
        if frame.detections is not None:
            found = frame.detections
        elif detector is not None and frame.image is not None:
            found = detector(frame.image)
        else:
            return Detections.empty()
        if takes_all:
            return found
        keep = np.isin(found.class_id, wanted)
        return Detections(found.xyxy[keep], found.score[keep], found.class_id[keep])

    return detect


def _detector(settings: EdgeSettings) -> Detector | None:
    """Load the detector once for all cameras; none if every camera brings its own detections."""
    cameras = [
        camera for camera in settings.cameras if source_kind(camera.source) not in {"synthetic", "detections"}
    ]
    if not cameras:
        return None
    classes = sorted({cls for camera in cameras for cls in camera.classes})
    return Detector(Path(settings.detector.model), settings.detector, classes)


def _open_outbox(settings: EdgeSettings, clock: Clock) -> Outbox:
    path = Path(settings.data_dir) / "outbox.sqlite"
    try:
        return Outbox(path, settings.site, settings.device, clock, settings.outbox_max_mb * 1_000_000)
    except Unavailable as error:
        raise UsageError(
            f"Cannot keep events: {error.what}. Free some space or choose another folder with --data-dir."
        ) from error


def _lock_folder(folder: Path, stop: Stop, clock: Clock) -> IO[str]:
    """Make sure that no other agent uses the data folder; the lock goes with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "edge.lock").open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"Cannot write to the data folder {folder}: {error.strerror}. Choose another with --data-dir."
        ) from error
    until_s = clock.monotonic_s() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic_s() > until_s or stop.wait(0.1):
                lock.close()
                raise UsageError(
                    f"Another agent is running on the data folder {folder}: stop it, or choose another with --data-dir."
                ) from None
        else:
            lock.write(str(os.getpid()))
            lock.flush()
            return lock
