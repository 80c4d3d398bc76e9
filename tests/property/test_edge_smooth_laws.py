"""Laws of the smoother."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edge.track.smooth import MAX_SAMPLES, Place, Smoother, SmootherSettings

samples = st.lists(
    st.tuples(st.integers(1, 400), st.floats(-50, 50), st.floats(-50, 50), st.floats(0.05, 1.0)),
    min_size=1,
    max_size=60,
)
Samples = list[tuple[int, float, float, float]]


def run(rows: Samples, settings: SmootherSettings, scale: float = 1.0) -> list[Place]:
    smoother, at_ms, places = Smoother(settings), 10_000, []
    for step_ms, x, y, score in rows:
        at_ms += step_ms
        smoother.add(at_ms, (300 + x) * scale, (200 + y) * scale, 100 * scale, score)
        places += smoother.settle(at_ms)
    return places + smoother.settle(None)


@given(samples)
def test_every_sample_is_settled_once_in_order(rows: Samples) -> None:
    """No position is lost, doubled or out of order, whatever the rhythm of the frames."""
    times = [10_000 + sum(step for step, *_ in rows[: i + 1]) for i in range(len(rows))]
    assert [place.at_ms for place in run(rows, SmootherSettings())] == times


@given(samples)
def test_a_larger_picture_gives_the_same_places_larger(rows: Samples) -> None:
    """Lengths are box heights."""
    small, large = run(rows, SmootherSettings()), run(rows, SmootherSettings(), scale=4.0)
    for one, other in zip(small, large, strict=True):
        assert math.isclose(one.x * 4, other.x, rel_tol=1e-6)
        assert math.isclose(one.y * 4, other.y, rel_tol=1e-6)


@given(st.lists(st.integers(20, 200), min_size=2, max_size=60), st.floats(-200, 200), st.floats(-200, 200))
def test_someone_who_walks_straight_is_where_they_were_seen(steps: list[int], vx: float, vy: float) -> None:
    """A steady walk without noise is followed, except for the first moments, when the speed is not known yet."""
    smoother, at_ms, places, truth = Smoother(SmootherSettings()), 0, [], {}
    for step_ms in steps:
        at_ms += step_ms
        x, y = 500 + vx * at_ms / 1000, 500 + vy * at_ms / 1000
        truth[at_ms] = (x, y)
        smoother.add(at_ms, x, y, 100, 0.9)
        places += smoother.settle(at_ms)
    for place in places + smoother.settle(None):
        x, y = truth[place.at_ms]
        assert math.hypot(place.x - x, place.y - y) < 25


def test_a_position_is_settled_only_when_its_future_is_known() -> None:
    """Nothing is settled before the lag is over; then everything up to there is."""
    smoother = Smoother(SmootherSettings(lag_s=0.25))
    settled = []
    for at_ms in range(0, 500, 100):
        smoother.add(at_ms, 0, 0, 100, 0.9)
        settled.append([place.at_ms for place in smoother.settle(at_ms)])
    assert settled == [[], [], [], [0], [100]]


def test_a_jump_that_is_taken_back_is_smoothed_away() -> None:
    """One bad box does not move anybody by more than a third of its error."""
    smoother, places = Smoother(SmootherSettings()), []
    for i in range(30):
        smoother.add(i * 100, 0, 30 if i == 15 else 0, 100, 0.9)
        places += smoother.settle(i * 100)
    assert max(abs(place.y) for place in places) < 10


def test_memory_is_bounded_though_nothing_is_ever_old_enough() -> None:
    """A clock that hardly moves does not pile up samples."""
    smoother = Smoother(SmootherSettings())
    for at_ms in range(1_000):
        smoother.add(at_ms // 8, 0, 0, 100, 0.9)
        smoother.settle(0)
        assert len(smoother._samples) <= MAX_SAMPLES + 1
