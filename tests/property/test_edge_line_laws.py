"""Laws that any line counter must obey, whatever the path."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from countline.events import LineShape
from edge.count.line import LineCounters
from tests.spots import spots_of

Path = list[tuple[float, float]]

coordinates = st.integers(min_value=-500, max_value=500).map(float)
points = st.tuples(coordinates, coordinates)
paths = st.lists(points, min_size=1, max_size=30)
lines = st.lists(points, min_size=2, max_size=5).filter(
    lambda line: all(a != b for a, b in itertools.pairwise(line))
)


def count(line: Path, path: Path, *, swap: bool = False, height: float = 100.0) -> tuple[int, int]:
    lines = LineCounters([LineShape("line", line, swap)])
    crossings = [
        c for i, (x, y) in enumerate(path) for c in lines.feed(spots_of(1, [(i * 100, x, y)], height))
    ]
    n_in = sum(1 for c in crossings if c.direction == "in")
    return n_in, len(crossings) - n_in


def net_of(line: Path, path: Path) -> int:
    n_in, n_out = count(line, path)
    return n_in - n_out


@given(lines, paths)
def test_swap_exchanges_in_and_out_of_any_path(line: Path, path: Path) -> None:
    """What is in without `swap` is out with it."""
    assert count(line, path) == count(line, path, swap=True)[::-1]


@given(lines, paths, st.integers(-300, 300), st.integers(-300, 300))
def test_moving_the_picture_changes_nothing(line: Path, path: Path, dx: int, dy: int) -> None:
    """Counting does not depend on where in the picture things are."""
    moved_line = [(x + dx, y + dy) for x, y in line]
    moved_path = [(x + dx, y + dy) for x, y in path]
    assert count(line, path) == count(moved_line, moved_path)


@given(lines, paths)
def test_turning_the_picture_by_a_quarter_changes_nothing(line: Path, path: Path) -> None:
    """Counting does not prefer an axis, as rules that compare |dx| with |dy| do."""
    assert count(line, path) == count([(-y, x) for x, y in line], [(-y, x) for x, y in path])


@given(paths)
def test_a_closed_walk_around_goes_in_as_often_as_out(path: Path) -> None:
    """Who is back where they began, clear of an endless line, has crossed it as often one way as the other."""
    line = [(-10_000.0, 0.5), (10_000.0, 0.5)]
    start = (0.0, 400.0)
    assert net_of(line, [start, *path, start]) == 0


@given(paths, st.integers(2, 5))
def test_a_slower_camera_counts_the_same_net(path: Path, keep_every: int) -> None:
    """Leaving out frames does not change who ended on which side of an endless line."""
    line = [(-10_000.0, 0.5), (10_000.0, 0.5)]
    start, end = (0.0, 400.0), (0.0, -400.0)
    assert net_of(line, [start, *path[::keep_every], end]) == net_of(line, [start, *path, end])


@given(st.lists(st.floats(-4.9, 4.9), max_size=200))
def test_jitter_within_the_dead_band_never_counts(offsets: list[float]) -> None:
    """Someone who stands at the line, with a box that shakes by less than a twentieth of its height, is not counted."""
    line = [(-10_000.0, 0.0), (10_000.0, 0.0)]
    assert count(line, [(0.0, offset) for offset in offsets]) == (0, 0)


@given(lines, paths, st.floats(0.1, 10.0))
def test_a_larger_picture_of_the_same_scene_counts_the_same(line: Path, path: Path, scale: float) -> None:
    """Lengths are box heights: a camera with more pixels, or a person nearer to it, makes no difference."""
    exact = 2.0 ** round(math.log2(scale))  # powers of two scale without rounding
    bigger = count(
        [(x * exact, y * exact) for x, y in line],
        [(x * exact, y * exact) for x, y in path],
        height=100 * exact,
    )
    assert count(line, path) == bigger
