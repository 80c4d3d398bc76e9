"""A box before it starts: locks, checks, ports, and what its parts are told."""

import errno
import fcntl
import importlib
import os
import socket
import threading
from collections import namedtuple
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from countline.errors import UsageError
from countline.service import Stop
from deploy import box
from deploy.config import BoxSettings, Paths
from deploy.part import PARTS
from edge.config import CameraSettings


def settings(folder: Path) -> BoxSettings:
    return BoxSettings(data_dir=str(folder), cameras=[CameraSettings(name="a", source="synthetic:")])


def test_a_second_box_is_refused(tmp_path: Path):
    """A data folder in use is named, with the process that uses it."""
    paths = Paths(str(tmp_path))
    with (
        box.hold(paths, Stop()),
        pytest.raises(UsageError, match=rf"process {os.getpid()}\) already runs"),
        box.hold(paths, Stop()),
    ):
        pass
    with box.hold(paths, Stop()):
        assert paths.lock.read_text() == f"{os.getpid()}\n"


def test_a_box_waits_for_the_parts_of_a_killed_one(tmp_path: Path):
    """Parts that still drain hold the folder; the next box starts once the last of them is gone."""
    paths = Paths(str(tmp_path))
    leftover = paths.parts_lock.open("a")
    fcntl.flock(leftover, fcntl.LOCK_SH)
    started = threading.Event()

    def start() -> None:
        with box.hold(paths, Stop()):
            started.set()

    thread = threading.Thread(target=start)
    thread.start()
    assert not started.wait(0.2)
    leftover.close()
    assert started.wait(5)
    thread.join()


def test_parts_that_never_end_are_named(tmp_path: Path, monkeypatch):
    """The wait for leftovers is bounded, and its end says what to do."""
    monkeypatch.setattr(box, "LEFTOVER_PATIENCE_S", 0.2)
    paths = Paths(str(tmp_path))
    with paths.parts_lock.open("a") as leftover:
        fcntl.flock(leftover, fcntl.LOCK_SH)
        with pytest.raises(UsageError, match="still run"), box.hold(paths, Stop()):
            pass


def test_an_unwritable_folder_is_said(tmp_path: Path):
    """A data folder that cannot be made is one sentence."""
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UsageError, match="cannot be written"), box.hold(Paths(str(blocker / "data")), Stop()):
        pass
    with pytest.raises(UsageError, match="cannot be written"):
        box.check_disk(tmp_path / "missing")


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch):
    """A disk that is as good as full is said before anything starts, and nothing is left behind."""
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - what shutil returns
    monkeypatch.setattr(box.shutil, "disk_usage", lambda _: usage(10, 10, 5_000_000))
    with pytest.raises(UsageError, match="5 MB are free, 100 MB are needed"):
        box.check_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_byte_is_said(tmp_path: Path, monkeypatch):
    """The system's own "no space left" becomes the same sentence."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(box.os, "fsync", full)
    with pytest.raises(UsageError, match="is full"):
        box.check_disk(tmp_path)


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_said(taken: int):
    """The page's port must be free, and the sentence names the way out."""
    with pytest.raises(UsageError, match=rf"Port {taken} is in use on 127\.0\.0\.1: .* --port"):
        box.check_port("127.0.0.1", taken)


def test_the_next_free_port_is_found(taken: int):
    """The demo moves on to a free port."""
    assert taken < box.next_free_port("127.0.0.1", taken) < taken + 20


def test_a_foreign_address_is_said():
    """An address that is not this machine's cannot be listened on."""
    with pytest.raises(UsageError, match=r"Cannot listen on 192\.0\.2\.1"):
        box.check_port("192.0.2.1", 8088)


@pytest.mark.parametrize("source", ["missing.mp4", "mot:missing.txt", "missing-folder/"])
def test_a_missing_recording_is_said(source: str):
    """A file that is not there is named before anything starts."""
    with pytest.raises(UsageError, match="there is no file or folder 'missing"):
        box.check_source(CameraSettings(name="a", source=source))


@pytest.mark.parametrize("source", ["rtsp://camera/live", "0", "synthetic:"])
def test_a_camera_is_not_looked_for(source: str):
    """A camera may come later."""
    box.check_source(CameraSettings(name="a", source=source))


def test_every_part_can_read_its_settings(tmp_path: Path):
    """What the supervisor writes is what the part's type reads."""
    ready = box.with_ports(
        msgspec.structs.replace(settings(tmp_path), api=msgspec.structs.replace(BoxSettings().api, port=0))
    )
    parts = box.plan(ready, model="/m.onnx")
    assert sorted(part.name for part in parts) == sorted(PARTS) == sorted(box.STOP_ORDER)
    for part in parts:
        module, kind = PARTS[part.name].settings
        msgspec.json.decode(part.settings, type=getattr(importlib.import_module(module), kind))
        assert str(Paths(ready.data_dir).parts_lock) in part.arguments


def test_the_box_uses_three_different_ports(tmp_path: Path):
    """Page, broker and pictures never share a port."""
    ready = box.with_ports(
        msgspec.structs.replace(settings(tmp_path), api=msgspec.structs.replace(BoxSettings().api, port=0))
    )
    assert len({ready.api.port, ready.broker.port, ready.preview.port, 0}) == 4


def test_the_banner_tells_about_pictures(tmp_path: Path):
    """A person can see whether pictures are shown, and to whom."""
    private = settings(tmp_path)
    shown = msgspec.structs.replace(private, preview=msgspec.structs.replace(private.preview, enabled=True))
    opened = msgspec.structs.replace(
        shown, api=msgspec.structs.replace(shown.api, host="0.0.0.0", token="0123456789abcdef")
    )
    texts = [dict(box.facts(one, box.Options()))["pictures"] for one in (private, shown, opened)]
    assert "never leave" in texts[0]
    assert "this machine only" in texts[1]
    assert "token" in texts[2]
    assert not any("MQTT" in text for text in texts)


@pytest.mark.parametrize("is_shown", [False, True])
@pytest.mark.parametrize("snapshot", ["blurred", "faceless", "clear"])
def test_the_banner_tells_about_snapshots(
    tmp_path: Path, is_shown: bool, snapshot: Literal["blurred", "faceless", "clear"]
):
    """Whoever allows single pictures reads how they leave, whether or not the page shows any."""
    private = settings(tmp_path)
    preview = msgspec.structs.replace(private.preview, enabled=is_shown, snapshot=snapshot, port=8089)
    text = dict(box.facts(msgspec.structs.replace(private, preview=preview), box.Options()))["pictures"]
    assert "never leave" not in text
    assert all(word in text for word in (snapshot, "HTTP on this machine", "127.0.0.1:8089", "MQTT"))
    assert ("on the page" in text) == is_shown


def test_the_banner_hides_logins(tmp_path: Path):
    """A camera's password is not printed."""
    camera = CameraSettings(name="a", source="rtsp://admin:hunter2@camera/live")
    rows = box.facts(msgspec.structs.replace(settings(tmp_path), cameras=[camera]), box.Options())
    assert "hunter2" not in repr(rows)


def test_a_silent_server_is_said(tmp_path: Path):
    """The status line copes with a server that is being restarted."""
    ready = box.with_ports(
        msgspec.structs.replace(settings(tmp_path), api=msgspec.structs.replace(BoxSettings().api, port=0))
    )
    assert "does not answer" in box.status_line(ready)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_the_address_can_be_typed(tmp_path: Path, host: str):
    """The page's address is one that a browser on this machine understands."""
    api = msgspec.structs.replace(BoxSettings().api, host=host, token="0123456789abcdef", port=8123)
    url = box.page_url(msgspec.structs.replace(settings(tmp_path), api=api))
    assert url in {"http://127.0.0.1:8123/", "http://localhost:8123/", "http://[::1]:8123/"}
