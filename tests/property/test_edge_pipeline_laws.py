"""Whatever a detector or a clock brings, one frame never ends the count."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from countline.events import CameraConfigured, LineShape, ZoneShape
from edge.arrays import Detections
from edge.frames import Frame
from edge.pipeline import MAX_BOXES, CameraPlan, Pipeline, usable

NUMBER = st.one_of(
    st.floats(width=32),  # NaN, both infinities, huge and tiny ones too
    st.floats(0, 640, width=32),
    st.sampled_from([0.0, -1.0, 1e30, math.nan, math.inf, -math.inf]),
)
BOX = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, st.integers(-3, 5))
FRAMES = st.lists(st.tuples(st.lists(BOX, max_size=8), st.integers(-2_000, 2_000)), min_size=1, max_size=12)
PLAN = CameraPlan(
    CameraConfigured(
        640,
        480,
        "video",
        [LineShape("l", [(320.0, 0.0), (320.0, 480.0)])],
        [ZoneShape("z", [(0.0, 0.0), (640.0, 0.0), (640.0, 480.0)])],
    ),
    ("person", "car"),
)


def detections(boxes: list[tuple[float, float, float, float, float, int]]) -> Detections:
    rows = np.array(boxes, dtype=np.float32).reshape(-1, 6)
    return Detections(rows[:, :4], rows[:, 4], np.array([box[5] for box in boxes], dtype=np.int16))


def walker(x: float) -> tuple[float, float, float, float, float, int]:
    return (x - 20, 100.0, x + 20, 220.0, 0.9, 0)


@settings(max_examples=60)
@given(FRAMES)
def test_no_frame_ends_the_count(frames: list[tuple[list, int]]):
    """NaN, infinity, boxes inside out, unknown classes, a clock that jumps: all go by, and what is told is in order."""
    pipeline = Pipeline(PLAN)
    at_ms = 1_000_000
    for boxes, step_ms in frames:
        at_ms += step_ms
        before = dict(pipeline.totals())
        moments = pipeline.count(detections(boxes), at_ms)
        assert [when for when, _ in moments] == sorted(when for when, _ in moments)
        assert pipeline.totals()["l"].in_ >= before["l"].in_
        assert pipeline.tracks is not None
        assert np.isfinite(pipeline.tracks.xyxy).all()
    pipeline.finish()


@given(st.lists(BOX, max_size=12))
def test_what_is_left_of_a_frame_can_be_counted(boxes: list):
    """Only finite boxes with an area, of classes that are known; a good frame stays as it is."""
    found = detections(boxes)
    left = usable(found, 2)
    assert np.isfinite(left.xyxy).all()
    assert (left.xyxy[:, 2:] > left.xyxy[:, :2]).all()
    assert ((left.class_id >= 0) & (left.class_id < 2)).all()
    assert ((left.score >= 0) & (left.score <= 1)).all()
    assert usable(left, 2) is left


@settings(max_examples=30)
@given(st.lists(st.lists(BOX.filter(lambda box: not usable(detections([box]), 2)), max_size=5), max_size=60))
def test_bad_boxes_change_no_count(noise: list[list]):
    """Somebody crosses the line while a broken model adds boxes that are none: one crossing, as without them."""
    pipeline = Pipeline(PLAN)
    for step in range(60):
        bad = noise[step] if step < len(noise) else []
        pipeline.count(detections([*bad, walker(100 + step * 8)]), step * 50)
    pipeline.finish()
    totals = pipeline.totals()["l"]
    assert totals.in_ + totals.out == 1
    assert pipeline.left_out == sum(map(len, noise))


def test_thousands_of_boxes_leave_the_surest():
    """A detector gone wild neither ends the count nor eats the machine, and the people it was sure of are still there."""
    rng = np.random.default_rng(1)
    n = 5_000
    corner = rng.uniform(0, 400, (n, 2)).astype(np.float32)
    xyxy = np.hstack([corner, corner + rng.uniform(1, 80, (n, 2)).astype(np.float32)])
    score = rng.uniform(0.0, 0.8, n).astype(np.float32)
    score[4_000] = 0.99
    wild = Detections(xyxy, score, np.zeros(n, dtype=np.int16))
    left = usable(wild, 1)
    assert len(left) == MAX_BOXES
    assert np.float32(0.99) in left.score
    assert left.score.min() >= np.sort(score)[-MAX_BOXES]
    pipeline = Pipeline(PLAN)
    for step in range(3):
        pipeline.count(wild, step * 40)
    assert pipeline.tracks is not None
    assert len(pipeline.tracks) <= MAX_BOXES


def test_a_clock_that_steps_back_takes_no_crossing_away():
    """Somebody crosses the line while the clock is put back by an hour: still one crossing, and no time before the last."""
    pipeline = Pipeline(PLAN)
    told: list[int] = []
    for step in range(80):
        at_ms = 10_000_000 + step * 50 - (3_600_000 if 30 <= step < 33 else 0)
        told += [when for when, _ in pipeline.count(detections([walker(100 + step * 6)]), at_ms)]
    told += [when for when, _ in pipeline.finish()]
    totals = pipeline.totals()["l"]
    assert totals.in_ + totals.out == 1
    assert min(told) >= 10_000_000


def test_a_camera_that_repeats_its_picture_counts_nobody_twice():
    """The same frame with the same time comes again and again, as from a stuck encoder."""
    pipeline = Pipeline(PLAN)
    for step in range(60):
        for _ in range(3):
            pipeline.count(detections([walker(100 + step * 8)]), step * 50)
    pipeline.finish()
    totals = pipeline.totals()["l"]
    assert totals.in_ + totals.out == 1


def test_a_frame_is_detected_and_counted_in_one_go():
    """`feed` is `count` of what the detector saw."""
    pipeline = Pipeline(PLAN, lambda frame: detections([walker(100 + frame.index * 8)]))
    for index in range(60):
        pipeline.feed(Frame(index, index * 50, None))
    pipeline.finish()
    totals = pipeline.totals()["l"]
    assert totals.in_ + totals.out == 1
