"""Counters on chosen days."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from countline.events import (
    CameraConfigured,
    CounterChanged,
    CounterNow,
    CounterReason,
    CounterValues,
    Direction,
    LineCrossed,
    LineShape,
    LineTotals,
)
from edge.count.counters import LATE_MS, Adjust, CounterPlan, Counters, CountersPlan, Tally
from edge.sequence import fold

BERLIN = ZoneInfo("Europe/Berlin")
PLAN = CountersPlan((CounterPlan("shop", frozenset({("a", "door")}), (time(4),)),), (time(0),), BERLIN)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


NOON_MS = ms("2026-11-20T12:00")


def cross(counters: Counters, direction: Direction, at_ms: int = NOON_MS, n: int = 1, cls: str = "person"):
    event = LineCrossed("door", direction, cls, 1, 0.9, LineTotals(in_=0, out=0))
    return counters.feed("a", [(at_ms, event)] * n)


def test_a_counter_is_forced_to_zero_at_its_hour_and_says_what_had_drifted_together():
    """Who is inside at four in the morning was miscounted."""
    counters = Counters(PLAN, NOON_MS)
    cross(counters, Direction.IN, n=120)
    cross(counters, Direction.OUT, n=117)
    four_ms = ms("2026-11-21T04:00")
    assert counters.next_tick_ms() == ms("2026-11-21T00:00") + LATE_MS
    assert counters.tick(four_ms) == []
    assert counters.tick(four_ms + LATE_MS) == [
        (
            four_ms,
            CounterChanged("shop", CounterReason.RESET, 3, 0, LineTotals(in_=120, out=117), NOON_MS),
        )
    ]
    assert counters.counter("shop").since_ms == four_ms


def test_nobody_leaves_an_empty_place_and_that_is_said():
    """An out that nobody had come in for stays zero, and is counted as what it is."""
    counters = Counters(PLAN, NOON_MS)
    said = cross(counters, Direction.OUT)
    assert said == [
        (NOON_MS, CounterChanged("shop", CounterReason.CLAMPED, 0, 0, LineTotals(in_=0, out=1), NOON_MS))
    ]
    cross(counters, Direction.IN, n=2)
    assert (counters.counter("shop").value, counters.counter("shop").clamped) == (2, 1)


def test_a_crossing_decided_after_the_reset_belongs_to_the_time_before():
    """It neither counts towards the new day nor is it anybody inside."""
    counters = Counters(PLAN, NOON_MS)
    four_ms = ms("2026-11-21T04:00")
    cross(counters, Direction.IN, four_ms + 10)
    cross(counters, Direction.IN, four_ms - 10)
    assert counters.counter("shop").value == 1


def test_a_clock_that_was_put_back_an_hour_loses_no_crossing():
    """Only what is a few seconds late is late."""
    counters = Counters(PLAN, NOON_MS)
    cross(counters, Direction.IN, ms("2026-11-21T04:10"))
    cross(counters, Direction.IN, ms("2026-11-21T03:10"))
    assert counters.counter("shop").value == 2


@pytest.mark.parametrize(
    ("wish", "value"),
    [
        (Adjust("shop", CounterReason.SET, 12), 12),
        (Adjust("shop", CounterReason.OFFSET, 3), 8),
        (Adjust("shop", CounterReason.OFFSET, -9), 0),
        (Adjust("shop", CounterReason.RESET), 0),
    ],
)
def test_a_person_may_put_a_counter_right(wish: Adjust, value: int):
    """Set, add, take off, reset: never below zero, and said with what it was before."""
    counters = Counters(PLAN, NOON_MS)
    cross(counters, Direction.IN, n=5)
    ((at_ms, event),) = counters.adjust(wish, NOON_MS + 7)
    assert isinstance(event, CounterChanged)
    assert (at_ms, event.reason, event.before, event.value) == (NOON_MS + 7, wish.reason, 5, value)
    assert counters.counter("shop").value == value


def test_a_wish_that_comes_twice_is_done_once():
    """A broker may deliver a command twice; its id tells."""
    counters = Counters(PLAN, NOON_MS)
    wish = Adjust("shop", CounterReason.OFFSET, 3, "abc")
    assert len(counters.adjust(wish, NOON_MS)) == 1
    again = Counters(PLAN, NOON_MS, counters.snapshot())
    assert again.adjust(wish, NOON_MS) == []
    assert again.counter("shop").value == 3
    with pytest.raises(KeyError):
        again.adjust(Adjust("cellar", CounterReason.RESET), NOON_MS)


def test_lines_are_counted_per_class_since_midnight_and_forgotten_when_they_are_gone():
    """What is said of a line begins anew at its hour; a line that is not configured any more is not told."""
    counters = Counters(PLAN, NOON_MS)
    cross(counters, Direction.IN, n=2)
    cross(counters, Direction.OUT, cls="dog")
    assert counters.line("a", "door") == (Tally({"person": 2}, {"dog": 1}), NOON_MS)
    midnight_ms = ms("2026-11-21T00:00")
    assert counters.tick(midnight_ms + LATE_MS) == []
    assert counters.line("a", "door") == (Tally(), midnight_ms)
    shape = LineShape("gate", [(0.0, 0.0), (1.0, 1.0)])
    counters.feed("a", [(midnight_ms, CameraConfigured(10, 10, "video", [shape], []))])
    assert set(counters.snapshot().lines["a"]) == {"gate"}


def test_changes_that_wait_for_a_full_disk_become_one_of_each_kind():
    """They are bounded by the counters that there are; how many there were, and from what to what, is kept."""
    counters = Counters(PLAN, NOON_MS)
    waiting = [change for n in range(500) for change in cross(counters, Direction.OUT, NOON_MS + n)]
    waiting += counters.adjust(Adjust("shop", CounterReason.SET, 5), NOON_MS + 600)
    waiting += counters.adjust(Adjust("shop", CounterReason.SET, 9), NOON_MS + 700)
    folded = [
        (at_ms, event.reason, event.before, event.value, event.n)
        for at_ms, event in fold(fold(waiting[:300]) + waiting[300:])
        if isinstance(event, CounterChanged)
    ]
    assert folded == [
        (NOON_MS + 499, CounterReason.CLAMPED, 0, 0, 500),
        (NOON_MS + 700, CounterReason.SET, 0, 9, 2),
    ]


def test_of_values_that_wait_for_a_full_disk_the_newest_stays():
    """They are a state: the one before the last says nothing that is still true."""
    counters = Counters(PLAN, NOON_MS)
    waiting = [(NOON_MS, counters.values())]
    cross(counters, Direction.IN, n=3)
    cross(counters, Direction.OUT)
    waiting.append((NOON_MS + 900, counters.values()))
    now = CounterNow("shop", 2, LineTotals(in_=3, out=1), NOON_MS)
    assert fold(waiting) == [(NOON_MS + 900, CounterValues([now]))]
