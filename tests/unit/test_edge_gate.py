"""Gates: over one line, then over another."""

import pytest

from countline.events import Direction, GatePassed, GateShape, Way
from edge.count.gate import DECIDED_WITHIN_MS, MAX_WAITING, Gates, Step

THROUGH = GateShape("through", "a", "b", within_ms=60_000)


def step(text: str) -> Step:
    """Read a>10 as line a inwards at 10 s, a<10 as outwards."""
    direction = Direction.IN if ">" in text else Direction.OUT
    line, _, second = text.replace("<", ">").partition(">")
    return Step(round(float(second) * 1000), line, direction, "person")


def passages(gates: Gates, *walk: str) -> list[tuple[str, str, float]]:
    """The passages of one track that goes this way, as (origin, destination, travel seconds)."""
    passed = [one for text in walk for one in gates.feed(1, step(text))]
    passed += gates.end(1)
    assert [at_ms for at_ms, _ in passed] == sorted(at_ms for at_ms, _ in passed)
    return [(event.origin, event.destination, event.travel_ms / 1000) for _, event in passed]


@pytest.mark.parametrize(
    ("walk", "travels"),
    [
        pytest.param(("a>1", "b>4"), [3.0], id="over a, then over b"),
        pytest.param(("b>1", "a>4"), [], id="the other way round is not this gate"),
        pytest.param(("a>1",), [], id="over a only"),
        pytest.param(("a>1", "a<5", "b>9"), [4.0], id="over a again: the time begins anew"),
        pytest.param(("a>1", "b>4", "b<6", "b>8"), [3.0], id="to and fro over b is one passage"),
        pytest.param(("a>1", "b>4", "a<7"), [3.0], id="a, b, a is one passage, a to b"),
        pytest.param(("a>1", "b>4", "a<7", "b>9"), [3.0, 2.0], id="twice from a to b"),
        pytest.param(("a>1", "c>2", "b>4"), [3.0], id="another line between does not matter"),
        pytest.param(("a>1", "b>61"), [60.0], id="just in time"),
        pytest.param(("a>1", "b>61.1"), [], id="too slow"),
    ],
)
def test_a_gate_is_passed_from_its_origin_to_its_destination(
    walk: tuple[str, ...], travels: list[float]
) -> None:
    """Each passage needs its own crossing of the origin, the newest one counts."""
    assert [travel for _, _, travel in passages(Gates([THROUGH]), *walk)] == travels


@pytest.mark.parametrize(
    ("walk", "travels"),
    [
        (("a>1", "b>4"), [3.0]),
        (("a<1", "b>4"), []),
        (("a>1", "b<4"), []),
        (("a>1", "a<2", "b>4"), []),
        (("a>1", "b<4", "b>5"), [4.0]),
    ],
)
def test_directions_of_a_gate_are_kept(walk: tuple[str, ...], travels: list[float]) -> None:
    """Who goes back over the origin has not passed it, and the wrong way over the destination is no passage."""
    gate = GateShape("through", "a", "b", Way.IN, Way.IN, 60_000)
    assert [travel for _, _, travel in passages(Gates([gate]), *walk)] == travels


def test_one_line_is_a_gate_of_its_own_if_the_directions_differ() -> None:
    """In over the door and out again over the same door: how long the visit was."""
    gate = GateShape("visit", "door", "door", Way.IN, Way.OUT, 3_600_000)
    assert passages(Gates([gate]), "door>10", "door<70", "door<80", "door>90", "door<95") == [
        ("door", "door", 60.0),
        ("door", "door", 5.0),
    ]


def test_crossings_that_are_told_in_the_wrong_order_are_taken_in_the_right_one() -> None:
    """A line decides when the object is clear of it: who lingers on a is told of after b."""
    assert passages(Gates([THROUGH]), "b>4", "a>1") == [("a", "b", 3.0)]


def test_passages_come_when_nothing_before_them_can_come_any_more() -> None:
    """They are held back for as long as a line may take to decide, and no longer."""
    gates = Gates([THROUGH])
    gates.feed(1, step("b>4"))
    gates.feed(1, step("a>1"))
    assert gates.release(4_000 + DECIDED_WITHIN_MS - 1) == []
    ((at_ms, event),) = gates.release(4_000 + DECIDED_WITHIN_MS)
    assert (at_ms, event) == (4_000, GatePassed("through", "a", "b", "person", 1, 3_000))
    assert gates.release(1_000_000) == []


def test_two_tracks_do_not_make_one_passage() -> None:
    """Who goes over b has to be who went over a."""
    gates = Gates([THROUGH], od=True)
    gates.feed(1, step("a>1"))
    gates.feed(2, step("b>4"))
    assert gates.release(100_000) + gates.end(1) + gates.end(2) == []


@pytest.mark.parametrize(
    ("walk", "legs"),
    [
        (("a>1", "b>4"), [("a", "b")]),
        (("a>1", "b>4", "c>9"), [("a", "b"), ("b", "c")]),
        (("a>1", "b>4", "a<9"), [("a", "b"), ("b", "a")]),
        (("a>1", "a<4"), []),
        (("a>1", "a<4", "a>6", "b>9"), [("a", "b")]),
    ],
)
def test_the_matrix_counts_the_legs_of_each_way(walk: tuple[str, ...], legs: list[tuple[str, str]]) -> None:
    """From each line to the next other one; who turns round on a line has not gone anywhere."""
    assert [leg[:2] for leg in passages(Gates([], od=True), *walk)] == legs


def test_a_matrix_has_no_name_and_gates_beside_it_have_theirs() -> None:
    """A reader can tell the passages of a gate from those of the matrix, and count neither twice."""
    gates = Gates([THROUGH], od=True)
    gates.feed(1, step("a>1"))
    gates.feed(1, step("b>4"))
    assert sorted(event.gate for _, event in gates.end(1)) == ["", "through"]


def test_the_memory_of_gates_is_that_of_living_tracks() -> None:
    """Neither many tracks that end nor one that crosses like mad fill the memory."""
    gates = Gates([THROUGH], od=True)
    for track in range(1_000):
        gates.feed(track, step("a>1"))
        gates.end(track)
    for i in range(10 * MAX_WAITING):
        gates.feed(1, Step(i, "a", Direction.IN, "person"))
    assert list(gates._walks) == [1]
    assert len(gates._walks[1].waiting) <= MAX_WAITING
    gates.end(1)
    assert not gates._walks
    assert not gates._held
