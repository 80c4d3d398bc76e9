"""Of boxes that overlap, the best: non-maximum suppression per class."""

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, ClassIds, Scores

# More things than this in one picture are not told apart by any tracker; it bounds all that comes after.
MAX_DETECTIONS = 300
# Boxes compared with each other at once: most pictures have fewer candidates, and thousands need no huge matrix.
_BLOCK = 128


def suppress(boxes: Boxes, class_ids: ClassIds | NDArray[np.intp], iou: float) -> NDArray[np.intp]:
    """Return which boxes to keep: of two of a class that overlap by more than `iou`, the one that comes first.

    Args:
        boxes: Shape (N, 4), best first, finite, each with an area.
        class_ids: Shape (N,).
        iou: Intersection over union above which two boxes are one object.

    Returns:
        Ascending indices, at most `MAX_DETECTIONS`.
    """
    kept = np.zeros(0, dtype=np.intp)
    for start in range(0, len(boxes), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(boxes)))
        if len(kept):
            is_known = _is_same(boxes[block], class_ids[block], boxes[kept], class_ids[kept], iou).any(axis=1)
            block = block[~is_known]
        if not len(block):
            continue
        corners, classes = boxes[block], class_ids[block]
        is_left = _first_of_each(_is_same(corners, classes, corners, classes, iou))
        kept = np.concatenate([kept, block[is_left]])
        if len(kept) >= MAX_DETECTIONS:
            break
    return kept[:MAX_DETECTIONS]


def _first_of_each(is_same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows no earlier row that is left is the same as, shape (N,), from a symmetric matrix."""
    is_left = np.ones(len(is_same), dtype=np.bool_)
    # A box is always the same as itself. Only one with a double has anybody to send away, and they are few.
    for i in np.flatnonzero(is_same.sum(axis=1) > 1):
        if is_left[i]:
            is_left[i + 1 :] &= ~is_same[i, i + 1 :]
    return is_left


def _is_same(
    boxes: Boxes,
    classes: ClassIds | NDArray[np.intp],
    others: Boxes,
    other_classes: ClassIds | NDArray[np.intp],
    iou: float,
) -> NDArray[np.bool_]:
    """Return where a box and one of the others are of a class and overlap by more than `iou`: shape (N, M)."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    u1, v1, u2, v2 = (x1, y1, x2, y2) if others is boxes else np.ascontiguousarray(others.T)
    # Coordinates of a broken model may be too large to multiply: infinite areas overlap nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        both = _common(x1, x2, u1, u2)
        both *= _common(y1, y2, v1, v2)
        areas = np.add.outer((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1))
        areas -= both
        areas *= iou
        is_same = both > areas
    if (
        classes[0] == other_classes[0]
        and (classes == classes[0]).all()
        and (other_classes == classes[0]).all()
    ):
        return is_same
    return is_same & np.equal.outer(classes, other_classes)


def _common(low: Scores, high: Scores, other_low: Scores, other_high: Scores) -> NDArray[np.float32]:
    """Return the length that an interval and one of the others have in common: shape (N, M)."""
    length = np.minimum.outer(high, other_high)
    length -= np.maximum.outer(low, other_low)
    return np.maximum(length, 0, out=length)
