"""A camera over RTSP, against a real server: cut, frozen, resized, refused, and one that talks nonsense."""

import contextlib
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from countline.backoff import Backoff
from countline.clock import SystemClock
from countline.errors import Unavailable
from edge.capture.connect import connection
from edge.capture.live import LiveSource
from edge.config import CameraSettings
from edge.frames import Frame
from tests import rtsp

PATIENCE_S = 30.0


@contextlib.contextmanager
def watching(address: str, **settings: object) -> Iterator[LiveSource]:
    """Return a source of a camera, which tries to connect often."""
    camera = CameraSettings("c", address, **settings)  # type: ignore[arg-type]
    source = LiveSource(
        connection(camera), SystemClock(), size=camera.size, backoff=Backoff(base_s=0.05, cap_s=0.2)
    )
    try:
        yield source
    finally:
        source.close()


def next_frame(source: LiveSource, wanted: Callable[[Frame], bool] = lambda _: True) -> Frame:
    """Read on until there is a frame as wanted, however often the camera is gone in between."""
    clock = SystemClock()
    until_s = clock.monotonic_s() + PATIENCE_S
    while clock.monotonic_s() < until_s:
        try:
            frame = source.read(0.2)
        except Unavailable:
            continue
        if frame is not None and wanted(frame):
            return frame
    raise AssertionError(f"no such frame within {PATIENCE_S} s")


def trouble(read: Callable[[], object], about: str = "") -> str:
    """Read on until the camera is unavailable because of what is asked for; return its reason."""
    clock = SystemClock()
    until_s = clock.monotonic_s() + PATIENCE_S
    while clock.monotonic_s() < until_s:
        try:
            read()
        except Unavailable as gone:
            if about in gone.what:
                return gone.what
    raise AssertionError(f"no trouble with {about!r} within {PATIENCE_S} s")


def opened(source: LiveSource) -> tuple[int, int]:
    """Open it, however long it takes; return the size of its pictures."""
    while True:
        try:
            info = source.open()
        except Unavailable:
            continue
        return info.width, info.height


@pytest.mark.parametrize("transport", ["auto", "tcp", "udp"])
def test_pictures_come_over_tcp_and_over_udp(transport: str) -> None:
    """Whichever way is chosen, pictures come, in the camera's size, each in its turn."""
    with rtsp.running() as camera, watching(camera.address, transport=transport) as source:
        assert opened(source) == (320, 240)
        first, second = next_frame(source), next_frame(source)
        assert first.image is not None
        assert first.image.shape == (240, 320, 3)
        assert second.index > first.index


def test_a_camera_that_sends_over_udp_only_is_not_seen_over_tcp() -> None:
    """The chosen way is really gone: over TCP such a camera gives a reason, over UDP and by default pictures."""
    with rtsp.running("--udp-only") as camera:
        with watching(camera.address, transport="tcp") as source:
            assert "transport" in trouble(source.open, "can't be opened")
        for transport in ("udp", "auto"):
            with watching(camera.address, transport=transport) as source:
                assert opened(source) == (320, 240)


def test_a_camera_that_is_cut_is_blind_and_comes_back() -> None:
    """While it is off there is a reason, then pictures with the blind time before them, and their numbers go on."""
    with rtsp.running() as camera, watching(camera.address) as source:
        opened(source)
        before = next_frame(source)
        camera.off()
        assert "does not answer" in trouble(lambda: source.read(0.2), "refuses port")
        camera.on()
        after = next_frame(source)
        assert after.index == next_index(before, after)
        blind = after if after.blind_ms else next_frame(source, lambda frame: frame.blind_ms > 0)
        assert blind.blind_ms >= 500


def next_index(before: Frame, after: Frame) -> int:
    """Return the number that a frame must have if none was given twice."""
    assert after.index > before.index
    return after.index


def test_a_camera_that_freezes_is_blind_within_seconds_and_no_old_picture_ends_that() -> None:
    """A connection that stays open without pictures is no camera: it is left, and made again when it answers."""
    with rtsp.running() as camera, watching(camera.address) as source:
        opened(source)
        next_frame(source)
        camera.freeze()
        assert "sends no picture for" in trouble(lambda: source.read(0.2), "sends no picture")
        # Whatever OpenCV has left in its decoder when it gives up must not look like a picture of now.
        seen: list[Frame] = []

        def read() -> None:
            frame = source.read(0.2)
            if frame is not None:
                seen.append(frame)

        trouble(read, "does not answer")
        assert seen == []
        camera.thaw()
        assert next_frame(source).blind_ms >= 4_000


def test_pictures_of_another_size_are_scaled_so_that_lines_hold(caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of a stream and after a reconnect, pictures come in the size that lines were drawn for, and it is said."""
    caplog.set_level(logging.WARNING)
    with rtsp.running() as camera, watching(camera.address) as source:
        assert opened(source) == (320, 240)
        camera.resize("640x360")
        for _ in range(30):
            image = next_frame(source).image
            assert image is not None
            assert image.shape == (240, 320, 3)
        camera.off()
        other = rtsp.RtspCamera("--size", "640x360", port=camera.port)
        other.on()
        try:
            image = next_frame(source, lambda frame: frame.blind_ms > 0).image
        finally:
            other.off()
        assert image is not None
        assert image.shape == (240, 320, 3)
    assert source.info.width == 320
    (said,) = [one for one in caplog.records if "another shape" in one.getMessage()]
    assert said.fields["sends"] == "640x360"  # type: ignore[attr-defined]


def test_a_size_in_the_settings_holds_whatever_the_camera_sends() -> None:
    """Lines in pixels are meant for it."""
    with rtsp.running() as camera, watching(camera.address, size=(160, 120)) as source:
        assert opened(source) == (160, 120)
        image = next_frame(source).image
        assert image is not None
        assert image.shape == (120, 160, 3)


def test_a_password_is_needed_or_wrong_or_right(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each has its reason, no password is shown anywhere, and a camera that refuses one is not asked again at once."""
    caplog.set_level(logging.DEBUG)
    with rtsp.running("--login", "me:s3cret") as camera:
        place = camera.address.removeprefix("rtsp://")
        with watching(camera.address) as source:
            assert "needs a user and a password (401)" in trouble(source.open)
        with watching(f"rtsp://me:wr0ng@{place}") as source:
            assert f"rtsp://***@{place} refuses the user or the password (401)" in trouble(source.open)
            assert source._failures == 1
            assert trouble(lambda: source.read(0.5))
            assert source._failures == 1
        with watching(f"rtsp://me:s3cret@{place}") as source:
            assert opened(source) == (320, 240)
        with watching(f"rtsp://me:s3cret@{place.replace('live', 'other')}") as source:
            assert "has no stream at this path (404)" in trouble(source.open)
    shown = caplog.text + "".join(str(one.__dict__) for one in caplog.records) + "".join(capfd.readouterr())
    assert "s3cret" not in shown
    assert "wr0ng" not in shown


def test_a_wrong_path_is_told() -> None:
    """It is the most usual mistake in an address."""
    with rtsp.running() as camera, watching(camera.address.replace("live", "stream1")) as source:
        assert "has no stream at this path (404)" in trouble(source.open)


def test_an_encrypted_camera_is_read(tmp_path: Path) -> None:
    """rtsps:// with a certificate that the camera has signed itself, as all cameras do."""
    rtsp.check()
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    words = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=camera -keyout {key} -out {certificate}"
    )
    subprocess.run(words.split(), check=True, capture_output=True)
    with rtsp.running("--login", "me:s3cret", "--certificate", certificate, key) as camera:
        place = camera.address.removeprefix("rtsp://")
        with watching(f"rtsps://me:s3cret@{place}") as source:
            assert opened(source) == (320, 240)
        with watching(f"rtsps://me:wr0ng@{place}") as source:
            assert "refuses the user or the password (401)" in trouble(source.open)


NONSENSE: dict[str, Callable[[socket.socket], object]] = {
    "noise": lambda line: line.sendall(os.urandom(65_536)),
    "zeros without end": lambda line: line.sendall(bytes(65_536)),
    "an SSH server": lambda line: (
        (line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), line.recv(1_000))[1] or line.close()
    ),
    "an answer that stops": lambda line: (
        line.recv(1_000),
        line.sendall(b"RTSP/1.0 200 OK\r\nCSe"),
        line.close(),
    ),
}


@contextlib.contextmanager
def talking(say: Callable[[socket.socket], object]) -> Iterator[int]:
    """Run a server that says the same to everybody, again and again; give its port."""
    server = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()
    talks: list[threading.Thread] = []

    def talk(line: socket.socket) -> None:
        with contextlib.suppress(OSError), line:
            line.settimeout(5)
            while not is_over.is_set() and line.fileno() >= 0:
                say(line)

    def serve() -> None:
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError):
                talks.append(threading.Thread(target=talk, args=(server.accept()[0],)))
                talks[-1].start()

    server.settimeout(0.1)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        is_over.set()
        thread.join()
        for one in talks:
            one.join()
        server.close()


@pytest.mark.parametrize(
    ("nonsense", "scheme", "reason"),
    [
        ("noise", "rtsp", "speaks no RTSP"),
        ("noise", "http", "speaks no HTTP"),
        ("zeros without end", "http", "speaks no HTTP"),
        ("an SSH server", "rtsp", "speaks no RTSP"),
        ("an answer that stops", "rtsp", "can't be opened"),
    ],
)
def test_nonsense_on_the_port_is_a_reason_and_no_end(
    nonsense: str, scheme: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever a server talks, the source says that there is no picture, tries on, and writes nothing on its own."""
    with talking(NONSENSE[nonsense]) as port, watching(f"{scheme}://127.0.0.1:{port}/live") as source:
        assert f"127.0.0.1:{port}/live" in trouble(source.open, reason)
        assert source._thread is not None
        assert source._thread.is_alive()
    assert capfd.readouterr().err == ""
