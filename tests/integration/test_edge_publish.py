"""The publisher against a real broker and a real gateway: every event arrives once, whatever is killed in between."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from countline import codec, eventlog
from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.events import Direction, Envelope, LineCrossed, LineTotals
from edge.outbox import Outbox
from edge.publish import Publisher
from tests import brokers, gateways

PATIENCE_S = 30.0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 50_000_000)) as opened:
        yield opened


def publisher(outbox: Outbox, port: int) -> Publisher:
    return Publisher(outbox, MqttSettings(port=port), "site", "box", SystemClock())


def produce(outbox: Outbox, n: int) -> None:
    before = outbox.totals("cam").get("door", LineTotals(in_=0, out=0)).in_
    moments = [
        (1_000 + i, LineCrossed("door", Direction.IN, "person", i, 0.9, LineTotals(in_=i, out=0)))
        for i in range(before + 1, before + n + 1)
    ]
    outbox.append("cam", moments, {"door": LineTotals(in_=before + n, out=0)})


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not happen")


def journal(folder: Path) -> list[int]:
    reader = eventlog.Reader(folder / "journal.sqlite", "test")
    try:
        envelopes = [codec.decode(entry.envelope) for entry in reader.read_after(0, 1_000_000)]
    finally:
        reader.close()
    return [envelope.seq for envelope in envelopes if isinstance(envelope, Envelope)]


def test_the_outbox_is_emptied_by_the_gateways_mark(outbox: Outbox, broker_port: int, tmp_path: Path) -> None:
    """What was counted before and after the connection arrives once, and leaves the outbox."""
    produce(outbox, 1_200)
    with gateways.in_thread(broker_port, tmp_path / "gateway"):
        sender = publisher(outbox, broker_port)
        sender.start()
        produce(outbox, 300)
        sender.wake()
        until(lambda: outbox.backlog == 0)
        assert sender.close(1.0)
    # Not always in order: what comes before the gateway has subscribed is sent again.
    assert sorted(journal(tmp_path / "gateway")) == list(range(1, 1_501))


def test_nothing_leaves_the_outbox_without_a_gateway(outbox: Outbox, broker_port: int) -> None:
    """A broker's acknowledgement proves nothing: without a mark every event stays."""
    produce(outbox, 50)
    sender = publisher(outbox, broker_port)
    sender.start()
    assert not sender.close(1.0)
    assert outbox.backlog == 50


def test_events_wait_for_a_broker_that_comes_later(outbox: Outbox, tmp_path: Path) -> None:
    """An agent that starts before its broker, or outlives it, goes on trying and loses nothing."""
    port = brokers.free_port()
    produce(outbox, 10)
    sender = publisher(outbox, port)
    sender.start()
    try:
        for round_ in range(2):
            with (
                brokers.running("embedded", tmp_path / f"broker{round_}", port),
                gateways.in_thread(port, tmp_path / "gateway"),
            ):
                until(lambda: outbox.backlog == 0)
            produce(outbox, 10)
    finally:
        sender.close(0.0)
    assert journal(tmp_path / "gateway") == list(range(1, 21))
    assert outbox.backlog == 10


def test_a_gateway_killed_again_and_again_has_every_event_once(
    outbox: Outbox, broker_port: int, tmp_path: Path
) -> None:
    """SIGKILL of the gateway in the middle of the stream neither loses nor doubles an event."""
    sender = publisher(outbox, broker_port)
    sender.start()
    try:
        for _ in range(4):
            with gateways.as_process(broker_port, tmp_path / "gateway") as gateway:
                produce(outbox, 700)
                sender.wake()
                target = outbox.mark + 200
                until(lambda target=target: outbox.mark >= target)
                gateway.kill()
        with gateways.as_process(broker_port, tmp_path / "gateway"):
            until(lambda: outbox.backlog == 0)
    finally:
        sender.close(0.0)
    assert journal(tmp_path / "gateway") == list(range(1, 2_801))


def test_what_was_sent_before_the_gateway_listened_is_sent_again_while_more_comes(
    outbox: Outbox, broker_port: int, tmp_path: Path
) -> None:
    """A gateway that takes later events and repeats its mark is told again what it misses, however much else comes."""
    with (
        brokers.running("embedded", tmp_path / "first broker") as port,
        gateways.in_thread(port, tmp_path / "gateway"),
    ):
        sender = publisher(outbox, port)
        sender.start()
        produce(outbox, 10)
        sender.wake()
        until(lambda: outbox.backlog == 0)
        sender.close(1.0)
    with gateways.listening(broker_port) as topics_heard:  # to a new broker, where nobody else listens yet
        sender = publisher(outbox, broker_port)
        sender.start()
        produce(outbox, 5)
        sender.wake()
        until(lambda: "countline/v1/site/box/events" in topics_heard)
    with gateways.in_thread(broker_port, tmp_path / "gateway"):
        until(lambda: [produce(outbox, 1), sender.wake(), outbox.mark >= 15][-1])
        until(lambda: outbox.backlog == 0)
        sender.close(1.0)
    arrived = journal(tmp_path / "gateway")
    assert sorted(arrived) == list(range(1, outbox.last_seq + 1))
    assert arrived != sorted(arrived)
