"""Gives each event its identity (site, device, epoch, seq), and makes few of many when they cannot be kept."""

from collections.abc import Iterable

import msgspec

from countline.events import (
    CONTRACT_VERSION,
    CountDelta,
    CounterChanged,
    Envelope,
    Heartbeat,
    LineCrossed,
    VisitDelta,
    ZoneOccupancy,
    ZoneVisit,
)
from edge.count.rules import Moment


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

    Crossings become one `CountDelta` per line, direction and class, visits one `VisitDelta` per zone and class, touching
    heartbeats become one, of a zone's occupancy only the newest stays, and changes of a counter for one reason become one.
    What goes is detail in time.
    """
    counts: dict[tuple[str, ...], CountDelta] = {}
    visits: dict[tuple[str, ...], VisitDelta] = {}
    occupancy: dict[str, Moment] = {}
    changes: dict[tuple[str, str], tuple[int, CounterChanged]] = {}
    heartbeat: tuple[int, Heartbeat] | None = None
    kept: list[Moment] = []
    for at_ms, event in moments:
        match event:
            case LineCrossed() | CountDelta():
                count = _as_count(at_ms, event)
                key = (count.line, count.direction, count.cls)
                counts[key] = _both_counts(counts[key], count) if key in counts else count
            case ZoneVisit() | VisitDelta():
                visit = _as_visits(at_ms, event)
                key = (visit.zone, visit.cls)
                visits[key] = _both_visits(visits[key], visit) if key in visits else visit
            case Heartbeat():
                heartbeat = (at_ms, _joined(heartbeat[1], event) if heartbeat else event)
            case ZoneOccupancy():
                occupancy[event.zone] = (at_ms, event)
            case CounterChanged():
                key = (event.counter, event.reason)
                changes[key] = (at_ms, _both_changes(changes[key][1], event) if key in changes else event)
            case _:
                kept.append((at_ms, event))
    kept += [(delta.to_ms, delta) for delta in (*counts.values(), *visits.values())]
    kept += occupancy.values()
    kept += changes.values()
    kept.sort(key=lambda moment: moment[0])
    # Last, because it says that everything before it is on its way.
    return [*kept, heartbeat] if heartbeat else kept


def _as_count(at_ms: int, event: LineCrossed | CountDelta) -> CountDelta:
    if isinstance(event, CountDelta):
        return event
    return CountDelta(event.line, event.direction, event.cls, 1, at_ms, at_ms)


def _as_visits(at_ms: int, event: ZoneVisit | VisitDelta) -> VisitDelta:
    if isinstance(event, VisitDelta):
        return event
    return VisitDelta(event.zone, event.cls, 1, event.dwell_ms, at_ms, at_ms)


def _both_counts(one: CountDelta, other: CountDelta) -> CountDelta:
    from_ms, to_ms = min(one.from_ms, other.from_ms), max(one.to_ms, other.to_ms)
    return msgspec.structs.replace(one, n=one.n + other.n, from_ms=from_ms, to_ms=to_ms)


def _both_visits(one: VisitDelta, other: VisitDelta) -> VisitDelta:
    from_ms, to_ms = min(one.from_ms, other.from_ms), max(one.to_ms, other.to_ms)
    dwell_sum_ms = one.dwell_sum_ms + other.dwell_sum_ms
    return msgspec.structs.replace(
        one, n=one.n + other.n, dwell_sum_ms=dwell_sum_ms, from_ms=from_ms, to_ms=to_ms
    )


def _both_changes(one: CounterChanged, other: CounterChanged) -> CounterChanged:
    return msgspec.structs.replace(other, before=one.before, since_ms=one.since_ms, n=one.n + other.n)


def _joined(first: Heartbeat, second: Heartbeat) -> Heartbeat:
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
