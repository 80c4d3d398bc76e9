"""Heartbeats: watched, blind, and nothing in between."""

from countline.events import CameraState, Heartbeat
from edge.heartbeats import Heartbeats


def beats(moments: list[tuple[int, object]]) -> list[Heartbeat]:
    return [event for _, event in moments if isinstance(event, Heartbeat)]


def test_a_watched_second_is_one_heartbeat_without_blind_time() -> None:
    """Frames add up to a span with their number, what was dropped and the mean latency."""
    watch = Heartbeats(10_000)
    moments = [m for i in range(1, 11) for m in watch.saw(10_000 + i * 100, dropped=1, latency_ms=50)]
    (beat,) = beats(moments)
    assert (beat.since_ms, moments[0][0], beat.blind_ms, beat.frames, beat.dropped, beat.latency_ms) == (
        10_000,
        11_000,
        0,
        10,
        10,
        50,
    )


def test_time_without_a_picture_is_blind_from_the_last_frame_on() -> None:
    """The blind time begins with the last frame, not with the moment at which it was noticed."""
    watch = Heartbeats(0)
    moments = watch.saw(500) + watch.blind(900, "no signal") + watch.blind(1_200, "no signal")
    (beat,) = beats(moments)
    assert (beat.blind_ms, beat.state, beat.reason) == (700, CameraState.BLIND, "no signal")


def test_the_first_frame_after_a_gap_ends_the_blind_time() -> None:
    """Spans touch, and their blind times add up to the whole gap."""
    watch = Heartbeats(0)
    moments = watch.saw(100) + watch.blind(1_100, "gone") + watch.saw(1_600) + watch.saw(2_200)
    first, second = beats(moments)
    assert (first.since_ms, first.blind_ms) == (0, 1_000)
    assert (second.since_ms, second.blind_ms, second.state) == (1_100, 500, CameraState.OK)


def test_blind_time_that_the_source_measured_is_booked() -> None:
    """A source that reconnects by itself says how long it had nothing."""
    watch = Heartbeats(0)
    (beat,) = beats(watch.saw(1_000, blind_ms=700))
    assert beat.blind_ms == 700


def test_a_clock_that_steps_back_makes_no_negative_span() -> None:
    """Time stands still until the clock has caught up."""
    watch = Heartbeats(5_000)
    assert watch.saw(4_000) == []
    assert watch.blind(3_000, "x") == []
    ((at_ms, beat),) = watch.saw(6_000)
    assert isinstance(beat, Heartbeat)
    assert (beat.since_ms, at_ms) == (5_000, 6_000)


def test_the_last_heartbeat_of_a_camera_that_has_no_picture_says_so() -> None:
    """What ends in the dark does not end with "ok"."""
    watch = Heartbeats(0)
    (first,) = beats(watch.saw(1_000))
    assert watch.blind(1_400, "gone") == []
    (last,) = beats(watch.close())
    assert (first.state, first.reason) == (CameraState.OK, "")
    assert (last.since_ms, last.blind_ms, last.state, last.reason) == (1_000, 400, CameraState.BLIND, "gone")


def test_frames_that_cannot_be_counted_on_are_counted_and_their_time_is_blind() -> None:
    """Counts are kept, coverage falls, and the reason is told; the next good frame ends it."""
    watch = Heartbeats(0)
    moments = [m for at_ms in range(100, 1_001, 100) for m in watch.saw(at_ms, doubt="dark" * (at_ms > 500))]
    (beat,) = beats(moments)
    assert (beat.frames, beat.blind_ms, beat.state, beat.reason) == (10, 500, CameraState.BLIND, "dark")
    assert watch.saw(1_100) == []
    (beat,) = beats(watch.saw(2_000))
    assert (beat.blind_ms, beat.state, beat.reason) == (100, CameraState.OK, "")


def test_a_camera_that_is_watched_may_have_something_to_say() -> None:
    """Pictures are left out because the machine is slow: that is no blind time, and yet it is told, until it is over."""
    watch = Heartbeats(0, 1_000)
    (slow,) = beats(watch.saw(1_000, dropped=3, note="slow"))
    (well,) = beats(watch.saw(2_000))
    assert (slow.state, slow.reason, slow.blind_ms, slow.dropped) == (CameraState.OK, "slow", 0, 3)
    assert (well.state, well.reason) == (CameraState.OK, "")
