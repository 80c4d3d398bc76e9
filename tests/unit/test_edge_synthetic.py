"""The made-up scene."""

from itertools import pairwise

import numpy as np

from countline.clock import ManualClock
from edge.capture import open_source
from edge.capture.synthetic import FRAMES, HEIGHT, WIDTH, Scene
from edge.config import CameraSettings

MIDDLE = [(WIDTH / 2, 0.0), (WIDTH / 2, float(HEIGHT))]
ACROSS = [(0.0, HEIGHT / 2), (float(WIDTH), HEIGHT / 2)]


def test_same_seed_makes_the_same_scene() -> None:
    """The scene depends on the generator it is given, and on nothing else."""
    one, two, other = (Scene(np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert (one.picture(100) == two.picture(100)).all()
    assert (one.detections(100).xyxy == two.detections(100).xyxy).all()
    assert not np.array_equal(one.detections(100).xyxy, other.detections(100).xyxy)


def test_frame_does_not_depend_on_those_before_it() -> None:
    """A frame is the same whether or not others were left out before it."""
    scene = Scene(np.random.default_rng(1))
    alone = scene.detections(500).xyxy
    for index in range(490, 500):
        scene.detections(index)
    assert (scene.detections(500).xyxy == alone).all()


def test_detections_need_no_detector() -> None:
    """Everybody in the picture is detected near the truth, within the picture."""
    scene = Scene(np.random.default_rng(2))
    for index in range(0, 600, 7):
        found = scene.detections(index)
        inside = [w for w in scene.walkers(index) if 0 <= w.feet(index)[0] <= WIDTH]
        assert len(found) == len(inside)
        assert ((found.xyxy >= 0) & (found.xyxy <= [WIDTH, HEIGHT, WIDTH, HEIGHT])).all()
        for walker, box in zip(inside, found.xyxy, strict=True):
            exact = np.clip(walker.box(index), 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            assert np.abs(exact - box).max() < 5


def test_walkers_of_a_lane_never_touch() -> None:
    """Two people of a lane are always apart, so that no tracker has an excuse."""
    scene = Scene(np.random.default_rng(3))
    for index in range(0, 1000, 11):
        for lane in range(3):
            xs = sorted(w.feet(index)[0] for w in scene.walkers(index) if w.lane == lane)
            assert all(b - a >= 60 for a, b in pairwise(xs))


def test_everybody_crosses_the_line_down_the_middle() -> None:
    """Of a line drawn downwards the right half of the picture is the left hand: who comes from there goes in."""
    crossings = Scene(np.random.default_rng(4)).truth_crossings(MIDDLE, 600)
    assert len(crossings) > 20
    for crossing in crossings:
        assert crossing.direction == ("in" if crossing.walker.lane == 1 else "out")
        before, after = crossing.walker.feet(crossing.index - 1)[0], crossing.walker.feet(crossing.index)[0]
        assert min(before, after) <= WIDTH / 2 <= max(before, after)


def test_both_ways_cross_the_line_across_the_middle() -> None:
    """People cross the default line of a camera too, both ways."""
    directions = {c.direction for c in Scene(np.random.default_rng(4)).truth_crossings(ACROSS, 600)}
    assert directions == {"in", "out"}


def test_scene_is_endless_live_and_ends_otherwise() -> None:
    """Played live the scene never ends; played fast it has a fixed number of frames."""
    live = open_source(CameraSettings("c", "synthetic:"), ManualClock(0))
    assert live.open().frame_count is None
    fast = open_source(CameraSettings("c", "synthetic:", realtime=False), ManualClock(0))
    info = fast.open()
    assert (info.frame_count, info.class_names, info.fps, info.width) == (FRAMES, ("person",), 12.0, WIDTH)
    frame = fast.read(1)
    assert frame is not None
    assert frame.image is not None
    assert frame.image.shape == (HEIGHT, WIDTH, 3)
    assert frame.detections is not None
    last = frame
    while (frame := fast.read(1)) is not None:
        last = frame
    assert last.index == FRAMES - 1
    assert fast.is_finished
