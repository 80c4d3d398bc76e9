"""Believable events, and a journal or a store full of them, for tests of the API and the page.

::

    seed.fill_store(path, now_ms=clock.now_ms(), minutes=90)
    seed.fill_journal(path, seed.Device().minutes(0, 30))
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cloud.process import LogEntry, Process
from cloud.store.rows import WorkerNote
from cloud.store.writer import Store
from cloud.windows import WindowConfig
from countline.codec import encode
from countline.eventlog import SCHEMA, append, connect
from countline.events import (
    AnyEvent,
    CameraConfigured,
    Direction,
    Envelope,
    Heartbeat,
    LineCrossed,
    LineShape,
    LineTotals,
    ZoneOccupancy,
    ZoneShape,
    ZoneVisit,
)

EPOCH = 1_700_000_000_000
START_MS = 1_700_000_000_000 // 60_000 * 60_000


@dataclass
class Device:
    """One agent with one camera, a door with people going in and out, and a lobby."""

    site: str = "home"
    device: str = "box"
    camera: str = "entrance"
    epoch: int = EPOCH
    start_ms: int = START_MS
    seq: int = 0
    totals: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))

    def event(self, at_ms: int, event: AnyEvent) -> Envelope:
        """Return the next event of the outbox."""
        self.seq += 1
        return Envelope(1, self.site, self.device, self.epoch, self.seq, self.camera, at_ms, event)

    def configured(self, at_ms: int) -> Envelope:
        """Return the first event of a started agent."""
        line = LineShape(
            "door", [(100.0, 300.0), (600.0, 320.0)], sides=("street", "shop"), classes=["person"]
        )
        zone = ZoneShape("lobby", [(100.0, 300.0), (600.0, 320.0), (600.0, 560.0), (100.0, 560.0)])
        event = CameraConfigured(768, 576, "video", [line], [zone], model="yolo11n", fps=7.0, preview=True)
        return self.event(at_ms, event)

    def crossed(self, at_ms: int, direction: Direction = Direction.IN, cls: str = "person") -> Envelope:
        """Return one crossing of the door."""
        self.totals[direction] += 1
        totals = LineTotals(self.totals[Direction.IN], self.totals[Direction.OUT])
        return self.event(at_ms, LineCrossed("door", direction, cls, self.seq, 0.8, totals))

    def heartbeat(self, since_ms: int, at_ms: int, blind_ms: int = 0) -> Envelope:
        """Return a heartbeat over a span."""
        frames = (at_ms - since_ms) * 7 // 1000
        return self.event(at_ms, Heartbeat(since_ms, blind_ms, frames, 0, 61.0))

    def minutes(self, first: int, last: int, beat_ms: int = 2_000) -> Iterator[Envelope]:
        """Yield what happens in minutes `first` to `last` after the start: 6 in and 3 out each, and a visitor."""
        if first == 0:
            yield self.configured(self.start_ms)
        for minute in range(first, last):
            minute_ms = self.start_ms + minute * 60_000
            for since_ms in range(minute_ms, minute_ms + 60_000, beat_ms):
                yield from self._between(since_ms, since_ms + beat_ms, minute_ms)
                yield self.heartbeat(since_ms, since_ms + beat_ms)

    def _between(self, since_ms: int, at_ms: int, minute_ms: int) -> Iterator[Envelope]:
        for second in range(0, 60, 10):
            if since_ms <= minute_ms + second * 1000 < at_ms:
                yield self.crossed(since_ms + 300, Direction.IN)
                if second % 20 == 0:
                    yield self.crossed(since_ms + 900, Direction.OUT)
        if since_ms == minute_ms:
            yield self.event(since_ms + 1_000, ZoneOccupancy("lobby", {"person": 2}))
        if since_ms <= minute_ms + 30_000 < at_ms:
            yield self.event(since_ms + 1_000, ZoneOccupancy("lobby", {"person": 1}))
            yield self.event(since_ms + 1_000, ZoneVisit("lobby", "person", self.seq, 30_000))


def fill_journal(path: Path, envelopes: Iterable[Envelope], delay_ms: int = 50) -> None:
    """Append events to a journal, as a gateway does that received each `delay_ms` after it happened."""
    with contextlib.closing(connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        for envelope in envelopes:
            append(connection, envelope.at_ms + delay_ms, [encode(envelope)])
        connection.execute("COMMIT")


def fill_store(path: Path, now_ms: int, minutes: int = 90, devices: Iterable[Device] | None = None) -> None:
    """Make a store in which the last `minutes` were counted, the newest event at `now_ms`."""
    config = WindowConfig()
    process = Process(config)
    with contextlib.closing(Store(path, config.pane_ms)) as store:
        for device in devices or [Device()]:
            device.start_ms = now_ms - minutes * 60_000
            entries = [
                LogEntry(process.position + index, envelope.at_ms + 50, envelope)
                for index, envelope in enumerate(device.minutes(0, minutes), start=1)
            ]
            for start in range(0, len(entries), 500):
                batch = entries[start : start + 500]
                store.commit(process.feed(batch, batch[-1].id), WorkerNote(now_ms, now_ms, 0))
