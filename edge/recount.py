"""Counts a recording at full speed: the same pipeline as a camera's, without an outbox."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from countline.clock import Clock, SystemClock
from countline.events import CameraConfigured, LineCrossed, ZoneOccupancy, ZoneVisit
from edge.agent import detect_with
from edge.capture import open_source
from edge.capture.annotate import Annotator
from edge.config import CameraSettings, DetectorSettings, source_kind
from edge.count.rules import Moment, shapes
from edge.detector import Detector
from edge.frames import FrameSource, SourceInfo
from edge.pipeline import CameraPlan, Pipeline

# A recording that stops giving frames for so long is damaged there.
READ_TIMEOUT_S = 30.0

# Headers may promise a frame or two too many, and where the number is an estimate it may be well off: a recording is
# damaged if more than two frames and more than this share of them are missing.
_TOLERATED_FRAMES = 2
_TOLERATED_SHARE = 0.01
_TOLERATED_SHARE_OF_ESTIMATE = 0.1

Progress = Callable[[int, int | None], None]
"""Called with the frames that are counted and, if it is known, how many there are."""


@dataclass(slots=True)
class LineTally:
    """What one line has counted.

    Attributes:
        name: The line's name.
        in_: Crossings from the left to the right of A->B.
        out: The other way.
        classes: Per class, {"in": n, "out": n}.
    """

    name: str
    in_: int = 0
    out: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, event: LineCrossed) -> None:
        """Count one crossing."""
        if event.direction == "in":
            self.in_ += 1
        else:
            self.out += 1
        per_class = self.classes.setdefault(event.cls, {"in": 0, "out": 0})
        per_class[event.direction.value] += 1


@dataclass(slots=True)
class ZoneTally:
    """What one zone has seen.

    Attributes:
        name: The zone's name.
        visits: Stays that have ended.
        dwell_sum_ms: Of those stays.
        occupancy_max: The most that were inside at once.
    """

    name: str
    visits: int = 0
    dwell_sum_ms: int = 0
    occupancy_max: int = 0

    @property
    def mean_dwell_ms(self) -> float | None:
        """The mean stay; None if no stay has ended."""
        return self.dwell_sum_ms / self.visits if self.visits else None


@dataclass(frozen=True, slots=True)
class CrossingRow:
    """One crossing of a recording.

    Attributes:
        at_ms: UTC epoch ms of a recording with a known start, else from its start.
        time_s: From the recording's start.
        line: The line's name.
        direction: "in" or "out".
        cls: The object's class.
        track: The track's id.
    """

    at_ms: int
    time_s: float
    line: str
    direction: str
    cls: str
    track: int


@dataclass(slots=True)
class Tally:
    """All that was counted in a recording.

    Attributes:
        lines: Per line.
        zones: Per zone.
        crossings: Each one, in order.
        frames: That could be read.
        seconds: From the first to the last of them.
        frames_expected: That the recording itself says it has; None if it does not say.
        is_complete: False if frames are missing: it is damaged.
    """

    lines: list[LineTally]
    zones: list[ZoneTally]
    crossings: list[CrossingRow] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    frames_expected: int | None = None
    is_complete: bool = True


def count(
    source: CameraSettings,
    detector: DetectorSettings,
    on_progress: Progress,
    annotate: Path | None = None,
    clock: Clock | None = None,
) -> Tally:
    """Count a recording.

    Args:
        source: What to count; `realtime` must be False, so that no frame is left out.
        detector: `model` is the path of an ONNX file; it is not read if the source brings its own detections.
        on_progress: Called after each frame.
        annotate: Write a video with boxes, lines and totals here.
        clock: For the recording's start.

    Returns:
        The counts per line and zone, and each crossing.

    Raises:
        UsageError: The source, the model or a line is not usable.
    """
    frames = open_source(source, clock or SystemClock())
    try:
        return _count(frames, source, detector, on_progress, annotate)
    finally:
        frames.close()


def _count(
    frames: FrameSource,
    source: CameraSettings,
    detector_settings: DetectorSettings,
    on_progress: Progress,
    annotate: Path | None,
) -> Tally:
    info = frames.open()
    lines, zones = shapes(source.name, source.lines, source.zones, info.width, info.height)
    detector = None
    if not info.class_names:
        detector = Detector(Path(detector_settings.model), detector_settings, source.classes)
    class_names = info.class_names or (detector.class_names if detector else ())
    configured = CameraConfigured(info.width, info.height, source_kind(source.source), lines, zones)
    pipeline = Pipeline(
        CameraPlan(configured, class_names), detect_with(detector, class_names, source.classes)
    )
    tally = Tally([LineTally(line.name) for line in lines], [ZoneTally(zone.name) for zone in zones])
    annotator = Annotator(annotate, info, lines, zones) if annotate else None
    first_ms = 0
    try:
        while not frames.is_finished:
            frame = frames.read(READ_TIMEOUT_S)
            if frame is None:
                continue
            first_ms = first_ms if tally.frames else frame.captured_at_ms
            _add(tally, pipeline.feed(frame), first_ms)
            tally.frames += 1
            tally.seconds = (frame.captured_at_ms - first_ms) / 1000
            if annotator and pipeline.tracks is not None:
                totals = {line.name: (line.in_, line.out) for line in tally.lines}
                annotator.write(frame, pipeline.tracks, class_names, totals)
            on_progress(tally.frames, info.frame_count)
        _add(tally, pipeline.finish(), first_ms)
    finally:
        if annotator:
            annotator.close()
    tally.frames_expected = info.frame_count
    tally.is_complete = _is_complete(tally.frames, info)
    return tally


def _is_complete(frames: int, info: SourceInfo) -> bool:
    if info.frame_count is None:
        return True
    share = _TOLERATED_SHARE if info.counts_exactly else _TOLERATED_SHARE_OF_ESTIMATE
    return info.frame_count - frames <= max(_TOLERATED_FRAMES, share * info.frame_count)


def _add(tally: Tally, moments: list[Moment], first_ms: int) -> None:
    lines = {line.name: line for line in tally.lines}
    zones = {zone.name: zone for zone in tally.zones}
    for at_ms, event in moments:
        match event:
            case LineCrossed():
                lines[event.line].add(event)
                time_s = round((at_ms - first_ms) / 1000, 3)
                tally.crossings.append(
                    CrossingRow(at_ms, time_s, event.line, event.direction.value, event.cls, event.track)
                )
            case ZoneVisit():
                zones[event.zone].visits += 1
                zones[event.zone].dwell_sum_ms += event.dwell_ms
            case ZoneOccupancy():
                zone = zones[event.zone]
                zone.occupancy_max = max(zone.occupancy_max, sum(event.cls_counts.values()))
            case _:
                pass
