"""Trouble from outside while a box runs: strangers on its broker, a camera that does not answer, a full disk."""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from countline import codec, topics
from countline.events import Envelope, Heartbeat
from tests import brokers, gateways
from tests.e2e import boxes
from tests.e2e.boxes import Start
from tests.models import write_model

TMPFS_MB = 160  # A box does not start on a disk with less than 100 MB free.


@pytest.mark.parametrize("name", brokers.names())
def test_strangers_messages_are_set_aside_with_their_reason(start: Start, name: str):
    """What is no event, too large, or in another's name is kept as a dead letter that says why; the box counts on."""
    box = start(**boxes.broker(name))
    box.until_live()
    box.until_shown(1)
    foreign = Envelope(1, "home", "other", 1, 1, "cam", 1_000, Heartbeat(since_ms=0))
    with gateways.FakeDevice(box.broker_port(), "stranger") as stranger:
        stranger.send_bytes(b'{"this": is no JSON')
        stranger.send_bytes(b"[" + b" " * (codec.MAX_MESSAGE_BYTES + 1) + b"]")
        stranger.send_bytes(codec.encode(foreign))
        stranger.send_bytes(bytes(range(256)))
        stranger.publish(topics.status("home", "stranger"), b"neither here nor there")
        stranger.publish(topics.mark("home", "nobody"), b"[1, 2, 3]")
        box.until(lambda: len(box.books.dead_letters()) >= 5, "five dead letters")
    letters = box.books.dead_letters()
    reasons = [reason for _, reason, _ in letters]
    assert all(reasons)
    assert any(str(codec.MAX_MESSAGE_BYTES) in reason for reason in reasons)
    assert "home/other speaks on the topic of home/stranger" in reasons
    assert max(len(kept) for _, _, kept in letters) <= codec.MAX_REJECTED_BYTES
    box.until(
        lambda: (box.get("/v1/ledger") or {}).get("unattributed", {}).get("n", 0) >= 5,
        "the ledger's unattributed",
    )
    before = box.books.produced()
    assert before
    box.until_shown(sum(before.totals.values()) + 3)
    assert box.end() == 0
    assert "part ended" not in box.said()
    assert "Traceback" not in box.said()
    box.books.assert_closed()


def test_what_is_too_large_for_the_broker_does_no_harm(start: Start):
    """A message beyond what the broker takes cuts off whoever sends it, and nobody else."""
    box = start()
    box.until_live()
    shouted = b"\x30" + _remaining_length(300_000_000) + bytes(100_000)
    connect = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02me"
    address = ("127.0.0.1", box.broker_port())
    with (
        contextlib.suppress(ConnectionError),
        socket.create_connection(address, timeout=boxes.PATIENCE_S) as raw,
    ):
        raw.sendall(connect + shouted)
        while raw.recv(4096):
            pass
    box.until_shown(5)
    assert box.end() == 0
    assert "part ended" not in box.said()
    box.books.assert_closed()


def _remaining_length(size: int) -> bytes:
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


def test_a_camera_that_does_not_answer_is_blind_and_is_tried_again(start: Start, tmp_path: Path):
    """The box starts without it, says why it is blind without its login, tries on, and counts the others."""
    model = write_model(
        tmp_path / "tiny.onnx",
        {"output0": np.zeros((1, 84, 84), dtype=np.float32)},
        metadata={"names": "{" + ", ".join(f"{i}: '{'person' if i == 0 else i}'" for i in range(80)) + "}"},
    )
    port = boxes.free_port()
    far = {"name": "far", "source": f"rtsp://user:hushhush@127.0.0.1:{port}/x"}
    box = start(cameras=[boxes.SCENE, far], detector={"model": str(model)})
    seen = box.until(lambda: blind(box.camera("far")), "a blind camera")
    assert "does not answer" in seen["reason"]
    assert f"127.0.0.1:{port}" in seen["reason"]
    until_dialled(box, port)
    box.until_shown(3)
    assert box.end() == 0
    assert "hushhush" not in box.said()
    assert "Traceback" not in box.said()
    box.books.assert_closed()


def until_dialled(box: boxes.Box, port: int) -> None:
    """Answer at the camera's port, and wait until the box calls."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(boxes.POLL_S)

        def calls() -> bool:
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()
                return True
            return False

        box.until(calls, "the box to try its camera again")


def blind(camera: dict[str, Any] | None) -> dict[str, Any] | None:
    return camera if camera and camera["state"] == "blind" else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of `TMPFS_MB`."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine mounts no small disk to fill: {mounted.stderr.strip()}")
    yield disk
    boxes.until(
        lambda: subprocess.run(["umount", str(disk)], check=False, capture_output=True).returncode == 0,
        "a free disk",
    )


def test_a_full_disk_stops_no_counting(small_disk: Path, start: Start):
    """While the disk is full the box counts on and says so; once there is room again, everything is there, once."""
    box = start(small_disk / "data")
    box.until_shown(5)
    filler = small_disk / "filler"
    fill(filler, small_disk)
    box.until(
        lambda: "events wait in memory until the outbox can be written" in box.said(), "the edge to say so"
    )
    full = box.books.produced()
    assert full
    full_ms = time_ms(box)
    box.until(lambda: time_ms(box) > full_ms + 5_000, "some seconds of a full disk")
    filler.unlink()
    # Three lanes, 16 lines, a person every four seconds: far more than ten crossings fell into the full time.
    after = box.until_shown(sum(full.totals.values()) + 10)
    assert after.epoch == full.epoch
    assert box.end() == 0
    boxes.until_all_parts_ended(box.folder)
    assert "Traceback" not in box.said()
    box.books.assert_closed()
    assert seconds_without_heartbeat(box.books) == 0


def time_ms(box: boxes.Box) -> int:
    return box.until(lambda: box.get("/v1/health"), "the API")["time_ms"]


def fill(path: Path, disk: Path) -> None:
    """Write until not another byte fits."""
    with path.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        os.posix_fallocate(handle.fileno(), 0, shutil.disk_usage(disk).free)
    with path.open("ab", buffering=0) as handle, contextlib.suppress(OSError):
        while handle.write(bytes(4096)):
            pass


def seconds_without_heartbeat(books: boxes.Books) -> int:
    """Return how many seconds of the run no heartbeat speaks for."""
    spans = sorted(
        (one.event.since_ms, one.at_ms) for one in books.journal() if isinstance(one.event, Heartbeat)
    )
    return sum(after[0] - before[1] for before, after in itertools.pairwise(spans)) // 1000
