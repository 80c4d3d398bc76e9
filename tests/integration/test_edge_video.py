"""Video files and cameras through OpenCV: files written here, and a camera that speaks MJPEG over HTTP."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from countline.backoff import Backoff
from countline.clock import ManualClock, SystemClock
from countline.errors import Unavailable, UsageError
from edge.capture import open_source
from edge.capture.connect import connection
from edge.capture.live import LiveSource
from edge.config import CameraSettings
from edge.frames import Frame, FrameSource

WIDTH, HEIGHT, FPS, FRAMES = 64, 48, 8.0, 20


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video whose frames are as bright as their number."""
    path = tmp_path_factory.mktemp("video") / "numbers.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(np.full((HEIGHT, WIDTH, 3), number * 10, dtype=np.uint8))
    writer.release()
    return path


def number(frame: Frame) -> int:
    """Return which frame of the video it is."""
    assert frame.image is not None
    assert frame.image.shape == (HEIGHT, WIDTH, 3)
    return round(float(frame.image.mean()) / 10)


def read_all(source: FrameSource, most: int = 1_000) -> list[Frame]:
    frames: list[Frame] = []
    while len(frames) < most and not source.is_finished:
        frame = source.read(10)
        if frame is not None:
            frames.append(frame)
    return frames


def test_every_frame_of_a_file_is_read_exactly_once(video: Path) -> None:
    """As fast as possible, each frame of a file comes once, in order, at its place in time, in an array of its own."""
    source = open_source(CameraSettings("c", str(video), realtime=False), ManualClock(1_000))
    info = source.open()
    assert (info.width, info.height, info.fps, info.frame_count) == (WIDTH, HEIGHT, FPS, FRAMES)
    frames = read_all(source)
    assert [number(frame) for frame in frames] == list(range(FRAMES))
    assert [frame.captured_at_ms for frame in frames] == [1_000 + 125 * i for i in range(FRAMES)]
    source.close()


def test_looped_file_begins_again(video: Path) -> None:
    """A looped file begins again at its end, with every frame of it."""
    source = open_source(CameraSettings("c", str(video), realtime=False, loop=True), ManualClock(0))
    source.open()
    frames = read_all(source, most=FRAMES * 2 + 5)
    assert [number(frame) for frame in frames] == [*range(FRAMES), *range(FRAMES), *range(5)]
    assert frames[-1].index == FRAMES * 2 + 4
    source.close()


def test_late_reader_of_a_file_gets_the_frame_that_is_due(video: Path) -> None:
    """In real time, frames that nobody was in time for are skipped without losing the place."""
    clock = ManualClock(0)
    source = open_source(CameraSettings("c", str(video)), clock)
    source.open()
    source.read(1)
    clock.advance_ms(1_260)
    frame = source.read(1)
    assert frame is not None
    assert (number(frame), frame.index, frame.captured_at_ms, frame.dropped) == (10, 10, 1_250, 9)
    source.close()


def test_looped_file_that_disappears_is_refused(video: Path, tmp_path: Path) -> None:
    """A looped file that is deleted while it plays ends in a sentence."""
    path = tmp_path / "gone.avi"
    path.write_bytes(video.read_bytes())
    source = open_source(CameraSettings("c", str(path), realtime=False, loop=True), ManualClock(0))
    source.open()
    path.unlink()
    with pytest.raises(UsageError, match="is its file still there"):
        read_all(source)
    source.close()


def test_file_that_is_no_video_is_refused(
    video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A text, an empty file, and the mere head of a video are refused in one sentence, without OpenCV's own."""
    path = tmp_path / "bad.mp4"
    for content in (b"no video at all", b"", video.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.mp4 is not a video"):
            open_source(CameraSettings("c", str(path)), SystemClock()).open()
    assert "WARN" not in capfd.readouterr().err


def test_file_that_was_cut_ends_where_it_was_cut(video: Path, tmp_path: Path) -> None:
    """A video that was cut off in the middle is read up to there, then it is finished."""
    path = tmp_path / "cut.avi"
    path.write_bytes(video.read_bytes()[: video.stat().st_size * 3 // 4])
    source = open_source(CameraSettings("c", str(path), realtime=False), ManualClock(0))
    source.open()
    frames = read_all(source)
    assert 3 <= len(frames) < FRAMES
    # Of the last one, half is there; what the decoder makes of it is its affair.
    assert [number(frame) for frame in frames[:-1]] == list(range(len(frames) - 1))
    source.close()


class _HttpCamera:
    """A camera that sends MJPEG over HTTP for as long as it is on."""

    def __init__(self, port: int = 0) -> None:
        camera = self
        self.stopped = threading.Event()
        self.next_picture = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                image = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
                jpeg = cv2.imencode(".jpg", image)[1].tobytes()
                part = (
                    b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                    + jpeg
                    + b"\r\n"
                )
                try:
                    while not camera.stopped.wait(0.02):
                        self.wfile.write(part)
                except OSError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def off(self) -> None:
        """Switch it off, in the middle of a picture if need be."""
        self.stopped.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def camera() -> Iterator[_HttpCamera]:
    made = _HttpCamera()
    yield made
    if not made.stopped.is_set():
        made.off()


def read_one(source: FrameSource) -> Frame:
    """Read until there is a frame, however often the camera is gone in between."""
    while True:
        try:
            frame = source.read(0.2)
        except Unavailable:
            continue
        if frame is not None:
            return frame


def read_until_gone(source: FrameSource) -> str:
    """Read until the source is unavailable; return why."""
    while True:
        try:
            source.read(0.2)
        except Unavailable as trouble:
            return trouble.what


def test_camera_goes_and_comes_back(camera: _HttpCamera) -> None:
    """A real stream is read, is unavailable while the camera is off, and comes back by itself with its blind time."""
    address = f"http://user:secret@127.0.0.1:{camera.port}/stream.mjpg"
    source = LiveSource(
        connection(CameraSettings("c", address)), SystemClock(), backoff=Backoff(base_s=0.05, cap_s=0.2)
    )
    try:
        info = source.open()
        assert (info.width, info.height) == (WIDTH, HEIGHT)
        first = read_one(source)
        assert first.image is not None
        assert abs(float(first.image.mean()) - 100) < 5
        assert read_one(source).index > first.index
        camera.off()
        what = read_until_gone(source)
        assert "secret" not in what
        assert "127.0.0.1" in what
        again = _HttpCamera(camera.port)
        try:
            later = read_one(source)
            assert later.index > first.index
        finally:
            again.off()
    finally:
        source.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_camera_that_is_not_there_is_unavailable(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A camera that refuses the connection is unavailable with a reason; its password is printed nowhere."""
    settings = CameraSettings("c", f"{scheme}://user:secret@127.0.0.1:9/stream")
    source = open_source(settings, SystemClock())
    with pytest.raises(Unavailable, match="does not answer") as trouble:
        source.open()
    source.close()
    assert "secret" not in trouble.value.what
    assert "secret" not in "".join(capfd.readouterr())


def test_usb_camera_that_is_not_there_is_unavailable(capfd: pytest.CaptureFixture[str]) -> None:
    """A USB camera that is not plugged in is unavailable, and OpenCV says nothing on its own."""
    source = open_source(CameraSettings("c", "/dev/video63"), SystemClock())
    with pytest.raises(Unavailable, match="/dev/video63 does not answer"):
        source.open()
    source.close()
    assert capfd.readouterr().err == ""


def test_demo_video_is_read_to_its_end() -> None:
    """The demo's video has 795 frames of 768 x 576, and all of them are read."""
    from_environment = os.environ.get("COUNTLINE_TEST_VIDEO")
    if from_environment:
        path: Path | None = Path(from_environment)
    else:
        from deploy.material import demo_video  # noqa: PLC0415 - it may go out to the network

        path = demo_video(lambda *_: None)
    assert path is not None, "the demo's video can't be had here"
    source = open_source(CameraSettings("c", str(path), realtime=False), ManualClock(0))
    info = source.open()
    assert (info.width, info.height, info.fps, info.frame_count) == (768, 576, 10.0, 795)
    last = None
    while (frame := source.read(1)) is not None:
        last = frame
    assert last is not None
    assert (last.index, last.captured_at_ms) == (794, 79_400)
    source.close()
