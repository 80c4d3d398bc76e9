"""The motion gate: the detector rests where nothing moves, and nobody is missed for it."""

import numpy as np
import pytest

from countline.events import CameraConfigured, LineCrossed, LineShape
from edge.arrays import Detections
from edge.evidence.glance import HEIGHT, WIDTH, Grey
from edge.evidence.motion_gate import MotionGate, MotionSettings
from edge.pipeline import CameraPlan, Pipeline

FPS = 10
T0 = 1_700_000_000_000


def ground(seed: int = 1) -> np.ndarray:
    """Return a scene with some structure, float."""
    rng = np.random.default_rng(seed)
    return 120 + 40 * np.kron(rng.normal(size=(HEIGHT // 5, WIDTH // 5)), np.ones((5, 5))) / 2


def noisy(scene: np.ndarray, rng: np.random.Generator, sigma: float = 0.7) -> Grey:
    """Return the scene as a sensor sees it. Of single pixels the noise is four times as strong: a cell averages 16."""
    return np.clip(scene + rng.normal(0, sigma, scene.shape), 0, 255).astype(np.uint8)


def feed_still(gate: MotionGate, seconds: float, *, start: int = 0, has_tracks: bool = False) -> list[bool]:
    """Let nothing happen."""
    rng = np.random.default_rng(3)
    scene = ground()
    return [
        gate.feed(noisy(scene, rng), T0 + (start + index) * 1000 // FPS, has_tracks=has_tracks)
        for index in range(round(seconds * FPS))
    ]


def test_a_still_scene_is_looked_at_now_and_then_only() -> None:
    """After the first seconds the detector runs every two seconds, so that nobody who is hardly seen is lost."""
    decisions = feed_still(MotionGate(), 60)
    assert all(decisions[: 5 * FPS])
    later = np.flatnonzero(decisions[10 * FPS :])
    assert set(np.diff(later)) == {2 * FPS}


def test_somebody_who_enters_wakes_the_detector_with_that_very_picture() -> None:
    """No frame is lost to waking up, however faint: a small person with twice the usual noise of contrast."""
    gate = MotionGate()
    feed_still(gate, 30)
    scene = ground()
    scene[30:35, 0:2] -= 15
    rng = np.random.default_rng(4)
    decisions = [
        gate.feed(noisy(scene, rng), T0 + 30_000 + index * 100, has_tracks=False) for index in range(10)
    ]
    assert all(decisions)


def test_light_that_changes_everywhere_is_no_motion() -> None:
    """A cloud wakes nobody."""
    gate = MotionGate()
    feed_still(gate, 30)
    rng = np.random.default_rng(5)
    decisions = [
        gate.feed(noisy(ground() + index, rng), T0 + 30_000 + index * 100, has_tracks=False)
        for index in range(40)
    ]
    assert sum(decisions) <= 3


def test_noise_of_any_strength_is_learned() -> None:
    """A camera that sees little by night has much noise; once that is known, it is no motion."""
    gate = MotionGate()
    rng = np.random.default_rng(6)
    scene = ground()
    decisions = [
        gate.feed(noisy(scene, rng, 2.5), T0 + index * 100, has_tracks=False) for index in range(1200)
    ]
    assert sum(decisions[-300:]) <= 30


def test_what_stands_still_is_looked_at_several_times_a_second() -> None:
    """While a track lives the detector stays near, so that the track does."""
    gate = MotionGate()
    feed_still(gate, 30)
    decisions = feed_still(gate, 30, start=300, has_tracks=True)
    seen = np.flatnonzero(decisions)
    assert np.diff(seen).max() * 1000 / FPS <= 400
    assert len(seen) < len(decisions) / 2


def test_a_clock_that_steps_back_keeps_the_gate_alive() -> None:
    """Time stands still until the clock has caught up; what moves is seen all the same."""
    gate = MotionGate()
    feed_still(gate, 30)
    scene = ground()
    scene[20:40, 20:30] -= 60
    assert gate.feed(noisy(scene, np.random.default_rng(7)), T0 - 5_000, has_tracks=False)


class Street:
    """An hour of nothing, and then one person who walks across a line: a stub of a camera and of its detector."""

    def __init__(self, enters: int) -> None:
        self._scene = ground()
        rng = np.random.default_rng(8)
        self._noise = [rng.normal(0, 0.7, self._scene.shape) for _ in range(61)]
        self._enters = enters
        self.looks = 0

    def _x(self, index: int) -> float:
        """Return where the person is, in cells: ten seconds for the whole picture."""
        return (index - self._enters) * WIDTH / (10 * FPS)

    def grey(self, index: int) -> Grey:
        """Return what the camera sees."""
        scene = self._scene
        if self._enters <= index <= self._enters + 10 * FPS:
            scene = scene.copy()
            left = max(0, round(self._x(index)) - 1)
            scene[30:38, left : left + 3] += 25
        return np.clip(scene + self._noise[index % 61], 0, 255).astype(np.uint8)

    def detect(self, index: int) -> Detections:
        """Return what the detector says, which is the truth."""
        self.looks += 1
        x = self._x(index) * 8
        if not 0 <= x <= WIDTH * 8:
            return Detections.empty()
        box = np.array([[x - 10, 240, x + 10, 304]], dtype=np.float32)
        return Detections(box, np.array([0.8], dtype=np.float32), np.zeros(1, dtype=np.int16))


@pytest.mark.parametrize("hour_of_nothing", [36_000])
def test_a_person_who_enters_after_an_hour_of_nothing_is_counted(hour_of_nothing: int) -> None:
    """The detector rested for nearly all of the hour, and the crossing is counted as if it had not."""
    line = LineShape("door", [(320.0, 0.0), (320.0, 480.0)])
    configured = CameraConfigured(640, 480, "video", [line], [])
    crossings = {}
    for is_gated in (False, True):
        street = Street(hour_of_nothing)
        pipeline, gate, moments = Pipeline(CameraPlan(configured, ("person",))), MotionGate(), []
        first = 0 if is_gated else hour_of_nothing - 100
        for index in range(first, hour_of_nothing + 130):
            at_ms = T0 + index * 1000 // FPS
            has_tracks = pipeline.tracks is not None and len(pipeline.tracks) > 0
            if not is_gated or gate.feed(street.grey(index), at_ms, has_tracks=has_tracks):
                moments += pipeline.count(street.detect(index), at_ms)
            elif not has_tracks:
                moments += pipeline.count(Detections.empty(), at_ms)
        moments += pipeline.finish()
        crossings[is_gated] = [
            (at_ms, event.direction) for at_ms, event in moments if isinstance(event, LineCrossed)
        ]
        if is_gated:
            assert street.looks < hour_of_nothing / 15
    assert len(crossings[True]) == 1
    assert crossings[True] == crossings[False]


def test_settings_say_how_often() -> None:
    """A person may want the detector to look more often."""
    decisions = feed_still(MotionGate(MotionSettings(detect_every_s=0.5)), 60)
    assert set(np.diff(np.flatnonzero(decisions[20 * FPS :]))) == {FPS // 2}
