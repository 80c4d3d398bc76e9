"""Counts detections that are in memory, through the product's own pipeline; and gets them there from a source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench._truth import Counts
from countline.clock import SystemClock
from countline.events import CameraConfigured
from edge.agent import detect_with
from edge.arrays import Detections
from edge.capture import open_source
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.count.line import DEAD_BAND
from edge.count.rules import shapes
from edge.detector import Detector
from edge.pipeline import CameraPlan, Pipeline
from edge.track.tracker import TrackerSettings


@dataclass(frozen=True)
class Take:
    """What a detector saw of a stretch of time, and what is true.

    Attributes:
        name: Of the sequence or scene.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        fps: Frames per second.
        times_ms: When each frame was captured.
        frames: What was seen in each.
        lines: To count over.
        truth: In and out of each line.
        class_names: By class id.
    """

    name: str
    width: int
    height: int
    fps: float
    times_ms: Sequence[int]
    frames: Sequence[Detections]
    lines: Sequence[LineSettings]
    truth: Counts
    class_names: tuple[str, ...]

    @property
    def n_true(self) -> int:
        """All true crossings."""
        return sum(map(sum, self.truth))


@dataclass(frozen=True)
class Variant:
    """How to count otherwise than Countline does.

    Attributes:
        tracker: Of the tracker; None: Countline's own.
        dead_band: Of the lines, in box heights.
    """

    tracker: TrackerSettings | None = None
    dead_band: float = DEAD_BAND


AS_IT_IS = Variant()


def count_take(take: Take, variant: Variant = AS_IT_IS) -> Counts:
    """Return in and out of each line, by Countline or a variant of it."""
    lines, zones = shapes(take.name, take.lines, [], take.width, take.height)
    configured = CameraConfigured(take.width, take.height, "detections", lines, zones)
    pipeline = Pipeline(
        CameraPlan(configured, take.class_names), tracker=variant.tracker, dead_band=variant.dead_band
    )
    for at_ms, seen in zip(take.times_ms, take.frames, strict=True):
        pipeline.count(seen, at_ms)
    pipeline.finish()
    totals = pipeline.totals()
    return [(totals[line.name].in_, totals[line.name].out) for line in lines]


def seen_in(
    camera: CameraSettings, settings: DetectorSettings, truth: Counts, *, least_score: float = 0.0
) -> Take:
    """Return what a detector sees in a recording, or what it says itself, as `edge.recount.count` would count it.

    Args:
        camera: The recording; `realtime` must be False.
        settings: Of the detector, which is not read if the recording brings detections.
        truth: Of the camera's lines.
        least_score: Detections below it are left out.
    """
    source = open_source(camera, SystemClock())
    try:
        info = source.open()
        detector = None if info.class_names else Detector(Path(settings.model), settings, camera.classes)
        class_names = info.class_names or (detector.class_names if detector else ())
        detect = detect_with(detector, class_names, camera.classes)
        times_ms: list[int] = []
        frames: list[Detections] = []
        while not source.is_finished:
            frame = source.read(30.0)
            if frame is not None:
                times_ms.append(frame.captured_at_ms)
                frames.append(_from(detect(frame), least_score))
    finally:
        source.close()
    return Take(
        camera.name, info.width, info.height, info.fps, times_ms, frames, camera.lines, truth, class_names
    )


def _from(seen: Detections, least_score: float) -> Detections:
    keep = seen.score >= least_score
    return Detections(seen.xyxy[keep], seen.score[keep], seen.class_id[keep])
