"""Laws of taking turns at one detector, and of leaving pictures out evenly."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge.fair import MAX_STRIDE, Governor, PaceSettings, fair_strides, next_turns

CAMERAS = st.integers(1, 6).map(lambda n: [f"cam{i}" for i in range(n)])
RATES = st.dictionaries(st.sampled_from([f"cam{i}" for i in range(8)]), st.floats(0.0, 120.0), min_size=1)


@given(CAMERAS, st.integers(1, 3), st.lists(st.lists(st.booleans(), min_size=6, max_size=6), max_size=60))
def test_nobody_is_passed_over_more_often_than_there_are_others(
    cameras: Sequence[str], most: int, arrivals: list[list[bool]]
):
    """However often the others bring pictures: who waits has its turn after the others had one each, at the latest."""
    waiting: dict[str, float] = {}
    passed = dict.fromkeys(cameras, 0)
    for turn, arrived in enumerate(arrivals):
        for camera, has_arrived in zip(cameras, arrived, strict=False):
            if has_arrived:
                waiting.setdefault(camera, turn)
        chosen = next_turns(waiting, most)
        assert len(chosen) == min(most, len(waiting))
        for camera in chosen:
            del waiting[camera]
            passed[camera] = 0
        for camera in waiting:
            passed[camera] += 1
            assert passed[camera] <= len(cameras) - 1


@given(RATES, st.floats(0.1, 500.0))
def test_what_is_taken_fits(wanted: dict[str, float], room: float):
    """All together bring no more than can be looked at."""
    strides = fair_strides(wanted, room)
    assert strides.keys() == wanted.keys()
    if max(strides.values()) < MAX_STRIDE:
        assert sum(wanted[camera] / strides[camera] for camera in wanted) <= room * (1 + 1e-5)


@given(RATES, st.floats(0.1, 500.0))
def test_who_brings_no_more_than_an_equal_share_leaves_out_nothing(wanted: dict[str, float], room: float):
    """A slow camera does not pay for a fast one; of two cameras the faster keeps at least the other's share."""
    strides = fair_strides(wanted, room)
    for camera, fps in wanted.items():
        assert strides[camera] >= 1
        if fps <= room / len(wanted):
            assert strides[camera] == 1
    alike = dict.fromkeys(wanted, 30.0)
    assert len(set(fair_strides(alike, room).values())) == 1


@given(RATES, st.floats(0.001, 2.0), st.integers(20, 60))
def test_a_steady_load_is_settled_once_and_fits(wanted: dict[str, float], service_s: float, seconds: int):
    """The governor does not swing: with the same load it changes its mind once at most, and then the load fits."""
    governor = Governor()
    changes = [governor.judge(float(now_s), wanted, service_s) for now_s in range(seconds)]
    assert sum(changes) <= 1
    strides = [governor.stride(camera) for camera in wanted]
    busy = service_s * sum(wanted[camera] / governor.stride(camera) for camera in wanted)
    assert busy <= PaceSettings().too_much or max(strides) == MAX_STRIDE


@given(RATES, st.floats(0.01, 2.0))
def test_when_the_load_is_gone_every_picture_is_taken_again(wanted: dict[str, float], service_s: float):
    """And not before there has been room for a while."""
    governor = Governor()
    for now_s in range(10):
        governor.judge(float(now_s), wanted, service_s)
    light_s = 0.7 / (sum(wanted.values()) + 1)
    before = {camera: governor.stride(camera) for camera in wanted}
    governor.judge(10.0, wanted, light_s)
    assert {camera: governor.stride(camera) for camera in wanted} == before
    for now_s in range(11, 30):
        governor.judge(float(now_s), wanted, light_s)
    assert all(governor.stride(camera) == 1 for camera in wanted)


def test_a_short_hiccup_changes_nothing():
    """One second of a machine that does something else is no reason to leave out pictures for ten."""
    governor = Governor()
    loads = [0.01, 0.2, 0.01, 0.01, 0.2, 0.01]
    assert not any(governor.judge(float(now_s), {"a": 30.0}, load) for now_s, load in enumerate(loads))
    assert governor.stride("a") == 1
