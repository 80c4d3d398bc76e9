"""Speeds, sizes, heat and crowding: what a camera measures besides its lines and zones."""

import msgspec
import numpy as np
import pytest

from countline.errors import UsageError
from countline.events import Heat, ZoneCrowded
from edge.arrays import Spots
from edge.config import CameraSettings, GroundSettings, LinesFile
from edge.count.crowd import Crowding
from edge.count.heat import MAX_GAP_MS, HeatGrid, HeatMap
from edge.count.measuring import measuring
from edge.count.path import MAX_PLACES, Paths
from edge.count.speed import MIN_SPAN_MS, Ground, speed_m_s

GRID = HeatGrid(columns=4, rows=2, width=400, height=200, every_ms=60_000)


def spots(*places: tuple[int, int, float, float], height_px: float = 50.0, class_id: int = 0) -> Spots:
    """Each (track, at_ms, x, y)."""
    n = len(places)
    return Spots(
        np.array([place[0] for place in places], dtype=np.int64),
        np.array([place[1] for place in places], dtype=np.int64),
        np.array([place[2:] for place in places], dtype=np.float64).reshape(n, 2),
        np.full(n, height_px),
        np.full(n, class_id, dtype=np.int16),
        np.ones(n, dtype=np.float32),
    )


def camera(**settings: object) -> CameraSettings:
    return CameraSettings("cam", "video.mp4", **settings)  # type: ignore[arg-type]


# ---- speed


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(0, 0), (100, 100), (200, 200), (50, 180)], "three of its four points lie nearly on one line"),
        ([(10, 10), (10, 10), (90, 90), (10, 90)], "three of its four points lie nearly on one line"),
        ([(10, 10), (90, 90), (90, 10), (10, 90)], "not in order around a rectangle"),
        ([(10, 10), (90, 10), (40, 30), (10, 90)], "not in order around a rectangle"),
    ],
)
def test_points_that_are_no_rectangle_are_refused_in_one_sentence(
    points: list[tuple[float, float]], why: str
) -> None:
    """A homography of collinear or crossing points would tell nonsense in metres per second."""
    settings = camera(ground=GroundSettings(points, (2.0, 3.0)))
    with pytest.raises(UsageError, match=f"Camera cam: its ground cannot be measured: .*{why}"):
        measuring(settings, 640, 480)


def test_a_ground_outside_the_picture_is_refused() -> None:
    """The same rule as for lines and zones."""
    settings = camera(ground=GroundSettings([(0, 0), (700, 0), (700, 100), (0, 100)], (2.0, 3.0)))
    with pytest.raises(UsageError, match=r"its ground has the point \[700, 0\] outside"):
        measuring(settings, 640, 480)


def test_beyond_the_horizon_there_is_no_speed() -> None:
    """A point of the sky has no place on the ground."""
    ground = Ground([(200, 300), (400, 300), (600, 500), (0, 500)], (2.0, 10.0))
    metres = ground.metres(np.array([[300.0, 400.0], [300.0, 100.0]]), np.ones(2))
    assert np.isfinite(metres[0]).all()
    assert np.isnan(metres[1]).all()


def test_a_short_path_has_no_speed() -> None:
    """Three places, or a fifth of a second, tell nothing."""
    walk = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0]])
    assert speed_m_s(np.array([0.0, 50, 100, 150]), walk) is None
    assert speed_m_s(np.array([0.0, 100, 400]), walk[:3]) is None
    assert speed_m_s(np.array([0.0, 100, 200, MIN_SPAN_MS]), walk) == pytest.approx(10.0)


def test_only_people_have_the_known_height_of_people() -> None:
    """A car's box is no 1.7 m high; on known ground everything has its speed."""
    by_height = measuring(camera(person_height_m=1.7), 640, 480)
    assert (by_height.scale("person") is None, by_height.scale("car") is None) == (False, True)
    corners = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9)]
    by_ground = measuring(camera(ground=GroundSettings(corners, (2.0, 2.0))), 640, 480)
    assert by_ground.scale("car") is not None


# ---- sizes


def test_a_size_is_the_usual_one_around_a_moment() -> None:
    """One cut box at the line does not make a child of somebody."""
    paths = Paths()
    for i in range(50):
        paths.feed(spots((1, i * 100, 0.0, 0.0), height_px=20.0 if i == 25 else 100.0 + i))
    assert paths.height_px(1, 2_500) == pytest.approx(125, abs=2)


def test_paths_are_bounded_in_time_and_by_living_tracks() -> None:
    """A track that stands for hours and a camera that runs for months are both no matter."""
    paths = Paths()
    for i in range(20 * MAX_PLACES):
        paths.feed(spots((1, i * 100, 0.0, 0.0)))
    assert len(paths._paths[1].at_ms) == MAX_PLACES
    paths.end(1)
    assert not paths._paths


# ---- heat


def test_presence_is_told_per_cell_and_class() -> None:
    """Ten seconds in one cell, then five in another; the time between two places goes to the later one."""
    heat = HeatMap(GRID, ["person", "dog"])
    for at_ms in range(0, 15_001, 500):
        x = 50.0 if at_ms <= 10_000 else 350.0
        assert heat.feed(spots((1, at_ms, x, 150.0)), at_ms) == []
    heat.feed(spots((2, 15_000, 10.0, 10.0), class_id=1), 15_000)
    heat.feed(spots((2, 15_500, 10.0, 10.0), class_id=1), 15_500)
    assert heat.finish(16_000) == [
        (16_000, Heat("person", 0, 4, 2, [4, 7], [10_000, 5_000])),
        (16_000, Heat("dog", 0, 4, 2, [0], [500])),
    ]
    assert heat.finish(17_000) == []


def test_maps_come_at_multiples_of_the_interval_and_none_for_nobody() -> None:
    """An hour is a whole number of five minutes, wherever the agent was started."""
    heat = HeatMap(GRID, ["person"])
    told = []
    for at_ms in range(1_000, 181_000, 1_000):
        is_there = at_ms < 100_000
        told += heat.feed(spots((1, at_ms, 50.0, 50.0)) if is_there else Spots.empty(), at_ms)
    assert [(at_ms, event.from_ms, sum(event.presence_ms)) for at_ms, event in told] == [
        (60_000, 1_000, 58_000),
        (120_000, 60_000, 40_000),
    ]


def test_time_in_which_somebody_was_lost_is_no_presence() -> None:
    """Where somebody was behind a pillar is not known."""
    heat = HeatMap(GRID, ["person"])
    heat.feed(spots((1, 0, 50.0, 50.0), (1, MAX_GAP_MS + 1, 350.0, 50.0)), 0)
    assert heat.finish(10_000) == []


def test_who_stands_at_the_edge_of_the_picture_is_in_its_last_cell() -> None:
    """A lower edge may lie on or just outside the picture."""
    heat = HeatMap(GRID, ["person"])
    heat.feed(spots((1, 0, 400.0, 200.0), (1, 100, 400.0, 203.0), (2, 0, -3.0, 0.0), (2, 100, -3.0, 0.0)), 0)
    ((_, event),) = heat.finish(1_000)
    assert event.cells == [0, 7]


# ---- crowding


def crowd(after_ms: int, *counts: int) -> list[tuple[int, bool, int]]:
    """How many are inside, second by second, to (at second, crowded, since second)."""
    crowding = Crowding("lobby", 2, after_ms)
    told = [one for i, n in enumerate(counts) for one in crowding.feed(n, i * 1_000)]
    return [(at_ms // 1_000, event.crowded, event.since_ms // 1_000) for at_ms, event in told]


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        pytest.param((1, 2, 2, 2, 2, 2), [], id="as many as are allowed"),
        pytest.param((1, 3, 3, 3, 3), [(4, True, 1)], id="too many for long enough"),
        pytest.param((3, 3, 2, 3, 3, 2, 3), [], id="too many now and then"),
        pytest.param((3, 3, 3, 3, 2, 3, 2, 2, 3), [(3, True, 0)], id="fewer now and then is still crowded"),
        pytest.param((3, 3, 3, 3, 2, 1, 0, 0), [(3, True, 0), (4, False, 0)], id="over, since it fell"),
    ],
)
def test_crowding_begins_and_ends_when_it_has_lasted(
    counts: tuple[int, ...], told: list[tuple[int, bool, int]]
) -> None:
    """Three seconds more than two people, or three seconds no more than two."""
    assert crowd(3_000, *counts) == told


def test_crowding_without_a_time_is_told_at_once() -> None:
    """Nobody has to wait who does not want to."""
    assert crowd(0, 3, 1, 4) == [(0, True, 0), (1, False, 0), (2, True, 2)]


def test_crowding_ends_with_the_agent() -> None:
    """Whoever stops watching says that it is over, so that no alarm is left on."""
    crowding = Crowding("lobby", 2, 0)
    crowding.feed(5, 1_000)
    assert crowding.finish(5, 4_000) == [(4_000, ZoneCrowded("lobby", False, 5, 2, 1_000))]
    assert crowding.finish(5, 5_000) == []


# ---- settings

LINES = [{"name": name, "points": [[0.1, 0.1], [0.9, 0.9]]} for name in ("door", "exit")]
CORNERS = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"gates": [{"name": "g", "from": "dor", "to": "exit"}]},
            "needs the line 'dor', which is not there, did you mean 'door'?",
        ),
        ({"gates": [{"name": "g", "from": "door", "to": "door"}]}, "goes from line 'door' to itself"),
        ({"gates": [{"name": "g", "from": "door", "to": "exit", "within_s": 0}]}, "within_s 0"),
        ({"gates": [{"name": "g", "from": "door", "to": "exit"}] * 2}, "two gates are named 'g'"),
        ({"lines": [], "od": True}, "od needs 2 to 32 lines, and there are 0"),
        ({"ground": {"points": CORNERS[:3], "size_m": [1, 1]}}, "exactly 4 are needed"),
        ({"ground": {"points": CORNERS, "size_m": [1, 0]}}, "both sides must be above 0"),
        ({"person_height_m": 170}, "give metres, such as 1.7"),
        ({"heat": {"every_s": 1}}, "10 to 86400 are allowed, or 0 for none"),
        ({"heat": {"columns": 65}}, "<= 64"),
        ({"lines": [LINES[0] | {"min_height": 0.5, "max_height": 0.4}]}, "the smaller one first"),
        (
            {"zones": [{"name": "z", "points": CORNERS, "overcrowded_after_s": -1}]},
            "overcrowded_after_s -1, 0 to 86400",
        ),
        ({"zones": [{"name": "z", "points": CORNERS, "max_occupancy": -1}]}, ">= 0"),
    ],
)
def test_settings_that_can_never_count_are_refused_in_one_sentence(
    settings: dict[str, object], why: str
) -> None:
    """What is wrong, where, and how to mend it; the same for a camera and for the file of `countline count`."""
    given = {"lines": LINES} | settings
    for kind, more in ((CameraSettings, {"name": "cam", "source": "v.mp4"}), (LinesFile, {})):
        with pytest.raises(msgspec.ValidationError) as refused:
            msgspec.convert(given | more, kind)
        assert why in str(refused.value)


def test_a_gate_from_a_line_to_itself_needs_both_directions() -> None:
    """In over the door and out again: how long a visit was."""
    gate = {"name": "visit", "from": "door", "to": "door", "from_direction": "in", "to_direction": "out"}
    drawn = msgspec.convert({"lines": LINES, "gates": [gate]}, LinesFile)
    assert (drawn.gates[0].from_, drawn.gates[0].to) == ("door", "door")
