"""A device gone wild: names are bounded, what is beyond is told in the ledger, and nothing else suffers."""

from collections import Counter

import msgspec
import pytest

from cloud import process as process_module
from cloud import windows as windows_module
from cloud.process import Effects, LogEntry, Process, ProcessState
from cloud.windows import DAY_MS, MAX_CLASSES, MAX_LINES, MAX_SERIES, Refusal, WindowConfig
from countline.dedupe import MAX_RANGES_PER_EPOCH
from countline.events import (
    AnyEvent,
    CameraConfigured,
    CountDelta,
    Direction,
    Envelope,
    LineCrossed,
    LineShape,
    LineTotals,
    ZoneOccupancy,
    ZoneVisit,
)
from tests import seed

T0 = seed.START_MS
CONFIG = WindowConfig()


def crossed(line: str, cls: str = "person") -> LineCrossed:
    return LineCrossed(line, Direction.IN, cls, 1, 0.8, LineTotals(1, 0))


def feed(process: Process, envelopes: list[Envelope], at_ms: int = T0) -> Effects:
    first = process.position + 1
    log = [LogEntry(first + index, at_ms, envelope) for index, envelope in enumerate(envelopes)]
    return process.feed(log, log[-1].id)


def accounted(effects: Effects) -> Counter:
    """Return all that happened to events, by name."""
    told: Counter = Counter()
    for change in effects.ledger:
        told.update(counted=change.counted, refused=change.refused, **change.reasons)
    return told


@pytest.mark.parametrize(
    ("reason", "most", "event"),
    [
        (Refusal.LINES, MAX_LINES, lambda i: crossed(f"line{i}")),
        (Refusal.LINES, MAX_LINES, lambda i: CountDelta(f"line{i}", Direction.IN, "person", 3, T0, T0)),
        (Refusal.ZONES, MAX_LINES, lambda i: ZoneVisit(f"zone{i}", "person", 1, 500)),
        (Refusal.ZONES, MAX_LINES, lambda i: ZoneOccupancy(f"zone{i}", {"person": 1})),
        (Refusal.CLASSES, MAX_CLASSES, lambda i: crossed("door", f"class{i}")),
        (Refusal.CLASSES, MAX_CLASSES, lambda i: ZoneOccupancy("lobby", {f"class{i}": 1})),
        (Refusal.SERIES, MAX_SERIES, lambda i: crossed(f"line{i // 200}", f"class{i % 200}")),
    ],
)
def test_cloud_names_of_a_camera_are_bounded(reason, most, event):
    """Names beyond the bound are refused with their reason, known names go on, the next day begins anew."""
    process, device = Process(CONFIG), seed.Device()
    effects = feed(process, [device.event(T0, event(index)) for index in range(most + 7)])
    assert accounted(effects) == {"counted": most, "refused": 7, reason.value: 7}
    (change,) = effects.ledger
    assert change.contiguous == change.counted + change.refused
    assert accounted(feed(process, [device.event(T0, event(0))])) == {"counted": 1, "refused": 0}
    tomorrow = [device.event(T0 + DAY_MS, event(most + 8))]
    assert accounted(feed(process, tomorrow, T0 + DAY_MS)) == {"counted": 1, "refused": 0}


def test_cloud_a_config_counts_with_its_lines_and_zones():
    """Configs of ever new lines are refused beyond the bound; the one before stays."""
    process, device = Process(CONFIG), seed.Device()

    def config(n: int) -> AnyEvent:
        lines = [LineShape(f"line{n}-{index}", [(0, 0), (1, 1)]) for index in range(256)]
        return CameraConfigured(768, 576, "video", lines, [])

    effects = feed(process, [device.event(T0, config(n)) for n in range(5)])
    assert accounted(effects) == {"counted": 4, "refused": 1, Refusal.LINES.value: 1}
    assert effects.cameras[0].view.lines[0].name == "line3-0"


def test_cloud_cameras_of_a_device_are_bounded():
    """Cameras beyond the bound are refused, and other devices are not touched by it, a restart included."""
    most = process_module.MAX_CAMERAS_PER_DEVICE
    process, wild, tame = Process(CONFIG), seed.Device(), seed.Device(device="tame")

    def from_cameras(first: int, last: int) -> list[Envelope]:
        named = (msgspec.structs.replace(wild.crossed(T0), camera=f"cam{i}") for i in range(first, last))
        return list(named)

    effects = feed(process, from_cameras(0, most + 9))
    assert accounted(effects) == {"counted": most, "refused": 9, Refusal.CAMERAS.value: 9}
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(process.snapshot()), type=ProcessState)
    process = Process.restore(CONFIG, state)
    assert accounted(feed(process, from_cameras(most, most + 1)))["refused"] == 1
    assert accounted(feed(process, [tame.crossed(T0)])) == {"counted": 1, "refused": 0}


def test_cloud_names_outlive_a_restart(monkeypatch):
    """A worker that is restarted knows what was named today."""
    monkeypatch.setitem(windows_module._MOST, Refusal.LINES, 2)
    process, device = Process(CONFIG), seed.Device()
    feed(process, [device.event(T0, crossed(name)) for name in ("a", "b")])
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(process.snapshot()), type=ProcessState)
    process = Process.restore(CONFIG, state)
    effects = feed(process, [device.event(T0, crossed(name)) for name in ("b", "c")])
    assert accounted(effects) == {"counted": 1, "refused": 1, Refusal.LINES.value: 1}


def test_cloud_occupancy_forgets_classes_that_left():
    """A zone that sees other classes every day does not keep them all."""
    process, device = Process(CONFIG), seed.Device()
    for day in range(4):
        said = [
            device.event(T0 + day * DAY_MS, ZoneOccupancy("lobby", {f"class{day}-{index}": 1}))
            for index in range(MAX_CLASSES)
        ]
        feed(process, said, T0 + day * DAY_MS)
    (camera,) = process.snapshot().cameras
    assert len(camera.zones["lobby"].counts) <= 2 * MAX_CLASSES + 1


def test_cloud_more_gaps_than_are_remembered_lose_no_event():
    """Whatever is missing in the log, what is there is counted; the oldest gap is given up, and told."""
    process, device = Process(CONFIG), seed.Device()
    said = [device.crossed(T0) for _ in range(2 * MAX_RANGES_PER_EPOCH + 20)]
    effects = feed(process, said[1::2])
    (change,) = effects.ledger
    assert (change.counted, change.crossings) == (MAX_RANGES_PER_EPOCH + 10, MAX_RANGES_PER_EPOCH + 10)
    assert change.reasons == {Refusal.NEVER_CAME.value: 10}
    assert len(change.missing) == MAX_RANGES_PER_EPOCH
    assert change.contiguous == 20
