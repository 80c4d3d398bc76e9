"""One camera's lines and zones: from settings to counters, from tracks to events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from countline.events import (
    AnyEvent,
    Direction,
    LineCrossed,
    LineShape,
    LineTotals,
    ZoneEntered,
    ZoneOccupancy,
    ZoneShape,
    ZoneVisit,
)
from edge.arrays import Spots, Tracks
from edge.config import LineSettings, ZoneSettings
from edge.count.crowd import Crowding
from edge.count.gate import Gates, Step
from edge.count.geometry import Areas
from edge.count.heat import HeatMap
from edge.count.line import DEAD_BAND, Crossing, LineCounters
from edge.count.measuring import Measuring, in_pixels
from edge.count.path import Paths
from edge.count.speed import REACH_MS, speed_m_s
from edge.count.zone import Entry, Seen, Visit, ZoneCounter

_NOT_YET_COUNTED = LineTotals(in_=0, out=0)
_NOTHING = Measuring()

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
            in_pixels(camera, f"line {line.name!r}", line.points, width, height),
            line.swap,
            line.sides,
            line.classes,
            line.min_height,
            line.max_height,
        )
        for line in lines
    ]
    zone_shapes = [
        ZoneShape(
            zone.name,
            in_pixels(camera, f"zone {zone.name!r}", zone.points, width, height),
            zone.classes,
            zone.min_height,
            zone.max_height,
            zone.max_occupancy,
            round(zone.overcrowded_after_s * 1000),
        )
        for zone in zones
    ]
    return line_shapes, zone_shapes


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
        measuring: Measuring = _NOTHING,
        *,
        dead_band: float = DEAD_BAND,
    ) -> None:
        """Take the shapes in pixels.

        Args:
            lines: To count over.
            zones: To watch.
            class_names: By class id.
            totals: Per line, where to go on counting from after a restart.
            measuring: What else is wanted: gates, speeds, a heat-map. Its picture's height must be there if a line or a zone
                has limits of size.
            dead_band: Of the lines, in box heights.
        """
        self._class_names = tuple(class_names)
        self._measuring = measuring
        has_limits = any(shape.min_height > 0 or shape.max_height < 1 for shape in (*lines, *zones))
        self._paths = Paths(keeps_places=has_limits or measuring.tells_speed)
        self._lines = LineCounters(lines, dead_band=dead_band)
        self._line_filters = {line.name: _Filter.of(line, measuring) for line in lines}
        self._zones = [
            (ZoneCounter(zone.name, zone.points), _Filter.of(zone, measuring), _crowding(zone))
            for zone in zones
        ]
        self._areas = Areas([zone.points for zone in zones])
        before = totals or {}
        self._totals = {
            line.name: _Totals(before[line.name].in_, before[line.name].out)
            if line.name in before
            else _Totals()
            for line in lines
        }
        self._occupancy: dict[str, dict[str, int] | None] = {zone.name: None for zone in zones}
        self._gates = Gates(measuring.gates, od=measuring.od)
        self._heat = HeatMap(measuring.heat, self._class_names) if measuring.heat else None

    def feed(self, tracks: Tracks, at_ms: int) -> list[Moment]:
        """Take the tracks of one frame; return what happened, in order of time."""
        return self._feed(tracks, at_ms, is_last=False)

    def _feed(self, tracks: Tracks, at_ms: int, *, is_last: bool) -> list[Moment]:
        spots = tracks.settled
        first = self._paths.feed(spots)
        moments = self._feed_lines(spots)
        moments += self._feed_zones(tracks, first, at_ms, is_last=is_last)
        if self._heat:
            moments += self._heat.feed(spots, at_ms)
        for track in tracks.ended:
            self._end(track, moments)
        moments += self._gates.release(at_ms)
        moments.sort(key=lambda moment: moment[0])
        return [(moment_ms, self._counted(event)) for moment_ms, event in moments]

    def finish(self, tracks: Tracks, at_ms: int) -> list[Moment]:
        """Take the last tracks, because no frame will come any more; return what that decides, in order of time."""
        moments = self._feed(tracks, at_ms, is_last=True)
        for zone, _, crowding in self._zones:
            if crowding:
                moments += crowding.finish(sum(zone.occupancy(at_ms).values()), at_ms)
        if self._heat:
            moments += self._heat.finish(at_ms)
        return moments

    def totals(self) -> dict[str, LineTotals]:
        """Return the cumulative crossings per line."""
        return {name: LineTotals(in_=total.n_in, out=total.n_out) for name, total in self._totals.items()}

    # ---- lines

    def _feed_lines(self, spots: Spots) -> list[Moment]:
        moments: list[Moment] = []
        crossings = self._lines.feed(spots)
        if not crossings:
            return moments
        last = {track: row for row, track in enumerate(spots.track_id.tolist())}
        for crossing in crossings:
            row = last[crossing.track]
            cls = self._class_names[int(spots.class_id[row])]
            if not self._line_filters[crossing.line].takes(cls, self._paths, crossing.track, crossing.at_ms):
                continue
            event = LineCrossed(
                crossing.line,
                crossing.direction,
                cls,
                crossing.track,
                round(float(spots.score[row]), 3),
                _NOT_YET_COUNTED,
                self._speed_m_s(cls, crossing),
            )
            moments.append((crossing.at_ms, event))
            step = Step(crossing.at_ms, crossing.line, crossing.direction, cls)
            moments += self._gates.feed(crossing.track, step)
        return moments

    def _speed_m_s(self, cls: str, crossing: Crossing) -> float | None:
        scale = self._measuring.scale(cls)
        if scale is None:
            return None
        times, xy, heights = self._paths.around(crossing.track, crossing.at_ms, REACH_MS)
        speed = speed_m_s(times, scale.metres(xy, heights))
        return None if speed is None else round(speed, 2)

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

    # ---- zones

    def _feed_zones(
        self, seen: Tracks, first: NDArray[np.bool_], at_ms: int, *, is_last: bool
    ) -> list[Moment]:
        moments: list[Moment] = []
        if not self._zones:
            return moments
        spots = seen.settled
        class_ids: list[int] = spots.class_id.tolist()
        classes = [self._class_names[class_id] for class_id in class_ids]
        rows = Seen.of(spots, classes, first.tolist())
        insides = self._areas.inside(spots.xy).tolist()
        for (zone, wants, crowding), is_in in zip(self._zones, insides, strict=True):

            def wanted(row: int, wants: _Filter = wants) -> bool:
                return wants.takes(rows.classes[row], self._paths, rows.tracks[row], rows.at_ms[row])

            changes = zone.feed(rows, is_in, wanted)
            for track in seen.ended:
                changes += zone.end(track)
            changes += zone.finish() if is_last else zone.expire(at_ms)
            moments += [_came_or_left(change) for change in changes]
            occupancy = zone.occupancy(at_ms)
            if occupancy != self._occupancy[zone.name]:
                self._occupancy[zone.name] = occupancy
                moments.append((at_ms, ZoneOccupancy(zone.name, occupancy)))
            if crowding:
                moments += crowding.feed(sum(occupancy.values()), at_ms)
        return moments

    def _end(self, track: int, moments: list[Moment]) -> None:
        self._lines.end(track)
        moments += self._gates.end(track)
        if self._heat:
            self._heat.end(track)
        self._paths.end(track)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a line or a zone counts.

    Attributes:
        classes: Only these; empty: all.
        min_px: Boxes of this height and more.
        max_px: Boxes of this height and less.
    """

    classes: frozenset[str]
    min_px: float
    max_px: float

    @classmethod
    def of(cls, shape: LineShape | ZoneShape, measuring: Measuring) -> "_Filter":
        has_limit = shape.min_height > 0 or shape.max_height < 1
        assert measuring.picture_height_px or not has_limit, f"{shape.name} needs the picture's height"
        min_px = shape.min_height * measuring.picture_height_px
        max_px = shape.max_height * measuring.picture_height_px if shape.max_height < 1 else math.inf
        return cls(frozenset(shape.classes), min_px, max_px)

    def takes(self, cls: str, paths: Paths, track: int, at_ms: int) -> bool:
        """Say whether an object counts, by its class and its usual size around that moment."""
        if self.classes and cls not in self.classes:
            return False
        if self.min_px == 0 and self.max_px == math.inf:
            return True
        return self.min_px <= paths.height_px(track, at_ms) <= self.max_px


def _crowding(zone: ZoneShape) -> Crowding | None:
    return Crowding(zone.name, zone.max_occupancy, zone.overcrowded_after_ms) if zone.max_occupancy else None


def _came_or_left(change: Entry | Visit) -> Moment:
    if isinstance(change, Entry):
        return change.at_ms, ZoneEntered(change.zone, change.cls, change.track, change.appeared)
    visit = ZoneVisit(change.zone, change.cls, change.track, change.dwell_ms, change.vanished)
    return change.left_at_ms, visit
