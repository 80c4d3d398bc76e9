"""The command: what it prints where, and what it exits with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from countline import __version__
from countline.clock import ManualClock
from countline.config import parse
from deploy import cli, config, counting, terminal
from deploy.config import BoxSettings
from edge.config import CameraSettings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; return exit code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["countline", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_help_names_the_commands(run):
    """Help shows what a person can do, and not the inner doors."""
    code, out, _ = run("--help")
    assert code == 0
    for name in ("demo", "up", "edge", "gateway", "worker", "api", "count", "doctor", "config"):
        assert f"\n  {name} " in out
    assert "\n  part " not in out


def test_help_loads_no_tier():
    """Help answers at once because nothing heavy is imported for it."""
    code = "import sys, deploy.cli; print([m for m in sys.modules if m.split('.')[0] in ('numpy', 'cv2', 'fastapi', 'edge', 'gateway', 'cloud', 'onnxruntime', 'iotcore')])"
    root = Path(cli.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version(run):
    """The version goes to standard output."""
    assert run("version") == (0, f"countline {__version__}\n", "")


def test_the_example_can_be_checked(run, folder: Path):
    """`config example > countline.yaml` is found and right."""
    _, out, _ = run("config", "example")
    (folder / "countline.yaml").write_text(out)
    assert run("config", "check") == (0, "ok: countline.yaml: cameras: 1, lines: 1, zones: 1\n", "")


def test_a_file_is_checked_by_its_bare_name_too(run, folder: Path):
    """`config check FILE`, as the documentation has it."""
    _, out, _ = run("config", "example")
    (folder / "mine.yaml").write_text(out)
    assert run("config", "check", "mine.yaml") == (0, "ok: mine.yaml: cameras: 1, lines: 1, zones: 1\n", "")


def test_show_hides_secrets_and_reads_back(run, monkeypatch):
    """What `config show` prints is a settings file again, without its secrets."""
    monkeypatch.setenv("COUNTLINE__API__TOKEN", "0123456789abcdef")
    code, out, _ = run("config", "show")
    assert code == 0
    assert "0123456789abcdef" not in out
    assert parse(out.replace(config.HIDDEN, "0123456789abcdef"), BoxSettings, "shown", {}).api.port == 8088


def test_the_schema_is_json(run):
    """Editors can read the schema."""
    _, out, _ = run("config", "schema")
    schema = json.loads(out)
    assert schema["$ref"].endswith("BoxSettings")
    assert "EdgeSettings" not in schema["$defs"]


BAD = {
    "no camera": (["up"], "There is no camera to count"),
    "line without camera": (["up", "--line", "1,2,3,4"], "--line goes with --camera"),
    "bad line": (["up", "--camera", "0", "--line", "1,2,3"], "is not a line"),
    "zero line": (["up", "--camera", "0", "--line", "5,5,5,5"], "zero length"),
    "no source": (["up", "--camera", ""], "has no source"),
    "missing video": (["up", "--camera", "missing.mp4"], "there is no file or folder 'missing.mp4'"),
    "bad port": (["up", "--camera", "0", "--port", "99999"], "99999 is not a TCP port"),
    "open without token": (["up", "--camera", "0", "--host", "0.0.0.0"], "set a token"),
    "missing config": (["up", "--config", "missing.yaml"], "Cannot read the config missing.yaml"),
    "typo in config": (["config", "check", "--config", "typo.yaml"], "did you mean `cameras`?"),
    "typo in checked file": (["config", "check", "typo.yaml"], "did you mean `cameras`?"),
    "two files to check": (
        ["config", "check", "typo.yaml", "--config", "typo.yaml"],
        "Give one file to check",
    ),
    "typo in environment": (["config", "check"], "COUNTLINE__API__PROT"),
    "edge without camera": (["edge"], "There is no camera to count"),
    "unwritable data": (
        ["up", "--camera", "synthetic:", "--data-dir", "typo.yaml/data"],
        "cannot be written",
    ),
    "count a camera": (["count", "rtsp://camera/live"], "is a camera, not a recording"),
    "count nothing": (["count", "missing.mp4"], "there is no file or folder 'missing.mp4'"),
    "count without lines": (["count", "missing.mp4", "--lines", "empty.yaml"], "neither lines nor zones"),
    "lines missing": (["count", "missing.mp4", "--lines", "missing.yaml"], "Cannot read"),
    "lines typo": (["count", "missing.mp4", "--lines", "typo.yaml"], "no such key"),
    "bad size": (["count", "mot:det.txt", "--size", "wide"], "is no picture size"),
    "negative rate": (["count", "mot:det.txt", "--size", "9x9", "--fps", "-3"], "has fps -3, 0 to 1000"),
    "no rate": (["count", "mot:det.txt", "--size", "9x9", "--fps", "nan"], "has fps nan, 0 to 1000"),
    "unknown class": (
        ["count", "mot:det.txt", "--size", "9x9", "--class", "persn"],
        "has no class 'persn'; the nearest it has is 'person'",
    ),
    "unknown model": (["count", "clip.mp4", "--model", "yolo12z"], "There is no model named 'yolo12z'"),
    "missing model": (["count", "clip.mp4", "--model", "./missing.onnx"], "There is no model file"),
    "bad confidence": (
        ["count", "mot:det.txt", "--size", "9x9", "--confidence", "7"],
        "confidence 7.0 is not between",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(run, folder: Path, monkeypatch, name: str):
    """What a person has to mend is one line on standard error, exit code 2, and no traceback."""
    (folder / "typo.yaml").write_text("camera: []\n")
    (folder / "empty.yaml").write_text("lines: []\n")
    (folder / "det.txt").write_text("1,-1,1,1,2,2,0.9,-1,-1,-1\n")
    (folder / "clip.mp4").write_bytes(b"no video")
    if name == "typo in environment":
        monkeypatch.setenv("COUNTLINE__API__PROT", "1")
    arguments, expected = BAD[name]
    code, out, err = run(*arguments)
    last = err.splitlines()[-1]
    assert (code, out) == (2, "")
    assert last.startswith("error: ")
    assert expected in last
    assert "Traceback" not in err


def test_an_unknown_command_is_two(run):
    """A wrong command exits as other bad input does."""
    code, _, err = run("cuont")
    assert code == 2
    assert "No such command" in err


def test_an_interrupt_is_quiet(run, monkeypatch):
    """Ctrl-C in a command ends it without a traceback."""

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert run("count") == (130, "", "")


DETECTIONS = "".join(f"{n},-1,{10 + 3 * n},40,24,50,0.9,-1,-1,-1\n" for n in range(1, 51))


@pytest.fixture
def crossing(folder: Path) -> list[str]:
    """One person who walks from left to right over a line in the middle."""
    (folder / "det.txt").write_text(DETECTIONS)
    (folder / "lines.yaml").write_text("lines:\n  - {name: door, points: [[0.5, 1], [0.5, 0]]}\n")
    return [
        "count",
        f"mot:{folder / 'det.txt'}",
        "--lines",
        str(folder / "lines.yaml"),
        "--size",
        "200x100",
        "--fps",
        "10",
    ]


def test_count_prints_one_json_object(run, crossing: list[str]):
    """With --json standard output holds exactly one object, and the crossing is in it."""
    code, out, _ = run(*crossing, "--json")
    tally = json.loads(out)
    assert code == 0
    assert tally["lines"] == [
        {"name": "door", "in": 1, "out": 0, "classes": {"person": {"in": 1, "out": 0}}, "speed": None}
    ]
    assert tally["zones"] == []
    assert tally["frames"] == 50


def test_count_says_which_rate_it_assumes(run, crossing: list[str]):
    """Times and tracking depend on the frame rate; one that nobody has given is named, on standard error."""
    _, out, err = run(*crossing[:-2], "--json")
    assert "assuming 25 frames a second" in err
    assert json.loads(out)["seconds"] == pytest.approx(49 / 25)
    assert "assuming" not in run(*crossing)[2]


def test_a_folder_of_pictures_has_an_assumed_rate_too(folder: Path):
    """Also one whose name looks like a file's; a video has its own rate."""
    (folder / "day.1").mkdir()
    said = counting.assumed_rate(CameraSettings("a", str(folder / "day.1")))
    assert "assuming 10 frames a second" in said
    assert counting.assumed_rate(CameraSettings("a", "x.mp4")) == ""


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys):
    """Whoever waits for a log file sees every few seconds that something happens."""
    clock = ManualClock(0)
    told = counting.PlainProgress(terminal.messages(), clock)
    for done in range(1, 13):
        clock.advance_ms(1_000)
        told(done, 20 if done < 8 else None)
    assert capsys.readouterr().err.splitlines() == ["counted 5 of 20 frames", "counted 10 frames"]


def test_count_prints_a_table(run, crossing: list[str]):
    """Without --json a person reads a table."""
    _, out, _ = run(*crossing)
    row = next(line for line in out.splitlines() if "door" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["door", "person", "1", "0"]


def test_count_writes_a_row_for_each_crossing(run, crossing: list[str], folder: Path):
    """The CSV has a header and one row."""
    run(*crossing, "--csv", str(folder / "rows.csv"))
    header, *rows = (folder / "rows.csv").read_text().splitlines()
    assert header == "at_ms,time_s,line,direction,class,track,speed_m_s"
    assert len(rows) == 1
    assert rows[0].split(",")[2:5] == ["door", "in", "person"]


def test_a_csv_that_cannot_be_written_is_said(run, crossing: list[str]):
    """A wrong path for the CSV is one sentence."""
    code, _, err = run(*crossing, "--csv", "missing/rows.csv")
    assert code == 2
    assert "Cannot write missing/rows.csv" in err
