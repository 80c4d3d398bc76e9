"""`countline models measure`: how fast each backend is here, and whether it sees and counts what fp32 onnxruntime does.

All backends look at the same frames, by turns, so that a busy machine is busy for all of them.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
from numpy.typing import NDArray

from countline.clock import SystemClock
from countline.errors import UsageError
from countline.events import CameraConfigured
from edge.arrays import Detections
from edge.capture import open_source
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.count.rules import shapes
from edge.detect.measured import Measurement, Result, new
from edge.detector import Detector
from edge.frames import Frame, FrameSource, SourceInfo
from edge.pipeline import CameraPlan, Pipeline

# What fp32 is at least so sure of is the truth for the others; what is weaker is left to the ranking.
SURE = 0.25
OVERLAP = 0.5
READ_TIMEOUT_S = 30.0
# Compiling, caches and first pages.
WARM_UP_FRAMES = 3

Told = Callable[[int, int | None], object]


@dataclass(frozen=True)
class Subject:
    """One way to run a model.

    Attributes:
        model: The ONNX file: the same for all, but for a quantised one.
        backend: "onnxruntime" or "openvino".
        precision: "f32", "bf16" or "f16".
    """

    model: Path
    backend: str
    precision: str


@dataclass
class _Runner:
    """A subject at work."""

    subject: Subject
    detector: Detector
    pipeline: Pipeline
    took_ms: list[float] = field(default_factory=list)
    seen: list[Detections] = field(default_factory=list)


def subjects(model: Path, settings: DetectorSettings) -> list[Subject]:
    """Return what can run a model here: onnxruntime first, then OpenVINO in each of its number formats.

    A model of a fixed provider other than the processor is measured with onnxruntime alone.
    """
    found = [Subject(model, "onnxruntime", "f32")]
    if settings.provider not in {"auto", "cpu"}:
        return found
    try:
        precisions = importlib.import_module("edge.detect.run_openvino").precisions()
    except ImportError:
        return found
    return [*found, *(Subject(model, "openvino", precision) for precision in precisions)]


def measure(
    compared: Sequence[Subject], settings: DetectorSettings, camera: CameraSettings, frames: int, told: Told
) -> Measurement:
    """Let each subject detect and count on the same frames, and compare it with the first of them.

    Args:
        compared: The first is the measure of all.
        settings: Of the detector; backend, precision and model are the subjects'.
        camera: The footage; `realtime` must be False. Its lines are left aside: eight standard ones are counted over.
        frames: At most so many, from its start.
        told: Called after each frame.

    Raises:
        UsageError: The footage or the model cannot be read, or holds too few frames.
    """
    source = open_source(camera, SystemClock())
    try:
        info = source.open()
        runners = [_runner(subject, settings, camera, info) for subject in compared]
        for done, frame in enumerate(_frames(source, frames), start=1):
            # Each is the first as often as the last.
            for i in range(len(runners)):
                _look(runners[(done + i) % len(runners)], frame)
            told(done, min(frames, info.frame_count or frames))
    finally:
        source.close()
    n = len(runners[0].seen)
    if n <= WARM_UP_FRAMES:
        raise UsageError(f"{camera.source} has {n} frames, more than {WARM_UP_FRAMES} are needed to measure.")
    counts = [_counts(runner) for runner in runners]
    results = [
        _result(runner, runners[0], count, counts[0]) for runner, count in zip(runners, counts, strict=True)
    ]
    return new(compared[0].model, n, results)


def _runner(
    subject: Subject, settings: DetectorSettings, camera: CameraSettings, info: SourceInfo
) -> _Runner:
    own = msgspec.structs.replace(settings, backend=subject.backend, precision=subject.precision)
    detector = Detector(subject.model, own, camera.classes)
    lines, _ = shapes("footage", standard_lines(), [], info.width, info.height)
    configured = CameraConfigured(info.width, info.height, "video", lines, [])
    return _Runner(subject, detector, Pipeline(CameraPlan(configured, detector.class_names)))


def standard_lines() -> list[LineSettings]:
    """Return eight lines across a picture, in fractions of it: five upright, three level."""
    upright = [LineSettings(f"x{at}", [(at / 100, 0.0), (at / 100, 1.0)]) for at in (25, 40, 50, 60, 75)]
    return [*upright, *(LineSettings(f"y{at}", [(0.0, at / 100), (1.0, at / 100)]) for at in (40, 50, 60))]


def _frames(source: FrameSource, most: int) -> Iterator[Frame]:
    n = 0
    while n < most and not source.is_finished:
        frame = source.read(READ_TIMEOUT_S)
        if frame is not None and frame.image is not None:
            n += 1
            yield frame


def _look(runner: _Runner, frame: Frame) -> None:
    assert frame.image is not None
    clock = SystemClock()
    before_s = clock.monotonic_s()
    found = runner.detector(frame.image)
    runner.took_ms.append((clock.monotonic_s() - before_s) * 1000)
    runner.seen.append(found)
    runner.pipeline.count(found, frame.captured_at_ms)


def _counts(runner: _Runner) -> NDArray[np.int64]:
    """Return in and out of each line: int64, shape (8, 2)."""
    runner.pipeline.finish()
    totals = runner.pipeline.totals()
    names = [line.name for line in standard_lines()]
    return np.array([(totals[name].in_, totals[name].out) for name in names], dtype=np.int64)


def _result(
    runner: _Runner, reference: _Runner, counts: NDArray[np.int64], expected: NDArray[np.int64]
) -> Result:
    took, took_by_reference = runner.took_ms[WARM_UP_FRAMES:], reference.took_ms[WARM_UP_FRAMES:]
    n = int(expected.sum())
    return Result(
        model=runner.subject.model.stem,
        backend=runner.subject.backend,
        precision=runner.subject.precision,
        median_ms=round(median(took), 2),
        # Of each frame, and then their median: what slows a moment slows both.
        time_ratio=round(median(a / b for a, b in zip(took, took_by_reference, strict=True)), 3),
        agreement=round(agreement(reference.seen, runner.seen), 4),
        wape=round(int(np.abs(counts - expected).sum()) / n, 4) if n else None,
        counted=n,
    )


def agreement(expected: Sequence[Detections], found: Sequence[Detections]) -> float:
    """Return the mean over classes of the average precision at an overlap of 0.5, 0 to 1; 1 if nothing was expected.

    Args:
        expected: Per frame; those of a score of at least `SURE` are the truth.
        found: Per frame, of the same frames.
    """
    truths = [seen.class_id[seen.score >= SURE] for seen in expected]
    classes = np.unique(np.concatenate(truths)) if truths else np.zeros(0, dtype=np.int16)
    if not len(classes):
        return 1.0
    return float(np.mean([_average_precision(expected, found, int(cls)) for cls in classes]))


def _average_precision(expected: Sequence[Detections], found: Sequence[Detections], cls: int) -> float:
    scores: list[NDArray[np.float32]] = []
    hits: list[NDArray[np.bool_]] = []
    n_true = 0
    for truth, seen in zip(expected, found, strict=True):
        boxes = truth.xyxy[(truth.class_id == cls) & (truth.score >= SURE)]
        is_class = seen.class_id == cls
        n_true += len(boxes)
        scores.append(seen.score[is_class])
        hits.append(_hits(boxes, seen.xyxy[is_class], seen.score[is_class]))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    is_hit = np.concatenate(hits)[order]
    precision = np.cumsum(is_hit) / np.arange(1, len(is_hit) + 1)
    # The best precision at this recall or any higher, as PASCAL and COCO have it; what is never found adds nothing.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[is_hit].sum() / n_true)


def _hits(
    truth: NDArray[np.float32], boxes: NDArray[np.float32], scores: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Return which boxes are the first, best first, to find a true box that is still free."""
    hits = np.zeros(len(boxes), dtype=np.bool_)
    free = np.ones(len(truth), dtype=np.bool_)
    for row in np.argsort(-scores, kind="stable"):
        overlap = np.where(free, _overlap(boxes[row], truth), 0)
        if len(overlap) and overlap.max() >= OVERLAP:
            hits[row] = True
            free[overlap.argmax()] = False
    return hits


def _overlap(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.clip(sides, 0, None).prod(axis=1)
    return both / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both)
