"""Laws of speeds: who walks at a constant speed is told that speed, however the camera hangs."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.count.speed import Ground, KnownHeight, speed_m_s


def camera(height_m: float, tilt: float, pan: float, focal_px: float) -> np.ndarray:
    """The 3x4 matrix of a camera above the ground (z = 0) that looks along +y, tilted downwards."""
    forward = np.array([math.sin(pan) * math.cos(tilt), math.cos(pan) * math.cos(tilt), -math.sin(tilt)])
    right = np.array([math.cos(pan), -math.sin(pan), 0.0])
    down = np.cross(forward, right)
    rotation = np.stack([right, down, forward])
    inner = np.array([[focal_px, 0, 640.0], [0, focal_px, 360.0], [0, 0, 1]])
    return inner @ np.column_stack([rotation, -rotation @ np.array([0.0, 0.0, height_m])])


def seen(matrix: np.ndarray, ground_m: np.ndarray) -> np.ndarray:
    points = np.column_stack([ground_m, np.zeros(len(ground_m)), np.ones(len(ground_m))]) @ matrix.T
    assume((points[:, 2] > 0.5).all())
    return points[:, :2] / points[:, 2:]


cameras = st.builds(
    camera, st.floats(2.5, 12), st.floats(0.3, 1.2), st.floats(-0.6, 0.6), st.floats(500, 1_500)
)
places = st.tuples(st.floats(-3, 3), st.floats(5, 12))


@given(
    cameras,
    places,
    st.floats(0, 2 * math.pi),
    st.floats(0.2, 8),
    st.tuples(st.floats(0.8, 6), st.floats(0.8, 6)),
    st.floats(0, math.pi),
    st.integers(5, 30),
)
def test_a_constant_walker_has_its_speed_under_any_homography(
    matrix, start, heading, speed, size, turn, fps
) -> None:
    """Any rectangle on the ground, however it lies there, measures any walk."""
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-along[1], along[0]])
    origin = np.array([0.0, 8.0])
    corners = [origin, origin + size[0] * along, origin + size[0] * along + size[1] * across]
    corners.append(origin + size[1] * across)
    picture = seen(matrix, np.array(corners))
    assume(np.abs(picture).max() < 5_000)
    times = np.arange(0, 1_201, 1_000 / fps)
    step = np.array([math.cos(heading), math.sin(heading)]) * speed
    walk = np.array(start) + times[:, None] / 1000 * step
    ground = _ground(picture, size)
    told = speed_m_s(times, ground.metres(seen(matrix, walk), np.ones(len(times))))
    assume(told is not None)  # beyond the horizon of its rectangle nothing is told
    assert told == pytest.approx(speed, rel=1e-4)


def _ground(picture: np.ndarray, size: tuple[float, float]) -> Ground:
    try:
        return Ground([(float(x), float(y)) for x, y in picture], size)
    except ValueError:  # seen so flat that its corners lie nearly on one line
        assume(False)
        raise


@given(st.floats(0.3, 8), st.floats(0, 2 * math.pi), st.integers(8, 30), st.data())
def test_a_quarter_of_wrong_places_changes_a_speed_little(speed, heading, fps, data) -> None:
    """The median of slopes does not follow a few places where the box was cut."""
    times = np.arange(0, 1_201, 1_000 / fps)
    walk = times[:, None] / 1000 * speed * np.array([[math.cos(heading), math.sin(heading)]])
    wrong = data.draw(
        st.lists(st.integers(0, len(times) - 1), max_size=len(times) // 8, unique=True), label="wrong"
    )
    walk[wrong] += [50.0, -80.0]
    told = speed_m_s(times, walk)
    assert told == pytest.approx(speed, rel=0.35)


@given(st.floats(0.3, 3), st.floats(40, 400), st.floats(1.2, 2))
def test_a_person_of_known_height_who_walks_across_has_their_speed(speed, height_px, height_m) -> None:
    """Across the picture a known height measures as well as known ground."""
    times = np.arange(0, 1_201, 100.0)
    x = times / 1000 * speed * height_px / height_m
    xy = np.column_stack([x, np.full(len(x), 300.0)])
    metres = KnownHeight(height_m).metres(xy, np.full(len(x), height_px))
    assert speed_m_s(times, metres) == pytest.approx(speed)
