"""Recorded detections in the MOT layout."""

from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from countline.clock import ManualClock
from countline.errors import UsageError
from edge.capture import open_source
from edge.capture.mot import read_mot
from edge.config import CameraSettings


@pytest.fixture
def det(tmp_path: Path) -> Path:
    return tmp_path / "det.txt"


def test_every_frame_is_delivered_also_those_without_detections(det: Path) -> None:
    """Frames without a detection are there, up to the largest frame number; lines may be in any order."""
    det.write_text("4,-1,10,20,30,40,0.5,-1,-1,-1\n1,-1,1,2,3,4,0.9\n\n4,-1,11,20,30,40,0.6,-1,-1,-1\r\n")
    source = open_source(
        CameraSettings("c", f"mot:{det}", size=(768, 576), fps=7.0, realtime=False), ManualClock(0)
    )
    info = source.open()
    assert (info.width, info.height, info.fps, info.frame_count, info.class_names) == (
        768,
        576,
        7.0,
        4,
        ("person",),
    )
    frames = [source.read(1) for _ in range(4)]
    assert source.read(1) is None
    assert source.is_finished
    assert all(frame is not None and frame.image is None and frame.detections is not None for frame in frames)
    assert [len(frame.detections) for frame in frames if frame and frame.detections] == [1, 2]
    assert [frame.captured_at_ms for frame in frames if frame] == [0, 143, 286, 429]
    last = frames[3]
    assert last is not None
    assert last.detections is not None
    assert_allclose(last.detections.xyxy, [[10, 20, 40, 60], [11, 20, 41, 60]])
    assert_allclose(last.detections.score, [0.5, 0.6])
    assert last.detections.class_id.tolist() == [0, 0]


def test_default_rate_is_25(det: Path) -> None:
    """Without a rate in the settings it is 25 frames a second."""
    det.write_text("1,-1,1,2,3,4,0.9\n")
    assert open_source(CameraSettings("c", f"mot:{det}", size=(10, 10)), ManualClock(0)).open().fps == 25.0


@pytest.mark.parametrize(
    ("raw", "share"),
    [
        ([0.2, 0.9], [0.2, 0.9]),
        ([0, 1], [0, 1]),
        ([-1, 0, 1], [0.1, 0.55, 1]),
        ([12, 112, 62], [0.1, 1, 0.55]),
        ([-1, -1], [1, 1]),
        ([5], [1]),
    ],
)
def test_confidence_keeps_its_order_and_lies_within_0_to_1(
    det: Path, raw: list[float], share: list[float]
) -> None:
    """Confidence within 0 to 1 stays as it is; raw scores are stretched evenly to 0.1 to 1."""
    det.write_text("".join(f"1,-1,1,2,3,4,{value}\n" for value in raw))
    assert_allclose(read_mot(det)[0].score, share, rtol=1e-6)


def test_box_without_area_is_dropped_but_its_frame_is_not(
    det: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A box of no width is no detection, which is said once; the frame it stands in is delivered."""
    det.write_text("1,-1,1,2,3,4,0.9\n3,-1,1,2,0,4,0.9\n")
    assert [len(frame) for frame in read_mot(det)] == [1, 0, 0]
    (said,) = caplog.records
    assert said.fields == {"path": det, "boxes": 1, "of": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1,-1,1,2,3,4", "seven numbers"),
        ("1,-1,a,2,3,4,0.9", "seven numbers"),
        ("0,-1,1,2,3,4,0.9", "no frame number"),
        ("1.5,-1,1,2,3,4,0.9", "no frame number"),
        ("99999999,-1,1,2,3,4,0.9", "no frame number"),
        ("1,-1,nan,2,3,4,0.9", "not finite"),
        ("1,-1,1,2,3,4,inf", "not finite"),
        ("1,-1,1e300,2,3,4,0.9", "a number that no picture has: 1000000 pixels are the most"),
        ("1,-1,1,2,3,-1e300,0.9", "a number that no picture has"),
        ("1,-1,1,2,3,4,-1e308", "1000000000 for conf"),
    ],
)
def test_malformed_line_is_named(det: Path, line: str, sentence: str) -> None:
    """A malformed line is refused with its file and line number."""
    det.write_text(f"1,-1,1,2,3,4,0.9\n{line}\n")
    with pytest.raises(UsageError, match=sentence) as refusal:
        read_mot(det)
    assert f"{det}, line 2" in str(refusal.value)


def test_file_that_is_none_is_refused(det: Path) -> None:
    """A missing, empty or binary file, and a missing size, are refused in a sentence."""
    with pytest.raises(UsageError, match="can't be read"):
        read_mot(det)
    det.write_text("\n\n")
    with pytest.raises(UsageError, match="holds no detections"):
        read_mot(det)
    det.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UsageError, match="not a text file"):
        read_mot(det)
    with pytest.raises(UsageError, match=r"`size:.*`countline count --size WxH`"):
        open_source(CameraSettings("c", f"mot:{det}"), ManualClock(0)).open()
