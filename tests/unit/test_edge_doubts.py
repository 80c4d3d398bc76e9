"""Lines that cannot count: each doubt is raised by its evidence, and not without it."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from countline.events import LineDoubt, LineShape, Point
from edge.arrays import Spots, Tracks
from edge.count.doubts import MAX_WITNESSES, Doubts, drawn_badly
from edge.count.witness import MAX_POINTS, Path

WIDTH, HEIGHT = 768, 576
T0 = 1_700_000_000_000
MIDDLE = LineShape("middle", [(384.0, 0.0), (384.0, 576.0)])
Way = list[tuple[float, float, float]]
"""x, y and height of a body, frame by frame."""


def usual(y: float) -> float:
    """Return how high a body is by where it stands."""
    return 20 + y / 4


def walk(start: Point, end: Point, frames: int = 40, height: Callable[[float], float] = usual) -> Way:
    """Return the way of somebody who walks straight on."""
    share = np.linspace(0, 1, frames)
    return [
        (start[0] + s * (end[0] - start[0]), y := start[1] + s * (end[1] - start[1]), height(y))
        for s in share.tolist()
    ]


def tracks(track: int, place: tuple[float, float, float], at_ms: int, *, ended: bool) -> Tracks:
    """Return what a tracker says of one track."""
    x, y, height_px = place
    box = np.array([[x - 10, y - height_px, x + 10, y]], dtype=np.float32)
    ids, ones = np.array([track]), np.ones(1, dtype=np.bool_)
    score, cls = np.ones(1, dtype=np.float32), np.zeros(1, dtype=np.int16)
    spots = Spots(ids, np.array([at_ms]), np.array([[x, y]]), np.array([height_px]), cls, score)
    return Tracks(box, score, cls, ids, ones, ones, spots, (track,) if ended else ())


class Scene:
    """People who walk one after the other, before a camera with ten frames a second."""

    def __init__(self, *lines: LineShape, frame_ms: int = 100) -> None:
        self.doubts = Doubts(lines or (MIDDLE,), WIDTH, HEIGHT)
        self.said: list[LineDoubt] = []
        self._at_ms, self._frame_ms, self._track = T0, frame_ms, 0
        self._take([self.doubts.feed(nobody(), T0)])
        self._at_ms += 10_000

    def _take(self, said: Iterable[list]) -> None:
        self.said += [event for moments in said for _, event in moments]

    def let(self, *ways: Way, times: int = 1) -> "Scene":
        """Let people walk these ways, one after the other."""
        for way in ways * times:
            self._track += 1
            for index, place in enumerate(way):
                self._at_ms += self._frame_ms
                seen = tracks(self._track, place, self._at_ms, ended=index == len(way) - 1)
                self._take([self.doubts.feed(seen, self._at_ms)])
        return self.wait(10)

    def wait(self, seconds: float) -> "Scene":
        """Let time go by without anybody, frame by frame."""
        for _ in range(round(seconds * 1000 / self._frame_ms)):
            self._at_ms += self._frame_ms
            self._take([self.doubts.feed(nobody(), self._at_ms)])
        return self

    def reasons(self) -> set[str]:
        """Return which doubts stand, and check that what was said adds up to them."""
        standing: set[tuple[str, str]] = set()
        for doubt in self.said:
            key = (doubt.line, doubt.reason)
            assert (key in standing) == doubt.cleared
            assert bool(doubt.says) != doubt.cleared
            (standing.remove if doubt.cleared else standing.add)(key)
        assert standing == {(doubt.line, doubt.reason) for doubt in self.doubts.current()}
        return {reason for _, reason in standing}


def nobody() -> Tracks:
    empty = np.zeros(0)
    return Tracks(
        np.zeros((0, 4), dtype=np.float32),
        empty.astype(np.float32),
        empty.astype(np.int16),
        empty.astype(np.int64),
        empty.astype(np.bool_),
        empty.astype(np.bool_),
    )


ACROSS = [walk((20, y), (750, y)) for y in (150.0, 250.0, 350.0, 450.0)]
BACK = [walk((750, y), (20, y)) for y in (200.0, 300.0, 400.0)]


def test_people_who_walk_over_a_line_in_the_middle_raise_no_doubt() -> None:
    """An hour's worth of crossings at usual sizes."""
    scene = Scene().let(*ACROSS, *BACK, times=20)
    assert scene.said == []


@pytest.mark.parametrize(
    "points",
    [
        [(0.0, 570.0), (768.0, 572.0)],
        [(5.0, 0.0), (5.0, 576.0)],
        [(764.0, 576.0), (764.0, 0.0)],
        [(0.0, 20.0), (768.0, 20.0)],
        [(0.0, 400.0), (3.0, 570.0), (768.0, 574.0)],
    ],
)
def test_a_line_along_the_border_is_doubted_from_its_drawing_alone(points: list[Point]) -> None:
    """Feet beyond it are outside the picture; by the upper border bodies are."""
    line = LineShape("edge", points)
    (doubt,) = drawn_badly([MIDDLE, line], WIDTH, HEIGHT)
    assert (doubt.line, doubt.reason) == ("edge", "border")
    assert Scene(MIDDLE, line).reasons() == {"border"}


@pytest.mark.parametrize(
    "points",
    [
        [(384.0, 0.0), (384.0, 576.0)],
        [(0.0, 288.0), (768.0, 288.0)],
        [(100.0, 500.0), (700.0, 500.0)],
        [(0.0, 0.0), (768.0, 576.0)],
    ],
)
def test_a_line_with_room_on_both_sides_is_not(points: list[Point]) -> None:
    """Ends that touch the border are no harm."""
    assert drawn_badly([LineShape("good", points)], WIDTH, HEIGHT) == []


def test_a_line_that_is_far_from_the_border_for_small_people_is_near_it_for_large_ones() -> None:
    """Once heights are known, they say how much room is needed."""
    line = LineShape("low", [(0.0, 500.0), (768.0, 500.0)])
    down = [walk((x, 250.0), (x, 540.0), height=lambda _: 400.0) for x in (200.0, 400.0, 600.0)]
    assert drawn_badly([line], WIDTH, HEIGHT) == []
    assert "border" in Scene(line).let(*down, times=10).reasons()


def test_tracks_that_begin_or_end_on_the_line_are_told() -> None:
    """A door in the middle of the picture: they come out of it, and go into it."""
    out, into = walk((390.0, 300.0), (750.0, 300.0)), walk((20.0, 300.0), (380.0, 300.0))
    scene = Scene().let(out, into, times=15)
    assert scene.reasons() == {"ends"}
    (doubt,) = scene.said
    assert doubt.evidence["share"] == 1.0
    assert doubt.says.startswith("100% of the people")


def test_a_doubt_is_cleared_when_its_evidence_goes() -> None:
    """The van that was parked before the line has left."""
    scene = Scene().let(walk((390.0, 300.0), (750.0, 300.0)), times=30)
    assert scene.reasons() == {"ends"}
    scene.let(*ACROSS, times=60)
    assert scene.reasons() == set()
    assert scene.said[-1].cleared


def test_tracks_that_end_elsewhere_or_leave_the_picture_by_the_line_are_no_doubt() -> None:
    """A door at the other end of the room, and people who walk out at the side."""
    line = LineShape("side", [(700.0, 0.0), (700.0, 576.0)])
    scene = Scene(line).let(walk((100.0, 300.0), (750.0, 300.0)), times=40)
    assert scene.reasons() == set()


def test_a_few_tracks_prove_nothing() -> None:
    """Nineteen people are chance."""
    assert Scene().let(walk((390.0, 300.0), (750.0, 300.0)), times=19).said == []


def test_people_smaller_than_the_detector_sees_are_told() -> None:
    """At 768 pixels of width a body of 18 is one of 15 for the detector; one of 40 is well seen."""
    scene = Scene().let(walk((20.0, 300.0), (750.0, 300.0), 200, lambda _: 18.0), times=30)
    assert scene.reasons() == {"small"}
    assert scene.said[0].evidence["height_px"] == 15.0
    assert Scene().let(walk((20.0, 300.0), (750.0, 300.0), height=lambda _: 40.0), times=30).said == []


def test_a_line_where_nobody_was_ever_seen_is_told_if_there_are_people_elsewhere() -> None:
    """It takes ten minutes and fifty people; an empty scene is no doubt."""
    line = LineShape("roof", [(300.0, 100.0), (500.0, 100.0)])
    low = walk((20.0, 400.0), (750.0, 400.0))
    assert Scene(line).wait(700).reasons() == set()
    scene = Scene(line).let(low, times=49).wait(700)
    assert scene.reasons() == set()
    assert scene.let(low).reasons() == {"nobody"}
    assert scene.let(walk((400.0, 60.0), (400.0, 160.0))).reasons() == set()


def test_feet_below_the_lower_border_are_told() -> None:
    """Who walks along the lower border is cut by it: the box ends where the picture does."""
    line = LineShape("gate", [(384.0, 300.0), (384.0, 576.0)])
    scene = Scene(line).let(walk((20.0, 576.0), (750.0, 576.0), height=lambda _: 120.0), times=30)
    assert scene.reasons() == {"hidden"}


def test_feet_behind_a_counter_are_told_by_the_scenes_perspective() -> None:
    """Two hundred people are seen whole; the others, near the line, lack their legs."""
    line = LineShape("till", [(650.0, 200.0), (650.0, 400.0)])
    behind = walk((600.0, 300.0), (700.0, 300.0), height=lambda y: 0.6 * usual(y))
    elsewhere = [walk((20.0, y), (500.0, y)) for y in (150.0, 250.0, 350.0, 450.0)]
    assert "hidden" not in Scene(line).let(*elsewhere, times=40).reasons()
    scene = Scene(line).let(*elsewhere, times=40).let(behind, times=30)
    assert scene.reasons() == {"hidden"}
    assert "hidden" not in Scene().let(*ACROSS, *BACK, times=30).reasons()


def test_steps_too_long_for_the_frame_rate_are_told() -> None:
    """Cyclists at their own height in each frame; at a third of it all is well."""
    fast, slower = walk((20.0, 300.0), (750.0, 300.0), 9), walk((20.0, 300.0), (750.0, 300.0), 27)
    assert Scene().let(fast, times=30).reasons() == {"slow"}
    assert Scene().let(slower, times=30).reasons() == set()


def test_too_few_frames_are_told_though_nobody_leaves_a_track() -> None:
    """Who is too fast to be followed gives no evidence, but frames are counted too."""
    assert Scene(frame_ms=1000).wait(120).reasons() == {"slow"}
    assert Scene(frame_ms=250).wait(120).reasons() == set()


def test_a_moved_camera_casts_doubt_on_all_its_lines_until_it_is_back() -> None:
    """Said once, and taken back once."""
    doubts = Doubts([MIDDLE, LineShape("other", [(0.0, 300.0), (768.0, 300.0)])], WIDTH, HEIGHT)
    doubts.feed(nobody(), T0)
    assert doubts.moved(T0, is_nudged=False) == []
    assert [event.line for _, event in doubts.moved(T0 + 1, is_nudged=True)] == ["middle", "other"]
    assert doubts.moved(T0 + 2, is_nudged=True) == []
    assert all(
        event.cleared and event.since_ms == T0 + 1 for _, event in doubts.moved(T0 + 3, is_nudged=False)
    )
    assert doubts.current() == []


def test_what_is_kept_of_tracks_and_lines_is_bounded() -> None:
    """Somebody who waits for an hour, and a thousand people."""
    path = Path(0.0, 0.0, 50.0, has_begun=True)
    for index in range(36_000):
        path.add(float(index % 700), 300.0, 50.0)
    assert len(path.array()) <= MAX_POINTS + 1
    scene = Scene().let(walk((20.0, 300.0), (750.0, 300.0), 20), times=MAX_WITNESSES + 50)
    assert len(scene.doubts._cases[0].witnesses) == MAX_WITNESSES
    assert scene.doubts._paths == {}
