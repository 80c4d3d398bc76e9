"""What the cameras of a device see now, as rules and live topics need it. Pure; time is an argument, UTC epoch ms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from countline.events import (
    CameraConfigured,
    CameraState,
    Direction,
    Heartbeat,
    LineCrossed,
    ZoneEntered,
    ZoneOccupancy,
    ZoneVisit,
)
from edge.count.counters import Counters
from edge.count.rules import Moment
from edge.expression import Ref

# A window is cut into so many pieces; who crossed in the oldest of them may still be counted.
PIECES = 600
# Stays that are remembered of one zone, for the longest of them. More people than this are no queue.
MAX_STAYS = 1_000


@dataclass(slots=True)
class _Zone:
    counts: dict[str, int] = field(default_factory=dict[str, int])
    since_ms: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(slots=True)
class _Camera:
    state: str = "starting"
    reason: str = ""
    zones: dict[str, _Zone] = field(default_factory=dict[str, _Zone])


class Window:
    """How many crossed a line lately."""

    def __init__(self, window_ms: int) -> None:
        """Take how long ago is still lately; what is a `PIECES`-th of it longer ago may be as well."""
        self._piece_ms = max(1, window_ms // PIECES)
        self._window_ms = window_ms
        self._counts: dict[int, list[int]] = {}

    def add(self, direction: Direction, at_ms: int) -> None:
        """Take one crossing."""
        count = self._counts.setdefault(at_ms // self._piece_ms, [0, 0])
        count[direction is Direction.OUT] += 1
        if len(self._counts) > 2 * PIECES:
            newest = max(self._counts)
            self._counts = {
                piece: count for piece, count in self._counts.items() if piece >= newest - PIECES - 1
            }

    def totals(self, now_ms: int) -> tuple[int, int]:
        """Return how many went in and out lately."""
        first = (now_ms - self._window_ms) // self._piece_ms
        counts = [count for piece, count in self._counts.items() if piece >= first]
        return sum(count[0] for count in counts), sum(count[1] for count in counts)


class World:
    """What is seen now. Fed with every event of every camera."""

    def __init__(self, cameras: Iterable[str], refs: Iterable[Ref] = ()) -> None:
        """Begin with cameras of which nothing is known.

        Args:
            cameras: Their names.
            refs: What rules ask for, with their cameras.
        """
        self._cameras = {camera: _Camera() for camera in cameras}
        self._windows: dict[tuple[str, str], dict[int, Window]] = {}
        for ref in refs:
            if ref.window_ms:
                windows = self._windows.setdefault((ref.camera, ref.name), {})
                windows.setdefault(ref.window_ms, Window(ref.window_ms))

    def feed(self, name: str, moments: Sequence[Moment]) -> None:
        """Take one camera's events."""
        camera = self._cameras[name]
        for at_ms, event in moments:
            match event:
                case LineCrossed():
                    for window in self._windows.get((name, event.line), {}).values():
                        window.add(event.direction, at_ms)
                case ZoneOccupancy():
                    camera.zones.setdefault(event.zone, _Zone()).counts = dict(event.cls_counts)
                case ZoneEntered():
                    stays = camera.zones.setdefault(event.zone, _Zone()).since_ms
                    if len(stays) < MAX_STAYS:
                        stays[event.track] = at_ms
                case ZoneVisit():
                    camera.zones.setdefault(event.zone, _Zone()).since_ms.pop(event.track, None)
                case Heartbeat():
                    camera.state, camera.reason = event.state.value, event.reason
                case CameraConfigured():
                    camera.zones.clear()
                case _:
                    pass

    def state(self, camera: str) -> tuple[str, str]:
        """Return "starting", "ok" or "blind", and why it is blind."""
        return self._cameras[camera].state, self._cameras[camera].reason

    def occupancy(self, camera: str, zone: str) -> Mapping[str, int] | None:
        """Return how many are in a zone per class; None if its camera does not see it now."""
        seen = self._cameras[camera]
        if seen.state != CameraState.OK or zone not in seen.zones:
            return None
        return seen.zones[zone].counts

    def value(self, ref: Ref, now_ms: int, counters: Counters) -> float | None:
        """Return what a rule asks for; None if it is not known, because a camera is blind."""
        if ref.kind == "zone":
            counts = self.occupancy(ref.camera, ref.name)
            if counts is None:
                return None
            if ref.attribute == "count":
                return sum(counts.values())
            since_ms = self._cameras[ref.camera].zones[ref.name].since_ms.values()
            return max(0, now_ms - min(since_ms, default=now_ms)) / 1000
        if ref.kind == "line":
            return _chosen(ref.attribute, *self._line(ref, now_ms, counters))
        state = counters.counter(ref.name)
        if ref.attribute == "value":
            return state.value
        return _chosen(ref.attribute, state.tally.totals.in_, state.tally.totals.out)

    def _line(self, ref: Ref, now_ms: int, counters: Counters) -> tuple[int, int]:
        if ref.window_ms:
            return self._windows[ref.camera, ref.name][ref.window_ms].totals(now_ms)
        tally, _ = counters.line(ref.camera, ref.name)
        return tally.totals.in_, tally.totals.out


def _chosen(attribute: str, n_in: int, n_out: int) -> int:
    return {"in": n_in, "out": n_out, "net": n_in - n_out}[attribute]
