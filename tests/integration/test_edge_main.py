"""A camera's agent from its scene to a real outbox that fills up."""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.events import CameraState, Envelope, Heartbeat, LineTotals
from countline.service import Stop
from edge import recount
from edge.agent import CameraAgent, Shared
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.desk import Desk
from edge.keep import Keeper
from edge.outbox import Outbox

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
    keeper = Keeper(outbox)
    desk = Desk(None, SystemClock())
    try:
        CameraAgent(camera, Shared(desk, keeper, SystemClock(), heartbeat_s=heartbeat_s)).run(stop)
    finally:
        keeper.close()


def run(outbox: Outbox) -> dict[str, LineTotals]:
    """Count the scene into an outbox that nobody empties; return the totals that it ends with."""
    run_agent(SCENE, outbox, StopsAfter(1))
    return outbox.totals("square")


def crossings(totals: dict[str, LineTotals]) -> int:
    return sum(total.in_ + total.out for total in totals.values())


def test_a_full_outbox_is_told_and_what_it_could_not_take(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """What waited in memory to the end is lost with the process; how many crossings that were is said."""
    caplog.set_level(logging.WARNING)
    truth = len(recount.count(SCENE, DetectorSettings(), lambda *_: None).crossings)
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", SystemClock(), 300_000)) as outbox:
        kept = crossings(run(outbox))
    assert 0 < kept < truth
    lost = [record.fields["crossings"] for record in caplog.records if "is lost" in record.getMessage()]  # type: ignore[attr-defined]
    assert lost == [truth - kept]


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
