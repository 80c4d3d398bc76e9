"""Zones: who came in, who left, who is inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.arrays import Spots
from edge.count.geometry import Areas, inside
from edge.count.zone import BORDER_SETTLE_MS, HANDOVER_MS, SETTLE_MS, Entry, Seen, Visit, ZoneCounter

SQUARE = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)]
IN, OUT = (50.0, 50.0), (150.0, 50.0)
HEIGHT = 100.0


def spot(foot: tuple[float, float], at_ms: int, track: int = 1) -> Spots:
    return Spots(
        np.array([track]),
        np.array([at_ms]),
        np.array([foot]),
        np.array([HEIGHT]),
        np.zeros(1, dtype=np.int16),
        np.ones(1, dtype=np.float32),
    )


def feed(zone: ZoneCounter, foot: tuple[float, float], at_ms: int, **how: object) -> list[Entry | Visit]:
    cls, is_wanted, is_first = how.get("cls", "person"), how.get("wanted", True), how.get("first", False)
    seen = Seen.of(spot(foot, at_ms), [str(cls)], [bool(is_first)])
    return zone.feed(seen, [inside(foot, SQUARE)], lambda _: bool(is_wanted))


def other(
    zone: ZoneCounter, foot: tuple[float, float], at_ms: int, track: int, *, first: bool
) -> list[Entry | Visit]:
    seen = Seen.of(spot(foot, at_ms, track), ["person"], [first])
    return zone.feed(seen, [inside(foot, SQUARE)], lambda _: True)


def stay(
    zone: ZoneCounter, foot: tuple[float, float], from_ms: int, to_ms: int, **how: object
) -> list[Entry | Visit]:
    return [change for at_ms in range(from_ms, to_ms, 100) for change in feed(zone, foot, at_ms, **how)]


def test_a_visit_lasts_from_the_first_to_the_last_moment_inside() -> None:
    """Coming and going are believed late but dated back to when they happened."""
    zone = ZoneCounter("lobby", SQUARE)
    assert stay(zone, IN, 1_000, 5_000) == [Entry("lobby", "person", 1, 1_000, appeared=False)]
    assert zone.occupancy(5_000) == {"person": 1}
    assert stay(zone, OUT, 5_000, 6_000) == [Visit("lobby", "person", 1, 5_000, 4_000)]
    assert zone.occupancy(5_000) == {}


def test_someone_who_shakes_on_the_border_is_one_visit() -> None:
    """A change that does not last is no change."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 2_000)
    shaking = [
        change
        for at_ms in range(2_000, 6_000, 100)
        for change in feed(zone, IN if at_ms % 200 else OUT, at_ms)
    ]
    assert shaking == []
    assert zone.occupancy(5_000) == {"person": 1}
    assert SETTLE_MS > 100


def test_someone_who_stays_within_a_twentieth_of_their_height_of_the_border_is_believed_later() -> None:
    """A slow drift over the border and back is shaking too, however slow; who stays is believed in the end."""
    zone, just_inside, just_outside = ZoneCounter("lobby", SQUARE), (97.0, 50.0), (103.0, 50.0)
    drift = [
        change
        for at_ms in range(0, 20_000, 100)
        for change in feed(zone, just_outside if at_ms // 1_000 % 2 else just_inside, at_ms)
    ]
    assert drift == []
    (entry,) = stay(zone, just_inside, 20_000, 20_000 + BORDER_SETTLE_MS + 100)
    assert entry == Entry("lobby", "person", 1, 20_000, appeared=False)


def test_who_disappears_inside_has_left_when_last_seen() -> None:
    """A track that ends inside a zone ends its visit, and the visit says that nobody saw it leave."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 3_000)
    assert zone.end(1) == []
    assert zone.expire(2_900 + 2 * HANDOVER_MS) == []
    assert zone.occupancy(2_900 + HANDOVER_MS) == {"person": 1}
    assert zone.occupancy(2_901 + HANDOVER_MS) == {}
    assert zone.expire(2_901 + 2 * HANDOVER_MS) == [Visit("lobby", "person", 1, 2_900, 2_900, vanished=True)]
    assert zone.end(1) == zone.finish() == []
    assert zone.occupancy(5_000) == {}


def test_who_was_just_going_out_when_the_track_ended_left_at_the_border() -> None:
    """The last moments outside are not part of the visit, though there were too few to be believed."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 3_000)
    stay(zone, OUT, 3_000, 3_300)
    assert zone.end(1) == [Visit("lobby", "person", 1, 3_000, 3_000)]


def test_who_is_inside_when_first_seen_has_appeared() -> None:
    """Nobody knows where someone came from who was never seen outside."""
    zone = ZoneCounter("lobby", SQUARE)
    feed(zone, IN, 0, first=True)
    (entry,) = stay(zone, IN, 100, 1_000)
    assert isinstance(entry, Entry)
    assert entry.appeared


def test_a_class_that_flickers_inside_leaves_as_what_it_came_in() -> None:
    """Entries minus exits of each class are always its occupancy."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 2_000, cls="truck")
    stay(zone, IN, 2_000, 4_000, cls="car")
    assert zone.occupancy(5_000) == {"truck": 1}
    (visit,) = stay(zone, OUT, 4_000, 5_000, cls="car")
    assert visit.cls == "truck"


def test_what_is_not_wanted_never_comes_in_but_who_is_inside_stays_counted() -> None:
    """A limit of class or size that flickers neither locks a visitor in nor throws one out."""
    zone = ZoneCounter("lobby", SQUARE)
    assert stay(zone, IN, 0, 3_000, wanted=False) == []
    stay(zone, IN, 3_000, 5_000)
    assert stay(zone, IN, 5_000, 6_000, wanted=False) == []
    assert zone.occupancy(5_000) == {"person": 1}


@pytest.mark.parametrize("gap_ms", [40, 200, 400])
def test_a_slow_camera_sees_the_same_visit(gap_ms: int) -> None:
    """Times are milliseconds, never frames."""
    zone = ZoneCounter("lobby", SQUARE)
    changes = [
        change
        for at_ms in range(0, 12_000, gap_ms)
        for change in feed(zone, IN if 2_000 <= at_ms < 8_000 else OUT, at_ms)
    ]
    assert [type(change) for change in changes] == [Entry, Visit]


def appears(
    zone: ZoneCounter, foot: tuple[float, float], from_ms: int, to_ms: int, track: int = 2
) -> list[Entry | Visit]:
    """Somebody who was never seen before is there from one moment to another."""
    return [
        change
        for at_ms in range(from_ms, to_ms, 100)
        for change in other(zone, foot, at_ms, track, first=at_ms == from_ms)
    ]


@pytest.mark.parametrize("ends_first", [True, False])
def test_who_is_found_again_as_somebody_new_goes_on_with_the_same_visit(ends_first: bool) -> None:
    """A track that breaks inside is no second visitor, whether the tracker gives it up before or after."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 3_000)
    if ends_first:
        assert zone.end(1) == []
    assert appears(zone, (60.0, 60.0), 3_500, 5_000) == []
    assert zone.end(1) == []
    assert zone.occupancy(5_000) == {"person": 1}
    assert appears(zone, OUT, 5_000, 6_000) == [Visit("lobby", "person", 2, 5_000, 5_000)]
    assert zone.finish() == []


@pytest.mark.parametrize(
    ("foot", "from_ms"),
    [
        pytest.param((5.0, 95.0), 3_000, id="too far"),
        pytest.param(IN, 2_900 + HANDOVER_MS + 100, id="too late"),
    ],
)
def test_who_appears_elsewhere_or_later_is_somebody_else(foot: tuple[float, float], from_ms: int) -> None:
    """Reach and time are bounded; then there are two visits."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, (95.0, 5.0), 0, 3_000)
    zone.end(1)
    (entry,) = appears(zone, foot, from_ms, from_ms + 1_000)
    assert isinstance(entry, Entry)
    assert zone.occupancy(5_000) == {"person": 2}


def test_who_appears_beside_somebody_who_is_still_seen_is_somebody_else() -> None:
    """Two people who stand together are two."""
    zone = ZoneCounter("lobby", SQUARE)
    changes = []
    for at_ms in range(0, 5_000, 100):
        changes += feed(zone, IN, at_ms)
        if at_ms >= 2_000:
            changes += other(zone, (60.0, 60.0), at_ms, 2, first=at_ms == 2_000)
    assert [change.track for change in changes] == [1, 2]
    assert zone.occupancy(5_000) == {"person": 2}


def test_a_zone_remembers_only_who_is_inside() -> None:
    """A camera in a busy street does not keep everybody who walks past a zone."""
    zone = ZoneCounter("lobby", SQUARE)
    for track in range(500):
        other(zone, OUT, track * 10, track, first=True)
    assert not zone._stays


corners = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=8)


@given(st.lists(corners, max_size=4), st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), max_size=8))
def test_many_points_in_many_polygons_are_judged_as_one_by_one(polygons: list, points: list) -> None:
    """All at once is only faster: the same points are inside the same zones, but for a hair's breadth at the border."""
    found = Areas(polygons).inside(np.array(points, dtype=np.float64).reshape(-1, 2))
    assert found.shape == (len(polygons), len(points))
    for polygon, row in zip(polygons, found.tolist(), strict=True):
        for point, is_in in zip(points, row, strict=True):
            near = {inside((point[0] + dx, point[1]), polygon) for dx in (-1e-9, 0.0, 1e-9)}
            assert is_in in near
