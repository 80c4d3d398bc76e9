"""From settings to shapes, from tracks to events."""

import numpy as np
import pytest

from countline.errors import UsageError
from countline.events import LineCrossed, LineShape, LineTotals, ZoneOccupancy, ZoneShape, ZoneVisit
from edge.arrays import Spots, Tracks
from edge.config import LineSettings, ZoneSettings
from edge.count.rules import Moment, Rules, shapes

LINE = LineShape("door", [(100.0, 0.0), (100.0, 200.0)])
ZONE = ZoneShape("lobby", [(0.0, 0.0), (90.0, 0.0), (90.0, 200.0), (0.0, 200.0)])
CLASSES = ("person", "dog")


def tracks(x: float, at_ms: int, class_id: int = 0) -> Tracks:
    """One confirmed track whose foot is settled at (x, 100)."""
    return Tracks(
        xyxy=np.zeros((0, 4), dtype=np.float32),
        score=np.zeros(0, dtype=np.float32),
        class_id=np.zeros(0, dtype=np.int16),
        track_id=np.zeros(0, dtype=np.int64),
        seen=np.zeros(0, dtype=np.bool_),
        confirmed=np.zeros(0, dtype=np.bool_),
        settled=Spots(
            track_id=np.array([1]),
            at_ms=np.array([at_ms]),
            xy=np.array([(x, 100.0)]),
            height_px=np.array([50.0]),
            class_id=np.array([class_id], dtype=np.int16),
            score=np.array([0.9], dtype=np.float32),
        ),
    )


def walk(rules: Rules, *xs: float, class_id: int = 0) -> list[Moment]:
    return [m for i, x in enumerate(xs) for m in rules.feed(tracks(x, i * 1_000, class_id), i * 1_000)]


def crossings(moments: list[Moment]) -> list[LineCrossed]:
    return [event for _, event in moments if isinstance(event, LineCrossed)]


def test_fractions_and_pixels_give_the_same_line() -> None:
    """A line whose numbers are all within 0 to 1 is a share of the picture, any other is in pixels."""
    fractions = shapes("cam", [LineSettings("door", [(0.5, 0.0), (0.5, 1.0)])], [], 640, 480)
    pixels = shapes("cam", [LineSettings("door", [(320.0, 0.0), (320.0, 480.0)])], [], 640, 480)
    assert fractions == pixels


def test_without_lines_and_zones_there_is_one_across_the_middle() -> None:
    """A camera that somebody just plugged in counts something that can be seen."""
    (line,), zones = shapes("cam", [], [], 640, 480)
    assert (line.points, zones) == ([(320.0, 0.0), (320.0, 480.0)], [])


def test_a_zone_alone_brings_no_line() -> None:
    """Who asks for a zone only gets a zone only."""
    lines, zones = shapes("cam", [], [ZoneSettings("lobby", [(0, 0), (1, 0), (1, 1)])], 640, 480)
    assert (lines, [zone.name for zone in zones]) == ([], ["lobby"])


def test_a_point_outside_the_picture_is_said_with_camera_line_point_and_size() -> None:
    """A line that could never count is refused at start, not found out after a month of zeros."""
    with pytest.raises(
        UsageError, match=r"Camera cam: line 'door' has the point \[900, 10\] outside .* 640x480"
    ):
        shapes("cam", [LineSettings("door", [(10, 10), (900, 10)])], [], 640, 480)


def test_totals_go_on_from_where_they_were() -> None:
    """After a restart each crossing carries the sum of all before it."""
    rules = Rules([LINE], [], CLASSES, {"door": LineTotals(in_=4, out=7)})
    (event,) = crossings(walk(rules, 50, 150))
    assert event.totals == LineTotals(in_=4, out=8)
    assert rules.totals() == {"door": LineTotals(in_=4, out=8)}


def test_a_line_for_one_class_ignores_the_others() -> None:
    """A dog does not count as a visitor."""
    people_only = LineShape("door", LINE.points, classes=["person"])
    assert crossings(walk(Rules([people_only], [], CLASSES), 50, 150, class_id=1)) == []
    assert len(crossings(walk(Rules([people_only], [], CLASSES), 50, 150, class_id=0))) == 1


def test_occupancy_is_told_at_each_change_and_a_visit_at_its_end() -> None:
    """Zero is told at the start, so that an empty zone is known to be empty."""
    moments = walk(Rules([], [ZONE], CLASSES), 150, 50, 50, 150, 150)
    occupancies = [event.cls_counts for _, event in moments if isinstance(event, ZoneOccupancy)]
    visits = [event for _, event in moments if isinstance(event, ZoneVisit)]
    assert occupancies == [{}, {"person": 1}, {}]
    assert [(visit.zone, visit.cls, visit.dwell_ms) for visit in visits] == [("lobby", "person", 2_000)]


def test_events_come_in_order_of_time() -> None:
    """A crossing is dated back to when it happened, before what happened since."""
    moments = walk(Rules([LINE], [ZONE], CLASSES), 50, 150, 150, 50, 50)
    for i in range(5):
        frame = [at_ms for at_ms, _ in moments if i * 1_000 < at_ms <= (i + 1) * 1_000]
        assert frame == sorted(frame)
