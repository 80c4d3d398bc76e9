"""The backends of the speed table: which is the fastest that agrees, a model in 8-bit integers, and what they count.

All of it by the product's own code, `countline models measure` and `countline models quantise`, without keeping anything.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench._report import progress
from bench._truth import Counts, standard_lines, wrong
from bench.counting import DEMO_SEQUENCE, DEMO_TRUTH, SEQUENCES
from deploy import measure, quantise
from deploy.doctor import probe
from deploy.measure import Subject
from edge.config import CameraSettings, DetectorSettings
from edge.detect.measured import Measurement, Result
from edge.detector import Detector
from edge.recount import count

REFERENCE = "onnxruntime f32"


def compare_backends(settings: DetectorSettings, camera: CameraSettings, frames: int) -> Measurement:
    """Measure all backends that start here on the same frames, as `countline models measure` does."""
    model = Path(settings.model)
    # A library that was built for another processor would take this process along: another one tries it.
    starts = not isinstance(probe("openvino", ""), str)
    compared = measure.subjects(model, settings) if starts else [Subject(model, "onnxruntime", "f32")]
    return measure.measure(compared, settings, camera, frames, _quiet)


def quantised(
    settings: DetectorSettings, camera: CameraSettings, frames: int, target: Path
) -> tuple[Result, Result]:
    """Write the model in 8-bit integers, calibrated on the footage, as `countline models quantise` does.

    Args:
        settings: Of the detector, in float32 by onnxruntime.
        camera: The footage.
        frames: To compare both on.
        target: Where to write it. If no recipe agrees with float32, the last one's stays.

    Returns:
        How float32 and the integers did, on the same frames by turns.

    Raises:
        UsageError: `onnx` is missing, or the model cannot be quantised.
    """
    model = Path(settings.model)
    inputs = quantise.calibration(Detector(model, settings, camera.classes), camera)
    results: list[Result] = []
    for recipe in quantise.recipes("onnxruntime"):
        quantise.quantise(model, target, recipe, inputs)
        compared = [Subject(model, "onnxruntime", "f32"), Subject(target, "onnxruntime", "f32")]
        results = measure.measure(compared, settings, camera, frames, _quiet).results
        if results[1].is_offered:
            break
    plain, integers = results
    return plain, integers


def why_none(found: Measurement) -> str:
    """Say in a few words why no other backend than onnxruntime is the best one."""
    others = [one for one in found.results if one.backend != "onnxruntime"]
    if not others:
        return "no openvino here"
    if not any(one.is_offered for one in others):
        return f"none of {len(others)} agrees"
    return "none is faster"


def told(one: Result) -> str:
    """Tell in a few words how one backend did against the reference."""
    verdict = "" if one.is_offered else f", disagrees ({one.agreement:.2f})"
    moved = "" if one.wape is None else f", {round(one.wape * one.counted)}/{one.counted} off"
    return f"{one.time_ratio:.2f} x{moved}{verdict}"


class Judge:
    """Counts a whole video over the eight lines with any detector, each once."""

    def __init__(self, video: Path, size: tuple[int, int], *, is_demo: bool) -> None:
        """Take the video.

        Args:
            video: To count.
            size: Of its picture.
            is_demo: Whether its truth is known; else fp32's counts are taken for it.
        """
        width, height = SEQUENCES[DEMO_SEQUENCE][:2] if is_demo else size
        self._camera = CameraSettings("bench", str(video), standard_lines(width, height), realtime=False)
        self._truth: Counts | None = DEMO_TRUTH if is_demo else None
        self.what = "wrong" if is_demo else "off fp32"
        self._counts: dict[bytes, Counts] = {}

    def errors(self, settings: DetectorSettings, reference: DetectorSettings) -> tuple[int, int]:
        """Return wrong and true counts of the whole video.

        Args:
            settings: Of the detector.
            reference: Whose counts are taken for the truth where it is not known.
        """
        truth = self._truth or self._counted(reference)
        return wrong(self._counted(settings), truth), sum(map(sum, truth))

    def _counted(self, settings: DetectorSettings) -> Counts:
        key = msgspec.json.encode(settings)
        if key not in self._counts:
            progress(f"counting the whole video with {Path(settings.model).stem}, {settings.backend} ...")
            tally = count(self._camera, settings, _quiet)
            self._counts[key] = [(line.in_, line.out) for line in tally.lines]
        return self._counts[key]


def wape_rows(
    errors: Mapping[str, tuple[int, int]], goal: str = "", what: str = "wrong"
) -> list[list[object]]:
    """Return a row of the table for each name with its wrong and true counts; the last one has the goal.

    `what` says what the errors are: "wrong" by a known truth.
    """
    rows: list[list[object]] = [
        [
            f"  WAPE, {name}, whole video",
            f"{wrong_counts / true:.3f}" if true else "-",
            f"{wrong_counts}/{true} {what}",
            "",
        ]
        for name, (wrong_counts, true) in errors.items()
    ]
    rows[-1][-1] = goal
    return rows


def _quiet(_done: int, _all: int | None) -> None:
    pass
