"""Reads the raw output of YOLO detectors: which layout it is, and what boxes it holds.

| layout | output | a row | left to do |
|---|---|---|---|
| `OBJECTNESS`: YOLOv5 | (1, 3 * cells, 5 + classes) | cx, cy, w, h, objectness, class scores | suppress overlaps |
| `CHANNELS_FIRST`: YOLOv8, v9, 11, 12 | (1, 4 + classes, cells) | (a column) cx, cy, w, h, class scores | suppress overlaps |
| `END_TO_END`: YOLOv10, exports with `nms=True` | (1, most, 6) | x1, y1, x2, y2, score, class | nothing |

All boxes are in pixels of the input. `cells` are the places that the model looks at: those of grids with strides
8, 16 and 32 (and 64 for the large-input variants).
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.errors import UsageError
from edge.arrays import Boxes, ClassIds, Detections, Scores

Output = NDArray[np.float32]
"""float32, shape (A, B): one picture's raw output, without the batch axis."""

# More things than this in one picture are not told apart by any tracker; it bounds all that comes after.
MAX_DETECTIONS = 300
# Overlaps are looked for among the best candidates only: a broken model that fires everywhere must not stall a camera.
MAX_CANDIDATES = 2000
# An end-to-end model returns a list of at most this many; exports use 100 to 300.
MAX_END_TO_END_ROWS = 1000
# Boxes compared with each other at once: most pictures have fewer candidates, and thousands need no huge matrix.
_BLOCK = 128
_GRIDS = ((8, 16, 32), (8, 16, 32, 64))
_ANCHORS_PER_CELL = 3


class Layout(enum.Enum):
    """How an output is arranged; see the table above."""

    OBJECTNESS = "YOLOv5"
    CHANNELS_FIRST = "YOLOv8, v9, 11, 12"
    END_TO_END = "end-to-end"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take from an output.

    Attributes:
        class_ids: Classes to keep, ascending; None keeps all.
        confidence: Detections that do not exceed it are dropped.
        iou: Of two boxes of a class that overlap by more than this, the better is kept.
    """

    class_ids: NDArray[np.intp] | None
    confidence: float
    iou: float


def decide_layout(
    shape: Sequence[int], size: tuple[int, int], class_count: int | None, *, is_end_to_end: bool | None = None
) -> Layout:
    """Return the layout of an output, from what a real run returned.

    The axis that equals the number of cells decides, never which axis is the smaller: two classes make a YOLOv8
    output (1, 6, 8400), which looks like an end-to-end list, and a 128 x 128 input has 336 cells, which looks like
    one of 300 rows.

    Args:
        shape: Of the output, (1, A, B).
        size: Width and height of the input of that run.
        class_count: Classes that the model's metadata name; None if it names none.
        is_end_to_end: Whether the metadata say so; None if they don't say.

    Raises:
        UsageError: It is none of the known layouts.
    """
    layout = _layout(shape, size, is_end_to_end=is_end_to_end) if len(shape) == 3 and shape[0] == 1 else None
    found = {
        Layout.OBJECTNESS: lambda: shape[2] - 5,
        Layout.CHANNELS_FIRST: lambda: shape[1] - 4,
        Layout.END_TO_END: lambda: class_count,
    }
    if layout is not None and (class_count is None or found[layout]() == class_count):
        return layout
    classes = f" and {class_count} classes" if class_count is not None else ""
    raise UsageError(
        f"the model's output of shape {list(shape)} for an input of {size[0]} x {size[1]} pixels{classes} is none that is known: "
        "YOLOv5 [1, 3 x cells, 5 + classes], YOLOv8 to 12 [1, 4 + classes, cells] or end-to-end [1, up to 1000, 6]; "
        f"this input has {_cells(size, _GRIDS[0])} cells."
    )


def _layout(shape: Sequence[int], size: tuple[int, int], *, is_end_to_end: bool | None) -> Layout | None:
    _, rows, columns = shape
    looks_end_to_end = columns == 6 and rows <= MAX_END_TO_END_ROWS
    if is_end_to_end:
        return Layout.END_TO_END if looks_end_to_end else None
    cells = {_cells(size, grid) for grid in _GRIDS}
    if columns in cells and rows > 4:
        return Layout.CHANNELS_FIRST
    if rows in {_ANCHORS_PER_CELL * n for n in cells} and columns > 5:
        return Layout.OBJECTNESS
    # A grid of as many rows as cells would be YOLOv6 or YOLOX, whose six columns mean something else.
    return Layout.END_TO_END if looks_end_to_end and rows not in cells else None


def _cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    return sum(math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in strides)


def class_count_of(layout: Layout, shape: Sequence[int]) -> int | None:
    """Return how many classes an output has room for; None if it does not show."""
    return {Layout.OBJECTNESS: shape[2] - 5, Layout.CHANNELS_FIRST: shape[1] - 4}.get(layout)


def decode(output: Output, layout: Layout, wanted: Wanted) -> Detections:
    """Return the detections of one output, best first, at most `MAX_DETECTIONS`.

    A box counts as of its best class; other classes than the wanted are dropped before overlaps are looked for.
    Whatever is not finite or has no area is dropped.

    Args:
        output: The raw output without its batch axis.
        layout: What `decide_layout` said.
        wanted: What to keep.

    Returns:
        Boxes in pixels of the input, not yet cut to the picture.
    """
    if layout is Layout.END_TO_END:
        boxes, scores, class_ids = _end_to_end(output, wanted)
    elif layout is Layout.CHANNELS_FIRST:
        boxes, scores, class_ids = _channels_first(output, wanted)
    else:
        boxes, scores, class_ids = _objectness(output, wanted)
    sound = _is_sound(boxes, scores)
    if not sound.all():
        boxes, scores, class_ids = boxes[sound], scores[sound], class_ids[sound]
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes, scores, class_ids = boxes[order], scores[order], class_ids[order]
    if layout is Layout.END_TO_END:
        kept = np.arange(min(len(scores), MAX_DETECTIONS))
    else:
        kept = suppress(boxes, class_ids, wanted.iou)
    return Detections(boxes[kept], np.minimum(scores[kept], np.float32(1)), class_ids[kept].astype(np.int16))


_Raw = tuple[Boxes, Scores, NDArray[np.intp]]


def _channels_first(output: Output, wanted: Wanted) -> _Raw:
    scores = output[4:]
    rows = scores if wanted.class_ids is None else scores[wanted.class_ids]
    # Thousands of columns, of which a few dozen exceed the threshold: everything else is done for those alone.
    columns = np.flatnonzero((rows[0] if len(rows) == 1 else rows.max(axis=0)) > wanted.confidence)
    best, class_ids, is_wanted = _best_class(scores[:, columns].T, wanted)
    return _corners(output[:4, columns[is_wanted]].T), best[is_wanted], class_ids[is_wanted]


def _objectness(output: Output, wanted: Wanted) -> _Raw:
    # A score is objectness times class score, so that it never exceeds objectness.
    rows = np.flatnonzero(output[:, 4] > wanted.confidence)
    candidates = output[rows]
    with np.errstate(invalid="ignore", over="ignore"):
        best, class_ids, is_wanted = _best_class(candidates[:, 5:] * candidates[:, 4:5], wanted)
    return _corners(candidates[is_wanted, :4]), best[is_wanted], class_ids[is_wanted]


def _end_to_end(output: Output, wanted: Wanted) -> _Raw:
    rows = output[(output[:, 4] > wanted.confidence) & np.isfinite(output[:, 5])]
    is_wanted = (rows[:, 5] >= 0) & (rows[:, 5] <= np.iinfo(np.int16).max)
    if wanted.class_ids is not None:
        is_wanted &= np.isin(rows[:, 5], wanted.class_ids)
    rows = rows[is_wanted]
    return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.intp)


def _best_class(scores: Output, wanted: Wanted) -> tuple[Scores, NDArray[np.intp], NDArray[np.bool_]]:
    """Return each row's best score and class, and whether it is wanted. Scores have shape (N, classes)."""
    class_ids = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), class_ids]
    is_wanted = best > wanted.confidence
    if wanted.class_ids is not None:
        is_wanted &= np.isin(class_ids, wanted.class_ids)
    return best, class_ids, is_wanted


def _corners(centred: Boxes) -> Boxes:
    """Return x1, y1, x2, y2 for rows of cx, cy, w, h."""
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is dropped later
        half = centred[:, 2:] / np.float32(2)
        corners = np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
    return corners.astype(np.float32, copy=False)


def _is_sound(boxes: Boxes, scores: Scores) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return has_area & np.isfinite(boxes).all(axis=1) & np.isfinite(scores)


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
        is_same = _is_same(boxes, class_ids, block, block, iou)
        is_left = np.ones(len(block), dtype=np.bool_)
        for i in range(len(block)):
            if is_left[i]:
                is_left[i + 1 :] &= ~is_same[i, i + 1 :]
        kept = np.concatenate([kept, block[is_left]])
        if len(kept) >= MAX_DETECTIONS:
            break
    return kept[:MAX_DETECTIONS]


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


def to_picture(detections: Detections, boxes: Boxes) -> Detections:
    """Return the detections with other boxes, less those that cutting to the picture left without an area."""
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if has_area.all():
        return Detections(boxes, detections.score, detections.class_id)
    return Detections(boxes[has_area], detections.score[has_area], detections.class_id[has_area])
