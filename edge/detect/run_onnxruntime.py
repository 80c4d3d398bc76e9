# pyright: standard
"""Runs models with onnxruntime: the backend that is always there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_errors,  # pyright: ignore[reportAttributeAccessIssue] - compiled, no stubs
)

from countline.errors import UsageError
from edge.detect.backend import Port, RunError, first_line
from edge.detect.machine import default_threads

CPU = "CPUExecutionProvider"
# By the words of `detector.provider`, fastest first: this is the order in which "auto" takes what is there.
PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": CPU,
}
# onnxruntime's errors share no base class of their own.
_ORT_ERRORS = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_DTYPES = {"float": "float32", "double": "float64", "float16": "float16"}


def wanted_providers(asked: str, offered: Sequence[str]) -> list[str]:
    """Return the providers to try, preferred first; the CPU is always the last.

    Args:
        asked: "auto" or a word of `PROVIDERS`.
        offered: What this build of onnxruntime has.
    """
    words = PROVIDERS.values() if asked == "auto" else [PROVIDERS[asked]]
    return [*(name for name in words if name in offered and name != CPU), CPU]


class OnnxRuntime:
    """A model in an onnxruntime session."""

    def __init__(self, path: Path, *, threads: int = 0, provider: str = "auto") -> None:
        """Load a model.

        Args:
            path: The ONNX file.
            threads: 0 fits them to the machine.
            provider: "auto" or a word of `PROVIDERS`.

        Raises:
            UsageError: It is no ONNX model, or a damaged one.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or default_threads()
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Spinning threads would burn a core between two frames, and on a small machine slow all that is not inference.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors only; they come as exceptions too
        wanted = wanted_providers(provider, ort.get_available_providers())
        try:
            self._session = ort.InferenceSession(
                str(path), sess_options=options, providers=[_with_options(name, path) for name in wanted]
            )
        except _ORT_ERRORS as error:
            raise UsageError(f"{path} is not an ONNX model, or a damaged one: {first_line(error)}") from error
        self._inputs = tuple(_port(one) for one in self._session.get_inputs())
        self._outputs = tuple(one.name for one in self._session.get_outputs())
        self._fallback = _fallback(provider, wanted, self._session.get_providers())

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
        return self._session.get_modelmeta().custom_metadata_map

    @property
    def runs_on(self) -> tuple[str, ...]:
        """The providers of this session, preferred first."""
        return tuple(self._session.get_providers())

    @property
    def fallback(self) -> str:
        """One sentence on why it does not run on what was asked for; empty if it does."""
        return self._fallback

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> Sequence[NDArray[np.generic]]:
        """Return the outputs; see `Backend.run`."""
        try:
            return self._session.run(None, feeds)  # pyright: ignore[reportReturnType] - arrays, as models of pictures have
        except _ORT_ERRORS as error:
            raise RunError(first_line(error)) from error

    def forget(self) -> None:
        """Do nothing: a session is the same for all sizes."""


def _with_options(provider: str, path: Path) -> str | tuple[str, dict[str, str]]:
    if provider != PROVIDERS["tensorrt"]:
        return provider
    # Building an engine takes minutes: once, not at each start.
    cache = {f"trt_{what}_enable": "1" for what in ("engine_cache", "timing_cache")} | {
        f"trt_{what}_path": str(path.parent / "tensorrt") for what in ("engine_cache", "timing_cache")
    }
    return provider, cache


def _port(one: Any) -> Port:
    # An axis without a fixed length has a name, or None.
    shape = tuple(side if isinstance(side, int) else None for side in one.shape)
    kind = one.type.removeprefix("tensor(").removesuffix(")")
    return Port(one.name, shape, _DTYPES.get(kind, kind if hasattr(np, kind) else ""))


def _fallback(asked: str, wanted: Sequence[str], got: Sequence[str]) -> str:
    """Say what was wanted and is not there; a provider that needs a missing driver falls out when the session starts."""
    if asked not in {"auto", "cpu"} and PROVIDERS[asked] not in got:
        return f"{PROVIDERS[asked]} was asked for and is not to be had here: the model runs on {got[0]}"
    if missing := [name for name in wanted if name not in got]:
        return f"{', '.join(missing)} did not start (a driver is missing?): the model runs on {got[0]}"
    return ""
