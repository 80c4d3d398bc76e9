"""Laws of the clock that never goes back."""

from hypothesis import given
from hypothesis import strategies as st

from countline.clock import SteadyClock

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class BrokenClock:
    """A clock whose time of day a test sets as it likes, while time passes."""

    def __init__(self) -> None:
        self.at_ms = START_MS
        self.passed_ms = 0

    def now_ms(self) -> int:
        """Return what it was set to."""
        return self.at_ms

    def monotonic_s(self) -> float:
        """Return what has passed."""
        return self.passed_ms / 1000

    def go(self, by_ms: int, *, set_by_ms: int = 0) -> None:
        """Let time pass, and set the clock by so much more or less."""
        self.passed_ms += by_ms
        self.at_ms += by_ms + set_by_ms


steps = st.lists(st.tuples(st.integers(0, 100_000), st.integers(-10 * HOUR_MS, 10 * HOUR_MS)), max_size=20)


@given(steps)
def test_it_never_goes_back_nor_behind_the_other_clock(steps: list[tuple[int, int]]) -> None:
    """Whatever the other clock does, times do not fall, and they go on by nearly what has passed."""
    broken = BrokenClock()
    steady = SteadyClock(broken)
    last_ms = steady.now_ms()
    for by_ms, set_by_ms in steps:
        broken.go(by_ms, set_by_ms=set_by_ms)
        now_ms = steady.now_ms()
        assert now_ms >= last_ms + int(0.9 * by_ms) - 1
        assert now_ms >= broken.at_ms
        last_ms = now_ms


@given(st.lists(st.integers(0, 100_000), max_size=20))
def test_it_is_the_other_clock_as_long_as_that_one_is_right(steps: list[int]) -> None:
    """A clock that only goes on is not touched, and nothing is said."""
    broken, said = BrokenClock(), []
    steady = SteadyClock(broken, said.append)
    for by_ms in steps:
        broken.go(by_ms)
        assert steady.now_ms() == broken.at_ms
        assert steady.monotonic_s() == broken.monotonic_s()
    assert said == []


def test_a_clock_that_was_set_back_is_caught_up_with_and_told_once() -> None:
    """An hour too many is gone ten hours later; the step is said once."""
    broken, said = BrokenClock(), []
    steady = SteadyClock(broken, said.append)
    broken.go(1_000, set_by_ms=-HOUR_MS)
    assert steady.now_ms() == START_MS + 900
    for _ in range(11 * 60):
        broken.go(60_000)
        steady.now_ms()
    assert steady.now_ms() == broken.at_ms
    assert said == [HOUR_MS - 100]


def test_a_clock_that_stands_still_goes_on_and_is_no_step() -> None:
    """Time passes a tenth slower, and no line is logged for it."""
    broken, said = BrokenClock(), []
    steady = SteadyClock(broken, said.append)
    for _ in range(100):
        broken.passed_ms += 1_000
        steady.now_ms()
    assert steady.now_ms() == START_MS + 90_000
    assert said == []
