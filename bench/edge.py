"""What the edge pipeline costs beside its detector: ms a frame, against onnxruntime alone in the same run.

    python -m bench.edge [--video FILE] [--frames N]

Each frame is processed twice, one after the other, by turns first: once by the whole pipeline as an agent runs it
(letterbox, inference, decoding, suppression, tracking, counting over eight lines), once by onnxruntime alone on the
same input. Decoding the video is told apart.
"""

import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from bench._report import arguments, progress, show
from bench._truth import standard_lines
from countline.events import CameraConfigured
from deploy.material import demo_video, model_file
from edge.agent import detect_with
from edge.config import DetectorSettings
from edge.count.rules import shapes
from edge.detect.letterbox import Letterbox
from edge.detector import Detector, default_threads
from edge.frames import Frame, Image
from edge.pipeline import CameraPlan, Pipeline

WARM_UP_FRAMES = 5


def main() -> None:
    """Measure and print."""
    parser = arguments("Milliseconds a frame of the edge pipeline against onnxruntime alone.")
    parser.add_argument("--video", type=Path, help="default: the demo's")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    video = options.video or demo_video(lambda sentence, _share=None: progress(sentence))
    if video is None:
        parser.error("the demo's video cannot be had here: give one with --video")
    model = model_file(options.model, lambda sentence, _share=None: progress(sentence))
    settings = DetectorSettings(model=str(model), threads=options.threads)
    pictures, decode_ms = _pictures(video, options.frames + WARM_UP_FRAMES)
    pipeline_ms, bare_ms = _measure(pictures, model, settings)
    pipeline, bare = statistics.median(pipeline_ms), statistics.median(bare_ms)
    overhead = [whole - alone for whole, alone in zip(pipeline_ms, bare_ms, strict=True)]
    result = {
        "frames": len(pipeline_ms),
        "pipeline_ms": round(pipeline, 2),
        "onnxruntime_ms": round(bare, 2),
        "ratio": round(pipeline / bare, 3),
        "overhead_ms": round(statistics.median(overhead), 2),
        "video_decode_ms": round(decode_ms, 2),
    }
    rows = [
        ["onnxruntime alone", result["onnxruntime_ms"]],
        ["whole pipeline", result["pipeline_ms"]],
        ["the difference, by frame", result["overhead_ms"]],
        ["pipeline / onnxruntime", result["ratio"]],
        ["(decoding the video)", result["video_decode_ms"]],
    ]
    show(f"Median of {len(pipeline_ms)} frames", ["", "ms"], rows, result, as_json=options.json)


def _pictures(video: Path, n: int) -> tuple[list[Image], float]:
    capture = cv2.VideoCapture(str(video))
    pictures: list[Image] = []
    started_s = time.perf_counter()
    while len(pictures) < n:
        ok, picture = capture.read()
        if not ok:
            break
        pictures.append(np.asarray(picture, dtype=np.uint8))
    spent_ms = (time.perf_counter() - started_s) * 1000
    capture.release()
    return pictures, spent_ms / max(1, len(pictures))


def _measure(
    pictures: list[Image], model: Path, settings: DetectorSettings
) -> tuple[list[float], list[float]]:
    height, width = pictures[0].shape[:2]
    detector = Detector(model, settings, ["person"])
    lines, zones = shapes("bench", standard_lines(width, height), [], width, height)
    plan = CameraPlan(CameraConfigured(width, height, "video", lines, zones), detector.class_names)
    pipeline = Pipeline(plan, detect_with(detector, detector.class_names, ["person"]))
    session, name, tensor = _bare(model, detector, pictures[0], settings.threads)
    whole_ms: list[float] = []
    bare_ms: list[float] = []
    for index, picture in enumerate(pictures):
        frame = Frame(index, index * 100, picture)
        jobs = [
            (whole_ms, lambda frame=frame: pipeline.feed(frame)),
            (bare_ms, lambda: session.run(None, {name: tensor})),
        ]
        for times, job in jobs if index % 2 else reversed(jobs):
            started_s = time.perf_counter()
            job()
            times.append((time.perf_counter() - started_s) * 1000)
    return whole_ms[WARM_UP_FRAMES:], bare_ms[WARM_UP_FRAMES:]


def _bare(
    model: Path, detector: Detector, picture: Image, threads: int
) -> tuple[ort.InferenceSession, str, np.ndarray]:
    """Return a session of its own with the same threads, and an input of the same size that is ready to run."""
    height, width = picture.shape[:2]
    letterbox = Letterbox((width, height), detector.input_size(width, height))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model), sess_options=options, providers=list(detector.providers))
    return session, session.get_inputs()[0].name, letterbox(picture).copy()


if __name__ == "__main__":
    main()
