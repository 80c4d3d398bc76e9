"""Zones: occupancy and visits."""

from edge.count.zone import SETTLE_MS, Visit, ZoneCounter

SQUARE = [(0.0, 0.0), (100.0, 0.0), (100.0, 100.0), (0.0, 100.0)]
IN, OUT = (50.0, 50.0), (150.0, 50.0)


def stay(
    zone: ZoneCounter, foot: tuple[float, float], from_ms: int, to_ms: int, cls: str = "person"
) -> list[Visit]:
    return [visit for at_ms in range(from_ms, to_ms, 100) for visit in zone.feed(1, cls, foot, at_ms)]


def test_a_visit_lasts_from_the_first_to_the_last_moment_inside() -> None:
    """Coming and going are believed late but dated back to when they happened."""
    zone = ZoneCounter("lobby", SQUARE)
    assert stay(zone, IN, 1_000, 5_000) == []
    assert zone.occupancy() == {"person": 1}
    assert stay(zone, OUT, 5_000, 6_000) == [Visit("lobby", "person", 1, 5_000, 4_000)]
    assert zone.occupancy() == {}


def test_someone_who_shakes_on_the_border_is_one_visit() -> None:
    """A change that does not last is no change."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 2_000)
    visits = [
        v
        for at_ms in range(2_000, 6_000, 100)
        for v in zone.feed(1, "person", IN if at_ms % 200 else OUT, at_ms)
    ]
    assert visits == []
    assert zone.occupancy() == {"person": 1}
    assert SETTLE_MS > 100


def test_who_disappears_inside_has_left_when_last_seen() -> None:
    """A track that ends inside a zone ends its visit."""
    zone = ZoneCounter("lobby", SQUARE)
    stay(zone, IN, 0, 3_000)
    assert zone.end(1) == [Visit("lobby", "person", 1, 2_900, 2_900)]
    assert zone.end(1) == []
