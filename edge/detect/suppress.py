"""Of boxes that overlap, the best: non-maximum suppression per class."""

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, ClassIds

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
            block = block[~_is_same(boxes, class_ids, block, kept, iou).any(axis=1)]
        kept = np.concatenate([kept, block[_first_of_each(_is_same(boxes, class_ids, block, block, iou))]])
        if len(kept) >= MAX_DETECTIONS:
            break
    return kept[:MAX_DETECTIONS]


def _first_of_each(is_same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows no earlier row that is left is the same as, shape (N,), from a symmetric matrix."""
    is_left = np.ones(len(is_same), dtype=np.bool_)
    # A box is always the same as itself. Only one with a later double has anybody to send away, and they are few.
    later = np.triu(is_same, 1)
    for i in np.flatnonzero(later.any(axis=1)):
        if is_left[i]:
            is_left &= ~later[i]
    return is_left


def _is_same(
    boxes: Boxes,
    class_ids: ClassIds | NDArray[np.intp],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    iou: float,
) -> NDArray[np.bool_]:
    """Return where two boxes, one of `rows` and one of `columns`, are of a class and overlap by more than `iou`."""
    x1, y1, x2, y2 = boxes[rows].T[:, :, None]
    u1, v1, u2, v2 = boxes[columns].T[:, None, :]
    # Coordinates of a broken model may be too large to multiply: infinite areas overlap nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        width, height = np.minimum(x2, u2) - np.maximum(x1, u1), np.minimum(y2, v2) - np.maximum(y1, v1)
        both = np.maximum(width, 0) * np.maximum(height, 0)
        either = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
        return (both > iou * either) & (class_ids[rows][:, None] == class_ids[columns])
