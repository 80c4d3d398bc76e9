"""Reading the outputs of YOLO models."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edge.arrays import Detections
from edge.detect import decode as reading
from edge.detect.decode import Wanted
from edge.detect.layout import Layout
from edge.detect.suppress import MAX_DETECTIONS, suppress

ALL = Wanted(class_ids=None, confidence=0.25, iou=0.5)
PEOPLE = Wanted(class_ids=np.array([0]), confidence=0.25, iou=0.5)
SIZE = (640, 640)


def decode(output: np.ndarray, layout: Layout, wanted: Wanted, size: tuple[int, int] = SIZE) -> Detections:
    """Decode a model's only output."""
    return reading.decode([output], layout, wanted, size)


def channels_first(*rows: list[float], cells: int = 50) -> np.ndarray:
    output = np.zeros((len(rows[0]), cells), dtype=np.float32)
    output[:, 7 : 7 + len(rows)] = np.array(rows, dtype=np.float32).T
    return output


def test_channels_first_boxes_become_corners() -> None:
    """Centre and size become corners, best first."""
    found = decode(
        channels_first([50, 60, 20, 30, 0.5, 0.1], [150, 60, 20, 40, 0.2, 0.9]), Layout.CHANNELS_FIRST, ALL
    )
    assert_allclose(found.xyxy, [[140, 40, 160, 80], [40, 45, 60, 75]])
    assert_allclose(found.score, [0.9, 0.5])
    assert found.class_id.tolist() == [1, 0]
    assert (found.xyxy.dtype, found.score.dtype, found.class_id.dtype) == (np.float32, np.float32, np.int16)


def test_box_of_an_unwanted_class_is_not_counted_as_a_wanted_one() -> None:
    """A dog that looks a little like a person is no person."""
    output = channels_first([50, 60, 20, 30, 0.3, 0.8], [150, 60, 20, 40, 0.6, 0.1])
    found = decode(output, Layout.CHANNELS_FIRST, PEOPLE)
    assert_allclose(found.score, [0.6])


def test_unwanted_class_suppresses_nothing() -> None:
    """A person on a bicycle is found though the bicycle's box is almost the same and better."""
    output = channels_first([50, 60, 20, 30, 0.5, 0.1], [50, 60, 20, 31, 0.1, 0.9])
    assert len(decode(output, Layout.CHANNELS_FIRST, PEOPLE)) == 1
    assert len(decode(output, Layout.CHANNELS_FIRST, ALL)) == 2


def test_objectness_multiplies_the_class_score() -> None:
    """A YOLOv5 score is objectness times class score."""
    output = np.zeros((30, 7), dtype=np.float32)
    output[3] = [50, 60, 20, 30, 0.8, 0.9, 0.1]
    output[9] = [150, 60, 20, 30, 0.3, 0.8, 0.1]  # 0.24 is below the threshold, its objectness alone is not
    found = decode(output, Layout.OBJECTNESS, PEOPLE)
    assert_allclose(found.xyxy, [[40, 45, 60, 75]])
    assert_allclose(found.score, [0.72])


def test_end_to_end_rows_are_taken_as_they_are() -> None:
    """Rows of corners, score and class are taken without suppression; empty rows and other classes are dropped."""
    output = np.zeros((300, 6), dtype=np.float32)
    output[0] = [10, 10, 30, 40, 0.9, 0]
    output[1] = [11, 10, 30, 40, 0.8, 0]
    output[2] = [10, 10, 30, 40, 0.7, 3]
    output[3] = [10, 10, 30, 40, 0.7, -1]
    found = decode(output, Layout.END_TO_END, PEOPLE)
    assert_allclose(found.score, [0.9, 0.8])
    assert decode(output, Layout.END_TO_END, ALL).class_id.tolist() == [0, 0, 3]


def empty(layout: Layout, rows: int = 84) -> list[np.ndarray]:
    """Return outputs without any score, for an input of 64 x 64, which has 84 cells."""
    shapes: dict[Layout, list[tuple[int, ...]]] = {
        Layout.CHANNELS_FIRST: [(84, rows)],
        Layout.CORNERS_FIRST: [(84, rows)],
        Layout.END_TO_END: [(rows, 6)],
        Layout.SHARES_LIST: [(rows, 6)],
        Layout.SHARES: [(rows, 84)],
        Layout.RTDETR: [(rows,), (rows, 4), (rows,)],
        Layout.RFDETR: [(rows, 4), (rows, 91)],
    }
    outputs = [np.zeros(shape, dtype=np.float32) for shape in shapes.get(layout, [(rows, 85)])]
    if layout is Layout.RFDETR:
        outputs[1][:] = -9
    return outputs


@pytest.mark.parametrize("layout", list(Layout))
def test_nothing_seen_is_no_detections(layout: Layout) -> None:
    """An output without any score above the threshold holds no detections."""
    for wanted in (ALL, PEOPLE):
        assert len(reading.decode(empty(layout), layout, wanted, (64, 64))) == 0


def test_yolox_offsets_become_boxes() -> None:
    """An undecoded YOLOX row is an offset within its cell and the logarithm of the size in strides."""
    output = np.zeros((84, 7), dtype=np.float32)
    output[8 * 2 + 3] = [0.5, 0.25, np.log(2), np.log(4), 0.9, 1.0, 0.0]  # row 2, column 3 of the first grid
    output[64 + 4 * 1 + 2] = [0.0, 1.0, 0.0, 0.0, 0.8, 0.0, 1.0]  # row 1, column 2 of the second
    found = decode(output, Layout.YOLOX, ALL, (64, 64))
    assert_allclose(found.xyxy, [[20, 2, 36, 34], [24, 24, 40, 40]], rtol=1e-6)
    assert_allclose(found.score, [0.9, 0.8])
    assert found.class_id.tolist() == [0, 1]


def test_corners_of_every_cell_are_taken_as_they_are() -> None:
    """YOLOv10's own export without its end has corners where YOLOv8 has centre and size."""
    found = decode(channels_first([40, 45, 60, 75, 0.5, 0.1]), Layout.CORNERS_FIRST, ALL)
    assert_allclose(found.xyxy, [[40, 45, 60, 75]])


def test_shares_become_pixels() -> None:
    """Ultralytics' RT-DETR has centre and size in shares of the input, older exports with one column per class."""
    row = [0.5, 0.25, 0.5, 0.1]
    pixels = [[160, 64, 480, 96]]
    listed = np.array([[*row, 0.9, 2], [*row, 0.1, 0]], dtype=np.float32)
    found = decode(listed, Layout.SHARES_LIST, ALL, (640, 320))
    assert_allclose(found.xyxy, pixels, rtol=1e-6)
    assert found.class_id.tolist() == [2]
    by_class = np.array([[*row, 0.1, 0.2, 0.9], [*row, 0.1, 0.1, 0.2]], dtype=np.float32)
    found = decode(by_class, Layout.SHARES, ALL, (640, 320))
    assert_allclose(found.xyxy, pixels, rtol=1e-6)
    assert found.class_id.tolist() == [2]


def test_rt_detr_has_three_outputs() -> None:
    """RT-DETR and D-FINE return classes, corners and scores apart from each other."""
    labels = np.array([0, 3, 0], dtype=np.int64)
    boxes = np.array([[1, 2, 30, 40], [5, 6, 70, 80], [1, 2, 3, 4]], dtype=np.float32)
    scores = np.array([0.9, 0.8, 0.1], dtype=np.float32)
    found = reading.decode([labels, boxes, scores], Layout.RTDETR, ALL, SIZE)
    assert_allclose(found.xyxy, boxes[:2])
    assert found.class_id.tolist() == [0, 3]
    assert len(reading.decode([labels, boxes, scores], Layout.RTDETR, PEOPLE, SIZE)) == 1


def test_rf_detr_logits_become_scores() -> None:
    """RF-DETR's classes are logits, and a last column that no class has is left aside."""
    boxes = np.array([[0.5, 0.5, 0.2, 0.4]] * 2, dtype=np.float32)
    logits = np.array([[-5, 2, -5], [-5, -5, 9]], dtype=np.float32)
    wanted = Wanted(class_ids=None, confidence=0.25, iou=0.5, class_count=2)
    found = reading.decode([boxes, logits], Layout.RFDETR, wanted, (100, 100))
    assert_allclose(found.xyxy, [[40, 30, 60, 70]], rtol=1e-6)
    assert_allclose(found.score, [1 / (1 + np.exp(-2))], rtol=1e-6)
    assert found.class_id.tolist() == [1]


def test_half_precision_output() -> None:
    """An output of float16 is read in float32: 16 bits cannot count pixels beyond 2048."""
    output = channels_first([50, 60, 20, 30, 0.5, 0.1]).astype(np.float16)
    found = decode(output, Layout.CHANNELS_FIRST, ALL)
    assert found.xyxy.dtype == np.float32
    assert_allclose(found.xyxy, [[40, 45, 60, 75]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(6))
def test_what_is_not_finite_is_dropped(value: float, place: int) -> None:
    """A box or score that is not finite is dropped and spoils no other, in every layout."""
    good, bad = [50.0, 60.0, 20.0, 30.0, 0.9, 0.0], [50.0, 60.0, 20.0, 30.0, 0.9, 0.0]
    bad[place] = value
    expected = 1 if place < 4 else None
    for layout, output in (
        (Layout.CHANNELS_FIRST, channels_first(bad, [200, *good[1:]])),
        (
            Layout.OBJECTNESS,
            np.array([[*bad[:5], 0.9, bad[5]], [200, *good[1:5], 0.9, 0.0]], dtype=np.float32),
        ),
        (Layout.END_TO_END, np.array([bad, good], dtype=np.float32) + np.float32([0, 0, 50, 60, 0, 0])),
    ):
        found = decode(output, layout, ALL)
        assert np.isfinite(found.xyxy).all()
        assert np.isfinite(found.score).all()
        assert expected is None or len(found) == expected, layout


def test_box_without_area_is_dropped() -> None:
    """A box of no width or of negative height is none."""
    output = channels_first([50, 60, 0, 30, 0.9, 0], [50, 60, 20, -5, 0.9, 0])
    assert len(decode(output, Layout.CHANNELS_FIRST, ALL)) == 0


@pytest.mark.parametrize("layout", list(Layout))
def test_a_model_that_fires_everywhere_is_bounded(layout: Layout) -> None:
    """Thousands of boxes of any values yield at most 300 sound ones, whatever the layout."""
    rng = np.random.default_rng(3)
    side = 640
    outputs = empty(layout, rows=8400)
    noise = [rng.uniform(0, 1, output.shape).astype(np.float32) * 3 - 1 for output in outputs]
    for table in noise:
        table[rng.uniform(size=table.shape) < 0.05] = np.nan
        table[rng.uniform(size=table.shape) < 0.05] = np.inf
    found = reading.decode(noise, layout, ALL, (side, side))
    assert len(found) <= MAX_DETECTIONS
    assert np.isfinite(found.xyxy).all()
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()


def test_number_of_detections_is_bounded() -> None:
    """A model that fires everywhere yields the best 300, no more."""
    rng = np.random.default_rng(3)
    output = np.concatenate(
        [rng.uniform(0, 5000, (2, 9000)), np.full((2, 9000), 10.0), rng.uniform(0.3, 1, (1, 9000))]
    ).astype(np.float32)
    found = decode(output, Layout.CHANNELS_FIRST, ALL)
    assert len(found) == MAX_DETECTIONS
    assert found.score[0] == output[4].max()


def test_suppression_looks_across_blocks() -> None:
    """A box is suppressed by a better one however many lie between them."""
    far = np.array([[x, 0, x + 10, 10] for x in range(0, 4000, 20)], dtype=np.float32)
    boxes = np.concatenate([far, far])
    assert suppress(boxes, np.zeros(len(boxes), dtype=np.intp), 0.5).tolist() == list(range(len(far)))
