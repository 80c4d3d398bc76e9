"""The slope of memory: told for long runs only, with an error that knows that neighbours are alike."""

import numpy as np
import pytest

from bench.memory import BATCHES, DAY_FRAMES, LEAST_FRAMES, slope_for_day

EVERY = 25


def _samples(frames: int, held) -> list[tuple[float, float]]:
    return [(float(n), float(held(n))) for n in range(EVERY, frames + 1, EVERY)]


def test_a_short_run_tells_no_slope():
    assert slope_for_day(_samples(LEAST_FRAMES - EVERY, lambda n: 100 + n)) is None
    assert slope_for_day(_samples(LEAST_FRAMES, lambda n: 100 + n)) is not None


def test_what_grows_evenly_is_told_for_a_day_of_frames():
    told = slope_for_day(_samples(20_000, lambda n: 100 + n / 1e6))
    assert told is not None
    assert told[0] == pytest.approx(DAY_FRAMES / 1e6)
    assert told[1] == pytest.approx(0, abs=1e-3)


def test_what_grows_while_it_warms_up_is_left_aside():
    told = slope_for_day(_samples(20_000, lambda n: min(100 + n / 100, 150)))
    assert told is not None
    assert told[0] == pytest.approx(0)


def test_the_error_is_that_of_batches_and_not_of_samples_that_repeat_each_other():
    rng = np.random.default_rng(1)
    # Steps that stay for as long as half a batch: many samples, and little independent of each other.
    n_steps = BATCHES * 2 * 2
    steps = rng.normal(0, 1, n_steps)
    samples = _samples(100_000, lambda n: 100 + steps[min(n_steps - 1, int(n * n_steps / 100_000))])
    told = slope_for_day(samples)
    assert told is not None
    later = np.array(samples[len(samples) // 2 :])
    frames, held = later.T
    rest = held - np.polyval(np.polyfit(frames, held, 1), frames)
    naive = (rest.var() / ((frames - frames.mean()) ** 2).sum()) ** 0.5 * DAY_FRAMES
    assert told[1] > 3 * naive
