"""A stand-in for the API that a page can be developed and tested against: it can go away, come back and be told what to say.

`python tests/page_server.py [--video FILE] [--port 8099]` shows a lively scene to look at.
"""

import argparse
import asyncio
import contextlib
import json
import math
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

PAGE = Path(__file__).parent.parent / "dashboard"
CSP = "default-src 'self'; img-src 'self' blob:"
PANE_S = 10
HEARTBEAT_S = 0.5


def now_ms() -> int:
    """Return UTC, milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def camera(name: str, **changes: Any) -> dict[str, Any]:
    """Describe a camera as the API does."""
    return {
        "id": f"demo/box/{name}",
        "site": "demo",
        "device": "box",
        "camera": name,
        "width": 768,
        "height": 576,
        "source": "video",
        "synthetic": False,
        "model": "yolo11n",
        "preview": True,
        "lines": [
            {"name": "crossing", "points": [[250, 330], [560, 250]], "swap": False, "sides": ["park", "street"], "classes": ["person"]},
            {"name": "kerb", "points": [[690, 560], [600, 240]], "swap": True, "sides": ["pavement", "lawn"], "classes": []},
        ],
        "zones": [{"name": "plaza", "points": [[80, 380], [420, 330], [500, 540], [90, 560]], "classes": []}],
        "state": "ok",
        "reason": "",
        "last_seen_ms": now_ms(),
        "watermark_ms": now_ms(),
        "fps": 7.0,
        "latency_ms": 61.0,
        "backlog": 0,
        "coverage": 0.998,
    } | changes


@dataclass
class Scene:
    """What the stand-in claims to have seen, and who listens.

    Attributes:
        cameras: By id.
        totals: Today's in and out by (camera, line).
        panes: In and out by (camera, line, start_ms).
        blind: Spans of (camera, from_ms, to_ms) that nobody watched.
    """

    cameras: dict[str, dict[str, Any]] = field(default_factory=dict)
    totals: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    panes: dict[tuple[str, str, int], list[int]] = field(default_factory=dict)
    zones: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    blind: list[tuple[str, int, int]] = field(default_factory=list)
    frames: Any = None
    version: str = "0.1.0"
    token: str = ""
    refuses_websockets: bool = False
    is_mute: bool = False
    seq: int = 0
    listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any]]]] = field(default_factory=list)

    def add(self, described: dict[str, Any]) -> None:
        """Add a camera that counted nothing yet."""
        self.cameras[described["id"]] = described
        for line in described["lines"]:
            self.totals.setdefault((described["id"], line["name"]), [0, 0])
        for zone in described["zones"]:
            today = {"visits": 0, "mean_dwell_ms": 0, "max": 0}
            self.zones.setdefault((described["id"], zone["name"]), {"camera": described["id"], "zone": zone["name"], "now": {}, "today": today})

    def cross(self, camera_id: str, line: str, direction: str, at_ms: int | None = None) -> None:
        """Let somebody cross a line, now or earlier."""
        hand = ("in", "out").index(direction)
        at = at_ms or now_ms()
        start = at - at % (PANE_S * 1000)
        pane = self.panes.setdefault((camera_id, line, start), [0, 0])
        pane[hand] += 1
        self.totals[camera_id, line][hand] += 1
        told = {"camera": camera_id, "line": line, "start_ms": start, "pane_s": PANE_S, "in": pane[0], "out": pane[1]}
        self.tell(lines=[self.line(camera_id, line)], panes=[told | {"coverage": 1.0, "status": "provisional", "revision": 0}])

    def change(self, camera_id: str, **changes: Any) -> None:
        """Change what is known of a camera."""
        self.cameras[camera_id] = self.cameras[camera_id] | changes
        self.tell(cameras=[self.cameras[camera_id]])

    def fill(self, camera_id: str, line: str, now: dict[str, int], **today: Any) -> None:
        """Put people into a zone."""
        zone = self.zones[camera_id, line]
        zone["now"] = now
        zone["today"] = zone["today"] | today
        self.tell(zones=[zone])

    def line(self, camera_id: str, line: str) -> dict[str, Any]:
        """Sum up a line."""
        start = now_ms() - 60_000
        last = [sum(n[hand] for (c, name, at), n in self.panes.items() if (c, name) == (camera_id, line) and at >= start) for hand in (0, 1)]
        n_in, n_out = self.totals[camera_id, line]
        return {
            "camera": camera_id,
            "line": line,
            "today": {"in": n_in, "out": n_out},
            "last_minute": {"in": last[0], "out": last[1]},
            "classes": {"person": {"in": n_in, "out": n_out}},
            "last_crossing_ms": None,
        }

    def tell(self, **parts: Any) -> None:
        """Send a delta to all who listen."""
        self.seq += 1
        message = {"type": "delta", "seq": self.seq, "server_time_ms": now_ms(), **parts}
        for loop, queue in list(self.listeners):
            loop.call_soon_threadsafe(queue.put_nowait, message)

    def snapshot(self) -> dict[str, Any]:
        """Say all that is known."""
        return {
            "type": "snapshot",
            "seq": self.seq,
            "server_time_ms": now_ms(),
            "timezone": "Europe/Berlin",
            "today_start_ms": now_ms() - 36_000_000,
            "cameras": list(self.cameras.values()),
            "lines": [self.line(*key) for key in self.totals],
            "zones": list(self.zones.values()),
        }

    def counts(self, last_s: int, interval_s: int) -> dict[str, Any]:
        """Answer a question for counts."""
        step, to = interval_s * 1000, now_ms()
        starts = list(range((to - last_s * 1000) // step * step, to, step))
        series = []
        for camera_id, line in self.totals:
            for hand, direction in enumerate(("in", "out")):
                sums = dict.fromkeys(starts, 0)
                for (c, name, at), n in self.panes.items():
                    if (c, name) == (camera_id, line) and at // step * step in sums:
                        sums[at // step * step] += n[hand]
                shown = [None if not self.watched(camera_id, at, step) and not n else n for at, n in sums.items()]
                series.append({"camera": camera_id, "line": line, "direction": direction, "class": None, "n": shown})
        cameras = []
        for camera_id in self.cameras:
            coverage = [self.watched(camera_id, at, step) for at in starts]
            status = [
                "provisional" if at + step > to - 3000 and not self.is_blind(camera_id, at, step) else "complete" if share >= 0.95 else "incomplete"
                for at, share in zip(starts, coverage, strict=True)
            ]
            cameras.append({"camera": camera_id, "coverage": coverage, "status": status, "revision": [0] * len(starts), "watermark_ms": to})
        return {"interval_s": interval_s, "from_ms": starts[0], "to_ms": to, "timezone": "Europe/Berlin", "start_ms": starts, "series": series, "cameras": cameras}

    def watched(self, camera_id: str, start_ms: int, length_ms: int) -> float:
        """Return the share of a span that somebody watched."""
        lost = sum(max(0, min(to, start_ms + length_ms) - max(since, start_ms)) for c, since, to in self.blind if c == camera_id)
        return round(1 - min(length_ms, lost) / length_ms, 3)

    def is_blind(self, camera_id: str, start_ms: int, length_ms: int) -> bool:
        """Say whether a span has a hole."""
        return self.watched(camera_id, start_ms, length_ms) < 1


def parse_s(text: str) -> int:
    """Read "60m" as seconds."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def app(scene: Scene) -> Starlette:
    """Build the stand-in."""

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": scene.version, "profile": "box", "time_ms": now_ms(), "timezone": "Europe/Berlin"})

    async def cameras(request: Request) -> Response:
        if scene.token and request.cookies.get("session") != scene.token:
            return JSONResponse({"title": "sign in"}, status_code=401)
        return JSONResponse({"cameras": list(scene.cameras.values())})

    async def session(request: Request) -> Response:
        if (await request.json()).get("token") != scene.token:
            return JSONResponse({"title": "wrong token"}, status_code=401)
        reply = Response(status_code=204)
        reply.set_cookie("session", scene.token, httponly=True, samesite="strict")
        return reply

    async def counts(request: Request) -> Response:
        return JSONResponse(scene.counts(parse_s(request.query_params["last"]), parse_s(request.query_params["interval"])))

    async def preview(request: Request) -> Response:
        if scene.frames is None:
            return JSONResponse({"title": "no preview"}, status_code=404)
        body = await asyncio.to_thread(scene.frames, int(request.query_params.get("after", 0)))
        return Response(body, media_type="application/octet-stream")

    async def messages() -> Any:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        me = (asyncio.get_running_loop(), queue)
        scene.listeners.append(me)
        try:
            yield scene.snapshot()
            while True:
                try:
                    message = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    message = {"type": "heartbeat", "seq": scene.seq, "server_time_ms": now_ms()}
                if not scene.is_mute:
                    yield message
        finally:
            scene.listeners.remove(me)

    async def live(socket: WebSocket) -> None:
        if scene.refuses_websockets:
            await socket.close()
            return
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            async with contextlib.aclosing(messages()) as said:
                async for message in said:
                    await socket.send_text(json.dumps(message))

    async def sse(_: Request) -> Response:
        async def lines() -> Any:
            async with contextlib.aclosing(messages()) as said:
                async for message in said:
                    yield f"id: {message['seq']}\ndata: {json.dumps(message)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-cache"})

    routes = [
        Route("/v1/health", health),
        Route("/v1/cameras", cameras),
        Route("/v1/session", session, methods=["POST"]),
        Route("/v1/counts", counts),
        Route("/v1/cameras/{site}/{device}/{camera}/preview", preview),
        WebSocketRoute("/v1/live", live),
        Route("/v1/live/sse", sse),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    return Starlette(routes=routes, middleware=[])


def strict(inner: Any) -> Any:
    """Wrap an application so that every answer carries the page's content security policy."""

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", CSP.encode()), (b"cache-control", b"no-cache")]
            await send(message)

        await inner(scope, receive, sent)

    return outer


class PageServer:
    """The stand-in on a loopback port, in a thread; it can be stopped and started again on the same port."""

    def __init__(self, scene: Scene, port: int = 0) -> None:
        self.scene = scene
        with socket.create_server(("127.0.0.1", port)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Begin to answer."""
        config = uvicorn.Config(strict(app(self.scene)), host="127.0.0.1", port=self.port, log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        """Go away, with all connections."""
        self._server.should_exit = True
        self._thread.join(10)


class DrawnFrames:
    """Frames without a camera: a few boxes that walk, for a page under test."""

    def __init__(self) -> None:
        self._index = 0

    def __call__(self, after: int) -> bytes:
        """Return the next frame in the preview's format."""
        time.sleep(0.1)
        self._index = max(self._index, after) + 1
        picture = np.full((288, 384, 3), (70, 82, 76), np.uint8)
        tracks = []
        for person in range(4):
            x = int(384 + 330 * math.sin(self._index / 30 + person * 1.7))
            y = 180 + 80 * person
            cv2.circle(picture, (x // 2, y // 2 - 22), 7, (150, 170, 190), -1)
            cv2.rectangle(picture, (x // 2 - 8, y // 2 - 14), (x // 2 + 8, y // 2 + 22), (90, 120, 180), -1)
            tracks.append({"id": person + 1, "cls": "person", "conf": 0.9, "box": [x - 22, y - 62, x + 22, y + 48]})
        return packed(self._index, 768, 576, tracks, picture)


class VideoFrames:
    """Frames of a recording, with boxes around what moves, for looking at the page."""

    def __init__(self, path: str) -> None:
        video = cv2.VideoCapture(path)
        moving = cv2.createBackgroundSubtractorMOG2(200, 40, False)
        self._bodies: list[bytes] = []
        for index in range(1, 400):
            ok, picture = video.read()
            if not ok:
                break
            mask = cv2.dilate(cv2.medianBlur(moving.apply(picture), 5), np.ones((9, 5), np.uint8), iterations=2)
            boxes = [cv2.boundingRect(c) for c in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]]
            kept = [(x, y, w, h) for x, y, w, h in boxes if w * h > 700 and h > w and h < 200]
            tracks = [{"id": 10 + i, "cls": "person", "conf": 0.8, "box": [x, y, x + w, y + h]} for i, (x, y, w, h) in enumerate(kept)]
            self._bodies.append(packed(index, picture.shape[1], picture.shape[0], tracks, picture))
        video.release()

    def __call__(self, after: int) -> bytes:
        """Return the next frame in the preview's format."""
        time.sleep(0.1)
        return self._bodies[40 + after % (len(self._bodies) - 40)]


def packed(index: int, width: int, height: int, tracks: list[dict[str, Any]], picture: Any) -> bytes:
    """Make a preview body: a line of JSON, then the JPEG."""
    about = {"index": index, "captured_at_ms": now_ms(), "width": width, "height": height, "tracks": tracks}
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return json.dumps(about).encode() + b"\n" + jpeg


def lively(cameras: list[dict[str, Any]], hole_min: tuple[int, int] = (22, 29)) -> Scene:
    """Make an hour of believable counts, with a hole in it."""
    scene = Scene()
    chance = np.random.default_rng(7)
    to = now_ms()
    for described in cameras:
        scene.add(described)
        if described["state"] == "blind":
            scene.blind.append((described["id"], to - 240_000, to + 3_600_000))
        scene.blind.append((described["id"], to - hole_min[1] * 60_000, to - hole_min[0] * 60_000))
        for line in described["lines"]:
            for at in range(to - 3_600_000, to, 10_000):
                rate = 0.5 + 0.4 * math.sin(at / 700_000)
                if scene.watched(described["id"], at, 10_000) == 1:
                    scene.panes[described["id"], line["name"], at - at % 10_000] = chance.poisson([rate, 0.8 * rate]).tolist()
            sums = np.array([n for (c, name, _), n in scene.panes.items() if (c, name) == (described["id"], line["name"])]).sum(axis=0)
            scene.totals[described["id"], line["name"]] = (sums + [410, 380]).tolist()
        for zone in described["zones"]:
            scene.fill(described["id"], zone["name"], {"person": 3, "bicycle": 1}, visits=148, mean_dwell_ms=23_400, max=11)
    return scene


def main() -> None:
    """Show a lively scene until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--cameras", type=int, default=1)
    asked = parser.parse_args()
    described = [
        camera("plaza"),
        camera("back door", state="blind", reason="the lens is covered", coverage=0.2),
        camera("hall", preview=False, synthetic=True, width=640, height=360, lines=[{"name": "stairs", "points": [[60, 180], [580, 180]], "swap": False, "sides": ["upstairs", "hall"], "classes": []}], zones=[]),
        camera("yard", state="offline", preview=False, coverage=0.0, last_seen_ms=now_ms() - 4_000_000),
    ][: asked.cameras]
    scene = lively(described)
    scene.frames = VideoFrames(asked.video) if asked.video else DrawnFrames()
    server = PageServer(scene, asked.port)
    server.start()
    print(server.url, flush=True)
    chance = np.random.default_rng()
    while True:
        time.sleep(float(chance.exponential(1.2)))
        key = list(scene.totals)[int(chance.integers(len(scene.totals)))]
        scene.cross(*key, "in" if chance.random() < 0.55 else "out")


if __name__ == "__main__":
    main()
