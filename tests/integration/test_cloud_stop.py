"""The API ends soon and quietly, whoever is connected."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import httpx
import msgspec
import pytest
import websockets

from cloud.config import ApiSettings
from countline.clock import SystemClock
from tests import seed
from tests.apis import PATIENCE_S, Serving, free_port

PICTURE = "/v1/cameras/home/box/entrance/preview?after=0"


@pytest.fixture
def api_settings(tmp_path: Path) -> ApiSettings:
    path = tmp_path / "store.sqlite"
    seed.fill_store(path, SystemClock().now_ms(), minutes=2)
    return ApiSettings(str(path), port=free_port())


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the server's own log says from warnings on."""
    caplog.set_level(logging.WARNING)
    return caplog.records


async def silent_agent() -> tuple[asyncio.Server, asyncio.Event]:
    """Return an agent that takes questions for pictures and never answers, and when it was asked."""
    asked = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    return await asyncio.start_server(hear, "127.0.0.1", 0), asked


def knock(api: Serving, request: str) -> socket.socket:
    """Return a connection that has sent these bytes and will never read."""
    url = httpx.URL(api.url)
    connection = socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S)
    connection.sendall(request.replace("\n", "\r\n").encode())
    return connection


async def until_closed(live: websockets.ClientConnection) -> int | None:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            await live.recv()
    return live.close_code


async def dial_on(api: Serving, refused: list[str]) -> None:
    """Open one WebSocket after the other until nobody listens any more."""
    address = api.url.replace("http", "ws") + "/v1/live"
    while True:
        try:
            async with websockets.connect(address) as live:
                await until_closed(live)
        except websockets.InvalidStatus as error:
            refused.append(str(error.response.status_code))
        except ConnectionRefusedError:
            return
        except (OSError, websockets.WebSocketException) as error:
            refused.append(type(error).__name__)


async def test_cloud_api_stops_with_everybody_connected(api_settings, complaints):
    """With pages, feeds, a waiting picture, half a request and idle connections open the API ends by itself."""
    agent, asked = await silent_agent()
    async with agent:
        port = agent.sockets[0].getsockname()[1]
        settings = msgspec.structs.replace(api_settings, preview_url=f"http://127.0.0.1:{port}")
        api = await asyncio.to_thread(Serving, settings)
        upgrade = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n"
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n\n"
        head = f"Host: 127.0.0.1:{settings.port}\n"
        deaf = [
            knock(api, ""),
            knock(api, "GET /v1/li"),
            knock(api, f"GET /v1/health HTTP/1.1\n{head}\n"),
            knock(api, f"POST /v1/session HTTP/1.1\n{head}Content-Length: 50\n\n{{"),
            knock(api, f"GET /v1/live HTTP/1.1\n{head}{upgrade}{key}"),
            knock(api, f"GET /v1/live/sse HTTP/1.1\n{head}\n"),
        ]
        refused: list[str] = []
        async with (
            websockets.connect(api.url.replace("http", "ws") + "/v1/live") as live,
            httpx.AsyncClient(base_url=api.url, timeout=PATIENCE_S) as client,
            client.stream("GET", "/v1/live/sse") as stream,
        ):
            picture = asyncio.create_task(client.get(PICTURE))
            await asked.wait()
            dialling = [asyncio.create_task(dial_on(api, refused)) for _ in range(5)]
            closing = asyncio.create_task(until_closed(live))
            await asyncio.to_thread(api.end)
            async for _ in stream.aiter_bytes():
                pass
            answer = await picture
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert await closing == 1012
        await asyncio.gather(*dialling)
        for connection in deaf:
            connection.close()
    assert [record.getMessage() for record in complaints] == []


async def test_cloud_api_refuses_a_live_client_without_complaint(api_settings, complaints):
    """A WebSocket that is turned away is nothing for the log."""
    api = await asyncio.to_thread(Serving, msgspec.structs.replace(api_settings, max_clients=1))
    address = api.url.replace("http", "ws") + "/v1/live"
    async with websockets.connect(address):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(address)
    assert (refused.value.response.status_code, b"live connections" in refused.value.response.body) == (
        503,
        True,
    )
    await asyncio.to_thread(api.end)
    assert [record.getMessage() for record in complaints] == []
