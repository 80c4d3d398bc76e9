"""A gateway in a thread or a process, and a device that talks to it, for tests."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import paho.mqtt.client as mqtt

from countline import codec, eventlog, topics
from countline import events as ev
from countline.config import MqttSettings
from countline.service import Stop
from gateway import main
from gateway.config import GatewaySettings

# Generous: a busy machine is no reason to fail.
PATIENCE_S = 20.0

_PROCESS = """
import msgspec
from countline.service import Stop, read_settings_and_watch
from gateway import config, main
stop = Stop()
main.run(msgspec.json.decode(read_settings_and_watch(stop), type=config.GatewaySettings), stop)
"""


def settings(port: int, data_dir: Path) -> GatewaySettings:
    """Return the settings of a gateway at a broker on this machine."""
    return GatewaySettings(data_dir=str(data_dir), mqtt=MqttSettings(port=port))


@contextlib.contextmanager
def in_thread(port: int, data_dir: Path) -> Iterator[None]:
    """Run a gateway in a thread; drain it at the end."""
    stop = Stop()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            main.run(settings(port, data_dir), stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=serve, name="gateway")
    thread.start()
    try:
        yield
    finally:
        stop.request()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def as_process(port: int, data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a gateway as a child process, as a box does."""
    with subprocess.Popen([sys.executable, "-c", _PROCESS], stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(settings(port, data_dir)) + b"\n")
        child.stdin.flush()
        try:
            yield child
        finally:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.close()
            child.wait(PATIENCE_S)


class FakeDevice:
    """Publishes events like an agent: QoS 1, and what no mark has confirmed it can send again."""

    def __init__(self, port: int, name: str = "box") -> None:
        self.name = name
        self.marks: list[ev.Mark] = []
        self._changed = threading.Condition()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=f"device-{name}", protocol=mqtt.MQTTv5
        )
        self._client.on_message = self._on_message
        self._client.on_connect = lambda client, *_: client.subscribe(topics.mark("home", name), 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, *envelopes: ev.Envelope) -> None:
        """Publish one batch."""
        self.send_bytes(codec.encode_batch(envelopes))

    def send_bytes(self, payload: bytes) -> None:
        """Publish bytes on the events topic and wait for the broker."""
        self.publish(topics.events("home", self.name), payload)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for the broker."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def is_marked(self, seq: int, timeout_s: float = PATIENCE_S) -> bool:
        """Wait for the mark to reach `seq`."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self.marks) and self.marks[-1].seq >= seq, timeout_s)

    def send_until_marked(self, *envelopes: ev.Envelope) -> None:
        """Send what no mark has confirmed again and again, as an agent does, until the last one is confirmed."""
        for _ in range(40):
            marked = self.marks[-1].seq if self.marks else 0
            self.send(*(one for one in envelopes if one.seq > marked))
            if self.is_marked(envelopes[-1].seq, timeout_s=0.5):
                return
        raise AssertionError(f"no mark reached {envelopes[-1].seq}: {self.marks[-3:]}")

    def _on_message(self, _client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        mark = codec.decode_mark(message.payload)
        assert isinstance(mark, ev.Mark)
        with self._changed:
            self.marks.append(mark)
            self._changed.notify_all()


def journal_seqs(data_dir: Path) -> list[int]:
    """Return the sequence numbers in the journal, in order."""
    return [envelope.seq for envelope in journal_envelopes(data_dir)]


def journal_envelopes(data_dir: Path) -> list[ev.Envelope]:
    """Return the events in the journal, in order."""
    reader = eventlog.Reader(data_dir / "journal.sqlite", "test")
    try:
        decoded = [codec.decode(entry.envelope) for entry in reader.read_after(0, 100_000)]
    finally:
        reader.close()
    assert all(isinstance(envelope, ev.Envelope) for envelope in decoded)
    return [envelope for envelope in decoded if isinstance(envelope, ev.Envelope)]


@contextlib.contextmanager
def listening(port: int) -> Iterator[list[str]]:
    """Listen to all that is published at a broker; give the topics heard so far."""
    heard: list[str] = []
    is_there = threading.Event()
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda connected, *_: connected.subscribe("#", 1)
    client.on_subscribe = lambda *_: is_there.set()
    client.on_message = lambda _client, _userdata, message: heard.append(message.topic)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert is_there.wait(PATIENCE_S)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()
