"""Lines: who went over, in which direction, once."""

import pytest

from countline.events import Direction, LineShape, Point
from edge.count.line import LineCounters
from tests.spots import spots_of

# From the top to the bottom at x = 100: a walker's left hand points to the right half of the picture.
LINE = [(100.0, 0.0), (100.0, 200.0)]
HEIGHT = 100.0  # of a box, so that the dead band is 5 pixels


def counters(points: list[Point], *, swap: bool = False) -> LineCounters:
    return LineCounters([LineShape("door", points, swap)])


def walk(lines: LineCounters, *xs: float, y: float = 100.0, track: int = 1) -> list[Direction]:
    crossings = []
    for step, x in enumerate(xs):
        crossings += lines.feed(spots_of(track, [(step * 100, x, y)], HEIGHT))
    return [crossing.direction for crossing in crossings]


@pytest.mark.parametrize(
    ("xs", "expected"),
    [
        pytest.param((150, 120, 80, 50), ["in"], id="from the left hand to the right hand is in"),
        pytest.param((50, 80, 120, 150), ["out"], id="the other way is out"),
        pytest.param((50, 80, 99, 101, 99, 80, 50), [], id="who turns round on the line has not crossed it"),
        pytest.param(
            (50, 98, 102, 97, 103, 98, 101, 99),
            [],
            id="who stands on the line is not counted again and again",
        ),
        pytest.param(
            (50, 98, 102, 97, 103, 98, 140), ["out"], id="who stands on the line and goes on is counted once"
        ),
        pytest.param((0, 200), ["out"], id="who jumps over the line between two frames is counted"),
        pytest.param((50, 150, 50, 150), ["out", "in", "out"], id="who comes back is counted each time"),
        pytest.param((50, 60, 70), [], id="who stays on one side is not counted"),
        pytest.param((50, 103, 104), [], id="within the dead band nothing is decided"),
    ],
)
def test_steps_over_a_line_are_added_up_and_decided_clear_of_it(
    xs: tuple[float, ...], expected: list[str]
) -> None:
    """Only a passage that ends clear of the line on the other side counts, whatever happens on the line."""
    assert walk(counters(LINE), *xs) == expected


def test_swap_exchanges_in_and_out() -> None:
    """`swap` is for a line that was drawn the other way round."""
    assert walk(counters(LINE, swap=True), 150, 50) == ["out"]


def test_walking_around_the_end_of_a_line_does_not_cross_it() -> None:
    """A line is as long as it is drawn."""
    counter = counters([(100.0, 0.0), (100.0, 50.0)])
    assert walk(counter, 50, 90, 110, 150, y=60.0) == []


def test_a_step_through_a_corner_of_a_polyline_counts_once() -> None:
    """The pieces of a polyline are half-open, so that a corner belongs to one of them."""
    counter = counters([(100.0, 0.0), (100.0, 100.0), (100.0, 200.0)])
    assert walk(counter, 50, 150, y=100.0) == ["out"]


def test_a_crossing_carries_the_moment_at_which_the_line_was_crossed() -> None:
    """The moment lies between the two frames around it, in proportion, however late it is decided."""
    counter = counters(LINE)
    counter.feed(spots_of(1, [(1_000, 96.0, 100.0)], HEIGHT))
    counter.feed(spots_of(1, [(2_000, 104.0, 100.0)], HEIGHT))
    (crossing,) = counter.feed(spots_of(1, [(9_000, 150.0, 100.0)], HEIGHT))
    assert crossing.at_ms == 1_500


def test_the_state_of_an_ended_track_is_let_go() -> None:
    """A camera that runs for months does not remember everybody who walked by."""
    counter = counters(LINE)
    for track in range(1_000):
        walk(counter, 50, 98, track=track)
        counter.end(track)
    assert not counter._place
    assert not counter._open
    assert len(counter._xy) == 16


def test_what_is_settled_together_counts_as_if_it_had_come_one_by_one() -> None:
    """A track that is confirmed late brings all its places at once."""
    places = [(step * 100, float(x), 100.0) for step, x in enumerate((50, 150, 50, 150))]
    directions = [crossing.direction for crossing in counters(LINE).feed(spots_of(1, places, HEIGHT))]
    assert directions == ["out", "in", "out"]


def test_many_lines_and_many_tracks_are_counted_each_for_itself() -> None:
    """Twenty people go over eight lines, more than there is room for at first."""
    lines = LineCounters([LineShape(f"x{x}", [(x, 0.0), (x, 200.0)]) for x in range(100, 900, 100)])
    crossings = []
    for step, x in enumerate(range(50, 1_000, 50)):
        for track in range(20):
            crossings += lines.feed(spots_of(track, [(step * 100, x + 1.0, 100.0)], HEIGHT))
    assert {(crossing.track, crossing.line) for crossing in crossings} == {
        (track, f"x{x}") for track in range(20) for x in range(100, 900, 100)
    }
    assert len(crossings) == 160
