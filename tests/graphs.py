"""Builds small ONNX detectors that really look at the picture: red, green and blue are their three classes.

Each cell of the usual grids (8, 16, 32 pixels) reports its own square, and as scores the means of the three channels
that it was given. So a block of one colour must come out as that class at that place, or the picture was prepared or
the output read in a wrong way. `quantisable` puts a convolution before the cells.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.detect.layout import Layout, cell_corners

NAMES = "{0: 'red', 1: 'green', 2: 'blue'}"
STRIDES = (8, 16, 32)
MOST = 100


class _Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, kind: str, *inputs: str | np.ndarray, n: int = 1, **attributes: object) -> str:
        """Add a node; return the name of its first output."""
        name = f"{kind}_{len(self.nodes)}"
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        outputs = [name if i == 0 else f"{name}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(kind, names, outputs, name=name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        """Add a constant; return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def write_detector(
    path: Path,
    layout: Layout,
    *,
    size: tuple[int, int] = (160, 160),
    dtype: type[np.generic] = np.float32,
    batch: int | str = 1,
    with_names: bool = True,
    convolves: bool = False,
) -> Path:
    """Write a detector of a layout.

    Args:
        path: Where to.
        layout: Of its outputs.
        size: Width and height of its input.
        dtype: Of input and float outputs, float32 or float16.
        batch: How many pictures it takes; a string is any number.
        with_names: Whether its metadata name the classes.
        convolves: Whether a convolution stands before the cells.
    """
    width, height = size
    add = _Graph()
    picture = "images"
    if dtype == np.float16:
        picture = add("Cast", picture, to=TensorProto.FLOAT)
    if convolves:
        picture = _convolved(add, picture)
    scores = _means(add, picture)
    outputs = _OUTPUTS[layout](add, scores, size)
    inputs = [helper.make_tensor_value_info("images", _kind(dtype), [batch, 3, height, width])]
    if layout is Layout.RTDETR:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [batch, 2]))
    infos = []
    for name, inner, rank in outputs:
        is_label = name == "labels" and layout is Layout.RTDETR
        kind = TensorProto.INT64 if is_label else _kind(dtype)
        add.nodes.append(helper.make_node("Cast", [inner], [name], name=f"cast_{name}", to=kind))
        infos.append(helper.make_tensor_value_info(name, kind, [None] * rank))
    graph = helper.make_graph(add.nodes, "test", inputs, infos, add.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    said = {"stride": "32", "imgsz": f"[{height}, {width}]"} | ({"names": NAMES} if with_names else {})
    for key, value in said.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _kind(dtype: type[np.generic]) -> int:
    return TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT


def _convolved(add: _Graph, picture: str) -> str:
    """Two convolutions that leave each channel what it is, but for a little of its neighbours."""
    kernel = np.zeros((3, 3, 3, 3), dtype=np.float32)
    for channel in range(3):
        kernel[channel, channel] = 0.02
        kernel[channel, channel, 1, 1] = 0.84
    for _ in range(2):
        picture = add("Conv", picture, kernel, pads=[1, 1, 1, 1])
    return picture


def _means(add: _Graph, picture: str) -> str:
    """Return the means of the channels over all cells: (B, 3, cells)."""
    grids = []
    for stride in STRIDES:
        pooled = add("AveragePool", picture, kernel_shape=[stride, stride], strides=[stride, stride])
        grids.append(add("Reshape", pooled, np.array([0, 3, -1])))
    return add("Concat", *grids, axis=2)


def _boxes(size: tuple[int, int]) -> np.ndarray:
    """Return centre and size of all cells in pixels: float32 (cells, 4)."""
    corners, sides = cell_corners(size, STRIDES)
    return np.concatenate([(corners + 0.5) * sides, sides, sides], axis=1).astype(np.float32)


def _like(add: _Graph, table: np.ndarray, scores: str) -> str:
    """Return a table of (cells, k) once per picture, as (B, k, cells)."""
    one = add("Mul", add("ReduceMean", scores, axes=[1], keepdims=1), np.float32([0]))
    return add("Add", one, table.T[None].astype(np.float32))


def _rows(add: _Graph, columns: str) -> str:
    return add("Transpose", columns, perm=[0, 2, 1])


_Outputs = Sequence[tuple[str, str, int]]


def _channels_first(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("output0", add("Concat", _like(add, _boxes(size), scores), scores, axis=1), 3)]


def _corners_first(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("output0", add("Concat", _like(add, _corners(size), scores), scores, axis=1), 3)]


def _corners(size: tuple[int, int]) -> np.ndarray:
    boxes = _boxes(size)
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def _cells(add: _Graph, scores: str, table: np.ndarray, objectness: float) -> str:
    four = _like(add, table, scores)
    sure = _like(add, np.full((len(table), 1), objectness), scores)
    return _rows(add, add("Concat", four, sure, scores, axis=1))


def _objectness(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    rows = _cells(add, scores, _boxes(size), 0.95)
    return [("output0", add("Concat", rows, rows, rows, axis=1), 3)]


def _yolov6(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("outputs", _cells(add, scores, _boxes(size), 1.0), 3)]


def _yolox(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    raw = np.tile(np.float32([0.5, 0.5, 0, 0]), (len(_boxes(size)), 1))
    return [("output", _cells(add, _from_yolox(add, scores), raw, 0.95), 3)]


def _yolox_decoded(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("output", _cells(add, _from_yolox(add, scores), _boxes(size), 0.95), 3)]


def _from_yolox(add: _Graph, scores: str) -> str:
    """Return scores of red, green, blue from means of blue, green, red of 0 to 255."""
    return add("Div", add("Gather", scores, np.array([2, 1, 0]), axis=1), np.float32([255]))


def _listed(add: _Graph, scores: str, table: np.ndarray) -> tuple[str, str, str]:
    """Return the boxes, scores and classes of the best cells: (B, MOST, 4), (B, MOST), (B, MOST)."""
    best = add("ReduceMax", scores, axes=[1], keepdims=0)
    classes = add("Cast", add("ArgMax", scores, axis=1, keepdims=0), to=TensorProto.FLOAT)
    top = add("TopK", best, np.array([MOST]), n=2)
    boxes = add("Gather", np.float32(table), f"{top}_1", axis=0)
    return boxes, top, add("GatherElements", classes, f"{top}_1", axis=1)


def _end_to_end(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("output0", _list_of(add, scores, _corners(size)), 3)]


def _shares_list(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    return [("output0", _list_of(add, scores, _boxes(size) / np.float32([*size, *size])), 3)]


def _list_of(add: _Graph, scores: str, table: np.ndarray) -> str:
    boxes, best, classes = _listed(add, scores, table)
    last = np.array([2])
    return add("Concat", boxes, add("Unsqueeze", best, last), add("Unsqueeze", classes, last), axis=2)


def _shares(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    # The coarsest cells only: a list has a few hundred rows at most.
    shares = _boxes(size) / np.float32([*size, *size])
    whole = add("Concat", _like(add, shares, scores), scores, axis=1)
    return [
        ("output0", add("Slice", _rows(add, whole), np.array([-MOST]), np.array([1 << 30]), np.array([1])), 3)
    ]


def _rtdetr(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    boxes, best, classes = _listed(add, scores, _corners(size) / np.float32([*size, *size]))
    asked = add("Cast", "orig_target_sizes", to=TensorProto.FLOAT)
    twice = add("Unsqueeze", add("Concat", asked, asked, axis=1), np.array([1]))
    return [("labels", classes, 2), ("boxes", add("Mul", boxes, twice), 3), ("scores", best, 2)]


def _rfdetr(add: _Graph, scores: str, size: tuple[int, int]) -> _Outputs:
    # White is 2.2 to 2.6 standard deviations above ImageNet's mean, black 1.8 to 2.1 below it.
    none = _like(add, np.full((len(_boxes(size)), 1), -9.0), scores)
    shares = _boxes(size) / np.float32([*size, *size])
    logits = _rows(add, add("Concat", scores, none, axis=1))
    return [("dets", _rows(add, _like(add, shares, scores)), 3), ("labels", logits, 3)]


_OUTPUTS = {
    Layout.OBJECTNESS: _objectness,
    Layout.YOLOV6: _yolov6,
    Layout.CHANNELS_FIRST: _channels_first,
    Layout.CORNERS_FIRST: _corners_first,
    Layout.END_TO_END: _end_to_end,
    Layout.YOLOX: _yolox,
    Layout.YOLOX_DECODED: _yolox_decoded,
    Layout.RTDETR: _rtdetr,
    Layout.SHARES: _shares,
    Layout.SHARES_LIST: _shares_list,
    Layout.RFDETR: _rfdetr,
}
