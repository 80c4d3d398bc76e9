"""The fleet: presence, clocks, backlog."""

from countline.events import Presence
from gateway.fleet import SILENT_AFTER_MS, SKEW_SAMPLES, DeviceKey, Fleet
from tests.envelopes import envelope, heartbeat

KEY = DeviceKey("home", "box")
NOW_MS = 1_700_000_000_000


def test_a_device_comes_with_its_first_event_and_goes_with_its_last_will():
    """Each turn is reported once."""
    fleet = Fleet(10)
    assert [change.is_online for change in fleet.feed(KEY, envelope(1), NOW_MS)] == [True]
    assert fleet.feed(KEY, envelope(2), NOW_MS) == []
    assert [change.is_online for change in fleet.feed_presence(KEY, Presence(online=False), NOW_MS)] == [
        False
    ]
    assert fleet.feed_presence(KEY, Presence(online=False), NOW_MS) == []


def test_a_silent_device_is_offline_after_a_while():
    """Without a last will the clock decides, exactly at the bound, and once."""
    fleet = Fleet(10)
    assert fleet.next_tick_ms() is None
    fleet.feed(KEY, heartbeat(1), NOW_MS)
    due_ms = fleet.next_tick_ms()
    assert due_ms == NOW_MS + SILENT_AFTER_MS
    assert fleet.tick(due_ms - 1) == []
    assert [change.key for change in fleet.tick(due_ms)] == [KEY]
    assert fleet.tick(due_ms) == []


def test_the_clock_is_judged_by_the_least_delayed_heartbeat():
    """Delivery delays, a backlog delays more: neither makes a right clock look wrong."""
    fleet = Fleet(10)
    fleet.feed(KEY, heartbeat(1, at_ms=NOW_MS + 4_000, backlog=0), NOW_MS)
    fleet.feed(KEY, heartbeat(2, at_ms=NOW_MS + 4_200, backlog=0), NOW_MS + 900)
    fleet.feed(KEY, heartbeat(3, at_ms=NOW_MS - 9_000_000, backlog=12), NOW_MS + 1_000)
    device = fleet.devices()[KEY]
    assert (device.skew_ms, device.backlog, device.epoch) == (4_000, 12, 5)


def test_what_is_kept_is_bounded():
    """Samples and devices stay within their bounds; the device seen longest ago goes first."""
    fleet = Fleet(2)
    for seq in range(1, 3 * SKEW_SAMPLES):
        fleet.feed(KEY, heartbeat(seq), NOW_MS)
    assert len(fleet.devices()[KEY].samples) == SKEW_SAMPLES
    for name in ("a", "b"):
        fleet.feed_duplicate(DeviceKey("home", name), NOW_MS)
    assert set(fleet.devices()) == {("home", "a"), ("home", "b")}
    assert fleet.devices()[DeviceKey("home", "a")].duplicates == 1
