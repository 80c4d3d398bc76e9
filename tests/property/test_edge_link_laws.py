"""Laws of linking a new track to one that was lost."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edge.track.link import MAX_LOST, End, Linker, LinkSettings, beginning, ending
from edge.track.smooth import Sample

speeds = st.floats(-150, 150)


def walker(x: float, y: float, speed_x: float, speed_y: float, start_ms: int, end_ms: int) -> list[Sample]:
    return [
        Sample(t, x + speed_x * t / 1000, y + speed_y * t / 1000, 100.0, 0.9)
        for t in range(start_ms, end_ms, 100)
    ]


@given(speeds, speeds, st.integers(200, 1_500))
def test_who_walks_on_steadily_behind_a_pillar_is_the_same(
    speed_x: float, speed_y: float, gap_ms: int
) -> None:
    """A walk that goes on as it was is linked, unless the walker came out much later than the walk says."""
    linker = Linker(LinkSettings(slow=1e-6))
    linker.lose(7, ending(walker(500, 500, speed_x, speed_y, 0, 2_000)))
    start = beginning(walker(500, 500, speed_x, speed_y, 1_900 + gap_ms, 4_000 + gap_ms))
    assert linker.link([(0, start)], [True]) == {0: 7}
    assert linker.link([(1, start)], [True]) == {}


@given(speeds, speeds, st.floats(300, 900), st.floats(0, 2 * math.pi))
def test_who_comes_out_far_away_is_somebody_else(
    speed_x: float, speed_y: float, far: float, angle: float
) -> None:
    """Three box heights from where the lost one must be nobody is taken for the same."""
    linker = Linker(LinkSettings())
    linker.lose(7, ending(walker(500, 500, speed_x, speed_y, 0, 2_000)))
    away = walker(500 + far * math.cos(angle), 500 + far * math.sin(angle), speed_x, speed_y, 2_200, 3_500)
    assert linker.link([(0, beginning(away))], [True]) == {}


def test_two_who_pass_each_other_behind_a_pillar_keep_their_ways() -> None:
    """Place alone would confuse them: each comes out where the other went in."""
    linker = Linker(LinkSettings())
    linker.lose(1, ending(walker(400, 500, 100, 0, 0, 1_000)))
    linker.lose(2, ending(walker(600, 500, -100, 0, 0, 1_000)))
    rightwards = beginning(walker(400, 500, 100, 0, 1_500, 2_500))
    leftwards = beginning(walker(600, 500, -100, 0, 1_500, 2_500))
    assert linker.link([(10, leftwards), (11, rightwards)], [True, True]) == {10: 2, 11: 1}


def test_the_best_pairs_win_and_not_the_first() -> None:
    """A new track that is not due yet keeps the lost one that fits it better from another that is."""
    linker = Linker(LinkSettings())
    linker.lose(1, ending(walker(400, 500, 0, 0, 0, 1_000)))
    near, nearer = (
        beginning(walker(425, 500, 0, 0, 1_500, 2_500)),
        beginning(walker(401, 500, 0, 0, 1_600, 2_500)),
    )
    assert linker.link([(10, near), (11, nearer)], [True, False]) == {}
    assert linker.link([(11, nearer)], [True]) == {11: 1}


def test_lost_tracks_are_bounded_and_forgotten() -> None:
    """A detector gone wild fills no memory, and nobody waits for ever."""
    linker = Linker(LinkSettings())
    given_up = [
        track for i in range(2 * MAX_LOST) for track in linker.lose(i, ending(walker(0, 0, 0, 0, i, i + 1)))
    ]
    assert given_up == list(range(MAX_LOST))
    assert linker.forget(MAX_LOST + 10) == list(range(MAX_LOST, MAX_LOST + 10))
    assert len(linker.forget(None)) == MAX_LOST - 10


@given(speeds, speeds, st.lists(st.floats(-3, 3), min_size=8, max_size=20))
def test_both_ends_of_a_walk_tell_its_speed(speed_x: float, speed_y: float, shakes: list[float]) -> None:
    """Within what shaking boxes leave of it."""
    samples = [
        sample._replace(x=sample.x + shake)
        for sample, shake in zip(walker(0, 0, speed_x, speed_y, 0, 100 * len(shakes)), shakes, strict=True)
    ]
    for end in (beginning(samples), ending(samples)):
        assert abs(end.speed_x - speed_x) < 20
        assert math.isclose(end.speed_y, speed_y, abs_tol=1e-6)


def test_who_was_seen_once_has_no_speed() -> None:
    """Nothing is made of nothing."""
    assert beginning([Sample(5, 1.0, 2.0, 50.0, 0.9)]) == End(5, 1.0, 2.0, 0.0, 0.0, 50.0)
