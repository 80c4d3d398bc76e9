"""From settings to shapes, from tracks to events."""

import dataclasses

import numpy as np
import pytest

from countline.errors import UsageError
from countline.events import (
    GatePassed,
    GateShape,
    Heat,
    LineCrossed,
    LineShape,
    LineTotals,
    ZoneCrowded,
    ZoneEntered,
    ZoneOccupancy,
    ZoneShape,
    ZoneVisit,
)
from edge.arrays import Spots, Tracks
from edge.config import LineSettings, ZoneSettings
from edge.count.heat import HeatGrid
from edge.count.measuring import Measuring
from edge.count.rules import Moment, Rules, shapes
from edge.count.speed import Ground

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


def path(
    rules: Rules, places: list[tuple[int, float]], height_px: float = 50.0, class_id: int = 0
) -> list[Moment]:
    """Feed one track's (at_ms, x), then end it and everything."""
    moments: list[Moment] = []
    for at_ms, x in places:
        seen = tracks(x, at_ms, class_id)
        seen.settled.height_px[:] = height_px
        moments += rules.feed(seen, at_ms)
    gone = dataclasses.replace(tracks(0, 0), settled=Spots.empty(), ended=(1,))
    return moments + rules.finish(gone, places[-1][0])


def steadily(
    from_x: float, to_x: float, from_ms: int = 0, step_ms: int = 100, n: int = 21
) -> list[tuple[int, float]]:
    return [(from_ms + i * step_ms, x) for i, x in enumerate(np.linspace(from_x, to_x, n).tolist())]


def kinds(moments: list[Moment]) -> list[str]:
    return [type(event).__name__ for _, event in moments]


@pytest.mark.parametrize(("height_px", "n"), [(30.0, 0), (60.0, 1), (150.0, 1), (190.0, 0)])
def test_what_is_too_small_or_too_large_is_not_counted_over_a_line(height_px: float, n: int) -> None:
    """A doll and a poster are no visitors: limits are shares of the picture's height."""
    line = LineShape("door", LINE.points, min_height=0.2, max_height=0.8)
    rules = Rules([line], [], CLASSES, measuring=Measuring(picture_height_px=200))
    assert len(crossings(path(rules, steadily(50, 150), height_px))) == n


@pytest.mark.parametrize(("height_px", "n"), [(30.0, 0), (60.0, 1), (190.0, 0)])
def test_what_is_too_small_or_too_large_does_not_enter_a_zone(height_px: float, n: int) -> None:
    """The same for zones."""
    zone = ZoneShape("lobby", ZONE.points, min_height=0.2, max_height=0.8)
    rules = Rules([], [zone], CLASSES, measuring=Measuring(picture_height_px=200))
    entered = [
        event for _, event in path(rules, steadily(150, 20), height_px) if isinstance(event, ZoneEntered)
    ]
    assert len(entered) == n


def test_who_enters_and_leaves_a_zone_is_told_at_both_times() -> None:
    """An entry and a visit belong together: same zone, class and track, and the stay between their times."""
    moments = path(Rules([], [ZONE], CLASSES), [*steadily(150, 20), *steadily(20, 150, 5_000)])
    (entered_ms, entry), (left_ms, visit) = [
        (at_ms, event) for at_ms, event in moments if isinstance(event, ZoneEntered | ZoneVisit)
    ]
    assert entry == ZoneEntered("lobby", "person", 1, appeared=False)
    assert visit == ZoneVisit("lobby", "person", 1, left_ms - entered_ms, vanished=False)


def test_a_zone_that_is_too_full_is_told_and_that_it_is_no_longer() -> None:
    """Two people are too many where one is allowed; crowding begins after its time and ends with the agent."""
    zone = ZoneShape("lobby", ZONE.points, max_occupancy=1, overcrowded_after_ms=2_000)
    rules = Rules([], [zone], CLASSES)
    told = []
    for at_ms in range(0, 10_000, 100):
        two = tracks(50, at_ms).settled
        both = Spots(
            np.array([1, 2]), two.at_ms.repeat(2), two.xy.repeat(2, axis=0), two.height_px.repeat(2),
            two.class_id.repeat(2), two.score.repeat(2),
        )  # fmt: skip
        told += rules.feed(dataclasses.replace(tracks(0, 0), settled=both), at_ms)
    told += rules.finish(dataclasses.replace(tracks(0, 0), settled=Spots.empty(), ended=(1, 2)), 10_000)
    crowding = [(at_ms, event) for at_ms, event in told if isinstance(event, ZoneCrowded)]
    assert crowding == [
        (2_500, ZoneCrowded("lobby", True, 2, 1, 500)),
        (10_000, ZoneCrowded("lobby", False, 0, 1, 500)),
    ]


def test_a_passage_from_line_to_line_is_told_when_it_is_certain() -> None:
    """Over the door and then over the exit: one passage, with its travel time, dated to the second line."""
    exit_ = LineShape("exit", [(300.0, 0.0), (300.0, 200.0)])
    gate = GateShape("through", "door", "exit")
    rules = Rules([LINE, exit_], [], CLASSES, measuring=Measuring(gates=(gate,), od=True))
    moments = path(rules, steadily(50, 400, n=71))
    first, second = [at_ms for at_ms, event in moments if isinstance(event, LineCrossed)]
    passed = [(at_ms, event) for at_ms, event in moments if isinstance(event, GatePassed)]
    assert passed == [
        (second, GatePassed("through", "door", "exit", "person", 1, second - first)),
        (second, GatePassed("", "door", "exit", "person", 1, second - first)),
    ]
    assert second - first == pytest.approx(4_000, abs=20)


def test_a_line_that_does_not_count_a_class_opens_no_gate_for_it() -> None:
    """A passage is made of counted crossings."""
    exit_ = LineShape("exit", [(300.0, 0.0), (300.0, 200.0)])
    people_only = LineShape("door", LINE.points, classes=["person"])
    rules = Rules([people_only, exit_], [], CLASSES, measuring=Measuring(od=True))
    assert kinds(path(rules, steadily(50, 400, n=71), class_id=1)) == ["LineCrossed"]


def test_a_crossing_has_its_speed_if_the_ground_is_known() -> None:
    """A hundred pixels are two metres here, and are walked in two seconds."""
    ground = Ground([(0, 0), (200, 0), (200, 200), (0, 200)], (4.0, 4.0))
    (event,) = crossings(
        path(Rules([LINE], [], CLASSES, measuring=Measuring(ground=ground)), steadily(50, 150))
    )
    assert event.speed_m_s == pytest.approx(1.0, abs=0.02)
    (event,) = crossings(path(Rules([LINE], [], CLASSES), steadily(50, 150)))
    assert event.speed_m_s is None


def test_heat_is_told_at_the_end_too() -> None:
    """What was seen since the last map is not lost when the agent stops."""
    grid = HeatGrid(2, 1, 200, 200, 300_000)
    moments = path(Rules([], [], CLASSES, measuring=Measuring(heat=grid)), steadily(50, 150))
    ((at_ms, event),) = moments
    assert isinstance(event, Heat)
    assert (at_ms, event.from_ms, sum(event.presence_ms)) == (2_000, 0, 2_000)


def test_256_lines_are_counted_like_one() -> None:
    """Each line of a full camera counts for itself."""
    lines = [LineShape(f"line-{i}", [(50.0 + i, 0.0), (50.0 + i, 200.0)]) for i in range(256)]
    rules = Rules(lines, [], CLASSES)
    counted = crossings(path(rules, steadily(0, 400, n=41)))
    assert {event.line for event in counted} == {line.name for line in lines}
    assert len(counted) == 256


def test_nothing_is_kept_of_a_track_that_has_ended() -> None:
    """A camera that runs for months does not remember everybody who walked by."""
    grid = HeatGrid(2, 1, 200, 200, 300_000)
    rules = Rules([LINE], [ZONE], CLASSES, measuring=Measuring(od=True, heat=grid))
    path(rules, steadily(150, 50))
    assert rules._heat is not None
    assert not rules._paths._paths
    assert not rules._gates._walks
    assert not rules._heat._seen_ms
