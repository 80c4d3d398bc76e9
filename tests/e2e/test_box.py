"""The box as a whole, and how to break it: kills, stops, strangers, a full disk. Whatever happens, the books agree."""

import os
import signal
from collections.abc import Callable

import pytest

from tests import brokers
from tests.e2e import boxes
from tests.e2e.boxes import Box, Start


def test_what_is_counted_is_what_is_shown(start: Start):
    """Outbox, journal, store and API agree on every event, after a clean stop and a restart too; counts go on."""
    first, second = brokers.names()[0], brokers.names()[-1]
    box = start(**boxes.broker(first))
    before = box.until_shown(10)
    assert box.end(signal.SIGINT) == 0
    assert "Traceback" not in box.said()
    boxes.until_all_parts_ended(box.folder)
    stopped = box.books.assert_closed()
    assert stopped.last_seq >= before.last_seq

    box = start(**boxes.broker(second))
    after = box.until_shown(sum(stopped.totals.values()) + 1)
    assert after.epoch == stopped.epoch
    assert all(after.totals[key] >= n for key, n in stopped.totals.items())
    assert box.end(signal.SIGTERM) == 0
    assert "Traceback" not in box.said()
    boxes.until_all_parts_ended(box.folder)
    box.books.assert_closed()
    assert boxes.processes_of(box.folder) == []


def test_kills_of_the_whole_box_lose_nothing(start: Start):
    """However often and whenever the supervisor is killed, its parts end by themselves and the books agree at last."""
    moments: list[tuple[str, Callable[[Box], object]]] = [
        ("its first part", lambda box: box.parts()),
        ("its first event", lambda box: (it := box.books.produced()) and it.last_seq),
        ("its first event in the journal", lambda box: box.books.journal()),
        ("five crossings", lambda box: (it := box.books.produced()) and sum(it.totals.values()) >= 5),
        ("its page", lambda box: "http://" in box.said()),
    ]
    box = start()
    for number, (name, moment) in enumerate(moments):
        box = start() if number else box
        box.until(lambda moment=moment, box=box: moment(box), name)
        box.kill()
        boxes.until_all_parts_ended(box.folder)
        until_gone(box)
    survived = box.books.produced()
    assert survived
    box = start()
    after = box.until_shown(sum(survived.totals.values()) + 5)
    assert after.epoch == survived.epoch
    assert box.end() == 0
    assert "Traceback" not in box.said()
    box.books.assert_closed()


def until_gone(box: Box) -> None:
    boxes.until(lambda: boxes.processes_of(box.folder) == [], "the end of what a killed box had started")


@pytest.mark.parametrize("name", brokers.names())
def test_kills_of_each_part_lose_nothing(start: Start, name: str):
    """A part that is killed comes back, whichever it is, and at last the books agree."""
    box = start(**boxes.broker(name))
    box.until_live()
    crossings = 0
    for part in boxes.PARTS:
        crossings = sum(box.until_shown(crossings + 3).totals.values())
        killed = box.part(part)
        assert killed
        os.kill(killed, signal.SIGKILL)
        box.until(
            lambda part=part, killed=killed: box.part(part) not in {None, killed}, f"{part} to come back"
        )
    box.until_shown(crossings + 3)
    assert box.end() == 0
    assert box.said().count("part ended, restarting it") == len(boxes.PARTS)
    assert "Traceback" not in box.said()
    box.books.assert_closed()


def test_what_a_stop_cannot_send_is_sent_at_the_next_start(start: Start):
    """With a gateway that hangs, a stop still ends; what it could not hand over waits, and arrives at the next start."""
    box = start()
    box.until_shown(3)
    gateway = box.part("gateway")
    assert gateway
    os.kill(gateway, signal.SIGSTOP)
    box.until(lambda: len(box.books.waiting()) > 5, "events that wait")
    assert box.end(signal.SIGINT) == 0
    stopped = box.books.produced()
    assert stopped
    assert len(box.books.waiting()) == stopped.last_seq - stopped.mark > 5
    again = start()
    again.until_shown(sum(stopped.totals.values()) + 1)
    assert again.end(signal.SIGTERM) == 0
    box.books.assert_closed()
