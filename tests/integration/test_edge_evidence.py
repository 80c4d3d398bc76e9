"""An agent before a picture that proves nothing: what is detected, what is counted, what is said."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from countline.clock import SystemClock
from countline.codec import decode
from countline.events import CameraState, Drift, Envelope, Heartbeat, LineCrossed, LineDoubt
from edge import agent
from edge.agent import CameraAgent, Shared
from edge.arrays import Detections
from edge.config import CameraSettings, EvidenceSettings
from edge.frames import Frame, Image, SourceInfo
from edge.outbox import Outbox
from edge.outbox_writer import OutboxWriter
from edge.scheduler import Scheduler
from tests.integration.test_edge_main import StopsAfter

T0 = 1_700_000_000_000
FPS = 10
WIDTH, HEIGHT = 160, 120
Picture = Callable[[int], np.ndarray]


class Reel:
    """A source of pictures that are made up one by one, by their index."""

    def __init__(self, frames: int, picture: Picture) -> None:
        self.info = SourceInfo(WIDTH, HEIGHT, fps=FPS, frame_count=frames)
        self._frames, self._picture = frames, picture
        self._index = -1

    @property
    def is_finished(self) -> bool:
        """True after the last picture."""
        return self._index >= self._frames

    def open(self) -> SourceInfo:
        """Return what is known."""
        return self.info

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture."""
        self._index += 1
        if self.is_finished:
            return None
        image = np.clip(self._picture(self._index), 0, 255).astype(np.uint8)
        return Frame(
            self._index, T0 + self._index * 1000 // FPS, np.repeat(image[:, :, None], 3, axis=2).copy()
        )

    def close(self) -> None:
        """Nothing has to be let go."""


class Eye:
    """A detector that finds the one bright box, and counts how often it was asked."""

    name, class_names = "stub", ("person",)

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detect."""
        self.asked += len(images)
        return [self._find(image) for image in images]

    @staticmethod
    def _find(image: Image) -> Detections:
        ys, xs = np.nonzero(image[:, :, 1] > 240)
        if len(xs) < 20:
            return Detections.empty()
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], dtype=np.float32)
        return Detections(box, np.array([0.9], dtype=np.float32), np.zeros(1, dtype=np.int16))


def ground() -> np.ndarray:
    return np.kron(np.random.default_rng(1).uniform(40, 180, (HEIGHT // 8, WIDTH // 8)), np.ones((8, 8)))


@pytest.fixture
def noise() -> Picture:
    """Return a sensor's noise by index."""
    rng = np.random.default_rng(2)
    noises = [rng.normal(0, 3, (HEIGHT, WIDTH)) for _ in range(23)]
    return lambda index: noises[index % 23]


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: int, picture: Picture, evidence: EvidenceSettings
) -> tuple[int, list[Envelope]]:
    """Let an agent watch; return how often its detector was asked, and what it said."""
    monkeypatch.setattr(agent, "open_source", lambda *_, **__: Reel(frames, picture))
    eye, clock = Eye(), SimpleNamespace(now_ms=lambda: T0, monotonic_s=SystemClock().monotonic_s)
    camera = CameraSettings("door", "unused.mp4", realtime=False, evidence=evidence)
    with closing(Outbox(tmp_path / "outbox.sqlite", "site", "box", clock, 9_000_000)) as outbox:
        writer, scheduler = OutboxWriter(outbox), Scheduler(eye, clock)
        watching = CameraAgent(camera, Shared(scheduler, writer, clock, eye))  # type: ignore[arg-type]
        scheduler.start()
        try:
            watching.run(StopsAfter(1))
        finally:
            scheduler.close()
            writer.close()
        said = [decode(body) for _, body in outbox.read_after(0, 100_000, 100_000_000)]
    return eye.asked, [envelope for envelope in said if isinstance(envelope, Envelope)]


def walker(index: int, enters: int, scene: np.ndarray) -> np.ndarray:
    """Return the scene with somebody bright in it, who crosses the picture in eight seconds."""
    x = (index - enters) * 2
    if 0 <= x < WIDTH:
        scene = scene.copy()
        scene[40:80, x : x + 12] = 255
    return scene


def test_the_detector_rests_before_a_still_scene_and_whoever_comes_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: Picture
) -> None:
    """Ninety seconds with one person in them: the same crossing with the gate and without, at a fraction of the looks."""
    scene = ground()
    asked, crossings = {}, {}
    for is_gated in (False, True):
        folder = tmp_path / str(is_gated)
        folder.mkdir()
        asked[is_gated], said = run(
            monkeypatch,
            folder,
            900,
            lambda index: walker(index, 500, scene) + np.minimum(noise(index), 4),
            EvidenceSettings(motion_gate=is_gated),
        )
        crossings[is_gated] = [
            (one.at_ms, one.event.direction) for one in said if isinstance(one.event, LineCrossed)
        ]
        beats = [one.event for one in said if isinstance(one.event, Heartbeat)]
        assert sum(beat.frames for beat in beats) == 900
        assert sum(beat.blind_ms for beat in beats) == 0
    assert len(crossings[True]) == 1
    assert crossings[True] == crossings[False]
    assert asked[False] == 900
    assert asked[True] < 350


def test_a_picture_that_goes_dark_is_blind_time_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: Picture
) -> None:
    """Forty good seconds, twenty dark ones: five until it is believed, and the rest is blind."""
    scene = ground()
    _, said = run(
        monkeypatch,
        tmp_path,
        600,
        lambda index: scene * (1.0 if index < 400 else 0.01) + noise(index),
        EvidenceSettings(),
    )
    beats = [(one.at_ms, one.event) for one in said if isinstance(one.event, Heartbeat)]
    good = [beat for at_ms, beat in beats if at_ms < T0 + 45_000]
    bad = [beat for at_ms, beat in beats if at_ms > T0 + 46_500]
    assert {(beat.state, beat.blind_ms) for beat in good} == {(CameraState.OK, 0)}
    assert len(bad) >= 12
    assert {beat.state for beat in bad} == {CameraState.BLIND}
    assert {beat.reason for beat in bad} == {"the picture is too dark to see anybody"}
    assert 14_000 <= sum(beat.blind_ms for _, beat in beats) <= 15_100


def test_evidence_can_be_switched_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: Picture
) -> None:
    """Then a dark picture is a picture, and each is detected."""
    asked, said = run(monkeypatch, tmp_path, 200, noise, EvidenceSettings(enabled=False, motion_gate=False))
    assert asked == 200
    assert {one.event.blind_ms for one in said if isinstance(one.event, Heartbeat)} == {0}


def test_a_moved_camera_is_blind_for_a_while_and_then_doubts_its_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, noise: Picture
) -> None:
    """Shifted by a tenth after forty seconds; settled after twenty more; then it is watched, with a warning."""
    scene = ground()
    _, said = run(
        monkeypatch,
        tmp_path,
        850,
        lambda index: np.roll(scene, 0 if index < 400 else 16, axis=1) + noise(index),
        EvidenceSettings(settle_s=20.0),
    )
    beats = [(one.at_ms, one.event) for one in said if isinstance(one.event, Heartbeat)]
    blind = [at_ms - T0 for at_ms, beat in beats if beat.state is CameraState.BLIND]
    assert 47_000 <= blind[0] <= 51_000
    assert 66_000 <= blind[-1] <= 72_000
    (drift,) = [one.event for one in said if isinstance(one.event, Drift)]
    assert (drift.metric, drift.value) == ("scene_shift", 0.1)
    (doubt,) = [one.event for one in said if isinstance(one.event, LineDoubt)]
    assert (doubt.line, doubt.reason, doubt.cleared) == ("middle", "moved", False)
