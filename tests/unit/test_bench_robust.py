"""Altered data keep their truth, and each ablation leaves something out."""

import json
import sys

import numpy as np
import pytest

from bench import _cross, robust, scenes, simulate
from bench._alter import ALTERATIONS, every, mirrored, missing, scaled, shaken
from bench._detector import PERFECT
from bench._run import Take, Variant, count_take
from bench._truth import count_walks, wrong
from bench.scenes import FRAME_RATES, make
from edge.arrays import Detections
from edge.config import LineSettings
from edge.count.line import DEAD_BAND
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


@pytest.mark.parametrize("name", robust.VARIANTS)
def test_an_ablation_changes_the_settings(name):
    variant = robust.VARIANTS[name]
    assert (variant.tracker or TrackerSettings(), variant.dead_band) != (TrackerSettings(), DEAD_BAND)


def _shaking_on_a_line() -> Take:
    """Somebody who stands on a line for six seconds, shakes by a hundredth of their height, and goes back."""
    x = np.concatenate([np.linspace(20, 199, 20), 200 + np.tile([-1.0, 1.0], 30), np.linspace(199, 20, 20)])
    frames = [
        Detections(
            np.array([[at - 20, 100, at + 20, 200]], dtype=np.float32),
            np.array([0.9], dtype=np.float32),
            np.zeros(1, dtype=np.int16),
        )
        for at in x
    ]
    lines = [LineSettings("middle", [(200.0, 0.0), (200.0, 300.0)])]
    times_ms = [100 * index for index in range(len(frames))]
    return Take("shaking", 400, 300, 10.0, times_ms, frames, lines, [(0, 0)], ("person",))


def test_without_a_dead_band_who_shakes_on_a_line_is_counted():
    take = _shaking_on_a_line()
    unsmoothed = robust.VARIANTS["positions are smoothed at all"].tracker
    assert count_take(take, Variant(unsmoothed)) == [(0, 0)]
    assert count_take(take, Variant(unsmoothed, dead_band=0.0)) != [(0, 0)]


def test_without_confirmation_who_is_seen_in_two_frames_is_counted():
    feet = (178.0, 222.0)
    frames = [
        Detections(
            np.array([[x - 60, 100, x + 60, 250]], dtype=np.float32),
            np.array([0.9], dtype=np.float32),
            np.zeros(1, dtype=np.int16),
        )
        for x in feet
    ]
    lines = [LineSettings("middle", [(200.0, 0.0), (200.0, 300.0)])]
    take = Take("brief", 400, 300, 10.0, [0, 100], frames, lines, [(0, 1)], ("person",))
    # Smoothing knows too little of two frames to believe in so long a step.
    unsmoothed = robust.ABLATIONS["positions are smoothed at all"](TrackerSettings())
    assert count_take(take, Variant(unsmoothed)) == [(0, 0)]
    assert count_take(take, Variant(robust.ABLATIONS["tracks are confirmed"](unsmoothed))) == take.truth


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
    assert [row["without"] for row in rows] == ["nothing", *robust.VARIANTS]
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


JUDGED = {
    "the defaults": {"A": [(4, 10), (4, 10)], "B": [(4, 10), (4, 10)], "C": [(4, 10), (4, 10)]},
    "fits A": {"A": [(0, 10), (0, 10)], "B": [(6, 10), (6, 10)], "C": [(6, 10), (6, 10)]},
    "fits B's copy": {"A": [(4, 10), (4, 10)], "B": [(5, 10), (2, 10)], "C": [(4, 10), (4, 10)]},
}


def test_what_is_chosen_for_a_sequence_never_looks_at_it():
    by_name = {fold.sequence: fold for fold in _cross.folds(JUDGED)}
    # "fits A" would be perfect on A, and is the worst on all others.
    assert by_name["A"].chosen == "fits B's copy"
    assert (by_name["A"].held_out, by_name["A"].best) == ((4, 10), (0, 10))
    # On A and C together it is the best, by what it gains on A: so it is chosen for B, and fails there.
    assert (by_name["B"].chosen, by_name["B"].held_out, by_name["B"].best) == ("fits A", (6, 10), (4, 10))
    assert [fold.defaults for fold in by_name.values()] == [(4, 10)] * 3


def test_the_grid_changes_one_thing_at_a_time():
    variants = [(variant.tracker or TrackerSettings(), variant.dead_band) for variant in _cross.GRID.values()]
    assert variants[0] == (TrackerSettings(), DEAD_BAND)
    assert len(set(map(str, variants))) == len(variants)


def test_the_bench_cross_validates(monkeypatch, capsys):
    grid = {name: _cross.GRID[name] for name in (_cross.DEFAULTS, "link limit 6")}
    monkeypatch.setattr(_cross, "GRID", grid)
    monkeypatch.setattr(robust, "ABLATION_COPIES", ("mirrored",))
    monkeypatch.setattr(robust, "sequences", lambda _folder: [SMALL, PERFECT_SCENE])
    monkeypatch.setattr(sys, "argv", ["bench.robust", "--mot", "DIR", "--cross-validate", "--json"])
    robust.main()
    told = json.loads(capsys.readouterr().out)
    assert [fold["sequence"] for fold in told["folds"]] == [SMALL.name, PERFECT_SCENE.name]
    assert told["together"]["defaults"]["truth"] == SMALL.n_true + PERFECT_SCENE.n_true
    errors = sum(wrong(count_take(take), take.truth) for take in (SMALL, PERFECT_SCENE))
    assert told["together"]["defaults"]["wrong"] == errors
    assert told["together"]["best"]["wrong"] <= told["together"]["held_out"]["wrong"]


def test_one_sequence_cannot_be_cross_validated(monkeypatch):
    monkeypatch.setattr(robust, "sequences", lambda _folder: [SMALL])
    monkeypatch.setattr(sys, "argv", ["bench.robust", "--mot", "DIR", "--cross-validate"])
    with pytest.raises(SystemExit, match="two sequences or more"):
        robust.main()


def test_the_simulator_tables_fit_eighty_columns_with_all_their_names(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    counters = ("Countline", "ByteTrack + LineZone")
    rows = simulate.with_sums(
        [
            {"scenario": scenario, "fps": fps, "counter": counter, "wrong": 400, "truth": 4000}
            for scenario in scenes.SCENARIOS
            for fps in FRAME_RATES
            for counter in counters
        ]
    )
    monkeypatch.setattr(simulate, "judge", lambda *_: [])
    monkeypatch.setattr(simulate, "with_sums", lambda _: rows)
    monkeypatch.setattr(simulate, "peers", lambda: {counters[1]: count_take})
    monkeypatch.setattr(sys, "argv", ["bench.simulate", "--scenario", "sparse"])
    simulate.main()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for scenario in scenes.SCENARIOS:
        of_it = [line for line in printed.splitlines() if line.startswith(f"│ {scenario} ")]
        assert [line.count(" 0.100 ") for line in of_it] == [len(FRAME_RATES)] * 2
