"""The panes of one camera: counts, coverage, occupancy, status and revision."""

import pytest

from cloud.watermark import MAX_STRETCHES, Stretches, advance, panes_between, portion
from cloud.windows import ALL_CLASSES, CameraWindows, Liveness, PaneChange, PaneStatus, WindowConfig
from countline.events import (
    CameraConfigured,
    CountDelta,
    CounterNow,
    CounterValues,
    Direction,
    Drift,
    Envelope,
    Heartbeat,
    LineDoubt,
    LineTotals,
    VisitDelta,
    ZoneOccupancy,
    ZoneVisit,
)
from tests import seed

CONFIG = WindowConfig()
T0 = seed.START_MS


@pytest.fixture
def device() -> seed.Device:
    return seed.Device()


@pytest.fixture
def windows() -> CameraWindows:
    return CameraWindows(CONFIG, "home", "box", "entrance")


def live(windows: CameraWindows, *envelopes: Envelope, late_ms: int = 50) -> dict[int, PaneChange]:
    return {pane.start_ms: pane for pane in windows.feed((e.at_ms + late_ms, e) for e in envelopes)}


def test_cloud_a_pane_is_complete_once_the_watermark_passes_it(windows, device):
    """A pane is provisional until a heartbeat passes its end, and complete if it was watched."""
    panes = live(windows, device.crossed(T0 + 500), device.heartbeat(T0, T0 + 9_000))
    assert panes[T0].status is PaneStatus.PROVISIONAL
    panes = live(windows, device.heartbeat(T0 + 9_000, T0 + 11_000))
    assert (panes[T0].status, panes[T0].watched_ms, panes[T0].revision) == (PaneStatus.COMPLETE, 10_000, 0)
    assert [(cell.direction, cell.n) for cell in panes[T0].counts] == [(Direction.IN, 1)]


def test_cloud_a_crossing_does_not_close_the_pane_before_it(windows, device):
    """A crossing just after a border leaves the pane before it open until the heartbeat that covers it."""
    live(windows, device.heartbeat(T0, T0 + 9_000), device.crossed(T0 + 10_050))
    panes = live(windows, device.heartbeat(T0 + 9_000, T0 + 11_000))
    assert (panes[T0].status, panes[T0].revision) == (PaneStatus.COMPLETE, 0)


def test_cloud_blind_time_is_not_watched(windows, device):
    """Blind time of a span lowers the coverage of the panes that it touches, exactly."""
    panes = live(windows, device.heartbeat(T0, T0 + 30_000, blind_ms=10_001))
    assert sum(pane.watched_ms for pane in panes.values()) == 19_999
    assert {pane.status for pane in panes.values()} == {PaneStatus.INCOMPLETE}


def test_cloud_a_restart_leaves_its_hole_uncovered(windows, device):
    """A heartbeat of a restarted agent begins later; the hole between stays unwatched."""
    live(windows, device.heartbeat(T0, T0 + 4_000))
    panes = live(windows, device.heartbeat(T0 + 7_000, T0 + 12_000))
    assert (panes[T0].watched_ms, panes[T0].status) == (7_000, PaneStatus.INCOMPLETE)


def test_cloud_late_data_revises_the_same_pane(windows, device):
    """What arrives for a complete pane is counted there and adds one to its revision."""
    live(windows, device.heartbeat(T0, T0 + 12_000))
    pane = live(windows, device.crossed(T0 + 5_000))[T0]
    assert (pane.is_absolute, pane.revision, pane.counts[0].n) == (True, 1, 1)


def test_cloud_a_pane_that_was_let_go_gets_a_difference(windows, device):
    """What arrives for a pane that left memory is handed out as a difference."""
    live(windows, device.crossed(T0), device.heartbeat(T0, T0 + 200_000))
    pane = live(windows, device.crossed(T0 + 1))[T0]
    assert (pane.is_absolute, pane.revision, pane.counts[0].n, pane.watched_ms) == (False, 1, 1, 0)


def test_cloud_memory_is_bounded_by_panes_and_by_span(windows, device):
    """An absurd heartbeat neither fills memory nor counts as watched beyond an hour."""
    panes = live(windows, device.event(T0, Heartbeat(0)))
    assert sum(pane.watched_ms for pane in panes.values()) == 3_600_000
    assert len(windows.snapshot().panes) <= 8


def test_cloud_a_clock_far_ahead_does_not_close_the_future(windows, device):
    """One event from the future moves the watermark by a minute at most."""
    windows.feed([(T0, device.heartbeat(T0 + 86_400_000, T0 + 86_401_000))])
    assert windows.view().watermark_ms == T0 + 60_000


def test_cloud_a_silent_camera_is_offline_and_its_backlog_revises(windows, device):
    """Silence makes open panes incomplete; hours later the backlog completes them as revisions."""
    live(windows, device.heartbeat(T0, T0 + 4_000))
    heard_ms = T0 + 4_050
    assert windows.next_tick_ms() == heard_ms + 15_000
    assert windows.tick(heard_ms + 14_999) == []
    (pane,) = windows.tick(heard_ms + 15_000)
    assert (pane.status, windows.view().state) == (PaneStatus.INCOMPLETE, Liveness.OFFLINE)
    assert windows.tick(heard_ms + 99_000) == []
    backlog = device.heartbeat(T0 + 4_000, T0 + 14_000), device.heartbeat(T0 + 14_000, T0 + 24_000)
    panes = live(windows, *backlog, late_ms=7_200_000)
    assert [(panes[T0 + at].status, panes[T0 + at].revision) for at in (0, 10_000)] == [
        (PaneStatus.COMPLETE, 1),
        (PaneStatus.COMPLETE, 1),
    ]
    assert windows.view().state is Liveness.OK


def test_cloud_a_rolled_up_count_is_spread_and_adds_up(windows, device):
    """A rolled-up count is spread over its time in whole crossings that add up to all of them."""
    event = CountDelta("door", Direction.IN, "person", 7, T0, T0 + 29_999)
    panes = live(windows, device.event(T0 + 29_999, event))
    assert [panes[T0 + at].counts[0].n for at in (0, 10_000, 20_000)] == [2, 2, 3]


def test_cloud_occupancy_is_weighted_by_time(windows, device):
    """A zone's mean, most, fewest and last occupancy follow its changes in time."""
    live(windows, device.configured(T0), device.event(T0 + 2_000, ZoneOccupancy("lobby", {"person": 3})))
    panes = live(
        windows,
        device.event(T0 + 6_000, ZoneOccupancy("lobby", {"person": 1, "dog": 1})),
        device.event(T0 + 6_000, ZoneVisit("lobby", "person", 1, 4_000)),
        device.heartbeat(T0, T0 + 10_000),
    )
    tally = {cell.cls: cell.tally for cell in panes[T0].zones}
    total = tally[ALL_CLASSES]
    assert (total.weighted_ms, total.held_ms, total.max_n, total.min_n, total.last_n) == (
        20_000,
        10_000,
        3,
        0,
        2,
    )
    assert (tally["person"].weighted_ms, tally["dog"].last_n) == (16_000, 1)
    assert (tally["person"].visits, tally["person"].dwell_ms) == (1, 4_000)
    assert windows.view().occupancy == {"lobby": {"person": 1, "dog": 1}}


def test_cloud_rolled_up_visits_count_as_many_as_they_are(windows, device):
    """Visits that a full disk has rolled into one event keep their number and their time."""
    event = VisitDelta("lobby", "person", 3, 24_000, T0 + 1_000, T0 + 12_000)
    panes = live(windows, device.event(T0 + 12_000, event))
    tally = {cell.cls: cell.tally for cell in panes[T0 + 10_000].zones}["person"]
    assert (tally.visits, tally.dwell_ms) == (3, 24_000)


def test_cloud_a_started_agent_has_empty_zones(windows, device):
    """A restart empties the zones; the time without an agent is not held."""
    live(windows, device.configured(T0), device.event(T0, ZoneOccupancy("lobby", {"person": 3})))
    live(windows, device.heartbeat(T0, T0 + 2_000))
    panes = live(windows, device.configured(T0 + 8_000), device.heartbeat(T0 + 8_000, T0 + 10_000))
    total = next(cell.tally for cell in panes[T0].zones if cell.cls == ALL_CLASSES)
    assert (total.weighted_ms, total.held_ms, total.last_n) == (6_000, 4_000, 0)


def test_cloud_a_camera_begins_with_the_first_that_is_heard_of_it(windows, device):
    """The first moment is that of the earliest event, also if that one arrives later; absurd spans don't count."""
    live(windows, device.heartbeat(T0, T0 + 2_000))
    assert windows.view().first_ms == T0
    live(windows, device.crossed(T0 - 500))
    assert windows.view().first_ms == T0 - 500
    live(windows, device.event(T0, CountDelta("door", Direction.IN, "person", 2, T0 - 9_000, T0)))
    assert windows.view().first_ms == T0 - 9_000
    live(windows, device.event(T0, Heartbeat(0)))
    assert windows.view().first_ms == T0 - 3_600_000


def test_cloud_drift_is_kept_as_the_latest_per_metric(windows, device):
    """A drift is shown until a newer one of the same metric comes."""
    drifts = [Drift("sharpness", value, 1.0, T0) for value in (0.5, 0.4)]
    live(windows, *(device.event(T0, drift) for drift in drifts))
    assert windows.view().drifts == {"sharpness": drifts[1]}


def test_cloud_doubts_of_a_line_stand_until_cleared_or_configured_anew(windows, device):
    """One per line and reason, the newest; what was said before the newest configuration is about other lines."""
    small, ends = (LineDoubt("door", reason, "Move it.", {"share": 0.5}, T0) for reason in ("small", "ends"))
    live(windows, device.event(T0, small), device.event(T0, ends))
    assert windows.view().doubts == {"door/small": small, "door/ends": ends}
    live(windows, device.event(T0 + 1, LineDoubt("door", "small", cleared=True)))
    assert windows.view().doubts == {"door/ends": ends}
    live(windows, device.event(T0 + 10, CameraConfigured(640, 480, "video", [], [])))
    assert windows.view().doubts == {}
    live(windows, device.event(T0 + 5, small))
    assert windows.view().doubts == {}


def test_cloud_known_time_is_taken_once():
    """Only what was not known of a span is returned, and holes may be filled later."""
    stretches = Stretches()
    assert stretches.add(10, 20) == [(10, 20)]
    assert stretches.add(30, 40) == [(30, 40)]
    assert stretches.add(5, 35) == [(5, 10), (20, 30)]
    assert stretches.add(5, 40) == []
    assert stretches.add(9, 9) == []
    assert stretches.snapshot() == ((5, 40),)


def test_cloud_known_time_is_bounded():
    """Beyond its bound the oldest hole is closed, and does not count as watched later."""
    stretches = Stretches()
    for index in range(MAX_STRETCHES + 5):
        stretches.add(index * 10, index * 10 + 5)
    assert len(stretches.snapshot()) == MAX_STRETCHES
    assert stretches.add(5, 10) == []


def test_cloud_time_arithmetic():
    """A watermark never goes back, panes tile a span, portions add up."""
    assert advance(100, 50, 1_000) == 100
    assert list(panes_between(5, 25, 10)) == [(0, 5, 10), (10, 10, 20), (20, 20, 25)]
    assert portion(10, (0, 3), (0, 1)) + portion(10, (0, 3), (1, 3)) == 10


def test_cloud_the_newest_values_of_counters_stay_whatever_the_order_of_arrival(windows, device):
    """They are told apart by place in the outbox, not by the device's clock; a camera that begins anew has none."""

    def inside(value: int) -> Envelope:
        return device.event(T0 - value, CounterValues([CounterNow("shop", value, LineTotals(9, 1), T0)]))

    older, newer = inside(8), inside(7)
    live(windows, newer, older)
    told = windows.view().counters
    assert told is not None
    assert (told.seq, [now.value for now in told.counters]) == (newer.seq, [7])
    assert CameraWindows.restore(CONFIG, windows.snapshot()).view().counters == told
    live(windows, device.configured(T0 + 1))
    assert windows.view().counters is None
