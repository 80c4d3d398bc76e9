"""A real RTSP camera on a free loopback port, for tests: GStreamer's server in a process of its own."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import free_port

# The bindings are Debian's, for Debian's Python: gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,ugly}.
PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).parent / "rtsp_server.py"
_NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'x264enc', 'rtph264pay')))"
)


def check() -> None:
    """Skip the test if this machine has no RTSP server; where all has to be tested, fail."""
    probe = [PYTHON, "-c", _NEEDS]
    if not Path(PYTHON).exists() or subprocess.run(probe, capture_output=True, check=False).returncode:
        why = "no GStreamer RTSP server here: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{good,ugly}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


class RtspCamera:
    """A camera that a test switches on and off, freezes and resizes."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        """Take options of the server; nothing runs yet."""
        self.port = port or free_port()
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where it sends."""
        return f"rtsp://127.0.0.1:{self.port}/live"

    def on(self) -> None:
        """Switch it on, and wait until it listens."""
        self._process = subprocess.Popen(
            [PYTHON, str(SERVER), "--port", str(self.port), *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def off(self) -> None:
        """Pull its plug."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def freeze(self) -> None:
        """Let it hang with all connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def resize(self, size: str) -> None:
        """Send pictures of another size, WIDTHxHEIGHT, from now on."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"size {size}\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def running(*options: str) -> Iterator[RtspCamera]:
    """Run a camera."""
    check()
    camera = RtspCamera(*options)
    camera.on()
    try:
        yield camera
    finally:
        camera.off()
