"""Processes that start, stay up, and stop in order.

`Supervisor` runs the parts of a box as child processes: a part that ends is restarted after a backoff, and a stop
ends them one after the other within a deadline. Each part gets its settings as one JSON line on standard input
and is told to stop by the end of that input. So a part also stops when its supervisor is killed, however that
happened, and no process is left behind.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from types import FrameType

from countline.backoff import Backoff
from countline.errors import UsageError
from countline.telemetry import Log

# What a part exits with when a person has to mend something; a restart would not help.
EXIT_USAGE = 2
# A part that has been up for this long has recovered: its next failure starts with a short wait again.
HEALTHY_AFTER_S = 30.0
PROBE_EVERY_S = 0.05
MAX_SETTINGS_BYTES = 4_000_000

_log = Log("service")


class Stop:
    """A request to stop, for threads and for asyncio alike. Once made it stays."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def request(self) -> None:
        """Ask to stop. Safe from any thread and from a signal handler."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
        self._event.set()
        for callback in callbacks:
            callback()

    def is_requested(self) -> bool:
        """Say whether somebody has asked."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until somebody asks or the time is up; say whether somebody has asked."""
        return self._event.wait(timeout_s)

    async def wait_async(self) -> None:
        """Sleep until somebody asks, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        with self._lock:
            if self._event.is_set():
                woken.set()
            else:
                self._callbacks.append(wake)
        await woken.wait()

    @contextlib.contextmanager
    def ends_process(self) -> Generator[None, None, None]:
        """Let a request end this process right away: for one that still loads its libraries and has opened nothing.

        Importing them takes seconds and cannot be interrupted otherwise.
        """

        def end() -> None:
            os._exit(0)

        with self._lock:
            self._callbacks.append(end)
        if self.is_requested():
            end()
        try:
            yield
        finally:
            with self._lock:
                if end in self._callbacks:
                    self._callbacks.remove(end)

    def on_signals(self, numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        """Let signals ask to stop. Call it from the main thread."""
        for number in numbers:
            # A thread, because the lock may be held by the code that the signal interrupted.
            signal.signal(number, self._request_on_signal)

    def _request_on_signal(self, _number: int, _frame: FrameType | None) -> None:
        threading.Thread(target=self.request, daemon=True).start()


def read_settings_and_watch(stop: Stop) -> bytes:
    """Be a part: return the settings line of standard input, and ask to stop when the input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the supervisor, which stops its parts in order.
    stop.on_signals((signal.SIGTERM,))
    line = sys.stdin.buffer.readline(MAX_SETTINGS_BYTES)
    descriptor = sys.stdin.fileno()

    def watch() -> None:
        # The descriptor, not the buffered reader: a thread that waits inside that one holds its lock for ever, and
        # the interpreter dies of it when this process ends for another reason.
        with contextlib.suppress(OSError):
            while os.read(descriptor, 4096):
                pass
        stop.request()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return line


@dataclass(frozen=True)
class Part:
    """One child process of a box.

    Attributes:
        name: What to call it.
        arguments: Its command line.
        settings: One JSON line for its standard input.
        ready: Returns True once the part answers; parts after it start only then. None: it is ready at once.
        drain_s: How long it may take to stop by itself.
    """

    name: str
    arguments: Sequence[str]
    settings: bytes = b"{}"
    ready: Callable[[], bool] | None = None
    drain_s: float = 2.0


@dataclass
class _Running:
    part: Part
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Keeps parts running until it is asked to stop."""

    def __init__(self, parts: Sequence[Part], stop: Stop, *, start_timeout_s: float = 60.0) -> None:
        """Take the parts in the order in which they start.

        Args:
            parts: They are stopped in the order of their names in `stop_order`, by default in reverse.
            stop: Ends it all.
            start_timeout_s: How long a part may take to become ready.
        """
        self._running = [_Running(part) for part in parts]
        self._stop = stop
        self._start_timeout_s = start_timeout_s
        self._is_stopping = False
        self._usage_error: str | None = None

    async def run(self, stop_order: Sequence[str] | None = None) -> None:
        """Start all parts, keep them running, and stop them in order when asked to.

        Args:
            stop_order: Names of parts, first to stop first.

        Raises:
            UsageError: A part said that a person has to mend something, or never became ready.
        """
        keepers: list[asyncio.Task[None]] = []
        try:
            for running in self._running:
                keepers.append(asyncio.create_task(self._keep(running), name=f"keep {running.part.name}"))
                await self._until_ready(running)
                if self._stop.is_requested():
                    break
            await self._stop.wait_async()
        finally:
            self._is_stopping = True
            await self._stop_all(stop_order or [running.part.name for running in reversed(self._running)])
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
        if self._usage_error:
            raise UsageError(self._usage_error)

    async def _until_ready(self, running: _Running) -> None:
        stopped = asyncio.create_task(self._stop.wait_async())
        ready = asyncio.create_task(running.is_ready.wait())
        done, pending = await asyncio.wait(
            {stopped, ready}, timeout=self._start_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in pending:
            task.cancel()
        if not done:
            self._usage_error = (
                f"{running.part.name} did not start within {self._start_timeout_s:.0f} s; "
                "the log above says why, `countline doctor` checks this machine."
            )
            self._stop.request()

    async def _keep(self, running: _Running) -> None:
        backoff = Backoff(base_s=0.5, cap_s=15.0)
        loop = asyncio.get_running_loop()
        while not self._is_stopping:
            started_s = loop.time()
            code = await self._run_once(running)
            if self._is_stopping or self._stop.is_requested():
                return
            if code == EXIT_USAGE:
                self._usage_error = f"{running.part.name} could not start; the line above says why."
                self._stop.request()
                return
            if loop.time() - started_s > HEALTHY_AFTER_S:
                backoff.reset()
            wait_s = backoff.next_delay_s()
            running.restarts += 1
            _log.error(
                "part ended, restarting it", part=running.part.name, exit_code=code, wait_s=round(wait_s, 2)
            )
            await asyncio.sleep(wait_s)

    async def _run_once(self, running: _Running) -> int:
        # Its own session: Ctrl-C at the terminal must reach us alone.
        process = await asyncio.create_subprocess_exec(
            *running.part.arguments, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        running.process = process
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(running.part.settings + b"\n")
            await process.stdin.drain()
        prober = asyncio.create_task(self._probe(running))
        try:
            return await process.wait()
        finally:
            prober.cancel()

    async def _probe(self, running: _Running) -> None:
        ready = running.part.ready
        while ready is not None and not await asyncio.to_thread(ready):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PROBE_EVERY_S)
        running.is_ready.set()

    async def _stop_all(self, order: Sequence[str]) -> None:
        by_name = {running.part.name: running for running in self._running}
        for name in order:
            await _stop_one(by_name[name])

    def restarts(self) -> dict[str, int]:
        """Return how often each part was restarted."""
        return {running.part.name: running.restarts for running in self._running}


async def _stop_one(running: _Running) -> None:
    process = running.process
    if process is None or process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    for final in (signal.SIGTERM, signal.SIGKILL):
        try:
            await asyncio.wait_for(process.wait(), running.part.drain_s)
        except TimeoutError:
            _log.warning("part does not stop, sending a signal", part=running.part.name, signal=final.name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, final)
        else:
            return
    await process.wait()
