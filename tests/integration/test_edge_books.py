"""Counters and events after a power cut: they are kept in one transaction, so they agree."""

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec

from countline import codec
from countline.events import CountDelta, CounterChanged, Direction, Envelope, LineCrossed
from edge.count.counters import CountersState

SCRIPT = """
import sys, threading
from pathlib import Path
from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.events import *
from edge.config import CameraSettings, EdgeSettings, LineSettings
from edge.keep import Keeper
from edge.local import Local, Surroundings
from edge.local_config import CounterSettings
from edge.outbox import Outbox
from edge.publish import Publisher

clock = SystemClock()
line = LineSettings("door", [(0, 0), (1, 1)])
cameras = [CameraSettings(name, "synthetic:", [line]) for name in ("a", "b")]
counter = CounterSettings("shop", ["a/door", "b/door"], reset="")
settings = EdgeSettings("s", "d", ".", cameras, counters=[counter])
outbox = Outbox(Path(sys.argv[1]), "s", "d", clock, 50_000_000)
local = Local(settings, Surroundings(outbox, Publisher(outbox, MqttSettings(), "s", "d", clock), clock))
keeper = Keeper(outbox, books=local)

def walk(camera, ways):
    n = 0
    while True:
        way = ways[n % len(ways)]
        event = LineCrossed("door", way, "person", n, 0.9, LineTotals(in_=0, out=0))
        keeper.keep(camera, [(clock.now_ms(), event)])
        n += 1
        if n % 50 == 0:
            print(n, flush=True)
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
                if int(line) >= 400:
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
