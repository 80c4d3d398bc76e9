"""The processes of the cloud tier: worker and API."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from cloud import run_local
from cloud.api.app import Context, create_app
from cloud.api.live import LiveFeed
from cloud.api.preview import PreviewProxy
from cloud.config import ApiSettings, WorkerSettings
from cloud.store.sqlite import StoreReader
from countline.backoff import Backoff
from countline.clock import Clock, SystemClock
from countline.errors import Unavailable, UsageError
from countline.service import Stop
from countline.telemetry import Log

BACKLOG = 512
# A client that takes nothing for so long is cut by the system; uvicorn alone keeps it, and its place, for ever.
TCP_USER_TIMEOUT_MS = 20_000
# How long open requests may go on after a stop.
DRAIN_S = 1

_log = Log("cloud.api")


def run_worker(settings: WorkerSettings, stop: Stop) -> None:
    """Count the journal into the store until `stop` is requested.

    Raises:
        UsageError: The store is in use or damaged.
    """
    run_local.run(settings, stop)


def run_api(settings: ApiSettings, stop: Stop) -> None:
    """Serve API, live feed and page until `stop` is requested.

    Raises:
        UsageError: The port is in use, or the store is damaged.
    """
    with _listen(settings.host, settings.port) as listening:
        asyncio.run(_serve(settings, stop, listening, SystemClock()))


class _Server(uvicorn.Server):
    """A server that leaves signals to its process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: ApiSettings, stop: Stop, listening: socket.socket, clock: Clock) -> None:
    with contextlib.ExitStack() as files:
        readers = await _open_readers(settings, stop, files)
        if readers is None:
            return
        feed = LiveFeed(readers[0], settings, clock)
        preview = PreviewProxy(settings.preview_url)
        server = _Server(_config(create_app(Context(settings, clock, feed, readers[1], preview))))
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(server.serve([listening]))]
        stopping = asyncio.create_task(stop.wait_async())
        try:
            _log.info("api started", host=settings.host, port=listening.getsockname()[1])
            # A part that ends by itself has failed, and takes the process with it.
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            feed.close()
            server.should_exit = True
            tasks[0].cancel()
            stopping.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await preview.close()
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
    _log.info("api stopped")


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType] - any ASGI app
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # It would more than double a client's cost.
        ws_max_size=4_096,  # Clients have nothing to say.
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


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
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family, kind, protocol, _, address = _resolve(host, port)
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
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
