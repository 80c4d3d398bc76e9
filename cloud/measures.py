"""Sums beside the crossings: who entered a zone, who passed a gate and how long that took, how fast who crossed a line.

Each is a number of happenings and the sum of a quantity over them, so they add up over panes in any order::

    kind    name        origin      destination   n          total
    entry   the zone                              entries    how many of them were there when they were first seen
    gate    the gate *  first line  second line   passages   milliseconds from line to line
    speed   the line    direction                 crossings  millimetres per second

    * empty for the origin-destination matrix
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from countline.events import (
    AnyEvent,
    EntryDelta,
    GateDelta,
    GatePassed,
    LineCrossed,
    ZoneEntered,
)


class Measure(StrEnum):
    """What is summed."""

    ENTRY = "entry"
    GATE = "gate"
    SPEED = "speed"


Key = tuple[Measure, str, str, str, str]
"""Kind, name, origin, destination, class."""


class MeasureCell(Struct, frozen=True, array_like=True):
    """One sum of one pane.

    Attributes:
        kind: See the table above, also for the next three.
        name: Of the zone, gate or line.
        origin: What it began with, if that is told apart.
        destination: What it ended with, if that is told apart.
        cls: The objects' class.
        n: How many, or the difference in a change that is not absolute.
        total: Of the quantity, or the difference.
        added_n: How many of them are new in this change.
        added_total: What of the quantity is new in this change.
    """

    kind: Measure
    name: str
    origin: str
    destination: str
    cls: str
    n: int
    total: int
    added_n: int = 0
    added_total: int = 0

    @property
    def key(self) -> Key:
        """What is summed."""
        return self.kind, self.name, self.origin, self.destination, self.cls


class Measures:
    """The sums of one pane, and what has been added since they were last handed out."""

    __slots__ = ("_added", "_sums")

    def __init__(self, cells: Iterable[MeasureCell] = ()) -> None:
        self._sums: dict[Key, tuple[int, int]] = {cell.key: (cell.n, cell.total) for cell in cells}
        self._added: dict[Key, tuple[int, int]] = {}

    def add(self, key: Key, n: int, total: int) -> None:
        """Add happenings and their quantity."""
        for sums in (self._sums, self._added):
            before_n, before_total = sums.get(key, (0, 0))
            sums[key] = (before_n + n, before_total + total)

    def cells(self) -> tuple[MeasureCell, ...]:
        """Return all sums."""
        return tuple(
            MeasureCell(*key, n, total, *self._added.get(key, (0, 0)))
            for key, (n, total) in self._sums.items()
        )

    def handed_out(self) -> None:
        """Take note that nothing is new any more."""
        self._added.clear()


def measured(event: AnyEvent, at_ms: int) -> tuple[int, Key, int, int] | None:
    """Return what an event adds: when, to what, how many and how much. None if nothing.

    Rolled-up events are short, and rare: all of them goes to where the last of it happened.
    """
    match event:
        case LineCrossed() if event.speed_m_s is not None:
            key = (Measure.SPEED, event.line, event.direction.value, "", event.cls)
            return at_ms, key, 1, round(event.speed_m_s * 1000)
        case ZoneEntered():
            return at_ms, (Measure.ENTRY, event.zone, "", "", event.cls), 1, int(event.appeared)
        case EntryDelta():
            return event.to_ms, (Measure.ENTRY, event.zone, "", "", event.cls), event.n, 0
        case GatePassed():
            key = (Measure.GATE, event.gate, event.origin, event.destination, event.cls)
            return at_ms, key, 1, event.travel_ms
        case GateDelta():
            key = (Measure.GATE, event.gate, event.origin, event.destination, event.cls)
            return event.to_ms, key, event.n, event.travel_sum_ms
        case _:
            return None
