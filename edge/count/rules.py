"""One camera's lines and zones: from settings to counters, from tracks to events."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from countline.errors import UsageError
from countline.events import (
    AnyEvent,
    Direction,
    LineCrossed,
    LineShape,
    LineTotals,
    Point,
    ZoneOccupancy,
    ZoneShape,
    ZoneVisit,
)
from edge.arrays import Spots, Tracks
from edge.config import LineSettings, ZoneSettings
from edge.count.line import LineCounter
from edge.count.zone import Visit, ZoneCounter

_NOT_YET_COUNTED = LineTotals(in_=0, out=0)

Moment = tuple[int, AnyEvent]
"""When something happened (UTC epoch ms), and what."""


def shapes(
    camera: str, lines: Sequence[LineSettings], zones: Sequence[ZoneSettings], width: int, height: int
) -> tuple[list[LineShape], list[ZoneShape]]:
    """Turn settings into shapes in pixels. Without any line and zone there is one line across the middle.

    Args:
        camera: Its name, for messages.
        lines: Points in pixels, or in fractions of the picture if all of a line's are within 0 to 1.
        zones: The same.
        width: Of the picture, pixels.
        height: Of the picture, pixels.

    Raises:
        UsageError: A point lies outside the picture.
    """
    if not lines and not zones:
        middle = LineShape("middle", [(width / 2, 0.0), (width / 2, float(height))], sides=("right", "left"))
        return [middle], []
    line_shapes = [
        LineShape(
            line.name,
            _pixels(camera, f"line {line.name!r}", line.points, width, height),
            line.swap,
            line.sides,
            line.classes,
        )
        for line in lines
    ]
    zone_shapes = [
        ZoneShape(zone.name, _pixels(camera, f"zone {zone.name!r}", zone.points, width, height), zone.classes)
        for zone in zones
    ]
    return line_shapes, zone_shapes


def _pixels(camera: str, what: str, points: Sequence[Point], width: int, height: int) -> list[Point]:
    are_fractions = all(0 <= x <= 1 and 0 <= y <= 1 for x, y in points)
    scale = (width, height) if are_fractions else (1, 1)
    pixels = [(x * scale[0], y * scale[1]) for x, y in points]
    for x, y in pixels:
        if not (0 <= x <= width and 0 <= y <= height):
            raise UsageError(
                f"Camera {camera}: {what} has the point [{x:g}, {y:g}] outside its picture of {width}x{height} pixels: "
                "give points inside it, in pixels or in fractions from 0 to 1."
            )
    return pixels


@dataclass(slots=True)
class _Totals:
    n_in: int = 0
    n_out: int = 0


class Rules:
    """Counts one camera's tracks over its lines and in its zones. Pure; its state follows the living tracks."""

    def __init__(
        self,
        lines: Sequence[LineShape],
        zones: Sequence[ZoneShape],
        class_names: Sequence[str],
        totals: dict[str, LineTotals] | None = None,
    ) -> None:
        """Take the shapes in pixels.

        Args:
            lines: To count over.
            zones: To watch.
            class_names: By class id.
            totals: Per line, where to go on counting from after a restart.
        """
        self._class_names = tuple(class_names)
        self._lines = [
            (LineCounter(line.name, line.points, swap=line.swap), frozenset(line.classes)) for line in lines
        ]
        self._zones = [(ZoneCounter(zone.name, zone.points), frozenset(zone.classes)) for zone in zones]
        before = totals or {}
        self._totals = {
            line.name: _Totals(before[line.name].in_, before[line.name].out)
            if line.name in before
            else _Totals()
            for line in lines
        }
        self._occupancy: dict[str, dict[str, int] | None] = {zone.name: None for zone in zones}

    def feed(self, tracks: Tracks, at_ms: int) -> list[Moment]:
        """Take the tracks of one frame; return what happened, in order of time."""
        moments: list[Moment] = []
        for row in range(len(tracks.settled)):
            self._feed_spot(tracks.settled, row, moments)
        for track in tracks.ended:
            self._end(track, moments)
        for zone, _ in self._zones:
            occupancy = zone.occupancy()
            if occupancy != self._occupancy[zone.name]:
                self._occupancy[zone.name] = occupancy
                moments.append((at_ms, ZoneOccupancy(zone.name, occupancy)))
        moments.sort(key=lambda moment: moment[0])
        return [(moment_ms, self._counted(event)) for moment_ms, event in moments]

    def totals(self) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line."""
        return {name: LineTotals(in_=total.n_in, out=total.n_out) for name, total in self._totals.items()}

    def _feed_spot(self, spots: Spots, row: int, moments: list[Moment]) -> None:
        track, at_ms = int(spots.track_id[row]), int(spots.at_ms[row])
        foot = (float(spots.xy[row, 0]), float(spots.xy[row, 1]))
        cls = self._class_names[int(spots.class_id[row])]
        for line, classes in self._lines:
            for crossing in line.feed(track, foot, float(spots.height_px[row]), at_ms):
                if not classes or cls in classes:
                    conf = round(float(spots.score[row]), 3)
                    event = LineCrossed(crossing.line, crossing.direction, cls, track, conf, _NOT_YET_COUNTED)
                    moments.append((crossing.at_ms, event))
        for zone, classes in self._zones:
            if not classes or cls in classes:
                moments += [_left(visit) for visit in zone.feed(track, cls, foot, at_ms)]

    def _counted(self, event: AnyEvent) -> AnyEvent:
        """Give a crossing its totals. In order of time, so that a line's totals only ever rise from event to event."""
        if not isinstance(event, LineCrossed):
            return event
        total = self._totals[event.line]
        if event.direction is Direction.IN:
            total.n_in += 1
        else:
            total.n_out += 1
        return msgspec.structs.replace(event, totals=LineTotals(in_=total.n_in, out=total.n_out))

    def _end(self, track: int, moments: list[Moment]) -> None:
        for line, _ in self._lines:
            line.end(track)
        for zone, _ in self._zones:
            moments += [_left(visit) for visit in zone.end(track)]


def _left(visit: Visit) -> Moment:
    return visit.left_at_ms, ZoneVisit(visit.zone, visit.cls, visit.track, visit.dwell_ms)
