"""Which of onnxruntime's providers are tried, and what is said if one is not there."""

from pathlib import Path

import numpy as np
import pytest

from edge.config import DetectorSettings
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
