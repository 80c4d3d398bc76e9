"""The live picture: totals, the last minute, slow readers, and the turn of the day."""

import json
from zoneinfo import ZoneInfo

import msgspec
import pytest
from starlette.datastructures import QueryParams

from cloud.api import counts
from cloud.api.auth import Sessions
from cloud.api.problems import Problem
from cloud.hub import MAX_CHANGED, Hub, local_midnight
from cloud.measures import Measure, MeasureCell
from cloud.process import HeatChange
from cloud.store.rows import PaneUpdate, Picture, Update
from cloud.windows import CameraView, CountCell, CountersNow, PaneStatus, ZoneCell, ZoneTally
from countline.clock import ManualClock
from countline.events import CounterNow, Direction, GateShape, Heat, LineShape, LineTotals, ZoneCrowded
from tests import seed

NOW = seed.START_MS
VIEW = CameraView(
    id="home/box/entrance",
    site="home",
    device="box",
    camera="entrance",
    lines=[LineShape("door", [(0, 0), (1, 1)])],
    occupancy={"lobby": {"person": 2}},
)


@pytest.fixture
def hub() -> Hub:
    hub = Hub("Europe/Berlin")
    hub.load(Picture(4, 10_000, [VIEW], [], [], []), NOW)
    hub.tick(NOW)
    hub.flush()
    return hub


def pane(start_ms: int, n: int, added: int) -> Update:
    cell = CountCell("door", Direction.IN, "person", n, added)
    tally = ZoneCell("lobby", "", ZoneTally(20, 10, 5, 0, 2, start_ms, 1, 300), 1, 300)
    one = PaneUpdate(VIEW.id, start_ms, 7_000, PaneStatus.PROVISIONAL, 0, (cell,), (tally,))
    return Update([one], [VIEW])


def told(hub: Hub, version: int) -> dict:
    return json.loads(hub.message_after(version, NOW))


def test_cloud_hub_tells_absolute_values(hub):
    """A change is told as the line's and the zone's new totals, with the pane that changed."""
    version = hub.version
    hub.apply(5, pane(NOW, 3, 3))
    hub.apply(6, pane(NOW, 4, 1))
    assert hub.flush()
    message = told(hub, version)
    assert (message["type"], message["seq"]) == ("delta", 6)
    (line,) = message["lines"]
    assert (line["today"], line["last_minute"]) == ({"in": 4, "out": 0}, {"in": 4, "out": 0})
    assert message["zones"][0]["today"] == {"visits": 2, "mean_dwell_ms": 300, "max": 5, "entries": 0}
    assert [(one["in"], one["coverage"], one["pane_s"]) for one in message["panes"]] == [(4, 0.7, 10.0)]
    assert told(hub, hub.version)["type"] == "heartbeat"
    assert not hub.flush()


def measured(*cells: MeasureCell) -> Update:
    view = msgspec.structs.replace(
        VIEW,
        gates=[GateShape("through", "door", "exit")],
        crowded={"lobby": ZoneCrowded("lobby", True, 9, 8, NOW - 10_000)},
    )
    return Update([PaneUpdate(VIEW.id, NOW, 7_000, PaneStatus.PROVISIONAL, 0, measures=cells)], [view])


def test_cloud_hub_tells_gates_entries_and_speeds_of_today(hub):
    """Sums of a day, per class; who reads in the middle of it gets the same from a snapshot as from changes."""
    version = hub.version
    passed = MeasureCell(Measure.GATE, "through", "door", "exit", "person", 3, 9_000, 2, 7_000)
    more = MeasureCell(Measure.GATE, "through", "door", "exit", "dog", 1, 500, 1, 500)
    entered = MeasureCell(Measure.ENTRY, "lobby", "", "", "person", 4, 0, 4, 0)
    fast = MeasureCell(Measure.SPEED, "door", "in", "", "person", 2, 3_000, 2, 3_000)
    hub.apply(5, measured(passed, more, entered, fast))
    hub.flush()
    for message in (told(hub, version), told(hub, -1)):
        assert message["gates"] == [
            {
                "camera": VIEW.id,
                "gate": "through",
                "origin": "door",
                "destination": "exit",
                "today": {"n": 3, "mean_travel_ms": 2_500},
                "classes": {
                    "person": {"n": 2, "mean_travel_ms": 3_500},
                    "dog": {"n": 1, "mean_travel_ms": 500},
                },
            }
        ]
        (zone,) = message["zones"]
        assert (zone["today"]["entries"], zone["crowded_since_ms"]) == (4, NOW - 10_000)
        assert message["lines"][0]["mean_speed_m_s"] == 1.5


def test_cloud_hub_tells_the_counters_that_a_device_said_last(hub):
    """With its camera as a change, and as a list; where another camera tells them now, what the first one said is old."""
    version = hub.version
    shop = CounterNow("shop", 12, LineTotals(in_=120, out=108), NOW - 9_000)
    now = msgspec.structs.replace(VIEW, counters=CountersNow(7, 40, NOW, [shop]))
    old = CountersNow(7, 39, NOW + 5, [CounterNow("cellar", 1, LineTotals(in_=1, out=0), NOW)])
    before = msgspec.structs.replace(VIEW, id="home/box/yard", camera="yard", counters=old)
    hub.apply(5, Update([], [before, now]))
    hub.flush()
    cameras = {camera["camera"]: camera for camera in told(hub, version)["cameras"]}
    assert cameras["entrance"]["counters"]["counters"] == [
        {"counter": "shop", "value": 12, "totals": {"in": 120, "out": 108}, "since_ms": NOW - 9_000}
    ]
    assert [msgspec.to_builtins(counter) for counter in hub.counters()] == [
        {
            "site": "home",
            "device": "box",
            "counter": "shop",
            "value": 12,
            "in": 120,
            "out": 108,
            "since_ms": NOW - 9_000,
            "at_ms": NOW,
        }
    ]


def test_cloud_hub_shows_a_gate_before_anybody_passed_it(hub):
    """Zero is shown, not nothing."""
    hub.apply(5, measured())
    assert [(gate.gate, gate.today.n, gate.today.mean_travel_ms) for gate in hub.gates()] == [
        ("through", 0, None)
    ]


def test_cloud_hub_tells_a_heat_map_once_and_leaves_it_out_of_snapshots(hub):
    """A map is large: who listens gets it when it comes, and who comes later asks for it."""
    version = hub.version
    heat = Heat("person", NOW - 300_000, 4, 2, [0, 7], [1_000, 20])
    hub.apply(5, Update(heats=[HeatChange(VIEW.id, NOW, heat)]))
    hub.flush()
    (map_,) = told(hub, version)["heats"]
    assert (map_["class"], map_["to_ms"], map_["cells"], map_["presence_ms"]) == (
        "person",
        NOW,
        [0, 7],
        [1_000, 20],
    )
    assert "heats" not in told(hub, -1)


def test_cloud_hub_conflates_for_a_slow_reader(hub):
    """A reader that missed messages gets one with the newest value of each key."""
    slow = hub.version
    for index in range(5):
        hub.apply(5 + index, pane(NOW, index + 1, 1))
        hub.flush()
    message = told(hub, slow)
    assert [line["today"]["in"] for line in message["lines"]] == [5]
    assert len(message["panes"]) == 1


def test_cloud_hub_is_bounded(hub):
    """A reader that has missed more than is remembered gets a snapshot."""
    slow = hub.version
    for index in range(MAX_CHANGED + 2):
        hub.apply(5 + index, pane(index * 10_000, 1, 1))
        hub.flush() if index % 1000 == 0 else None
    hub.flush()
    assert len(hub._changed) <= MAX_CHANGED
    assert told(hub, slow)["type"] == "snapshot"
    assert told(hub, hub.version - 1)["type"] == "delta"


def test_cloud_hub_lets_the_last_minute_pass(hub):
    """Crossings leave the last minute without any new event, and stay in today."""
    hub.apply(5, pane(NOW, 3, 3))
    hub.flush()
    version = hub.version
    hub.tick(NOW + 70_000)
    assert hub.flush()
    (line,) = told(hub, version)["lines"]
    assert (line["today"]["in"], line["last_minute"]["in"]) == (3, 0)


def test_cloud_hub_counts_yesterday_apart(hub):
    """A late crossing of yesterday changes its pane, not today's total; at midnight a new day begins."""
    version = hub.version
    hub.apply(5, pane(NOW - 86_400_000, 3, 3))
    hub.flush()
    assert told(hub, version)["lines"][0]["today"] == {"in": 0, "out": 0}
    start_ms, end_ms = hub.day(NOW)
    assert not hub.is_new_day(end_ms - 1)
    assert hub.is_new_day(end_ms)
    hub.load(Picture(6, 10_000, [VIEW], [], [], []), end_ms)
    snapshot = told(hub, version)
    assert (snapshot["type"], snapshot["today_start_ms"]) == ("snapshot", end_ms)
    assert start_ms < NOW


def test_cloud_days_have_23_to_25_hours():
    """Local midnights follow the zone through both changes of the clock."""
    berlin = ZoneInfo("Europe/Berlin")
    noons = (1_774_778_400_000, 1_792_926_000_000, 1_700_000_000_000)
    hours = [(local_midnight(ms, berlin, 1) - local_midnight(ms, berlin)) / 3_600_000 for ms in noons]
    assert hours == [23, 25, 24]


def test_cloud_buckets_are_local():
    """Days begin at local midnight and hours at local full hours, also half an hour off."""
    india = ZoneInfo("Asia/Kolkata")
    query = counts.parse(QueryParams("last=3h&interval=1h"), NOW, india, 10_000)
    assert {(edge + 19_800_000) % 3_600_000 for edge in query.edges_ms} == {0}
    days = counts.parse(QueryParams("last=3d&interval=1d"), NOW, india, 10_000)
    assert [edge for edge in days.edges_ms if (edge + 19_800_000) % 86_400_000] == []
    assert days.step_ms(10_000) == 900_000


def test_cloud_times_are_read_with_their_offset():
    """A plus that a client forgot to escape is still an offset."""
    query = counts.parse(
        QueryParams("from=2026-07-01T10:00:00+02:00&to=1782900000000"), NOW, ZoneInfo("UTC"), 10_000
    )
    assert query.from_ms == 1_782_892_800_000


def test_cloud_wrong_tokens_are_slowed_down():
    """After many wrong tokens everybody waits; a cookie is good for its time only."""
    clock = ManualClock()
    sessions = Sessions("a-token-of-24-characters", clock)
    cookie = sessions.cookie()
    assert sessions.is_cookie(cookie)
    assert not sessions.is_cookie(cookie[:-1] + ("0" if cookie[-1] != "0" else "1"))
    assert not sessions.is_cookie("é.x")
    assert [sessions.sign_in("wrong") for _ in range(20)] == [False] * 20
    with pytest.raises(Problem, match="Too many"):
        sessions.sign_in("a-token-of-24-characters")
    clock.advance_ms(61_000)
    assert sessions.sign_in("a-token-of-24-characters")
    clock.advance_ms(31 * 86_400_000)
    assert not sessions.is_cookie(cookie)
