"""Laws of the smoother."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.track.smooth import MAX_FRAMES, Sample, SmootherBank, SmootherSettings, doubt_of

samples = st.lists(
    st.tuples(st.integers(1, 400), st.floats(-50, 50), st.floats(-50, 50), st.floats(0.05, 1.0)),
    min_size=1,
    max_size=60,
)
Rows = list[tuple[int, float, float, float]]
Place = tuple[int, float, float]


class One:
    """A bank with one object, or with others beside it."""

    def __init__(self, settings: SmootherSettings | None = None, others: int = 0) -> None:
        self.bank = SmootherBank(settings or SmootherSettings())
        self.others = others
        self.is_new = True

    def see(self, at_ms: int, x: float, y: float, height: float = 100.0, score: float = 0.9) -> list[Place]:
        """Show the object in a frame; return what is settled by it."""
        n = 1 + self.others
        xy = np.array([(x + 1_000 * i, y) for i in range(n)])
        heights, doubts = np.full(n, height), np.full(n, doubt_of(score))
        if self.is_new:
            self.bank.feed(at_ms, np.zeros((0, 2)), np.zeros(0), np.zeros(0))
            self.bank.add(xy, heights, doubts)
            self.is_new = False
        else:
            self.bank.feed(at_ms, xy, heights, doubts)
        return self.settle(at_ms)

    def settle(self, now_ms: int | None) -> list[Place]:
        """Return what of the first object is settled."""
        settled = self.bank.settle(now_ms)
        if settled is None:
            return []
        frames = np.flatnonzero(settled.seen[:, 0])
        return [(int(settled.at_ms[frame]), *settled.xy[frame, 0].tolist()) for frame in frames]


def run(rows: Rows, scale: float = 1.0, others: int = 0) -> list[Place]:
    one, at_ms, places = One(others=others), 10_000, []
    for step_ms, x, y, score in rows:
        at_ms += step_ms
        places += one.see(at_ms, (300 + x) * scale, (200 + y) * scale, 100 * scale, score)
    return places + one.settle(None)


@given(samples)
def test_every_sample_is_settled_once_in_order(rows: Rows) -> None:
    """No position is lost, doubled or out of order, whatever the rhythm of the frames."""
    times = [10_000 + sum(step for step, *_ in rows[: i + 1]) for i in range(len(rows))]
    assert [at_ms for at_ms, _, _ in run(rows)] == times


@given(samples)
def test_a_larger_picture_gives_the_same_places_larger(rows: Rows) -> None:
    """Lengths are box heights."""
    for (_, x, y), (_, large_x, large_y) in zip(run(rows), run(rows, scale=4.0), strict=True):
        assert math.isclose(x * 4, large_x, rel_tol=1e-6)
        assert math.isclose(y * 4, large_y, rel_tol=1e-6)


@given(samples)
def test_others_in_the_picture_change_nothing(rows: Rows) -> None:
    """All are smoothed at once, and each for itself."""
    for (_, x, y), (_, x_beside, y_beside) in zip(run(rows), run(rows, others=3), strict=True):
        assert math.isclose(x, x_beside, rel_tol=1e-9)
        assert math.isclose(y, y_beside, rel_tol=1e-9)


@given(st.lists(st.integers(20, 200), min_size=2, max_size=60), st.floats(-100, 100), st.floats(-100, 100))
def test_someone_who_walks_straight_is_where_they_were_seen(steps: list[int], vx: float, vy: float) -> None:
    """A steady walk without noise is followed, except for the first moments, when the speed is not known yet."""
    one, at_ms, places, truth = One(), 0, [], {}
    for step_ms in steps:
        at_ms += step_ms
        x, y = 500 + vx * at_ms / 1000, 500 + vy * at_ms / 1000
        truth[at_ms] = (x, y)
        places += one.see(at_ms, x, y)
    for at_ms, x, y in places + one.settle(None):
        true_x, true_y = truth[at_ms]
        assert math.hypot(x - true_x, y - true_y) < 25


def test_a_position_is_settled_only_when_its_future_is_known() -> None:
    """Nothing is settled before the lag is over; then everything up to there is."""
    one = One(SmootherSettings(lag_s=0.25))
    settled = [[at_ms for at_ms, _, _ in one.see(time_ms, 0, 0)] for time_ms in range(1_000, 1_500, 100)]
    assert settled == [[], [], [], [1_000], [1_100]]


def test_at_high_frame_rates_some_frames_are_settled_together() -> None:
    """The backward pass costs as much for one frame as for four; none waits for more than a tenth of a second longer."""
    one = One(SmootherSettings(lag_s=0.25))
    latest = {
        at_ms: time_ms - at_ms
        for time_ms in range(1_000, 3_000, 20)
        for at_ms, _, _ in one.see(time_ms, 0, 0)
    }
    assert set(latest) == set(range(1_000, 1_000 + 20 * len(latest), 20))
    assert max(latest.values()) <= 350


def test_a_jump_that_is_taken_back_is_smoothed_away() -> None:
    """One bad box does not move anybody by more than a third of its error."""
    one, places = One(), []
    for i in range(30):
        places += one.see(1_000 + i * 100, 0, 30 if i == 15 else 0)
    assert max(abs(y) for _, _, y in places) < 10


def test_memory_is_bounded_though_nothing_is_ever_old_enough() -> None:
    """A clock that hardly moves does not pile up frames."""
    one = One()
    for at_ms in range(1_000):
        one.see(at_ms + 1, 0, 0)
        one.bank.settle(0)
        assert len(one.bank._times_ms) <= max(MAX_FRAMES, 400) + 1


def test_who_is_found_again_is_smoothed_with_the_past_that_was_lost() -> None:
    """The speed from before the gap steadies the first places after it, and what follows goes on from there."""
    walk = [(1_000 + 100 * i, 10.0 * i) for i in range(60)]
    lost, found = walk[:20], walk[30:]
    before = One()
    for at_ms, x in lost:
        before.see(at_ms, x, 0)
    shaken = [Sample(at_ms, x + (8 if i % 2 else -8), 0.0, 100.0, 0.9) for i, (at_ms, x) in enumerate(found)]
    alone, joined = One(), One()
    rows = np.array([0], dtype=np.intp)
    for one in (alone, joined):
        for sample in shaken[:10]:
            one.see(sample.at_ms, sample.x, 0)
    places = joined.bank.rejoin(0, before.bank.trail(int(rows[0])), shaken[:10])
    rest: dict[str, list[Place]] = {"alone": [], "joined": []}
    for name, one in (("alone", alone), ("joined", joined)):
        for sample in shaken[10:]:
            rest[name] += one.see(sample.at_ms, sample.x, 0)
        rest[name] += one.settle(None)
    assert [place.at_ms for place in places] == [at_ms for at_ms, _ in found[: len(places)]]
    assert [at_ms for at_ms, _, _ in rest["joined"]] == [at_ms for at_ms, _ in found[len(places) :]]
    truth = dict(walk)
    assert max(abs(place.x - truth[place.at_ms]) for place in places) < 8
    assert max(abs(x - truth[at_ms]) for at_ms, x, _ in rest["joined"]) < 8
