"""Both brokers: up, loopback only, retained, large messages, and never left behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from countline.errors import UsageError
from countline.service import Stop
from deploy import broker
from tests import brokers


def _client(port: int, name: str) -> mqtt.Client:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def test_a_broker_carries_a_message_larger_than_the_gateways_limit_and_retains(broker_port):
    """A message of almost 1 MiB gets through, and a retained one waits for who comes later."""
    got: list[tuple[str, int]] = []
    have_two = threading.Event()
    sender = _client(broker_port, "sender")
    sender.publish("t/kept", b"k", qos=1, retain=True).wait_for_publish(5)
    reader = _client(broker_port, "reader")

    def note(_client: object, _user: object, message: mqtt.MQTTMessage) -> None:
        got.append((message.topic, len(message.payload)))
        if len(got) == 2:
            have_two.set()

    subscribed = threading.Event()
    reader.on_message = note
    reader.on_subscribe = lambda *_: subscribed.set()
    reader.subscribe("t/#", 1)
    assert subscribed.wait(5)
    sender.publish("t/big", b"x" * (broker.MAX_PAYLOAD_BYTES - 100), qos=1).wait_for_publish(5)
    assert have_two.wait(10)
    for client in (sender, reader):
        client.disconnect()
        client.loop_stop()
    assert sorted(got) == [("t/big", broker.MAX_PAYLOAD_BYTES - 100), ("t/kept", 1)]


def test_a_port_in_use_is_one_sentence(broker_port, tmp_path):
    """A second broker on the same port names the port and says what to do."""
    with pytest.raises(UsageError, match=f"port {broker_port} on 127.0.0.1 cannot be used"):
        broker.run(broker.BrokerSettings(broker_port, str(tmp_path)), Stop())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    """A data folder that is a file is named in the message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        broker.run(broker.BrokerSettings(brokers.free_port(), str(tmp_path / "file")), Stop())


@pytest.mark.parametrize("name", brokers.names())
def test_no_broker_survives_the_kill_of_its_parent(name: str, tmp_path: Path):
    """A parent that is killed with SIGKILL leaves no broker behind."""
    port = brokers.free_port()
    code = (
        "import sys; from countline.service import Stop; from deploy import broker;"
        f"broker.run(broker.BrokerSettings({port}, sys.argv[1], {name!r}), Stop())"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as parent:
        pause = threading.Event()
        for _ in range(500):
            if broker.is_listening("127.0.0.1", port):
                break
            pause.wait(0.02)
        assert broker.is_listening("127.0.0.1", port)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        for _ in range(250):
            if not broker.is_listening("127.0.0.1", port):
                break
            pause.wait(0.02)
    assert not broker.is_listening("127.0.0.1", port)


def test_a_broker_stops_when_it_is_asked_to(tmp_path):
    """After a stop the port is free again, for both kinds."""
    for name in brokers.names():
        with brokers.running(name, tmp_path) as port:
            assert broker.is_listening("127.0.0.1", port)
        broker.check_port_free(port)
