"""A whole box: real parts, a real broker, one made-up scene, from the command line."""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.part import own_process


class Box:
    """One `countline up` as a person starts it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        command = [
            "up",
            "--camera",
            "synthetic:",
            "--port",
            str(self.port),
            "--data-dir",
            str(folder),
            *options,
        ]
        self.process = subprocess.Popen(
            own_process("deploy.cli", *command), stderr=subprocess.PIPE, text=True, cwd=folder.parent
        )
        self.said: list[str] = []

    def until_live(self) -> None:
        """Wait until the banner names the page."""
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if f"http://127.0.0.1:{self.port}/" in line:
                return
        pytest.fail("".join(self.said))

    def get(self, path: str) -> dict:
        """Return a JSON answer of the API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())

    def live(self) -> Iterator[dict]:
        """Yield the messages of the live feed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/v1/live/sse")
            for line in connection.getresponse():
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    def until_counted(self, n: int) -> int:
        """Wait until the feed shows at least `n` crossings today, and return how many."""
        messages = self.live()
        with contextlib.closing(messages):
            for message in messages:
                for line in message.get("lines", []):
                    total = line["today"]["in"] + line["today"]["out"]
                    if total >= n:
                        return total
        pytest.fail("the live feed ended")

    def ledger(self) -> dict:
        """Return the account of the only device."""
        (account,) = self.get("/v1/ledger")["accounts"]
        return account

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit code and all that was said."""
        self.process.send_signal(how)
        assert self.process.stderr
        self.said += self.process.stderr  # `communicate` would lose what iterating has read ahead
        return self.process.wait(), "".join(self.said)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def boxes(tmp_path: Path):
    started: list[Box] = []

    def start(*options: str) -> Box:
        started.append(Box(tmp_path / "data", *options))
        return started[-1]

    yield start
    for box in started:
        if box.process.poll() is None:
            box.end(signal.SIGKILL)
        box.process.stderr.close()


def until_all_parts_ended(folder: Path) -> None:
    """Wait for the lock that every part shares while it lives."""
    with (folder / "parts.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)


def test_a_box_counts_stops_and_goes_on(boxes, tmp_path: Path):
    """Crossings reach the live feed; a stop is quiet and complete; the next start goes on from there."""
    box = boxes()
    box.until_live()
    counted = box.until_counted(1)
    second = boxes()
    code, said = second.process.wait(), second.process.stderr.read()
    assert code == 2
    assert f"error: Another countline (process {box.process.pid}) already runs" in said
    assert "Traceback" not in said
    epoch = box.ledger()["epoch"]
    code, said = box.end(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in said
    assert "never leave the counting process" in said
    assert "Stopped. Everything counted is kept in" in said
    until_all_parts_ended(tmp_path / "data")
    again = boxes()
    again.until_live()
    assert again.until_counted(counted) >= counted
    account = again.ledger()
    assert account["epoch"] == epoch
    assert account["missing"] == []
    assert again.end(signal.SIGTERM)[0] == 0


def test_a_killed_box_leaves_nothing_behind_and_loses_nothing(boxes, tmp_path: Path):
    """After kill -9 of the supervisor its parts end by themselves, and the next start counts on without a gap."""
    box = boxes()
    box.until_live()
    counted = box.until_counted(1)
    os.kill(box.process.pid, signal.SIGKILL)
    box.process.wait()
    again = boxes()  # at once: it waits for the parts of the one before
    again.until_live()
    assert again.until_counted(counted + 1) > counted
    account = again.ledger()
    assert account["missing"] == []
    assert account["contiguous"] == account["counted"]
    code, said = again.end(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in said
    until_all_parts_ended(tmp_path / "data")


def test_a_part_that_dies_comes_back(boxes, tmp_path: Path):
    """A part that is killed is restarted, and the box counts on."""
    box = boxes()
    box.until_live()
    counted = box.until_counted(1)
    edge = next(
        pid
        for pid in children(box.process.pid)
        if b"deploy.part\0edge\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(edge, signal.SIGKILL)
    assert box.until_counted(counted + 1) > counted
    code, said = box.end(signal.SIGINT)
    assert code == 0
    assert "part ended, restarting it" in said


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def test_what_a_part_refuses_ends_the_box(boxes, tmp_path: Path):
    """A line outside the picture is found by the part that opens the camera, and ends all with one sentence."""
    box = boxes("--line", "10,10,90000,10")
    _, said = box.process.communicate(timeout=60)
    assert box.process.returncode == 2
    assert any(line.startswith("error: ") and "line" in line for line in said.splitlines())
    assert "Traceback" not in said
    until_all_parts_ended(tmp_path / "data")
