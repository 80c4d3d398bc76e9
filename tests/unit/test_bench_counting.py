"""The counting bench: any folder of MOT sequences, and the same numbers as the command."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench import _peers, counting
from bench._run import Take, count_take, seen_in
from bench._truth import count_walks, standard_lines, true_crossings
from bench._walks import REFERENCE_FPS
from bench.scenes import make
from countline.errors import UsageError
from deploy import cli
from edge.arrays import Detections
from edge.config import CameraSettings, DetectorSettings

FPS = 10
SCENE = make("crowd", FPS, seed=1, seconds=15)


def _write_gt(path: Path) -> None:
    step = REFERENCE_FPS // FPS
    rows = [
        (index // step + 1, number, box[0], box[1], box[2] - box[0], box[3] - box[1], 1, -1, -1, -1)
        for number, track in enumerate(SCENE.tracks, start=1)
        for (index, _), box in zip(track.walk, track.boxes, strict=True)
        if index % step == 0
    ]
    np.savetxt(path, rows, delimiter=",", fmt="%.5f")


def _write_det(path: Path) -> None:
    rows = [
        (number, -1, box[0], box[1], box[2] - box[0], box[3] - box[1], score, -1, -1, -1)
        for number, seen in enumerate(SCENE.frames, start=1)
        for box, score in zip(seen.xyxy, seen.score, strict=True)
    ]
    np.savetxt(path, rows, delimiter=",", fmt="%.5f")


@pytest.fixture
def mot(tmp_path: Path) -> Path:
    """A folder with one sequence in MOT's own layout."""
    home = tmp_path / "mot" / "SCENE-01"
    for name in ("gt", "det"):
        (home / name).mkdir(parents=True)
    _write_gt(home / "gt/gt.txt")
    _write_det(home / "det/det.txt")
    (home / "seqinfo.ini").write_text(
        f"[Sequence]\nname=SCENE-01\nimWidth={SCENE.width}\nimHeight={SCENE.height}\nframeRate={FPS}\n"
    )
    return home.parent


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run the bench in this process; return what it prints as JSON."""

    def call(*arguments: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["bench.counting", *arguments, "--json"])
        counting.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_the_bench_and_the_command_count_the_same(mot, bench, tmp_path, monkeypatch, capsys):
    result = bench("--mot", str(mot), "--no-peers")["sequences"][0]
    monkeypatch.setattr(sys, "argv", ["bench.counting", "--lines", f"{SCENE.width}x{SCENE.height}"])
    counting.main()
    (tmp_path / "lines.yaml").write_text(capsys.readouterr().out)
    arguments = ["count", f"mot:{mot}/SCENE-01/det/det.txt", "--size", f"{SCENE.width}x{SCENE.height}"]
    arguments += ["--fps", str(FPS), "--lines", str(tmp_path / "lines.yaml"), "--json"]
    monkeypatch.setattr(sys, "argv", ["countline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    by_command = [[line["in"], line["out"]] for line in told["lines"]]
    assert sum(map(sum, by_command)) > 0
    assert result["counters"]["Countline"]["counted_per_line"] == by_command


def test_detections_in_memory_are_counted_like_those_of_a_file(mot, bench):
    result = bench("--mot", str(mot), "--no-peers")["sequences"][0]
    camera = CameraSettings(
        name="bench",
        source=f"mot:{mot}/SCENE-01/det/det.txt",
        lines=standard_lines(SCENE.width, SCENE.height),
        realtime=False,
        size=(SCENE.width, SCENE.height),
        fps=FPS,
    )
    take = seen_in(camera, DetectorSettings(model="none"), SCENE.truth)
    assert [list(pair) for pair in count_take(take)] == result["counters"]["Countline"]["counted_per_line"]


def test_errors_are_the_sum_over_lines_and_directions(mot, bench):
    told = bench("--mot", str(mot), "--no-peers")
    result = told["sequences"][0]
    counter = result["counters"]["Countline"]
    pairs = zip(counter["counted_per_line"], result["truth_per_line"], strict=True)
    assert counter["wrong"] == sum(
        abs(ours - true) for one, other in pairs for ours, true in zip(one, other, strict=True)
    )
    assert result["truth"] == sum(map(sum, result["truth_per_line"]))
    assert counter["wape"] == pytest.approx(counter["wrong"] / result["truth"], abs=1e-4)
    assert told["overall"][0]["counters"]["Countline"] == {
        key: value for key, value in counter.items() if key != "counted_per_line"
    }


def test_the_truth_of_a_file_is_the_truth_of_the_paths(mot):
    lines = standard_lines(SCENE.width, SCENE.height)
    step = REFERENCE_FPS // FPS
    walks = [
        [(index // step, foot) for index, foot in track.walk if index % step == 0] for track in SCENE.tracks
    ]
    truth = true_crossings(mot / "SCENE-01/gt/gt.txt", lines, strict=True)
    assert sum(map(sum, truth)) > 50
    assert truth == count_walks(lines, walks)


def test_both_layouts_and_one_sequence_alone_are_found(mot, tmp_path):
    flat = tmp_path / "flat"
    (flat / "TUD-Campus").mkdir(parents=True)
    _write_gt(flat / "TUD-Campus/gt.txt")
    _write_det(flat / "TUD-Campus/det.txt")
    assert [(case.sequence, case.kind) for case in counting.cases(mot)] == [("SCENE-01", "detections")]
    assert [case.sequence for case in counting.cases(mot / "SCENE-01")] == ["SCENE-01"]
    found = counting.cases(flat)
    assert [(case.sequence, case.camera, case.size) for case in found] == [
        ("TUD-Campus", "static", (640, 480, 25.0))
    ]


def test_pictures_are_a_video(mot):
    pictures = mot / "SCENE-01/img1"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "000001.jpg"), np.zeros((8, 8, 3), dtype=np.uint8))
    assert [case.kind for case in counting.cases(mot)] == ["detections", "video"]
    assert counting.cases(mot)[1].source == str(pictures)
    assert [case.kind for case in counting.cases(mot, with_video=False)] == ["detections"]


def test_a_sequence_of_unknown_size_needs_to_be_told(mot, capsys):
    (mot / "SCENE-01/seqinfo.ini").unlink()
    assert counting.cases(mot) == []
    assert "SCENE-01: left out" in capsys.readouterr().err
    assert [case.size for case in counting.cases(mot, size=(640, 480, 12.0))] == [(640, 480, 12.0)]


def test_a_folder_of_nothing_but_unknown_sizes_says_that_it_is_the_size(mot, monkeypatch):
    (mot / "SCENE-01/seqinfo.ini").unlink()
    monkeypatch.setattr(sys, "argv", ["bench.counting", "--mot", str(mot), "--no-peers"])
    with pytest.raises(SystemExit, match=r"size of SCENE-01 is not known: give --size WxH") as ended:
        counting.main()
    assert "det.txt" not in str(ended.value)


def test_a_folder_of_nothing_but_ground_truth_says_what_is_missing(mot, monkeypatch):
    (mot / "SCENE-01/det/det.txt").unlink()
    monkeypatch.setattr(sys, "argv", ["bench.counting", "--mot", str(mot), "--no-peers"])
    with pytest.raises(SystemExit, match=r"SCENE-01 has ground truth alone: it needs det\.txt, a video"):
        counting.main()


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("PETS09-S2L1", "static"),
        ("ETH-Bahnhof", "moving"),
        ("KITTI-13", "moving"),
        ("KITTI-17", "static"),
        ("ADL-Rundle-8", "moving"),
        ("MOT17-04-FRCNN", "static"),
        ("MOT17-13-SDP", "moving"),
        ("MOT20-05", "static"),
        ("my-own", "unknown"),
    ],
)
def test_it_is_said_whether_a_camera_moves(name, camera):
    assert counting.camera_of(name) == camera


def test_moving_cameras_get_a_sum_of_their_own_beside_all():
    def result(camera: str, kind: str, wrong: int) -> dict:
        errors = {"wrong": wrong, "wape": 0.0, "loose_wrong": wrong, "loose_wape": 0.0}
        return {
            "camera": camera,
            "kind": kind,
            "truth": 10,
            "loose_truth": 20,
            "counters": {"Countline": errors},
        }

    rows = counting.overall([result("static", "detections", 1), result("moving", "detections", 4)])
    assert [(row["camera"], row["truth"], row["counters"]["Countline"]["wape"]) for row in rows] == [
        ("static", 10, 0.1),
        ("any", 20, 0.25),
    ]
    assert [row["camera"] for row in counting.overall([result("static", "video", 1)])] == ["static"]


@pytest.mark.parametrize("text", ["", "a,b\n", "1,2,3\n"])
def test_a_ground_truth_that_is_none_is_named(tmp_path, text):
    path = tmp_path / "gt.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"gt\.txt"):
        true_crossings(path, standard_lines(10, 10))


def test_a_folder_without_a_sequence_is_named(tmp_path):
    with pytest.raises(UsageError, match="holds no MOT sequence"):
        counting.cases(tmp_path)


def test_a_description_without_a_size_is_named(mot):
    (mot / "SCENE-01/seqinfo.ini").write_text("[Sequence]\nname=x\n")
    with pytest.raises(UsageError, match=r"seqinfo\.ini does not say imWidth"):
        counting.cases(mot)


def test_without_the_others_the_bench_says_how_to_get_them(mot, monkeypatch, capsys):
    monkeypatch.setattr(_peers.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "argv", ["bench.counting", "--mot", str(mot), "--json"])
    counting.main()
    said = capsys.readouterr()
    assert _peers.HOW_TO_INSTALL in said.err
    assert list(json.loads(said.out)["sequences"][0]["counters"]) == ["Countline"]


def _straight_walk() -> Take:
    """One box from left to right, then down, 10 frames a second."""
    feet = [(x, 150.0) for x in np.linspace(20, 380, 40)] + [(380.0, y) for y in np.linspace(150, 290, 20)]
    frames = [
        Detections(
            np.array([[x - 20, y - 100, x + 20, y]], dtype=np.float32),
            np.array([0.9], dtype=np.float32),
            np.zeros(1, dtype=np.int16),
        )
        for x, y in feet
    ]
    lines = standard_lines(400, 300)
    truth = [(0, 1)] * 5 + [(0, 0)] * 2 + [(1, 0)]
    return Take("walk", 400, 300, 10.0, [100 * i for i in range(60)], frames, lines, truth, ("person",))


def test_a_straight_walk_is_counted_in_the_direction_of_the_truth():
    take = _straight_walk()
    assert count_take(take)[:5] == take.truth[:5]


@pytest.mark.skipif(
    not _peers.peers(), reason="trackers and supervision are not installed (pip install -e '.[bench]')"
)
@pytest.mark.parametrize("name", ["ByteTrack + LineZone", "SORT + LineZone"])
def test_others_count_a_straight_walk_in_the_same_direction(name):
    take = _straight_walk()
    assert _peers.peers()[name](take)[:5] == take.truth[:5]
