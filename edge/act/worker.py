"""Does what rules ask for, in a thread per kind, so that no action holds up counting or an action of another kind."""

import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException

from countline.backoff import Backoff
from countline.telemetry import Log, mask
from edge.config.local import HttpAction

# What waits of one kind of action. A webhook that has been away for longer than that wants the newest, not the oldest.
MAX_WAITING = 100
TRIES = 3
CLOSE_PATIENCE_S = 2.0
# So much of an answer is read, and thrown away, so that the other end may finish.
_MAX_ANSWER_BYTES = 65_536

_log = Log("edge.act")


@dataclass(frozen=True, slots=True)
class Job:
    """One action to do.

    Attributes:
        rule: The rule's name, for messages.
        body: What has happened, JSON.
        http: Send it there, or
        command: start this.
        timeout_s: Of the command.
    """

    rule: str
    body: bytes
    http: HttpAction | None = None
    command: tuple[str, ...] = ()
    timeout_s: float = 10.0


class Worker:
    """Does jobs one after the other. When too many wait, the oldest is dropped, and that is said with how many were."""

    def __init__(self, name: str, do: Callable[[Job, threading.Event], None]) -> None:
        """Begin to wait for jobs.

        Args:
            name: Of its kind of jobs.
            do: Does one; its second argument is set when it should hurry to an end.
        """
        self._name = name
        self._do = do
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._stop = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"act {name}", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Have a job done soon. Never waits."""
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                lost = self._waiting.popleft()
                self.dropped += 1
                _log.warning(
                    "too many actions wait; the oldest was dropped",
                    kind=self._name,
                    rule=lost.rule,
                    dropped=self.dropped,
                )
            self._waiting.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Finish the job under way, if it hurries; what waits is not done."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        self._thread.join(CLOSE_PATIENCE_S)
        if self._waiting:
            _log.warning("actions that waited are not done", kind=self._name, waiting=len(self._waiting))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
                if self._stop.is_set():
                    return
                job = self._waiting.popleft()
            self._do(job, self._stop)


def send(job: Job, stop: threading.Event) -> None:
    """Post a job to its address; try again a few times if it cannot be reached or is in trouble itself."""
    action = job.http
    assert action is not None
    headers = {"Content-Type": "application/json", "User-Agent": "countline", **action.headers}
    opener = _opener()
    backoff = Backoff(base_s=0.5, cap_s=5.0)
    problem = ""
    for _ in range(TRIES):
        request = urllib.request.Request(action.url, job.body, headers, method="POST")  # noqa: S310 - http(s) only
        try:
            with opener.open(request, timeout=action.timeout_s) as answer:
                answer.read(_MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            problem = f"it answered {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                break
        except (OSError, HTTPException) as error:
            problem = mask(str(error))
        else:
            return
        if stop.wait(backoff.next_delay_s()):
            break
    _log.warning("an action could not be done", rule=job.rule, url=mask(action.url), reason=problem)


def start(job: Job, stop: threading.Event) -> None:
    """Run a job's program, without a shell; what it runs longer than it may, it is ended with all that it has started."""
    try:
        child = subprocess.Popen(
            job.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        _log.warning(
            "an action could not be done", rule=job.rule, command=job.command[0], reason=error.strerror
        )
        return
    try:
        child.communicate(job.body, timeout=job.timeout_s)
        problem = f"it ended with {child.returncode}" if child.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"it ran longer than {job.timeout_s:g} s"
    finally:
        _end(child)
    if problem and not stop.is_set():
        _log.warning("an action went wrong", rule=job.rule, command=job.command[0], reason=problem)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, and whatever it has started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _opener() -> urllib.request.OpenerDirector:
    """Return what speaks HTTP and nothing else: no proxy of the environment, no redirect to somewhere else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def body(rule: str, *, is_on: bool, at_ms: int, when: str, values: dict[str, float | None]) -> bytes:
    """Return what has happened, as actions tell it."""
    return json.dumps({"rule": rule, "on": is_on, "at_ms": at_ms, "when": when, "values": values}).encode()
