"""Which backend and which of onnxruntime's providers are taken, and what is said if one is not there."""

import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from countline.errors import UsageError
from edge.config import DetectorSettings, ModelLayout, Provider
from edge.detect.layout import Layout
from edge.detect.run_onnxruntime import CPU, PROVIDERS, _fallback, wanted_providers
from edge.detector import Detector
from tests.models import write_model


@pytest.mark.parametrize(
    ("asked", "offered", "wanted"),
    [
        ("auto", [CPU], ["cpu"]),
        (
            "auto",
            [PROVIDERS["cuda"], "AzureExecutionProvider", PROVIDERS["tensorrt"], CPU],
            ["tensorrt", "cuda", "cpu"],
        ),
        ("auto", [PROVIDERS["coreml"], CPU], ["coreml", "cpu"]),
        ("auto", [CPU, PROVIDERS["xnnpack"]], ["xnnpack", "cpu"]),
        ("cuda", [PROVIDERS["tensorrt"], PROVIDERS["cuda"], CPU], ["cuda", "cpu"]),
        ("cpu", [PROVIDERS["cuda"], CPU], ["cpu"]),
        ("openvino", [CPU], ["cpu"]),
    ],
)
def test_the_fastest_that_is_there_comes_first(asked: str, offered: list[str], wanted: list[str]) -> None:
    """Only what this build has is tried, the CPU always last."""
    assert wanted_providers(asked, offered) == [PROVIDERS[word] for word in wanted]


def test_a_provider_that_does_not_start_is_said() -> None:
    """A build with CUDA on a machine without its driver runs on the CPU, and says so; so does a wish that cannot come true."""
    cuda = PROVIDERS["cuda"]
    assert "did not start" in _fallback("auto", [cuda, CPU], [CPU])
    assert "asked for" in _fallback("cuda", [CPU], [CPU])
    assert _fallback("auto", [cuda, CPU], [cuda, CPU]) == ""
    assert _fallback("auto", [CPU], [CPU]) == ""


def test_the_detector_tells_of_its_fall_back(tmp_path: Path) -> None:
    """A provider that this machine does not have leaves the model on the CPU, visibly."""
    path = write_model(tmp_path / "tiny.onnx", {"output0": np.zeros((1, 6, 84), dtype=np.float32)})
    detector = Detector(path, DetectorSettings(provider="cuda"))
    assert detector.providers == (CPU,)
    assert "CUDAExecutionProvider was asked for" in detector.fallback
    assert Detector(path, DetectorSettings(provider="cpu")).fallback == ""


def test_settings_know_what_the_code_knows() -> None:
    """Every layout and provider can be said in the settings, and no other."""
    assert set(get_args(ModelLayout)) == {"auto", *(layout.value for layout in Layout)}
    assert set(get_args(Provider)) == {"auto", *PROVIDERS}


def test_short_numbers_need_openvino() -> None:
    """Onnxruntime calculates as the model is written: bf16 with it would silently be fp32."""
    assert DetectorSettings(backend="openvino", precision="bf16").precision == "bf16"
    for backend in ("auto", "onnxruntime"):
        with pytest.raises(ValueError, match="precision bf16 goes with backend openvino"):
            DetectorSettings(backend=backend, precision="bf16")


def test_openvino_that_is_not_installed_is_said(tmp_path: Path, monkeypatch) -> None:
    """Who asks for OpenVINO without having it is told how to get it."""
    path = write_model(tmp_path / "tiny.onnx", {"output0": np.zeros((1, 6, 84), dtype=np.float32)})
    monkeypatch.setitem(sys.modules, "edge.detect.run_openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'countline\[openvino\]'"):
        Detector(path, DetectorSettings(backend="openvino"))


def test_openvino_reads_what_it_cannot_run_as_a_sentence(tmp_path: Path) -> None:
    """A file that is no model is refused by either backend."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"<html>")
    with pytest.raises(UsageError, match=r"tiny\.onnx is no ONNX model that OpenVINO can read"):
        Detector(path, DetectorSettings(backend="openvino"))


def test_a_format_that_the_processor_lacks_falls_back(tmp_path: Path, monkeypatch) -> None:
    """bf16 on a processor without it is fp32, visibly."""
    from edge.detect import run_openvino  # noqa: PLC0415

    monkeypatch.setattr(run_openvino, "precisions", lambda: ["f32"])
    path = write_model(tmp_path / "tiny.onnx", {"output0": np.zeros((1, 6, 84), dtype=np.float32)})
    detector = Detector(path, DetectorSettings(backend="openvino", precision="bf16"))
    assert detector.providers == ("OpenVINO CPU f32",)
    assert "does not calculate in bf16" in detector.fallback
