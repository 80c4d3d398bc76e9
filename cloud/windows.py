"""Panes of one camera: what was counted in each stretch of `pane_ms`, and how much of it was watched.

A pane's life::

    provisional --watermark passes its end--> complete (coverage >= 0.95) or incomplete
         |                                        |
         +-- camera silent by wall clock -->  incomplete          later data: same pane, revision + 1

Panes near the watermark are held in memory and handed out as absolute values. A pane that was let go (its start is
below `floor_ms`) lives in the store only; what still arrives for it is handed out as a difference, which the store
adds. That is exactly-once because the store commits the sum, the state of this core, the memory of seen events and
the position in the log in one transaction: either all of it happened or none, so no difference is added twice.

Counts, coverage and visits are sums, so the order of events does not matter to them. Occupancy is a step function
and wants its changes in order; a change older than what was integrated already is left out.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct, structs

from cloud.measures import MeasureCell, Measures, measured
from cloud.watermark import MAX_SPAN_MS, Stretches, advance, panes_between, portion
from countline.events import (
    AnyEvent,
    CameraConfigured,
    CameraState,
    CountDelta,
    CounterNow,
    CounterValues,
    Direction,
    Drift,
    EntryDelta,
    Envelope,
    GateDelta,
    GatePassed,
    GateShape,
    Heartbeat,
    Heat,
    LineCrossed,
    LineDoubt,
    LineShape,
    VisitDelta,
    ZoneCrowded,
    ZoneEntered,
    ZoneOccupancy,
    ZoneShape,
    ZoneVisit,
)

T = TypeVar("T")

COMPLETE_COVERAGE = 0.95
# Panes stay in memory for so long after the watermark has passed them: heartbeats that overtook each other still
# find them there. Later data takes the store's way, which is right as well, only dearer.
KEEP_MS = 60_000
# Panes in memory per camera, whatever its clock says: ten minutes of 10 s panes.
MAX_OPEN_PANES = 64
# A rolled-up count is spread over at most this much time before its end: a day.
MAX_DELTA_SPAN_MS = 86_400_000
# Names (lines, zones, metrics) of which a camera's latest value is kept. A config allows 256 lines.
MAX_NAMES = 1_024
# What a camera may name in one day (UTC, by the gateway's clock); events beyond it are refused, so that a device gone
# wild fills neither store nor memory. The next day begins anew: nobody who renames lines is locked out for ever.
MAX_LINES = 1_024  # Four full configs.
MAX_ZONES = 1_024
MAX_GATES = 2_048  # All pairs of 32 lines, twice.
MAX_CLASSES = 256  # As many as one occupancy may name.
MAX_SERIES = 2_048  # Lines or zones times classes: 256 lines with eight classes each.
DAY_MS = 86_400_000
# The class under which a zone's occupancy is kept for all classes together. No label is empty.
ALL_CLASSES = ""


class PaneStatus(StrEnum):
    """How far a pane can be trusted."""

    PROVISIONAL = "provisional"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


class Liveness(StrEnum):
    """A camera as a person sees it."""

    STARTING = "starting"
    OK = "ok"
    BLIND = "blind"
    OFFLINE = "offline"


class Refusal(StrEnum):
    """Why an event is not counted. It is told in the ledger."""

    LINES = "too many lines"
    ZONES = "too many zones"
    GATES = "too many gates"
    CLASSES = "too many classes"
    SERIES = "too many lines or zones with their classes"
    CAMERAS = "too many cameras"
    NEVER_CAME = "given up as missing"


_MOST = {
    Refusal.LINES: MAX_LINES,
    Refusal.ZONES: MAX_ZONES,
    Refusal.GATES: MAX_GATES,
    Refusal.CLASSES: MAX_CLASSES,
    Refusal.SERIES: MAX_SERIES,
}


class WindowConfig(Struct, frozen=True):
    """How panes are cut.

    Attributes:
        pane_ms: Their length.
        silent_after_ms: Wall-clock silence after which a camera is offline.
    """

    pane_ms: int = 10_000
    silent_after_ms: int = 15_000


class CountCell(Struct, frozen=True, array_like=True):
    """Crossings of one pane.

    Attributes:
        line: The line's name.
        direction: "in" or "out".
        cls: The object's class.
        n: All of them, or the difference in a change that is not absolute.
        added: How many of them are new in this change.
    """

    line: str
    direction: Direction
    cls: str
    n: int
    added: int = 0


class ZoneTally(Struct, frozen=True):
    """A zone's occupancy by one class in one pane. Tallies of disjoint times merge by sum, max, min and latest.

    Attributes:
        weighted_ms: Objects times milliseconds; divided by `held_ms` it is the mean.
        held_ms: Time for which the occupancy is known.
        max_n: Most at once.
        min_n: Fewest at once.
        last_n: The newest value.
        last_ms: When that was known.
        visits: Visits that ended in the pane.
        dwell_ms: Sum of their lengths.
    """

    weighted_ms: int = 0
    held_ms: int = 0
    max_n: int | None = None
    min_n: int | None = None
    last_n: int | None = None
    last_ms: int = -1
    visits: int = 0
    dwell_ms: int = 0


class ZoneCell(Struct, frozen=True):
    """A zone's tally in a change, and what of its visits is new in it."""

    zone: str
    cls: str
    tally: ZoneTally
    added_visits: int = 0
    added_dwell_ms: int = 0


class PaneChange(Struct, frozen=True):
    """A pane as it is now, or what has to be added to it.

    Attributes:
        camera: "site/device/camera".
        start_ms: Its start, a multiple of the pane's length.
        is_absolute: True: these values replace the stored ones. False: they are differences to be added, `status`
            follows from the stored coverage, and `revision` is by how much it grows.
        watched_ms: Watched time.
        status: See `PaneStatus`.
        revision: How often it changed after it was final.
        counts: All crossings of the pane, changed or not.
        zones: All zones of the pane, changed or not.
        measures: All other sums of the pane, changed or not.
    """

    camera: str
    start_ms: int
    is_absolute: bool
    watched_ms: int
    status: PaneStatus
    revision: int
    counts: tuple[CountCell, ...] = ()
    zones: tuple[ZoneCell, ...] = ()
    measures: tuple[MeasureCell, ...] = ()


class CountersNow(Struct, frozen=True):
    """A device's counters as it said them last; of two, the one with the greater `(epoch, seq)` is newer."""

    epoch: int
    seq: int
    at_ms: int
    counters: list[CounterNow]


class CameraView(Struct, frozen=True, kw_only=True):
    """A camera's latest facts, for whoever shows it.

    Attributes:
        id: "site/device/camera".
        first_ms: The first moment that anything was heard of, by the camera's clock; before it, there was no camera.
        last_crossing_ms: Capture time of the newest crossing per line.
        occupancy: Objects per class per zone, now.
        drifts: The latest drift per metric.
        doubts: What stands against its lines now, by "LINE/REASON".
        crowded: The zones that are too full now, and what was said of that.
        counters: Those of its device, if it is the camera with which they are told.
    """

    id: str
    site: str
    device: str
    camera: str
    width: int = 0
    height: int = 0
    source: str = ""
    synthetic: bool = False
    model: str = ""
    preview: bool = False
    lines: list[LineShape] = []
    zones: list[ZoneShape] = []
    gates: list[GateShape] = []
    od: bool = False
    state: Liveness = Liveness.STARTING
    reason: str = ""
    last_seen_ms: int = 0
    watermark_ms: int = 0
    first_ms: int | None = None
    fps: float = 0.0
    latency_ms: float = 0.0
    backlog: int = 0
    last_crossing_ms: dict[str, int] = {}
    occupancy: dict[str, dict[str, int]] = {}
    drifts: dict[str, Drift] = {}
    doubts: dict[str, LineDoubt] = {}
    crowded: dict[str, ZoneCrowded] = {}
    counters: CountersNow | None = None


class ZoneNow(Struct, frozen=True):
    """A zone's occupancy between two changes: who is in it, and up to when that is already in the panes."""

    counts: dict[str, int]
    until_ms: int


class PaneState(Struct, frozen=True):
    """A pane in memory."""

    start_ms: int
    watched_ms: int
    status: PaneStatus
    revision: int
    counts: tuple[CountCell, ...]
    zones: tuple[ZoneCell, ...]
    measures: tuple[MeasureCell, ...] = ()


class CameraSnapshot(Struct, frozen=True):
    """All that the panes of a camera go on from."""

    view: CameraView
    heartbeat_ms: int
    configured_ms: int
    is_silent: bool
    floor_ms: int
    stretches: tuple[tuple[int, int], ...]
    zones: dict[str, ZoneNow]
    panes: tuple[PaneState, ...]
    names_day: int = 0
    names: dict[Refusal, tuple[str, ...]] = {}


class _Names:
    """What a camera has named in one day."""

    def __init__(self, day: int = 0, known: dict[Refusal, tuple[str, ...]] | None = None) -> None:
        self._begin(day)
        for kind, names in (known or {}).items():
            self._known[kind] = dict.fromkeys(names)

    def _begin(self, day: int) -> None:
        self.day = day
        # Dicts, because they keep the order in which names came.
        self._known: dict[Refusal, dict[str, None]] = {kind: {} for kind in _MOST}

    def snapshot(self) -> dict[Refusal, tuple[str, ...]]:
        return {kind: tuple(names) for kind, names in self._known.items() if names}

    def take(self, day: int, wanted: Iterable[tuple[Refusal, str]]) -> Refusal | None:
        """Note all names, or none and say which kind there are too many of."""
        if day != self.day:
            self._begin(day)
        fresh = [(kind, name) for kind, name in wanted if name not in self._known[kind]]
        if not fresh:
            return None
        for kind, most in _MOST.items():
            if len(self._known[kind]) + len({name for one, name in fresh if one is kind}) > most:
                return kind
        for kind, name in fresh:
            self._known[kind][name] = None
        return None


class _Pane:
    """A pane that grows. Also used for differences, which start from nothing."""

    __slots__ = (
        "added",
        "added_visits",
        "counts",
        "measures",
        "revision",
        "start_ms",
        "status",
        "touched_by",
        "watched_ms",
        "zones",
    )

    def __init__(self, start_ms: int, revision: int = 0) -> None:
        self.start_ms = start_ms
        self.watched_ms = 0
        self.status = PaneStatus.PROVISIONAL
        self.revision = revision
        self.touched_by = -1
        self.counts: dict[tuple[str, Direction, str], int] = {}
        self.zones: dict[tuple[str, str], ZoneTally] = {}
        self.added: dict[tuple[str, Direction, str], int] = {}
        self.added_visits: dict[tuple[str, str], tuple[int, int]] = {}
        self.measures = Measures()

    def count(self, line: str, direction: Direction, cls: str, n: int) -> None:
        key = (line, direction, cls)
        self.counts[key] = self.counts.get(key, 0) + n
        self.added[key] = self.added.get(key, 0) + n

    def visit(self, zone: str, cls: str, dwell_ms: int, n: int = 1) -> None:
        key = (zone, cls)
        self.zones[key] = merge(self.zones.get(key, ZoneTally()), ZoneTally(visits=n, dwell_ms=dwell_ms))
        visits, dwelt_ms = self.added_visits.get(key, (0, 0))
        self.added_visits[key] = (visits + n, dwelt_ms + dwell_ms)

    def occupy(self, zone: str, counts: dict[str, int], low_ms: int, high_ms: int) -> None:
        held_ms = high_ms - low_ms
        for cls, n in counts.items():
            tally = ZoneTally(n * held_ms, held_ms, n, n, n, high_ms)
            self.zones[zone, cls] = merge(self.zones.get((zone, cls), ZoneTally()), tally)

    def cells(self) -> tuple[CountCell, ...]:
        return tuple(CountCell(*key, n, self.added.get(key, 0)) for key, n in self.counts.items())

    def zone_cells(self) -> tuple[ZoneCell, ...]:
        return tuple(
            ZoneCell(*key, tally, *self.added_visits.get(key, (0, 0))) for key, tally in self.zones.items()
        )

    def handed_out(self) -> None:
        self.added.clear()
        self.added_visits.clear()
        self.measures.handed_out()


def merge(first: ZoneTally, second: ZoneTally) -> ZoneTally:
    """Return the tally of both times together."""
    newer = second if second.last_ms >= first.last_ms else first
    return ZoneTally(
        first.weighted_ms + second.weighted_ms,
        first.held_ms + second.held_ms,
        _of(max, first.max_n, second.max_n),
        _of(min, first.min_n, second.min_n),
        newer.last_n,
        newer.last_ms,
        first.visits + second.visits,
        first.dwell_ms + second.dwell_ms,
    )


def final_status(watched_ms: int, pane_ms: int) -> PaneStatus:
    """Return what a pane is once the watermark has passed its end."""
    return PaneStatus.COMPLETE if watched_ms >= COMPLETE_COVERAGE * pane_ms else PaneStatus.INCOMPLETE


class CameraWindows:
    """The panes of one camera. Memory is bounded by the constants above."""

    def __init__(self, config: WindowConfig, site: str, device: str, camera: str) -> None:
        self._config = config
        self._view = CameraView(id=f"{site}/{device}/{camera}", site=site, device=device, camera=camera)
        self._heartbeat_ms = -1
        self._configured_ms = -1
        self._is_silent = False
        self._floor_ms = 0
        self._stretches = Stretches()
        self._zones: dict[str, ZoneNow] = {}
        self._names = _Names()
        self._panes: dict[int, _Pane] = {}
        # Of the running batch: numbers its events, and collects what is to be handed out.
        self._event = 0
        self._dirty: dict[int, _Pane] = {}
        self._leaving: list[_Pane] = []
        self._differences: dict[int, _Pane] = {}

    @classmethod
    def restore(cls, config: WindowConfig, state: CameraSnapshot) -> "CameraWindows":
        """Build one that goes on from a snapshot."""
        windows = cls(config, state.view.site, state.view.device, state.view.camera)
        windows._view = state.view
        windows._heartbeat_ms = state.heartbeat_ms
        windows._configured_ms = state.configured_ms
        windows._is_silent = state.is_silent
        windows._floor_ms = state.floor_ms
        windows._stretches = Stretches(state.stretches)
        windows._zones = dict(state.zones)
        windows._names = _Names(state.names_day, state.names)
        for saved in state.panes:
            pane = _Pane(saved.start_ms, saved.revision)
            pane.watched_ms, pane.status = saved.watched_ms, saved.status
            pane.counts = {(cell.line, cell.direction, cell.cls): cell.n for cell in saved.counts}
            pane.zones = {(cell.zone, cell.cls): cell.tally for cell in saved.zones}
            pane.measures = Measures(saved.measures)
            windows._panes[pane.start_ms] = pane
        return windows

    def snapshot(self) -> CameraSnapshot:
        """Return all that is remembered; call it between batches."""
        panes = [self._panes[start] for start in sorted(self._panes)]
        return CameraSnapshot(
            self._view,
            self._heartbeat_ms,
            self._configured_ms,
            self._is_silent,
            self._floor_ms,
            self._stretches.snapshot(),
            dict(self._zones),
            tuple(
                PaneState(
                    pane.start_ms,
                    pane.watched_ms,
                    pane.status,
                    pane.revision,
                    pane.cells(),
                    pane.zone_cells(),
                    pane.measures.cells(),
                )
                for pane in panes
            ),
            self._names.day,
            self._names.snapshot(),
        )

    def view(self) -> CameraView:
        """Return the camera's latest facts."""
        return self._view

    def refusal(self, received_at_ms: int, envelope: Envelope) -> Refusal | None:
        """Note the names in an event that is about to be fed, or say why there are too many: then it is not fed."""
        return self._names.take(received_at_ms // DAY_MS, _named(envelope.event))

    def feed(self, batch: Iterable[tuple[int, Envelope]]) -> list[PaneChange]:
        """Take events in, and return the panes that they changed.

        Args:
            batch: `(received_at_ms, envelope)` of this camera, each event once, in the order of the log.

        Returns:
            Absolute panes first, then differences; they are to be applied in this order.
        """
        for received_at_ms, envelope in batch:
            self._event += 1
            self._hear(received_at_ms)
            self._take(received_at_ms, envelope)
            self._let_go()
        return self._hand_out()

    def tick(self, now_ms: int) -> list[PaneChange]:
        """Mark the camera as offline, and its open panes as incomplete, if it has been silent for too long."""
        due_ms = self.next_tick_ms()
        if due_ms is None or now_ms < due_ms:
            return []
        self._is_silent = True
        self._change_view(state=Liveness.OFFLINE, reason="nothing was heard from it")
        for pane in self._panes.values():
            if pane.status is PaneStatus.PROVISIONAL:
                pane.status = PaneStatus.INCOMPLETE
                self._dirty[pane.start_ms] = pane
        return self._hand_out()

    def next_tick_ms(self) -> int | None:
        """Return when the camera counts as silent unless it is heard of before; None if it does already."""
        return None if self._is_silent else self._view.last_seen_ms + self._config.silent_after_ms

    # ---- one event

    def _hear(self, received_at_ms: int) -> None:
        if self._is_silent:
            self._is_silent = False
            self._change_view(state=Liveness.STARTING, reason="")
            for pane in self._panes.values():
                if pane.start_ms + self._config.pane_ms > self._view.watermark_ms:
                    pane.status = PaneStatus.PROVISIONAL
                    pane.revision += 1
                    self._dirty[pane.start_ms] = pane
        if received_at_ms > self._view.last_seen_ms:
            self._change_view(last_seen_ms=received_at_ms)

    def _take(self, received_at_ms: int, envelope: Envelope) -> None:
        at_ms = envelope.at_ms
        begin_ms, first_ms = _begin_of(envelope), self._view.first_ms
        if first_ms is None or begin_ms < first_ms:
            self._change_view(first_ms=begin_ms)
        if sums := measured(envelope.event, at_ms):
            when_ms, key, n, total = sums
            self._pane(when_ms, received_at_ms).measures.add(key, n, total)
        match envelope.event:
            case Heartbeat() as event:
                self._heartbeat(event, at_ms, received_at_ms)
            case LineCrossed() as event:
                self._pane(at_ms, received_at_ms).count(event.line, event.direction, event.cls, 1)
                self._saw_crossing(event.line, at_ms)
            case CountDelta() as event:
                self._spread(event, received_at_ms)
                self._saw_crossing(event.line, event.to_ms)
            case ZoneVisit() as event:
                self._pane(at_ms, received_at_ms).visit(event.zone, event.cls, event.dwell_ms)
            case VisitDelta() as event:
                # Rare, from a full disk, and short: all into the pane in which the last of them ended.
                self._pane(event.to_ms, received_at_ms).visit(
                    event.zone, event.cls, event.dwell_sum_ms, event.n
                )
            case ZoneOccupancy() as event:
                self._occupancy(event, at_ms, received_at_ms)
            case CounterValues() as event:
                self._count_inside(event, envelope)
            case _:
                self._learn(envelope.event, at_ms)

    def _learn(self, event: AnyEvent, at_ms: int) -> None:
        """Take what changes only what is known of the camera."""
        match event:
            case ZoneCrowded():
                self._crowd(event)
            case Drift():
                self._change_view(drifts=_with(self._view.drifts, event.metric, event))
            case LineDoubt() as event:
                self._doubt(event, at_ms)
            case CameraConfigured():
                self._configure(event, at_ms)
            case _:
                pass

    def _count_inside(self, event: CounterValues, envelope: Envelope) -> None:
        known = self._view.counters
        if known is None or (known.epoch, known.seq) < (envelope.epoch, envelope.seq):
            now = CountersNow(envelope.epoch, envelope.seq, envelope.at_ms, event.counters)
            self._change_view(counters=now)

    def _doubt(self, event: LineDoubt, at_ms: int) -> None:
        if at_ms < self._configured_ms:
            return  # of lines that may have been drawn anew
        key = f"{event.line}/{event.reason}"
        others = {known: doubt for known, doubt in self._view.doubts.items() if known != key}
        self._change_view(doubts=others if event.cleared else _with(others, key, event))

    def _heartbeat(self, event: Heartbeat, at_ms: int, received_at_ms: int) -> None:
        span = (event.since_ms, at_ms)
        watched_ms = max(0, at_ms - event.since_ms - event.blind_ms)
        for low, high in self._stretches.add(max(event.since_ms, at_ms - MAX_SPAN_MS), at_ms):
            for start_ms, left, right in panes_between(low, high, self._config.pane_ms):
                self._pane(start_ms, received_at_ms).watched_ms += portion(watched_ms, span, (left, right))
        for zone in list(self._zones):
            self._integrate(zone, event.since_ms, at_ms, received_at_ms)
        if at_ms >= self._heartbeat_ms:
            self._heartbeat_ms = at_ms
            seconds = (at_ms - event.since_ms) / 1000
            self._change_view(
                state=Liveness.OK if event.state is CameraState.OK else Liveness.BLIND,
                reason=event.reason,
                fps=round(event.frames / seconds, 2) if seconds > 0 else self._view.fps,
                latency_ms=event.latency_ms,
                backlog=event.backlog,
                watermark_ms=advance(self._view.watermark_ms, at_ms, received_at_ms),
            )

    def _spread(self, event: CountDelta, received_at_ms: int) -> None:
        """Spread a rolled-up count evenly over its time, in whole crossings that add up to all of them."""
        last_ms = max(event.from_ms, event.to_ms) + 1
        from_ms = max(min(event.from_ms, event.to_ms), last_ms - MAX_DELTA_SPAN_MS)
        for start_ms, low, high in panes_between(from_ms, last_ms, self._config.pane_ms):
            n = portion(event.n, (from_ms, last_ms), (low, high))
            if n:
                self._pane(start_ms, received_at_ms).count(event.line, event.direction, event.cls, n)

    def _saw_crossing(self, line: str, at_ms: int) -> None:
        if at_ms > self._view.last_crossing_ms.get(line, -1):
            self._change_view(last_crossing_ms=_with(self._view.last_crossing_ms, line, at_ms))

    def _occupancy(self, event: ZoneOccupancy, at_ms: int, received_at_ms: int) -> None:
        before = self._zones.get(event.zone)
        if before is not None and at_ms < before.until_ms:
            return
        # Who has left is at zero now. Of a zone that has seen a crowd of classes, only those that are there are told.
        known = before.counts if before and len(before.counts) <= MAX_CLASSES else {}
        if before is not None:
            self._integrate(event.zone, before.until_ms, at_ms, received_at_ms)
        counts = dict.fromkeys(known, 0) | event.cls_counts | {ALL_CLASSES: sum(event.cls_counts.values())}
        self._pane(at_ms, received_at_ms).occupy(event.zone, counts, at_ms, at_ms)
        self._zones = _with(self._zones, event.zone, ZoneNow(counts, at_ms))
        self._show_occupancy()

    def _crowd(self, event: ZoneCrowded) -> None:
        others = {zone: said for zone, said in self._view.crowded.items() if zone != event.zone}
        self._change_view(crowded=_with(others, event.zone, event) if event.crowded else others)

    def _integrate(self, zone: str, from_ms: int, to_ms: int, received_at_ms: int) -> None:
        now = self._zones[zone]
        low = max(now.until_ms, from_ms, to_ms - MAX_SPAN_MS)
        for start_ms, left, right in panes_between(low, to_ms, self._config.pane_ms):
            self._pane(start_ms, received_at_ms).occupy(zone, now.counts, left, right)
        if to_ms > now.until_ms:
            self._zones[zone] = ZoneNow(now.counts, to_ms)

    def _configure(self, event: CameraConfigured, at_ms: int) -> None:
        if at_ms < self._configured_ms:
            return
        self._configured_ms = at_ms
        # A started agent tracks nobody yet: its zones are empty until it says otherwise.
        self._zones = {zone.name: ZoneNow({ALL_CLASSES: 0}, at_ms) for zone in event.zones}
        self._change_view(
            width=event.width,
            height=event.height,
            source=event.source,
            synthetic=event.synthetic,
            model=event.model,
            preview=event.preview,
            lines=event.lines,
            zones=event.zones,
            gates=event.gates,
            od=event.od,
            crowded={},
            doubts={},
            # A started agent tells its counters again, if it has any left.
            counters=None,
            state=Liveness.STARTING if at_ms > self._heartbeat_ms else self._view.state,
            reason="" if at_ms > self._heartbeat_ms else self._view.reason,
        )
        self._show_occupancy()

    def _show_occupancy(self) -> None:
        self._change_view(
            occupancy={
                zone: {cls: n for cls, n in now.counts.items() if cls != ALL_CLASSES}
                for zone, now in self._zones.items()
            }
        )

    def _change_view(self, **changes: object) -> None:
        self._view = structs.replace(self._view, **changes)

    # ---- panes

    def _pane(self, at_ms: int, received_at_ms: int) -> _Pane:
        """Return the pane of a time, for this event to add to."""
        start_ms = at_ms - at_ms % self._config.pane_ms
        if start_ms < self._floor_ms:
            pane = self._differences.setdefault(start_ms, _Pane(start_ms))
            is_revision = True
        else:
            pane = self._panes.get(start_ms)
            if pane is None:
                # It was shown as incomplete for as long as nothing was known of it: this is its first revision.
                is_overdue = received_at_ms - start_ms - self._config.pane_ms > self._config.silent_after_ms
                pane = self._panes[start_ms] = _Pane(start_ms, int(is_overdue))
            is_revision = pane.status is not PaneStatus.PROVISIONAL
            self._dirty[start_ms] = pane
        if pane.touched_by != self._event:
            pane.touched_by = self._event
            pane.revision += int(is_revision)
        return pane

    def _let_go(self) -> None:
        """Settle the panes that the watermark has passed, and forget the oldest."""
        pane_ms = self._config.pane_ms
        watermark_ms = self._view.watermark_ms
        for start_ms, pane in self._panes.items():
            if start_ms + pane_ms <= watermark_ms and (
                pane.touched_by == self._event or pane.status is PaneStatus.PROVISIONAL
            ):
                pane.status = final_status(pane.watched_ms, pane_ms)
                self._dirty[start_ms] = pane
        excess = len(self._panes) - MAX_OPEN_PANES
        old = [start for start in self._panes if start + pane_ms <= watermark_ms - KEEP_MS]
        if excess > 0:
            old = sorted({*old, *sorted(self._panes)[:excess]})
        for start_ms in old:
            pane = self._panes.pop(start_ms)
            if pane.status is PaneStatus.PROVISIONAL:
                pane.status = final_status(pane.watched_ms, pane_ms)
                self._dirty[start_ms] = pane
            if self._dirty.pop(start_ms, None) is not None:
                self._leaving.append(pane)
            self._floor_ms = max(self._floor_ms, start_ms + pane_ms)

    def _hand_out(self) -> list[PaneChange]:
        absolute = [*self._leaving, *self._dirty.values()]
        differences = list(self._differences.values())
        changes = [self._change_of(pane, is_absolute=True) for pane in absolute]
        changes += [self._change_of(pane, is_absolute=False) for pane in differences]
        for pane in absolute:
            pane.handed_out()
        self._leaving, self._dirty, self._differences = [], {}, {}
        return changes

    def _change_of(self, pane: _Pane, *, is_absolute: bool) -> PaneChange:
        return PaneChange(
            self._view.id,
            pane.start_ms,
            is_absolute,
            pane.watched_ms,
            pane.status,
            pane.revision,
            pane.cells(),
            pane.zone_cells(),
            pane.measures.cells(),
        )


def _begin_of(envelope: Envelope) -> int:
    """Return the earliest moment that an event tells of and that is counted."""
    match envelope.event:
        case Heartbeat() as event:
            begin_ms = max(event.since_ms, envelope.at_ms - MAX_SPAN_MS)
        case CountDelta() as event:
            begin_ms = max(event.from_ms, event.to_ms + 1 - MAX_DELTA_SPAN_MS)
        case VisitDelta() | EntryDelta() | GateDelta() as event:
            begin_ms = event.to_ms
        case _:
            begin_ms = envelope.at_ms
    return min(begin_ms, envelope.at_ms)


def _named(event: AnyEvent) -> list[tuple[Refusal, str]]:
    """Return the names in an event, each as one of its kind."""
    names: list[tuple[Refusal, str]] = []
    match event:
        case LineCrossed() | CountDelta():
            names = [(Refusal.LINES, event.line), *_series(f"line/{event.line}", [event.cls])]
        case ZoneVisit() | VisitDelta() | ZoneEntered() | EntryDelta():
            names = [(Refusal.ZONES, event.zone), *_series(f"zone/{event.zone}", [event.cls])]
        case ZoneOccupancy():
            names = [(Refusal.ZONES, event.zone), *_series(f"zone/{event.zone}", event.cls_counts)]
        case ZoneCrowded():
            names = [(Refusal.ZONES, event.zone)]
        case GatePassed() | GateDelta():
            # Their lines are named by the crossings that they are made of.
            passage = f"{event.gate}/{event.origin}/{event.destination}"
            names = [(Refusal.GATES, passage), (Refusal.CLASSES, event.cls)]
        case Heat():
            names = [(Refusal.CLASSES, event.cls)]
        case CameraConfigured():
            names = [(Refusal.LINES, line.name) for line in event.lines]
            names += [(Refusal.ZONES, zone.name) for zone in event.zones]
        case _:
            pass
    return names


def _series(where: str, classes: Iterable[str]) -> Iterable[tuple[Refusal, str]]:
    for cls in classes:
        yield Refusal.CLASSES, cls
        yield Refusal.SERIES, f"{where}/{cls}"


def _of(choose: Callable[[list[int]], int], first: int | None, second: int | None) -> int | None:
    known = [n for n in (first, second) if n is not None]
    return choose(known) if known else None


def _with(names: dict[str, T], name: str, value: T) -> dict[str, T]:
    """Return a copy with one name set; beyond `MAX_NAMES` the name that was set first goes."""
    changed = {**names, name: value}
    if len(changed) > MAX_NAMES:
        del changed[next(iter(changed))]
    return changed
