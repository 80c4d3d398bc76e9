"""Laws of taking turns at one detector, and of leaving pictures out evenly."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.fairness import Governor, PaceSettings, fair_shares, is_taken, next_turns

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


@given(st.floats(0.001, 1.0), st.integers(0, 10_000))
def test_pictures_are_left_out_evenly(share: float, start: int):
    """The gaps between those that are taken differ by one picture at most, and they are the share that was asked for."""
    taken = [index for index in range(start, start + 4_000) if is_taken(index, share)]
    assert abs(len(taken) - 4_000 * share) <= 1
    gaps = {later - earlier for earlier, later in pairwise(taken)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(RATES, st.floats(0.1, 500.0))
def test_what_is_taken_fits_and_no_room_is_wasted(wanted: dict[str, float], room: float):
    """All together bring no more than can be looked at; if they leave out anything, they bring just that."""
    shares = fair_shares(wanted, room)
    assert shares.keys() == wanted.keys()
    assert all(0.0 < share <= 1.0 for share in shares.values())
    brought = sum(wanted[camera] * shares[camera] for camera in wanted)
    assert brought <= room * (1 + 1e-9)
    if min(shares.values()) < 1.0:
        assert brought >= room * (1 - 1e-9)


@given(RATES, st.floats(0.1, 500.0))
def test_nobody_who_leaves_out_brings_less_than_another(wanted: dict[str, float], room: float):
    """A slow camera does not pay for a fast one: who leaves out pictures still brings as many as anybody else."""
    shares = fair_shares(wanted, room)
    brought = {camera: fps * shares[camera] for camera, fps in wanted.items()}
    for camera, share in shares.items():
        if share < 1.0:
            assert brought[camera] >= max(brought.values()) * (1 - 1e-9)


@given(RATES, st.floats(0.001, 2.0), st.integers(20, 60))
def test_a_steady_load_is_settled_once_and_fits(wanted: dict[str, float], service_s: float, seconds: int):
    """The governor does not swing: with the same load it changes its mind once at most, and then the load fits."""
    governor = Governor()
    changes = [governor.judge(float(now_s), wanted, service_s) for now_s in range(seconds)]
    assert sum(changes) <= 1
    busy = service_s * sum(wanted[camera] * governor.share(camera) for camera in wanted)
    assert busy <= PaceSettings().too_much


@given(RATES, st.floats(0.01, 2.0))
def test_when_the_load_is_gone_every_picture_is_taken_again(wanted: dict[str, float], service_s: float):
    """And not before there has been room for a while."""
    governor = Governor()
    for now_s in range(10):
        governor.judge(float(now_s), wanted, service_s)
    light_s = 0.7 / (sum(wanted.values()) + 1)
    before = {camera: governor.share(camera) for camera in wanted}
    governor.judge(10.0, wanted, light_s)
    assert {camera: governor.share(camera) for camera in wanted} == before
    for now_s in range(11, 30):
        governor.judge(float(now_s), wanted, light_s)
    assert all(governor.share(camera) == 1.0 for camera in wanted)


def test_a_short_hiccup_changes_nothing():
    """One second of a machine that does something else is no reason to leave out pictures for ten."""
    governor = Governor()
    loads = [0.01, 0.2, 0.01, 0.01, 0.2, 0.01]
    assert not any(governor.judge(float(now_s), {"a": 30.0}, load) for now_s, load in enumerate(loads))
    assert governor.share("a") == 1.0
