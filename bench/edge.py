"""What counting costs beside its detector, against onnxruntime alone and what people use today, all in one run.

    python -m bench.edge [--video FILE] [--blocks N] [--peers] [--wape] [--only ROW ...] [--json]

- `loop`: a whole agent on a video as fast as it goes (decoding, letterbox, inference, tracking, eight lines, a durable
  outbox), in blocks of frames; in the pause after each block the same model runs alone on an input that is ready, and
  with `--peers` Ultralytics' ObjectCounter (one line, video decoding too), for as many frames. Ratios are by block.
- `best`: all backends are measured as `countline models measure` does; then the same loop with the fastest that agrees,
  against the same onnxruntime alone, and with `--peers` Ultralytics' ObjectCounter with that backend.
- `int8`: the model in 8-bit integers, made and compared with fp32 as `countline models quantise` does, calibrated on
  the video. Nothing of it is kept.
- `people`: tracker and eight lines with 20 people who walk, without a detector; with `--peers` beside it SORT of
  `trackers` with eight `LineZone` of `supervision`, frame by frame by turns.
- `idle`: processor time of an agent on a still scene with a camera's noise, by that on the same pictures without the
  motion gate.
- `memory`: the peak of an agent in a process of its own, that plays the video live (`bench.memory`).

With `--wape` the whole video is counted over the eight lines too: by fp32, by the best backend and by the integers. The
demo's video has a known truth; of another one fp32's counts are taken for it.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnxruntime as ort

from bench._backends import REFERENCE, Judge, compare_backends, quantised, told, wape_rows, why_none
from bench._idle import measure_idle
from bench._loop import measure_loop
from bench._peers import is_installed
from bench._people import measure_people
from bench._report import arguments, progress, show
from bench._truth import standard_lines
from bench.memory import watch_agent
from countline.errors import UsageError
from deploy.material import demo_video, model_file
from edge.config import CameraSettings, DetectorSettings
from edge.detector import Detector, default_threads

ROWS = ("loop", "best", "int8", "people", "idle", "memory")
GOALS = {"loop": "1.03 x", "best": "0.62 x", "int8": "0.55 x", "int8 wape": "+0.01", "memory": "250 MB"}
COLUMNS = ["", "measured", "ratio", "goal"]
ALONE = "onnxruntime alone"
COUNTER = "Ultralytics ObjectCounter"
# Its counter needs both others, and tries to install them by itself otherwise.
COUNTER_NEEDS = ("ultralytics", "shapely", "lap")
NOT_INSTALLED = "not installed"
Row = Sequence[object]


@dataclass(frozen=True)
class Bench:
    """What all rows are measured with.

    Attributes:
        video: The footage.
        settings: Of the detector: fp32 by onnxruntime.
        frames: In a block.
        blocks: How many.
        compared: Frames on which backends are compared.
        with_peers: Measure others too.
        judge: Counts the whole video; None if nobody asked.
    """

    video: Path
    settings: DetectorSettings
    frames: int
    blocks: int
    compared: int
    with_peers: bool
    judge: Judge | None

    @property
    def footage(self) -> CameraSettings:
        """The video as a recording, without lines."""
        return CameraSettings("footage", str(self.video), realtime=False)


def main() -> None:
    """Measure and print."""
    parser = arguments("What counting costs beside its detector.")
    parser.add_argument("--video", type=Path, help="default: the demo's")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--frames", type=int, default=40, help="in a block; default 40")
    parser.add_argument("--blocks", type=int, default=10, help="of `loop` and `best`; default 10")
    parser.add_argument(
        "--compared", type=int, default=100, help="frames to compare backends on; default 100"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of `memory`; default 10")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument(
        "--peers", action="store_true", help="measure others too, as far as they are installed"
    )
    parser.add_argument("--wape", action="store_true", help="count the whole video too, in minutes")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, help="rows to measure")
    options = parser.parse_args()
    video = options.video or demo_video(_say)
    if video is None:
        parser.error("the demo's video cannot be had here: give one with --video")
    settings = DetectorSettings(
        model=str(model_file(options.model, _say)), threads=options.threads, backend="onnxruntime"
    )
    judge = Judge(video, _size_of(video), is_demo=options.video is None) if options.wape else None
    bench = Bench(video, settings, options.frames, options.blocks, options.compared, options.peers, judge)
    rows: list[Row] = []
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "loop": lambda: measure_whole(bench, settings, rows, "loop"),
        "best": lambda: measure_best(bench, rows),
        "int8": lambda: measure_int8(bench, rows),
        "people": lambda: measure_people(rows, with_peers=options.peers),
        "idle": lambda: measure_idle(video, settings, rows),
        "memory": lambda: measure_memory(bench, rows, options.seconds),
    }
    try:
        result = {name: measures[name]() for name in ROWS if name in options.only}
    except UsageError as error:
        raise SystemExit(f"error: {error}") from error
    show(
        f"Speed with {options.model}, medians of one run; at the end of a name: of how many frames",
        COLUMNS,
        rows,
        result,
        as_json=options.json,
    )


def _say(sentence: str, _share: float | None = None) -> None:
    progress(sentence)


def measure_whole(bench: Bench, settings: DetectorSettings, rows: list[Row], goal: str) -> dict[str, Any]:
    """Measure a whole agent beside onnxruntime alone, and beside Ultralytics with the same backend.

    Args:
        bench: What all is measured with; its own settings are those of onnxruntime alone.
        settings: Of the agent's detector.
        rows: What was measured is added.
        goal: Whose goal it is.
    """
    name = f"loop, {settings.backend} {settings.precision}"
    progress(f"{name} ...")
    others = {ALONE: _bare(bench.settings, bench.video)}
    has_counter = bench.with_peers and is_installed(*COUNTER_NEEDS)
    with tempfile.TemporaryDirectory() as folder:
        if has_counter:
            others[COUNTER] = _object_counter(settings, bench.video, Path(folder))
        width, height = _size_of(bench.video)
        camera = CameraSettings(
            "bench", str(bench.video), standard_lines(width, height), loop=True, realtime=False
        )
        detector = Detector(Path(settings.model), settings, ["person"])
        measured = measure_loop(camera, detector, others, bench.frames, bench.blocks)
    n = len(measured.loop_ms)
    loop_ms = statistics.median(measured.loop_ms)
    ratio = measured.ratio(ALONE)
    rows.append(
        [
            f"{name}, {n} x {bench.frames}",
            f"{loop_ms:.2f} ms",
            f"{ratio:.3f} x alone",
            GOALS[goal],
        ]
    )
    found: dict[str, Any] = {
        "backend": settings.backend,
        "precision": settings.precision,
        "blocks": n,
        "frames_in_block": bench.frames,
        "loop_ms": round(loop_ms, 2),
    }
    for other, spent_ms in measured.others_ms.items():
        by_bare = statistics.median(
            one / bare for one, bare in zip(spent_ms, measured.others_ms[ALONE], strict=True)
        )
        other_ms = statistics.median(spent_ms)
        rows.append(
            [f"  {other}", f"{other_ms:.2f} ms", f"{by_bare:.3f} x alone" if other != ALONE else "", ""]
        )
        key = other.lower().replace(" ", "_")
        found |= {f"{key}_ms": round(other_ms, 2), f"loop_by_{key}": round(measured.ratio(other), 3)}
    if bench.with_peers and not has_counter:
        rows.append([f"  {COUNTER}", NOT_INSTALLED, "", ""])
    return found


def measure_best(bench: Bench, rows: list[Row]) -> dict[str, Any]:
    """Choose the fastest backend that agrees, and measure a whole agent with it."""
    progress("backends ...")
    found = compare_backends(bench.settings, bench.footage, bench.compared)
    best = found.best()
    result: dict[str, Any] = {"compared": msgspec.to_builtins(found.results), "frames": found.frames}
    if best is None:
        rows.append(["loop, best backend", why_none(found), "", GOALS["best"]])
    else:
        settings = msgspec.structs.replace(bench.settings, backend=best.backend, precision=best.precision)
        result |= measure_whole(bench, settings, rows, "best")
        if bench.judge:
            result["wape"] = _judged(
                bench.judge, bench.settings, f"{best.backend} {best.precision}", settings, rows
            )
    rows += [
        [
            f"  picture, {one.backend} {one.precision}, {found.frames}",
            f"{one.median_ms:.2f} ms",
            told(one) if index else "",
            "",
        ]
        for index, one in enumerate(found.results)
    ]
    return result


def measure_int8(bench: Bench, rows: list[Row]) -> dict[str, Any]:
    """Make integers of the model and compare them with fp32."""
    name = "picture, onnxruntime INT8"
    if not is_installed("onnx"):
        rows.append((name, "no onnx", "", GOALS["int8"]))
        return {}
    progress("INT8 ...")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{Path(bench.settings.model).stem}.int8.onnx"
        plain, integers = quantised(bench.settings, bench.footage, bench.compared, target)
        rows += [
            [
                f"{name}, {bench.compared}",
                f"{integers.median_ms:.2f} ms",
                told(integers),
                GOALS["int8"],
            ],
            [f"  picture, {REFERENCE}", f"{plain.median_ms:.2f} ms", "", ""],
        ]
        result: dict[str, Any] = {"fp32": msgspec.to_builtins(plain), "int8": msgspec.to_builtins(integers)}
        if bench.judge:
            settings = msgspec.structs.replace(bench.settings, model=str(target))
            result["wape"] = _judged(bench.judge, bench.settings, "INT8", settings, rows, GOALS["int8 wape"])
    return result


def measure_memory(bench: Bench, rows: list[Row], seconds: float) -> dict[str, Any]:
    """Watch an agent as a process of its own."""
    progress("memory ...")
    held = watch_agent(bench.video, bench.settings, 1, seconds)
    rows.append(
        [f"agent, a camera live, {seconds:.0f} s", f"{held['peak_mb']:.0f} MB peak", "", GOALS["memory"]]
    )
    return held


def _judged(
    judge: Judge,
    reference: DetectorSettings,
    name: str,
    settings: DetectorSettings,
    rows: list[Row],
    goal: str = "",
) -> dict[str, Any]:
    progress("WAPE ...")
    errors = {one: judge.errors(of, reference) for one, of in ((REFERENCE, reference), (name, settings))}
    rows += wape_rows(errors, goal, judge.what)
    return {one: {"wrong": wrong, "truth": true} for one, (wrong, true) in errors.items()}


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


def _object_counter(settings: DetectorSettings, video: Path, folder: Path) -> Callable[[], object]:
    """Return Ultralytics' counter on the same video with the same model and backend: one line, one frame a call.

    With OpenVINO it takes the number format that OpenVINO takes by itself. What it needs is written to `folder`.
    """
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    from ultralytics import solutions  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    width, height = _size_of(video)
    into = Detector(Path(settings.model), settings, ["person"]).input_size(width, height)
    counter = solutions.ObjectCounter(
        show=False,
        verbose=False,
        model=_for_openvino(settings, folder) if settings.backend == "openvino" else settings.model,
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


def _for_openvino(settings: DetectorSettings, folder: Path) -> str:
    """Write the model as Ultralytics' own export to OpenVINO does, and return its folder."""
    import openvino  # noqa: PLC0415 - an extra

    # Ultralytics tells the backend by the folder's name, and the model's classes by the file beside it.
    home = folder / f"{Path(settings.model).stem}_openvino_model"
    home.mkdir()
    openvino.save_model(openvino.convert_model(settings.model), home / "model.xml")
    said = ort.InferenceSession(settings.model, providers=["CPUExecutionProvider"]).get_modelmeta()
    lines = [f"{key}: {value}" for key, value in said.custom_metadata_map.items() if key != "description"]
    (home / "metadata.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(home)


def _size_of(video: Path) -> tuple[int, int]:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    capture.release()
    return size


if __name__ == "__main__":
    main()
