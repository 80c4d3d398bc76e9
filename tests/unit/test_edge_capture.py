"""Playing recordings and reading cameras, without any."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from countline.clock import ManualClock, SteadyClock, SystemClock
from countline.errors import Unavailable, UsageError
from countline.telemetry import mask
from edge.arrays import Detections
from edge.capture import open_source
from edge.capture.connect import Connection
from edge.capture.folder import FolderReel
from edge.capture.live import LiveSource
from edge.capture.player import MAX_LATE_S, Player
from edge.capture.reason import Reason
from edge.config import CameraSettings
from edge.frames import Frame, SourceInfo


class _CountingReel:
    """A recording whose pictures are their own numbers."""

    def __init__(self, frames: int, fps: float = 10.0, damaged: tuple[int, ...] = ()) -> None:
        self.frames, self.fps, self.damaged = frames, fps, damaged
        self.position = -1
        self.looked_at: list[int] = []

    def open(self) -> SourceInfo:
        return SourceInfo(4, 4, fps=self.fps, frame_count=self.frames)

    def advance(self) -> bool:
        self.position += 1
        return self.position < self.frames

    def sight(self) -> tuple[np.ndarray, Detections | None] | None:
        self.looked_at.append(self.position)
        if self.position in self.damaged:
            return None
        return np.full((4, 4, 3), self.position, dtype=np.uint8), None

    def rewind(self) -> None:
        self.position = -1

    def close(self) -> None:
        self.frames = 0


def player(reel: _CountingReel, clock: ManualClock, **options: object) -> Player:
    """Return an open player whose waits move the clock."""
    made = Player(reel, clock, wait=lambda wait_s: clock.advance_ms(round(wait_s * 1000)), **options)  # type: ignore[arg-type]
    made.open()
    return made


def play(source: Player, most: int = 100) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < most and not source.is_finished:
        frame = source.read(10.0)
        if frame is not None:
            frames.append(frame)
    return frames


def test_fast_delivers_every_frame_at_its_place_in_the_recording() -> None:
    """As fast as possible, no frame is left out, and its time is the start plus its place."""
    source = player(_CountingReel(4), ManualClock(1_000_000), realtime=False)
    frames = play(source)
    assert [(f.index, f.captured_at_ms, f.dropped) for f in frames] == [
        (0, 1_000_000, 0),
        (1, 1_000_100, 0),
        (2, 1_000_200, 0),
        (3, 1_000_300, 0),
    ]
    assert [int(f.image[0, 0, 0]) for f in frames if f.image is not None] == [0, 1, 2, 3]
    assert source.is_finished
    assert source.read(0.1) is None


def test_loop_goes_on_with_the_index() -> None:
    """At its end a looped recording begins again; index and time go on."""
    source = player(_CountingReel(3), ManualClock(0), realtime=False, loop=True)
    frames = play(source, most=7)
    assert [f.index for f in frames] == list(range(7))
    assert [f.captured_at_ms for f in frames] == list(range(0, 700, 100))
    assert [int(f.image[0, 0, 0]) for f in frames if f.image is not None] == [0, 1, 2, 0, 1, 2, 0]
    assert source.info.frame_count is None


def test_realtime_waits_until_a_frame_is_due() -> None:
    """In real time a reader in time gets every frame when it is due."""
    clock = ManualClock(5_000)
    source = player(_CountingReel(4), clock, realtime=True)
    clock.advance_ms(3_000)  # the recording starts when somebody first looks
    for i in range(4):
        frame = source.read(10)
        assert frame is not None
        assert (frame.index, frame.captured_at_ms, frame.dropped) == (i, 8_000 + 100 * i, 0)
        assert clock.now_ms() == frame.captured_at_ms
    assert source.read(10) is None
    assert source.is_finished


def test_realtime_reader_that_is_late_gets_the_newest_and_hears_what_it_missed() -> None:
    """A slow reader gets the newest frame that is due, with its own time, and the number of those left out."""
    clock = ManualClock(0)
    reel = _CountingReel(20)
    source = player(reel, clock, realtime=True)
    source.read(1)
    clock.advance_ms(470)
    frame = source.read(1)
    assert frame is not None
    assert (frame.index, frame.captured_at_ms, frame.dropped) == (4, 400, 3)
    assert reel.looked_at == [0, 4]  # what is left out is not even decoded


def test_realtime_read_gives_up_when_its_time_is_up() -> None:
    """A read returns nothing if no frame is due within its time, and loses none."""
    clock = ManualClock(0)
    source = player(_CountingReel(3), clock, realtime=True)
    source.read(1)
    assert source.read(0.03) is None
    frame = source.read(1)
    assert frame is not None
    assert (frame.index, frame.captured_at_ms) == (1, 100)


def test_last_frame_is_seen_however_late() -> None:
    """A reader that comes after the end still gets the last frame."""
    clock = ManualClock(0)
    source = player(_CountingReel(5), clock, realtime=True)
    source.read(1)
    clock.advance_ms(5_000)
    assert [(f.index, f.dropped) for f in play(source)] == [(4, 3)]


def test_recording_goes_on_after_a_machine_was_asleep() -> None:
    """After a long absence the recording goes on where it was, and the gap is blind time."""
    clock = ManualClock(0)
    source = player(_CountingReel(5), clock, realtime=True)
    source.read(1)
    away_ms = round(MAX_LATE_S * 1000) + 5_000
    clock.advance_ms(away_ms)
    frame = source.read(1)
    assert frame is not None
    assert (frame.index, frame.dropped, frame.blind_ms, frame.captured_at_ms) == (
        1,
        0,
        away_ms - 100,
        away_ms,
    )


def test_frames_beyond_the_wanted_rate_are_left_out_evenly() -> None:
    """A limit of 4 frames a second takes 4 of every 10, and they are not called dropped."""
    source = player(_CountingReel(20), ManualClock(0), realtime=False, max_fps=4.0)
    frames = play(source)
    assert [f.index for f in frames] == [0, 3, 5, 8, 10, 13, 15, 18]
    assert {f.dropped for f in frames} == {0}
    assert source.info.fps == 4.0


def test_damaged_picture_is_left_out_and_counted() -> None:
    """A picture that can't be decoded is left out, and the next one says so."""
    frames = play(player(_CountingReel(4, damaged=(1, 3)), ManualClock(0), realtime=False))
    assert [(f.index, f.dropped) for f in frames] == [(0, 0), (2, 1)]


def test_closed_player_returns_nothing() -> None:
    """A closed source has no frames any more."""
    source = player(_CountingReel(4), ManualClock(0), realtime=True)
    source.close()
    assert source.read(1) is None


def _pictures(folder: Path, names: list[str], size: tuple[int, int] = (8, 6)) -> None:
    for i, name in enumerate(names):
        image = np.full((size[1], size[0], 3), i * 10, dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), image)


def test_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    """frame2 comes before frame10, whatever the alphabet says, and other files are not looked at."""
    _pictures(tmp_path, ["frame1.png", "frame2.png", "Frame10.PNG", "frame11.bmp"])
    (tmp_path / "notes.txt").write_text("no picture")
    settings = CameraSettings("c", str(tmp_path), realtime=False)
    source = open_source(settings, ManualClock(0))
    info = source.open()
    frames = play(source)  # type: ignore[arg-type]
    assert (info.width, info.height, info.fps, info.frame_count) == (8, 6, 10.0, 4)
    assert [f.captured_at_ms for f in frames] == [0, 100, 200, 300]
    assert [int(f.image[0, 0, 0]) for f in frames if f.image is not None] == [0, 10, 20, 30]
    source.close()


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """An empty or missing folder, and one whose first picture is damaged, are refused in a sentence."""
    with pytest.raises(UsageError, match="holds no pictures"):
        FolderReel(tmp_path).open()
    with pytest.raises(UsageError, match="does not exist"):
        FolderReel(tmp_path / "nowhere").open()
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"a\.jpg is not a picture"):
        FolderReel(tmp_path).open()


def test_damaged_and_differing_pictures_of_a_folder(tmp_path: Path) -> None:
    """A damaged picture is left out; one of another size is scaled to the first one's."""
    _pictures(tmp_path, ["1.png"])
    (tmp_path / "2.png").write_bytes(b"no picture")
    _pictures(tmp_path, ["3.png"], size=(20, 20))
    source = open_source(CameraSettings("c", str(tmp_path), realtime=False), ManualClock(0))
    source.open()
    frames = play(source)  # type: ignore[arg-type]
    assert [(f.index, f.dropped) for f in frames] == [(0, 0), (2, 1)]
    assert frames[1].image is not None
    assert frames[1].image.shape == (6, 8, 3)
    source.close()


class _SetClock(ManualClock):
    """A clock whose time of day is set, while its monotonic seconds go on as before."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self._set_by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self._set_by_ms

    def set_by_ms(self, by_ms: int) -> None:
        self._set_by_ms += by_ms


class _FakeCamera:
    """A camera whose pictures a test sends, one by one."""

    def __init__(self, clock: _SetClock, fps: float = 10.0) -> None:
        self.clock, self.fps = clock, fps
        self.is_on = True
        self.opened = 0
        self._order: list[str] = []
        self._changed = threading.Condition()
        self._is_idle = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.is_on

    def get(self, propId: int, /) -> float:  # noqa: N803
        return self.fps if propId == cv2.CAP_PROP_FPS else 0.0

    def release(self) -> None:
        pass

    def opener(self) -> "_FakeCamera":
        self.opened += 1
        return self

    def grab(self) -> bool:
        with self._changed:
            self._is_idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._order)
            self._is_idle = False
            order = self._order.pop(0)
        return order == "picture"

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((6, 8, 3), 7, dtype=np.uint8)

    def send(self, *, after_ms: int = 0, what: str = "picture") -> None:
        """Let some time pass, then send a picture and wait until it was taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle)
            self.clock.advance_ms(after_ms)
            self._order.append(what)
            self._changed.notify_all()
            self._is_idle = False
            if what == "picture":
                self._changed.wait_for(lambda: self._is_idle)


class _NoWait:
    """A backoff that counts its failures."""

    def __init__(self) -> None:
        self.failures = 0
        self.resets = 0

    def next_delay_s(self) -> float:
        self.failures += 1
        return 0.001

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def clock() -> _SetClock:
    return _SetClock(1_000_000)


@pytest.fixture
def camera(clock: _SetClock) -> _FakeCamera:
    return _FakeCamera(clock)


def live(camera: _FakeCamera, **options: object) -> LiveSource:
    label = mask("rtsp://user:secret@camera/1")
    connection = Connection(label, camera.opener, lambda: Reason(f"{label} does not answer: is it on?"))
    return LiveSource(
        connection,
        camera.clock,
        backoff=_NoWait(),
        **options,  # type: ignore[arg-type]
    )


def end(source: LiveSource, camera: _FakeCamera) -> None:
    source._closed.set()
    camera.send(what="end")
    source.close()


def opened(camera: _FakeCamera, **options: object) -> LiveSource:
    source = live(camera, **options)
    sender = threading.Thread(target=camera.send)
    sender.start()
    info = source.open()
    sender.join()
    assert (info.width, info.height, info.frame_count) == (8, 6, None)
    return source


def test_camera_keeps_only_the_newest_picture(camera: _FakeCamera) -> None:
    """A slow reader gets the newest picture once, stamped when it came, and hears how many it missed."""
    source = opened(camera)
    for _ in range(3):
        camera.send(after_ms=100)
    frame = source.read(1)
    assert frame is not None
    assert (frame.index, frame.captured_at_ms, frame.dropped, frame.blind_ms) == (3, 1_000_300, 3, 0)
    assert source.read(0.01) is None
    end(source, camera)


def test_camera_reports_blind_time_after_a_gap(camera: _FakeCamera) -> None:
    """The first picture after a gap says how long there was none, beyond the usual distance."""
    source = opened(camera)
    source.read(1)
    camera.send(after_ms=4_100)
    camera.send(after_ms=100)  # it replaces the first one before anybody reads
    frame = source.read(1)
    assert frame is not None
    assert (frame.dropped, frame.blind_ms) == (1, 4_000)
    end(source, camera)


def test_camera_that_hangs_is_unavailable(camera: _FakeCamera) -> None:
    """A camera that sends nothing for longer than usual is unavailable, with a reason and without its login."""
    source = opened(camera)
    source.read(1)
    camera.clock.advance_ms(900)
    assert source.read(0.01) is None
    camera.clock.advance_ms(3_000)
    with pytest.raises(Unavailable, match="sends no picture for 4 s") as trouble:
        source.read(0.01)
    assert "secret" not in trouble.value.what
    end(source, camera)


def test_camera_comes_back_by_itself(camera: _FakeCamera) -> None:
    """A connection that ends is made again for ever; index and blind time go on."""
    source = opened(camera)
    source.read(1)
    camera.is_on = False
    camera.send(what="end")
    with pytest.raises(Unavailable, match=r"stopped sending|does not answer"):
        source.read(0.05)
    while camera.opened < 4:
        pass  # it tries again and again
    camera.is_on = True
    camera.send(after_ms=7_000)
    frame = source.read(5)
    assert frame is not None
    assert (frame.index, frame.blind_ms) == (1, 6_900)
    end(source, camera)


def test_camera_that_does_not_answer_is_unavailable_until_it_does(camera: _FakeCamera) -> None:
    """Opening says that the camera does not answer, without its login, and may be tried again."""
    camera.is_on = False
    source = live(camera)
    with pytest.raises(Unavailable, match="does not answer") as trouble:
        source.open()
    assert "secret" not in trouble.value.what
    camera.is_on = True
    sender = threading.Thread(target=camera.send)
    sender.start()
    while True:
        try:
            source.open()
        except Unavailable:
            continue
        break
    sender.join()
    assert source.read(1) is not None
    end(source, camera)


def test_open_waits_no_longer_than_its_patience(camera: _FakeCamera) -> None:
    """Opening a camera that connects slowly gives up after its patience; the next call waits on."""
    source = live(camera, patience_s=0.01)
    with pytest.raises(Unavailable, match="does not answer yet"):
        source.open()
    camera.send()
    assert source.open().width == 8
    end(source, camera)


def test_camera_faster_than_wanted_is_thinned(camera: _FakeCamera) -> None:
    """Pictures beyond the wanted rate are not even decoded, and are not called dropped."""
    source = opened(camera, max_fps=4.0)
    frames = [source.read(1)]
    for _ in range(10):
        camera.send(after_ms=100)
        frames.append(source.read(0.001))
    seen = [frame.captured_at_ms - 1_000_000 for frame in frames if frame is not None]
    assert seen == [0, 300, 500, 800, 1000]
    assert all(frame.dropped == 0 and frame.blind_ms == 0 for frame in frames if frame is not None)
    end(source, camera)


def test_a_clock_that_is_set_forward_was_time_in_which_nobody_watched(camera: _FakeCamera) -> None:
    """An hour that was skipped is blind time, and no hour in which nothing happened; a machine that slept is the same."""
    source = opened(camera)
    source.read(1)
    camera.clock.set_by_ms(3_600_000)
    camera.send(after_ms=100)
    frame = source.read(1)
    assert frame is not None
    assert (frame.captured_at_ms, frame.blind_ms) == (1_000_000 + 3_600_100, 3_600_000)
    end(source, camera)


def test_a_clock_that_is_set_back_is_not_followed(camera: _FakeCamera) -> None:
    """Frames of a camera whose machine's clock goes back are dated one after the other, and nothing is blind."""
    below = camera.clock
    source = LiveSource(
        Connection("c", camera.opener, lambda: Reason("off")), SteadyClock(below), backoff=_NoWait()
    )
    sender = threading.Thread(target=camera.send)
    sender.start()
    source.open()
    sender.join()
    frames = [source.read(1)]
    for step_ms in (0, -3_600_000, 0, 0):
        below.set_by_ms(step_ms)
        camera.send(after_ms=100)
        frames.append(source.read(1))
    assert [(f.captured_at_ms - 1_000_000, f.blind_ms) for f in frames if f is not None] == [
        (0, 0),
        (100, 0),
        (190, 0),
        (280, 0),
        (370, 0),
    ]
    end(source, camera)


def test_a_camera_that_sends_its_pictures_at_once_is_a_camera(camera: _FakeCamera) -> None:
    """After a hiccup of the network many pictures come in one moment: the newest is taken, the others are dropped."""
    source = opened(camera)
    source.read(1)
    for _ in range(20):
        camera.send()
    frame = source.read(1)
    assert frame is not None
    assert (frame.index, frame.dropped, frame.captured_at_ms, frame.blind_ms) == (20, 19, 1_000_000, 0)
    end(source, camera)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("missing.mp4", "does not exist"),
        ("missing/", "does not exist"),
        ("mot:missing.txt", "`size:"),
    ],
)
def test_source_that_is_missing_is_refused(source: str, sentence: str) -> None:
    """What does not exist is refused in one sentence when it is opened."""
    with pytest.raises(UsageError, match=sentence):
        open_source(CameraSettings("c", source), SystemClock()).open()
