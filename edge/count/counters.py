"""What adds up: crossings of each line since its last reset, and how many are inside. Pure; time is an argument, UTC epoch ms.

A counter adds the ins of its lines and takes off their outs. Missed and doubled crossings add up to drift, so it is put
right: it never falls below zero, it is forced to zero at set hours, and a person may set it. Each such change is an event.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, time, tzinfo

from msgspec import Struct, field

from countline.events import (
    CameraConfigured,
    CounterChanged,
    CounterNow,
    CounterReason,
    CounterValues,
    Direction,
    LineCrossed,
    LineTotals,
)
from edge.count.rules import Moment
from edge.count.schedule import last_strike, next_strike

# A crossing is decided up to this much after it happened. A reset waits so long for those that belong before it.
LATE_MS = 5_000
# Commands whose ids are remembered, so that a broker that delivers one twice does not have it done twice.
MAX_SEEN = 64
# Far above what a building holds, far below what JSON readers round.
MAX_VALUE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CounterPlan:
    """One counter.

    Attributes:
        name: Unique within the device.
        lines: `(camera, line)` of those that it adds up.
        hours: Local times at which it is forced to zero.
        classes: Count only these; empty counts all.
    """

    name: str
    lines: frozenset[tuple[str, str]]
    hours: tuple[time, ...] = ()
    classes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CountersPlan:
    """All counters of a device.

    Attributes:
        counters: By name unique.
        line_hours: Local times at which what is said of each line begins anew.
        zone: The site's time zone.
    """

    counters: tuple[CounterPlan, ...] = ()
    line_hours: tuple[time, ...] = ()
    zone: tzinfo = UTC


class Tally(Struct, frozen=True):
    """Crossings per class."""

    in_: dict[str, int] = field(name="in", default_factory=dict[str, int])
    out: dict[str, int] = {}

    @property
    def totals(self) -> LineTotals:
        """All classes together."""
        return LineTotals(in_=sum(self.in_.values()), out=sum(self.out.values()))

    def with_one(self, cls: str, direction: Direction) -> "Tally":
        """Return what it is after one more crossing."""
        if direction is Direction.IN:
            return Tally({**self.in_, cls: self.in_.get(cls, 0) + 1}, self.out)
        return Tally(self.in_, {**self.out, cls: self.out.get(cls, 0) + 1})


class CounterState(Struct, frozen=True):
    """One counter as it is kept.

    Attributes:
        value: How many are inside.
        since_ms: When it was last reset, or first began.
        tally: Crossings since then.
        clamped: Crossings since then that would have brought it below zero.
    """

    value: int
    since_ms: int
    tally: Tally = Tally()
    clamped: int = 0


class CountersState(Struct, frozen=True):
    """All that goes on after a restart.

    Attributes:
        lines: Per camera and line, crossings since `lines_since_ms`.
        lines_since_ms: When these were last reset, or first began.
        counters: By name.
        seen: Ids of the newest commands.
    """

    lines_since_ms: int
    lines: dict[str, dict[str, Tally]] = {}
    counters: dict[str, CounterState] = {}
    seen: list[str] = []


class Adjust(Struct, frozen=True):
    """What a person wants of a counter.

    Attributes:
        counter: Its name.
        reason: "set" and "offset" take `n`; "reset" takes none.
        n: The new value, or what is added to it.
        id: If it is not empty, a second command of the same id does nothing.
    """

    counter: str
    reason: CounterReason
    n: int = 0
    id: str = ""


@dataclass(slots=True)
class _Counter:
    plan: CounterPlan
    state: CounterState
    due_ms: int | None = None


class Counters:
    """The counters of one device."""

    def __init__(self, plan: CountersPlan, now_ms: int, state: CountersState | None = None) -> None:
        """Begin at zero now, or go on from what was kept.

        Counters that are no longer planned are forgotten. A reset that was missed meanwhile is made up for by the next
        `tick`.
        """
        self._zone = plan.zone
        self._line_hours = plan.line_hours
        state = state or CountersState(lines_since_ms=now_ms)
        self._lines = {camera: dict(lines) for camera, lines in state.lines.items()}
        self._lines_since_ms = state.lines_since_ms
        self._seen = deque(state.seen, maxlen=MAX_SEEN)
        fresh = CounterState(value=0, since_ms=now_ms)
        self._counters = {
            counter.name: _Counter(counter, state.counters.get(counter.name, fresh))
            for counter in plan.counters
        }
        self._lines_due_ms = self._next(self._lines_since_ms, self._line_hours)
        for counter in self._counters.values():
            counter.due_ms = self._next(counter.state.since_ms, counter.plan.hours)

    def feed(self, camera: str, moments: Sequence[Moment]) -> list[Moment]:
        """Count one camera's crossings, in the order given; return how counters were put right on the way."""
        changes: list[Moment] = []
        for at_ms, event in moments:
            if isinstance(event, LineCrossed):
                changes += self._reset_until(at_ms)
                changes += self._count(camera, at_ms, event)
            elif isinstance(event, CameraConfigured):
                # Of a line that is gone nothing is said any more.
                lines = self._lines.get(camera, {})
                self._lines[camera] = {line.name: lines.get(line.name, Tally()) for line in event.lines}
        return changes

    def tick(self, now_ms: int) -> list[Moment]:
        """Make the resets that are due, each dated when it was; of several that were missed the first tells it all."""
        return self._reset_until(now_ms - LATE_MS)

    def next_tick_ms(self) -> int | None:
        """Return when a reset is due; None if none ever is."""
        due = [self._lines_due_ms, *(counter.due_ms for counter in self._counters.values())]
        first_ms = min((at_ms for at_ms in due if at_ms is not None), default=None)
        return None if first_ms is None else first_ms + LATE_MS

    def adjust(self, wish: Adjust, now_ms: int) -> list[Moment]:
        """Do what a person wants; a wish that was already done changes nothing.

        Raises:
            KeyError: There is no such counter.
        """
        counter = self._counters[wish.counter]
        if wish.id and wish.id in self._seen:
            return []
        if wish.id:
            self._seen.append(wish.id)
        if wish.reason is CounterReason.RESET:
            return [self._reset(counter, now_ms, now_ms)]
        wanted = wish.n + (counter.state.value if wish.reason is CounterReason.OFFSET else 0)
        return [self._put(counter, now_ms, wish.reason, min(MAX_VALUE, max(0, wanted)))]

    def snapshot(self) -> CountersState:
        """Return all that goes on after a restart."""
        return CountersState(
            self._lines_since_ms,
            {camera: dict(lines) for camera, lines in self._lines.items()},
            {name: counter.state for name, counter in self._counters.items()},
            list(self._seen),
        )

    def values(self) -> CounterValues:
        """Return all counters as they are now."""
        states = ((name, counter.state) for name, counter in self._counters.items())
        return CounterValues(
            [CounterNow(name, state.value, state.tally.totals, state.since_ms) for name, state in states]
        )

    def counter(self, name: str) -> CounterState:
        """Return a counter as it is now."""
        return self._counters[name].state

    def line(self, camera: str, line: str) -> tuple[Tally, int]:
        """Return a line's crossings, and since when."""
        return self._lines.get(camera, {}).get(line, Tally()), self._lines_since_ms

    def _count(self, camera: str, at_ms: int, event: LineCrossed) -> list[Moment]:
        if not self._is_late(at_ms, self._lines_since_ms):
            lines = self._lines.setdefault(camera, {})
            lines[event.line] = lines.get(event.line, Tally()).with_one(event.cls, event.direction)
        changes: list[Moment] = []
        for counter in self._counters.values():
            plan, state = counter.plan, counter.state
            is_ours = (camera, event.line) in plan.lines and (not plan.classes or event.cls in plan.classes)
            if not is_ours or self._is_late(at_ms, state.since_ms):
                continue
            step = 1 if event.direction is Direction.IN else -1
            tally = state.tally.with_one(event.cls, event.direction)
            is_clamped = state.value + step < 0
            value = min(MAX_VALUE, max(0, state.value + step))
            counter.state = CounterState(value, state.since_ms, tally, state.clamped + is_clamped)
            if is_clamped:
                changes.append(_changed(counter, at_ms, CounterReason.CLAMPED, state))
        return changes

    def _is_late(self, at_ms: int, since_ms: int) -> bool:
        """Say whether a crossing belongs before a reset. Further back it is not late: the clock was put back."""
        return since_ms - LATE_MS <= at_ms < since_ms

    def _reset_until(self, until_ms: int) -> list[Moment]:
        if self._lines_due_ms is not None and self._lines_due_ms <= until_ms:
            self._lines_since_ms = self._last(until_ms, self._line_hours, self._lines_due_ms)
            self._lines_due_ms = self._next(self._lines_since_ms, self._line_hours)
            self._lines = {camera: dict.fromkeys(lines, Tally()) for camera, lines in self._lines.items()}
        changes: list[Moment] = []
        for counter in self._counters.values():
            due_ms = counter.due_ms
            if due_ms is not None and due_ms <= until_ms:
                since_ms = self._last(until_ms, counter.plan.hours, due_ms)
                changes.append(self._reset(counter, due_ms, since_ms))
        changes.sort(key=lambda change: change[0])
        return changes

    def _reset(self, counter: _Counter, at_ms: int, since_ms: int) -> Moment:
        before = counter.state
        counter.state = CounterState(value=0, since_ms=since_ms)
        counter.due_ms = self._next(since_ms, counter.plan.hours)
        return _changed(counter, at_ms, CounterReason.RESET, before)

    def _put(self, counter: _Counter, at_ms: int, reason: CounterReason, value: int) -> Moment:
        before = counter.state
        counter.state = CounterState(value, before.since_ms, before.tally, before.clamped)
        return _changed(counter, at_ms, reason, before)

    def _next(self, after_ms: int, hours: Sequence[time]) -> int | None:
        return next_strike(after_ms, hours, self._zone)

    def _last(self, until_ms: int, hours: Sequence[time], due_ms: int) -> int:
        return max(due_ms, last_strike(until_ms, hours, self._zone) or 0)


def _changed(counter: _Counter, at_ms: int, reason: CounterReason, before: CounterState) -> Moment:
    """Tell of a change; of a reset with what was counted before it."""
    told = before if reason is CounterReason.RESET else counter.state
    return at_ms, CounterChanged(
        counter.plan.name, reason, before.value, counter.state.value, told.tally.totals, told.since_ms
    )
