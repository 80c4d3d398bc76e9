"""The speed table: each row says what it is and its goal, and what cannot be measured here says why."""

import json
import sys
from pathlib import Path

import pytest

from bench import _backends, edge
from edge.config import DetectorSettings
from edge.detect.measured import Measurement, Result

FP32 = Result("m", "onnxruntime", "f32", 40.0, 1.0, 1.0, 0.0, 27)


def _measurement(*others: Result) -> Measurement:
    return Measurement("machine", {}, "sha", 50, [FP32, *others])


def _openvino(time_ratio: float, agreement: float) -> Result:
    return Result("m", "openvino", "bf16", 20.0, time_ratio, agreement, 0.0, 27)


@pytest.fixture
def bench() -> edge.Bench:
    return edge.Bench(Path("v.mp4"), DetectorSettings("m.onnx"), 4, 2, 50, with_peers=False, judge=None)


def test_without_openvino_the_best_row_says_so(bench, monkeypatch):
    monkeypatch.setattr(edge, "compare_backends", lambda *_: _measurement())
    rows = []
    edge.measure_best(bench, rows)
    assert rows[0][0] == "loop, best backend"
    assert rows[0][1] == "no openvino here"
    assert rows[0][3] == edge.GOALS["best"]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (_openvino(0.5, 0.5), "none of 1 agrees"),
        (_openvino(1.1, 1.0), "none is faster"),
    ],
)
def test_a_backend_that_is_slower_or_sees_something_else_is_not_the_best(bench, monkeypatch, other, reason):
    monkeypatch.setattr(edge, "compare_backends", lambda *_: _measurement(other))
    rows = []
    edge.measure_best(bench, rows)
    assert rows[0][1] == reason
    assert len(rows) == 3


def test_the_loop_runs_with_the_fastest_backend_that_agrees(bench, monkeypatch):
    wrong, right = _openvino(0.4, 0.5), Result("m", "openvino", "f16", 24.0, 0.6, 0.99, 0.0, 27)
    monkeypatch.setattr(edge, "compare_backends", lambda *_: _measurement(wrong, right))
    ran = []
    monkeypatch.setattr(edge, "measure_whole", lambda _bench, settings, *_: ran.append(settings) or {})
    edge.measure_best(bench, [])
    assert [(one.backend, one.precision) for one in ran] == [("openvino", "f16")]


def test_openvino_that_does_not_start_is_not_measured(bench, monkeypatch):
    measured = []
    monkeypatch.setattr(_backends, "probe", lambda *_: "it died of SIGILL")
    monkeypatch.setattr(_backends.measure, "measure", lambda compared, *_: measured.append(compared))
    _backends.compare_backends(bench.settings, bench.footage, 5)
    assert [[one.backend for one in compared] for compared in measured] == [["onnxruntime"]]


def test_a_backend_that_disagrees_is_told_to(bench):
    assert "disagrees" in _backends.told(_openvino(0.5, 0.5))
    assert "disagrees" not in _backends.told(_openvino(0.5, 1.0))


def test_without_onnx_the_row_of_integers_says_so(bench, monkeypatch):
    monkeypatch.setattr(edge, "is_installed", lambda *_: False)
    rows = []
    assert edge.measure_int8(bench, rows) == {}
    assert rows == [("picture, onnxruntime INT8", "no onnx", "", "0.55 x")]


def test_wrong_counts_of_a_video_of_unknown_truth_are_those_that_fp32_does_not_have(monkeypatch):
    counted = {"fp32": [(3, 1)], "int8": [(2, 3)]}
    judge = _backends.Judge(Path("v.mp4"), (640, 480), is_demo=False)
    monkeypatch.setattr(judge, "_counted", lambda settings: counted[settings.model])
    fp32, int8 = DetectorSettings("fp32"), DetectorSettings("int8")
    assert judge.what == "off fp32"
    assert judge.errors(fp32, fp32) == (0, 4)
    assert judge.errors(int8, fp32) == (3, 4)


def test_the_goal_stands_beside_the_last_wape():
    rows = _backends.wape_rows({"fp32": (9, 215), "INT8": (10, 215)}, "+0.01")
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ("0.042", "9/215 wrong", ""),
        ("0.047", "10/215 wrong", "+0.01"),
    ]


def test_only_the_rows_that_are_asked_for_are_measured(monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(edge, "model_file", lambda *_: tmp_path / "m.onnx")
    monkeypatch.setattr(edge, "measure_people", lambda *_, **__: asked.append("people") or {"ours_ms": 1.0})
    monkeypatch.setattr(edge, "measure_idle", lambda *_: asked.append("idle") or {"share": 0.1})
    arguments = ["bench.edge", "--video", str(tmp_path), "--only", "idle", "people", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    edge.main()
    told = json.loads(capsys.readouterr().out)
    assert asked == ["people", "idle"]
    assert set(told) == {"people", "idle", "machine"}
