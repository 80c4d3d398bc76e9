"""What a person gets wrong, told by the real command: one sentence, exit code 2, no traceback. And `countline count`."""

import contextlib
import csv
import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e import boxes
from tests.e2e.boxes import Start
from tests.models import write_model

NOISE = bytes(np.random.default_rng(1).integers(0, 256, 20_000, dtype=np.uint8))
CLASSES = "{" + ", ".join(f"{i}: '{'person' if i == 0 else i}'" for i in range(80)) + "}"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with all kinds of files, right and wrong ones."""
    (tmp_path / "noise.avi").write_bytes(NOISE)
    (tmp_path / "noise.onnx").write_bytes(NOISE)
    write_model(
        tmp_path / "odd.onnx", {"output0": np.zeros((3, 7), dtype=np.float32)}, metadata={"names": CLASSES}
    )
    write_model(
        tmp_path / "tiny.onnx",
        {"output0": np.zeros((1, 84, 84), dtype=np.float32)},
        metadata={"names": CLASSES},
    )
    video = cv2.VideoWriter(str(tmp_path / "grey.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for shade in range(10):
        video.write(np.full((48, 64, 3), shade, dtype=np.uint8))
    video.release()
    return tmp_path


@pytest.fixture
def run(folder: Path, environ: Mapping[str, str]) -> Run:
    """Run the command to its end, offline."""
    nowhere = "http://127.0.0.1:9"
    offline = {"http_proxy": nowhere, "https_proxy": nowhere, "PIP_RETRIES": "0", "PIP_INDEX_URL": nowhere}
    offline |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_PROXY": nowhere, "APT_CONFIG": str(folder / "apt.conf")}

    def call(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            boxes.command(*arguments),
            cwd=folder,
            env={**environ, **offline, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=boxes.PATIENCE_S,
            check=False,
        )

    return call


def refused(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """Check that a person was told what to mend, and return the sentences."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "is counting" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert sentences, done.stderr
    return sentences


CAMERA = "cameras: [{name: c, source: %s}]"
LINE = "cameras: [{name: c, source: 'synthetic:', lines: [{name: door, points: %s}]}]"
REFUSED_AT_ONCE = {
    "a missing video": (CAMERA % "nowhere.mp4", "there is no file or folder 'nowhere.mp4'"),
    "a typo": ("camera: []", "did you mean `cameras`?"),
    "a wrong type": ("api: {port: eighty}", "config.yaml:1: api.port: expected a whole number, got text"),
    "a line of zero length": (LINE % "[[5, 5], [5, 5]]", "zero length"),
    "a missing model": (CAMERA % "grey.avi" + "\ndetector: {model: ./no.onnx}", "There is no model file"),
    "an unknown model": (CAMERA % "grey.avi" + "\ndetector: {model: yolo11m}", "did you mean yolo11n?"),
    "a data folder below a file": (
        CAMERA % "'synthetic:'" + "\ndata_dir: grey.avi/data",
        "cannot be written",
    ),
    "no YAML": ("cameras: [", "not valid YAML"),
    "no camera": ("site: home", "no camera to count"),
}


@pytest.mark.parametrize("what", REFUSED_AT_ONCE)
def test_what_can_be_seen_before_the_start_is_refused_at_once(folder: Path, run: Run, what: str):
    """Bad input ends in exactly one sentence that names it."""
    text, expected = REFUSED_AT_ONCE[what]
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (sentence,) = refused(run("up", "--config", "config.yaml", "--port", str(boxes.free_port())))
    assert expected in sentence


FOUND_BY_THE_AGENT = {
    "a damaged video": (
        CAMERA % "noise.avi" + "\ndetector: {model: ./tiny.onnx}",
        "noise.avi is not a video",
    ),
    "a damaged model": (
        CAMERA % "grey.avi" + "\ndetector: {model: ./noise.onnx}",
        "not an ONNX model, or a damaged one",
    ),
    "an unknown layout": (
        CAMERA % "grey.avi" + "\ndetector: {model: ./odd.onnx}",
        "no detector that is known",
    ),
    "a line outside the picture": (LINE % "[[5, 5], [5, 5000]]", "outside its picture of 640x360 pixels"),
}


@pytest.mark.parametrize("what", FOUND_BY_THE_AGENT)
def test_what_only_the_agent_can_see_ends_the_box(folder: Path, run: Run, what: str):
    """What turns out to be bad when it is opened ends all parts, and the sentence is there to read."""
    text, expected = FOUND_BY_THE_AGENT[what]
    (folder / "config.yaml").write_text(text + "\ndata_dir: data", encoding="utf-8")
    sentences = refused(run("up", "--config", "config.yaml", "--port", str(boxes.free_port())))
    assert expected in sentences[0]
    boxes.until_all_parts_ended(folder / "data")


def test_a_model_with_a_wrong_checksum_is_not_used(folder: Path, run: Run, environ: Mapping[str, str]):
    """A damaged model in the cache is fetched again; without a network that is said, and it is never loaded."""
    cache = folder / "own cache"
    kept = cache / "yolo11n" / "yolo11n.onnx"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(NOISE)
    done = run("up", "--camera", "grey.avi", COUNTLINE_CACHE=str(cache))
    (sentence,) = refused(done)
    assert "wrong checksum" in done.stderr
    assert "could not be fetched" in sentence


def test_a_port_in_use_is_refused(run: Run):
    """Who has the page's port already is not disturbed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (sentence,) = refused(run("up", "--camera", "synthetic:", "--data-dir", "data", "--port", str(port)))
    assert f"Port {port} is in use" in sentence


def test_a_folder_has_one_box(start: Start, run: Run):
    """A second start on a data folder is refused, and the first one counts on."""
    box = start()
    box.until_live()
    (sentence,) = refused(run("up", "--camera", "synthetic:", "--data-dir", str(box.folder), "--port", "0"))
    assert f"Another countline (process {box.process.pid}) already runs" in sentence
    box.until_shown(1)
    assert box.end() == 0


@pytest.fixture
def recording(folder: Path) -> Iterator[Path]:
    """Return recorded detections: one walks to the right, two to the left, all over the middle."""
    rows: list[str] = []
    for frame in range(1, 101):
        for track, (y, x) in enumerate([(100, frame * 6), (200, 640 - frame * 6), (300, 640 - frame * 6)]):
            rows.append(f"{frame},{track},{x - 13},{y - 60},26,60,0.9")
    path = folder / "det.txt"
    path.write_text("\n".join(rows), encoding="utf-8")
    with contextlib.suppress(OSError):
        yield path


def test_count_prints_one_json_object(run: Run, recording: Path):
    """The result alone is on standard output; what it says besides is on standard error."""
    done = run("count", f"mot:{recording}", "--size", "640x360", "--fps", "25", "--json", "--csv", "rows.csv")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    (line,) = result["lines"]
    assert (line["name"], line["in"], line["out"]) == ("middle", 2, 1)
    assert line["classes"] == {"person": {"in": 2, "out": 1}}
    assert (result["frames"], result["zones"]) == (100, [])
    assert result["seconds"] == pytest.approx(99 / 25)
    assert "No --lines" in done.stderr
    with (recording.parent / "rows.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert sorted(row["direction"] for row in rows) == ["in", "in", "out"]
    assert {row["class"] for row in rows} == {"person"}
    assert all(0 < float(row["time_s"]) < 4 for row in rows)


def test_count_prints_a_table(run: Run, recording: Path):
    """Without --json a person reads a table."""
    done = run("count", f"mot:{recording}", "--size", "640x360")
    assert done.returncode == 0
    assert "middle" in done.stdout
    assert "{" not in done.stdout


def test_a_damaged_video_is_counted_as_far_as_it_goes_and_is_no_success(folder: Path, run: Run):
    """The half of a file gives the counts of its half, a sentence, and exit code 1; the whole one gives 0."""
    video = cv2.VideoWriter(str(folder / "whole.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 8, (64, 48))
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        video.write(noise)
    video.release()
    options = ("--model", "./tiny.onnx", "--json")
    whole = run("count", "whole.avi", *options)
    assert whole.returncode == 0, whole.stderr
    assert "damaged" not in whole.stderr
    result = json.loads(whole.stdout)
    assert (result["frames"], result["frames_expected"], result["complete"]) == (20, 20, True)
    content = (folder / "whole.avi").read_bytes()
    (folder / "cut.avi").write_bytes(content[: len(content) * 3 // 5])
    cut = run("count", "cut.avi", *options)
    result = json.loads(cut.stdout)
    assert cut.returncode == 1
    assert 5 < result["frames"] < 15
    assert (result["frames_expected"], result["complete"]) == (20, False)
    assert cut.stderr.splitlines()[1:] == [
        f"cut.avi is damaged: {result['frames']} of 20 frames could be read."
    ]


WRONG_COUNTS = {
    "no size": (["mot:det.txt"], "--size WxH"),
    "an odd name for the annotated video": (
        ["mot:det.txt", "--size", "640x360", "--annotate", "x.txt"],
        "must end in .avi or .mp4",
    ),
    "no file": (["mot:nowhere.txt", "--size", "640x360"], "there is no file"),
    "not detections": (["mot:noise.avi", "--size", "640x360"], "noise.avi"),
    "a damaged video": (["noise.avi", "--model", "./tiny.onnx"], "not a video that can be read"),
    "a camera": (["rtsp://127.0.0.1/x"], "is a camera, not a recording"),
    "a CSV that cannot be written": (
        ["mot:det.txt", "--size", "640x360", "--csv", "grey.avi/rows.csv"],
        "Cannot write grey.avi/rows.csv",
    ),
}


@pytest.mark.parametrize("what", WRONG_COUNTS)
def test_wrong_counts_are_refused(run: Run, recording: Path, what: str):
    """Wrong arguments of `count` end in one sentence too."""
    arguments, expected = WRONG_COUNTS[what]
    (sentence,) = refused(run("count", *arguments))
    assert expected in sentence
