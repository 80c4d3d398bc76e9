"""A camera's agent from its scene to a real outbox that fills up."""

import logging
from contextlib import closing
from pathlib import Path

import pytest

from countline.clock import SystemClock
from countline.config import MqttSettings
from countline.events import LineTotals
from countline.service import Stop
from edge import recount
from edge.config import CameraSettings, DetectorSettings, LineSettings
from edge.main import CameraAgent, CameraTiming
from edge.outbox import Outbox
from edge.publish import Publisher

LINES = [LineSettings(f"x{x}", [(x, 0.0), (x, 360.0)]) for x in range(20, 640, 20)]
SCENE = CameraSettings("square", "synthetic:", LINES, realtime=False)


def run(outbox: Outbox) -> dict[str, LineTotals]:
    """Count the scene into an outbox that nobody empties; return the totals that it ends with."""
    publisher = Publisher(outbox, MqttSettings(), "site", "box", SystemClock())
    CameraAgent(SCENE, None, outbox, publisher, None, CameraTiming(SystemClock(), 1.0)).run(Stop())
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
