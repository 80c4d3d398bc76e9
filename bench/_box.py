"""Runs a whole box as a user does, for benchmarks."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(arguments: Sequence[str], settings: dict[str, str]) -> Iterator[int]:
    """Run `countline up` in a data folder of its own and give the page's port once it answers.

    Args:
        arguments: After `countline up`.
        settings: As `COUNTLINE__...` environment variables, without the prefix.
    """
    port = free_port()
    environment = {**os.environ, **{f"COUNTLINE__{key}": value for key, value in settings.items()}}
    with tempfile.TemporaryDirectory(prefix="countline-bench-") as folder:
        command = [
            sys.executable,
            "-m",
            "deploy.cli",
            "up",
            "--data-dir",
            folder,
            "--port",
            str(port),
            *arguments,
        ]
        box = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            _until_live(port, box)
            yield port
        finally:
            box.terminate()
            box.wait(30)


def _until_live(port: int, box: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if box.poll() is not None:
            sys.exit(f"countline up ended with {box.returncode}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/health", timeout=1).close()
            return
        time.sleep(0.1)
    sys.exit("countline up did not answer in time")
