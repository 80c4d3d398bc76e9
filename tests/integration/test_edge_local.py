# ruff: noqa: D102
"""What an agent does by itself, with a real broker and a real gateway beside it."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from countline import codec, eventlog
from countline.config import MqttSettings
from countline.events import CounterChanged, CounterReason, Envelope
from countline.service import Stop
from edge import main as edge_main
from edge.config import CameraSettings, EdgeSettings, LineSettings, ZoneSettings
from edge.config.local import (
    ActionSettings,
    CounterSettings,
    HomeAssistantSettings,
    MqttAction,
    RuleSettings,
)
from tests import brokers, gateways

PATIENCE_S = 40.0
LIVE = "countline/v1/home/box/live"
LINES = [LineSettings("door", [(0.5, 0.0), (0.5, 1.0)]), LineSettings("gate", [(0.7, 0.0), (0.7, 1.0)])]
SQUARE = CameraSettings(
    "square", "synthetic:", LINES, [ZoneSettings("all", [(0, 0), (1, 0), (1, 1), (0, 1)])], loop=True
)
ALARM = RuleSettings(
    "zone.all.count >= 1 and zone.all.dwell_max_s > 1 for 1s",
    [ActionSettings(mqtt=MqttAction("shop/alarm", retain=True))],
    "busy",
)


class Ear:
    """A client that hears all there is to hear, as a home's automation would."""

    def __init__(self, port: int) -> None:
        """Connect and listen."""
        self.retained: dict[str, bytes] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.answers: list[tuple[bytes, bytes]] = []
        self._changed = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._hear
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _hear(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.heard.append((message.topic, bytes(message.payload)))
            self.retained[message.topic] = bytes(message.payload)
            if message.topic == "my/answer":
                correlation = getattr(message.properties, "CorrelationData", b"")
                self.answers.append((bytes(message.payload), correlation))
            self._changed.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), sorted(self.retained)

    def told(self, topic: str) -> dict:
        return json.loads(self.retained.get(topic) or b"{}")

    def ask(self, command: dict | bytes, *, retain: bool = False) -> None:
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = "my/answer"
        properties.CorrelationData = b"7"
        payload = command if isinstance(command, bytes) else json.dumps(command)
        self.client.publish("countline/v1/home/box/cmd", payload, 1, retain, properties)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def ear(broker_port: int) -> Iterator[Ear]:
    listening = Ear(broker_port)
    yield listening
    listening.close()


@contextmanager
def agent(port: int, folder: Path, **more: object) -> Iterator[None]:
    settings = EdgeSettings(
        "home",
        "box",
        str(folder / "edge"),
        more.pop("cameras", [SQUARE]),
        mqtt=MqttSettings(port=port),
        **more,
    )  # type: ignore[arg-type]
    stop, failures = Stop(), []

    def run() -> None:
        try:
            edge_main.run(settings, stop)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.request()
        thread.join(20)
    assert not failures


def journal(folder: Path) -> tuple[list[Envelope], int]:
    reader = eventlog.Reader(folder / "journal.sqlite", "test")
    try:
        envelopes = [codec.decode(entry.envelope) for entry in reader.read_after(0, 1_000_000)]
        refused = len(list(reader.dead_after(0, 1_000)))
    finally:
        reader.close()
    return [envelope for envelope in envelopes if isinstance(envelope, Envelope)], refused


def test_an_agent_shows_its_counts_and_home_assistant_finds_them(broker_port: int, ear: Ear, tmp_path: Path):
    """Lines, zones, counters and cameras are live and retained, a rule speaks up, and the gateway takes no notice."""
    shop = CounterSettings("shop", ["door"])
    with (
        gateways.in_thread(broker_port, tmp_path / "gateway"),
        agent(
            broker_port,
            tmp_path,
            counters=[shop],
            rules=[ALARM],
            home_assistant=HomeAssistantSettings(enabled=True),
        ),
    ):
        ear.until(lambda: ear.told(f"{LIVE}/square/line/door").get("in"))
        ear.until(lambda: ear.told(f"{LIVE}/square/zone/all").get("count"))
        ear.until(lambda: ear.told(f"{LIVE}/_/counter/shop").get("in"))
        ear.until(lambda: ear.told(f"{LIVE}/square/state") == {"state": "ok", "reason": ""})
        ear.until(lambda: ear.told("shop/alarm").get("on"))
        found = {
            topic: json.loads(payload)
            for topic, payload in ear.retained.items()
            if topic.startswith("homeassistant/")
        }
    line = ear.told(f"{LIVE}/square/line/door")
    assert line["classes"] == {"person": {"in": line["in"], "out": line["out"]}}
    values = ear.told("shop/alarm")["values"]
    assert values["zone.square/all.count"] >= 1
    assert values["zone.square/all.dwell_max_s"] > 1
    assert {entity["name"]: entity["state_class"] for entity in found.values()} == {
        "square door in": "total_increasing",
        "square door out": "total_increasing",
        "square gate in": "total_increasing",
        "square gate out": "total_increasing",
        "square all": "measurement",
        "shop": "measurement",
    }
    assert all(entity["state_topic"] in ear.retained for entity in found.values())
    assert len({entity["unique_id"] for entity in found.values()}) == 6
    events, refused = journal(tmp_path / "gateway")
    assert events
    assert refused == 0


def test_topics_of_what_is_gone_are_cleared_at_the_next_start(broker_port: int, ear: Ear, tmp_path: Path):
    """A line that was taken out of the settings leaves nothing behind, neither live nor in Home Assistant."""
    enabled = HomeAssistantSettings(enabled=True)

    def topics() -> set[str]:
        return {
            topic
            for topic, payload in ear.retained.items()
            if payload and ("/live/" in topic or topic.startswith("homeassistant/"))
        }

    with agent(broker_port, tmp_path, home_assistant=enabled):
        ear.until(lambda: len(topics()) == 9)
    smaller = CameraSettings("square", "synthetic:", LINES[:1], loop=True)
    with agent(broker_port, tmp_path, home_assistant=enabled, cameras=[smaller]):
        ear.until(lambda: len(topics()) == 4)
    assert not any("gate" in topic or "all" in topic for topic in topics())


def test_a_counter_obeys_survives_and_says_so(
    broker_port: int, ear: Ear, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A person sets it over the broker, it is so after a restart, and the event arrives in the journal."""
    caplog.set_level(logging.WARNING)
    nobody = CameraSettings(
        "square", "synthetic:", [LineSettings("far", [(0.0, 0.99), (0.02, 0.99)])], loop=True
    )
    topic = f"{LIVE}/_/counter/shop"
    more = {"cameras": [nobody], "counters": [CounterSettings("shop", ["far"], reset="")]}
    with gateways.in_thread(broker_port, tmp_path / "gateway"):
        with agent(broker_port, tmp_path, **more):
            ear.until(lambda: ear.told(topic).get("value") == 0)
            ear.ask({"counter": "shop", "set": 12, "id": "a"})
            ear.ask({"counter": "shop", "offset": 5, "id": "b"})
            ear.ask({"counter": "shop", "offset": 5, "id": "b"})
            ear.ask({"counter": "cellar", "set": 12})
            ear.ask(b"nonsense")
            ear.ask({"snapshot": "square"})
            ear.until(lambda: len(ear.answers) == 6)
            ear.until(lambda: ear.told(topic).get("value") == 17)
        ear.retained.pop(topic)
        with agent(broker_port, tmp_path, **more):
            ear.until(lambda: ear.told(topic).get("value") == 17)
            ear.ask({"counter": "shop", "set": 99}, retain=True)
            ear.ask({"counter": "shop", "set": 3})
            ear.until(lambda: len(ear.answers) == 8)
            ear.until(lambda: ear.told(topic).get("value") == 3)
        ear.retained.pop(topic)
        with agent(broker_port, tmp_path, **more):
            ear.until(lambda: "a retained command" in caplog.text)
            ear.until(lambda: ear.told(topic).get("value") == 3)
    assert all(correlation == b"7" for _, correlation in ear.answers)
    answers = [json.loads(answer) for answer, _ in ear.answers]
    assert [answer["value"] for answer in answers if answer["ok"]] == [12, 17, 17, 99, 3]
    errors = " | ".join(sorted(answer["error"] for answer in answers if not answer["ok"]))
    assert "malformed" in errors
    assert "preview.snapshot" in errors
    assert "there is no counter 'cellar'" in errors
    events, refused = journal(tmp_path / "gateway")
    changes = [event.event for event in events if isinstance(event.event, CounterChanged)]
    assert [(change.reason, change.before, change.value) for change in changes] == [
        (CounterReason.SET, 0, 12),
        (CounterReason.OFFSET, 12, 17),
        (CounterReason.SET, 17, 99),
        (CounterReason.SET, 99, 3),
    ]
    assert refused == 0


@pytest.mark.parametrize("name", brokers.names())
def test_a_broker_that_forgets_everything_is_told_everything_again(name: str, tmp_path: Path):
    """What is retained is back after a broker's restart, though nothing has changed meanwhile."""
    port = brokers.free_port()
    nobody = CameraSettings(
        "square", "synthetic:", [LineSettings("far", [(0.0, 0.99), (0.02, 0.99)])], loop=True
    )
    enabled = HomeAssistantSettings(enabled=True)
    with agent(port, tmp_path, cameras=[nobody], home_assistant=enabled):
        for _ in range(2):
            with brokers.running(name, tmp_path / "broker", port):
                ear = Ear(port)
                ear.until(lambda ear=ear: ear.told(f"{LIVE}/square/state").get("state") == "ok")
                ear.until(lambda ear=ear: ear.told(f"{LIVE}/square/line/far").get("in") == 0)
                ear.until(lambda ear=ear: sum("homeassistant/" in topic for topic in ear.retained) == 2)
                ear.close()


def test_a_fault_in_a_rule_ends_the_agent_instead_of_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A bug is a bug: the supervisor restarts the process, and nobody waits for an alarm that cannot come."""

    def fail(*_: object) -> list:
        raise RuntimeError("a bug")

    monkeypatch.setattr("edge.act.engine.Engine.tick", fail)
    settings = EdgeSettings("home", "box", str(tmp_path), [SQUARE], mqtt=MqttSettings(port=9))
    with pytest.raises(RuntimeError, match="a bug"):
        edge_main.run(settings, Stop())
