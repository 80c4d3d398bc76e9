"""What was counted in a recording, summed up: the events of a pipeline in, totals out. Pure."""

from dataclasses import dataclass, field
from statistics import fmean, median

from countline.events import (
    Direction,
    GatePassed,
    GateShape,
    Heat,
    LineCrossed,
    LineDoubt,
    LineShape,
    ZoneCrowded,
    ZoneEntered,
    ZoneShape,
    ZoneVisit,
)
from edge.count.rules import Moment

# Who vanished in a zone no longer than this before a recording ended is still there.
STILL_THERE_MS = 2_000


@dataclass(slots=True)
class LineTally:
    """What one line has counted.

    Attributes:
        name: The line's name.
        in_: Crossings from the left to the right of A->B.
        out: The other way.
        classes: Per class, {"in": n, "out": n}.
        speeds_m_s: Per class, the speed of each crossing that has one.
    """

    name: str
    in_: int = 0
    out: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    speeds_m_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def add(self, event: LineCrossed) -> None:
        """Count one crossing."""
        if event.direction is Direction.IN:
            self.in_ += 1
        else:
            self.out += 1
        per_class = self.classes.setdefault(event.cls, {"in": 0, "out": 0})
        per_class[event.direction.value] += 1
        if event.speed_m_s is not None:
            self.speeds_m_s.setdefault(event.cls, []).append(event.speed_m_s)

    def mean_speed_m_s(self, cls: str | None = None) -> float | None:
        """Return the mean speed of one class, or of all; None if no crossing has one."""
        of_classes = self.speeds_m_s.values() if cls is None else [self.speeds_m_s.get(cls, [])]
        speeds = [speed for one in of_classes for speed in one]
        return fmean(speeds) if speeds else None


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How many were in a zone over a recording.

    Attributes:
        mean: Weighted by time.
        max: Most at once.
        min: Fewest at once.
        last: At the end.
    """

    mean: float
    max: int
    min: int
    last: int


@dataclass(slots=True)
class StayTally:
    """What one zone has seen of one class, or of all together.

    Attributes:
        entries: Who came in, or was there when it was first seen.
        visits: Stays, those that only the recording's end has ended included.
        still_there: How many of them that are.
        dwell_sum_ms: Of all these stays.
        steps: Each change of the occupancy as (when, by how many).
    """

    entries: int = 0
    visits: int = 0
    still_there: int = 0
    dwell_sum_ms: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @property
    def exits(self) -> int:
        """Who has left: entries less exits is how many were inside at the end."""
        return self.visits - self.still_there

    @property
    def mean_dwell_ms(self) -> float | None:
        """The mean stay; None if no stay has ended."""
        return self.dwell_sum_ms / self.visits if self.visits else None

    def occupancy(self, from_ms: int, to_ms: int) -> Occupancy:
        """Return how many were inside between two moments. Nobody was before the first step."""
        n, since_ms, weighted = 0, from_ms, 0
        seen: set[int] = set()
        for at_ms, change in sorted(self.steps):
            until_ms = min(max(at_ms, since_ms), to_ms)
            if until_ms > since_ms:
                weighted += n * (until_ms - since_ms)
                seen.add(n)
            n, since_ms = n + change, until_ms
        weighted += n * (to_ms - since_ms)
        seen.add(n)
        mean = weighted / (to_ms - from_ms) if to_ms > from_ms else float(n)
        return Occupancy(mean, max(seen), min(seen), n)


@dataclass(slots=True)
class ZoneTally:
    """What one zone has seen.

    Attributes:
        name: The zone's name.
        all: All classes together.
        classes: Per class.
        crowded_n: How often it was too full.
        crowded_ms: For how long, together.
    """

    name: str
    all: StayTally = field(default_factory=StayTally)
    classes: dict[str, StayTally] = field(default_factory=dict[str, StayTally])
    crowded_n: int = 0
    crowded_ms: int = 0

    def enter(self, event: ZoneEntered, at_ms: int) -> None:
        """Count one who came in."""
        for stays in self._of(event.cls):
            stays.entries += 1
            stays.steps.append((at_ms, 1))

    def leave(self, event: ZoneVisit, at_ms: int, *, is_there: bool) -> None:
        """Count one stay; who was still there when the recording ended has not left."""
        for stays in self._of(event.cls):
            stays.visits += 1
            stays.dwell_sum_ms += event.dwell_ms
            if is_there:
                stays.still_there += 1
            else:
                stays.steps.append((at_ms, -1))

    def crowd(self, event: ZoneCrowded, at_ms: int) -> None:
        """Count one time of being too full, at its end."""
        if not event.crowded:
            self.crowded_n += 1
            self.crowded_ms += max(0, at_ms - event.since_ms)

    def _of(self, cls: str) -> tuple[StayTally, StayTally]:
        return self.all, self.classes.setdefault(cls, StayTally())


@dataclass(slots=True)
class GateTally:
    """The passages from one line to another.

    Attributes:
        gate: The gate's name; empty for a pair of the origin-destination matrix.
        origin: The first line.
        destination: The second line.
        travel_ms: Per class, of each passage.
    """

    gate: str
    origin: str
    destination: str
    travel_ms: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def count(self, cls: str | None = None) -> int:
        """Return how many passed, of one class or of all."""
        return len(self._travels(cls))

    def median_travel_ms(self, cls: str | None = None) -> float | None:
        """Return the usual travel time, of one class or of all; None if nobody passed."""
        travels = self._travels(cls)
        return median(travels) if travels else None

    def _travels(self, cls: str | None) -> list[int]:
        if cls is not None:
            return self.travel_ms.get(cls, [])
        return [travel for travels in self.travel_ms.values() for travel in travels]


@dataclass(slots=True)
class HeatTally:
    """For how long anybody was where.

    Attributes:
        columns: Cells side by side; 0 if there is no map.
        rows: Cells one above the other.
        presence_ms: Per class, per cell that is not empty.
    """

    columns: int = 0
    rows: int = 0
    presence_ms: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def add(self, event: Heat) -> None:
        """Add the map of one class and some time."""
        self.columns, self.rows = event.columns, event.rows
        layer = self.presence_ms.setdefault(event.cls, {})
        for cell, presence_ms in zip(event.cells, event.presence_ms, strict=True):
            layer[cell] = layer.get(cell, 0) + presence_ms


@dataclass(frozen=True, slots=True)
class CrossingRow:
    """One crossing of a recording.

    Attributes:
        at_ms: UTC epoch ms of a recording with a known start, else from its start.
        time_s: From the recording's start.
        line: The line's name.
        direction: "in" or "out".
        cls: The object's class.
        track: The track's id.
        speed_m_s: How fast it was; None if that is not measured.
    """

    at_ms: int
    time_s: float
    line: str
    direction: str
    cls: str
    track: int
    speed_m_s: float | None = None


@dataclass(slots=True)
class Tally:
    """All that was counted in a recording.

    Attributes:
        lines: Per line.
        zones: Per zone.
        gates: Per gate.
        od: The origin-destination matrix, its pairs that anybody passed.
        heat: The heat-map.
        crossings: Each one, in order.
        doubts: What speaks against a line at the end of the recording, by line and reason.
        frames: That could be read.
        first_ms: Capture time of the first of them.
        last_ms: Of the last.
        frames_expected: That the recording itself says it has; None if it does not say.
        is_complete: False if frames are missing: it is damaged.
    """

    lines: list[LineTally]
    zones: list[ZoneTally]
    gates: list[GateTally] = field(default_factory=list[GateTally])
    od: dict[tuple[str, str], GateTally] = field(default_factory=dict[tuple[str, str], GateTally])
    heat: HeatTally = field(default_factory=HeatTally)
    crossings: list[CrossingRow] = field(default_factory=list[CrossingRow])
    doubts: dict[tuple[str, str], LineDoubt] = field(default_factory=dict[tuple[str, str], LineDoubt])
    frames: int = 0
    first_ms: int = 0
    last_ms: int = 0
    frames_expected: int | None = None
    is_complete: bool = True

    @property
    def seconds(self) -> float:
        """From the first to the last frame."""
        return (self.last_ms - self.first_ms) / 1000

    def saw(self, captured_at_ms: int) -> None:
        """Take note of a frame."""
        if not self.frames:
            self.first_ms = captured_at_ms
        self.frames += 1
        self.last_ms = captured_at_ms

    def occupancy(self, stays: StayTally) -> Occupancy:
        """Return the occupancy of a zone over the whole recording."""
        return stays.occupancy(self.first_ms, self.last_ms)

    def add(self, moments: list[Moment], *, at_end: bool = False) -> None:
        """Take what a pipeline decided; `at_end`: because the recording has ended."""
        lines = {line.name: line for line in self.lines}
        zones = {zone.name: zone for zone in self.zones}
        for at_ms, event in moments:
            match event:
                case LineCrossed():
                    lines[event.line].add(event)
                    self.crossings.append(self._row(event, at_ms))
                case ZoneEntered():
                    zones[event.zone].enter(event, at_ms)
                case ZoneVisit():
                    is_there = at_end and event.vanished and self.last_ms - at_ms <= STILL_THERE_MS
                    zones[event.zone].leave(event, at_ms, is_there=is_there)
                case ZoneCrowded():
                    zones[event.zone].crowd(event, at_ms)
                case GatePassed():
                    self._gate(event).travel_ms.setdefault(event.cls, []).append(event.travel_ms)
                case Heat():
                    self.heat.add(event)
                case LineDoubt():
                    self._doubt(event)
                case _:
                    pass

    def _row(self, event: LineCrossed, at_ms: int) -> CrossingRow:
        time_s = round((at_ms - self.first_ms) / 1000, 3)
        return CrossingRow(
            at_ms, time_s, event.line, event.direction.value, event.cls, event.track, event.speed_m_s
        )

    def _doubt(self, event: LineDoubt) -> None:
        self.doubts.pop((event.line, event.reason), None)
        if not event.cleared:
            self.doubts[event.line, event.reason] = event

    def _gate(self, event: GatePassed) -> GateTally:
        if event.gate:
            return next(gate for gate in self.gates if gate.gate == event.gate)
        pair = (event.origin, event.destination)
        return self.od.setdefault(pair, GateTally("", *pair))


def empty_tally(lines: list[LineShape], zones: list[ZoneShape], gates: list[GateShape]) -> Tally:
    """Return a tally in which nothing has been counted over these shapes."""
    return Tally(
        [LineTally(line.name) for line in lines],
        [ZoneTally(zone.name) for zone in zones],
        [GateTally(gate.name, gate.origin, gate.destination) for gate in gates],
    )
