"""The simulator of the benches: its truth is exact, and the same at every frame rate."""

import numpy as np
import pytest

from bench._detector import PERFECT, PUBLIC, Pillar, View, detect
from bench._run import count_take
from bench._truth import count_walks, standard_lines, wrong
from bench._walks import REFERENCE_FPS, Camera, Stop, person
from bench.scenes import FRAME_RATES, SCENARIOS, make

SECONDS = 12.0


def _same(one, other) -> bool:
    return all(
        np.array_equal(a.xyxy, b.xyxy)
        and np.array_equal(a.score, b.score)
        and np.array_equal(a.class_id, b.class_id)
        for a, b in zip(one, other, strict=True)
    )


def _walk_of(walker):
    there = np.flatnonzero(~np.isnan(walker.foot[:, 0]))
    return list(zip(there.tolist(), map(tuple, walker.foot[there].tolist()), strict=True))


@pytest.mark.parametrize(
    ("start", "end", "upright", "level"),
    [
        # Along the picture, left to right: from the right hand of each line that points down to its left.
        ((0.1, 0.7), (0.9, 0.7), [(0, 1)] * 5, [(0, 0)] * 3),
        ((0.9, 0.7), (0.3, 0.7), [(0, 0)] + [(1, 0)] * 4, [(0, 0)] * 3),
        # Towards the camera: from the left hand of each line that points to the right to its right.
        ((0.3, 0.3), (0.3, 0.9), [(0, 0)] * 5, [(1, 0)] * 3),
        ((0.3, 0.55), (0.3, 0.3), [(0, 0)] * 5, [(0, 1), (0, 1), (0, 0)]),
    ],
)
def test_the_truth_of_a_straight_walk_is_what_a_person_would_count(start, end, upright, level):
    camera = Camera()
    walker = person(camera, [Stop(*start), Stop(*end)], 1.0, 1.3, 30.0, np.random.default_rng(0))
    lines = standard_lines(camera.width, camera.height)
    assert count_walks(lines, [_walk_of(walker)]) == [*upright, *level]


def test_a_walk_takes_as_long_as_its_way_at_its_speed():
    camera = Camera()
    stops = [Stop(0.2, 0.5), Stop(0.8, 0.5)]
    walker = person(camera, stops, 2.0, 1.5, 30.0, np.random.default_rng(0))
    ends = camera.ground(np.array([(stop.x * camera.width, stop.y * camera.height) for stop in stops]))
    taken_s = np.count_nonzero(~np.isnan(walker.foot[:, 0])) / REFERENCE_FPS
    assert taken_s == pytest.approx(np.hypot(*(ends[1] - ends[0])) / 1.5, abs=2 / REFERENCE_FPS)


def test_what_is_projected_comes_back():
    camera = Camera()
    feet = np.array([[100.0, 200.0], [1000.0, 700.0]])
    assert camera.project(camera.ground(feet)) == pytest.approx(feet)


def test_boxes_grow_evenly_towards_the_camera():
    camera = Camera()
    high = camera.box_height(np.array([100.0, 200.0, 300.0]), 1.7)
    assert high[1] - high[0] == pytest.approx(high[2] - high[1])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_people_walk_at_every_frame_rate(scenario):
    fastest = make(scenario, 30, seed=2, seconds=SECONDS)
    for fps in FRAME_RATES:
        scene = make(scenario, fps, seed=2, seconds=SECONDS)
        assert scene.truth == fastest.truth
        assert [track.walk for track in scene.tracks] == [track.walk for track in fastest.tracks]
        assert len(scene.frames) == int(SECONDS * fps)
        step = int(30 / fps)
        assert list(scene.times_ms) == list(fastest.times_ms)[::step]
        assert _same(scene.frames, fastest.frames[::step])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_seed_decides_everything(scenario):
    one, same, other = (make(scenario, 10, seed, seconds=SECONDS) for seed in (3, 3, 4))
    assert _same(one.frames, same.frames)
    assert one.truth == same.truth
    assert not (len(one.frames) == len(other.frames) and _same(one.frames, other.frames))


def test_the_detector_does_not_change_the_people():
    noisy, perfect = (make("crowd", 10, 1, SECONDS, model) for model in (PUBLIC, PERFECT))
    assert noisy.truth == perfect.truth
    assert not _same(noisy.frames, perfect.frames)


def test_a_perfect_detector_gives_the_true_boxes_within_the_picture():
    scene = make("sparse", 30, 1, SECONDS, PERFECT)
    true = {index: [] for index in range(len(scene.frames))}
    for track in scene.tracks:
        for (index, _), box in zip(track.walk, track.boxes, strict=True):
            true[index].append(np.clip(box, 0, [scene.width, scene.height] * 2))
    for index, seen in enumerate(scene.frames):
        large = [box for box in true[index] if box[2] - box[0] >= 4 and box[3] - box[1] >= 8]
        assert np.sort(seen.xyxy, axis=0) == pytest.approx(
            np.sort(np.array(large).reshape(-1, 4), axis=0), abs=1e-3
        )


def test_boxes_are_within_the_picture_and_have_an_area():
    scene = make("crowd", 10, 5, SECONDS)
    boxes = np.concatenate([seen.xyxy for seen in scene.frames])
    assert boxes[:, :2].min() >= 0
    assert (boxes[:, 2] <= scene.width).all()
    assert (boxes[:, 3] <= scene.height).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_someone_is_not_seen_while_a_pillar_hides_all_of_them():
    camera = Camera()
    walker = person(camera, [Stop(0.1, 0.5), Stop(0.9, 0.5)], 0.0, 1.3, 12.0, np.random.default_rng(0))
    pillar = Pillar(left=540.0, right=740.0, base=600.0)
    frames = detect(View(camera, [pillar]), [walker], len(walker.foot), PERFECT, np.random.default_rng(1))
    left, right = walker.foot[:, 0] - walker.size[:, 0] / 2, walker.foot[:, 0] + walker.size[:, 0] / 2
    is_hidden = (left >= pillar.left) & (right <= pillar.right)
    is_clear = (right < pillar.left) | (left > pillar.right)
    assert is_hidden.any()
    assert {len(frames[i]) for i in np.flatnonzero(is_hidden)} == {0}
    assert {len(frames[i]) for i in np.flatnonzero(is_clear)} == {1}


def test_prams_are_seen_and_do_not_belong_to_the_truth():
    scene = make("prams", 10, 1, SECONDS, PERFECT)
    people = [track.walk for track in scene.tracks if track.cls == "person"]
    prams = [track.walk for track in scene.tracks if track.cls == "pram"]
    assert prams
    assert any((seen.class_id == 1).any() for seen in scene.frames)
    assert scene.truth == count_walks(scene.lines, people)
    assert scene.truth != count_walks(scene.lines, [*people, *prams])


def test_perfect_boxes_of_a_few_people_are_counted_without_an_error():
    scene = make("quiet", 15, 1, 60, PERFECT)
    assert scene.n_true > 0
    assert wrong(count_take(scene), scene.truth) == 0


@pytest.mark.parametrize("fps", [0, -1, 31])
def test_a_frame_rate_that_cannot_be_made_is_refused(fps):
    with pytest.raises(ValueError, match="fps"):
        make("crowd", fps, 1)
