"""The live feed: follows the store and serves its changes to WebSocket and SSE clients.

Every client is one integer, the version it has seen; see `cloud.hub`. It sleeps until a new message is there, takes
everything since its version as one message, and sends it. While one client's socket is full, only that client waits.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from cloud.api.problems import Problem
from cloud.config import ApiSettings
from cloud.hub import PANES_MS, Hub
from cloud.store.reader import StoreReader
from countline.backoff import Backoff
from countline.clock import Clock
from countline.errors import Unavailable
from countline.telemetry import Log

# How long a commit may lie in the store before it is seen; a poll costs microseconds.
POLL_S = 0.02
# At most ten messages a second: a screen shows no more, and a busy site would flood phones.
COALESCE_S = 0.1
HEARTBEAT_S = 2.0

_SERVICE_RESTART = 1012

_log = Log("cloud.live")


class LiveFeed:
    """Keeps the hub current and wakes the clients. Belongs to one event loop."""

    def __init__(self, reader: StoreReader, settings: ApiSettings, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._max_clients = settings.max_clients
        self.hub = Hub(settings.timezone)
        self._woken = asyncio.Event()
        self._clients = 0
        self._is_closed = False
        self._last_message_s = 0.0
        self.trouble = ""

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return self._clients

    def load(self) -> None:
        """Read everything anew.

        Raises:
            Unavailable: The store cannot be read now.
        """
        now_ms = self._clock.now_ms()
        self.hub.load(self._reader.picture(*self.hub.day(now_ms), now_ms - PANES_MS), now_ms)

    async def run(self) -> None:
        """Follow the store until cancelled."""
        backoff = Backoff(cap_s=5.0)
        while True:
            try:
                self._follow()
                self.trouble = ""
                backoff.reset()
                await asyncio.sleep(POLL_S)
            except Unavailable as error:
                self.trouble = f"the store cannot be read: {error.what}"
                wait_s = backoff.next_delay_s()
                _log.warning("cannot read the store, trying again", what=error.what, wait_s=round(wait_s, 2))
                await asyncio.sleep(wait_s)

    def _follow(self) -> None:
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        if self.hub.is_new_day(now_ms):
            self.load()
            self._wake(now_s)
        if self._reader.changed():
            if self.hub.seq:
                self._read_updates()
            else:
                # The worker's first words; only now is the length of its panes known.
                self.load()
        self.hub.tick(now_ms)
        since_s = now_s - self._last_message_s
        if (since_s >= COALESCE_S and self.hub.flush()) or since_s >= HEARTBEAT_S:
            self._wake(now_s)

    def _read_updates(self) -> None:
        while True:
            updates = self._reader.updates_after(self.hub.seq)
            if updates is None:
                _log.warning("too far behind, reading everything anew")
                self.load()
                return
            for seq, update in updates:
                self.hub.apply(seq, update)
            if not updates:
                return

    def _wake(self, now_s: float) -> None:
        self._last_message_s = now_s
        woken, self._woken = self._woken, asyncio.Event()
        woken.set()

    def close(self) -> None:
        """End all clients politely."""
        self._is_closed = True
        self._wake(self._clock.monotonic_s())

    def enter(self) -> None:
        """Count one more client.

        Raises:
            Problem: There are too many.
        """
        if self._is_closed:
            raise Problem(503, "The server stops.", "Connect again shortly.", {"Retry-After": "2"})
        if self._clients >= self._max_clients:
            raise Problem(
                503,
                f"{self._clients} live connections are open, no more are allowed.",
                "Close some, or raise `api.max_clients`.",
                {"Retry-After": "10"},
            )
        self._clients += 1

    def leave(self) -> None:
        """Count one client less."""
        self._clients -= 1

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield JSON messages: a snapshot first, then what changes; ends when the feed is closed."""
        version = -1
        while not self._is_closed:
            woken = self._woken
            message = self.hub.message_after(version, self._clock.now_ms())
            version = self.hub.version
            yield message
            await woken.wait()


async def serve_websocket(socket: WebSocket, feed: LiveFeed) -> None:
    """Serve one WebSocket until it or the server goes."""
    try:
        feed.enter()
    except Problem as problem:
        await socket.send_denial_response(problem.response())
        return
    try:
        # It may be gone before it was let in.
        with contextlib.suppress(WebSocketDisconnect):
            await socket.accept()
            await _talk(socket, feed)
    finally:
        feed.leave()


async def _talk(socket: WebSocket, feed: LiveFeed) -> None:
    sender = asyncio.create_task(_send_all(socket, feed))
    receiver = asyncio.create_task(_until_gone(socket))
    try:
        await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sender.cancel()
        receiver.cancel()
        await asyncio.gather(sender, receiver, return_exceptions=True)


async def _send_all(socket: WebSocket, feed: LiveFeed) -> None:
    # Messages are JSON, which is ASCII or UTF-8: text for a browser.
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        async for message in feed.messages():
            await socket.send_text(message.decode())
        await socket.close(_SERVICE_RESTART, "the server stops")


async def _until_gone(socket: WebSocket) -> None:
    """Read and drop what a client says: it has nothing to say, but its leaving is read here."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return


class _EventStream(StreamingResponse):
    """An event stream that leaves the feed however it ends, even before its first byte."""

    def __init__(self, feed: LiveFeed) -> None:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(_events(feed), headers=headers, media_type="text/event-stream")
        self._feed = feed

    async def __call__(self, scope, receive, send) -> None:  # noqa: ANN001 - as the base class has it
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave()


async def _events(feed: LiveFeed) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for message in feed.messages():
        yield b"id: %d\ndata: %b\n\n" % (feed.hub.seq, message)


def serve_events(_: Request, feed: LiveFeed) -> Response:
    """Serve one SSE client.

    Raises:
        Problem: There are too many clients.
    """
    feed.enter()
    return _EventStream(feed)
