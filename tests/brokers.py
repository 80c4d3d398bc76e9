"""A real broker on a free loopback port, for tests."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from countline.service import Stop
from deploy import broker


def names() -> list[str]:
    """Return the brokers that can be tested on this machine; the embedded one always."""
    return sorted({"embedded", broker.choose()})


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(name: str, data_dir: Path, port: int | None = None) -> Iterator[int]:
    """Run a broker in a thread; give its port once it answers."""
    port = port or free_port()
    stop = Stop()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            broker.run(broker.BrokerSettings(port=port, data_dir=str(data_dir), prefer=name), stop)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=serve, name="broker")
    thread.start()
    try:
        pause = threading.Event()
        for _ in range(500):
            if broker.is_listening("127.0.0.1", port) or failures:
                break
            pause.wait(0.02)
        if failures:
            raise failures[0]
        yield port
    finally:
        stop.request()
        thread.join(10)
