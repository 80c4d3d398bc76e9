"""What went wrong, as RFC 9457 problem details with a hint how to mend it."""

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from countline.errors import Unavailable, UsageError

_TITLES = {
    400: "Bad request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    422: "Senseless request",
    429: "Too many requests",
    503: "Not available now",
}


class Problem(Exception):  # noqa: N818 - it is named after the media type
    """A request that cannot be answered.

    Attributes:
        status: HTTP status.
        detail: What is wrong, one sentence.
        hint: How to mend it, one sentence.
        headers: More headers of the reply.
    """

    def __init__(self, status: int, detail: str, hint: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON body."""
        title = _TITLES.get(self.status, "Error")
        return json.dumps(
            {
                "type": "about:blank",
                "title": title,
                "status": self.status,
                "detail": self.detail,
                "hint": self.hint,
            }
        ).encode()

    def response(self) -> Response:
        """Return the reply."""
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(self.body(), self.status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Let every error of the app be answered as a problem."""

    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        hint = "GET /v1/openapi.json lists what there is."
        problem = Problem(
            error.status_code, f"{request.method} {request.url.path}: {error.detail}.", hint, error.headers
        )
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"][1:])
        return Problem(
            422, f"{where}: {first['msg']}.", "GET /v1/openapi.json says what is allowed."
        ).response()

    @app.exception_handler(UsageError)
    async def on_damaged(_: Request, error: UsageError) -> Response:
        return Problem(503, str(error), "`countline doctor` checks this machine.").response()

    @app.exception_handler(Unavailable)
    async def on_unavailable(_: Request, error: Unavailable) -> Response:
        return Problem(503, f"The store does not answer: {error.what}.", "Try again shortly.").response()
