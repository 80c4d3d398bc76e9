"""Telling a model's layout from what it returned."""

import numpy as np
import pytest

from countline.errors import UsageError
from edge.detect.layout import Layout, Reading, Trial, cell_corners, decide, preparation, strides_of
from edge.detect.preparation import Placement


def trial(
    *shape: int,
    size: tuple[int, int] = (640, 640),
    classes: int | None = None,
    flag: bool | None = None,
    fill: float = 0.0,
) -> Trial:
    """Return a run of a model with one output."""
    return Trial(size, ("output0",), (np.full(shape, fill, dtype=np.float32),), classes, flag)


@pytest.mark.parametrize(
    ("shape", "size", "classes", "flag", "layout"),
    [
        ((1, 84, 8400), (640, 640), 80, None, Layout.CHANNELS_FIRST),
        ((1, 84, 6300), (640, 480), 80, None, Layout.CHANNELS_FIRST),
        ((1, 84, 8400), (640, 640), None, None, Layout.CHANNELS_FIRST),
        ((1, 6, 8400), (640, 640), 2, None, Layout.CHANNELS_FIRST),  # as wide as an end-to-end row
        # as few cells as an end-to-end list has rows
        ((1, 6, 336), (128, 128), 2, None, Layout.CHANNELS_FIRST),
        ((1, 84, 84), (64, 64), 80, None, Layout.CHANNELS_FIRST),  # as many cells as rows
        ((1, 84, 21), (32, 32), 80, None, Layout.CHANNELS_FIRST),  # fewer cells than rows
        ((1, 84, 34000), (1280, 1280), 80, None, Layout.CHANNELS_FIRST),  # strides up to 64
        ((1, 84, 2550), (192, 160), 80, None, Layout.CHANNELS_FIRST),  # strides from 4
        ((1, 25200, 85), (640, 640), 80, None, Layout.OBJECTNESS),
        ((1, 25200, 6), (640, 640), 1, None, Layout.OBJECTNESS),
        ((1, 1008, 6), (128, 128), 1, None, Layout.OBJECTNESS),
        ((1, 300, 6), (640, 640), 80, None, Layout.END_TO_END),
        ((1, 300, 6), (640, 640), None, None, Layout.END_TO_END),
        ((1, 100, 6), (640, 640), 2, True, Layout.END_TO_END),
        ((1, 336, 6), (128, 128), 80, True, Layout.END_TO_END),  # only the metadata can tell
        ((1, 8400, 85), (640, 640), 80, None, Layout.YOLOX),
        ((1, 8400, 6), (640, 640), 1, None, Layout.YOLOX),
        ((1, 3549, 85), (416, 416), None, None, Layout.YOLOX),
    ],
)
def test_layout_is_told_by_the_number_of_cells(
    shape: tuple[int, ...], size: tuple[int, int], classes: int | None, flag: bool | None, layout: Layout
) -> None:
    """The axis that equals the number of cells decides, also where another rule of thumb would be wrong."""
    assert decide(trial(*shape, size=size, classes=classes, flag=flag)).layout is layout


@pytest.mark.parametrize(
    ("shape", "classes", "flag"),
    [
        ((1, 8400, 85), 79, None),
        ((1, 116, 8400), 80, None),  # masks behind the classes
        ((1, 300, 38), 80, True),
        ((1, 300, 84), 80, None),  # a list in pixels with a column per class is nobody's
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
        decide(trial(*shape, classes=classes, flag=flag, fill=9.0))
    assert str(list(shape)) in str(refusal.value)
    assert "8400 cells" in str(refusal.value)
    assert "detector.layout" in str(refusal.value)


def of(output: np.ndarray, classes: int | None = None, size: tuple[int, int] = (64, 64)) -> Layout:
    """Return the layout of one output."""
    return decide(Trial(size, ("output0",), (output[None].astype(np.float32),), classes)).layout


def test_yolox_is_told_decoded_or_not_by_where_its_centres_lie() -> None:
    """Raw offsets lie within a cell of zero, decoded centres within a few cells of their own."""
    rng = np.random.default_rng(2)
    raw = np.concatenate(
        [rng.normal(0.5, 1, (84, 2)), rng.normal(0, 1, (84, 2)), rng.uniform(size=(84, 4))], 1
    )
    corners, sides = cell_corners((64, 64), (8, 16, 32))
    decoded = raw.copy()
    decoded[:, :2] = (raw[:, :2] + corners) * sides
    decoded[:, 2:4] = np.exp(raw[:, 2:4]) * sides
    assert of(raw, 3) is Layout.YOLOX
    assert of(decoded, 3) is Layout.YOLOX_DECODED
    decoded[:, 4] = 1.0
    assert of(decoded, 3) is Layout.YOLOV6


def test_columns_of_corners_are_told_from_centre_and_size() -> None:
    """Where x2 exceeds x1 and y2 exceeds y1 in every cell the columns are corners."""
    corners, sides = cell_corners((64, 64), (8, 16, 32))
    middle = (corners + 0.5) * sides
    scores = np.zeros((84, 2))
    assert of(np.concatenate([middle, sides, sides, scores], 1).T, 2) is Layout.CHANNELS_FIRST
    assert of(np.concatenate([middle - sides, middle + sides, scores], 1).T, 2) is Layout.CORNERS_FIRST


def test_shares_are_told_from_pixels() -> None:
    """A list whose boxes all lie between 0 and 1 is RT-DETR's; with whole numbers in its last column a list of classes."""
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 1, (300, 4))
    by_class = np.concatenate([boxes, rng.uniform(0, 1, (300, 2))], 1)
    listed = np.concatenate([boxes, rng.uniform(0, 1, (300, 1)), rng.integers(0, 80, (300, 1))], 1)
    assert of(by_class, 2) is Layout.SHARES
    assert of(listed, 80) is Layout.SHARES_LIST
    assert of(listed * [640, 640, 640, 640, 1, 1], 80) is Layout.END_TO_END
    assert of(np.concatenate([boxes, rng.uniform(0, 1, (300, 80))], 1), 80) is Layout.SHARES


def named(**outputs: tuple[int, ...]) -> Reading:
    arrays = tuple(np.zeros(shape, dtype=np.float32) for shape in outputs.values())
    return decide(Trial((640, 640), tuple(outputs), arrays))


def test_names_tell_rt_detr_and_rf_detr() -> None:
    """Outputs with telling names are found in whatever order they come."""
    found = named(scores=(1, 300), labels=(1, 300), boxes=(1, 300, 4))
    assert (found.layout, found.picks, found.class_count) == (Layout.RTDETR, (1, 2, 0), None)
    found = named(labels=(1, 300, 91), dets=(1, 300, 4))
    assert (found.layout, found.picks, found.class_count) == (Layout.RFDETR, (1, 0), 91)


def test_a_person_may_say_the_layout() -> None:
    """A layout that is said is taken where the shapes allow it, and refused where they don't."""
    shapes = trial(1, 84, 8400, classes=80)
    assert decide(shapes, Layout.CORNERS_FIRST).layout is Layout.CORNERS_FIRST
    assert decide(trial(1, 8400, 85), Layout.YOLOV6).layout is Layout.YOLOV6
    assert decide(trial(1, 300, 6, fill=0.5), Layout.END_TO_END).layout is Layout.END_TO_END
    with pytest.raises(UsageError, match=r"not of the layout 'yolox' that `detector\.layout` says"):
        decide(shapes, Layout.YOLOX)
    with pytest.raises(UsageError, match="'rtdetr'"):
        decide(shapes, Layout.RTDETR)


def test_every_layout_has_a_preparation() -> None:
    """What was trained on stretched pictures is stretched; all else keeps its shape."""
    stretched = {layout for layout in Layout if preparation(layout).placement is Placement.STRETCHED}
    assert stretched == {Layout.RTDETR, Layout.SHARES, Layout.SHARES_LIST, Layout.RFDETR}
    assert preparation(Layout.YOLOX).is_bgr


def test_strides_are_told_by_the_cells() -> None:
    """Which grids a model has shows in how many cells it returns."""
    assert strides_of((640, 640), 8400) == (8, 16, 32)
    assert strides_of((640, 640), 8401) == ()
