"""Whole boxes for tests: `countline up` as a person starts it, and the books of all that it has written down.

The books are kept in four places, and must say the same: the agent's outbox (what it has counted), the gateway's
journal (what arrived), the worker's store (what was made of it) and the API (what is shown).
"""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from cloud.store.reader import StoreReader
from countline.codec import decode
from countline.events import CountDelta, Envelope, LineCrossed
from deploy.part import own_process

T = TypeVar("T")
Start = Callable[..., "Box"]
"""Starts a box: its data folder if it is not the usual one, and settings by name."""

# Generous: a busy machine is no reason to fail.
PATIENCE_S = 60.0
POLL_S = 0.05
PARTS = ("broker", "gateway", "worker", "api", "edge")

Totals = dict[tuple[str, str, str], int]
"""Crossings by camera, line and direction."""

# People walk 60 px a second through the made-up scene; so many lines that somebody crosses one all the time.
_LINES = [{"name": f"x{x}", "points": [[x, 0], [x, 360]]} for x in range(20, 640, 40)]
SCENE: dict[str, Any] = {
    "name": "square",
    "source": "synthetic:",
    "lines": _LINES,
    "zones": [{"name": "all", "points": [[0, 0], [640, 0], [640, 360], [0, 360]]}],
}


def until(condition: Callable[[], T | None], what: str) -> T:
    """Return the first true value of a condition, looked at again and again."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / POLL_S)):
        value = condition()
        if value:
            return value
        pause.wait(POLL_S)
    pytest.fail(f"waited {PATIENCE_S:.0f} s in vain for {what}")


def free_port() -> int:
    """Return a TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(*arguments: str) -> list[str]:
    """Return the command line of `countline ARGUMENTS` as a process of its own."""
    return own_process("deploy.cli", *arguments)


def environment(compiled: Path, cache: Path) -> dict[str, str]:
    """Return the environment of a person's box, without what a developer has set.

    Args:
        compiled: Where Python keeps its compiled modules: only the first start has to wait for them.
        cache: Where models are kept.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith(("COUNTLINE", "PYTHONDONT"))}
    return {**own, "PYTHONPYCACHEPREFIX": str(compiled), "COUNTLINE_CACHE": str(cache), "COLUMNS": "200"}


def broker(name: str) -> dict[str, Any]:
    """Return the settings that prefer a broker."""
    return {"broker": {"prefer": name}}


@dataclass(frozen=True)
class Produced:
    """What the agent has written down.

    Attributes:
        epoch: Of its outbox.
        last_seq: Of its newest event.
        mark: Up to here the gateway has confirmed.
        totals: Its cumulative crossings.
    """

    epoch: int
    last_seq: int
    mark: int
    totals: Totals


class Books:
    """What is written in a data folder."""

    def __init__(self, folder: Path) -> None:
        """Name the folder."""
        self.folder = folder

    def produced(self) -> Produced | None:
        """Return what the agent's outbox says; None while there is none."""
        rows = self._read("outbox.sqlite", "SELECT key, value FROM state")
        if not rows:
            return None
        state = dict(rows)
        cameras = json.loads(state.get("totals", "{}"))
        totals = {
            (camera, line, direction): n
            for camera, lines in cameras.items()
            for line, sums in lines.items()
            for direction, n in sums.items()
            if n
        }
        return Produced(int(state["epoch"]), int(state["last_seq"]), int(state["mark"]), totals)

    def waiting(self) -> list[int]:
        """Return the numbers of the events that still lie in the outbox."""
        return [seq for (seq,) in self._read("outbox.sqlite", "SELECT seq FROM outbox ORDER BY seq")]

    def journal(self) -> list[Envelope]:
        """Return the events that the gateway has admitted, in its order."""
        envelopes = [
            decode(raw) for (raw,) in self._read("journal.sqlite", "SELECT envelope FROM log ORDER BY id")
        ]
        assert all(isinstance(envelope, Envelope) for envelope in envelopes)
        return envelopes  # type: ignore[return-value] - just asserted

    def dead_letters(self) -> list[tuple[str, str, bytes]]:
        """Return topic, reason and kept bytes of what the gateway has refused."""
        return self._read("journal.sqlite", "SELECT topic, reason, payload FROM dead_letters ORDER BY id")

    def stored(self) -> list[Any]:
        """Return the worker's accounts, one per device and epoch."""
        reader = StoreReader(self.folder / "store.sqlite")
        try:
            return reader.ledger()
        finally:
            reader.close()

    def assert_closed(self) -> Produced:
        """Hold outbox, journal and store of a stopped box against each other; nothing waits, is missing or is twice."""
        produced = self.produced()
        assert produced is not None
        assert self.waiting() == []
        assert produced.mark == produced.last_seq
        self.assert_journal_holds(produced)
        (account,) = self.stored()
        assert (account.epoch, account.counted) == (produced.epoch, produced.last_seq)
        assert account.contiguous == produced.last_seq
        assert account.crossings == sum(produced.totals.values())
        return produced

    def assert_journal_holds(self, produced: Produced) -> None:
        """Check that each event is in the journal exactly once, and that they add up to the agent's own totals."""
        # In the order of counting: what is lost on the way is sent again, and comes behind later events.
        journal = sorted(self.journal(), key=lambda envelope: envelope.seq)
        assert {envelope.epoch for envelope in journal} == {produced.epoch}
        assert [envelope.seq for envelope in journal] == list(range(1, produced.last_seq + 1))
        sums: Counter[tuple[str, str, str]] = Counter()
        for envelope in journal:
            event = envelope.event
            if isinstance(event, LineCrossed):
                key = (envelope.camera, event.line, event.direction.value)
                sums[key] += 1
                # Each crossing tells the totals up to itself: the counts went on from where they were.
                told = event.totals.in_ if event.direction == "in" else event.totals.out
                assert told == sums[key], f"{key} jumps at {envelope.seq}"
            elif isinstance(event, CountDelta):
                sums[envelope.camera, event.line, event.direction.value] += event.n
        assert dict(sums) == produced.totals

    def _read(self, name: str, query: str) -> list[Any]:
        path = self.folder / name
        if not path.exists():
            return []
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # It is just being made.
            return []


class Box:
    """One `countline up`.

    Attributes:
        folder: Its data folder.
        books: What is written there.
        process: The supervisor.
        port: Of its API.
    """

    def __init__(
        self, home: Path, folder: Path, settings: Mapping[str, Any], environ: Mapping[str, str]
    ) -> None:
        """Start it.

        Args:
            home: Where its config is, and where it writes what it says.
            folder: Its data folder.
            settings: Those of a config file.
            environ: Its environment.
        """
        self.folder = folder
        self.books = Books(folder)
        self.port = free_port()
        config = {
            "cameras": [SCENE],
            "heartbeat_s": 0.25,
            "timezone": "UTC",
            "data_dir": str(folder),
            **settings,
            "api": {"port": self.port},
        }
        path = home / f"countline-{self.port}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        self._log = home / f"said-{self.port}.txt"
        # A file, because a pipe would be held open by parts that outlive a killed supervisor, and fills up.
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command("up", "--config", str(path)),
                stderr=log,
                stdout=log,
                env=dict(environ),
                cwd=home,
            )

    def said(self) -> str:
        """Return all that it has written to the terminal so far."""
        return self._log.read_text(encoding="utf-8")

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for a condition; fail early if the box ends."""

        def or_ended() -> T | None:
            value = condition()
            assert value or self.process.poll() is None, f"the box ended:\n{self.said()}"
            return value

        try:
            return until(or_ended, what)
        except BaseException:
            print(self.said())  # noqa: T201 - pytest shows it with the failure
            raise

    def until_live(self) -> None:
        """Wait until it says where its page is."""
        self.until(lambda: f"http://127.0.0.1:{self.port}/" in self.said(), "the page's address")

    def until_shown(self, crossings: int) -> Produced:
        """Wait until so many crossings are counted, and outbox, ledger and counts of the API agree on every one of them."""
        return self.until(lambda: self._agreed(crossings), f"{crossings} crossings that all agree on")

    def _agreed(self, crossings: int) -> Produced | None:
        """Return what the outbox says if the API says the same; None if not yet: both are on the move."""
        produced = self.books.produced()
        if produced is None or sum(produced.totals.values()) < crossings:
            return None
        ledger, counts = self.get("/v1/ledger"), self.get("/v1/counts?last=1d&interval=1h")
        if ledger is None or counts is None or self.books.produced() != produced:
            return None
        (account,) = ledger["accounts"] or [None]
        if account is None or account["counted"] != produced.last_seq:
            return None
        assert account["epoch"] == produced.epoch
        assert account["contiguous"] == produced.last_seq
        assert account["missing"] == []
        assert account["crossings"] == sum(produced.totals.values())
        assert shown(counts) == produced.totals
        return produced

    def get(self, path: str) -> Any:
        """Return a JSON answer of the API; None if it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return json.loads(body) if answer.status == http.client.OK else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def camera(self, name: str) -> dict[str, Any] | None:
        """Return what the API says of a camera; None while it knows none of this name."""
        cameras = (self.get("/v1/cameras") or {"cameras": []})["cameras"]
        return next((camera for camera in cameras if camera["camera"] == name), None)

    def part(self, name: str) -> int | None:
        """Return the process id of a part, None while it is not there."""
        return self.parts().get(name)

    def parts(self) -> dict[str, int]:
        """Return the process ids of all parts that are there."""
        found: dict[str, int] = {}
        for pid in _children(self.process.pid):
            words = _command_line(pid)
            with contextlib.suppress(ValueError, IndexError):
                found[words[words.index("deploy.part") + 1]] = pid
        return found

    def broker_port(self) -> int:
        """Return the port of its MQTT broker, from the banner."""
        _, _, rest = self.said().partition("  broker ")
        return int(rest.splitlines()[0].rpartition(":")[2])

    def kill(self) -> None:
        """End the supervisor alone by force, as the system does when memory is out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


def shown(counts: Mapping[str, Any]) -> Totals:
    """Return the crossings of an answer of /v1/counts."""
    sums = {
        (series["camera"].rpartition("/")[2], series["line"], series["direction"]): sum(
            n or 0 for n in series["n"]
        )
        for series in counts["series"]
    }
    return {key: n for key, n in sums.items() if n}


def until_all_parts_ended(folder: Path) -> None:
    """Wait for the lock that every part shares while it lives."""

    def is_free() -> bool:
        with (folder / "parts.lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    until(is_free, "the end of all parts")


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that name this data folder, or whose working folder is beside it."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            words = " ".join(_command_line(int(entry.name)))
            if str(folder) in words:
                found.append(words)
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                yield from (int(word) for word in (task / "children").read_text().split())


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
