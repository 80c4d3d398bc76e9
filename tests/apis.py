"""The API in a thread on a real port, for tests."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx

from cloud import main
from cloud.api.server import StallLimits
from cloud.config import ApiSettings
from countline.service import Stop

# Generous: a busy machine is no reason to fail.
PATIENCE_S = 20.0


def free_port() -> int:
    """Return a port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Serving:
    """An API that runs until `end`.

    Attributes:
        url: Where it is.
    """

    def __init__(self, settings: ApiSettings, limits: StallLimits | None = None) -> None:
        self.url = f"http://127.0.0.1:{settings.port}"
        self._stop = Stop()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(settings, limits), name="api")
        self._thread.start()
        while self._thread.is_alive():
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/v1/health", timeout=5)
                break

    def _run(self, settings: ApiSettings, limits: StallLimits | None) -> None:
        try:
            main.run_api(settings, self._stop, limits)
        except BaseException as error:  # noqa: BLE001 - told to the test by `end`
            self._failures.append(error)

    def ask_to_end(self) -> None:
        """Request the stop and return at once."""
        self._stop.request()

    def end(self) -> None:
        """Stop and wait for the end."""
        self.ask_to_end()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self._failures == []


@contextlib.contextmanager
def serving(settings: ApiSettings, limits: StallLimits | None = None) -> Iterator[str]:
    """Serve until the end of the context; yield the address."""
    api = Serving(settings, limits)
    try:
        yield api.url
    finally:
        api.end()
