"""Reads what belongs to one pane, for the writer and for readers."""

import sqlite3

from cloud.measures import Measure, MeasureCell
from cloud.store.rows import PaneUpdate
from cloud.windows import CountCell, PaneStatus, ZoneCell, ZoneTally
from countline.events import Direction


def read_measures(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[MeasureCell]:
    """Return the measures of a pane, by the number of its camera."""
    rows = connection.execute(
        "SELECT kind, name, origin, destination, cls, n, total FROM measures WHERE camera = ? AND start_ms = ?",
        (camera, start_ms),
    )
    return [MeasureCell(Measure(kind), *rest) for kind, *rest in rows]


def read_counts(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[CountCell]:
    """Return the crossings of a pane."""
    rows = connection.execute(
        "SELECT line, direction, cls, n FROM counts WHERE camera = ? AND start_ms = ?", (camera, start_ms)
    )
    return [CountCell(line, Direction(direction), cls, n) for line, direction, cls, n in rows]


def read_zones(connection: sqlite3.Connection, camera: int, start_ms: int) -> list[ZoneCell]:
    """Return the zones of a pane."""
    rows = connection.execute(
        "SELECT zone, cls, weighted_ms, held_ms, max_n, min_n, last_n, last_ms, visits, dwell_ms"
        " FROM zone_panes WHERE camera = ? AND start_ms = ?",
        (camera, start_ms),
    )
    return [ZoneCell(zone, cls, ZoneTally(*tally)) for zone, cls, *tally in rows]


def pane_update(
    connection: sqlite3.Connection, no: int, camera: str, row: tuple[int, int, str, int]
) -> PaneUpdate:
    """Return a pane with all that belongs to it; `row` is its start, watched time, status and revision."""
    start_ms, watched_ms, status, revision = row
    return PaneUpdate(
        camera,
        start_ms,
        watched_ms,
        PaneStatus(status),
        revision,
        tuple(read_counts(connection, no, start_ms)),
        tuple(read_zones(connection, no, start_ms)),
        tuple(read_measures(connection, no, start_ms)),
    )
