"""How right the counts are: wrong counts against ground truth, on MOT sequences and on the demo's video.

    python -m bench.counting                 the demo's video
    python -m bench.counting --data DIR      DIR/<sequence>/{gt,det}.txt, and a video if there is one

With detections from `det.txt` the tracker and the counter are judged alone; with a video the whole edge pipeline is.
"""

import argparse
import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._report import arguments, progress, show
from bench._truth import Counts, standard_lines, true_crossings, wrong
from deploy.material import demo_video, model_file
from edge.config import CameraSettings, DetectorSettings
from edge.recount import count

# Width, height and frames per second of the MOT15 training sequences, which carry no description of their own.
SEQUENCES = {
    "ADL-Rundle-6": (1920, 1080, 30.0),
    "ADL-Rundle-8": (1920, 1080, 30.0),
    "ETH-Bahnhof": (640, 480, 14.0),
    "ETH-Pedcross2": (640, 480, 14.0),
    "ETH-Sunnyday": (640, 480, 14.0),
    "KITTI-13": (1242, 375, 10.0),
    "KITTI-17": (1224, 370, 10.0),
    "PETS09-S2L1": (768, 576, 7.0),
    "TUD-Campus": (640, 480, 25.0),
    "TUD-Stadtmitte": (640, 480, 25.0),
    "Venice-2": (1920, 1080, 30.0),
}
# The demo's video is this sequence; in and out of the eight lines, by its published ground truth.
DEMO_SEQUENCE = "PETS09-S2L1"
DEMO_TRUTH = [(8, 5), (18, 13), (18, 13), (18, 13), (18, 14), (11, 14), (13, 19), (8, 12)]
VIDEO_SUFFIXES = {".mp4", ".avi", ".mkv"}


@dataclass(frozen=True)
class Case:
    """One sequence, by its detections or by its video."""

    sequence: str
    kind: str
    source: str
    truth: Counts
    strict_truth: Counts
    width: int
    height: int
    fps: float


def cases(folder: Path, *, with_video: bool) -> list[Case]:
    """Return what can be judged in a folder of sequences."""
    found: list[Case] = []
    for gt in sorted(folder.glob("*/gt.txt")) + sorted(folder.glob("*/gt/gt.txt")):
        home = gt.parent if gt.parent.name != "gt" else gt.parent.parent
        size = _size(home)
        if size is None:
            progress(f"{home.name}: left out, its picture size is unknown (no seqinfo.ini)")
            continue
        lines = standard_lines(*size[:2])
        truth, strict = true_crossings(gt, lines), true_crossings(gt, lines, strict=True)
        det = next((path for path in (home / "det.txt", home / "det/det.txt") if path.exists()), None)
        if det:
            found.append(Case(home.name, "detections", f"mot:{det}", truth, strict, *size))
        video = _video(home) if with_video else None
        if video:
            found.append(Case(home.name, "video", str(video), truth, strict, *size))
    return found


def judge(case: Case, detector: DetectorSettings) -> dict[str, Any]:
    """Count one case and compare it with the truth."""
    lines = standard_lines(case.width, case.height)
    camera = CameraSettings(
        name="bench",
        source=case.source,
        lines=lines,
        realtime=False,
        size=(case.width, case.height),
        fps=case.fps,
    )
    tally = count(camera, detector, lambda _done, _all: None)
    counted = [(line.in_, line.out) for line in tally.lines]
    total, strict_total = (sum(map(sum, truth)) for truth in (case.truth, case.strict_truth))
    errors, strict_errors = wrong(counted, case.truth), wrong(counted, case.strict_truth)
    return {
        "sequence": case.sequence,
        "kind": case.kind,
        "wrong": errors,
        "truth": total,
        "wape": round(errors / total, 4) if total else None,
        "strict_wrong": strict_errors,
        "strict_truth": strict_total,
        "strict_wape": round(strict_errors / strict_total, 4) if strict_total else None,
        "counted_per_line": counted,
        "truth_per_line": case.truth,
    }


def main() -> None:
    """Judge all sequences of a folder."""
    parser = arguments("Counting error against ground truth.")
    parser.add_argument(
        "--data", type=Path, help="folder of MOT sequences: <name>/{gt,det}.txt; default: the demo's video"
    )
    parser.add_argument("--no-video", action="store_true", help="judge tracker and counter on det.txt alone")
    parser.add_argument("--model", default="yolo11n")
    options = parser.parse_args()
    chosen = cases(options.data, with_video=not options.no_video) if options.data else _demo()
    results = [_judged(case, options) for case in chosen]
    overall = _overall(results)
    columns = ["sequence", "kind", "wrong", "truth", "wape", "strict_wrong", "strict_truth", "strict_wape"]
    rows = [[result[column] for column in columns] for result in [*results, *overall]]
    show(
        "Wrong counts over eight lines",
        ["sequence", "from", "wrong", "truth", "WAPE", "wrong (strict)", "truth (strict)", "WAPE (strict)"],
        rows,
        {"sequences": results, "overall": overall},
        as_json=options.json,
    )


def _demo() -> list[Case]:
    video = demo_video(_quiet)
    if video is None:
        raise SystemExit("The demo's video cannot be had here: give a folder of sequences with --data.")
    return [Case(DEMO_SEQUENCE, "video", str(video), DEMO_TRUTH, DEMO_TRUTH, *SEQUENCES[DEMO_SEQUENCE])]


def _judged(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    progress(f"{case.sequence} ({case.kind}) ...")
    model = str(model_file(options.model, _quiet)) if case.kind == "video" else ""
    return judge(case, DetectorSettings(model=model or "none"))


def _overall(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for kind in ("detections", "video"):
        chosen = [result for result in results if result["kind"] == kind]
        sums = {
            key: sum(result[key] for result in chosen)
            for key in ("wrong", "truth", "strict_wrong", "strict_truth")
        }
        if sums["truth"]:
            shares = {
                "wape": round(sums["wrong"] / sums["truth"], 4),
                "strict_wape": round(sums["strict_wrong"] / max(1, sums["strict_truth"]), 4),
            }
            rows.append({"sequence": "all", "kind": kind, **sums, **shares})
    return rows


def _size(home: Path) -> tuple[int, int, float] | None:
    description = home / "seqinfo.ini"
    if description.exists():
        parsed = configparser.ConfigParser()
        parsed.read(description)
        about = parsed["Sequence"]
        return int(about["imWidth"]), int(about["imHeight"]), float(about["frameRate"])
    return SEQUENCES.get(home.name)


def _video(home: Path) -> Path | None:
    own = next((path for path in sorted(home.iterdir()) if path.suffix in VIDEO_SUFFIXES), None)
    return own or (demo_video(_quiet) if home.name == DEMO_SEQUENCE else None)


def _quiet(sentence: str, share: float | None = None) -> None:
    del share
    progress(sentence)


if __name__ == "__main__":
    main()
