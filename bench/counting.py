"""How right the counts are: wrong counts against ground truth, beside what people use today.

    python -m bench.counting                 the demo's video
    python -m bench.counting --mot DIR       a folder of MOT sequences, or one sequence
    python -m bench.counting --lines WxH     print the eight lines, as `countline count --lines` takes them

A sequence is a folder with `gt.txt`, and `det.txt` or a video, or in MOT's own layout with `gt/gt.txt`, `det/det.txt`,
`img1/` and `seqinfo.ini`. With detections the tracker and the counter are judged alone; with a video or pictures the
whole edge pipeline is. The others (`bench._peers`) get the same detections; of our detector's those that are usual.
The truth is read strictly (`bench._truth`); `--json` tells the other reading too, and every line.
"""

import argparse
import configparser
import fnmatch
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench._peers import HOW_TO_INSTALL, USUAL_CONFIDENCE, peers
from bench._report import arguments, progress, show
from bench._run import seen_in
from bench._truth import Counts, standard_lines, true_crossings, wrong
from countline.errors import UsageError
from deploy.material import demo_video, model_file
from edge.capture.folder import SUFFIXES as PICTURE_SUFFIXES
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
# Whether the camera stands still, by the benchmarks' own descriptions.
CAMERAS = (
    ("ADL-Rundle-8", "moving"),
    ("ETH-*", "moving"),
    ("KITTI-13", "moving"),
    ("MOT1[67]-0[567]*", "moving"),
    ("MOT1[67]-1[01234]*", "moving"),
    *((name, "static") for name in (*SEQUENCES, "MOT1[67]-*", "MOT20-*")),
)
"""Patterns of names; the first that fits decides."""
# The demo's video is this sequence; in and out of the eight lines, by its published ground truth.
DEMO_SEQUENCE = "PETS09-S2L1"
DEMO_TRUTH = [(8, 5), (18, 13), (18, 13), (18, 13), (18, 14), (11, 14), (13, 19), (8, 12)]
VIDEO_SUFFIXES = {".mp4", ".avi", ".mkv"}
OURS = "Countline"

Size = tuple[int, int, float]
"""Width and height in pixels, frames per second."""


@dataclass(frozen=True)
class Case:
    """One sequence, by its detections or by its video.

    Attributes:
        sequence: Its name.
        camera: "static", "moving" or "unknown".
        kind: "detections" or "video".
        source: As of a camera.
        truth: In and out per line, read strictly.
        loose_truth: Where a step onto the line and one off it on the other side are a crossing.
        size: Of its picture, and its rate.
    """

    sequence: str
    camera: str
    kind: str
    source: str
    truth: Counts
    loose_truth: Counts
    size: Size


def cases(folder: Path, *, size: Size | None = None, with_video: bool = True) -> list[Case]:
    """Return what can be judged in a folder of sequences.

    Args:
        folder: Of sequences, or one sequence.
        size: Of sequences that do not say theirs and are not in `SEQUENCES`; others are left out without it.
        with_video: Judge videos and pictures too.

    Raises:
        UsageError: There is no sequence in it.
    """
    found: list[Case] = []
    for home, gt in sequences(folder):
        its_size = size_of(home) or size
        if its_size is None:
            progress(f"{home.name}: left out, its picture size is unknown: give --size WxH --fps N.")
            continue
        lines = standard_lines(*its_size[:2])
        truth, loose = true_crossings(gt, lines, strict=True), true_crossings(gt, lines)
        det = detections_of(home)
        video = _video(home) if with_video else None
        sources = [("detections", f"mot:{det}")] if det else []
        sources += [("video", str(video))] if video else []
        found += [
            Case(home.name, camera_of(home.name), kind, source, truth, loose, its_size)
            for kind, source in sources
        ]
    return found


def sequences(folder: Path) -> list[tuple[Path, Path]]:
    """Return each sequence of a folder and its ground truth, by name.

    Raises:
        UsageError: There is none.
    """
    truths = [
        path for home in ("", "*/") for gt in ("gt.txt", "gt/gt.txt") for path in folder.glob(home + gt)
    ]
    found = {(gt.parent.parent if gt.parent.name == "gt" else gt.parent).resolve(): gt for gt in truths}
    if not found:
        raise UsageError(f"{folder} holds no MOT sequence: a folder with gt.txt or gt/gt.txt is looked for.")
    return sorted(found.items(), key=lambda item: item[0].name)


def detections_of(home: Path) -> Path | None:
    """Return the public detections of a sequence, if it has any."""
    return next((path for path in (home / "det.txt", home / "det/det.txt") if path.exists()), None)


def size_of(home: Path) -> Size | None:
    """Return what a sequence says of its size, or what is known of it."""
    description = home / "seqinfo.ini"
    if description.exists():
        parsed = configparser.ConfigParser()
        try:
            parsed.read(description, encoding="utf-8")
            about = parsed["Sequence"]
            return int(about["imWidth"]), int(about["imHeight"]), float(about["frameRate"])
        except (configparser.Error, KeyError, ValueError) as error:
            raise UsageError(
                f"{description} does not say imWidth, imHeight and frameRate in [Sequence]: {error}."
            ) from error
    return SEQUENCES.get(home.name)


def camera_of(sequence: str) -> str:
    """Say whether a sequence's camera is "static", "moving" or "unknown"."""
    return next((kind for name, kind in CAMERAS if fnmatch.fnmatch(sequence, name)), "unknown")


def judge(case: Case, detector: DetectorSettings, *, with_peers: bool = True) -> dict[str, Any]:
    """Count one case and compare it with the truth."""
    width, height, fps = case.size
    camera = CameraSettings(
        name="bench",
        source=case.source,
        lines=standard_lines(width, height),
        realtime=False,
        size=(width, height),
        fps=fps,
    )
    tally = count(camera, detector, lambda _done, _all: None)
    counted = {OURS: [(line.in_, line.out) for line in tally.lines]}
    others = peers() if with_peers else {}
    if others:
        least = USUAL_CONFIDENCE if case.kind == "video" else 0.0
        take = seen_in(camera, detector, case.truth, least_score=least)
        counted |= {name: peer(take) for name, peer in others.items()}
    total, loose_total = (sum(map(sum, truth)) for truth in (case.truth, case.loose_truth))
    return {
        "sequence": case.sequence,
        "camera": case.camera,
        "kind": case.kind,
        "size": [width, height],
        "fps": fps,
        "truth": total,
        "loose_truth": loose_total,
        "truth_per_line": case.truth,
        "loose_truth_per_line": case.loose_truth,
        "counters": {
            name: {
                **_errors(wrong(counts, case.truth), total),
                **_errors(wrong(counts, case.loose_truth), loose_total, "loose_"),
                "counted_per_line": counts,
            }
            for name, counts in counted.items()
        },
    }


def overall(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per kind; where cameras move, also one of those that do not."""
    rows: list[dict[str, Any]] = []
    for kind in ("detections", "video"):
        chosen = [result for result in results if result["kind"] == kind]
        static = [result for result in chosen if result["camera"] == "static"]
        groups = [("all", "static", static)] if static and len(static) < len(chosen) else []
        groups.append(("all", static[0]["camera"] if len(static) == len(chosen) > 0 else "any", chosen))
        rows += [_sum(name, camera, kind, group) for name, camera, group in groups if group]
    return rows


def main() -> None:
    """Judge all sequences of a folder."""
    parser = arguments("Counting error against ground truth.")
    parser.add_argument("--mot", type=Path, help="folder of MOT sequences; default: the demo's video")
    parser.add_argument("--size", type=_size, help="WxH of sequences that do not say theirs")
    parser.add_argument("--fps", type=float, default=25.0, help="their frames per second; default 25")
    parser.add_argument(
        "--lines", type=_size, metavar="WxH", help="print the eight lines of such a picture, and do no more"
    )
    parser.add_argument("--no-video", action="store_true", help="judge tracker and counter on det.txt alone")
    parser.add_argument("--no-peers", action="store_true", help="leave out what others count")
    parser.add_argument("--model", default="yolo11n")
    options = parser.parse_args()
    if options.lines:
        sys.stdout.write(lines_file(*options.lines))
        return
    if not options.no_peers and not peers():
        progress(HOW_TO_INSTALL)
    try:
        size = (*options.size, options.fps) if options.size else None
        chosen = cases(options.mot, size=size, with_video=not options.no_video) if options.mot else _demo()
        results = [_judged(case, options) for case in chosen]
    except UsageError as error:
        raise SystemExit(f"error: {error}") from error
    if not results:
        raise SystemExit(f"error: {why_nothing(options.mot, size=size, with_video=not options.no_video)}")
    sums = overall(results)
    names = list(results[0]["counters"])
    show(
        "Wrong counts over eight lines, and WAPE",
        ["sequence", "camera", "from", "true", *names],
        [_row(result, names) for result in [*results, *sums]],
        {"sequences": results, "overall": sums},
        as_json=options.json,
    )


def why_nothing(folder: Path, *, size: Size | None, with_video: bool) -> str:
    """Say why none of a folder's sequences can be judged, and how to mend it."""
    found = sequences(folder)
    unknown = [home.name for home, _ in found if (size_of(home) or size) is None]
    bare = [home.name for home, _ in found if home.name not in unknown]
    reasons: list[str] = []
    if unknown:
        reasons.append(
            f"the picture size of {_names(unknown)} is not known: give --size WxH and --fps N, or a seqinfo.ini"
        )
    if bare:
        needed = "det.txt, a video or img1/ with pictures" if with_video else "det.txt (--no-video was given)"
        reasons.append(f"{_names(bare)} has ground truth alone: it needs {needed}")
    return f"nothing can be judged: {'; '.join(reasons)}."


def lines_file(width: int, height: int) -> str:
    """Return the eight standard lines as YAML, in pixels, for `countline count --lines`."""
    return "lines:\n" + "".join(
        f"  - {{name: {line.name}, points: {[list(point) for point in line.points]}}}\n"
        for line in standard_lines(width, height)
    )


def _names(sequences: Sequence[str]) -> str:
    first, *others = sequences
    return f"{first} and {len(others)} more" if others else first


def _row(result: dict[str, Any], names: Sequence[str]) -> list[Any]:
    counters = [result["counters"][name] for name in names]
    cells = [
        f"{one['wrong']} ({'-' if one['wape'] is None else format(one['wape'], '.3f')})" for one in counters
    ]
    return [result["sequence"], result["camera"], result["kind"], result["truth"], *cells]


def _sum(name: str, camera: str, kind: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    total, loose_total = (sum(result[key] for result in results) for key in ("truth", "loose_truth"))
    return {
        "sequence": name,
        "camera": camera,
        "kind": kind,
        "truth": total,
        "loose_truth": loose_total,
        "counters": {
            counter: {
                **_errors(sum(result["counters"][counter]["wrong"] for result in results), total),
                **_errors(
                    sum(result["counters"][counter]["loose_wrong"] for result in results),
                    loose_total,
                    "loose_",
                ),
            }
            for counter in results[0]["counters"]
        },
    }


def _errors(errors: int, total: int, reading: str = "") -> dict[str, Any]:
    return {f"{reading}wrong": errors, f"{reading}wape": round(errors / total, 4) if total else None}


def _demo() -> list[Case]:
    video = demo_video(_quiet)
    if video is None:
        raise UsageError("the demo's video cannot be had here: give a folder of sequences with --mot.")
    size = SEQUENCES[DEMO_SEQUENCE]
    return [Case(DEMO_SEQUENCE, camera_of(DEMO_SEQUENCE), "video", str(video), DEMO_TRUTH, DEMO_TRUTH, size)]


def _judged(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    progress(f"{case.sequence} ({case.kind}) ...")
    model = str(model_file(options.model, _quiet)) if case.kind == "video" else "none"
    return judge(case, DetectorSettings(model=model), with_peers=not options.no_peers)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a width and a height such as 768x576")
    return int(match[1]), int(match[2])


def _video(home: Path) -> Path | None:
    own = next((path for path in sorted(home.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES), None)
    pictures = home / "img1"
    if own is None and pictures.is_dir():
        own = (
            pictures if any(path.suffix.lower() in PICTURE_SUFFIXES for path in pictures.iterdir()) else None
        )
    return own or (demo_video(_quiet) if home.name == DEMO_SEQUENCE else None)


def _quiet(sentence: str, share: float | None = None) -> None:
    del share
    progress(sentence)


if __name__ == "__main__":
    main()
