"""One camera, from its pictures to the outbox: one thread reads, one counts, and the detector that all share is between.

The way of a frame: `_read` (read, leave out what is too much) --> `edge.scheduler` (detect, by turns) --> `_take` (count,
keep book, make safe, show). The frame before is counted while this one is looked at, and the next one is read.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from msgspec import Struct

from countline.backoff import Backoff
from countline.clock import Clock
from countline.codec import encode_value
from countline.errors import Unavailable, UsageError
from countline.events import CameraConfigured, LineTotals
from countline.service import Stop
from countline.telemetry import Log, mask
from edge.arrays import Detections, Tracks
from edge.capture import Recorder, open_recorder, open_source
from edge.config import LIVE_KINDS, CameraSettings, source_kind
from edge.count.measuring import measuring
from edge.count.rules import Moment, shapes
from edge.detector import Detector, check_classes
from edge.frames import Detect, Frame, FrameSource, SourceInfo
from edge.heartbeats import Heartbeats
from edge.inspector import Inspector
from edge.outbox_writer import OutboxWriter
from edge.pipeline import MAX_BOXES, CameraPlan, Pipeline
from edge.preview import Preview
from edge.scheduler import READ_TIMEOUT_S, Blind, Scheduler, Seen

# How long opening a camera may block a stop; it goes on connecting behind our back.
OPEN_PATIENCE_S = 1.0
# What a camera counts with goes out as one event, which must fit into a message of `publish.BATCH_BYTES`.
MAX_CONFIGURED_BYTES = 100_000
HAS_ENDED = "the recording has ended"
# A model gone wild does so in each picture.
_TELL_LEFT_OUT_EVERY_S = 60.0

_log = Log("edge.agent")


@dataclass(frozen=True)
class Shared:
    """What the cameras of one device share.

    Attributes:
        scheduler: Looks at their pictures.
        writer: Makes their events safe.
        clock: Whose time.
        detector: Says which classes it knows; None if every camera brings its own detections.
        preview: None if no picture may leave the process.
        heartbeat_s: How often to say that a camera is watched.
        recordings: Where detections are kept if a camera is to be recorded and names no other place.
    """

    scheduler: Scheduler
    writer: OutboxWriter
    clock: Clock
    detector: Detector | None = None
    preview: Preview | None = None
    heartbeat_s: float = 1.0
    recordings: Path = Path("detections")


class CameraAgent:
    """One camera's agent."""

    def __init__(self, settings: CameraSettings, shared: Shared) -> None:
        """Take the camera's settings and what it shares with the others."""
        self.name = settings.name
        self._settings = settings
        self._shared = shared
        self._clock = shared.clock
        # Of a recording that is counted as fast as can be no picture is left out.
        is_live = settings.realtime or source_kind(settings.source) in LIVE_KINDS
        self._lane = shared.scheduler.lane(settings.name, is_live=is_live)
        self._class_names: tuple[str, ...] = ()
        self._recorder: Recorder | None = None
        self._inspector = Inspector(settings.name, settings.evidence)
        # Boxes that can't be recorded, and how many that can't be counted were told of.
        self._unkept = 0
        self._left_out = 0
        self._told_left_out_s = float("-inf")

    def run(self, stop: Stop) -> None:
        """Count until asked to stop. A recording that has ended is blind from then on, and says why.

        Raises:
            UsageError: A person has to mend the camera's settings.
        """
        source = open_source(self._settings, self._clock, patience_s=OPEN_PATIENCE_S)
        heartbeats = Heartbeats(self._clock.now_ms(), round(self._shared.heartbeat_s * 1000))
        try:
            info = self._open(source, heartbeats, stop)
            if info is None:
                return
            plan = self._plan(info)
            self._recorder = open_recorder(self._settings, info, self._class_names, self._shared.recordings)
            self._keep([(self._clock.now_ms(), plan.configured)])
            reader = threading.Thread(
                target=self._read, args=(source, stop), name=f"read {self.name}", daemon=True
            )
            reader.start()
            pipeline = Pipeline(plan)
            reached = self._count(pipeline, heartbeats, stop)
            self._tell_left_out(pipeline, float("inf"))
            self._keep([*pipeline.finish(), *heartbeats.close()], pipeline.totals())
            if not stop.is_requested():
                _log.warning(
                    "the recording has ended; nothing more is counted",
                    camera=self.name,
                    frames=reached,
                    frames_expected=info.frame_count,
                )
                self._rest(heartbeats, stop)
            # A reader that hangs keeps its source; its thread ends with the process.
            reader.join(READ_TIMEOUT_S)
        finally:
            source.close()
            if self._recorder:
                self._recorder.close()

    def _open(self, source: FrameSource, heartbeats: Heartbeats, stop: Stop) -> SourceInfo | None:
        backoff = Backoff(base_s=0.5, cap_s=10.0)
        while not stop.is_requested():
            try:
                return source.open()
            except Unavailable as error:
                reason = mask(error.what)
                if backoff.attempts in {0, 3} or backoff.attempts % 20 == 0:
                    _log.warning("the camera does not answer; trying on", camera=self.name, reason=reason)
                self._wait_blind(heartbeats, reason, backoff.next_delay_s(), stop)
        return None

    def _wait_blind(self, heartbeats: Heartbeats, reason: str, wait_s: float, stop: Stop) -> None:
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            self._keep(heartbeats.blind(self._clock.now_ms(), reason))
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0 or stop.wait(min(left_s, READ_TIMEOUT_S)):
                return

    def _rest(self, heartbeats: Heartbeats, stop: Stop) -> None:
        """Say that a recording has ended until asked to stop: silence would look like a camera that has died."""
        while not stop.is_requested():
            self._wait_blind(heartbeats, HAS_ENDED, READ_TIMEOUT_S, stop)
        self._keep(heartbeats.close())

    def _read(self, source: FrameSource, stop: Stop) -> None:
        """Bring pictures until asked to stop or until a recording has ended. Runs in a thread of its own."""
        lane, failure = self._lane, None
        try:
            while not stop.is_requested() and not source.is_finished:
                lane.reads()
                try:
                    frame = source.read(READ_TIMEOUT_S)
                except Unavailable as error:
                    lane.blind(mask(error.what))
                    stop.wait(READ_TIMEOUT_S)
                    continue
                if frame is None:
                    lane.idle()
                elif lane.wants(frame):
                    frame = self._inspector.inspect(frame)
                    while not lane.offer(frame, READ_TIMEOUT_S) and not stop.is_requested():
                        pass
        except BaseException as error:  # noqa: BLE001 - carried to the camera's own thread, which raises it
            failure = error
        lane.finish(failure)

    def _count(self, pipeline: Pipeline, heartbeats: Heartbeats, stop: Stop) -> int:
        """Count until asked to stop or until a recording has ended; return how many frames it has come."""
        reached = 0
        while not stop.is_requested() and not self._lane.is_finished:
            news = self._lane.take(READ_TIMEOUT_S)
            if isinstance(news, Seen):
                reached = news.frame.index + 1
                self._take(news, pipeline, heartbeats)
            elif isinstance(news, Blind):
                self._keep(heartbeats.blind(self._clock.now_ms(), news.reason))
        return reached

    def _take(self, seen: Seen, pipeline: Pipeline, heartbeats: Heartbeats) -> None:
        """Go the last steps of a frame's way: track and count; keep book; make it safe; show it."""
        moments = self._inspector.told()
        # What stands still is not gone because nobody looked.
        if not (seen.frame.is_still and pipeline.has_tracks):
            found = self._pick(seen.detections)
            if self._recorder:
                kept = self._recorder.keep(seen.frame.captured_at_ms, found)
                self._unkept += len(found) - len(kept)
                found = kept
            moments += pipeline.count(found, seen.frame.captured_at_ms)
            self._tell_left_out(pipeline, self._clock.monotonic_s())
        self._inspector.has_tracks = pipeline.has_tracks
        moments += pipeline.nudged(is_nudged=self._inspector.is_nudged)
        moments += self._saw(seen.frame, heartbeats)
        self._keep(moments, pipeline.totals() if moments else None)
        self._show(seen.frame, pipeline.tracks)

    def _tell_left_out(self, pipeline: Pipeline, now_s: float) -> None:
        """Say at once that boxes are left out, and now and then how many more have been."""
        left_out = self._unkept + pipeline.left_out
        if left_out > self._left_out and now_s - self._told_left_out_s >= _TELL_LEFT_OUT_EVERY_S:
            warn_left_out(self.name, left_out - self._left_out)
            self._left_out, self._told_left_out_s = left_out, now_s

    def _saw(self, frame: Frame, heartbeats: Heartbeats) -> list[Moment]:
        """Keep book of a frame that is counted."""
        latency_ms = self._clock.now_ms() - frame.captured_at_ms if self._settings.realtime else 0.0
        return heartbeats.saw(
            frame.captured_at_ms,
            dropped=frame.dropped,
            blind_ms=frame.blind_ms,
            latency_ms=latency_ms,
            doubt=frame.doubt,
            note=self._lane.note,
        )

    def _keep(self, moments: Sequence[Moment], totals: dict[str, LineTotals] | None = None) -> None:
        self._shared.writer.keep(self.name, moments, totals)

    def _show(self, frame: Frame, tracks: Tracks | None) -> None:
        if self._shared.preview and tracks is not None:
            self._shared.preview.publish(self.name, frame, _overlay(tracks, self._class_names))

    def _plan(self, info: SourceInfo) -> CameraPlan:
        settings, detector = self._settings, self._shared.detector
        kind = source_kind(settings.source)
        if info.class_names:
            check_classes(
                f"what camera {self.name!r} plays, {settings.source},", settings.classes, info.class_names
            )
        self._class_names = info.class_names or (detector.class_names if detector else ())
        lines, zones = shapes(settings.name, settings.lines, settings.zones, info.width, info.height)
        measured = measuring(settings, info.width, info.height)
        configured = CameraConfigured(
            width=info.width,
            height=info.height,
            source=kind,
            lines=lines,
            zones=zones,
            synthetic=kind == "synthetic",
            model="" if info.class_names or not detector else detector.name,
            fps=info.fps,
            preview=self._shared.preview is not None and self._shared.preview.is_shown,
            gates=list(measured.gates),
            od=measured.od,
        )
        if self._shared.preview:
            self._shared.preview.configure(settings.name, lines, zones, (info.width, info.height))
        if len(encode_value(configured)) > MAX_CONFIGURED_BYTES:
            raise UsageError(
                f"Camera {settings.name} has lines and zones of {len(encode_value(configured))} bytes, {MAX_CONFIGURED_BYTES} fit "
                "into one event: use fewer of them, or fewer points."
            )
        self._pick = picking(self._class_names, settings.classes)
        return CameraPlan(configured, self._class_names, self._shared.writer.totals(settings.name), measured)


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


def warn_left_out(camera: str, boxes: int) -> None:
    """Say that boxes were left out."""
    _log.warning(
        f"boxes are left out: their numbers are none, they have no area, or there were more than {MAX_BOXES} at once",
        camera=camera,
        boxes=boxes,
    )


def picking(class_names: Sequence[str], classes: Sequence[str]) -> Callable[[Detections], Detections]:
    """Return what leaves only the detections of the classes that a camera counts."""
    wanted = np.array(
        [class_id for class_id, name in enumerate(class_names) if name in classes], dtype=np.int16
    )
    if len(wanted) == len(class_names):
        return lambda found: found

    def pick(found: Detections) -> Detections:
        keep = np.isin(found.class_id, wanted)
        return found if keep.all() else Detections(found.xyxy[keep], found.score[keep], found.class_id[keep])

    return pick


def detect_with(detector: Detector | None, class_names: Sequence[str], classes: Sequence[str]) -> Detect:
    """Return how to detect: with a detector, or what a recording says; only the classes that the camera counts."""
    pick = picking(class_names, classes)

    def detect(frame: Frame) -> Detections:
        if frame.detections is not None:
            return pick(frame.detections)
        if detector is None or frame.image is None:
            return Detections.empty()
        return pick(detector(frame.image))

    return detect
