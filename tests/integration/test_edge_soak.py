"""An agent whose camera is cut, frozen, resized and replaced by nonsense, again and again, for seconds or for minutes.

COUNTLINE_SOAK_S=600 makes it minutes.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.events import CameraState, Envelope, Heartbeat
from edge.capture.live import RETRY_CAP_S
from edge.outbox import Outbox
from tests import rtsp

SOAK_S = float(os.environ.get("COUNTLINE_SOAK_S", "20"))
WARM_S = 8
LAST_WAIT_S = RETRY_CAP_S + 4
# A decoder more or less, and what the allocator keeps; a leak of a picture a second would be far more in minutes.
MAX_GROWTH_KIB = 60_000


@contextlib.contextmanager
def nonsense(port: int) -> Iterator[threading.Event]:
    """Answer noise on a port; give what says that two have heard it: who opens the camera, and who then asks why it failed."""
    server = socket.create_server(("127.0.0.1", port), reuse_port=False)
    server.settimeout(0.1)
    is_over, is_heard = threading.Event(), threading.Event()
    heard: list[int] = []

    def serve() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                line, _ = server.accept()
                with line:
                    line.sendall(os.urandom(4_096))
                heard.append(port)
                if len(heard) == 2:
                    is_heard.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield is_heard
    finally:
        is_over.set()
        thread.join()
        server.close()


def torment(camera: rtsp.RtspCamera, sizes: list[str]) -> None:
    """Do everything to a camera that happens to cameras, once."""
    pause = threading.Event().wait
    pause(4)
    camera.resize(sizes[0])
    pause(2)
    camera.freeze()
    pause(3)
    camera.thaw()
    pause(1)
    camera.off()
    with nonsense(camera.port) as is_heard:
        # On a busy machine it takes its time to see that the camera is gone, and to try again.
        assert is_heard.wait(LAST_WAIT_S)
    pause(1)
    camera.on()
    sizes.append(sizes.pop(0))
    pause(6)


@pytest.mark.timeout(SOAK_S * 3 + 120)
def test_an_agent_outlives_whatever_happens_to_its_camera(tmp_path: Path) -> None:
    """It goes on counting after each trouble, has told its blind time with reasons, and its memory stays flat."""
    clock = SystemClock()
    with rtsp.running() as camera, (tmp_path / "stderr").open("w") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.soak", camera.address, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        memory: list[int] = []
        assert child.stdout is not None
        lines = child.stdout
        reader = threading.Thread(target=lambda: memory.extend(int(line) for line in lines))
        reader.start()
        rounds, sizes, until_s = 0, ["640x360", "160x120", "320x240"], clock.monotonic_s() + SOAK_S
        try:
            while rounds == 0 or clock.monotonic_s() < until_s:
                torment(camera, sizes)
                rounds += 1
            # After so many failures the next try may be ten seconds away.
            threading.Event().wait(LAST_WAIT_S)
        finally:
            assert child.stdin is not None
            child.stdin.close()
            child.wait(30)
            reader.join()
            lines.close()
    assert child.returncode == 0, (tmp_path / "stderr").read_text()
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", clock, 100_000_000)) as outbox:
        sent = [decode(body) for _, body in outbox.read_after(0, 100_000, 100_000_000)]
    events = [one.event for one in sent if isinstance(one, Envelope)]
    beats = [event for event in events if isinstance(event, Heartbeat)]
    reasons = {beat.reason for beat in beats if beat.state is CameraState.BLIND}
    blind_ms, frames = sum(beat.blind_ms for beat in beats), sum(beat.frames for beat in beats)
    growth = max(memory[-5:]) - memory[WARM_S]
    report = [
        f"{rounds} rounds, {frames} frames, {blind_ms / 1000:.0f} s blind, KiB: {memory}",
        *sorted(reasons),
    ]
    (tmp_path / "report").write_text("\n".join(report))
    assert any("sends no picture" in reason for reason in reasons)
    assert any("speaks no RTSP" in reason or "refuses port" in reason for reason in reasons)
    assert blind_ms >= rounds * 4_000
    assert frames >= rounds * 40
    last_seen = max(i for i, beat in enumerate(beats) if beat.frames)
    last_blind = max(i for i, beat in enumerate(beats) if beat.state is CameraState.BLIND)
    assert last_seen > last_blind, "it did not come back"
    assert growth < MAX_GROWTH_KIB, memory
