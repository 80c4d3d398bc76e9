"""Topics, backoff, clocks: the small things that all tiers agree on."""

import random

import pytest

from countline import topics
from countline.backoff import Backoff, delay_s
from countline.clock import ManualClock, SystemClock
from countline.events import Mark
from countline.telemetry import Counters


@pytest.mark.parametrize(
    ("make", "kind"), [(topics.events, "events"), (topics.mark, "mark"), (topics.status, "status")]
)
def test_a_topic_says_whose_it_is(make, kind: str):
    """What is made can be parsed."""
    assert topics.parse(make("home", "box")) == ("home", "box", kind)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "countline",
        "countline/v2/home/box/events",
        "x/v1/home/box/events",
        "countline/v1/home/box/events/x",
    ],
)
def test_a_foreign_topic_is_nobodys(topic: str):
    """Another prefix, version or depth is not ours."""
    assert topics.parse(topic) is None


def test_waits_grow_to_their_bound_and_start_again():
    """Full jitter draws below an exponential bound; a success forgets the failures."""
    assert [delay_s(attempt, 1.0, base_s=0.5, cap_s=3.0) for attempt in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert delay_s(10_000, 0.5) == 15.0
    backoff = Backoff(base_s=1.0, cap_s=8.0, rng=random.Random(7))
    waits = [backoff.next_delay_s() for _ in range(20)]
    assert all(0 <= wait < min(8.0, 2.0**attempt) for attempt, wait in enumerate(waits))
    assert backoff.attempts == 20
    backoff.reset()
    assert backoff.next_delay_s() < 1.0


def test_a_clock_moved_by_hand_moves_both_its_times():
    """Tests own the time; the machine's clock goes forward."""
    clock = ManualClock(1_000)
    clock.advance_ms(2_500)
    assert (clock.now_ms(), clock.monotonic_s()) == (3_500, 2.5)
    system = SystemClock()
    assert system.now_ms() > 1_600_000_000_000
    assert system.monotonic_s() <= system.monotonic_s()


def test_counters_add_up_and_gauges_are_set():
    """A snapshot has all names, sorted."""
    counters = Counters()
    counters.set("b", 5)
    counters.add("a")
    counters.add("a", 2)
    assert list(counters.snapshot().items()) == [("a", 3), ("b", 5)]


def test_contract_values_cannot_be_changed():
    """A mark that was given stays what it was."""
    with pytest.raises(AttributeError):
        Mark(1, 2).seq = 3  # type: ignore[misc]
