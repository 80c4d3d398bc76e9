"""Lines: who went over, in which direction, once."""

import pytest

from countline.events import Direction
from edge.count.line import LineCounter

# From the top to the bottom at x = 100: a walker's left hand points to the right half of the picture.
LINE = [(100.0, 0.0), (100.0, 200.0)]
HEIGHT = 100.0  # of a box, so that the dead band is 5 pixels


def walk(counter: LineCounter, *xs: float, y: float = 100.0, track: int = 1) -> list[Direction]:
    crossings = []
    for step, x in enumerate(xs):
        crossings += counter.feed(track, (x, y), HEIGHT, step * 100)
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
    assert walk(LineCounter("door", LINE), *xs) == expected


def test_swap_exchanges_in_and_out() -> None:
    """`swap` is for a line that was drawn the other way round."""
    assert walk(LineCounter("door", LINE, swap=True), 150, 50) == ["out"]


def test_walking_around_the_end_of_a_line_does_not_cross_it() -> None:
    """A line is as long as it is drawn."""
    counter = LineCounter("door", [(100.0, 0.0), (100.0, 50.0)])
    assert walk(counter, 50, 90, 110, 150, y=60.0) == []


def test_a_step_through_a_corner_of_a_polyline_counts_once() -> None:
    """The pieces of a polyline are half-open, so that a corner belongs to one of them."""
    counter = LineCounter("door", [(100.0, 0.0), (100.0, 100.0), (100.0, 200.0)])
    assert walk(counter, 50, 150, y=100.0) == ["out"]


def test_a_crossing_carries_the_moment_at_which_the_line_was_crossed() -> None:
    """The moment lies between the two frames around it, in proportion, however late it is decided."""
    counter = LineCounter("door", LINE)
    counter.feed(1, (96.0, 100.0), HEIGHT, 1_000)
    counter.feed(1, (104.0, 100.0), HEIGHT, 2_000)
    (crossing,) = counter.feed(1, (150.0, 100.0), HEIGHT, 9_000)
    assert crossing.at_ms == 1_500


def test_the_state_of_an_ended_track_is_let_go() -> None:
    """A camera that runs for months does not remember everybody who walked by."""
    counter = LineCounter("door", LINE)
    for track in range(1_000):
        walk(counter, 50, 98, track=track)
        counter.end(track)
    assert not counter._passages
