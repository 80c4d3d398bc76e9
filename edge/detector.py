"""Runs a YOLO detector with onnxruntime. All that it has to know about the model it reads from the model."""

import ast
import difflib
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_errors,  # pyright: ignore[reportAttributeAccessIssue] - compiled, no stubs
)

from countline.errors import UsageError
from edge.arrays import Detections
from edge.config import DetectorSettings
from edge.detect.decode import Layout, Wanted, class_count_of, decide_layout, decode, to_picture
from edge.detect.letterbox import Letterbox, snug_size
from edge.frames import Image

# Fastest first. onnxruntime leaves out what the machine turns out not to have.
_ACCELERATORS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
# Buffers are kept for this many sizes of pictures, about 5 MB each; a further size replaces the oldest.
_MAX_LETTERBOXES = 8
# What the YOLO family takes if the metadata don't say.
_DEFAULT_SIDE = 640
_DEFAULT_STRIDE = 32
# onnxruntime's errors share no base class of their own.
_ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class _Card:
    """What a model says about itself.

    Attributes:
        input_name: Of its picture input.
        fixed_size: Width and height if it takes only one size.
        within: Width and height that it was exported for.
        stride: Sides of its input are multiples of it.
        names: Its classes; empty if it does not say.
        is_end_to_end: Whether its output needs no suppression; None if it does not say.
    """

    input_name: str
    fixed_size: tuple[int, int] | None
    within: tuple[int, int]
    stride: int
    names: tuple[str, ...]
    is_end_to_end: bool | None


class Detector:
    """A detector for pictures of any size. Safe to call from several threads, one after the other."""

    def __init__(self, path: Path, settings: DetectorSettings, classes: Sequence[str] = ()) -> None:
        """Load the model, run it once, and find out how to read its output.

        Args:
            path: The ONNX file.
            settings: Thresholds, threads, input size.
            classes: Names of the classes to detect; empty detects all.

        Raises:
            UsageError: The file is missing, is no ONNX model or a damaged one, is no YOLO detector that is known,
                or has no class of a name in `classes`.
        """
        self._session = _load(path, settings.threads)
        self._card = _read_card(self._session, path)
        self._within = self._card.fixed_size or settings.input_size or self._card.within
        self._letterboxes: dict[tuple[int, int], Letterbox] = {}
        self._lock = threading.Lock()
        self._output_name, self._layout, room = self._warm_up(path)
        self._name = path.stem
        # A model that names no classes: its numbers are their names.
        self._class_names = self._card.names or tuple(f"class{i}" for i in range(room or 0))
        if not self._class_names:
            raise UsageError(
                f"{path} does not say what its classes are: export it with the metadata `names`."
            )
        self._wanted = Wanted(
            class_ids=_class_ids(classes, self._class_names, path),
            confidence=settings.confidence,
            iou=settings.iou,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id."""
        return self._class_names

    @property
    def name(self) -> str:
        """The model's name: that of its file."""
        return self._name

    @property
    def layout(self) -> Layout:
        """How the model's output is arranged."""
        return self._layout

    @property
    def providers(self) -> tuple[str, ...]:
        """What onnxruntime runs the model on, preferred first, such as "CPUExecutionProvider"."""
        return tuple(self._session.get_providers())

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the model's input for pictures of a size.

        A model that takes any size gets no more padding than its stride demands: 640 x 480 for 768 x 576.
        """
        if self._card.fixed_size is not None:
            return self._card.fixed_size
        return snug_size((width, height), self._within, self._card.stride)

    def __call__(self, image: Image) -> Detections:
        """Return what is seen in a picture, in its pixels, best first.

        Args:
            image: uint8, shape (H, W, 3), BGR.
        """
        height, width = image.shape[:2]
        with self._lock:
            letterbox = self._letterbox(width, height)
            output = self._run(letterbox(image))
        found = decode(output, self._layout, self._wanted)
        return to_picture(found, letterbox.fit.to_source(found.xyxy))

    def _run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        (output,) = self._session.run([self._output_name], {self._card.input_name: tensor})
        return output[0]  # pyright: ignore[reportIndexIssue, reportReturnType] - an array, by the check at warm-up

    def _letterbox(self, width: int, height: int) -> Letterbox:
        letterbox = self._letterboxes.get((width, height))
        if letterbox is None:
            if len(self._letterboxes) >= _MAX_LETTERBOXES:
                del self._letterboxes[next(iter(self._letterboxes))]
            letterbox = Letterbox((width, height), self.input_size(width, height))
            self._letterboxes[width, height] = letterbox
        return letterbox

    def _warm_up(self, path: Path) -> tuple[str, Layout, int | None]:
        """Run the model once; return its output's name, its layout, and how many classes it has room for."""
        width, height = size = self._within
        grey = np.full((1, 3, height, width), 0.5, dtype=np.float32)
        try:
            outputs = [
                np.asarray(output) for output in self._session.run(None, {self._card.input_name: grey})
            ]
        except _ORT_ERRORS as error:
            raise UsageError(
                f"the model {path} does not run on a picture of {width} x {height} pixels: {_first_line(error)}"
            ) from error
        names = [output.name for output in self._session.get_outputs()]
        # YOLOv5 may export its three grids, of more axes, beside the list of boxes.
        lists = [i for i, output in enumerate(outputs) if output.ndim == 3 and output.dtype == np.float32]
        if len(lists) != 1:
            shapes = ", ".join(
                f"{name} {list(output.shape)} {output.dtype}"
                for name, output in zip(names, outputs, strict=True)
            )
            raise UsageError(
                f"{path} is no YOLO detector that is known: it returns {shapes}; one float32 output of three axes is needed, "
                "as YOLOv5, YOLOv8 to 12 and end-to-end exports have it."
            )
        shape = outputs[lists[0]].shape
        try:
            layout = decide_layout(
                shape, size, len(self._card.names) or None, is_end_to_end=self._card.is_end_to_end
            )
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
        return names[lists[0]], layout, class_count_of(layout, shape)


def default_threads() -> int:
    """Return how many threads onnxruntime gets by default: one per physical core that this process may use, at least one.

    A second thread on the same core only takes turns with the first. A container's share of the machine counts too.
    """
    try:
        allowed = sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return max(1, os.cpu_count() or 1)
    cores = {_siblings(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def _siblings(cpu: int) -> str:
    try:
        return (
            Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text("ascii").strip()
        )
    except OSError:
        return str(cpu)


def _quota() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        return 1 << 16
    return 1 << 16 if quota == "max" else math.ceil(int(quota) / int(period))


def _load(path: Path, threads: int) -> ort.InferenceSession:
    if not path.is_file():
        raise UsageError(
            f"the model {path} does not exist: give the path of an ONNX file, or a name from models/."
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or default_threads()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Spinning threads would burn a core between two frames, and on a small machine slow all that is not inference.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only; they come as exceptions too
    offered = ort.get_available_providers()
    providers = [*(provider for provider in _ACCELERATORS if provider in offered), "CPUExecutionProvider"]
    try:
        return ort.InferenceSession(str(path), sess_options=options, providers=providers)
    except _ORT_ERRORS as error:
        raise UsageError(f"{path} is not an ONNX model, or a damaged one: {_first_line(error)}") from error


def _read_card(session: ort.InferenceSession, path: Path) -> _Card:
    inputs = session.get_inputs()
    # An axis without a fixed length has a name, or None.
    batch, channels, height, width = inputs[0].shape if len(inputs[0].shape) == 4 else (0, 0, 0, 0)
    takes_one = len(inputs) == 1 and inputs[0].type == "tensor(float)"
    if not takes_one or channels != 3 or (isinstance(batch, int) and batch != 1):
        found = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs)
        raise UsageError(
            f"{path} is no detector that is known: it takes {found}; one input [1, 3, height, width] tensor(float) is needed."
        )
    said = session.get_modelmeta().custom_metadata_map
    is_fixed = isinstance(height, int) and isinstance(width, int)
    return _Card(
        input_name=inputs[0].name,
        fixed_size=(width, height) if is_fixed else None,
        within=_exported_size(_literal(said.get("imgsz"))),
        stride=_stride(_literal(said.get("stride"))),
        names=_names(_literal(said.get("names"))),
        is_end_to_end=_is_end_to_end(said),
    )


def _literal(text: str | None) -> object:
    """Return the Python literal that a metadata value holds; None if it holds none."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _exported_size(value: object) -> tuple[int, int]:
    """Return width and height; the metadata have height first, or one side for both."""
    sides = list(value) if isinstance(value, (list, tuple)) else [value]
    known = [side for side in sides if isinstance(side, int) and 32 <= side <= 8192]
    return (known[-1], known[0]) if known and len(known) == len(sides) else (_DEFAULT_SIDE, _DEFAULT_SIDE)


def _stride(value: object) -> int:
    side = max(value) if isinstance(value, (list, tuple)) and value else value
    return side if isinstance(side, int) and 1 <= side <= 256 else _DEFAULT_STRIDE


def _names(value: object) -> tuple[str, ...]:
    """Return names by class id, from {0: 'person'} or ['person']."""
    if isinstance(value, dict):
        value = [value.get(i) for i in range(len(value))]
    return (
        tuple(str(name) for name in value) if isinstance(value, (list, tuple)) and None not in value else ()
    )


def _is_end_to_end(said: dict[str, str]) -> bool | None:
    arguments = _literal(said.get("args"))
    has_nms = arguments.get("nms") if isinstance(arguments, dict) else None
    claims = [claim for claim in (_literal(said.get("end2end")), has_nms) if isinstance(claim, bool)]
    # YOLOv10 says nothing at all, and nms=False says nothing about a model that needs none.
    return True if any(claims) else None


def _class_ids(classes: Sequence[str], names: tuple[str, ...], path: Path) -> NDArray[np.intp] | None:
    for name in classes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
            raise UsageError(f"the model {path.name} has no class {name!r}; the nearest it has is {near!r}.")
    if not classes:
        return None
    return np.array(sorted({names.index(name) for name in classes}), dtype=np.intp)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
