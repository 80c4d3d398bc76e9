"""Who may ask: the guard in front of everything.

* On loopback without a token everybody on this machine may read, but only under a loopback name: a page from the
  internet whose name was pointed at 127.0.0.1 (DNS rebinding) carries its own name in `Host` and is refused.
* With a token: `Authorization: Bearer`, or the session cookie that `POST /v1/session` sets. The page itself is
  public, what it shows is not.
* A WebSocket is not bound by the same-origin rule, so its `Origin` is checked here.
"""

import hashlib
import hmac
from collections import deque
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.api.problems import Problem
from cloud.config import ApiSettings
from countline.clock import Clock
from countline.config import is_loopback

COOKIE = "countline_session"
SESSION_S = 30 * 86_400
# Wrong tokens per minute before everybody has to wait: guessing 16 characters stays hopeless.
MAX_FAILURES = 20
FAILURE_WINDOW_S = 60.0
MAX_SESSION_BYTES = 4_096

_OPEN_PATHS = frozenset({"/v1/session"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_POLICY_VIOLATION = 1008


class _Login(Struct, forbid_unknown_fields=True):
    token: str


class Sessions:
    """Makes and checks session cookies. They are signed, so nothing has to be remembered."""

    def __init__(self, token: str, clock: Clock) -> None:
        self._token = token.encode()
        self._clock = clock
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)

    def is_token(self, token: str) -> bool:
        """Say whether this is the token, in a time that tells nothing."""
        return hmac.compare_digest(token.encode(), self._token)

    def cookie(self) -> str:
        """Return a cookie's value that is good for `SESSION_S`."""
        expires_ms = self._clock.now_ms() + SESSION_S * 1000
        return f"{expires_ms}.{self._signature(expires_ms)}"

    def is_cookie(self, value: str) -> bool:
        """Say whether the cookie's value is ours and still good."""
        expires, _, signature = value.partition(".")
        if not (expires.isascii() and expires.isdigit()) or int(expires) < self._clock.now_ms():
            return False
        return hmac.compare_digest(signature.encode(), self._signature(int(expires)).encode())

    def sign_in(self, token: str) -> bool:
        """Say whether the token opens a session.

        Raises:
            Problem: Too many wrong ones came within a minute.
        """
        now_s = self._clock.monotonic_s()
        if len(self._failures) == MAX_FAILURES and now_s - self._failures[0] < FAILURE_WINDOW_S:
            raise Problem(429, "Too many wrong tokens.", "Wait a minute.", {"Retry-After": "60"})
        if self.is_token(token):
            return True
        self._failures.append(now_s)
        return False

    def _signature(self, expires_ms: int) -> str:
        return hmac.new(self._token, f"session {expires_ms}".encode(), hashlib.sha256).hexdigest()


class Guard:
    """ASGI middleware: checks `Host`, `Origin` and token, and adds security headers."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, sessions: Sessions) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer it with a problem."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        problem = self._problem(scope, Headers(scope=scope))
        if problem is None:
            await self._app(scope, receive, _with_headers(send, scope["path"]))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem.detail})
        else:
            await problem.response()(scope, receive, _with_headers(send, scope["path"]))

    def _problem(self, scope: Scope, headers: Headers) -> Problem | None:
        host = headers.get("host", "")
        if not self._settings.token and not is_loopback(_hostname(host)):
            return Problem(
                403, f"This server does not answer for the name {host!r}.", "Use 127.0.0.1 or localhost."
            )
        origin = headers.get("origin")
        needs_origin = scope["type"] == "websocket" or scope.get("method") not in {"GET", "HEAD"}
        if needs_origin and origin is not None and urlsplit(origin).netloc != host:
            return Problem(403, f"A page of {origin} may not ask here.", "Open the page from this server.")
        if self._is_signed_in(scope["path"], headers):
            return None
        return Problem(
            401,
            "This needs the token.",
            "Send `Authorization: Bearer <token>`, or sign in with POST /v1/session.",
            {"WWW-Authenticate": 'Bearer realm="countline"'},
        )

    def _is_signed_in(self, path: str, headers: Headers) -> bool:
        if not self._settings.token or path in _OPEN_PATHS or not path.startswith("/v1/"):
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._sessions.is_token(token.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._sessions.is_cookie(cookie.value)


async def post_session(request: Request, sessions: Sessions, settings: ApiSettings) -> Response:
    """Exchange the token for a cookie that scripts of a page cannot read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_SESSION_BYTES:
            raise Problem(422, "The body is too large.", 'Send {"token": "..."} as JSON.')
    try:
        login = msgspec.json.decode(body, type=_Login)
    except msgspec.DecodeError as error:
        raise Problem(422, f"{error}.", 'Send {"token": "..."} as JSON.') from error
    if settings.token and not sessions.sign_in(login.token):
        raise Problem(401, "The token is wrong.", "It is in the server's config, `api.token`.")
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    if settings.token:
        is_secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, sessions.cookie(), max_age=SESSION_S, httponly=True, samesite="strict", secure=is_secure
        )
    return response


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _with_headers(send: Send, path: str) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            # The page may be kept but has to be asked for each time: an update must reach every screen.
            if not path.startswith("/v1/"):
                headers["Cache-Control"] = "no-cache"
        await send(message)

    return send_with_headers
