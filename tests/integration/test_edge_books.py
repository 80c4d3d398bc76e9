"""Counters and events after a power cut: they are kept in one transaction, so they agree."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from countline import codec
from countline.clock import ManualClock
from countline.config import MqttSettings
from countline.events import (
    CameraConfigured,
    CountDelta,
    CounterChanged,
    CounterValues,
    Direction,
    Envelope,
    LineCrossed,
    LineTotals,
)
from edge.config import CameraSettings, EdgeSettings, LineSettings
from edge.config.local import CounterSettings
from edge.count.counters import CountersState
from edge.local import Local, Surroundings
from edge.outbox import Batch, Outbox
from edge.outbox_writer import OutboxWriter
from edge.publish import Publisher

SCRIPT = """
import sys, threading
from pathlib import Path
from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.events import *
from edge.config import CameraSettings, EdgeSettings, LineSettings
from edge.outbox_writer import OutboxWriter
from edge.local import Local, Surroundings
from edge.config.local import CounterSettings
from edge.outbox import Outbox
from edge.publish import Publisher

clock = SystemClock()
line = LineSettings("door", [(0, 0), (1, 1)])
cameras = [CameraSettings(name, "synthetic:", [line]) for name in ("a", "b")]
counter = CounterSettings("shop", ["a/door", "b/door"], reset="")
settings = EdgeSettings("s", "d", ".", cameras, counters=[counter])
outbox = Outbox(Path(sys.argv[1]), "s", "d", clock, 50_000_000)
local = Local(settings, Surroundings(outbox, Publisher(outbox, MqttSettings(), "s", "d", clock), clock))
writer = OutboxWriter(outbox, lambda: print(outbox.last_seq, flush=True), local)

def walk(camera, ways):
    n = 0
    while True:
        way = ways[n % len(ways)]
        event = LineCrossed("door", way, "person", n, 0.9, LineTotals(in_=0, out=0))
        writer.keep(camera, [(clock.now_ms(), event)])
        n += 1
        if n % 50 == 0:
            pause.wait(0.02)

pause = threading.Event()
threading.Thread(target=walk, args=("a", [Direction.IN, Direction.IN, Direction.OUT]), daemon=True).start()
walk("b", [Direction.OUT, Direction.IN, Direction.OUT])
"""


def test_kill_minus_nine_leaves_counters_that_agree_with_the_events(tmp_path: Path):
    """Whatever is killed when: a counter holds exactly the crossings that are in the outbox, clamped ones told."""
    path = tmp_path / "outbox.sqlite"
    before = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if int(line) >= before + 200:
                    writer.send_signal(signal.SIGKILL)
                    break
        with closing(sqlite3.connect(path)) as connection:
            envelopes = [
                codec.decode(raw) for (raw,) in connection.execute("SELECT envelope FROM outbox ORDER BY seq")
            ]
            (kept,) = connection.execute("SELECT value FROM state WHERE key = 'counters'").fetchone()
        shop = msgspec.json.decode(kept, type=CountersState).counters["shop"]
        events = [envelope.event for envelope in envelopes if isinstance(envelope, Envelope)]
        ways: Counter[Direction] = Counter()
        for event in events:
            if isinstance(event, LineCrossed | CountDelta):  # folded, if the disk was slow
                ways[event.direction] += event.n if isinstance(event, CountDelta) else 1
        clamped = sum(event.n for event in events if isinstance(event, CounterChanged))
        assert ways.total() > before
        before = ways.total()
        assert (shop.tally.totals.in_, shop.tally.totals.out) == (ways[Direction.IN], ways[Direction.OUT])
        assert shop.value == ways[Direction.IN] - ways[Direction.OUT] + clamped
        assert shop.clamped == clamped


class Late(Local):
    """Books that somebody else wants to write into just when they are closed."""

    late: Callable[[], None]

    def state(self) -> CountersState | None:
        """Let the other one try."""
        writer = threading.Thread(target=self.late)
        writer.start()
        writer.join(0.1)
        return super().state()


def test_nothing_gets_into_the_books_between_events_and_counters(tmp_path: Path):
    """A crossing that comes while a transaction is put together is in the next one, as an event and in the counter."""
    clock, told = ManualClock(), []
    with closing(Outbox(tmp_path / "outbox.sqlite", "s", "d", clock, 1_000_000)) as outbox:
        append = outbox.append_all
        is_enough = threading.Event()

        def remember(batches: Sequence[Batch], counters: CountersState | None = None) -> None:
            append(batches, counters)
            assert counters is not None
            crossed = sum(isinstance(event, LineCrossed) for batch in batches for _, event in batch.moments)
            told.append((crossed, counters.counters["shop"].tally.totals.in_))
            if sum(n for n, _ in told) >= 5:
                is_enough.set()

        outbox.append_all = remember  # type: ignore[method-assign]
        camera = CameraSettings("a", "synthetic:", [LineSettings("door", [(0, 0), (1, 1)])])
        settings = EdgeSettings("s", "d", ".", [camera], counters=[CounterSettings("shop", ["door"])])
        books = Late(
            settings, Surroundings(outbox, Publisher(outbox, MqttSettings(), "s", "d", clock), clock)
        )
        crossing = LineCrossed("door", Direction.IN, "person", 1, 0.9, LineTotals(in_=0, out=0))
        writer = OutboxWriter(outbox, books=books)
        books.late = lambda: None if is_enough.is_set() else writer.keep("a", [(clock.now_ms(), crossing)])
        writer.keep("a", [(clock.now_ms(), crossing)])
        assert is_enough.wait(20)
        writer.close()
    written = 0
    for crossed, counted in told:
        written += crossed
        assert counted == written


def test_a_reset_that_was_missed_is_made_at_the_start_and_kept(tmp_path: Path):
    """A box that is off over the hour: the event is dated four in the morning, and a second start makes no second one."""

    def ms(text: str) -> int:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)

    camera = CameraSettings("a", "synthetic:", [LineSettings("door", [(0, 0), (1, 1)])])
    settings = EdgeSettings(
        "s", "d", ".", [camera], counters=[CounterSettings("shop", ["door"])], timezone="Europe/Berlin"
    )
    crossing = LineCrossed("door", Direction.IN, "person", 1, 0.9, LineTotals(in_=0, out=0))
    told: list[tuple[int, CounterChanged]] = []
    for now, n in (("2026-03-28T22:00", 3), ("2026-03-29T10:00", 1), ("2026-03-29T10:05", 0)):
        clock = ManualClock(ms(now))
        with closing(Outbox(tmp_path / "outbox.sqlite", "s", "d", clock, 1_000_000)) as outbox:
            publisher = Publisher(outbox, MqttSettings(), "s", "d", clock)
            local = Local(settings, Surroundings(outbox, publisher, clock))
            writer = OutboxWriter(outbox, books=local)
            writer.settle()
            for _ in range(n):
                writer.keep("a", [(clock.now_ms(), crossing)])
            writer.close()
            told = [
                (envelope.at_ms, envelope.event)
                for envelope in map(codec.decode, (raw for _, raw in outbox.read_after(0, 100, 1_000_000)))
                if isinstance(envelope, Envelope) and isinstance(envelope.event, CounterChanged)
            ]
            value = outbox.counters.counters["shop"].value if outbox.counters else None
    ((at_ms, change),) = told
    assert at_ms == ms("2026-03-29T04:00")
    assert (change.before, change.value, change.totals.in_) == (3, 0, 3)
    assert value == 1


def test_the_counters_values_are_told_once_a_second_at_most_and_at_the_end(tmp_path: Path):
    """Ten crossings within a second are one word; a camera that begins has them told again; the last word is right."""
    clock = ManualClock()
    camera = CameraSettings("a", "synthetic:", [LineSettings("door", [(0, 0), (1, 1)])])
    settings = EdgeSettings("s", "d", ".", [camera], counters=[CounterSettings("shop", ["door"])])
    crossing = LineCrossed("door", Direction.IN, "person", 1, 0.9, LineTotals(in_=0, out=0))
    configured = CameraConfigured(10, 10, "synthetic", [], [])
    with closing(Outbox(tmp_path / "outbox.sqlite", "s", "d", clock, 1_000_000)) as outbox:
        local = Local(
            settings, Surroundings(outbox, Publisher(outbox, MqttSettings(), "s", "d", clock), clock)
        )
        writer = OutboxWriter(outbox, books=local)
        local._settle = writer.settle  # as `start` does, without its thread

        def then(event: CameraConfigured | LineCrossed | None, wait_ms: int) -> None:
            clock.advance_ms(wait_ms)
            if event:
                writer.keep("a", [(clock.now_ms(), event)])
            writer.settle()

        then(None, 0)
        for _ in range(10):
            then(crossing, 90)
        then(None, 200)
        then(None, 5_000)
        then(configured, 2_000)
        then(crossing, 10)
        local.close()
        writer.close()
        told = [
            envelope.event
            for envelope in map(codec.decode, (raw for _, raw in outbox.read_after(0, 100, 1_000_000)))
            if isinstance(envelope, Envelope) and isinstance(envelope.event, CounterValues)
        ]
    assert [[(now.counter, now.value) for now in event.counters] for event in told] == [
        [("shop", 0)],
        [("shop", 10)],
        [("shop", 10)],
        [("shop", 11)],
    ]
    assert told[-1].counters[0].totals == LineTotals(in_=11, out=0)
