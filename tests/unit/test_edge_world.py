"""What rules and live topics see."""

from countline.events import (
    CameraConfigured,
    CameraState,
    Direction,
    Heartbeat,
    LineCrossed,
    LineTotals,
    ZoneEntered,
    ZoneOccupancy,
    ZoneVisit,
)
from edge.act.world import World
from edge.count.counters import CounterPlan, Counters, CountersPlan
from edge.expression import Ref, parse, refs

NOW_MS = 1_763_000_000_000


def ref(text: str, camera: str = "hall") -> Ref:
    (found,) = refs(parse(f"{text} > 0").expression)
    return Ref(found.kind, camera, found.name, found.attribute, found.window_ms)


COUNTERS = Counters(CountersPlan((CounterPlan("shop", frozenset({("hall", "door")})),)), NOW_MS)
OK = (NOW_MS, Heartbeat(since_ms=NOW_MS - 1))


def test_a_zone_is_unknown_until_its_camera_sees_it_and_while_it_is_blind():
    """Zero never means blind."""
    world, count = World(["hall"]), ref("zone.queue.count")
    assert world.value(count, NOW_MS, COUNTERS) is None
    world.feed("hall", [(NOW_MS, ZoneOccupancy("queue", {"person": 2, "dog": 1})), OK])
    assert world.value(count, NOW_MS, COUNTERS) == 3
    world.feed("hall", [(NOW_MS, Heartbeat(since_ms=1, state=CameraState.BLIND, reason="dark"))])
    assert world.value(count, NOW_MS, COUNTERS) is None
    assert world.state("hall") == ("blind", "dark")
    world.feed("hall", [OK])
    assert world.value(count, NOW_MS, COUNTERS) == 3
    world.feed("hall", [(NOW_MS, CameraConfigured(1, 1, "video", [], []))])
    assert world.value(count, NOW_MS, COUNTERS) is None


def test_the_longest_stay_is_of_those_who_are_still_there():
    """Who has left is not waiting any more."""
    world, dwell = World(["hall"]), ref("zone.queue.dwell_max_s")
    world.feed("hall", [(NOW_MS, ZoneOccupancy("queue", {"person": 2})), OK])
    world.feed(
        "hall",
        [(NOW_MS, ZoneEntered("queue", "person", 1)), (NOW_MS + 5_000, ZoneEntered("queue", "person", 2))],
    )
    assert world.value(dwell, NOW_MS + 9_000, COUNTERS) == 9.0
    world.feed("hall", [(NOW_MS + 9_000, ZoneVisit("queue", "person", 1, 9_000))])
    assert world.value(dwell, NOW_MS + 9_000, COUNTERS) == 4.0
    world.feed("hall", [(NOW_MS + 9_000, ZoneVisit("queue", "person", 2, 4_000))])
    assert world.value(dwell, NOW_MS + 9_000, COUNTERS) == 0.0


def test_lines_and_counters_tell_since_their_reset_or_lately():
    """In, out, and what is left of them."""
    lately = ref("line.door.in in the last 5m")
    world, counters = (
        World(["hall"], [lately]),
        Counters(CountersPlan((CounterPlan("shop", frozenset({("hall", "door")})),)), NOW_MS),
    )
    crossed = [
        (NOW_MS + n * 60_000, LineCrossed("door", direction, "person", n, 0.9, LineTotals(in_=0, out=0)))
        for n, direction in enumerate([Direction.IN, Direction.IN, Direction.OUT, Direction.IN])
    ]
    counters.feed("hall", crossed)
    world.feed("hall", crossed)
    now_ms = NOW_MS + 3 * 60_000

    def value(text: str, later_ms: int = 0) -> float | None:
        return world.value(ref(text), now_ms + later_ms, counters)

    assert [value(f"line.door.{what}") for what in ("in", "out", "net")] == [3, 1, 2]
    assert [value(f"counter.shop.{what}") for what in ("value", "in", "out")] == [2, 3, 1]
    assert value("line.door.in in the last 5m") == 3
    assert value("line.door.in in the last 5m", 3 * 60_000) == 2
    assert value("line.door.in in the last 5m", 9 * 60_000) == 0
