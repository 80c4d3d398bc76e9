"""Commands that people send to an agent."""

import json

import pytest

from countline.errors import Rejected
from countline.events import CounterReason
from edge.act.command import read
from edge.count.counters import Adjust


@pytest.mark.parametrize(
    ("wish", "reason", "n"),
    [({"set": 0}, CounterReason.SET, 0), ({"offset": -5}, CounterReason.OFFSET, -5)],
)
def test_a_counter_is_set_or_moved(wish: dict[str, int], reason: CounterReason, n: int) -> None:
    """Zero is a value, and an offset may be below it."""
    assert read(json.dumps({"counter": "shop", **wish}).encode()) == Adjust("shop", reason, n, "")


def test_a_counter_cannot_be_set_below_zero() -> None:
    """An answer of "ok" with another value than was asked for would hide the mistake."""
    refused = read(b'{"counter": "shop", "set": -5}')
    assert isinstance(refused, Rejected)
    assert refused.reason == "set is -5, but nobody is less than 0 inside: set 0 or more"
