"""Totals of a recording."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countline.events import GatePassed, Heat, LineDoubt, ZoneCrowded, ZoneEntered, ZoneVisit
from deploy.report import as_json, print_tables
from edge.tally import LineTally, Occupancy, StayTally, Tally, ZoneTally


def test_occupancy_is_weighted_by_time() -> None:
    """One for six seconds, two for two of them, nobody for the rest of ten."""
    stays = StayTally(steps=[(1_000, 1), (3_000, 1), (5_000, -1), (7_000, -1)])
    assert stays.occupancy(0, 10_000) == Occupancy(mean=0.8, max=2, min=0, last=0)


def test_who_is_inside_from_beginning_to_end_makes_the_fewest_one() -> None:
    """An entry at the first moment is no time without anybody."""
    assert StayTally(steps=[(0, 1)]).occupancy(0, 5_000) == Occupancy(1.0, 1, 1, 1)


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 5_000)), max_size=12))
def test_the_mean_is_the_sum_of_all_stays_over_the_time(stays: list[tuple[int, int]]) -> None:
    """However stays overlap, together they are as long as each alone."""
    steps = [step for at_ms, dwell_ms in stays for step in [(at_ms, 1), (at_ms + dwell_ms, -1)]]
    occupancy = StayTally(steps=steps).occupancy(0, 20_000)
    assert occupancy.mean * 20_000 == pytest.approx(sum(dwell_ms for _, dwell_ms in stays))
    assert 0 <= occupancy.min <= occupancy.mean <= occupancy.max <= len(stays)
    assert occupancy.last == 0


def test_everything_is_told_per_class_in_json() -> None:
    """A page or a script needs no other source than this object."""
    tally = Tally([LineTally("a"), LineTally("b")], [ZoneTally("lobby")])
    for at_ms in (0, 10_000):
        tally.saw(at_ms)
    tally.add(
        [
            (1_000, ZoneEntered("lobby", "person", 1)),
            (2_000, ZoneEntered("lobby", "dog", 2)),
            (6_000, ZoneVisit("lobby", "person", 1, 5_000)),
            (6_500, ZoneCrowded("lobby", False, 1, 1, 2_000)),
            (7_000, GatePassed("", "a", "b", "dog", 2, 3_000)),
            (8_000, Heat("dog", 0, 2, 2, [1], [500])),
            (9_000, Heat("dog", 8_000, 2, 2, [1, 3], [500, 20])),
        ]
    )
    told = json.loads(as_json(tally))
    (zone,) = told["zones"]
    assert (zone["entries"], zone["exits"], zone["mean_dwell_ms"]) == (2, 1, 5_000)
    assert zone["occupancy"] == {"mean": 1.3, "max": 2, "min": 0, "last": 1}
    assert zone["classes"]["dog"]["occupancy"] == {"mean": 0.8, "max": 1, "min": 0, "last": 1}
    assert zone["crowded"] == {"n": 1, "seconds": 4.5}
    assert told["od"] == [
        {
            "from": "a",
            "to": "b",
            "n": 1,
            "median_travel_ms": 3_000,
            "classes": {"dog": {"n": 1, "median_travel_ms": 3_000}},
        }
    ]
    assert told["heat"] == {
        "columns": 2,
        "rows": 2,
        "classes": {"dog": {"cells": [1, 3], "presence_ms": [1_000, 20]}},
    }


def test_what_speaks_against_a_line_is_told_unless_it_was_cleared(capsys: pytest.CaptureFixture[str]) -> None:
    """In the JSON with its figures, on the terminal as a sentence."""
    tally = Tally([LineTally("door")], [])
    small = LineDoubt("door", "small", "Move the camera closer.", {"height_px": 14.5}, 1)
    tally.add([(1, small), (1, LineDoubt("door", "ends", "Move it.", {}, 1))])
    tally.add([(2, LineDoubt("door", "ends", since_ms=1, cleared=True))])
    assert json.loads(as_json(tally))["doubts"] == [
        {
            "line": "door",
            "reason": "small",
            "says": "Move the camera closer.",
            "evidence": {"height_px": 14.5},
        }
    ]
    print_tables(tally)
    assert "Line door cannot count well. Move the camera closer." in capsys.readouterr().out


def test_who_is_still_inside_at_the_end_has_not_left(capsys: pytest.CaptureFixture[str]) -> None:
    """The table and the JSON use one word, and entries less exits is what the zone held last."""
    tally = Tally([], [ZoneTally("lobby")])
    for at_ms in (0, 10_000):
        tally.saw(at_ms)
    left = [(1_000, ZoneEntered("lobby", "person", 1)), (4_000, ZoneVisit("lobby", "person", 1, 3_000))]
    tally.add([*left, (5_000, ZoneEntered("lobby", "person", 2))])
    tally.add([(9_900, ZoneVisit("lobby", "person", 2, 4_900, vanished=True))], at_end=True)
    (zone,) = json.loads(as_json(tally))["zones"]
    assert (zone["entries"], zone["exits"], zone["occupancy"]["last"]) == (2, 1, 1)
    print_tables(tally)
    row = next(line for line in capsys.readouterr().out.splitlines() if "lobby" in line)
    assert [cell.strip() for cell in row.split("│")][3:5] == ["2", "1"]
