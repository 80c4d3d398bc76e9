"""Reads boxes out of the raw outputs of a detector; `edge.detect.layout` says how they are arranged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.arrays import Boxes, Detections, Scores
from edge.detect.layout import Layout, cell_corners, strides_of
from edge.detect.suppress import MAX_DETECTIONS, suppress

Table = NDArray[np.float32]
"""float32: one picture's raw output, without the batch axis."""

# Overlaps are looked for among the best candidates only: a broken model that fires everywhere must not stall a camera.
MAX_CANDIDATES = 2000
# Layouts whose models have sorted out overlaps themselves.
_WITHOUT_OVERLAPS = frozenset(
    {Layout.END_TO_END, Layout.RTDETR, Layout.SHARES, Layout.SHARES_LIST, Layout.RFDETR}
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take from an output.

    Attributes:
        class_ids: Classes to keep, ascending; None keeps all.
        confidence: Detections that do not exceed it are dropped.
        iou: Of two boxes of a class that overlap by more than this, the better is kept.
        class_count: Columns of classes beyond these are no classes; None reads all.
    """

    class_ids: NDArray[np.intp] | None
    confidence: float
    iou: float
    class_count: int | None = None


def decode(
    outputs: Sequence[NDArray[np.generic]], layout: Layout, wanted: Wanted, size: tuple[int, int]
) -> Detections:
    """Return the detections of one picture, best first, at most `MAX_DETECTIONS`.

    A box counts as of its best class; other classes than the wanted are dropped before overlaps are looked for.
    Whatever is not finite or has no area is dropped.

    Args:
        outputs: The raw outputs that `Reading.picks` names, in its order, without their batch axis.
        layout: What `edge.detect.layout.decide` said.
        wanted: What to keep.
        size: Width and height of the model's input.

    Returns:
        Boxes in pixels of the input, not yet cut to the picture.
    """
    tables = [np.asarray(output, dtype=np.float32) for output in outputs]
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is dropped
        boxes, scores, class_ids = _READERS[layout](tables, wanted, size)
        sound = _is_sound(boxes, scores)
    if not sound.all():
        boxes, scores, class_ids = boxes[sound], scores[sound], class_ids[sound]
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes, scores, class_ids = boxes[order], scores[order], class_ids[order]
    if layout in _WITHOUT_OVERLAPS:
        kept = np.arange(min(len(scores), MAX_DETECTIONS))
    else:
        kept = suppress(boxes, class_ids, wanted.iou)
    return Detections(boxes[kept], np.minimum(scores[kept], np.float32(1)), class_ids[kept].astype(np.int16))


_Raw = tuple[Boxes, Scores, NDArray[np.intp]]
_Size = tuple[int, int]


def _columns(table: Table, wanted: Wanted) -> tuple[Boxes, Scores, NDArray[np.intp]]:
    """Return the four numbers of each candidate's box as they stand, its score and its class."""
    scores = table[4:]
    rows = scores if wanted.class_ids is None else scores[wanted.class_ids]
    # Thousands of columns, of which a few dozen exceed the threshold: everything else is done for those alone.
    columns = np.flatnonzero((rows[0] if len(rows) == 1 else rows.max(axis=0)) > wanted.confidence)
    best, class_ids, is_wanted = _best_class(scores.take(columns, axis=1).T, wanted)
    return table[:4].take(columns[is_wanted], axis=1).T, best[is_wanted], class_ids[is_wanted]


def _channels_first(tables: Sequence[Table], wanted: Wanted, _size: _Size) -> _Raw:
    boxes, scores, class_ids = _columns(tables[0], wanted)
    return _corners(boxes), scores, class_ids


def _corners_first(tables: Sequence[Table], wanted: Wanted, _size: _Size) -> _Raw:
    return _columns(tables[0], wanted)


def _candidates(table: Table, wanted: Wanted) -> tuple[NDArray[np.intp], Scores, NDArray[np.intp]]:
    """Return the rows whose objectness times class score exceeds the threshold, with score and class."""
    # A score is objectness times class score, so that it never exceeds objectness.
    rows = np.flatnonzero(table[:, 4] > wanted.confidence)
    some = table[rows]
    best, class_ids, is_wanted = _best_class(some[:, 5:] * some[:, 4:5], wanted)
    return rows[is_wanted], best[is_wanted], class_ids[is_wanted]


def _objectness(tables: Sequence[Table], wanted: Wanted, _size: _Size) -> _Raw:
    rows, scores, class_ids = _candidates(tables[0], wanted)
    return _corners(tables[0][rows, :4]), scores, class_ids


def _yolox(tables: Sequence[Table], wanted: Wanted, size: _Size) -> _Raw:
    table = tables[0]
    rows, scores, class_ids = _candidates(table, wanted)
    corners, sides = cell_corners(size, strides_of(size, len(table)))
    corners, sides = corners[rows], sides[rows]
    boxes = np.concatenate([table[rows, :2] + corners, np.exp(table[rows, 2:4])], axis=1) * sides
    return _corners(boxes), scores, class_ids


def _end_to_end(tables: Sequence[Table], wanted: Wanted, _size: _Size) -> _Raw:
    table = tables[0]
    return _listed(table[:, :4], table[:, 4], table[:, 5], wanted)


def _shares_list(tables: Sequence[Table], wanted: Wanted, size: _Size) -> _Raw:
    boxes, scores, class_ids = _end_to_end(tables, wanted, size)
    return _corners(_in_pixels(boxes, size)), scores, class_ids


def _rtdetr(tables: Sequence[Table], wanted: Wanted, _size: _Size) -> _Raw:
    labels, boxes, scores = tables
    return _listed(boxes, scores, labels, wanted)


def _shares(tables: Sequence[Table], wanted: Wanted, size: _Size) -> _Raw:
    table = tables[0]
    best, class_ids, is_wanted = _best_class(table[:, 4:], wanted)
    return _corners(_in_pixels(table[is_wanted, :4], size)), best[is_wanted], class_ids[is_wanted]


def _rfdetr(tables: Sequence[Table], wanted: Wanted, size: _Size) -> _Raw:
    boxes, logits = tables
    scores = (1 / (1 + np.exp(-logits[:, : wanted.class_count]))).astype(np.float32, copy=False)
    return _shares([np.concatenate([boxes, scores], axis=1)], wanted, size)


_READERS: dict[Layout, Callable[[Sequence[Table], Wanted, _Size], _Raw]] = {
    Layout.OBJECTNESS: _objectness,
    Layout.YOLOV6: _objectness,
    Layout.CHANNELS_FIRST: _channels_first,
    Layout.CORNERS_FIRST: _corners_first,
    Layout.END_TO_END: _end_to_end,
    Layout.YOLOX: _yolox,
    Layout.YOLOX_DECODED: _objectness,
    Layout.RTDETR: _rtdetr,
    Layout.SHARES: _shares,
    Layout.SHARES_LIST: _shares_list,
    Layout.RFDETR: _rfdetr,
}


def _listed(boxes: Boxes, scores: Scores, labels: Scores, wanted: Wanted) -> _Raw:
    """Return the boxes of a list whose classes are wanted and whose scores exceed the threshold."""
    keep = (scores > wanted.confidence) & (labels >= 0) & (labels <= np.iinfo(np.int16).max)
    keep &= _has_class(labels, wanted)
    return boxes[keep], scores[keep], labels[keep].astype(np.intp)


def _best_class(scores: Table, wanted: Wanted) -> tuple[Scores, NDArray[np.intp], NDArray[np.bool_]]:
    """Return each row's best score and class, and whether it is wanted. Scores have shape (N, classes)."""
    class_ids = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), class_ids]
    is_wanted = best > wanted.confidence
    is_wanted &= _has_class(class_ids, wanted)
    return best, class_ids, is_wanted


def _has_class(labels: NDArray[np.generic], wanted: Wanted) -> NDArray[np.bool_] | np.bool_:
    if wanted.class_ids is None:
        return np.True_
    # One class is by far the commonest wish, and a comparison takes a tenth of what `isin` does.
    return labels == wanted.class_ids[0] if len(wanted.class_ids) == 1 else np.isin(labels, wanted.class_ids)


def _in_pixels(shares: Boxes, size: _Size) -> Boxes:
    return shares * np.array([*size, *size], dtype=np.float32)


def _corners(centred: Boxes) -> Boxes:
    """Return x1, y1, x2, y2 for rows of cx, cy, w, h."""
    half = centred[:, 2:] / np.float32(2)
    corners = np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)
    return corners.astype(np.float32, copy=False)


def _is_sound(boxes: Boxes, scores: Scores) -> NDArray[np.bool_]:
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return has_area & np.isfinite(boxes).all(axis=1) & np.isfinite(scores)


def to_picture(detections: Detections, boxes: Boxes) -> Detections:
    """Return the detections with other boxes, less those that cutting to the picture left without an area."""
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if has_area.all():
        return Detections(boxes, detections.score, detections.class_id)
    return Detections(boxes[has_area], detections.score[has_area], detections.class_id[has_area])
