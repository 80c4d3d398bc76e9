"""Measuring, quantising and exporting models, with one that reports what colour lies where."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from countline.errors import UsageError
from deploy import measure, models, terminal
from deploy.quantise import kept_in_float
from edge.arrays import Detections
from edge.config import DetectorSettings
from edge.detect.layout import Layout
from edge.detect.measured import keep, place, recall
from edge.detector import Detector
from tests.graphs import write_detector

LOOK = {"classes": ("red", "blue"), "frames": 30}


@pytest.fixture
def footage(tmp_path: Path) -> models.Footage:
    """Return thirty pictures of a red block that goes from left to right and a blue one that goes back."""
    folder = tmp_path / "footage"
    folder.mkdir()
    for n in range(30):
        image = np.full((160, 160, 3), 20, dtype=np.uint8)
        x = n * 4
        image[40:72, x : x + 32] = (0, 0, 255)
        image[100:132, 128 - x : 160 - x] = (255, 0, 0)
        cv2.imwrite(str(folder / f"{n:03}.png"), image)
    return models.Footage(str(folder), **LOOK)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_detector(tmp_path / "colours.onnx", Layout.CHANNELS_FIRST, convolves=True)


def settings(model: Path) -> DetectorSettings:
    return DetectorSettings(model=str(model), confidence=0.5, iou=0.5)


def test_measuring_compares_all_backends_and_keeps_it(model: Path, footage: models.Footage, capsys) -> None:
    """Each backend has looked at all frames, OpenVINO agrees in fp32, and `auto` obeys what was kept."""
    models.run_measure(settings(model), footage, terminal.messages(), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == 30
    by_name = {(one["backend"], one["precision"]): one for one in said["results"]}
    assert by_name["onnxruntime", "f32"]["agreement"] == 1.0
    assert by_name["openvino", "f32"]["agreement"] > 0.99
    assert by_name["openvino", "f32"]["wape"] in {0.0, None}
    known, reason = recall(model)
    assert known is not None, reason
    best = known.best()
    chosen = Detector(model, settings(model)).providers[0]
    assert chosen == (f"OpenVINO CPU {best.precision}" if best else "CPUExecutionProvider")


def test_auto_takes_what_was_measured(model: Path) -> None:
    """Without a measurement `auto` is onnxruntime; with one it is the best of it, as long as it holds."""
    assert Detector(model, settings(model)).providers == ("CPUExecutionProvider",)
    results = [
        measure.Result("colours", "onnxruntime", "f32", 40.0, 1.0, 1.0, 0.0, 9),
        measure.Result("colours", "openvino", "f32", 20.0, 0.5, 1.0, 0.0, 9),
    ]
    keep(model, measure.new(model, 30, results))
    assert Detector(model, settings(model)).providers == ("OpenVINO CPU f32",)
    place(model).write_text(place(model).read_text().replace(measure.new(model, 1, []).sha256, "0" * 64))
    assert Detector(model, settings(model)).providers == ("CPUExecutionProvider",)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_quantising_on_ones_own_footage(model: Path, footage: models.Footage, capsys, backend: str) -> None:
    """The new model has integers in it, says of itself what the old one said, and finds the same blocks."""
    models.run_quantise(settings(model), footage, backend, terminal.messages(), as_json=True)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["offered"] == [True, True]
    target = model.with_name(
        "colours.int8.onnx" if backend == "onnxruntime" else "colours.int8-openvino.onnx"
    )
    import onnx  # noqa: PLC0415

    kinds = {node.op_type for node in onnx.load(str(target)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    old, new = (Detector(path, DetectorSettings(confidence=0.5, backend=backend)) for path in (model, target))
    assert new.class_names == old.class_names
    image = cv2.imread(str(Path(footage.source) / "015.png"))
    assert measure.agreement([old(image)], [new(image)]) > 0.9
    assert sorted(path.name for path in model.parent.glob("*.onnx")) == sorted([target.name, model.name])


def test_a_model_without_convolutions_cannot_be_quantised(tmp_path: Path, footage: models.Footage) -> None:
    """Where there is nothing to quantise it is said."""
    model = write_detector(tmp_path / "plain.onnx", Layout.CHANNELS_FIRST)
    with pytest.raises(UsageError, match="nothing to quantise"):
        models.run_quantise(settings(model), footage, "onnxruntime", terminal.messages(), as_json=True)


def test_what_comes_after_the_last_convolution_stays_in_float(model: Path) -> None:
    """Boxes out of distances stay in float; the last convolution too if that is asked for."""
    import onnx  # noqa: PLC0415

    graph = onnx.load(str(model)).graph
    kinds = {node.name: node.op_type for node in graph.node}
    kept = kept_in_float(graph, keeps_last=False)
    assert "Conv" not in {kinds[name] for name in kept}
    assert "Concat" in {kinds[name] for name in kept}
    assert sorted(set(kept_in_float(graph, keeps_last=True)) - set(kept)) == ["Conv_1"]


def test_no_more_frames_are_calibrated_on_than_are_asked_for(
    model: Path, footage: models.Footage, capsys
) -> None:
    """And the number that is said is the true one."""
    few = models.Footage(footage.source, footage.classes, frames=12)
    models.run_quantise(settings(model), few, "onnxruntime", terminal.messages(), as_json=True)
    assert "with 12 frames." in capsys.readouterr().err


def test_quantising_says_what_it_needs_before_anything_else(monkeypatch) -> None:
    """Not even the footage is looked for."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    missing = models.Footage("missing.mp4")
    with pytest.raises(UsageError, match="needs the package onnx: pip install 'countline"):
        models.run_quantise(DetectorSettings(), missing, "onnxruntime", terminal.messages(), as_json=True)


def test_export_says_what_it_needs(monkeypatch) -> None:
    """Without Ultralytics' package the way to it is named, with its licence."""
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(UsageError, match=r"AGPL-3\.0.*countline\[models\]"):
        models.run_export("yolo11n.pt", terminal.messages())


def test_too_little_footage_is_said(model: Path, footage: models.Footage) -> None:
    """Three frames measure nothing."""
    short = models.Footage(footage.source, footage.classes, 3)
    with pytest.raises(UsageError, match="has 3 frames"):
        models.run_measure(settings(model), short, terminal.messages(), as_json=True)


def seen(*rows: tuple[float, float, float]) -> Detections:
    """Return boxes of 10 x 10 at x, with a score and a class."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 3)
    x = table[:, :1]
    boxes = np.concatenate([x, x * 0, x + 10, x * 0 + 10], axis=1)
    return Detections(boxes, table[:, 1], table[:, 2].astype(np.int16))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 0.9, 0), (50, 0.8, 0)], 1.0),
        ([(1, 0.9, 0), (51, 0.8, 0)], 1.0),  # a pixel aside
        ([(0, 0.9, 0)], 0.5),
        ([(0, 0.9, 0), (50, 0.8, 0), (90, 0.1, 0)], 1.0),  # a weak one too many costs no recall
        ([(90, 0.95, 0), (0, 0.9, 0), (50, 0.8, 0)], 2 / 3),  # a sure one does
        ([(0, 0.9, 0), (0, 0.85, 0), (50, 0.8, 0)], (1 + 2 / 3) / 2),  # the same found twice
        ([(0, 0.9, 1), (50, 0.8, 1)], 0.0),
        ([], 0.0),
    ],
)
def test_agreement_is_average_precision(found: list[tuple[float, float, float]], expected: float) -> None:
    """Found, moved, missed, invented, doubled and of another class: as average precision has it."""
    truth = seen((0, 0.9, 0), (50, 0.8, 0), (70, 0.2, 0))  # the last is too weak to be expected
    assert measure.agreement([truth], [seen(*found)]) == pytest.approx(expected)


def test_agreement_on_nothing() -> None:
    """Where nothing is expected nothing can be missed."""
    assert measure.agreement([seen()], [seen()]) == 1.0
