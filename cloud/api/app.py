"""The FastAPI app: which address is answered by what."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from fastapi import FastAPI, Query, Request, WebSocket
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cloud.api import cameras, counts, heat, occupancy, problems
from cloud.api.auth import Guard, Sessions, post_session
from cloud.api.health import health
from cloud.api.live import LiveFeed, serve_events, serve_websocket
from cloud.api.preview import PreviewProxy
from cloud.api.problems import Problem
from cloud.api.schemas import json_response
from cloud.api.server import OpenRequests
from cloud.config import ApiSettings
from cloud.store.reader import StoreReader
from countline import __version__
from countline.clock import Clock
from countline.events import Name

T = TypeVar("T")

NO_PAGE = (
    "Countline's API is running, but its page is not installed here: run `make demo` or `make page` in the project, "
    "or install the countline package. The API itself is under /v1/.\n"
)


@dataclass
class Context:
    """What the endpoints share.

    Attributes:
        settings: Of this process.
        clock: What time it is.
        feed: The live picture.
        reader: For questions that take longer than a live message may wait; used by one thread at a time.
        preview: Where pictures come from.
        requests: Those under way.
    """

    settings: ApiSettings
    clock: Clock
    feed: LiveFeed
    reader: StoreReader
    preview: PreviewProxy
    requests: OpenRequests
    _lock: threading.Lock = field(default_factory=threading.Lock)

    async def ask(self, question: Callable[[StoreReader], T]) -> T:
        """Read the store in a thread, so that live messages do not wait for it."""

        def locked() -> T:
            with self._lock:
                return question(self.reader)

        return await asyncio.to_thread(locked)


def create_app(context: Context) -> ASGIApp:
    """Return the app, guard included."""
    app = FastAPI(
        title="Countline",
        version=__version__,
        openapi_url="/v1/openapi.json",
        docs_url=None,  # Its page loads scripts from another address.
        redoc_url=None,
    )
    problems.install(app)
    sessions = Sessions(context.settings.token, context.clock)
    _add_state(app, context)
    _add_counts(app, context)
    _add_live(app, context)
    _add_preview(app, context)

    @app.post("/v1/session", status_code=204)
    async def session(request: Request) -> Response:
        return await post_session(request, sessions, context.settings)

    _add_page(app, context.settings.page_dir)
    return Guard(context.requests.around(app), context.settings, sessions)


def _add_state(app: FastAPI, context: Context) -> None:
    @app.get("/v1/health")
    async def get_health() -> Response:
        note = await context.ask(StoreReader.note)
        return json_response(health(context.feed, note, context.clock.now_ms(), context.settings.timezone))

    @app.get("/v1/cameras")
    async def get_cameras() -> Response:
        return json_response(cameras.cameras(context.feed.hub))

    @app.get("/v1/zones")
    async def get_zones() -> Response:
        return json_response(cameras.zones(context.feed.hub))

    @app.get("/v1/gates")
    async def get_gates() -> Response:
        return json_response(cameras.gates(context.feed.hub))

    @app.get("/v1/counters")
    async def get_counters() -> Response:
        return json_response(cameras.counters(context.feed.hub))

    @app.get("/v1/occupancy")
    async def get_occupancy(request: Request) -> Response:
        now_ms = context.clock.now_ms()
        return json_response(
            await context.ask(lambda reader: occupancy.answer(request.query_params, reader, now_ms))
        )

    @app.get("/v1/heat")
    async def get_heat(request: Request) -> Response:
        now_ms = context.clock.now_ms()
        return json_response(
            await context.ask(lambda reader: heat.answer(request.query_params, reader, now_ms))
        )

    @app.get("/v1/ledger")
    async def get_ledger() -> Response:
        accounts = await context.ask(StoreReader.ledger)
        return json_response(cameras.ledger(accounts, await context.ask(StoreReader.unattributed)))


def _add_counts(app: FastAPI, context: Context) -> None:
    zone = ZoneInfo(context.settings.timezone)

    @app.get("/v1/counts")
    async def get_counts(request: Request) -> Response:
        now_ms = context.clock.now_ms()
        pane_ms = await context.ask(StoreReader.pane_ms)
        query = counts.parse(request.query_params, now_ms, zone, pane_ms)
        body = await context.ask(
            lambda reader: counts.answer(query, reader, now_ms, context.settings.timezone)
        )
        return json_response(body)


def _add_live(app: FastAPI, context: Context) -> None:
    @app.websocket("/v1/live")
    async def live(websocket: WebSocket) -> None:
        await serve_websocket(websocket, context.feed)

    @app.get("/v1/live/sse")
    async def live_sse(request: Request) -> Response:
        return serve_events(request, context.feed)


def _add_preview(app: FastAPI, context: Context) -> None:
    @app.get("/v1/cameras/{site}/{device}/{camera}/preview")
    async def preview(
        site: str, device: str, camera: str, after: Annotated[int, Query(ge=-1)] = -1
    ) -> Response:
        name = f"{site}/{device}/{camera}"
        if not any(known.id == name for known in context.feed.hub.cameras()) or not _is_name(camera):
            raise Problem(404, f"There is no camera {name!r}.", "GET /v1/cameras lists them.")
        return await context.preview.fetch(camera, after)


def _is_name(text: str) -> bool:
    try:
        msgspec.convert(text, Name)
    except msgspec.ValidationError:
        return False
    return True


def _add_page(app: FastAPI, page_dir: str) -> None:
    if page_dir and Path(page_dir).is_dir():
        app.mount("/", StaticFiles(directory=page_dir, html=True))
        return

    @app.get("/")
    async def no_page() -> Response:
        return PlainTextResponse(NO_PAGE)
