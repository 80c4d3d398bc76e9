"""Laws of the scene's perspective."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.arrays import Boxes
from edge.track.perspective import Perspective

cameras = st.tuples(st.floats(0.1, 1.2), st.floats(-100, 150), st.integers(0, 2**32 - 1))


def crowd(slope: float, horizon: float, n: int, rng: np.random.Generator, noise: float = 0.05) -> Boxes:
    """Boxes of people on one floor whose height is `slope` times the distance of their feet from the horizon."""
    foot = rng.uniform(300, 900, n)
    height = slope * (foot - horizon) * np.exp(rng.normal(0, noise, n))
    x = rng.uniform(0, 1500, n)
    return np.stack([x, foot - height, x + height * 0.4, foot], axis=1).astype(np.float32)


@given(cameras)
def test_people_on_one_floor_are_not_strange_and_halves_of_them_are(camera: tuple[float, float, int]) -> None:
    """Whatever the camera's height and angle: what is cut off by more than the spread is found."""
    slope, horizon, seed = camera
    rng = np.random.default_rng(seed)
    perspective = Perspective()
    for _ in range(50):
        perspective.learn(crowd(slope, horizon, 10, rng))
    whole = crowd(slope, horizon, 200, rng)
    halves = whole.copy()
    halves[:, 1] = (whole[:, 1] + whole[:, 3]) / 2
    assert np.mean(perspective.strangeness(whole) > 2) < 0.15
    assert np.mean(perspective.strangeness(halves) > 2) > 0.95


def test_before_enough_was_seen_nothing_is_strange() -> None:
    """The first boxes of a day are trusted."""
    rng = np.random.default_rng(1)
    perspective = Perspective()
    perspective.learn(crowd(0.5, 0, 50, rng))
    assert not perspective.strangeness(crowd(5.0, 0, 50, rng)).any()


def test_halves_among_the_crowd_hardly_bend_the_rule() -> None:
    """One box in five that is cut does not make whole people strange."""
    rng = np.random.default_rng(2)
    perspective = Perspective()
    for _ in range(50):
        boxes = crowd(0.6, 50, 20, rng)
        boxes[:4, 3] -= (boxes[:4, 3] - boxes[:4, 1]) * 0.5
        perspective.learn(boxes)
    assert np.mean(perspective.strangeness(crowd(0.6, 50, 200, rng)) > 2) < 0.15


def test_where_there_is_no_rule_little_is_strange() -> None:
    """Adults and children on stairs: the learned spread is wide."""
    rng = np.random.default_rng(3)
    perspective = Perspective()
    for _ in range(50):
        perspective.learn(crowd(0.5, 0, 20, rng, noise=0.5))
    assert np.mean(perspective.strangeness(crowd(0.5, 0, 500, rng, noise=0.5)) > 2) < 0.3


def test_somebody_who_sits_there_for_hours_does_not_become_the_rule() -> None:
    """Samples are kept by place."""
    rng = np.random.default_rng(4)
    perspective = Perspective()
    for _ in range(20):
        perspective.learn(crowd(0.5, 0, 20, rng))
    sitting = np.array([[100, 500, 160, 600]], dtype=np.float32)
    for _ in range(20_000):
        perspective.learn(sitting)
    assert np.mean(perspective.strangeness(crowd(0.5, 0, 200, rng)) > 2) < 0.15
