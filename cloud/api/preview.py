"""The camera's picture, fetched from the agent and passed on, so that the page needs one address only."""

from collections.abc import AsyncIterator

import httpx
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from cloud.api.problems import Problem

# The agent answers within two seconds: with a picture, or that there is none yet.
TIMEOUT_S = 5.0
# Pages that watch pictures at once; each holds a connection to the agent.
MAX_CONNECTIONS = 64
# A full HD picture has about 500 kB.
MAX_BYTES = 8_000_000
# How to get pictures where there are none.
HINT = "Start with `--preview`, or set `enabled: true` under `preview` in the settings."


class PreviewProxy:
    """Asks the agent for pictures."""

    def __init__(self, url: str) -> None:
        """Take the agent's address; empty if it serves no pictures."""
        self._url = url.rstrip("/")
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS)
        # The agent is on this machine: no proxy of the environment may come between.
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def fetch(self, camera: str, after: int) -> Response:
        """Return a picture newer than index `after`, or 204 if none came in time.

        Args:
            camera: The camera's name on its device, a valid `Name`.
            after: Index of the picture that the asker has.

        Raises:
            Problem: There is none, or the agent does not answer.
        """
        if not self._url:
            raise Problem(404, "No picture is served here.", HINT)
        request = self._client.build_request(
            "GET", f"{self._url}/cameras/{camera}/preview", params={"after": after}
        )
        try:
            reply = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Problem(503, "The agent does not answer.", "It may be starting; try again.") from error
        if reply.status_code == 200:
            return StreamingResponse(
                _bounded(reply),
                headers={"Cache-Control": "no-store"},
                media_type="application/octet-stream",
                background=BackgroundTask(reply.aclose),
            )
        await reply.aclose()
        if reply.status_code == 204:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        if reply.status_code == 404:
            raise Problem(404, f"The agent has no picture of {camera}.", HINT)
        raise Problem(503, f"The agent answered {reply.status_code}.", "Its log says why.")


async def _bounded(reply: httpx.Response) -> AsyncIterator[bytes]:
    total = 0
    try:
        async for chunk in reply.aiter_bytes():
            total += len(chunk)
            if total > MAX_BYTES:
                return
            yield chunk
    except httpx.HTTPError:
        return
    finally:
        await reply.aclose()
