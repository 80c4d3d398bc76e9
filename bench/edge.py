"""What counting costs beside its detector, against onnxruntime alone and what people use today, all in one run.

    python -m bench.edge [--video FILE] [--blocks N] [--peers] [--only ROW ...] [--json]

- `loop`: a whole agent on a video as fast as it goes (decoding, letterbox, inference, tracking, eight lines, a durable
  outbox), in blocks of frames; in the pause after each block the same model runs alone on an input that is ready, and
  with `--peers` Ultralytics' ObjectCounter (one line, video decoding too), for as many frames. Ratios are by block.
- `best`: the same with the backend that `--backend` names, against the same onnxruntime alone.
- `people`: tracker and eight lines with 20 people who walk, without a detector; with `--peers` beside it SORT of
  `trackers` with eight `LineZone` of `supervision`, frame by frame by turns.
- `idle`: processor time of an agent on a still scene with a camera's noise, by that on the same pictures without the
  motion gate.
"""

import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnxruntime as ort

from bench._loop import measure_loop, processor_ms
from bench._report import arguments, progress, show
from bench._truth import standard_lines
from countline.events import CameraConfigured
from deploy.material import demo_video, model_file
from edge.arrays import Detections
from edge.config import CameraSettings, DetectorSettings, EvidenceSettings
from edge.count.rules import shapes
from edge.detector import Detector, default_threads
from edge.frames import Image
from edge.pipeline import CameraPlan, Pipeline

ROWS = ("loop", "best", "people", "idle")
PEOPLE = 20
WIDTH, HEIGHT, FPS = 640, 480, 25.0
PEOPLE_FRAMES = 500
# Of them the first are not measured: tracks begin, caches fill.
WARM_UP_FRAMES = 50
# The gate learns for five seconds and trusts its eyes a second and a half later; then twelve seconds are measured. Grey levels by which a sensor's pixels differ from picture to picture.
LEARN_FRAMES, STILL_FRAMES = 200, 300
NOISE = 2.0
EMPTY_OF, EMPTY_EVERY = 25, 30
Row = list[object]


def main() -> None:
    """Measure and print."""
    parser = arguments("What counting costs beside its detector.")
    parser.add_argument("--video", type=Path, help="default: the demo's")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--frames", type=int, default=40, help="in a block")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--backend", default="openvino", help="of the row `best`")
    parser.add_argument("--precision", default="f32", help="of the row `best`: f32, bf16 or f16")
    parser.add_argument(
        "--peers", action="store_true", help="measure others too, as far as they are installed"
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, help="rows to measure")
    options = parser.parse_args()
    video = options.video or demo_video(_say)
    if video is None:
        parser.error("the demo's video cannot be had here: give one with --video")
    settings = DetectorSettings(
        model=str(model_file(options.model, _say)), threads=options.threads, backend="onnxruntime"
    )
    size = options.frames, options.blocks
    rows: list[Row] = []
    result: dict[str, Any] = {}
    if "loop" in options.only:
        others = {"onnxruntime alone": _bare(settings, video)}
        # Its counter needs both others, and tries to install them by itself otherwise.
        if options.peers and all(map(_is_there, ("ultralytics", "shapely", "lap"))):
            others["Ultralytics ObjectCounter"] = _object_counter(settings, video)
        result["loop"] = _loop(video, settings, others, size, rows, "whole loop")
    if "best" in options.only and _is_there(options.backend):
        best = msgspec.structs.replace(settings, backend=options.backend, precision=options.precision)
        others = {"onnxruntime alone": _bare(settings, video)}
        name = f"whole loop, {options.backend} {options.precision}"
        result["best"] = _loop(video, best, others, size, rows, name)
    if "people" in options.only:
        result["people"] = _people(rows, with_peers=options.peers)
    if "idle" in options.only:
        result["idle"] = _idle(video, settings, rows)
    show(
        f"Medians; {size[1]} blocks of {size[0]} frames",
        ["", "ms a frame", ""],
        rows,
        result,
        as_json=options.json,
    )


def _say(sentence: str, _share: float | None = None) -> None:
    progress(sentence)


def _loop(
    video: Path,
    settings: DetectorSettings,
    others: dict[str, Callable[[], object]],
    size: tuple[int, int],
    rows: list[Row],
    name: str,
) -> dict[str, Any]:
    """Measure a whole agent beside others; `size` is frames in a block and blocks."""
    progress(f"{name} ...")
    width, height = _size_of(video)
    camera = CameraSettings("bench", str(video), standard_lines(width, height), loop=True, realtime=False)
    measured = measure_loop(camera, Detector(Path(settings.model), settings, ["person"]), others, *size)
    loop_ms = round(statistics.median(measured.loop_ms), 2)
    rows.append([name, loop_ms, ""])
    found: dict[str, Any] = {"blocks": len(measured.loop_ms), "frames_in_block": size[0], "loop_ms": loop_ms}
    for other, spent_ms in measured.others_ms.items():
        rows.append(
            [f"  {other}", round(statistics.median(spent_ms), 2), f"loop is {measured.ratio(other):.3f} x"]
        )
        key = other.lower().replace(" ", "_")
        found |= {
            f"{key}_ms": round(statistics.median(spent_ms), 2),
            f"loop_by_{key}": round(measured.ratio(other), 3),
        }
    return found


def _bare(settings: DetectorSettings, video: Path) -> Callable[[], object]:
    """Return the model alone: a session of its own with the same threads, and an input of the same size that is ready."""
    detector = Detector(Path(settings.model), settings, ["person"])
    width, height = detector.input_size(*_size_of(video))
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads or default_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(settings.model, sess_options=options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    tensor = np.random.default_rng(1).random((1, 3, height, width), dtype=np.float32)
    return lambda: session.run(None, {name: tensor})


def _object_counter(settings: DetectorSettings, video: Path) -> Callable[[], object]:
    """Return Ultralytics' counter on the same video with the same model: one line, one frame a call."""
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    from ultralytics import solutions  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    width, height = _size_of(video)
    into = Detector(Path(settings.model), settings, ["person"]).input_size(width, height)
    counter = solutions.ObjectCounter(
        show=False,
        verbose=False,
        model=settings.model,
        region=[(width // 2, 0), (width // 2, height)],
        classes=[0],
        imgsz=[into[1], into[0]],
    )
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)

    def count() -> None:
        is_there, image = capture.read()
        if not is_there:
            capture.open(str(video), cv2.CAP_FFMPEG)
            _, image = capture.read()
        counter.process(image)

    return count


def _size_of(video: Path) -> tuple[int, int]:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    return size


def _people(rows: list[Row], *, with_peers: bool) -> dict[str, Any]:
    """Measure tracker and eight lines, ours and theirs on the same detections, by turns."""
    progress("tracker and lines ...")
    counters: dict[str, Callable[[Detections, int], object]] = {"tracker and 8 lines": _ours()}
    if with_peers and _is_there("trackers") and _is_there("supervision"):
        counters["  trackers.SORT and 8 LineZone"] = _theirs()
    spent_ms: dict[str, list[float]] = {name: [] for name in counters}
    turns = list(counters.items())
    for index, seen in enumerate(_walking()):
        for name, count in turns if index % 2 else reversed(turns):
            began_s = time.perf_counter()
            count(seen, round(index * 1000 / FPS))
            spent_ms[name].append((time.perf_counter() - began_s) * 1000)
    medians = {name: statistics.median(spent[WARM_UP_FRAMES:]) for name, spent in spent_ms.items()}
    ours, *theirs = medians.values()
    rows.append([f"tracker and 8 lines, {PEOPLE} people", round(ours, 3), ""])
    rows += [[name, round(ms, 3), f"ours is {ours / ms:.3f} x"] for name, ms in list(medians.items())[1:]]
    found: dict[str, Any] = {"frames": PEOPLE_FRAMES - WARM_UP_FRAMES, "ours_ms": round(ours, 3)}
    return found | (
        {"sort_linezone_ms": round(theirs[0], 3), "ratio": round(ours / theirs[0], 3)} if theirs else {}
    )


def _walking() -> list[Detections]:
    """Return what a detector sees of people who walk to and fro, with a little noise."""
    rng = np.random.default_rng(1)
    start = rng.uniform((0, 120), (WIDTH, HEIGHT), (PEOPLE, 2))
    step = rng.uniform(-4, 4, (PEOPLE, 2))
    top, room = np.array((0, 120)), np.array((WIDTH, HEIGHT - 120))
    frames: list[Detections] = []
    for index in range(PEOPLE_FRAMES):
        # Straight on, and back from the border: a triangle wave.
        gone = (start - top + step * index) % (2 * room)
        foot = np.minimum(gone, 2 * room - gone) + top + rng.normal(0, 1.0, (PEOPLE, 2))
        xyxy = np.hstack([foot - np.array((20, 100)), foot + np.array((20, 0))]).astype(np.float32)
        score = rng.uniform(0.6, 0.95, PEOPLE).astype(np.float32)
        frames.append(Detections(xyxy, score, np.zeros(PEOPLE, dtype=np.int16)))
    return frames


def _ours() -> Callable[[Detections, int], object]:
    lines, zones = shapes("bench", standard_lines(WIDTH, HEIGHT), [], WIDTH, HEIGHT)
    pipeline = Pipeline(CameraPlan(CameraConfigured(WIDTH, HEIGHT, "video", lines, zones), ("person",)))
    return pipeline.count


def _theirs() -> Callable[[Detections, int], object]:
    import supervision  # noqa: PLC0415  # pyright: ignore[reportMissingImports]
    from trackers import SORTTracker  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    tracker = SORTTracker(frame_rate=FPS)
    zones = [
        supervision.LineZone(supervision.Point(*line.points[0]), supervision.Point(*line.points[-1]))
        for line in standard_lines(WIDTH, HEIGHT)
    ]

    def count(seen: Detections, _at_ms: int) -> None:
        found = tracker.update(
            supervision.Detections(xyxy=seen.xyxy, confidence=seen.score, class_id=seen.class_id.astype(int))
        )
        for zone in zones:
            zone.trigger(found)

    return count


def _idle(video: Path, settings: DetectorSettings, rows: list[Row]) -> dict[str, Any]:
    """Measure the processor time of a still scene, with the motion gate and without."""
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
    rows.append(["idle scene, processor time", round(idle_ms, 2), ""])
    rows.append(["  without the motion gate", round(always_ms, 2), f"idle is {share:.3f} x"])
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


def _is_there(package: str) -> bool:
    if importlib.util.find_spec(package) is not None:
        return True
    progress(f"{package} is not installed: left out")
    return False


if __name__ == "__main__":
    main()
