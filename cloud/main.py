"""The processes of the cloud tier: worker and API."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

from cloud import run_local
from cloud.api.app import Context, create_app
from cloud.api.live import LiveFeed
from cloud.api.preview import PreviewProxy
from cloud.api.server import OpenRequests, Server, StallLimits
from cloud.config import ApiSettings, WorkerSettings
from cloud.store.reader import StoreReader
from countline.backoff import Backoff
from countline.clock import Clock, SystemClock
from countline.errors import Unavailable, UsageError
from countline.service import Stop
from countline.telemetry import Log

BACKLOG = 512

_log = Log("cloud.api")


def run_worker(settings: WorkerSettings, stop: Stop) -> None:
    """Count the journal into the store until `stop` is requested.

    Raises:
        UsageError: The store is in use or damaged.
    """
    run_local.run(settings, stop)


def run_api(settings: ApiSettings, stop: Stop, limits: StallLimits | None = None) -> None:
    """Serve API, live feed and page until `stop` is requested.

    Args:
        settings: What to serve where.
        stop: Ends it within a second.
        limits: When clients that take nothing are cut.

    Raises:
        UsageError: The port is in use, or the store is damaged.
    """
    limits = limits or StallLimits()
    with _listen(settings.host, settings.port, limits.tcp_ms) as listening:
        asyncio.run(_serve(settings, stop, listening, limits))


async def _serve(settings: ApiSettings, stop: Stop, listening: socket.socket, limits: StallLimits) -> None:
    clock: Clock = SystemClock()
    with contextlib.ExitStack() as files:
        readers = await _open_readers(settings, stop, files)
        if readers is None:
            return
        feed = LiveFeed(readers[0], settings, clock)
        preview, requests = PreviewProxy(settings.preview_url), OpenRequests()
        app = create_app(Context(settings, clock, feed, readers[1], preview, requests))
        server = Server(app, requests, limits)
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(server.serve([listening]))]
        stopping = asyncio.create_task(stop.wait_async())
        try:
            _log.info("api started", host=settings.host, port=listening.getsockname()[1])
            # A part that ends by itself has failed, and takes the process with it.
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            feed.close()
            tasks[0].cancel()
            stopping.cancel()
            await server.end(tasks[1])
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await preview.close()
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
    _log.info("api stopped")


async def _open_readers(
    settings: ApiSettings, stop: Stop, files: contextlib.ExitStack
) -> list[StoreReader] | None:
    backoff = Backoff(cap_s=5.0)
    while not stop.is_requested():
        try:
            readers: list[StoreReader] = []
            for _ in range(2):
                readers.append(StoreReader(Path(settings.store_path)))
                files.callback(readers[-1].close)
        except Unavailable as error:
            wait_s = backoff.next_delay_s()
            _log.warning("cannot open the store, trying again", what=error.what, wait_s=round(wait_s, 2))
            await asyncio.sleep(wait_s)
        else:
            return readers
    return None


@contextlib.contextmanager
def _listen(host: str, port: int, tcp_ms: int) -> Iterator[socket.socket]:
    family, kind, protocol, _, address = _resolve(host, port)
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, tcp_ms)
        try:
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            raise UsageError(_cannot_listen(host, port, error)) from error
        listening.setblocking(False)
        yield listening


def _resolve(host: str, port: int) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]  # pyright: ignore[reportReturnType]
    except OSError as error:
        raise UsageError(
            f"host {host} cannot be resolved: {error.strerror}; use an address of this machine."
        ) from error


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use on {host}: stop what runs there or choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is not allowed for this user: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"
