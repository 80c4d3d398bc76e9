"""The HTTP server: uvicorn without its signal handlers, with an end for clients that stop reading, and a quick stop.

A client that stops reading must cost nothing but its own connection. What it does not take fills the kernel's buffers
first, where `TCP_USER_TIMEOUT` ends it, and then the server's own, where `StallLimits.send_s` does, on any system.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from cloud.api.problems import Problem

# How long answers under way may take after a stop, before they are ended; a question to the store takes a fifth.
GRACE_S = 0.3
# How long their connections may then take to say goodbye.
GOODBYE_S = 0.2
# uvicorn's own patience, which only ends what the two above could not.
LAST_RESORT_S = 1

STOPPING = Problem(503, "The server stops.", "Ask again shortly.", {"Retry-After": "2"})


@dataclass(frozen=True)
class StallLimits:
    """How long a client may take nothing.

    Attributes:
        send_s: Of what waits in the server.
        tcp_ms: Of what waits in the kernel, where the system can tell.
    """

    send_s: float = 20.0
    tcp_ms: int = 20_000


class OpenRequests:
    """The HTTP requests under way, so that a stop can end those that wait for something else. Of one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the app with its requests watched. WebSockets are not: the live feed closes them itself."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._watch(app, scope, receive, send)
            else:
                await app(scope, receive, send)

        return watched

    def end(self) -> None:
        """End all requests under way with a 503, or where they are; refuse new ones."""
        self._is_closed = True
        for task in tuple(self._tasks):
            task.cancel()

    async def _watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_closed:
            await STOPPING.response()(scope, receive, send)
            return
        task = cast(asyncio.Task[Any], asyncio.current_task())
        is_begun = False

        async def send_noted(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        self._tasks.add(task)
        try:
            await app(scope, receive, send_noted)
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
            task.uncancel()
            await _say_goodbye(scope, receive, send, is_begun=is_begun)
        finally:
            self._tasks.discard(task)


async def _say_goodbye(scope: Scope, receive: Receive, send: Send, *, is_begun: bool) -> None:
    # It may be the client that takes nothing; then its connection is cut.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            if is_begun:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await STOPPING.response()(scope, receive, send)


class Server(uvicorn.Server):
    """A server that leaves signals to its process, and stops within a second whoever is connected."""

    def __init__(self, app: ASGIApp, requests: OpenRequests, limits: StallLimits) -> None:
        http, websocket = _protocols(limits.send_s)
        super().__init__(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType] - any ASGI app
                http=http,
                ws=websocket,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws_per_message_deflate=False,  # It would more than double a client's cost.
                ws_max_size=4_096,  # Clients have nothing to say.
                server_header=False,
                timeout_graceful_shutdown=LAST_RESORT_S,
            )
        )
        self._requests = requests

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let nothing be captured: the process does that, and requests a stop."""
        yield

    async def end(self, serving: asyncio.Task[None]) -> None:
        """Stop: let answers end, then end them, then cut what still hangs on.

        Args:
            serving: The task that runs `serve`.
        """
        self.should_exit = True
        await asyncio.wait({serving}, timeout=GRACE_S)
        self._requests.end()
        await asyncio.wait({serving}, timeout=GOODBYE_S)
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await asyncio.wait({serving})


def _protocols(send_s: float) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """Return uvicorn's protocols, which cut a connection whose buffer has been full for `send_s`."""

    class Http(_Cutting, H11Protocol):
        stall_s = send_s

    class Live(_Cutting, WebSocketsSansIOProtocol):
        stall_s = send_s

        async def send(self, message: Any) -> None:
            await super().send(message)
            is_refused = message["type"] == "websocket.http.response.body" and not message.get("more_body")
            if message["type"] == "websocket.accept" and not self.handshake_complete:
                # The connection ended while it was accepted.
                self.handshake_complete = True
                raise ClientDisconnected
            if is_refused:
                # uvicorn takes a refused handshake for one that was forgotten, and complains in the log.
                self.handshake_complete = True

    return Http, Live


class _Cutting(asyncio.Protocol):
    """Mixed into a protocol: ends its connection when the other side takes nothing for too long."""

    stall_s: float
    transport: asyncio.Transport
    _cut: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._cut = asyncio.get_running_loop().call_later(self.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stay()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stay()
        super().connection_lost(exc)

    def _stay(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
