"""The time of tracker and lines for many people, without a detector; beside it what people use today, by turns."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench._peers import is_installed
from bench._report import progress
from bench._truth import standard_lines
from countline.events import CameraConfigured
from edge.arrays import Detections
from edge.count.rules import shapes
from edge.pipeline import CameraPlan, Pipeline

PEOPLE = 20
WIDTH, HEIGHT, FPS = 640, 480, 25.0
PEOPLE_FRAMES = 500
# Of them the first are not measured: tracks begin, caches fill.
WARM_UP_FRAMES = 50
GOAL = "0.3 ms"
Row = Sequence[object]


def measure_people(rows: list[Row], *, with_peers: bool) -> dict[str, Any]:
    """Measure tracker and eight lines, ours and theirs on the same detections, by turns.

    Args:
        rows: What was measured is added: name, value, ratio, goal.
        with_peers: Measure others too, if they are installed.
    """
    progress("tracker and lines ...")
    counters: dict[str, Callable[[Detections, int], object]] = {"tracker, 8 lines": _ours()}
    has_peers = with_peers and is_installed("trackers", "supervision")
    if has_peers:
        counters["  SORT and 8 LineZone"] = _theirs()
    spent_ms: dict[str, list[float]] = {name: [] for name in counters}
    turns = list(counters.items())
    for index, seen in enumerate(_walking()):
        for name, count in turns if index % 2 else reversed(turns):
            began_s = time.perf_counter()
            count(seen, round(index * 1000 / FPS))
            spent_ms[name].append((time.perf_counter() - began_s) * 1000)
    medians = {name: statistics.median(spent[WARM_UP_FRAMES:]) for name, spent in spent_ms.items()}
    ours, *theirs = medians.values()
    n = PEOPLE_FRAMES - WARM_UP_FRAMES
    rows.append([f"tracker, 8 lines, {PEOPLE} people, {n}", f"{ours:.3f} ms", "", GOAL])
    rows += [[name, f"{ms:.3f} ms", f"ours {ours / ms:.3f} x", ""] for name, ms in list(medians.items())[1:]]
    if with_peers and not has_peers:
        rows.append(["  SORT and 8 LineZone", "not installed", "", ""])
    found: dict[str, Any] = {"frames": n, "ours_ms": round(ours, 3)}
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
