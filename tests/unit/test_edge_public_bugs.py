"""Cases in which other counters are publicly known to miscount, through the tracker and the rules together.

Each is named after its report: OpenDataCam #204 and #501, supervision #1838, #2578 and #2598, Ultralytics #25492.
"""

import numpy as np
import pytest

from countline.events import CameraConfigured, Direction, LineCrossed, LineShape
from edge.arrays import Detections, Spots, Tracks
from edge.count.rules import Rules
from edge.pipeline import CameraPlan, Pipeline

WIDTH, HEIGHT = 640, 480
# At x = 320 from the top to the bottom: from the left half to the right half is out.
LINE = LineShape("line", [(320.0, 0.0), (320.0, 480.0)])
BOX = (60.0, 150.0)

Box = tuple[float, float]
"""Middle of a box's lower edge, pixels."""


def detections(feet: list[Box], noise: np.ndarray | None = None) -> Detections:
    """Boxes that stand on these feet, cut by the picture; `noise` moves their four edges."""
    half, tall = BOX[0] / 2, BOX[1]
    xyxy = np.array([(x - half, y - tall, x + half, y) for x, y in feet], dtype=np.float32).reshape(-1, 4)
    if noise is not None:
        xyxy = (xyxy + noise).astype(np.float32)
    xyxy = np.clip(xyxy, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
    n = len(xyxy)
    return Detections(xyxy, np.full(n, 0.8, dtype=np.float32), np.zeros(n, dtype=np.int16))


def counted(frames: list[Detections], fps: float, line: LineShape = LINE) -> tuple[int, int]:
    """Count frames; return how many went in and out."""
    configured = CameraConfigured(WIDTH, HEIGHT, "video", [line], [])
    pipeline = Pipeline(CameraPlan(configured, ("person",)))
    moments = [
        moment for i, seen in enumerate(frames) for moment in pipeline.count(seen, round(i * 1_000 / fps))
    ]
    moments += pipeline.finish()
    ways = [event.direction for _, event in moments if isinstance(event, LineCrossed)]
    return ways.count(Direction.IN), ways.count(Direction.OUT)


def straight(from_x: float, to_x: float, n: int, y: float = 300.0) -> list[list[Box]]:
    return [[(x, y)] for x in np.linspace(from_x, to_x, n).tolist()]


def test_opendatacam_204_a_car_that_waits_on_the_line_is_not_counted_again_and_again() -> None:
    """There one car counted 15 times, and an empty road 400 in four hours: here it is nobody in five minutes."""
    rng = np.random.default_rng(204)
    frames = []
    for _ in range(1_500):
        is_missed = rng.random() < 0.1
        noise = rng.normal(0, 0.01 * BOX[1], (1, 4))
        frames.append(detections([]) if is_missed else detections([(320.0, 300.0)], noise))
    assert counted(frames, fps=5) == (0, 0)


def test_opendatacam_501_who_stops_on_the_line_and_rolls_back_is_counted_once_and_the_right_way() -> None:
    """There is no hysteresis there, and the direction is that of the last twitch."""
    way = straight(120, 318, 20)
    way += [[(320 + 4 * np.sin(i / 3), 300.0)] for i in range(100)]
    way += straight(322, 520, 20)
    assert counted([detections(feet) for feet in way], fps=10) == (0, 1)


def test_supervision_1838_a_line_near_the_edge_of_the_picture_counts() -> None:
    """There a box must be wholly on both sides, which it never is where people come into the picture."""
    line = LineShape("line", [(40.0, 0.0), (40.0, 480.0)])
    coming = [detections(feet) for feet in straight(-20, 300, 40)]
    assert counted(coming, fps=10, line=line) == (0, 1)
    going = [detections(feet) for feet in straight(300, -25, 40)]
    assert counted(going, fps=10, line=line) == (1, 0)


def test_supervision_2578_what_is_not_confirmed_is_not_counted() -> None:
    """There a user's right 7 and 9 became 97 and 95: boxes that are seen once jump to and fro over the line."""
    rng = np.random.default_rng(2578)
    frames = []
    for walker in range(16):
        is_in = walker < 7
        for feet in straight(560 if is_in else 80, 80 if is_in else 560, 40):
            clutter = (
                [(float(rng.uniform(30, 610)), float(rng.uniform(150, 470)))] if rng.random() < 0.3 else []
            )
            frames.append(detections([*feet, *clutter]))
        frames += [detections([])] * 25
    assert counted(frames, fps=10) == (7, 9)


@pytest.mark.parametrize("back_px", [5.0, 15.0])
def test_supervision_2598_a_flicker_back_over_the_line_is_no_crossing_the_other_way(back_px: float) -> None:
    """There one frame on the other side counted somebody who never came back."""
    way = [*straight(120, 330, 22), [(320 - back_px, 300.0)], *straight(340, 520, 20)]
    assert counted([detections(feet) for feet in way], fps=10) == (0, 1)


@pytest.mark.parametrize("step_px", [20.0, 25.0])
def test_ultralytics_25492_who_jumps_over_the_line_between_two_frames_is_counted(step_px: float) -> None:
    """There who is never seen within a thin region is lost, the more the faster: here the step between counts."""
    frames = [detections([(x, 300.0)]) for x in np.arange(40, 600, step_px).tolist()]
    assert counted(frames, fps=5) == (0, 1)


@pytest.mark.parametrize("step_px", [60.0, 150.0, 500.0])
def test_ultralytics_25492_a_track_that_is_seen_twice_a_second_is_counted_however_far_it_jumps(
    step_px: float,
) -> None:
    """Whom the tracker knows again is counted at any speed: no place needs to be near the line."""
    rules = Rules([LINE], [], ("person",))
    moments = []
    for i, x in enumerate(np.arange(60, 620, step_px).tolist()):
        moments += rules.feed(_one_spot(x, i * 500), i * 500)
    assert [event.direction for _, event in moments if isinstance(event, LineCrossed)] == [Direction.OUT]


def _one_spot(x: float, at_ms: int) -> Tracks:
    nobody = np.zeros(0, dtype=np.bool_)
    spot = Spots(
        np.array([1]),
        np.array([at_ms]),
        np.array([[x, 300.0]]),
        np.array([BOX[1]]),
        np.zeros(1, dtype=np.int16),
        np.full(1, 0.8, dtype=np.float32),
    )
    none = Detections.empty()
    ids = np.zeros(0, dtype=np.int64)
    return Tracks(none.xyxy, none.score, none.class_id, ids, nobody, nobody, settled=spot)
