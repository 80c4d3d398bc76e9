"""`countline doctor`: is this machine fit to count, and how to mend it if not.

Whatever may kill the process that tries it (a wheel built for another CPU dies with SIGILL) or hang (a camera, a
driver) is tried in a process of its own: `python -m deploy.doctor PROBE ARGUMENT` prints one JSON object.
"""

import contextlib
import importlib
import importlib.util
import json
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.markup import escape

from countline.clock import SystemClock
from countline.errors import Unavailable, UsageError
from countline.telemetry import mask
from deploy import box, config
from deploy.config import BoxSettings, Paths
from deploy.material import cache_dir, describe, is_genuine, model_names
from deploy.part import own_process
from edge.config import CameraSettings

OK, WARN, FAIL = "ok", "warn", "fail"
EXIT = {OK: 0, FAIL: 1, WARN: 3}
# Loading the libraries and a model from a slow SD card takes most of this.
PROBE_TIMEOUT_S = 60.0
CAMERA_SECONDS = 3.0
# What a person still reads as live.
SLOW_MODEL_MS = 500.0
LOW_DISK_MB = 2_000
_SYNCED = Path("/run/systemd/timesync/synchronized")
_INFERENCES = 5
_SIGNS = {OK: "[green]ok  [/green]", WARN: "[yellow]warn[/yellow]", FAIL: "[red]FAIL[/red]"}
_WITHOUT_SIMD = {"x86_64": "avx2", "aarch64": "asimd"}
_OTHER_PYTHON = "install 64-bit Raspberry Pi OS, Debian or Ubuntu"


class Finding(Struct, frozen=True, omit_defaults=True):
    """What one check found.

    Attributes:
        check: What was looked at.
        state: "ok", "warn" or "fail".
        found: What was found.
        mend: How to mend it, unless it is ok or `found` says that already.
    """

    check: str
    state: str
    found: str
    mend: str = ""


class Advice(str):
    """A sentence to a person that says what is wrong and how to mend it."""

    __slots__ = ()


def examine(settings: BoxSettings, *, as_json: bool) -> int:
    """Run all checks, print what they find, and return the exit code: 0 ok, 1 something fails, 3 warnings only."""
    findings: list[Finding] = []
    console = Console(highlight=False)
    for finding in checks(settings):
        findings.append(finding)
        if not as_json:
            console.print(
                f"{_SIGNS[finding.state]}  {finding.check:<13} {escape(finding.found)}", soft_wrap=True
            )
            if finding.mend:
                console.print(f"      {'':<13} -> {escape(finding.mend)}", soft_wrap=True)
    worst = next((state for state in (FAIL, WARN) if any(one.state == state for one in findings)), OK)
    if as_json:
        whole = {"state": worst, "checks": msgspec.to_builtins(findings)}
        sys.stdout.write(json.dumps(whole, ensure_ascii=False) + "\n")
    return EXIT[worst]


def checks(settings: BoxSettings) -> Iterator[Finding]:
    """Run the checks, one after the other."""
    yield python()
    yield machine()
    yield cpu(Path("/proc/cpuinfo"))
    yield onnxruntime()
    yield openvino()
    yield model(settings)
    yield opencv()
    for camera in settings.cameras:
        yield from look_at(camera)
    yield from outputs(settings)
    yield disk(settings)
    yield broker(settings)
    yield clock()
    yield ports(settings)
    yield page()


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Is Python new enough?"""
    name = ".".join(map(str, version))
    if version < (3, 11):
        return Finding("python", FAIL, name, "Countline needs Python 3.11 or newer")
    return Finding("python", OK, f"{name}, {sys.executable}")


def machine(arch: str = platform.machine(), *, is_64bit: bool = sys.maxsize > 2**32) -> Finding:
    """Are there packages for this processor?"""
    if not is_64bit:
        return Finding(
            "machine",
            FAIL,
            f"{arch}, a 32-bit Python",
            f"onnxruntime and OpenCV come for 64-bit systems only: {_OTHER_PYTHON}",
        )
    if arch not in _WITHOUT_SIMD and arch != "arm64":
        return Finding("machine", WARN, f"{arch}, 64 bit", "Countline is tried on x86_64 and aarch64")
    return Finding("machine", OK, f"{arch}, 64 bit, {platform.system()} {platform.release()}")


def cpu(cpuinfo: Path, arch: str = platform.machine()) -> Finding:
    """Can the processor do what fast inference wants?"""
    wanted = _WITHOUT_SIMD.get(arch)
    try:
        words = set(cpuinfo.read_text("utf-8", "replace").replace(":", " ").split())
    except OSError:
        words = set()
    if wanted is None or not words:
        return Finding("cpu", OK, "flags unknown here")
    if wanted not in words:
        return Finding(
            "cpu",
            WARN,
            f"without {wanted}",
            "detection will be slow; use a smaller `detector.input_size` or fewer frames (`max_fps`)",
        )
    extra = [flag for flag in ("avx512f", "avx_vnni", "avx512_vnni", "asimddp", "i8mm") if flag in words]
    return Finding("cpu", OK, ", ".join([wanted, *extra]))


def onnxruntime() -> Finding:
    """Does onnxruntime load on this processor?"""
    answer = probe("onnxruntime", "")
    if isinstance(answer, str):
        mend = "install countline[edge]; on a Pi 4 onnxruntime 1.21 does not run, take 1.20 or 1.22 and later"
        return Finding("onnxruntime", FAIL, answer, mend)
    return Finding("onnxruntime", OK, f"{answer['version']}, {', '.join(answer['providers'])}")


def openvino() -> Finding:
    """Is there a second backend? Without it nothing is missing but speed."""
    answer = probe("openvino", "")
    if isinstance(answer, str):
        if "No module named" in answer:
            return Finding("openvino", OK, "not installed; countline[openvino] is faster on many processors")
        return Finding(
            "openvino", WARN, answer, "it is left aside: pip uninstall openvino, or install it again"
        )
    return Finding("openvino", OK, f"{answer['version']}, calculates in {', '.join(answer['precisions'])}")


def model(settings: BoxSettings) -> Finding:
    """Is the model there and genuine, what runs it, and how fast is it?"""
    path = _model_path(settings.detector.model)
    if isinstance(path, Finding):
        return path
    wanted = sorted(
        {cls for camera in settings.cameras if config.needs_model(camera) for cls in camera.classes}
    )
    asked = {"path": str(path), "settings": msgspec.to_builtins(settings.detector), "classes": wanted}
    answer = probe("model", json.dumps(asked))
    if isinstance(answer, str):
        mend = "" if isinstance(answer, Advice) else "set detector.model to a YOLO detector exported to ONNX"
        return Finding("model", FAIL, answer, mend)
    found = (
        f"{answer['name']} ({answer['layout']}): {answer['median_ms']:.0f} ms a picture of 768x576 ({', '.join(answer['providers'])})"
        f"; {answer['measured']}"
    )
    if answer["fallback"]:
        return Finding(
            "model",
            WARN,
            f"{found}; {answer['fallback']}",
            "mend the driver, or set `detector.provider` to cpu",
        )
    if answer["median_ms"] > SLOW_MODEL_MS:
        return Finding("model", WARN, found, "set a smaller `detector.input_size`, or take a smaller model")
    return Finding("model", OK, found)


def _model_path(name: str) -> Path | Finding:
    """Return the model's file, or what is wrong with it."""
    path = Path(name).expanduser()
    if "/" not in name and not name.endswith(".onnx"):
        if name not in model_names():
            return Finding(
                "model",
                FAIL,
                f"no model is named {name!r}",
                f"set detector.model to one of {', '.join(model_names())}, or to an ONNX file",
            )
        material = describe(name)
        path = cache_dir() / material.name / material.file.name
        if not path.exists():
            return Finding(
                "model",
                WARN,
                f"{name} is not fetched yet ({material.file.size_bytes / 1e6:.0f} MB)",
                "the first start fetches it; `countline demo` does, too",
            )
        if not is_genuine(path, material.file):
            return Finding(
                "model",
                FAIL,
                f"{path} is damaged (wrong checksum)",
                "remove it; the next start fetches it again",
            )
    return path


def opencv() -> Finding:
    """Does OpenCV load, and can it read videos and network cameras?"""
    answer = probe("opencv", "")
    if isinstance(answer, str):
        return Finding("opencv", FAIL, answer, "install countline[edge] (opencv-python-headless)")
    if not answer["ffmpeg"]:
        return Finding(
            "opencv",
            WARN,
            f"{answer['version']} without FFmpeg",
            "network cameras and most videos need it: install opencv-python-headless from PyPI",
        )
    return Finding("opencv", OK, f"{answer['version']} with FFmpeg")


def look_at(camera: CameraSettings) -> Iterator[Finding]:
    """Does the camera answer, and do its lines lie inside its picture?"""
    name = f"camera {camera.name}"
    answer = probe("camera", msgspec.json.encode(camera).decode())
    if isinstance(answer, str):
        yield Finding(
            name,
            FAIL,
            mask(answer),
            ""
            if isinstance(answer, Advice)
            else "check address, login and cable; `source` takes what VLC or ffplay opens",
        )
        return
    found = f"{answer['width']}x{answer['height']}, {answer['fps']:.1f} fps measured"
    if not answer["frames"]:
        yield Finding(
            name,
            FAIL,
            f"it opens, but sends no picture within {CAMERA_SECONDS:.0f} s",
            "look at its stream settings",
        )
    else:
        yield Finding(name, OK, found)
    if answer["lines"]:
        yield Finding(
            f"lines {camera.name}", FAIL, answer["lines"], "draw them again for this size of picture"
        )
    elif not camera.lines and not camera.zones:
        yield Finding(f"lines {camera.name}", OK, "none drawn: one across the middle of the picture is used")
    elif answer["doubts"]:
        for line, says in answer["doubts"]:
            yield Finding(f"lines {camera.name}", WARN, f"line {line} cannot count well", says)
    else:
        drawn = f"{len(camera.lines)} lines and {len(camera.zones)} zones"
        yield Finding(f"lines {camera.name}", OK, f"{drawn} lie inside the picture")


def outputs(settings: BoxSettings) -> Iterator[Finding]:
    """Can rules switch the outputs of the board that they name? Nothing is switched to find out."""
    actions = [one.gpio for rule in settings.rules for one in [*rule.then, *rule.on_clear] if one.gpio]
    if not actions:
        return
    if importlib.util.find_spec("gpiod") is None:
        yield Finding(
            "outputs",
            FAIL,
            "a rule switches an output of the board, and the package gpiod is not installed",
            "pip install 'countline[gpio]', or take `gpio` out of the rule",
        )
        return
    missing = sorted({action.chip for action in actions if not Path(action.chip).exists()})
    if missing:
        yield Finding(
            "outputs",
            FAIL,
            f"a rule switches an output of {', '.join(missing)}, which is not there",
            "`gpiodetect` lists the chips that are; set `chip` of the rule's `gpio` to one of them",
        )
    else:
        yield Finding("outputs", OK, f"{len(actions)} of rules, through gpiod")


def disk(settings: BoxSettings) -> Finding:
    """Can counts be kept?"""
    folder = Paths(settings.data_dir).folder
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        box.check_disk(existing)
    except UsageError as error:
        return Finding("disk", FAIL, str(error), "make room or choose another `data_dir`")
    free_mb = shutil.disk_usage(existing).free // 1_000_000
    found = f"{folder}: writable, {free_mb / 1000:.1f} GB free"
    if free_mb < LOW_DISK_MB:
        return Finding("disk", WARN, found, "a busy camera writes about 100 MB a week; make room")
    return Finding("disk", OK, found)


def broker(settings: BoxSettings) -> Finding:
    """Which broker would `countline up` run, and does the one of `mqtt` answer if it is another?"""
    mqtt = settings.mqtt
    if mqtt != type(mqtt)():
        from deploy.broker import is_listening  # noqa: PLC0415 - the embedded broker may be missing

        if is_listening(mqtt.host, mqtt.port):
            return Finding("broker", OK, f"{mqtt.host}:{mqtt.port} answers")
        return Finding(
            "broker",
            FAIL,
            f"{mqtt.host}:{mqtt.port} does not answer",
            "start it, or mend `mqtt.host` and `mqtt.port`",
        )
    try:
        choose = importlib.import_module("deploy.broker").choose
        return Finding("broker", OK, f"countline up would run {choose(settings.broker.prefer)}")
    except UsageError as error:
        return Finding("broker", FAIL, str(error), "install mosquitto, or set broker.prefer to embedded")
    except ImportError as error:
        return Finding(
            "broker",
            WARN,
            f"no embedded broker ({error.name} is missing)",
            "install mosquitto or countline[box]; an agent alone needs neither",
        )


def clock() -> Finding:
    """Is the clock set by the network? Counts carry its time."""
    said = _output(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if said == "yes" or _SYNCED.exists():
        return Finding("clock", OK, "set by the network")
    chrony = _output(["chronyc", "-c", "tracking"])
    if chrony and chrony.split(",")[-1] == "Normal":
        return Finding("clock", OK, "set by the network (chrony)")
    if said == "no":
        return Finding("clock", WARN, "not set by the network", "switch it on: sudo timedatectl set-ntp true")
    return Finding("clock", OK, "unknown here; make sure that it is set by the network")


def ports(settings: BoxSettings) -> Finding:
    """Is the page's port free?"""
    where = f"{settings.api.host}:{settings.api.port}"
    try:
        box.check_port(settings.api.host, settings.api.port)
    except UsageError as error:
        return Finding("ports", WARN, str(error), "if that is Countline itself, all is well")
    return Finding("ports", OK, f"{where} is free for the page")


def page() -> Finding:
    """Is the page there?"""
    folder = config.page_dir()
    if not (folder / "index.html").is_file():
        return Finding("page", FAIL, f"{folder} holds no page", "install countline again")
    if not (folder / "vendor").is_dir():
        return Finding("page", OK, f"{folder}, with the plain chart (`make page` fetches uPlot's)")
    return Finding("page", OK, f"{folder}")


def _output(command: list[str]) -> str:
    """Return what a small program says, or nothing if it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# Probes: each runs in a process of its own.


def probe(name: str, argument: str) -> dict[str, Any] | str:
    """Run a probe and return its findings, or one sentence that says how it died: an `Advice` if it says how to mend it."""
    command = own_process("deploy.doctor", name)
    try:
        done = subprocess.run(
            command, input=argument, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PROBE_TIMEOUT_S:.0f} s"
    if done.returncode == -signal.SIGILL:
        return "it was built for a newer processor than this one (illegal instruction)"
    if done.returncode < 0:
        return f"it died of {signal.Signals(-done.returncode).name}"
    lines = done.stdout.strip().splitlines()
    with contextlib.suppress(ValueError, IndexError):
        answer = json.loads(lines[-1])
        if "advice" in answer:
            return Advice(answer["advice"])
        return str(answer["error"]) if "error" in answer else answer
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"it ended with exit code {done.returncode}"


def _probe_onnxruntime(_argument: str) -> dict[str, Any]:
    # By name: the doctor only asks whether it loads.
    library = importlib.import_module("onnxruntime")
    return {"version": library.__version__, "providers": library.get_available_providers()}


def _probe_openvino(_argument: str) -> dict[str, Any]:
    library = importlib.import_module("openvino")
    door = importlib.import_module("edge.detect.run_openvino")
    return {"version": library.__version__.split("-")[0], "precisions": door.precisions()}


def _probe_opencv(_argument: str) -> dict[str, Any]:
    library = importlib.import_module("cv2")
    lines = library.getBuildInformation().splitlines()
    return {
        "version": library.__version__,
        "ffmpeg": any("FFMPEG" in line and "YES" in line for line in lines),
    }


def _probe_model(argument: str) -> dict[str, Any]:
    import numpy as np  # noqa: PLC0415 - only this probe's process loads the edge's libraries

    from edge.config import DetectorSettings  # noqa: PLC0415
    from edge.detector import Detector  # noqa: PLC0415

    asked = json.loads(argument)
    detector = Detector(
        Path(asked["path"]), msgspec.convert(asked["settings"], DetectorSettings), asked["classes"]
    )
    image = np.full((576, 768, 3), 114, dtype=np.uint8)
    took_ms: list[float] = []
    clock = SystemClock()
    for _ in range(_INFERENCES):
        before_s = clock.monotonic_s()
        detector(image)
        took_ms.append((clock.monotonic_s() - before_s) * 1000)
    return {
        "name": detector.name,
        "median_ms": sorted(took_ms)[_INFERENCES // 2],
        "providers": list(detector.providers),
        "layout": detector.layout.value,
        "fallback": detector.fallback,
        "measured": _told_by_measurement(Path(asked["path"])),
    }


def _told_by_measurement(path: Path) -> str:
    from edge.detect.measured import recall  # noqa: PLC0415

    known, reason = recall(path)
    if known is None:
        return f"{reason or 'no other backend measured'}: `countline models measure` looks for a faster one"
    best = known.best()
    chosen = f"{best.backend} {best.precision} is best" if best else "onnxruntime f32 is best"
    ratios = ", ".join(
        f"{one.backend} {one.precision} {one.time_ratio:.2f} x{'' if one.is_offered else ' (disagrees)'}"
        for one in known.results[1:]
    )
    return f"measured here on {known.frames} frames: {chosen}{f' ({ratios})' if ratios else ''}"


def _probe_camera(argument: str) -> dict[str, Any]:
    from edge.capture import open_source  # noqa: PLC0415 - only this probe's process loads the edge's libraries
    from edge.count.doubts import drawn_badly  # noqa: PLC0415
    from edge.count.rules import shapes  # noqa: PLC0415
    from edge.detector import check_classes  # noqa: PLC0415

    settings = msgspec.json.decode(argument, type=CameraSettings)
    clock = SystemClock()
    source = open_source(settings, clock)
    try:
        info = source.open()
        if info.class_names:
            check_classes(settings.source, settings.classes, info.class_names)
        frames = 0
        # The first picture may take a while; the rate is measured from it on.
        source.read(CAMERA_SECONDS)
        start_s = clock.monotonic_s()
        while not source.is_finished and clock.monotonic_s() - start_s < CAMERA_SECONDS:
            frames += source.read(0.5) is not None
        took_s = clock.monotonic_s() - start_s
    finally:
        source.close()
    wrong, doubts = "", []
    try:
        lines, _ = shapes(settings.name, settings.lines, settings.zones, info.width, info.height)
        doubts = [(doubt.line, doubt.says) for doubt in drawn_badly(lines, info.width, info.height)]
    except UsageError as error:
        wrong = str(error)
    return {
        "width": info.width,
        "height": info.height,
        "frames": frames,
        "fps": frames / max(took_s, 1e-3),
        "lines": wrong,
        "doubts": doubts,
    }


PROBES: dict[str, Callable[[str], dict[str, Any]]] = {
    "onnxruntime": _probe_onnxruntime,
    "openvino": _probe_openvino,
    "opencv": _probe_opencv,
    "model": _probe_model,
    "camera": _probe_camera,
}


def main() -> None:
    """Be a probe: print one JSON object."""
    try:
        answer = PROBES[sys.argv[1]](sys.stdin.read())
    except UsageError as error:
        answer = {"advice": str(error)}
    except Unavailable as error:
        answer = {"error": error.what}
    except ImportError as error:
        answer = {"error": f"it cannot be loaded: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
