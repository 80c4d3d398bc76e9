# ruff: noqa: D102, D106 - others' interfaces
"""Actions against a real HTTP server and real programs."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from countline.errors import UsageError
from edge.act import gpio as gpio_module
from edge.act import worker as worker_module
from edge.act.gpio import Gpio
from edge.act.worker import MAX_WAITING, Job, Worker, body, send, start
from edge.config.local import GpioAction, HttpAction

BODY = body("queue", is_on=True, at_ms=5, when="zone.queue.count > 8", values={"zone.queue.count": 9.0})


class Hook(BaseHTTPRequestHandler):
    """Answers as it is told, and keeps what it got."""

    answers: ClassVar[list[int]] = []
    got: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, dict(self.headers), body))
        status = self.answers.pop(0) if self.answers else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Hook.answers, Hook.got = [], []
    monkeypatch.setattr(
        worker_module, "Backoff", lambda **_: type("Now", (), {"next_delay_s": lambda self: 0.0})()
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def post(url: str, **more: Any) -> None:
    send(Job("queue", BODY, http=HttpAction(url, **more)), threading.Event())


def test_what_has_happened_is_posted_with_the_settings_headers(address: str):
    """The body is JSON and says which rule, whether it is on, when, and with which values."""
    post(f"{address}/hook?x=1", headers={"Authorization": "Bearer abc"})
    ((path, headers, sent),) = Hook.got
    assert path == "/hook?x=1"
    assert headers["Authorization"] == "Bearer abc"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(sent) == {
        "rule": "queue", "on": True, "at_ms": 5, "when": "zone.queue.count > 8", "values": {"zone.queue.count": 9.0},
    }  # fmt: skip


def test_trouble_at_the_other_end_is_tried_again_and_a_refusal_is_not(
    address: str, caplog: pytest.LogCaptureFixture
):
    """503 and 429 may mend themselves, 404 will not; a redirect is not followed. What failed in the end is said."""
    Hook.answers = [503, 429, 200]
    post(address)
    assert len(Hook.got) == 3
    assert not caplog.records
    for refusal in (404, 302):
        Hook.got, Hook.answers = [], [refusal]
        Hook.got.clear()
        post(address)
        assert len(Hook.got) == 1
    Hook.answers = [500, 500, 500]
    post(address)
    assert [record.fields["reason"] for record in caplog.records] == [  # type: ignore[attr-defined]
        "it answered 404", "it answered 302", "it answered 500",
    ]  # fmt: skip


def test_an_address_without_a_server_is_said(caplog: pytest.LogCaptureFixture, monkeypatch):
    """Nobody listens there: which rule, which address, and why."""
    monkeypatch.setattr(worker_module, "TRIES", 1)
    post("http://127.0.0.1:9/hook")
    (record,) = caplog.records
    assert record.fields["url"] == "http://127.0.0.1:9/hook"  # type: ignore[attr-defined]
    assert "refused" in record.fields["reason"]  # type: ignore[attr-defined]


def test_a_program_gets_what_has_happened_and_no_shell(tmp_path: Path):
    """Its arguments are taken as they are, and the JSON comes on standard input."""
    out = tmp_path / "out $(touch x); *"
    start(Job("queue", BODY, command=("/usr/bin/tee", str(out))), threading.Event())
    assert out.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("/bin/false",), "it ended with 1"),
        (("/no/such/program",), "No such file or directory"),
        (("/bin/sh", "-c", "sleep 60 & wait"), "it ran longer than 0.2 s"),
    ],
)
def test_a_program_that_goes_wrong_is_said(
    command: tuple[str, ...], reason: str, caplog: pytest.LogCaptureFixture
):
    """With what it is, and how it ended; one that runs too long is ended with what it started."""
    start(Job("queue", BODY, command=command, timeout_s=0.2), threading.Event())
    (record,) = caplog.records
    assert record.fields["reason"] == reason  # type: ignore[attr-defined]
    assert record.fields["command"] == command[0]  # type: ignore[attr-defined]


def test_when_too_many_actions_wait_the_oldest_go_and_are_counted(caplog: pytest.LogCaptureFixture):
    """Whoever asks for an action never waits for it."""
    caplog.set_level(logging.WARNING)
    done: list[str] = []
    is_busy, go_on, is_done = threading.Event(), threading.Event(), threading.Event()

    def do(job: Job, _stop: threading.Event) -> None:
        is_busy.set()
        go_on.wait(10)
        done.append(job.rule)
        if job.rule == str(MAX_WAITING + 5):
            is_done.set()

    worker = Worker("slow", do)
    worker.put(Job("0", b""))
    assert is_busy.wait(10)
    for number in range(1, MAX_WAITING + 6):
        worker.put(Job(str(number), b""))
    assert worker.dropped == 5
    go_on.set()
    assert is_done.wait(10)
    worker.close()
    assert done == ["0", *(str(number) for number in range(6, MAX_WAITING + 6))]
    assert [record.fields["dropped"] for record in caplog.records] == [1, 2, 3, 4, 5]  # type: ignore[attr-defined]


class FakeGpiod:
    """libgpiod's Python module, as far as it is used; what a real chip does is not tested here."""

    class line:  # noqa: N801
        class Direction:
            OUTPUT = "output"

        class Value:
            ACTIVE = 1
            INACTIVE = 0

    def __init__(self) -> None:
        self.values: list[tuple[int, int]] = []
        self.requested: list[tuple[str, dict]] = []
        self.released = 0

    def LineSettings(self, **settings: Any) -> dict[str, Any]:  # noqa: N802
        return settings

    def request_lines(self, chip: str, *, consumer: str, config: dict) -> "FakeGpiod":
        if chip == "/dev/none":
            raise FileNotFoundError(2, "No such file or directory", chip)
        assert consumer == "countline"
        self.requested.append((chip, config))
        return self

    def set_value(self, line: int, value: int) -> None:
        self.values.append((line, value))

    def release(self) -> None:
        self.released += 1


def test_an_output_is_switched_pulsed_and_off_at_the_end():
    """It begins off; a pulse ends by itself; closing switches off and lets go."""
    chip, lamp, bell = FakeGpiod(), GpioAction(17, active_low=True), GpioAction(4, pulse_s=0.5)
    gpio = Gpio([lamp, bell, lamp], chip)
    off = {"direction": "output", "active_low": True, "output_value": 0}
    assert chip.requested[0] == ("/dev/gpiochip0", {17: off})
    assert len(chip.requested) == 2
    gpio.switch(lamp, is_on=True, now_s=10.0)
    gpio.switch(bell, is_on=True, now_s=10.0)
    assert gpio.next_tick_s() == 10.5
    gpio.tick(10.4)
    assert chip.values == [(17, 1), (4, 1)]
    gpio.tick(10.5)
    assert chip.values[2:] == [(4, 0)]
    assert gpio.next_tick_s() is None
    gpio.close()
    assert chip.values[3:] == [(17, 0), (4, 0)]
    assert chip.released == 2


def test_an_output_that_cannot_be_had_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    """At the start, not when the rule fires for the first time."""
    with pytest.raises(UsageError, match="output 17 of /dev/none, which cannot be had"):
        Gpio([GpioAction(17, "/dev/none")], FakeGpiod())
    monkeypatch.setattr(gpio_module.importlib, "import_module", lambda _: (_ for _ in ()).throw(ImportError))
    with pytest.raises(UsageError, match=r"countline\[gpio\]"):
        Gpio([GpioAction(17)])
    Gpio([]).close()
