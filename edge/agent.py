"""One camera, from its pictures to the outbox, in a thread of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from countline.backoff import Backoff
from countline.clock import Clock
from countline.codec import encode_value
from countline.errors import Unavailable, UsageError
from countline.events import CameraConfigured
from countline.service import Stop
from countline.telemetry import Log, mask
from edge.arrays import Detections, Tracks
from edge.capture import open_source
from edge.config import CameraSettings, source_kind
from edge.count.rules import Moment, shapes
from edge.detector import Detector
from edge.frames import Detect, Frame, FrameSource, SourceInfo
from edge.keep import Keeper
from edge.outbox import Outbox
from edge.pipeline import CameraPlan, Pipeline
from edge.preview import Preview
from edge.watch import Watch

# A source answers within this, or says that it is blind.
READ_TIMEOUT_S = 0.5
# How long opening a camera may block a stop; it goes on connecting behind our back.
OPEN_PATIENCE_S = 1.0
# What a camera counts with goes out as one event, which must fit into a message of `publish.BATCH_BYTES`.
MAX_CONFIGURED_BYTES = 100_000
HAS_ENDED = "the recording has ended"

_log = Log("edge.agent")


@dataclass(frozen=True)
class Shared:
    """What the cameras of one device share.

    Attributes:
        detector: None if every camera brings its own detections.
        outbox: Where events are safe.
        on_kept: Called when events have become safe, so that they are sent.
        clock: Whose time.
        preview: None if no picture may leave the process.
        heartbeat_s: How often to say that a camera is watched.
    """

    detector: Detector | None
    outbox: Outbox
    on_kept: Callable[[], None]
    clock: Clock
    preview: Preview | None = None
    heartbeat_s: float = 1.0


class CameraAgent:
    """One camera's agent."""

    def __init__(self, settings: CameraSettings, shared: Shared) -> None:
        """Take the camera's settings and what it shares with the others."""
        self.name = settings.name
        self._settings = settings
        self._shared = shared
        self._clock = shared.clock
        self._keeper = Keeper(settings.name, shared.outbox, shared.clock, shared.on_kept)
        self._watch = Watch(shared.clock.now_ms(), round(shared.heartbeat_s * 1000))
        self._class_names: tuple[str, ...] = ()

    def run(self, stop: Stop) -> None:
        """Count until asked to stop. A recording that has ended is blind from then on, and says why.

        Raises:
            UsageError: A person has to mend the camera's settings.
        """
        source = open_source(self._settings, self._clock, patience_s=OPEN_PATIENCE_S)
        self._watch = Watch(self._clock.now_ms(), round(self._shared.heartbeat_s * 1000))
        try:
            info = self._open(source, stop)
            if info is None:
                return
            plan, detect = self._plan(info)
            pipeline = Pipeline(plan, detect)
            self._keeper.keep([(self._clock.now_ms(), plan.configured)])
            reached = self._count(source, pipeline, stop)
            self._keeper.keep([*pipeline.finish(), *self._watch.close()], pipeline.totals())
            if source.is_finished:
                _log.warning(
                    "the recording has ended; nothing more is counted",
                    camera=self.name,
                    frames=reached,
                    frames_expected=info.frame_count,
                )
                self._rest(stop)
            self._keeper.close()
        finally:
            source.close()

    def _open(self, source: FrameSource, stop: Stop) -> SourceInfo | None:
        backoff = Backoff(base_s=0.5, cap_s=10.0)
        while not stop.is_requested():
            try:
                return source.open()
            except Unavailable as error:
                reason = mask(error.what)
                if backoff.attempts in {0, 3} or backoff.attempts % 20 == 0:
                    _log.warning("the camera does not answer; trying on", camera=self.name, reason=reason)
                self._wait_blind(reason, backoff.next_delay_s(), stop)
        return None

    def _wait_blind(self, reason: str, wait_s: float, stop: Stop) -> None:
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            self._keeper.keep(self._watch.blind(self._clock.now_ms(), reason))
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0 or stop.wait(min(left_s, READ_TIMEOUT_S)):
                return

    def _rest(self, stop: Stop) -> None:
        """Say that a recording has ended until asked to stop: silence would look like a camera that has died."""
        while not stop.is_requested():
            self._wait_blind(HAS_ENDED, READ_TIMEOUT_S, stop)
        self._keeper.keep(self._watch.close())

    def _count(self, source: FrameSource, pipeline: Pipeline, stop: Stop) -> int:
        """Count until asked to stop or until a recording has ended; return how many frames it has come."""
        reached = 0
        while not stop.is_requested() and not source.is_finished:
            try:
                frame = source.read(READ_TIMEOUT_S)
            except Unavailable as error:
                self._wait_blind(mask(error.what), READ_TIMEOUT_S, stop)
                continue
            if frame is not None:
                reached = frame.index + 1
                self._take(frame, pipeline)
        return reached

    def _take(self, frame: Frame, pipeline: Pipeline) -> None:
        """Go the way of one frame: detect, track and count; keep book; make it safe; show it."""
        moments = pipeline.feed(frame)
        moments += self._saw(frame)
        self._keeper.keep(moments, pipeline.totals())
        self._show(frame, pipeline.tracks)

    def _saw(self, frame: Frame) -> list[Moment]:
        """Keep book of a frame that is counted."""
        latency_ms = self._clock.now_ms() - frame.captured_at_ms if self._settings.realtime else 0.0
        return self._watch.saw(
            frame.captured_at_ms, dropped=frame.dropped, blind_ms=frame.blind_ms, latency_ms=latency_ms
        )

    def _show(self, frame: Frame, tracks: Tracks | None) -> None:
        if self._shared.preview and tracks is not None:
            self._shared.preview.publish(self.name, frame, _overlay(tracks, self._class_names))

    def _plan(self, info: SourceInfo) -> tuple[CameraPlan, Detect]:
        settings, detector = self._settings, self._shared.detector
        kind = source_kind(settings.source)
        self._class_names = info.class_names or (detector.class_names if detector else ())
        lines, zones = shapes(settings.name, settings.lines, settings.zones, info.width, info.height)
        configured = CameraConfigured(
            width=info.width,
            height=info.height,
            source=kind,
            lines=lines,
            zones=zones,
            synthetic=kind == "synthetic",
            model="" if info.class_names or not detector else detector.name,
            fps=info.fps,
            preview=self._shared.preview is not None,
        )
        if len(encode_value(configured)) > MAX_CONFIGURED_BYTES:
            raise UsageError(
                f"Camera {settings.name} has lines and zones of {len(encode_value(configured))} bytes, {MAX_CONFIGURED_BYTES} fit "
                "into one event: use fewer of them, or fewer points."
            )
        plan = CameraPlan(configured, self._class_names, self._shared.outbox.totals(settings.name))
        return plan, detect_with(detector, self._class_names, settings.classes)


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
