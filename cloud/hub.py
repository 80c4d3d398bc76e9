"""The live picture: totals of today, the last minute, and what changed since a reader looked last.

A reader is one integer: the version up to which it has seen everything. `message_after(version)` gives it what
changed since, newest value per key. So a slow reader costs nothing, gets fewer and fuller messages, and there is no
queue that could grow; readers that keep up all get the same bytes, encoded once.
"""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from cloud.measures import Measure
from cloud.process import HeatChange
from cloud.store.rows import PaneUpdate, Picture, Update
from cloud.windows import ALL_CLASSES, CameraView, CountersNow, Liveness, PaneStatus
from countline.events import Direction, GateShape, LineShape, ZoneShape

LAST_MINUTE_MS = 60_000
# The time over which a camera's coverage is shown.
COVERAGE_MS = 300_000
# How far back single panes are needed to start with.
PANES_MS = 2 * COVERAGE_MS
# Keys whose last change is remembered. A reader that has missed more gets a snapshot instead.
MAX_CHANGED = 20_000
# Panes per message at most: a backlog of hours revises thousands at once, and no page draws them one by one.
MAX_PANES = 2_000

# An encoded message tells the server's time; it is not reused for longer than this.
STALE_MS = 500

Key = tuple[str, ...]


class InOut(Struct):
    """Crossings of a line by direction."""

    in_: int = msgspec.field(default=0, name="in")
    out: int = 0

    def add(self, direction: str, n: int) -> None:
        """Add crossings."""
        if direction == "in":
            self.in_ += n
        else:
            self.out += n


class CameraBody(Struct, frozen=True, kw_only=True):
    """A camera as the API shows it."""

    id: str
    site: str
    device: str
    camera: str
    width: int
    height: int
    source: str
    synthetic: bool
    model: str
    preview: bool
    lines: list[LineShape]
    zones: list[ZoneShape]
    gates: list[GateShape] = []
    od: bool = False
    state: Liveness
    reason: str
    first_ms: int | None
    last_seen_ms: int
    watermark_ms: int
    fps: float
    latency_ms: float
    backlog: int
    coverage: float
    drifts: dict[str, Any] = {}
    doubts: dict[str, Any] = {}
    counters: CountersNow | None = None


class CounterBody(Struct, frozen=True):
    """How many a counter says are inside, what it has counted since `since_ms`, and when it said so."""

    site: str
    device: str
    counter: str
    value: int
    in_: int = msgspec.field(name="in")
    out: int
    since_ms: int
    at_ms: int


class LineBody(Struct, frozen=True):
    """A line's numbers now."""

    camera: str
    line: str
    today: InOut
    last_minute: InOut
    classes: dict[str, InOut]
    last_crossing_ms: int | None
    mean_speed_m_s: float | None = None


class ZoneDay(Struct, frozen=True):
    """A zone's visits today."""

    visits: int
    mean_dwell_ms: int | None
    max: int
    entries: int = 0


class ZoneBody(Struct, frozen=True):
    """A zone's numbers now.

    Attributes:
        crowded_since_ms: Since when more are inside than are allowed; None if they are not.
    """

    camera: str
    zone: str
    now: dict[str, int]
    today: ZoneDay
    crowded_since_ms: int | None = None


class Passages(Struct, frozen=True):
    """How many passed a gate today, and how long that took them."""

    n: int
    mean_travel_ms: int | None


class GateBody(Struct, frozen=True):
    """The passages from one line to another today; `gate` is empty for a pair of the origin-destination matrix."""

    camera: str
    gate: str
    origin: str
    destination: str
    today: Passages
    classes: dict[str, Passages]


class HeatBody(Struct, frozen=True):
    """The newest map of a camera and a class; `GET /v1/heat` has sums."""

    camera: str
    cls: str = msgspec.field(name="class")
    from_ms: int
    to_ms: int
    columns: int
    rows: int
    cells: list[int]
    presence_ms: list[int]


class PaneBody(Struct, frozen=True):
    """One line's pane, for a trend."""

    camera: str
    line: str
    start_ms: int
    pane_s: float
    in_: int = msgspec.field(name="in")
    out: int
    coverage: float
    status: PaneStatus
    revision: int


class SnapshotBody(Struct, frozen=True, tag_field="type", tag="snapshot"):
    """Everything, for a reader that knows nothing."""

    seq: int
    server_time_ms: int
    timezone: str
    today_start_ms: int
    cameras: list[CameraBody]
    lines: list[LineBody]
    zones: list[ZoneBody]
    gates: list[GateBody] = []


class DeltaBody(Struct, frozen=True, tag_field="type", tag="delta", omit_defaults=True):
    """What changed: absolute values, empty lists left out."""

    seq: int
    server_time_ms: int
    lines: list[LineBody] = []
    zones: list[ZoneBody] = []
    cameras: list[CameraBody] = []
    panes: list[PaneBody] = []
    gates: list[GateBody] = []
    heats: list[HeatBody] = []


class HeartbeatBody(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing changed, and the server is alive."""

    seq: int
    server_time_ms: int


class _ZoneTotals:
    __slots__ = ("dwell_ms", "max_n", "visits")

    def __init__(self, visits: int = 0, dwell_ms: int = 0, max_n: int = 0) -> None:
        self.visits, self.dwell_ms, self.max_n = visits, dwell_ms, max_n


def local_midnight(at_ms: int, zone: ZoneInfo, days: int = 0) -> int:
    """Return the local midnight at or before `at_ms`, moved by whole local days (23 to 25 hours each)."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date() + timedelta(days=days)
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


class Hub:
    """Today's totals and the changes of the last while, for any number of readers. Not thread-safe."""

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone
        self._zone = ZoneInfo(timezone)
        self._encoder = msgspec.json.Encoder()
        self._pane_ms = 0
        self._recent_panes = 0
        self._version = 0
        self._horizon = 0
        self._seq = 0
        self._has_pending = False
        self._now_ms = 0
        self._day = (0, 0)
        self._last_step = -1
        self._cameras: dict[str, CameraView] = {}
        self._lines: dict[tuple[str, str], dict[str, InOut]] = {}
        self._zones: dict[tuple[str, str], _ZoneTotals] = {}
        # Camera, kind, name, origin, destination -> class -> [n, total]; see `cloud.measures`.
        self._measures: dict[Key, dict[str, list[int]]] = {}
        # The newest map per camera and class. A snapshot leaves them out: they are large, and can be asked for.
        self._heats: dict[tuple[str, str], HeatChange] = {}
        self._panes: dict[str, dict[int, PaneUpdate]] = {}
        self._changed: OrderedDict[Key, tuple[int, PaneUpdate | None]] = OrderedDict()
        self._encoded: dict[int, tuple[int, bytes]] = {}

    @property
    def version(self) -> int:
        """The number of the newest message; it grows by one with each."""
        return self._version

    @property
    def seq(self) -> int:
        """The newest commit of the store that is part of the picture."""
        return self._seq

    def day(self, now_ms: int) -> tuple[int, int]:
        """Return the bounds of the local day that `now_ms` is in."""
        return local_midnight(now_ms, self._zone), local_midnight(now_ms, self._zone, 1)

    def is_new_day(self, now_ms: int) -> bool:
        """Say whether the totals are those of another day and have to be loaded anew."""
        return not self._day[0] <= now_ms < self._day[1]

    # ---- in

    def load(self, picture: Picture, now_ms: int) -> None:
        """Replace everything; all readers get a snapshot next."""
        self._now_ms = now_ms
        self._pane_ms = picture.pane_ms
        self._recent_panes = COVERAGE_MS // self._pane_ms + 4
        self._day = self.day(now_ms)
        self._seq = picture.seq
        self._cameras = {view.id: view for view in picture.cameras}
        self._lines, self._zones, self._panes = {}, {}, {}
        self._measures, self._heats = {}, {}
        for view in picture.cameras:
            self._know(view)
        for camera, line, direction, cls, n in picture.counts:
            self._count(camera, line, direction, cls, n)
        for total in picture.zones:
            self._zones[total.camera, total.zone] = _ZoneTotals(total.visits, total.dwell_ms, total.max_n)
        for camera, *what, cls, n, total in picture.measures:
            self._measure((camera, *what), cls, n, total)
        for pane in picture.panes:
            self._remember(pane)
        self._changed.clear()
        self._encoded.clear()
        self._has_pending = False
        self._version += 1
        self._horizon = self._version

    def apply(self, seq: int, update: Update) -> None:
        """Take one commit of the store in."""
        self._seq = seq
        for view in update.cameras:
            self._cameras[view.id] = view
            self._know(view)
            self._mark(("camera", view.id))
            for zone in view.occupancy:
                self._mark(("zone", view.id, zone))
        for pane in update.panes:
            self._take(pane)
        for change in update.heats:
            self._heats[change.camera, change.heat.cls] = change
            self._mark(("heat", change.camera, change.heat.cls))

    def tick(self, now_ms: int) -> None:
        """Let the last minute move on, and the coverage of cameras that say nothing."""
        self._now_ms = now_ms
        step = now_ms // self._pane_ms
        if step == self._last_step:
            return
        self._last_step = step
        for camera, line in self._lines:
            self._mark(("line", camera, line))
        for view in self._cameras.values():
            if view.state is Liveness.OFFLINE:
                self._mark(("camera", view.id))

    # ---- out

    def flush(self) -> bool:
        """Make what came in since the last call one message; say whether there is any."""
        if not self._has_pending:
            return False
        self._has_pending = False
        self._version += 1
        self._encoded.clear()
        while len(self._changed) > MAX_CHANGED:
            self._horizon = self._changed.popitem(last=False)[1][0]
        return True

    def message_after(self, version: int, now_ms: int) -> bytes:
        """Return the JSON message for a reader that has seen everything up to `version`; -1 for a new one."""
        if version == self._version:
            return self._encoder.encode(HeartbeatBody(self._seq, now_ms))
        at_ms, known = self._encoded.get(version, (0, b""))
        if not known or now_ms - at_ms > STALE_MS:
            is_lost = version < self._horizon
            body = self.snapshot(now_ms) if is_lost else self._delta(version, now_ms)
            known = self._encoder.encode(body)
            self._encoded[version] = (now_ms, known)
        return known

    def snapshot(self, now_ms: int) -> SnapshotBody:
        """Return everything."""
        return SnapshotBody(
            self._seq,
            now_ms,
            self._timezone,
            self._day[0],
            self.cameras(),
            [self._line(camera, line) for camera, line in self._lines],
            self.zones(),
            self.gates(),
        )

    def cameras(self) -> list[CameraBody]:
        """Return all cameras, by id."""
        return [self._camera(camera) for camera in sorted(self._cameras)]

    def zones(self) -> list[ZoneBody]:
        """Return all zones."""
        return [self._zone_body(camera, zone) for camera, zone in self._zones]

    def gates(self) -> list[GateBody]:
        """Return all gates, and the pairs of origin-destination matrices that anybody passed."""
        return [self._gate(key) for key in self._measures if key[1] == Measure.GATE]

    def counters(self) -> list[CounterBody]:
        """Return the counters of all devices, as each said them last."""
        newest: dict[tuple[str, str], CountersNow] = {}
        for view in self._cameras.values():
            said, key = view.counters, (view.site, view.device)
            known = newest.get(key)
            if said and (known is None or (known.epoch, known.seq) < (said.epoch, said.seq)):
                newest[key] = said
        return [
            CounterBody(
                *device, now.counter, now.value, now.totals.in_, now.totals.out, now.since_ms, said.at_ms
            )
            for device, said in sorted(newest.items())
            for now in said.counters
        ]

    # ---- details

    def _know(self, view: CameraView) -> None:
        """Show a camera's lines and zones from their first moment, at zero."""
        for shape in view.lines:
            self._lines.setdefault((view.id, shape.name), {})
        for name in [*(shape.name for shape in view.zones), *view.occupancy]:
            self._zones.setdefault((view.id, name), _ZoneTotals())
        for gate in view.gates:
            key = (view.id, Measure.GATE.value, gate.name, gate.origin, gate.destination)
            self._measures.setdefault(key, {})

    def _measure(self, key: Key, cls: str, n: int, total: int) -> None:
        sums = self._measures.setdefault(key, {}).setdefault(cls, [0, 0])
        sums[0] += n
        sums[1] += total

    def _count(self, camera: str, line: str, direction: str, cls: str, n: int) -> None:
        classes = self._lines.setdefault((camera, line), {})
        classes.setdefault(cls, InOut()).add(direction, n)

    def _take(self, pane: PaneUpdate) -> None:
        self._remember(pane)
        is_today = self._day[0] <= pane.start_ms < self._day[1]
        for cell in pane.counts:
            if cell.added:
                self._mark(("line", pane.camera, cell.line))
                if is_today:
                    self._count(pane.camera, cell.line, cell.direction, cell.cls, cell.added)
        for cell in pane.zones:
            totals = self._zones.setdefault((pane.camera, cell.zone), _ZoneTotals())
            if is_today:
                totals.visits += cell.added_visits
                totals.dwell_ms += cell.added_dwell_ms
                if cell.cls == ALL_CLASSES:
                    totals.max_n = max(totals.max_n, cell.tally.max_n or 0)
            self._mark(("zone", pane.camera, cell.zone))
        for cell in pane.measures:
            if cell.added_n and is_today:
                kind, name, origin, destination, cls = cell.key
                self._measure(
                    (pane.camera, kind.value, name, origin, destination), cls, cell.added_n, cell.added_total
                )
                if kind is Measure.GATE:
                    self._mark(("gate", pane.camera, name, origin, destination))
                else:
                    self._mark(("zone" if kind is Measure.ENTRY else "line", pane.camera, name))
        self._mark(("pane", pane.camera, str(pane.start_ms)), pane)

    def _remember(self, pane: PaneUpdate) -> None:
        panes = self._panes.setdefault(pane.camera, {})
        panes[pane.start_ms] = pane
        if len(panes) > self._recent_panes:
            del panes[min(panes)]

    def _mark(self, key: Key, pane: PaneUpdate | None = None) -> None:
        self._changed[key] = (self._version + 1, pane)
        self._changed.move_to_end(key)
        self._has_pending = True

    def _delta(self, version: int, now_ms: int) -> DeltaBody:
        keys: list[tuple[Key, PaneUpdate | None]] = []
        for key, (changed_at, pane) in reversed(self._changed.items()):
            if changed_at <= version:
                break
            keys.append((key, pane))
        panes = [pane for _, pane in keys if pane is not None][:MAX_PANES]
        return DeltaBody(
            self._seq,
            now_ms,
            lines=[self._line(key[1], key[2]) for key, _ in keys if key[0] == "line"],
            zones=[self._zone_body(key[1], key[2]) for key, _ in keys if key[0] == "zone"],
            cameras=[self._camera(key[1]) for key, _ in keys if key[0] == "camera"],
            panes=[body for pane in panes for body in self._pane_bodies(pane)],
            gates=[self._gate((key[1], Measure.GATE.value, *key[2:])) for key, _ in keys if key[0] == "gate"],
            heats=[self._heat(key[1], key[2]) for key, _ in keys if key[0] == "heat"],
        )

    def _camera(self, camera: str) -> CameraBody:
        view = self._cameras[camera]
        names = CameraBody.__struct_fields__
        facts = {name: getattr(view, name) for name in names if name != "coverage"}
        return CameraBody(**facts, coverage=self._coverage(view))

    def _coverage(self, view: CameraView) -> float:
        """Return the watched share of the last minutes: up to the watermark, or up to now if it says nothing."""
        end_ms = self._now_ms if view.state is Liveness.OFFLINE else view.watermark_ms
        end_ms -= end_ms % self._pane_ms
        start_ms = end_ms - COVERAGE_MS // self._pane_ms * self._pane_ms
        watched_ms = sum(
            pane.watched_ms
            for pane in self._panes.get(view.id, {}).values()
            if start_ms <= pane.start_ms < end_ms
        )
        known_ms = end_ms - max(start_ms, view.first_ms if view.first_ms is not None else end_ms)
        return round(min(1.0, watched_ms / known_ms), 4) if known_ms > 0 else self._first_coverage(view)

    def _first_coverage(self, view: CameraView) -> float:
        return 1.0 if view.state is Liveness.OK else 0.0

    def _line(self, camera: str, line: str) -> LineBody:
        today, last_minute = InOut(), InOut()
        classes = self._lines.get((camera, line), {})
        for counted in classes.values():
            today.in_ += counted.in_
            today.out += counted.out
        from_ms = self._now_ms - LAST_MINUTE_MS
        for pane in self._panes.get(camera, {}).values():
            if pane.start_ms > from_ms:
                _sum_line(pane, line, last_minute)
        view = self._cameras.get(camera)
        last_crossing_ms = view.last_crossing_ms.get(line) if view else None
        mean_speed_m_s = self._mean_speed_m_s(camera, line)
        return LineBody(camera, line, today, last_minute, classes, last_crossing_ms, mean_speed_m_s)

    def _mean_speed_m_s(self, camera: str, line: str) -> float | None:
        n = total = 0
        for direction in Direction:
            for speeds in self._measures.get(
                (camera, Measure.SPEED.value, line, direction.value, ""), {}
            ).values():
                n, total = n + speeds[0], total + speeds[1]
        return round(total / n / 1000, 2) if n else None

    def _gate(self, key: Key) -> GateBody:
        camera, _, gate, origin, destination = key
        classes = self._measures.get(key, {})
        n, total = (sum(sums[i] for sums in classes.values()) for i in (0, 1))
        per_class = {cls: _passages(*sums) for cls, sums in classes.items()}
        return GateBody(camera, gate, origin, destination, _passages(n, total), per_class)

    def _heat(self, camera: str, cls: str) -> HeatBody:
        change = self._heats[camera, cls]
        heat = change.heat
        return HeatBody(
            camera,
            cls,
            heat.from_ms,
            change.at_ms,
            heat.columns,
            heat.rows,
            heat.cells,
            heat.presence_ms,
        )

    def _zone_body(self, camera: str, zone: str) -> ZoneBody:
        totals = self._zones.get((camera, zone), _ZoneTotals())
        view = self._cameras.get(camera)
        mean = round(totals.dwell_ms / totals.visits) if totals.visits else None
        now = view.occupancy.get(zone, {}) if view else {}
        entered = self._measures.get((camera, Measure.ENTRY.value, zone, "", ""), {})
        entries = sum(sums[0] for sums in entered.values())
        crowded = view.crowded.get(zone) if view else None
        return ZoneBody(
            camera,
            zone,
            now,
            ZoneDay(totals.visits, mean, totals.max_n, entries),
            crowded.since_ms if crowded else None,
        )

    def _pane_bodies(self, pane: PaneUpdate) -> Iterable[PaneBody]:
        view = self._cameras.get(pane.camera)
        lines = dict.fromkeys(
            [
                *(shape.name for shape in (view.lines if view else [])),
                *(cell.line for cell in pane.counts),
            ]
        )
        for line in lines:
            counted = InOut()
            _sum_line(pane, line, counted)
            yield PaneBody(
                pane.camera,
                line,
                pane.start_ms,
                self._pane_ms / 1000,
                counted.in_,
                counted.out,
                round(pane.watched_ms / self._pane_ms, 4),
                pane.status,
                pane.revision,
            )


def _passages(n: int, total_ms: int) -> Passages:
    return Passages(n, round(total_ms / n) if n else None)


def _sum_line(pane: PaneUpdate, line: str, into: InOut) -> None:
    for cell in pane.counts:
        if cell.line == line:
            into.add(cell.direction, cell.n)
