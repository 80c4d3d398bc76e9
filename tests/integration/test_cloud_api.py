"""The API over a real store and a real socket."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path

import httpx
import msgspec
import pytest
import websockets

from cloud import main
from cloud.config import ApiSettings, WorkerSettings
from cloud.process import LogEntry, Process
from cloud.run_local import Worker
from cloud.store.rows import WorkerNote
from cloud.store.writer import Store
from cloud.windows import WindowConfig
from countline.clock import ManualClock, SystemClock
from countline.errors import UsageError
from countline.events import Direction, GatePassed, Heat
from countline.service import Stop
from tests import seed
from tests.apis import free_port, serving

TOKEN = "a-token-of-24-characters"
CAMERA = "home/box/entrance"


async def drain(live: websockets.ClientConnection) -> None:
    while True:
        await live.recv()


@pytest.fixture
def now_ms() -> int:
    return SystemClock().now_ms() // 10_000 * 10_000


@pytest.fixture
def api_settings(tmp_path: Path, now_ms: int) -> ApiSettings:
    path = tmp_path / "store.sqlite"
    seed.fill_store(path, now_ms, minutes=30)
    return ApiSettings(str(path), port=free_port())


def test_cloud_api_answers_what_is_there(api_settings, now_ms):
    """Health, cameras, zones, ledger and counts are answered from the store."""
    with serving(api_settings) as url, httpx.Client(base_url=url) as client:
        health = client.get("/v1/health").json()
        assert (health["profile"], health["timezone"], health["worker"]["behind"]) == ("box", "UTC", 0)
        (camera,) = client.get("/v1/cameras").json()["cameras"]
        assert (camera["id"], camera["state"], camera["coverage"]) == (CAMERA, "ok", 1.0)
        assert camera["lines"][0]["sides"] == ["street", "shop"]
        (zone,) = client.get("/v1/zones").json()["zones"]
        assert zone["now"] == {"person": 1}
        ledger = client.get("/v1/ledger").json()
        (account,) = ledger["accounts"]
        assert ledger["unattributed"] == {"n": 0, "reasons": {}}
        assert (account["crossings"], account["missing"]) == (30 * 9, [])
        minute_ms = now_ms // 60_000 * 60_000
        bounds = {"from": minute_ms - 600_000, "to": minute_ms, "interval": "1m"}
        body = client.get("/v1/counts", params=bounds).json()
        assert {one["direction"]: sum(one["n"]) for one in body["series"]} == {"in": 60, "out": 30}
        assert body["start_ms"] == list(range(minute_ms - 600_000, minute_ms, 60_000))
        assert body["cameras"][0]["coverage"] == [1.0] * 10
        assert "default-src 'self'" in client.get("/").headers["content-security-policy"]
        assert "page is not installed" in client.get("/").text


def test_cloud_api_tells_gates_and_heat(api_settings, now_ms):
    """Passages of today, and a map of the hours asked for; a senseless question gets a hint."""
    with contextlib.closing(Store(Path(api_settings.store_path), 10_000)) as store:
        process = Process.restore(WindowConfig(), store.load())
        device = seed.Device(epoch=seed.EPOCH + 1)
        said = [
            device.event(now_ms, GatePassed("through", "door", "exit", "person", 1, 4_000)),
            device.event(now_ms, Heat("person", now_ms - 60_000, 4, 2, [5], [30_000])),
        ]
        entries = [LogEntry(process.position + i, now_ms, one) for i, one in enumerate(said, start=1)]
        store.commit(process.feed(entries, entries[-1].id), WorkerNote(now_ms, now_ms, 0))
    with serving(api_settings) as url, httpx.Client(base_url=url) as client:
        (gate,) = client.get("/v1/gates").json()["gates"]
        assert (gate["gate"], gate["today"]) == ("through", {"n": 1, "mean_travel_ms": 4_000})
        body = client.get("/v1/heat", params={"camera": CAMERA, "last": "1h"}).json()
        assert body["from_ms"] % 3_600_000 == body["to_ms"] % 3_600_000 == 0
        assert body["classes"] == [
            {"class": "person", "columns": 4, "rows": 2, "cells": [5], "presence_ms": [30_000]}
        ]
        for query, hint in [
            ("camera=no/such/one", "/v1/cameras"),
            ("", "Give camera="),
            (f"camera={CAMERA}&line=a", "Allowed: camera"),
            (f"camera={CAMERA}&last=9999d", "a year"),
        ]:
            reply = client.get(f"/v1/heat?{query}")
            assert reply.status_code == 422
            assert hint in reply.json()["hint"]


def test_cloud_api_tells_occupancy_over_a_time(api_settings, now_ms):
    """Two for the first half of each minute and one for the second; one visit a minute, of half a minute."""
    start_ms = now_ms - 30 * 60_000
    bounds = {"camera": CAMERA, "from": start_ms + 60_000, "to": start_ms + 10 * 60_000 + 45_000}
    with serving(api_settings) as url, httpx.Client(base_url=url) as client:
        (zone,) = client.get("/v1/occupancy", params=bounds).json()["zones"]
        assert zone["zone"] == "lobby"
        assert zone["all"] == {
            "mean": pytest.approx(1.5, abs=0.1),
            "max": 2,
            "min": 1,
            "last": 1,
            "entries": 0,
            "visits": 10,
            "mean_dwell_ms": 30_000,
        }
        assert zone["classes"]["person"] == zone["all"]
        assert (
            client.get("/v1/occupancy", params={"camera": CAMERA, "from": 0, "to": 1}).json()["zones"] == []
        )
        reply = client.get("/v1/occupancy", params={"camera": "no/such/one"})
        assert (reply.status_code, "/v1/cameras" in reply.json()["hint"]) == (422, True)


def test_cloud_api_null_is_not_zero(api_settings, now_ms):
    """Where nothing was watched there is null, where nobody passed there is zero."""
    with serving(api_settings) as url, httpx.Client(base_url=url) as client:
        start_ms = now_ms - 40 * 60_000
        bounds = {
            "from": start_ms,
            "to": now_ms - 20 * 60_000,
            "interval": "1m",
            "group_by": "line,class,direction",
        }
        body = client.get("/v1/counts", params=bounds).json()
        out = next(one for one in body["series"] if one["direction"] == "out")
        assert (out["class"], out["camera"], out["n"][0]) == ("person", None, None)
        (told,) = body["cameras"]
        (camera,) = client.get("/v1/cameras").json()["cameras"]
        assert camera["first_ms"] == now_ms - 30 * 60_000
        is_before = [start_ms + 60_000 <= camera["first_ms"] for start_ms in body["start_ms"]]
        assert is_before.count(True) == 10
        assert [status == "none" for status in told["status"]] == is_before
        assert [share == 0.0 for share in told["coverage"]] == is_before
        assert set(told["status"]) == {"none", "complete"}
        fine = client.get(
            "/v1/counts", params=bounds | {"interval": "10s", "from": now_ms - 60_000, "to": now_ms}
        ).json()
        out = next(one for one in fine["series"] if one["direction"] == "out")
        assert sorted(set(out["n"])) == [0, 1]
        assert set(fine["cameras"][0]["status"]) == {"complete"}


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("lost=60m", "Allowed: camera"),
        ("last=banana", "60m"),
        ("last=60m&from=0", "Give one"),
        ("from=5&to=5", "Exchange"),
        ("from=2026-07-01T08:00:00", "Z"),
        ("interval=7s", "Allowed: 10s"),
        ("last=30d&interval=10s", "interval="),
        ("group_by=colour", "Allowed: camera"),
        ("camera=no/such/one", "/v1/cameras"),
        ("to=5", "Give both"),
    ],
)
def test_cloud_api_senseless_questions_get_a_hint(api_settings, query, hint):
    """A senseless question is answered with 422, a problem and what would be right."""
    with serving(api_settings) as url:
        reply = httpx.get(f"{url}/v1/counts?{query}")
    assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json")
    assert hint in reply.json()["hint"]


async def test_cloud_api_live_tells_the_same_by_websocket_and_sse(api_settings, tmp_path, now_ms):
    """Both live feeds start with a snapshot, then tell a crossing in absolute numbers, then beat."""
    log = str(tmp_path / "journal.sqlite")
    device = seed.Device(device="second", start_ms=now_ms)
    seed.fill_journal(Path(log), [device.configured(now_ms)])
    settings = WorkerSettings(log, api_settings.store_path)
    with serving(api_settings) as url:
        async with (
            websockets.connect(url.replace("http", "ws") + "/v1/live") as live,
            httpx.AsyncClient() as client,
            client.stream("GET", f"{url}/v1/live/sse") as stream,
        ):
            events = (
                json.loads(line[6:]) async for line in stream.aiter_lines() if line.startswith("data: ")
            )
            snapshots = [json.loads(await live.recv()), await anext(events)]
            assert [message["type"] for message in snapshots] == ["snapshot", "snapshot"]
            assert [line["line"] for line in snapshots[0]["lines"]] == ["door"]
            seed.fill_journal(
                Path(log), [device.crossed(now_ms, Direction.OUT), device.heartbeat(now_ms, now_ms + 4_000)]
            )
            with contextlib.closing(Worker(settings, ManualClock(now_ms))) as worker:
                worker.step()

            async def until_crossing(receive) -> dict:
                while True:
                    message = await receive()
                    for line in message.get("lines", []):
                        if line["camera"] == "home/second/entrance" and line["today"]["out"]:
                            return line

            async def receive_ws() -> dict:
                return json.loads(await live.recv())

            async def receive_sse() -> dict:
                return await anext(events)

            lines = await asyncio.gather(until_crossing(receive_ws), until_crossing(receive_sse))
            assert lines[0] == lines[1]
            assert lines[0]["today"] == {"in": 0, "out": 1}
            assert lines[0]["classes"] == {"person": {"in": 0, "out": 1}}
            assert lines[0]["last_crossing_ms"] == now_ms
            while (await receive_ws())["type"] != "heartbeat":
                pass
            health = await client.get(f"{url}/v1/health")
            assert health.json()["live_clients"] == 2


async def test_cloud_api_stop_ends_live_clients_politely(api_settings):
    """A stop closes WebSockets with a reason and ends event streams."""
    stop = Stop()
    server = asyncio.create_task(asyncio.to_thread(main.run_api, api_settings, stop))
    url = f"127.0.0.1:{api_settings.port}"
    while True:
        with contextlib.suppress(OSError):
            live = await websockets.connect(f"ws://{url}/v1/live")
            break
        await asyncio.sleep(0.01)
    async with (
        live,
        httpx.AsyncClient() as client,
        client.stream("GET", f"http://{url}/v1/live/sse") as stream,
    ):
        stop.request()
        async with asyncio.timeout(5):
            async for _ in stream.aiter_bytes():
                pass
            with pytest.raises(websockets.ConnectionClosed):
                await drain(live)
            await server
    assert live.close_code == 1012


async def test_cloud_api_refuses_more_clients_than_allowed(api_settings):
    """One client too many gets a clear 503 on either transport."""
    settings = msgspec.structs.replace(api_settings, max_clients=1)
    with serving(settings) as url:
        async with websockets.connect(url.replace("http", "ws") + "/v1/live") as live:
            await live.recv()
            async with httpx.AsyncClient() as client:
                reply = await client.get(f"{url}/v1/live/sse")
            assert reply.status_code == 503
            assert "api.max_clients" in reply.json()["hint"]
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websockets.connect(url.replace("http", "ws") + "/v1/live")
            assert refused.value.response.status_code == 503


async def test_cloud_api_guards_names_and_origins(api_settings):
    """A foreign name in Host, and a foreign page at the WebSocket, are refused."""
    with serving(api_settings) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            for host, status in (("evil.example", 403), (f"localhost:{api_settings.port}", 200)):
                reply = await client.get("/v1/cameras", headers={"Host": host})
                assert reply.status_code == status
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(url.replace("http", "ws") + "/v1/live", origin="http://evil.example")
        assert refused.value.response.status_code == 403


def test_cloud_api_token_or_session_opens(api_settings, tmp_path):
    """With a token the page is public and the numbers are not; token and cookie open them."""
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>Countline</title>")
    settings = msgspec.structs.replace(api_settings, token=TOKEN, page_dir=str(page))
    with serving(settings) as url, httpx.Client(base_url=url) as client:
        home = client.get("/")
        assert ("Countline" in home.text, home.headers["cache-control"]) == (True, "no-cache")
        assert client.get("/", headers={"If-None-Match": home.headers["etag"]}).status_code == 304
        refused = client.get("/v1/cameras")
        assert (refused.status_code, refused.json()["title"]) == (401, "Not signed in")
        assert client.get("/v1/cameras", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert client.post("/v1/session", json={"token": "wrong"}).status_code == 401
        assert client.post("/v1/session", content=b"{").status_code == 422
        signed_in = client.post("/v1/session", json={"token": TOKEN})
        assert (signed_in.status_code, "HttpOnly" in signed_in.headers["set-cookie"]) == (204, True)
        assert TOKEN not in signed_in.headers["set-cookie"]
        assert client.get("/v1/cameras").status_code == 200
        assert client.get("/v1/nothing").headers["content-type"] == "application/problem+json"


async def test_cloud_api_passes_pictures_on(api_settings):
    """The agent's picture comes through unchanged; no agent is a 503, no picture a 404."""
    body = b'{"index":17}\n\xff\xd8'

    async def agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        found = b"200 OK" if b"/cameras/entrance/preview?after=16 " in request else b"204 No Content"
        content = body if found.startswith(b"200") else b""
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (found, len(content))
        writer.write((head if content else b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(agent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        settings = msgspec.structs.replace(api_settings, preview_url=f"http://127.0.0.1:{port}")
        stop = Stop()
        api = asyncio.create_task(asyncio.to_thread(main.run_api, settings, stop))
        path = f"http://127.0.0.1:{settings.port}/v1/cameras/{CAMERA}/preview"
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=8)) as client:
            picture = await client.get(f"{path}?after=16")
            assert (picture.status_code, picture.content) == (200, body)
            assert (await client.get(f"{path}?after=17")).status_code == 204
            unknown = await client.get(path.replace("entrance", "exit"))
            assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
            server.close()
            await server.wait_closed()
            assert (await client.get(f"{path}?after=16")).status_code == 503
        stop.request()
        await api


def test_cloud_api_port_in_use_is_said_in_a_sentence(api_settings):
    """A port that is taken ends the start with one sentence."""
    with socket.create_server(("127.0.0.1", api_settings.port)), pytest.raises(UsageError) as refused:
        main.run_api(api_settings, Stop())
    assert str(refused.value) == (
        f"port {api_settings.port} is in use on 127.0.0.1: stop what runs there or choose another with --port"
    )


def test_cloud_api_without_pictures_says_how_to_get_them(api_settings):
    """A camera whose pictures are not served is answered with the settings that would serve them."""
    with serving(api_settings) as url, httpx.Client(base_url=url) as client:
        reply = client.get(f"/v1/cameras/{CAMERA}/preview?after=0")
    assert reply.status_code == 404
    assert "--preview" in reply.json()["hint"]
    assert "`enabled: true` under `preview`" in reply.json()["hint"]
