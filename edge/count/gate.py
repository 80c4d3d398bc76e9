"""Who went over one line and then over another, and how long that took.

A gate has an origin and a destination, each a line and, if wanted, a direction::

    origin A           destination B        one passage A -> B, travel time t2 - t1
       |                     |
    ---+----->---------->----+--->          A again before B: the time begins anew
       t1                    t2             A the other way before B (where its direction is given): withdrawn
                                            B again after B: nothing, until A was crossed again

The origin-destination matrix (`od`) counts the legs of each way: from every line to the next other line that the same
track goes over. A, B, C are A->B and B->C; A, B, A are A->B and B->A; A, A are nothing.

A line decides about a crossing when the object is clear of it, so that crossings of two lines may be told in the wrong
order. They are therefore held back until all before them must be known, and taken in the order in which they happened.
"""

import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from countline.events import Direction, GatePassed, GateShape, Way

# After so long a line has decided about nearly everybody: two seconds, and a slow camera's next frame. Who stands on
# a line for longer is taken when the line decides, which can only lose a passage, never invent one.
DECIDED_WITHIN_MS = 2_500
# Crossings of one track that are held back at once. More in so short a time are no walk.
MAX_WAITING = 64


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One crossing of one track, that a line has counted.

    Attributes:
        at_ms: When.
        line: Which line.
        direction: Which way.
        cls: The object's class.
    """

    at_ms: int
    line: str
    direction: Direction
    cls: str


@dataclass(slots=True)
class _Walk:
    waiting: list[Step] = field(default_factory=list[Step])
    # When the origin of a gate, by its place in the list, was crossed.
    begun: dict[int, int] = field(default_factory=dict[int, int])
    last: Step | None = None


class Gates:
    """Counts the passages of one camera. State is kept per track that crossed a line, until it ends."""

    def __init__(self, gates: Sequence[GateShape], *, od: bool = False) -> None:
        """Take the gates to count by name, and whether to count all legs."""
        self._gates = tuple(gates)
        self._od = od
        self._origins: dict[str, list[int]] = defaultdict(list)
        self._destinations: dict[str, list[int]] = defaultdict(list)
        for index, gate in enumerate(self._gates):
            self._origins[gate.origin].append(index)
            self._destinations[gate.destination].append(index)
        self._walks: dict[int, _Walk] = {}
        self._held: set[int] = set()

    def feed(self, track: int, step: Step) -> list[tuple[int, GatePassed]]:
        """Take a crossing; return the passages that it makes known, usually none: they come with `release`."""
        if not self._od and step.line not in self._origins and step.line not in self._destinations:
            return []
        walk = self._walks.setdefault(track, _Walk())
        bisect.insort(walk.waiting, step)
        self._held.add(track)
        return self._take(track, walk, 1) if len(walk.waiting) > MAX_WAITING else []

    def release(self, now_ms: int) -> list[tuple[int, GatePassed]]:
        """Return the passages that are certain by now: when they ended, and what they were."""
        passed: list[tuple[int, GatePassed]] = []
        for track in sorted(self._held):
            walk = self._walks[track]
            due = sum(1 for step in walk.waiting if step.at_ms <= now_ms - DECIDED_WITHIN_MS)
            passed += self._take(track, walk, due)
        return passed

    def end(self, track: int) -> list[tuple[int, GatePassed]]:
        """Let go of a track that will not come back; return the passages that were held back."""
        walk = self._walks.pop(track, None)
        if walk is None:
            return []
        passed = self._take(track, walk, len(walk.waiting))
        self._held.discard(track)
        return passed

    def _take(self, track: int, walk: _Walk, n: int) -> list[tuple[int, GatePassed]]:
        passed: list[tuple[int, GatePassed]] = []
        for step in walk.waiting[:n]:
            passed += self._step(track, walk, step)
        del walk.waiting[:n]
        if not walk.waiting:
            self._held.discard(track)
        return passed

    def _step(self, track: int, walk: _Walk, step: Step) -> list[tuple[int, GatePassed]]:
        passed: list[tuple[int, GatePassed]] = []
        for index in self._destinations.get(step.line, ()):
            gate = self._gates[index]
            if index not in walk.begun or not _fits(step, gate.destination_way):
                continue
            travel_ms = step.at_ms - walk.begun.pop(index)
            if 0 <= travel_ms <= gate.within_ms:
                event = GatePassed(gate.name, gate.origin, gate.destination, step.cls, track, travel_ms)
                passed.append((step.at_ms, event))
        for index in self._origins.get(step.line, ()):
            if _fits(step, self._gates[index].origin_way):
                walk.begun[index] = step.at_ms
            else:
                walk.begun.pop(index, None)
        return passed + (self._leg(track, walk, step) if self._od else [])

    @staticmethod
    def _leg(track: int, walk: _Walk, step: Step) -> list[tuple[int, GatePassed]]:
        last = walk.last
        if last is not None and step.at_ms < last.at_ms:
            return []  # told too late to be put between others
        walk.last = step
        if last is None or last.line == step.line:
            return []
        event = GatePassed("", last.line, step.line, step.cls, track, step.at_ms - last.at_ms)
        return [(step.at_ms, event)]


def _fits(step: Step, way: Way) -> bool:
    return way is Way.ANY or way.value == step.direction.value
