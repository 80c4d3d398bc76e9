"""Whether a picture can be counted on: frozen, dark, covered, moved, and none of it without evidence."""

from collections.abc import Callable

import numpy as np
import pytest

from countline.events import AnyEvent, Drift
from edge.capture.glance import glance
from edge.capture.synthetic import Scene
from edge.evidence.camera_health import EVERY_MS, CameraHealth
from edge.evidence.camera_shift import match
from edge.evidence.glance import HEIGHT, WIDTH, Glance

T0 = 1_700_000_000_000
Change = Callable[[np.ndarray], np.ndarray]


def ground(seed: int = 1, patch: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Return a scene of many patches, larger than the picture on all sides, float."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(40, 200, (HEIGHT // 4, WIDTH // 4) if patch == (8, 8) else (HEIGHT, WIDTH))
    return np.kron(patches, np.ones(patch))


def view(scene: np.ndarray, dx: int = 0, dy: int = 0) -> np.ndarray:
    """Return what a camera sees that looks so many cells further to the left and upwards."""
    top, left = 30 - dy, 40 - dx
    return scene[top : top + HEIGHT, left : left + WIDTH]


class Camera:
    """A health, the time, and a sensor's noise."""

    def __init__(self) -> None:
        self.health = CameraHealth()
        self.at_ms = T0
        self.told: list[AnyEvent] = []
        self._rng = np.random.default_rng(2)

    def see(self, picture: np.ndarray, noise: float = 3.0) -> str:
        """Take one picture, float, shape (HEIGHT, WIDTH); return why it can't be counted on."""
        self.at_ms += EVERY_MS
        pixels = picture + self._rng.normal(0, noise, picture.shape) if noise else picture
        cells = picture + self._rng.normal(0, noise / 4, picture.shape) if noise else picture
        grey, grain = (np.clip(values, 0, 255).astype(np.uint8) for values in (cells, pixels))
        self.told += self.health.feed(Glance(grey, grain.ravel()), self.at_ms)
        return self.health.reason

    def watch(self, picture: np.ndarray, seconds: float, noise: float = 3.0) -> list[str]:
        """Take the same picture again and again, each time with other noise."""
        return [self.see(picture, noise) for _ in range(round(seconds * 1000 / EVERY_MS))]


@pytest.fixture
def camera() -> Camera:
    """Return a camera that has looked at its scene for a minute."""
    camera = Camera()
    assert set(camera.watch(view(ground()), 60)) == {""}
    return camera


def test_a_still_scene_with_a_sensors_noise_is_no_trouble(camera: Camera) -> None:
    """An empty street by night is watched, not blind."""
    assert set(camera.watch(view(ground()), 600)) == {""}
    assert camera.told == []


def test_a_picture_that_repeats_itself_is_frozen_and_the_first_other_one_ends_it(camera: Camera) -> None:
    """The same pixels for fifteen seconds are no picture of now."""
    reasons = camera.watch(view(ground()), 30, noise=0)
    assert not any(reasons[:70])
    assert reasons[-1].startswith("the picture has not changed for 2")
    assert camera.see(view(ground())) == ""


def test_a_camera_that_repeats_pictures_for_a_moment_is_not_frozen(camera: Camera) -> None:
    """A stutter of ten seconds is none of our business."""
    for _ in range(3):
        assert set(camera.watch(view(ground()), 10, noise=0)) == {""}
        assert camera.see(view(ground())) == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda picture: picture * 0.01, "dark"),
        (lambda picture: np.full_like(picture, 150.0), "covered"),
        (lambda picture: np.tile(np.linspace(60, 100, WIDTH), (HEIGHT, 1)), "covered"),
    ],
)
def test_a_picture_that_shows_nothing_is_blind_after_seconds_and_watched_again_after_seconds(
    camera: Camera, change: Change, word: str
) -> None:
    """Light off, spray, a hand before the lens."""
    reasons = camera.watch(change(view(ground())), 20)
    assert not any(reasons[:24])
    assert all(word in reason for reason in reasons[27:])
    assert camera.watch(view(ground()), 5)[-1] == ""


def test_a_camera_that_is_dark_from_the_start_is_blind_from_the_start() -> None:
    """No baseline is needed to see nothing."""
    assert "dark" in Camera().watch(view(ground()) * 0.01, 10)[-1]


@pytest.mark.parametrize("gain", [0.25, 1.25])
def test_a_lamp_that_is_switched_is_no_trouble(camera: Camera, gain: float) -> None:
    """Less light, or more of it, leaves a scene that can be counted."""
    assert set(camera.watch(view(ground()) * gain, 120)) == {""}


def test_people_who_walk_through_move_no_camera(camera: Camera) -> None:
    """Ever other dark shapes over a fifth of the picture are people."""
    rng = np.random.default_rng(9)
    for index in range(1500):
        picture = view(ground()).copy()
        for person in range(4):
            x = (index // 2 + 20 * person) % (WIDTH - 6)
            y = 5 + 12 * person
            picture[y : y + 14, x : x + 5] = rng.uniform(0, 60)
        assert camera.see(picture) == ""


@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (0, 3), (-2, 2)])
def test_a_camera_that_was_moved_is_blind_until_it_has_settled_and_then_warns(
    camera: Camera, dx: int, dy: int
) -> None:
    """Five per cent of the picture are enough to count at the wrong place."""
    moved = view(ground(), dx, dy)
    reasons = camera.watch(moved, 60)
    share = max(abs(dx) / WIDTH, abs(dy) / HEIGHT)
    assert not any(reasons[:39])
    assert reasons[60] == f"the camera has been moved: the scene has shifted by {share:.0%} of the picture"
    assert not camera.health.is_nudged
    assert camera.watch(moved, 15)[-1] == ""
    assert camera.health.is_nudged
    (drift,) = camera.told
    assert isinstance(drift, Drift)
    assert (drift.metric, drift.value) == ("scene_shift", round(share, 4))
    assert T0 + 59_000 <= drift.since_ms <= T0 + 63_000


def test_a_camera_that_was_knocked_and_put_back_is_trusted_at_once(camera: Camera) -> None:
    """Whoever cleans a lens leaves it where it was."""
    assert camera.watch(view(ground(), 4, 2), 20)[-1] != ""
    assert camera.watch(view(ground()), 5)[-1] == ""
    assert not camera.health.is_nudged


def test_a_moved_camera_that_comes_back_takes_its_warning_back(camera: Camera) -> None:
    """The lines are where they were drawn again, and it is said."""
    camera.watch(view(ground(), 4, 2), 80)
    assert camera.health.is_nudged
    camera.watch(view(ground()), 20)
    assert not camera.health.is_nudged
    assert [event.value for event in camera.told if isinstance(event, Drift)] == [0.05, 0.0]


def test_a_camera_that_looks_elsewhere_altogether_is_blind(camera: Camera) -> None:
    """No shift explains it, so it takes longer to be believed."""
    reasons = camera.watch(view(ground(seed=77, patch=(11, 5))), 40)
    assert not any(reasons[:110])
    assert reasons[-1] == "the camera looks at another scene than before"


def lamp(step: int, size: int = 9) -> np.ndarray:
    """Return a bright ball on black, somewhere else at each step."""
    x, y = (0.5 + 0.45 * np.sin(step * speed) for speed in (0.31, 0.43))
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.where(np.hypot(columns - x * WIDTH, rows - y * HEIGHT) < size / 2, 235.0, 12.0)


def test_one_lamp_that_swings_in_the_dark_moves_no_camera() -> None:
    """Nothing stands in its picture, so nothing tells where the camera looks, whatever size its pictures have."""
    camera = Camera()
    for step in range(3000):
        assert camera.see(lamp(step, size=(9, 5, 14)[step // 1000]), noise=1.0) == ""
    assert camera.told == []


def test_a_camera_that_never_stands_still_stays_blind(camera: Camera) -> None:
    """A scene full of edges that wanders on and on can be counted at no place."""
    reasons = [camera.see(view(ground(), 12 * (step // 25 % 3) - 12, 7)) for step in range(1500)]
    assert all(reasons[300:])


def test_light_that_fails_slowly_is_told_once_and_its_return_too(camera: Camera) -> None:
    """Drift is no blindness: somebody should look after it."""
    camera.watch(view(ground()), 300)
    assert set(camera.watch(view(ground()) * 0.2, 240)) == {""}
    dim = [event for event in camera.told if isinstance(event, Drift) and event.metric == "brightness"]
    assert len(dim) == 1
    assert dim[0].value < dim[0].baseline / 2


def test_an_hour_without_a_picture_proves_nothing_about_the_picture(camera: Camera) -> None:
    """A camera that was off comes back with the picture of before, and is not called frozen for it."""
    assert camera.watch(view(ground()), 10, noise=0)[-1] == ""
    camera.at_ms += 3_600_000
    assert set(camera.watch(view(ground()), 10, noise=0)) == {""}


def test_a_clock_that_steps_back_is_survived(camera: Camera) -> None:
    """Evidence begins anew."""
    camera.at_ms -= 3_600_000
    assert set(camera.watch(view(ground()), 30)) == {""}


def test_looks_that_come_too_often_are_left_out(camera: Camera) -> None:
    """A fast camera costs no more than a slow one."""
    assert not camera.health.is_due(camera.at_ms + EVERY_MS - 1)
    assert camera.health.is_due(camera.at_ms + EVERY_MS)


def test_scenes_without_any_edge_are_not_compared() -> None:
    """A blank wall divides by nothing."""
    blank = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    assert match(blank, blank).best == 0.0


def test_the_made_up_scene_raises_no_alarm_and_its_altered_copies_do() -> None:
    """From the picture's pixels on: people walk for a minute; then blackened, smeared, shifted downwards by 5 %."""
    scene, rng = Scene(np.random.default_rng(1)), np.random.default_rng(2)
    noise = [rng.normal(0, 2, (360, 640, 1)).astype(np.float32) for _ in range(7)]

    def run(steps: int, alter: Change | None = None) -> list[str]:
        health, reasons = CameraHealth(), []
        for step in range(steps):
            picture = scene.picture(step * 3).astype(np.float32)
            if alter and step >= 100:
                picture = alter(picture)
            pixels = np.clip(picture + noise[step % 7], 0, 255).astype(np.uint8)
            health.feed(glance(pixels), T0 + step * 250)
            reasons.append(health.reason)
        return reasons

    assert set(run(240)) == {""}
    for alter, word in (
        (lambda picture: picture * np.float32(0.01), "dark"),
        (lambda picture: picture * np.float32(0) + picture.mean(axis=(0, 1)), "covered"),
        (lambda picture: np.roll(picture, 18, axis=0), "moved"),
    ):
        reasons = run(150, alter)
        assert set(reasons[:100]) == {""}
        assert word in reasons[-1]
