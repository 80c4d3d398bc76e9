"""`countline models quantise`: a model in 8-bit integers, calibrated on one's own footage. Needs the package `onnx`.

What comes after the last convolutions (boxes out of distances, scores out of logits) stays in float: there a step of
1/256 of the picture's width would be two pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from countline.clock import SystemClock
from countline.errors import UsageError
from edge.capture import open_source
from edge.config import CameraSettings
from edge.detector import Detector

# More frames hardly move a range, and each takes a slow run with all values kept.
CALIBRATION_FRAMES = 48
READ_TIMEOUT_S = 30.0
# A convolution of one channel only adds up a distribution: it is arithmetic of the box, not a learned layer.
_MIN_CHANNELS = 2


@dataclass(frozen=True)
class Recipe:
    """How much of a model becomes integers.

    Attributes:
        name: Short, for the file's name.
        backend: Whose runs it is made for.
        keeps_last: Whether the last convolutions stay in float too.
    """

    name: str
    backend: str
    keeps_last: bool


def recipes(backend: str) -> list[Recipe]:
    """Return what to try, the fastest first."""
    return [Recipe("int8", backend, keeps_last=False), Recipe("int8", backend, keeps_last=True)]


def quantise(
    model: Path, target: Path, recipe: Recipe, inputs: Sequence[dict[str, NDArray[np.generic]]]
) -> None:
    """Write a quantised model.

    Args:
        model: In float32.
        target: Where to write it.
        recipe: How.
        inputs: What the model was given for frames of the footage; ranges are taken from them.

    Raises:
        UsageError: `onnx` is missing, or the model has nothing to quantise.
    """
    onnx, tools, shapes = _libraries()
    with TemporaryDirectory(prefix="countline-") as folder:
        ready = Path(folder) / "ready.onnx"
        # Symbolic shapes would need another library and give nothing to models of pictures.
        shapes.quant_pre_process(str(model), str(ready), skip_symbolic_shape=True)
        graph = onnx.load(str(ready)).graph
        excluded = kept_in_float(graph, keeps_last=recipe.keeps_last)
        if len(excluded) == len(graph.node):
            raise UsageError(
                f"{model} has no convolutions, or is quantised already: there is nothing to quantise."
            )
        options: dict[str, Any] = {"ActivationSymmetric": False, "WeightSymmetric": True}
        if recipe.backend == "openvino":
            # OpenVINO runs a convolution and what follows it in one go, unless a rounding stands between them.
            options["OpTypesToExcludeOutputQuantization"] = ["Conv"]
        tools.quantize_static(
            str(ready),
            str(target),
            _Reader(inputs),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"] if recipe.backend == "openvino" else None,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            nodes_to_exclude=excluded,
            calibrate_method=tools.CalibrationMethod.MinMax,
            extra_options=options,
        )
        _copy_metadata(onnx, model, target)


def check_installed() -> None:
    """Raise UsageError if what quantising needs is not installed: better before minutes of work than after."""
    _libraries()


def calibration(
    detector: Detector, camera: CameraSettings, most: int = CALIBRATION_FRAMES
) -> list[dict[str, NDArray[np.generic]]]:
    """Return what a model is given for frames from all over a recording.

    Args:
        detector: Whose inputs they are to be.
        camera: The recording.
        most: So many frames at most, and `CALIBRATION_FRAMES` in any case.

    Raises:
        UsageError: The recording cannot be read, or has no pictures.
    """
    source = open_source(camera, SystemClock())
    try:
        info = source.open()
        most = min(most, CALIBRATION_FRAMES)
        every = max(1, (info.frame_count or most) // most)
        feeds: list[dict[str, NDArray[np.generic]]] = []
        while len(feeds) < most and not source.is_finished:
            frame = source.read(READ_TIMEOUT_S)
            if frame is not None and frame.image is not None and frame.index % every == 0:
                feeds.append(detector.feeds(frame.image))
    finally:
        source.close()
    if not feeds:
        raise UsageError(f"{camera.source} has no pictures to calibrate with.")
    return feeds


def kept_in_float(graph: Any, *, keeps_last: bool) -> list[str]:
    """Return the names of the nodes that stay in float: those that no learned convolution comes after.

    Args:
        graph: An ONNX graph.
        keeps_last: Leave the last convolutions in float too.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    channels = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    learned = [
        node
        for node in graph.node
        if node.op_type == "Conv" and channels.get(node.input[1], 0) >= _MIN_CHANNELS
    ]
    before = {node.name for node in _upstream(learned, made_by)}
    quantised = before if keeps_last else before | {node.name for node in learned}
    return [node.name for node in graph.node if node.name not in quantised]


def _upstream(nodes: Sequence[Any], made_by: dict[str, Any]) -> Iterator[Any]:
    """Yield all nodes whose results reach one of these."""
    waiting = [name for node in nodes for name in node.input]
    known: set[str] = set()
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.name not in known:
            known.add(node.name)
            waiting += node.input
            yield node


class _Reader:
    """Gives calibration its inputs one by one."""

    def __init__(self, inputs: Sequence[dict[str, NDArray[np.generic]]]) -> None:
        self._inputs = inputs
        self._next = 0

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next input; None at the end."""
        if self._next == len(self._inputs):
            return None
        self._next += 1
        return self._inputs[self._next - 1]

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go through a part of the inputs, as onnxruntime asks of large sets."""
        self._inputs = self._inputs[start_index:end_index]
        self._next = 0


def _copy_metadata(onnx: Any, model: Path, target: Path) -> None:
    """Let the new file say about itself what the old one said: names, stride, size."""
    said = onnx.load(str(model), load_external_data=False).metadata_props
    new = onnx.load(str(target))
    known = {entry.key for entry in new.metadata_props}
    new.metadata_props.extend(entry for entry in said if entry.key not in known)
    onnx.save(new, str(target))


def _libraries() -> tuple[Any, Any, Any]:
    try:
        import onnx  # noqa: PLC0415 - an extra, and slow to load
        from onnxruntime import quantization  # noqa: PLC0415
        from onnxruntime.quantization import shape_inference  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("Quantising needs the package onnx: pip install 'countline[quantise]'.") from error
    return onnx, quantization, shape_inference
