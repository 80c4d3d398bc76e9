"""What people use today, on the same detections: `trackers` (Apache-2.0) and `supervision` (MIT) by Roboflow.

Each tracker with its defaults, but the true frame rate; its boxes' bottom centre over `supervision.LineZone`, one per
line. They come with the extra `bench`, best in an environment of its own: `trackers` needs `opencv-python`, which brings
the same `cv2` as the headless one that Countline uses.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

from bench._run import Take
from bench._truth import Counts

HOW_TO_INSTALL = (
    "ByteTrack and SORT with LineZone are left out: install them with `pip install -e '.[bench]'`, best in an "
    "environment of its own."
)
# Below it the detections of a network are usually dropped before these trackers see them.
USUAL_CONFIDENCE = 0.4


def peers() -> dict[str, Callable[[Take], Counts]]:
    """Return what can be run here, by name; nothing if the packages are not installed."""
    if not is_installed("trackers", "supervision"):
        return {}
    return {"ByteTrack + LineZone": _by_bytetrack, "SORT + LineZone": _by_sort}


def is_installed(*packages: str) -> bool:
    """Say whether all these packages can be imported."""
    return all(importlib.util.find_spec(package) is not None for package in packages)


def _by_bytetrack(take: Take) -> Counts:
    from trackers import ByteTrackTracker  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    return _count(take, ByteTrackTracker(frame_rate=take.fps))


def _by_sort(take: Take) -> Counts:
    from trackers import SORTTracker  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    return _count(take, SORTTracker(frame_rate=take.fps))


def _count(take: Take, tracker: Any) -> Counts:
    import supervision  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    counted = take.class_names.index("person")
    zones = [
        supervision.LineZone(
            start=supervision.Point(*line.points[0]),
            end=supervision.Point(*line.points[-1]),
            triggering_anchors=[supervision.Position.BOTTOM_CENTER],
        )
        for line in take.lines
    ]
    for seen in take.frames:
        people = seen.class_id == counted
        found = supervision.Detections(
            xyxy=seen.xyxy[people], confidence=seen.score[people], class_id=seen.class_id[people].astype(int)
        )
        tracked = tracker.update(found)
        for zone in zones:
            zone.trigger(tracked)
    # Their "in" goes from the right of A->B to its left.
    return [(zone.out_count, zone.in_count) for zone in zones]
