"""A camera is counted and recorded; the recording is counted again, over the same lines and over others."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.events import Envelope, LineCrossed
from countline.service import Stop
from edge import recount
from edge.agent import CameraAgent, Shared
from edge.capture import Recorder
from edge.capture.detlog import Header
from edge.capture.mot import read_mot
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Scheduler

LINES = [LineSettings(f"x{x}", [(x, 0.0), (x, 480.0)]) for x in (160, 320, 480)]
LINES += [LineSettings(f"y{y}", [(0.0, y), (640.0, y)]) for y in (160, 320)]


@pytest.fixture(scope="module")
def det(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 40 s of six people who walk to and fro, found by a detector that misses, jitters and makes things up."""
    rng = np.random.default_rng(7)
    rows = []
    phase, speed, y = rng.uniform(0, 6, 6), rng.uniform(0.3, 0.8, 6), rng.uniform(150, 380, 6)
    for frame in range(1, 401):
        for i in range(6):
            if rng.random() < 0.9:
                x = 320 + 290 * np.sin(phase[i] + speed[i] * frame / 10) + rng.normal(0, 1.5)
                h = 90 + rng.normal(0, 2)
                top = y[i] + 80 * np.sin(frame / 70 + i) - h
                rows.append((frame, x - 20, top, 40 + rng.normal(0, 1), h, rng.uniform(0.15, 0.99)))
        if rng.random() < 0.3:
            rows.append((frame, rng.uniform(0, 600), rng.uniform(0, 380), 30, 70, 0.2))
    path = tmp_path_factory.mktemp("mot") / "det.txt"
    path.write_text(
        "".join(f"{f:d},-1,{x:.3f},{y:.3f},{w:.3f},{h:.3f},{c:.4f}\n" for f, x, y, w, h, c in rows)
    )
    return path


class Ended(Stop):
    """A stop that is asked for when the recording has ended."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Only a camera that has nothing to count waits."""
        self.request()
        return super().wait(timeout_s)


def live(camera: CameraSettings, folder: Path) -> list[tuple[int, LineCrossed]]:
    """Run an agent over the camera's recording to its end; return the crossings that it has kept for the gateway."""
    with closing(Outbox(folder / "outbox.sqlite", "site", "box", SystemClock(), 50_000_000)) as outbox:
        writer = OutboxWriter(outbox)
        shared = Shared(
            Scheduler(None, SystemClock()), writer, SystemClock(), recordings=folder / "detections"
        )
        try:
            CameraAgent(camera, shared).run(Ended())
        finally:
            writer.close()
        sent = [decode(body) for _, body in outbox.read_after(0, 10_000, 10_000_000)]
    return [
        (one.at_ms, one.event)
        for one in sent
        if isinstance(one, Envelope) and isinstance(one.event, LineCrossed)
    ]


def replayed(folder: Path, lines: list[LineSettings]) -> recount.Tally:
    camera = CameraSettings("again", f"detlog:{folder}", lines, realtime=False)
    return recount.count(camera, DetectorSettings(), lambda *_: None)


@pytest.mark.parametrize("realtime", [False, True])
def test_a_recount_over_the_same_lines_is_the_same_to_the_millisecond(
    tmp_path: Path, det: Path, *, realtime: bool
) -> None:
    """Each crossing of the live run comes again, with its time, line, direction, class and track, and no other."""
    camera = CameraSettings(
        "hall",
        f"mot:{det}",
        LINES,
        size=(640, 480),
        fps=30.0 if realtime else 10.0,
        realtime=realtime,
        record=True,
    )
    counted = live(camera, tmp_path)
    assert len(counted) >= (1 if realtime else 50)
    again = replayed(tmp_path / "detections" / "hall", LINES)
    assert [(row.at_ms, row.line, row.direction, row.cls, row.track) for row in again.crossings] == [
        (at_ms, event.line, event.direction.value, event.cls, event.track) for at_ms, event in counted
    ]
    assert again.is_complete
    assert again.frames == 400 or realtime


def test_a_line_that_is_drawn_later_counts_what_it_would_have_counted(tmp_path: Path, det: Path) -> None:
    """Over other lines, a recount of the recording is what the live run with those lines would have been."""
    first = CameraSettings(
        "hall", f"mot:{det}", LINES, size=(640, 480), fps=10.0, realtime=False, record=str(tmp_path / "kept")
    )
    live(first, tmp_path)
    lines = [LineSettings("new", [(0.1, 0.2), (0.8, 0.9)])]
    again = replayed(tmp_path / "kept" / "hall", lines)
    (tmp_path / "other").mkdir()
    other = live(
        CameraSettings("hall", f"mot:{det}", lines, size=(640, 480), fps=10.0, realtime=False, record=True),
        tmp_path / "other",
    )
    assert len(other) > 5
    assert [row.direction for row in again.crossings] == [event.direction.value for _, event in other]


def test_a_recording_holds_no_more_than_boxes(tmp_path: Path, det: Path) -> None:
    """A box takes less than ten bytes, all told: there is no room for a picture."""
    frames = read_mot(det)
    recorder = Recorder(tmp_path, Header(1, "hall", 640, 480, 10.0, ("person",)), max_mb=10, max_days=1)
    for i, found in enumerate(frames):
        recorder.keep(1_700_000_000_000 + 100 * i, found)
    recorder.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < 10 * sum(len(found) for found in frames)
