"""Reading the outputs of YOLO models."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from countline.errors import UsageError
from edge.detect.decode import MAX_DETECTIONS, Layout, Wanted, decide_layout, decode, suppress

ALL = Wanted(class_ids=None, confidence=0.25, iou=0.5)
PEOPLE = Wanted(class_ids=np.array([0]), confidence=0.25, iou=0.5)


@pytest.mark.parametrize(
    ("shape", "size", "classes", "flag", "layout"),
    [
        ((1, 84, 8400), (640, 640), 80, None, Layout.CHANNELS_FIRST),
        ((1, 84, 6300), (640, 480), 80, None, Layout.CHANNELS_FIRST),
        ((1, 84, 8400), (640, 640), None, None, Layout.CHANNELS_FIRST),
        ((1, 6, 8400), (640, 640), 2, None, Layout.CHANNELS_FIRST),  # as wide as an end-to-end row
        (
            (1, 6, 336),
            (128, 128),
            2,
            None,
            Layout.CHANNELS_FIRST,
        ),  # as few cells as an end-to-end list has rows
        ((1, 84, 84), (64, 64), 80, None, Layout.CHANNELS_FIRST),  # as many cells as rows
        ((1, 84, 21), (32, 32), 80, None, Layout.CHANNELS_FIRST),  # fewer cells than rows
        ((1, 84, 34000), (1280, 1280), 80, None, Layout.CHANNELS_FIRST),  # strides up to 64
        ((1, 25200, 85), (640, 640), 80, None, Layout.OBJECTNESS),
        ((1, 25200, 6), (640, 640), 1, None, Layout.OBJECTNESS),
        ((1, 1008, 6), (128, 128), 1, None, Layout.OBJECTNESS),
        ((1, 300, 6), (640, 640), 80, None, Layout.END_TO_END),
        ((1, 300, 6), (640, 640), None, None, Layout.END_TO_END),
        ((1, 100, 6), (640, 640), 2, True, Layout.END_TO_END),
        ((1, 336, 6), (128, 128), 80, True, Layout.END_TO_END),  # only the metadata can tell
    ],
)
def test_layout_is_told_by_the_number_of_cells(
    shape: tuple[int, ...], size: tuple[int, int], classes: int | None, flag: bool | None, layout: Layout
) -> None:
    """The axis that equals the number of cells decides, also where another rule of thumb would be wrong."""
    assert decide_layout(shape, size, classes, is_end_to_end=flag) is layout


@pytest.mark.parametrize(
    ("shape", "classes", "flag"),
    [
        ((1, 8400, 85), 80, None),  # YOLOX, YOLOv6
        ((1, 8400, 6), 1, None),
        ((1, 300, 84), 80, None),  # RT-DETR
        ((1, 116, 8400), 80, None),  # masks behind the classes
        ((1, 300, 38), 80, True),
        ((300, 7), 80, None),
        ((2, 84, 8400), 80, None),
        ((1, 5000, 6), 80, None),
    ],
)
def test_unknown_layout_is_refused_with_its_shape(
    shape: tuple[int, ...], classes: int | None, flag: bool | None
) -> None:
    """An output that is not surely one of the known layouts is refused in a sentence that names its shape."""
    with pytest.raises(UsageError) as refusal:
        decide_layout(shape, (640, 640), classes, is_end_to_end=flag)
    assert str(list(shape)) in str(refusal.value)
    assert "8400 cells" in str(refusal.value)


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


@pytest.mark.parametrize("layout", list(Layout))
def test_nothing_seen_is_no_detections(layout: Layout) -> None:
    """An output without any score above the threshold holds no detections."""
    shape = {Layout.CHANNELS_FIRST: (84, 100), Layout.OBJECTNESS: (100, 85), Layout.END_TO_END: (100, 6)}[
        layout
    ]
    for wanted in (ALL, PEOPLE):
        assert len(decode(np.zeros(shape, dtype=np.float32), layout, wanted)) == 0


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
