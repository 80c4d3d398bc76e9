"""Detection logs: what is recorded, how much of it is kept, and how it is played."""

from pathlib import Path

import numpy as np
import pytest

from countline.clock import ManualClock
from countline.errors import UsageError
from edge.arrays import Detections
from edge.capture import open_source
from edge.capture.detlog import MAGIC, SUFFIX, Header, beginning
from edge.capture.recorder import BLOCK_MS, FILE_MS, Recorder
from edge.capture.replay import MAX_GAP_MS, DetlogSource
from edge.config import CameraSettings
from edge.frames import Frame

HEADER = Header(1, "door", 640, 480, 10.0, ("person",))
START_MS = 1_700_000_000_000


def found(n: int = 1, class_id: int = 0, x: float = 10.0) -> Detections:
    xyxy = np.array([[x + i, 20, x + i + 30, 90] for i in range(n)], dtype=np.float32).reshape(n, 4)
    return Detections(xyxy, np.full(n, 0.9, np.float32), np.full(n, class_id, np.int16))


def recorder(folder: Path, header: Header = HEADER, max_mb: int = 100, max_days: int = 30) -> Recorder:
    return Recorder(folder, header, max_mb=max_mb, max_days=max_days)


def record(folder: Path, times_ms: list[int], header: Header = HEADER) -> None:
    made = recorder(folder, header)
    for at_ms in times_ms:
        made.keep(at_ms, found())
    made.close()


def play(path: Path, **options: object) -> list[Frame]:
    source = DetlogSource(path, ManualClock(START_MS), realtime=False, **options)  # type: ignore[arg-type]
    source.open()
    frames = []
    while (frame := source.read(1)) is not None:
        frames.append(frame)
    assert source.is_finished
    source.close()
    return frames


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_log_is_played_with_its_own_times_even_where_the_clock_went_back(tmp_path: Path) -> None:
    """Each frame comes once with the time at which it was captured, frames without detections too."""
    times = [START_MS, START_MS + 100, START_MS - 7_000_000, START_MS - 7_000_000, START_MS + 60_000]
    made = recorder(tmp_path / "door")
    kept = [made.keep(at_ms, found(n)) for n, at_ms in enumerate(times)]
    made.close()
    assert (
        len(files(tmp_path / "door")) == 3
    )  # who looks for a time finds its file, so a step begins a new one
    frames = sorted(play(tmp_path / "door"), key=lambda frame: len(frame.detections or ()))
    assert [frame.captured_at_ms for frame in frames] == times
    for frame, one in zip(frames, kept, strict=True):
        assert frame.image is None
        assert frame.detections is not None
        assert np.array_equal(frame.detections.xyxy, one.xyxy)


def test_a_file_is_an_hour_at_most_and_named_by_its_beginning(tmp_path: Path) -> None:
    """Files are named so that their names sort by time."""
    record(tmp_path, [START_MS + i * FILE_MS // 2 for i in range(6)])
    assert files(tmp_path) == [
        "2023-11-14T22-13-20.000Z.detlog",
        "2023-11-14T23-13-20.000Z.detlog",
        "2023-11-15T00-13-20.000Z.detlog",
    ]
    assert [frame.captured_at_ms for frame in play(tmp_path)] == [
        START_MS + i * FILE_MS // 2 for i in range(6)
    ]


def test_some_hours_of_a_log_are_chosen_by_their_names(tmp_path: Path) -> None:
    """A pattern takes the files of a day or an hour; one that fits nothing is refused."""
    record(tmp_path, [START_MS + i * FILE_MS for i in range(4)])
    frames = play(tmp_path / "2023-11-15T*")
    assert [frame.captured_at_ms for frame in frames] == [START_MS + 2 * FILE_MS, START_MS + 3 * FILE_MS]
    with pytest.raises(UsageError, match="no detection log"):
        play(tmp_path / "2024-*")


def test_a_restart_within_a_millisecond_overwrites_nothing(tmp_path: Path) -> None:
    """A second file of the same beginning gets a name of its own."""
    record(tmp_path, [START_MS])
    record(tmp_path, [START_MS])
    assert len(files(tmp_path)) == len(play(tmp_path)) == 2


def test_what_is_older_than_allowed_is_deleted(tmp_path: Path) -> None:
    """With a new file, those that began before the allowed age go."""
    day_ms = 86_400_000
    made = recorder(tmp_path, max_days=2)
    for day in range(5):
        made.keep(START_MS + day * day_ms, found())
    made.close()
    assert [name[:10] for name in files(tmp_path)] == ["2023-11-16", "2023-11-17", "2023-11-18"]


def test_a_log_never_takes_more_than_allowed(tmp_path: Path) -> None:
    """Beyond the allowed size the oldest files go, whatever the crowd; what is left can be played."""
    rng = np.random.default_rng(1)
    made = recorder(tmp_path, max_mb=1)
    most, largest = 0, 0
    for i in range(1_000):
        corner = rng.uniform(0, 600, (200, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(5, 100, (200, 2))], axis=1).astype(np.float32)
        made.keep(
            START_MS + i * 1_000, Detections(xyxy, rng.random(200, np.float32), np.zeros(200, np.int16))
        )
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]
        most, largest = max(most, sum(sizes)), max([largest, *sizes])
    made.close()
    assert 500_000 < most <= 1_000_000
    assert largest <= 100_000
    frames = play(tmp_path)
    assert 500 < len(frames) < 900
    assert frames[-1].captured_at_ms == START_MS + 999_000


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    """Only recordings are deleted, and only they are played."""
    (tmp_path / "0000.txt").write_text("mine")
    made = recorder(tmp_path, max_days=1)
    made.keep(START_MS, found())
    made.keep(START_MS + 90_000_000, found())
    made.close()
    assert files(tmp_path)[0] == "0000.txt"
    assert len(play(tmp_path)) == 1


def test_a_disk_that_cannot_be_written_costs_the_recording_and_no_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, the detections go their way, and when there is room again it is recorded again."""
    folder = tmp_path / "door"
    folder.write_text("a file is in the way")
    made = recorder(folder)
    for i in range(4):
        assert len(made.keep(START_MS + i * BLOCK_MS, found())) == 1
    assert len([one for one in caplog.records if "can't be recorded" in one.message]) == 1
    folder.unlink()
    made.keep(START_MS + 4 * BLOCK_MS, found())
    made.close()
    assert [frame.captured_at_ms - START_MS for frame in play(folder)] == [3 * BLOCK_MS, 4 * BLOCK_MS]


def test_a_recording_that_was_torn_off_is_played_up_to_there(tmp_path: Path) -> None:
    """What a killed process leaves is read up to its last whole record, and is no damage."""
    made = recorder(tmp_path)
    for i in range(101):
        made.keep(START_MS + i * 100, found())
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / f"x{SUFFIX}").write_bytes(next(tmp_path.glob(f"*{SUFFIX}")).read_bytes()[:-3])
    made.close()
    source = DetlogSource(torn, ManualClock(), realtime=False)
    info = source.open()
    source.close()
    frames = play(torn)
    assert info.frame_count == len(frames) == 50  # the second block is torn, the rest was in memory


def test_files_of_other_sizes_and_models_are_one_log(tmp_path: Path) -> None:
    """Boxes are scaled to the first file's picture, and classes are found by their names."""
    record(tmp_path, [START_MS])
    other = Header(1, "door", 1280, 480, 10.0, ("car", "person"))
    made = recorder(tmp_path, other)
    made.keep(START_MS + 1_000, found(class_id=1))
    made.close()
    source = DetlogSource(tmp_path, ManualClock(), realtime=False)
    info = source.open()
    assert (info.width, info.height, info.class_names, info.frame_count) == (640, 480, ("person", "car"), 2)
    first, second = source.read(1), source.read(1)
    assert first is not None
    assert first.detections is not None
    assert second is not None
    assert second.detections is not None
    assert first.detections.class_id.tolist() == second.detections.class_id.tolist() == [0]
    assert second.detections.xyxy.tolist() == [[5.0, 20.0, 20.0, 90.0]]
    source.close()


def test_in_real_time_frames_come_when_they_are_due_and_a_night_is_cut_short(tmp_path: Path) -> None:
    """Frames are stamped now and at their distance; a long gap is waited for ten seconds and told as blind time."""
    record(tmp_path, [START_MS, START_MS + 100, START_MS + 40_000_000])
    clock = ManualClock(5_000)
    source = DetlogSource(tmp_path, clock, realtime=True)
    source.open()
    clock.advance_ms(1_000)
    first = source.read(0)
    assert first is not None
    assert (first.index, first.captured_at_ms, first.blind_ms) == (0, 6_000, 0)
    assert source.read(0) is None  # not due yet
    clock.advance_ms(100)
    second = source.read(0)
    assert second is not None
    assert (second.captured_at_ms, second.blind_ms) == (6_100, 0)
    clock.advance_ms(MAX_GAP_MS - 1)
    assert source.read(0) is None
    clock.advance_ms(1)
    third = source.read(0)
    assert third is not None
    assert (third.captured_at_ms, third.blind_ms) == (6_100 + MAX_GAP_MS, MAX_GAP_MS)
    assert source.read(0) is None
    assert source.is_finished
    source.close()


def test_a_looped_log_goes_on_with_index_and_time(tmp_path: Path) -> None:
    """At its end it begins again, a frame later."""
    record(tmp_path, [START_MS, START_MS + 100])
    source = DetlogSource(tmp_path, ManualClock(), realtime=False, loop=True)
    source.open()
    frames = [source.read(1) for _ in range(5)]
    assert [(frame.index, frame.captured_at_ms - START_MS) for frame in frames if frame is not None] == [
        (i, 100 * i) for i in range(5)
    ]
    source.close()


def test_frames_beyond_the_wanted_rate_are_left_out(tmp_path: Path) -> None:
    """A limit takes an even selection."""
    record(tmp_path, [START_MS + 100 * i for i in range(11)])
    times = [frame.captured_at_ms - START_MS for frame in play(tmp_path, max_fps=4.0)]
    assert times == [0, 300, 500, 800, 1000]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no detection log"),
        (b"\x89PNG and so on", "is no detection log"),
        (MAGIC + b"\x04\x00\x00\x00", "is no detection log"),
        (beginning(HEADER), "holds no frames"),
        (beginning(Header(2, "door", 1, 1, 0.0, ())), "of version 2"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Each in one sentence that names the file."""
    path = tmp_path / f"x{SUFFIX}"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"x\.detlog .*{sentence}"):
        open_source(CameraSettings("c", f"detlog:{path}"), ManualClock()).open()


def test_a_folder_of_cameras_names_them(tmp_path: Path) -> None:
    """Who names the folder above learns which cameras are in it; a folder that is not there is refused."""
    record(tmp_path / "door", [START_MS])
    record(tmp_path / "yard", [START_MS])
    with pytest.raises(UsageError, match="these cameras in it: door, yard"):
        open_source(CameraSettings("c", f"detlog:{tmp_path}"), ManualClock()).open()
    with pytest.raises(UsageError, match="does not exist"):
        open_source(CameraSettings("c", f"detlog:{tmp_path}/nowhere"), ManualClock()).open()
