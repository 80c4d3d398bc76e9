"""Several cameras at one detector: who waits, who is dropped, who holds up whom."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest

from countline.clock import SystemClock
from edge.arrays import Detections
from edge.frames import Frame, Image
from edge.scheduler import Blind, Lane, Look, Scheduler, Seen

PICTURE = np.zeros((4, 4, 3), dtype=np.uint8)
SOON_S = 20.0


def nothing(images: Sequence[Image]) -> list[Detections]:
    return [Detections.empty() for _ in images]


@contextlib.contextmanager
def at_desk(look: Look | None = nothing) -> Iterator[Scheduler]:
    """A scheduler that is closed at the end."""
    scheduler = Scheduler(look, SystemClock())
    try:
        yield scheduler
    finally:
        scheduler.close()


def taken(lane: Lane) -> Frame:
    news = lane.take(SOON_S)
    assert isinstance(news, Seen)
    return news.frame


class Gate:
    """A detector that looks only when it is let, and says when it has begun."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Look, once it is let."""
        self.began.release()
        assert self.may_go.acquire(timeout=SOON_S)
        return nothing(images)


def test_a_newer_picture_replaces_one_that_waits_and_tells_of_it():
    """What was left out is counted as dropped, with the blind time it told of."""
    gate = Gate()
    with at_desk(gate) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        scheduler.start()
        lane.offer(Frame(0, 0, PICTURE))
        assert gate.began.acquire(timeout=SOON_S)
        for index in range(1, 5):
            lane.offer(Frame(index, index, PICTURE, dropped=1, blind_ms=10))
        gate.may_go.release(2)
        assert taken(lane).index == 0
        newest = taken(lane)
        assert (newest.index, newest.dropped, newest.blind_ms) == (4, 3 * 2 + 1, 40)


def test_a_recording_loses_no_picture():
    """It waits instead, and its pictures stay in order."""
    with at_desk() as scheduler:
        lane = scheduler.lane("a", is_live=False)
        scheduler.start()

        def bring() -> None:
            for index in range(50):
                assert lane.wants(Frame(index, index, PICTURE))
                assert lane.offer(Frame(index, index, PICTURE), SOON_S)
            lane.finish()

        reader = threading.Thread(target=bring)
        reader.start()
        indices = []
        while not lane.is_finished:
            news = lane.take(SOON_S)
            if isinstance(news, Seen):
                indices.append((news.frame.index, news.frame.dropped))
        reader.join()
    assert indices == [(index, 0) for index in range(50)]


def test_a_count_that_is_slow_holds_up_only_its_own_camera():
    """Nobody takes what was seen by camera a; camera b goes on."""
    with at_desk() as scheduler:
        slow, other = scheduler.lane("a", is_live=True), scheduler.lane("b", is_live=True)
        scheduler.start()
        for index in range(20):
            slow.offer(Frame(index, index, PICTURE))
            other.offer(Frame(index, index, PICTURE))
            assert taken(other).index == index


def test_a_detector_that_is_faster_so_looks_at_several_at_once():
    """As many as it takes, of different cameras, who has waited longest first; each gets what was seen on its own."""
    gate, turns = Gate(), []

    def look(images: Sequence[Image]) -> list[Detections]:
        turns.append([int(image[0, 0, 0]) for image in images])
        return gate(images)

    scheduler = Scheduler(look, SystemClock(), most=2)
    lanes = [scheduler.lane(name, is_live=True) for name in "abc"]
    scheduler.start()
    lanes[0].offer(Frame(0, 0, PICTURE))
    assert gate.began.acquire(timeout=SOON_S)
    for number in (2, 1, 0):
        lanes[number].offer(Frame(1, number, np.full_like(PICTURE, number)))
    gate.may_go.release(3)
    assert [taken(lanes[2]).captured_at_ms, taken(lanes[1]).captured_at_ms] == [2, 1]
    assert [taken(lanes[0]).index, taken(lanes[0]).captured_at_ms] == [0, 0]
    scheduler.close()
    assert turns == [[0], [2, 1], [0]]


def test_a_picture_that_brings_its_detections_keeps_its_place():
    """It needs no detector, but is counted after the one that is being looked at."""
    gate = Gate()
    with at_desk(gate) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        scheduler.start()
        lane.offer(Frame(0, 0, PICTURE))
        assert gate.began.acquire(timeout=SOON_S)
        lane.offer(Frame(1, 1, PICTURE, Detections.empty()))
        assert lane.take(0.0) is None
        gate.may_go.release()
        assert [taken(lane).index, taken(lane).index] == [0, 1]
        assert not gate.began.acquire(blocking=False)


def test_what_goes_wrong_at_the_detector_reaches_the_camera():
    """A bug ends the process; it is not swallowed in a thread that nobody watches."""

    def fails(_: Sequence[Image]) -> list[Detections]:
        raise ValueError("broken")

    with at_desk(fails) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        scheduler.start()
        lane.offer(Frame(0, 0, PICTURE))
        with pytest.raises(ValueError, match="broken"):
            lane.take(SOON_S)


def test_what_goes_wrong_at_the_reader_reaches_the_camera():
    """The same for a source."""
    with at_desk(None) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        lane.finish(ValueError("broken"))
        assert not lane.is_finished
        with pytest.raises(ValueError, match="broken"):
            lane.take(SOON_S)


def test_a_source_that_never_answers_is_blind_and_says_so(monkeypatch: pytest.MonkeyPatch):
    """A dead network drive raises nothing; silence must not look like a quiet scene."""
    monkeypatch.setattr("edge.scheduler.HANGS_AFTER_S", 0.0)
    with at_desk(None) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        assert lane.take(0.01) is None
        lane.reads()
        news = lane.take(0.01)
        assert isinstance(news, Blind)
        assert news.reason.startswith("the source hangs")
        lane.idle()
        assert lane.take(0.01) is None


def test_trouble_is_told_until_a_picture_comes():
    """Again and again, because each heartbeat has to say it."""
    with at_desk(None) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        lane.blind("gone")
        assert [lane.take(0.0), lane.take(0.0)] == [Blind("gone"), Blind("gone")]
        frame = Frame(0, 0, None, Detections.empty())
        assert lane.wants(frame)
        lane.offer(frame)
        assert taken(lane).index == 0
        assert lane.take(0.0) is None


class Steps(SystemClock):
    """A clock that goes on only when it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        """Return what it was set to."""
        return self.now_s


def drive(lanes: Sequence[Lane], clock: Steps, seconds: float) -> None:
    """Bring the newest of 20 pictures a second to each camera, counted at once; looking makes the time go by."""
    newest = dict.fromkeys(lanes, -1)
    while clock.now_s < seconds:
        clock.now_s += 0.005
        for lane in lanes:
            index = int(clock.now_s * 20)
            if index > newest[lane]:
                frame = Frame(index, index * 50, PICTURE, dropped=index - newest[lane] - 1)
                newest[lane] = index
                if lane.wants(frame):
                    lane.offer(frame)
                    assert taken(lane).index == index


def test_a_machine_that_cannot_keep_up_leaves_out_pictures_evenly():
    """Two cameras of 20 pictures a second, 40 ms each: room for 23 of 40, so each brings 11 of 20."""
    clock = Steps()

    def look(images: Sequence[Image]) -> list[Detections]:
        clock.now_s += 0.04
        return nothing(images)

    scheduler = Scheduler(look, clock)
    lanes = [scheduler.lane(name, is_live=True) for name in "ab"]
    scheduler.start()
    drive(lanes, clock, 20.0)
    assert [lane.share for lane in lanes] == [pytest.approx(0.9 / 1.6, rel=0.1)] * 2
    assert lanes[0].note == f"the machine cannot keep up: {lanes[0].share:.0%} of the pictures are counted"
    indices = [index for index in range(1_000, 1_100) if lanes[0].wants(Frame(index, 0, PICTURE))]
    assert {later - earlier for earlier, later in pairwise(indices)} == {1, 2}
    scheduler.close()


def test_pictures_that_max_fps_leaves_out_of_a_recording_are_no_sign_of_a_slow_machine():
    """A recording of 25 pictures a second, of which 2 are wanted: each keeps its number, and 60 ms of looking are nothing."""
    clock = Steps()

    def look(images: Sequence[Image]) -> list[Detections]:
        clock.now_s += 0.06
        return nothing(images)

    with contextlib.closing(Scheduler(look, clock)) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        scheduler.start()
        for index in range(0, 1_000, 12):
            clock.now_s = max(clock.now_s, index / 25)
            frame = Frame(index, index * 40, PICTURE)
            assert lane.wants(frame)
            lane.offer(frame)
            assert taken(lane).index == index
        assert (lane.share, lane.note) == (1.0, "")


def test_a_recording_with_max_fps_on_a_slow_machine_leaves_out_pictures_all_the_same():
    """Of 2 pictures a second, 900 ms each, one is counted and one is left out, whatever their numbers are."""
    clock = Steps()

    def look(images: Sequence[Image]) -> list[Detections]:
        clock.now_s += 0.9
        return nothing(images)

    with contextlib.closing(Scheduler(look, clock)) as scheduler:
        lane = scheduler.lane("a", is_live=True)
        scheduler.start()
        newest, left_out = -1, []
        while clock.now_s < 80:
            clock.now_s += 0.005
            number = int(clock.now_s * 2)
            if number > newest:
                frame = Frame(number * 12, number * 500, PICTURE, dropped=number - newest - 1)
                newest = number
                if lane.wants(frame):
                    lane.offer(frame)
                    left_out.append(taken(lane).dropped)
        assert lane.share == pytest.approx(0.5, abs=0.1)
        assert {1} <= set(left_out[-20:]) <= {0, 1, 2}
