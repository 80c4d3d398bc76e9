"""What waits to be published beside the events."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from countline.clock import ManualClock
from edge.act.showcase import Showcase
from edge.act.world import World
from edge.config import CameraSettings, EdgeSettings, LineSettings, places
from edge.config.local import HomeAssistantSettings, LiveSettings
from edge.count.counters import Counters, CountersPlan
from edge.outbox import Outbox
from edge.publish import SideMessage
from edge.side_publisher import MAX_MESSAGES, SidePublisher


class Connection:
    """Takes what it has room for, and says that it has arrived when it is told to."""

    def __init__(self) -> None:
        self.room = 1_000
        self.taken: list[SideMessage] = []
        self.has_arrived = True

    def offer(self, message: SideMessage) -> Callable[[], bool] | None:
        """Take one if there is room."""
        if len(self.taken) >= self.room:
            return None
        self.taken.append(message)
        return lambda: self.has_arrived


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(tmp_path / "outbox.sqlite", "s", "d", ManualClock(), 1_000_000)) as opened:
        yield opened


def settings(*lines: str, **more: object) -> EdgeSettings:
    shapes = [LineSettings(line, [(0, 0), (1, 1)]) for line in lines]
    return EdgeSettings("s", "d", ".", [CameraSettings("hall", "synthetic:", shapes)], **more)  # type: ignore[arg-type]


def post(outbox: Outbox, edge: EdgeSettings) -> tuple[SidePublisher, Connection, Showcase]:
    connection, showcase = Connection(), Showcase(edge, places(edge.cameras, edge.counters))
    return SidePublisher(connection, outbox, showcase), connection, showcase  # type: ignore[arg-type]


def noted(outbox: Outbox) -> set[str]:
    return {
        topic.removeprefix("countline/v1/s/d/live/") for topic in json.loads(outbox.recall("retained_topics"))
    }


def test_messages_go_in_order_and_again_if_their_connection_was_lost(outbox: Outbox):
    """What had arrived is not repeated, what may not have comes before what came later."""
    waiting, connection, _ = post(outbox, settings("door", live=LiveSettings(enabled=False)))
    for name in "ab":
        waiting.put(SideMessage(name, b"1", 1))
    waiting.flush(0)
    waiting.flush(1)
    connection.has_arrived = False
    waiting.put(SideMessage("c", b"1", 1))
    waiting.put(SideMessage("d", b"1", 0))
    waiting.flush(2)
    waiting.put(SideMessage("e", b"1", 1))
    waiting.begin()
    waiting.flush(3)
    assert "".join(message.topic for message in connection.taken) == "abcdce"


def test_of_too_many_messages_the_oldest_go_and_are_counted(outbox: Outbox, caplog: pytest.LogCaptureFixture):
    """A broker that is away for a day leaves no heap behind."""
    waiting, connection, _ = post(outbox, settings("door", live=LiveSettings(enabled=False)))
    connection.room = 0
    for number in range(MAX_MESSAGES + 3):
        waiting.put(SideMessage(str(number), b"", 1))
    waiting.flush(0)
    connection.room = 1_000
    waiting.flush(1)
    assert [message.topic for message in connection.taken] == [str(n) for n in range(3, MAX_MESSAGES + 3)]
    assert [record.fields["dropped"] for record in caplog.records] == [1, 2, 3]  # type: ignore[attr-defined]


def test_live_counts_are_sent_once_anew_on_each_connection_and_only_when_there_is_room(outbox: Outbox):
    """The broker may have lost them; what it did not take stays due."""
    edge = settings("door")
    waiting, connection, showcase = post(outbox, edge)
    counters = Counters(CountersPlan(), 5)
    showcase.post(World(["hall"]), counters)
    connection.room = 1
    waiting.flush(0)
    connection.room = 1_000
    waiting.flush(0)
    waiting.flush(9_999)
    assert sorted(message.topic for message in connection.taken) == [
        "countline/v1/s/d/live/hall/line/door",
        "countline/v1/s/d/live/hall/state",
    ]
    assert all(message.is_retained for message in connection.taken)
    waiting.begin()
    waiting.flush(10_000)
    assert len(connection.taken) == 4
    state = json.loads(connection.taken[-2].payload)
    assert state == {"state": "starting", "reason": ""}


def test_what_is_gone_is_cleared_and_only_forgotten_when_that_has_arrived(outbox: Outbox):
    """A topic that could not be cleared today is cleared at the next start."""
    post(outbox, settings("door", "gate"))
    assert noted(outbox) == {"hall/state", "hall/line/door", "hall/line/gate"}
    waiting, connection, _ = post(outbox, settings("door"))
    connection.has_arrived = False
    waiting.begin()
    waiting.flush(0)
    waiting.flush(1)
    assert noted(outbox) == {"hall/state", "hall/line/door", "hall/line/gate"}
    again, connection, _ = post(outbox, settings("door"))
    again.begin()
    again.flush(0)
    (clear,) = connection.taken
    assert (clear.topic, clear.payload, clear.is_retained) == (
        "countline/v1/s/d/live/hall/line/gate",
        b"",
        True,
    )
    assert noted(outbox) == {"hall/state", "hall/line/door"}


def test_home_assistant_gets_its_retained_messages_on_each_connection(outbox: Outbox):
    """It shows live counts, so they are published though `live` is off."""
    edge = settings(
        "door", live=LiveSettings(enabled=False), home_assistant=HomeAssistantSettings(enabled=True)
    )
    waiting, connection, showcase = post(outbox, edge)
    waiting.begin()
    waiting.flush(0)
    found = [json.loads(message.payload) for message in connection.taken]
    assert [entity["name"] for entity in found] == ["hall door in", "hall door out"]
    assert {entity["state_topic"] for entity in found} <= showcase.topics()
