"""Laws of association and filtering."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.arrays import Detections
from edge.track.associate import assign, iou
from edge.track.kalman import KalmanBoxes, to_states
from edge.track.tracker import MAX_TRACKS, Tracker

costs = st.integers(1, 5).flatmap(
    lambda n: st.integers(1, 5).flatmap(
        lambda m: st.lists(st.lists(st.integers(0, 20), min_size=m, max_size=m), min_size=n, max_size=n)
    )
)


def total(cost: np.ndarray, pairs: list[tuple[int, int]], limit: float) -> float:
    """What an assignment costs, each row that is left alone costing `limit`."""
    return sum(cost[pair] for pair in pairs) + limit * (cost.shape[0] - len(pairs))


def cheapest(cost: np.ndarray, limit: float) -> float:
    """The same by trying everything."""
    n, m = cost.shape
    columns = [*range(m), *([None] * n)]
    return min(
        sum(limit if c is None or cost[r, c] >= limit else cost[r, c] for r, c in enumerate(chosen))
        for chosen in set(itertools.permutations(columns, n))
    )


@given(costs, st.integers(1, 21))
def test_an_assignment_is_as_cheap_as_the_best_of_all(rows: list[list[int]], limit: int) -> None:
    """The assignment is optimal, pairs each row and column at most once, and never beyond the limit."""
    cost = np.array(rows, dtype=np.float64)
    pairs = assign(cost, float(limit))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(cost[pair] < limit for pair in pairs)
    assert total(cost, pairs, limit) == cheapest(cost, limit)


boxes = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 400), st.integers(5, 100), st.integers(10, 200)),
    max_size=12,
).map(lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows], dtype=np.float32).reshape(-1, 4))


@given(boxes, boxes)
def test_overlap_is_symmetric_and_one_only_for_the_same_box(first: np.ndarray, second: np.ndarray) -> None:
    """Intersection over union is between 0 and 1 and does not care which box comes first."""
    overlap = iou(first, second)
    assert overlap.shape == (len(first), len(second))
    assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()
    np.testing.assert_allclose(overlap, iou(second, first).T, rtol=1e-5)
    np.testing.assert_allclose(np.diag(iou(first, first)), 1.0, rtol=1e-5)


@given(boxes, st.floats(0.01, 2.0))
def test_filtering_never_makes_a_box_turn_inside_out(xyxy: np.ndarray, dt_s: float) -> None:
    """Estimates stay boxes: right of left, below above, whatever is predicted."""
    kalman = KalmanBoxes()
    kalman.add(to_states(xyxy))
    for _ in range(5):
        kalman.predict(dt_s)
    estimate = kalman.xyxy()
    assert (estimate[:, 2] > estimate[:, 0]).all()
    assert (estimate[:, 3] > estimate[:, 1]).all()


@given(st.lists(boxes, max_size=15), st.integers(20, 500))
def test_tracks_have_ids_of_their_own_that_never_come_back(frames: list[np.ndarray], step_ms: int) -> None:
    """An id belongs to one object for good, and each track that was there is ended at most once."""
    tracker = Tracker()
    ended: set[int] = set()
    for index, xyxy in enumerate(frames):
        n = len(xyxy)
        detections = Detections(xyxy, np.full(n, 0.9, dtype=np.float32), np.zeros(n, dtype=np.int16))
        tracks = tracker.feed(detections, 1_000 + index * step_ms)
        ids = tracks.track_id.tolist()
        assert len(set(ids)) == len(ids)
        assert not ended & {*ids, *()}
        assert not ended & set(tracks.ended)
        ended |= set(tracks.ended)
        assert int(tracks.seen.sum()) == n


def test_a_detector_gone_wild_cannot_make_tracks_without_end() -> None:
    """The number of tracks is bounded, however many boxes come."""
    rng = np.random.default_rng(1)
    tracker = Tracker()
    for index in range(4):
        corner = rng.uniform(0, 5_000, (400, 2)).astype(np.float32)
        xyxy = np.concatenate([corner, corner + 10], axis=1)
        tracks = tracker.feed(
            Detections(xyxy, np.full(400, 0.9, dtype=np.float32), np.zeros(400, dtype=np.int16)), index * 40
        )
    assert len(tracks) <= MAX_TRACKS
