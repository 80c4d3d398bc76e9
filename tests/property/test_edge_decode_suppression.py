"""Laws of overlap suppression."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.detect.decode import Wanted, decode
from edge.detect.layout import Layout
from edge.detect.suppress import suppress

_SIDE = st.integers(0, 60)
_BOX = st.tuples(_SIDE, _SIDE, st.integers(1, 40), st.integers(1, 40), st.integers(0, 2))
_BOXES = st.lists(_BOX, max_size=200)
_IOU = st.sampled_from([0.1, 0.45, 0.7, 0.9])


def _arrays(rows: list[tuple[int, int, int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1), table[:, 4].astype(np.intp)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(0.0, float(width)) * max(0.0, float(height))
    return both / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both)


def _plainly(boxes: np.ndarray, classes: np.ndarray, iou: float) -> list[int]:
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(classes[i] != classes[j] or _overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept


@given(_BOXES, _IOU)
def test_same_as_the_plain_way(rows: list[tuple[int, int, int, int, int]], iou: float) -> None:
    """The fast way keeps exactly what comparing box by box keeps."""
    boxes, classes = _arrays(rows)
    assert suppress(boxes, classes, iou).tolist() == _plainly(boxes, classes, iou)


@given(_BOXES, _IOU)
def test_suppression_of_what_was_kept_keeps_all(
    rows: list[tuple[int, int, int, int, int]], iou: float
) -> None:
    """What was kept does not suppress each other."""
    boxes, classes = _arrays(rows)
    kept = suppress(boxes, classes, iou)
    assert suppress(boxes[kept], classes[kept], iou).tolist() == list(range(len(kept)))


_VALUE = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.lists(_VALUE, min_size=7, max_size=7), min_size=21, max_size=21),
    st.sampled_from(list(Layout)),
)
def test_no_output_whatsoever_breaks_decoding(rows: list[list[float]], layout: Layout) -> None:
    """Whatever a broken model returns, the detections are finite boxes with an area and scores within 0 to 1."""
    table = np.array(rows, dtype=np.float32)  # an input of 32 x 32 has 21 cells
    outputs = {
        Layout.CHANNELS_FIRST: [table.T],
        Layout.CORNERS_FIRST: [table.T],
        Layout.END_TO_END: [table[:, :6]],
        Layout.SHARES_LIST: [table[:, :6]],
        Layout.RTDETR: [table[:, 0], table[:, 1:5], table[:, 5]],
        Layout.RFDETR: [table[:, :4], table[:, 4:]],
    }.get(layout, [table])
    found = decode(outputs, layout, Wanted(class_ids=np.array([0, 2]), confidence=0.1, iou=0.5), (32, 32))
    assert np.isfinite(found.xyxy).all()
    assert (found.xyxy[:, 2:] > found.xyxy[:, :2]).all()
    assert ((found.score > 0) & (found.score <= 1)).all()
    assert set(found.class_id.tolist()) <= {0, 2}
