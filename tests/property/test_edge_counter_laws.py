"""Laws of counters: what adds up, whatever comes between."""

from datetime import time
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from countline.events import CounterChanged, CounterReason, Direction, LineCrossed, LineTotals
from edge.count.counters import (
    LATE_MS,
    Adjust,
    CounterPlan,
    Counters,
    CountersPlan,
    CountersState,
)
from edge.count.rules import Moment

START_MS = 1_774_700_000_000  # the day before Berlin puts its clocks forward
BERLIN = ZoneInfo("Europe/Berlin")
PLAN = CountersPlan(
    (
        CounterPlan("shop", frozenset({("a", "door"), ("b", "back")}), (time(4), time(2, 30))),
        CounterPlan("ever", frozenset({("a", "door")})),
        CounterPlan("dogs", frozenset({("a", "door")}), (time(3),), frozenset({"dog"})),
    ),
    (time(0),),
    BERLIN,
)

crossings = st.tuples(
    st.just("cross"),
    st.sampled_from([("a", "door"), ("b", "back"), ("b", "side")]),
    st.sampled_from(list(Direction)),
    st.sampled_from(["person", "dog"]),
    st.integers(0, LATE_MS),
)
ticks = st.tuples(st.just("tick"))
wishes = st.builds(
    Adjust,
    st.sampled_from(["shop", "ever"]),
    st.sampled_from([CounterReason.SET, CounterReason.OFFSET, CounterReason.RESET]),
    st.integers(-5, 20),
    st.sampled_from(["", "x", "y"]),
)
steps = st.lists(
    st.tuples(
        st.one_of(crossings, ticks, st.tuples(st.just("wish"), wishes)), st.integers(0, 20 * 3_600_000)
    ),
    max_size=60,
)


def do(counters: Counters, step: tuple, now_ms: int) -> list[Moment]:
    match step:
        case ("cross", (camera, line), direction, cls, late_ms):
            event = LineCrossed(line, direction, cls, 1, 0.9, LineTotals(in_=0, out=0))
            return counters.feed(camera, [(now_ms - late_ms, event)])
        case ("wish", wish):
            return counters.adjust(wish, now_ms)
        case _:
            return counters.tick(now_ms)


def restarted(counters: Counters, now_ms: int) -> Counters:
    """Return what a new process makes of what was kept on disk."""
    kept = msgspec.json.encode(counters.snapshot())
    return Counters(PLAN, now_ms, msgspec.json.decode(kept, type=CountersState))


@given(steps, st.sets(st.integers(0, 59)))
def test_a_restart_anywhere_changes_no_number(moves: list, restarts: set[int]):
    """The values and everything that was said are the same as without the restarts."""
    steady, shaken, now_ms = Counters(PLAN, START_MS), Counters(PLAN, START_MS), START_MS
    for index, (step, pause_ms) in enumerate(moves):
        now_ms += pause_ms
        if index in restarts:
            shaken = restarted(shaken, now_ms)
        assert do(steady, step, now_ms) == do(shaken, step, now_ms)
    assert steady.snapshot() == shaken.snapshot()
    assert steady.next_tick_ms() == shaken.next_tick_ms()


@given(steps)
def test_inside_is_never_negative_and_every_change_that_no_crossing_made_is_said(moves: list):
    """A counter's value is its crossings plus the changes that were told, and never below zero."""
    counters, now_ms = Counters(PLAN, START_MS), START_MS
    for step, pause_ms in moves:
        now_ms += pause_ms
        before = {name: counters.counter(name) for name in ("shop", "ever", "dogs")}
        told = [event for _, event in do(counters, step, now_ms) if isinstance(event, CounterChanged)]
        for name, old in before.items():
            new = counters.counter(name)
            assert new.value >= 0
            mine = [event for event in told if event.counter == name]
            for event in mine:
                assert event.value >= 0
                assert event.before >= 0
            if not mine:
                crossed = (
                    new.tally.totals.in_ - old.tally.totals.in_ - new.tally.totals.out + old.tally.totals.out
                )
                assert new.value == old.value + crossed
            else:
                assert mine[0].before == old.value
                assert new.clamped == old.clamped + 1 or mine[0].reason is not CounterReason.CLAMPED


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 400 * 86_400_000))
def test_a_reset_that_was_missed_is_made_up_for_and_dated_when_it_was(n_in: int, n_out: int, away_ms: int):
    """An agent that was down at the hour resets at its start, says when that should have been and what was inside."""
    counters = Counters(PLAN, START_MS)
    for direction, n in ((Direction.IN, n_in), (Direction.OUT, min(n_in, n_out))):
        for _ in range(n):
            do(counters, ("cross", ("a", "door"), direction, "person", 0), START_MS)
    due_ms = counters.next_tick_ms() or 0
    back = restarted(counters, START_MS + away_ms)
    told = back.tick(START_MS + away_ms)
    resets = [(at_ms, event) for at_ms, event in told if event.counter == "shop"]  # type: ignore[union-attr]
    assert back.counter("ever").value == n_in - min(n_in, n_out)
    if not resets:
        assert back.counter("shop").value == n_in - min(n_in, n_out)
        return
    ((at_ms, event),) = resets
    assert isinstance(event, CounterChanged)
    assert (event.before, event.value) == (n_in - min(n_in, n_out), 0)
    assert event.totals == LineTotals(in_=n_in, out=min(n_in, n_out))
    assert START_MS < at_ms <= START_MS + away_ms - LATE_MS
    assert at_ms >= due_ms - LATE_MS - 86_400_000
    assert back.counter("shop").since_ms <= START_MS + away_ms
    assert (back.next_tick_ms() or 0) > START_MS + away_ms
