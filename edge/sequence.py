"""Gives each event its identity (site, device, epoch, seq), and makes few of many when they cannot be kept."""

from collections.abc import Iterable

import msgspec

from countline.events import (
    CONTRACT_VERSION,
    AnyEvent,
    CountDelta,
    CounterChanged,
    CounterValues,
    EntryDelta,
    Envelope,
    GateDelta,
    GatePassed,
    Heartbeat,
    Heat,
    LineCrossed,
    LineDoubt,
    VisitDelta,
    ZoneCrowded,
    ZoneEntered,
    ZoneOccupancy,
    ZoneVisit,
)
from edge.count.rules import Moment

_HEARTBEAT = (Heartbeat.__name__,)
# Which kinds may become one, if these fields are the same.
_SAME: dict[type[AnyEvent], tuple[str, ...]] = {
    CountDelta: ("line", "direction", "cls"),
    EntryDelta: ("zone", "cls"),
    VisitDelta: ("zone", "cls"),
    GateDelta: ("gate", "origin", "destination", "cls"),
    Heat: ("cls", "columns", "rows"),
    ZoneOccupancy: ("zone",),
    ZoneCrowded: ("zone",),
    CounterChanged: ("counter", "reason"),
    CounterValues: (),
    LineDoubt: ("line", "reason"),
    Heartbeat: (),
}
_Sum = CountDelta | EntryDelta | VisitDelta | GateDelta


class Sequencer:
    """Numbers the events of one device without a gap. The outbox keeps where it is."""

    def __init__(self, site: str, device: str, epoch: int, last_seq: int) -> None:
        """Go on after `last_seq`; 0 at the start of an epoch."""
        self._site = site
        self._device = device
        self.epoch = epoch
        self.last_seq = last_seq

    def number(self, camera: str, moments: Iterable[Moment]) -> list[Envelope]:
        """Return the events of one camera as envelopes, in the order given."""
        envelopes: list[Envelope] = []
        for at_ms, event in moments:
            self.last_seq += 1
            envelopes.append(
                Envelope(
                    CONTRACT_VERSION,
                    self._site,
                    self._device,
                    self.epoch,
                    self.last_seq,
                    camera,
                    at_ms,
                    event,
                )
            )
        return envelopes


def fold(moments: Iterable[Moment]) -> list[Moment]:
    """Make many waiting events of one camera few, without changing any total.

    Crossings become one `CountDelta` per line, direction and class, entries one `EntryDelta` and visits one `VisitDelta` per
    zone and class, passages one `GateDelta` per gate, lines and class, heat-maps one per class, touching heartbeats one.
    Of a zone's occupancy and crowding, of a doubt and of the counters' values only the newest stays, and changes of a counter for one reason become one. What
    goes is detail in time. The rest, which is rare, is kept as it is.
    """
    folded: dict[tuple[str | int, ...], Moment] = {}
    kept: list[Moment] = []
    for at_ms, said in moments:
        event = _as_sum(at_ms, said)
        key = _key(event)
        if key is None:
            kept.append((at_ms, event))
        elif key in folded:
            before_ms, before = folded[key]
            folded[key] = (max(before_ms, at_ms), _both(before, event))
        else:
            folded[key] = (at_ms, event)
    heartbeat = folded.pop(_HEARTBEAT, None)
    kept += folded.values()
    kept.sort(key=lambda moment: moment[0])
    # Last, because it says that everything before it is on its way.
    return [*kept, heartbeat] if heartbeat else kept


def _as_sum(at_ms: int, event: AnyEvent) -> AnyEvent:
    """Return a single happening as a sum of one; anything else as it is."""
    match event:
        case LineCrossed():
            return CountDelta(event.line, event.direction, event.cls, 1, at_ms, at_ms)
        case ZoneEntered():
            return EntryDelta(event.zone, event.cls, 1, at_ms, at_ms)
        case ZoneVisit():
            return VisitDelta(event.zone, event.cls, 1, event.dwell_ms, at_ms, at_ms)
        case GatePassed():
            names = (event.gate, event.origin, event.destination, event.cls)
            return GateDelta(*names, 1, event.travel_ms, at_ms, at_ms)
        case _:
            return event


def _key(event: AnyEvent) -> tuple[str | int, ...] | None:
    """Return what events have in common that may become one; None if they may not."""
    names = _SAME.get(type(event))
    return None if names is None else (type(event).__name__, *(getattr(event, name) for name in names))


def _both(one: AnyEvent, other: AnyEvent) -> AnyEvent:
    """Return two events of one key as one; the newer one where they are no sums."""
    match one, other:
        case (
            (CountDelta(), CountDelta())
            | (EntryDelta(), EntryDelta())
            | (VisitDelta(), VisitDelta())
            | (GateDelta(), GateDelta())
        ):
            return _both_sums(one, other)
        case Heat(), Heat():
            return _both_heats(one, other)
        case CounterChanged(), CounterChanged():
            return msgspec.structs.replace(other, before=one.before, since_ms=one.since_ms, n=one.n + other.n)
        case Heartbeat(), Heartbeat():
            return _both_heartbeats(one, other)
        case _:
            return other


def _both_sums(one: _Sum, other: _Sum) -> _Sum:
    changes = {
        "n": one.n + other.n,
        "from_ms": min(one.from_ms, other.from_ms),
        "to_ms": max(one.to_ms, other.to_ms),
    }
    if isinstance(one, VisitDelta) and isinstance(other, VisitDelta):
        changes["dwell_sum_ms"] = one.dwell_sum_ms + other.dwell_sum_ms
    if isinstance(one, GateDelta) and isinstance(other, GateDelta):
        changes["travel_sum_ms"] = one.travel_sum_ms + other.travel_sum_ms
    return msgspec.structs.replace(one, **changes)


def _both_heats(one: Heat, other: Heat) -> Heat:
    presence: dict[int, int] = dict(zip(one.cells, one.presence_ms, strict=True))
    for cell, presence_ms in zip(other.cells, other.presence_ms, strict=True):
        presence[cell] = presence.get(cell, 0) + presence_ms
    cells = sorted(presence)
    return msgspec.structs.replace(
        one,
        from_ms=min(one.from_ms, other.from_ms),
        cells=cells,
        presence_ms=[presence[cell] for cell in cells],
    )


def _both_heartbeats(first: Heartbeat, second: Heartbeat) -> Heartbeat:
    frames = first.frames + second.frames
    latency_sum_ms = first.latency_ms * first.frames + second.latency_ms * second.frames
    return msgspec.structs.replace(
        second,
        since_ms=first.since_ms,
        blind_ms=first.blind_ms + second.blind_ms,
        frames=frames,
        dropped=first.dropped + second.dropped,
        latency_ms=round(latency_sum_ms / frames, 1) if frames else 0.0,
    )
