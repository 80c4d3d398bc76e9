"""Counting recordings with the whole pipeline, against truth that is known."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from countline.errors import UsageError
from edge.capture.synthetic import HEIGHT, WIDTH, Scene
from edge.config import (
    CameraSettings,
    DetectorSettings,
    GateSettings,
    GroundSettings,
    HeatSettings,
    LineSettings,
    ZoneSettings,
)
from edge.recount import Tally, count
from tests.models import write_model

LINES = [
    LineSettings("down", [(0.5, 0.0), (0.5, 1.0)]),
    LineSettings("bent", [(0.2, 0.0), (0.35, 0.5), (0.2, 1.0)], swap=True),
]


def recount(
    source: str, annotate: Path | None = None, heatmap: Path | None = None, **settings: object
) -> Tally:
    camera = CameraSettings(name="cam", source=source, realtime=False, **settings)  # type: ignore[arg-type]
    return count(camera, DetectorSettings(model="none"), lambda _done, _all: None, annotate, heatmap)


def test_the_synthetic_scene_is_counted_exactly() -> None:
    """Every true crossing of the made-up scene is counted, in its direction, and nothing else."""
    tally = recount("synthetic:", lines=LINES)
    scene = Scene(np.random.default_rng(1))
    for line, settings in zip(tally.lines, LINES, strict=True):
        points = [(x * WIDTH, y * HEIGHT) for x, y in settings.points]
        truth = scene.truth_crossings(points, tally.frames)
        n_in = sum(1 for crossing in truth if crossing.direction == "in")
        n_out = len(truth) - n_in
        assert (line.in_, line.out) == ((n_out, n_in) if settings.swap else (n_in, n_out))
    assert sum(line.in_ + line.out for line in tally.lines) == len(tally.crossings) > 20


def write_walk(path: Path, frames: int = 40) -> None:
    """Somebody who walks 10 pixels a frame to the right, in MOT format."""
    rows = [f"{frame},-1,{frame * 10},100,40,100,0.9,-1,-1,-1" for frame in range(1, frames + 1)]
    path.write_text("\n".join(rows), encoding="utf-8")


def test_a_file_of_detections_is_counted_per_class_and_zone(tmp_path: Path) -> None:
    """A recording without pictures needs no detector; crossings carry their time in it."""
    write_walk(tmp_path / "det.txt")
    zone = ZoneSettings("middle", [(150, 0), (300, 0), (300, 300), (150, 300)])
    line = LineSettings("door", [(200, 0), (200, 300)])
    tally = recount(f"mot:{tmp_path / 'det.txt'}", size=(500, 300), fps=10.0, lines=[line], zones=[zone])
    assert [(one.name, one.in_, one.out, one.classes) for one in tally.lines] == [
        ("door", 0, 1, {"person": {"in": 0, "out": 1}})
    ]
    (crossing,) = tally.crossings
    assert crossing.time_s == pytest.approx(1.7, abs=0.3)
    stays = tally.zones[0].all
    occupancy = tally.occupancy(stays)
    assert (stays.entries, stays.visits, occupancy.max, occupancy.min, occupancy.last) == (1, 1, 1, 0, 0)
    assert stays.mean_dwell_ms == pytest.approx(1_500, abs=200)
    assert occupancy.mean == pytest.approx(1_500 / 3_900, abs=0.06)
    assert tally.frames == 40


def test_gates_speed_and_heat_of_a_recording_are_told(tmp_path: Path) -> None:
    """Somebody walks 100 pixels a second over two lines that are 150 pixels apart, and a metre is 100 pixels here."""
    write_walk(tmp_path / "det.txt")
    tally = recount(
        f"mot:{tmp_path / 'det.txt'}",
        heatmap=tmp_path / "heat.png",
        size=(500, 300),
        fps=10.0,
        lines=[LineSettings("a", [(150, 0), (150, 300)]), LineSettings("b", [(300, 0), (300, 300)])],
        gates=[GateSettings("through", from_="a", to="b")],
        od=True,
        ground=GroundSettings([(0, 0), (500, 0), (500, 300), (0, 300)], (5.0, 3.0)),
        heat=HeatSettings(every_s=10.0, columns=5, rows=2),
    )
    (gate,) = tally.gates
    assert (gate.count(), gate.count("person"), gate.count("dog")) == (1, 1, 0)
    assert gate.median_travel_ms() == pytest.approx(1_500, abs=60)
    assert {pair: leg.count() for pair, leg in tally.od.items()} == {("a", "b"): 1}
    assert [line.mean_speed_m_s() for line in tally.lines] == pytest.approx([1.0, 1.0], abs=0.05)
    assert sum(tally.heat.presence_ms["person"].values()) == 3_900
    assert set(tally.heat.presence_ms["person"]) == {5, 6, 7, 8, 9}
    picture = cv2.imread(str(tmp_path / "heat.png"))
    assert picture is not None
    assert picture.shape == (300, 500, 3)
    assert picture[280, 200].astype(int).sum() > picture[20, 200].astype(int).sum()


def test_who_is_inside_when_a_recording_ends_has_not_left(tmp_path: Path) -> None:
    """The end of the recording ends the visit, but the zone is not empty then."""
    write_walk(tmp_path / "det.txt", frames=25)
    zone = ZoneSettings("middle", [(150, 0), (300, 0), (300, 300), (150, 300)])
    tally = recount(f"mot:{tmp_path / 'det.txt'}", size=(500, 300), fps=10.0, zones=[zone])
    stays = tally.zones[0].all
    assert (stays.entries, stays.visits, stays.exits, tally.occupancy(stays).last) == (1, 1, 0, 1)


@pytest.mark.parametrize("name", ["x.gif", "no/x.png"])
def test_a_heatmap_that_cannot_be_written_is_said_before_counting(tmp_path: Path, name: str) -> None:
    """Nobody waits for an hour to learn that the folder is missing."""
    write_walk(tmp_path / "det.txt")
    with pytest.raises(UsageError, match="Cannot write the heat-map"):
        recount(f"mot:{tmp_path / 'det.txt'}", heatmap=tmp_path / name, size=(500, 300), fps=10.0)


def test_the_annotated_video_can_be_played(tmp_path: Path) -> None:
    """Each frame of the recording is in the video, with what was counted drawn over it."""
    write_walk(tmp_path / "det.txt")
    out = tmp_path / "out.mp4"
    recount(
        f"mot:{tmp_path / 'det.txt'}",
        out,
        size=(500, 300),
        fps=10.0,
        lines=[LineSettings("door", [(200, 0), (200, 300)])],
    )
    video = cv2.VideoCapture(str(out))
    try:
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 40
        shown, picture = video.read()
        assert shown
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    finally:
        video.release()


@pytest.mark.parametrize("name", ["x.txt", "x", "x.png"])
def test_a_video_is_called_mp4_or_avi(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Another name is refused in a sentence of ours, not in OpenCV's, and nothing is written."""
    write_walk(tmp_path / "det.txt")
    with pytest.raises(UsageError, match=r"must end in \.avi or \.mp4"):
        recount(f"mot:{tmp_path / 'det.txt'}", tmp_path / name, size=(500, 300), fps=10.0)
    assert capfd.readouterr().err == ""
    assert not (tmp_path / name).exists()


def write_pictures(folder: Path, right: int, damaged: int) -> None:
    """A folder of pictures; the damaged ones come last."""
    folder.mkdir()
    for index in range(right):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((48, 64, 3), dtype=np.uint8))
    for index in range(right, right + damaged):
        (folder / f"{index}.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("right", "damaged", "complete"), [(5, 0, True), (5, 2, True), (5, 3, False), (297, 3, True)]
)
def test_a_recording_that_misses_frames_is_not_complete(
    tmp_path: Path, right: int, damaged: int, complete: bool
) -> None:
    """What could be read is counted, and how much there should have been is told; a frame or two do not matter."""
    write_pictures(tmp_path / "pictures", right, damaged)
    write_model(
        tmp_path / "tiny.onnx",
        {"output0": np.zeros((1, 5, 84), dtype=np.float32)},
        metadata={"names": "{0: 'person'}"},
    )
    camera = CameraSettings("cam", str(tmp_path / "pictures"), realtime=False)
    tally = count(camera, DetectorSettings(model=str(tmp_path / "tiny.onnx")), lambda _done, _all: None)
    assert (tally.frames, tally.frames_expected, tally.is_complete) == (right, right + damaged, complete)


def test_a_video_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    """The folder of the annotated video must exist."""
    write_walk(tmp_path / "det.txt")
    with pytest.raises(UsageError, match="Cannot write the video"):
        recount(f"mot:{tmp_path / 'det.txt'}", tmp_path / "no" / "out.mp4", size=(500, 300), fps=10.0)


@pytest.mark.parametrize("wanted", [["persn"], ["person", "unicorn"]])
def test_a_class_that_ready_made_detections_do_not_have_is_refused(tmp_path: Path, wanted: list[str]) -> None:
    """Nothing would ever be counted of it, and 0 looks like an answer."""
    path = tmp_path / "det.txt"
    write_walk(path)
    with pytest.raises(
        UsageError,
        match=rf"mot:{re.escape(str(path))} has no class '{wanted[-1]}'; the nearest it has is 'person'\.$",
    ):
        recount(f"mot:{path}", size=(500, 300), classes=wanted)
