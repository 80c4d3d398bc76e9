# pyright: standard
"""Runs models with OpenVINO: on many processors faster than onnxruntime, and in shorter numbers where they have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from countline.errors import UsageError
from edge.detect.backend import Port, RunError, first_line
from edge.detect.machine import default_threads

# A model that is built for one size of input is a tenth faster than one for any, and takes its memory once more.
MAX_FIXED = 2
_CAPABILITIES = {"bf16": "BF16", "f16": "FP16"}


def precisions() -> list[str]:
    """Return the number formats that this machine's processor calculates with, "f32" first."""
    offered = set(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return ["f32", *(name for name, capability in _CAPABILITIES.items() if capability in offered)]


class OpenVino:
    """A model, compiled by OpenVINO for this machine's processor."""

    def __init__(self, path: Path, *, threads: int = 0, precision: str = "f32") -> None:
        """Load a model.

        Args:
            path: The ONNX file.
            threads: 0 fits them to the machine.
            precision: "f32", "bf16" or "f16"; what the processor does not have falls back to "f32".

        Raises:
            UsageError: It is no ONNX model, or one that OpenVINO does not know how to run.
        """
        self._path = path
        self._core = ov.Core()
        have = precisions()
        self._precision = precision if precision in have else "f32"
        self._fallback = (
            ""
            if precision in have
            else f"this processor does not calculate in {precision}: the model runs in f32"
        )
        self._options = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": threads or default_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        model = self._read()
        self._inputs = tuple(_port(one) for one in model.inputs)
        self._outputs = tuple(_name(one, f"output{i}") for i, one in enumerate(model.outputs))
        self._metadata = _metadata(model)
        self._requests: dict[tuple[tuple[int, ...], ...], Any] = {}
        self._any: Any = None

    def _read(self) -> Any:
        try:
            return self._core.read_model(str(self._path))
        except RuntimeError as error:
            raise UsageError(
                f"{self._path} is no ONNX model that OpenVINO can read: {first_line(error)}"
            ) from error

    @property
    def inputs(self) -> tuple[Port, ...]:
        """What the model takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it returns, in order."""
        return self._outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """What its file says about it."""
        return self._metadata

    @property
    def runs_on(self) -> tuple[str, ...]:
        """The device and the number format."""
        return (f"OpenVINO CPU {self._precision}",)

    @property
    def fallback(self) -> str:
        """One sentence on why it does not run as asked; empty if it does."""
        return self._fallback

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> Sequence[NDArray[np.generic]]:
        """Return the outputs; see `Backend.run`."""
        arrays = [feeds[port.name] for port in self._inputs]
        try:
            request = self._request(tuple(array.shape for array in arrays))
            answer = request.infer(dict(enumerate(arrays)), share_inputs=True, share_outputs=True)
            return [answer[i] for i in range(len(self._outputs))]
        except RuntimeError as error:
            raise RunError(first_line(error)) from error

    def forget(self) -> None:
        """Let go of the models that were built for one size."""
        self._requests.clear()

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        request = self._requests.get(shapes)
        if request is not None:
            return request
        if len(self._requests) >= MAX_FIXED:
            self._any = self._any or self._compiled(self._read())
            return self._any
        model = self._read()
        model.reshape(dict(enumerate(ov.PartialShape(list(shape)) for shape in shapes)))
        self._requests[shapes] = request = self._compiled(model)
        return request

    def _compiled(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", self._options).create_infer_request()


def _port(one: Any) -> Port:
    shape = tuple(None if side.is_dynamic else side.get_length() for side in one.get_partial_shape())
    return Port(_name(one, "input"), shape, one.get_element_type().to_dtype().name)


def _name(one: Any, otherwise: str) -> str:
    return one.get_any_name() if one.get_names() else otherwise


def _metadata(model: Any) -> dict[str, str]:
    """Return what the ONNX file says about itself: OpenVINO keeps it among its own facts."""
    facts = dict(model.get_rt_info().items()).get("framework")
    if not isinstance(facts, Mapping):
        return {}
    return {str(key): str(getattr(value, "value", value)) for key, value in facts.items()}
