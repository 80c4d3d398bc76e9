"""Streams that are served and not sent: HLS, and a video file over HTTP, from a small real web server."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from countline.backoff import Backoff
from countline.clock import SystemClock
from countline.errors import Unavailable
from edge.capture.connect import connection
from edge.capture.live import LiveSource
from edge.config import CameraSettings
from edge.frames import Frame

FPS, SEGMENT_FRAMES, SEGMENTS = 20.0, 20, 3


def write(path: Path, codec: str, brightness: list[int]) -> None:
    """Write a video of grey pictures."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), FPS, (64, 48))
    assert writer.isOpened()
    for grey in brightness:
        writer.write(np.full((48, 64, 3), grey, dtype=np.uint8))
    writer.release()


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a word; what is below private/ only to someone who shows a login."""

    def do_GET(self) -> None:
        """Serve, or refuse."""
        if self.path.startswith("/private/") and "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve three seconds of HLS and of MP4; give the address."""
    folder = tmp_path_factory.mktemp("www")
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    for segment in range(SEGMENTS):
        # MPEG-TS has another tag for this codec; FFmpeg finds it by itself.
        write(folder / f"{segment}.ts", "mp4v", [40 + segment * 60] * SEGMENT_FRAMES)
        lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:1.0,", f"{segment}.ts"]
    (folder / "live.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    write(folder / "clip.mp4", "mp4v", [60] * 60)
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def watched(address: str, until_index: int) -> list[Frame]:
    """Return what a reader sees that is always in time."""
    source = LiveSource(
        connection(CameraSettings("c", address)), SystemClock(), backoff=Backoff(base_s=0.05, cap_s=0.2)
    )
    frames: list[Frame] = []
    try:
        source.open()
        while not frames or frames[-1].index < until_index:
            try:
                frame = source.read(0.2)
            except Unavailable:
                continue
            if frame is not None:
                frames.append(frame)
    finally:
        source.close()
    return frames


@pytest.mark.parametrize("name", ["live.m3u8", "clip.mp4"])
def test_what_is_served_faster_than_it_is_shown_is_played_at_its_own_speed(server: str, name: str) -> None:
    """A segment comes in one piece; its pictures are counted one after the other and not thrown away but for the last."""
    last = SEGMENT_FRAMES * SEGMENTS - 1
    frames = watched(f"{server}/{name}", last)
    # A machine that is busy with other things may come late to some; without pacing, a handful would be left.
    assert len(frames) > last / 2
    seconds = (frames[-1].captured_at_ms - frames[0].captured_at_ms) / 1000
    assert seconds > last / FPS * 0.8
    if name == "live.m3u8":
        greys = {round(float(frame.image.mean()) / 10) * 10 for frame in frames if frame.image is not None}
        assert greys == {40, 100, 160}


def test_a_playlist_that_ends_begins_anew(server: str) -> None:
    """A live playlist that ends is a camera that was started again."""
    frames = watched(f"{server}/live.m3u8", SEGMENT_FRAMES * SEGMENTS + 5)
    assert frames[-1].image is not None
    assert round(float(frames[-1].image.mean()) / 10) * 10 == 40


@pytest.mark.parametrize(
    ("path", "login", "reason"),
    [
        ("/nowhere.m3u8", "", "has no stream at this path (404)"),
        ("/private/live.m3u8", "", "needs a user and a password (401)"),
        ("/private/live.m3u8", "me:s3cret@", "has no stream at this path (404)"),
    ],
)
def test_what_a_web_server_answers_is_told(server: str, path: str, login: str, reason: str) -> None:
    """The same sentences as for RTSP."""
    address = server.replace("http://", f"http://{login}") + path
    source = LiveSource(connection(CameraSettings("c", address)), SystemClock())
    with pytest.raises(Unavailable) as trouble:
        source.open()
    source.close()
    assert reason in trouble.value.what
    assert "s3cret" not in trouble.value.what
