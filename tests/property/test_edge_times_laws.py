"""Laws of counting when time goes wrong: frames that repeat, come at once, jump, or whose clock goes back or stands still."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countline.events import CameraConfigured, LineCrossed, LineShape
from edge.arrays import Detections
from edge.pipeline import CameraPlan, Pipeline

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
LINE = LineShape("door", [(320.0, 0.0), (320.0, 480.0)])


def pipeline() -> Pipeline:
    return Pipeline(CameraPlan(CameraConfigured(640, 480, "stream", [LINE], []), ("person",)))


def walker(step: int) -> Detections:
    """Someone who walks to and fro over the line, ten steps a second, with a box that breathes a little."""
    x = 320 + 200 * np.cos(step / 12)
    box = np.array([[x - 20, 200, x + 20, 300 + step % 3]], dtype=np.float32)
    return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int16))


def crossings(counted: Pipeline, times_ms: list[int], repeats: int = 1) -> list[tuple[int, str]]:
    found = []
    for step, at_ms in enumerate(times_ms):
        for _ in range(repeats):
            found += counted.count(walker(step), at_ms)
    found += counted.finish()
    return [(at_ms, event.direction.value) for at_ms, event in found if isinstance(event, LineCrossed)]


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 200),
            st.just(0),
            st.integers(-10 * HOUR_MS, 10 * HOUR_MS),
            st.just(400 * 24 * HOUR_MS),
        ),
        max_size=80,
    )
)
def test_no_order_of_times_ends_the_counting_or_dates_it_wrong(steps: list[int]) -> None:
    """Whatever the clock does, every event lies between the first and the latest time, and good times that follow are counted."""
    counted, at_ms, latest_ms = pipeline(), START_MS, START_MS
    for step, by_ms in enumerate(steps):
        at_ms += by_ms
        latest_ms = max(latest_ms, at_ms)
        for event_ms, _ in counted.count(walker(step), at_ms):
            assert START_MS <= event_ms <= latest_ms
    later = [latest_ms + 60_000 + 100 * i for i in range(100)]
    assert len(crossings(counted, later)) >= 2


def test_a_clock_that_stands_still_counts_nothing_twice() -> None:
    """With a frozen time of day nobody crosses more often than they do, and nothing fails."""
    assert len(crossings(pipeline(), [START_MS] * 200)) <= len(
        crossings(pipeline(), [START_MS + 100 * i for i in range(200)])
    )


def test_a_camera_that_sends_each_picture_three_times_counts_the_same() -> None:
    """A frame that comes again at the same time adds no crossing and takes none away."""
    times = [START_MS + 100 * i for i in range(200)]
    once, thrice = crossings(pipeline(), times), crossings(pipeline(), times, repeats=3)
    assert len(once) >= 4
    assert [direction for _, direction in thrice] == [direction for _, direction in once]


def test_a_camera_that_repeats_its_last_picture_between_new_ones_counts_the_same() -> None:
    """One that claims 30 pictures a second and has 10 shows each of them for three frames."""
    counted = pipeline()
    found = []
    for frame in range(600):
        found += counted.count(walker(frame // 3), START_MS + round(frame * 100 / 3))
    found += counted.finish()
    directions = [event.direction.value for _, event in found if isinstance(event, LineCrossed)]
    assert directions == [
        direction for _, direction in crossings(pipeline(), [START_MS + 100 * i for i in range(200)])
    ]
