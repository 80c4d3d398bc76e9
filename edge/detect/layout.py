"""Which family a model is of, told from what it returned for one picture: its outputs' names, shapes and values.

| layout | outputs | a row | left to do |
|---|---|---|---|
| `yolov5` (v5, v7) | (1, 3 * cells, 5 + classes) | cx, cy, w, h, objectness, class scores | suppress overlaps |
| `yolov6` | (1, cells, 5 + classes), objectness all 1 | the same | suppress overlaps |
| `yolov8` (v5u, v8, v9, 11, 12, v10 and 26 without their end) | (1, 4 + classes, cells) | (a column) cx, cy, w, h, class scores | suppress overlaps |
| `yolov8-corners` (YOLOv10's own export without its end) | the same | (a column) x1, y1, x2, y2, class scores | suppress overlaps |
| `end-to-end` (YOLOv10, 26, exports with `nms=True`) | (1, most, 6) | x1, y1, x2, y2, score, class | nothing |
| `yolox` | (1, cells, 5 + classes) | offsets within the cell and log sizes, objectness, class scores | suppress overlaps |
| `yolox-decoded` | the same | cx, cy, w, h, objectness, class scores | suppress overlaps |
| `rtdetr` (RT-DETR v1, v2, D-FINE) | labels, boxes, scores | x1, y1, x2, y2 of the size that was asked for | nothing |
| `ultralytics-rtdetr` | (1, most, 4 + classes) | cx, cy, w, h in shares, class scores | nothing |
| `ultralytics-rtdetr-list` (since 2026) | (1, most, 6) | cx, cy, w, h in shares, score, class | nothing |
| `rfdetr` | dets (1, most, 4), labels (1, most, classes) | cx, cy, w, h in shares; logits | nothing |

Boxes are in pixels of the input unless it says shares. `cells` are the places that the model looks at: those of grids
with strides 8, 16 and 32, and for some variants 4 or 64 too.
"""

import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from countline.errors import UsageError
from edge.detect.preparation import Placement, Preparation

# An end-to-end model returns a list of at most this many; exports use 100 to 300.
MAX_END_TO_END_ROWS = 1000
# Boxes in shares of the input lie between 0 and 1, a little over at its edges; in pixels they never all do.
_LARGEST_SHARE = 2.0
_GRIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_ANCHORS_PER_CELL = 3

Output = NDArray[np.generic]
"""One output of a run: any dtype, with its batch axis."""


class Layout(enum.Enum):
    """How the outputs are arranged; see the table above. The values are the words of `detector.layout`."""

    OBJECTNESS = "yolov5"
    YOLOV6 = "yolov6"
    CHANNELS_FIRST = "yolov8"
    CORNERS_FIRST = "yolov8-corners"
    END_TO_END = "end-to-end"
    YOLOX = "yolox"
    YOLOX_DECODED = "yolox-decoded"
    RTDETR = "rtdetr"
    SHARES = "ultralytics-rtdetr"
    SHARES_LIST = "ultralytics-rtdetr-list"
    RFDETR = "rfdetr"


_YOLOX = Preparation(Placement.TOP_LEFT, is_bgr=True, divisor=1.0)
_STRETCHED = Preparation(Placement.STRETCHED)
_IMAGENET = Preparation(Placement.STRETCHED, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
_PREPARATIONS = {
    Layout.YOLOX: _YOLOX,
    Layout.YOLOX_DECODED: _YOLOX,
    Layout.RTDETR: _STRETCHED,
    Layout.SHARES: _STRETCHED,
    Layout.SHARES_LIST: _STRETCHED,
    Layout.RFDETR: _IMAGENET,
}


def preparation(layout: Layout) -> Preparation:
    """Return how pictures are prepared for models of a layout."""
    return _PREPARATIONS.get(layout, Preparation())


@dataclass(frozen=True, slots=True)
class Trial:
    """What is known of a model after one run.

    Attributes:
        size: Width and height of the input of that run.
        names: Of the outputs.
        outputs: What they were, with their batch axis of one.
        class_count: Classes that the metadata or the settings name; None if nobody names any.
        is_end_to_end: Whether the metadata say so; None if they don't say.
    """

    size: tuple[int, int]
    names: tuple[str, ...]
    outputs: tuple[Output, ...]
    class_count: int | None = None
    is_end_to_end: bool | None = None

    def __str__(self) -> str:
        """Describe the outputs for people."""
        shapes = ", ".join(
            f"{name} {list(output.shape)} {output.dtype}"
            for name, output in zip(self.names, self.outputs, strict=True)
        )
        classes = f" and {self.class_count} classes" if self.class_count is not None else ""
        return f"{shapes} for an input of {self.size[0]} x {self.size[1]} pixels{classes}"


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a model's outputs.

    Attributes:
        layout: Their arrangement.
        picks: Which of them matter, in the layout's order: boxes before classes, for `RTDETR` labels, boxes, scores.
        class_count: Classes that they have room for; None if it does not show.
    """

    layout: Layout
    picks: tuple[int, ...]
    class_count: int | None = None


def decide(trial: Trial, forced: Layout | None = None) -> Reading:
    """Return how to read a model's outputs.

    The axis that equals the number of cells decides, never which axis is the smaller: two classes make a YOLOv8
    output (1, 6, 8400), which looks like an end-to-end list, and a 128 x 128 input has 336 cells, which looks like
    one of 300 rows. Where shapes agree the values of the run decide: shares never exceed 2, cells know where they
    lie, and corners have x2 > x1 everywhere.

    Args:
        trial: One run.
        forced: What a person says it is.

    Raises:
        UsageError: It is none of the known layouts, or not the one that is said.
    """
    reading = _by_names(trial) or _by_shape(trial)
    if forced is not None:
        return _as_told(trial, forced, reading)
    if reading is None:
        raise UsageError(
            f"it is no detector that is known: it returns {trial}. Known are YOLOv5 [1, 3 x cells, 5 + classes], YOLOv8 to 12 "
            "[1, 4 + classes, cells], end-to-end [1, up to 1000, 6], YOLOX [1, cells, 5 + classes], RT-DETR, D-FINE and RF-DETR; "
            f"this input has {count_cells(trial.size, _GRIDS[0])} cells. `detector.layout` says it where the shapes cannot."
        )
    return reading


def strides_of(size: tuple[int, int], cells: int) -> tuple[int, ...]:
    """Return the strides of the grids that have so many cells together; none if no known ones have."""
    return next((grid for grid in _GRIDS if count_cells(size, grid) == cells), ())


def count_cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Return how many cells grids of these strides have for an input of width and height `size`."""
    return sum(math.ceil(size[0] / stride) * math.ceil(size[1] / stride) for stride in strides)


def cell_corners(
    size: tuple[int, int], strides: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the upper left corners of all cells in cells, float32 (N, 2), and their strides, float32 (N, 1)."""
    corners: list[NDArray[np.float32]] = []
    sides: list[NDArray[np.float32]] = []
    for stride in strides:
        wide, high = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
        rows, columns = np.divmod(np.arange(wide * high), wide)
        corners.append(np.stack([columns, rows], axis=1).astype(np.float32))
        sides.append(np.full((wide * high, 1), stride, dtype=np.float32))
    return np.concatenate(corners), np.concatenate(sides)


def _by_names(trial: Trial) -> Reading | None:
    """Return the reading of a model whose outputs' names say what they are."""
    place = {name: i for i, name in enumerate(trial.names)}
    shapes = {name: trial.outputs[i].shape for name, i in place.items()}
    if {"labels", "boxes", "scores"} <= place.keys() and len(shapes["boxes"]) == 3:
        return Reading(Layout.RTDETR, (place["labels"], place["boxes"], place["scores"]), trial.class_count)
    if {"dets", "labels"} <= place.keys() and len(shapes["labels"]) == len(shapes["dets"]) == 3:
        return Reading(Layout.RFDETR, (place["dets"], place["labels"]), shapes["labels"][2])
    return None


def _by_shape(trial: Trial) -> Reading | None:
    # YOLOv5 may export its three grids, of more axes, beside the list of boxes.
    lists = [i for i, output in enumerate(trial.outputs) if output.ndim == 3 and output.dtype.kind == "f"]
    if len(lists) != 1:
        return None
    output = np.asarray(trial.outputs[lists[0]], dtype=np.float32)
    if len(output) != 1:
        return None
    readings = (_checked(trial, layout, lists[0]) for layout in _plausible(output, trial))
    return next((reading for reading in readings if reading is not None), None)


def _checked(trial: Trial, layout: Layout, pick: int) -> Reading | None:
    """Return the reading if the classes that somebody names fit into the output."""
    count = class_room(layout, trial.outputs[pick].shape)
    if count is not None and (count < 1 or trial.class_count not in {None, count}):
        return None
    return Reading(layout, (pick,), trial.class_count if count is None else count)


def class_room(layout: Layout, shape: Sequence[int]) -> int | None:
    """Return how many classes a layout's one output has room for; None if it does not show."""
    match layout:
        case Layout.CHANNELS_FIRST | Layout.CORNERS_FIRST:
            return shape[1] - 4
        case Layout.OBJECTNESS | Layout.YOLOV6 | Layout.YOLOX | Layout.YOLOX_DECODED:
            return shape[2] - 5
        case Layout.SHARES:
            return shape[2] - 4
        case _:
            return None


def _plausible(output: NDArray[np.float32], trial: Trial) -> Iterator[Layout]:
    """Yield the layouts that an output's shape allows, the likeliest first."""
    _, rows, columns = output.shape
    looks_end_to_end = columns == 6 and rows <= MAX_END_TO_END_ROWS
    cells = {count_cells(trial.size, grid) for grid in _GRIDS}
    if trial.is_end_to_end:
        if looks_end_to_end:
            yield Layout.END_TO_END
        return
    if columns in cells and rows > 4:
        yield _of_columns(output[0])
    if rows in {_ANCHORS_PER_CELL * n for n in cells} and columns > 5:
        yield Layout.OBJECTNESS
    # A grid of as many rows as cells is YOLOX's or YOLOv6's, whose six columns mean something else.
    if rows in cells and columns > 5:
        yield _of_cells(output[0], trial.size)
    elif rows <= MAX_END_TO_END_ROWS and columns > 4:
        yield from _of_list(output[0])


def _of_columns(output: NDArray[np.float32]) -> Layout:
    # With centre and size a cell on the right would need a box wider than its centre is far from the left.
    has_corners = bool((output[2] > output[0]).all() and (output[3] > output[1]).all())
    return Layout.CORNERS_FIRST if has_corners else Layout.CHANNELS_FIRST


def _of_cells(output: NDArray[np.float32], size: tuple[int, int]) -> Layout:
    if (output[:, 4] == 1).all():
        return Layout.YOLOV6
    strides = strides_of(size, len(output))
    corners, sides = cell_corners(size, strides)
    # Where a box's centre lies, in cells from its own cell: a few if it is read in the right way.
    is_raw = np.median(np.abs(output[:, :2] - 0.5)) < np.median(np.abs(output[:, :2] / sides - corners - 0.5))
    return Layout.YOLOX if is_raw else Layout.YOLOX_DECODED


def _of_list(output: NDArray[np.float32]) -> Iterator[Layout]:
    """Yield the layouts that a list of a few hundred boxes may have."""
    boxes, last = output[:, :4], output[:, -1]
    is_shares = bool((np.abs(boxes) <= _LARGEST_SHARE).all() and boxes.any())
    if output.shape[1] == 6 and not is_shares:
        yield Layout.END_TO_END
    # The number of a class is whole, and the score of a second class hardly ever is in all rows.
    if output.shape[1] == 6 and is_shares and (last == np.rint(last)).all():
        yield Layout.SHARES_LIST
    if is_shares:
        yield Layout.SHARES


def _as_told(trial: Trial, forced: Layout, found: Reading | None) -> Reading:
    """Return the reading by a layout that a person says, if the outputs could be that."""
    if found is not None and found.layout is forced:
        return found
    for i, output in enumerate(trial.outputs):
        if output.ndim == 3 and output.dtype.kind == "f" and _could_be(forced, output.shape, trial.size):
            reading = _checked(trial, forced, i)
            if reading is not None:
                return reading
    raise UsageError(
        f"it is not of the layout {forced.value!r} that `detector.layout` says: it returns {trial}."
    )


def _could_be(layout: Layout, shape: Sequence[int], size: tuple[int, int]) -> bool:
    match layout:
        case Layout.END_TO_END | Layout.SHARES_LIST:
            return shape[2] == 6
        case Layout.CHANNELS_FIRST | Layout.CORNERS_FIRST:
            return bool(strides_of(size, shape[2]))
        case Layout.YOLOX:
            return bool(strides_of(size, shape[1]))
        case _:
            return class_room(layout, shape) is not None
