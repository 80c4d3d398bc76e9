"""Serves the newest picture of each camera, with its tracks, to this machine alone.

`GET /cameras/<camera>/preview?after=<index>` waits up to 2 s for a frame newer than `after` and answers with one line
of JSON, a newline and a JPEG; 204 if no frame came, 404 if there is no such camera.

`GET /cameras/<camera>/snapshot?kind=blurred` answers with a single JPEG with lines and zones drawn on it, for drawing them;
403 if `preview.snapshot` does not allow that kind. Of recorded detections, which have no pictures, the ground is grey. What is
refused is answered with one sentence.

The frame loop only swaps a reference. A picture is scaled and encoded when somebody asks for it, once for all who
ask, in the thread of the one who asks first.
"""

import contextlib
import difflib
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import cv2
import msgspec
import numpy as np

from countline.clock import Clock, SystemClock
from countline.errors import UsageError
from countline.events import LineShape, ZoneShape
from countline.telemetry import Log
from edge.capture.annotate import blurred, draw_shapes, faceless, grey_ground
from edge.config import PreviewSettings
from edge.frames import Frame, Image

LOOPBACK = "127.0.0.1"
# A viewer holds one connection while it waits; more than this many waiting threads are not a preview any more.
MAX_CONNECTIONS = 16
WAIT_S = 2.0
# How long a client may take to send its request line.
_REQUEST_TIMEOUT_S = 5.0
_JPEG_QUALITY = 80
# Kinds of snapshots, each showing more than the one before it.
KINDS = ("blurred", "faceless", "clear")
_HOSTS = frozenset({LOOPBACK, "localhost", "[::1]", "::1"})

_log = Log("preview")

Track = Mapping[str, object] | msgspec.Struct
"""`{"id", "cls", "conf", "box": [x1, y1, x2, y2]}`, the box in pixels of the whole frame."""


class _Header(msgspec.Struct, frozen=True):
    index: int
    captured_at_ms: int
    width: int
    height: int
    tracks: Sequence[Any]


@dataclass
class _Shelf:
    """The newest frame of a camera, and its encoded form if somebody has asked for it."""

    frame: Frame | None = None
    tracks: Sequence[Track] = ()
    taken_at_s: float = float("-inf")
    encoded_index: int = -1
    encoded: bytes = b""
    encoding: threading.Lock = field(default_factory=threading.Lock)
    lines: Sequence[LineShape] = ()
    zones: Sequence[ZoneShape] = ()
    size: tuple[int, int] = (0, 0)
    has_pictures: bool = True


class Preview:
    """The preview server of one agent."""

    def __init__(self, settings: PreviewSettings, cameras: Sequence[str], clock: Clock | None = None) -> None:
        """Start to serve.

        Args:
            settings: Port, rate and size.
            cameras: Names of the cameras that will publish.
            clock: Keeps the rate.

        Raises:
            UsageError: The port is taken.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self._shelves = {camera: _Shelf() for camera in cameras}
        self._changed = threading.Condition()
        self._is_closed = False
        try:
            self._server = _Server((LOOPBACK, settings.port), _Handler)
        except OSError as error:
            raise UsageError(
                f"the preview can't use port {settings.port} of {LOOPBACK}: {error.strerror}; set preview.port to another, or to 0."
            ) from error
        self._server.preview = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="preview", daemon=True
        )
        self._thread.start()
        if settings.snapshot != "off":
            _log.info(
                "single pictures can be had on this machine",
                at=f"http://{LOOPBACK}:{self.port}/cameras/{cameras[0]}/snapshot",
                at_most=settings.snapshot,
            )

    @property
    def is_shown(self) -> bool:
        """Whether a page may show pictures; if not there are snapshots alone."""
        return self._settings.enabled

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    def publish(self, camera: str, frame: Frame, tracks: Sequence[Track]) -> None:
        """Show a frame. Costs next to nothing when nobody watches. A frame without a picture is not shown.

        Args:
            camera: Its name.
            frame: The frame; its picture must not be changed any more.
            tracks: What is drawn over it; neither.
        """
        shelf = self._shelves[camera]
        if frame.image is None:
            shelf.has_pictures = False
            return
        now_s = self._clock.monotonic_s()
        # A tenth of tolerance: 12 pictures a second at most 12 are 12, though their distances vary a little.
        if self._settings.max_fps > 0 and now_s - shelf.taken_at_s < 0.9 / self._settings.max_fps:
            return
        with self._changed:
            shelf.frame, shelf.tracks, shelf.taken_at_s = frame, tracks, now_s
            self._changed.notify_all()

    def configure(
        self,
        camera: str,
        lines: Sequence[LineShape],
        zones: Sequence[ZoneShape],
        size: tuple[int, int] = (0, 0),
    ) -> None:
        """Take what is drawn on a camera's snapshots, in pixels of its picture, and how large that is: width, height."""
        with self._changed:
            shelf = self._shelves[camera]
            shelf.lines, shelf.zones, shelf.size = lines, zones, size

    def may_show(self, kind: str) -> bool:
        """Say whether the settings allow a snapshot of this kind."""
        allowed = self._settings.snapshot
        return kind in KINDS and allowed in KINDS and KINDS.index(kind) <= KINDS.index(allowed)

    def snapshot(self, camera: str, kind: str = "blurred") -> bytes | str:
        """Return the newest picture as a JPEG with lines and zones drawn on it, or one sentence why there is none.

        Args:
            camera: Its name.
            kind: "blurred", "faceless" or "clear".
        """
        if not self.may_show(kind):
            return self._not_allowed(kind)
        if camera not in self._shelves:
            return self.unknown(camera)
        with self._changed:
            shelf = self._shelves[camera]
            frame, tracks, lines, zones = shelf.frame, shelf.tracks, shelf.lines, shelf.zones
        if frame is None or frame.image is None:
            if shelf.has_pictures or not all(shelf.size):
                return f"camera {camera!r} has not shown a picture yet"
            picture = grey_ground(shelf.size)
        elif kind == "blurred":
            picture = blurred(frame.image)
        elif kind == "faceless":
            picture = faceless(frame.image, [_box(track) for track in tracks])
        else:
            picture = frame.image.copy()
        draw_shapes(picture, lines, zones)
        return _jpeg(picture, self._settings.max_width)

    def _not_allowed(self, kind: str) -> str:
        if kind not in KINDS:
            return f"a snapshot is {', '.join(KINDS)}, not {kind[:40]!r}"
        allowed = self._settings.snapshot
        return f"a snapshot that is {kind} is not allowed, because preview.snapshot is {allowed}"

    def unknown(self, camera: str) -> str:
        """Return one sentence on a camera that is not there."""
        near = difflib.get_close_matches(camera, self._shelves, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"there is no camera {camera[:80]!r}: {hint}There is {', '.join(self._shelves)}"

    def newest(self, camera: str, after: int) -> bytes | None:
        """Wait for a frame newer than `after`; return its header line and its JPEG, or None if none came.

        Raises:
            KeyError: There is no such camera.
        """
        shelf = self._shelves[camera]

        def is_newer() -> bool:
            # Another index, not only a larger one: a camera that was opened again counts from 0.
            return self._is_closed or (shelf.frame is not None and shelf.frame.index != after)

        with self._changed:
            if not self._changed.wait_for(is_newer, timeout=WAIT_S) or self._is_closed:
                return None
        return self._encoded(shelf)

    def _encoded(self, shelf: _Shelf) -> bytes:
        with shelf.encoding:
            with self._changed:
                frame, tracks = shelf.frame, shelf.tracks
            assert frame is not None
            assert frame.image is not None
            if shelf.encoded_index != frame.index:
                height, width = frame.image.shape[:2]
                header = _Header(frame.index, frame.captured_at_ms, width, height, tracks)
                line = msgspec.json.encode(header, enc_hook=_plain)
                shelf.encoded = line + b"\n" + _jpeg(frame.image, self._settings.max_width)
                shelf.encoded_index = frame.index
            return shelf.encoded

    def close(self) -> None:
        """Stop serving; whoever waits gets no picture."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.send_home()


def _jpeg(image: Image, max_width: int) -> bytes:
    height, width = image.shape[:2]
    if width > max_width:
        size = max_width, max(1, round(height * max_width / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # pyright: ignore[reportAssignmentType] - uint8
    is_done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert is_done
    return jpeg.tobytes()


def _box(track: Track) -> Sequence[float]:
    box: Any = track["box"] if isinstance(track, Mapping) else getattr(track, "box")  # noqa: B009 - any Struct
    return box


def _plain(value: object) -> object:
    """Return what JSON can say for numpy's numbers and arrays."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a track holds a {type(value).__name__}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many may knock at once as may come in: a lost knock is repeated only a second later.
    request_queue_size = 2 * MAX_CONNECTIONS
    preview: Preview

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._inside: set[socket.socket] = set()
        self._left = threading.Condition()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the name service for our own name, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._left:
            is_full = len(self._inside) >= MAX_CONNECTIONS
            if not is_full:
                self._inside.add(request)
        if is_full:
            request.sendall(
                b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
            )
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._left:
                self._inside.discard(request)
                self._left.notify_all()

    def send_home(self) -> None:
        """Let the handlers finish: those who still wait for a request line won't get one."""
        with self._left:
            for request in self._inside:
                with contextlib.suppress(OSError):  # it is gone already
                    request.shutdown(socket.SHUT_RD)
            self._left.wait_for(lambda: not self._inside, timeout=1.0)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say nothing of a viewer that went away in the middle of an answer."""
        if not isinstance(sys.exc_info()[1], OSError):
            _log.error("preview failed")


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_S
    server_version = "countline"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        # A page from elsewhere may make its own name point to this machine; then it is not us that it asks for.
        host = self.headers.get("Host", "").rsplit(":", 1)[0] if self.headers.get("Host") else LOOPBACK
        if host not in _HOSTS:
            return self._refuse(403, "pictures are for this machine only: ask 127.0.0.1 or localhost")
        address = urlsplit(self.path)
        parts = address.path.strip("/").split("/")
        if len(parts) != 3 or parts[0] != "cameras":
            return self._refuse(404, "there is /cameras/CAMERA/snapshot and /cameras/CAMERA/preview")
        server = self.server
        assert isinstance(server, _Server)
        camera, query = unquote(parts[1]), parse_qs(address.query)
        if parts[2] == "snapshot":
            return self._snapshot(server.preview, camera, query.get("kind", ["blurred"])[-1])
        if parts[2] != "preview":
            return self._refuse(404, "there is /cameras/CAMERA/snapshot and /cameras/CAMERA/preview")
        if not server.preview.is_shown:
            return self._refuse(404, "no picture is shown, because preview.enabled is false")
        return self._newest(server.preview, camera, query.get("after", ["-1"])[-1])

    def _newest(self, preview: Preview, camera: str, after: str) -> None:
        if not re.fullmatch(r"-?[0-9]{1,18}", after):
            return self._refuse(422, "after is the index of a picture, a whole number")
        try:
            body = preview.newest(camera, int(after))
        except KeyError:
            return self._refuse(404, preview.unknown(camera))
        return self._answer(204) if body is None else self._answer(200, body)

    def _snapshot(self, preview: Preview, camera: str, kind: str) -> None:
        picture = preview.snapshot(camera, kind)
        if isinstance(picture, str):
            return self._refuse(404 if preview.may_show(kind) else 403, picture)
        return self._answer(200, picture, "image/jpeg")

    def _refuse(self, status: int, sentence: str) -> None:
        self._answer(status, f"{sentence}.\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, status: int, body: bytes = b"", content_type: str = "application/octet-stream") -> None:
        self.send_response(status)
        if body:
            self.send_header("Content-Type", content_type)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a picture a second per viewer is no news."""
