"""Counts detections that are in memory, through the product's own pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench._truth import Counts
from countline.events import CameraConfigured
from edge.arrays import Detections
from edge.config import LineSettings
from edge.count.rules import shapes
from edge.frames import Frame
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


def count_take(take: Take, tracker: TrackerSettings | None = None) -> Counts:
    """Return in and out of each line, by Countline."""
    lines, zones = shapes(take.name, take.lines, [], take.width, take.height)
    configured = CameraConfigured(take.width, take.height, "detections", lines, zones)
    pipeline = Pipeline(CameraPlan(configured, take.class_names), _recorded, tracker)
    for index, (at_ms, seen) in enumerate(zip(take.times_ms, take.frames, strict=True)):
        pipeline.feed(Frame(index, at_ms, None, seen))
    pipeline.finish()
    totals = pipeline.totals()
    return [(totals[line.name].in_, totals[line.name].out) for line in lines]


def _recorded(frame: Frame) -> Detections:
    assert frame.detections is not None
    return frame.detections
