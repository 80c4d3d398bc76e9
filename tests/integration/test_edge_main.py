"""A camera's agent from its scene to a real outbox that fills up."""

import logging
import threading
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.errors import Unavailable, UsageError
from countline.events import CameraState, Envelope, Heartbeat, LineTotals
from countline.service import Stop
from edge import agent, recount
from edge.agent import CameraAgent, Shared
from edge.arrays import Detections
from edge.capture import open_source
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.frames import Frame, SourceInfo
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Scheduler

LINES = [LineSettings(f"x{x}", [(x, 0.0), (x, 360.0)]) for x in range(20, 640, 20)]
SCENE = CameraSettings("square", "synthetic:", LINES, realtime=False)


class StopsAfter(Stop):
    """A stop that is asked for after some waits; here only a recording that has ended makes an agent wait."""

    def __init__(self, waits: int) -> None:
        """Allow so many waits."""
        super().__init__()
        self._left = waits

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait, and count it."""
        self._left -= 1
        if self._left <= 0:
            self.request()
        return super().wait(timeout_s)


def run_agent(camera: CameraSettings, outbox: Outbox, stop: Stop, heartbeat_s: float = 1.0) -> None:
    """Run one camera that brings its own detections, until it is asked to stop; then all it has said is written."""
    writer = OutboxWriter(outbox)
    scheduler = Scheduler(None, SystemClock())
    try:
        CameraAgent(camera, Shared(scheduler, writer, SystemClock(), heartbeat_s=heartbeat_s)).run(stop)
    finally:
        writer.close()


def run(outbox: Outbox) -> dict[str, LineTotals]:
    """Count the scene into an outbox that nobody empties; return the totals that it ends with."""
    run_agent(SCENE, outbox, StopsAfter(1))
    return outbox.totals("square")


def crossings(totals: dict[str, LineTotals]) -> int:
    return sum(total.in_ + total.out for total in totals.values())


def fill(outbox: Outbox) -> None:
    """Fill it to the brim, so that not even what is folded finds room."""
    for at_ms in count():
        outbox.append("other", [(at_ms, Heartbeat(since_ms=at_ms))], {})


def test_a_full_outbox_is_told_and_what_it_could_not_take(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """What waited in memory to the end is lost with the process; how many crossings that were is said."""
    caplog.set_level(logging.WARNING)
    truth = len(recount.count(SCENE, DetectorSettings(), lambda *_: None).crossings)
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 300_000)) as outbox:
        with pytest.raises(Unavailable):
            fill(outbox)
        assert crossings(run(outbox)) == 0
    lost = [record.fields["crossings"] for record in caplog.records if "is lost" in record.getMessage()]  # type: ignore[attr-defined]
    assert lost == [truth]


def test_a_class_that_a_made_up_scene_does_not_have_ends_the_agent_with_a_sentence(tmp_path: Path):
    """A typo in the classes would silently count nothing, for ever."""
    camera = CameraSettings("square", "synthetic:", classes=["persn"])
    with (
        closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 1_000_000)) as outbox,
        pytest.raises(
            UsageError, match="camera 'square' plays, synthetic:, has no class 'persn'; the nearest"
        ),
    ):
        run_agent(camera, outbox, StopsAfter(1))


@pytest.mark.parametrize("is_recorded", [False, True])
def test_boxes_that_are_none_are_left_out_and_said_now_and_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, is_recorded: bool
):
    """A model in half precision may return NaN in each picture: it is said at once, and how many there were in all."""
    path = tmp_path / "det.txt"
    path.write_text("".join(f"{frame},-1,{frame * 10},100,40,100,0.9\n" for frame in range(1, 11)))
    broken = Detections(np.full((2, 4), np.nan, np.float32), np.ones(2, np.float32), np.zeros(2, np.int16))
    monkeypatch.setattr(agent, "picking", lambda *_: lambda _found: broken)
    caplog.set_level(logging.WARNING)
    record = str(tmp_path / "kept") if is_recorded else False
    camera = CameraSettings("walk", f"mot:{path}", size=(500, 300), realtime=False, record=record)
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 1_000_000)) as outbox:
        run_agent(camera, outbox, StopsAfter(1))
    said = [record.fields for record in caplog.records if "left out" in record.getMessage()]  # type: ignore[attr-defined]
    assert said == [{"camera": "walk", "boxes": 2}, {"camera": "walk", "boxes": 18}]


def test_a_recording_that_has_ended_is_blind_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It must not look like a camera that has died: it is said once in the log, and in each heartbeat from then on."""
    path = tmp_path / "det.txt"
    path.write_text("".join(f"{frame},-1,{frame * 10},100,40,100,0.9\n" for frame in range(1, 11)))
    camera = CameraSettings("walk", f"mot:{path}", size=(500, 300), fps=100.0)
    caplog.set_level(logging.WARNING)
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 1_000_000)) as outbox:
        run_agent(camera, outbox, StopsAfter(3), heartbeat_s=0.1)
        sent = [decode(body) for _, body in outbox.read_after(0, 1_000, 1_000_000)]
    events = [envelope.event for envelope in sent if isinstance(envelope, Envelope)]
    beats = [event for event in events if isinstance(event, Heartbeat)]
    blind = [beat for beat in beats if beat.state is CameraState.BLIND]
    assert len(blind) >= 2
    assert beats[-len(blind) :] == blind
    assert {beat.reason for beat in blind} == {"the recording has ended"}
    assert sum(beat.frames + beat.dropped for beat in beats) == 10
    (said,) = [record for record in caplog.records if "has ended" in record.getMessage()]
    assert said.fields == {"camera": "walk", "frames": 10, "frames_expected": 10}  # type: ignore[attr-defined]


class Hangs:
    """A source that opens and then never answers, as a network drive that has gone; until the test is over."""

    def __init__(self) -> None:
        """Hang from the first read on."""
        self.is_asked = threading.Event()
        self.is_over = threading.Event()
        self.is_finished = False
        self.info = SourceInfo(640, 360, 25.0, class_names=("person",))

    def open(self) -> SourceInfo:
        """Open."""
        return self.info

    def read(self, timeout_s: float) -> Frame | None:
        """Hang, whatever the time-out."""
        self.is_asked.set()
        self.is_over.wait()
        return None

    def close(self) -> None:
        """Close."""


def test_a_camera_that_hangs_holds_up_no_other_and_says_that_it_is_blind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The other one counts its scene to the end, and asking to stop ends both though the reader still hangs."""
    hanging = Hangs()
    monkeypatch.setattr(
        agent,
        "open_source",
        lambda settings, clock, **kw: (
            hanging if settings.name == "dead" else open_source(settings, clock, **kw)
        ),
    )
    monkeypatch.setattr("edge.scheduler.HANGS_AFTER_S", 0.0)
    truth = len(recount.count(SCENE, DetectorSettings(), lambda *_: None).crossings)
    dead = CameraSettings("dead", "synthetic:", LINES)
    stop = Stop()
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 100_000_000)) as outbox:
        writer, scheduler = OutboxWriter(outbox), Scheduler(None, SystemClock())
        shared = Shared(scheduler, writer, SystemClock(), heartbeat_s=0.01)
        agents = [CameraAgent(camera, shared) for camera in (dead, SCENE)]
        threads = [threading.Thread(target=one.run, args=(stop,), daemon=True) for one in agents]
        for thread in threads:
            thread.start()
        until_s = SystemClock().monotonic_s() + 60
        while SystemClock().monotonic_s() < until_s and not (
            crossings(outbox.totals("square")) == truth and "hangs" in "".join(reasons(outbox, "dead"))
        ):
            stop.wait(0.05)
        stop.request()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
        writer.close()
        assert crossings(outbox.totals("square")) == truth
        assert any(reason.startswith("the source hangs") for reason in reasons(outbox, "dead"))
    hanging.is_over.set()


def reasons(outbox: Outbox, camera: str) -> list[str]:
    """Return why a camera was blind, as its heartbeats say."""
    sent = [decode(body) for _, body in outbox.read_after(0, 100_000, 100_000_000)]
    beats = [
        envelope.event for envelope in sent if isinstance(envelope, Envelope) and envelope.camera == camera
    ]
    return [beat.reason for beat in beats if isinstance(beat, Heartbeat) and beat.state is CameraState.BLIND]
