"""Laws of gates, whatever the way."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from countline.events import Direction, GateShape, Way
from edge.count.gate import DECIDED_WITHIN_MS, Gates, Step

ways = st.lists(
    st.tuples(st.integers(1, 2_000), st.sampled_from("abc"), st.sampled_from(Direction)), max_size=12
)
gates_of = st.lists(
    st.builds(
        lambda origin, destination, way: GateShape("g", origin, destination, way, Way.ANY, 5_000),
        st.sampled_from("abc"),
        st.sampled_from("abc"),
        st.sampled_from(Way),
    ).filter(lambda gate: gate.origin != gate.destination),
    max_size=4,
)


def steps(way: list[tuple[int, str, Direction]]) -> list[Step]:
    at_ms, found = 0, []
    for gap_ms, line, direction in way:
        at_ms += gap_ms
        found.append(Step(at_ms, line, direction, "person"))
    return found


@given(gates_of, ways, st.randoms(use_true_random=False))
def test_the_order_in_which_crossings_are_told_does_not_matter(shapes, way, random) -> None:
    """Within the time that lines have to decide, the passages are those of the order in which it happened."""
    in_order, shuffled = Gates(shapes, od=True), Gates(shapes, od=True)
    walk = steps(way)
    for step in walk:
        in_order.feed(1, step)
    told = sorted(walk, key=lambda step: step.at_ms + random.randint(0, DECIDED_WITHIN_MS - 1))
    passed = []
    for step in told:
        passed += shuffled.release(step.at_ms)
        passed += shuffled.feed(1, step)
    assert passed + shuffled.end(1) == in_order.end(1)


@given(gates_of, ways)
def test_legs_are_one_less_than_the_changes_of_line(shapes, way) -> None:
    """The matrix's legs form one chain: each begins where the one before ended."""
    gates = Gates(shapes, od=True)
    for step in steps(way):
        gates.feed(1, step)
    legs = [event for _, event in gates.end(1) if not event.gate]
    lines = [step.line for step in steps(way)]
    changes = [(one, other) for one, other in itertools.pairwise(lines) if one != other]
    assert [(leg.origin, leg.destination) for leg in legs] == changes


@given(gates_of, ways)
def test_no_passage_takes_longer_than_allowed_or_less_than_nothing(shapes, way) -> None:
    """Travel times lie between 0 and the gate's limit."""
    gates = Gates(shapes)
    for step in steps(way):
        gates.feed(1, step)
    assert all(0 <= event.travel_ms <= 5_000 for _, event in gates.end(1))
