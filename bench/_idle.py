"""The processor time of an agent on a still scene, with the motion gate and without."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench._loop import processor_ms
from bench._report import progress
from bench._truth import standard_lines
from edge.config import CameraSettings, DetectorSettings, EvidenceSettings
from edge.detector import Detector
from edge.frames import Image

FPS = 25.0
# The gate learns for five seconds and trusts its eyes a second and a half later; then twelve seconds are measured.
LEARN_FRAMES, STILL_FRAMES = 200, 300
# Grey levels by which a sensor's pixels differ from picture to picture.
NOISE = 2.0
EMPTY_OF, EMPTY_EVERY = 25, 30
GOAL = "10 %"
Row = Sequence[object]


def measure_idle(video: Path, settings: DetectorSettings, rows: list[Row]) -> dict[str, Any]:
    """Measure the processor time of a still scene, with the motion gate and without.

    Args:
        video: The scene is what stands still in it.
        settings: Of the detector.
        rows: What was measured is added: name, value, ratio, goal.
    """
    progress("idle scene ...")
    scene = _empty(video)
    detector = Detector(Path(settings.model), settings, ["person"])
    size = scene.shape[1], scene.shape[0]
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short", Path(folder) / "long"
        _still_pictures(scene, short, long)
        idle_ms, always_ms = (
            _idle_ms(long, size, detector, has_gate=has_gate)
            - _idle_ms(short, size, detector, has_gate=has_gate)
            for has_gate in (True, False)
        )
    idle_ms, always_ms = idle_ms / STILL_FRAMES, always_ms / STILL_FRAMES
    share = idle_ms / always_ms
    name = f"idle scene, {STILL_FRAMES}"
    rows.append([name, f"{idle_ms:.2f} ms of CPU", f"{share:.1%} of busy", GOAL])
    rows.append(["  without the motion gate", f"{always_ms:.2f} ms of CPU", "", ""])
    return {
        "frames": STILL_FRAMES,
        "cpu_ms": round(idle_ms, 2),
        "cpu_without_gate_ms": round(always_ms, 2),
        "share": round(share, 3),
    }


def _still_pictures(scene: Image, short: Path, long: Path) -> None:
    """Write a scene with a camera's noise: as long as the gate learns, and longer by `STILL_FRAMES`."""
    rng = np.random.default_rng(1)
    short.mkdir()
    long.mkdir()
    for index in range(LEARN_FRAMES):
        noisy = np.clip(scene + rng.normal(0, NOISE, scene.shape), 0, 255).astype(np.uint8)
        jpeg = cv2.imencode(".jpg", noisy)[1].tobytes()
        (short / f"{index:06}.jpg").write_bytes(jpeg)
        for again in range(index, LEARN_FRAMES + STILL_FRAMES, LEARN_FRAMES):
            (long / f"{again:06}.jpg").write_bytes(jpeg)


def _idle_ms(pictures: Path, size: tuple[int, int], detector: Detector, *, has_gate: bool) -> float:
    evidence = EvidenceSettings(motion_gate=has_gate)
    camera = CameraSettings(
        "idle", str(pictures), standard_lines(*size), realtime=False, fps=FPS, evidence=evidence
    )
    return processor_ms(camera, detector)


def _empty(video: Path) -> Image:
    """Return the scene without those who walk through it: the median of pictures from all over the video."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    pictures: list[Image] = []
    for index in range(EMPTY_OF * EMPTY_EVERY):
        if not capture.grab():
            break
        if index % EMPTY_EVERY == 0:
            pictures.append(np.asarray(capture.retrieve()[1], dtype=np.uint8))
    capture.release()
    return np.median(pictures, axis=0).astype(np.uint8)
