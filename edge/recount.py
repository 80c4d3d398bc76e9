"""Counts a recording at full speed: the same pipeline as a camera's, without an outbox."""

from collections.abc import Callable
from pathlib import Path

from countline.clock import Clock, SystemClock
from countline.errors import UsageError
from countline.events import CameraConfigured
from edge.agent import detect_with, warn_left_out
from edge.capture import open_source
from edge.capture.annotate import Annotator
from edge.capture.heatmap import check_heatmap, write_heatmap
from edge.config import CameraSettings, DetectorSettings, source_kind
from edge.count.measuring import measuring
from edge.count.rules import shapes
from edge.detector import Detector, check_classes
from edge.frames import FrameSource, Image, SourceInfo
from edge.pipeline import CameraPlan, Pipeline
from edge.tally import Tally, empty_tally

# A recording that stops giving frames for so long is damaged there.
READ_TIMEOUT_S = 30.0

# Headers may promise a frame or two too many, and where the number is an estimate it may be well off: a recording is
# damaged if more than two frames and more than this share of them are missing.
_TOLERATED_FRAMES = 2
_TOLERATED_SHARE = 0.01
_TOLERATED_SHARE_OF_ESTIMATE = 0.1

Progress = Callable[[int, int | None], None]
"""Called with the frames that are counted and, if it is known, how many there are."""


def count(
    source: CameraSettings,
    detector: DetectorSettings,
    on_progress: Progress,
    annotate: Path | None = None,
    heatmap: Path | None = None,
    clock: Clock | None = None,
) -> Tally:
    """Count a recording.

    Args:
        source: What to count; `realtime` must be False, so that no frame is left out.
        detector: `model` is the path of an ONNX file; it is not read if the source brings its own detections.
        on_progress: Called after each frame.
        annotate: Write a video with boxes, lines and totals here.
        heatmap: Write a picture of where people were here.
        clock: For the recording's start.

    Returns:
        The counts per line, zone and gate, and each crossing.

    Raises:
        UsageError: The source, the model or a line is not usable.
    """
    if heatmap:
        check_heatmap(heatmap)
        if not source.heat.every_s:
            raise UsageError("There is no heat-map to write: heat.every_s is 0.")
    frames = open_source(source, clock or SystemClock())
    try:
        info = frames.open()
        ground, tally = _count(frames, info, source, detector, on_progress, annotate)
        if heatmap:
            write_heatmap(heatmap, ground, (info.width, info.height), tally.heat)
        return tally
    finally:
        frames.close()


def _count(
    frames: FrameSource,
    info: SourceInfo,
    source: CameraSettings,
    detector_settings: DetectorSettings,
    on_progress: Progress,
    annotate: Path | None,
) -> tuple[Image | None, Tally]:
    """Count; return the last picture too, if there are any."""
    lines, zones = shapes(source.name, source.lines, source.zones, info.width, info.height)
    detector = None
    if info.class_names:
        check_classes(source.source, source.classes, info.class_names)
    else:
        detector = Detector(Path(detector_settings.model), detector_settings, source.classes)
    class_names = info.class_names or (detector.class_names if detector else ())
    measured = measuring(source, info.width, info.height)
    configured = CameraConfigured(info.width, info.height, source_kind(source.source), lines, zones)
    pipeline = Pipeline(
        CameraPlan(configured, class_names, measuring=measured),
        detect_with(detector, class_names, source.classes),
    )
    tally = empty_tally(lines, zones, list(measured.gates))
    annotator = Annotator(annotate, info, lines, zones) if annotate else None
    ground = None
    try:
        while not frames.is_finished:
            frame = frames.read(READ_TIMEOUT_S)
            if frame is None:
                continue
            tally.saw(frame.captured_at_ms)
            ground = frame.image
            tally.add(pipeline.feed(frame))
            if annotator and pipeline.tracks is not None:
                totals = {line.name: (line.in_, line.out) for line in tally.lines}
                annotator.write(frame, pipeline.tracks, class_names, totals)
            on_progress(tally.frames, info.frame_count)
        tally.add(pipeline.finish(), at_end=True)
        if pipeline.left_out:
            warn_left_out(source.name, pipeline.left_out)
    finally:
        if annotator:
            annotator.close()
    tally.frames_expected = info.frame_count
    tally.is_complete = _is_complete(tally.frames, info)
    return ground, tally


def _is_complete(frames: int, info: SourceInfo) -> bool:
    if info.frame_count is None:
        return True
    share = _TOLERATED_SHARE if info.counts_exactly else _TOLERATED_SHARE_OF_ESTIMATE
    return info.frame_count - frames <= max(_TOLERATED_FRAMES, share * info.frame_count)
