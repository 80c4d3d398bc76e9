"""The tracker on small scenes."""

import numpy as np
import pytest

from edge.arrays import Detections, Tracks
from edge.track.tracker import Tracker


def seen(*boxes: tuple[float, float], score: float = 0.9, class_id: int = 0) -> Detections:
    """Boxes of 40x100 pixels whose left top corners are given."""
    xyxy = np.array([(x, y, x + 40, y + 100) for x, y in boxes], dtype=np.float32).reshape(-1, 4)
    n = len(boxes)
    return Detections(xyxy, np.full(n, score, dtype=np.float32), np.full(n, class_id, dtype=np.int16))


def feed(tracker: Tracker, frames: list[Detections], step_ms: int = 100, start_ms: int = 0) -> list[Tracks]:
    return [tracker.feed(detections, start_ms + i * step_ms) for i, detections in enumerate(frames)]


def test_someone_who_walks_keeps_one_id() -> None:
    """Consecutive boxes of one person are one track, confirmed when they make up a third of a second."""
    results = feed(Tracker(), [seen((x, 100)) for x in range(0, 200, 10)])
    assert {int(tracks.track_id[0]) for tracks in results} == {1}
    assert [bool(tracks.confirmed[0]) for tracks in results[:5]] == [False, False, False, True, True]


def counted(tracker: Tracker, results: list[Tracks]) -> set[int]:
    """The ids of all that is counted, the last frames included."""
    return {int(track) for tracks in [*results, tracker.finish()] for track in tracks.settled.track_id}


def test_someone_hidden_for_a_second_and_a_half_is_counted_as_one() -> None:
    """A new track that goes on where a lost one would be by now is the same person, decided a moment later."""
    walk = [seen((x, 100)) for x in range(0, 100, 10)]
    hidden = [seen()] * 15
    again = [seen((x, 100)) for x in range(250, 400, 10)]
    tracker = Tracker()
    results = feed(tracker, [*walk, *hidden, *again])
    assert counted(tracker, results) == {1}
    assert int(results[-1].track_id[0]) == 1


def test_someone_else_who_comes_from_elsewhere_is_counted_as_another() -> None:
    """Whom the lost one could not have become is new."""
    walk = [seen((x, 100)) for x in range(0, 100, 10)]
    hidden = [seen()] * 15
    other = [seen((x, 100)) for x in range(600, 500, -10)]
    tracker = Tracker()
    assert len(counted(tracker, feed(tracker, [*walk, *hidden, *other]))) == 2


def test_a_weak_detection_continues_a_track_but_never_begins_one() -> None:
    """Half hidden people are seen weakly: that keeps their track; weak noise elsewhere does not begin one."""
    frames = [seen((x, 100)) for x in range(0, 50, 10)] + [seen((50, 100), (400, 100), score=0.2)]
    last = feed(Tracker(), frames)[-1]
    assert last.track_id.tolist() == [1]
    assert last.seen.tolist() == [True]


def test_two_people_who_pass_each_other_keep_their_ids() -> None:
    """Speed tells apart whom position alone would confuse."""
    frames = [seen((10.0 * i, 100), (190.0 - 10 * i, 104)) for i in range(20)]
    results = feed(Tracker(), frames)
    first, last = results[3], results[-1]
    rightmost_first = int(first.track_id[np.argmax(first.xyxy[:, 0])])
    leftmost_last = int(last.track_id[np.argmin(last.xyxy[:, 0])])
    assert rightmost_first == leftmost_last


def test_a_class_is_decided_by_vote() -> None:
    """A car that is called a truck now and then stays one car."""
    frames = [seen((x, 100), class_id=7 if x == 30 else 2) for x in range(0, 60, 10)]
    results = feed(Tracker(), frames)
    assert {int(tracks.class_id[0]) for tracks in results} == {2}


def test_a_lost_track_is_reported_as_ended_once() -> None:
    """Whoever keeps state per track learns when to let it go."""
    results = feed(Tracker(), [seen((0, 100))] * 5 + [seen()] * 60)
    assert [tracks.ended for tracks in results if tracks.ended] == [(1,)]


def test_thresholds_are_times_not_frames() -> None:
    """The same second of absence ends or keeps a track alike at 5 and at 25 frames per second."""
    for step_ms in (40, 200):
        visible = [seen((100, 100))] * (2_000 // step_ms)
        away = [seen()] * (1_000 // step_ms)
        tracker = Tracker()
        results = feed(tracker, [*visible, *away, *visible], step_ms=step_ms)
        assert counted(tracker, results) == {1}


def test_nothing_is_settled_of_what_is_never_confirmed() -> None:
    """Two detections in passing are noise: whoever counts never hears of them."""
    results = [*feed(Tracker(), [seen((10, 100)), seen((20, 100)), *[seen()] * 20])]
    assert [len(tracks.settled) for tracks in results] == [0] * 22
    assert [track for tracks in results for track in tracks.ended] == [1]


def test_what_was_seen_before_a_track_was_confirmed_is_settled_too() -> None:
    """A person counts from the first detection on, and each one is settled once, in order of time."""
    tracker = Tracker()
    results = [*feed(tracker, [seen((x, 100)) for x in range(0, 100, 10)]), tracker.finish()]
    settled = [int(at_ms) for tracks in results for at_ms in tracks.settled.at_ms]
    assert settled == [i * 100 for i in range(10)]


@pytest.mark.parametrize("n", [5, 60])
def test_frames_that_come_in_bursts_do_not_unmake_anybody(n: int) -> None:
    """A live stream that stalls and catches up brings frames a few milliseconds apart; that is no higher rate."""
    tracker = Tracker()
    times = [i * 100 for i in range(n)]
    results = [tracker.feed(seen((at_ms / 10, 100)), at_ms) for at_ms in times]
    away = [times[-1] + 300 * i + late for i in range(1, 20) for late in (-10, -5, 0)]
    results += [tracker.feed(seen(), at_ms) for at_ms in away]
    settled = [int(at_ms) for tracks in [*results, tracker.finish()] for at_ms in tracks.settled.at_ms]
    assert settled == times
