"""The language of local rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.expression import Compare, Condition, Joined, Ref, evaluate, parse, parse_clear, refs


def bare(ref: Ref) -> tuple[str, str, str, str, int]:
    return ref.kind, ref.camera, ref.name, ref.attribute, ref.window_ms


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("zone.queue.count > 1", ("zone", "", "queue", "count", 0)),
        ("zone.hall/till.1.dwell_max_s > 1", ("zone", "hall", "till.1", "dwell_max_s", 0)),
        ("line.back-door.net >= 1", ("line", "", "back-door", "net", 0)),
        ("line.door.in in the last 5m > 1", ("line", "", "door", "in", 300_000)),
        ("line.door.out in the last 1.5h > 1", ("line", "", "door", "out", 5_400_000)),
        ("counter.shop.value == 1", ("counter", "", "shop", "value", 0)),
    ],
)
def test_a_value_is_named_by_kind_camera_name_and_attribute(text: str, ref: tuple):
    """Names may hold dots and hyphens; the last part is the attribute."""
    (found,) = refs(parse(text).expression)
    assert bare(found) == ref


def test_and_binds_more_tightly_than_or_and_for_belongs_to_all_of_it():
    """As people read it."""
    condition = parse("zone.a.count > 1 or zone.b.count > 2 and (zone.c.count<3 or zone.d.count<4) for 20s")
    assert condition.for_ms == 20_000
    either = condition.expression
    assert isinstance(either, Joined)
    assert not either.is_all
    assert isinstance(either.parts[0], Compare)
    both = either.parts[1]
    assert isinstance(both, Joined)
    assert both.is_all
    assert isinstance(both.parts[1], Joined)


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("", 1, "a value is expected"),
        ("zone.queue.cont > 8", 1, "a zone has no 'cont', it has count, dwell_max_s"),
        ("zone.queue > 8", 1, "a value is expected"),
        ("queue > 8", 1, "a value is expected"),
        ("zone.queue.count", 17, "a comparison is expected"),
        ("zone.queue.count > many", 20, "a plain number is expected"),
        ("zone.queue.count > 8s", 20, "a plain number is expected"),
        ("zone.queue.count > 8 for", 25, "a duration is expected"),
        ("zone.queue.count > 8 for 20", 26, "a duration is expected"),
        ("zone.queue.count > 8 for 30h", 26, "at most 24h"),
        ("zone.queue.count > 8 for 20s and", 30, "or the end is expected"),
        ("(zone.queue.count > 8", 22, "closing bracket"),
        ("zone.queue.count in the last 5m > 8", 18, "only of a line"),
        ("line.door.in in last 5m > 8", 17, "`the last`"),
        ("zone.queue.count > 8 && x", 22, "means nothing"),
        ("zone.queue.count > __import__", 20, "means nothing"),
        ("counter.a/b.value > 1", 1, "no name of a counter"),
        ("(" * 17 + "zone.a.count > 1" + ")" * 17, 18, "nested"),
        ("zone.a.count > 1 or " * 30, 0, "too long"),
    ],
)
def test_a_wrong_condition_is_one_sentence_with_its_place(text: str, at: int, problem: str):
    """Whoever wrote it sees where."""
    with pytest.raises(ValueError, match=problem) as caught:
        parse(text)
    assert not at or f"character {at}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clear_condition_may_leave_out_its_value():
    """`< 6 for 30s` is about what the rule is about; of several values it must say which."""
    when = parse("zone.queue.count > 8 for 20s")
    clear = parse_clear("< 6 for 30s", when)
    assert clear == Condition(Compare(refs(when.expression)[0], "<", 6.0), 30_000)
    assert parse_clear("line.door.in > 1", when) == parse("line.door.in > 1")
    with pytest.raises(ValueError, match="does not say of what"):
        parse_clear("< 6", parse("zone.a.count > 1 or zone.b.count > 1"))


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("zone.two.count > 1", True),
        ("zone.two.count >= 2.5", False),
        ("zone.two.count != 2", False),
        ("zone.dark.count > 1", None),
        ("zone.dark.count > 1 and zone.two.count > 5", False),
        ("zone.dark.count > 1 or zone.two.count > 1", True),
        ("zone.dark.count > 1 and zone.two.count > 1", None),
        ("zone.dark.count > 1 or zone.two.count > 5", None),
        ("line.minus.net < -2", True),
    ],
)
def test_what_is_unknown_stays_unknown_unless_the_rest_decides(text: str, holds: bool | None):
    """A blind camera is neither empty nor full."""
    known = {"two": 2.0, "minus": -3.0}
    assert evaluate(parse(text).expression, lambda ref: known.get(ref.name)) is holds


@given(st.text(alphabet="zone.lincutr ()<>=!0189smh/-_andfor%\n", max_size=80))
def test_whatever_is_written_is_a_condition_or_a_sentence(text: str):
    """Nothing else ever comes out of the parser."""
    try:
        condition = parse(text)
    except ValueError:
        return
    assert refs(condition.expression)
