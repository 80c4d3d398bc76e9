"""What was measured for a model: kept beside it, and left aside when it no longer holds."""

from pathlib import Path

import msgspec
import pytest

from countline.errors import UsageError
from edge.detect import measured
from edge.detect.machine import processor
from edge.detect.measured import Result, keep, new, place, recall

REFERENCE = Result("m", "onnxruntime", "f32", 40.0, 1.0, 1.0, 0.0, 100)


def result(ratio: float, agreement: float = 1.0, wape: float | None = 0.0, counted: int = 100) -> Result:
    return Result("m", "openvino", "bf16", 40.0 * ratio, ratio, agreement, wape, counted)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"a model")
    return path


@pytest.mark.parametrize(
    ("one", "is_offered"),
    [
        (result(0.5), True),
        (result(0.5, agreement=0.96), False),
        (result(0.5, wape=0.02), True),
        (result(0.5, wape=0.03), False),
        (result(0.5, wape=1 / 20, counted=20), True),  # one crossing
        (result(0.5, wape=2 / 20, counted=20), False),
        (result(0.5, wape=None, counted=0), True),
    ],
)
def test_only_what_agrees_is_offered(one: Result, is_offered: bool) -> None:
    """Other boxes or other counts disqualify a backend, one crossing of a few does not."""
    assert one.is_offered is is_offered


def test_the_fastest_that_agrees_is_best(model: Path) -> None:
    """A backend that disagrees is never best, and one that is hardly faster is not worth it."""
    fast, slow, wrong = result(0.5), result(0.8), result(0.3, agreement=0.5)
    assert new(model, 10, [REFERENCE, slow, wrong, fast]).best() == fast
    assert new(model, 10, [REFERENCE, wrong, result(0.97)]).best() is None


def test_a_measurement_is_kept_beside_the_model(model: Path) -> None:
    """It comes back as it was; before there is one nothing is said."""
    assert recall(model) == (None, "")
    measurement = new(model, 10, [REFERENCE, result(0.5)])
    assert keep(model, measurement) == place(model)
    assert recall(model) == (measurement, "")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"machine": "another"}, "another machine"),
        ({"versions": {"onnxruntime": "0.1"}}, "other versions"),
        ({"sha256": "0" * 64}, "another model"),
    ],
)
def test_a_measurement_of_something_else_is_left_aside(
    model: Path, change: dict[str, object], reason: str
) -> None:
    """Another processor, library or file may be slower, or see something else."""
    keep(model, msgspec.structs.replace(new(model, 10, [REFERENCE]), **change))
    known, why = recall(model)
    assert known is None
    assert reason in why


def test_a_damaged_measurement_is_left_aside(model: Path) -> None:
    """A file that is no measurement is a reason, not an error."""
    place(model).write_text("{")
    known, why = recall(model)
    assert known is None
    assert "cannot be read" in why


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where the choice cannot be kept it can still be set."""
    with pytest.raises(UsageError, match=r"Set detector\.backend"):
        keep(tmp_path / "missing" / "m.onnx", new(tmp_path / "missing" / "m.onnx", 1, [REFERENCE]))


def test_the_processor_is_told_by_name_and_abilities(tmp_path: Path) -> None:
    """What makes one number format faster than another is part of the machine's name."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name : Some CPU\nflags : fpu avx2 amx_bf16 sse\n\nprocessor : 1\n")
    assert processor(path).startswith("Some CPU amx_bf16 avx2 x")
    path.write_text("processor : 0\nFeatures : fp asimd asimddp\n")
    assert "asimd asimddp" in processor(path)
    assert processor(tmp_path / "missing")


def test_limits_are_what_the_documents_say() -> None:
    """models/README.md names them."""
    text = (Path(__file__).parents[2] / "models" / "README.md").read_text("utf-8")
    assert f"{measured.MIN_AGREEMENT:.2f}" in text
    assert f"{measured.MAX_WAPE:.0%}".replace("%", " %") in text
