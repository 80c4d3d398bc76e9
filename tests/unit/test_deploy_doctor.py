"""The doctor: each check alone, and what all together exit with."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from countline.config import MqttSettings
from deploy import doctor
from deploy.config import BoxApi, BoxBroker, BoxSettings
from deploy.doctor import FAIL, OK, WARN, Finding
from edge.config import CameraSettings, DetectorSettings, LineSettings, ZoneSettings
from edge.config.local import ActionSettings, GpioAction, RuleSettings
from edge.detect.measured import Result, keep, new
from tests.models import write_model


@pytest.mark.parametrize(("version", "state"), [((3, 10, 9), FAIL), ((3, 11, 0), OK), ((3, 13, 1), OK)])
def test_python(version: tuple[int, ...], state: str):
    """Python before 3.11 fails."""
    assert doctor.python(version).state == state


@pytest.mark.parametrize(
    ("arch", "is_64bit", "state"),
    [
        ("x86_64", True, OK),
        ("aarch64", True, OK),
        ("armv7l", False, FAIL),
        ("aarch64", False, FAIL),
        ("riscv64", True, WARN),
    ],
)
def test_machine(arch: str, is_64bit: bool, state: str):
    """A 32-bit system cannot run it, and the way out is named."""
    found = doctor.machine(arch, is_64bit=is_64bit)
    assert found.state == state
    assert bool(found.mend) == (state != OK)


@pytest.mark.parametrize(
    ("arch", "text", "state"),
    [
        ("x86_64", "flags : fpu sse2 avx2 avx512f", OK),
        ("x86_64", "flags : fpu sse2", WARN),
        ("aarch64", "Features : fp asimd asimddp", OK),
        ("riscv64", "isa : rv64gc", OK),
    ],
)
def test_cpu(tmp_path: Path, arch: str, text: str, state: str):
    """A processor without fast vector arithmetic is a warning."""
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert doctor.cpu(path, arch).state == state


def as_probe(monkeypatch, code: str) -> None:
    monkeypatch.setattr(doctor, "own_process", lambda *_: [sys.executable, "-c", code])


def test_an_illegal_instruction_is_explained(monkeypatch):
    """A library that dies with SIGILL does not take the doctor along."""
    as_probe(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    found = doctor.onnxruntime()
    assert found.state == FAIL
    assert "newer processor" in found.found


def test_a_hanging_probe_is_ended(monkeypatch):
    """A driver that never answers is said."""
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.3)
    as_probe(monkeypatch, "import signal; signal.pause()")
    assert "no answer within" in doctor.opencv().found


def test_a_missing_library_is_explained(monkeypatch):
    """What is not installed is named, with the extra that brings it."""
    as_probe(monkeypatch, "import sys; sys.exit('No module named cv2')")
    found = doctor.opencv()
    assert found.state == FAIL
    assert "No module named cv2" in found.found
    assert "countline[edge]" in found.mend


def test_a_real_probe_answers():
    """OpenCV is looked at in a process of its own."""
    assert doctor.opencv().state == OK


@pytest.mark.parametrize(
    ("code", "state", "said"),
    [
        ("import sys; sys.exit(\"No module named 'openvino'\")", OK, "countline[openvino]"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", WARN, "newer processor"),
        ('print(\'{"version": "1", "precisions": ["f32", "bf16"]}\')', OK, "f32, bf16"),
    ],
)
def test_a_second_backend(monkeypatch, code: str, state: str, said: str):
    """Without OpenVINO nothing is wrong, with one that does not load a warning, and else its number formats are named."""
    as_probe(monkeypatch, code)
    found = doctor.openvino()
    assert found.state == state
    assert said in found.found


def test_a_class_that_the_model_does_not_have_is_told(tmp_path: Path):
    """Before an agent fails over it; a camera that needs no model has no say in it."""
    path = write_model(tmp_path / "mine.onnx", {"output0": np.zeros((1, 6, 84), dtype=np.float32)})
    settings = DetectorSettings(model=str(path), class_names=["red", "blue"])
    cameras = [
        CameraSettings("a", "rtsp://192.0.2.1/", classes=["bleu"]),
        CameraSettings("b", "synthetic:"),
    ]
    found = doctor.model(BoxSettings(detector=settings, cameras=cameras))
    assert found == Finding(
        "model", FAIL, "the model mine.onnx has no class 'bleu'; the nearest it has is 'blue'."
    )


def test_a_class_that_ready_made_detections_do_not_have_is_told():
    """A made-up scene has people only."""
    (found,) = doctor.look_at(CameraSettings("b", "synthetic:", classes=["persn"]))
    assert (found.state, found.mend) == (FAIL, "")
    assert found.found == "synthetic: has no class 'persn'; the nearest it has is 'person'."


@pytest.mark.parametrize(
    ("is_installed", "said"), [(False, "gpiod is not installed"), (True, "is not there")]
)
def test_an_output_that_a_rule_cannot_switch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_installed: bool, said: str
):
    """Before an agent fails over it: the package, then the chip. Without such a rule there is nothing to say."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if is_installed else None)
    output = ActionSettings(gpio=GpioAction(17, chip=str(tmp_path / "gpiochip9")))
    rules = [RuleSettings("zone.z.count > 3", [output])]
    zone = ZoneSettings("z", [(0, 0), (1, 0), (1, 1)])
    settings = BoxSettings(cameras=[CameraSettings("a", "synthetic:", zones=[zone])], rules=rules)
    (found,) = doctor.outputs(settings)
    assert found.state == FAIL
    assert said in found.found
    assert found.mend
    (tmp_path / "gpiochip9").touch()
    assert [one.state for one in doctor.outputs(settings)] == [OK if is_installed else FAIL]
    assert list(doctor.outputs(BoxSettings())) == []


def test_a_backend_that_is_not_installed_is_no_wrong_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its own sentence says how to mend it; another model would change nothing."""
    says = "detector.backend is openvino, which is not installed here: pip install 'countline[openvino]'."
    as_probe(monkeypatch, f"import json; print(json.dumps({{'advice': {says!r}}}))")
    settings = DetectorSettings(model=str(tmp_path / "mine.onnx"), backend="openvino")
    assert doctor.model(BoxSettings(detector=settings)) == Finding("model", FAIL, says)


def test_what_runs_the_model_is_told(tmp_path: Path):
    """The layout, what it runs on, whether it was measured, and a fall-back that is visible."""
    path = write_model(tmp_path / "mine.onnx", {"output0": np.zeros((1, 6, 84), dtype=np.float32)})
    found = doctor.model(BoxSettings(detector=DetectorSettings(model=str(path))))
    assert found.state == OK
    assert "mine (yolov8)" in found.found
    assert "CPUExecutionProvider" in found.found
    assert "countline models measure" in found.found
    fallen = doctor.model(BoxSettings(detector=DetectorSettings(model=str(path), provider="cuda")))
    assert fallen.state == WARN
    assert "CUDAExecutionProvider was asked for" in fallen.found
    keep(path, new(path, 9, [Result("mine", "onnxruntime", "f32", 1.0, 1.0, 1.0)]))
    measured = doctor.model(BoxSettings(detector=DetectorSettings(model=str(path))))
    assert "measured here on 9 frames: onnxruntime f32 is best" in measured.found


def test_a_model_that_is_not_there_yet(tmp_path: Path, monkeypatch):
    """A model that the first start will fetch is a warning, a damaged or unknown one a failure."""
    monkeypatch.setenv("COUNTLINE_CACHE", str(tmp_path))
    assert doctor.model(BoxSettings()).state == WARN
    (tmp_path / "yolo11n").mkdir()
    (tmp_path / "yolo11n" / "yolo11n.onnx").write_bytes(b"x")
    assert "damaged" in doctor.model(BoxSettings()).found
    assert doctor.model(BoxSettings(detector=DetectorSettings(model="yolo99"))).state == FAIL


def test_a_file_that_is_no_model(tmp_path: Path):
    """The detector's own sentence is shown."""
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"this is no model")
    found = doctor.model(BoxSettings(detector=DetectorSettings(model=str(path))))
    assert found.state == FAIL
    assert "mine.onnx" in found.found
    assert "Traceback" not in found.found


def test_a_camera_and_its_lines(tmp_path: Path):
    """A camera is opened, and a line outside its picture is found."""
    path = tmp_path / "det.txt"
    path.write_text("".join(f"{n},-1,1,1,9,9,0.9,-1,-1,-1\n" for n in range(1, 9)))
    lines = [LineSettings(name="door", points=[(10.0, 10.0), (9_000.0, 10.0)])]
    camera = CameraSettings(name="a", source=f"mot:{path}", realtime=False, size=(100, 100), lines=lines)
    found = list(doctor.look_at(camera))
    assert [one.state for one in found] == [OK, FAIL]
    assert "door" in found[1].found


def test_a_line_along_the_border_is_warned_of_with_what_to_do(tmp_path: Path):
    """It lies inside the picture, and yet nobody's feet are seen beyond it."""
    path = tmp_path / "det.txt"
    path.write_text("".join(f"{n},-1,1,1,9,9,0.9,-1,-1,-1\n" for n in range(1, 9)))
    lines = [
        LineSettings(name="low", points=[(0.0, 99.0), (100.0, 99.0)]),
        LineSettings(name="good", points=[(50.0, 0.0), (50.0, 100.0)]),
    ]
    camera = CameraSettings(name="a", source=f"mot:{path}", realtime=False, size=(100, 100), lines=lines)
    _, found = doctor.look_at(camera)
    assert found.state == WARN
    assert found.found == "line low cannot count well"
    assert "draw it further inside" in found.mend


def test_a_camera_that_is_not_there(tmp_path: Path):
    """A missing video is one sentence."""
    (found,) = doctor.look_at(CameraSettings(name="a", source=str(tmp_path / "missing.mp4")))
    assert found.state == FAIL
    assert "missing.mp4" in found.found


def test_advice_of_the_source_is_not_followed_by_other_advice():
    """A camera that needs another OpenCV is not mended by its login or its cable."""
    (found,) = doctor.look_at(CameraSettings(name="a", source="csi:0"))
    assert found.state == FAIL
    assert "python3-opencv" in found.found
    assert not found.mend


def test_disk(tmp_path: Path):
    """A folder that cannot be made is looked for at its nearest parent."""
    assert doctor.disk(BoxSettings(data_dir=str(tmp_path / "a" / "b"))).state in {OK, WARN}


def test_a_broker_that_does_not_answer():
    """A configured broker is asked; without one the box would run its own."""
    assert doctor.broker(BoxSettings(mqtt=MqttSettings(port=1))).state == FAIL
    assert doctor.broker(BoxSettings(broker=BoxBroker(prefer="embedded"))).state == OK


@pytest.mark.parametrize(("said", "state"), [("yes", OK), ("no", WARN), ("", OK)])
def test_clock(monkeypatch, said: str, state: str):
    """A clock that nothing sets is a warning; not knowing is none."""
    monkeypatch.setattr(doctor, "_output", lambda command: said if command[0] == "timedatectl" else "")
    monkeypatch.setattr(doctor, "_SYNCED", Path("/missing"))
    assert doctor.clock().state == state


def test_ports():
    """A free port is fine."""
    assert doctor.ports(BoxSettings(api=BoxApi(port=0))).state == OK


@pytest.mark.parametrize(("states", "code"), [([OK], 0), ([OK, WARN], 3), ([WARN, FAIL, OK], 1)])
def test_the_worst_finding_decides(monkeypatch, capsys, states: list[str], code: int):
    """Exit code 0, 3 with warnings, 1 with a failure; --json prints one object."""
    findings = [Finding("a", state, "found", "" if state == OK else "mend it") for state in states]
    monkeypatch.setattr(doctor, "checks", lambda _: iter(findings))
    assert doctor.examine(BoxSettings(), as_json=True) == code
    assert [one["state"] for one in json.loads(capsys.readouterr().out)["checks"]] == states
    assert doctor.examine(BoxSettings(), as_json=False) == code
    assert capsys.readouterr().out.count("-> mend it") == len([state for state in states if state != OK])
