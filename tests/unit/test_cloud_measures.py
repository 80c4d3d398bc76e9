"""Gates, entries, speeds, crowding and heat from events to the store, and back."""

import contextlib
from pathlib import Path

import pytest

from cloud.measures import Measure
from cloud.process import LogEntry, Process
from cloud.store.reader import StoreReader
from cloud.store.rows import HEAT_STEP_MS, MeasureTotal, WorkerNote
from cloud.store.writer import Store
from cloud.windows import MAX_GATES, Refusal, WindowConfig
from countline.events import (
    AnyEvent,
    EntryDelta,
    GateDelta,
    GatePassed,
    Heat,
    ZoneCrowded,
    ZoneEntered,
)
from tests import seed

CONFIG = WindowConfig()
DAY = 86_400_000
T0 = seed.START_MS // DAY * DAY
CAMERA = "home/box/entrance"


class Box:
    """A worker without a journal: events in, what the store then holds out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = Process(CONFIG)
        self._device = seed.Device()
        self._id = 0
        self.refused: dict[str, int] = {}

    def feed(self, *events: tuple[int, AnyEvent], with_heartbeat_ms: int = 0) -> None:
        """Count (at_ms, event), and commit."""
        said = [self._device.event(at_ms, event) for at_ms, event in events]
        if with_heartbeat_ms:
            said.append(self._device.heartbeat(with_heartbeat_ms - 1_000, with_heartbeat_ms))
        entries = [LogEntry(self._id + i, one.at_ms + 50, one) for i, one in enumerate(said, start=1)]
        self._id += len(said)
        with contextlib.closing(Store(self._path, CONFIG.pane_ms)) as store:
            process = Process.restore(CONFIG, store.load())
            effects = process.feed(entries, self._id)
            for change in effects.ledger:
                self.refused |= change.reasons
            store.commit(effects, WorkerNote())

    def measures(self) -> list[MeasureTotal]:
        """Return the sums of the day."""
        with contextlib.closing(StoreReader(self._path)) as reader:
            return sorted(reader.picture(T0, T0 + DAY, T0).measures)

    def reader(self) -> contextlib.closing[StoreReader]:
        """Open the store to look into it."""
        return contextlib.closing(StoreReader(self._path))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "store.sqlite")


def passed(travel_ms: int, cls: str = "person", gate: str = "through") -> GatePassed:
    return GatePassed(gate, "door", "exit", cls, 1, travel_ms)


def test_passages_entries_and_their_rolled_up_kinds_are_summed(box: Box) -> None:
    """What a full disk has rolled into one event counts as many as it is."""
    box.feed((T0, passed(1_000)), (T0 + 1, passed(2_000)), (T0 + 2, passed(500, "dog")))
    box.feed((T0 + 3, GateDelta("through", "door", "exit", "person", 5, 9_000, T0, T0 + 3)))
    box.feed((T0 + 4, ZoneEntered("lobby", "person", 1, appeared=True)))
    box.feed((T0 + 5, EntryDelta("lobby", "person", 3, T0, T0 + 5)))
    gate = (CAMERA, "gate", "through", "door", "exit")
    assert box.measures() == [
        MeasureTotal(CAMERA, "entry", "lobby", "", "", "person", 4, 1),
        MeasureTotal(*gate, "dog", 1, 500),
        MeasureTotal(*gate, "person", 7, 12_000),
    ]
    assert box.refused == {}


def test_what_comes_hours_late_is_added_to_what_the_store_has(box: Box) -> None:
    """A pane that has left the memory is added to, not replaced."""
    box.feed((T0 + 1, passed(1_000)), with_heartbeat_ms=T0 + 10_000)
    box.feed(with_heartbeat_ms=T0 + 7_200_000)
    box.feed((T0 + 2, passed(3_000)))
    assert box.measures() == [
        MeasureTotal(CAMERA, Measure.GATE, "through", "door", "exit", "person", 2, 4_000)
    ]
    with box.reader() as reader:
        (pane,) = [pane for pane in reader.picture(T0, T0 + DAY, T0).panes if pane.start_ms == T0]
        assert [(cell.n, cell.total) for cell in pane.measures] == [(2, 4_000)]


def test_maps_are_summed_by_the_hour_and_class(box: Box) -> None:
    """Each cell of an hour is the sum of the maps that ended in it."""
    box.feed(
        (T0 + 300_000, Heat("person", T0, 4, 2, [0, 3], [1_000, 10])),
        (T0 + 600_000, Heat("person", T0 + 300_000, 4, 2, [3, 7], [5, 700])),
        (T0 + 600_000, Heat("dog", T0 + 300_000, 4, 2, [1], [20])),
    )
    box.feed((T0 + HEAT_STEP_MS, Heat("person", T0 + 600_000, 4, 2, [0], [1])))
    with box.reader() as reader:
        (number,) = reader.cameras()
        person = [layer for layer in reader.heat(number, T0, T0 + HEAT_STEP_MS) if layer.cls == "person"]
        assert person == [("person", 4, 2, [0, 3, 7], [1_000, 15, 700])]
        both = {layer.cls: layer.presence_ms for layer in reader.heat(number, T0, T0 + DAY)}
        assert both == {"person": [1_001, 15, 700], "dog": [20]}


def test_a_zone_is_crowded_until_that_ends_or_the_agent_starts_anew(box: Box) -> None:
    """An alarm is not left on by an agent that was killed."""

    def crowded() -> list[str]:
        with box.reader() as reader:
            return [zone for view in reader.cameras().values() for zone in view.crowded]

    begins, ends = (ZoneCrowded("lobby", crowded, 9, 8, T0) for crowded in (True, False))
    box.feed((T0 + 1, begins))
    assert crowded() == ["lobby"]
    box.feed((T0 + 2, ends))
    assert crowded() == []
    box.feed((T0 + 3, begins), (T0 + 4, seed.Device().configured(T0 + 4).event))
    assert crowded() == []


def test_a_device_gone_wild_does_not_fill_the_store_with_gates(box: Box) -> None:
    """Beyond so many gates and pairs in a day passages are refused, and the ledger says so."""
    events = [(T0 + i, GatePassed("", f"line-{i}", "exit", "person", 1, 5)) for i in range(MAX_GATES + 3)]
    box.feed(*events)
    assert len(box.measures()) == MAX_GATES
    assert box.refused == {Refusal.GATES.value: 3}
