"""Clients that stop reading are cut, and nobody else notices."""

import asyncio
import contextlib
import json
import socket
import sqlite3
import sys
from pathlib import Path

import httpx
import msgspec
import pytest
import websockets

from cloud.api.server import StallLimits
from cloud.config import ApiSettings
from cloud.store.reader import StoreReader
from cloud.store.rows import Update
from cloud.windows import CameraView
from countline.clock import SystemClock
from tests import seed
from tests.apis import PATIENCE_S, free_port, serving

NEVER_S = 1_000.0
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
# More than the kernel's buffers of a connection hold, after a few messages.
CHATTER = "x" * 1_000_000

if not hasattr(socket, "TCP_USER_TIMEOUT"):
    LIMITS = [StallLimits(0.3, 1_000_000)]
else:
    LIMITS = [StallLimits(0.3, 1_000_000), StallLimits(NEVER_S, 300)]


class Store:
    """A store in which one camera says ever more."""

    def __init__(self, path: Path) -> None:
        with contextlib.closing(StoreReader(path)) as reader:
            (self._view,) = reader.cameras().values()
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S)

    def say(self, reason: str) -> None:
        """Commit an update as the worker does."""
        view: CameraView = msgspec.structs.replace(self._view, reason=reason)
        body = msgspec.json.encode(Update([], [view]))
        self._connection.execute("INSERT INTO updates (body) VALUES (?)", (body,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def deaf(port: int, path: str, headers: str) -> socket.socket:
    """Return a client that asks for a live feed and then reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
    return client


@pytest.mark.parametrize("limits", LIMITS, ids=["by the server", "by the kernel"][: len(LIMITS)])
async def test_cloud_clients_that_stop_reading_are_cut(tmp_path, limits):
    """A WebSocket and an event stream that read nothing lose their connection; another client hears all the while."""
    path = tmp_path / "store.sqlite"
    seed.fill_store(path, SystemClock().now_ms(), minutes=2)
    settings = ApiSettings(str(path), port=free_port())
    words: asyncio.Queue[str] = asyncio.Queue()

    async def hear(live: websockets.ClientConnection) -> None:
        async for message in live:
            for camera in json.loads(message).get("cameras", []):
                words.put_nowait(camera["reason"][-8:])

    async with asyncio.timeout(PATIENCE_S * 2), contextlib.AsyncExitStack() as stack:
        url = stack.enter_context(serving(settings, limits))
        store = stack.enter_context(contextlib.closing(Store(path)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_S))
        address = url.replace("http", "ws") + "/v1/live"
        live = await stack.enter_async_context(websockets.connect(address, max_size=None))
        listening = asyncio.create_task(hear(live))
        for where, headers in (("/v1/live", UPGRADE), ("/v1/live/sse", "")):
            stack.callback(deaf(settings.port, where, headers).close)
        clients: list[int] = []
        count = 0
        while not clients or max(clients) < 3 or clients[-1] > 1:
            count += 1
            word = f"{count:08}"
            store.say(CHATTER + word)
            while await words.get() != word:
                pass
            clients.append((await client.get("/v1/health")).json()["live_clients"])
        assert clients[-1] == 1
        await live.close()
        await listening


def test_cloud_stalls_are_known_to_the_system():
    """On Linux the kernel cuts as well, so both ways are tried above."""
    assert len(LIMITS) == 2 or sys.platform != "linux"
