"""Altered data keep their truth, and each ablation leaves something out."""

import json
import sys

import numpy as np
import pytest

from bench import robust, simulate
from bench._alter import ALTERATIONS, every, mirrored, missing, scaled, shaken
from bench._detector import PERFECT
from bench._run import count_take
from bench._truth import count_walks, wrong
from bench.scenes import FRAME_RATES, make
from edge.track.tracker import TrackerSettings

SCENE = make("crowd", 10, seed=1, seconds=12)
SMALL = make("u_turns", 10, seed=1, seconds=8)
PERFECT_SCENE = make("sparse", 10, seed=1, seconds=40, detector=PERFECT)


def _boxes(take) -> np.ndarray:
    return np.concatenate([seen.xyxy for seen in take.frames])


def test_a_mirror_image_of_a_mirror_image_is_the_original():
    twice = mirrored(mirrored(SCENE))
    assert twice.truth == SCENE.truth
    assert _boxes(twice) == pytest.approx(_boxes(SCENE), abs=1e-3)
    for line, same in zip(SCENE.lines, twice.lines, strict=True):
        assert np.array(line.points) == pytest.approx(np.array(same.points))


def test_the_truth_of_a_mirror_image_is_that_of_the_mirrored_paths():
    walks = [
        [(index, (SCENE.width - x, y)) for index, (x, y) in track.walk]
        for track in SCENE.tracks
        if track.cls == "person"
    ]
    assert mirrored(SCENE).truth == count_walks(mirrored(SCENE).lines, walks)
    assert mirrored(SCENE).truth != SCENE.truth


@pytest.mark.parametrize("by", [0.5, 2.0, 0.3])
def test_the_truth_of_another_size_is_that_of_the_scaled_paths(by):
    walks = [
        [(index, (x * by, y * by)) for index, (x, y) in track.walk]
        for track in SCENE.tracks
        if track.cls == "person"
    ]
    take = scaled(SCENE, by)
    assert take.truth == count_walks(take.lines, walks)
    assert _boxes(take) == pytest.approx(_boxes(SCENE) * by)
    assert all(x <= take.width and y <= take.height for line in take.lines for x, y in line.points)


def test_frames_that_are_left_out_take_their_times_with_them():
    take = every(SCENE, 4)
    assert list(take.times_ms) == list(SCENE.times_ms)[::4]
    assert len(take.frames) == len(take.times_ms)
    assert take.fps == SCENE.fps / 4


def test_shaken_boxes_are_off_by_as_much_as_is_said():
    before, after = _boxes(SCENE), _boxes(shaken(SCENE, 0.03))
    high = before[:, 3] - before[:, 1]
    assert ((after[:, 3] - before[:, 3]) / high).std() == pytest.approx(0.03, rel=0.15)
    assert (after[:, 2:] > after[:, :2]).all()


def test_as_many_are_missing_as_is_said():
    assert len(_boxes(missing(SCENE, 0.2))) == pytest.approx(0.8 * len(_boxes(SCENE)), rel=0.05)


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_is_the_same_each_time_and_can_be_counted(name):
    one, same = ALTERATIONS[name](SCENE), ALTERATIONS[name](SCENE)
    assert np.array_equal(_boxes(one), _boxes(same))
    assert len(count_take(one)) == len(one.truth)


@pytest.mark.parametrize("name", ["as it is", "mirrored", "half the size", "double the size"])
def test_what_is_counted_without_an_error_is_so_in_a_mirror_and_in_another_size(name):
    take = ALTERATIONS[name](PERFECT_SCENE)
    assert take.n_true > 10
    assert wrong(count_take(take), take.truth) == wrong(count_take(PERFECT_SCENE), PERFECT_SCENE.truth)


@pytest.mark.parametrize("name", robust.ABLATIONS)
def test_an_ablation_changes_the_settings(name):
    assert robust.ABLATIONS[name](TrackerSettings()) != TrackerSettings()


def test_the_bench_tells_wrong_and_true_counts_of_each_alteration(monkeypatch, capsys):
    monkeypatch.setattr(robust, "scenes", lambda: [SMALL, PERFECT_SCENE])
    monkeypatch.setattr(sys, "argv", ["bench.robust", "--json"])
    robust.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["data"] for row in rows] == list(ALTERATIONS)
    assert {row["truth"] for row in rows} == {SMALL.n_true + PERFECT_SCENE.n_true}
    errors = sum(wrong(count_take(take), take.truth) for take in (SMALL, PERFECT_SCENE))
    assert rows[0]["wrong"] == errors


def test_the_bench_tells_what_each_idea_is_worth(monkeypatch, capsys):
    monkeypatch.setattr(robust, "scenes", lambda: [SMALL])
    monkeypatch.setattr(sys, "argv", ["bench.robust", "--ablate", "--json"])
    robust.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["without"] for row in rows] == ["nothing", *robust.ABLATIONS]
    assert rows[0]["wrong"] == wrong(count_take(SMALL), SMALL.truth)


def test_the_simulator_table_has_all_rates_and_the_sums(monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        "argv",
        ["bench.simulate", "--scenario", "sparse", "quiet", "--seconds", "12", "--no-peers", "--json"],
    )
    simulate.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["scenario"], row["fps"]) for row in rows] == [
        (scenario, fps) for scenario in ("sparse", "quiet", "all") for fps in FRAME_RATES
    ]
    for fps in FRAME_RATES:
        of_rate = [row for row in rows if row["fps"] == fps]
        assert of_rate[-1]["wrong"] == sum(row["wrong"] for row in of_rate[:-1])
        scene = make("sparse", fps, 1, 12)
        assert of_rate[0]["wrong"] == wrong(count_take(scene), scene.truth)
        assert of_rate[0]["truth"] == scene.n_true
